//! The edge as CloudFront's documentation describes it: a fake, for nothing real can be had on this machine.
//!
//! Two locations, each with a cache of its own, serve one name over TLS from a private bucket, which they read with signed requests as an
//! origin access control does. It shows what publishing depends on: objects are kept as long as they say, a missing one for 10 s,
//! until an invalidation removes them. Headers, methods, the root object and how long errors are kept can be taken from a deployed template.
//! It does not compress, speaks HTTP/1.1 only, never evicts, and lists no folder: `/` is missing.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use super::client::{Ask, Reply};
use super::fault::{Dialect, Faults};
use super::front::{Answer, Asked, Front, Outcome, forward, handler, loopback};
use super::signature::{Credentials, Signed, encoded};
use super::versitygw::{REGION, Versitygw};
use crate::support::free_port;

/// What a response headers policy adds to every answer, where no template says it.
pub const HEADERS: [(&str, &str); 4] = [
    ("strict-transport-security", "max-age=63072000; includeSubDomains; preload"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
];

/// How long an answer is kept that is not the object asked for.
const ERROR_SECONDS: u64 = 10;
/// How long an object is kept that does not say.
const DEFAULT_SECONDS: u64 = 86_400;

/// A running edge of two locations.
pub struct Edge {
    pub port: u16,
    caches: Caches,
    /// Between location 0 and its users.
    faults: Arc<Faults>,
    folder: TempDir,
    trust: Arc<rustls::ClientConfig>,
    _front: Front,
}

/// What all locations keep; a copy is the same.
#[derive(Clone)]
pub struct Caches {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    settings: Mutex<Settings>,
    started: Instant,
    ahead: AtomicU64,
    locations: [Mutex<Location>; 2],
    fetched: Mutex<BTreeMap<String, usize>>,
}

/// What a distribution says of itself.
#[derive(Clone)]
struct Settings {
    headers: Vec<(&'static str, String)>,
    methods: Vec<String>,
    /// How long an answer is kept that is not the object asked for.
    error_seconds: u64,
    /// The object at `/`.
    root: Option<String>,
}

struct Origin {
    port: u16,
    bucket: String,
    credentials: Credentials,
}

#[derive(Default)]
struct Location {
    kept: BTreeMap<String, Kept>,
    /// Grows by every invalidation: what was fetched before one is not kept after it.
    epoch: u64,
}

#[derive(Clone)]
struct Kept {
    answer: Answer,
    at: Duration,
    seconds: u64,
}

impl Edge {
    /// In front of a bucket.
    pub fn before(store: &Versitygw) -> Self {
        Self::through(store, store.port)
    }

    /// The same through a proxy at that port, where the origin's faults can be injected.
    pub fn through(store: &Versitygw, port: u16) -> Self {
        Self::of(store, port, &store.bucket)
    }

    /// In front of another bucket of the same store.
    pub fn before_bucket(store: &Versitygw, bucket: &str) -> Self {
        Self::of(store, store.port, bucket)
    }

    fn of(store: &Versitygw, port: u16, bucket: &str) -> Self {
        let origin = Origin { port, bucket: bucket.into(), credentials: store.credentials.clone() };
        let shared = Shared {
            origin,
            settings: Mutex::new(Settings::usual()),
            started: Instant::now(),
            ahead: AtomicU64::new(0),
            locations: Default::default(),
            fetched: Mutex::default(),
        };
        let caches = Caches { shared: Arc::new(shared) };
        let (port, certificates) = (free_port(), Certificates::new());
        let faults = Arc::new(Faults::of(Dialect::S3));
        let mut sites = Vec::new();
        for location in 0..2 {
            let (caches, faults) = (caches.clone(), Arc::clone(&faults));
            let handler = handler(move |asked| {
                let (caches, faults) = (caches.clone(), (location == 0).then(|| Arc::clone(&faults)));
                async move {
                    let answer = |asked| serve(&caches, location, asked);
                    match faults {
                        Some(faults) => faults.meet(asked, answer).await,
                        None => Outcome::Answer(answer(asked).await),
                    }
                }
            });
            let addresses = if location == 0 { loopback(port) } else { vec![address(port, location)] };
            sites.extend(addresses.into_iter().map(|address| (address, Arc::clone(&handler))));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &certificates.authority).unwrap();
        let front = Front::start(sites, Some(certificates.server.into()));
        Edge { port, caches, faults, folder, trust: certificates.client, _front: front }
    }

    /// From now on it is the distribution of a deployed template.
    pub fn become_distribution(&self, template: &serde_json::Value) {
        *self.caches.shared.settings.lock().unwrap() = Settings::deployed(template);
    }

    /// The one name of all locations. Programs that look it up come to location 0.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The private authority, for `SSL_CERT_FILE` or `helm --ca-file`.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A request to one location.
    pub fn ask(&self, location: usize, method: &str, path: &str) -> Ask {
        self.visitor(location).ask(method, path)
    }

    pub fn get(&self, location: usize, path: &str) -> Reply {
        self.ask(location, "GET", path).send().unwrap()
    }

    /// Somebody near one location, for a thread of its own.
    pub fn visitor(&self, location: usize) -> Visitor {
        Visitor { port: self.port, location, trust: Arc::clone(&self.trust) }
    }

    /// What goes wrong between location 0 and its users.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What the locations keep, to be invalidated.
    pub fn caches(&self) -> Caches {
        self.caches.clone()
    }

    /// Lets that much time pass for both caches at once.
    pub fn advance(&self, time: Duration) {
        self.caches.shared.ahead.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// Counts from nothing again.
    pub fn forget(&self) {
        self.caches.shared.fetched.lock().unwrap().clear();
    }

    /// How often the bucket was asked for a path.
    pub fn fetched(&self, path: &str) -> usize {
        self.caches.shared.fetched.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.faults.end();
    }
}

/// Somebody who asks one location.
#[derive(Clone)]
pub struct Visitor {
    port: u16,
    location: usize,
    trust: Arc<rustls::ClientConfig>,
}

impl Visitor {
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask {
        let ask = Ask::new(method, &format!("{}{path}", self.url())).trusting(&self.trust);
        ask.at(address(self.port, self.location))
    }

    pub fn get(&self, path: &str) -> std::io::Result<Reply> {
        self.ask("GET", path).send()
    }
}

/// Where a location listens.
fn address(port: u16, location: usize) -> SocketAddr {
    ([127, 0, 0, if location == 0 { 1 } else { 2 }], port).into()
}

/// What both locations kept at some moment.
pub struct KeptCaches {
    at: Duration,
    locations: [BTreeMap<String, Kept>; 2],
}

impl Caches {
    /// What both keep now, to come back to.
    pub fn keep(&self) -> KeptCaches {
        let kept = |location: &Mutex<Location>| location.lock().unwrap().kept.clone();
        KeptCaches { at: self.shared.now(), locations: self.shared.locations.each_ref().map(kept) }
    }

    /// Makes them keep what they kept then, as old as it was then.
    pub fn restore(&self, kept: &KeptCaches) {
        let since = self.shared.now() - kept.at;
        for (location, kept) in self.shared.locations.iter().zip(&kept.locations) {
            let mut location = location.lock().unwrap();
            location.epoch += 1;
            let as_old = |(key, kept): (&String, &Kept)| (key.clone(), Kept { at: kept.at + since, ..kept.clone() });
            location.kept = kept.iter().map(as_old).collect();
        }
    }

    /// Removes these paths at once; `*` at the end stands for anything.
    pub fn invalidate(&self, paths: &[String]) {
        let covers = |path: &String, key: &str| match path.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == path,
        };
        for location in &self.shared.locations {
            let mut location = location.lock().unwrap();
            location.epoch += 1;
            location.kept.retain(|key, _| !paths.iter().any(|path| covers(path, key)));
        }
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.started.elapsed() + Duration::from_secs(self.ahead.load(Ordering::SeqCst))
    }

    async fn fetch(&self, path: &str) -> std::io::Result<Answer> {
        *self.fetched.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        let origin = &self.origin;
        let (host, path) = (format!("127.0.0.1:{}", origin.port), format!("/{}{}", origin.bucket, encoded(path)));
        let signed =
            Signed { service: "s3", region: REGION, method: "GET", host: &host, path: &path, query: "", body: b"" };
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        for (name, value) in signed.headers(&origin.credentials) {
            headers.insert(name, value.parse().unwrap());
        }
        forward(origin.port, &Asked { method: "GET".into(), path: path.clone(), headers, body: "".into() }).await
    }
}

impl Settings {
    fn usual() -> Self {
        Settings {
            headers: HEADERS.map(|(name, value)| (name, value.to_owned())).into(),
            methods: ["GET", "HEAD", "OPTIONS"].map(str::to_owned).into(),
            error_seconds: ERROR_SECONDS,
            root: None,
        }
    }

    /// CloudFormation's words for them (its template reference, `AWS::CloudFront::Distribution` and `ResponseHeadersPolicy`).
    fn deployed(template: &serde_json::Value) -> Self {
        let only = |kind: &str| {
            let mut resources = template["Resources"].as_object().unwrap().values();
            resources.find(|resource| resource["Type"] == kind).unwrap()["Properties"].clone()
        };
        let distribution = &only("AWS::CloudFront::Distribution")["DistributionConfig"];
        let security =
            &only("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"];
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let transport = &security["StrictTransportSecurity"];
        let subdomains = if transport["IncludeSubdomains"] == true { "; includeSubDomains" } else { "" };
        assert!(security["ContentTypeOptions"].is_object(), "{security}");
        let headers = vec![
            ("strict-transport-security", format!("max-age={}{subdomains}", transport["AccessControlMaxAgeSec"])),
            ("x-content-type-options", "nosniff".into()),
            ("x-frame-options", text(&security["FrameOptions"]["FrameOption"])),
            ("referrer-policy", text(&security["ReferrerPolicy"]["ReferrerPolicy"])),
            ("content-security-policy", text(&security["ContentSecurityPolicy"]["ContentSecurityPolicy"])),
        ];
        let methods = distribution["DefaultCacheBehavior"]["AllowedMethods"].as_array().unwrap();
        Settings {
            headers,
            methods: methods.iter().map(text).collect(),
            error_seconds: distribution["CustomErrorResponses"][0]["ErrorCachingMinTTL"].as_u64().unwrap(),
            root: distribution["DefaultRootObject"].as_str().map(|root| format!("/{root}")),
        }
    }
}

async fn serve(caches: &Caches, location: usize, asked: Asked) -> Answer {
    let settings = caches.shared.settings.lock().unwrap().clone();
    let path = decoded(asked.path.split('?').next().unwrap_or_default());
    let path = settings.root.clone().filter(|_| path == "/").unwrap_or(path);
    let method = Some(asked.method.as_str()).filter(|method| settings.methods.iter().any(|allowed| allowed == method));
    let answer = match method.unwrap_or_default() {
        "GET" | "HEAD" => {
            let (kept, hit) = look_up(&caches.shared, location, &path).await;
            let age = caches.shared.now().saturating_sub(kept.at).as_secs();
            let answer = conditional(&asked, kept.answer);
            let answer = if hit { answer.with("age", age.to_string()) } else { answer };
            answer.with("x-cache", if hit { "Hit from cloudfront" } else { "Miss from cloudfront" })
        }
        "OPTIONS" => Answer::new(200, "text/plain", "").with("allow", settings.methods.join(", ")),
        _ => Answer::new(403, "text/plain", "this distribution does not allow the method"),
    };
    settings.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
}

/// What a location answers for a path, and whether it had that.
async fn look_up(shared: &Shared, location: usize, path: &str) -> (Kept, bool) {
    let place = &shared.locations[location];
    let (kept, epoch) = {
        let location = place.lock().unwrap();
        (location.kept.get(path).cloned(), location.epoch)
    };
    let now = shared.now();
    if let Some(kept) = kept.as_ref().filter(|kept| kept.at + Duration::from_secs(kept.seconds) > now) {
        return (kept.clone(), true);
    }
    let fetched = if path == "/" { Ok(missing()) } else { shared.fetch(path).await };
    let answer = match (fetched, kept) {
        (Ok(answer), Some(kept)) if answer.status >= 500 && kept.answer.status == 200 => return (kept, true),
        (Err(_), Some(kept)) if kept.answer.status == 200 => return (kept, true),
        (Ok(answer), _) => answer,
        (Err(error), _) => Answer::new(502, "text/plain", error.to_string()),
    };
    let error_seconds = shared.settings.lock().unwrap().error_seconds;
    let kept = Kept { seconds: seconds(&answer, error_seconds), answer, at: now };
    let mut location = place.lock().unwrap();
    if location.epoch == epoch {
        location.kept.insert(path.to_owned(), kept.clone());
    }
    (kept, false)
}

fn missing() -> Answer {
    Answer::new(404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>")
}

/// How long an answer is kept.
fn seconds(answer: &Answer, error_seconds: u64) -> u64 {
    if answer.status != 200 {
        return error_seconds;
    }
    let control = answer.headers.get("cache-control").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let age = |name: &str| control.split(',').find_map(|part| part.trim().strip_prefix(name)?.parse().ok());
    age("s-maxage=").or_else(|| age("max-age=")).unwrap_or(DEFAULT_SECONDS)
}

/// The answer as far as the client still needs it.
fn conditional(asked: &Asked, answer: Answer) -> Answer {
    if answer.status != 200 {
        return answer;
    }
    let same = answer.headers.get("etag").is_some_and(|tag| asked.headers.get("if-none-match") == Some(tag));
    if same {
        return Answer { status: 304, body: "".into(), ..answer };
    }
    let answer = answer.with("accept-ranges", "bytes");
    let length = answer.body.len();
    match asked.header("range").map(|range| part_of(range, length)) {
        None | Some(None) => answer,
        Some(Some(part)) if part.is_empty() => {
            Answer { status: 416, body: "".into(), ..answer }.with("content-range", format!("bytes */{length}"))
        }
        Some(Some(part)) => {
            let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            Answer { status: 206, body: answer.body.slice(part), ..answer }.with("content-range", range)
        }
    }
}

/// One range of a body; an empty one is beyond it, and none is a header to be ignored.
fn part_of(range: &str, length: usize) -> Option<std::ops::Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        return Some(length.saturating_sub(last.parse().ok()?)..length);
    }
    let start = first.parse::<usize>().ok()?.min(length);
    let end = if last.is_empty() { length } else { last.parse::<usize>().ok()?.saturating_add(1).min(length) };
    Some(start..end.max(start))
}

/// A path without its escapes.
pub(super) fn decoded(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        match piece.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(&piece.as_bytes()[2..]);
            }
            None => bytes.extend(format!("%{piece}").into_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A server over TLS that tells everybody the same.
pub struct Signpost {
    port: u16,
    /// The private authority that it is trusted by.
    pub authority: String,
    _front: Front,
}

impl Signpost {
    /// It leads elsewhere.
    pub fn to(url: &str) -> Self {
        Self::saying(|_| Answer::new(302, "text/plain", "elsewhere").with("location", url))
    }

    /// Its answer, which may name its own address.
    pub fn saying(answer: impl FnOnce(&str) -> Answer) -> Self {
        let (port, certificates) = (free_port(), Certificates::new());
        let answer = answer(&format!("https://localhost:{port}"));
        let handler = handler(move |_| {
            let answer = answer.clone();
            async { Outcome::Answer(answer) }
        });
        let sites = loopback(port).into_iter().map(|address| (address, Arc::clone(&handler))).collect();
        let _front = Front::start(sites, Some(certificates.server.into()));
        Signpost { port, authority: certificates.authority, _front }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

/// An authority of one server alone, and what it vouches for.
struct Certificates {
    authority: String,
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

impl Certificates {
    fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Where both certificates have one name, OpenSSL takes the leaf for its own issuer.
        authority.distinguished_name.push(DnType::CommonName, "an authority for one test");
        let authority_key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let names = ["localhost", "127.0.0.1", "127.0.0.2"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let server = server.with_single_cert(vec![leaf.der().clone()], key).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider);
        let client = client.with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(trusting(root.der())).with_no_client_auth();
        Certificates { authority: root.pem(), server: Arc::new(server), client: Arc::new(client) }
    }
}

fn trusting(root: &CertificateDer<'static>) -> rustls::RootCertStore {
    let mut store = rustls::RootCertStore::empty();
    store.add(root.clone()).unwrap();
    store
}
