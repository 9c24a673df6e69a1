//! Charts that were published elsewhere come into the bucket: every archive, checked by its digest, and then the index.
//!
//! Entries stay as they are, with every field that nobody here knows. Only a URL that leads to the old place is changed, to lead to the
//! new one; what an entry keeps at a third place stays there, once its digest was checked. Everything is fetched over TLS, and every
//! archive must have a digest, since what is adopted is listed as ours. Records of versions come along with their archives: a short entry
//! without one has lost what it leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::value::RawValue;

use xtask::chart::archive::RELEASED;
use xtask::chart::index::{self, Entry, FILE, Index};
use xtask::chart::record::{self, Record};
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
#[derive(Debug, Default)]
pub struct Adoption {
    from: String,
    /// What the entries become, with their charts.
    entries: Vec<(String, Entry)>,
    copies: BTreeSet<Copy>,
    records: Vec<CopyOfRecord>,
    /// Archives that stay where they are, and their digests.
    elsewhere: BTreeSet<(String, String)>,
    /// The index as it was, where all its entries stay as they are.
    unchanged: Option<Vec<u8>>,
}

/// One archive to copy, and the name of the object that it becomes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    url: String,
    key: String,
    sha256: String,
}

/// The record of a version that a release listed there.
#[derive(Debug)]
struct CopyOfRecord {
    from: String,
    chart: String,
    /// The entry as it will be here.
    entry: Entry,
    urls: Vec<String>,
}

impl Adoption {
    /// Reads the index at `from`, and decides; `repository` is where charts will be served.
    ///
    /// # Errors
    /// It is not asked for over TLS; there is no index, or it is malformed; an entry has no digest, or a name that no object should have.
    pub fn plan(from: &str, repository: &str) -> Result<Self> {
        let from = from.trim_end_matches('/').trim_end_matches(&format!("/{FILE}")).to_owned();
        if !is_secure(&from) {
            return Err(Error::new(Exit::Usage, format!("nothing is adopted from {from}"))
                .because(
                    "whoever is on the way could put charts of their own into it, and they would be listed as ours",
                )
                .remedy("say --adopt-from https://…; plain HTTP is for servers of this machine"));
        }
        let bytes = fetch(&anonymous(LIMIT), &format!("{from}/{FILE}"))?;
        let mut adoption = Adoption { from, ..Self::default() };
        let mut moved = false;
        for (chart, entries) in Index::from_bytes(&bytes)?.charts() {
            for entry in entries {
                let (entry, changed) = adoption.take(chart, entry, repository)?;
                adoption.entries.push((chart.to_owned(), entry));
                moved |= changed;
            }
        }
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
        for (url, sha256) in &self.elsewhere {
            fetch_checked(&anonymous, url, sha256)?;
        }
        let mut changed = false;
        for (number, copy) in self.copies.iter().enumerate() {
            changed |= copy.make(&anonymous, store)?;
            if (number + 1) % 50 == 0 {
                ui::status("Copied", format_args!("{} of {} archives", number + 1, self.copies.len()));
            }
        }
        for record in &self.records {
            changed |= record.make(&anonymous, store)?;
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
        let mut moved = false;
        for said in &mut urls {
            let sha256 =
                entry.sha256().ok_or_else(|| malformed("it has no digest to check its archive by".into()))?.to_owned();
            let Some(path) = path(said, &self.from, repository) else {
                if !is_secure(said) {
                    return Err(malformed(format!("{said} is not fetched over TLS")));
                }
                self.elsewhere.insert((said.clone(), sha256));
                continue;
            };
            let (url, key) = (format!("{}/{path}", self.from), key(path).map_err(malformed)?);
            if said.contains("://") && below(said, repository).is_none() {
                *said = format!("{repository}/{key}");
                moved = true;
            }
            self.copies.insert(Copy { url, key, sha256 });
        }
        let annotations = fields.get("annotations").map(|all| all.get()).unwrap_or_default();
        let is_released = RELEASED.iter().any(|name| annotations.contains(name));
        let entry = if moved { with_urls(fields, &urls).map_err(malformed)? } else { entry.clone() };
        if is_released {
            let (from, chart) = (self.from.clone(), chart.to_owned());
            self.records.push(CopyOfRecord { from, chart, entry: entry.clone(), urls });
        }
        Ok((entry, moved))
    }
}

/// Whether nobody on the way could change what is fetched from there.
fn is_secure(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    let is_here = |authority: &str| {
        let name = authority
            .rsplit_once(':')
            .map_or(authority, |(name, port)| if port.ends_with(']') { authority } else { name });
        ["localhost", "127.0.0.1", "[::1]"].contains(&name)
    };
    url.starts_with("https://") || url.strip_prefix("http://").is_some_and(|rest| is_here(&host(rest)))
}

fn with_urls(mut fields: BTreeMap<String, Box<RawValue>>, urls: &[String]) -> Result<Entry, String> {
    let urls = serde_json::value::to_raw_value(urls).map_err(|error| error.to_string())?;
    fields.insert("urls".into(), urls);
    Entry::of(&fields)
}

/// Where below `from` an archive is; nothing where it is kept at a third place.
fn path<'a>(said: &'a str, from: &str, repository: &str) -> Option<&'a str> {
    if said.contains("://") {
        // The public name leads to `from` for now.
        below(said, repository).or_else(|| below(said, from))
    } else {
        Some(said)
    }
}

