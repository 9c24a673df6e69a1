//! A whole day of the operator, by a clock that runs faster: `cargo bench --package kube9-operator --bench soak`.
//!
//! It takes six minutes. What should not be seen in the day fails it; otherwise a picture of it goes to `figures/soak.svg`,
//! and its figures to `figures/operator.json`. Built as a release is, but for the clock, which no release lets anybody set.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement that cannot go on stops by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are what it is run for")]
#![allow(dead_code, reason = "the tests use more of what the two share")]

#[path = "../tests/it/audit.rs"]
mod audit;
#[path = "../tests/it/chart.rs"]
mod chart;
#[path = "../tests/it/cluster.rs"]
mod cluster;
#[path = "../tests/it/consumer.rs"]
mod consumer;
#[path = "../tests/it/day.rs"]
mod day;
#[path = "../tests/it/events.rs"]
mod events;
mod figures;
#[path = "../tests/it/gitops.rs"]
mod gitops;
#[path = "../tests/it/helm.rs"]
mod helm;
#[path = "../tests/it/operator.rs"]
mod operator;
mod plot;
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

use std::fs;
use std::process::Command;

use cluster::Cluster;
use day::Plan;
use figures::Figures;

const DAY: Plan = Plan { hours: 24, speed: 240, parts: 24, restarts: &[5, 11, 17] };

fn main() {
    if !cfg!(debug_assertions) {
        return run_with_a_clock_that_can_be_set();
    }
    let Some(cluster) = Cluster::start() else { return };
    let day = day::live(&cluster, &DAY);
    let (growth, after) = (day.growth(), day.resident_mb_at_end());
    println!("{} writes, {} collections, {} outages", day.writes.len(), day.collections, day.outages.len());
    println!("memory: {after:.2} MB at the end of the day; it grows by {growth:.0} bytes a day");
    // Only a day that went well is shown.
    assert_eq!(day.faults(), Vec::<String>::new());
    fs::write(figures::folder().join("soak.svg"), plot::svg(&day)).expect("the folder is writable");
    let mut figures = Figures::read();
    figures.add("24 hours by a fast clock: resident memory at the end", after, "MB", None);
    figures.add("the growth of its memory then", growth / 1_000_000.0, "MB a day", Some(day::GROWTH / 1_000_000.0));
    figures.add("intervals without a write then", day.missed() as f64, "intervals", Some(0.0));
    figures.add("the oldest that the status became, outages aside", day.oldest_seconds(), "s", None);
    figures.write();
}

/// The same once more, built so that tests may set the clock.
fn run_with_a_clock_that_can_be_set() {
    let arguments = ["bench", "--profile", "soak", "--locked", "--package", env!("CARGO_PKG_NAME"), "--bench", "soak"];
    let status = Command::new(env!("CARGO")).args(arguments).status().expect("cargo is there");
    assert!(status.success(), "the day did not go well");
}
