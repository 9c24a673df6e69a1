//! What Prometheus can learn about the operator.
//!
//! A write that fails cannot be reported through the ConfigMap, so it is counted here.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::VERSION;
use crate::failure::Class;

pub(crate) struct Metrics {
    registry: Registry,
    writes: Family<ResultLabel, Counter>,
    written: Gauge<f64, AtomicU64>,
}

type ResultLabel = [(&'static str, &'static str); 1];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("kube9_operator");
        registry.register("build", "The running release", Info::new([("version", VERSION)]));
        let writes = all_results();
        registry.register("status_writes", "Attempts to write the status, by result", writes.clone());
        let written = Gauge::default();
        registry.register("status_written_timestamp_seconds", "When the status was last written", written.clone());
        Self { registry, writes, written }
    }

    pub(crate) fn write_succeeded(&self, now: Timestamp) {
        self.writes.get_or_create(&result(SUCCESS)).inc();
        self.written.set(now.as_duration().as_secs_f64());
    }

    pub(crate) fn write_failed(&self, class: Class) {
        self.writes.get_or_create(&result(class.label())).inc();
    }

    /// The page for a scrape.
    pub(crate) fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}

const SUCCESS: &str = "success";

fn result(label: &'static str) -> ResultLabel {
    [("result", label)]
}

/// Every result starts at zero: a rate can only be taken of a counter that was there before.
fn all_results() -> Family<ResultLabel, Counter> {
    let writes = Family::default();
    for label in Class::ALL.into_iter().map(Class::label).chain([SUCCESS]) {
        drop(writes.get_or_create(&result(label)));
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_open_metrics_and_names_the_release() {
        let page = Metrics::new().render();
        assert!(page.contains(&format!("kube9_operator_build_info{{version=\"{VERSION}\"}} 1\n")), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn every_result_is_there_before_it_happens() {
        let page = Metrics::new().render();
        for label in Class::ALL.into_iter().map(Class::label).chain([SUCCESS]) {
            let line = format!("kube9_operator_status_writes_total{{result=\"{label}\"}} 0\n");
            assert!(page.contains(&line), "{line}{page}");
        }
    }

    #[test]
    fn writes_are_counted_by_result() {
        let metrics = Metrics::new();
        metrics.write_failed(Class::Forbidden);
        metrics.write_failed(Class::Forbidden);
        metrics.write_succeeded(Timestamp::from_second(1_785_000_000).unwrap());
        let page = metrics.render();
        assert!(page.contains("kube9_operator_status_writes_total{result=\"forbidden\"} 2\n"), "{page}");
        assert!(page.contains("kube9_operator_status_writes_total{result=\"success\"} 1\n"), "{page}");
        assert!(page.contains("kube9_operator_status_written_timestamp_seconds 1785000000.0\n"), "{page}");
    }
}
