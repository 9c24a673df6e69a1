//! A released folder as its users see it: a chart repository and a read-only image registry on one port.
//!
//! It answers what Helm and container clients send. The chart half sends the headers that production's objects carry, so that a
//! rehearsal shows them too; the image half is the read side of the OCI distribution specification 1.1 (sections "Pulling
//! manifests", "Pulling blobs", "Content discovery").

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HOST, HeaderMap, IF_NONE_MATCH, RANGE, SERVER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::chart::index::FILE;
use crate::chart::page::{FRONT, POLICY};
use crate::chart::repository;
use crate::config::Target;
use crate::error::{Context, Error, Exit, Result};
use crate::local;
use crate::oci::registry::{LayoutFolder, Registry};
use crate::oci::{self, Digest, ImageIndex, sha256_hex};
use crate::sys::files;
use crate::sys::http::{Anonymous, runtime};
use crate::ui;

/// A client that has not sent the whole of a request's head by then is one that keeps others waiting.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The same for all that one connection is used for.
const CONNECTION_LIMIT: Duration = Duration::from_secs(600);
/// More clients than these wait for one of them to end.
const CONNECTIONS: usize = 128;

/// The header by which one `serve` knows another that serves the same folder.
const FOLDER_HEADER: &str = "x-served-folder";

/// A way to reach a folder target from outside: a server of our own for as long as this value lives, or one that runs already.
pub struct LocalServer(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl LocalServer {
    /// Serves `folder` at the target's port, unless somebody does already.
    ///
    /// # Errors
    /// The port is in use by something else.
    pub fn reach(folder: &Path, targets: &[Target]) -> Result<Self> {
        let (site, target) = (Site::new(folder, targets), &targets[0]);
        let listeners = match listen(target.port()) {
            Ok(listeners) => listeners,
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_served(&site, target) => {
                return Ok(LocalServer(None));
            }
            Err(error) => return Err(port_error(target.port(), &error)),
        };
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                // The runtime ends with this block, and the server with it.
                tokio::spawn(accept(listeners, site));
                let _: Result<(), _> = stopped.await;
            });
        });
        Ok(LocalServer(Some((stop, thread))))
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            // What the server waits for.
            drop(stop);
            thread.join().ok();
        }
    }
}

/// Serves a folder until the process is ended. `started` is called once the port is open.
///
/// # Errors
/// The port is in use, the folder was released for another port, or nothing was released into it.
pub fn run(folder: &Path, targets: &[Target], port: u16, started: &dyn Fn()) -> Result<()> {
    let target = &targets[0];
    if port != target.port() {
        return Err(Error::new(Exit::Usage, format!("{} was released for port {}", folder.display(), target.port()))
            .because(format!(
                "its index and its chart name {}; from port {port} nothing would be found",
                target.repository
            ))
            .remedy(format!("cargo xtask serve --port {}", target.port()))
            .remedy(format!(
                "or change `image` and `repository` of target `{}` in Cargo.toml, and release again",
                target.name
            )));
    }
    if !folder.join(FILE).is_file() {
        return Err(Error::new(Exit::Usage, format!("nothing was released into {}", folder.display()))
            .remedy(format!("cargo xtask release --to {}", target.name)));
    }
    let listeners = listen(port).map_err(|error| port_error(port, &error))?;
    started();
    let site = Site::new(folder, targets);
    runtime()?.block_on(accept(listeners, site)).context(Exit::Failure, || "the server ended".into())
}

/// Prints where a folder is served, and commands to try.
pub fn tell(folder: &Path, target: &Target, images: &[&str]) {
    ui::status("Serving", format_args!("{} at {} (Ctrl-C ends it)", folder.display(), target.repository));
    if target.page {
        ui::note("look", format_args!("{}/ shows what users see", target.repository));
    }
    ui::note("try", format_args!("helm repo add rehearsal {}", target.repository));
    ui::note("try", "helm search repo rehearsal --versions");
    for image in images {
        ui::note("try", format_args!("docker run --rm {image}:latest --version"));
    }
}

/// `localhost` is one of two addresses, and clients differ in which they try; a machine without IPv6 has one.
fn listen(port: u16) -> std::io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let second = match TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(error),
        second => second.ok(),
    };
    let listeners: Vec<TcpListener> = std::iter::once(first).chain(second).collect();
    listeners.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
    Ok(listeners)
}

