//! Releases a Kubernetes operator: one tool for everything from a version bump to a verified, public release.
//!
//! Decisions are pure functions over data (`release::plan`, `release::version`, `chart::index`, `chart::package`,
//! `image::layout`); effects are thin, behind one door each: `disk`, `process`, `http`, and for targets beyond this machine `aws` and
//! `image::remote`. Nothing in here names a product: all
//! of that is in `[workspace.metadata.release]`.

pub mod archive;
#[cfg(feature = "remote")]
pub mod aws;
pub mod cdn;
pub mod chart;
pub mod cli;
pub mod config;
#[cfg(feature = "remote")]
pub mod deploy;
pub mod disk;
pub mod doctor;
pub mod effect;
pub mod error;
pub mod git;
pub mod http;
pub mod image;
pub mod moment;
pub mod process;
pub mod release;
pub mod retry;
pub mod serve;
pub mod source;
pub mod store;
pub mod tools;
pub mod trust;
pub mod ui;
