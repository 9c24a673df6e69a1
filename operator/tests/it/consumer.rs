//! The kube9 extension's own rules: what it would make of a status, and what would break it.
//!
//! Written from the extension's behaviour, not from the operator's code. The numbers are those of the contract: 1.5 is
//! how it reads, 1.6 what it cannot bear.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No operator, or none that can be understood.
    Basic,
    Operated,
    Degraded,
}

/// What the extension would show, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) mode: Mode,
    pub(crate) why: String,
}

/// 1.5: a status older than this is stale.
const STALE: SignedDuration = SignedDuration::from_mins(5);

/// 1.5, items 2 and 3, for somebody whose clock says `now`.
pub(crate) fn verdict(config_map: Option<&ConfigMap>, now: Timestamp) -> Verdict {
    let verdict = |mode, why: &str| Verdict { mode, why: why.to_owned() };
    let Some(text) = config_map.and_then(text) else { return verdict(Mode::Basic, "there is no status") };
    let Ok(status) = serde_json::from_str::<Value>(text) else {
        return verdict(Mode::Basic, "the status is no JSON");
    };
    if let Some(field) = REQUIRED.into_iter().find(|field| status[field].as_str().is_none_or(str::is_empty)) {
        return verdict(Mode::Basic, &format!("{field} is missing"));
    }
    let word = |field: &str| status[field].as_str().unwrap_or_default();
    // A date that cannot be read counts as fresh.
    let age = word("lastUpdate").parse::<Timestamp>().map_or(SignedDuration::ZERO, |time| now.duration_since(time));
    match (word("mode"), word("health")) {
        _ if age > STALE => verdict(Mode::Degraded, &format!("the status is {} s old", age.as_secs())),
        (_, "degraded" | "unhealthy") => verdict(Mode::Degraded, status["error"].as_str().unwrap_or("no reason given")),
        ("operated" | "enabled", "healthy") => verdict(Mode::Operated, "healthy"),
        (mode, health) => verdict(Mode::Degraded, &format!("mode {mode}, health {health}")),
    }
}

const REQUIRED: [&str; 4] = ["mode", "version", "health", "lastUpdate"];

fn text(config_map: &ConfigMap) -> Option<&String> {
    config_map.data.as_ref()?.get("status")
}

/// 1.1 and 1.6: everything about a ConfigMap that would mislead the extension, one line each.
pub(crate) fn faults(config_map: &ConfigMap) -> Vec<String> {
    faults_of(config_map, env!("CARGO_PKG_VERSION"))
}

/// The same, where an operator of that version wrote it.
pub(crate) fn faults_of(config_map: &ConfigMap, version: &str) -> Vec<String> {
    let mut faults = Faults::default();
    let metadata = &config_map.metadata;
    faults.expect(metadata.name.as_deref() == Some("kube9-operator-status"), "the name of the ConfigMap");
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    faults.expect(label("app.kubernetes.io/name") == Some("kube9-operator"), "the label app.kubernetes.io/name");
    faults.expect(label("app.kubernetes.io/component") == Some("status"), "the label app.kubernetes.io/component");
    let data = config_map.data.clone().unwrap_or_default();
    faults.expect(data.get("namespace") == metadata.namespace.as_ref(), "data.namespace");
    faults.expect(data.values().map(String::len).sum::<usize>() < 1024 * 1024, "the size");
    let status = data.get("status").and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default();
    faults.expect(status["version"] == version, "version");
    faults.status(&status);
    faults.collections(&status["collectionStats"]);
    if let Some(argocd) = status.get("argocd") {
        faults.argocd(argocd);
    }
    faults.found
}

#[derive(Default)]
struct Faults {
    found: Vec<String>,
}

impl Faults {
    fn expect(&mut self, is_right: bool, what: &str) {
        if !is_right {
            self.found.push(what.to_owned());
        }
    }

    fn status(&mut self, status: &Value) {
        let word = |field: &str| status[field].as_str().unwrap_or_default();
        self.expect(["operated", "enabled"].contains(&word("mode")), "mode");
        self.expect(["healthy", "degraded", "unhealthy"].contains(&word("health")), "health");
        self.expect(is_time(&status["lastUpdate"]), "lastUpdate");
        self.expect(!word("namespace").is_empty(), "namespace");
        match &status["error"] {
            Value::Null => self.expect(word("health") == "healthy", "no error though something is wrong"),
            Value::String(error) => {
                self.expect(word("health") != "healthy", "an error though nothing is wrong");
                self.expect(error.chars().count() <= 500, "the length of error");
            }
            _ => self.expect(false, "error"),
        }
        // 1.3: a block with a hole crashes a report, so there must be no block that nothing stands behind.
        for block in ["assessment", "aiConformance", "trivy", "tier", "registered", "apiKeyConfigured"] {
            self.expect(status.get(block).is_none(), block);
        }
    }

    fn collections(&mut self, stats: &Value) {
        for field in ["totalSuccessCount", "totalFailureCount", "collectionsStoredCount"] {
            self.expect(stats[field].is_u64(), field);
        }
        let time = stats.get("lastSuccessTime");
        self.expect(time.is_some_and(|time| time.is_null() || is_time(time)), "lastSuccessTime");
    }

