//! What every task does when an attempt fails: it is counted and told, and the next one made after a pause.
//!
//! Only the status has a loop of its own (`status::writer`): whether it can be written is what tells a task's trouble
//! from the API server's.

use std::time::Duration;

use super::{Class, Context, Failure, Task, backoff};

/// Makes attempts until one succeeds. When the API server answers elsewhere again, the next one does not wait.
pub(crate) async fn until_success<T>(
    context: &Context,
    task: Task,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> T {
    let Context { clock, progress, .. } = context;
    progress.task_expected(task);
    loop {
        let failure = match attempt().await {
            Ok(done) => return done,
            Err(failure) => failure,
        };
        let pause = note(context, task, failure);
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = progress.recovered() => {}
        }
    }
}

/// Counts and tells a failure, and says how long to wait before the next attempt.
pub(crate) fn note(context: &Context, task: Task, failure: Failure) -> Duration {
    let Context { clock, progress, metrics, .. } = context;
    let Failure { class, message, retry_after } = failure.clone();
    metrics.task_failed(task, class);
    let failures = progress.task_failed(task, failure, clock.uptime());
    if class == Class::Expired && failures == 1 {
        tracing::debug!(task = task.label(), "the watch was away for too long; it begins anew");
        return Duration::ZERO;
    }
    let pause = backoff::pause(failures, backoff::random_fraction(), retry_after).min(task.longest_pause());
    tracing::warn!(
        task = task.label(),
        class = class.label(),
        error = message,
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
            let failure = Failure { class, message: String::new(), retry_after: None };
            if attempts == 1 { Err(failure) } else { Ok(attempts) }
        })
        .await
    }

    #[tokio::test]
    async fn a_watch_that_was_away_for_too_long_begins_anew_at_once_and_is_counted() {
        let context = context();
        let done = tokio::time::timeout(AT_ONCE, attempts(&context, Class::Expired)).await;
        assert_eq!((done, context.progress.failures(Task::EventWatch)), (Ok(2), 1));
        let page = context.metrics.render(&context.progress.facts(), false);
        let counted = "kube9_operator_task_failures_total{task=\"events\",reason=\"expired\"} 1";
        assert!(page.contains(counted), "{page}");
    }

    #[tokio::test]
    async fn an_attempt_that_failed_is_not_made_again_at_once_unless_the_api_server_answers_elsewhere() {
        let context = context();
        let unreachable = || attempts(&context, Class::Unreachable);
        assert!(tokio::time::timeout(AT_ONCE, unreachable()).await.is_err());
        let recovery = async {
            let failure = Failure { class: Class::Unreachable, message: String::new(), retry_after: None };
            context.progress.write_failed(failure);
            context.progress.write_succeeded(context.clock.uptime());
        };
        let done = tokio::time::timeout(AT_ONCE, async { tokio::join!(biased; unreachable(), recovery).0 }).await;
        assert_eq!(done, Ok(2));
    }
}
