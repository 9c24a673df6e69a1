//! The loop that keeps the status fresh, and takes leave in the end.
//!
//! It never gives up: whatever fails is tried again after a pause, so that the operator is well again as soon as the
//! API server is. Nothing here waits without a limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::config_map::{ConfigMaps, Content, Identity, Target, Written};
use super::deployments::Deployments;
use super::document::{Now, document};
use super::health::Health;
use super::{CONFIG_MAP_NAME, KEY};
use crate::kubernetes::{Client, REQUEST_TIMEOUT};
use crate::runtime::{Class, Context, Failure, HEARTBEAT, Shutdown, Skew, State, pause};

/// How long the first write waits for what it could tell besides: who owns it, and whether there is Argo CD. What
/// comes later is told as soon as it is there.
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// Changes that come together are told together.
const GATHERING: Duration = Duration::from_secs(1);

/// How long a write that is on its way may still take when a signal comes. It is not dropped at once: the server
/// could finish it after the final one, and the status would say for ever that all is well.
const LAST_REGULAR_WRITE: Duration = Duration::from_secs(1);

/// How long the leave may take, with all its attempts. Together the two stay below the 5 seconds after which a user
/// loses patience, and well below the 30 after which the kubelet does.
const LEAVE: Duration = Duration::from_secs(3);
const LEAVE_ATTEMPT: Duration = Duration::from_millis(1200);
const LEAVE_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Writer {
    config_maps: ConfigMaps,
    deployments: Deployments,
    context: Arc<Context>,
    /// The object of the last successful write.
    seen: Option<Identity>,
    /// What may stand in it if nobody else wrote.
    ours: Texts,
    /// What has been told, or is about to be.
    told: u64,
}

#[derive(Clone, Default)]
struct Texts {
    written: String,
    /// It may have arrived though nobody told us.
    attempted: String,
}

impl Writer {
    pub(crate) fn new(client: Client, context: Arc<Context>) -> Self {
        let pod = &context.config.pod;
        Self {
            config_maps: ConfigMaps::new(client.clone(), &pod.namespace),
            deployments: Deployments::new(client, pod),
            context,
            seen: None,
            ours: Texts::default(),
            told: 0,
        }
    }

    /// Writes the status again and again until the shutdown, and then once more.
    pub(crate) async fn run(mut self, shutdown: &Shutdown) {
        self.beat();
        self.look_around(shutdown).await;
        while !shutdown.is_requested() {
            self.beat();
            self.told = self.context.state().news.to_tell;
            if self.context.may_write() {
                let start = self.context.clock.uptime();
                let pause = self.write(shutdown).await;
                // An interval is from start to start, as long as all is well; a failure is followed by its whole pause.
                let begun = if self.context.state().writes.failures == 0 { start } else { self.context.clock.uptime() };
                self.rest(begun + pause, shutdown).await;
            } else {
                // What another replica writes by now is not ours to correct.
                self.seen = None;
                self.rest(self.context.clock.uptime() + HEARTBEAT, shutdown).await;
            }
        }
        self.context.update(|state| state.stopping = true);
        match timeout(LEAVE, self.take_leave()).await {
            Ok(()) => {}
            Err(_elapsed) => tracing::warn!("the final status could not be written in time"),
        }
    }

    /// Gives what the first status could tell a moment to arrive.
    async fn look_around(&self, shutdown: &Shutdown) {
        tokio::select! {
            _ = timeout(FIRST_LOOK, self.context.until(State::is_oriented)) => {}
            () = shutdown.requested() => {}
        }
    }

    /// Writes once, and says how long to wait before the next time.
    async fn write(&mut self, shutdown: &Shutdown) -> Duration {
        let result = tokio::select! {
            result = self.write_in_time() => result,
            () = overdue(shutdown) => {
                tracing::warn!("gave up a write to shut down in time");
                return Duration::ZERO;
            }
        };
        match result {
            Ok(()) => self.note_success(),
            Err(failure) => self.note_failure(failure),
        }
    }

    /// Writes, and once more if it turns out that the time in it was wrong.
    async fn write_in_time(&mut self) -> Result<(), Failure> {
        let skew = self.write_once().await?;
        if self.context.state().skew.is_far_from(skew) {
            tracing::warn!(
                seconds = skew.seconds(),
                "this node's clock differs from the API server's; making up for it"
            );
            self.context.update(|state| state.skew = skew);
            self.write_once().await?;
        }
        Ok(())
    }

    async fn write_once(&mut self) -> Result<Skew, Failure> {
        let before = self.context.clock.calendar();
        let written = self.apply(&Target::Any, REQUEST_TIMEOUT).await?;
        self.seen = Some(written.identity);
        self.ours.written.clone_from(&self.ours.attempted);
        let after = self.context.clock.calendar();
        Ok(written.time.map_or(Skew::NONE, |time| Skew::between(before, after, time)))
    }

