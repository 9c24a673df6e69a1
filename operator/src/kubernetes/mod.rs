//! The door to the API server: how it is found, how it is asked, and what its refusals mean.
//!
//! Answers are read into types that have only the fields in use, and lists and watches one object at a time, none of them
//! too large. So a cluster may have objects of any size, and as many as it likes.

mod access;
mod client;
mod compact;
mod list;
mod refusal;
mod request;
mod split;
mod watch;
mod wire;

use std::time::Duration;

use serde::Deserialize;

pub(crate) use access::Trust;
pub(crate) use client::Client;
pub(crate) use list::{Form, List, Read};
use request::ListOptions;

use crate::time::Timestamp;
pub(crate) use request::Request;
pub(crate) use watch::{Change, Feed, Follower, Object, Versioned};
pub(crate) use wire::{Field, Malformed, Wire};

/// How long one request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds out where the API server is, from `KUBECONFIG` or the pod's service account, without calling it yet.
pub(crate) fn client() -> Result<Client, String> {
    Client::new(access::Access::find()?)
}

/// A client for another server than the API server, with a token of its own.
pub(crate) fn client_of(server: &str, token: &str, trust: Trust) -> Result<Client, String> {
    Client::new(access::Access::elsewhere(server, token, trust)?)
}

/// What a list says of itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: Option<String>,
    remaining_item_count: Option<i64>,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
}

/// What we read of an object's metadata.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) generation: i64,
    pub(crate) labels: Option<Labels>,
    pub(crate) creation_timestamp: Option<Timestamp>,
    pub(crate) deletion_timestamp: Option<Timestamp>,
}

/// The labels that tell a version.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Labels {
    #[serde(rename = "app.kubernetes.io/version")]
    pub(crate) recommended: Option<String>,
    #[serde(rename = "argocd.argoproj.io/version")]
    pub(crate) argocd: Option<String>,
    #[serde(rename = "version")]
    pub(crate) plain: Option<String>,
}
