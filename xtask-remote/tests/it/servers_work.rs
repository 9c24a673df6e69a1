//! The servers that stand in for production, before anything is proven with them: each thing that they claim is seen once.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::chart::archive::{self, ChartFiles, RELEASED_IMAGE};
use xtask::oci::{CONFIG, Digest, INDEX, LAYER, MANIFEST, sha256_hex};

use crate::servers::client::{Ask, Reply};
use crate::servers::{
    CloudFront, Dialect, Edge, Fault, Gate, HEADERS, Moto, Observer, PASSWORD, Proxy, Publication, Registry, Stack,
    USER, Versitygw, When, ask_aws,
};
use crate::support::{Helm, Run, on_path, skipped, wait_until};

const BUCKET: &str = "kube9-charts-123456789012";
const FOREVER: &str = "public, max-age=31536000, immutable";
const BRIEFLY: &str = "public, max-age=300";

#[test]
fn an_object_store_writes_under_conditions_and_keeps_versions() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let first = store.put("index.yaml", b"one", &[("if-none-match", "*"), ("cache-control", BRIEFLY)]);
    let again = store.object("PUT", "index.yaml", b"two").header("if-none-match", "*").send().unwrap().is(412);
    assert_eq!(again.elements("Code"), ["PreconditionFailed"]);
    let tag = first.header("etag").unwrap();
    store.put("index.yaml", b"two", &[("if-match", tag)]);
    store.object("PUT", "index.yaml", b"three").header("if-match", tag).send().unwrap().is(412);
    store.object("PUT", "missing", b"three").header("if-match", tag).send().unwrap().is(404);
    assert_eq!(store.get("index.yaml").unwrap().body, b"two");
    assert!(store.get("missing").is_none());
    assert_eq!(store.keys(), ["index.yaml"]);
    let versions = store.versions("index.yaml");
    assert_eq!(versions.iter().map(|id| store.version("index.yaml", id)).collect::<Vec<_>>(), [b"two", b"one"]);
    store.delete("index.yaml");
    assert!(store.keys().is_empty() && store.versions("index.yaml").len() == 2, "{}", store.log());
}

#[test]
fn an_object_store_believes_only_signatures() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    store.put("a.tgz", b"archive", &[]);
    Ask::get(&format!("{}/{BUCKET}/a.tgz", store.url())).send().unwrap().is(403);
    let mut stranger = store.credentials.clone();
    stranger.secret_key.push('x');
    let reply = store.object_as(&stranger, "GET", "a.tgz", b"").send().unwrap().is(403);
    assert_eq!(reply.elements("Code"), ["SignatureDoesNotMatch"]);
    let sent = store.object("PUT", "b.tgz", b"archive").body(*b"Archive").send().unwrap();
    assert!(sent.status >= 400 && store.get("b.tgz").is_none(), "{}", sent.text());
}

#[test]
fn x5_an_object_store_loses_nothing_of_a_crowd_through_a_proxy() {
    const WRITERS: usize = 16;
    const EACH: usize = 4;
    let Some(scene) = Scene::new() else { return };
    scene.store.put("index.yaml", b"", &[]);
    let add = |line: &str| {
        let read = scene.ask("GET", "index.yaml", b"").send().unwrap().is(200);
        let body = [read.body.as_slice(), line.as_bytes()].concat();
        let write = scene.ask("PUT", "index.yaml", &body).header("if-match", read.header("etag").unwrap());
        match write.send().unwrap().status {
            200 => true,
            412 => false,
            other => panic!("{other}"),
        }
    };
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let add = &add;
            threads.spawn(move || (0..EACH).for_each(|each| while !add(&format!("{writer}-{each}\n")) {}));
        }
    });
    let text = scene.store.get("index.yaml").unwrap().text();
    let lines: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!((lines.len(), text.lines().count()), (WRITERS * EACH, WRITERS * EACH));
    let lost = scene.proxy.seen().iter().filter(|seen| seen.status == Some(412)).count();
    println!("{} writes, {lost} more were refused", WRITERS * EACH);
}

#[test]
fn servers_leave_no_process_and_no_file_behind() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let (url, folder) = (format!("{}/health", store.url()), store.folder().to_owned());
    Ask::get(&url).send().unwrap().is(200);
    assert!(folder.join("data").is_dir());
    drop(store);
    assert_eq!(Ask::get(&url).send().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(!folder.exists());
}

