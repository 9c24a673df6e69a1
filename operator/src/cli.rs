//! The command line: which words are understood, and the help that explains them.
//!
//! It is read by hand. With two commands and flags that all take a value, a parser from a library would be a tenth of
//! the program.

use std::ffi::OsString;
use std::fmt;

use crate::argocd::api::Application;
use crate::config::{VARIABLES, Variable};
use crate::query::{Flags, Query, tree};
use crate::{NAME, VERSION};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Serve,
    Query(Query),
    ResourceTree(Application),
    Version,
    Help,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let words: Vec<String> = arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let form = match words.as_slice() {
        ["query", "argocd", ..] => ErrorForm::Envelope,
        ["query", ..] => ErrorForm::Json,
        _ => ErrorForm::Text,
    };
    let command = match words.as_slice() {
        _ if words.iter().any(|word| matches!(*word, "--help" | "-h")) => Ok(Command::Help),
        [] | ["serve"] => Ok(Command::Serve),
        ["query", "events", "list", rest @ ..] => {
            flags(rest, &Query::EVENT_FLAGS).and_then(|flags| Query::events(&flags)).map(Command::Query)
        }
        ["query", "status", rest @ ..] => {
            flags(rest, &Query::STATUS_FLAGS).and_then(|flags| Query::status(&flags)).map(Command::Query)
        }
        ["query", "argocd", "resource-tree", "get", rest @ ..] => {
            let (name, rest) = match rest {
                [name, rest @ ..] if !name.starts_with('-') => (Some(*name), rest),
                _ => (None, rest),
            };
            flags(rest, &tree::FLAGS).and_then(|flags| tree::application(name, &flags)).map(Command::ResourceTree)
        }
        ["--version" | "-V"] => Ok(Command::Version),
        ["help"] => Ok(Command::Help),
        ["query", "argocd", ..] => Err("of Argo CD there is only `query argocd resource-tree get`".to_owned()),
        ["query", "events", other, ..] | ["query", other, ..] => Err(unknown(other)),
        ["query"] => {
            Err("`query` needs to know what: `events list`, `status` or `argocd resource-tree get`".to_owned())
        }
        ["--version" | "-V" | "help" | "serve", other, ..] => Err(unknown(other)),
        [other, ..] => Err(unknown(other)),
    };
    command.map_err(|message| UsageError { message, form })
}

/// `--flag=value` and `--flag value`.
fn flags(words: &[&str], known: &'static [&'static str]) -> Result<Flags, String> {
    let mut words = words.iter();
    let mut flags = Flags::new();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (*word, None),
        };
        let flag = known.iter().find(|flag| **flag == name).ok_or_else(|| unknown(word))?;
        let value = value.or_else(|| words.next().copied()).ok_or_else(|| format!("{name} needs a value"))?;
        flags.insert(flag, value.to_owned());
    }
    Ok(flags)
}

fn unknown(word: &str) -> String {
    format!("unknown argument `{word}`")
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    message: String,
    pub(crate) form: ErrorForm,
}

/// Queries are made by programs, which want to hear of mistakes their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    Text,
    Json,
    /// With a code, as kube9 wants it of resource trees.
    Envelope,
}

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; try `{NAME} --help`", self.message)
    }
}

/// The whole help text. The table of settings comes from the configuration itself, so that it cannot fall behind.
pub(crate) fn help() -> String {
    let mut text = format!(
        "\
{NAME} {VERSION}
Tells the kube9 VS Code extension how this cluster is doing, through the ConfigMap `{config_map}`.

Usage: {NAME} [serve]                 run until SIGTERM or SIGINT (the default)
       {NAME} query events list       the newest events of the cluster
           [--object-namespace=NS] [--object-kind=KIND] [--since=RFC3339] [--limit=50] [--offset=0] [--format=json]
       {NAME} query status            the status that kube9 reads; a failure unless it is as expected
           [--expect=operated] [--format=json]
       {NAME} query argocd resource-tree get APP    what an application of Argo CD is made of
           [--namespace=NS] [--format=json]
       {NAME} --version               print the version
       {NAME} --help                  print this help

Settings, in the environment (empty counts as not set):
",
        config_map = crate::status::CONFIG_MAP_NAME,
    );
    for Variable { name, meaning, allowed, default } in VARIABLES {
        let default = if default.is_empty() { "not set" } else { *default };
        text.push_str(&format!("  {name:<35}  {meaning}:\n  {:<35}  {allowed} (default {default})\n", ""));
    }
    text.push_str(&format!(
        "  KUBECONFIG                           how to reach the API server from outside a cluster

HTTP:
  /healthz    200 as long as the operator itself makes progress; never asks the API server
  /readyz     200 as long as the status is fresh and watches run; 503 says why not
  /metrics    OpenMetrics

Formats of queries: json, table. Queries print nothing but their answer to standard output;
what goes wrong is one JSON object on standard error: {{\"error\": ..., \"details\": ...}}, of resource
trees {{\"ok\": false, \"code\": ..., \"message\": ..., \"details\": ...}} with exit codes from 1 to 7.
Logs are JSON lines on standard error. Exit code 0 after a signal or an answer, 1 after any other failure.

Examples:
  {NAME}
  KUBECONFIG=~/.kube/config POD_NAMESPACE=kube9-system LOG_LEVEL=debug {NAME}
  kubectl -n kube9-system exec deploy/kube9-operator -- {NAME} query events list --limit=25 --format=table
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
    fn a_flag_without_its_value_is_refused() {
        let message = parse_words(&["query", "status", "--format"]).unwrap_err().to_string();
        assert!(message.starts_with("--format needs a value"), "{message}");
    }

    #[test]
    fn help_and_version_are_found_under_their_usual_names() {
        for words in [&["--help"][..], &["-h"], &["help"], &["serve", "--help"], &["query", "events", "--help"]] {
            assert_eq!(parse_words(words), Ok(Command::Help), "{words:?}");
        }
        assert_eq!(parse_words(&["--version"]), Ok(Command::Version));
    }

    #[test]
    fn an_unknown_argument_is_named_wherever_it_stands() {
        let places = [
            &["--prot"][..],
            &["serve", "--prot"],
            &["--version", "--prot"],
            &["query", "status", "--prot"],
            &["--prot=1"],
        ];
        for words in places {
            let message = parse_words(words).unwrap_err().to_string();
            assert!(message.contains("`--prot") && message.contains("--help"), "{message}");
        }
    }

    #[test]
    fn only_mistakes_in_queries_are_told_to_programs() {
        let form = |words: &[&str]| parse_words(words).unwrap_err().form;
        assert_eq!(form(&["query", "collections"]), ErrorForm::Json);
        assert_eq!(form(&["query", "argocd", "resource-tree", "get"]), ErrorForm::Envelope);
        assert_eq!(form(&["serve", "query"]), ErrorForm::Text);
    }

    #[test]
    fn the_help_lists_every_setting_and_fits_a_terminal() {
        let help = help();
        for variable in VARIABLES {
            assert!(help.contains(variable.name), "{}", variable.name);
        }
        assert!(help.lines().all(|line| line.len() <= 120), "{help}");
    }
}