    fn argocd(&mut self, argocd: &Value) {
        let detected = argocd["detected"].as_bool();
        self.expect(detected.is_some(), "argocd.detected");
        self.expect(argocd["namespace"].is_string() == (detected == Some(true)), "argocd.namespace");
        self.expect(
            argocd["version"].is_null() || argocd["version"].as_str().is_some_and(|v| v.starts_with('v')),
            "argocd.version",
        );
        self.expect(is_time(&argocd["lastChecked"]), "argocd.lastChecked");
        self.expect(
            argocd["resourceTreeCapable"].is_boolean() == (detected == Some(true)),
            "argocd.resourceTreeCapable",
        );
        if let Some(error) = argocd.get("resourceTreeLastError") {
            self.expect(
                argocd["resourceTreeCapable"] == false,
                "argocd.resourceTreeLastError though trees can be read",
            );
            self.expect(error["code"].is_string() && error["message"].is_string(), "argocd.resourceTreeLastError");
        }
    }
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && text.parse::<Timestamp>().is_ok())
}

/// 1.5, item 1: where the extension looks, in this order, unless it is told where.
pub(crate) fn finds(namespace: &str, setting: Option<&str>) -> bool {
    setting == Some(namespace) || ["kube9-system", "default"].contains(&namespace)
}

/// The same, where nobody told it: the first of these that has the ConfigMap, or the namespace that it names.
pub(crate) fn resolve(find: impl Fn(&str) -> Option<ConfigMap>) -> Option<String> {
    let named = |config_map: ConfigMap| config_map.data?.remove("namespace");
    let found = ["kube9-system", "default"].into_iter().find_map(|namespace| Some((namespace, find(namespace)?)));
    found.map(|(namespace, config_map)| named(config_map).unwrap_or_else(|| namespace.to_owned()))
}

mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "mode": "operated", "version": env!("CARGO_PKG_VERSION"), "health": "healthy",
            "lastUpdate": "2026-08-03T09:14:05Z", "error": null, "namespace": "kube9-system",
            "collectionStats": {
                "totalSuccessCount": 14, "totalFailureCount": 0, "collectionsStoredCount": 14,
                "lastSuccessTime": "2026-08-03T09:10:41Z"
            },
        })
    }

    fn config_map(status: &Value) -> ConfigMap {
        let data = [("status", status.to_string()), ("namespace", "kube9-system".to_owned())];
        let mut config_map: ConfigMap = serde_json::from_value(json!({"metadata": {
            "name": "kube9-operator-status", "namespace": "kube9-system",
            "labels": {"app.kubernetes.io/name": "kube9-operator", "app.kubernetes.io/component": "status"},
        }}))
        .unwrap();
        config_map.data = Some(BTreeMap::from(data.map(|(key, value)| (key.to_owned(), value))));
        config_map
    }

    fn with(field: &str, value: Value) -> ConfigMap {
        let mut status = status();
        status[field] = value;
        config_map(&status)
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn the_checker_itself_takes_the_example_of_the_contract() {
        assert_eq!(faults(&config_map(&status())), Vec::<String>::new());
        let verdict = verdict(Some(&config_map(&status())), at("2026-08-03T09:19:05Z"));
        assert_eq!(verdict.mode, Mode::Operated);
    }

    #[test]
    fn the_checker_itself_knows_every_mode_and_says_why() {
        let now = at("2026-08-03T09:15:00Z");
        let mode = |config_map: &ConfigMap| verdict(Some(config_map), now).mode;
        assert_eq!(verdict(None, now).mode, Mode::Basic);
        assert_eq!(mode(&with("version", json!(""))), Mode::Basic);
        assert_eq!(mode(&with("mode", json!("managed"))), Mode::Degraded);
        assert_eq!(mode(&with("health", json!("unhealthy"))), Mode::Degraded);
        assert_eq!(mode(&with("lastUpdate", json!("yesterday"))), Mode::Operated, "NaN is not greater than anything");
        let stale = verdict(Some(&config_map(&status())), at("2026-08-03T09:19:06Z"));
        assert_eq!((stale.mode, stale.why.as_str()), (Mode::Degraded, "the status is 301 s old"));
    }

    #[test]
    fn the_checker_itself_finds_each_fault() {
        let broken = [
            ("mode", json!("managed")),
            ("version", json!("1.0.0")),
            ("health", json!("fine")),
            ("lastUpdate", json!("2026-08-03 09:14:05")),
            ("error", json!("but why")),
            ("collectionStats", json!({})),
            ("argocd", json!({"detected": true})),
            (
                "argocd",
                json!({
                    "detected": true, "namespace": "a", "version": null, "lastChecked": "2026-08-03T09:14:05Z",
                    "resourceTreeCapable": true, "resourceTreeLastError": {"code": "a", "message": "b"},
                }),
            ),
            ("assessment", json!({})),
        ];
        for (field, value) in broken {
            assert_ne!(faults(&with(field, value)), Vec::<String>::new(), "{field}");
        }
    }

    #[test]
    fn the_checker_itself_looks_in_two_namespaces_and_the_configured_one() {
        assert!(finds("kube9-system", None) && finds("default", None) && finds("tools", Some("tools")));
        assert!(!finds("tools", None));
    }

    #[test]
    fn the_checker_itself_follows_a_pointer_unless_there_is_an_operator_before_it() {
        let pointer: ConfigMap = serde_json::from_value(json!({"data": {"namespace": "tools"}})).unwrap();
        let found = |there: &[&str]| resolve(|namespace| there.contains(&namespace).then(|| pointer.clone()));
        assert_eq!((found(&["default"]).as_deref(), found(&["tools"])), (Some("tools"), None));
        let own = |namespace: &str| (namespace == "kube9-system").then(|| config_map(&status()));
        assert_eq!(resolve(own).as_deref(), Some("kube9-system"));
    }
}
