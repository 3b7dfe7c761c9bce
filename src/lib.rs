//! Gives a headless QGIS job its secrets, and takes them away again.

pub mod backend;
pub mod cli;
pub mod containment;
pub mod dotenv;
pub mod environment;
pub mod error;
pub mod http;
pub mod job;
pub mod pgservice;
pub mod pipeline;
pub mod precedence;
pub mod qgis_project;
pub mod report;
pub mod secret;
pub mod settings;
pub mod store;
pub mod supervise;
pub mod sys;
pub mod task;
