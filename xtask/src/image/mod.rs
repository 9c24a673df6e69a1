//! The container image: compiled, assembled, scanned, and kept in a registry.

pub mod buildx;
pub mod compile;
pub mod embedded;
pub mod labels;
pub mod layout;
pub mod pull;
pub mod recipe;
pub mod registry;
pub mod scan;
pub mod waivers;
