//! Nothing grows, leaks or is left out over time. A whole week is a benchmark; here are a few hours.

use crate::day::{Day, Outage, Sample, Write, watches};
use crate::vitals::Vitals;

mod timed {
    use crate::cluster::Cluster;
    use crate::day::{Plan, live};

    #[test]
    fn no_interval_is_missed_in_hours_and_nothing_grows_or_leaks() {
        let Some(cluster) = Cluster::start() else { return };
        // Half a minute. Argo CD is looked for anew after an hour, which is after the restart.
        let day = live(&cluster, &Plan { hours: 2, speed: 240, parts: 8, restarts: &[1], keeps_events: false });
        assert_eq!(day.faults(), Vec::<String>::new());
    }
}

const MINUTE: f64 = 1.0 / 60.0;

/// Two hours as they should be, with an outage in the first one.
fn day() -> Day {
    day_of(2)
}

fn day_of(hours: u32) -> Day {
    let outage = Outage { from: 0.3, to: 0.5 };
    let minutes = (0..hours * 60).map(|minute| f64::from(minute) * MINUTE);
    let vitals = Vitals { resident_mb: 8.0, data: 2e6, peak_mb: 8.0, files: 9, threads: 2, waited: 0.0 };
    Day {
        hours: f64::from(hours),
        samples: (0..hours * 600).map(|number| Sample { hour: f64::from(number) * MINUTE / 10.0, vitals }).collect(),
        writes: minutes
            .filter(|minute| !(outage.from..outage.to).contains(minute))
            .map(|minute| Write { came: minute, answered: minute })
            .collect(),
        outages: vec![outage],
        collections: hours as usize * 4 - 1,
        watches: watches(false),
        keeps_events: false,
        listed: 100,
        sampling: MINUTE / 10.0,
        speed: 3600.0,
    }
}

#[track_caller]
fn is_faulty(change: impl FnOnce(&mut Day), fault: &str) {
    judge(day(), change, fault);
}

#[track_caller]
fn judge(mut day: Day, change: impl FnOnce(&mut Day), fault: &str) {
    assert_eq!(day.faults(), Vec::<String>::new());
    change(&mut day);
    let faults = day.faults();
    assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:?}");
}

#[test]
fn the_judge_itself_misses_no_interval_that_was_missed() {
    is_faulty(
        |day| day.writes.retain(|write| (write.came / MINUTE).round() != 60.0),
        "1 intervals were missed: the status became 120 s old",
    );
    is_faulty(|day| day.writes.truncate(80), "intervals were missed");
    is_faulty(|day| day.writes.retain(|write| !(0.5..0.6).contains(&write.came)), "no write in time after the outage");
}

#[test]
fn the_judge_itself_blames_nobody_for_what_the_machine_did() {
    let held_up = 1.0..1.0 + 1.5 * MINUTE;
    let with = |change: &dyn Fn(&mut Day)| {
        let mut day = day();
        day.writes.retain(|write| !held_up.contains(&write.came));
        assert_eq!((day.missed(), day.oldest_seconds().round()), (2, 180.0));
        change(&mut day);
        (day.missed(), day.oldest_seconds().round())
    };
    let nobody_ran = |day: &mut Day| day.samples.retain(|sample| !held_up.contains(&sample.hour));
    assert_eq!(with(&nobody_ran), (0, 180.0));
    let operator_waited = |day: &mut Day| {
        let seconds_per_hour = 3600.0 / day.speed;
        let later = day.samples.iter_mut().filter(|sample| sample.hour >= held_up.end);
        later.for_each(|sample| sample.vitals.waited = 1.5 * MINUTE * seconds_per_hour);
    };
    assert_eq!(with(&operator_waited), (0, 180.0));
    let answer_took_long = |day: &mut Day| {
        let last = day.writes.iter_mut().rfind(|write| write.came < held_up.start);
        last.unwrap().answered = held_up.end;
    };
    assert_eq!(with(&answer_took_long), (0, 180.0));
}

