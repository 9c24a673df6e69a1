//! Events, as many as a test needs.

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::tenant::Tenant;

pub(crate) fn happen(tenant: &Tenant, events: impl Iterator<Item = Event>) {
    let api: Api<Event> = Api::namespaced(tenant.cluster.admin.clone(), &tenant.namespace);
    let create = |event| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &event).await.unwrap() }
    };
    tenant.cluster.run(stream::iter(events).map(create).buffer_unordered(32).for_each(async |_created| {}));
}

/// The API server forgets all of them, as it does with each after an hour.
pub(crate) fn expire(tenant: &Tenant) {
    let api: Api<Event> = Api::namespaced(tenant.cluster.admin.clone(), &tenant.namespace);
    tenant.cluster.run(api.delete_collection(&DeleteParams::default(), &ListParams::default())).unwrap();
}

/// One that was last seen so many minutes ago.
pub(crate) fn event(tenant: &Tenant, minutes: u32, now: Timestamp) -> Event {
    event_at(tenant, minutes, now - SignedDuration::from_mins(minutes.into()))
}

pub(crate) fn event_at(tenant: &Tenant, number: u32, time: Timestamp) -> Event {
    serde_json::from_value(json!({
        "metadata": {"name": format!("event-{number}"), "namespace": tenant.namespace},
        "involvedObject": {"kind": "Pod", "namespace": tenant.namespace, "name": format!("pod-{number}")},
        "reason": "BackOff", "message": format!("number {number}"), "type": "Warning", "count": 1,
        "firstTimestamp": format!("{time:.0}"), "lastTimestamp": format!("{time:.0}"),
    }))
    .unwrap()
}
