//! Log lines: JSON on standard error, with the time as RFC 3339 in UTC.
//!
//! Standard output stays free for what commands print.

use std::io;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// Starts logging, for the rest of the process.
pub(crate) fn start(level: Level) {
    let lines = fmt::layer().json().flatten_event(true).with_writer(io::stderr);
    registry().with(lines).with(targets(level)).init();
}

/// Each failure of a request is logged once, by us, with what happens next. The client library would log it again, as
/// an error, though nothing is wrong yet; so it is heard when somebody debugs, and otherwise not.
fn targets(level: Level) -> Targets {
    let targets = Targets::new().with_default(level);
    if level < Level::DEBUG { targets.with_target("kube_client", LevelFilter::OFF) } else { targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_library_is_heard_only_when_debugging() {
        assert!(!targets(Level::INFO).would_enable("kube_client::client", &Level::ERROR));
        assert!(targets(Level::DEBUG).would_enable("kube_client::client", &Level::DEBUG));
        assert!(targets(Level::INFO).would_enable("kube9_operator", &Level::INFO));
    }
}
