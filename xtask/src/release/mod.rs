//! A release: observed, planned, and applied step by step.
//!
//! There is no state file. `observe` asks the world, `plan` decides, pure, what is done and what is to do, and `apply` does that. So the
//! same command finishes what a killed run began, and a finished release is a no-op. What users follow (the index, then the floating
//! tags) moves last.

use std::path::PathBuf;

use semver::Version;

use crate::chart::manifest;
use crate::config::Product;
use crate::connector::Connector;
use crate::error::Result;
use crate::git::Tag;

pub mod apply;
pub mod attestations;
pub mod bills;
pub mod bump;
pub mod decision;
pub mod destination;
pub mod doctor;
pub mod github;
pub mod image;
pub mod notes;
pub mod observe;
pub mod page;
pub mod parts;
pub mod pipeline;
pub mod plan;
pub mod pointers;
pub mod promote;
pub mod protection;
pub mod publish;
pub mod repair;
pub mod report;
pub mod scans;
pub mod step;
pub mod verify;
pub mod version;

use version::Bump;

/// The version that the tree says of a product: the crate's or, where there is none, the chart's.
///
/// # Errors
/// There is neither.
pub fn version_in_tree(product: &Product) -> Result<Version> {
    match &product.package {
        Some(package) => Ok(package.version.clone()),
        None => bump::version_in(product, &manifest::in_folder(&product.root.join(product.chart()?))?),
    }
}

/// What a run is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The version, relative to the tree's [default: the tree's own].
    pub bump: Option<Bump>,
    /// The product, where there are several.
    pub product: Option<String>,
    /// The target's name.
    pub target: String,
    /// Treat what is published as production does: it never changes.
    pub strict: bool,
    /// Put a first, empty index where there is none.
    pub init: bool,
    /// Push the commit of the release where the remote lacks it.
    pub push: bool,
    /// Read what is published as everybody can, without credentials.
    pub public: bool,
    /// The builder instance that buildx is told to use.
    pub builder: Option<String>,
    /// The file of waivers [default: the one in the workspace root].
    pub waivers: Option<PathBuf>,
    /// The way to targets beyond this machine, where there is one.
    pub connector: Option<Connector>,
}

/// What is released: decided once, never changed.
#[derive(Clone, Debug)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// Its git tag.
    pub tag: Tag,
    /// The source state: a commit, or a commit and the tree made of it.
    pub revision: String,
    /// The commit's time, in seconds since 1970.
    pub time: i64,
}
