//! The difference between our clock and the API server's.
//!
//! kube9 compares the status's time with its own clock, and calls one older than 5 minutes degraded. A node whose
//! clock is wrong must not do that to a whole cluster, so a difference that matters is made up for.

use chrono::TimeDelta;

use crate::time::Timestamp;

/// The API server tells whole seconds, and clocks that are kept in step are never quite.
const TOLERATED: TimeDelta = TimeDelta::seconds(5);

/// What has to be added to our clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Skew(TimeDelta);

impl Skew {
    pub(crate) const NONE: Self = Self(TimeDelta::zero());

    /// When the API server's said `theirs` at some time between two of ours.
    pub(crate) fn between(before: Timestamp, after: Timestamp, theirs: Timestamp) -> Self {
        let (late, early) = (theirs - after, before - theirs);
        match (late > TOLERATED, early > TOLERATED) {
            (true, _) => Self(late),
            (_, true) => Self(-early),
            _ => Self::NONE,
        }
    }

    pub(crate) fn correct(self, ours: Timestamp) -> Timestamp {
        ours.checked_add_signed(self.0).unwrap_or(ours)
    }

    pub(crate) fn seconds(self) -> i64 {
        self.0.num_seconds()
    }

    /// Whether a status that was made with `self` is off by so much that it has to be written again.
    pub(crate) fn is_far_from(self, other: Self) -> bool {
        (self.0 - other.0).abs() > TOLERATED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_785_000_000 + second, 0).unwrap()
    }

    #[test]
    fn the_time_a_request_takes_is_no_skew() {
        for theirs in [-5, 0, 9, 14] {
            assert_eq!(Skew::between(at(0), at(9), at(theirs)), Skew::NONE, "{theirs}");
        }
    }

    #[test]
    fn a_clock_that_is_an_hour_off_is_corrected() {
        for (ours, theirs) in [(0, 3600), (3600, 0)] {
            let skew = Skew::between(at(ours), at(ours), at(theirs));
            assert_eq!(skew.correct(at(ours)), at(theirs));
            assert!(skew.is_far_from(Skew::NONE) && !skew.is_far_from(skew));
        }
    }
}
