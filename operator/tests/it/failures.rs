//! Whatever the API server does, the operator lives on, tells why it is not ready, and recovers by itself.

use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::operator::Running;
use crate::proxy::{Answer, Proxy};
use crate::tenant::Tenant;
use crate::wait::{seconds, until_true};

#[test]
fn a_role_that_is_taken_away_and_given_back_shows_in_readiness_and_metrics() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let operator = tenant.operator().often().with("TEST_CLOCK_SPEED", "5").start();
    operator.wait_until_ready(seconds(5));

    tenant.revoke();
    let complaint = operator.wait_until_not_ready(seconds(40));
    assert!(complaint.contains("forbidden") && complaint.contains("HTTP 403"), "{complaint}");
    assert!(operator.writes("forbidden") > 0);
    assert_eq!(operator.page("/healthz").0, 200, "a restart would not bring the role back");

    tenant.grant();
    operator.wait_until_ready(seconds(60));
    assert_eq!(tenant.status().unwrap().health(), "healthy");
}

#[test]
fn a_conflict_is_survived() {
    survives(Answer::Refusal(409, "Conflict"), "conflict");
}

#[test]
fn an_internal_error_is_survived() {
    survives(Answer::Refusal(500, "InternalError"), "server_error");
}

#[test]
fn throttling_is_survived() {
    survives(Answer::Refusal(429, "TooManyRequests"), "throttled");
}

#[test]
fn a_server_that_does_not_answer_is_survived() {
    survives(Answer::Silence, "timeout");
}

#[test]
fn a_restart_of_the_api_server_is_survived() {
    let Some(cluster) = Cluster::start() else { return };
    let tenant = Tenant::new(&cluster);
    let operator = tenant.operator().often().start();
    tenant.wait_for_status();

    cluster.stop_api_server();
    until_true("a write has failed", seconds(20), || operator.writes("unreachable") > 0);
    assert_eq!(operator.page("/healthz").0, 200, "a restart would not bring the API server back");
    let before = operator.writes("success");

    cluster.restart_api_server();
    until_true("the status is written again", seconds(35), || operator.writes("success") > before);
    operator.wait_until_ready(seconds(35));
    let verdicts = tenant.verdicts();
    assert!(verdicts.iter().all(|verdict| verdict.mode == Mode::Operated), "{verdicts:?}");
}

/// The first writes fail in one way; then the server is well again, and so is the operator.
fn survives(answer: Answer, result: &str) {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let proxy = Proxy::start(cluster, answer);
    let operator = tenant.operator_through(&proxy.url).start();
    until_true("a write has failed", seconds(15), || operator.writes(result) > 0);
    assert_is_alive_but_not_ready(&operator, result);

    proxy.answer_with(Answer::Forwarded);

    operator.wait_until_ready(seconds(40));
    assert_eq!(tenant.status().unwrap().health(), "healthy");
}

fn assert_is_alive_but_not_ready(operator: &Running, reason: &str) {
    assert_eq!(operator.page("/healthz").0, 200);
    let (code, complaint) = operator.page("/readyz");
    assert_eq!(code, 503);
    assert!(complaint.contains(reason), "{complaint}");
}
