//! What an operator asked for, by the API server's own account.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::tenant::Tenant;
use crate::wait::{seconds, until};

/// One request, as it was when it was answered. A watch has two: when it begins, and when it ends.
pub(crate) struct Request {
    id: String,
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    /// With its parameters.
    pub(crate) address: String,
    pub(crate) came: Timestamp,
    pub(crate) answered: Timestamp,
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

/// When the API server had answered the first write of a ConfigMap. Nobody asks it for that ConfigMap meanwhile: it would have to
/// answer that as well.
pub(crate) fn first_write(tenant: &Tenant, config_map: &str) -> Timestamp {
    let first = || requests(tenant).into_iter().find(|request| request.wrote(config_map));
    until("the ConfigMap is written", seconds(10), first).answered
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
        answered: entry["stageTimestamp"].as_str()?.parse().ok()?,
        is_success: entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300),
        is_over: entry["stage"] == "ResponseComplete",
    })
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.verb == "watch"
    }

    /// What is watched, whatever the version from which on: that comes before the selectors, and is never the same.
    fn thing(&self) -> (&str, &str) {
        let (path, parameters) = self.address.split_once('?').unwrap_or((&self.address, ""));
        let selectors = parameters.split_once("&resourceVersion=").map_or("", |(_, rest)| rest);
        (path, selectors.split_once('&').map_or("", |(_, selectors)| selectors))
    }

    /// Whether it wrote this ConfigMap.
    pub(crate) fn wrote(&self, config_map: &str) -> bool {
        self.is_success && self.verb == "patch" && self.resource == "configmaps" && self.name == config_map
    }
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watches {
    /// Of so many things the newest watch goes on. One that is begun anew ends a moment before the next begins.
    pub(crate) open: usize,
    /// So many go on although there is a newer one of the same thing.
    pub(crate) left_behind: usize,
}

pub(crate) fn watches(requests: &[Request]) -> Watches {
    let watches = || requests.iter().filter(|request| request.is_watch());
    let ended: BTreeSet<&str> = watches().filter(|watch| watch.is_over).map(|watch| watch.id.as_str()).collect();
    let mut newest: BTreeMap<(&str, &str), (Timestamp, &str)> = BTreeMap::new();
    for watch in watches() {
        let known = newest.entry(watch.thing()).or_insert((watch.came, &watch.id));
        *known = (*known).max((watch.came, &watch.id));
    }
    let going_on: BTreeSet<&str> = watches().map(|watch| watch.id.as_str()).filter(|id| !ended.contains(id)).collect();
    let open = newest.values().filter(|(_, id)| going_on.contains(id)).count();
    Watches { open, left_behind: going_on.len() - open }
}

#[test]
fn a_watch_that_is_lost_or_left_behind_is_told_from_one_that_is_begun_anew() {
    let request = |number: i64, path: &str, is_over: bool| Request {
        id: number.to_string(),
        verb: "watch".to_owned(),
        resource: String::new(),
        name: String::new(),
        address: format!("{path}?watch=true&resourceVersion={number}&labelSelector=a"),
        came: Timestamp::from_second(number).unwrap(),
        answered: Timestamp::from_second(number).unwrap(),
        is_success: true,
        is_over,
    };
    let judged = |log: &[Request]| {
        let Watches { open, left_behind } = watches(log);
        (open, left_behind)
    };
    let begun = || vec![request(1, "/pods", false), request(2, "/nodes", false)];
    assert_eq!(judged(&begun()), (2, 0));
    let with = |more: Vec<Request>| judged(&begun().into_iter().chain(more).collect::<Vec<_>>());
    assert_eq!(with(vec![request(1, "/pods", true)]), (1, 0));
    assert_eq!(with(vec![request(3, "/pods", false)]), (2, 1));
    assert_eq!(with(vec![request(3, "/pods", false), request(1, "/pods", true)]), (2, 0));
    // It does not make up for the one that is over.
    assert_eq!(with(vec![request(3, "/pods", false), request(3, "/pods", true)]), (1, 1));
}
