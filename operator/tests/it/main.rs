//! The operator as its users have it: the real program against a real API server, over real connections.
//!
//! `TEST_TOOLS` names a folder with the executables `etcd`, `kube-apiserver` and so on. Without it the tests that need them
//! are skipped, unless `TEST_TOOLS_REQUIRED=1` says that this would be a mistake. No test uses the network.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod argocd_api;
mod audit;
mod branches;
mod chart;
mod cluster;
mod consumer;
mod day;
mod events;
mod gitops;
mod helm;
mod nowhere;
mod operator;
mod port;
mod proxy;
mod supervised;
mod tenant;
mod vitals;
mod wait;

mod accounts;
mod argocd;
mod clocks;
mod counts;
mod event_store;
mod failures;
mod freshness;
mod hook;
mod leaders;
/// What only guards against rot, and takes long: run every night.
mod nightly {
    mod oldest;
}
mod pages;
mod pointer;
mod queries;
mod resource_tree;
mod roles;
mod shutdown;
mod soak;
mod start;
mod upgrades;
mod values;
mod variants;
