//! The texts of a chart repository: YAML as Helm reads it, JSON that is the same when it is read as YAML, the index in it, and the pages
//! that people read of it.
//!
//! A crate of its own because it is worth optimising where xtask is not: these loops see every byte of an index, which may be a
//! hundred megabytes, and people run the development build of xtask. Cargo optimises by the crate.

pub mod changes;
mod html;
pub mod index;
pub mod json;
pub mod page;
pub mod yaml;
