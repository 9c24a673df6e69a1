//! `kube9-operator serve`: puts the parts together and runs them until a signal comes.

use std::convert::Infallible;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::Level;

use crate::config::{Config, environment};
use crate::events;
use crate::kubernetes::{self, Client};
use crate::leadership::Candidate;
use crate::runtime::{Context, Shutdown};
use crate::status::{Deployments, Writer};
use crate::{VERSION, argocd, collection, http, logging};

/// Runs until a signal comes, and says whether that went well.
pub(crate) fn run() -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::new("cannot start the runtime", error))
        .and_then(|runtime| runtime.block_on(serve()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), StartError> {
    let shutdown = Shutdown::hook().map_err(|error| StartError::new("cannot listen to signals", error))?;
    let config = configure()?;
    let store = open_store(&config)?;
    let listener = http::listen(config.port)
        .await
        .map_err(|error| StartError::new(format!("cannot serve on HEALTH_PORT {}", config.port), error))?;
    let client =
        kubernetes::client().map_err(|error| StartError::new("cannot find out how to reach the API server", error))?;

    tracing::info!(version = VERSION, namespace = config.namespace, port = config.port, "started");
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
    let config = &context.config;
    let deployments = Deployments::new(client.clone(), &config.namespace, &config.deployment);
    tokio::join!(deployments.find_owner(context), argocd::look(client, Arc::clone(context)), async {
        if let Some(candidate) = candidate {
            candidate.campaign().await;
        }
    },);
    std::future::pending().await
}

/// None where it is switched off.
fn open_store(config: &Config) -> Result<Option<events::Store>, StartError> {
    let Some(settings) = &config.event_store else { return Ok(None) };
    let folder = settings.place.folder.display();
    let advice = "is there a volume at DB_PATH, and may this user write to it?";
    events::Store::open(settings.place.clone()).map(Some).map_err(|trouble| {
        StartError::new(format!("cannot open the event store in {folder}"), format!("{trouble}; {advice}"))
    })
}

/// Ends some time after the wish to stop.
async fn keep_events(store: Option<events::Store>, client: Client, context: &Arc<Context>, shutdown: &Shutdown) {
    if let (Some(store), Some(settings)) = (store, &context.config.event_store) {
        events::keep(client, store, settings.clone(), Arc::clone(context), shutdown).await;
    }
}

/// Reads the configuration and starts logging as it says, or in the default way when it cannot be used.
fn configure() -> Result<Config, StartError> {
    let config = Config::read(environment);
    logging::start(config.as_ref().map_or(Level::INFO, |config| config.log_level));
    config.map_err(|error| StartError::new("invalid configuration", error))
}

/// Why the operator did not start. Once it runs, it keeps trying instead.
struct StartError {
    what: String,
    why: String,
}

impl StartError {
    fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { what: what.into(), why: why.to_string() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, self.why)
    }
}
