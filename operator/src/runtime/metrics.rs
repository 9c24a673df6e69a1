//! What Prometheus can learn about the operator.
//!
//! A write that fails cannot be reported through the ConfigMap, so it is counted here. What is counted is kept as it
//! happens; how things stand is filled in when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use super::{Answer, Class, Facts, Task};
use crate::VERSION;

pub(crate) struct Metrics {
    registry: Registry,
    writes: Family<Labels<1>, Counter>,
    written: Gauge<f64, AtomicU64>,
    tasks: Family<Labels<1>, Gauge>,
    task_failures: Family<Labels<2>, Counter>,
    skipped: Family<Labels<1>, Counter>,
    collections: Family<Labels<1>, Counter>,
    argocd: Gauge<f64, AtomicU64>,
    leader: Gauge,
    events: Events,
    resident: Gauge,
    cpu: Counter<f64, AtomicU64>,
    files: Gauge,
}

/// All is zero where the store is switched off.
struct Events {
    received: Family<Labels<1>, Counter>,
    stored: Family<Labels<2>, Counter>,
    dropped: Counter,
    errors: Family<Labels<1>, Counter>,
    queue: Gauge,
    bytes: Gauge,
}

impl Events {
    fn register(registry: &mut Registry) -> Self {
        let received = Family::default();
        registry.register("events_received", "Events that the watch brought, by type", received.clone());
        let stored = Family::default();
        registry.register("events_stored", "Rows of the event store that are new or changed", stored.clone());
        let dropped = Counter::default();
        registry.register("events_dropped", "Events that were lost on the way to the store", dropped.clone());
        let errors = Family::default();
        registry.register("events_errors", "Failures of the event store, by reason", errors.clone());
        let queue = Gauge::default();
        registry.register("events_queue_size", "Events on the way to the store", queue.clone());
        let bytes = Gauge::default();
        registry.register_with_unit("events_storage_size", "What the event store takes", Unit::Bytes, bytes.clone());
        let events = Self { received, stored, dropped, errors, queue, bytes };
        // As with writes: they are there before it happens.
        for kind in ["Normal", "Warning", "Error", "other"] {
            drop(events.received.get_or_create(&[("type", kind)]));
        }
        for severity in ["info", "warning", "error", "critical"] {
            drop(events.stored.get_or_create(&[("event_type", "cluster"), ("severity", severity)]));
        }
        events
    }
}

type Labels<const COUNT: usize> = [(&'static str, &'static str); COUNT];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut all = Registry::default();
        let (resident, cpu, files) = (Gauge::default(), Counter::default(), Gauge::default());
        all.register_with_unit("process_resident_memory", "Memory in use", Unit::Bytes, resident.clone());
        all.register_with_unit("process_cpu", "Time spent by the processor", Unit::Seconds, cpu.clone());
        all.register("process_open_fds", "Files and connections that are open", files.clone());

        let registry = all.sub_registry_with_prefix("kube9_operator");
        registry.register("build", "The running release", Info::new([("version", VERSION)]));
        let writes = all_results();
        registry.register("status_writes", "Attempts to write the status, by result", writes.clone());
        let written = Gauge::default();
        registry.register("status_written_timestamp_seconds", "When the status was last written", written.clone());
        let tasks = Family::default();
        registry.register(
            "task_running",
            "1 for a watch or an election that goes on, 0 for one that should",
            tasks.clone(),
        );
        let task_failures = Family::default();
        registry.register("task_failures", "Failures of tasks, by reason", task_failures.clone());
        let skipped = Family::default();
        registry.register("objects_skipped", "Objects of the cluster that could not be read", skipped.clone());
        let collections = Family::default();
        registry.register("collections", "Attempts to count the cluster, by result", collections.clone());
        let argocd = unknown();
        registry.register("argocd_detected", "1 where there is Argo CD, 0 where there is none", argocd.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 for the replica that writes", leader.clone());
        let events = Events::register(registry);
        let registry = all;
        Self {
            registry,
            writes,
            written,
            tasks,
            task_failures,
            skipped,
            collections,
            argocd,
            leader,
            events,
            resident,
            cpu,
            files,
        }
    }

    pub(crate) fn write_succeeded(&self, now: Timestamp) {
        self.writes.get_or_create(&result(SUCCESS)).inc();
        self.written.set(now.as_duration().as_secs_f64());
    }

    pub(crate) fn write_failed(&self, class: Class) {
        self.writes.get_or_create(&result(class.label())).inc();
    }

    pub(crate) fn task_failed(&self, task: Task, class: Class) {
        self.task_failures.get_or_create(&[("task", task.label()), ("reason", class.label())]).inc();
    }

    pub(crate) fn event_received(&self, kind: &'static str) {
        self.events.received.get_or_create(&[("type", kind)]).inc();
    }

    pub(crate) fn event_stored(&self, severity: &'static str) {
        self.events.stored.get_or_create(&[("event_type", "cluster"), ("severity", severity)]).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events.dropped.inc();
    }

    pub(crate) fn event_queue(&self, length: usize) {
        self.events.queue.set(length.try_into().unwrap_or(i64::MAX));
    }

    pub(crate) fn event_storage(&self, bytes: u64) {
        self.events.bytes.set(bytes.try_into().unwrap_or(i64::MAX));
    }

    pub(crate) fn event_store_failed(&self, reason: &'static str) {
        self.events.errors.get_or_create(&[("reason", reason)]).inc();
    }

    /// The page for a scrape.
    pub(crate) fn render(&self, facts: &Facts, may_write: bool) -> String {
        self.fill_in(facts, &Process::read());
        self.leader.set(may_write.into());
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut page, &self.registry);
        page
    }

    fn fill_in(&self, facts: &Facts, process: &Process) {
        for (task, state) in facts.tasks.iter().filter(|(task, _)| task.is_lasting()) {
            self.tasks.get_or_create(&[("task", task.label())]).set(state.running.into());
        }
        if let Some(finding) = &facts.argocd {
            self.argocd.set(f64::from(u8::from(finding.answer != Answer::NotDetected)));
        }
        for (label, count) in [(SUCCESS, facts.collections.successes), ("failure", facts.collections.failures)] {
            self.collections.get_or_create(&result(label)).inner().store(count, Ordering::Relaxed);
        }
        for task in facts.tasks.keys().filter(|task| task.reads_objects()) {
            let count = facts.skipped.get(task).copied().unwrap_or_default();
            self.skipped.get_or_create(&[("task", task.label())]).inner().store(count, Ordering::Relaxed);
        }
        self.resident.set(process.resident_bytes);
        self.cpu.inner().store(process.cpu_seconds.to_bits(), Ordering::Relaxed);
        self.files.set(process.open_files);
    }
}

