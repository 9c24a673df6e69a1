//! Releases a Kubernetes operator: one tool for everything from a version bump to a verified, public release.
//!
//! Rooms, each of which only knows those below it (a test says so): `commands` (the command line), `release` (observe, plan, apply),
//! `connector` (what a program reaches beyond this machine), `local` (a target that is a folder), `image`, `chart`, `git`, `config`, `oci`,
//! `ui`, `sys` (the doors to files, children and the network) and `error`. Decisions are pure functions over data; effects are thin, and
//! go through a door. Nothing in here names a product: all of that is in `[workspace.metadata.release]`.

pub mod chart;
pub mod commands;
pub mod config;
pub mod connector;
pub mod error;
pub mod git;
pub mod image;
pub mod local;
pub mod oci;
pub mod release;
pub mod sys;
pub mod trust;
pub mod ui;
