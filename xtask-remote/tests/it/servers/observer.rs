//! A user who looks all the time, and believes only what was fetched without credentials through one location of the edge.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use xtask::chart::archive::{self, RELEASED_IMAGE};
use xtask::chart::index::Index;
use xtask::chart::record::Record;
use xtask::oci::{Digest, sha256_hex};
use xtask::release::version;

use super::client::{Ask, Reply};
use super::edge::{Edge, Visitor};
use super::proxy::Changes;
use super::registry::Registry;

/// The header by which proxies know an observer: nothing is done to its requests, and they are not recorded.
pub const OBSERVER: &str = "x-observer";

/// What is watched.
pub struct Publication<'p> {
    pub edge: &'p Edge,
    pub location: usize,
    pub registry: &'p Registry,
    /// The image's name within the registry.
    pub image: &'p str,
    pub chart: &'p str,
    /// Of every server through which releases change what users get; nothing where it is changed in other ways, too.
    pub changes: Vec<Changes>,
}

/// A running observer.
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Observed>>,
}

/// What an observer saw: nothing of it is ever taken back.
#[derive(Debug, Default)]
pub struct Observed {
    pub polls: usize,
    /// The versions that were ever listed.
    pub versions: BTreeSet<String>,
    /// Every time that one of them was not listed any more, though it may have come back.
    pub vanished: Vec<Vanished>,
    pub archives: usize,
    pub images: usize,
    /// What no user may ever meet.
    pub violations: Vec<String>,
}

/// A version that was listed when an observer looked, and was not when it looked again.
#[derive(Debug, PartialEq, Eq)]
pub struct Vanished {
    pub version: String,
    /// Since the first look.
    pub after: Duration,
}

