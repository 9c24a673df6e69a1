//! What the operator costs whoever runs it: its memory, and the time until kube9 can see it.
//!
//! Measured on a release build, with the default configuration, against a real API server. The figures go to
//! the terminal and to `figures/operator.json`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement that cannot go on stops by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is run for")]
#![allow(dead_code, reason = "the tests use more of what the two share")]

#[path = "../tests/it/chart.rs"]
mod chart;
#[path = "../tests/it/cluster.rs"]
mod cluster;
#[path = "../tests/it/consumer.rs"]
mod consumer;
#[path = "../tests/it/operator.rs"]
mod operator;
#[path = "../tests/it/supervised.rs"]
mod supervised;
#[path = "../tests/it/tenant.rs"]
mod tenant;
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
const FIRST_WRITE_REACH_MS: f64 = 1000.0;

fn main() {
    let Some(cluster) = Cluster::start() else { return };
    let runs: Vec<Run> = (0..RUNS).map(|_| measure(&cluster)).collect();
    let memory = runs.iter().map(|run| run.memory_mb).fold(0.0, f64::max);
    let first_write = runs.iter().map(|run| run.first_write_ms).fold(0.0, f64::max);
    println!("resident memory: {memory:.1} MB (reach {MEMORY_REACH_MB} MB)");
    println!("start to first write: {first_write:.0} ms (reach {FIRST_WRITE_REACH_MS} ms)");
    record(memory, first_write);
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

fn record(memory_mb: f64, first_write_ms: f64) {
    let figures = json!([
        {
            "what": "resident memory of the operator, connected and idle",
            "measured": rounded(memory_mb),
            "unit": "MB",
            "reach": MEMORY_REACH_MB,
        },
        {
            "what": "from the operator's start to its first status",
            "measured": rounded(first_write_ms),
            "unit": "ms",
            "reach": FIRST_WRITE_REACH_MS,
        },
    ]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../figures");
    fs::create_dir_all(&folder).expect("the workspace is writable");
    fs::write(folder.join("operator.json"), format!("{figures:#}\n")).expect("the folder is writable");
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
