//! A day, or more of them, in the life of an operator, by a clock that runs faster: what happens in a cluster happens, the API
//! server goes away a few times, and everything that can be seen of the operator from outside is written down and judged.
//!
//! Only the operator's own clock is faster: its pauses and intervals, and how long its watches are to go on. The calendar is not, so
//! that events come when they are nearly as old as the event store lets them become, and the API server forgets them in each
//! part, as it does after an hour. What the operator did, and when, is told by the API server's audit log. Times here are hours by the
//! operator's clock, since its start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use jiff::{SignedDuration, Timestamp};

use crate::audit::{self, Watches};
use crate::chart;
use crate::cluster::Cluster;
use crate::events;
use crate::gitops;
use crate::operator::{Running, answer};
use crate::tenant::{CONFIG_MAP, Tenant};
use crate::vitals::Vitals;
use crate::wait::seconds;

pub(crate) struct Plan {
    pub(crate) hours: u32,
    /// How much faster the clock is.
    pub(crate) speed: u32,
    /// The parts of the day. In each, events happen, they are asked for, and Argo CD comes or goes.
    pub(crate) parts: u32,
    /// The parts in which the API server is restarted.
    pub(crate) restarts: &'static [u32],
    pub(crate) keeps_events: bool,
}

/// What was seen.
pub(crate) struct Day {
    pub(crate) hours: f64,
    pub(crate) samples: Vec<Sample>,
    /// Of the status, from the start of the day to its end.
    pub(crate) writes: Vec<Write>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) collections: usize,
    pub(crate) watches: Watches,
    pub(crate) keeps_events: bool,
    /// Events that are listed in the end.
    pub(crate) listed: u64,
    /// The time between two samples, as long as the machine lets whoever takes them run.
    pub(crate) sampling: f64,
    pub(crate) speed: f64,
}

/// When the API server was asked for a write, and when it was done.
#[derive(Clone, Copy)]
pub(crate) struct Write {
    pub(crate) came: f64,
    pub(crate) answered: f64,
}

pub(crate) struct Sample {
    pub(crate) hour: f64,
    pub(crate) vitals: Vitals,
}

/// The API server was away.
pub(crate) struct Outage {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// The settings of the chart, but for those that a plan has. Argo CD is looked for anew as often as can be set.
const INTERVAL_HOURS: f64 = 1.0 / 60.0;
const COLLECTION_HOURS: f64 = 0.25;
const SETTINGS: [(&str, &str); 1] = [("ARGOCD_DETECTION_INTERVAL", "1")];

const EVENTS_IN_A_PART: u32 = 100;
const SAMPLING: Duration = Duration::from_millis(50);

/// By the calendar, how long the event store keeps warnings. By the operator's clock, they come a day before that is over.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
const KEPT_HOURS: u32 = 24;

/// How often what was kept for long enough is removed.
const RETENTION_HOURS: u32 = 6;

/// Lives the day, which takes as long as it does.
pub(crate) fn live(cluster: &Cluster, plan: &Plan) -> Day {
    let event_store = format!("eventStore.enabled={}", plan.keeps_events);
    let tenant = Tenant::with_chart(cluster, &["--set", &event_store], |rendered| rendered);
    gitops::install(cluster, "gitops", "v3.1.0");
    let operator = SETTINGS.into_iter().fold(tenant.operator(), |operator, (name, value)| operator.with(name, value));
    let diary = Diary { start: Timestamp::now(), speed: f64::from(plan.speed) };
    let operator = operator.logging_to(&cluster.directory().join("operator.log"));
    let operator = operator.with("TEST_CLOCK_SPEED", &plan.speed.to_string()).start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let samples = scope.spawn(|| sample(&operator, &diary, &is_over));
        // Also when something fails in it: nobody would wait for the end of the samples otherwise.
        let happened =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| happen(&tenant, &operator, &diary, plan)));
        is_over.store(true, Ordering::Relaxed);
        let samples = samples.join().unwrap();
        let outages = happened.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
        diary.close(&tenant, plan, samples, outages)
    })
}

