//! Lists of what there are many of, in protocol buffers, which is how the API server keeps them.
//!
//! It takes half the time and half the bytes that the same list takes in JSON, nearly all of it the API server's time.

use serde::de::DeserializeOwned;

use super::client::unreadable;
use super::wire::{Field, Malformed, Wire};
use super::{Client, ListMeta, ListOptions, Metadata, Page, REQUEST_TIMEOUT, Request};
use crate::failure::Failure;

/// What stands before the API server may know nothing but JSON.
const ENCODINGS: &str = "application/vnd.kubernetes.protobuf,application/json;q=0.5";

/// What an answer in protocol buffers begins with.
const MAGIC: &[u8] = b"k8s\0";

impl Client {
    /// Asks for one page of what is under a path such as `/api/v1/events`.
    pub(crate) async fn list_compactly<T: Wire + DeserializeOwned>(
        &self,
        path: &str,
        options: &ListOptions,
    ) -> Result<Page<T>, Failure> {
        let request = Request { accept: ENCODINGS, ..Request::list(path, options) };
        let answer = self.answer(request, REQUEST_TIMEOUT).await?;
        read(&answer).map_err(|reason| unreadable(&reason))
    }
}

/// Reads an answer in either encoding.
pub(super) fn read<T: Wire + DeserializeOwned>(answer: &[u8]) -> Result<T, String> {
    match answer.strip_prefix(MAGIC) {
        Some(wire) => unwrapped(wire).map_err(|error| error.to_string()),
        None => serde_json::from_slice(answer).map_err(|error| error.to_string()),
    }
}

fn unwrapped<T: Wire>(wire: &[u8]) -> Result<T, Malformed> {
    Envelope::read(wire)?.0.ok_or(Malformed)
}

/// What every answer comes in.
struct Envelope<T>(Option<T>);

impl<T> Default for Envelope<T> {
    fn default() -> Self {
        Self(None)
    }
}

// The numbers are those of the API, and never change.

impl<T: Wire> Wire for Envelope<T> {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        if number == 2 {
            self.0 = Some(field.message()?);
        }
        Ok(())
    }
}

impl<T: Wire> Wire for Page<T> {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.metadata = field.message()?,
            2 => self.items.get_or_insert_default().push(field.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Wire for ListMeta {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            2 => self.resource_version = Some(field.text()?),
            3 => self.continue_token = field.some_text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Wire for Metadata {
    fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
        match number {
            1 => self.name = field.text()?,
            3 => self.namespace = field.some_text()?,
            5 => self.uid = field.text()?,
            6 => self.resource_version = field.text()?,
            8 => self.creation_timestamp = field.time()?,
            9 => self.deletion_timestamp = field.time()?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use hyper::body::Bytes;

    use super::super::wire::tests::field;
    use super::*;

    /// A message as the API server sends it.
    pub(in crate::kubernetes) fn wrapped(message: &[u8]) -> Bytes {
        [MAGIC, &field(1, field(2, "Kind")), &field(2, message)].concat().into()
    }

    #[derive(Default, serde::Deserialize)]
    struct Thing {
        metadata: Metadata,
    }

    impl Wire for Thing {
        fn set(&mut self, number: u64, field: Field<'_>) -> Result<(), Malformed> {
            if number == 1 {
                self.metadata = field.message()?;
            }
            Ok(())
        }
    }

    #[test]
    fn a_page_is_read_from_either_encoding() {
        let metadata = [field(2, "7"), field(3, "more")].concat();
        let things = ["a", "b"].map(|uid| field(2, field(1, field(5, uid)))).concat();
        let wire = wrapped(&[field(1, metadata), things].concat());
        let json = r#"{
            "metadata": {"resourceVersion": "7", "continue": "more"},
            "items": [{"metadata": {"uid": "a"}}, {"metadata": {"uid": "b"}}]
        }"#;
        for answer in [wire, json.into()] {
            let mut page = read::<Page<Thing>>(&answer).unwrap();
            let uids: Vec<String> = page.items().into_iter().map(|thing| thing.metadata.uid).collect();
            assert_eq!(uids, ["a", "b"]);
            assert_eq!(page.metadata.resource_version.as_deref(), Some("7"));
            assert_eq!(page.next().as_deref(), Some("more"));
        }
    }

    #[test]
    fn an_answer_that_lacks_its_content_is_not_an_empty_page() {
        assert!(read::<Page<Thing>>(&wrapped(b"")).unwrap().items().is_empty());
        for answer in [MAGIC, b"k8s\0 and nonsense", &[MAGIC, &field(1, "")].concat(), b"", b"{}"] {
            assert!(read::<Page<Thing>>(answer).is_err(), "{answer:?}");
        }
    }
}
