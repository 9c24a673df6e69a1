//! What `deny.toml` keeps out of the dependency graph, asked of the real `cargo deny` on small workspaces.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::path::Path;
use std::process::Command;

use crate::support::{Run, git, root, tool};

/// A workspace of one crate, with what its manifest has beside the package's own fields, under the project's rules.
fn workspace(license: &str, more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "[package]\nname = \"demo\"\nversion = \"1.0.0\"\nedition = \"2024\"\n{license}\npublish = false\n{more}\n"
    );
    write(folder.path(), "Cargo.toml", &manifest);
    write(folder.path(), "src/lib.rs", "");
    std::fs::copy(root().join("deny.toml"), folder.path().join("deny.toml")).unwrap();
    folder
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A crate of that name beside the workspace's own, by its path or from a git repository.
fn neighbour(folder: &Path, name: &str, version: &str) {
    let manifest =
        format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\nlicense = \"MIT\"\n");
    write(folder, "Cargo.toml", &manifest);
    write(folder, "src/lib.rs", "");
}

fn deny(workspace: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Option<Run> {
    let mut command = Command::new(tool("cargo-deny")?);
    command.current_dir(workspace).args(arguments).envs(variables.iter().copied());
    Some(Run::of(command))
}

#[test]
fn a_crate_of_another_license_or_source_or_a_second_tls_stack_is_refused() {
    let well = workspace("license = \"MIT\"", "");
    let check = ["--offline", "check", "bans", "licenses", "sources"];
    let Some(run) = deny(well.path(), &check, &[]) else { return };
    run.ok();
    let foreign = workspace("license = \"GPL-3.0-only\"", "");
    deny(foreign.path(), &check, &[]).unwrap().fails(4, "license is not explicitly allowed");
    let elsewhere = tempfile::tempdir().unwrap();
    neighbour(elsewhere.path(), "fetched", "1.0.0");
    git(elsewhere.path(), &["init", "--quiet", "--initial-branch=main"]);
    git(elsewhere.path(), &["add", "--all"]);
    git(elsewhere.path(), &["commit", "--quiet", "--message", "first"]);
    let from_git = format!("[dependencies]\nfetched = {{ git = \"file://{}\" }}", elsewhere.path().display());
    let from_git = workspace("license = \"MIT\"", &from_git);
    deny(from_git.path(), &check[1..], &[]).unwrap().fails(8, "source-not-allowed");
    let second = workspace("license = \"MIT\"", "[dependencies]\nopenssl-sys = { path = \"openssl-sys\" }");
    neighbour(&second.path().join("openssl-sys"), "openssl-sys", "1.0.0");
    deny(second.path(), &check, &[]).unwrap().fails(2, "one TLS stack");
}

#[test]
fn a_crate_with_a_known_vulnerability_is_refused_until_it_is_updated() {
    let Some(vulnerable) = look("99.0.0") else { return };
    vulnerable.fails(1, "RUSTSEC-2026-9999");
    look("1.0.0").unwrap().ok();
}

/// Looks at this very workspace with a list that knows one vulnerability, of serde, and since which version it is gone.
fn look(patched: &str) -> Option<Run> {
    let list = tempfile::tempdir().unwrap();
    let advisory = format!(
        "```toml\n[advisory]\nid = \"RUSTSEC-2026-9999\"\npackage = \"serde\"\ndate = \"2026-01-01\"\n\n[versions]\n\
         patched = [\">= {patched}\"]\n```\n\n# It leaks\n\nAll of it.\n"
    );
    write(list.path(), "crates/serde/RUSTSEC-2026-9999.md", &advisory);
    git(list.path(), &["init", "--quiet", "--initial-branch=main"]);
    git(list.path(), &["add", "--all"]);
    git(list.path(), &["commit", "--quiet", "--message", "first"]);
    let kept = tempfile::tempdir().unwrap();
    let rules = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let own = format!("[advisories]\ndb-path = \"{}\"", kept.path().join("lists").display());
    write(kept.path(), "deny.toml", &rules.replace("[advisories]", &own));
    let config = kept.path().join("deny.toml");
    // RustSec's list is at a name, which git is told to look for here.
    let here = format!("url.file://{}.insteadOf", list.path().display());
    let variables = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", here.as_str()),
        ("GIT_CONFIG_VALUE_0", "https://github.com/RustSec/advisory-db"),
    ];
    deny(&root(), &["--locked", "--config", config.to_str().unwrap(), "check", "advisories"], &variables)
}