    async fn apply(&mut self, target: &Target, limit: Duration) -> Result<Written, Failure> {
        let Context { config, clock, .. } = &*self.context;
        let now = Now { calendar: self.context.calendar(), uptime: clock.uptime() };
        let state = self.context.state();
        let document = document(&config.pod.namespace, &Health::of(&state, now.uptime), &state, now);
        let text = format!("{document:#}");
        // kube9 learns the namespace from here, before it reads the document.
        let data = [(KEY, text.as_str()), ("namespace", &config.pod.namespace)];
        let content = Content { name: CONFIG_MAP_NAME, component: "status", data: &data };
        self.ours.attempted.clone_from(&text);
        self.config_maps.apply(&content, state.owner(), target, limit).await
    }

    fn note_success(&self) -> Duration {
        let before = self.context.state().writes;
        match (before.last, before.failures) {
            (None, _) => tracing::info!("status written for the first time"),
            (Some(_), 0) => tracing::debug!("status written"),
            (Some(_), failures) => tracing::info!(failures, "status written again"),
        }
        let (now, date) = (self.context.clock.uptime(), self.context.calendar());
        self.context.update(|state| state.write_succeeded(now, date));
        self.context.config.status_interval
    }

    fn note_failure(&self, failure: Failure) -> Duration {
        let failures = self.context.state().writes.failures.saturating_add(1);
        let pause = pause(failures, &failure);
        tracing::warn!(
            class = failure.class.label(),
            error = failure.message,
            failures,
            retry_in_seconds = pause.as_secs_f64(),
            "cannot write the status"
        );
        self.context.update(|state| state.write_failed(failure));
        pause
    }

    /// Waits until an uptime, and shows meanwhile that the loop is alive. After a success, news ends the wait.
    async fn rest(&self, end: Duration, shutdown: &Shutdown) {
        let clock = &self.context.clock;
        let is_well = self.context.state().writes.failures == 0;
        while !shutdown.is_requested() {
            let left = end.saturating_sub(clock.uptime());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = clock.sleep(left.min(HEARTBEAT)) => {}
                () = shutdown.requested() => {}
                () = self.context.until(|state| state.news.to_tell != self.told), if is_well => {
                    // Whoever has just been chosen writes at once.
                    if self.seen.is_some() {
                        tokio::select! {
                            () = clock.sleep(left.min(GATHERING)) => {}
                            () = shutdown.requested() => {}
                        }
                    }
                    return;
                }
            }
            self.beat();
        }
    }

    fn beat(&self) {
        let now = self.context.clock.uptime();
        self.context.update(|state| state.heartbeat = now);
    }

    /// Tells readers that nobody keeps the status fresh any more, unless somebody will.
    ///
    /// Only the object that was written before is told. After an uninstall it is gone, and a new one would make kube9
    /// call the cluster degraded for ever; or another one stands in its place, which is none of our business. And
    /// where a pod follows, as in an upgrade, it will write: should it not, the status grows old and tells that way.
    async fn take_leave(&mut self) {
        let Some(mut identity) = self.seen.clone() else {
            tracing::info!("no status was written, so there is none to correct");
            return;
        };
        if let Some(owner) = self.context.state().owner()
            && self.deployments.will_replace_us(owner, LEAVE_ATTEMPT).await
        {
            tracing::info!("the status is left to the pod that follows");
            return;
        }
        loop {
            let ours = self.ours.clone();
            let failure = match self.apply(&Target::Only(identity.clone()), LEAVE_ATTEMPT).await {
                Ok(_written) => return tracing::info!("final status written"),
                Err(failure) => failure,
            };
            if failure.class == Class::Conflict {
                match self.is_still_ours(&identity, &ours).await {
                    Some(changed) => identity = changed,
                    None => return tracing::warn!("the status is somebody else's by now, and left alone"),
                }
            } else if failure.class.is_passing() {
                tracing::warn!(%failure, "cannot write the final status yet");
                tokio::time::sleep(LEAVE_PAUSE).await;
            } else {
                return tracing::warn!(%failure, "the final status was refused");
            }
        }
    }

    /// The object as it is now, if it is the same one with a text of ours: others may add to it what they like.
    async fn is_still_ours(&self, before: &Identity, ours: &Texts) -> Option<Identity> {
        let (identity, text) = self.config_maps.read(CONFIG_MAP_NAME, KEY, LEAVE_ATTEMPT).await.ok()?;
        (identity.uid == before.uid && [&ours.written, &ours.attempted].contains(&&text)).then_some(identity)
    }
}

/// Returns when a write that is still on its way has to be given up.
async fn overdue(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(LAST_REGULAR_WRITE).await;
}
