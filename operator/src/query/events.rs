//! The newest events of the cluster, in the shape that kube9 shows.
//!
//! The API server has events in no useful order, so all that match are read, page by page, and only as many are kept
//! as were asked for. Filters on the object are left to the API server.

mod wire;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::Client;
use kube::api::ListParams;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::{Class, Failure};
use crate::kubernetes::{self, Metadata};
use crate::status::{rfc_3339, shortened};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) namespace: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

/// What a table shows of an event.
pub(super) const COLUMNS: [&str; 6] =
    ["created_at", "severity", "object_namespace", "object_kind", "object_name", "description"];

/// Few requests for 10,000 events, and little to keep of each answer.
const PAGE: u32 = 2000;

const LONGEST_TITLE: usize = 200;
const LONGEST_DESCRIPTION: usize = 1000;

/// The answer as kube9 reads it.
pub(super) async fn list(client: &Client, filter: &Filter) -> Result<Value, Failure> {
    let newest = match read(client, filter).await {
        // Reading took so long that the rest is no longer what it was; a second time is usually quicker.
        Err(failure) if failure.class == Class::Expired => read(client, filter).await,
        answer => answer,
    };
    Ok(newest?.page())
}

async fn read<'filter>(client: &Client, filter: &'filter Filter) -> Result<Newest<'filter>, Failure> {
    let mut newest = Newest::new(filter);
    let mut parameters = ListParams { field_selector: selector(filter), limit: Some(PAGE), ..ListParams::default() };
    loop {
        let mut page = kubernetes::list_compactly::<Event>(client, &path(filter), &parameters).await?;
        page.items().into_iter().for_each(|event| newest.add(event));
        parameters.continue_token = page.next();
        if parameters.continue_token.is_none() {
            return Ok(newest);
        }
    }
}

/// The events of objects in a namespace are in that namespace, which is all that has to be searched then.
fn path(filter: &Filter) -> String {
    match &filter.namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/events"),
        None => "/api/v1/events".to_owned(),
    }
}

fn selector(filter: &Filter) -> Option<String> {
    // In the namespace `default` there are events of objects that have none, too.
    let namespace = filter.namespace.as_ref().map(|namespace| format!("involvedObject.namespace={namespace}"));
    let kind = filter.kind.as_ref().map(|kind| format!("involvedObject.kind={kind}"));
    let parts: Vec<String> = namespace.into_iter().chain(kind).collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// The newest of all events that were added, and how many those were.
struct Newest<'filter> {
    filter: &'filter Filter,
    /// By time; the identity keeps apart what happened in the same second, always in the same order.
    kept: BTreeMap<(Timestamp, String), Event>,
    total: usize,
}

impl<'filter> Newest<'filter> {
    fn new(filter: &'filter Filter) -> Self {
        Self { filter, kept: BTreeMap::new(), total: 0 }
    }

    fn add(&mut self, event: Event) {
        let time = event.last();
        if self.filter.since.is_some_and(|since| time < since) {
            return;
        }
        self.total += 1;
        self.kept.insert((time, event.metadata.uid.clone()), event);
        if self.kept.len() > self.filter.limit + self.filter.offset {
            self.kept.pop_first();
        }
    }

    fn page(&self) -> Value {
        let rows: Vec<Value> = self.kept.values().rev().skip(self.filter.offset).map(row).collect();
        let pagination = json!({
            "total": self.total,
            "limit": self.filter.limit,
            "offset": self.filter.offset,
            "returned": rows.len(),
        });
        json!({"events": rows, "pagination": pagination})
    }
}

fn row(event: &Event) -> Value {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    json!({
        "id": id(event),
        "event_type": "cluster",
        "severity": severity(&text(&event.reason), &text(&event.kind)),
        "title": shortened(&text(&event.reason), LONGEST_TITLE),
        "description": shortened(text(&event.message).trim_end(), LONGEST_DESCRIPTION),
        "object_kind": event.involved_object.kind,
        "object_namespace": event.involved_object.namespace,
        "object_name": event.involved_object.name,
        "metadata": {
            "reason": event.reason,
            "count": event.count(),
            "first_timestamp": rfc_3339(event.first()),
            "last_timestamp": rfc_3339(event.last()),
        },
        // What happens again is news again.
        "created_at": rfc_3339(event.last()),
    })
}

