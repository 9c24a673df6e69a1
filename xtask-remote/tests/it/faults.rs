//! A release to production while things go wrong: it gets over what passes, says clearly what does not, and loses nothing.
//!
//! What is put into the image is pretended (see `pretended_programs`): how binaries are compiled is no part of this. Every fault meets
//! a whole release of the next version, on servers that stay: so the index that must not lose an entry is a growing one, and
//! the observer looks on from the first fault to the last.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::production::Production;
use crate::servers::{Asked, Fault, Faults, Met, Packages, When};
use crate::support::{Run, files_below, pretended_programs};

/// The words that are said, and said again after every failure.
const WORDS: [&str; 5] = ["release", "patch", "--to", "production", "--push"];
/// Answers that another try does not change: whoever gets one is told.
const FINAL: [&str; 4] = ["403", "404", "409", "412"];
/// The beginning of the user and the password, as HTTP's basic authentication spells them.
const BASIC: &str = "cHVibGlzaGVyOm";

/// Production, and compilers that answer at once.
struct World {
    production: Production,
    programs: TempDir,
}

impl World {
    fn new() -> Option<Self> {
        Some(Self::of(Production::new()?))
    }

    fn of(production: Production) -> Self {
        let demo = &production.demo;
        demo.edit("Cargo.toml", "plain-http-registry = true\n", "plain-http-registry = true\ntimeout-seconds = 2\n");
        demo.commit("wait for seconds");
        demo.git(&["push", "--quiet"]);
        World { production, programs: pretended_programs() }
    }

    /// The tool as a publisher has it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.production.command(words);
        let path = format!("{}:/usr/bin:/bin", self.programs.path().display());
        command.env("CARGO", self.programs.path().join("cargo")).env("PATH", path).stdin(Stdio::null());
        command
    }

    fn xtask(&self, words: &[&str]) -> Run {
        Run::of(self.command(words))
    }

    /// A whole release. Where it says that, and why, it waits for caches to forget, their time passes.
    fn release(&self, cue: &str) -> Run {
        let mut command = self.command(&WORDS);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = String::new();
        let mut is_late = true;
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            if is_late && line.contains(cue) {
                self.production.edge.advance(Duration::from_secs(320));
                is_late = false;
            }
            stderr += &line;
            stderr.push('\n');
        }
        Run { code: child.wait().unwrap().code(), stdout: String::new(), stderr }
    }

    /// The versions that the bucket's own index lists.
    fn listed(&self) -> BTreeSet<String> {
        let index = self.production.store.get("index.yaml").unwrap().json();
        let entries = index["entries"]["demo"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that every fault was met, and takes it away.
    #[track_caller]
    fn heal(&self) {
        for place in [s3, aws, registry, edge] {
            place(&self.production).heal();
        }
        // An edge remembers for 10 s that something is missing.
        self.production.edge.advance(Duration::from_secs(11));
    }

    /// Both locations keep the index as it is: none of them sees a new one before caches are told, or their time is over.
    fn visit(&self) {
        for location in [0, 1] {
            self.production.index(location);
        }
    }

    /// Something new to release: the word counts again.
    fn go_on(&self) {
        self.production.demo.commit("more");
    }

    /// A release that ends between its archive and its index, so that the next one meets an archive that is there.
    fn stop_after_archive(&self) {
        self.production.s3.inject(When::asked("PUT", "/index.yaml"), Fault::Status(403));
        self.release("").fails(6, "index.yaml");
        self.heal();
    }

    fn head(&self) -> String {
        self.production.demo.git(&["rev-parse", "HEAD"])
    }
}

/// A kind of request of a release.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    place: fn(&Production) -> &Faults,
    method: &'static str,
    is: fn(&Asked) -> bool,
    /// What an error about it names.
    named: &'static str,
    /// Whether requests of the kind, and answers to them, have a body.
    has_body: (bool, bool),
}

const NONE: (bool, bool) = (false, false);
const ANSWER: (bool, bool) = (false, true);
const REQUEST: (bool, bool) = (true, false);
const BOTH: (bool, bool) = (true, true);