#[test]
fn a_registry_is_pulled_from_by_anybody_and_pushed_to_with_the_password() {
    let Some(registry) = Registry::start() else { return };
    let refused = Ask::new("POST", &format!("{}/v2/team/demo/blobs/uploads/", registry.url())).send().unwrap().is(401);
    assert!(refused.header("www-authenticate").unwrap().ends_with("repository:team/demo:pull,push\""));
    let digest = push_image(&registry, "1.0.0", "amd64");
    let manifest = format!("{}/v2/team/demo/manifests/1.0.0", registry.url());
    let challenge = Ask::get(&manifest).send().unwrap().is(401);
    let realm = challenge.header("www-authenticate").unwrap().split('"').nth(1).unwrap().to_owned();
    let token = Ask::get(&realm).send().unwrap().is(200).json()["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let pull = || Ask::get(&manifest).header("accept", INDEX).header("authorization", &bearer).send().unwrap();
    assert_eq!(pull().is(200).header("docker-content-digest"), Some(digest.as_str()));
    Ask::new("PUT", &manifest).header("authorization", &bearer).send().unwrap().is(401);
    registry.make_private(true);
    assert!(pull().is(401).header("www-authenticate").is_some());
    Ask::get(&realm).send().unwrap().is(401);
    registry.make_private(false);
    pull().is(200);
}

#[test]
fn a_registry_is_one_for_skopeo() {
    let Some(registry) = Registry::start() else { return };
    let Some(skopeo) = on_path("skopeo") else { return skipped("skopeo is not on PATH") };
    let digest = push_image(&registry, "1.0.0", "amd64");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&skopeo);
        command.args(arguments).env("REGISTRY_AUTH_FILE", folder.path().join("auth.json"));
        Run::of(command)
    };
    let [from, to] = ["1.0.0", "copy"].map(|tag| format!("docker://{}/team/demo:{tag}", registry.name()));
    let raw = run(&["inspect", "--raw", "--tls-verify=false", &from]).ok().stdout;
    assert_eq!(format!("sha256:{}", sha256_hex(raw.as_bytes())), digest);
    let copy = ["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to];
    assert_ne!(run(&copy).code, Some(0));
    std::fs::write(folder.path().join("auth.json"), registry.docker_config()).unwrap();
    run(&copy).ok();
    let wrong = format!("{USER}:x{PASSWORD}");
    assert_ne!(run(&[&copy[..], &["--dest-creds", &wrong]].concat()).code, Some(0));
}

#[test]
fn a_stack_says_where_the_bucket_and_the_distribution_are() {
    let stack = Stack { name: "charts".into(), bucket: BUCKET.into(), repository: "https://localhost".into() };
    let Some(moto) = Moto::start(&stack) else { return };
    let aws = CloudFront::before(&moto, None);
    let form = "Action=DescribeStacks&Version=2010-05-15&StackName=";
    let reply = ask_aws(aws.proxy.port, "cloudformation", "POST", "/", &format!("{form}charts")).is(200);
    let outputs: BTreeMap<_, _> = reply.elements("OutputKey").into_iter().zip(reply.elements("OutputValue")).collect();
    let expected = [
        ("BucketArn", format!("arn:aws:s3:::{BUCKET}")),
        ("BucketName", BUCKET.into()),
        ("DistributionDomain", "charts.cloudfront.invalid".into()),
        ("DistributionId", moto.distribution.clone()),
        ("RepositoryUrl", "https://localhost".into()),
    ];
    assert_eq!(outputs, expected.map(|(name, value)| (name.to_owned(), value)).into());
    let reply = ask_aws(moto.port, "cloudformation", "POST", "/", &format!("{form}other"));
    assert_eq!((reply.status, reply.elements("Code")), (400, vec!["ValidationError".into()]));
}

