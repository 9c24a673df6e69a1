//! Charts that were published elsewhere come into the bucket: every archive, checked by its digest, and then the index.
//!
//! Entries stay as they are, with every field that nobody here knows. Only a `urls` that leads to the place that is left is changed, to
//! lead to the new one; what an entry keeps at a third place stays there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use xtask::chart::index::{self, Entry, FILE, Index};
use xtask::chart::repository;
use xtask::chart::store::{Store, Write};
use xtask::error::{Context, Error, Exit, Result};
use xtask::oci::sha256_hex;
use xtask::sys::http::Anonymous;
use xtask::ui;

use crate::tls::anonymous;

/// How long one file may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Archives and an index, on their way.
#[derive(Debug)]
pub struct Adoption {
    from: String,
    /// What the entries become, with their charts.
    entries: Vec<(String, Entry)>,
    archives: Vec<Archive>,
    /// The index as it was, where all its entries stay as they are.
    unchanged: Option<Vec<u8>>,
}

/// One file to copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Archive {
    url: String,
    key: String,
    sha256: String,
}

/// Where one archive of an entry is, and where it comes to.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// It is copied, and is still found by what the entry says.
    Same { url: String, key: String },
    /// It is copied, and the entry has to say so.
    Moved { url: String, key: String },
    /// It is kept at a third place.
    Elsewhere,
}

impl Adoption {
    /// Reads the index at `from`, and decides; `repository` is where charts will be served.
    ///
    /// # Errors
    /// There is no index, or it is malformed; an entry has no digest, or a name that no object should have.
    pub fn plan(from: &str, repository: &str) -> Result<Self> {
        let from = from.trim_end_matches('/').trim_end_matches(&format!("/{FILE}")).to_owned();
        let bytes = fetch(&anonymous(LIMIT), &format!("{from}/{FILE}"))?;
        let mut adoption = Adoption { from, entries: Vec::new(), archives: Vec::new(), unchanged: None };
        let mut moved = false;
        for (chart, entries) in Index::from_bytes(&bytes)?.charts() {
            for entry in entries {
                let (entry, changed) = adoption.take(chart, entry, repository)?;
                adoption.entries.push((chart.to_owned(), entry));
                moved |= changed;
            }
        }
        adoption.archives.sort();
        adoption.archives.dedup();
        adoption.unchanged = (!moved).then_some(bytes);
        Ok(adoption)
    }

    /// How many versions it is.
    pub fn versions(&self) -> usize {
        self.entries.len()
    }

    /// Copies what is not there yet. The index comes last. True where anything was changed.
    ///
    /// # Errors
    /// An archive cannot be had, has another digest, or is there with other content.
    pub fn carry_out(&self, store: &dyn Store) -> Result<bool> {
        let anonymous = anonymous(LIMIT);
        let mut changed = false;
        for (number, archive) in self.archives.iter().enumerate() {
            changed |= copy(&anonymous, store, archive)?;
            if (number + 1) % 50 == 0 {
                ui::status("Copied", format_args!("{} of {} archives", number + 1, self.archives.len()));
            }
        }
        Ok(changed | self.list(store)?)
    }

    fn list(&self, store: &dyn Store) -> Result<bool> {
        if store.get(FILE)?.is_none() {
            if let Some(bytes) = &self.unchanged
                && store.put_new(FILE, bytes)?.is_done()
            {
                return Ok(true);
            }
            repository::put_first(store)?;
        }
        repository::update(store, &|index| {
            let mut changed = false;
            for (chart, entry) in &self.entries {
                changed |= index.add(chart, entry.clone())? == index::Added::New;
            }
            Ok(changed)
        })
    }

    /// Notes an entry's archives. True where the entry has to change.
    fn take(&mut self, chart: &str, entry: &Entry, repository: &str) -> Result<(Entry, bool)> {
        let name = format!("{chart} {}", entry.version);
        let malformed =
            |why: String| Error::new(Exit::Repository, format!("{}: {name} cannot be adopted", self.from)).because(why);
        let fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(entry.json()).map_err(|error| malformed(error.to_string()))?;
        let urls = fields.get("urls").map_or("[]", |urls| urls.get());
        let mut urls: Vec<String> = serde_json::from_str(urls).map_err(|error| malformed(error.to_string()))?;
        let (mut moved, mut archives) = (false, Vec::new());
        for said in &mut urls {
            let (url, key) = match way(said, &self.from, repository).map_err(malformed)? {
                Way::Elsewhere => continue,
                Way::Same { url, key } => (url, key),
                Way::Moved { url, key } => {
                    *said = format!("{repository}/{key}");
                    moved = true;
                    (url, key)
                }
            };
            let sha256 =
                entry.sha256().ok_or_else(|| malformed("it has no digest to check its archive by".into()))?.to_owned();
            archives.push(Archive { url, key, sha256 });
        }
        self.archives.extend(archives);
        let entry = if moved { with_urls(fields, &urls).map_err(malformed)? } else { entry.clone() };
        Ok((entry, moved))
    }
}

fn with_urls(mut fields: BTreeMap<String, Box<RawValue>>, urls: &[String]) -> Result<Entry, String> {
    let urls = serde_json::value::to_raw_value(urls).map_err(|error| error.to_string())?;
    fields.insert("urls".into(), urls);
    Entry::of(&fields)
}

