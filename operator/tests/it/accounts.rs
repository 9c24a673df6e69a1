//! The operator's account is who it is to the API server, and its token does not last.
//!
//! Tests run in the order of their names: what takes a minute, in which it mostly waits, is first.

use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::tenant::Tenant;
use crate::wait::seconds;

#[test]
fn a_token_that_is_revoked_is_told_and_a_new_one_is_taken_up() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let operator = tenant.operator().often().start();
    operator.wait_until_ready(seconds(5));

    tenant.revoke_token();
    let complaint = operator.wait_until_not_ready(seconds(60));
    assert!(complaint.contains("unauthorized"), "{complaint}");
    assert!(operator.writes("unauthorized") > 0);
    let refused = tenant.operator().run(&["query", "events", "list"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("the token is not accepted"));

    // As the kubelet does: a new token in the same file.
    tenant.issue_token();
    operator.wait_until_ready(seconds(100));
    assert_eq!(tenant.verdict().mode, Mode::Operated);
}
