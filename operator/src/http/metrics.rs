//! What Prometheus can learn about the operator: what is known at the moment of a scrape, in its words.
//!
//! A write that fails cannot be reported through the ConfigMap, so it is counted here.

use std::fmt;
use std::time::Duration;

use litemap::LiteMap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use crate::VERSION;
use crate::runtime::{Answer, Class, State, TaskState, Writes};

/// The page for a scrape.
pub(super) fn page(state: State, now: Duration) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { state, now, process: Process::read() }));
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut page, &registry);
    page
}

#[derive(Debug)]
struct Scrape {
    state: State,
    now: Duration,
    process: Process,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        self.status(&mut page)?;
        self.tasks(&mut page)?;
        self.events(&mut page)
    }
}

impl Scrape {
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let Process { resident_bytes, cpu_seconds, open_files } = &self.process;
        page.gauge("process_resident_memory", "Memory in use", Some(&Unit::Bytes), resident_bytes)?;
        page.counter("process_cpu", "Time spent by the processor", Some(&Unit::Seconds), cpu_seconds)?;
        page.gauge("process_open_fds", "Files and connections that are open", None, open_files)
    }

    fn status(&self, page: &mut Page<'_>) -> fmt::Result {
        let State { writes, argocd, collections, role, .. } = &self.state;
        let mut build = page.family("kube9_operator_build", "The running release", MetricType::Info)?;
        build.encode_info(&[("version", VERSION)].as_slice())?;
        // Every result is there before it happens: a rate can only be taken of a counter that was there before.
        let results = Class::ALL.into_iter().map(Class::label).chain([Writes::SUCCESS]);
        let results = results.map(|result| ([("result", result)], count(&writes.results, result)));
        page.counters("kube9_operator_status_writes", "Attempts to write the status, by result", results)?;
        let name = "kube9_operator_status_written_timestamp_seconds";
        let date = writes.date.map_or(0.0, |date| date.timestamp_millis() as f64 / 1000.0);
        page.gauge(name, "When the status was last written", None, &date)?;
        let counts = [(Writes::SUCCESS, collections.successes), ("failure", collections.failures)];
        let counts = counts.iter().map(|(result, count)| ([("result", *result)], *count));
        page.counters("kube9_operator_collections", "Attempts to count the cluster, by result", counts)?;
        // No number stands for what is not known yet; zero would be a lie.
        let detected = argocd.as_ref().map_or(f64::NAN, |it| f64::from(u8::from(it.answer != Answer::NotDetected)));
        page.gauge(
            "kube9_operator_argocd_detected",
            "1 where there is Argo CD, 0 where there is none",
            None,
            &detected,
        )?;
        let leader = i64::from(role.may_write(self.now));
        page.gauge("kube9_operator_leader", "1 for the replica that writes", None, &leader)
    }

    fn tasks(&self, page: &mut Page<'_>) -> fmt::Result {
        let tasks = &self.state.tasks;
        let help = "1 for a watch or an election that goes on, 0 for one that should";
        let mut running = page.family("kube9_operator_task_running", help, MetricType::Gauge)?;
        for (task, state) in tasks.iter().filter(|(task, _)| task.is_lasting()) {
            running.encode_family(&[("task", task.label())])?.encode_gauge(&i64::from(state.running))?;
        }
        let failures = tasks.iter().flat_map(|(task, TaskState { failures, .. })| {
            failures.iter().map(|(reason, count)| ([("task", task.label()), ("reason", reason)], *count))
        });
        page.counters("kube9_operator_task_failures", "Failures of tasks, by reason", failures)?;
        let readers = tasks.iter().filter(|(task, _)| task.reads_objects());
        let skipped = readers.map(|(task, state)| ([("task", task.label())], state.skipped));
        page.counters("kube9_operator_objects_skipped", "Objects of the cluster that could not be read", skipped)
    }

    fn events(&self, page: &mut Page<'_>) -> fmt::Result {
        let events = &self.state.events;
        let kinds = ["Normal", "Warning", "Error", "other"].iter();
        let received = kinds.map(|kind| ([("type", *kind)], count(&events.received, kind)));
        page.counters("kube9_operator_events_received", "Events that the watch brought, by type", received)?;
        let severities = ["info", "warning", "error", "critical"].iter();
        let stored = severities.map(|it| ([("event_type", "cluster"), ("severity", *it)], count(&events.stored, it)));
        page.counters("kube9_operator_events_stored", "Rows of the event store that are new or changed", stored)?;
        let help = "Events that were lost on the way to the store";
        page.counter("kube9_operator_events_dropped", help, None, &events.dropped)?;
        let errors = events.errors.iter().map(|(reason, count)| ([("reason", *reason)], *count));
        page.counters("kube9_operator_events_errors", "Failures of the event store, by reason", errors)?;
        page.gauge("kube9_operator_events_queue_size", "Events on the way to the store", None, &events.waiting)?;
        let name = "kube9_operator_events_storage_size";
        page.gauge(name, "What the event store takes", Some(&Unit::Bytes), &events.bytes)
    }
}

