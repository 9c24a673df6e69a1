//! Which of several replicas writes: the one that holds a Lease.
//!
//! The holder renews it every 20 seconds. Another replica takes it when it has not changed for 60, by its own clock, or
//! at once when the holder gave it up. The holder stops writing some time before others may begin, so that two never
//! write at once, whatever happens to clocks and connections.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::NAME;
use crate::kubernetes::{Client, Request};
use crate::runtime::{Class, Context, Failure, Role, Task, retry};
use crate::time::{Timestamp, rfc_3339_micro};

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
    client: Client,
    /// Where Leases are.
    path: String,
    context: Arc<Context>,
}

/// The Lease of somebody else, as it was when it was last seen to change.
struct Rival {
    version: String,
    since: Duration,
}

impl Candidate {
    pub(crate) fn new(client: Client, context: Arc<Context>) -> Self {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", context.config.pod.namespace);
        Self { client, path, context }
    }

    /// Tries for ever to become, or to stay, the one that leads.
    pub(crate) async fn campaign(&self) {
        let clock = &self.context.clock;
        let mut rival: Option<Rival> = None;
        loop {
            let (start, leads) = retry::until_success(&self.context, Task::Election, async || {
                let start = clock.uptime();
                Ok((start, self.attempt(&mut rival).await?))
            })
            .await;
            let (role, pause) = match leads {
                true => (Role::Leader { until: start + DURATION - MARGIN }, RENEWAL),
                false => (Role::Standby { seen: clock.uptime() }, WATCHING),
            };
            self.take(role);
            clock.sleep(pause).await;
        }
    }

    fn take(&self, role: Role) {
        let now = self.context.clock.uptime();
        let before = self.context.state().role;
        self.context.update(|state| {
            state.task_runs(Task::Election);
            state.take_role(role, now);
        });
        match role {
            Role::Leader { .. } if !before.may_write(now) => tracing::info!("this replica leads"),
            Role::Standby { .. } if !matches!(before, Role::Standby { .. }) => tracing::info!("another replica leads"),
            _ => {}
        }
    }

    /// Gives the Lease up, so that the next one need not wait for its end.
    pub(crate) async fn resign(&self) {
        if !self.context.may_write() {
            return;
        }
        let resigned = async {
            let lease = self.get().await?;
            if lease.holder() == self.context.config.pod.name {
                self.replace(&lease.given_up()).await?;
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
        let pod = &self.context.config.pod.name;
        let found = match self.get().await {
            Ok(found) => found,
            Err(failure) if failure.class == Class::NotFound => {
                return won(self.create(&Lease::new().taken_by(pod, self.context.calendar())).await);
            }
            Err(failure) => return Err(failure),
        };
        let holder = found.holder();
        if holder == pod || holder.is_empty() || has_expired(rival, &found, self.context.clock.uptime()) {
            // The version in it makes the API server refuse, should somebody have been quicker.
            return won(self.replace(&found.taken_by(pod, self.context.calendar())).await);
        }
        Ok(false)
    }

    async fn get(&self) -> Result<Lease, Failure> {
        self.client.fetch(Request::get(self.object()), ATTEMPT).await.map(Lease)
    }

    async fn create(&self, lease: &Lease) -> Result<Value, Failure> {
        self.client.fetch(Request::create(self.path.clone(), &lease.0), ATTEMPT).await
    }

    async fn replace(&self, lease: &Lease) -> Result<Value, Failure> {
        self.client.fetch(Request::replace(self.object(), &lease.0), ATTEMPT).await
    }

    fn object(&self) -> String {
        format!("{}/{NAME}", self.path)
    }
}

/// The whole object, with whatever others have put there: all of it is written back.
struct Lease(Value);

impl Lease {
    /// One that nobody has yet.
    fn new() -> Self {
        Self(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}))
    }

    fn version(&self) -> &str {
        self.0["metadata"]["resourceVersion"].as_str().unwrap_or_default()
    }

    fn holder(&self) -> &str {
        self.0["spec"]["holderIdentity"].as_str().unwrap_or_default()
    }

