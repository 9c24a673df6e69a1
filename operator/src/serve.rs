//! `kube9-operator serve`: puts the parts together and runs them until a signal comes.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::Level;

use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::shutdown::Shutdown;
use crate::status::Writer;
use crate::{VERSION, http, kubernetes, logging};

/// What every part of the running operator may look at.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) progress: Progress,
    pub(crate) metrics: Metrics,
}

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
    let listener = http::listen(config.port)
        .await
        .map_err(|error| StartError::new(format!("cannot serve on HEALTH_PORT {}", config.port), error))?;
    let client = kubernetes::client()
        .await
        .map_err(|error| StartError::new("cannot find out how to reach the API server", error))?;

    tracing::info!(version = VERSION, namespace = config.namespace, port = config.port, "started");
    let context =
        Arc::new(Context { config, clock: Clock::start(), progress: Progress::default(), metrics: Metrics::new() });
    tokio::spawn(http::answer(listener, Arc::clone(&context)));
    Writer::new(client, context).run(&shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

/// Reads the configuration and starts logging as it says, or in the default way when it cannot be used.
fn configure() -> Result<Config, StartError> {
    let config = Config::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()));
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
