//! Events that are kept: for longer than the API server has them, each once, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::chart;
use crate::cluster::Cluster;
use crate::events::{event, happen};
use crate::nowhere::Nowhere;
use crate::operator::{Running, answer, complaint};
use crate::proxy::{Answer, Proxy};
use crate::tenant::Tenant;
use crate::wait::{seconds, until, until_true};

const SWITCHED_ON: &[&str] = &["--set", "eventStore.enabled=true"];

/// As many as there are at most in an answer.
const ALL: &[&str] = &["--limit=1000"];

const PAGE_AND_A_HALF: u64 = 4096 + 2048;

/// SIGXFSZ, see signal(7).
const FILE_TOO_LARGE: i32 = 25;

#[test]
fn f1_events_are_listed_after_the_api_server_has_forgotten_them() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    keeper.happen(0..3);
    let live = list_live(&keeper.tenant);
    let _operator = keeper.start();
    keeper.wait_for(3);

    let parameters = DeleteParams::default();
    cluster.run(events(&keeper.tenant).delete_collection(&parameters, &Default::default())).unwrap();
    until_true("the API server has none", seconds(10), || list_live(&keeper.tenant)["pagination"]["total"] == 0);

    assert_eq!(keeper.list(&[]), live, "rows, identities and order are what they were");
    let page = keeper.list(&["--limit=1", "--offset=1"]);
    assert_eq!(page["pagination"], json!({"total": 3, "limit": 1, "offset": 1, "returned": 1}));
    assert_eq!(page["events"][0], live["events"][1]);
}

#[test]
fn f1_an_event_that_happens_again_is_one_row_and_all_is_well_is_none() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    let operator = keeper.start();
    operator.wait_until_ready(seconds(10));
    let now = Timestamp::now();
    let mut fine = event(&keeper.tenant, 7, now);
    (fine.type_, fine.reason) = (Some("Normal".to_owned()), Some("Pulled".to_owned()));
    happen(&keeper.tenant, [event(&keeper.tenant, 0, now), fine].into_iter());
    let first = keeper.wait_for(1);

    let again = json!({"count": 5, "lastTimestamp": format!("{:.0}", now + SignedDuration::from_secs(9))});
    let patch = Patch::Merge(&again);
    cluster.run(events(&keeper.tenant).patch("event-0", &PatchParams::default(), &patch)).unwrap();

    let row = until("it is counted", seconds(10), || {
        let row = keeper.list(&[])["events"][0].clone();
        (row["metadata"]["count"] == 5).then_some(row)
    });
    assert_eq!((keeper.total(), &row["id"]), (1, &first["events"][0]["id"]));
    assert!(operator.metric("kube9_operator_events_received_total{type=\"Normal\"}") >= 1.0);
    let stored = "kube9_operator_events_stored_total{event_type=\"cluster\",severity=\"warning\"}";
    assert!(operator.metric(stored) >= 2.0);
    assert!(operator.metric("kube9_operator_events_storage_size_bytes") > 4096.0);
    assert_eq!(operator.metric("kube9_operator_events_dropped_total"), 0.0);
}

#[test]
fn f1_what_is_written_into_events_to_do_harm_costs_nobody_theirs() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    let tenant = &keeper.tenant;
    let now = Timestamp::now();
    let mut negative = event(tenant, 0, now);
    negative.count = Some(-1);
    let hostile = |minutes: u32, field: &str, value: Value| -> Event {
        let mut event = serde_json::to_value(event(tenant, minutes, now)).unwrap();
        event[field] = value;
        serde_json::from_value(event).unwrap()
    };
    let message = "\u{1b}[2J\u{202e}--password hunter2 {\\\"token\\\":\\\"hunter2\\\"}";
    // What is listed, and then what is watched.
    happen(tenant, [negative.clone(), hostile(1, "lastTimestamp", json!("2999-01-01T00:00:00Z"))].into_iter());
    let operator = keeper.start();
    keeper.wait_for(2);
    negative.metadata.name = Some("watched".to_owned());
    let watched = [negative, hostile(3, "message", json!(message)), hostile(4, "reason", json!("Long".repeat(10_000)))];
    happen(tenant, watched.into_iter());
    create_with_invalid_utf_8(tenant);

    let rows = keeper.wait_for(6)["events"].clone();
    for row in rows.as_array().unwrap() {
        let last: Timestamp = row["created_at"].as_str().unwrap().parse().unwrap();
        assert!(last <= Timestamp::now() + SignedDuration::from_secs(1), "{row}");
        assert_eq!(row["metadata"]["count"], 1);
        assert!(row.to_string().len() < 2000, "{row}");
    }
    let text = rows.to_string();
    assert!(!text.contains("u001b") && !text.contains('\u{202e}') && !text.contains("hunter2"), "{text}");
    assert!(text.contains("a\u{fffd}b"), "{text}");
    let live = list_live(tenant);
    let sorted =
        |rows: &Value| -> BTreeSet<String> { rows.as_array().unwrap().iter().map(ToString::to_string).collect() };
    assert_eq!(sorted(&live["events"]), sorted(&rows));
    assert!(!operator.page("/metrics").1.contains("task_failures_total{task=\"events\""), "the watch never failed");
}

