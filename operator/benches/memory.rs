//! What the operator costs whoever runs it: its memory, its time, its requests, and the time until kube9 can see it.
//!
//! Measured on a release build, with the chart's default values, against a real API server. The figures go to the
//! terminal and to `figures/operator.json`. `OPERATOR_BINARY` measures another build.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement that cannot go on stops by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is run for")]
#![allow(dead_code, reason = "the tests use more of what the two share")]

#[path = "../tests/it/chart.rs"]
mod chart;
#[path = "../tests/it/cluster.rs"]
mod cluster;
#[path = "../tests/it/consumer.rs"]
mod consumer;
#[path = "../tests/it/events.rs"]
mod events;
#[path = "../tests/it/operator.rs"]
mod operator;
#[path = "../tests/it/supervised.rs"]
mod supervised;
#[path = "../tests/it/tenant.rs"]
mod tenant;
#[path = "../tests/it/vitals.rs"]
mod vitals;
#[path = "../tests/it/wait.rs"]
mod wait;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use cluster::Cluster;
use tenant::Tenant;
use wait::{seconds, until};

/// The figures are the worst of so many runs.
const RUNS: usize = 5;

/// Resident memory grows until a few requests have been served, and no more.
const SETTLING: Duration = seconds(2);

const MEMORY_REACH_MB: f64 = 8.0;
const FIRST_WRITE_REACH_MS: f64 = 150.0;
const REQUESTS_REACH: f64 = 1.0;
const CPU_REACH_MILLICORES: f64 = 1.0;
const QUERY_REACH_MS: f64 = 300.0;

/// How long the operator is watched doing nothing; the first seconds do not count.
const IDLE: Duration = seconds(120);
const BEGINNING: Duration = seconds(10);

const EVENTS: u32 = 10_000;

fn main() {
    let Some(cluster) = Cluster::start() else { return };
    let runs: Vec<Run> = (0..RUNS).map(|_| measure(&cluster)).collect();
    let worst = |figure: fn(&Run) -> f64| runs.iter().map(figure).fold(0.0, f64::max);
    let (requests, millicores) = idle(&cluster);
    let figures = [
        Figure(
            "resident memory of the operator, connected and idle",
            worst(|run| run.memory_mb),
            "MB",
            MEMORY_REACH_MB,
        ),
        Figure(
            "from the operator's start to its first status",
            worst(|run| run.first_write_ms),
            "ms",
            FIRST_WRITE_REACH_MS,
        ),
        Figure(
            "the operator's requests a minute when nothing changes, watches aside",
            requests,
            "requests",
            REQUESTS_REACH,
        ),
        Figure("the operator's processor time then", millicores, "millicores", CPU_REACH_MILLICORES),
        Figure("`query events list` with 10,000 events", query(&cluster), "ms", QUERY_REACH_MS),
    ];
    for Figure(what, measured, unit, reach) in &figures {
        println!("{what}: {measured:.1} {unit} (reach {reach} {unit})");
    }
    record(&figures);
}

/// What was measured, how much, of what, and how much it should be.
struct Figure(&'static str, f64, &'static str, f64);

/// Requests a minute, watches aside, and thousandths of a processor.
fn idle(cluster: &Cluster) -> (f64, f64) {
    let tenant = Tenant::new(cluster);
    let operator = tenant.operator().start();
    operator.wait_until_ready(seconds(10));
    std::thread::sleep(BEGINNING);
    let before = (requests(cluster, &tenant), operator.metric("process_cpu_seconds_total"));
    std::thread::sleep(IDLE);
    let requests = requests(cluster, &tenant) - before.0;
    let cpu = operator.metric("process_cpu_seconds_total") - before.1;
    (requests as f64 * 60.0 / IDLE.as_secs_f64(), cpu * 1000.0 / IDLE.as_secs_f64())
}

/// By the API server's own account. A watch is told of when it begins.
fn requests(cluster: &Cluster, tenant: &Tenant) -> usize {
    let user = format!("system:serviceaccount:{}:kube9-operator", tenant.namespace);
    let log = cluster.audit_log();
    log.lines().filter(|line| line.contains(&user) && !line.contains("\"verb\":\"watch\"")).count()
}

/// The worst of some calls, in milliseconds, from the process's start to its end.
fn query(cluster: &Cluster) -> f64 {
    let tenant = Tenant::new(cluster);
    let now = jiff::Timestamp::now();
    events::happen(&tenant, (0..EVENTS).map(|number| events::event(&tenant, number, now)));
    let call = || {
        let start = Instant::now();
        let output = tenant.operator().run(&["query", "events", "list", "--limit=25", "--format=json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        start.elapsed().as_secs_f64() * 1000.0
    };
    (0..RUNS).map(|_| call()).fold(0.0, f64::max)
}

struct Run {
    memory_mb: f64,
    first_write_ms: f64,
}

fn measure(cluster: &Cluster) -> Run {
    let tenant = Tenant::new(cluster);
    let start = Instant::now();
    let operator = tenant.operator().start();
    until("there is a status", seconds(10), || tenant.config_map());
    let first_write_ms = start.elapsed().as_secs_f64() * 1000.0;
    operator.wait_until_ready(seconds(10));
    // A few probes and scrapes are part of being connected.
    for path in ["/healthz", "/readyz", "/metrics"].repeat(3) {
        assert_eq!(operator.page(path).0, 200, "{path}");
    }
    std::thread::sleep(SETTLING);
    Run { memory_mb: resident_mb(operator.id()), first_write_ms }
}

fn resident_mb(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("Linux tells about the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the process is alive");
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("the size is a number");
    kibibytes * 1024.0 / 1_000_000.0
}

fn record(figures: &[Figure]) {
    let figures: Vec<serde_json::Value> = figures
        .iter()
        .map(|Figure(what, measured, unit, reach)| {
            json!({"what": what, "measured": rounded(*measured), "unit": unit, "reach": reach})
        })
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../figures");
    fs::create_dir_all(&folder).expect("the workspace is writable");
    let text = serde_json::to_string_pretty(&figures).expect("figures are plain");
    fs::write(folder.join("operator.json"), format!("{text}\n")).expect("the folder is writable");
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