fn count(counts: &LiteMap<&'static str, u64>, label: &str) -> u64 {
    counts.get(label).copied().unwrap_or_default()
}

/// Families, as they are written one after the other.
struct Page<'page>(DescriptorEncoder<'page>);

impl Page<'_> {
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        counts: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        counts.into_iter().try_for_each(|(labels, count)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: &impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Failure, Finding, Task};
    use crate::time::Timestamp;

    fn render(state: &State) -> String {
        page(state.clone(), Duration::ZERO)
    }

    #[track_caller]
    fn assert_line(page: &str, line: &str) {
        assert!(page.lines().any(|other| other == line), "{line} is missing from\n{page}");
    }

    #[test]
    fn the_page_is_open_metrics_and_names_the_release() {
        let page = render(&State::default());
        assert_line(&page, &format!("kube9_operator_build_info{{version=\"{VERSION}\"}} 1"));
        assert_line(&page, "# UNIT process_cpu_seconds seconds");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn every_result_is_there_before_it_happens() {
        let page = render(&State::default());
        for label in Class::ALL.into_iter().map(Class::label).chain([Writes::SUCCESS]) {
            assert_line(&page, &format!("kube9_operator_status_writes_total{{result=\"{label}\"}} 0"));
        }
    }

    #[test]
    fn writes_are_counted_by_result() {
        let mut state = State::default();
        let refused = || Failure::new(Class::Forbidden, "");
        state.write_failed(refused());
        state.write_failed(refused());
        state.write_succeeded(Duration::ZERO, Timestamp::from_timestamp(1_785_000_000, 0).unwrap());
        let page = render(&state);
        assert_line(&page, "kube9_operator_status_writes_total{result=\"forbidden\"} 2");
        assert_line(&page, "kube9_operator_status_writes_total{result=\"success\"} 1");
        assert_line(&page, "kube9_operator_status_written_timestamp_seconds 1785000000.0");
    }

    #[test]
    fn what_is_not_known_is_no_number() {
        let mut state = State::default();
        assert_line(&render(&state), "kube9_operator_argocd_detected NaN");
        state.found(Finding { answer: Answer::NotDetected, checked: Duration::ZERO });
        state.task_runs(Task::CrdWatch);
        let page = render(&state);
        assert_line(&page, "kube9_operator_argocd_detected 0.0");
        assert_line(&page, "kube9_operator_task_running{task=\"crds\"} 1");
    }

    #[test]
    fn the_replica_that_leads_is_the_one_that_may_write() {
        let role = crate::runtime::Role::Leader { until: Duration::from_secs(40) };
        let state = State { role, ..State::default() };
        let leader = |second| page(state.clone(), Duration::from_secs(second));
        assert_line(&leader(39), "kube9_operator_leader 1");
        assert_line(&leader(40), "kube9_operator_leader 0");
    }

    #[test]
    fn f13_events_are_counted_under_the_names_they_always_had() {
        let mut state = State::default();
        let events = &mut state.events;
        events.received.insert("Warning", 1);
        events.stored.insert("critical", 1);
        events.errors.insert("full", 1);
        (events.dropped, events.waiting, events.bytes) = (1, 5, 4096);
        let page = render(&state);
        for line in [
            "events_received_total{type=\"Warning\"} 1",
            "events_received_total{type=\"Normal\"} 0",
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
        let page = render(&State::default());
        for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
            assert!(page.lines().any(|line| line.starts_with(name)), "{name}{page}");
        }
    }
}
