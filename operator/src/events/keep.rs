//! Which events are worth keeping, and for how long.

use super::Event;
use crate::config::Retention;
use crate::time::Timestamp;

/// Reasons of trouble, whatever type the event has.
const KEPT_REASONS: [&str; 7] =
    ["OOMKilled", "Failed", "CrashLoopBackOff", "ImagePullBackOff", "FailedScheduling", "NodeNotReady", "Unhealthy"];

/// What went wrong, and not that all goes well, which is most of what happens.
pub(super) fn is_kept(event: &Event) -> bool {
    matches!(event.kind.as_deref(), Some("Warning" | "Error"))
        || event.reason.as_deref().is_some_and(|reason| KEPT_REASONS.contains(&reason))
}

/// The type for metrics, which must not have as many series as somebody has ideas.
pub(super) fn type_label(event: &Event) -> &'static str {
    match event.kind.as_deref() {
        Some("Normal") => "Normal",
        Some("Warning") => "Warning",
        Some("Error") => "Error",
        _ => "other",
    }
}

/// What last happened before these times has been kept for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CutOffs {
    pub(super) info_and_warning: Timestamp,
    pub(super) error_and_critical: Timestamp,
}

impl Retention {
    pub(super) fn cut_offs(self, now: Timestamp) -> CutOffs {
        let before = |age| now.checked_sub_days(age).unwrap_or(Timestamp::MIN_UTC);
        CutOffs { info_and_warning: before(self.info_and_warning), error_and_critical: before(self.error_and_critical) }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Days;
    use serde_json::json;

    use super::*;
    use crate::time::rfc_3339;

    fn event(kind: &str, reason: &str) -> Event {
        serde_json::from_value(json!({"type": kind, "reason": reason})).unwrap()
    }

    #[test]
    fn f1_warnings_errors_and_reasons_of_trouble_are_kept() {
        for (kind, reason) in [("Warning", "Whatever"), ("Error", "Whatever"), ("Normal", "NodeNotReady")] {
            assert!(is_kept(&event(kind, reason)), "{kind} {reason}");
        }
        for (kind, reason) in [("Normal", "Pulled"), ("Normal", "BackOff"), ("", "")] {
            assert!(!is_kept(&event(kind, reason)), "{kind} {reason}");
        }
    }

    #[test]
    fn a_type_that_nobody_knows_has_no_series_of_its_own() {
        assert_eq!((type_label(&event("Warning", "")), type_label(&event("made-up", ""))), ("Warning", "other"));
    }

    #[test]
    fn f3_cut_offs_are_as_far_back_as_they_are_set() {
        let retention = Retention { info_and_warning: Days::new(7), error_and_critical: Days::new(30) };
        let cut_offs = retention.cut_offs("2026-08-31T12:00:00Z".parse().unwrap());
        assert_eq!(rfc_3339(cut_offs.info_and_warning), "2026-08-24T12:00:00Z");
        assert_eq!(rfc_3339(cut_offs.error_and_critical), "2026-08-01T12:00:00Z");
        assert_eq!(retention.cut_offs(Timestamp::MIN_UTC).info_and_warning, Timestamp::MIN_UTC);
    }
}
