//! Tries again what may succeed in a moment.

use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder};

use crate::error::{Error, Result};

/// How an attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// The next attempt may succeed.
    Passing(Error),
    /// No other attempt will.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// Tries up to `times` times. The pause between attempts begins with `first`, doubles six times at most, and is up to twice as long by
/// chance, so that those who got into each other's way do not stay in step.
///
/// # Errors
/// That of the last attempt.
pub fn retry<T>(times: usize, first: Duration, attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
    let pauses = ExponentialBuilder::default().with_min_delay(first).with_max_delay(64 * first).with_jitter();
    let is_passing = |failure: &Failure| matches!(failure, Failure::Passing(_));
    let tried = attempt.retry(pauses.with_max_times(times.saturating_sub(1))).when(is_passing).call();
    tried.map_err(|(Failure::Passing(error) | Failure::Final(error))| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn tried(times: usize, failure: fn(Error) -> Failure) -> usize {
        let mut count = 0;
        let result = retry(times, Duration::from_micros(1), || -> Result<(), Failure> {
            count += 1;
            Err(failure(Error::new(Exit::Busy, count.to_string())))
        });
        assert_eq!(result.unwrap_err().what, count.to_string(), "the last error is the one that is told");
        count
    }

    #[test]
    fn what_passes_is_tried_as_often_as_allowed_and_what_is_final_once() {
        assert_eq!((tried(5, Failure::Passing), tried(1, Failure::Passing), tried(5, Failure::Final)), (5, 1, 1));
    }
}
