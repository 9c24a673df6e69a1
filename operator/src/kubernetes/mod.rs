//! The door to the API server: how it is found, how it is asked, and what its refusals mean.
//!
//! Answers are read into types that have only the fields in use. What is skipped costs no memory, and a cluster may
//! have objects of any size.

mod access;
mod client;
mod compact;
mod refusal;
mod request;
mod watch;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

pub(crate) use client::Client;
pub(crate) use request::{ListOptions, Request};
pub(crate) use watch::{Change, Feed, Versioned};
pub(crate) use wire::{Field, Malformed, Wire};

/// How long one request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds out where the API server is, from `KUBECONFIG` or the pod's service account, without calling it yet.
pub(crate) fn client() -> Result<Client, String> {
    Client::new(access::Access::find()?)
}

/// One page of a list.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) metadata: ListMeta,
    /// The API server may say `null` where there are none.
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListMeta {
    pub(crate) resource_version: Option<String>,
    pub(crate) remaining_item_count: Option<i64>,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { metadata: ListMeta::default(), items: None }
    }
}

impl<T> Page<T> {
    pub(crate) fn items(&mut self) -> Vec<T> {
        self.items.take().unwrap_or_default()
    }

    /// Where the next page begins, if there is one.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.metadata.continue_token.take().filter(|token| !token.is_empty())
    }
}

/// What we read of an object's metadata.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) creation_timestamp: Option<Timestamp>,
    pub(crate) deletion_timestamp: Option<Timestamp>,
}
