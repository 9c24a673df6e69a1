//! Tells whether Argo CD would give out resource trees: by a small request every five minutes, and sooner when token, certificates
//! or the place of Argo CD change, but never more than one a minute.
//!
//! Argo CD is optional: none of this is a task whose trouble would make the operator degraded, or not ready.

use std::time::Duration;

use super::api::{Api, ApiError, files};
use crate::runtime::{Answer, Context, State, Unavailable};
use crate::text::{plain, shortened};

const INTERVAL: Duration = Duration::from_secs(300);

/// The shortest time between two probes.
const PAUSE: Duration = Duration::from_secs(60);

/// The earlier operator's limit, too.
const LONGEST_MESSAGE: usize = 420;

/// Probes for ever where there is a token; without one, says so once.
pub(super) async fn keep_probing(context: &Context) {
    let settings = &context.config.argocd;
    if settings.api.token_file.is_none() {
        return tell(context, Api::new(settings).map(drop));
    }
    loop {
        context.until(|state| namespace(state).is_some()).await;
        let Some(found) = namespace(&context.state()).map(str::to_owned) else { continue };
        let probing = async {
            let seen = files(settings);
            let outcome = match Api::new(settings) {
                Ok(api) => api.probe(Some(&found)).await,
                Err(error) => Err(error),
            };
            tell(context, outcome);
            let due = context.clock.uptime() + INTERVAL;
            context.clock.sleep(PAUSE).await;
            while context.clock.uptime() < due && files(settings) == seen {
                context.clock.sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = probing => {}
            () = context.until(|state| namespace(state) != Some(found.as_str())) => {
                // What one installation answered says nothing of another.
                context.update(|state| state.probed_resource_tree(None));
                context.clock.sleep(PAUSE).await;
            }
        }
    }
}

/// Where Argo CD is, once there is one.
fn namespace(state: &State) -> Option<&str> {
    match &state.argocd.as_ref()?.answer {
        Answer::Detected(server) => Some(&server.namespace),
        Answer::NotDetected => None,
    }
}

fn tell(context: &Context, outcome: Result<(), ApiError>) {
    let outcome = Some(outcome.map_err(unavailable));
    if context.state().resource_tree != outcome {
        match &outcome {
            Some(Err(Unavailable { code, message })) => tracing::info!(code, message, "no resource trees of Argo CD"),
            _ => tracing::info!("Argo CD gives out resource trees"),
        }
    }
    context.update(|state| state.probed_resource_tree(outcome));
}

fn unavailable(error: ApiError) -> Unavailable {
    let ApiError { code, message, details } = error;
    let text = if details.is_empty() { message } else { format!("{message}: {details}") };
    Unavailable { code: code.word_and_exit().0, message: shortened(&plain(&text), LONGEST_MESSAGE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::runtime::{Finding, Server};

    #[tokio::test]
    async fn f9_what_one_installation_answered_is_not_told_of_another() {
        let variable = |name: &str| (name == "ARGOCD_API_TOKEN_FILE").then(|| "/nowhere".to_owned());
        let context = Context::new(Config::read(variable).unwrap());
        let find = |namespace: &str| {
            let answer = Answer::Detected(Server { namespace: namespace.to_owned(), version: None });
            context.update(|state| state.found(Finding { answer, checked: Duration::ZERO }));
        };
        let moving = async {
            find("argocd");
            context.until(|state| state.resource_tree.is_some()).await;
            find("gitops");
            context.until(|state| state.resource_tree.is_none()).await;
        };
        tokio::select! {
            () = keep_probing(&context) => panic!("it goes on for ever"),
            moved = tokio::time::timeout(Duration::from_secs(5), moving) => moved.unwrap(),
        }
    }
}
