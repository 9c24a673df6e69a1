//! The status document: what kube9 reads, field by field.
//!
//! Its names and values are an interface, fixed by the extension that reads them. A block that nothing stands behind
//! yet is left out: kube9 then shows an empty state, and looks for itself where it can.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::health::Health;
use crate::VERSION;

/// `error` is shown in a tooltip; a longer text would be cut there anyway.
const LONGEST_ERROR: usize = 500;

/// What collectors have gathered since the process started.
#[derive(Debug, Default)]
pub(crate) struct CollectionStats {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) stored: u64,
    pub(crate) last_success: Option<Timestamp>,
}

pub(crate) fn document(namespace: &str, health: &Health, collections: &CollectionStats, now: Timestamp) -> Value {
    json!({
        "mode": "operated",
        "version": VERSION,
        "health": health.word(),
        "lastUpdate": rfc_3339(now),
        "error": health.reason().map(|reason| shortened(reason, LONGEST_ERROR)),
        "namespace": namespace,
        "collectionStats": {
            "totalSuccessCount": collections.successes,
            "totalFailureCount": collections.failures,
            "collectionsStoredCount": collections.stored,
            "lastSuccessTime": collections.last_success.map(rfc_3339),
        },
    })
}

/// In UTC with a `Z`, to the second.
fn rfc_3339(time: Timestamp) -> String {
    format!("{time:.0}")
}

/// The first `longest` characters, the last of them an ellipsis if something was left out.
fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-08-03T12:00:00.987654321Z".parse().unwrap()
    }

    #[test]
    fn a_healthy_document_has_every_field_kube9_needs() {
        let expected = json!({
            "mode": "operated",
            "version": env!("CARGO_PKG_VERSION"),
            "health": "healthy",
            "lastUpdate": "2026-08-03T12:00:00Z",
            "error": null,
            "namespace": "tools",
            "collectionStats": {
                "totalSuccessCount": 0,
                "totalFailureCount": 0,
                "collectionsStoredCount": 0,
                "lastSuccessTime": null,
            },
        });
        assert_eq!(document("tools", &Health::Healthy, &CollectionStats::default(), noon()), expected);
    }

    #[test]
    fn collections_are_counted_and_dated() {
        let collections = CollectionStats { successes: 3, failures: 1, stored: 2, last_success: Some(noon()) };
        let stats = &document("tools", &Health::Healthy, &collections, noon())["collectionStats"];
        assert_eq!(
            stats,
            &json!({
                "totalSuccessCount": 3,
                "totalFailureCount": 1,
                "collectionsStoredCount": 2,
                "lastSuccessTime": "2026-08-03T12:00:00Z",
            })
        );
    }

    #[test]
    fn a_reason_is_cut_to_what_a_tooltip_shows() {
        let health = Health::Unhealthy { reason: "ü".repeat(501) };
        let document = document("tools", &health, &CollectionStats::default(), noon());
        let error = document["error"].as_str().unwrap();
        assert_eq!((error.chars().count(), error.chars().last()), (500, Some('…')));
    }

    #[test]
    fn a_reason_that_fits_is_kept() {
        assert_eq!(shortened(&"a".repeat(500), 500), "a".repeat(500));
    }
}
