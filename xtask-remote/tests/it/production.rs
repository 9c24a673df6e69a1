//! A release to where users are, on real servers: a registry, an object store, and an edge before it that alone is looked at.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use xtask::chart::index::{self, Entry};
use xtask::oci::Layout;

use crate::servers::{Answer, Asked, Dialect, Fault, HEADERS, PASSWORD, Proxy, USER, Way, When, Whole};
pub use crate::servers::{IMAGE, Production};
use crate::support::{Helm, Run, free_port, git, script, tool, wait_until};

#[test]
fn x1_i1_h2_one_command_releases_image_and_chart_and_users_see_them_at_once() {
    let Some(production) = Production::new() else { return };
    assert!(production.versions(0).is_empty() && production.versions(1).is_empty(), "both caches keep the old index");
    let observer = production.observe();
    let run = production.release(&["--json"]).ok();
    println!("{}", run.stderr);
    let report = run.json();
    assert_eq!((report["version"].as_str(), report["changed"].as_bool()), (Some("1.0.0"), Some(true)));
    let observed = observer.finish();
    assert_eq!((observed.violations, observed.vanished), (Vec::new(), Vec::new()));
    assert!(observed.versions.contains("1.0.0"), "{:?}", observed.versions);
    for location in [0, 1] {
        assert_eq!(production.versions(location), ["1.0.0"], "location {location}");
    }
    let digest = report["digest"].as_str().unwrap();
    let tags = production.tags();
    assert_eq!(tags.keys().map(String::as_str).collect::<Vec<_>>(), ["1", "1.0", "1.0.0", "latest", "v1.0.0"]);
    assert!(tags.values().all(|tagged| tagged == digest), "{tags:?}");
    assert_eq!(production.demo.git(&["rev-parse", "HEAD"]), git(production.origin.path(), &["rev-parse", "v1.0.0"]));
}

#[test]
fn x3_a_finished_release_is_done_and_says_so() {
    let Some(production) = Production::new() else { return };
    production.release(&[]).ok();
    let (objects, tags) = (production.objects(), production.tags());
    let versions = production.store.versions("index.yaml");
    let again = production.release(&["--json"]).ok();
    println!("{}", again.stderr);
    assert_eq!(again.json()["changed"], false);
    assert!(production.objects() == objects && production.tags() == tags, "no byte changes");
    assert_eq!(production.store.versions("index.yaml"), versions, "nor is any written again");
}

