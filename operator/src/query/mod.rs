//! `kube9-operator query ...`: what the kube9 extension asks by `kubectl exec`, answered live from the API server, or from the
//! event store where it is switched on; and resource trees, from Argo CD.
//!
//! Standard output carries the answer and nothing else; what goes wrong is one JSON object on standard error, and exit
//! code 1, but for resource trees.

mod events;
mod expect;
mod format;
pub(crate) mod tree;

use std::process::ExitCode;

use litemap::LiteMap;
use serde_json::Value;

use crate::config::{self, EventStore, InvalidConfig, Pod, environment};
use crate::events::{Filter, Record, list};
use crate::kubernetes::{self, Client, REQUEST_TIMEOUT};
use crate::output::{print, refuse};
use crate::runtime::{Class, Clock, Failure};
use crate::status::{CONFIG_MAP_NAME, ConfigMaps, KEY};
use crate::time;
use format::Format;

/// The values of flags, by their names.
pub(crate) type Flags = LiteMap<&'static str, String>;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Query {
    what: What,
    format: Format,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Events(Filter),
    Status {
        /// Whether it has to be what kube9 calls operated.
        operated: bool,
    },
}

impl Query {
    pub(crate) const EVENT_FLAGS: [&'static str; 6] =
        ["--object-namespace", "--object-kind", "--since", "--limit", "--offset", "--format"];
    pub(crate) const STATUS_FLAGS: [&'static str; 2] = ["--expect", "--format"];

    pub(crate) fn events(flags: &Flags) -> Result<Self, String> {
        let filter = Filter {
            namespace: read(flags, "--object-namespace", "the name of a namespace", config::label)?,
            kind: read(flags, "--object-kind", "a kind, such as Pod", kind)?,
            since: read(flags, "--since", "a time such as 2026-08-03T12:00:00Z", time::parsed)?,
            limit: read(flags, "--limit", "a whole number from 1 to 1000", number::<1, 1000>)?.unwrap_or(50),
            offset: read(flags, "--offset", "a whole number from 0 to 10000", number::<0, 10_000>)?.unwrap_or(0),
        };
        Ok(Self { what: What::Events(filter), format: format(flags)? })
    }

    pub(crate) fn status(flags: &Flags) -> Result<Self, String> {
        let operated = read(flags, "--expect", "operated", |word| (word == "operated").then_some(()))?.is_some();
        Ok(Self { what: What::Status { operated }, format: format(flags)? })
    }
}

fn format(flags: &Flags) -> Result<Format, String> {
    Ok(read(flags, "--format", "json or table", Format::from_word)?.unwrap_or(Format::Json))
}

fn read<T>(flags: &Flags, name: &str, allowed: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    let Some(text) = flags.get(name) else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| format!("{name} must be {allowed}, but is {text:?}"))
}

/// Kinds are words of letters and digits; anything else would mean something to a selector.
fn kind(text: &str) -> Option<String> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| text.to_owned())
}

fn number<const FROM: usize, const TO: usize>(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| (FROM..=TO).contains(number))
}

/// Answers, and says whether that went well.
pub(crate) fn run(query: &Query) -> ExitCode {
    match wait_for(answer(query)) {
        Ok(text) => print(&text),
        Err(Refusal { error, details }) => refuse(&error, &details),
    }
}

fn wait_for<T, E: From<Refusal>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal { error: "cannot start the runtime".to_owned(), details: error.to_string() })?;
    let answered = runtime.block_on(answer);
    // Not waiting for a name server that does not answer: whoever asked does not, either.
    runtime.shutdown_background();
    answered
}

struct Refusal {
    error: String,
    details: String,
}

