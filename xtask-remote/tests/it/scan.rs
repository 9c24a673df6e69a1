//! The scan gate with the real Trivy, on a database of the test's own.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::Path;

use xtask::oci::Digest;

use crate::products;
use crate::servers::Laboratory;
use crate::support::{Demo, Run, files_below, tool};

fn report(demo: &Demo, platform: &str) -> serde_json::Value {
    serde_json::from_str(&demo.read(&format!("target/xtask/scan/{platform}.json"))).unwrap()
}

fn nothing_is_published(demo: &Demo) {
    assert!(demo.snapshot().is_empty(), "{:?}", demo.snapshot().keys());
}

#[test]
fn i9_every_platform_is_scanned_on_its_own_and_its_crates_are_seen() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&["absent=CVE-2026-0001=CRITICAL", "demo=CVE-2026-0002=HIGH"], 1);
    let demo = Demo::that_compiles();
    let released = laboratory.release(&demo).ok();
    assert!(released.stderr.contains("Scanning"), "{}", released.stderr);
    for (platform, architecture) in [("linux-amd64", "amd64"), ("linux-arm64", "arm64")] {
        let report = report(&demo, platform);
        assert_eq!(report["Metadata"]["ImageConfig"]["architecture"], architecture);
        assert!(report["Results"].to_string().contains("CVE-2026-0002"), "{report}");
    }
}

#[test]
fn i9_reports_are_kept_as_json_and_sarif_even_where_the_scan_stops_the_release() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&["demo=CVE-2026-0007=CRITICAL"], 1);
    let demo = Demo::that_compiles();
    demo.write("target/xtask/scan/linux-s390x.sarif", "of another time");
    laboratory.release(&demo).fails(10, "CVE-2026-0007");
    let kept = files_below(&demo.root().join("target/xtask/scan"));
    let names: Vec<&str> = kept.keys().map(String::as_str).collect();
    assert_eq!(names, ["linux-amd64.json", "linux-amd64.sarif", "linux-arm64.json", "linux-arm64.sarif"]);
    for platform in ["linux-amd64", "linux-arm64"] {
        let sarif: serde_json::Value = serde_json::from_slice(&kept[&format!("{platform}.sarif")]).unwrap();
        assert_eq!(
            (&sarif["version"], &sarif["runs"][0]["tool"]["driver"]["name"]),
            (&"2.1.0".into(), &"Trivy".into())
        );
        assert_eq!(sarif["runs"][0]["automationDetails"]["id"], format!("image/{platform}/"));
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "CVE-2026-0007");
        assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "usr/local/bin/demo");
        let text = sarif.to_string();
        assert!(text.contains(platform) && !text.contains(demo.root().to_str().unwrap()), "{text}");
    }
}

#[test]
fn i9_a_finding_passes_while_a_waiver_holds_and_no_longer() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&["demo=CVE-2026-0008=CRITICAL"], 1);
    let demo = Demo::that_compiles();
    let other = tempfile::tempdir().unwrap();
    let later = other.path().join("later.toml");
    let later = later.to_str().unwrap();
    let scan = |arguments: &[&str]| laboratory.run(&demo, &[&["release", "scan", "--json"], arguments].concat());
    laboratory.run(&demo, &["release", "build"]).ok();
    scan(&[]).fails(10, "CVE-2026-0008").fails(10, "waivers.toml");
    laboratory.run(&demo, &["release", "push"]).fails(11, "has no verdict");

    std::fs::write(later, waiver("CVE-2026-0008", 90)).unwrap();
    let verdict = scan(&["--waivers", later]).ok();
    assert!(verdict.stderr.contains("Waived CVE-2026-0008"), "{}", verdict.stderr);
    let verdict = verdict.json();
    assert_eq!(verdict["waivers"], Digest::of(&std::fs::read(later).unwrap()).to_string());
    let waived = &verdict["waived"];
    assert_eq!((&waived[0]["id"], &waived[0]["owner"]), (&"CVE-2026-0008".into(), &"ann".into()));
    laboratory.run(&demo, &["release", "push"]).ok();

    std::fs::write(later, waiver("CVE-2026-0008", -1)).unwrap();
    scan(&["--waivers", later]).fails(10, "its waiver expired on").fails(10, "(owner: ann)");

    let both = waiver("CVE-2026-0008", 1) + &waiver("CVE-2026-9999", 1);
    demo.write("waivers.toml", &both);
    demo.git(&["add", "waivers.toml"]);
    demo.commit("the file that is read where none is named");
    let released = laboratory.release(&demo).ok();
    assert!(released.stderr.contains("CVE-2026-9999 matches no critical finding"), "{}", released.stderr);
    std::fs::write(later, waiver("CVE-2026-9999", 1)).unwrap();
    laboratory.run(&demo, &["release", "--waivers", later]).fails(10, "CVE-2026-0008");
    laboratory.run(&demo, &["release", "--waivers", "absent.toml"]).fails(3, "absent.toml");
}

