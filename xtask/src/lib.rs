//! Releases a Kubernetes operator: bump, build, scan, publish, verify.

pub mod archive;
pub mod chart;
pub mod config;
pub mod disk;
pub mod effect;
pub mod error;
pub mod image;
pub mod moment;
pub mod process;
pub mod release;
pub mod source;
pub mod store;
pub mod tools;
pub mod ui;
