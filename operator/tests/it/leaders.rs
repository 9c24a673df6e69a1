//! Of several replicas one writes, and another takes over when it is gone.

use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::operator::Running;
use crate::tenant::Tenant;
use crate::wait::{seconds, until_true};

#[test]
fn one_of_two_writes_and_the_other_follows_at_once_when_it_leaves() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::with_chart(cluster, &["--set", "replicas=2"], |rendered| rendered);
    let mut first = tenant.operator().with("POD_NAME", "first").start();
    tenant.wait_for_owned_status();
    let second = tenant.operator().with("POD_NAME", "second").start();
    second.wait_until_ready(seconds(10));
    assert_eq!((leads(&first), leads(&second)), (1.0, 0.0));
    assert_eq!(second.writes("success"), 0, "who stands by does not write");

    first.terminate();
    let (status, _, log) = first.end(seconds(5));

    assert_eq!(status.code(), Some(0));
    assert!(log.contains("left to the pod that follows") && log.contains("gave up the lead"), "{log}");
    until_true("the other one writes", seconds(8), || second.writes("success") > 0);
    assert!(leads(&second) > 0.0);
    assert!(tenant.verdicts().iter().all(|verdict| verdict.mode == Mode::Operated), "{:?}", tenant.verdicts());
}

#[test]
fn one_that_dies_is_followed_when_its_lease_is_over() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::with_chart(cluster, &["--set", "replicas=2"], |rendered| rendered);
    // A minute of the Lease is six seconds here.
    let fast = |name| tenant.operator().with("POD_NAME", name).with("TEST_CLOCK_SPEED", "10").start();
    let first = fast("first");
    tenant.wait_for_status();
    let second = fast("second");
    second.wait_until_ready(seconds(10));
    // Killed, without a chance to give the Lease up.
    drop(first);

    until_true("the other one writes", seconds(20), || second.writes("success") > 0);

    assert!(tenant.verdict().mode == Mode::Operated, "{:?}", tenant.verdict());
}

fn leads(operator: &Running) -> f64 {
    operator.metric("kube9_operator_leader")
}
