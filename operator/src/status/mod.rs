//! The status: one ConfigMap from which kube9 learns that an operator runs here, and how it is doing.
//!
//! `document` and `health` decide what it says, `config_map` and `deployments` talk to the API server, and `writer`
//! puts them together again and again.

mod config_map;
mod deployments;
mod document;
mod health;
mod writer;

pub(crate) use config_map::{ConfigMaps, Content, Target};
pub(crate) use deployments::Deployments;
pub(crate) use writer::Writer;

/// Where kube9 looks for the status.
pub(crate) const CONFIG_MAP_NAME: &str = "kube9-operator-status";

/// And under which key.
pub(crate) const KEY: &str = "status";
