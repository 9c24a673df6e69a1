//! Lists of what there are many of, in protocol buffers, which is how the API server keeps them.
//!
//! It takes half the time and half the bytes that the same list takes in JSON, nearly all of it the API server's time.
//! Only the fields in use have a name here; the rest is skipped as it is in JSON.

use std::fmt;

use hyper::body::Bytes;
use jiff::Timestamp;
use prost::{DecodeError, Message};
use serde::de::DeserializeOwned;

use super::client::unreadable;
use super::{Client, ListMeta, ListOptions, Metadata, Page, REQUEST_TIMEOUT, Request};
use crate::failure::Failure;

/// What stands before the API server may know nothing but JSON.
const ENCODINGS: &str = "application/vnd.kubernetes.protobuf,application/json;q=0.5";

/// What an answer in protocol buffers begins with.
pub(super) const MAGIC: &[u8] = b"k8s\0";

/// An object that can be read from both encodings.
pub(crate) trait Compact: DeserializeOwned + From<Self::Wire> {
    type Wire: Message + Default + fmt::Debug;
}

impl Client {
    /// Asks for one page of what is under a path such as `/api/v1/events`.
    pub(crate) async fn list_compactly<T: Compact>(
        &self,
        path: &str,
        options: &ListOptions,
    ) -> Result<Page<T>, Failure> {
        let request = Request { accept: ENCODINGS, ..Request::list(path, options) };
        let answer = self.answer(request, REQUEST_TIMEOUT).await?;
        page(&answer).map_err(|reason| unreadable(&reason))
    }
}

fn page<T: Compact>(answer: &Bytes) -> Result<Page<T>, String> {
    if !answer.starts_with(MAGIC) {
        return serde_json::from_slice(answer).map_err(|error| error.to_string());
    }
    let list: List<T::Wire> = unwrapped(answer).map_err(|error| error.to_string())?;
    let metadata = list.metadata.unwrap_or_default();
    let metadata = ListMeta {
        continue_token: Some(metadata.continue_),
        resource_version: Some(metadata.resource_version),
        remaining_item_count: None,
    };
    Ok(Page { metadata, items: Some(list.items.into_iter().map(T::from).collect()) })
}

pub(super) fn unwrapped<T: Message + Default>(answer: &Bytes) -> Result<T, DecodeError> {
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
pub(super) mod tests {
    use super::*;

    pub(in crate::kubernetes) fn wrapped(content: &impl Message) -> Bytes {
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
}
