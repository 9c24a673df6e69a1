//! `kube9-operator serve`: puts the parts together and runs them until a signal comes.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

use crate::config::{Config, environment};
use crate::events;
use crate::kubernetes::{self, Client};
use crate::leadership::Candidate;
use crate::runtime::{Context, Shutdown};
use crate::status::{Deployments, Writer};
use crate::{VERSION, argocd, collection, http};

/// Runs until a signal comes, and says whether that went well. What ends the start is an error; once all runs, it is tried again.
pub(crate) fn run() -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))
        .and_then(|runtime| {
            let served = runtime.block_on(serve());
            // Not waiting for a name server that does not answer.
            runtime.shutdown_background();
            served
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), String> {
    let shutdown = Shutdown::hook().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let config = configure()?;
    let store = open_store(&config)?;
    let listener = http::listen(config.port)
        .await
        .map_err(|error| format!("cannot serve on HEALTH_PORT {}: {error}", config.port))?;
    let client =
        kubernetes::client().map_err(|error| format!("cannot find out how to reach the API server: {error}"))?;

    tracing::info!(version = VERSION, namespace = config.pod.namespace, port = config.port, "started");
    let context = Arc::new(Context::new(config));
    tokio::spawn(http::answer(listener, Arc::clone(&context)));
    let candidate = context.config.leader_election.then(|| Candidate::new(client.clone(), Arc::clone(&context)));
    let collecting = collection::collect(client.clone(), Arc::clone(&context), &shutdown);
    let keeping = keep_events(store, client.clone(), &context, &shutdown);
    let writing = async {
        tokio::select! {
            () = Writer::new(client.clone(), Arc::clone(&context)).run(&shutdown) => {}
            never = go_on_beside(client.clone(), &context, candidate.as_ref()) => match never {},
        }
    };
    tokio::join!(writing, collecting, keeping);
    if let Some(candidate) = candidate {
        candidate.resign().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// What goes on beside the writing, and never ends by itself.
async fn go_on_beside(client: Client, context: &Arc<Context>, candidate: Option<&Candidate>) -> Infallible {
    let deployments = Deployments::new(client.clone(), &context.config.pod);
    tokio::join!(deployments.find_owner(context), argocd::look(client, Arc::clone(context)), async {
        if let Some(candidate) = candidate {
            candidate.campaign().await;
        }
    });
    std::future::pending().await
}

/// None where it is switched off.
fn open_store(config: &Config) -> Result<Option<events::Store>, String> {
    let Some(settings) = &config.event_store else { return Ok(None) };
    let folder = settings.place.folder.display();
    let advice = "is there a volume at DB_PATH, and may this user write to it?";
    events::Store::open(settings.place.clone())
        .map(Some)
        .map_err(|trouble| format!("cannot open the event store in {folder}: {trouble}; {advice}"))
}

/// Ends some time after the wish to stop.
async fn keep_events(store: Option<events::Store>, client: Client, context: &Arc<Context>, shutdown: &Shutdown) {
    if let (Some(store), Some(settings)) = (store, &context.config.event_store) {
        events::keep(client, store, settings.clone(), Arc::clone(context), shutdown).await;
    }
}

/// Reads the configuration and starts logging as it says, or in the default way when it cannot be used.
fn configure() -> Result<Config, String> {
    let config = Config::read(environment);
    start_logging(config.as_ref().map_or(Level::INFO, |config| config.log_level));
    config.map_err(|error| format!("invalid configuration: {error}"))
}

/// JSON lines on standard error, with the time as RFC 3339 in UTC. Standard output stays free for what commands print.
fn start_logging(level: Level) {
    let lines = fmt::layer().json().flatten_event(true).with_writer(io::stderr);
    registry().with(lines).with(LevelFilter::from_level(level)).init();
}
