//! What the loops have done so far, for the status, the probes and the metrics to judge.
//!
//! The loops write it, the others take copies; nobody holds the lock while waiting for anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Failure, Owner};

#[derive(Default)]
pub(crate) struct Progress {
    facts: Mutex<Facts>,
    /// Something that the status tells has changed.
    changed: Notify,
    /// The API server answers again.
    recovered: Notify,
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
    /// Until when this replica leads, if replicas agree on one.
    pub(crate) leads_until: Option<Duration>,
    /// When another replica was last seen to lead, as long as this one does not.
    pub(crate) standby: Option<Duration>,
    pub(crate) owner: Lookup,
    /// Everything else that goes on, as far as it is switched on.
    pub(crate) tasks: BTreeMap<Task, TaskState>,
    /// What is known of Argo CD, once something is.
    pub(crate) argocd: Option<Finding>,
    pub(crate) collections: Collections,
    /// Objects that could not be read, by whom.
    pub(crate) skipped: BTreeMap<Task, u64>,
}

/// What is known of the Deployment that the operator belongs to.
#[derive(Clone, Default)]
pub(crate) enum Lookup {
    #[default]
    Pending,
    /// None where the operator runs without one.
    Done(Option<Owner>),
}

impl Facts {
    pub(crate) fn owner(&self) -> Option<&Owner> {
        match &self.owner {
            Lookup::Done(owner) => owner.as_ref(),
            Lookup::Pending => None,
        }
    }

    /// Whether the first questions are answered: whose the operator is, and whether there is Argo CD.
    pub(crate) fn is_oriented(&self) -> bool {
        matches!(self.owner, Lookup::Done(_)) && self.argocd.is_some()
    }
}

/// An answer, and the uptime at which it was known to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) answer: Answer,
    pub(crate) checked: Duration,
}

/// Whether there is Argo CD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    NotDetected,
    Detected(Server),
}

/// One installation of Argo CD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) namespace: String,
    /// Like `v2.8.0`.
    pub(crate) version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    Owner,
    Election,
    CrdWatch,
    DeploymentWatch,
    Collection,
    EventWatch,
    EventStore,
}

impl Task {
    /// Part of the metrics' interface.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Election => "election",
            Self::CrdWatch => "crds",
            Self::DeploymentWatch => "deployments",
            Self::Collection => "collection",
            Self::EventWatch => "events",
            Self::EventStore => "event_store",
        }
    }

    /// For people.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Owner => "asking for the operator's Deployment",
            Self::Election => "choosing the replica that writes",
            Self::CrdWatch => "watch of Argo CD's CustomResourceDefinition",
            Self::DeploymentWatch => "watch of Argo CD's Deployments",
            Self::Collection => "counting the cluster",
            Self::EventWatch => "watch of events",
            Self::EventStore => "event store",
        }
    }

    /// Whether the pod is not ready while this does not go on. Argo CD is not the operator's own: what keeps it from being
    /// looked for shows in the status, and must not keep `helm --wait` waiting.
    pub(crate) fn is_vital(self) -> bool {
        matches!(self, Self::Election | Self::EventWatch)
    }

    /// The longest time between two attempts, whatever the API server asks for: who leads must not lose the Lease by waiting.
    pub(crate) fn longest_pause(self) -> Duration {
        match self {
            Self::Election => Duration::from_secs(10),
            _ => Duration::MAX,
        }
    }

    /// Whether this reads what others write.
    pub(crate) fn reads_objects(self) -> bool {
        matches!(self, Self::CrdWatch | Self::DeploymentWatch | Self::EventWatch | Self::Collection)
    }

    /// Whether this goes on all the time, so that it shows when it does not.
    pub(crate) fn is_lasting(self) -> bool {
        self.is_vital() || matches!(self, Self::CrdWatch | Self::DeploymentWatch | Self::EventStore)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct TaskState {
    pub(crate) running: bool,
    pub(crate) trouble: Option<Trouble>,
}

/// Failures in a row.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) since: Duration,
    pub(crate) failures: u32,
    pub(crate) last: Failure,
    /// Whether it went on while the status could be written, so that it is not the API server as a whole.
    pub(crate) confirmed: bool,
}

