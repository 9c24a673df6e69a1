//! How long to wait before something is tried again.

use std::time::Duration;

/// Longer with every attempt (from 0; it doubles six times), and different for every process, so that two do not stay in step.
/// `first` and `spread` are milliseconds.
pub fn pause(first: u64, spread: u32, attempt: u32) -> Duration {
    const DOUBLINGS_MAX: u32 = 6;
    Duration::from_millis((first << attempt.min(DOUBLINGS_MAX)) + u64::from(std::process::id() % spread))
}
