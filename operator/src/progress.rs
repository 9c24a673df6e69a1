//! What the loops have done so far, for the probes to judge.
//!
//! The loops write it, the HTTP side takes copies; nobody holds the lock while waiting for anything.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failure::Failure;

#[derive(Default)]
pub(crate) struct Progress {
    facts: Mutex<Facts>,
}

/// All times are uptimes: how long the process had been running.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    /// When the loop last showed that it is alive.
    pub(crate) heartbeat: Duration,
    /// When the status was last written.
    pub(crate) written: Option<Duration>,
    /// How often writing has failed since.
    pub(crate) failures: u32,
    /// Why it failed the last time.
    pub(crate) last_failure: Option<Failure>,
    pub(crate) stopping: bool,
}

impl Progress {
    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    pub(crate) fn beat(&self, now: Duration) {
        self.lock().heartbeat = now;
    }

    pub(crate) fn write_succeeded(&self, now: Duration) {
        let mut facts = self.lock();
        facts.written = Some(now);
        facts.failures = 0;
        facts.last_failure = None;
    }

    pub(crate) fn write_failed(&self, failure: Failure) {
        let mut facts = self.lock();
        facts.failures = facts.failures.saturating_add(1);
        facts.last_failure = Some(failure);
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
    }

    /// Facts are plain values, replaced one by one: they stay usable even if a holder of the lock panicked.
    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
