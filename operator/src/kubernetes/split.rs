//! Cuts an answer that lists objects into these, as it comes, in either encoding.
//!
//! Whoever may write objects decides how large an answer is. Never more than one object of it is held, and of one that
//! is too large nothing.

use memchr::memchr2;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::ListMeta;
use super::compact::MAGIC;
use super::wire::{self, Kind, Malformed, Wire};

/// Kubernetes keeps objects of up to 1.5 MB; JSON may write one byte of that as six.
const LARGEST_OBJECT: usize = 2 * 1024 * 1024;

/// What stands around the objects is a few hundred bytes.
const LARGEST_ENVELOPE: usize = 64 * 1024;

/// An object, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object<'answer> {
    Json(&'answer [u8]),
    Wire(&'answer [u8]),
    TooLarge,
}

/// The first bytes tell the encoding.
pub(super) enum Splitter {
    Begun(Vec<u8>),
    Json(Json),
    Wire(Compact),
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self::Begun(Vec::new())
    }

    /// Takes the next bytes in, and hands on every object that ends in them.
    pub(super) fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(Object<'_>)) -> Result<(), Malformed> {
        match self {
            Self::Begun(begun) => {
                begun.extend_from_slice(bytes);
                if begun.len() < MAGIC.len() {
                    return Ok(());
                }
                let begun = std::mem::take(begun);
                let (splitter, rest) = match begun.strip_prefix(MAGIC) {
                    Some(wire) => (Self::Wire(Compact::default()), wire),
                    None => (Self::Json(Json::default()), &begun[..]),
                };
                *self = splitter;
                self.take(rest, each)
            }
            Self::Json(json) => json.take(bytes, each),
            Self::Wire(wire) => wire.take(bytes, each),
        }
    }

    /// What the answer says of the list itself, if it is complete.
    pub(super) fn end(self) -> Result<ListMeta, String> {
        match self {
            Self::Begun(_) => Err("it is too short".to_owned()),
            Self::Json(json) => json.end(),
            Self::Wire(wire) => wire.end().map_err(|error| error.to_string()),
        }
    }
}

/// What is kept of one object.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    is_too_large: bool,
}

