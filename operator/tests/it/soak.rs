//! Nothing grows, leaks or is left out over time. The whole day is a benchmark; here are the first hours of it.

use crate::cluster::Cluster;
use crate::day::{Plan, live};

#[test]
fn no_interval_is_missed_in_hours_and_nothing_grows_or_leaks() {
    let Some(cluster) = Cluster::start() else { return };
    // Forty seconds. Argo CD is looked for anew after an hour, which is after the restart.
    let day = live(&cluster, &Plan { hours: 2, speed: 180, parts: 8, restarts: &[2] });
    assert_eq!(day.faults(), Vec::<String>::new());
}
