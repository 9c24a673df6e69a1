//! All that is known while the operator runs, as one value: tasks change it, and status, probes and metrics read it.

use std::time::Duration;

use litemap::LiteMap;

use super::{Failure, Owner, Role, Skew, TROUBLESOME, Task, TaskState};
use crate::time::Timestamp;

/// All times but dates are uptimes: how long the process had been running.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// When the loop last showed that it is alive.
    pub(crate) heartbeat: Duration,
    pub(crate) stopping: bool,
    pub(crate) role: Role,
    pub(crate) skew: Skew,
    pub(crate) writes: Writes,
    pub(crate) owner: Lookup,
    /// What is known of Argo CD, once something is.
    pub(crate) argocd: Option<Finding>,
    /// Whether its API lets resource trees be read, once that is known.
    pub(crate) resource_tree: Option<Result<(), Unavailable>>,
    /// Everything else that goes on, as far as it is switched on.
    pub(crate) tasks: LiteMap<Task, TaskState>,
    pub(crate) collections: Collections,
    pub(crate) events: Events,
    /// What is waited for.
    pub(crate) news: News,
}

/// How often there was something to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Something that the status should tell at once.
    pub(crate) to_tell: u64,
    /// The API server answers again.
    pub(crate) recoveries: u64,
}

/// Of the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writes {
    /// When it was last written.
    pub(crate) last: Option<Duration>,
    pub(crate) date: Option<Timestamp>,
    /// How often writing has failed since.
    pub(crate) failures: u32,
    /// Why it failed the last time.
    pub(crate) last_failure: Option<Failure>,
    /// All since the start, by result.
    pub(crate) results: LiteMap<&'static str, u64>,
}

impl Writes {
    pub(crate) const SUCCESS: &'static str = "success";
}

/// What is known of the Deployment that the operator belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) enum Lookup {
    #[default]
    Pending,
    /// None where the operator runs without one.
    Done(Option<Owner>),
}

/// An answer, and when it was known to be true.
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

/// Why something is not to be had, in a word of the status and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unavailable {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What was counted since the process started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collections {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) last_success: Option<Duration>,
}

/// On their way into the event store. All is zero where it is switched off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    /// By type.
    pub(crate) received: LiteMap<&'static str, u64>,
    /// Rows that are new or changed, by severity.
    pub(crate) stored: LiteMap<&'static str, u64>,
    pub(crate) dropped: u64,
    /// Failures of the store, by reason.
    pub(crate) errors: LiteMap<&'static str, u64>,
    pub(crate) waiting: usize,
    /// What the store takes.
    pub(crate) bytes: u64,
}

impl State {
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

    /// How often in a row a task has failed by now.
    pub(crate) fn failures(&self, task: Task) -> u32 {
        self.tasks.get(&task).map_or(0, TaskState::failures_in_a_row)
    }

    /// A task is switched on, though it may not run yet.
    pub(crate) fn task(&mut self, task: Task) -> &mut TaskState {
        self.tasks.entry(task).or_default()
    }

    pub(crate) fn task_runs(&mut self, task: Task) {
        let state = self.task(task);
        state.running = true;
        let was_troublesome = state.failures_in_a_row() >= TROUBLESOME;
        state.trouble = None;
        self.news.to_tell += u64::from(was_troublesome);
    }

    pub(crate) fn task_failed(&mut self, task: Task, failure: Failure, now: Duration) {
        let last_write = self.writes.last;
        let state = self.task(task);
        let was_confirmed = state.trouble.as_ref().is_some_and(|trouble| trouble.confirmed);
        state.failed(failure, now, last_write);
        // A write while it goes on confirms it, and the next one tells it: nobody waits for an interval to be over.
        let is_news = !was_confirmed || state.failures_in_a_row() == TROUBLESOME;
        self.news.to_tell += u64::from(is_news);
    }