fn port_error(port: u16, error: &std::io::Error) -> Error {
    Error::new(Exit::Environment, format!("cannot open port {port} on localhost"))
        .because(error)
        .remedy(format!("end the program that uses it: ss -ltnp 'sport = :{port}'"))
        .remedy("or change the port of the target's `image` and `repository` in Cargo.toml")
}

fn is_served(site: &Site, target: &Target) -> bool {
    // Ours answers at once; another program may never.
    const LIMIT: Duration = Duration::from_secs(5);
    let answer = Anonymous::new(LIMIT).get(&format!("{}/", target.repository), &[]);
    answer.is_ok_and(|answer| answer.header(FOLDER_HEADER) == Some(&site.identity))
}

async fn accept(listeners: Vec<TcpListener>, site: Site) -> std::io::Result<()> {
    let mut servers = JoinSet::new();
    for listener in listeners {
        servers.spawn(accept_on(tokio::net::TcpListener::from_std(listener)?, site.clone()));
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn accept_on(listener: tokio::net::TcpListener, site: Site) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(std::io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, mostly: others will close theirs.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let site = site.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let response = site.respond(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
            let connection = server.serve_connection(TokioIo::new(stream), service);
            // A client that goes away in the middle is its own affair.
            tokio::time::timeout(CONNECTION_LIMIT, connection).await.ok();
            drop(place);
        });
    }
}

/// A folder and the names under which it is served.
#[derive(Clone)]
struct Site {
    folder: PathBuf,
    products: Vec<Repositories>,
    identity: String,
    /// The host names that it answers to. A page of somebody else's may lead a browser here by a name of its own, and would then read what
    /// is answered ("DNS rebinding").
    names: Vec<String>,
}

/// What the registry has of a product.
#[derive(Clone)]
struct Repositories {
    /// Where its layouts are.
    folder: PathBuf,
    image_path: String,
    /// What stands before the name of a chart that is pulled from the registry.
    charts_path: String,
    /// The name of the chart, where there are several.
    chart: Option<String>,
}

/// A host without its port.
fn host_name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => authority,
    }
}

/// Something that can be sent.
struct Found {
    content_type: String,
    cache_control: &'static str,
    digest: Option<Digest>,
    /// Whether only referrers of the type that was asked for are in it.
    filtered: bool,
    bytes: Vec<u8>,
}

impl Site {
    fn new(folder: &Path, targets: &[Target]) -> Self {
        let identity = sha256_hex(std::path::absolute(folder).unwrap_or_default().as_os_str().as_encoded_bytes());
        let own = targets[0].repository.trim_start_matches("http://");
        let names = ["localhost", "127.0.0.1", "[::1]", host_name(own)].map(str::to_lowercase).to_vec();
        Site {
            folder: folder.into(),
            products: targets.iter().map(|target| Repositories::of(folder, target)).collect(),
            identity,
            names,
        }
    }

    /// Whether a request is for this server, by the name that the client knows it by.
    fn is_asked<B>(&self, request: &Request<B>) -> bool {
        let said = request.headers().get(HOST).and_then(|value| value.to_str().ok());
        let name = request.uri().host().or_else(|| said.map(host_name));
        name.is_some_and(|name| self.names.contains(&name.to_lowercase()))
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let builder = Response::builder()
            .header(SERVER, "xtask-serve")
            .header(FOLDER_HEADER, &self.identity)
            .header(CONTENT_SECURITY_POLICY, POLICY)
            .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header("docker-distribution-api-version", "registry/2.0");
        let path = request.uri().path();
        let sent = match *request.method() {
            _ if !self.is_asked(request) => {
                let why = "this server is asked by its own names alone, such as localhost, and not for";
                refuse(builder, StatusCode::MISDIRECTED_REQUEST, path, why)
            }
            Method::GET | Method::HEAD => match self.find(request.uri()) {
                Ok(Some(found)) => send(builder, request.headers(), found),
                Ok(None) => refuse(builder, StatusCode::NOT_FOUND, path, "there is nothing at"),
                Err(error) => refuse(builder, StatusCode::INTERNAL_SERVER_ERROR, &error.to_string(), "cannot read:"),
            },
            _ => {
                let builder = builder.header(ALLOW, "GET, HEAD");
                refuse(builder, StatusCode::METHOD_NOT_ALLOWED, path, "nothing is written through")
            }
        };
        let mut response = sent.unwrap_or_default();
        if request.method() == Method::HEAD {
            let (mut parts, body) = response.into_parts();
            let length = hyper::body::Body::size_hint(&body).lower();
            parts.headers.insert(CONTENT_LENGTH, length.into());
            response = Response::from_parts(parts, Full::default());
        }
        response
    }

