//! An event as the API server has it.

mod wire;

use jiff::Timestamp;
use serde::Deserialize;

use crate::kubernetes::{Metadata, Versioned};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event {
    pub(crate) metadata: Metadata,
    pub(super) involved_object: Object,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    count: Option<u64>,
    first_timestamp: Option<Timestamp>,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<Series>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Object {
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    count: Option<u64>,
    last_observed_time: Option<Timestamp>,
}

/// Events come in two generations, with their times in different fields.
impl Event {
    pub(super) fn first_seen(&self) -> Timestamp {
        self.metadata.creation_timestamp.unwrap_or_else(|| self.first())
    }

    pub(super) fn first(&self) -> Timestamp {
        self.first_timestamp.or(self.event_time).or(self.metadata.creation_timestamp).unwrap_or_default()
    }

    pub(crate) fn last(&self) -> Timestamp {
        let series = self.series.as_ref().and_then(|series| series.last_observed_time);
        series.or(self.last_timestamp).unwrap_or_else(|| self.first())
    }

    pub(super) fn count(&self) -> u64 {
        self.series.as_ref().and_then(|series| series.count).or(self.count).unwrap_or(1)
    }
}

impl Versioned for Event {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}