#[test]
fn h3_h5_h11_h12_h13_i2_i3_i11_every_helm_and_container_client_gets_it_through_the_edge() {
    let Some(production) = Production::new() else { return };
    production.release(&[]).ok();
    production.demo.write("chart/templates/more.yaml", "# more\n");
    production.demo.commit("more");
    production.release(&["minor", "--push"]).ok();
    production.edge.forget();
    let authority = production.edge.authority();
    for helm in Helm::all() {
        let url = production.edge.url();
        helm.run(&["repo", "add", "demo", &url, "--ca-file", authority.to_str().unwrap()]).ok();
        let found = helm.search(&["demo/demo", "--versions"]);
        let versions: Vec<_> = found.iter().map(|one| (one["version"].as_str(), one["app_version"].as_str())).collect();
        assert_eq!(versions, [(Some("1.1.0"), Some("1.1.0")), (Some("1.0.0"), Some("1.0.0"))], "{}", helm.name);
        let rendered = helm.run(&["template", "demo/demo", "--version", "1.0.0"]).ok().stdout;
        let image = format!("{}/{IMAGE}:1.0.0@{}", production.registry.name(), production.tags()["v1.0.0"]);
        assert!(rendered.contains(&image), "{image} is not in:\n{rendered}");
    }
    for name in ["demo-1.0.0.tgz", "demo-1.1.0.tgz"] {
        assert!(production.edge.fetched(&format!("/{name}")) <= 3, "the bucket is asked on a miss alone");
        let answer = production.edge.get(0, &format!("/{name}")).is(200);
        assert_eq!(answer.header("content-type"), Some("application/gzip"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        for (header, value) in HEADERS {
            assert_eq!(answer.header(header), Some(value));
        }
    }
    let entry = &production.index(1)["entries"]["demo"][0];
    assert_eq!(entry["urls"][0], format!("{}/demo-1.1.0.tgz", production.edge.url()));
    assert!(index::is_short(&Entry::of(entry).unwrap()), "{entry}");
    let answer = production.edge.get(0, "/demo-1.1.0.json").is(200);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let sources = answer.json()["entry"]["sources"].clone();
    assert_eq!(sources.as_array().and_then(|sources| sources.last()), Some(&production.edge.url().into()));
    let image = format!("docker://{}/{IMAGE}:latest", production.registry.name());
    for architecture in ["amd64", "arm64"] {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["inspect", "--no-creds", "--tls-verify=false", "--override-arch", architecture, &image]);
        let seen = Run::of(skopeo).ok().json();
        assert_eq!(seen["Architecture"], architecture);
        assert_eq!(seen["Labels"]["org.opencontainers.image.version"], "1.1.0");
    }
    let Some(buildx) = tool("buildx") else { return };
    let mut inspect = Command::new(buildx);
    inspect.args(["imagetools", "inspect", "--raw"]).arg(image.trim_start_matches("docker://"));
    inspect.env("DOCKER_CONFIG", production.origin.path());
    let index = Run::of(inspect).ok().json();
    let platforms = index["manifests"].as_array().unwrap().iter().map(|one| one["platform"]["architecture"].clone());
    assert_eq!(platforms.collect::<Vec<_>>(), ["amd64", "arm64"]);
}

#[test]
fn h7_without_an_invalidation_verify_sees_the_stale_index() {
    let Some(production) = Production::new() else { return };
    assert!(production.versions(0).is_empty(), "the cache keeps the old index");
    production.cloudfront.disconnect();
    // Verification would wait for as long as caches may keep the index: their clock is put forward once it waits.
    let mut child = production.command(&["release", "--to", "production"]).stderr(Stdio::piped()).spawn().unwrap();
    let in_bucket = || String::from_utf8_lossy(&production.objects()["index.yaml"]).contains("demo-1.0.0.tgz");
    let listed = wait_until(Duration::from_secs(60), in_bucket);
    assert!(listed && production.versions(0).is_empty(), "it is published, and location 0 does not know");
    assert!(!production.tags().contains_key("latest"), "floating tags wait for what users see");
    production.xtask(&["verify", "--to", "production"]).fails(8, "index.yaml does not list demo 1.0.0");
    production.edge.advance(Duration::from_secs(301));
    assert!(child.wait().unwrap().success());
    production.xtask(&["verify", "--to", "production"]).ok();
}

#[test]
fn x7_a_plan_reads_production_changes_nothing_and_needs_no_credentials() {
    let Some(production) = Production::new() else { return };
    let before = (production.objects(), production.store.versions("index.yaml"));
    let planned = production.xtask(&["release", "minor", "--to", "production", "--plan", "--json"]).ok().json();
    let state = |plan: &serde_json::Value, step: &str| {
        let steps = plan.as_array().unwrap();
        steps.iter().find(|one| one["step"] == step).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&planned, "bump"), "done", "1.0.0 was never released: the word was applied");
    for step in ["push", "tag", "package", "publish", "invalidate", "promote", "verify"] {
        assert_eq!(state(&planned, step), "to-do", "{step}");
    }
    let blind = production.acquaint(production.demo.command(&["release", "--to", "production", "--plan", "--json"]));
    let blind = Run::of(blind).ok().json();
    for step in ["tag", "package", "publish", "promote"] {
        assert_eq!(state(&blind, step), "unknown", "{step}");
    }
    assert!(blind.to_string().contains("no AWS credentials"), "{blind}");
    assert!((production.objects(), production.store.versions("index.yaml")) == before);
    assert_eq!(production.demo.git(&["status", "--porcelain"]), "");
    production.release(&[]).ok();
    let done = production.xtask(&["release", "--to", "production", "--plan", "--json"]).ok().json();
    for step in ["bump", "push", "sign", "tag", "package", "publish", "invalidate", "promote"] {
        assert_eq!(state(&done, step), "done", "{step}: {done}");
    }
}

#[test]
fn h6_yank_and_unyank_move_index_and_tags_and_users_see_it_at_once() {
    let Some(production) = Production::new() else { return };
    production.release(&[]).ok();
    production.demo.commit("more");
    production.release(&["1.1.0", "--push"]).ok();
    let tags = production.tags();
    let observer = production.observe();
    production.xtask(&["release", "yank", "1.1.0", "--reason", "loses events", "--to", "production"]).ok();
    for location in [0, 1] {
        assert_eq!(production.versions(location), ["1.0.0"]);
    }
    assert_eq!(production.tags()["latest"], tags["v1.0.0"]);
    assert!(production.objects().contains_key("demo-1.1.0.tgz"), "its bytes stay");
    production.xtask(&["release", "unyank", "1.1.0", "--to", "production"]).ok();
    assert_eq!(production.versions(1), ["1.1.0", "1.0.0"]);
    assert_eq!(production.tags(), tags);
    let vanished: Vec<String> = observer.finish().vanished.into_iter().map(|vanished| vanished.version).collect();
    assert_eq!((vanished, production.dropped()), (vec!["1.1.0".into()], vec!["1.1.0".into()]), "no other, and once");
}

