//! The container image: compiled, assembled, scanned, and kept in a registry.

pub mod artifact;
pub mod buildx;
pub mod compile;
pub mod embedded;
pub mod labels;
pub mod layout;
pub mod pull;
pub mod recipe;
pub mod referrers;
pub mod registry;
#[cfg(feature = "remote")]
pub mod remote;
pub mod scan;
pub mod waivers;