fn s3(production: &Production) -> &Faults {
    production.s3.faults()
}

fn aws(production: &Production) -> &Faults {
    production.cloudfront.proxy.faults()
}

fn registry(production: &Production) -> &Faults {
    production.registry.proxy.faults()
}

/// Between the edge and its users.
fn edge(production: &Production) -> &Faults {
    production.edge.faults()
}

fn is_anonymous(asked: &Asked) -> bool {
    asked.header("authorization").is_none_or(|value| value.ends_with("anonymous"))
}

const PUT_INDEX: Kind = Kind {
    name: "S3 put index",
    place: s3,
    method: "PUT",
    is: |asked| asked.path.contains("/index.yaml"),
    named: "index.yaml",
    has_body: REQUEST,
};

const IN_AWS: [Kind; 10] = [
    Kind {
        name: "DescribeStacks",
        place: aws,
        method: "POST",
        is: |asked| asked.path == "/",
        named: "stack demo-charts",
        has_body: BOTH,
    },
    Kind {
        name: "S3 get index",
        place: s3,
        method: "GET",
        is: |asked| asked.path.contains("/index.yaml"),
        named: "index.yaml",
        has_body: ANSWER,
    },
    Kind {
        name: "S3 head index",
        place: s3,
        method: "HEAD",
        is: |asked| asked.path.contains("/index.yaml"),
        named: "index.yaml",
        has_body: NONE,
    },
    Kind {
        name: "S3 get .tgz",
        place: s3,
        method: "GET",
        is: |asked| asked.path.contains(".tgz"),
        named: ".tgz",
        has_body: ANSWER,
    },
    Kind {
        name: "S3 put .tgz",
        place: s3,
        method: "PUT",
        is: |asked| asked.path.contains(".tgz"),
        named: ".tgz",
        // Whoever finds the archive there puts none; the answer to one who is overtaken is as that for the index.
        has_body: REQUEST,
    },
    PUT_INDEX,
    Kind {
        name: "CreateInvalidation",
        place: aws,
        method: "POST",
        is: |asked| asked.path.ends_with("/invalidation"),
        named: "invalidat",
        has_body: BOTH,
    },
    Kind {
        name: "GetInvalidation",
        place: aws,
        method: "GET",
        is: |asked| asked.path.contains("/invalidation/"),
        named: "invalidat",
        has_body: ANSWER,
    },
    Kind {
        name: "public index",
        place: edge,
        method: "GET",
        is: |asked| asked.path == "/index.yaml",
        named: "index.yaml",
        has_body: ANSWER,
    },
    Kind {
        name: "public .tgz",
        place: edge,
        method: "GET",
        is: |asked| asked.path.ends_with(".tgz"),
        named: ".tgz",
        has_body: ANSWER,
    },
];

const IN_THE_REGISTRY: [Kind; 12] = [
    Kind {
        name: "ping",
        place: registry,
        method: "GET",
        is: |asked| asked.path == "/v2/",
        named: "localhost",
        has_body: ANSWER,
    },
    Kind {
        name: "token",
        place: registry,
        method: "GET",
        is: |asked| asked.path.starts_with("/token"),
        named: "localhost",
        has_body: ANSWER,
    },
    Kind {
        name: "HEAD manifest",
        place: registry,
        method: "HEAD",
        is: |asked| asked.path.contains("/manifests/"),
        named: "team/demo",
        has_body: NONE,
    },
    Kind {
        name: "GET manifest",
        place: registry,
        method: "GET",
        is: |asked| asked.path.contains("/manifests/") && !is_anonymous(asked),
        named: "team/demo",
        has_body: ANSWER,
    },
    Kind {
        name: "GET blob",
        place: registry,
        method: "GET",
        is: |asked| asked.path.contains("/blobs/") && !is_anonymous(asked),
        named: "team/demo",
        has_body: ANSWER,
    },
    Kind {
        name: "HEAD blob",
        place: registry,
        method: "HEAD",
        is: |asked| asked.path.contains("/blobs/"),
        named: "team/demo",
        has_body: NONE,
    },
    Kind {
        name: "start upload",
        place: registry,
        method: "POST",
        is: |asked| asked.path.contains("/uploads/"),
        named: "team/demo",
        has_body: NONE,
    },
    Kind {
        name: "upload",
        place: registry,
        method: "PUT",
        is: |asked| asked.path.contains("/uploads/"),
        named: "team/demo",
        has_body: REQUEST,
    },
    Kind {
        name: "put manifest by digest",
        place: registry,
        method: "PUT",
        is: |asked| asked.path.contains("/manifests/sha256:"),
        named: "team/demo",
        has_body: REQUEST,
    },
    Kind {
        name: "put manifest by tag",
        place: registry,
        method: "PUT",
        is: |asked| asked.path.contains("/manifests/") && !asked.path.contains("sha256:"),
        named: "team/demo",
        has_body: REQUEST,
    },
    Kind {
        name: "anonymous GET",
        place: registry,
        method: "GET",
        is: |asked| asked.path.starts_with("/v2/team") && is_anonymous(asked),
        named: "demo",
        has_body: ANSWER,
    },
    Kind {
        name: "list tags",
        place: registry,
        method: "GET",
        is: |asked| asked.path.contains("/tags/list"),
        named: "team/demo",
        has_body: ANSWER,
    },
];

