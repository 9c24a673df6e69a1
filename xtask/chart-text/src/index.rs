//! `index.yaml` of a chart repository as exact JSON: what stands in it, and nothing of what it means.
//!
//! Reading refuses what JSON parsers usually forgive (a key that stands twice) and is quick: an index of
//! 100,000 versions is read in a second.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::json::{exact, quote};

/// Fields of a chart version that Helm 3.12 knows (`ChartVersion` and `Metadata` in its source).
const ENTRY_FIELDS: [&str; 22] = [
    "annotations",
    "apiVersion",
    "appVersion",
    "condition",
    "created",
    "dependencies",
    "deprecated",
    "description",
    "digest",
    "engine",
    "home",
    "icon",
    "keywords",
    "kubeVersion",
    "maintainers",
    "name",
    "removed",
    "sources",
    "tags",
    "type",
    "urls",
    "version",
];
/// Further entry fields that it tolerates, and the top-level fields that it knows.
const TOLERATED_FIELDS: [&str; 3] = ["checksum", "tillerVersion", "url"];
const INDEX_FIELDS: [&str; 3] = ["apiVersion", "publicKeys", "serverInfo"];
/// Entry fields that must be texts.
const TEXT_FIELDS: [&str; 10] =
    ["apiVersion", "appVersion", "condition", "description", "home", "icon", "kubeVersion", "name", "tags", "type"];

/// A piece of an index: its copies share one text.
pub type Piece = Arc<str>;

/// An index file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Every top-level field but `entries`, `generated` and `annotations`, as it was written.
    pub fields: Vec<(Piece, Piece)>,
    /// The versions of each chart, as they stand.
    pub charts: Vec<(Piece, Vec<Entry>)>,
    /// When it was last changed.
    pub generated: Option<Piece>,
    /// The file's own annotations.
    pub annotations: BTreeMap<Piece, Piece>,
}

/// One version of one chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The whole entry, as one line of JSON.
    json: Piece,
    /// Its version, exactly as it is written.
    pub version: Piece,
    /// The SHA-256 of the archive as it is written, with or without `sha256:`.
    pub digest: Option<Piece>,
    /// When it was made, RFC 3339.
    pub created: Option<Piece>,
}

/// What Helms refuse an index for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    /// Fields that Helm 3.12 does not know, and refuses; newer ones forgive them in JSON.
    pub unknown: Vec<String>,
    /// Fields of versions that every Helm wants to be texts, and are not.
    pub not_text: Vec<String>,
}

impl Entry {
    /// Reads an entry from its JSON.
    ///
    /// # Errors
    /// It is not an object, or a key stands twice.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let header = deserializer.deserialize_map(Header::default()).map_err(|error| error.to_string())?;
        let version = header.version.ok_or("an entry has no version")?;
        let json = exact(text)?;
        Ok(Entry {
            json: piece(&json),
            version: piece(&version),
            digest: header.digest.as_deref().map(piece),
            created: header.created.as_deref().map(piece),
        })
    }

    /// Makes an entry of something that serialises to an object.
    ///
    /// # Errors
    /// It does not.
    pub fn of(value: &impl Serialize) -> Result<Self, String> {
        let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
        Entry::read(&text)
    }

    /// The digest's 64 hex digits, however it is written.
    pub fn sha256(&self) -> Option<&str> {
        self.digest.as_deref().map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest))
    }

    /// The whole entry as JSON.
    pub fn json(&self) -> &str {
        &self.json
    }
}

fn piece(text: &str) -> Piece {
    text.into()
}

/// Reads an index.
///
/// # Errors
/// It is not JSON, not of an index's shape, or a key stands twice.
pub fn read(text: &str) -> Result<Listing, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let listing = deserializer.deserialize_map(IndexVisitor).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(listing)
}

/// Writes an index, one version a line.
pub fn write(index: &Listing) -> String {
    let size: usize = index.charts.iter().flat_map(|(_, entries)| entries).map(|entry| entry.json.len() + 2).sum();
    let mut out = String::with_capacity(size + 4096);
    out.push('{');
    for (name, value) in &index.fields {
        quote(name, &mut out);
        out.push(':');
        out.push_str(value);
        out.push(',');
    }
    out.push_str("\"entries\":{");
    for (number, (chart, entries)) in index.charts.iter().enumerate() {
        out.push_str(if number == 0 { "\n" } else { ",\n" });
        quote(chart, &mut out);
        out.push_str(":[");
        for (number, entry) in entries.iter().enumerate() {
            out.push_str(if number == 0 { "\n" } else { ",\n" });
            out.push_str(&entry.json);
        }
        out.push_str("\n]");
    }
    out.push_str("\n}");
    if let Some(generated) = &index.generated {
        out.push_str(",\"generated\":");
        quote(generated, &mut out);
    }
    if !index.annotations.is_empty() {
        out.push_str(",\"annotations\":{");
        for (number, (name, value)) in index.annotations.iter().enumerate() {
            out.push_str(if number == 0 { "\n" } else { ",\n" });
            quote(name, &mut out);
            out.push(':');
            quote(value, &mut out);
        }
        out.push_str("\n}");
    }
    out.push_str("}\n");
    out
}