#[test]
fn i9_what_users_get_is_scanned_again_with_what_is_known_by_now() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    let demo = Demo::that_compiles();
    let scan = |arguments: &[&str]| laboratory.run(&demo, &[&["scan", "--json"], arguments].concat());
    let nothing = scan(&[]).ok();
    assert!(nothing.stderr.contains("no stable version listed yet"), "{}", nothing.stderr);
    assert_eq!(nothing.json()["complete"], false, "who sees nothing does not know that all is well");
    let released = laboratory.release(&demo).ok().json();
    let clean = scan(&[]).ok().json();
    assert_eq!((&clean["versions"][0]["digest"], &clean["complete"]), (&released["digest"], &true.into()));
    assert_eq!(clean["issues"], serde_json::json!([]));

    laboratory.know(&["demo=CVE-2026-0011=CRITICAL"], 1);
    let found = scan(&[]).fails(10, "1.0.0, linux/arm64: CVE-2026-0011 in demo 1.0.0 (fixed in 99.0.0)").json();
    assert_eq!((&found["issues"][0]["title"], &found["complete"]), (&"CVE-2026-0011 in demo".into(), &true.into()));
    let sarif: serde_json::Value =
        serde_json::from_str(&demo.read("target/xtask/scan/1.0.0/linux-arm64.sarif")).unwrap();
    assert_eq!(sarif["runs"][0]["automationDetails"]["id"], "image/linux-arm64/");
    // The chart names the image by its digest: whoever moves tags changes nothing.
    let tags = "target/published/image/index.json";
    demo.write(tags, demo.read(tags).replace("\"1.0.0\"", "\"moved\"").replace("\"v1.0.0\"", "\"v-moved\""));
    let named = scan(&["v1.0.0"]).fails(10, "CVE-2026-0011").json();
    assert_eq!((&named["issues"], &named["complete"]), (&serde_json::json!([]), &false.into()), "others were left out");
    scan(&["1.0.1"]).fails(2, "does not list demo 1.0.1").fails(2, "supported are: 1.0.0");

    demo.write("waivers.toml", waiver("CVE-2026-0011", 1));
    let waived = scan(&[]).ok().json();
    assert_eq!(waived["versions"][0]["waived"][0]["id"], "CVE-2026-0011");
    assert_eq!(waived["issues"], serde_json::json!([]));

    let blob = released["digest"].as_str().unwrap().replace(':', "/");
    std::fs::remove_file(demo.published().join("image/blobs").join(blob)).unwrap();
    let unseen = scan(&[]).fails(8, "1.0.0 was not scanned").json();
    assert_eq!((&unseen["complete"], &unseen["issues"]), (&false.into(), &serde_json::json!([])));
}

