//! The tool as its users run it: whole commands on whole workspaces, checked with real Helm, skopeo and qemu.
//!
//! Most tests release a small workspace (`fixtures/demo`), which proves on the way that no name of the real product is in the tool.
//! What a test needs beyond this repository comes from `TEST_TOOLS`, a folder that `cargo xtask ci` fills.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]
#![expect(clippy::print_stdout, reason = "a test says what it skips and what it counted")]

mod bad_input;
mod buildx;
mod crowd;
mod dependencies;
mod deploy;
mod doctor;
mod faults;
mod folders;
mod foreign;
mod guarantees;
mod helms;
mod history;
mod http;
mod images;
mod kill;
mod kill_in_production;
mod macos;
/// What only guards against rot, and takes long: run every night.
#[cfg(target_os = "linux")]
mod nightly {
    mod arm64;
    mod cluster_builder;
    mod gitops;
    mod policies;
}
#[cfg(target_os = "linux")]
mod node;
mod packaging;
mod page;
mod parts;
mod pipeline;
mod power_loss;
mod product;
mod production;
mod products;
mod protection;
mod readme;
mod real;
mod referrers;
mod rehearsals;
mod repair;
mod reproducible;
mod runbook;
mod scan;
mod servers;
mod servers_sdk;
mod servers_work;
mod signing;
mod support;
mod trust;
mod workflows;
