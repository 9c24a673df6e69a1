//! The door to the API server: how it is found, how it is asked, and what its refusals mean.
//!
//! Answers are read into types that have only the fields in use. What is skipped costs no memory, and a cluster may
//! have objects of any size.

mod compact;
mod watch;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{GetParams, ListParams};
use kube::core::Request;
use kube::{Client, Config};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) use compact::{Compact, WireMetadata, WireTime, list_compactly};
pub(crate) use watch::{Change, Feed, Versioned};

use crate::failure::{Class, Failure};

/// How long one request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds out where the API server is, from `KUBECONFIG` or the pod's service account, without calling it yet.
///
/// The library's own retries are off: they would hide failures from probes and metrics for minutes.
pub(crate) async fn client() -> Result<Client, Box<dyn Error>> {
    let mut config = Config::infer().await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// One page of a list.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) metadata: ListMeta,
    /// The API server may say `null` where there are none.
    items: Option<Vec<T>>,
}

impl<T> Page<T> {
    pub(crate) fn items(&mut self) -> Vec<T> {
        self.items.take().unwrap_or_default()
    }

    /// Where the next page begins, if there is one.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.metadata.continue_.take().filter(|token| !token.is_empty())
    }
}

/// What we read of an object's metadata.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) creation_timestamp: Option<Timestamp>,
    pub(crate) deletion_timestamp: Option<Timestamp>,
}

/// Asks for one page of what is under a path such as `/api/v1/nodes`.
pub(crate) async fn list<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    parameters: &ListParams,
) -> Result<Page<T>, Failure> {
    within(REQUEST_TIMEOUT, async {
        let request = Request::new(path).list(parameters).map_err(kube::Error::BuildRequest)?;
        client.request(request).await
    })
    .await
}

/// Asks for one object.
pub(crate) async fn get<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    name: &str,
    limit: Duration,
) -> Result<T, Failure> {
    within(limit, async {
        let request = Request::new(path).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
        client.request(request).await
    })
    .await
}

/// Runs a request that must be over within `limit`. One that is not is dropped, and its connection with it.
pub(crate) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, request).await {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(_elapsed) => {
            Err(Failure { class: Class::Timeout, message: format!("no answer within {limit:?}"), retry_after: None })
        }
    }
}

pub(crate) fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => Failure {
            class: Class::of_http_status(status.code),
            message: format!("{} (HTTP {})", status.message.trim_end(), status.code),
            retry_after: status.details.as_ref().and_then(|details| seconds(details.retry_after_seconds)),
        },
        kube::Error::Service(error) => with_class(Class::Unreachable, error.as_ref()),
        kube::Error::HyperError(error) => with_class(Class::Unreachable, error),
        other => with_class(Class::ServerError, other),
    }
}

fn with_class(class: Class, error: &(dyn Error + 'static)) -> Failure {
    Failure { class, message: chain(error), retry_after: None }
}

/// The error and its causes, leaving out causes that were quoted already.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// In an answer of the API server, zero stands for nothing.
fn seconds(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use std::io;

    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    #[test]
    fn a_refusal_keeps_its_message_and_code() {
        let status = Status::failure("you may not", "Forbidden").with_code(403);
        let failure = failure(&kube::Error::Api(status.boxed()));
        assert_eq!(failure.to_string(), "forbidden: you may not (HTTP 403)");
    }

    #[test]
    fn a_wish_for_patience_is_passed_on() {
        let details: StatusDetails = serde_json::from_str(r#"{"retryAfterSeconds":7}"#).unwrap();
        let status = Status::failure("slow down", "TooManyRequests").with_code(429).with_details(details);
        let failure = failure(&kube::Error::Api(status.boxed()));
        assert_eq!(failure.class, Class::Throttled);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_broken_connection_tells_its_cause() {
        let failure = failure(&kube::Error::Service(Box::new(io::Error::other("connection refused"))));
        assert_eq!(failure.to_string(), "unreachable: connection refused");
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner = io::Error::other("no route");
        let outer = kube::Error::Service(Box::new(inner));
        assert_eq!(chain(&outer), "ServiceError: no route");
    }
}
