//! What the operator costs whoever runs it: its memory, its time, its requests, and the time until kube9 can see it.
//!
//! Measured on a release build, with the chart's default values, against a real API server: `cargo bench --package
//! kube9-operator --bench costs`, and with `-- idle`, `-- crowd` or `-- events` only a part of it. The figures go to
//! the terminal and to `figures/operator.json`. `OPERATOR_BINARY` measures another build.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement that cannot go on stops by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is run for")]
#![allow(dead_code, reason = "the tests use more of what the two share")]

#[path = "../tests/it/audit.rs"]
mod audit;
mod big_cluster;
#[path = "../tests/it/chart.rs"]
mod chart;
#[path = "../tests/it/cluster.rs"]
mod cluster;
#[path = "../tests/it/consumer.rs"]
mod consumer;
#[path = "../tests/it/events.rs"]
mod events;
mod figures;
#[path = "../tests/it/helm.rs"]
mod helm;
#[path = "../tests/it/operator.rs"]
mod operator;
#[path = "../tests/it/port.rs"]
mod port;
#[path = "../tests/it/supervised.rs"]
mod supervised;
#[path = "../tests/it/tenant.rs"]
mod tenant;
#[path = "../tests/it/vitals.rs"]
mod vitals;
#[path = "../tests/it/wait.rs"]
mod wait;

use std::thread;
use std::time::{Duration, Instant};

use audit::Request;
use big_cluster::{NODES, PODS};
use cluster::Cluster;
use figures::Figures;
use jiff::Timestamp;
use serde_json::Value;
use tenant::{CONFIG_MAP, Tenant};
use wait::{seconds, until};

/// The figures are the worst of so many runs.
const RUNS: usize = 5;

/// Resident memory grows until a few requests have been served, and no more.
const SETTLING: Duration = seconds(2);

/// How long the operator is watched doing nothing; the first seconds do not count.
const IDLE: Duration = seconds(120);
const BEGINNING: Duration = seconds(10);

const EVENTS: u32 = 10_000;
const EVENTS_A_MINUTE: u32 = 10_000;

/// What events can be listed from: how that is told in the figures, and what the chart is told.
const EVENT_SOURCES: [(&str, &[&str]); 2] =
    [("", &["--set", "eventStore.enabled=false"]), (", with the event store", &[])];

