//! What is told of an event, and how: the same whether it comes from the API server or from the store.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Event;
use super::redaction::redacted;
use crate::status::{rfc_3339, shortened};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// What the API server tells events apart by. One that happens again keeps it.
    pub(crate) uid: String,
    pub(super) id: String,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

const LONGEST_TITLE: usize = 200;
const LONGEST_DESCRIPTION: usize = 1000;

impl Record {
    pub(crate) fn of(event: &Event) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = &event.involved_object;
        Self {
            uid: event.metadata.uid.clone(),
            id: id(event),
            severity: Severity::of(&text(&event.reason), &text(&event.kind)),
            title: shortened(&text(&event.reason), LONGEST_TITLE),
            // Before it is shortened: half a secret is one, too.
            description: shortened(redacted(&text(&event.message)).trim_end(), LONGEST_DESCRIPTION),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            reason: event.reason.as_deref().map(|reason| shortened(reason, LONGEST_TITLE)),
            count: event.count(),
            first: event.first(),
            last: event.last(),
        }
    }

    /// As kube9 reads it.
    pub(crate) fn row(&self) -> Value {
        json!({
            "id": self.id,
            "event_type": "cluster",
            "severity": self.severity.label(),
            "title": self.title,
            "description": self.description,
            "object_kind": self.kind,
            "object_namespace": self.namespace,
            "object_name": self.name,
            "metadata": {
                "reason": self.reason,
                "count": self.count,
                "first_timestamp": rfc_3339(self.first),
                "last_timestamp": rfc_3339(self.last),
            },
            // What happens again is news again.
            "created_at": rfc_3339(self.last),
        })
    }
}

/// The same as long as the API server has the event, also when it happens again.
fn id(event: &Event) -> String {
    let digits: String = event.metadata.uid.chars().filter(char::is_ascii_hexdigit).collect();
    let tail = digits.get(digits.len().saturating_sub(6)..).unwrap_or_default();
    format!("evt_{}_{tail:0>6}", event.first_seen().strftime("%Y%m%d_%H%M%S"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
    Critical,
}

impl Severity {
    fn of(reason: &str, kind: &str) -> Self {
        match reason {
            "OOMKilled" | "NodeNotReady" | "FailedKillPod" => Self::Critical,
            "Failed" | "CrashLoopBackOff" | "ImagePullBackOff" | "FailedScheduling" | "FailedBinding"
            | "FailedCreate" | "FailedMount" => Self::Error,
            "BackOff" | "Unhealthy" | "EvictedPod" => Self::Warning,
            _ if kind == "Warning" => Self::Warning,
            _ => Self::Info,
        }
    }

    /// The other way round; a word that nobody knows any more is worth a look.
    #[cfg(feature = "event-store")]
    pub(super) fn from_label(label: &str) -> Self {
        [Self::Info, Self::Error, Self::Critical]
            .into_iter()
            .find(|severity| severity.label() == label)
            .unwrap_or(Self::Warning)
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_first_generation_has_every_field_kube9_shows() {
        let event: Event = serde_json::from_value(json!({
            "metadata": {"uid": "6a1f7c1e-0b58-4d0c-9a53-1f2f6f0e7d11", "creationTimestamp": "2026-08-03T11:00:01Z"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "cart-1"},
            "reason": "BackOff", "message": "Back-off restarting\n", "type": "Warning", "count": 7,
            "firstTimestamp": "2026-08-03T11:00:00Z", "lastTimestamp": "2026-08-03T11:30:00Z", "eventTime": null,
        }))
        .unwrap();
        let expected = json!({
            "id": "evt_20260803_110001_0e7d11",
            "event_type": "cluster",
            "severity": "warning",
            "title": "BackOff",
            "description": "Back-off restarting",
            "object_kind": "Pod",
            "object_namespace": "shop",
            "object_name": "cart-1",
            "metadata": {
                "reason": "BackOff",
                "count": 7,
                "first_timestamp": "2026-08-03T11:00:00Z",
                "last_timestamp": "2026-08-03T11:30:00Z",
            },
            "created_at": "2026-08-03T11:30:00Z",
        });
        assert_eq!(Record::of(&event).row(), expected);
    }

    #[test]
    fn an_event_of_the_second_generation_is_dated_by_its_series() {
        let event: Event = serde_json::from_value(json!({
            "metadata": {"uid": "1"}, "eventTime": "2026-08-03T11:00:00.123456Z",
            "series": {"count": 3, "lastObservedTime": "2026-08-03T11:10:00.000000Z"},
        }))
        .unwrap();
        let row = Record::of(&event).row();
        assert_eq!(row["metadata"]["count"], 3);
        assert_eq!(
            (&row["metadata"]["first_timestamp"], &row["created_at"]),
            (&json!("2026-08-03T11:00:00Z"), &json!("2026-08-03T11:10:00Z"))
        );
        assert_eq!(row["id"], "evt_20260803_110000_000001");
    }

    #[test]
    fn severity_follows_the_reason_and_then_the_type() {
        let cases = [
            ("OOMKilled", "Warning", "critical"),
            ("FailedScheduling", "Warning", "error"),
            ("BackOff", "Normal", "warning"),
            ("Whatever", "Warning", "warning"),
            ("Pulled", "Normal", "info"),
        ];
        for (reason, kind, expected) in cases {
            assert_eq!(Severity::of(reason, kind).label(), expected, "{reason}");
        }
    }
}