/// In protocol buffers texts may be anything; the API server takes them as they are.
fn create_with_invalid_utf_8(tenant: &Tenant) {
    let field = |number: u8, bytes: &[u8]| {
        let (low, high) = ((bytes.len() & 0x7f) as u8 | 0x80, (bytes.len() >> 7) as u8);
        [&[number << 3 | 2, low, high], bytes].concat()
    };
    let namespace = tenant.namespace.as_bytes();
    let metadata = [field(1, b"invalid"), field(3, namespace)].concat();
    let object = [field(1, b"Pod"), field(2, namespace), field(3, b"pod")].concat();
    let event =
        [field(1, &metadata), field(2, &object), field(3, b"BackOff"), field(4, b"a\xffb"), field(9, b"Warning")]
            .concat();
    let kind = [field(1, b"v1"), field(2, b"Event")].concat();
    let body = [&b"k8s\0"[..], &field(1, &kind), &field(2, &event)].concat();
    let path = format!("/api/v1/namespaces/{}/events", tenant.namespace);
    let request = hyper::Request::post(path).header("content-type", "application/vnd.kubernetes.protobuf").body(body);
    tenant.cluster.run(tenant.cluster.admin.request_text(request.unwrap())).unwrap();
}

#[test]
fn f2_an_operator_that_is_killed_half_way_through_a_write_begins_again_without_a_loss_or_a_duplicate() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    keeper.happen(0..100);
    let mut operator = keeper.start();
    let before = keeper.wait_for(100);

    // The kernel kills whoever writes beyond a limit. Any row takes more than this: it adds to a table and to two indexes.
    let journal = || fs::metadata(keeper.file("kube9.db-wal")).unwrap().len();
    keeper.stop_between_writes(&operator);
    let whole = journal();
    limit_files(&operator, &(whole + PAGE_AND_A_HALF).to_string());
    operator.signal("CONT");
    keeper.happen(100..200);
    let (status, _, log) = operator.end(seconds(20));
    assert_eq!(status.signal(), Some(FILE_TOO_LARGE), "{log}");
    assert_eq!(journal(), whole + PAGE_AND_A_HALF, "it was not in the middle of a write");
    assert_eq!(keeper.list(ALL), before, "half a write is none");

    let _operator = keeper.start();
    let after = keeper.wait_for(200);
    let identities = |answer: &Value| -> BTreeSet<String> {
        answer["events"].as_array().unwrap().iter().map(|row| row["id"].to_string()).collect()
    };
    assert_eq!(identities(&after).len(), 200);
    assert!(identities(&after).is_superset(&identities(&before)));
}

#[test]
fn f1_f2_the_watch_outlives_a_restart_of_the_api_server_and_what_came_before_a_signal_is_written_after_it() {
    let Some(cluster) = Cluster::start() else { return };
    let keeper = Keeper::new(&cluster);
    let mut operator = keeper.start();
    keeper.happen(1..2);
    keeper.wait_for(1);

    cluster.restart_api_server();
    keeper.happen(2..3);

    keeper.wait_for(2);
    operator.wait_until_ready(seconds(40));
    assert_eq!(operator.metric("kube9_operator_task_running{task=\"events\"}"), 1.0);

    // More than are written at a time, and fewer than find room.
    keeper.stop_between_writes(&operator);
    keeper.happen_as("Error", 3..1000);
    let busy = keeper.keep_busy();
    operator.signal("CONT");
    let received = || operator.metric("kube9_operator_events_received_total{type=\"Error\"}");
    until_true("they have come", seconds(10), || received() >= 997.0);
    assert_eq!(keeper.total(), 2, "they were written before the signal");
    operator.terminate();
    drop(busy);

    assert!(operator.end(seconds(6)).0.success());
    assert_eq!(keeper.total(), 999);
}