fn way(said: &str, from: &str, repository: &str) -> Result<Way, String> {
    let below = |base: &str| said.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    if !said.contains("://") {
        return Ok(Way::Same { url: format!("{from}/{said}"), key: key(said)? });
    }
    if let Some(path) = below(repository) {
        // The public name, which may lead to `from` by now.
        return Ok(Way::Same { url: format!("{from}/{path}"), key: key(path)? });
    }
    match below(from) {
        Some(path) => Ok(Way::Moved { url: said.to_owned(), key: key(path)? }),
        None => Ok(Way::Elsewhere),
    }
}

/// The name of the object that a URL's path stands for.
fn key(path: &str) -> Result<String, String> {
    let key = path.replace("%2B", "+").replace("%2b", "+");
    let strange =
        key.split('/').any(|part| part.is_empty() || part.starts_with('.')) || key.contains(['%', '?', '#', '\\']);
    if strange || !key.ends_with(".tgz") {
        return Err(format!("`{path}` is no plain name of an archive"));
    }
    Ok(key)
}

/// True where it was not there.
fn copy(anonymous: &Anonymous, store: &dyn Store, archive: &Archive) -> Result<bool> {
    let Archive { url, key, sha256 } = archive;
    let differs = |what: String, found: &[u8]| {
        Error::new(Exit::Conflict, what)
            .because(format!("listed: sha256 {sha256}\nfound:  sha256 {}", sha256_hex(found)))
    };
    let check_kept = || match store.get(key)? {
        Some(object) if sha256_hex(&object.bytes) == *sha256 => Ok(true),
        Some(object) => Err(differs(format!("the bucket has another {key}"), &object.bytes)),
        None => Ok(false),
    };
    if check_kept()? {
        return Ok(false);
    }
    let bytes = fetch(anonymous, url)?;
    if sha256_hex(&bytes) != *sha256 {
        return Err(differs(format!("{url} is not what its index says"), &bytes)
            .remedy("correct the index there, or take the version out of it; nothing was listed here yet"));
    }
    match store.put_new(key, &bytes)? {
        Write::Done(_) => Ok(true),
        Write::Refused => check_kept().map(|_| false),
    }
}

fn fetch(anonymous: &Anonymous, url: &str) -> Result<Vec<u8>> {
    let what = || format!("cannot adopt {url}");
    let answer =
        anonymous.get(url, &[]).map_err(|error| error.why.unwrap_or(error.what)).context(Exit::Repository, what)?;
    match answer.status {
        200 => Ok(answer.body),
        status => Err(Error::new(Exit::Repository, what()).because(format!("it answers {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "https://old.example.com/charts";
    const PUBLIC: &str = "https://charts.example.com";

    fn same(url: &str, key: &str) -> Way {
        Way::Same { url: url.into(), key: key.into() }
    }

    #[test]
    fn an_archive_is_looked_for_where_its_entry_says_and_kept_under_its_name() {
        let way = |said: &str| way(said, OLD, PUBLIC).unwrap();
        assert_eq!(way("demo-1.0.0.tgz"), same("https://old.example.com/charts/demo-1.0.0.tgz", "demo-1.0.0.tgz"));
        assert_eq!(
            way("more/demo-1.0.0.tgz"),
            same("https://old.example.com/charts/more/demo-1.0.0.tgz", "more/demo-1.0.0.tgz")
        );
        assert_eq!(
            way("demo-1.0.0%2B5.tgz"),
            same("https://old.example.com/charts/demo-1.0.0%2B5.tgz", "demo-1.0.0+5.tgz")
        );
        assert_eq!(
            way(&format!("{PUBLIC}/demo-1.0.0.tgz")),
            same("https://old.example.com/charts/demo-1.0.0.tgz", "demo-1.0.0.tgz")
        );
        let url = format!("{OLD}/demo-1.0.0.tgz");
        assert_eq!(way(&url), Way::Moved { url: url.clone(), key: "demo-1.0.0.tgz".into() });
        assert_eq!(way("https://elsewhere.example.com/demo-1.0.0.tgz"), Way::Elsewhere);
    }

    #[test]
    fn a_name_that_could_overwrite_something_else_is_refused() {
        for name in ["../index.tgz", "/demo.tgz", "index.yaml", "a//b.tgz", ".hidden.tgz", "a%2Fb.tgz", "a.tgz?x.tgz"] {
            assert!(way(name, OLD, PUBLIC).is_err(), "{name}");
        }
    }

    #[test]
    fn only_the_urls_of_an_entry_that_moves_are_changed() {
        let json = r#"{"version":"1.0.0","digest":"ab","urls":["https://old.example.com/charts/a-1.0.0.tgz"],"x":[1.50,{"y":null}]}"#;
        let mut adoption = Adoption { from: OLD.into(), entries: Vec::new(), archives: Vec::new(), unchanged: None };
        let (entry, moved) = adoption.take("a", &Entry::read(json).unwrap(), PUBLIC).unwrap();
        assert!(moved && entry.json().contains(r#""x":[1.50,{"y":null}]"#), "{}", entry.json());
        assert!(entry.json().contains(r#""urls":["https://charts.example.com/a-1.0.0.tgz"]"#), "{}", entry.json());
        assert_eq!(adoption.archives.len(), 1);
    }

    #[test]
    fn an_archive_without_a_digest_is_not_adopted() {
        let mut adoption = Adoption { from: OLD.into(), entries: Vec::new(), archives: Vec::new(), unchanged: None };
        let entry = Entry::read(r#"{"version":"1.0.0","urls":["a-1.0.0.tgz"]}"#).unwrap();
        assert!(adoption.take("a", &entry, PUBLIC).unwrap_err().why.unwrap().contains("no digest"));
    }
}
