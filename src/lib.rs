//! Gives a headless QGIS job its secrets, and takes them away again.

pub mod environment;
pub mod job;
pub mod pgservice;
pub mod precedence;
pub mod qgis_project;
pub mod secret;
pub mod settings;
pub mod store;
pub mod task;