async fn answer(query: &Query) -> Result<String, Refusal> {
    if let What::Events(filter) = &query.what
        && let Some(answer) = stored(filter)?
    {
        return Ok(query.format.render(&answer, &events::COLUMNS));
    }
    let client = client()?;
    let value = match &query.what {
        What::Events(filter) => {
            events::list(&client, filter).await.map_err(|failure| refusal("list events", &failure))?
        }
        What::Status { operated } => {
            let status = status(client).await?;
            if *operated {
                expect::operated(&status, Clock::start().calendar()).map_err(|details| Refusal {
                    error: "kube9 would not show this cluster as operated by this release".to_owned(),
                    details,
                })?;
            }
            status
        }
    };
    let columns = match query.what {
        What::Events(_) => &events::COLUMNS[..],
        What::Status { .. } => &[],
    };
    Ok(query.format.render(&value, columns))
}

fn client() -> Result<Client, Refusal> {
    let error = "cannot find out how to reach the API server";
    kubernetes::client().map_err(|details| Refusal { error: error.to_owned(), details })
}

/// What the store has, where there is one. A store that cannot be read is no reason to answer with less than is asked.
fn stored(filter: &Filter) -> Result<Option<Value>, Refusal> {
    let Some(settings) = EventStore::read(environment)? else { return Ok(None) };
    let folder = &settings.place.folder;
    let found = list(folder, filter).map_err(|trouble| Refusal {
        error: "cannot read the event store".to_owned(),
        details: format!(
            "{trouble}, in {}; is the operator running, and what does `query status` say?",
            folder.display()
        ),
    })?;
    let rows: Vec<Value> = found.records.iter().map(Record::row).collect();
    Ok(Some(filter.page(&rows, found.total, 0)))
}

impl From<InvalidConfig> for Refusal {
    fn from(error: InvalidConfig) -> Self {
        Self { error: "invalid configuration".to_owned(), details: error.to_string() }
    }
}

async fn status(client: Client) -> Result<Value, Refusal> {
    let Pod { namespace, .. } = Pod::read(environment)?;
    let config_maps = ConfigMaps::new(client, &namespace);
    let read = config_maps.read(CONFIG_MAP_NAME, KEY, REQUEST_TIMEOUT).await;
    let (_, text) = read.map_err(|failure| refusal(&format!("read {namespace}/{CONFIG_MAP_NAME}"), &failure))?;
    text.parse().map_err(|error: serde_json::Error| Refusal {
        error: format!("the status in {namespace}/{CONFIG_MAP_NAME} cannot be read"),
        details: error.to_string(),
    })
}

fn refusal(what: &str, failure: &Failure) -> Refusal {
    let hint = match failure.class {
        Class::Forbidden => "; the operator's role lacks it: was the chart installed with rbac.create=false?",
        Class::NotFound => "; is the operator running, and is POD_NAMESPACE its namespace?",
        Class::Unauthorized => "; the token is not accepted",
        _ => "",
    };
    Refusal { error: format!("cannot {what}"), details: format!("{failure}{hint}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(pairs: &[(&'static str, &str)]) -> Flags {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn the_call_of_the_extension_is_understood() {
        let flags = flags(&[
            ("--object-namespace", "shop"),
            ("--since", "2026-08-03T12:00:00.000Z"),
            ("--object-kind", "Pod"),
            ("--limit", "25"),
            ("--format", "json"),
        ]);
        let filter = Filter {
            namespace: Some("shop".to_owned()),
            kind: Some("Pod".to_owned()),
            since: Some("2026-08-03T12:00:00Z".parse().unwrap()),
            limit: 25,
            offset: 0,
        };
        assert_eq!(Query::events(&flags), Ok(Query { what: What::Events(filter), format: Format::Json }));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_with_what_is_allowed() {
        let mistakes = [
            ("--object-namespace", "a,b=c"),
            ("--object-kind", "Pod,type=Normal"),
            ("--since", "yesterday"),
            ("--limit", "0"),
            ("--limit", "1001"),
            ("--offset", "-1"),
            ("--format", "xml"),
        ];
        assert_eq!(Query::status(&flags(&[("--expect", "x")])).unwrap_err(), "--expect must be operated, but is \"x\"");
        for (name, value) in mistakes {
            let message = Query::events(&flags(&[(name, value)])).unwrap_err();
            assert!(
                message.starts_with(&format!("{name} must be ")) && message.ends_with(&format!("{value:?}")),
                "{message}"
            );
        }
    }
}