    fn find(&self, uri: &Uri) -> Result<Option<Found>> {
        let path = uri.path();
        if path == "/v2" || path == "/v2/" {
            return Ok(Some(Found::json(b"{}".to_vec())));
        }
        let query = uri.query().unwrap_or_default();
        if let Some(repository) = path.strip_prefix("/v2/") {
            let found = self.products.iter().find_map(|product| product.find(repository, query));
            return found.unwrap_or(Ok(None));
        }
        self.find_file(if path == "/" { FRONT } else { path.trim_start_matches('/') })
    }

    fn find_file(&self, name: &str) -> Result<Option<Found>> {
        let plain = !name.contains('/') && !name.starts_with('.');
        let Some((content_type, cache_control)) = repository::headers(name).filter(|_| plain) else { return Ok(None) };
        let bytes = files::read(&self.folder.join(name))?;
        Ok(bytes.map(|bytes| Found::of(content_type, cache_control, bytes)))
    }
}

impl Repositories {
    fn of(folder: &Path, target: &Target) -> Self {
        Repositories {
            folder: local::of_product(folder, target),
            image_path: target.image_path().into(),
            charts_path: target.charts_path(),
            chart: target.product.clone(),
        }
    }

    /// A part of the image or the chart, by its path in the registry; nothing where that is of neither.
    fn find(&self, path: &str, query: &str) -> Option<Result<Option<Found>>> {
        let below = |parent: &str| path.strip_prefix(parent)?.strip_prefix('/');
        if let Some(rest) = below(&self.image_path) {
            let (registry, folder) = (local::registry(&self.folder), local::image_folder(&self.folder));
            return Some(find_part(&registry, &folder, &self.image_path, rest, query));
        }
        let (name, rest) = below(&self.charts_path)?.split_once('/')?;
        if self.chart.as_deref().is_some_and(|chart| chart != name) {
            return None;
        }
        let (registry, folder) = (local::chart_registry(&self.folder), local::chart_folder(&self.folder));
        Some(find_part(&registry, &folder, &format!("{}/{name}", self.charts_path), rest, query))
    }
}

/// A part of what a layout folder holds, by the rest of its path.
fn find_part(registry: &LayoutFolder, folder: &Path, name: &str, rest: &str, query: &str) -> Result<Option<Found>> {
    const IMMUTABLE: &str = "public, max-age=31536000, immutable";
    let blob = |digest: &Digest| oci::find_blob(folder, digest);
    if rest == "tags/list" {
        let list = serde_json::json!({"name": name, "tags": registry.tags()?});
        return Ok(Some(Found::json(list.to_string().into_bytes())));
    }
    if let Some(reference) = rest.strip_prefix("manifests/") {
        let digest = reference.parse::<Digest>().ok().or_else(|| registry.resolve(reference).ok()?);
        let Some(digest) = digest else { return Ok(None) };
        return Ok(blob(&digest)?.map(|bytes| Found::manifest(digest, bytes)));
    }
    if let Some(subject) = rest.strip_prefix("referrers/") {
        return find_referrers(registry, subject, query);
    }
    let Some(Ok(digest)) = rest.strip_prefix("blobs/").map(str::parse::<Digest>) else { return Ok(None) };
    let found = blob(&digest)?.map(|bytes| Found::of("application/octet-stream", IMMUTABLE, bytes));
    Ok(found.map(|found| Found { digest: Some(digest), ..found }))
}