#[test]
fn an_invalidation_takes_time_and_is_replayed() {
    let stack = Stack { name: "charts".into(), bucket: BUCKET.into(), repository: "https://localhost".into() };
    let (Some(moto), Some(store)) = (Moto::start(&stack), Versitygw::start(BUCKET)) else { return };
    let edge = Edge::before(&store);
    let aws = CloudFront::before(&moto, Some(edge.caches()));
    let invalidations = format!("/2020-05-31/distribution/{}/invalidation", moto.distribution);
    let invalidate = |reference: &str, path: &str| {
        let body = format!(
            "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>1</Quantity>\
             <Items><Path>{path}</Path></Items></Paths><CallerReference>{reference}</CallerReference></InvalidationBatch>"
        );
        ask_aws(aws.proxy.port, "cloudfront", "POST", &invalidations, &body)
    };
    store.put("index.yaml", b"one", &[("cache-control", BRIEFLY)]);
    edge.get(0, "/index.yaml");
    store.put("index.yaml", b"two", &[("cache-control", BRIEFLY)]);
    aws.slow_down(2, Duration::from_millis(300));
    let first = invalidate("a", "/index.yaml").is(201);
    assert_eq!((first.elements("Status"), edge.get(0, "/index.yaml").body), (vec!["InProgress".into()], b"one".into()));
    let id = first.elements("Id").remove(0);
    let poll = || ask_aws(aws.proxy.port, "cloudfront", "GET", &format!("{invalidations}/{id}"), "").elements("Status");
    assert_eq!([poll(), poll()], [["InProgress"], ["InProgress"]]);
    assert!(wait_until(Duration::from_secs(10), || poll() == ["Completed"]));
    assert_eq!(edge.get(0, "/index.yaml").body, b"two");
    assert_eq!(invalidate("a", "/index.yaml").is(201).elements("Id"), [id.as_str()]);
    assert_eq!(invalidate("a", "/*").is(400).elements("Code"), ["InvalidationBatchAlreadyExists"]);
    assert_eq!((moto.invalidations().len(), aws.invalidated()["a"].as_slice()), (1, ["/index.yaml".into()].as_slice()));
    aws.slow_down(0, Duration::ZERO);
    aws.forget();
    assert_ne!(invalidate("a", "/index.yaml").is(201).elements("Id"), [id.as_str()], "what is forgotten is made again");
    assert_eq!(edge.get(0, "/index.yaml").header("x-cache"), Some("Miss from cloudfront"));
    aws.disconnect();
    store.put("index.yaml", b"three", &[]);
    invalidate("b", "/*").is(201);
    assert_eq!(edge.get(0, "/index.yaml").body, b"two", "nobody told the edge");
}

#[test]
fn h13_an_edge_asks_the_bucket_only_on_a_miss() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let edge = Edge::before(&store);
    store.put("a-1.0.0.tgz", b"archive", &[("cache-control", FOREVER), ("content-type", "application/gzip")]);
    let miss = edge.get(0, "/a-1.0.0.tgz").is(200);
    assert_eq!((miss.header("x-cache"), miss.header("age")), (Some("Miss from cloudfront"), None));
    assert_eq!((miss.header("content-type"), miss.header("cache-control")), (Some("application/gzip"), Some(FOREVER)));
    edge.advance(Duration::from_secs(100));
    let hit = edge.get(0, "/a-1.0.0.tgz?fresh=1").is(200);
    assert_eq!((hit.header("x-cache"), hit.body.as_slice()), (Some("Hit from cloudfront"), &b"archive"[..]));
    assert!(hit.header("age").unwrap().parse::<u64>().unwrap() >= 100);
    assert_eq!(edge.fetched("/a-1.0.0.tgz"), 1);
    assert_eq!(edge.get(1, "/a-1.0.0.tgz").header("x-cache"), Some("Miss from cloudfront"), "a cache of its own");
    assert_eq!(edge.fetched("/a-1.0.0.tgz"), 2);
}

#[test]
fn h7_an_edge_keeps_an_index_until_its_time_is_over_or_it_is_invalidated() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let edge = Edge::before(&store);
    let put = |text: &str| drop(store.put("index.yaml", text.as_bytes(), &[("cache-control", BRIEFLY)]));
    let both = || [0, 1].map(|location| edge.get(location, "/index.yaml").text());
    put("one");
    assert_eq!(both(), ["one", "one"]);
    put("two");
    edge.advance(Duration::from_secs(290));
    assert_eq!(both(), ["one", "one"]);
    edge.advance(Duration::from_secs(10));
    assert_eq!(both(), ["two", "two"]);
    for (number, path) in ["/index.yaml", "/*", "/index*"].into_iter().enumerate() {
        put(&number.to_string());
        edge.caches().invalidate(&["/other".into()]);
        assert_ne!(both()[0], number.to_string());
        edge.caches().invalidate(&[path.into()]);
        assert_eq!(both(), [number.to_string(), number.to_string()], "{path}");
    }
}

#[test]
fn an_edge_remembers_for_ten_seconds_that_an_object_is_missing() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let edge = Edge::before(&store);
    edge.get(0, "/a-1.0.0.tgz").is(404);
    store.put("a-1.0.0.tgz", b"archive", &[]);
    assert_eq!(edge.get(0, "/a-1.0.0.tgz").is(404).header("x-cache"), Some("Hit from cloudfront"));
    edge.get(1, "/a-1.0.0.tgz").is(200);
    edge.advance(Duration::from_secs(10));
    edge.get(0, "/a-1.0.0.tgz").is(200);
    edge.get(0, "/").is(404);
}