#[test]
fn h14_x3_people_see_the_page_at_once_and_one_that_could_not_be_written_is_written_by_the_next_run() {
    let Some(production) = Production::new() else { return };
    production.demo.show_page();
    production.demo.git(&["push", "--quiet"]);
    let page = || String::from_utf8(production.edge.get(0, "/index.html").is(200).body).unwrap();
    let planned = || {
        let plan = production.xtask(&["release", "--to", "production", "--plan", "--json"]).ok().json();
        let steps: Vec<(String, String)> = serde_json::from_value::<Vec<serde_json::Value>>(plan)
            .unwrap()
            .iter()
            .map(|one| (one["step"].as_str().unwrap().into(), one["state"].as_str().unwrap().into()))
            .collect();
        steps.into_iter().filter(|(_, state)| state != "done").map(|(step, _)| step).collect::<Vec<_>>()
    };
    let said = production.release(&[]).ok().stderr;
    assert!(said.trim_end().ends_with(&format!("Page {}/", production.edge.url())), "{said}");
    assert!(page().contains("id=\"1.0.0\""), "{}", page());
    assert_eq!(production.moto.invalidations().len(), 1, "caches are told of index and page at once");

    production.demo.commit("more");
    production.s3.inject(When::asked("PUT", "/index.html").first(1), Fault::Status(403));
    let said = production.release(&["minor", "--push"]).ok().stderr;
    assert!(said.contains("is not as it should be; the next run mends it"), "{said}");
    assert_eq!(production.versions(0), ["1.1.0", "1.0.0"], "charts are released without it");
    assert!(!page().contains("id=\"1.1.0\""));
    assert_eq!(planned(), ["page", "invalidate", "verify"]);
    assert_eq!(production.release(&["--json"]).ok().json()["changed"], true);
    assert!(page().contains("id=\"1.1.0\""));
    assert_eq!(planned(), ["verify"]);
    assert_eq!(production.release(&["--json"]).ok().json()["changed"], false);

    production.xtask(&["release", "yank", "1.1.0", "--reason", "it loses events", "--to", "production"]).ok();
    assert!(page().contains("it loses events"), "{}", page());
    production.xtask(&["release", "unyank", "1.1.0", "--to", "production"]).ok();
    assert!(!page().contains("it loses events"));
}

#[test]
fn x1_i9_x4_a_release_by_buildx_and_trivy_publishes_exactly_the_bytes_that_were_scanned() {
    let Some(whole) = Whole::new() else { return };
    whole.laboratory.know(&[], 1);
    let report = whole.release(&[]).ok().json();
    let digest = report["digest"].as_str().unwrap();
    let verdict = format!("target/xtask/verdicts/{}.json", digest.trim_start_matches("sha256:"));
    let verdict: serde_json::Value = serde_json::from_str(&whole.production.demo.read(&verdict)).unwrap();
    assert_eq!(verdict["digest"], digest);
    assert!(verdict["scanner"].as_str().unwrap().contains("0.70.0"), "{verdict}");
    let scanned = Layout::read(&whole.production.demo.root().join("target/xtask/image")).unwrap();
    assert_eq!(scanned.digest.to_string(), digest);
    for (part, bytes) in &scanned.blobs {
        let served = whole.production.part(&part.to_string());
        assert!(served.as_ref() == Some(bytes), "{part} is served byte for byte");
    }
    let index = &whole.production.index(0)["entries"]["demo"][0];
    let archive = whole.production.edge.get(0, "/demo-1.0.0.tgz").is(200).body;
    assert_eq!(index["digest"], xtask::oci::sha256_hex(&archive));
    assert_eq!(whole.release(&[]).ok().json()["changed"], false);
}

#[test]
fn i9_i7_x4_a_critical_finding_stops_the_release_with_nothing_in_the_registry() {
    let Some(whole) = Whole::new() else { return };
    whole.laboratory.know(&["demo=CVE-2026-0003=CRITICAL"], 1);
    let before = whole.production.objects();
    whole.production.registry.proxy.forget();
    whole.release(&[]).fails(10, "CVE-2026-0003 in demo 1.0.0");
    assert!(whole.production.tags().is_empty() && whole.production.objects() == before);
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(whole.production.registry.proxy.count(method, ""), 0, "nothing was ever sent");
    }
}

