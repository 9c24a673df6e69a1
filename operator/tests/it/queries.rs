//! What the extension asks by exec, in the words it uses, answered from a real API server.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::chart;
use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::events::{event, happen};
use crate::gitops;
use crate::nowhere::Nowhere;
use crate::operator::{Operator, answer, complaint};
use crate::tenant::Tenant;
use crate::wait::{seconds, until, until_true};

#[test]
fn events_are_listed_newest_first_in_the_shape_the_extension_reads() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let now = Timestamp::now();
    happen(&tenant, (0..30).map(|minutes| event(&tenant, minutes, now)));

    let arguments = ["query", "events", "list", "--object-kind=Pod", "--limit=25", "--format=json"];
    let namespace = format!("--object-namespace={}", tenant.namespace);
    let answer = answer(&tenant.operator().run(&[&arguments[..], &[&namespace]].concat()));

    assert_eq!(answer["pagination"], json!({"total": 30, "limit": 25, "offset": 0, "returned": 25}));
    let rows = answer["events"].as_array().unwrap();
    let newest = &rows[0];
    assert_eq!((&newest["title"], &newest["description"]), (&json!("BackOff"), &json!("number 0")));
    assert_eq!((&newest["severity"], &newest["event_type"]), (&json!("warning"), &json!("cluster")));
    assert_eq!((&newest["object_kind"], &newest["object_name"]), (&json!("Pod"), &json!("pod-0")));
    assert_eq!(newest["object_namespace"], tenant.namespace);
    assert_eq!(newest["metadata"]["count"], 1);
    assert!(newest["id"].as_str().unwrap().starts_with("evt_20"), "{newest}");
    let times: Vec<Timestamp> = rows.iter().map(|row| row["created_at"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
}

#[test]
fn everything_of_an_event_arrives_whichever_generation_it_is_of() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let object = |name: &str| json!({"kind": "Node", "namespace": tenant.namespace, "name": name});
    let first = json!({
        "metadata": {"name": "first", "namespace": tenant.namespace},
        "involvedObject": object("one"), "reason": "FailedMount", "message": "no such volume", "type": "Warning",
        "count": 7, "firstTimestamp": "2026-08-03T11:00:00Z", "lastTimestamp": "2026-08-03T11:30:00Z",
    });
    let second = json!({
        "metadata": {"name": "second", "namespace": tenant.namespace},
        "involvedObject": object("two"), "reason": "Pulled", "type": "Normal", "action": "Pull",
        "reportingComponent": "kubelet", "reportingInstance": "two", "eventTime": "2026-08-03T10:00:00.123456Z",
        "series": {"count": 3, "lastObservedTime": "2026-08-03T10:10:00.000000Z"},
    });
    happen(&tenant, [first, second].into_iter().map(|event| serde_json::from_value(event).unwrap()));

    let namespace = format!("--object-namespace={}", tenant.namespace);
    let answer = answer(&tenant.operator().run(&["query", "events", "list", &namespace]));

    let without_id = |index: usize| {
        let mut row = answer["events"][index].clone();
        row.as_object_mut().unwrap().remove("id").unwrap();
        row
    };
    let row = |reason: &str, severity: &str, description: &str, name: &str, count: u32, from: &str, to: &str| {
        json!({
            "event_type": "cluster", "severity": severity, "title": reason, "description": description,
            "object_kind": "Node", "object_namespace": tenant.namespace, "object_name": name,
            "metadata": {"reason": reason, "count": count, "first_timestamp": from, "last_timestamp": to},
            "created_at": to,
        })
    };
    let (from, to) = ("2026-08-03T11:00:00Z", "2026-08-03T11:30:00Z");
    assert_eq!(without_id(0), row("FailedMount", "error", "no such volume", "one", 7, from, to));
    let (from, to) = ("2026-08-03T10:00:00Z", "2026-08-03T10:10:00Z");
    assert_eq!(without_id(1), row("Pulled", "info", "", "two", 3, from, to));
}

#[test]
fn events_are_limited_to_a_time_a_kind_and_a_page() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let now = Timestamp::now();
    happen(&tenant, (0..10).map(|minutes| event(&tenant, minutes, now)));
    let namespace = format!("--object-namespace={}", tenant.namespace);
    let list = |arguments: &[&str]| {
        answer(&tenant.operator().run(&[&["query", "events", "list", &namespace], arguments].concat()))["pagination"]
            .clone()
    };

    let since = format!("--since={}", now - SignedDuration::from_secs(5 * 60 + 30));
    assert_eq!(list(&[&since]), json!({"total": 6, "limit": 50, "offset": 0, "returned": 6}));
    assert_eq!(list(&["--object-kind=Node"])["total"], 0);
    assert_eq!(list(&["--limit=4", "--offset=8"]), json!({"total": 10, "limit": 4, "offset": 8, "returned": 2}));
}