/// A name, and what is measured under it.
type Part = (&'static str, fn(&Cluster, &mut Figures));

fn main() {
    let parts: [Part; 3] = [("idle", idle), ("crowd", crowd), ("events", events)];
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut figures = Figures::read();
    for (name, measure) in parts {
        if words.is_empty() || words.iter().any(|word| word == name) {
            let Some(cluster) = Cluster::start() else { return };
            measure(&cluster, &mut figures);
            figures.write();
        }
    }
}

/// What it costs when nothing happens, and how soon it is there.
fn idle(cluster: &Cluster, figures: &mut Figures) {
    let runs: Vec<Run> = (0..RUNS).map(|_| start(cluster)).collect();
    let worst = |figure: fn(&Run) -> f64| runs.iter().map(figure).fold(0.0, f64::max);
    figures.add("resident memory of the operator, connected and idle", worst(|run| run.memory_mb), "MB", Some(6.0));
    figures.add("from the operator's start to its first status", worst(|run| run.first_write_ms), "ms", Some(75.0));
    let tenant = Tenant::new(cluster);
    let operator = tenant.operator().start();
    operator.wait_until_ready(seconds(10));
    thread::sleep(BEGINNING);
    let asked = || audit::requests(&tenant).iter().filter(|request| !request.is_watch()).count();
    let before = (asked(), operator.metric("process_cpu_seconds_total"));
    thread::sleep(IDLE);
    let requests = (asked() - before.0) as f64 * 60.0 / IDLE.as_secs_f64();
    let cpu = (operator.metric("process_cpu_seconds_total") - before.1) * 1000.0 / IDLE.as_secs_f64();
    let what = "the operator's requests a minute when nothing changes, watches aside";
    figures.add(what, requests, "requests", Some(1.0));
    figures.add("the operator's processor time then", cpu, "millicores", Some(1.0));
}

struct Run {
    memory_mb: f64,
    first_write_ms: f64,
}

fn start(cluster: &Cluster) -> Run {
    let tenant = Tenant::new(cluster);
    let start = Timestamp::now();
    let operator = tenant.operator().start();
    let first_write = audit::first_write(&tenant, CONFIG_MAP);
    let first_write_ms = first_write.duration_since(start).as_secs_f64() * 1000.0;
    operator.wait_until_ready(seconds(10));
    // A few probes and scrapes are part of being connected.
    for path in ["/healthz", "/readyz", "/metrics"].repeat(3) {
        assert_eq!(operator.page(path).0, 200, "{path}");
    }
    thread::sleep(SETTLING);
    Run { memory_mb: operator.vitals().resident_mb, first_write_ms }
}

/// What it costs in a large cluster, from its start until all is counted.
fn crowd(cluster: &Cluster, figures: &mut Figures) {
    let tenant = Tenant::new(cluster);
    let begun = Instant::now();
    big_cluster::fill(&tenant);
    println!("filled the cluster in {:.0} s", begun.elapsed().as_secs_f64());
    let sent = bytes_sent(cluster);
    let operator = tenant.operator().start();
    let dashboard = until("the cluster is counted", seconds(60), || dashboard(&tenant));
    let sent = bytes_sent(cluster) - sent;
    assert_eq!(dashboard["nodes"]["totalNodes"], NODES, "{dashboard:#}");
    assert_eq!(dashboard["nodes"]["readyNodes"], NODES, "{dashboard:#}");
    assert_eq!(dashboard["workloads"]["pods"], PODS, "{dashboard:#}");
    let told = || {
        let output = tenant.operator().run(&["query", "status"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["collectionStats"]["totalSuccessCount"].as_u64().filter(|count| *count > 0)
    };
    assert_eq!(until("the status tells that it was counted", seconds(70), told), 1);
    let size = "with 5,000 nodes and 100,000 pods";
    figures.add(&format!("the most memory {size}"), operator.vitals().peak_mb, "MB", Some(48.0));
    figures.add(&format!("until a change {size} shows"), slowest_change(&tenant), "s", Some(15.0));
    let requests = audit::requests(&tenant);
    let lists: Vec<&Request> = requests.iter().filter(|request| is_count(request)).collect();
    let begun = lists.iter().map(|request| request.came).min().expect("it was counted");
    let done = requests.iter().find(|request| request.wrote(DASHBOARD)).expect("it was told").came;
    let what = format!("to count a cluster {size}");
    figures.add(&what, done.duration_since(begun).as_secs_f64(), "s", None);
    figures.add("requests for that", lists.len() as f64, "requests", None);
    figures.add("sent by the API server for that", sent / 1_000_000.0, "MB", None);
}

/// In seconds: of two pods, where the second comes right after the first has shown.
fn slowest_change(tenant: &Tenant) -> f64 {
    let show = |number: u32| {
        let start = Instant::now();
        big_cluster::add_pod(tenant, number);
        let shown = || dashboard(tenant).filter(|dashboard| dashboard["workloads"]["pods"] == number + 1);
        until("a change shows", seconds(30), shown);
        start.elapsed().as_secs_f64()
    };
    (PODS..PODS + 2).map(show).fold(0.0, f64::max)
}

/// Part of a collection; who looks for Argo CD says what it looks for.
fn is_count(request: &Request) -> bool {
    request.verb == "list" && !request.address.contains("Selector=")
}

/// For lists, by the API server's own account, to whomever.
fn bytes_sent(cluster: &Cluster) -> f64 {
    let request = hyper::Request::get("/metrics").body(Vec::new()).expect("the request is valid");
    let page = cluster.run(cluster.admin.request_text(request)).expect("the API server has metrics");
    let sums =
        page.lines().filter(|line| line.starts_with("apiserver_response_sizes_sum{") && line.contains("verb=\"LIST\""));
    sums.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

const DASHBOARD: &str = "kube9-dashboard-data";

fn dashboard(tenant: &Tenant) -> Option<Value> {
    serde_json::from_str(tenant.find(DASHBOARD)?.data?.get("dashboard")?).ok()
}

/// What it costs when much happens: for as long as many events come, and when they are asked for.
fn events(cluster: &Cluster, figures: &mut Figures) {
    let tenant = Tenant::new(cluster);
    let now = Timestamp::now();
    events::happen(&tenant, (0..EVENTS).map(|number| events::event(&tenant, number, now)));
    let time = (0..RUNS).map(|_| query_ms(&tenant)).fold(0.0, f64::max);
    figures.add("`query events list` with 10,000 events", time, "ms", Some(200.0));
    for (with, options) in EVENT_SOURCES {
        let (serving, asking) = a_minute_of_events(cluster, options);
        figures.add(&format!("the most memory at 10,000 events a minute{with}"), serving, "MB", Some(16.0));
        figures.add(&format!("the most memory of `query events list` then{with}"), asking, "MB", Some(16.0));
    }
}

/// The most memory of the operator and of those who ask for events, while 10,000 happen.
fn a_minute_of_events(cluster: &Cluster, options: &[&str]) -> (f64, f64) {
    let tenant = Tenant::with_chart(cluster, options, |rendered| rendered);
    let operator = tenant.operator().start();
    operator.wait_until_ready(seconds(10));
    let mut asking: f64 = 0.0;
    let start = Instant::now();
    for second in 0..60 {
        let now = Timestamp::now();
        let numbers = second * EVENTS_A_MINUTE / 60..(second + 1) * EVENTS_A_MINUTE / 60;
        events::happen(&tenant, numbers.map(|number| events::event(&tenant, number, now)));
        if second % 10 == 9 {
            asking = asking.max(tenant.operator().start_with(&QUERY).most_memory());
        }
        thread::sleep(seconds(u64::from(second) + 1).saturating_sub(start.elapsed()));
    }
    println!("{EVENTS_A_MINUTE} events in {:.0} s", start.elapsed().as_secs_f64());
    (operator.vitals().peak_mb, asking)
}

/// One call as kube9 makes it, in milliseconds from the process's start to its end.
fn query_ms(tenant: &Tenant) -> f64 {
    let start = Instant::now();
    let output = tenant.operator().run(&QUERY);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    start.elapsed().as_secs_f64() * 1000.0
}

const QUERY: [&str; 5] = ["query", "events", "list", "--limit=25", "--format=json"];
