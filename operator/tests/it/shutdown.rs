//! An operator that is told to stop says so in the status, in time, and touches nothing that is not its own.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::consumer::{Mode, Verdict};
use crate::nowhere::Nowhere;
use crate::operator::Running;
use crate::proxy::{Answer, Proxy};
use crate::tenant::{CONFIG_MAP, Tenant};
use crate::wait::{seconds, until_true};

/// From the signal to the end of the process.
const IN_TIME: Duration = seconds(5);

#[test]
fn the_last_status_says_that_the_operator_shuts_down() {
    let Some(cluster) = Cluster::shared() else { return };
    for signal in ["TERM", "INT"] {
        let tenant = Tenant::new(cluster);
        let mut operator = tenant.operator().start();
        tenant.wait_for_status();
        tenant.scale_down();

        operator.signal(signal);

        let (status, output, log) = operator.end(IN_TIME);
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(output, "", "standard output is for answers");
        let last = tenant.status().unwrap();
        assert_eq!((last.health(), last.0["error"].as_str()), ("unhealthy", Some("Shutting down")), "{signal}: {log}");
    }
}

#[test]
fn a_status_that_is_gone_is_not_brought_back_by_the_last_write() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let mut operator = tenant.operator().start();
    tenant.wait_for_status();
    tenant.delete_config_map();
    tenant.scale_down();

    terminate_well(&mut operator);

    assert_eq!(tenant.config_map(), None);
}

#[test]
fn a_status_of_somebody_else_is_not_overwritten_by_the_last_write() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let mut operator = tenant.operator().start();
    tenant.wait_for_status();
    tenant.delete_config_map();
    let theirs: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": CONFIG_MAP}, "data": {"status": "{}"}})).unwrap();
    tenant.cluster.run(tenant.config_maps().create(&PostParams::default(), &theirs)).unwrap();
    tenant.scale_down();

    terminate_well(&mut operator);

    assert_eq!(tenant.config_map().unwrap().data, theirs.data);
}

#[test]
fn a_status_that_somebody_added_to_gets_the_last_write_still() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let mut operator = tenant.operator().start();
    tenant.wait_for_status();
    tenant.scale_down();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"somebody": "else"}}}));
    let parameters = PatchParams::default();
    tenant.cluster.run(tenant.config_maps().patch(CONFIG_MAP, &parameters, &patch)).unwrap();

    terminate_well(&mut operator);

    assert_eq!(tenant.verdict(), Verdict { mode: Mode::Degraded, why: "Shutting down".to_owned() });
}

#[test]
fn an_upgrade_never_reads_as_degraded() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let mut old = tenant.operator().start();
    tenant.wait_for_owned_status();

    terminate_well(&mut old);
    assert_eq!(tenant.verdict().mode, Mode::Operated, "between the two");
    let new = tenant.operator().start();
    // Within the same second it writes the very same, which is no write at all for the API server.
    until_true("the new one has written", seconds(10), || new.writes("success") > 0);

    new.wait_until_ready(seconds(5));
    assert!(tenant.verdicts().iter().all(|verdict| verdict.mode == Mode::Operated), "{:?}", tenant.verdicts());
}

#[test]
fn an_old_one_that_ends_after_its_successor_began_does_not_touch_its_status() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let mut old = tenant.operator().start();
    let first = tenant.wait_for_owned_status();
    // What two write within one second is the very same, and no write at all for the API server.
    until_true("another second has begun", seconds(3), || Timestamp::now() >= first.updated() + seconds(2));
    let new = tenant.operator().start();
    until_true("the new one has written", seconds(10), || new.writes("success") > 0);
    tenant.scale_down();

    let log = terminate_well(&mut old);

    assert!(log.contains("somebody else's"), "{log}");
    assert_eq!(tenant.verdict().mode, Mode::Operated);
}

#[test]
fn the_last_write_is_tried_again_when_the_server_stumbles() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let proxy = Proxy::start(cluster, Answer::Forwarded);
    let mut operator = tenant.operator_through(&proxy.url).start();
    tenant.wait_for_status();
    tenant.scale_down();
    proxy.answer_with(Answer::Refusal(500, "InternalError"));

    let before = proxy.writes();

    operator.terminate();
    until_true("the last write has been refused", IN_TIME, || proxy.writes() > before);
    assert_eq!(operator.page("/readyz"), (503, "shutting down\n".to_owned()));
    proxy.answer_with(Answer::Forwarded);

    assert_eq!(operator.end(IN_TIME).0.code(), Some(0));
    assert_eq!(tenant.status().unwrap().health(), "unhealthy");
}

#[test]
fn a_write_that_is_on_its_way_does_not_overtake_the_last_one() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let proxy = Proxy::start(cluster, Answer::Late(Duration::from_millis(700)));
    let mut operator = tenant.operator_through(&proxy.url).start();
    until_true("the first write is on its way", seconds(5), || proxy.writes() > 0);
    tenant.scale_down();

    terminate_well(&mut operator);

    assert_eq!(tenant.wait_for_status().health(), "unhealthy");
}

#[test]
fn a_server_that_does_not_answer_does_not_hold_up_the_end() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let proxy = Proxy::start(cluster, Answer::Forwarded);
    let mut operator = tenant.operator_through(&proxy.url).start();
    tenant.wait_for_status();
    proxy.answer_with(Answer::Silence);

    terminate_well(&mut operator);
}

#[test]
fn a_signal_during_the_start_is_obeyed_though_nothing_answers() {
    // Connections are made, and then nobody says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = Nowhere::at(listener.local_addr().unwrap().port());
    let mut operator = nowhere.operator().start();
    assert_eq!(operator.page("/healthz").0, 200);

    let log = terminate_well(&mut operator);

    assert!(log.contains("no status was written"), "{log}");
}

#[test]
fn a_signal_during_the_start_is_obeyed_though_nobody_listens() {
    let nowhere = Nowhere::new();
    let mut operator = nowhere.operator().start();
    until_true("an attempt has failed", seconds(5), || operator.writes("unreachable") > 0);

    terminate_well(&mut operator);
}

fn terminate_well(operator: &mut Running) -> String {
    let start = Instant::now();
    operator.terminate();
    let (status, output, log) = operator.end(IN_TIME);
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(output, "");
    assert!(start.elapsed() < IN_TIME);
    log
}