#[test]
fn f1_a_place_in_history_that_is_gone_is_survived() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    keeper.happen(1..2);
    let proxy = Proxy::start(cluster, Answer::Refusal(410, "Expired"));
    let operator = keeper.tenant.operator_through(&proxy.url).start();
    let expired = "kube9_operator_task_failures_total{task=\"events\",reason=\"expired\"}";
    until_true("it is refused", seconds(15), || operator.page("/metrics").1.contains(expired));

    proxy.answer_with(Answer::Forwarded);

    keeper.wait_for(1);
}

#[test]
fn f1_a_watch_that_is_told_in_its_course_that_its_place_is_gone_begins_with_a_list_again() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    let proxy = Proxy::start(cluster, Answer::WatchesExpire);
    let operator = keeper.tenant.operator_through(&proxy.url).start();
    let expired = "kube9_operator_task_failures_total{task=\"events\",reason=\"expired\"}";
    until_true("it is told", seconds(15), || operator.page("/metrics").1.contains(expired));

    // Nothing but a list brings it.
    keeper.happen(1..2);
    keeper.wait_for(1);

    proxy.answer_with(Answer::Forwarded);
    until_true("it is watched again", seconds(60), || {
        operator.metric("kube9_operator_task_running{task=\"events\"}") >= 1.0
    });
}

#[test]
fn a_watch_that_is_forbidden_shows_everywhere_and_recovers() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::with_chart(cluster, |mut rendered| {
        for role in rendered.0.iter_mut().filter(|object| object["kind"] == "ClusterRole") {
            role["rules"].as_array_mut().unwrap().retain(|rule| rule["resources"] != json!(["events"]));
        }
        rendered
    });
    let operator = keeper.start();

    let complaint = until("it is told", seconds(40), || {
        Some(operator.page("/readyz").1).filter(|complaint| complaint.contains("watch of events failed"))
    });
    assert!(complaint.contains("forbidden"), "{complaint}");
    assert!(operator.metric("kube9_operator_task_failures_total{task=\"events\",reason=\"forbidden\"}") >= 3.0);
    let status = until("it is in the status", seconds(40), || {
        keeper.tenant.status().filter(|status| status.health() == "degraded")
    });
    assert!(status.0["error"].as_str().unwrap().contains("watch of events failing"), "{status:?}");

    chart::create(cluster, &role_for_events(&keeper.tenant));
    chart::create(cluster, &binding_for_events(&keeper.tenant));
    operator.wait_until_ready(seconds(60));
    until_true("all is well", seconds(20), || keeper.tenant.status().unwrap().health() == "healthy");
}

#[test]
fn f3_what_has_been_kept_for_long_enough_is_removed_at_the_start_and_every_six_hours() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    let now = Timestamp::now();
    let aged = |name: &str, reason: &str, days: u32| {
        let mut event = event(&keeper.tenant, days * 24 * 60, now);
        event.metadata.name = Some(name.to_owned());
        event.involved_object.name = Some(name.to_owned());
        event.reason = Some(reason.to_owned());
        event
    };
    let names = || -> Vec<String> {
        let Some(answer) = keeper.try_list(&[]) else { return Vec::new() };
        let rows = answer["events"].as_array().unwrap().iter();
        rows.map(|row| row["object_name"].as_str().unwrap().to_owned()).collect()
    };
    let at_the_start = [
        aged("mild-6", "BackOff", 6),
        aged("mild-8", "BackOff", 8),
        aged("grave-29", "Failed", 29),
        aged("grave-31", "Failed", 31),
    ];
    happen(&keeper.tenant, at_the_start.into_iter());
    // Six hours in ten seconds; the first minute in an instant.
    let fast = keeper.tenant.operator().with("TEST_CLOCK_SPEED", "2160").with("COLLECTION_ENABLED", "false");
    let _operator = fast.with("STATUS_UPDATE_INTERVAL_SECONDS", "120").start();

    until_true("the old ones are gone", seconds(30), || names() == ["mild-6", "grave-29"]);

    happen(&keeper.tenant, [aged("mild-9", "BackOff", 9)].into_iter());
    until_true("it is kept at first", seconds(10), || names().contains(&"mild-9".to_owned()));
    until_true("it is gone six hours later", seconds(40), || names() == ["mild-6", "grave-29"]);
}

