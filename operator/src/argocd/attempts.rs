//! Tells whether Argo CD would give out resource trees: by a small request as often as Argo CD is looked for, and when the token
//! changes, but never more than one a minute.
//!
//! Argo CD is optional: none of this is a task whose trouble would make the operator degraded, or not ready.

use std::time::Duration;

use super::api::{Api, Refused, files};
use crate::runtime::{Answer, Context, Server, State, Unavailable};
use crate::text::{plain, shortened};

/// The shortest time between two attempts.
const PAUSE: Duration = Duration::from_secs(60);

/// The earlier operator's limit, too.
const LONGEST_MESSAGE: usize = 420;

/// Tries for ever where there is a token to try; otherwise that is all there is to say.
pub(super) async fn keep_trying(context: &Context) {
    let settings = &context.config.argocd;
    if settings.api.token_file.is_none() {
        return tell(context, Api::new(settings).map(drop));
    }
    let mut failures: u32 = 0;
    loop {
        let server = detected(context).await;
        let seen = files(settings);
        let outcome = match Api::new(settings) {
            Ok(api) => api.attempt(Some(&server.namespace)).await,
            Err(refused) => Err(refused),
        };
        failures = if outcome.is_ok() { 0 } else { failures.saturating_add(1) };
        tell(context, outcome);
        let due = context.clock.uptime() + pause(failures, settings.interval);
        loop {
            context.clock.sleep(PAUSE).await;
            let is_due = context.clock.uptime() >= due;
            if is_due || files(settings) != seen || server_in(&context.state()).as_ref() != Some(&server) {
                break;
            }
        }
    }
}

/// What failed is tried again sooner, and ever later.
fn pause(failures: u32, interval: Duration) -> Duration {
    match failures {
        0 => interval,
        _ => interval.min(PAUSE.saturating_mul(1 << (failures - 1).min(16))),
    }
}

/// Argo CD's server, once there is one.
async fn detected(context: &Context) -> Server {
    loop {
        context.until(|state| server_in(state).is_some()).await;
        if let Some(server) = server_in(&context.state()) {
            return server;
        }
    }
}

fn server_in(state: &State) -> Option<Server> {
    match &state.argocd.as_ref()?.answer {
        Answer::Detected(server) => Some(server.clone()),
        Answer::NotDetected => None,
    }
}

fn tell(context: &Context, outcome: Result<(), Refused>) {
    let outcome = outcome.map_err(unavailable);
    if context.state().resource_tree.as_ref() != Some(&outcome) {
        match &outcome {
            Ok(()) => tracing::info!("Argo CD gives out resource trees"),
            Err(Unavailable { code, message }) => tracing::info!(code, message, "no resource trees of Argo CD"),
        }
    }
    context.update(|state| state.tried_resource_tree(outcome));
}

fn unavailable(refused: Refused) -> Unavailable {
    let Refused { code, message, details } = refused;
    let text = if details.is_empty() { message } else { format!("{message}: {details}") };
    Unavailable { code: code.word(), message: shortened(&plain(&text), LONGEST_MESSAGE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_tried_again_after_a_minute_then_later_and_never_later_than_what_went_well() {
        let hour = Duration::from_secs(3600);
        let minutes = |failures| pause(failures, hour).as_secs() / 60;
        assert_eq!([0, 1, 2, 3, 7, u32::MAX].map(minutes), [60, 1, 2, 4, 60, 60]);
    }
}
