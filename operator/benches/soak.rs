//! A whole week of the operator, by a clock that runs faster: `cargo bench --package kube9-operator --bench soak`.
//!
//! It takes eleven minutes. What should not be seen in the week fails it; otherwise a picture of it goes to `figures/soak.svg`,
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

/// The operator's settings are those of the chart, so that one replica keeps events.
const WEEK: Plan = Plan { hours: 168, speed: 960, parts: 168, restarts: &[40, 88, 136], keeps_events: true };

fn main() {
    if !cfg!(debug_assertions) {
        return run_with_a_clock_that_can_be_set();
    }
    let Some(cluster) = Cluster::start() else { return };
    let week = day::live(&cluster, &WEEK);
    let (spread, growth) = (week.spread_mb(), week.growth());
    println!("{} writes, {} collections, {} outages", week.writes.len(), week.collections, week.outages.len());
    println!(
        "memory: it differs by {spread:.2} MB, and grows by {growth:.0} bytes a day; {} events are kept",
        week.listed
    );
    // Only a week that went well is shown.
    assert_eq!(week.faults(), Vec::<String>::new());
    fs::write(figures::folder().join("soak.svg"), plot::svg(&week)).expect("the folder is writable");
    let mut figures = Figures::read();
    let what = "a week by a fast clock, with the event store: resident memory at the end";
    figures.add(what, week.resident_mb_at_end(), "MB", None);
    figures.add(
        "by how much its usual memory differs between any two hours after the first 30",
        spread,
        "MB",
        Some(day::FLAT_MB),
    );
    let may_be_missed = Some(week.may_be_missed() as f64);
    figures.add("its intervals of 62 ms without a write then", week.missed() as f64, "intervals", may_be_missed);
    figures.add("the oldest that the status became, outages aside", week.oldest_seconds(), "s", None);
    figures.write();
}

/// The same once more, built so that tests may set the clock.
fn run_with_a_clock_that_can_be_set() {
    let arguments = ["bench", "--profile", "soak", "--locked", "--package", env!("CARGO_PKG_NAME"), "--bench", "soak"];
    let status = Command::new(env!("CARGO")).args(arguments).status().expect("cargo is there");
    assert!(status.success(), "the week did not go well");
}
