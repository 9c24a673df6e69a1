//! Bills of materials of real toolchains and crates, as Trivy reads them.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::process::Command;

use serde_json::Value;
use xtask::config::{self, Workspace};
use xtask::image::compile;
use xtask::image::waivers::Waiver;
use xtask::oci::Platform;
use xtask::trust::sbom::crates::{Checksums, Metadata, checksums};
use xtask::trust::sbom::{self, Product, native};
use xtask::trust::vex;

use crate::servers::Laboratory;
use crate::support::{Demo, Run, root, scrubbed, tool};

/// The vulnerabilities that Trivy finds in a bill, as `ID in PACKAGE`.
fn found(laboratory: &Laboratory, bill: &[u8]) -> Vec<String> {
    let path = laboratory.folder.path().join("bill.json");
    std::fs::write(&path, bill).unwrap();
    trivy(laboratory, &["sbom", path.to_str().unwrap()])
}

fn trivy(laboratory: &Laboratory, arguments: &[&str]) -> Vec<String> {
    let mut trivy = scrubbed(tool("trivy").unwrap().to_str().unwrap());
    trivy.args(["--quiet", "--cache-dir"]).arg(laboratory.cache().join("trivy")).args(arguments);
    trivy.args([
        "--format",
        "json",
        "--offline-scan",
        "--skip-db-update",
        "--skip-java-db-update",
        "--skip-version-check",
    ]);
    let report: Value = serde_json::from_str(&Run::of(trivy).ok().stdout).unwrap();
    let results = report["Results"].as_array().into_iter().flatten();
    let all = results.flat_map(|result| result["Vulnerabilities"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all: Vec<String> =
        all.map(|one| format!("{} in {}", text(&one["VulnerabilityID"]), text(&one["PkgName"]))).collect();
    all.sort();
    all
}

/// This repository's own product: what cargo resolves for a platform.
fn metadata(triple: &str) -> Metadata {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        triple,
    ]);
    serde_json::from_str(&Run::of(cargo).ok().stdout).unwrap()
}

fn known() -> Checksums {
    checksums(&std::fs::read_to_string(root().join("Cargo.lock")).unwrap()).unwrap()
}

/// The bill of the product for every platform that this machine can compile for.
fn bills(released: &config::Product) -> Vec<(Platform, Vec<u8>)> {
    let toolchains = compile::toolchains(released).unwrap();
    let of = |(platform, toolchain): (&Platform, &compile::Toolchain)| {
        let metadata = metadata(&toolchain.triple);
        let mut crates = metadata.crates(&released.package().unwrap().name, &known());
        native::add_bundled(&mut crates, &metadata).unwrap();
        let (linked, distribution) = native::linked(&[toolchain]).unwrap().remove(0);
        let product =
            Product { name: "demo", version: "1.2.3", image: "registry.example.com/team/demo", platform, time: 7 };
        crates.direct.extend(linked.iter().map(sbom::Part::reference));
        crates.parts.extend(linked);
        let bill = sbom::document(&product, &crates.parts, &crates.direct, distribution.as_ref()).unwrap();
        (platform.clone(), sbom::bytes(&bill).unwrap())
    };
    toolchains.found.iter().map(of).collect()
}