    pub(crate) fn write_succeeded(&mut self, now: Duration, date: Timestamp) {
        let writes = &mut self.writes;
        (writes.last, writes.date, writes.last_failure) = (Some(now), Some(date), None);
        *writes.results.entry(Writes::SUCCESS).or_default() += 1;
        self.news.recoveries += u64::from(std::mem::take(&mut writes.failures) > 0);
    }

    pub(crate) fn write_failed(&mut self, failure: Failure) {
        let writes = &mut self.writes;
        writes.failures = writes.failures.saturating_add(1);
        *writes.results.entry(failure.class.label()).or_default() += 1;
        writes.last_failure = Some(failure);
    }

    pub(crate) fn found(&mut self, finding: Finding) {
        let is_news = self.argocd.as_ref().is_none_or(|before| before.answer != finding.answer);
        self.news.to_tell += u64::from(is_news);
        self.argocd = Some(finding);
    }

    /// Argo CD is optional: that its API does not answer is told, and is no trouble of the operator's.
    pub(crate) fn probed_resource_tree(&mut self, outcome: Option<Result<(), Unavailable>>) {
        let is_told = self.argocd.as_ref().is_some_and(|finding| finding.answer != Answer::NotDetected);
        self.news.to_tell += u64::from(is_told && self.resource_tree != outcome);
        self.resource_tree = outcome;
    }

    pub(crate) fn found_owner(&mut self, owner: Option<Owner>) {
        self.owner = Lookup::Done(owner);
        self.news.to_tell += 1;
    }

    pub(crate) fn take_role(&mut self, role: Role, now: Duration) {
        let may_write = |role: Role| role.may_write(now);
        self.news.to_tell += u64::from(may_write(role) && !may_write(self.role));
        self.role = role;
    }

    pub(crate) fn collected(&mut self, now: Duration) {
        self.collections.successes += 1;
        self.collections.last_success = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Trouble};
    use super::*;

    fn refused() -> Failure {
        Failure::new(Class::Forbidden, "")
    }

    fn trouble(state: &State) -> Trouble {
        state.tasks[&Task::CrdWatch].trouble.clone().unwrap()
    }

    #[test]
    fn trouble_is_confirmed_by_a_write_that_succeeded_in_the_middle_of_it() {
        let mut state = State::default();
        let second = Duration::from_secs;
        state.write_succeeded(second(1), Timestamp::UNIX_EPOCH);
        state.task_failed(Task::CrdWatch, refused(), second(2));
        state.task_failed(Task::CrdWatch, refused(), second(3));
        assert!(!trouble(&state).confirmed, "it may be the API server as a whole");
        state.write_succeeded(second(4), Timestamp::UNIX_EPOCH);
        state.task_failed(Task::CrdWatch, refused(), second(5));
        let trouble = trouble(&state);
        assert_eq!((trouble.since, trouble.failures, trouble.confirmed), (second(2), 3, true));
    }

    #[test]
    fn a_task_that_runs_is_out_of_trouble_and_its_failures_stay_counted() {
        let mut state = State::default();
        state.task_failed(Task::CrdWatch, refused(), Duration::ZERO);
        state.task_runs(Task::CrdWatch);
        let task = &state.tasks[&Task::CrdWatch];
        assert!(task.trouble.is_none() && task.running);
        assert_eq!(task.failures, [("forbidden", 1)].into_iter().collect());
    }

    #[test]
    fn whoever_comes_to_lead_tells_so_at_once_and_whoever_still_leads_does_not() {
        let mut state = State { role: Role::Candidate, ..State::default() };
        let second = Duration::from_secs;
        let mut told = |role, now| {
            let before = state.news.to_tell;
            state.take_role(role, second(now));
            state.news.to_tell > before
        };
        assert!(!told(Role::Standby { seen: second(1) }, 1));
        assert!(told(Role::Leader { until: second(41) }, 1));
        assert!(!told(Role::Leader { until: second(61) }, 21));
        assert!(told(Role::Leader { until: second(141) }, 101), "its Lease had come to its end");
    }
}
