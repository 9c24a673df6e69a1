//! Which of several replicas writes: the one that holds a Lease.
//!
//! The holder renews it every 20 seconds. Another replica takes it when it has not changed for 60, by its own clock, or
//! at once when the holder gave it up. The holder stops writing some time before others may begin, so that two never
//! write at once, whatever happens to clocks and connections.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::NAME;
use crate::backoff;
use crate::failure::{Class, Failure};
use crate::kubernetes::within;
use crate::progress::Job;
use crate::serve::Context;

const DURATION: Duration = Duration::from_secs(60);
const RENEWAL: Duration = Duration::from_secs(20);

/// How often the others look whether the Lease is free. A holder that leaves gives it up, so this is how long an
/// upgrade goes without a write.
const WATCHING: Duration = Duration::from_secs(5);

/// How long before its end a Lease no longer counts for its holder: the longest that a write may take, and more.
const MARGIN: Duration = Duration::from_secs(20);

/// So that a renewal that hangs leaves time for others.
const ATTEMPT: Duration = Duration::from_secs(5);

pub(crate) struct Candidate {
    api: Api<Lease>,
    context: Arc<Context>,
}

/// The Lease of somebody else, as it was when it was last seen to change.
struct Rival {
    version: Option<String>,
    since: Duration,
}

impl Candidate {
    pub(crate) fn new(client: Client, context: Arc<Context>) -> Self {
        Self { api: Api::namespaced(client, &context.config.namespace), context }
    }

    /// Tries for ever to become, or to stay, the one that leads.
    pub(crate) async fn campaign(&self) {
        let Context { clock, progress, metrics, .. } = &*self.context;
        progress.job_expected(Job::Election);
        let mut rival: Option<Rival> = None;
        loop {
            let start = clock.uptime();
            let pause = match self.attempt(&mut rival).await {
                Ok(true) => {
                    progress.job_runs(Job::Election);
                    progress.leads_until(start + DURATION - MARGIN);
                    RENEWAL
                }
                Ok(false) => {
                    progress.job_runs(Job::Election);
                    progress.stands_by(clock.uptime());
                    WATCHING
                }
                Err(failure) => {
                    tracing::warn!(%failure, "cannot take part in choosing the replica that writes");
                    metrics.job_failed(Job::Election, failure.class);
                    let asked_for = failure.retry_after;
                    let failures = progress.job_failed(Job::Election, failure, clock.uptime());
                    backoff::pause(failures, backoff::random_fraction(), asked_for).min(RENEWAL / 2)
                }
            };
            clock.sleep(pause).await;
        }
    }

    /// Gives the Lease up, so that the next one need not wait for its end.
    pub(crate) async fn resign(&self) {
        if !self.context.progress.leads(self.context.clock.uptime()) {
            return;
        }
        let resigned = async {
            let mut lease = within(ATTEMPT, self.api.get(NAME)).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() == Some(&self.context.config.pod) {
                spec.holder_identity = None;
                within(ATTEMPT, self.api.replace(NAME, &PostParams::default(), &lease)).await?;
            }
            Ok::<_, Failure>(())
        };
        match tokio::time::timeout(Duration::from_secs(1), resigned).await {
            Ok(Ok(())) => tracing::info!("gave up the lead"),
            Ok(Err(failure)) => tracing::warn!(%failure, "cannot give up the lead"),
            Err(_elapsed) => tracing::warn!("cannot give up the lead in time"),
        }
    }

    /// Whether this replica leads now.
    async fn attempt(&self, rival: &mut Option<Rival>) -> Result<bool, Failure> {
        let Some(found) = within(ATTEMPT, self.api.get_opt(NAME)).await? else {
            return won(within(ATTEMPT, self.api.create(&PostParams::default(), &self.lease(None))).await);
        };
        let now = self.context.clock.uptime();
        let spec = found.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder == self.context.config.pod || holder.is_empty() || has_expired(rival, &found, now) {
            // The version in it makes the API server refuse, should somebody have been quicker.
            let lease = self.lease(Some(&found));
            return won(within(ATTEMPT, self.api.replace(NAME, &PostParams::default(), &lease)).await);
        }
        Ok(false)
    }

    fn lease(&self, before: Option<&Lease>) -> Lease {
        let config = &self.context.config;
        let now: Timestamp = self.context.calendar();
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_renewal = spec.holder_identity.as_ref() == Some(&config.pod);
        let transitions = spec.lease_transitions.unwrap_or_default() + i32::from(!is_renewal && before.is_some());
        let metadata = before.map_or_else(
            || ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        );
        let spec = LeaseSpec {
            holder_identity: Some(config.pod.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if is_renewal { spec.acquire_time } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions),
            ..spec
        };
        Lease { metadata, spec: Some(spec) }
    }
}

/// A conflict means that somebody was quicker.
fn won(answer: Result<Lease, Failure>) -> Result<bool, Failure> {
    match answer {
        Ok(_lease) => Ok(true),
        Err(failure) if failure.class == Class::Conflict => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether somebody's Lease has not changed for its whole duration, while we looked on.
fn has_expired(rival: &mut Option<Rival>, found: &Lease, now: Duration) -> bool {
    let version = found.metadata.resource_version.clone();
    match rival {
        Some(seen) if seen.version == version => now.saturating_sub(seen.since) >= DURATION,
        _ => {
            *rival = Some(Rival { version, since: now });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(version: &str) -> Lease {
        let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
        Lease { metadata, spec: None }
    }

    #[test]
    fn a_lease_expires_when_it_stays_the_same_for_its_whole_duration() {
        let mut rival = None;
        let at = Duration::from_secs;
        assert!(!has_expired(&mut rival, &lease("1"), at(100)), "it may have been renewed just now");
        assert!(!has_expired(&mut rival, &lease("1"), at(159)));
        assert!(!has_expired(&mut rival, &lease("2"), at(161)), "it was renewed");
        assert!(!has_expired(&mut rival, &lease("2"), at(220)));
        assert!(has_expired(&mut rival, &lease("2"), at(221)));
    }

    #[test]
    fn a_holder_stops_before_others_may_begin() {
        assert!(RENEWAL + ATTEMPT < DURATION - MARGIN, "one renewal may fail");
        assert!(crate::kubernetes::REQUEST_TIMEOUT < MARGIN, "a write that was begun in time is over in time");
    }
}