/// All that goes on in the cluster, until the day is over. While the API server is away, the day does not go on: how long
/// that takes is up to the machine, and what is judged afterwards is to have its time.
fn happen(tenant: &Tenant, operator: &Running, diary: &Diary, plan: &Plan) -> Vec<Outage> {
    operator.wait_until_ready(seconds(10));
    let mut outages = Vec::new();
    for part in 0..plan.parts {
        let time = Timestamp::now() - KEPT_FOR + SignedDuration::from_hours(KEPT_HOURS.into()) / plan.speed as i32;
        let numbers = part * EVENTS_IN_A_PART..(part + 1) * EVENTS_IN_A_PART;
        events::expire(tenant);
        events::happen(tenant, numbers.map(|number| events::event_at(tenant, number, time)));
        listed(tenant);
        let change = if part % 2 == 0 { chart::delete } else { chart::create };
        change(tenant.cluster, &gitops::definition());
        change(tenant.cluster, &gitops::server("gitops", "v3.1.0"));
        if plan.restarts.contains(&part) {
            tenant.cluster.stop_api_server();
            let from = diary.now();
            tenant.cluster.restart_api_server();
            outages.push(Outage { from, to: diary.now() });
        }
        let end = f64::from(plan.hours) * f64::from(part + 1) / f64::from(plan.parts) + away(&outages);
        while diary.now() < end {
            thread::sleep(SAMPLING);
        }
    }
    outages
}

/// How many events there are for whoever asks.
fn listed(tenant: &Tenant) -> u64 {
    answer(&tenant.operator().run(&["query", "events", "list"]))["pagination"]["total"].as_u64().unwrap()
}

fn sample(operator: &Running, diary: &Diary, is_over: &AtomicBool) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let vitals = operator.vitals();
        samples.push(Sample { hour: diary.now(), vitals });
        thread::sleep(SAMPLING);
    }
    samples
}

/// For how long the API server was away.
fn away(outages: &[Outage]) -> f64 {
    outages.iter().map(|outage| outage.to - outage.from).sum()
}

struct Diary {
    start: Timestamp,
    speed: f64,
}

impl Diary {
    fn hour(&self, time: Timestamp) -> f64 {
        time.duration_since(self.start).as_secs_f64() * self.speed / 3600.0
    }

    fn now(&self) -> f64 {
        self.hour(Timestamp::now())
    }

    fn close(&self, tenant: &Tenant, plan: &Plan, samples: Vec<Sample>, outages: Vec<Outage>) -> Day {
        let hours = self.now();
        // The API server before that was killed, and told of the end of nothing.
        let since = outages.last().map_or(0.0, |outage| outage.from);
        let watches = self.watches(tenant, since, watches(plan.keeps_events));
        let requests = audit::requests(tenant);
        let writes = |config_map: &str| -> Vec<Write> {
            let wrote = requests.iter().filter(|request| request.wrote(config_map));
            wrote.map(|it| Write { came: self.hour(it.came), answered: self.hour(it.answered) }).collect()
        };
        Day {
            hours,
            samples,
            writes: writes(CONFIG_MAP).into_iter().filter(|write| write.came < hours).collect(),
            outages,
            collections: writes("kube9-dashboard-data").len(),
            watches,
            keeps_events: plan.keeps_events,
            listed: listed(tenant),
            sampling: SAMPLING.as_secs_f64() * self.speed / 3600.0,
            speed: self.speed,
        }
    }

    /// As they should be, or as they still are after a while.
    fn watches(&self, tenant: &Tenant, since: f64, expected: Watches) -> Watches {
        let start = Instant::now();
        loop {
            let requests = audit::requests(tenant).into_iter().filter(|request| self.hour(request.came) >= since);
            let watches = audit::watches(&requests.collect::<Vec<_>>());
            if watches == expected || start.elapsed() > WATCHES_SETTLE {
                return watches;
            }
            thread::sleep(SAMPLING);
        }
    }
}

/// Two watches for Argo CD, nine of what is counted, and one of events where they are kept.
pub(crate) fn watches(keeps_events: bool) -> Watches {
    Watches { open: 11 + usize::from(keeps_events), left_behind: 0 }
}

/// By the machine's clock. All that is counted is watched anew every few seconds: in between some watches are over, for longer the busier
/// the machine is. A watch that is lost, or left behind, stays so for longer than this.
const WATCHES_SETTLE: Duration = Duration::from_secs(30);

/// So many requests may go on at once beside the watches, each with a connection that is kept for the next one.
const SPARE_CONNECTIONS: f64 = 4.0;

/// More is a leak, in bytes a day. The status is written 1440 times a day: this is less than a kilobyte each time.
pub(crate) const GROWTH: f64 = 1_000_000.0;

/// The allocator keeps some of what is free again, in pieces that the next task cannot use. That becomes more each time that more happens
/// at once than ever before, ever more rarely, and sooner on a busy machine: 0.12 MB in eight hours with two others at work on two cores.
const KEPT: f64 = 200_000.0;