/// The same as long as the API server has the event, also when it happens again.
fn id(event: &Event) -> String {
    let digits: String = event.metadata.uid.chars().filter(char::is_ascii_hexdigit).collect();
    let tail = digits.get(digits.len().saturating_sub(6)..).unwrap_or_default();
    format!("evt_{}_{tail:0>6}", event.first_seen().strftime("%Y%m%d_%H%M%S"))
}

fn severity(reason: &str, kind: &str) -> &'static str {
    match reason {
        "OOMKilled" | "NodeNotReady" | "FailedKillPod" => "critical",
        "Failed" | "CrashLoopBackOff" | "ImagePullBackOff" | "FailedScheduling" | "FailedBinding" | "FailedCreate"
        | "FailedMount" => "error",
        "BackOff" | "Unhealthy" | "EvictedPod" => "warning",
        _ if kind == "Warning" => "warning",
        _ => "info",
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    metadata: Metadata,
    involved_object: Object,
    reason: Option<String>,
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    count: Option<u64>,
    first_timestamp: Option<Timestamp>,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<Series>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    count: Option<u64>,
    last_observed_time: Option<Timestamp>,
}

/// Events come in two generations, with their times in different fields.
impl Event {
    fn first_seen(&self) -> Timestamp {
        self.metadata.creation_timestamp.unwrap_or_else(|| self.first())
    }

    fn first(&self) -> Timestamp {
        self.first_timestamp.or(self.event_time).or(self.metadata.creation_timestamp).unwrap_or_default()
    }

    fn last(&self) -> Timestamp {
        let series = self.series.as_ref().and_then(|series| series.last_observed_time);
        series.or(self.last_timestamp).unwrap_or_else(|| self.first())
    }

    fn count(&self) -> u64 {
        self.series.as_ref().and_then(|series| series.count).or(self.count).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(limit: usize, offset: usize) -> Filter {
        Filter { namespace: None, kind: None, since: None, limit, offset }
    }

    fn event(uid: &str, second: &str) -> Event {
        let time = format!("2026-08-03T12:00:{second}Z");
        serde_json::from_value(json!({"metadata": {"uid": uid}, "lastTimestamp": time})).unwrap()
    }

    fn page(filter: &Filter, events: impl IntoIterator<Item = Event>) -> Value {
        let mut newest = Newest::new(filter);
        events.into_iter().for_each(|event| newest.add(event));
        newest.page()
    }

    fn seconds(page: &Value) -> Vec<&str> {
        page["events"].as_array().unwrap().iter().map(|row| &row["created_at"].as_str().unwrap()[17..19]).collect()
    }

    #[test]
    fn the_newest_come_first_and_no_more_than_asked_for_are_kept() {
        let filter = any(2, 1);
        let page = page(&filter, ["01", "04", "02", "05", "03"].map(|second| event(second, second)));
        assert_eq!(seconds(&page), ["04", "03"]);
        assert_eq!(page["pagination"], json!({"total": 5, "limit": 2, "offset": 1, "returned": 2}));
    }

    #[test]
    fn what_happened_in_the_same_second_is_kept_apart() {
        let page = page(&any(9, 0), ["a", "b"].map(|uid| event(uid, "01")));
        assert_eq!(page["pagination"]["returned"], 2);
    }

    #[test]
    fn what_is_too_old_does_not_count() {
        let since = Some("2026-08-03T12:00:02Z".parse().unwrap());
        let page = page(&Filter { since, ..any(9, 0) }, ["01", "02", "03"].map(|second| event(second, second)));
        assert_eq!((seconds(&page), &page["pagination"]["total"]), (vec!["03", "02"], &json!(2)));
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
        assert_eq!(row(&event), expected);
    }

    #[test]
    fn an_event_of_the_second_generation_is_dated_by_its_series() {
        let event: Event = serde_json::from_value(json!({
            "metadata": {"uid": "1"}, "eventTime": "2026-08-03T11:00:00.123456Z",
            "series": {"count": 3, "lastObservedTime": "2026-08-03T11:10:00.000000Z"},
        }))
        .unwrap();
        let row = row(&event);
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
            assert_eq!(severity(reason, kind), expected, "{reason}");
        }
    }

    #[test]
    fn objects_are_filtered_by_the_api_server() {
        let filter = Filter { namespace: Some("shop".into()), kind: Some("Pod".into()), ..any(1, 0) };
        assert_eq!(path(&filter), "/api/v1/namespaces/shop/events");
        assert_eq!(selector(&filter).unwrap(), "involvedObject.namespace=shop,involvedObject.kind=Pod");
        assert_eq!(selector(&any(1, 0)), None);
    }
}
