//! Lists of what there are many of, in protocol buffers, which is how the API server keeps them.
//!
//! It takes half the time and half the bytes that the same list takes in JSON, nearly all of it the API server's time.
//! Only the fields in use have a name here; the rest is skipped as it is in JSON.

use std::fmt;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HeaderValue};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::response::StatusDetails;
use kube::core::{Request, Status};
use prost::{DecodeError, Message};
use serde::de::DeserializeOwned;

use super::{Metadata, Page, REQUEST_TIMEOUT, within};
use crate::failure::{Class, Failure};

/// What stands before the API server may know nothing but JSON.
const ENCODINGS: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf,application/json;q=0.5");

/// What an answer in protocol buffers begins with.
const MAGIC: &[u8] = b"k8s\0";

/// An object that can be read from both encodings.
pub(crate) trait Compact: DeserializeOwned + From<Self::Wire> {
    type Wire: Message + Default + fmt::Debug;
}

/// Asks for one page of what is under a path such as `/api/v1/events`.
pub(crate) async fn list_compactly<T: Compact>(
    client: &Client,
    path: &str,
    parameters: &ListParams,
) -> Result<Page<T>, Failure> {
    let answer = within(REQUEST_TIMEOUT, ask(client, path, parameters)).await?;
    page(&answer).map_err(|reason| Failure {
        class: Class::ServerError,
        message: format!("the API server's answer cannot be read: {reason}"),
        retry_after: None,
    })
}

async fn ask(client: &Client, path: &str, parameters: &ListParams) -> Result<Bytes, kube::Error> {
    let mut request = Request::new(path).list(parameters).map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, ENCODINGS);
    let response = client.send(request.map(Body::from)).await?;
    let code = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if code.is_success() { Ok(body) } else { Err(refusal(code.as_u16(), &body)) }
}

fn page<T: Compact>(answer: &Bytes) -> Result<Page<T>, String> {
    if !answer.starts_with(MAGIC) {
        return serde_json::from_slice(answer).map_err(|error| error.to_string());
    }
    let list: List<T::Wire> = unwrapped(answer).map_err(|error| error.to_string())?;
    let metadata = list.metadata.unwrap_or_default();
    let metadata = ListMeta {
        continue_: Some(metadata.continue_),
        resource_version: Some(metadata.resource_version),
        ..ListMeta::default()
    };
    Ok(Page { metadata, items: Some(list.items.into_iter().map(T::from).collect()) })
}

/// As the library has it for answers in JSON.
fn refusal(code: u16, answer: &Bytes) -> kube::Error {
    let status = match unwrapped::<Refusal>(answer) {
        Ok(refusal) if answer.starts_with(MAGIC) => refusal.status(),
        _ => serde_json::from_slice(answer)
            .unwrap_or_else(|_| Status::failure(&String::from_utf8_lossy(answer), "no status in the answer")),
    };
    kube::Error::Api(status.with_code(code).boxed())
}

impl Refusal {
    fn status(&self) -> Status {
        let status = Status::failure(&self.message, &self.reason);
        let Some(details) = &self.details else { return status };
        status.with_details(StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: u32::try_from(details.retry_after_seconds).unwrap_or_default(),
        })
    }
}

fn unwrapped<T: Message + Default>(answer: &Bytes) -> Result<T, DecodeError> {
    let wire = answer.slice(MAGIC.len().min(answer.len())..);
    T::decode(Envelope::decode(wire)?.raw)
}

/// What every answer comes in.
#[derive(Message)]
struct Envelope {
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

#[derive(Message)]
struct List<T: Message + Default + fmt::Debug> {
    #[prost(message, optional, tag = "1")]
    metadata: Option<WireListMeta>,
    #[prost(message, repeated, tag = "2")]
    items: Vec<T>,
}

#[derive(Message)]
struct WireListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, tag = "3")]
    continue_: String,
}

#[derive(Message)]
struct Refusal {
    #[prost(string, tag = "3")]
    message: String,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(message, optional, tag = "5")]
    details: Option<RefusalDetails>,
}

#[derive(Message)]
struct RefusalDetails {
    #[prost(int32, tag = "5")]
    retry_after_seconds: i32,
}

/// An object's metadata.
#[derive(Message)]
pub(crate) struct WireMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, optional, tag = "3")]
    namespace: Option<String>,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(message, optional, tag = "8")]
    creation_timestamp: Option<WireTime>,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<WireTime>,
}

impl From<WireMetadata> for Metadata {
    fn from(wire: WireMetadata) -> Self {
        Self {
            name: wire.name,
            namespace: wire.namespace,
            uid: wire.uid,
            resource_version: wire.resource_version,
            labels: None,
            creation_timestamp: wire.creation_timestamp.and_then(WireTime::read),
            deletion_timestamp: wire.deletion_timestamp.and_then(WireTime::read),
        }
    }
}

/// A time of either precision. One that was never set has nothing in it.
#[derive(Message)]
pub(crate) struct WireTime {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    #[prost(int32, tag = "2")]
    nanoseconds: i32,
}

impl WireTime {
    pub(crate) fn read(self) -> Option<Timestamp> {
        Timestamp::new(self.seconds?, self.nanoseconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(content: &impl Message) -> Bytes {
        let envelope = Envelope { raw: content.encode_to_vec().into() };
        [MAGIC, &envelope.encode_to_vec()].concat().into()
    }

    #[test]
    fn a_page_is_read_from_either_encoding() {
        #[derive(serde::Deserialize)]
        struct Thing {
            metadata: Metadata,
        }

        impl From<WireMetadata> for Thing {
            fn from(wire: WireMetadata) -> Self {
                Self { metadata: wire.into() }
            }
        }

        impl Compact for Thing {
            type Wire = WireMetadata;
        }

        let metadata = WireListMeta { resource_version: "7".to_owned(), continue_: "more".to_owned() };
        let thing = WireMetadata { uid: "a".to_owned(), ..WireMetadata::default() };
        let wire = wrapped(&List { metadata: Some(metadata), items: vec![thing] });
        let json =
            r#"{"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"metadata": {"uid": "a"}}]}"#;
        for answer in [wire, json.into()] {
            let mut page = page::<Thing>(&answer).unwrap();
            assert_eq!(page.items()[0].metadata.uid, "a");
            assert_eq!(page.next().as_deref(), Some("more"));
        }
        assert!(page::<Thing>(&"k8s\0 and nonsense".into()).is_err());
    }

    #[test]
    fn a_refusal_keeps_its_words_however_it_is_written() {
        let wire = wrapped(&Refusal {
            message: "slow down".to_owned(),
            reason: "TooManyRequests".to_owned(),
            details: Some(RefusalDetails { retry_after_seconds: 7 }),
        });
        let json = r#"{"status": "Failure", "message": "slow down", "details": {"retryAfterSeconds": 7}}"#;
        for (answer, asked_for) in [(wire, Some(7)), (json.into(), Some(7)), ("slow down\n".into(), None)] {
            let failure = super::super::failure(&refusal(429, &answer));
            assert_eq!(failure.to_string(), "throttled: slow down (HTTP 429)");
            assert_eq!(failure.retry_after.map(|time| time.as_secs()), asked_for);
        }
    }
}
