//! What the probes answer: pure judgements about the state.
//!
//! Liveness looks only at our own loop. If it asked the API server, an outage there would make the kubelet restart
//! every operator in the cluster, which helps nobody. Readiness is about what the operator is for: a fresh status, and
//! what it needs for that.

use std::time::Duration;

use crate::kubernetes::REQUEST_TIMEOUT;
use crate::runtime::{Role, State, TROUBLESOME, Task, TaskState};

/// A loop that has not been seen for this long hangs: it beats often, and no request may take longer than its limit.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// What a write may take beyond the interval before the status counts as old: one request that timed out, and a retry.
const PATIENCE: Duration = REQUEST_TIMEOUT.saturating_add(Duration::from_secs(5));

/// Why something is not as it should be.
pub(super) type Complaint = String;

pub(super) fn liveness(state: &State, now: Duration) -> Result<(), Complaint> {
    let silence = now.saturating_sub(state.heartbeat);
    if silence <= LONGEST_SILENCE {
        return Ok(());
    }
    Err(format!("the loop has not been seen for {} s", silence.as_secs()))
}

pub(super) fn readiness(state: &State, now: Duration, interval: Duration) -> Result<(), Complaint> {
    if state.stopping {
        return Err("shutting down".to_owned());
    }
    freshness(state, now, interval)?;
    state.tasks.iter().filter(|(task, _)| task.is_vital()).try_for_each(|(task, state)| running(*task, state))
}

/// The status is fresh, or another replica is there to keep it so.
fn freshness(state: &State, now: Duration, interval: Duration) -> Result<(), Complaint> {
    if matches!(state.role, Role::Standby { seen } if now.saturating_sub(seen) <= interval + PATIENCE) {
        return Ok(());
    }
    let complaint = match state.writes.last.map(|written| now.saturating_sub(written)) {
        Some(age) if age <= interval + PATIENCE => return Ok(()),
        Some(age) => format!("the status was last written {} s ago", age.as_secs()),
        None => "the status has not been written yet".to_owned(),
    };
    Err(match &state.writes.last_failure {
        Some(failure) => format!("{complaint}; {} failures since, the last: {failure}", state.writes.failures),
        None => complaint,
    })
}

/// A watch that breaks off and is taken up again is none to complain about.
fn running(task: Task, state: &TaskState) -> Result<(), Complaint> {
    match &state.trouble {
        Some(trouble) if trouble.failures >= TROUBLESOME => {
            Err(format!("{} failed {} times in a row: {}", task.description(), trouble.failures, trouble.last))
        }
        None if !state.running => Err(format!("{} has not begun", task.description())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Class, Failure, Trouble, Writes};

    const INTERVAL: Duration = Duration::from_secs(60);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn written(second: u64) -> State {
        State { writes: Writes { last: Some(seconds(second)), ..Writes::default() }, ..State::default() }
    }

    #[test]
    fn the_loop_is_alive_until_it_has_been_silent_for_too_long() {
        let state = State { heartbeat: seconds(100), ..State::default() };
        assert_eq!(liveness(&state, seconds(130)), Ok(()));
        assert_eq!(liveness(&state, seconds(131)), Err("the loop has not been seen for 31 s".to_owned()));
    }

    #[test]
    fn failing_writes_do_not_concern_liveness() {
        let state = State {
            heartbeat: seconds(1000),
            writes: Writes { failures: 99, ..Writes::default() },
            ..State::default()
        };
        assert_eq!(liveness(&state, seconds(1000)), Ok(()));
    }

    #[test]
    fn nothing_is_ready_before_the_first_write() {
        assert_eq!(
            readiness(&State::default(), seconds(1), INTERVAL),
            Err("the status has not been written yet".to_owned())
        );
    }

    #[test]
    fn the_status_stays_fresh_for_an_interval_and_some_patience() {
        let state = written(10);
        assert_eq!(readiness(&state, seconds(85), INTERVAL), Ok(()));
        assert_eq!(readiness(&state, seconds(86), INTERVAL), Err("the status was last written 76 s ago".to_owned()));
    }

    #[test]
    fn a_complaint_ends_with_the_reason() {
        let failure = Failure::new(Class::Forbidden, "no role");
        let state = State {
            writes: Writes { failures: 3, last_failure: Some(failure), ..Writes::default() },
            ..State::default()
        };
        assert_eq!(
            readiness(&state, seconds(9), INTERVAL).unwrap_err(),
            "the status has not been written yet; 3 failures since, the last: forbidden: no role"
        );
    }

    #[test]
    fn one_failure_does_not_spoil_a_fresh_status() {
        let failure = Failure::new(Class::Throttled, "");
        let mut state = written(10);
        state.write_failed(failure);
        assert_eq!(readiness(&state, seconds(72), INTERVAL), Ok(()));
    }

    fn with_watch(trouble: Option<u32>, running: bool) -> State {
        let last = Failure::new(Class::Forbidden, "no role");
        let trouble = trouble.map(|failures| Trouble { since: Duration::ZERO, failures, last, confirmed: false });
        let state = TaskState { running, trouble, ..TaskState::default() };
        State { tasks: [(Task::EventWatch, state)].into_iter().collect(), ..written(10) }
    }

    #[test]
    fn a_watch_has_to_run_or_at_least_to_stumble_only() {
        let ready = |state: &State| readiness(state, seconds(11), INTERVAL);
        assert_eq!(ready(&with_watch(None, true)), Ok(()));
        assert_eq!(ready(&with_watch(Some(2), false)), Ok(()));
        let complaint = ready(&with_watch(Some(3), false)).unwrap_err();
        assert_eq!(complaint, "watch of events failed 3 times in a row: forbidden: no role");
        let complaint = ready(&with_watch(None, false)).unwrap_err();
        assert_eq!(complaint, "watch of events has not begun");
        let mut optional = with_watch(Some(9), false);
        let state = optional.tasks.remove(&Task::EventWatch).unwrap();
        optional.tasks = [(Task::CrdWatch, state.clone()), (Task::DeploymentWatch, state)].into_iter().collect();
        assert_eq!(ready(&optional), Ok(()), "Argo CD is not the operator's own");
    }

    #[test]
    fn a_replica_that_stands_by_is_ready_as_long_as_it_sees_the_one_that_leads() {
        let state = State { role: Role::Standby { seen: seconds(10) }, ..State::default() };
        assert_eq!(readiness(&state, seconds(85), INTERVAL), Ok(()));
        assert!(readiness(&state, seconds(86), INTERVAL).is_err());
    }

    #[test]
    fn an_operator_that_stops_is_not_ready() {
        let state = State { stopping: true, ..written(10) };
        assert_eq!(readiness(&state, seconds(11), INTERVAL), Err("shutting down".to_owned()));
    }
}
