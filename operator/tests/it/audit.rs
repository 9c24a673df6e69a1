//! What an operator asked for, by the API server's own account.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::tenant::Tenant;

/// One request, as it was when it was answered. A watch has two: when it begins, and when it ends.
pub(crate) struct Request {
    id: String,
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    /// With its parameters.
    pub(crate) address: String,
    pub(crate) came: Timestamp,
    is_success: bool,
    is_over: bool,
}

/// All of a tenant so far, in the order of their answers.
pub(crate) fn requests(tenant: &Tenant) -> Vec<Request> {
    let user = format!("system:serviceaccount:{}:kube9-operator", tenant.namespace);
    let log = tenant.cluster.audit_log();
    // The last line may not be complete yet.
    let lines = log.lines().filter(|line| line.contains(&user));
    lines.filter_map(|line| request(&serde_json::from_str(line).ok()?)).collect()
}

fn request(entry: &Value) -> Option<Request> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reference = &entry["objectRef"];
    Some(Request {
        id: word(&entry["auditID"]),
        verb: word(&entry["verb"]),
        resource: word(&reference["resource"]),
        name: word(&reference["name"]),
        address: word(&entry["requestURI"]),
        came: entry["requestReceivedTimestamp"].as_str()?.parse().ok()?,
        is_success: entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300),
        is_over: entry["stage"] == "ResponseComplete",
    })
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.verb == "watch"
    }

    /// Whether it wrote this ConfigMap.
    pub(crate) fn wrote(&self, config_map: &str) -> bool {
        self.is_success && self.verb == "patch" && self.resource == "configmaps" && self.name == config_map
    }
}

/// How many watches that began at a time or later go on.
pub(crate) fn open_watches(requests: &[Request], since: Timestamp) -> usize {
    let watches = || requests.iter().filter(|request| request.is_watch() && request.came >= since);
    let ended: BTreeSet<&str> = watches().filter(|watch| watch.is_over).map(|watch| watch.id.as_str()).collect();
    watches().filter(|watch| !ended.contains(watch.id.as_str())).count()
}
