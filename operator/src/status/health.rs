//! How the operator is doing, by rules.
//!
//! The status can only be read where it could be written, so a failing write never shows here: it shows as a status
//! that grows old, on `/readyz`, and in the metrics. What remains is whether there is an operator at all, and whether
//! something it does besides keeps failing.

use std::time::Duration;

use crate::runtime::{State, TROUBLESOME, Task};

/// Health and its reason belong together: kube9 expects a reason exactly when something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    Healthy,
    /// Something keeps failing, and the rest is served.
    Degraded {
        reason: String,
    },
    /// The operator cannot serve.
    Unhealthy {
        reason: String,
    },
}

impl Health {
    pub(crate) fn of(state: &State, now: Duration) -> Self {
        if state.stopping {
            return Self::Unhealthy { reason: "Shutting down".to_owned() };
        }
        let mut store_is_lost = false;
        let complaints: Vec<String> = state
            .tasks
            .iter()
            .filter_map(|(task, of_task)| {
                // An outage of the API server ends for the writer first: what has not been tried since is not to blame.
                let trouble =
                    of_task.trouble.as_ref().filter(|trouble| trouble.confirmed && trouble.failures >= TROUBLESOME)?;
                store_is_lost |= *task == Task::EventStore;
                let time = for_people(now.saturating_sub(trouble.since));
                Some(format!("{} failing for {time}: {}", task.description(), trouble.last))
            })
            .collect();
        let reason = complaints.join("; ");
        match complaints.as_slice() {
            [] => Self::Healthy,
            _ if store_is_lost => Self::Unhealthy { reason },
            _ => Self::Degraded { reason },
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded { .. } => "degraded",
            Self::Unhealthy { .. } => "unhealthy",
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Degraded { reason } | Self::Unhealthy { reason } => Some(reason),
        }
    }
}

fn for_people(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Class, Failure, TaskState, Trouble};

    const NOW: Duration = Duration::from_secs(1000);

    fn in_trouble(failures: u32, confirmed: bool) -> State {
        let last = Failure::new(Class::Forbidden, "no role");
        let trouble = Trouble { since: Duration::from_secs(580), failures, last, confirmed };
        let state = TaskState { trouble: Some(trouble), ..TaskState::default() };
        State { tasks: [(Task::CrdWatch, state)].into_iter().collect(), ..State::default() }
    }

    #[test]
    fn a_running_operator_is_healthy_and_gives_no_reason() {
        let health = Health::of(&State::default(), NOW);
        assert_eq!((health.word(), health.reason()), ("healthy", None));
    }

    #[test]
    fn a_stopping_operator_says_so_whatever_else_is_wrong() {
        let health = Health::of(&State { stopping: true, ..in_trouble(9, true) }, NOW);
        assert_eq!((health.word(), health.reason()), ("unhealthy", Some("Shutting down")));
    }

    #[test]
    fn what_keeps_failing_degrades_and_is_told_with_its_age_and_reason() {
        let health = Health::of(&in_trouble(3, true), NOW);
        let reason = "watch of Argo CD's CustomResourceDefinition failing for 7m: forbidden: no role";
        assert_eq!((health.word(), health.reason()), ("degraded", Some(reason)));
    }

    #[test]
    fn a_lost_event_store_is_more_than_degraded() {
        let mut state = in_trouble(3, true);
        state.tasks.insert(Task::EventStore, state.tasks[&Task::CrdWatch].clone());
        let health = Health::of(&state, NOW);
        assert_eq!(health.word(), "unhealthy");
        assert!(health.reason().unwrap().ends_with("event store failing for 7m: forbidden: no role"), "{health:?}");
    }

    #[test]
    fn a_stumble_does_not_degrade() {
        assert_eq!(Health::of(&in_trouble(2, true), NOW), Health::Healthy);
    }

    #[test]
    fn what_may_be_the_api_server_as_a_whole_does_not_degrade() {
        assert_eq!(Health::of(&in_trouble(99, false), NOW), Health::Healthy);
    }

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        let ages = [(119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h")];
        for (seconds, text) in ages {
            assert_eq!(for_people(Duration::from_secs(seconds)), text);
        }
    }
}
