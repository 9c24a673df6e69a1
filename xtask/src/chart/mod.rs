//! The Helm chart: its manifest, its archive, the repository that lists it, and where that is kept.

pub mod archive;
pub mod cdn;
pub mod hub;
pub mod ignore;
pub mod index;
pub mod manifest;
pub mod oci;
pub mod page;
pub mod record;
pub mod repository;
pub mod store;

use chart_text::{json, yaml};
