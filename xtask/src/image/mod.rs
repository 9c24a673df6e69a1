//! The container image: compiled, assembled, and scanned.

pub mod agreement;
pub mod buildx;
pub mod compile;
pub mod dockerfile;
pub mod embedded;
pub mod labels;
pub mod scan;
pub mod waivers;
