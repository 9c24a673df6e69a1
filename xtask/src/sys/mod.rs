//! The doors to this machine and to the network, and what stands next to them. Nothing in here knows what a release is.

pub mod archive;
pub mod children;
pub mod failpoints;
pub mod files;
pub mod http;
pub mod retry;
pub mod threads;
pub mod time;
pub mod tools;
