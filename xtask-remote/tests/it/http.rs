//! `serve` byte for byte: what production's object store, and any registry, would answer to the same requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use xtask::chart::store::Store;
use xtask::config::{Target, Workspace};
use xtask::error::Exit;
use xtask::sys::http::Anonymous;
use xtask_remote::public::Public;

use crate::servers::{Answer, Asked, Dialect, Proxy, Signpost, Way};
use crate::support::{Demo, World, free_port, skipped};

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let demo = Demo::new();
    demo.show_page();
    demo.xtask(&["release"]).ok();
    World::new(demo)
});

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const FOREVER: &str = "public, max-age=31536000, immutable";

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn has(&self, name: &str, value: &str) -> &Self {
        assert_eq!(self.header(name), Some(value), "{name} in {:?}", self.headers);
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    BufReader::new(stream)
}

/// Sends one request, its target exactly as given, and reads one answer by its own length.
fn exchange(connection: &mut BufReader<TcpStream>, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    let has_host = headers.iter().any(|(name, _)| *name == "Host");
    let mut request = format!("{method} {target} HTTP/1.1\r\n{}", if has_host { "" } else { "Host: localhost\r\n" });
    request.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    connection.get_mut().write_all(format!("{request}\r\n").as_bytes()).unwrap();
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status: u16 = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut reply = Reply { status, headers, body: Vec::new() };
    if method != "HEAD" && status != 304 {
        reply.body = vec![0; reply.header("content-length").unwrap().parse().unwrap()];
        connection.read_exact(&mut reply.body).unwrap();
    }
    reply
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    let address = (Ipv4Addr::LOCALHOST, WORLD.demo.port).into();
    exchange(&mut connect(address), method, target, headers)
}

fn get(target: &str) -> Reply {
    request("GET", target, &[])
}

fn blob_digests() -> Vec<String> {
    let names = WORLD.demo.snapshot().into_keys();
    names.filter_map(|name| Some(format!("sha256:{}", name.strip_prefix("image/blobs/sha256/")?))).collect()
}

/// Something of every kind that is served.
fn targets() -> Vec<String> {
    let digest = &WORLD.demo.tags()["1.0.0"];
    let mut targets = vec![
        "/".to_owned(),
        "/index.yaml".into(),
        "/demo-1.0.0.tgz".into(),
        "/v2/".into(),
        "/v2/team/demo/tags/list".into(),
        "/v2/team/demo/manifests/latest".into(),
        format!("/v2/team/demo/manifests/{digest}"),
    ];
    targets.extend(blob_digests().iter().map(|digest| format!("/v2/team/demo/blobs/{digest}")));
    targets
}

#[test]
fn h11_archive_and_index_are_sent_as_the_table_of_the_distribution_says() {
    let archive = get("/demo-1.0.0.tgz");
    archive.has("content-type", "application/gzip").has("cache-control", FOREVER);
    assert_eq!(archive.body, WORLD.demo.snapshot()["demo-1.0.0.tgz"]);
    let index = get("/index.yaml");
    index.has("content-type", "application/json").has("cache-control", "public, max-age=300");
    assert_eq!(index.body, WORLD.demo.snapshot()["index.yaml"]);
    assert_eq!(request("GET", "/index.yaml?fresh=1", &[]).status, 200, "a query changes nothing");
}

#[test]
fn i5_a_registry_says_that_it_is_one_and_lists_its_tags() {
    let base = get("/v2/");
    assert_eq!((base.status, base.json()), (200, serde_json::json!({})));
    base.has("docker-distribution-api-version", "registry/2.0").has("content-type", "application/json");
    let list = get("/v2/team/demo/tags/list");
    let tags: Vec<String> = WORLD.demo.tags().into_keys().collect();
    assert_eq!(list.json(), serde_json::json!({"name": "team/demo", "tags": tags}));
}