/// Memory is taken when something is done for the first time, at the beginning as after an outage: so long after both.
const SETTLING_HOURS: f64 = 0.25;

/// Memory comes and goes with what is done. Its usual amount is that of so long a time.
const SLICE_HOURS: f64 = 0.1;

/// Where events are kept, more and more are, until so much time has passed that as many are removed as come; and SQLite keeps pages
/// of them in memory, of up to a megabyte. From then on nothing begins any more, outages included.
const BEGINNING_HOURS: f64 = (KEPT_HOURS + RETENTION_HOURS) as f64;

/// More, between any two hours from then on, is not flat.
pub(crate) const FLAT_MB: f64 = 1.0;

/// How long after its return the API server may wait for a status: a pause after a failure, and what a write takes.
const RETURN_HOURS: f64 = 2.0 / 60.0;

impl Day {
    /// Everything that should not be, one line each.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |is_right: bool, what: fmt::Arguments<'_>| {
            if !is_right {
                faults.push(what.to_string());
            }
        };
        let (missed, oldest) = (self.missed(), self.oldest_seconds());
        expect(
            missed <= self.may_be_missed(),
            format_args!("{missed} intervals were missed: the status became {oldest:.0} s old"),
        );
        for outage in &self.outages {
            let first = self.writes.iter().find(|write| write.came > outage.from);
            let wait = first.map(|write| write.came - outage.to);
            let is_soon = |wait| wait < RETURN_HOURS + self.held_up(outage.to, outage.to + wait);
            expect(
                wait.is_some_and(is_soon),
                format_args!("no write in time after the outage at {:.1} h: {wait:?} h", outage.from),
            );
        }
        let expected = (self.hours - away(&self.outages)) / COLLECTION_HOURS;
        expect(
            self.collections as f64 > expected * 0.9,
            format_args!("{} collections of {expected:.0}", self.collections),
        );
        let growth = self.growth();
        let resident_mb = self.resident_mb_at_end();
        expect(
            growth < self.largest_growth(),
            format_args!("memory grows by {growth:.0} bytes a day: {resident_mb:.2} MB by now"),
        );
        if self.keeps_events {
            let spread = self.spread_mb();
            expect(spread < FLAT_MB, format_args!("memory is not flat: it differs by {spread:.2} MB"));
            let kept = KEPT_HOURS - 2..=KEPT_HOURS + RETENTION_HOURS + 2;
            let parts = (self.listed as f64 / f64::from(EVENTS_IN_A_PART)).round() as u32;
            expect(kept.contains(&parts), format_args!("the event store has those of {parts} hours"));
        }
        let Watches { open, left_behind } = self.watches;
        expect(
            self.watches == watches(self.keeps_events),
            format_args!("{open} watches are open, and {left_behind} were left behind"),
        );
        let long = SETTLING_HOURS.max(self.hours / 10.0);
        let then_and_now = |of| (self.mean_in(0.0, long, of), self.mean_in(self.hours - long, self.hours, of));
        let (before, after) = then_and_now(|vitals| vitals.files);
        expect(after <= before + SPARE_CONNECTIONS, format_args!("open files grew from {before:.0} to {after:.0}"));
        let (before, after) = then_and_now(|vitals| vitals.threads);
        expect(after <= before + 0.5, format_args!("threads grew from {before:.0} to {after:.0}"));
        faults
    }

    /// How many intervals went by without a write, though the API server was there and the machine had time for the operator. An interval
    /// begins with a write that the API server may take its time for.
    pub(crate) fn missed(&self) -> usize {
        let own = |last: Write, next: Write| next.came - last.answered - self.held_up(last.answered, next.came);
        self.gaps().map(|(last, next)| ((own(last, next) / INTERVAL_HOURS + 0.25) as usize).saturating_sub(1)).sum()
    }

    /// In a week by the fastest clock an interval is 62 ms long, which servers and disks may take without the kernel's telling. A day or
    /// less has none that may be missed.
    pub(crate) fn may_be_missed(&self) -> usize {
        (self.hours / INTERVAL_HOURS / 2000.0) as usize
    }

    /// For how long the machine did something else: the operator was held up, as the kernel has it, or whoever takes the samples.
    fn held_up(&self, from: f64, to: f64) -> f64 {
        let pairs = self.samples.windows(2).map(|pair| (&pair[0], &pair[1]));
        let meanwhile = pairs.filter(|(one, next)| one.hour < to && from < next.hour);
        let held_up = meanwhile.map(|(one, next)| {
            let pause = next.hour.min(to) - one.hour.max(from) - self.sampling;
            let waited = (next.vitals.waited - one.vitals.waited) * self.speed / 3600.0;
            pause.max(waited).max(0.0)
        });
        held_up.sum()
    }

    /// The oldest that the status became, in seconds, while the API server was there.
    pub(crate) fn oldest_seconds(&self) -> f64 {
        self.gaps().map(|(last, next)| next.came - last.came).fold(0.0, f64::max) * 3600.0
    }

    /// From each write to the next, also before the first and after the last, but for those round an outage.
    fn gaps(&self) -> impl Iterator<Item = (Write, Write)> {
        let edge = |hour| Write { came: hour, answered: hour };
        let writes: Vec<Write> =
            [edge(0.0)].into_iter().chain(self.writes.iter().copied()).chain([edge(self.hours)]).collect();
        let gaps: Vec<(Write, Write)> = writes.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let is_round =
            |outage: &Outage, (last, next): &(Write, Write)| last.came < outage.to && outage.from < next.came;
        gaps.into_iter().filter(move |gap| !self.outages.iter().any(|outage| is_round(outage, gap)))
    }

    /// How much memory grows, in bytes a day: the median of the slopes between any two times (Theil and Sen), so that a few
    /// times with more do not count. The first outage is a beginning, too: what is before its end is not compared with.
    pub(crate) fn growth(&self) -> f64 {
        let usual = self.usual();
        let pairs = usual
            .iter()
            .enumerate()
            .flat_map(|(number, one)| usual[number + 1..].iter().map(move |later| (one, later)));
        median(pairs.map(|(one, later)| (later.1 - one.1) / (later.0 - one.0) * 24.0))
    }

    /// By how much the usual memory of one hour differs from that of another, as the machine sees it, once nothing begins any more.
    pub(crate) fn spread_mb(&self) -> f64 {
        let is_flat = |sample: &&Sample| sample.hour > BEGINNING_HOURS && !self.is_round_outage(sample.hour);
        let flat: Vec<&Sample> = self.samples.iter().filter(is_flat).collect();
        let hours = flat.chunk_by(|one, next| one.hour as u64 == next.hour as u64);
        let usual: Vec<f64> = hours.map(|hour| median(hour.iter().map(|sample| sample.vitals.resident_mb))).collect();
        usual.iter().copied().fold(f64::NAN, f64::max) - usual.iter().copied().fold(f64::NAN, f64::min)
    }

    /// While the API server is away, and what begins when it is back.
    fn is_round_outage(&self, hour: f64) -> bool {
        self.outages.iter().any(|outage| (outage.from..outage.to + SETTLING_HOURS).contains(&hour))
    }

    /// The more there is to compare, the less does it matter what the allocator keeps.
    fn largest_growth(&self) -> f64 {
        let usual = self.usual();
        let hours = usual.last().zip(usual.first()).map_or(f64::NAN, |(last, first)| last.0 - first.0);
        GROWTH + KEPT / hours * 24.0
    }

    /// The usual memory of each time in which nothing had just begun.
    fn usual(&self) -> Vec<(f64, f64)> {
        let begun = self.outages.first().map_or(0.0, |outage| outage.to);
        let is_settled = |hour: f64| hour > begun + SETTLING_HOURS && !self.is_round_outage(hour);
        let settled: Vec<&Sample> = self.samples.iter().filter(|sample| is_settled(sample.hour)).collect();
        let slices = settled.chunk_by(|one, next| slice(one.hour) == slice(next.hour));
        slices.map(|some| (some[0].hour, median(some.iter().map(|sample| sample.vitals.data)))).collect()
    }

    /// What the operator had at the end, as the machine sees it.
    pub(crate) fn resident_mb_at_end(&self) -> f64 {
        let last = self.samples.iter().filter(|sample| sample.hour > self.hours * 0.8);
        median(last.map(|sample| sample.vitals.resident_mb))
    }

    /// What there is between two times, of which a moment says nothing: watches are begun anew again and again.
    fn mean_in(&self, from: f64, to: f64, of: fn(&Vitals) -> usize) -> f64 {
        let then: Vec<&Sample> = self.samples.iter().filter(|sample| (from..=to).contains(&sample.hour)).collect();
        then.iter().map(|sample| of(&sample.vitals) as f64).sum::<f64>() / then.len() as f64
    }
}

fn slice(hour: f64) -> u64 {
    (hour / SLICE_HOURS) as u64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    // Of nothing, nothing is known: no comparison holds.
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
