//! A clock that is wrong does not show in what the extension reads.

use std::fs;

use crate::cluster::Cluster;
use crate::consumer::Mode;
use crate::tenant::Tenant;
use crate::wait::{seconds, until_true};

#[test]
fn a_clock_that_jumps_is_made_up_for() {
    let Some(cluster) = Cluster::shared() else { return };
    let tenant = Tenant::new(cluster);
    let offset = cluster.directory().join(format!("{}.offset", tenant.namespace));
    fs::write(&offset, "-7200").unwrap();
    let operator = tenant.operator().often().with("TEST_CLOCK_OFFSET", offset.to_str().unwrap()).start();
    let is_right = || {
        let verdict = tenant.verdict();
        verdict.mode == Mode::Operated && tenant.status().unwrap().is_of_now()
    };
    until_true("the first status is right, two hours late as the node's clock is", seconds(5), is_right);

    for jump in ["7200", "0"] {
        let writes = operator.writes("success");
        fs::write(&offset, jump).unwrap();
        until_true("it is written again", seconds(15), || operator.writes("success") > writes);
        until_true(&format!("the status is right after a jump to {jump}"), seconds(5), is_right);
    }
    assert_eq!(operator.page("/healthz").0, 200);
}