#[test]
fn i2_a_manifest_is_found_by_tag_and_by_digest_with_the_type_that_it_says_it_is() {
    let digest = WORLD.demo.tags()["1.0.0"].clone();
    let mut index = Vec::new();
    for reference in ["v1.0.0", "1.0.0", "1.0", "1", "latest", &digest] {
        let manifest = get(&format!("/v2/team/demo/manifests/{reference}"));
        assert_eq!(manifest.status, 200, "{reference}");
        manifest.has("content-type", INDEX).has("docker-content-digest", &digest);
        assert_eq!(xtask::oci::Digest::of(&manifest.body).to_string(), digest);
        index = manifest.body;
    }
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let parts = index["manifests"].as_array().unwrap();
    assert!(!parts.is_empty());
    for part in parts {
        let digest = part["digest"].as_str().unwrap();
        let manifest = get(&format!("/v2/team/demo/manifests/{digest}"));
        manifest.has("content-type", MANIFEST).has("docker-content-digest", digest);
        assert_eq!(manifest.body.len() as u64, part["size"].as_u64().unwrap());
        let layer = manifest.json()["layers"][0].clone();
        let digest = layer["digest"].as_str().unwrap();
        let blob = get(&format!("/v2/team/demo/blobs/{digest}"));
        blob.has("content-type", "application/octet-stream").has("docker-content-digest", digest);
        blob.has("cache-control", FOREVER);
        assert_eq!(blob.body.len() as u64, layer["size"].as_u64().unwrap());
    }
}

#[test]
fn h11_head_is_get_without_a_body() {
    for target in targets().into_iter().chain(["/nothing".into()]) {
        let (whole, head) = (get(&target), request("HEAD", &target, &[]));
        assert_eq!(head.status, whole.status, "{target}");
        head.has("content-length", &whole.body.len().to_string());
        let known = |reply: &Reply| {
            let changing = |name: &str| name.eq_ignore_ascii_case("date");
            let mut headers: Vec<_> = reply.headers.iter().filter(|(name, _)| !changing(name)).cloned().collect();
            headers.sort();
            headers
        };
        assert_eq!(known(&head), known(&whole), "{target}");
    }
}

#[test]
fn h11_a_part_of_a_file_can_be_asked_for() {
    let digest = blob_digests()[0].clone();
    for target in ["/demo-1.0.0.tgz".to_owned(), format!("/v2/team/demo/blobs/{digest}")] {
        let whole = get(&target).has("accept-ranges", "bytes").body.clone();
        let length = whole.len();
        let table = [
            ("bytes=0-3", 0..4),
            ("bytes=5-", 5..length),
            ("bytes=-7", length - 7..length),
            ("bytes=10-999999999", 10..length),
        ];
        for (range, part) in table {
            let reply = request("GET", &target, &[("Range", range)]);
            assert_eq!((reply.status, &reply.body[..]), (206, &whole[part.clone()]), "{target} {range}");
            reply.has("content-range", &format!("bytes {}-{}/{length}", part.start, part.end - 1));
        }
        let beyond = request("GET", &target, &[("Range", &format!("bytes={length}-"))]);
        assert_eq!((beyond.status, beyond.body.len()), (416, 0), "{target}");
        beyond.has("content-range", &format!("bytes */{length}"));
        for ignored in ["bytes=0-1,4-5", "bytes=x", "lines=1-2"] {
            assert_eq!(request("GET", &target, &[("Range", ignored)]).body, whole, "{ignored}");
        }
    }
}

#[test]
fn h11_what_a_client_has_already_is_not_sent_again() {
    for target in targets() {
        let tag = get(&target).header("etag").unwrap().to_owned();
        let same = request("GET", &target, &[("If-None-Match", &tag)]);
        assert_eq!((same.status, same.header("etag")), (304, Some(tag.as_str())), "{target}");
        assert_eq!(request("GET", &target, &[("If-None-Match", "\"other\"")]).status, 200, "{target}");
    }
}

#[test]
fn h11_what_is_not_published_is_answered_with_404_and_a_reason() {
    let targets = [
        "/nothing",
        "/demo-9.9.9.tgz",
        "/v3/",
        "/v2/team/other/tags/list",
        "/v2/team/demo/manifests/v9.9.9",
        "/v2/team/demo/blobs/latest",
        "/v2/team/demo/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "/v2/team/demo/",
        "/v2/team/demo/uploads/",
    ];
    for target in targets {
        let reply = get(target);
        assert_eq!(reply.status, 404, "{target}");
        reply.has("content-type", "application/json").has("cache-control", "no-store");
        let message = reply.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(target), "{message}");
    }
}