const SUCCESS: &str = "success";

fn result(label: &'static str) -> Labels<1> {
    [("result", label)]
}

/// No number stands for what is not known yet; zero would be a lie.
fn unknown() -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::default();
    gauge.set(f64::NAN);
    gauge
}

/// Every result starts at zero: a rate can only be taken of a counter that was there before.
fn all_results() -> Family<Labels<1>, Counter> {
    let writes = Family::default();
    for label in Class::ALL.into_iter().map(Class::label).chain([SUCCESS]) {
        drop(writes.get_or_create(&result(label)));
    }
    writes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::{Finding, TaskState};

    fn render(metrics: &Metrics, facts: &Facts) -> String {
        metrics.render(facts, true)
    }

    #[track_caller]
    fn assert_line(page: &str, line: &str) {
        assert!(page.lines().any(|other| other == line), "{line} is missing from\n{page}");
    }

    #[test]
    fn the_page_is_open_metrics_and_names_the_release() {
        let page = render(&Metrics::new(), &Facts::default());
        assert_line(&page, &format!("kube9_operator_build_info{{version=\"{VERSION}\"}} 1"));
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn every_result_is_there_before_it_happens() {
        let page = render(&Metrics::new(), &Facts::default());
        for label in Class::ALL.into_iter().map(Class::label).chain([SUCCESS]) {
            assert_line(&page, &format!("kube9_operator_status_writes_total{{result=\"{label}\"}} 0"));
        }
    }

    #[test]
    fn writes_are_counted_by_result() {
        let metrics = Metrics::new();
        metrics.write_failed(Class::Forbidden);
        metrics.write_failed(Class::Forbidden);
        metrics.write_succeeded(Timestamp::from_second(1_785_000_000).unwrap());
        let page = render(&metrics, &Facts::default());
        assert_line(&page, "kube9_operator_status_writes_total{result=\"forbidden\"} 2");
        assert_line(&page, "kube9_operator_status_writes_total{result=\"success\"} 1");
        assert_line(&page, "kube9_operator_status_written_timestamp_seconds 1785000000.0");
    }

    #[test]
    fn what_is_not_known_is_no_number() {
        let page = render(&Metrics::new(), &Facts::default());
        assert_line(&page, "kube9_operator_argocd_detected NaN");
        let argocd = Some(Finding { answer: Answer::NotDetected, checked: Duration::ZERO });
        let state = TaskState { running: true, trouble: None };
        let facts = Facts { argocd, tasks: [(Task::CrdWatch, state)].into(), ..Facts::default() };
        let page = render(&Metrics::new(), &facts);
        assert_line(&page, "kube9_operator_argocd_detected 0.0");
        assert_line(&page, "kube9_operator_task_running{task=\"crds\"} 1");
    }

    #[test]
    fn f13_events_are_counted_under_the_names_they_always_had() {
        let metrics = Metrics::new();
        metrics.event_received("Warning");
        metrics.event_stored("critical");
        metrics.event_dropped();
        metrics.event_store_failed("full");
        metrics.event_queue(5);
        metrics.event_storage(4096);
        let page = render(&metrics, &Facts::default());
        for line in [
            "events_received_total{type=\"Warning\"} 1",
            "events_stored_total{event_type=\"cluster\",severity=\"critical\"} 1",
            "events_dropped_total 1",
            "events_errors_total{reason=\"full\"} 1",
            "events_queue_size 5",
            "events_storage_size_bytes 4096",
        ] {
            assert_line(&page, &format!("kube9_operator_{line}"));
        }
    }

    #[test]
    fn the_process_goes_by_its_usual_names() {
        let page = render(&Metrics::new(), &Facts::default());
        for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
            assert!(page.lines().any(|line| line.starts_with(name)), "{name}{page}");
        }
    }
}