#[test]
fn i9_the_images_of_every_product_are_scanned_and_those_of_one_that_is_named_end_no_issue_of_another() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    let demo = Demo::that_compiles();
    products::split(&demo, &["tool", "web"], &["db"]);
    products::without_chart(&demo, "tool");
    for name in ["tool", "web", "db"] {
        laboratory.run(&demo, &["release", name]).ok();
    }
    laboratory.know(&["tool=CVE-2026-0012=CRITICAL"], 1);
    let scan = |arguments: &[&str]| laboratory.run(&demo, &[&["scan", "--json"], arguments].concat());
    let report = scan(&[]).fails(10, "tool 1.0.0, linux/arm64: CVE-2026-0012 in tool 1.0.0").json();
    let of = |report: &serde_json::Value| {
        let versions = report["versions"].as_array().unwrap().iter();
        versions.map(|one| one["product"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((of(&report), &report["complete"]), (vec!["tool".into(), "web".into()], &true.into()));
    assert_eq!(report["issues"][0]["title"], "CVE-2026-0012 in tool of tool");
    assert!(report["over"].as_str().unwrap().contains("(tool 1.0.0, web 1.0.0)"), "{report}");
    for (name, category) in [("tool", "image/tool/linux-amd64/"), ("web", "image/web/linux-amd64/")] {
        let sarif = demo.read(&format!("target/xtask/scan/{name}/1.0.0/linux-amd64.sarif"));
        let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
        assert_eq!(sarif["runs"][0]["automationDetails"]["id"], category);
    }
    let report = scan(&["web"]).ok().json();
    assert_eq!((of(&report), &report["complete"]), (vec!["web".into()], &false.into()));
    scan(&["db"]).fails(2, "there is no image of charts/db");

    demo.write("target/published/tool/image/index.json", "{");
    let report = scan(&[]).fails(6, "tool").json();
    assert_eq!((of(&report), &report["complete"]), (vec!["tool".into(), "web".into()], &false.into()));
    assert_eq!(report["versions"][1]["error"], serde_json::Value::Null, "the other one is scanned all the same");
}

#[test]
fn i9_a_waiver_that_is_less_than_whole_stops_everything_before_the_build_and_every_problem_is_listed() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    let demo = Demo::that_compiles();
    demo.write("waivers.toml", waiver("CVE-2026-0009", 92) + "[[waiver]]\nid = \"CVE-2026-0010\"\nuntil = 1\n");
    demo.commit("hasty");
    let stopped = laboratory.release(&demo).fails(3, "more than 90 days away");
    for problem in ["`until` is not known", "`reason` is missing", "`owner` is missing", "`expires` is missing"] {
        assert!(stopped.stderr.contains(&format!("waiver 2 (CVE-2026-0010): {problem}")), "{}", stopped.stderr);
    }
    assert!(!stopped.stderr.contains("Compiling"), "{}", stopped.stderr);
    nothing_is_published(&demo);
}

/// An entry of a file of waivers that ends some days from now.
fn waiver(id: &str, days: i64) -> String {
    let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
    let day = &day.to_string()[..10];
    format!("[[waiver]]\nid = \"{id}\"\nreason = \"never called\"\nowner = \"ann\"\nexpires = {day}\n")
}

#[test]
fn i9_the_scanner_sees_no_credential_and_not_the_callers_home() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    let seen = laboratory.folder.path().join("seen");
    let real = tool("trivy").unwrap();
    laboratory.replace_trivy(&format!("env >>'{}'\nexec '{}' \"$@\"\n", seen.display(), real.display()));
    let demo = Demo::that_compiles();
    let mut command = laboratory.command(&demo, &["release"]);
    let secrets =
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "ACTIONS_RUNTIME_TOKEN"];
    for name in [&secrets[..], &["DOCKER_AUTH_CONFIG", "CARGO_REGISTRY_TOKEN", "OWN_PASSWORD", "TRIVY_TOKEN"]].concat()
    {
        command.env(name, "canary");
    }
    let home = laboratory.folder.path().join("the-callers-home");
    std::fs::create_dir(&home).unwrap();
    if std::env::var_os("CARGO_HOME").is_none() {
        command.env("CARGO_HOME", Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"));
    }
    Run::of({
        command.env("HOME", &home);
        command
    })
    .ok();
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(!seen.contains("canary") && !seen.contains("the-callers-home"), "{seen}");
    // The last three are the shell's own.
    let allowed = ["HOME", "LANG", "PATH", "TMPDIR", "PWD", "OLDPWD", "_"];
    let names = seen.lines().filter_map(|line| Some(line.split_once('=')?.0));
    assert_eq!(names.filter(|name| !allowed.contains(name)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn i9_a_scanner_that_fails_or_says_nothing_is_not_a_clean_scan() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    let demo = Demo::that_compiles();
    laboratory.run(&demo, &["release", "build"]).ok();
    let scan = |script: &str| {
        laboratory
            .replace_trivy(&format!("[ \"$1\" != --version ] || {{ echo 'Version: 0.70.0'; exit 0; }}\n{script}"));
        laboratory.run(&demo, &["release", "scan"])
    };
    let real = tool("trivy").unwrap();
    let fails_at = |verb: &str| {
        scan(&format!("[ $1 != {verb} ] || {{ echo 'it broke' >&2; exit 1; }}\nexec '{}' \"$@\"\n", real.display()))
    };
    fails_at("image").fails(11, "it broke");
    fails_at("convert").fails(11, "it broke");
    scan("exit 0\n").fails(11, "wrote no report");
    laboratory.replace_trivy("exit 3\n");
    laboratory.run(&demo, &["release", "scan"]).fails(11, "exited with code 3");
}

#[test]
fn i9_i7_x4_a_critical_finding_stops_the_release_with_nothing_published() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&["demo=CVE-2026-0003=CRITICAL"], 1);
    let demo = Demo::that_compiles();
    let stopped = laboratory.release(&demo).fails(10, "CVE-2026-0003 in demo 1.0.0");
    assert!(stopped.stderr.contains("linux/amd64") && stopped.stderr.contains("linux/arm64"), "{}", stopped.stderr);
    nothing_is_published(&demo);
}

