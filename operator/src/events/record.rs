//! What is told of an event, and how: the same whether it comes from the API server or from the store.

use serde_json::{Value, json};

use super::Event;
use super::redaction::redacted;
use crate::text::{plain, shortened};
use crate::time::{Timestamp, rfc_3339};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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

/// The longest that the API server takes for a name.
const LONGEST_NAME: usize = 253;

impl Record {
    /// What is to be told of an event, by the API server's time. Whoever writes events may write whatever they like.
    pub(crate) fn of(event: &Event, now: Timestamp) -> Self {
        let object = &event.involved_object;
        let name = |name: &Option<String>| name.as_deref().map(|name| fit(name, LONGEST_NAME));
        let reason = event.reason.as_deref().map(|reason| fit(reason, LONGEST_TITLE));
        let last = event.last(now);
        Self {
            uid: fit(&event.metadata.uid, LONGEST_NAME),
            id: id(event),
            severity: Severity::of(reason.as_deref().unwrap_or_default(), event.kind.as_deref().unwrap_or_default()),
            title: reason.clone().unwrap_or_default(),
            description: description(event.message.as_deref().unwrap_or_default()),
            kind: name(&object.kind),
            namespace: name(&object.namespace),
            name: name(&object.name),
            reason,
            count: event.count(),
            first: event.first().min(last),
            last,
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

/// Of a text of any length, no more is looked at than may be told of it.
fn fit(text: &str, longest: usize) -> String {
    shortened(plain(beginning(text, longest * 4)).trim_end(), longest)
}

/// Without secrets, before it is shortened: half of one is one, too.
fn description(message: &str) -> String {
    let begun = beginning(message, LONGEST_DESCRIPTION * 4);
    // The last word may be one that cannot be told from others by its half.
    let whole = match begun.rfind(char::is_whitespace) {
        Some(end) if begun.len() < message.len() => &begun[..end],
        _ => begun,
    };
    shortened(redacted(&plain(whole)).trim_end(), LONGEST_DESCRIPTION)
}

fn beginning(text: &str, longest: usize) -> &str {
    text.char_indices().nth(longest).map_or(text, |(end, _)| &text[..end])
}

/// The same as long as the API server has the event, also when it happens again.
fn id(event: &Event) -> String {
    let digits: String = event.metadata.uid.chars().filter(char::is_ascii_hexdigit).collect();
    let tail = digits.get(digits.len().saturating_sub(6)..).unwrap_or_default();
    format!("evt_{}_{tail:0>6}", event.first_seen().format("%Y%m%d_%H%M%S"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
    Critical,
}

impl Severity {
    pub(super) fn of(reason: &str, kind: &str) -> Self {
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

    fn now() -> Timestamp {
        "2026-08-03T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn nothing_that_is_written_into_an_event_grows_or_lasts_or_commands() {
        let long = "\u{1b}[31mx".repeat(100_000);
        let event = |last: &str| -> Event {
            serde_json::from_value(json!({
                "metadata": {"uid": "1", "creationTimestamp": "2026-08-03T11:00:00Z"},
                "involvedObject": {"kind": long, "namespace": "shop", "name": long},
                "reason": long, "message": long, "type": long, "count": -1, "firstTimestamp": last, "lastTimestamp": last,
            }))
            .unwrap()
        };
        for (last, told) in [
            ("2999-01-01T00:00:00Z", "2026-08-03T11:00:00Z"),
            ("9999-12-31T23:59:59-23:59", "2026-08-03T11:00:00Z"),
            ("10000-01-01T23:58:59Z", "2026-08-03T11:00:00Z"),
            ("2026-08-03T12:00:59Z", "2026-08-03T12:00:59Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            let record = Record::of(&event(last), now());
            let row = record.row();
            assert_eq!((&row["created_at"], &row["metadata"]["count"]), (&json!(told), &json!(1)), "{last}");
            assert!(record.first <= record.last && row.to_string().len() < 3000, "{row}");
            assert!(!row.to_string().contains("u001b"), "{row}");
        }
    }

    #[test]
    fn half_a_secret_at_the_end_of_what_is_looked_at_is_not_told() {
        let message = format!("--password={} see AKIA{}", "x".repeat(3980), "A".repeat(16));
        assert_eq!(description(&message), "--password=[REDACTED] see");
        assert_eq!(description("pass\u{200b}word=x"), "password=[REDACTED]");
    }

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
        assert_eq!(Record::of(&event, now()).row(), expected);
    }

    #[test]
    fn an_event_of_the_second_generation_is_dated_by_its_series() {
        let event: Event = serde_json::from_value(json!({
            "metadata": {"uid": "1"}, "eventTime": "2026-08-03T11:00:00.123456Z",
            "series": {"count": 3, "lastObservedTime": "2026-08-03T11:10:00.000000Z"},
        }))
        .unwrap();
        let row = Record::of(&event, now()).row();
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
