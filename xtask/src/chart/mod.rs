//! The Helm chart: its manifest, its archive, and the repository that lists it.

pub mod ignore;
pub mod index;
pub mod manifest;
pub mod oci;
pub mod package;
pub mod repository;

use chart_text::{json, yaml};
