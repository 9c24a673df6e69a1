//! What every part of the running operator may look at, and do.

use tokio::sync::watch;

use super::{Clock, Role, State, Task};
use crate::config::Config;
use crate::time::Timestamp;

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    state: watch::Sender<State>,
}

impl Context {
    /// As it is at the start.
    pub(crate) fn new(config: Config) -> Self {
        let role = if config.leader_election { Role::Candidate } else { Role::Sole };
        let state = watch::Sender::new(State { role, ..State::default() });
        Self { config, clock: Clock::start(), state }
    }

    /// A copy, so that nobody keeps others from changing it.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Changes what is known, and wakes who waits for that. The change must not ask the context for anything.
    pub(crate) fn update<'change>(&self, change: impl FnOnce(&mut State) + 'change) {
        self.apply(Box::new(change));
    }

    /// Compiled once for all changes.
    fn apply(&self, change: Box<dyn FnOnce(&mut State) + '_>) {
        self.state.send_if_modified(|state| {
            let before = state.news;
            change(state);
            state.news != before
        });
    }

    /// Returns when there is news of this kind, and at once where that is so by now.
    pub(crate) async fn until(&self, mut has_come: impl FnMut(&State) -> bool) {
        // One type of question for all who wait, so that the waiting is compiled once.
        let has_come: &mut dyn FnMut(&State) -> bool = &mut has_come;
        // The only error is that there is no sender any more, and that is here.
        let _ = self.state.subscribe().wait_for(has_come).await;
    }

    /// The date and time as the API server has it.
    pub(crate) fn calendar(&self) -> Timestamp {
        let skew = self.state.borrow().skew;
        skew.correct(self.clock.calendar())
    }

    /// Whether this replica is the one that writes.
    pub(crate) fn may_write(&self) -> bool {
        let role = self.state.borrow().role;
        role.may_write(self.clock.uptime())
    }

    /// An object cannot be read. That costs nobody the others, but is counted and told.
    pub(crate) fn skipped(&self, task: Task, reason: &str) {
        tracing::debug!(task = task.label(), reason, "an object cannot be read");
        self.update(|state| state.task(task).skipped += 1);
    }
}
