//! The one place that asks what time it is, and the one that waits.
//!
//! Two clocks, never mixed: the calendar is for readers of the status (kube9 compares it with its own clock), and the
//! monotonic one is for ages and time limits, since it does not jump when somebody sets the time.
//!
//! Builds with debug assertions, which no release is, let tests run the monotonic clock faster and set the calendar:
//! `TEST_CLOCK_SPEED` is a factor, `TEST_CLOCK_OFFSET` names a file with seconds to add, read each time.

use std::time::{Duration, Instant};

use crate::time::Timestamp;

#[derive(Clone)]
pub(crate) struct Clock {
    start: Instant,
    #[cfg(debug_assertions)]
    test: test::Settings,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            #[cfg(debug_assertions)]
            test: test::Settings::read(),
        }
    }

    /// How long this process has been running.
    pub(crate) fn uptime(&self) -> Duration {
        #[cfg(debug_assertions)]
        return self.test.uptime(self.start);
        #[cfg(not(debug_assertions))]
        self.start.elapsed()
    }

    /// The date and time, in UTC.
    pub(crate) fn calendar(&self) -> Timestamp {
        #[cfg(debug_assertions)]
        return self.test.calendar();
        #[cfg(not(debug_assertions))]
        chrono::Utc::now()
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        tokio::time::sleep(self.real(time)).await;
    }

    /// What this time is for others, such as the API server.
    pub(crate) fn real(&self, time: Duration) -> Duration {
        #[cfg(debug_assertions)]
        return self.test.real(time);
        #[cfg(not(debug_assertions))]
        time
    }
}

#[cfg(debug_assertions)]
mod test {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};
    use std::{env, fs};

    use chrono::{TimeDelta, Utc};

    use crate::time::Timestamp;

    #[derive(Clone)]
    pub(super) struct Settings {
        speed: f64,
        offset: Option<PathBuf>,
    }

    impl Settings {
        pub(super) fn read() -> Self {
            let speed = env::var("TEST_CLOCK_SPEED").ok().and_then(|speed| speed.parse().ok()).unwrap_or(1.0);
            let offset = env::var_os("TEST_CLOCK_OFFSET").map(PathBuf::from);
            Self { speed, offset }
        }

        pub(super) fn uptime(&self, start: Instant) -> Duration {
            start.elapsed().mul_f64(self.speed)
        }

        /// Never faster: the API server's clock, with which it is compared, is not.
        pub(super) fn calendar(&self) -> Timestamp {
            let offset = self.offset.as_ref().and_then(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
            Utc::now() + TimeDelta::seconds(offset.unwrap_or(0))
        }

        pub(super) fn real(&self, time: Duration) -> Duration {
            time.div_f64(self.speed)
        }
    }
}