fn below<'a>(url: &'a str, base: &str) -> Option<&'a str> {
    url.strip_prefix(base)?.strip_prefix('/')
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

impl Copy {
    /// True where it was not there.
    fn make(&self, anonymous: &Anonymous, store: &dyn Store) -> Result<bool> {
        let Copy { url, key, sha256 } = self;
        let check_kept = || match store.get(key)? {
            Some(object) if sha256_hex(&object.bytes) == *sha256 => Ok(true),
            Some(object) => Err(differs(format!("the bucket has another {key}"), sha256, &object.bytes)),
            None => Ok(false),
        };
        if check_kept()? {
            return Ok(false);
        }
        let bytes = fetch_checked(anonymous, url, sha256)?;
        match store.put_new(key, &bytes)? {
            Write::Done(_) => Ok(true),
            Write::Refused => check_kept().map(|_| false),
        }
    }
}

impl CopyOfRecord {
    /// True where it was not there.
    fn make(&self, anonymous: &Anonymous, store: &dyn Store) -> Result<bool> {
        let CopyOfRecord { from, chart, entry, urls } = self;
        let url = format!("{from}/{}", record::name(chart, &entry.version));
        if record::read(store, chart, &entry.version)?.is_some() {
            return Ok(false);
        }
        let Some(bytes) = fetch_if_there(anonymous, &url)? else {
            // What was listed before there were records says all there is.
            let lost = || {
                Error::new(Exit::Repository, format!("cannot adopt {chart} {}: {url} is not there", entry.version))
                    .because("its entry is short, and that has what it leaves out")
                    .remedy("put it back at the old place: cargo xtask doctor --repair there does, where the chart has an image")
            };
            return if index::is_short(entry) { Err(lost()) } else { Ok(false) };
        };
        let mut record = Record::parse(&url, &bytes)?;
        if record.entry()?.sha256() != entry.sha256() {
            return Err(Error::new(Exit::Conflict, format!("{url} is not of the archive that its index lists")));
        }
        record.entry["urls"] = urls.clone().into();
        record::put(store, chart, &entry.version, &record, true)
    }
}

fn differs(what: String, listed: &str, found: &[u8]) -> Error {
    Error::new(Exit::Conflict, what).because(format!("listed: sha256 {listed}\nfound:  sha256 {}", sha256_hex(found)))
}

/// An archive that is what its entry says.
fn fetch_checked(anonymous: &Anonymous, url: &str, sha256: &str) -> Result<Vec<u8>> {
    let bytes = fetch(anonymous, url)?;
    if sha256_hex(&bytes) == sha256 {
        return Ok(bytes);
    }
    Err(differs(format!("{url} is not what its index says"), sha256, &bytes)
        .remedy("correct the index there, or take the version out of it; nothing was listed here yet"))
}

fn fetch(anonymous: &Anonymous, url: &str) -> Result<Vec<u8>> {
    let missing = || Error::new(Exit::Repository, format!("cannot adopt {url}")).because("it answers 404");
    fetch_if_there(anonymous, url)?.ok_or_else(missing)
}

