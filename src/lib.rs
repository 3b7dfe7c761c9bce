//! Gives a headless QGIS job its secrets, and takes them away again.

pub mod pgservice;
pub mod qgis_project;
pub mod secret;
