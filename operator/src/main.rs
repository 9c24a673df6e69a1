//! The kube9 operator: it keeps one ConfigMap up to date, from which the kube9 VS Code extension learns that an
//! operator runs in the cluster and how it is doing.
//!
//! This file only turns the command line into a call and its result into an exit code. Everything runs on one
//! thread: the work is a request a minute, and a second thread would cost more memory than the work itself.
//! Only the event store, where it is switched on, writes on another one, since a disk may take its time.

mod argocd;
mod cli;
mod collection;
mod config;
mod events;
mod http;
mod kubernetes;
mod leadership;
mod output;
mod query;
mod runtime;
mod serve;
mod status;
mod text;
mod time;

use std::process::ExitCode;

use cli::{Command, ErrorForm};
use output::{complain, print, refuse};

/// The name the program goes by, in messages and towards the API server.
const NAME: &str = env!("CARGO_PKG_NAME");

/// The version of this release: chart, image and status document carry the same one.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve) => serve::run(),
        Ok(Command::Query(query)) => query::run(&query),
        Ok(Command::ResourceTree(application)) => query::tree::run(&application),
        Ok(Command::Version) => print(&format!("{NAME} {VERSION}\n")),
        Ok(Command::Help) => print(&cli::help()),
        Err(usage) => match usage.form {
            ErrorForm::Text => complain(&usage.to_string()),
            ErrorForm::Json => refuse("unusable arguments", &usage.to_string()),
            ErrorForm::Envelope => query::tree::refuse_arguments(usage.to_string()),
        },
    }
}