/// What Helms refuse the file for.
pub fn complaints(index: &Listing) -> Complaints {
    let own = index.fields.iter().map(|(name, _)| name.as_ref()).filter(|name| !INDEX_FIELDS.contains(name));
    let mut unknown: BTreeSet<String> = own.map(str::to_owned).collect();
    let mut not_text = BTreeSet::new();
    for entry in index.charts.iter().flat_map(|(_, entries)| entries) {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&entry.json).unwrap_or_default();
        for (name, value) in fields {
            if !ENTRY_FIELDS.contains(&name.as_str()) && !TOLERATED_FIELDS.contains(&name.as_str()) {
                unknown.insert(format!("entries.*.{name}"));
            } else if TEXT_FIELDS.contains(&name.as_str()) && !value.is_string() && !value.is_null() {
                not_text.insert(format!("{name} of {}", entry.version));
            }
        }
    }
    Complaints { unknown: unknown.into_iter().collect(), not_text: not_text.into_iter().collect() }
}

struct IndexVisitor;

impl<'de> Visitor<'de> for IndexVisitor {
    type Value = Listing;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an index (a map with `apiVersion` and `entries`)")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listing, A::Error> {
        const CHARTS: &str = "`entries` to be a map from chart names to lists of versions";
        const TEXTS: &str = "`annotations` to be a map of texts";
        let mut index = Listing::default();
        let mut seen = Keys::default();
        let mut entries = None;
        while let Some(Text(key)) = map.next_key()? {
            let key = seen.add(key)?;
            match key.as_ref() {
                "entries" => entries = Some(map.next_value_seed(Members::of(CHARTS))?),
                "generated" => index.generated = map.next_value::<Option<Text<'de>>>()?.map(|text| piece(&text.0)),
                "annotations" => {
                    let texts: Vec<(Piece, Scalar<'de>)> = map.next_value_seed(Members::of(TEXTS))?;
                    index.annotations = texts.into_iter().map(|(name, text)| (name, piece(&text.0))).collect();
                }
                _ => {
                    let raw: &RawValue = map.next_value()?;
                    check_keys(raw.get()).map_err(A::Error::custom)?;
                    index.fields.push((piece(&key), piece(&exact(raw.get()).map_err(A::Error::custom)?)));
                }
            }
        }
        if !seen.0.iter().any(|key| key == "apiVersion") {
            return Err(A::Error::custom("there is no `apiVersion`"));
        }
        index.charts = entries.ok_or_else(|| A::Error::custom("there is no `entries`"))?;
        Ok(index)
    }
}

/// A text, borrowed where it holds no escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Anything but a text is refused here, before the visitor is asked.
        deserializer.deserialize_str(ScalarVisitor).map(Text)
    }
}

/// A text, or what Helm makes a text of where one must be.
struct Scalar<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Scalar)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(""))
    }
}

/// The keys of one map. Most have a dozen, for which a list is the fastest set; entries and annotations may have many.
#[derive(Default)]
struct Keys<'de>(Vec<Cow<'de, str>>, std::collections::HashSet<Cow<'de, str>>);

impl<'de> Keys<'de> {
    fn add<E: serde::de::Error>(&mut self, key: Cow<'de, str>) -> Result<Cow<'de, str>, E> {
        const FEW: usize = 32;
        let new = if self.0.len() < FEW {
            let new = !self.0.contains(&key);
            self.0.push(key.clone());
            new
        } else {
            if self.1.is_empty() {
                self.1.extend(self.0.iter().cloned());
            }
            self.1.insert(key.clone())
        };
        if new { Ok(key) } else { Err(E::custom(format_args!("the key `{key}` stands twice in one map"))) }
    }
}

/// The members of a map in their order. A key that stands twice is refused.
struct Members<V> {
    /// For whoever finds something else in its place.
    expected: &'static str,
    list: Vec<(Piece, V)>,
}

impl<V> Members<V> {
    fn of(expected: &'static str) -> Self {
        Members { expected, list: Vec::new() }
    }
}

impl<'de, V: Deserialize<'de>> DeserializeSeed<'de> for Members<V> {
    type Value = Vec<(Piece, V)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
    type Value = Vec<(Piece, V)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = Keys::default();
        while let Some(Text(name)) = map.next_key()? {
            self.list.push((piece(&seen.add(name)?), map.next_value()?));
        }
        Ok(self.list)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Entry::read(<&RawValue>::deserialize(deserializer)?.get()).map_err(D::Error::custom)
    }
}

/// What decisions need of an entry.
#[derive(Default)]
struct Header<'de> {
    version: Option<Cow<'de, str>>,
    digest: Option<Cow<'de, str>>,
    created: Option<Cow<'de, str>>,
}

impl<'de> Visitor<'de> for Header<'de> {
    type Value = Self;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a chart version (a map)")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            let key = seen.add(key)?;
            match key.as_ref() {
                "version" => self.version = Some(map.next_value::<Text<'de>>()?.0),
                "digest" => self.digest = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0),
                "created" => self.created = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0),
                _ => map.next_value_seed(UniqueKeys)?,
            }
        }
        Ok(self)
    }
}

fn check_keys(json: &str) -> Result<(), String> {
    UniqueKeys.deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())
}

/// Walks a value and refuses a map with a key that stands twice.
struct UniqueKeys;

impl<'de> DeserializeSeed<'de> for UniqueKeys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            seen.add(key)?;
            map.next_value_seed(UniqueKeys)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(UniqueKeys)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