#[test]
fn i3_all_pages_of_a_list_of_tags_are_read_however_few_a_registry_gives() {
    let Some(production) = Production::new() else { return };
    production.release(&[]).ok();
    let port = production.registry.proxy.port;
    let two_at_once = |asked: &Asked, answer: Answer| {
        let Some((_, query)) = asked.path.split_once("/tags/list?") else { return answer };
        let mut list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let after = query.split('&').find_map(|pair| pair.strip_prefix("last=")).unwrap_or_default();
        let tags = list["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str());
        let sorted: BTreeSet<&str> = tags.filter(|tag| *tag > after).collect();
        list["tags"] = sorted.into_iter().take(2).collect();
        Answer { body: list.to_string().into(), ..answer }
    };
    let paged = Proxy::with(free_port(), Dialect::Registry, move |_| Way::To(port), two_at_once);
    let manifest = production.demo.read("Cargo.toml");
    let image = format!("{}/{IMAGE}", production.registry.name());
    production.demo.write("Cargo.toml", manifest.replace(&image, &format!("localhost:{}/{IMAGE}", paged.port)));
    let doctor = production.xtask(&["doctor", "--to", "production", "--json"]);
    assert!(doctor.stdout.contains("has 5 tags"), "{}\n{}", doctor.stdout, doctor.stderr);
    assert!(paged.count("GET", "/tags/list") > 2, "page by page");
}

#[test]
fn x7_doctor_shows_everything_that_production_lacks_at_once_each_with_its_remedy() {
    let Some(production) = Production::bare() else { return };
    let doctor = |command: Command| Run::of(command).fails(4, "a release to `production` needs: ");
    let words = ["doctor", "--to", "production"];
    let stranger = doctor(production.acquaint(production.demo.command(&words))).stderr;
    assert!(stranger.contains("there are no AWS credentials: aws sso login"), "{stranger}");
    production.demo.edit("Cargo.toml", "scan = \"if-installed\"\nplain", "scan = \"required\"\nplain");
    let without_tools = xtask::sys::tools::on_path("git").unwrap();
    let mut publisher = production.command(&words);
    publisher.env("PATH", without_tools.parent().unwrap());
    let lacking = doctor(publisher).stderr;
    for remedy in
        ["cargo install cargo-auditable --locked", "the repository has no index.yaml", "deploy-infra", "--init"]
    {
        assert!(lacking.contains(remedy), "`{remedy}` is not in:\n{lacking}");
    }
    production.demo.git(&["checkout", "--quiet", "Cargo.toml"]);
    production.release(&["--init"]).ok();
    production.xtask(&words).ok();
}

#[test]
fn i7_in_github_actions_parts_are_groups_errors_are_annotations_and_the_page_has_a_summary() {
    let Some(production) = Production::new() else { return };
    let page = production.origin.path().join("summary.md");
    let in_actions = |arguments: &[&str]| {
        let mut command = production.command(arguments);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &page);
        Run::of(command)
    };
    let run = in_actions(&["release", "--to", "production"]).ok();
    for line in ["::group::build\n", "::group::publish\n", "::endgroup::\n"] {
        assert!(run.stderr.contains(line), "`{line}` is not in:\n{}", run.stderr);
    }
    let summary = std::fs::read_to_string(&page).unwrap();
    let digest = &production.tags()["latest"];
    for part in
        ["### demo 1.0.0", &format!("@{digest}`"), "| tags | v1.0.0, 1.0.0, 1, 1.0, latest |", "| outcome | released |"]
    {
        assert!(summary.contains(part), "`{part}` is not in:\n{summary}");
    }
    let failed =
        in_actions(&["release", "yank", "9.9.9", "--reason", "x", "--to", "production"]).fails(2, "is not listed");
    assert!(failed.stderr.contains("::error title=xtask::demo 9.9.9 is not listed%0A  to do:"), "{}", failed.stderr);
}

#[test]
fn i4_what_a_helper_of_docker_keeps_is_enough_to_publish() {
    let Some(production) = Production::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let helper = format!("cat >/dev/null\necho '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n");
    script(&folder.path().join("docker-credential-vault"), &helper);
    let config = format!("{{\"credHelpers\":{{\"{}\":\"vault\"}}}}", production.registry.name());
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let mut command = production.command(&["release", "--to", "production"]);
    let path = std::env::var("PATH").unwrap();
    command.env("DOCKER_CONFIG", folder.path()).env("PATH", format!("{}:{path}", folder.path().display()));
    Run::of(command).ok();
    assert!(production.tags().contains_key("latest"));
}