#[test]
fn the_judge_itself_tells_a_leak_from_what_is_taken_once() {
    let leak = |bytes: f64| {
        move |day: &mut Day| {
            day.samples.iter_mut().for_each(|sample| sample.vitals.data += (sample.hour / MINUTE).floor() * bytes);
        }
    };
    is_faulty(leak(4096.0), "memory grows by 58");
    judge(day_of(24), leak(1000.0), "memory grows by 14");
    let mut day = day();
    for sample in &mut day.samples {
        // At the beginning, after the outage, and for a while later on.
        let taken = [(0.1, 1e6), (0.6, 1e6)]
            .iter()
            .filter(|(hour, _)| sample.hour > *hour)
            .map(|(_, bytes)| bytes)
            .sum::<f64>();
        sample.vitals.data += taken + if (1.8..1.9).contains(&sample.hour) { 1e6 } else { 0.0 };
        // What the allocator keeps, as it was on a busy machine.
        let kept = [(0.9, 16e3), (1.1, 48e3), (1.3, 24e3), (1.4, 8e3), (1.9, 4e3)];
        sample.vitals.data += kept.iter().filter(|(hour, _)| sample.hour > *hour).map(|(_, bytes)| bytes).sum::<f64>();
    }
    assert_eq!(day.faults(), Vec::<String>::new());
}

#[test]
fn the_judge_itself_tells_a_week_whose_memory_is_flat_from_one_in_which_it_is_not() {
    let week = || {
        let mut day = Day { keeps_events: true, listed: 2700, watches: watches(true), ..day_of(40) };
        // Of so many samples, few are enough.
        day.samples = day.samples.into_iter().step_by(10).collect();
        day.sampling *= 10.0;
        day.writes.retain(|write| !(35.0..35.3).contains(&write.came));
        day.outages.push(Outage { from: 35.0, to: 35.3 });
        // What is taken in the first 30 hours, and for as long as an outage and its end take.
        let taken = |hour: f64| hour.min(30.0) * 0.1 + if (35.0..35.5).contains(&hour) { 3.0 } else { 0.0 };
        day.samples.iter_mut().for_each(|sample| sample.vitals.resident_mb += taken(sample.hour));
        day
    };
    assert_eq!(week().faults(), Vec::<String>::new());
    assert_eq!(week().spread_mb(), 0.0);
    let after = |hour: f64, mb: f64| {
        move |week: &mut Day| {
            week.samples.iter_mut().filter(|it| it.hour > hour).for_each(|it| it.vitals.resident_mb += mb);
        }
    };
    let judge_week = |change: &dyn Fn(&mut Day), fault: &str| {
        let mut week = week();
        change(&mut week);
        let faults = week.faults();
        assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:?}");
    };
    judge_week(&after(35.3, 1.1), "memory is not flat: it differs by 1.10 MB");
    judge_week(&after(38.0, 1.1), "memory is not flat: it differs by 1.10 MB");
    judge_week(&|week| week.listed = 16_800, "the event store has those of 168 hours");
    judge_week(&|week| week.listed = 100, "the event store has those of 1 hours");
}

#[test]
fn the_judge_itself_misses_no_watch_file_or_thread_that_is_lost_or_left_behind() {
    is_faulty(|day| day.watches.open -= 1, "10 watches are open");
    is_faulty(|day| day.watches.left_behind += 1, "1 were left behind");
    let late = |change: fn(&mut Vitals)| {
        move |day: &mut Day| {
            day.samples.iter_mut().filter(|sample| sample.hour > 1.7).for_each(|sample| change(&mut sample.vitals));
        }
    };
    is_faulty(late(|vitals| vitals.files += 5), "open files grew from 9 to 14");
    is_faulty(late(|vitals| vitals.threads += 1), "threads grew from 2 to 3");
}