/// Every digest has a list of what refers to it, if only an empty one (distribution specification 1.1, "Listing Referrers").
fn find_referrers(registry: &LayoutFolder, subject: &str, query: &str) -> Result<Option<Found>> {
    let Ok(subject) = subject.parse::<Digest>() else { return Ok(None) };
    let wanted = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "artifactType");
    let mut referrers = registry.referrers(&subject)?;
    if let Some((_, wanted)) = &wanted {
        referrers.retain(|referrer| referrer.artifact_type.as_deref() == Some(wanted));
    }
    let list = oci::json(&ImageIndex::new(referrers))?;
    let filtered = wanted.is_some();
    Ok(Some(Found { content_type: oci::INDEX.into(), filtered, ..Found::json(list) }))
}

impl Found {
    fn of(content_type: &str, cache_control: &'static str, bytes: Vec<u8>) -> Self {
        Found { content_type: content_type.to_owned(), cache_control, digest: None, filtered: false, bytes }
    }

    fn json(bytes: Vec<u8>) -> Self {
        Found::of("application/json", "no-store", bytes)
    }

    /// A manifest is sent with the type that it says it is.
    fn manifest(digest: Digest, bytes: Vec<u8>) -> Self {
        let content_type = oci::media_type(&bytes).to_owned();
        Found { digest: Some(digest), ..Found::of(&content_type, "no-cache", bytes) }
    }
}

type Sent = Result<Response<Full<Bytes>>, hyper::http::Error>;

fn send(builder: Builder, wanted: &HeaderMap, found: Found) -> Sent {
    let hash = found.digest.as_ref().map_or_else(|| sha256_hex(&found.bytes), |digest| digest.hex().to_owned());
    let etag = format!("\"{hash}\"");
    let mut builder = builder
        .header(CONTENT_TYPE, found.content_type)
        .header(CACHE_CONTROL, found.cache_control)
        .header(ETAG, &etag)
        .header(ACCEPT_RANGES, "bytes");
    if let Some(digest) = &found.digest {
        builder = builder.header("docker-content-digest", digest.to_string());
    }
    if found.filtered {
        builder = builder.header("oci-filters-applied", "artifactType");
    }
    if wanted.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return builder.status(StatusCode::NOT_MODIFIED).body(Full::default());
    }
    let length = found.bytes.len();
    let range = wanted.get(RANGE).and_then(|value| value.to_str().ok()).and_then(|value| parse_range(value, length));
    match range {
        None => builder.body(Full::from(found.bytes)),
        Some(Some((first, last))) => builder
            .status(StatusCode::PARTIAL_CONTENT)
            .header(CONTENT_RANGE, format!("bytes {first}-{last}/{length}"))
            .body(Full::from(Bytes::from(found.bytes).slice(first..=last))),
        Some(None) => builder
            .status(StatusCode::RANGE_NOT_SATISFIABLE)
            .header(CONTENT_RANGE, format!("bytes */{length}"))
            .body(Full::default()),
    }
}

fn refuse(builder: Builder, status: StatusCode, what: &str, why: &str) -> Sent {
    let body = serde_json::json!({"errors": [{"code": status.canonical_reason(), "message": format!("{why} {what}")}]});
    builder
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header(CACHE_CONTROL, "no-store")
        .body(Full::from(body.to_string()))
}

/// A `Range` header (RFC 9110, section 14.2) for a body of `length` bytes: the first and the last byte wanted, `Some(None)` where the
/// body does not reach that far, and nothing where the header is to be ignored (another unit, several ranges, malformed).
fn parse_range(value: &str, length: usize) -> Option<Option<(usize, usize)>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let range = match (first.trim(), last.trim()) {
        ("", count) => {
            let count = number(count)?;
            (count > 0 && length > 0).then(|| (length.saturating_sub(count), length - 1))
        }
        (first, "") => Some((number(first)?, length.saturating_sub(1))),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(())?;
            Some((first, last.min(length.saturating_sub(1))))
        }
    };
    Some(range.filter(|(first, _)| *first < length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_specification_says() {
        let table = [
            ("bytes=0-3", Some(Some((0, 3)))),
            ("bytes=4-", Some(Some((4, 9)))),
            ("bytes=-3", Some(Some((7, 9)))),
            ("bytes=-30", Some(Some((0, 9)))),
            ("bytes=5-50", Some(Some((5, 9)))),
            ("bytes=10-", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=3-1", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=x-1", None),
        ];
        for (value, expected) in table {
            assert_eq!(parse_range(value, 10), expected, "{value}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Some(None));
    }
}
