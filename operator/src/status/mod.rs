//! The status: one ConfigMap from which kube9 learns that an operator runs here, and how it is doing.
//!
//! `document` and `health` decide what it says, `config_map` brings it to the API server, and `writer` does so again
//! and again.

mod config_map;
mod document;
mod health;
mod writer;

pub(crate) use config_map::CONFIG_MAP_NAME;
pub(crate) use writer::{REQUEST_TIMEOUT, Writer};