/// What was counted since the process started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collections {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) last_success: Option<Duration>,
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
        facts.last_failure = None;
        if std::mem::take(&mut facts.failures) > 0 {
            self.recovered.notify_waiters();
        }
    }

    pub(crate) fn write_failed(&self, failure: Failure) {
        let mut facts = self.lock();
        facts.failures = facts.failures.saturating_add(1);
        facts.last_failure = Some(failure);
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
    }

    /// A task is switched on, though it does not run yet.
    pub(crate) fn task_expected(&self, task: Task) {
        self.lock().tasks.entry(task).or_default();
    }

    pub(crate) fn task_runs(&self, task: Task) {
        let state = TaskState { running: true, trouble: None };
        let before = self.lock().tasks.insert(task, state);
        if before.and_then(|state| state.trouble).is_some_and(|trouble| trouble.failures >= TROUBLESOME) {
            self.changed.notify_one();
        }
    }

    /// Tells how often in a row it has failed by now.
    pub(crate) fn task_failed(&self, task: Task, failure: Failure, now: Duration) -> u32 {
        let mut facts = self.lock();
        let written = facts.written;
        let state = facts.tasks.entry(task).or_default();
        state.running = false;
        let before = state.trouble.take();
        let since = before.as_ref().map_or(now, |trouble| trouble.since);
        let failures = before.as_ref().map_or(0, |trouble| trouble.failures).saturating_add(1);
        let was_confirmed = before.as_ref().is_some_and(|trouble| trouble.confirmed);
        let confirmed = before.is_some_and(|trouble| trouble.confirmed) || written.is_some_and(|time| time >= since);
        state.trouble = Some(Trouble { since, failures, last: failure, confirmed });
        drop(facts);
        // A write while it goes on confirms it, and the next one tells it: nobody waits for an interval to be over.
        if !was_confirmed || failures == TROUBLESOME {
            self.changed.notify_one();
        }
        failures
    }

    /// How often in a row it has failed by now.
    pub(crate) fn failures(&self, task: Task) -> u32 {
        self.lock().tasks.get(&task).and_then(|state| state.trouble.as_ref()).map_or(0, |trouble| trouble.failures)
    }

    /// An object could not be read, and is left out.
    pub(crate) fn skipped(&self, task: Task) {
        *self.lock().skipped.entry(task).or_default() += 1;
    }

    pub(crate) fn found(&self, finding: Finding) {
        let mut facts = self.lock();
        if facts.argocd.as_ref().is_none_or(|before| before.answer != finding.answer) {
            self.changed.notify_one();
        }
        facts.argocd = Some(finding);
    }

    pub(crate) fn found_owner(&self, owner: Option<Owner>) {
        self.lock().owner = Lookup::Done(owner);
        self.changed.notify_one();
    }

    pub(crate) fn leads_until(&self, time: Duration) {
        let mut facts = self.lock();
        facts.standby = None;
        if facts.leads_until.replace(time).is_none() {
            tracing::info!("this replica leads");
            self.changed.notify_one();
        }
    }

    pub(crate) fn stands_by(&self, now: Duration) {
        let mut facts = self.lock();
        if facts.leads_until.take().is_some() || facts.standby.is_none() {
            tracing::info!("another replica leads");
        }
        facts.standby = Some(now);
    }

    pub(crate) fn leads(&self, now: Duration) -> bool {
        self.lock().leads_until.is_some_and(|until| now < until)
    }

    pub(crate) fn collected(&self, now: Duration) {
        let mut facts = self.lock();
        facts.collections.successes += 1;
        facts.collections.last_success = Some(now);
    }

    pub(crate) fn not_collected(&self) {
        self.lock().collections.failures += 1;
    }

    /// Returns when the status should tell something new, also if that was so before the call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns when writing succeeds after it failed.
    pub(crate) async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// Facts are plain values, replaced one by one: they stay usable even if a holder of the lock panicked.
    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often the loop has to show that it is alive, at least.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// So many failures in a row are more than a stumble.
pub(crate) const TROUBLESOME: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Class;

    fn refused() -> Failure {
        Failure { class: Class::Forbidden, message: String::new(), retry_after: None }
    }

    fn trouble(progress: &Progress) -> Trouble {
        progress.facts().tasks[&Task::CrdWatch].trouble.clone().unwrap()
    }

    #[test]
    fn trouble_is_confirmed_by_a_write_that_succeeded_in_the_middle_of_it() {
        let progress = Progress::default();
        let second = Duration::from_secs;
        progress.write_succeeded(second(1));
        progress.task_failed(Task::CrdWatch, refused(), second(2));
        progress.task_failed(Task::CrdWatch, refused(), second(3));
        assert!(!trouble(&progress).confirmed, "it may be the API server as a whole");
        progress.write_succeeded(second(4));
        progress.task_failed(Task::CrdWatch, refused(), second(5));
        let trouble = trouble(&progress);
        assert_eq!((trouble.since, trouble.failures, trouble.confirmed), (second(2), 3, true));
    }

    #[test]
    fn a_job_that_runs_is_out_of_trouble() {
        let progress = Progress::default();
        progress.task_failed(Task::CrdWatch, refused(), Duration::ZERO);
        progress.task_runs(Task::CrdWatch);
        assert!(progress.facts().tasks[&Task::CrdWatch].trouble.is_none());
    }
}