#[test]
fn a_store_that_is_switched_off_watches_nothing_and_writes_nothing() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let operator = tenant.operator().start();
    operator.wait_until_ready(seconds(10));
    assert!(!operator.page("/metrics").1.contains("task=\"events\""));
    assert_eq!(fs::read_dir(tenant.data_folder()).unwrap().count(), 0);
    let user = format!("system:serviceaccount:{}:kube9-operator", tenant.namespace);
    let log = cluster.audit_log();
    let mut requests = log.lines().filter(|line| line.contains(&user));
    assert!(requests.all(|line| !line.contains("\"resource\":\"events\"")));
}

#[test]
fn a_folder_that_cannot_be_used_stops_the_start_with_one_error() {
    for folder in ["/nowhere/at/all", "/proc"] {
        let nowhere = Nowhere::new();
        let output = nowhere.operator().with("EVENT_STORE", "true").with("DB_PATH", folder).run(&[]);
        assert_eq!(output.status.code(), Some(1));
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("cannot open the event store in {folder}: ")), "{message}");
    }
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_the_status_is_still_written() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    let operator = keeper.tenant.operator().often().with("TEST_CLOCK_SPEED", "5").ignoring("XFSZ").start();
    keeper.happen(1..2);
    keeper.wait_for(1);
    limit_files(&operator, "0");

    keeper.happen(2..3);
    let status =
        until("it is told", seconds(40), || keeper.tenant.status().filter(|status| status.health() == "unhealthy"));
    assert!(status.0["error"].as_str().unwrap().contains("event store failing"), "{status:?}");
    assert_eq!(operator.metric("kube9_operator_task_running{task=\"event_store\"}"), 0.0);
    let (_, metrics) = operator.page("/metrics");
    assert!(metrics.contains("kube9_operator_events_errors_total{reason="), "{metrics}");
    let writes = operator.writes("success");
    until_true("the status is still written", seconds(20), || operator.writes("success") > writes);
    assert_eq!(keeper.total(), 1, "what was written can be read");

    limit_files(&operator, "unlimited");
    keeper.wait_for(2);
    until_true("all is well", seconds(20), || keeper.tenant.status().unwrap().health() == "healthy");
}

#[test]
fn a_file_that_is_damaged_is_moved_aside_and_filled_again() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    let _operator = keeper.start();
    keeper.happen(1..2);
    keeper.wait_for(1);

    fs::write(keeper.file("kube9.db"), "no database at all").unwrap();
    keeper.happen(2..3);

    keeper.wait_for(2);
    assert!(keeper.file("kube9.db.damaged").is_file());
}

#[test]
fn a_store_that_cannot_be_read_is_an_error_and_no_answer() {
    let Some(cluster) = Cluster::shared() else { return };
    let keeper = Keeper::new(cluster);
    let complaint = complaint(&keeper.query(&[]));
    assert_eq!(complaint["error"], "cannot read the event store");
    assert!(complaint["details"].as_str().unwrap().contains("is the operator running"), "{complaint}");
}

/// They have to come faster than the store runs out of patience.
mod timed {
    use super::*;

    #[test]
    fn f1_more_at_once_than_there_is_room_for_is_had_again() {
        let Some(cluster) = Cluster::shared() else { return };
        let keeper = Keeper::new(cluster);
        let operator = keeper.start();
        let dropped = || operator.metric("kube9_operator_events_dropped_total");
        let failures = || {
            let (_, metrics) = operator.page("/metrics");
            let failures = metrics.lines().filter(|line| line.starts_with("kube9_operator_events_errors_total{"));
            failures.map(str::to_owned).collect::<Vec<_>>()
        };
        keeper.happen(0..1);
        keeper.wait_for(1);

        let shown = (0..4).any(|round| {
            let before = (dropped(), failures());
            keeper.stop_between_writes(&operator);
            keeper.happen(round * 1500 + 1..round * 1500 + 1501);
            let busy = keeper.keep_busy();
            operator.signal("CONT");
            until_true("some find no room", seconds(20), || dropped() > before.0 || failures() != before.1);
            drop(busy);
            keeper.wait_for(u64::from(round) * 1500 + 1501);
            // Where the machine is so slow that the store ran out of patience, that failure had all of them listed anew.
            failures() == before.1
        });

        assert!(shown, "the store failed in every round: {:?}", failures());
    }
}