    /// The same, renewed or taken over.
    fn taken_by(&self, pod: &str, now: Timestamp) -> Self {
        let now = json!(rfc_3339_micro(now));
        let changes_hands = self.holder() != pod;
        self.with_spec(|spec| {
            let transitions = spec.get("leaseTransitions").and_then(Value::as_u64).unwrap_or_default();
            let transitions = transitions + u64::from(changes_hands && !self.version().is_empty());
            spec.insert("leaseTransitions".to_owned(), json!(transitions));
            if changes_hands {
                spec.insert("acquireTime".to_owned(), now.clone());
            }
            spec.insert("holderIdentity".to_owned(), json!(pod));
            spec.insert("leaseDurationSeconds".to_owned(), json!(DURATION.as_secs()));
            spec.insert("renewTime".to_owned(), now);
        })
    }

    fn given_up(&self) -> Self {
        self.with_spec(|spec| {
            spec.remove("holderIdentity");
        })
    }

    fn with_spec(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let mut lease = self.0.as_object().cloned().unwrap_or_default();
        let mut spec = self.0["spec"].as_object().cloned().unwrap_or_default();
        change(&mut spec);
        lease.insert("spec".to_owned(), Value::Object(spec));
        Self(Value::Object(lease))
    }
}

/// A conflict means that somebody was quicker.
fn won(answer: Result<Value, Failure>) -> Result<bool, Failure> {
    match answer {
        Ok(_lease) => Ok(true),
        Err(failure) if failure.class == Class::Conflict => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether somebody's Lease has not changed for its whole duration, while we looked on.
fn has_expired(rival: &mut Option<Rival>, found: &Lease, now: Duration) -> bool {
    match rival {
        Some(seen) if seen.version == found.version() => now.saturating_sub(seen.since) >= DURATION,
        _ => {
            *rival = Some(Rival { version: found.version().to_owned(), since: now });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(version: &str) -> Lease {
        Lease(json!({"metadata": {"resourceVersion": version}}))
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

    /// As a holder leaves it, with what somebody else and a later Kubernetes have put there.
    fn given_up() -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "resourceVersion": "7", "annotations": {"somebody": "else"}},
            "spec": {"leaseTransitions": 4, "acquireTime": "2026-08-03T11:00:00.000000Z", "strategy": "Later"},
            "later": true,
        })
    }

    const NOON: Timestamp = Timestamp::from_timestamp(1_785_758_400, 1_500).unwrap();

    #[test]
    fn a_lease_that_is_taken_keeps_what_others_put_there() {
        let mut expected = given_up();
        expected["spec"] = json!({
            "leaseTransitions": 5, "acquireTime": "2026-08-03T12:00:00.000001Z", "strategy": "Later",
            "holderIdentity": "pod", "leaseDurationSeconds": 60, "renewTime": "2026-08-03T12:00:00.000001Z",
        });
        let taken = Lease(given_up()).taken_by("pod", NOON);
        assert_eq!(taken.0, expected);
        assert_eq!((taken.holder(), taken.version()), ("pod", "7"));
        assert_eq!(taken.given_up().holder(), "");
    }

    #[test]
    fn a_renewal_is_no_change_of_the_holder() {
        let taken = Lease::new().taken_by("pod", NOON);
        assert_eq!(taken.0["spec"]["leaseTransitions"], 0, "it is the first");
        let renewed = taken.taken_by("pod", NOON + Duration::from_secs(20));
        assert_eq!(renewed.0["spec"]["leaseTransitions"], 0);
        assert_eq!(renewed.0["spec"]["acquireTime"], "2026-08-03T12:00:00.000001Z");
        assert_eq!(renewed.0["spec"]["renewTime"], "2026-08-03T12:00:20.000001Z");
    }

    #[test]
    fn a_holder_stops_before_others_may_begin() {
        let again = ATTEMPT + Task::Election.longest_pause();
        assert!(RENEWAL + again + ATTEMPT <= DURATION - MARGIN, "one renewal may fail");
        assert!(crate::kubernetes::REQUEST_TIMEOUT < MARGIN, "a write that was begun in time is over in time");
    }
}