impl Observer {
    /// Looks as soon as anything changed, and now and then where nothing did: caches change by themselves.
    pub fn start(publication: &Publication) -> Self {
        const LOOKS: Duration = Duration::from_millis(3);
        let pause = Duration::from_millis(if publication.changes.is_empty() { 30 } else { 1000 });
        let changes = publication.changes.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let mut watch = Watch::of(publication);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // One last look after the end: what was published then is judged, too.
            while !stopped.load(Ordering::SeqCst) {
                let (counted, looked) = (count(&changes), Instant::now());
                watch.look();
                while count(&changes) == counted && looked.elapsed() < pause && !stopped.load(Ordering::SeqCst) {
                    std::thread::sleep(LOOKS);
                }
            }
            watch.look();
            watch.observed
        });
        Observer { stop, thread: Some(thread) }
    }

    /// Ends the observation.
    pub fn finish(mut self) -> Observed {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn count(changes: &[Changes]) -> usize {
    changes.iter().map(Changes::count).sum()
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A user who looks when told to.
pub struct Watch {
    visitor: Visitor,
    registry: String,
    image: String,
    chart: String,
    started: Instant,
    /// What the registry gave for this look, if it gives anybody one.
    token: RefCell<Option<Option<String>>>,
    /// What the index listed the last time that it could be read.
    shown: BTreeSet<String>,
    /// The entries that were ever listed: by version, the archive's digest.
    listed: BTreeMap<String, String>,
    /// The image of each, once it was fetched as a whole.
    images: BTreeMap<String, String>,
    pub observed: Observed,
}

impl Watch {
    pub fn of(publication: &Publication) -> Self {
        Watch {
            visitor: publication.edge.visitor(publication.location),
            registry: publication.registry.url(),
            image: publication.image.into(),
            chart: publication.chart.into(),
            started: Instant::now(),
            token: RefCell::default(),
            shown: BTreeSet::new(),
            listed: BTreeMap::new(),
            images: BTreeMap::new(),
            observed: Observed::default(),
        }
    }

    pub fn look(&mut self) {
        self.observed.polls += 1;
        self.token.replace(None);
        // Tags before the index: what a tag leads to must be listed by then.
        let tags = self.floating_tags();
        match self.visitor.get("/index.yaml") {
            Ok(reply) if reply.status == 200 => self.read(&reply),
            Ok(reply) if reply.status == 404 && self.listed.is_empty() => {}
            Ok(reply) => self.wrong(format!("the index is answered with {}", reply.status)),
            Err(error) => self.wrong(format!("the index cannot be fetched: {error}")),
        }
        for (tag, digest) in tags {
            if !self.images.values().any(|known| *known == digest) {
                self.wrong(format!("{tag} is ahead of the index: {digest}"));
            }
        }
    }

    fn wrong(&mut self, what: String) {
        if !self.observed.violations.contains(&what) {
            self.observed.violations.push(what);
        }
    }

    fn read(&mut self, reply: &Reply) {
        let index = match Index::from_bytes(&reply.body) {
            Ok(index) => index,
            Err(error) => return self.wrong(format!("the index cannot be read: {error}")),
        };
        let entries = index.entries(&self.chart);
        let now: BTreeSet<String> = entries.iter().map(|entry| entry.version.to_string()).collect();
        for entry in entries {
            if let Err(why) = self.entry(&entry.version, entry.json()) {
                self.wrong(format!("{} is listed and {why}", entry.version));
            }
        }
        let after = self.started.elapsed();
        let gone = self.shown.difference(&now).map(|version| Vanished { version: version.clone(), after });
        self.observed.vanished.extend(gone);
        self.shown = now;
    }

    fn entry(&mut self, version: &str, entry: &str) -> Result<(), String> {
        let entry: serde_json::Value = serde_json::from_str(entry).map_err(|error| error.to_string())?;
        let digest = entry["digest"].as_str().ok_or("has no digest")?.to_owned();
        self.observed.versions.insert(version.to_owned());
        match self.listed.get(version) {
            Some(known) if *known == digest && self.images.contains_key(version) => return Ok(()),
            Some(known) if *known != digest => return Err(format!("was another archive before: {known}, {digest}")),
            _ => self.listed.insert(version.to_owned(), digest.clone()),
        };
        let url = entry["urls"][0].as_str().ok_or("has no address")?;
        let archive = self.archive(url, &digest)?;
        let record = self.visitor.get(&format!("/{}-{version}.json", self.chart)).map_err(|error| error.to_string())?;
        let record = Record::parse(version, &record.body).map_err(|error| error.to_string())?;
        if record.entry["digest"] != *digest || record.size != archive.len() as u64 {
            return Err("what is recorded of it is of another archive".into());
        }
        let files = archive::unpack(&archive).map_err(|error| error.to_string())?;
        let manifest = archive::manifest(&files).map_err(|error| error.to_string())?;
        let image = manifest.annotations.get(RELEASED_IMAGE).ok_or("names no image")?;
        let digest = self.whole_image(image)?;
        self.images.insert(version.to_owned(), digest.clone());
        let parsed = version::parse(version)?;
        for tag in version::version_tags(&parsed) {
            match self.tag(&tag)? {
                Some(leads) if leads == digest => {}
                leads => return Err(format!("{tag} leads to {leads:?}, and the chart names {digest}")),
            }
        }
        Ok(())
    }

    fn archive(&mut self, url: &str, digest: &str) -> Result<Vec<u8>, String> {
        let path = match url.strip_prefix(&self.visitor.url()) {
            Some(path) => path.to_owned(),
            None if url.contains("://") => return Err(format!("is elsewhere: {url}")),
            None => format!("/{url}"),
        };
        let reply = self.visitor.get(&path).map_err(|error| format!("{path} cannot be fetched: {error}"))?;
        if reply.status != 200 || sha256_hex(&reply.body) != digest {
            return Err(format!("{path} is answered with {} and other bytes", reply.status));
        }
        self.observed.archives += 1;
        Ok(reply.body)
    }

    /// Fetches every part of an image; gives its digest.
    fn whole_image(&mut self, reference: &str) -> Result<String, String> {
        let (_, digest) = reference.rsplit_once('@').ok_or("names an image without its digest")?;
        let index = self.part("manifests", digest)?;
        for platform in parts(&index, "manifests") {
            let manifest = self.part("manifests", &platform)?;
            let config = parts(&manifest, "config");
            for part in parts(&manifest, "layers").into_iter().chain(config) {
                self.part("blobs", &part)?;
            }
        }
        self.observed.images += 1;
        Ok(digest.to_owned())
    }

    fn part(&self, kind: &str, digest: &str) -> Result<Vec<u8>, String> {
        let reply = self.pull("GET", &format!("{kind}/{digest}"))?;
        if reply.status != 200 || Digest::of(&reply.body).to_string() != digest {
            return Err(format!("{kind}/{digest} is answered with {} and other bytes", reply.status));
        }
        Ok(reply.body)
    }

    fn floating_tags(&mut self) -> Vec<(String, String)> {
        let listed = self.pull("GET", "tags/list?n=10000").ok().filter(|reply| reply.status == 200);
        let Some(list) = listed.map(|reply| reply.json()) else { return Vec::new() };
        let tags = list["tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str());
        let floating = tags.filter(|tag| version::is_floating(tag));
        floating.filter_map(|tag| Some((tag.to_owned(), self.tag(tag).ok()??))).collect()
    }

    fn tag(&self, tag: &str) -> Result<Option<String>, String> {
        let reply = self.pull("HEAD", &format!("manifests/{tag}"))?;
        match reply.status {
            200 => Ok(reply.header("docker-content-digest").map(str::to_owned)),
            404 => Ok(None),
            status => Err(format!("{tag} is answered with {status}")),
        }
    }

    /// Asks as a node does: where nobody listens for a moment, or the server fails, it asks again.
    fn pull(&self, method: &str, what: &str) -> Result<Reply, String> {
        const ATTEMPTS: usize = 30;
        const PAUSE: Duration = Duration::from_millis(100);
        for _ in 1..ATTEMPTS {
            match self.ask(method, what) {
                Ok(reply) if reply.status < 500 => return Ok(reply),
                _ => std::thread::sleep(PAUSE),
            }
        }
        self.ask(method, what)
    }

    /// Asks once, as an anonymous client does, with a token that anybody is given.
    fn ask(&self, method: &str, what: &str) -> Result<Reply, String> {
        let url = format!("{}/v2/{}/{what}", self.registry, self.image);
        let failed = |error: std::io::Error| format!("{what} cannot be fetched: {error}");
        let accepted = format!("{}, {}", xtask::oci::INDEX, xtask::oci::MANIFEST);
        let known = self.token.borrow().clone();
        let token = match known {
            Some(token) => token,
            None => {
                let reply = Ask::get(&format!("{}/token", self.registry)).header(OBSERVER, "1").send();
                let reply = reply.map_err(failed)?;
                let granted = (reply.status == 200).then(|| reply.json()["token"].as_str().unwrap().to_owned());
                self.token.replace(Some(granted.clone()));
                granted
            }
        };
        let ask = Ask::new(method, &url).header("accept", &accepted).header(OBSERVER, "1");
        let ask = match token {
            Some(token) => ask.header("authorization", &format!("Bearer {token}")),
            None => ask,
        };
        ask.send().map_err(failed)
    }
}

/// The digests that a manifest names in one of its fields.
fn parts(manifest: &[u8], field: &str) -> Vec<String> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap_or_default();
    let named = match &manifest[field] {
        serde_json::Value::Array(items) => items.clone(),
        other => vec![other.clone()],
    };
    named.iter().filter_map(|part| Some(part["digest"].as_str()?.to_owned())).collect()
}
