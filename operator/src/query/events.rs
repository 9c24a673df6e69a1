//! The newest events of the cluster, in the shape that kube9 shows.
//!
//! What went wrong comes first. The API server has events in no useful order, so all that match are read, page by page, and only as many are kept
//! as were asked for. Filters on the object are left to the API server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_json::Value;

use crate::events::{Event, Filter, Record};
use crate::kubernetes::{Client, Form, List, Read};
use crate::runtime::{Class, Clock, Failure};
use crate::time::Timestamp;

/// What a table shows of an event.
pub(super) const COLUMNS: [&str; 6] =
    ["created_at", "severity", "object_namespace", "object_kind", "object_name", "description"];

/// Few requests for 10,000 events.
const PAGE: u32 = 2000;

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
    let list = List { field_selector: selector(filter), ..List::all(path(filter), PAGE, Form::COMPACT) };
    let now = || client.time().unwrap_or_else(|| Clock::start().calendar());
    client.list(&list, &mut |event| newest.add(event, now())).await?;
    Ok(newest)
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
    /// The oldest first, so that it can go.
    kept: BinaryHeap<Reverse<(Rank, Record)>>,
    total: usize,
    /// That could not be read.
    skipped: usize,
}

/// What is trouble comes before what is not, and then what is newer; the identity keeps what happened in the same second in the
/// same order always.
type Rank = (bool, Timestamp, String);

impl<'filter> Newest<'filter> {
    fn new(filter: &'filter Filter) -> Self {
        Self { filter, kept: BinaryHeap::new(), total: 0, skipped: 0 }
    }

    fn add(&mut self, event: Read<Event>, now: Timestamp) {
        let Ok(event) = event else {
            self.skipped += 1;
            return;
        };
        let time = event.last(now);
        if self.filter.since.is_some_and(|since| time < since) {
            return;
        }
        self.total += 1;
        let rank = (event.is_trouble(), time, event.metadata.uid.clone());
        let is_full = self.kept.len() >= self.filter.limit + self.filter.offset;
        // What is not kept need not be made fit to be told, either.
        if is_full && self.kept.peek().is_some_and(|Reverse((oldest, _))| rank < *oldest) {
            return;
        }
        self.kept.push(Reverse((rank, Record::of(&event, now))));
        if is_full {
            self.kept.pop();
        }
    }

    fn page(self) -> Value {
        let kept = self.kept.into_sorted_vec().into_iter().skip(self.filter.offset);
        let rows: Vec<Value> = kept.map(|Reverse((_, record))| record.row()).collect();
        self.filter.page(&rows, self.total, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let now = "2026-08-03T13:00:00Z".parse().unwrap();
        events.into_iter().for_each(|event| newest.add(Ok(event), now));
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
    fn trouble_comes_before_what_is_newer_and_fine() {
        let trouble: Event = serde_json::from_value(json!({
            "metadata": {"uid": "a"}, "lastTimestamp": "2026-08-03T12:00:01Z", "type": "Warning",
        }))
        .unwrap();
        let page = page(&any(2, 0), [event("b", "02"), trouble, event("c", "03")]);
        assert_eq!(seconds(&page), ["01", "03"]);
    }

    #[test]
    fn what_happened_in_the_same_second_is_kept_apart() {
        let page = page(&any(9, 0), ["a", "b"].map(|uid| event(uid, "01")));
        assert_eq!(page["pagination"]["returned"], 2);
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_counted() {
        let filter = any(9, 0);
        let mut newest = Newest::new(&filter);
        newest.add(Err("it is too large".to_owned()), Timestamp::MAX_UTC);
        newest.add(Ok(event("a", "01")), Timestamp::MAX_UTC);
        let pagination = json!({"total": 1, "limit": 9, "offset": 0, "returned": 1, "skipped": 1});
        assert_eq!(newest.page()["pagination"], pagination);
    }

    #[test]
    fn what_is_too_old_does_not_count() {
        let since = Some("2026-08-03T12:00:02Z".parse().unwrap());
        let page = page(&Filter { since, ..any(9, 0) }, ["01", "02", "03"].map(|second| event(second, second)));
        assert_eq!((seconds(&page), &page["pagination"]["total"]), (vec!["03", "02"], &json!(2)));
    }

    #[test]
    fn objects_are_filtered_by_the_api_server() {
        let filter = Filter { namespace: Some("shop".into()), kind: Some("Pod".into()), ..any(1, 0) };
        assert_eq!(path(&filter), "/api/v1/namespaces/shop/events");
        assert_eq!(selector(&filter).unwrap(), "involvedObject.namespace=shop,involvedObject.kind=Pod");
        assert_eq!(selector(&any(1, 0)), None);
    }
}