#[test]
fn h11_no_path_leads_to_anything_else_on_the_machine() {
    let root = WORLD.demo.root().display().to_string();
    WORLD.demo.write("target/published/.hidden.tgz", "hidden");
    WORLD.demo.write("target/published/image/inner.tgz", "inner");
    WORLD.demo.write("target/outer.tgz", "outer");
    let blob = blob_digests()[0]["sha256:".len()..].to_owned();
    let targets = [
        "/.lock".to_owned(),
        "/.hidden.tgz".into(),
        "/image".into(),
        "/image/".into(),
        "/image/index.json".into(),
        "/image/inner.tgz".into(),
        format!("/image/blobs/sha256/{blob}"),
        "/../outer.tgz".into(),
        "/../../Cargo.toml".into(),
        "/..%2fouter.tgz".into(),
        "/%2e%2e/outer.tgz".into(),
        "/%2e%2e%2fouter.tgz".into(),
        "/..\\outer.tgz".into(),
        "/image/../index.yaml".into(),
        format!("/{root}/target/outer.tgz"),
        "//etc/passwd".into(),
        "/v2/team/demo/blobs/../../../index.yaml".into(),
        "/v2/team/demo/blobs/sha256:../../index.json".into(),
        "/v2/team/demo/manifests/../index.json".into(),
        "/v2/../index.yaml".into(),
    ];
    for target in targets {
        assert_eq!(get(&target).status, 404, "{target}");
    }
}

#[test]
fn h11_nothing_can_be_written() {
    let before = WORLD.demo.snapshot();
    let targets = ["/index.yaml", "/demo-1.0.0.tgz", "/v2/team/demo/manifests/latest", "/v2/team/demo/blobs/uploads/"];
    for method in ["PUT", "POST", "PATCH", "DELETE", "OPTIONS"] {
        for target in targets {
            let reply = request(method, target, &[("Content-Length", "0")]);
            assert_eq!(reply.status, 405, "{method} {target}");
            reply.has("allow", "GET, HEAD");
        }
    }
    let published = |files: std::collections::BTreeMap<String, Vec<u8>>| {
        files.into_iter().filter(|(name, _)| !name.ends_with("hidden.tgz") && !name.ends_with("inner.tgz"))
    };
    assert!(published(before).eq(published(WORLD.demo.snapshot())));
}

#[test]
fn h11_one_connection_carries_many_requests() {
    let mut connection = connect((Ipv4Addr::LOCALHOST, WORLD.demo.port).into());
    for _ in 0..3 {
        for (method, target, status) in
            [("GET", "/index.yaml", 200), ("HEAD", "/demo-1.0.0.tgz", 200), ("GET", "/no", 404), ("DELETE", "/", 405)]
        {
            assert_eq!(exchange(&mut connection, method, target, &[]).status, status, "{method} {target}");
        }
    }
}

#[test]
fn h11_no_page_of_somebody_else_reads_what_is_served_by_a_name_of_its_own() {
    let port = WORLD.demo.port;
    let own = ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"];
    for name in own.iter().flat_map(|name| [(*name).to_owned(), format!("{name}:{port}")]) {
        assert_eq!(request("GET", "/index.yaml", &[("Host", &name)]).status, 200, "{name}");
    }
    for name in ["charts.example.com", "localhost.example.com", "example.com:80", "127.0.0.1.example.com", "[::2]", ""]
    {
        for target in ["/index.yaml", "/v2/team/demo/manifests/latest", "/"] {
            let refused = request("GET", target, &[("Host", name)]);
            assert_eq!(refused.status, 421, "{name} {target}");
            assert!(!String::from_utf8_lossy(&refused.body).contains("demo-1.0.0"), "{name} {target}");
        }
    }
    // What the request's own line says counts more than the header, as RFC 9112 has it.
    let foreign = format!("http://charts.example.com:{port}/index.yaml");
    assert_eq!(request("GET", &foreign, &[]).status, 421);
    let twice = request("GET", "/index.yaml", &[("Host", "charts.example.com"), ("Host", "localhost")]);
    assert_ne!(twice.status, 200);
}

#[test]
fn h11_clients_that_never_finish_a_request_keep_nobody_else_waiting_for_long() {
    // A server of its own: this one is kept busy.
    let demo = Demo::new();
    demo.xtask(&["release"]).ok();
    let world = World::new(demo);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, world.demo.port));
    let started = Instant::now();
    let slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /index.yaml HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
            stream
        })
        .collect();
    let mut patient = TcpStream::connect(address).unwrap();
    patient.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    patient.write_all(b"GET /index.yaml HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    patient.read_to_string(&mut answer).unwrap();
    let took = started.elapsed();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // Two times as many as may be there at once were before it, and each of them had its ten seconds.
    assert!((Duration::from_secs(18)..Duration::from_secs(60)).contains(&took), "{took:?}");
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        // Cut, with or without a word.
        assert!(stream.read_to_end(&mut rest).is_ok() || rest.is_empty());
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
}

