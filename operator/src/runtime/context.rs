//! What every part of the running operator may look at, and do.

use jiff::Timestamp;

use super::metrics::Metrics;
use super::skew::CurrentSkew;
use super::{Clock, Progress, Task};
use crate::config::Config;

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) progress: Progress,
    pub(crate) metrics: Metrics,
    pub(crate) skew: CurrentSkew,
}

impl Context {
    /// As it is at the start.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            clock: Clock::start(),
            progress: Progress::default(),
            metrics: Metrics::new(),
            skew: CurrentSkew::default(),
        }
    }

    /// The date and time as the API server has it.
    pub(crate) fn calendar(&self) -> Timestamp {
        self.skew.get().correct(self.clock.calendar())
    }

    /// Whether this replica is the one that writes: where replicas choose one of them, as long as it was chosen.
    pub(crate) fn may_write(&self) -> bool {
        !self.config.leader_election || self.progress.leads(self.clock.uptime())
    }

    /// An object cannot be read. That costs nobody the others, but is counted and told.
    pub(crate) fn skipped(&self, task: Task, reason: &str) {
        tracing::debug!(task = task.label(), reason, "an object cannot be read");
        self.progress.skipped(task);
    }
}