#[test]
fn i9_planted_findings_in_libc_sqlite_and_a_crate_are_found_in_the_bill_of_every_platform() {
    let Some(laboratory) = Laboratory::new() else { return };
    let workspace = Workspace::find(&root()).unwrap();
    let bills = bills(workspace.product(None).unwrap());
    assert!(!bills.is_empty());
    let release = || {
        let text = std::fs::read_to_string("/etc/os-release").ok()?;
        let field =
            |name: &str| Some(text.lines().find_map(|line| line.strip_prefix(name))?.trim_matches('"').to_owned());
        Some(format!("{} {}", field("ID=")?, field("VERSION_ID=")?))
    };
    // Elsewhere libc is no package of Debian's, and nobody knows what was found in it.
    let debian = release().filter(|release| release.starts_with("debian"));
    let libc = debian.as_ref().map(|release| format!("{release}/glibc=CVE-2026-0001=CRITICAL"));
    let crates = ["libsqlite3-sys=CVE-2026-0002=CRITICAL", "serde_json=CVE-2026-0003=HIGH"];
    laboratory.know(&libc.as_deref().into_iter().chain(crates).collect::<Vec<_>>(), 1);
    let expected = ["CVE-2026-0001 in glibc", "CVE-2026-0002 in libsqlite3-sys", "CVE-2026-0003 in serde_json"];
    let expected = &expected[usize::from(debian.is_none())..];
    for (platform, bill) in &bills {
        assert_eq!(found(&laboratory, bill), expected, "{platform}");
        let value: Value = serde_json::from_slice(bill).unwrap();
        let parts = value["components"].as_array().unwrap();
        let part = |name: &str| parts.iter().find(|part| part["name"] == name);
        let sqlite = part("sqlite").unwrap();
        assert!(sqlite["cpe"].as_str().unwrap().starts_with("cpe:2.3:a:sqlite:sqlite:3."), "{sqlite}");
        assert_eq!(sqlite["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert!(sqlite["properties"].to_string().contains("unscanned"), "{sqlite}");
        if debian.is_some() {
            assert_eq!(part("glibc").unwrap()["hashes"][0]["content"].as_str().unwrap().len(), 64);
        }
        let crates =
            parts.iter().filter(|part| part["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/")));
        assert!(crates.clone().count() > 20 && crates.clone().all(|part| part["hashes"][0]["alg"] == "SHA-256"));
        assert!(part("proptest").is_none(), "tests are not in the image");
    }
    assert_eq!(bills, self::bills(workspace.product(None).unwrap()), "the same bytes again");
}

#[test]
fn what_a_waiver_calls_not_affected_is_left_out_by_trivy_given_the_image_and_our_openvex() {
    let Some(laboratory) = Laboratory::new() else { return };
    laboratory.know(&["demo=CVE-2026-0001=HIGH"], 1);
    let demo = Demo::that_compiles();
    laboratory.release(&demo).ok();
    let _served = demo.serve();
    let image = format!("localhost:{}/team/demo", demo.port);
    let platform = "linux/amd64".to_owned().try_into().unwrap();
    let purl = Product { name: "demo", version: "1.0.0", image: &image, platform: &platform, time: 7 }.purl();
    let waiver = |id: &str| Waiver {
        id: id.into(),
        reason: "it is never called".into(),
        owner: "ann".into(),
        expires: "2026-03-01".parse().unwrap(),
        not_affected: Some("vulnerable_code_not_in_execute_path".into()),
    };
    let about = vex::About { product: &purl, author: "us", repository: "https://git.example.com/demo", time: 7 };
    let path = laboratory.folder.path().join("vex.json");
    let findings = |waiver: &Waiver, part: &str| {
        let document = vex::document(&[(waiver, vec![part.to_owned()])], &about).unwrap().unwrap();
        std::fs::write(&path, document.to_string()).unwrap();
        let image = format!("{image}@{}", demo.tags()["v1.0.0"]);
        trivy(
            &laboratory,
            &["image", "--image-src", "remote", "--platform", "linux/amd64", "--vex", path.to_str().unwrap(), &image],
        )
    };
    let none: [&str; 0] = [];
    assert_eq!(findings(&waiver("CVE-2026-0001"), "pkg:cargo/demo@1.0.0"), none);
    let found = ["CVE-2026-0001 in demo"];
    assert_eq!(findings(&waiver("CVE-2026-0002"), "pkg:cargo/demo@1.0.0"), found, "another vulnerability");
    assert_eq!(findings(&waiver("CVE-2026-0001"), "pkg:cargo/other@1.0.0"), found, "another part");
}
