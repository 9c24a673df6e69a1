//! Nothing grows, leaks or is left out over time. The whole day is a benchmark; here are the first hours of it.

use crate::day::{Day, Outage, Sample};
use crate::vitals::Vitals;

mod timed {
    use crate::cluster::Cluster;
    use crate::day::{Plan, live};

    #[test]
    fn no_interval_is_missed_in_hours_and_nothing_grows_or_leaks() {
        let Some(cluster) = Cluster::start() else { return };
        // Half a minute. Argo CD is looked for anew after an hour, which is after the restart.
        let day = live(&cluster, &Plan { hours: 2, speed: 240, parts: 8, restarts: &[1] });
        assert_eq!(day.faults(), Vec::<String>::new());
    }
}

const MINUTE: f64 = 1.0 / 60.0;

/// Two hours as they should be, with an outage in the first one.
fn day() -> Day {
    let outage = Outage { from: 0.3, to: 0.5 };
    let minutes = (0..120).map(|minute| f64::from(minute) * MINUTE);
    let vitals = Vitals { resident_mb: 8.0, data: 2e6, peak_mb: 8.0, files: 9, threads: 2 };
    let sample = |hour| Sample { hour, resident_mb: vitals.resident_mb, data: vitals.data };
    Day {
        hours: 2.0,
        samples: (0..1200).map(|number| sample(f64::from(number) * MINUTE / 10.0)).collect(),
        writes: minutes.filter(|minute| !(outage.from..outage.to).contains(minute)).collect(),
        outages: vec![outage],
        collections: 7,
        watches: 11,
        sampling: MINUTE / 10.0,
        beginning: vitals,
        end: vitals,
    }
}

#[track_caller]
fn is_faulty(change: impl FnOnce(&mut Day), fault: &str) {
    let mut day = day();
    assert_eq!(day.faults(), Vec::<String>::new());
    change(&mut day);
    let faults = day.faults();
    assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:?}");
}

#[test]
fn the_judge_itself_misses_no_interval_that_was_missed() {
    is_faulty(
        |day| day.writes.retain(|hour| (hour / MINUTE).round() != 60.0),
        "1 intervals were missed: the status became 120 s old",
    );
    is_faulty(|day| day.writes.truncate(80), "intervals were missed");
    is_faulty(|day| day.writes.retain(|hour| !(0.5..0.6).contains(hour)), "no write in time after the outage");
}

#[test]
fn the_judge_itself_blames_nobody_for_what_the_machine_did() {
    let mut day = day();
    let held_up = 1.0..1.0 + 1.5 * MINUTE;
    day.writes.retain(|hour| !held_up.contains(hour));
    assert_eq!(day.missed(), 2);
    day.samples.retain(|sample| !held_up.contains(&sample.hour));
    assert_eq!((day.missed(), day.oldest_seconds().round()), (0, 180.0));
}

#[test]
fn the_judge_itself_tells_a_leak_from_what_is_taken_once() {
    let leak = |bytes: f64| {
        move |day: &mut Day| {
            day.samples.iter_mut().for_each(|sample| sample.data += (sample.hour / MINUTE).floor() * bytes);
        }
    };
    is_faulty(leak(4096.0), "memory grows by 58");
    is_faulty(leak(1000.0), "memory grows by 14");
    let mut day = day();
    for sample in &mut day.samples {
        // At the beginning, after the outage, and for a while later on.
        let taken = [(0.1, 1e6), (0.6, 1e6)]
            .iter()
            .filter(|(hour, _)| sample.hour > *hour)
            .map(|(_, bytes)| bytes)
            .sum::<f64>();
        sample.data += taken + if (1.8..1.9).contains(&sample.hour) { 1e6 } else { 0.0 };
    }
    assert_eq!(day.faults(), Vec::<String>::new());
}
