//! The loop that keeps the status fresh, and takes leave in the end.
//!
//! It never gives up: whatever fails is tried again after a pause, so that the operator is well again as soon as the
//! API server is. Nothing here waits without a limit.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::{sleep, timeout};

use super::config_map::{StatusConfigMap, Target, Uid};
use super::document::{CollectionStats, document};
use super::health::{Health, Phase};
use crate::backoff;
use crate::failure::Failure;
use crate::probes::HEARTBEAT;
use crate::serve::Context;
use crate::shutdown::Shutdown;

/// How long one request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a write that is on its way may still take when a signal comes. It is not dropped at once: the server
/// could finish it after the final one, and the status would say for ever that all is well.
const LAST_REGULAR_WRITE: Duration = Duration::from_secs(1);

/// How long the final write may take, with all its attempts. Together the two stay well below the 5 seconds after
/// which a user loses patience, and the 30 after which the kubelet does.
const FINAL_WRITE: Duration = Duration::from_secs(3);
const FINAL_WRITE_ATTEMPT: Duration = Duration::from_millis(1500);
const FINAL_WRITE_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Writer {
    config_map: StatusConfigMap,
    context: Arc<Context>,
    /// The object of the last successful write.
    seen: Option<Uid>,
    /// Failures since then.
    failures: u32,
}

impl Writer {
    pub(crate) fn new(client: Client, context: Arc<Context>) -> Self {
        let config_map = StatusConfigMap::new(client, &context.config.namespace);
        Self { config_map, context, seen: None, failures: 0 }
    }

    /// Writes the status again and again until the shutdown, and then once more.
    pub(crate) async fn run(mut self, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            self.context.progress.beat(self.context.clock.uptime());
            let pause = self.write(shutdown).await;
            self.rest(pause, shutdown).await;
        }
        self.context.progress.stop();
        self.take_leave().await;
    }

    /// Writes once, and says how long to wait before the next time.
    async fn write(&mut self, shutdown: &Shutdown) -> Duration {
        let result = tokio::select! {
            result = self.apply(Phase::Running, &Target::Any, REQUEST_TIMEOUT) => result,
            () = overdue(shutdown) => {
                tracing::warn!("gave up a write to shut down in time");
                return Duration::ZERO;
            }
        };
        match result {
            Ok(uid) => self.note_success(uid),
            Err(failure) => self.note_failure(failure),
        }
    }

    async fn apply(&self, phase: Phase, target: &Target, limit: Duration) -> Result<Option<Uid>, Failure> {
        let Context { config, clock, .. } = &*self.context;
        let collections = CollectionStats::default();
        let document = document(&config.namespace, &Health::of(phase), &collections, clock.calendar());
        self.config_map.apply(&document, target, limit).await
    }

    fn note_success(&mut self, uid: Option<Uid>) -> Duration {
        let Context { config, clock, metrics, progress } = &*self.context;
        match (&self.seen, self.failures) {
            (None, _) => tracing::info!("status written for the first time"),
            (Some(_), 0) => tracing::debug!("status written"),
            (Some(_), failures) => tracing::info!(failures, "status written again"),
        }
        metrics.write_succeeded(clock.calendar());
        progress.write_succeeded(clock.uptime());
        self.seen = uid;
        self.failures = 0;
        config.status_interval
    }

    fn note_failure(&mut self, failure: Failure) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff::pause(self.failures, random_fraction(), failure.retry_after);
        tracing::warn!(
            class = failure.class.label(),
            error = failure.message,
            failures = self.failures,
            retry_in_seconds = pause.as_secs_f64(),
            "cannot write the status"
        );
        self.context.metrics.write_failed(failure.class);
        self.context.progress.write_failed(failure);
        pause
    }

    /// Waits, and shows meanwhile that the loop is alive.
    async fn rest(&self, pause: Duration, shutdown: &Shutdown) {
        let mut left = pause;
        while !left.is_zero() && !shutdown.is_requested() {
            let step = left.min(HEARTBEAT);
            tokio::select! {
                () = sleep(step) => {}
                () = shutdown.requested() => {}
            }
            left -= step;
            self.context.progress.beat(self.context.clock.uptime());
        }
    }

    /// Tells readers that nobody keeps the status fresh any more.
    ///
    /// Only the object that was written before is told. After an uninstall it is gone, and a new one would make kube9
    /// call the cluster degraded for ever; or another one stands in its place, which is none of our business.
    async fn take_leave(&self) {
        let Some(uid) = self.seen.clone() else {
            tracing::info!("no status was written, so there is none to correct");
            return;
        };
        match timeout(FINAL_WRITE, self.final_write(&Target::Only(uid))).await {
            Ok(Ok(())) => tracing::info!("final status written"),
            Ok(Err(failure)) => tracing::warn!(%failure, "the final status was refused"),
            Err(_elapsed) => tracing::warn!("the final status could not be written in time"),
        }
    }

    /// Tries until there is an answer that will not change.
    async fn final_write(&self, target: &Target) -> Result<(), Failure> {
        loop {
            match self.apply(Phase::Stopping, target, FINAL_WRITE_ATTEMPT).await {
                Err(failure) if failure.class.is_passing() => {
                    tracing::warn!(%failure, "cannot write the final status yet");
                    sleep(FINAL_WRITE_PAUSE).await;
                }
                answer => return answer.map(drop),
            }
        }
    }
}

/// Returns when a write that is still on its way has to be given up.
async fn overdue(shutdown: &Shutdown) {
    shutdown.requested().await;
    sleep(LAST_REGULAR_WRITE).await;
}

/// From 0 to 1. The standard library seeds its hash maps at random, which is random enough to keep clients apart.
fn random_fraction() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}
