//! Log lines: JSON on standard error, with the time as RFC 3339 in UTC.
//!
//! Standard output stays free for what commands print.

use std::io;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// Starts logging, for the rest of the process.
pub(crate) fn start(level: Level) {
    let lines = fmt::layer().json().flatten_event(true).with_writer(io::stderr);
    registry().with(lines).with(LevelFilter::from_level(level)).init();
}