#[test]
fn h11_an_edge_answers_as_the_distribution_is_configured() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let edge = Edge::before(&store);
    let put = store.put("a b.tgz", b"archive", &[("cache-control", FOREVER)]);
    let ask = |method: &str| edge.ask(0, method, "/a%20b.tgz");
    for (name, value) in HEADERS {
        assert_eq!(ask("GET").send().unwrap().header(name), Some(value));
    }
    let head = ask("HEAD").send().unwrap().is(200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("7"), 0));
    let tag = put.header("etag").unwrap();
    assert!(ask("GET").header("if-none-match", tag).send().unwrap().is(304).body.is_empty());
    for (range, status, body) in
        [("bytes=1-2", 206, "rc"), ("bytes=4-", 206, "ive"), ("bytes=-2", 206, "ve"), ("bytes=7-", 416, "")]
    {
        assert_eq!(ask("GET").header("range", range).send().unwrap().is(status).text(), body, "{range}");
    }
    ask("OPTIONS").send().unwrap().is(200);
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        ask(method).send().unwrap().is(403);
    }
    assert_eq!(store.get("a b.tgz").unwrap().body, b"archive");
}

#[test]
fn an_edge_serves_what_it_has_where_the_bucket_does_not_answer() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let proxy = Proxy::before(store.port, Dialect::S3);
    let edge = Edge::through(&store, proxy.port);
    store.put("index.yaml", b"one", &[("cache-control", BRIEFLY)]);
    edge.get(0, "/index.yaml").is(200);
    edge.advance(Duration::from_secs(300));
    let rule = proxy.inject(When::asked("GET", "/"), Fault::Status(503));
    edge.get(0, "/index.yaml").is(200);
    edge.get(1, "/index.yaml").is(503);
    assert_eq!(rule.done(), 2);
    proxy.heal();
    edge.get(1, "/index.yaml").is(503);
    edge.advance(Duration::from_secs(10));
    edge.get(1, "/index.yaml").is(200);
}

#[test]
fn an_edge_is_trusted_by_whoever_has_its_authority() {
    let Some(store) = Versitygw::start(BUCKET) else { return };
    let Some(curl) = on_path("curl") else { return skipped("curl is not on PATH") };
    let edge = Edge::before(&store);
    store.put("index.yaml", b"one", &[]);
    let fetch = |authority: &str| {
        let mut command = Command::new(&curl);
        command.args(["--silent", "--noproxy", "*", "--cacert", authority]).arg(format!("{}/index.yaml", edge.url()));
        Run::of(command)
    };
    assert_eq!(fetch(&edge.authority().display().to_string()).ok().stdout, "one");
    assert_ne!(fetch("/dev/null").code, Some(0));
}

/// An object store behind a proxy.
struct Scene {
    store: Versitygw,
    proxy: Proxy,
}

impl Scene {
    fn new() -> Option<Self> {
        let store = Versitygw::start(BUCKET)?;
        store.put("a", b"the whole object", &[]);
        Some(Scene { proxy: Proxy::before(store.port, Dialect::S3), store })
    }

    fn ask(&self, method: &str, key: &str, body: &[u8]) -> Ask {
        self.store.object(method, key, body).at(([127, 0, 0, 1], self.proxy.port).into())
    }

    fn get(&self) -> std::io::Result<Reply> {
        self.ask("GET", "a", b"").send()
    }
}

#[test]
fn a_proxy_changes_nothing_and_records_everything() {
    let Some(scene) = Scene::new() else { return };
    let body = vec![b'x'; 3 << 20];
    scene.ask("PUT", "large", &body).header("cache-control", FOREVER).send().unwrap().is(200);
    let reply = scene.ask("GET", "large", b"").send().unwrap().is(200);
    assert!(reply.body == body && reply.header("cache-control") == Some(FOREVER));
    let head = scene.ask("HEAD", "large", b"").send().unwrap().is(200);
    assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()));
    scene.ask("GET", "missing", b"").send().unwrap().is(404);
    let seen = scene.proxy.seen();
    assert_eq!(seen[0].headers["cache-control"], FOREVER);
    let seen: Vec<_> = seen.iter().map(|seen| (seen.method.as_str(), seen.path.as_str(), seen.status)).collect();
    let [large, missing] = ["large", "missing"].map(|key| format!("/{BUCKET}/{key}"));
    let expected = [("PUT", &large, 200), ("GET", &large, 200), ("HEAD", &large, 200), ("GET", &missing, 404)];
    assert_eq!(seen, expected.map(|(method, path, status)| (method, path.as_str(), Some(status))));
    assert_eq!((scene.proxy.count("*", "large"), scene.proxy.count("PUT", "")), (3, 1));
    scene.proxy.forget();
    assert!(scene.proxy.seen().is_empty());
}