type Named = (&'static str, Fault);

/// What networks do.
fn on_the_way() -> Vec<Named> {
    vec![
        ("refused", Fault::Refuse(Duration::from_millis(300))),
        ("reset", Fault::Reset),
        ("time-out", Fault::Stall),
        ("truncated", Fault::Truncate),
        ("checksum of the answer", Fault::Corrupt),
        ("checksum of the request", Fault::CorruptRequest),
        ("slow", Fault::Slow(Duration::from_secs(1))),
        ("reply lost", Fault::LoseReply),
    ]
}

/// What servers answer.
fn answered(statuses: &[&'static str]) -> Vec<Named> {
    statuses.iter().map(|status| (*status, Fault::Status(status.parse().unwrap()))).collect()
}

/// The table of faults and requests, with what came of each.
#[derive(Default)]
struct Outcomes(BTreeMap<(&'static str, &'static str), String>);

impl Outcomes {
    fn note(&mut self, fault: &'static str, kind: &Kind, outcome: impl Into<String>) {
        let outcome = outcome.into();
        println!("{fault} at {}: {outcome}", kind.name);
        self.0.insert((kind.name, fault), outcome);
    }

    fn print(&self) {
        for ((kind, fault), outcome) in &self.0 {
            println!("{kind:<22} {fault:<24} {outcome}");
        }
    }
}

/// Asserts that a run which failed says so as every error does, and gives the first line of it.
#[track_caller]
fn clear_error(run: &Run, kind: &Kind, fault: &str) -> String {
    let about = format!("{} {fault}: {:?}\n{}", kind.name, run.code, run.stderr);
    assert!(run.code.is_some_and(|code| (3..=8).contains(&code)), "an exit code of its own: {about}");
    let error = run.stderr.split_once("error: ").map(|(_, error)| error).unwrap_or_default();
    assert!(error.contains(kind.named), "the error names `{}`: {about}", kind.named);
    assert!(error.contains("\n  to do: "), "the error has a remedy: {about}");
    assert!(!run.stderr.contains("panicked"), "{about}");
    format!("exit {}: {}", run.code.unwrap_or_default(), error.lines().next().unwrap_or_default())
}

/// A fault at a kind of request.
struct Cell {
    kind: &'static Kind,
    met: Arc<Met>,
    /// How often it is to be done.
    times: usize,
}

impl Cell {
    fn new(world: &World, kind: &'static Kind, name: &str, fault: &Fault) -> Self {
        let (place, is) = ((kind.place)(&world.production), kind.is);
        let (request, answer) = kind.has_body;
        let can_be_done = match name {
            "truncated" | "checksum of the answer" => answer,
            "checksum of the request" => request,
            _ => true,
        };
        // What passes soonest comes twice in a row.
        let times = if ["reset", "503"].contains(&name) { 2 } else { 1 };
        let when = When::asked(kind.method, "").test(is).first(times);
        let met = if can_be_done { place.inject(when, fault.clone()) } else { place.offer(when, fault.clone()) };
        Cell { kind, met, times: if can_be_done { times } else { 0 } }
    }

    /// Whether the fault is still to be done.
    fn is_due(&self) -> bool {
        self.met.done() < self.times
    }

    /// Asserts that the fault was done as often as it is to be, or that requests of the kind have nothing that it could damage.
    fn check(&self, name: &str) {
        let Cell { kind: Kind { name: kind, .. }, met, times } = self;
        assert_eq!(met.done(), *times, "{name} at {kind}: how often it was done");
        assert!(*times > 0 || met.powerless() > 0, "{name} at {kind}: no such request was made");
    }
}

/// Each fault on each kind of request, once; what passes soonest, twice in a row.
fn passing(kinds: &'static [Kind], faults: &[Named]) {
    let Some(world) = World::new() else { return };
    let observer = world.production.observe();
    let mut outcomes = Outcomes::default();
    for (name, fault) in faults.iter().cloned() {
        world.visit();
        // The first run of a round ends between archive and index, so that another one meets an archive that is there.
        let stop = s3(&world.production).inject(When::asked("PUT", "/index.yaml").first(1), Fault::Status(403));
        let cells: Vec<Cell> = kinds.iter().map(|kind| Cell::new(&world, kind, name, &fault)).collect();
        gets_over(&world, name, &cells, &stop, &mut outcomes);
        if cells.iter().any(Cell::is_due) {
            // Where an invalidation is refused, nobody asks what became of it: the next version's is not.
            gets_over(&world, name, &cells, &stop, &mut outcomes);
        }
        for cell in &cells {
            cell.check(name);
            if cell.times == 0 {
                outcomes.note(name, cell.kind, "nothing there that it could damage");
            }
        }
        world.heal();
    }
    outcomes.print();
    assert_eq!(outcomes.0.len(), faults.len() * kinds.len(), "every cell has an outcome");
    let observed = observer.finish();
    assert_eq!((observed.violations, observed.vanished), (Vec::new(), Vec::new()));
    assert_eq!(observed.versions, world.listed());
    assert_eq!(world.production.dropped(), Vec::<String>::new());
}

/// Releases one version, in as many runs as that takes, each of which but the last one meets a fault that stops it.
fn gets_over(world: &World, name: &'static str, cells: &[Cell], stop: &Met, outcomes: &mut Outcomes) {
    world.go_on();
    let before = world.listed();
    for _ in 0..cells.len() + 2 {
        let (started, stopped) = (Instant::now(), stop.done());
        let run = world.release("this run waits");
        assert!(world.listed().is_superset(&before), "{name}: {}", run.stderr);
        let mut met: Vec<&Cell> = cells.iter().filter(|cell| cell.met.last() > Some(started)).collect();
        met.sort_by_key(|cell| cell.met.last());
        for cell in &met {
            outcomes.note(name, cell.kind, "got over it");
        }
        if run.code == Some(0) {
            let warned = run.stderr.contains("this run waits");
            for cell in met.iter().filter(|cell| warned && cell.kind.name.ends_with("Invalidation")) {
                outcomes.note(name, cell.kind, "warning; users see it within max-age");
            }
            assert_eq!(world.listed().len(), before.len() + 1, "{name}");
            return;
        }
        if stop.done() > stopped {
            clear_error(&run, &PUT_INDEX, "403");
            continue;
        }
        assert!(FINAL.contains(&name), "{name} passes, and is to be got over: {}", run.stderr);
        assert!(!met.is_empty(), "{name}: failed without a fault: {}", run.stderr);
        let culprit = met.last().unwrap().kind;
        outcomes.note(name, culprit, clear_error(&run, culprit, name));
    }
    panic!("{name}: failed more often than there are faults");
}

/// A few faults that do not end, on each kind of request alone; after they do, the same words finish.
fn lasting(kinds: &'static [Kind], faults: &[Named]) {
    let Some(world) = World::new() else { return };
    let observer = world.production.observe();
    let mut outcomes = Outcomes::default();
    for (name, fault) in faults.iter().cloned() {
        for kind in kinds {
            world.visit();
            world.go_on();
            let before = world.listed();
            if kind.name == "S3 get .tgz" {
                world.stop_after_archive();
            }
            (kind.place)(&world.production).inject(When::asked(kind.method, "").test(kind.is), fault.clone());
            let run = world.release("Waiting up to");
            assert!(world.listed().is_superset(&before), "{}", run.stderr);
            let outcome = match run.code {
                Some(0) if run.stderr.contains("this run waits") => "warning; users see it within max-age".into(),
                Some(0) => "got over it".into(),
                _ => clear_error(&run, kind, name),
            };
            outcomes.note(name, kind, outcome);
            world.heal();
            let again = world.release("Waiting up to");
            assert_eq!(again.code, Some(0), "{} {name}: {}", kind.name, again.stderr);
            assert_eq!(world.listed().len(), before.len() + 1, "{} {name}", kind.name);
        }
    }
    outcomes.print();
    let observed = observer.finish();
    assert_eq!((observed.violations, observed.vanished), (Vec::new(), Vec::new()));
    assert_eq!(observed.versions, world.listed());
    assert_eq!(world.production.dropped(), Vec::<String>::new());
}

#[test]
fn x3_x4_h6_h7_what_breaks_on_the_way_to_store_and_cdn_costs_no_version() {
    passing(&IN_AWS, &on_the_way());
}

#[test]
fn x3_x4_h6_h7_what_store_and_cdn_fail_to_do_for_a_moment_costs_no_version() {
    passing(&IN_AWS, &answered(&["429", "500", "503"]));
}

#[test]
fn x3_x4_h6_h7_what_store_and_cdn_refuse_once_costs_no_version() {
    passing(&IN_AWS, &answered(&FINAL));
}

#[test]
fn x3_x4_i7_what_breaks_on_the_way_to_the_registry_costs_no_version() {
    passing(&IN_THE_REGISTRY, &on_the_way());
}

#[test]
fn x3_x4_i7_what_the_registry_fails_to_do_for_a_moment_costs_no_version() {
    passing(&IN_THE_REGISTRY, &answered(&["429", "500", "503"]));
}

#[test]
fn x3_x4_i7_what_the_registry_refuses_once_costs_no_version() {
    passing(&IN_THE_REGISTRY, &answered(&FINAL));
}

#[test]
fn x3_x4_h6_h7_what_store_and_cdn_always_refuse_is_said_and_the_same_words_finish() {
    lasting(&IN_AWS, &answered(&["403"]));
}

#[test]
fn x3_x4_h6_h7_a_store_that_is_down_is_said_and_the_same_words_finish() {
    lasting(&IN_AWS[..6], &answered(&["503"]));
}

#[test]
fn x3_x4_h6_h7_a_cdn_that_is_down_is_said_and_the_same_words_finish() {
    lasting(&IN_AWS[6..], &answered(&["503"]));
}

#[test]
fn x3_x4_i7_what_the_registry_always_refuses_is_said_and_the_same_words_finish() {
    lasting(&IN_THE_REGISTRY, &answered(&["403"]));
}

#[test]
fn x3_x4_i7_a_registry_that_is_down_before_anything_is_pushed_is_said_and_the_same_words_finish() {
    lasting(&IN_THE_REGISTRY[..6], &answered(&["503"]));
}

#[test]
fn x3_x4_i7_a_registry_that_is_down_from_the_first_push_on_is_said_and_the_same_words_finish() {
    lasting(&IN_THE_REGISTRY[6..], &answered(&["503"]));
}

#[test]
fn x3_x4_h6_h7_a_store_that_never_answers_a_write_is_said_and_the_same_words_finish() {
    lasting(&[PUT_INDEX], &[("time-out", Fault::Stall)]);
}

#[test]
fn x3_x4_i7_a_registry_that_never_answers_an_upload_is_said_and_the_same_words_finish() {
    assert_eq!(IN_THE_REGISTRY[7].name, "upload");
    lasting(&IN_THE_REGISTRY[7..8], &[("time-out", Fault::Stall)]);
}

#[test]
fn h6_x3_a_bad_environment_is_one_clear_message_and_nothing_is_written() {
    let Some(world) = World::new() else { return };
    let Production { demo, store, s3, moto, .. } = &world.production;
    moto.make_stack_with("other", &serde_json::json!({"Name": {"Value": "x"}}));
    moto.make_stack_with(
        "bare",
        &serde_json::json!({"BucketName": {"Value": "not-there"}, "DistributionId": {"Value": moto.distribution}}),
    );
    let manifest = demo.read("Cargo.toml");
    let table = manifest.split_once("[workspace.metadata.release.targets.production]").unwrap().1;
    let more = ["missing", "other", "bare"].map(|stack| {
        let table = table.replace("stack = \"demo-charts\"", &format!("stack = \"{stack}\""));
        format!("\n[workspace.metadata.release.targets.{stack}]{table}")
    });
    demo.write("Cargo.toml", manifest.clone() + &more.concat());
    demo.commit("more targets");
    demo.git(&["push", "--quiet"]);
    let (head, objects) = (world.head(), world.production.objects());
    let expect = |run: Run, code: i32, text: &str| {
        assert!(run.stderr.matches("error: ").count() == 1 && run.stderr.contains("\n  to do: "), "{}", run.stderr);
        run.fails(code, text);
        assert_eq!(world.head(), head, "nothing is committed");
        assert!(world.production.objects() == objects && world.production.tags().is_empty(), "nothing is written");
        world.heal();
    };
    let without_credentials = |words: &[&str]| {
        let mut command = world.command(words);
        Run::of({
            command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
            command
        })
    };
    expect(without_credentials(&WORDS), 4, "there are no AWS credentials");
    let plan = without_credentials(&["release", "--plan", "--to", "production"]).ok();
    assert!(plan.stdout.contains("unknown") && plan.stdout.contains("no AWS credentials"), "{}", plan.stdout);
    let mut command = world.command(&WORDS);
    command.env("AWS_SECRET_ACCESS_KEY", "another");
    expect(Run::of(command), 4, "the credentials are not valid here");
    let answer = |status: u16, code: &'static str| {
        s3.inject(When::asked("*", ""), Fault::Error { status, code, retry_after: None });
        world.xtask(&WORDS)
    };
    expect(answer(400, "ExpiredToken"), 4, "the credentials have expired: aws sso login");
    expect(answer(301, "PermanentRedirect"), 3, "correct `region` of the target");
    expect(answer(403, "AccessDenied"), 6, "these credentials may not do that");
    // Where only the index may not be read, all else says that there is none.
    s3.inject(When::asked("GET", "/index.yaml"), Fault::Status(403));
    expect(world.xtask(&WORDS), 6, "these credentials may not do that");
    let to = |target: &str| world.xtask(&["release", "patch", "--push", "--to", target]);
    expect(to("missing"), 4, "there is no stack missing in us-east-1");
    expect(to("other"), 4, "stack other has no outputs BucketName and DistributionId");
    expect(to("bare"), 6, "the stack's bucket is gone");
    for (content, said) in
        [("{\"apiVersion\":\"v1\",\"entr", "index.yaml"), ("<html>not an index</html>", "index.yaml")]
    {
        let good = store.get("index.yaml").unwrap().body;
        store.put("index.yaml", content.as_bytes(), &[]);
        world.xtask(&WORDS).fails(6, said);
        assert_eq!(store.get("index.yaml").unwrap().body, content.as_bytes(), "what is damaged is left as it is");
        let headers = [("content-type", "application/json"), ("cache-control", "public, max-age=300")];
        store.put("index.yaml", &good, &headers);
    }
    assert_eq!((world.head(), s3.count("PUT", "")), (head.clone(), 0));
}

#[test]
fn i5_i12_a_registry_that_denies_or_hides_the_image_stops_the_release_before_the_chart() {
    let Some(world) = World::new() else { return };
    let Production { registry, store, .. } = &world.production;
    let home = tempfile::tempdir().unwrap();
    let with_config = |config: Option<String>| {
        if let Some(config) = config {
            std::fs::write(home.path().join("config.json"), config).unwrap();
        }
        let mut command = world.command(&WORDS);
        command.env("DOCKER_CONFIG", home.path());
        Run::of(command)
    };
    let log_in = format!("docker login {}", registry.name());
    with_config(None).fails(4, &log_in);
    let wrong =
        registry.docker_config().replace("cHVibGlzaGVyOmNhbmFyeS1yZWdpc3RyeS1wYXNzd29yZA==", "cHVibGlzaGVyOm5v");
    with_config(Some(wrong)).fails(4, &log_in);
    // The client takes this for a registry that wants no credentials; people are not to be sent to log in.
    registry.proxy.inject(When::asked("GET", "/v2/").test(|asked| asked.path == "/v2/"), Fault::Status(503));
    let run = world.xtask(&WORDS).fails(6, "the registry is out of order");
    assert!(!run.stderr.contains("docker login"), "{}", run.stderr);
    world.heal();
    assert_eq!(store.keys(), ["index.yaml"]);
    registry.make_private(true);
    let run = world.xtask(&WORDS).fails(8, "to anonymous users");
    assert!(run.stderr.contains("make the image public"), "{}", run.stderr);
    assert_eq!(store.keys(), ["index.yaml"], "no chart is out");
    assert!(world.listed().is_empty());
    registry.make_private(false);
    world.xtask(&WORDS).ok();
    assert_eq!(world.listed().len(), 1);
}

#[test]
fn h6_a_bucket_without_an_index_is_an_error_until_somebody_asks_for_the_first_one() {
    for archive in [None, Some("demo-0.9.0.tgz")] {
        let Some(production) = Production::bare() else { return };
        let world = World::of(production);
        let store = &world.production.store;
        if let Some(name) = archive {
            store.put(name, b"an archive", &[]);
        }
        let (head, before) = (world.head(), store.keys());
        let run = world.xtask(&WORDS).fails(6, "the repository has no index.yaml");
        assert!(run.stderr.contains("--init") && run.stderr.contains("deploy-infra"), "{}", run.stderr);
        assert!(archive.is_none_or(|name| run.stderr.contains(name)), "{}", run.stderr);
        // Where nobody can say whether archives are there, nobody says that none are.
        world.production.s3.inject(When::asked("GET", "list-type=2"), Fault::Status(403));
        world.xtask(&WORDS).fails(6, "cannot list demo-charts");
        world.heal();
        world.production.s3.inject(When::asked("GET", "list-type=2").first(1), Fault::Status(503));
        world.xtask(&WORDS).fails(6, "the repository has no index.yaml");
        assert_eq!((world.head(), store.keys()), (head, before));
        world.xtask(&[&WORDS[..], &["--init"]].concat()).ok();
        assert_eq!(world.listed().len(), 1);
    }
}

#[test]
fn i4_no_secret_is_ever_printed_or_kept() {
    let Some(world) = World::new() else { return };
    let Production { s3, registry, demo, .. } = &world.production;
    registry.knows_token("canary-of-ci", Packages::Write);
    let run = || {
        let mut command = world.command(&WORDS);
        for name in ["GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN"] {
            command.env(name, "canary-of-ci");
        }
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("SMITHY_LOG", "trace");
        let run = Run::of(command);
        for text in [&run.stdout, &run.stderr] {
            assert!(!text.contains("canary") && !text.contains(BASIC), "{text}");
        }
        for (name, content) in files_below(&demo.root().join("target")) {
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains("canary") && !text.contains(BASIC), "{name}");
        }
        run
    };
    for (proxy, fault) in [
        (s3, Fault::Status(403)),
        (s3, Fault::Error { status: 403, code: "SignatureDoesNotMatch", retry_after: None }),
        (&registry.proxy, Fault::Status(401)),
        (&registry.proxy, Fault::Status(403)),
    ] {
        proxy.inject(When::asked("*", ""), fault);
        assert_ne!(run().code, Some(0));
        world.heal();
    }
    run().ok();
}