/// Whoever may edit one namespace may fill it with these.
#[test]
fn a_cluster_of_many_and_of_large_objects_is_watched_and_listed_in_little_time_and_memory() {
    let Some(cluster) = Cluster::start() else { return };
    gitops::install(&cluster, "gitops", "v3.0.6");
    std::thread::scope(|scope| {
        for some in 0..4 {
            let cluster = &cluster;
            scope.spawn(move || (some * 13..(some + 1) * 13).for_each(|it| chart::create(cluster, &large_server(it))));
        }
    });
    let tenant = Tenant::with_chart(&cluster, &["--set", "eventStore.enabled=true"], |rendered| rendered);
    let now = Timestamp::now();
    happen(&tenant, (0..10_000).map(|number| event(&tenant, number, now)));
    let large = |number: u32, text: &str| {
        let mut event = event(&tenant, number, now);
        event.message = Some(text.repeat(1_000_000 / text.len()));
        event
    };
    happen(&tenant, (10_000..10_020).map(|number| large(number, "password=a://b@")));
    let operator = tenant.operator().often().start();
    operator.wait_until_ready(seconds(20));

    let found = until("Argo CD is found", seconds(20), || {
        Some(tenant.status()?.0["argocd"].clone()).filter(|it| it["detected"] == true)
    });
    assert_eq!((&found["namespace"], &found["version"]), (&json!("gitops"), &json!("v3.0.6")));
    // As JSON, in which a watch brings it, it is six times as large.
    happen(&tenant, [large(10_020, "<"), large(10_021, "a b ")].into_iter());
    let skipped = || tenant.status().unwrap().0["skippedObjects"]["events"].clone();
    until_true("what cannot be read is told", seconds(20), || skipped() == 1);
    assert_eq!(operator.metric("kube9_operator_objects_skipped_total{task=\"events\"}"), 1.0);
    assert_eq!(tenant.verdict().mode, Mode::Operated, "one object is no trouble of the cluster");

    let list = ["query", "events", "list", "--limit=25", "--format=json"];
    let kept = || answer(&tenant.operator().run(&list))["pagination"]["total"].clone();
    until_true("all are kept, and the last one came by the watch", seconds(30), || kept() == 10_021);
    let live = || tenant.operator().with("EVENT_STORE", "false");
    let start = Instant::now();
    let output = live().run(&list);
    let elapsed = start.elapsed();
    let answer = answer(&output);
    assert_eq!(answer["pagination"], json!({"total": 10_022, "limit": 25, "offset": 0, "returned": 25}));
    assert_eq!(answer["events"][24]["description"], "number 24");
    // The benchmark holds the release build to its figure; this one is not optimised.
    assert!(elapsed < seconds(10), "{elapsed:?}");
    let memory = operator.vitals().peak_mb;
    assert!(memory < 32.0, "the operator does not keep them: {memory} MB at most");
    let memory = live().start_with(&list).most_memory();
    assert!(memory < 32.0, "a call does not keep them either: {memory} MB");
}

/// What looks like Argo CD, and is as large as the API server takes it.
fn large_server(number: u32) -> Value {
    let mut server = gitops::server("gitops", "v9.9.9");
    server["metadata"]["name"] = json!(format!("z-{number}"));
    server["spec"]["replicas"] = json!(0);
    server["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["x".repeat(1_400_000)]);
    server
}

#[test]
fn the_status_is_printed_as_the_extension_reads_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let _operator = tenant.operator().start();
    let status = tenant.wait_for_status();

    let answer = answer(&tenant.operator().run(&["query", "status", "--format=json"]));

    assert_eq!(answer["mode"], status.0["mode"]);
    assert_eq!(answer["namespace"], tenant.namespace);
    let table = tenant.operator().run(&["query", "status", "--format=table"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("health           healthy\n"));
}

#[test]
fn a_query_that_fails_prints_one_object_to_standard_error_only() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);

    let missing = complaint(&tenant.operator().run(&["query", "status"]));
    assert!(missing["details"].as_str().unwrap().contains("is the operator running"), "{missing}");

    tenant.revoke();
    let forbidden = complaint(&tenant.operator().run(&["query", "events", "list"]));
    assert_eq!(forbidden["error"], "cannot list events");
    assert!(forbidden["details"].as_str().unwrap().contains("rbac.create=false"), "{forbidden}");

    let nowhere = Nowhere::new();
    let unreachable = complaint(&nowhere.operator().run(&["query", "events", "list"]));
    assert!(unreachable["details"].as_str().unwrap().contains("unreachable"), "{unreachable}");
}

#[test]
fn a_query_with_a_mistake_in_it_is_refused_in_json() {
    for arguments in [
        &["query"][..],
        &["query", "collections", "list"],
        &["query", "events", "list", "--limit=0"],
        &["query", "events", "list", "--since=yesterday"],
        &["query", "events", "list", "--format"],
        &["query", "status", "--limit=1"],
    ] {
        let complaint = complaint(&Operator::new().run(arguments));
        assert_eq!(complaint["error"], "unusable arguments", "{arguments:?}");
    }
}