#[test]
fn h6_what_everybody_reads_is_what_was_published_and_a_failed_read_is_never_taken_for_nothing() {
    let target = Workspace::find(WORLD.demo.root()).unwrap().target("local").unwrap();
    let public = Public::new(&target);
    assert_eq!(public.get("index.yaml").unwrap().unwrap().bytes, WORLD.demo.snapshot()["index.yaml"]);
    assert_eq!(public.get("demo-9.9.9.tgz").unwrap(), None);
    assert_eq!(public.put_new("demo-9.9.9.tgz", b"x").unwrap_err().exit, Exit::Usage);
    for (status, read) in
        [(404, Ok(None)), (403, Err(Exit::Repository)), (429, Err(Exit::Repository)), (500, Err(Exit::Repository))]
    {
        let answers = move |_: &mut Asked| Way::Here(Answer::new(status, "text/plain", "no"));
        let server = Proxy::with(free_port(), Dialect::Registry, answers, |_, answer| answer);
        let public = Public::new(&Target { repository: server.url(), ..target.clone() });
        assert_eq!(public.get("index.yaml").map_err(|error| error.exit), read, "{status}");
        assert_eq!(server.count("GET", "/index.yaml"), if status == 429 || status == 500 { 4 } else { 1 }, "{status}");
    }
}

#[test]
fn x6_what_is_asked_for_over_tls_is_not_taken_from_where_a_redirect_leads_without_it() {
    let answers = |_: &mut Asked| Way::Here(Answer::new(200, "text/plain", "of whoever sits in between"));
    let plain = Proxy::with(free_port(), Dialect::Registry, answers, |_, answer| answer);
    let signpost = Signpost::to(&format!("{}/index.yaml", plain.url()));
    let authority = Certificate::from_pem(signpost.authority.as_bytes()).unwrap();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[authority]))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let limit = Duration::from_secs(30);
    let user = Anonymous::with_settings(limit, |settings| settings.tls_config(tls.build()));
    let error = user.get(&format!("{}/index.yaml", signpost.url()), &[]).unwrap_err();
    assert!(error.why.as_ref().is_some_and(|why| why.contains("https")), "{error}");
    assert_eq!(plain.count("GET", "/index.yaml"), 0, "nobody was asked");
    let answer = user.get_without_redirects(&signpost.url(), &[]).unwrap();
    assert_eq!(answer.status, 302, "it is where it leads that is refused, and not who leads there");
}

#[test]
fn h3_localhost_is_served_under_both_of_its_addresses() {
    assert_eq!(get("/index.yaml").status, 200);
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        skipped("this machine has no IPv6");
        return;
    }
    let mut connection = connect((Ipv6Addr::LOCALHOST, WORLD.demo.port).into());
    assert_eq!(exchange(&mut connection, "GET", "/index.yaml", &[]).status, 200);
}

#[test]
fn h12_serving_on_another_port_than_the_charts_name_is_refused_and_the_right_one_is_named() {
    let other = (WORLD.demo.port + 1).to_string();
    let run = WORLD.demo.xtask(&["serve", "--port", &other]);
    run.fails(2, &format!("cargo xtask serve --port {}", WORLD.demo.port));
}

#[test]
fn x7_a_port_that_is_in_use_is_named_with_the_command_that_shows_who_uses_it() {
    let port = WORLD.demo.port;
    let right = port.to_string();
    WORLD.demo.xtask(&["serve", "--port", &right]).fails(4, &format!("ss -ltnp 'sport = :{port}'"));
}

#[test]
fn x6_verify_asks_the_serve_that_is_there_and_no_other_program() {
    let proof = WORLD.demo.xtask(&["verify", "--json"]).ok().json();
    assert_eq!(proof["chart"].as_str(), Some(format!("{}/demo-1.0.0.tgz", WORLD.demo.url()).as_str()));
    // The same port, another folder: what is served there is not what this workspace published.
    let stranger = Demo::on_port(WORLD.demo.port);
    stranger.xtask(&["verify"]).fails(4, "cannot open port");
    stranger.xtask(&["release"]).fails(4, "cannot open port");
    assert!(stranger.snapshot().is_empty());
}