#[test]
fn i9_a_critical_finding_on_one_platform_only_is_enough() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&["only-arm=CVE-2026-0004=CRITICAL"], 1);
    let demo = Demo::that_compiles();
    demo.edit(
        "operator/Cargo.toml",
        "[package]",
        "[target.'cfg(target_arch = \"aarch64\")'.dependencies]\nonly-arm = { path = \"../only-arm\" }\n\n[package]",
    );
    demo.write("only-arm/Cargo.toml", "[package]\nname = \"only-arm\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    demo.write("only-arm/src/lib.rs", "");
    demo.edit("Cargo.toml", "members = [\"operator\"]", "members = [\"operator\", \"only-arm\"]");
    demo.edit("Cargo.lock", "name = \"demo\"\nversion = \"1.0.0\"", "name = \"demo\"\nversion = \"1.0.0\"\ndependencies = [\n \"only-arm\",\n]\n\n[[package]]\nname = \"only-arm\"\nversion = \"1.0.0\"");
    demo.commit("a crate for arm64 alone");
    let stopped = laboratory.release(&demo).fails(10, "linux/arm64: CVE-2026-0004 in only-arm");
    assert!(!stopped.stderr.contains("linux/amd64: CVE"), "{}", stopped.stderr);
    nothing_is_published(&demo);
}

#[test]
fn i9_settings_of_the_callers_shell_and_folder_do_not_weaken_the_scan() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&["demo=CVE-2026-0005=CRITICAL"], 1);
    let demo = Demo::that_compiles();
    demo.write("trivy.yaml", "severity: [LOW]\nscan:\n  scanners: [secret]\n");
    demo.write(".trivyignore", "CVE-2026-0005\n");
    demo.commit("stray settings");
    let mut command = laboratory.command(&demo, &["release"]);
    command
        .env("TRIVY_SEVERITY", "LOW")
        .env("TRIVY_SCANNERS", "secret")
        .env("TRIVY_IGNOREFILE", demo.root().join(".trivyignore"));
    command.env("TRIVY_IGNORE_UNFIXED", "true").env("TRIVY_SKIP_FILES", "**/demo");
    Run::of(command).fails(10, "CVE-2026-0005");
    nothing_is_published(&demo);
}

#[test]
fn a_rehearsal_without_a_usable_database_says_so_and_goes_on_where_the_target_allows_it() {
    let Some(laboratory) = Laboratory::new() else { return };
    let demo = Demo::that_compiles();
    laboratory.know(&["demo=CVE-2026-0006=CRITICAL"], 49);
    let released = laboratory.release(&demo).ok();
    assert!(released.stderr.contains("Not scanned") && released.stderr.contains("49 h old"), "{}", released.stderr);
    demo.edit("Cargo.toml", "scan = \"if-installed\"", "scan = \"required\"");
    demo.commit("insist");
    let before = demo.snapshot();
    laboratory.release(&demo).fails(12, "no vulnerability database");
    std::fs::remove_dir_all(laboratory.cache()).unwrap();
    laboratory.release(&demo).fails(12, "there is none in");
    assert!(before == demo.snapshot(), "something was published without a scan");
}

#[test]
fn i9_an_image_that_went_unscanned_is_not_taken_for_scanned_by_a_target_that_insists() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    let demo = Demo::that_compiles();
    let (table, insisting) =
        ("[workspace.metadata.release.targets.local]", "[workspace.metadata.release.targets.careful]");
    let manifest = demo.read("Cargo.toml");
    let careful = manifest.split_once(table).unwrap().1.replace("if-installed", "required");
    demo.write("Cargo.toml", format!("{manifest}\n{insisting}{careful}"));
    demo.commit("the same place, with a scan");
    demo.xtask(&["release"]).ok();
    let before = demo.snapshot();
    demo.xtask(&["release", "--to", "careful"]).fails(4, "Trivy is not installed");
    demo.xtask(&["release", "push", "--to", "careful"]).fails(11, "has no verdict");
    Run::of(laboratory.command(&demo, &["release", "--to", "careful", "--strict"]))
        .fails(11, "carries no dependency list");
    assert!(before == demo.snapshot(), "something was published without a scan");
}

#[test]
fn i9_a_release_of_trivy_that_stole_credentials_is_refused_even_where_a_scan_is_not_required() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    for version in ["0.69.4", "0.69.5", "0.69.6"] {
        laboratory.replace_trivy(&format!("echo 'Version: {version}'\n"));
        let demo = Demo::that_compiles();
        laboratory.release(&demo).fails(11, "must not be run");
        nothing_is_published(&demo);
    }
}

#[test]
fn an_image_without_dependency_list_is_made_again_once_cargo_auditable_is_there() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&[], 1);
    let demo = Demo::that_compiles();
    let first = demo.xtask(&["release", "--json"]).ok().json();
    let second = laboratory.release(&demo).ok();
    assert!(second.stderr.contains("carry no dependency list"), "{}", second.stderr);
    assert_ne!(first["digest"], second.json()["digest"]);
    assert_eq!(demo.versions(), ["1.0.0"]);
    assert_eq!(laboratory.release(&demo).ok().json()["changed"], false);
}
