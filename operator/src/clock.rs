//! The one place that asks what time it is.
//!
//! Two clocks, never mixed: the calendar is for readers of the status (kube9 compares it with its own clock), and the
//! monotonic one is for ages and time limits, since it does not jump when somebody sets the time.

use std::time::{Duration, Instant};

use jiff::Timestamp;

#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// How long this process has been running.
    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// The date and time, in UTC.
    pub(crate) fn calendar(&self) -> Timestamp {
        Timestamp::now()
    }
}
