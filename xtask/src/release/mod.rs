//! road
pub mod bump;
pub mod version;