fn fetch_if_there(anonymous: &Anonymous, url: &str) -> Result<Option<Vec<u8>>> {
    let what = || format!("cannot adopt {url}");
    let answer =
        anonymous.get(url, &[]).map_err(|error| error.why.unwrap_or(error.what)).context(Exit::Repository, what)?;
    match answer.status {
        200 => Ok(Some(answer.body)),
        404 => Ok(None),
        status => Err(Error::new(Exit::Repository, what()).because(format!("it answers {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "https://old.example.com/charts";
    const PUBLIC: &str = "https://charts.example.com";

    #[test]
    fn an_archive_is_looked_for_where_its_entry_says_and_kept_under_its_name() {
        for (said, path, object) in [
            ("demo-1.0.0.tgz", "demo-1.0.0.tgz", "demo-1.0.0.tgz"),
            ("more/demo-1.0.0.tgz", "more/demo-1.0.0.tgz", "more/demo-1.0.0.tgz"),
            ("demo-1.0.0%2B5.tgz", "demo-1.0.0%2B5.tgz", "demo-1.0.0+5.tgz"),
            ("https://charts.example.com/demo-1.0.0.tgz", "demo-1.0.0.tgz", "demo-1.0.0.tgz"),
            ("https://old.example.com/charts/demo-1.0.0.tgz", "demo-1.0.0.tgz", "demo-1.0.0.tgz"),
        ] {
            let found = super::path(said, OLD, PUBLIC).unwrap();
            assert_eq!((found, key(found).unwrap().as_str()), (path, object), "{said}");
        }
        assert_eq!(path("https://elsewhere.example.com/demo-1.0.0.tgz", OLD, PUBLIC), None);
    }

    #[test]
    fn a_name_that_could_overwrite_something_else_is_refused() {
        for name in ["../index.tgz", "/demo.tgz", "index.yaml", "a//b.tgz", ".hidden.tgz", "a%2Fb.tgz", "a.tgz?x.tgz"] {
            assert!(key(path(name, OLD, PUBLIC).unwrap()).is_err(), "{name}");
        }
    }

    #[test]
    fn only_the_urls_of_an_entry_that_moves_are_changed() {
        let json = r#"{"version":"1.0.0","digest":"ab","urls":["https://old.example.com/charts/a-1.0.0.tgz"],"x":[1.50,{"y":null}]}"#;
        let mut adoption = Adoption { from: OLD.into(), ..Adoption::default() };
        let (entry, moved) = adoption.take("a", &Entry::read(json).unwrap(), PUBLIC).unwrap();
        assert!(moved && entry.json().contains(r#""x":[1.50,{"y":null}]"#), "{}", entry.json());
        assert!(entry.json().contains(r#""urls":["https://charts.example.com/a-1.0.0.tgz"]"#), "{}", entry.json());
        let copied = |url: &str, key: &str| Copy { url: url.into(), key: key.into(), sha256: "ab".into() };
        assert_eq!(adoption.copies, [copied("https://old.example.com/charts/a-1.0.0.tgz", "a-1.0.0.tgz")].into());
    }

    #[test]
    fn an_entry_stays_as_it_is_where_the_old_place_is_the_public_one() {
        for said in ["a-1.0.0%2B5.tgz", "https://charts.example.com/a-1.0.0%2B5.tgz"] {
            let json = format!(r#"{{"version":"1.0.0+5","digest":"ab","urls":["{said}"]}}"#);
            let mut adoption = Adoption { from: PUBLIC.into(), ..Adoption::default() };
            let (entry, moved) = adoption.take("a", &Entry::read(&json).unwrap(), PUBLIC).unwrap();
            assert_eq!((entry.json(), moved), (json.as_str(), false));
        }
    }

    #[test]
    fn an_archive_without_a_digest_is_not_adopted() {
        let mut adoption = Adoption { from: OLD.into(), ..Adoption::default() };
        let entry = Entry::read(r#"{"version":"1.0.0","urls":["a-1.0.0.tgz"]}"#).unwrap();
        assert!(adoption.take("a", &entry, PUBLIC).unwrap_err().why.unwrap().contains("no digest"));
        let elsewhere = Entry::read(r#"{"version":"1.0.0","urls":["https://third.example.com/a-1.0.0.tgz"]}"#).unwrap();
        assert!(adoption.take("a", &elsewhere, PUBLIC).unwrap_err().why.unwrap().contains("no digest"));
    }

    #[test]
    fn what_stays_at_a_third_place_is_looked_at_and_comes_over_tls() {
        let mut adoption = Adoption { from: OLD.into(), ..Adoption::default() };
        let entry =
            |url: &str| Entry::read(&format!(r#"{{"version":"1.0.0","digest":"ab","urls":["{url}"]}}"#)).unwrap();
        adoption.take("a", &entry("https://third.example.com/a-1.0.0.tgz"), PUBLIC).unwrap();
        assert_eq!(adoption.elsewhere, [("https://third.example.com/a-1.0.0.tgz".into(), "ab".into())].into());
        let plain = adoption.take("a", &entry("http://third.example.com/a-1.0.0.tgz"), PUBLIC).unwrap_err();
        assert!(plain.why.unwrap().contains("is not fetched over TLS"));
    }

    #[test]
    fn nothing_is_adopted_without_tls_but_from_this_machine() {
        for (url, secure) in [
            ("https://charts.example.com", true),
            ("http://charts.example.com", false),
            ("http://localhost:8879/charts", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://[::1]", true),
            ("http://localhost.example.com", false),
            ("http://localhost@example.com", false),
            ("ftp://charts.example.com", false),
            ("charts.example.com", false),
        ] {
            assert_eq!(is_secure(url), secure, "{url}");
        }
        let refused = Adoption::plan("http://charts.example.com/", PUBLIC).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
    }
}