#[test]
fn a_proxy_breaks_connections() {
    let Some(scene) = Scene::new() else { return };
    let get = |nth| When::asked("GET", "/a").nth(nth);
    scene.proxy.inject(get(1), Fault::Reset);
    scene.proxy.inject(get(2), Fault::Refuse(Duration::from_millis(300)));
    scene.proxy.inject(get(3), Fault::Truncate);
    scene.proxy.inject(get(4), Fault::Stall);
    assert_eq!(scene.get().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(scene.get().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(scene.get().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(wait_until(Duration::from_secs(10), || Ask::get(&scene.proxy.url()).send().is_ok()), "it listens again");
    assert_eq!(scene.get().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let stalled = scene.ask("GET", "a", b"").limit(Duration::from_millis(200)).send().unwrap_err();
    assert_eq!(stalled.kind(), ErrorKind::WouldBlock);
    scene.get().unwrap().is(200);
    let seen = scene.proxy.seen();
    let answered: Vec<_> = seen.iter().filter(|seen| seen.path.ends_with("/a")).map(|seen| seen.answered).collect();
    assert_eq!(answered, [None, None, Some(200), None, Some(200)]);
}

#[test]
fn a_proxy_changes_answers() {
    let Some(scene) = Scene::new() else { return };
    let get = |nth| When::asked("GET", "/a").nth(nth);
    scene.proxy.inject(get(1), Fault::Corrupt);
    scene.proxy.inject(get(2), Fault::Replace("whole", "other"));
    scene.proxy.inject(get(3), Fault::Slow(Duration::from_millis(300)));
    scene.proxy.inject(get(4), Fault::Error { status: 503, code: "SlowDown", retry_after: Some(2) });
    let corrupt = scene.get().unwrap().is(200).body;
    assert!(corrupt.len() == 16 && corrupt != b"the whole object");
    assert_eq!(scene.get().unwrap().text(), "the other object");
    let started = Instant::now();
    assert_eq!(scene.get().unwrap().text(), "the whole object");
    assert!(started.elapsed() >= Duration::from_millis(240));
    let busy = scene.get().unwrap().is(503);
    assert_eq!((busy.header("retry-after"), busy.elements("Code")), (Some("2"), vec!["SlowDown".into()]));
    scene.proxy.inject(When::asked("PUT", "/b"), Fault::CorruptRequest);
    assert!(scene.ask("PUT", "b", b"some bytes").send().unwrap().status >= 400);
    assert!(scene.store.get("b").is_none());
}

#[test]
fn a_proxy_answers_in_the_words_of_the_server() {
    let s3 = [(403, "AccessDenied"), (404, "NoSuchKey"), (409, "ConditionalRequestConflict"), (500, "InternalError")];
    let s3 = s3.into_iter().chain([(412, "PreconditionFailed"), (503, "SlowDown")]).collect::<Vec<_>>();
    let aws =
        vec![(403, "AccessDenied"), (404, "NoSuchDistribution"), (429, "Throttling"), (503, "ServiceUnavailable")];
    let registry = vec![(401, "UNAUTHORIZED"), (403, "DENIED"), (404, "NAME_UNKNOWN"), (429, "TOOMANYREQUESTS")];
    for (dialect, table) in [(Dialect::S3, s3), (Dialect::Aws, aws), (Dialect::Registry, registry)] {
        // Nobody listens behind it.
        let proxy = Proxy::before(1, dialect);
        for (status, code) in table {
            proxy.inject(When::asked("GET", "/"), Fault::Status(status));
            let reply = Ask::get(&proxy.url()).send().unwrap().is(status);
            assert!(reply.text().contains(&format!(">{code}<")) || reply.text().contains(&format!("\"{code}\"")));
            proxy.heal();
        }
        Ask::get(&proxy.url()).send().unwrap().is(502);
    }
}

#[test]
fn a_proxy_loses_and_holds_what_took_effect() {
    let Some(scene) = Scene::new() else { return };
    scene.proxy.inject(When::asked("PUT", "/b").header("if-none-match", "*").first(1), Fault::LoseReply);
    let put = || scene.ask("PUT", "b", b"written").header("if-none-match", "*").send();
    assert_eq!(put().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(scene.store.get("b").unwrap().body, b"written");
    put().unwrap().is(412);
    let [before, after] = [Gate::new(), Gate::new()];
    let large = |asked: &crate::servers::Asked| asked.body.len() > 3;
    scene.proxy.inject(When::asked("PUT", "/c").test(large), Fault::Hold(before.clone()));
    scene.proxy.inject(When::asked("PUT", "/d"), Fault::HoldReply(after.clone()));
    std::thread::scope(|threads| {
        let held = ["c", "d"].map(|key| threads.spawn(|| scene.ask("PUT", key, b"held").send().unwrap()));
        before.wait_for(1);
        after.wait_for(1);
        assert!(scene.store.get("c").is_none() && scene.store.get("d").is_some());
        assert!(held.iter().all(|thread| !thread.is_finished()));
        scene.ask("PUT", "c", b"now").send().unwrap().is(200);
        before.open();
        after.open();
        for thread in held {
            thread.join().unwrap().is(200);
        }
    });
    assert_eq!(scene.store.get("c").unwrap().body, b"held");
}

#[test]
fn a_fault_passes_by_what_it_cannot_damage_and_waits_for_what_it_can() {
    let Some(scene) = Scene::new() else { return };
    let once = |method: &str| When::asked(method, "/a").first(1);
    let offered = [
        scene.proxy.faults().offer(once("HEAD"), Fault::Truncate),
        scene.proxy.faults().offer(once("PUT"), Fault::Corrupt),
        scene.proxy.faults().offer(once("GET"), Fault::CorruptRequest),
        scene.proxy.faults().offer(once("GET").header("range", "bytes=0-2"), Fault::Replace("whole", "other")),
    ];
    scene.ask("HEAD", "a", b"").send().unwrap().is(200);
    assert!(scene.ask("PUT", "a", b"the whole object").send().unwrap().is(200).body.is_empty());
    let part = || scene.ask("GET", "a", b"").header("range", "bytes=0-2").send().unwrap();
    assert_eq!(part().is(206).body, b"the");
    for met in &offered {
        assert_eq!((met.done(), met.powerless(), met.last()), (0, 1, None));
    }
    scene.proxy.heal();
    // What was not done is still to be done, once.
    let cut = scene.proxy.inject(When::asked("*", "/a").first(1), Fault::Truncate);
    scene.ask("PUT", "a", b"the whole object").send().unwrap().is(200);
    assert_eq!(scene.get().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    scene.get().unwrap().is(200);
    assert_eq!((cut.done(), cut.powerless()), (1, 1));
}

#[test]
fn a_fault_that_nobody_meets_fails_its_test() {
    let healed = |proxy: Proxy| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| proxy.heal()));
    let ended = |proxy: Proxy| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(proxy)));
    for is_met in [true, false] {
        let injected = || {
            // Nobody listens behind it.
            let proxy = Proxy::before(1, Dialect::S3);
            proxy.inject(When::asked("GET", if is_met { "/a" } else { "/b" }), Fault::Status(503));
            Ask::get(&format!("{}/a", proxy.url())).send().unwrap().is(if is_met { 503 } else { 502 });
            proxy
        };
        assert_eq!((healed(injected()).is_ok(), ended(injected()).is_ok()), (is_met, is_met));
    }
}

#[test]
fn h3_h5_helm_knows_an_edge_for_a_chart_repository() {
    let Some(town) = Town::new() else { return };
    town.publish("1.0.0");
    let authority = town.edge.authority().display().to_string();
    for helm in Helm::all() {
        assert_ne!(helm.run(&["repo", "add", "kube9", &town.edge.url()]).code, Some(0), "nobody vouches for it");
        helm.run(&["repo", "add", "kube9", &town.edge.url(), "--ca-file", &authority]).ok();
        assert_eq!(helm.search(&["kube9/demo", "--versions"])[0]["version"], "1.0.0");
        helm.run(&["pull", "kube9/demo", "--destination", &helm.home().display().to_string()]).ok();
        assert_eq!(std::fs::read(helm.home().join("demo-1.0.0.tgz")).unwrap(), town.chart("1.0.0"), "{}", helm.name);
    }
}

#[test]
fn servers_can_become_what_they_were_while_they_run() {
    let Some(Town { store, edge, registry }) = Town::new() else { return };
    store.put("index.yaml", b"one", &[]);
    let one = push_image(&registry, "latest", "one");
    let kept = (store.keep(), registry.keep());
    let versions = store.versions("index.yaml");
    let tag = store.get("index.yaml").unwrap().header("etag").unwrap().to_owned();
    for _ in 0..2 {
        store.put("index.yaml", b"two", &[("if-match", &tag)]);
        store.put("a-1.0.0.tgz", b"archive", &[("if-none-match", "*")]);
        push_image(&registry, "latest", "two");
        assert_eq!(edge.get(0, "/index.yaml").body, b"two");
        store.restore(&kept.0);
        registry.restore(&kept.1);
        edge.caches().invalidate(&["/*".into()]);
        assert_eq!((store.keys(), store.versions("index.yaml")), (vec!["index.yaml".into()], versions.clone()));
        let latest = Ask::get(&format!("{}/v2/team/demo/manifests/latest", registry.url())).header("accept", INDEX);
        let latest = latest.header("authorization", &registry.authorization()).send().unwrap().is(200);
        assert_eq!(latest.header("docker-content-digest"), Some(one.as_str()));
    }
}

#[test]
fn an_observer_is_content_with_what_is_whole() {
    let Some(town) = Town::new() else { return };
    let observer = town.watch();
    town.publish("1.0.0");
    assert!(wait_until(Duration::from_secs(10), || town.edge.fetched("/demo-1.0.0.tgz") > 0));
    town.move_tags("1.0.0");
    std::thread::sleep(Duration::from_millis(300));
    let observed = observer.finish();
    assert!(observed.violations.is_empty(), "{observed:?}");
    assert!(observed.polls > 2 && observed.vanished.is_empty());
    assert_eq!((observed.archives, observed.images, observed.versions.len()), (1, 1, 1));
    assert_eq!(town.registry.proxy.count("*", "tags/list"), 0, "an observer leaves no trace");
}

#[test]
fn h6_an_observer_never_forgets_that_a_version_was_missing() {
    let Some(town) = Town::new() else { return };
    town.publish("1.0.0");
    let (chart, observer) = (town.chart("1.0.0"), town.watch());
    let show = |versions: &[(&str, &[u8])]| {
        town.list(versions);
        town.forget_everything();
        assert!(wait_until(Duration::from_secs(10), || town.edge.fetched("/index.yaml") > 0));
        std::thread::sleep(Duration::from_millis(100));
    };
    for _ in 0..2 {
        show(&[("1.0.0", &chart)]);
        show(&[]);
    }
    show(&[("1.0.0", &chart)]);
    let observed = observer.finish();
    let vanished: Vec<&str> = observed.vanished.iter().map(|vanished| vanished.version.as_str()).collect();
    assert_eq!(vanished, ["1.0.0", "1.0.0"], "it came back both times");
    assert!(observed.vanished[0].after < observed.vanished[1].after);
}

#[test]
fn an_observer_sees_what_no_user_may_meet() {
    type Wrong = (&'static str, fn(&Town));
    let table: [Wrong; 6] = [
        ("what is recorded of it is of another archive", |town| {
            town.store.put("demo-2.0.0.tgz", &town.chart("2.0.0"), &[]);
            town.record("2.0.0", &town.chart("1.0.0"));
            town.list(&[("1.0.0", &town.chart("1.0.0")), ("2.0.0", &town.chart("2.0.0"))]);
        }),
        ("ahead of the index", |town| {
            push_image(&town.registry, "latest", "s390x");
        }),
        ("demo-2.0.0.tgz is answered with 404", |town| town.list(&[("1.0.0", &town.chart("1.0.0")), ("2.0.0", b"")])),
        ("other bytes", |town| {
            town.list(&[("1.0.0", &town.chart("1.0.0")), ("2.0.0", &town.chart("2.0.0"))]);
            town.store.put("demo-2.0.0.tgz", b"damaged", &[]);
        }),
        ("is answered with 404 and other bytes", |town| {
            town.store.put("demo-2.0.0.tgz", &town.chart("2.0.0"), &[]);
            town.record("2.0.0", &town.chart("2.0.0"));
            town.list(&[("1.0.0", &town.chart("1.0.0")), ("2.0.0", &town.chart("2.0.0"))]);
        }),
        ("was another archive before", |town| town.list(&[("1.0.0", b"another")])),
    ];
    let Some(town) = Town::new() else { return };
    for (words, wrong) in table {
        town.publish("1.0.0");
        town.move_tags("1.0.0");
        town.forget_everything();
        let observer = town.watch();
        assert!(wait_until(Duration::from_secs(10), || town.edge.fetched("/demo-1.0.0.tgz") > 0));
        std::thread::sleep(Duration::from_millis(300));
        wrong(&town);
        town.edge.caches().invalidate(&["/*".into()]);
        std::thread::sleep(Duration::from_millis(300));
        let violations = observer.finish().violations;
        assert!(violations.iter().any(|violation| violation.contains(words)), "{words}: {violations:?}");
        town.store.delete("demo-2.0.0.tgz");
    }
    town.registry.make_private(true);
    town.publish("1.0.0");
    let observer = town.watch();
    std::thread::sleep(Duration::from_millis(300));
    assert!(observer.finish().violations.iter().any(|violation| violation.contains("is answered with 401")));
}

/// An edge and a registry, and a chart that is published by hand.
struct Town {
    store: Versitygw,
    edge: Edge,
    registry: Registry,
}

impl Town {
    fn new() -> Option<Self> {
        let store = Versitygw::start(BUCKET)?;
        Some(Town { edge: Edge::before(&store), store, registry: Registry::start()? })
    }

    fn watch(&self) -> Observer {
        let (edge, registry) = (&self.edge, &self.registry);
        Observer::start(&Publication {
            edge,
            location: 1,
            registry,
            image: "team/demo",
            chart: "demo",
            changes: Vec::new(),
        })
    }

    /// A chart that names the image its version has, whether that is there or not.
    fn chart(&self, version: &str) -> Vec<u8> {
        let digest = image(version).0;
        let image = format!("{}/team/demo:{version}@{digest}", self.registry.name());
        let manifest = format!(
            "apiVersion: v2\nname: demo\nversion: {version}\nappVersion: {version}\nannotations:\n  {RELEASED_IMAGE}: {image}\n"
        );
        let files = ChartFiles::from([("Chart.yaml".into(), manifest.into()), ("values.yaml".into(), b"{}".to_vec())]);
        archive::pack(&files, 0).unwrap()
    }

    fn publish(&self, version: &str) {
        for tag in [version.to_owned(), format!("v{version}")] {
            push_image(&self.registry, &tag, version);
        }
        let chart = self.chart(version);
        self.store.put(&format!("demo-{version}.tgz"), &chart, &[]);
        self.record(version, &chart);
        self.list(&[(version, &chart)]);
        self.edge.caches().invalidate(&["/*".into()]);
    }

    /// Records a version as that of this archive.
    fn record(&self, version: &str, chart: &[u8]) {
        let entry = serde_json::json!({"digest": sha256_hex(chart)});
        let record = serde_json::json!({"entry": entry, "size": chart.len(), "platforms": {}, "signers": []});
        self.store.put(&format!("demo-{version}.json"), record.to_string().as_bytes(), &[]);
    }

    /// Writes an index of these versions.
    fn list(&self, versions: &[(&str, &[u8])]) {
        let entry = |(version, chart): &(&str, &[u8])| {
            serde_json::json!({
                "apiVersion": "v2", "name": "demo", "version": version, "digest": sha256_hex(chart),
                "urls": [format!("{}/demo-{version}.tgz", self.edge.url())],
            })
        };
        let entries: Vec<_> = versions.iter().map(entry).collect();
        let index = serde_json::json!({"apiVersion": "v1", "entries": {"demo": entries}});
        self.store.put("index.yaml", index.to_string().as_bytes(), &[("cache-control", BRIEFLY)]);
    }

    fn move_tags(&self, version: &str) {
        for tag in ["latest", "1", "1.0"] {
            push_image(&self.registry, tag, version);
        }
    }

    fn forget_everything(&self) {
        self.edge.forget();
        self.edge.caches().invalidate(&["/*".into()]);
    }
}

/// The smallest image that differs by a word: its digest, its manifests and its blobs.
fn image(word: &str) -> (String, [Vec<u8>; 2], [Vec<u8>; 2]) {
    let layer = format!("a layer of {word}").into_bytes();
    let config = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"word\":\"{word}\"}}").into_bytes();
    let part = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": part(CONFIG, &config), "layers": [part(LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut platform = part(MANIFEST, &manifest);
    platform["platform"] = serde_json::json!({"architecture": "amd64", "os": "linux"});
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [platform]});
    let index = index.to_string().into_bytes();
    (Digest::of(&index).to_string(), [manifest, index], [config, layer])
}

/// Pushes the image of a word under a tag, with the password. Gives its digest.
fn push_image(registry: &Registry, tag: &str, word: &str) -> String {
    let (digest, [manifest, index], blobs) = image(word);
    let base = format!("{}/v2/team/demo", registry.url());
    let ask = |method: &str, url: &str, kind: &str, body: &[u8]| {
        let ask = Ask::new(method, url).header("authorization", &registry.authorization());
        ask.header("content-type", kind).body(body).send().unwrap()
    };
    for blob in blobs {
        let begun = ask("POST", &format!("{base}/blobs/uploads/"), "text/plain", b"").is(202);
        let place = begun.header("location").unwrap();
        let url = format!("{}{place}&digest={}", registry.url(), Digest::of(&blob));
        ask("PUT", &url, "application/octet-stream", &blob).is(201);
    }
    ask("PUT", &format!("{base}/manifests/{}", Digest::of(&manifest)), MANIFEST, &manifest).is(201);
    ask("PUT", &format!("{base}/manifests/{tag}"), INDEX, &index).is(201);
    digest
}
