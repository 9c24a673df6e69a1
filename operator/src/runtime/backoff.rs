//! How long to wait after a failure: longer each time, never too long, and never in step with other clients.
//!
//! Only the decision is here. The caller does the waiting.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::Failure;

const FIRST: Duration = Duration::from_secs(1);

/// A status older than 5 minutes is stale for kube9; half a minute between attempts leaves room for many.
const LONGEST: Duration = Duration::from_secs(30);

/// A server may ask for more patience than ours, within reason.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(60);

/// The pause after `failures` failures in a row (at least one), where the last one was this.
pub(crate) fn pause(failures: u32, last: &Failure) -> Duration {
    // From 0 to 1. The standard library seeds its hash maps at random, which is random enough to keep clients apart.
    let jitter = f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX);
    jittered(failures, jitter, last.retry_after)
}

/// `jitter` is a random number from 0 to 1, which places the pause in the upper half of its span: clients that failed
/// together then come back apart. `asked_for` is what the server wished for, as in a `Retry-After`.
fn jittered(failures: u32, jitter: f64, asked_for: Option<Duration>) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let span = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let pause = span.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    asked_for.map_or(pause, |asked_for| pause.max(asked_for.min(LONGEST_ASKED_FOR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_cap() {
        let pauses: Vec<u64> = (1..=8).map(|failures| jittered(failures, 1.0, None).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_day_of_failures_does_not_overflow() {
        assert_eq!(jittered(u32::MAX, 1.0, None), LONGEST);
    }

    #[test]
    fn jitter_spreads_the_pause_over_the_upper_half() {
        assert_eq!(jittered(3, 0.0, None), Duration::from_secs(2));
        assert_eq!(jittered(3, 0.5, None), Duration::from_secs(3));
        assert_eq!(jittered(3, 7.0, None), Duration::from_secs(4), "a wild random number is tamed");
    }

    #[test]
    fn the_wish_of_the_server_is_granted_within_reason() {
        assert_eq!(jittered(1, 0.0, Some(Duration::from_secs(9))), Duration::from_secs(9));
        assert_eq!(jittered(1, 0.0, Some(Duration::from_secs(86_400))), LONGEST_ASKED_FOR);
        assert_eq!(jittered(6, 1.0, Some(Duration::from_secs(1))), LONGEST, "a wish never shortens the pause");
    }
}
