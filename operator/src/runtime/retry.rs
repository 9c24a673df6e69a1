//! What every task does when an attempt fails: it is counted and told, and the next one made after a pause.
//!
//! Only the status has a loop of its own (`status::writer`): whether it can be written is what tells a task's trouble
//! from the API server's.

use std::time::Duration;

use super::{Class, Context, Failure, Task, pause};

/// Makes attempts until one succeeds. When the API server answers elsewhere again, the next one does not wait.
pub(crate) async fn until_success<T>(
    context: &Context,
    task: Task,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> T {
    context.update(|state| {
        state.task(task);
    });
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(failure) => wait_after(context, task, &failure).await,
        }
    }
}

async fn wait_after(context: &Context, task: Task, failure: &Failure) {
    let pause = note(context, task, failure);
    let before = context.state().news.recoveries;
    tokio::select! {
        () = context.clock.sleep(pause) => {}
        () = context.until(|state| state.news.recoveries != before) => {}
    }
}

/// Counts and tells a failure, and says how long to wait before the next attempt.
pub(crate) fn note(context: &Context, task: Task, failure: &Failure) -> Duration {
    let now = context.clock.uptime();
    context.update(|state| state.task_failed(task, failure.clone(), now));
    let failures = context.state().failures(task);
    if failure.class == Class::Expired && failures == 1 {
        tracing::debug!(task = task.label(), "the watch was away for too long; it begins anew");
        return Duration::ZERO;
    }
    let pause = pause(failures, failure).min(task.longest_pause());
    tracing::warn!(
        task = task.label(),
        class = failure.class.label(),
        error = failure.message,
        failures,
        retry_in_seconds = pause.as_secs_f64(),
        "failed: {}",
        task.description()
    );
    pause
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::time::Timestamp;

    /// Shorter than any pause.
    const AT_ONCE: Duration = Duration::from_millis(400);

    fn context() -> Context {
        Context::new(Config::read(|_| None).unwrap())
    }

    /// How many attempts it takes when the first fails.
    async fn attempts(context: &Context, class: Class) -> u32 {
        let mut attempts = 0;
        until_success(context, Task::EventWatch, async || {
            attempts += 1;
            let failure = Failure::new(class, "");
            if attempts == 1 { Err(failure) } else { Ok(attempts) }
        })
        .await
    }

    #[tokio::test]
    async fn a_watch_that_was_away_for_too_long_begins_anew_at_once_and_is_counted() {
        let context = context();
        let done = tokio::time::timeout(AT_ONCE, attempts(&context, Class::Expired)).await;
        assert_eq!((done, context.state().failures(Task::EventWatch)), (Ok(2), 1));
        assert_eq!(context.state().tasks[&Task::EventWatch].failures, [("expired", 1)].into_iter().collect());
    }

    #[tokio::test]
    async fn an_attempt_that_failed_is_not_made_again_at_once_unless_the_api_server_answers_elsewhere() {
        let context = context();
        let unreachable = || attempts(&context, Class::Unreachable);
        assert!(tokio::time::timeout(AT_ONCE, unreachable()).await.is_err());
        let recovery = async {
            let failure = Failure::new(Class::Unreachable, "");
            context.update(|state| state.write_failed(failure));
            context.update(|state| state.write_succeeded(Duration::ZERO, Timestamp::UNIX_EPOCH));
        };
        let done = tokio::time::timeout(AT_ONCE, async { tokio::join!(biased; unreachable(), recovery).0 }).await;
        assert_eq!(done, Ok(2));
    }
}