/// A tenant whose operator keeps events.
struct Keeper<'cluster> {
    tenant: Tenant<'cluster>,
}

impl<'cluster> Keeper<'cluster> {
    fn new(cluster: &'cluster Cluster) -> Self {
        Self::with_chart(cluster, |rendered| rendered)
    }

    fn with_chart(cluster: &'cluster Cluster, tamper: impl FnOnce(chart::Rendered) -> chart::Rendered) -> Self {
        Self { tenant: Tenant::with_chart(cluster, SWITCHED_ON, tamper) }
    }

    fn start(&self) -> Running {
        self.tenant.operator().often().start()
    }

    /// One event for each number.
    fn happen(&self, numbers: Range<u32>) {
        self.happen_as("Warning", numbers);
    }

    fn happen_as(&self, kind: &str, numbers: Range<u32>) {
        let of_kind = |number| {
            let mut event = event(&self.tenant, number, Timestamp::now());
            event.type_ = Some(kind.to_owned());
            event
        };
        happen(&self.tenant, numbers.map(of_kind));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.tenant.data_folder().join(name)
    }

    /// So that whatever happens next comes all at once.
    fn stop_between_writes(&self, operator: &Running) {
        let _busy = self.keep_busy();
        operator.signal("STOP");
    }

    /// Nobody else can write into the store meanwhile, but whoever tries waits for two seconds before that is a failure.
    fn keep_busy(&self) -> Connection {
        let connection = Connection::open(self.file("kube9.db")).unwrap();
        connection.busy_timeout(seconds(2)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    }

    /// As the extension does it: a process of its own, in the operator's environment. The API server is not needed.
    fn query(&self, arguments: &[&str]) -> Output {
        let namespace = format!("--object-namespace={}", self.tenant.namespace);
        let operator = self.tenant.operator().with("KUBECONFIG", "/nowhere");
        operator.run(&[&["query", "events", "list", &namespace, "--format=json"], arguments].concat())
    }

    #[track_caller]
    fn list(&self, arguments: &[&str]) -> Value {
        answer(&self.query(arguments))
    }

    fn total(&self) -> u64 {
        self.list(&[])["pagination"]["total"].as_u64().unwrap()
    }

    /// None as long as there is no store.
    fn try_list(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.query(arguments);
        output.status.success().then(|| answer(&output))
    }

    #[track_caller]
    fn wait_for(&self, total: u64) -> Value {
        let is_there = |answer: &Value| answer["pagination"]["total"] == total;
        let kept = || self.try_list(ALL).filter(is_there);
        until(&format!("{total} events are kept"), seconds(60), kept)
    }
}

fn list_live(tenant: &Tenant) -> Value {
    let namespace = format!("--object-namespace={}", tenant.namespace);
    let operator = tenant.operator().with("EVENT_STORE", "false");
    answer(&operator.run(&["query", "events", "list", &namespace, "--format=json"]))
}

fn events(tenant: &Tenant) -> Api<Event> {
    Api::namespaced(tenant.cluster.admin.clone(), &tenant.namespace)
}

fn role_for_events(tenant: &Tenant) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": format!("events-{}", tenant.namespace)},
        "rules": [{"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]}],
    })
}

fn binding_for_events(tenant: &Tenant) -> Value {
    let name = format!("events-{}", tenant.namespace);
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "kube9-operator", "namespace": tenant.namespace}],
    })
}

/// No file may grow beyond this, as on a full disk. Nor does the kernel keep the memory of who tried.
fn limit_files(operator: &Running, bytes: &str) {
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", &operator.id().to_string(), &format!("--fsize={bytes}:"), "--core=0:"]);
    assert!(limit.status().unwrap().success());
}
