//! The status document: what kube9 reads, field by field.
//!
//! Its names and values are an interface, fixed by the extension that reads them. A block that nothing stands behind
//! yet is left out: kube9 then shows an empty state, and looks for itself where it can.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::health::Health;
use crate::VERSION;
use crate::runtime::{Answer, Finding, State, Unavailable};
use crate::text::shortened;
use crate::time::{Timestamp, rfc_3339};

/// `error` is shown in a tooltip; a longer text would be cut there anyway.
const LONGEST_ERROR: usize = 500;

/// The same moment on both clocks, so that uptimes can be told as dates.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) calendar: Timestamp,
    pub(crate) uptime: Duration,
}

impl Now {
    fn date_of(self, uptime: Duration) -> String {
        let age = TimeDelta::from_std(self.uptime.saturating_sub(uptime)).unwrap_or_default();
        rfc_3339(self.calendar - age)
    }
}

pub(crate) fn document(namespace: &str, health: &Health, state: &State, now: Now) -> Value {
    let collections = &state.collections;
    let mut document = json!({
        "mode": "operated",
        "version": VERSION,
        "health": health.word(),
        "lastUpdate": rfc_3339(now.calendar),
        "error": health.reason().map(|reason| shortened(reason, LONGEST_ERROR)),
        "namespace": namespace,
        "collectionStats": {
            "totalSuccessCount": collections.successes,
            "totalFailureCount": collections.failures,
            // Each collection replaces the one before, in one ConfigMap.
            "collectionsStoredCount": collections.successes.min(1),
            "lastSuccessTime": collections.last_success.map(|time| now.date_of(time)),
        },
    });
    // No reason to call the cluster degraded: whoever may write one object could do that, then.
    for (task, of_task) in state.tasks.iter().filter(|(_, task)| task.skipped > 0) {
        document["skippedObjects"][task.label()] = json!(of_task.skipped);
    }
    if let Some(finding) = &state.argocd {
        document["argocd"] = argocd(finding, state, now);
    }
    document
}

fn argocd(finding: &Finding, state: &State, now: Now) -> Value {
    let checked = now.date_of(finding.checked);
    let Answer::Detected(server) = &finding.answer else {
        return json!({"detected": false, "namespace": null, "version": null, "lastChecked": checked});
    };
    let mut told = json!({
        "detected": true,
        "namespace": server.namespace,
        "version": server.version,
        "lastChecked": checked,
        // Otherwise kube9 builds the tree of an application by itself.
        "resourceTreeCapable": state.resource_tree == Some(Ok(())),
    });
    if let Some(Err(Unavailable { code, message })) = &state.resource_tree {
        told["resourceTreeLastError"] = json!({"code": code, "message": message});
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Collections, Server};

    fn noon() -> Now {
        let calendar = "2026-08-03T12:00:00.987654321Z".parse().unwrap();
        Now { calendar, uptime: Duration::from_secs(600) }
    }

    fn healthy(state: &State) -> Value {
        document("tools", &Health::Healthy, state, noon())
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
        assert_eq!(healthy(&State::default()), expected);
    }

    #[test]
    fn collections_are_counted_and_dated() {
        let collections = Collections { successes: 3, failures: 1, last_success: Some(Duration::from_secs(540)) };
        let stats = &healthy(&State { collections, ..State::default() })["collectionStats"];
        assert_eq!(
            stats,
            &json!({
                "totalSuccessCount": 3,
                "totalFailureCount": 1,
                "collectionsStoredCount": 1,
                "lastSuccessTime": "2026-08-03T11:59:00Z",
            })
        );
    }

    #[test]
    fn argocd_is_told_with_the_time_of_the_last_look() {
        let checked = Duration::from_secs(590);
        let told = |answer| {
            healthy(&State { argocd: Some(Finding { answer, checked }), ..State::default() })["argocd"].clone()
        };
        assert_eq!(
            told(Answer::NotDetected),
            json!({"detected": false, "namespace": null, "version": null, "lastChecked": "2026-08-03T11:59:50Z"})
        );
        let server = Server { namespace: "gitops".to_owned(), version: Some("v3.0.6".to_owned()) };
        let detected = told(Answer::Detected(server));
        assert_eq!((&detected["detected"], &detected["namespace"]), (&json!(true), &json!("gitops")));
        assert_eq!((&detected["version"], &detected["resourceTreeCapable"]), (&json!("v3.0.6"), &json!(false)));
    }

    #[test]
    fn f9_resource_trees_are_told_of_where_there_is_argocd_with_the_reason_why_not() {
        let told = |answer: Answer, tree| {
            let argocd = Some(Finding { answer, checked: Duration::ZERO });
            let told = healthy(&State { argocd, resource_tree: tree, ..State::default() })["argocd"].clone();
            (told.get("resourceTreeCapable").cloned(), told.get("resourceTreeLastError").cloned())
        };
        let detected = || Answer::Detected(Server { namespace: "gitops".to_owned(), version: None });
        let refused = || Some(Err(Unavailable { code: "TIMEOUT", message: "no answer".to_owned() }));
        let reason = json!({"code": "TIMEOUT", "message": "no answer"});
        assert_eq!(told(detected(), refused()), (Some(json!(false)), Some(reason)));
        assert_eq!(told(detected(), Some(Ok(()))), (Some(json!(true)), None));
        assert_eq!(told(Answer::NotDetected, refused()), (None, None));
    }

    #[test]
    fn a_reason_is_cut_to_what_a_tooltip_shows() {
        let health = Health::Unhealthy { reason: "ü".repeat(501) };
        let document = document("tools", &health, &State::default(), noon());
        let error = document["error"].as_str().unwrap();
        assert_eq!((error.chars().count(), error.chars().last()), (500, Some('…')));
    }
}
