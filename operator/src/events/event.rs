//! An event as the API server has it.

mod wire;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer};

use super::record::Severity;
use crate::kubernetes::{Metadata, Versioned};
use crate::time::{self, Timestamp};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event {
    pub(crate) metadata: Metadata,
    pub(super) involved_object: Object,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// The API server takes any number.
    count: Option<i64>,
    #[serde(deserialize_with = "time")]
    first_timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    last_timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
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
#[serde(rename_all = "camelCase", default)]
struct Series {
    count: Option<i64>,
    #[serde(deserialize_with = "time")]
    last_observed_time: Option<Timestamp>,
}

/// Clocks of nodes differ a little.
const TOLERATED: TimeDelta = TimeDelta::minutes(1);

/// Events come in two generations, with their times in different fields.
impl Event {
    pub(super) fn first_seen(&self) -> Timestamp {
        self.metadata.creation_timestamp.unwrap_or_else(|| self.first())
    }

    pub(super) fn first(&self) -> Timestamp {
        self.first_timestamp.or(self.event_time).or(self.metadata.creation_timestamp).unwrap_or_default()
    }

    /// Whoever writes an event says when it happened, and the API server when it was created: nothing that is said to happen
    /// in the future does, or it would be the newest for ever.
    pub(crate) fn last(&self, now: Timestamp) -> Timestamp {
        let series = self.series.as_ref().and_then(|series| series.last_observed_time);
        let last = series.or(self.last_timestamp).unwrap_or_else(|| self.first());
        let is_possible = last - now <= TOLERATED;
        if is_possible { last } else { self.metadata.creation_timestamp.map_or(now, |created| created.min(now)) }
    }

    /// Whether somebody may have to do something. kube9 shows one page of what is listed, so such events come first.
    pub(crate) fn is_trouble(&self) -> bool {
        Severity::of(self.reason.as_deref().unwrap_or_default(), self.kind.as_deref().unwrap_or_default())
            != Severity::Info
    }

    pub(super) fn count(&self) -> u64 {
        let count = self.series.as_ref().and_then(|series| series.count).or(self.count);
        count.and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0).unwrap_or(1)
    }
}

/// The API server takes times of which nobody else makes sense, such as one in the year 10000. They count as not told.
fn time<'json, D: Deserializer<'json>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.as_deref().and_then(time::parsed))
}

impl Versioned for Event {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}
