//! The command line: which words are understood, and the help that explains them.
//!
//! It is read by hand. With one command and two flags, a parser from a library would be a tenth of the program.

use std::ffi::OsString;
use std::fmt;

use crate::config::{VARIABLES, Variable};
use crate::{NAME, VERSION};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Serve,
    Version,
    Help,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    let command = match arguments.next().as_deref() {
        None | Some("serve") => Command::Serve,
        Some("--version" | "-V") => Command::Version,
        Some("--help" | "-h" | "help") => Command::Help,
        Some(other) => return Err(UsageError { argument: other.to_owned() }),
    };
    match arguments.next().as_deref() {
        None => Ok(command),
        Some("--help" | "-h") => Ok(Command::Help),
        Some(other) => Err(UsageError { argument: other.to_owned() }),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    argument: String,
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unknown argument `{}`; try `{NAME} --help`", self.argument)
    }
}

/// The whole help text. The table of variables comes from the configuration itself, so that it cannot fall behind.
pub(crate) fn help() -> String {
    let mut text = format!(
        "\
{NAME} {VERSION}
Tells the kube9 VS Code extension how this cluster is doing, through the ConfigMap `{config_map}`.

Usage: {NAME} [serve]      run until SIGTERM or SIGINT (the default)
       {NAME} --version    print the version
       {NAME} --help       print this help

Environment (an empty variable counts as not set):
",
        config_map = crate::status::CONFIG_MAP_NAME,
    );
    for Variable { name, meaning, allowed, default } in VARIABLES {
        text.push_str(&format!("  {name:<30}  {meaning}: {allowed} (default {default})\n"));
    }
    text.push_str(&format!(
        "  KUBECONFIG                      how to reach the API server from outside a cluster

HTTP:
  /healthz    200 as long as the operator itself makes progress; never asks the API server
  /readyz     200 as long as the status is fresh; 503 says why it is not
  /metrics    OpenMetrics

Logs are JSON lines on standard error. Exit code 0 after a signal, 1 after a failure to start.

Examples:
  {NAME}
  KUBECONFIG=~/.kube/config POD_NAMESPACE=kube9-system LOG_LEVEL=debug {NAME} serve
  curl localhost:8080/readyz
"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Command, UsageError> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn serving_is_the_default() {
        assert_eq!(parse_words(&[]), Ok(Command::Serve));
        assert_eq!(parse_words(&["serve"]), Ok(Command::Serve));
    }

    #[test]
    fn help_and_version_are_found_under_their_usual_names() {
        for word in ["--help", "-h", "help"] {
            assert_eq!(parse_words(&[word]), Ok(Command::Help), "{word}");
        }
        assert_eq!(parse_words(&["serve", "--help"]), Ok(Command::Help));
        assert_eq!(parse_words(&["--version"]), Ok(Command::Version));
    }

    #[test]
    fn an_unknown_argument_is_named_wherever_it_stands() {
        for words in [&["--prot"][..], &["serve", "--prot"], &["--version", "--prot"]] {
            let message = parse_words(words).unwrap_err().to_string();
            assert!(message.contains("`--prot`") && message.contains("--help"), "{message}");
        }
    }

    #[test]
    fn the_help_lists_every_variable() {
        let help = help();
        for variable in VARIABLES {
            assert!(help.contains(variable.name), "{}", variable.name);
        }
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
    }
}