impl Held {
    fn add(&mut self, bytes: &[u8]) {
        self.is_too_large |= self.bytes.len() + bytes.len() > LARGEST_OBJECT;
        if self.is_too_large {
            self.bytes.clear();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn hand_on<'held>(&'held self, object: fn(&'held [u8]) -> Object<'held>, each: &mut dyn FnMut(Object<'_>)) {
        each(if self.is_too_large { Object::TooLarge } else { object(&self.bytes) });
    }
}

/// JSON: objects are what is two levels deep within `"items": [`.
#[derive(Default)]
pub(super) struct Json {
    /// The answer without its objects and without blanks.
    envelope: Vec<u8>,
    object: Held,
    depth: usize,
    is_in_items: bool,
    is_in_text: bool,
    is_escaped: bool,
}

/// How deep objects of the list stand.
const ITEM: usize = 3;

const ITEMS: &[u8] = b"\"items\":";

impl Json {
    fn take(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Object<'_>)) -> Result<(), Malformed> {
        while let Some(byte) = bytes.first() {
            let length = if self.is_in_text { self.text(bytes) } else { self.mark(*byte, each) };
            let (taken, rest) = bytes.split_at(length);
            // What ends an object was added when it was handed on.
            self.add(taken)?;
            bytes = rest;
        }
        Ok(())
    }

    /// The next bytes of a text, up to what may end it.
    fn text(&mut self, bytes: &[u8]) -> usize {
        if std::mem::take(&mut self.is_escaped) {
            return 1;
        }
        match memchr2(b'"', b'\\', bytes) {
            None => bytes.len(),
            Some(end) => {
                self.is_in_text = bytes[end] != b'"';
                self.is_escaped = bytes[end] == b'\\';
                end + 1
            }
        }
    }

    /// A byte outside of any text.
    fn mark(&mut self, byte: u8, each: &mut dyn FnMut(Object<'_>)) -> usize {
        match byte {
            b'"' => self.is_in_text = true,
            b'{' | b'[' => {
                self.is_in_items |= self.depth == 1 && byte == b'[' && self.envelope.ends_with(ITEMS);
                self.depth += 1;
            }
            b'}' | b']' => {
                if self.is_item() && self.depth == ITEM {
                    self.object.add(&[byte]);
                    self.object.hand_on(Object::Json, each);
                    self.object = Held::default();
                }
                self.depth = self.depth.saturating_sub(1);
                self.is_in_items &= self.depth > 1;
            }
            _ => {}
        }
        1
    }

    fn is_item(&self) -> bool {
        self.is_in_items && self.depth >= ITEM
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let is_blank = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_whitespace);
        if self.is_item() {
            self.object.add(bytes);
        } else if self.is_in_items && self.depth == ITEM - 1 {
            // Between objects, and what ended the last one.
            if bytes == b"[" {
                self.envelope.push(b'[');
            }
        } else if self.is_in_text || !is_blank(bytes) {
            self.envelope.extend_from_slice(bytes);
        }
        if self.envelope.len() > LARGEST_ENVELOPE { Err(Malformed) } else { Ok(()) }
    }

    fn end(self) -> Result<ListMeta, String> {
        let list: List = serde_json::from_slice(&self.envelope).map_err(|error| error.to_string())?;
        Ok(list.metadata)
    }
}

/// What is left of a list without its objects. The API server may say `null` where there are none.
#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    #[serde(rename = "items")]
    _items: Option<Vec<IgnoredAny>>,
}

/// Protocol buffers: an envelope whose second field is the list, whose second fields are the objects.
#[derive(Default)]
pub(super) struct Compact {
    /// Of a field that has just begun.
    header: Vec<u8>,
    content: Content,
    left: u64,
    held: Held,
    /// How much of the list is still to come; none before it begins.
    list: Option<u64>,
    metadata: ListMeta,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Content {
    Metadata,
    Object,
    #[default]
    Skipped,
}

impl Compact {
    fn take(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Object<'_>)) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            let length = if self.left == 0 { 1 } else { self.left.min(bytes.len() as u64) as usize };
            let (taken, rest) = bytes.split_at(length);
            bytes = rest;
            let is_in_list = self.list.is_some_and(|left| left > 0);
            if is_in_list {
                self.list = self.list.map(|left| left.saturating_sub(length as u64));
            }
            if self.left == 0 {
                self.header.push(taken[0]);
                self.begin(is_in_list, each)?;
            } else {
                self.left -= length as u64;
                if self.content != Content::Skipped {
                    self.held.add(taken);
                }
                self.finish(each)?;
            }
        }
        Ok(())
    }

    /// Looks whether a field's number and length are complete.
    fn begin(&mut self, is_in_list: bool, each: &mut dyn FnMut(Object<'_>)) -> Result<(), Malformed> {
        let Some((number, kind, length)) = wire::header(&self.header)? else { return Ok(()) };
        self.header.clear();
        if !is_in_list && number == 2 && kind == Kind::Bytes {
            self.list = Some(length);
            return Ok(());
        }
        self.content = match (is_in_list, number, kind) {
            (true, 1, Kind::Bytes) => Content::Metadata,
            (true, 2, Kind::Bytes) => Content::Object,
            _ => Content::Skipped,
        };
        self.left = length;
        self.finish(each)
    }

    fn finish(&mut self, each: &mut dyn FnMut(Object<'_>)) -> Result<(), Malformed> {
        if self.left > 0 {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        match std::mem::take(&mut self.content) {
            Content::Object => held.hand_on(Object::Wire, each),
            Content::Metadata => self.metadata = ListMeta::read(&held.bytes)?,
            Content::Skipped => {}
        }
        Ok(())
    }

    fn end(self) -> Result<ListMeta, Malformed> {
        let is_complete = self.list == Some(0) && self.left == 0 && self.header.is_empty();
        if is_complete { Ok(self.metadata) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compact::tests::wrapped;
    use super::super::wire::tests::field;
    use super::*;

    /// The objects and the place of the next page, as they come out of an answer that comes in such pieces.
    fn split<'answer>(pieces: impl IntoIterator<Item = &'answer [u8]>) -> Result<(Vec<String>, ListMeta), String> {
        let mut splitter = Splitter::new();
        let mut objects = Vec::new();
        let mut each = |object: Object<'_>| {
            objects.push(match object {
                Object::Json(bytes) | Object::Wire(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Object::TooLarge => "too large".to_owned(),
            });
        };
        for piece in pieces {
            splitter.take(piece, &mut each).map_err(|error| error.to_string())?;
        }
        splitter.end().map(|metadata| (objects, metadata))
    }

    const JSON: &str = r#"{"kind": "List", "items" : [ {"a": "]}\\\"{["}, {"b": [{}, [1]]} ], "metadata":
        {"continue": "mo re", "items": [[{}]], "resourceVersion": "7"}, "more": "items", "x": [{"y": 1}]}"#;

    fn wire() -> Vec<u8> {
        let metadata = [field(2, "7"), field(3, "mo re")].concat();
        wrapped(&[field(1, metadata), field(2, "one"), field(9, "x"), field(2, ""), field(2, "three")].concat())
            .to_vec()
    }

    proptest! {
        #[test]
        fn however_an_answer_is_cut_its_objects_are_the_same(length in 1..40_usize) {
            let (objects, metadata) = split(JSON.as_bytes().chunks(length)).unwrap();
            prop_assert_eq!(objects, [r#"{"a": "]}\\\"{["}"#, r#"{"b": [{}, [1]]}"#]);
            prop_assert_eq!(metadata.continue_token.as_deref(), Some("mo re"));
            prop_assert_eq!(metadata.resource_version.as_deref(), Some("7"));
            let (objects, metadata) = split(wire().chunks(length)).unwrap();
            prop_assert_eq!(objects, ["one", "", "three"]);
            prop_assert_eq!(metadata.continue_token.as_deref(), Some("mo re"));
            prop_assert_eq!(metadata.resource_version.as_deref(), Some("7"));
        }

        #[test]
        fn no_answer_is_too_odd(answer: Vec<u8>, is_compact: bool) {
            let answer = if is_compact { [MAGIC, &answer].concat() } else { answer };
            let _ = split(answer.chunks(3));
        }
    }

    #[test]
    fn an_object_that_is_too_large_costs_nobody_the_others() {
        let long = "x".repeat(LARGEST_OBJECT + 1);
        let json = format!(r#"{{"items":[{{"a":"{long}"}},{{"b":1}}],"metadata":{{}}}}"#);
        assert_eq!(split([json.as_bytes()]).unwrap().0, ["too large", r#"{"b":1}"#]);
        let object = |bytes: &[u8]| [&[2 << 3 | 2][..], &wire::tests::varint(bytes.len()), bytes].concat();
        let list = [object(long.as_bytes()), object(b"b")].concat();
        let answer = [MAGIC, &object(&list)].concat();
        assert_eq!(split(answer.chunks(100_000)).unwrap().0, ["too large", "b"]);
    }

    #[test]
    fn an_answer_that_lacks_its_content_is_not_an_empty_page() {
        assert_eq!(split([&wrapped(b"")[..]]).unwrap().0, Vec::<String>::new());
        assert_eq!(split([&br#"{"metadata": {}, "items": null}"#[..]]).unwrap().0, Vec::<String>::new());
        let cut = &wire()[..wire().len() - 3];
        for answer in
            [MAGIC, b"k8s\0 and nonsense", &[MAGIC, &field(1, "")].concat(), b"", b"{}", cut, &JSON.as_bytes()[..90]]
        {
            assert!(split([answer]).is_err(), "{answer:?}");
        }
        assert!(split([format!("{{\"metadata\": \"{}\"", "x".repeat(LARGEST_ENVELOPE)).as_bytes()]).is_err());
    }
}
