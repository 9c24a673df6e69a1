//! The edits that make every file of the tree agree on a version. Pure: texts in, texts out, formatting kept.
//!
//! An edit names what it expects to find. A miss is an error, never a silent no-op, and what was edited is read again.

use std::collections::BTreeMap;

use semver::Version;
use toml_edit::{DocumentMut, Item, value};

use crate::chart::manifest::ChartManifest;
use crate::config::Product;
use crate::error::{Context, Error, Exit, Result};
use crate::git::Worktree;
use crate::sys::time;

/// The files that a bump from `tree` to `version` changes, with their new contents; empty where the tree says that version already.
///
/// # Errors
/// A file is missing or malformed.
pub fn edits(
    product: &Product,
    worktree: &Worktree,
    tree: &Version,
    version: &Version,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut edits = BTreeMap::new();
    if *tree == *version {
        return Ok(edits);
    }
    if let Some(package) = &product.package {
        let member = format!("{}/Cargo.toml", package.folder);
        let inherited = inherits_version(&required(worktree, &member)?)?;
        let manifest = if inherited { "Cargo.toml".to_owned() } else { member };
        let text = cargo_manifest(&required(worktree, &manifest)?, inherited, version)?;
        edits.insert(manifest, text.into_bytes());
        let lock = cargo_lock(&required(worktree, "Cargo.lock")?, &package.name, version)?;
        edits.insert("Cargo.lock".into(), lock.into_bytes());
    }
    if let Some(folder) = &product.chart {
        let chart = format!("{folder}/Chart.yaml");
        // What a chart without an image installs has versions of its own.
        let keys: &[&str] = if product.package.is_some() { &["version", "appVersion"] } else { &["version"] };
        let text = chart_manifest(&required(worktree, &chart)?, keys, version)?;
        edits.insert(chart, text.into_bytes());
    }
    let path = product.changelog();
    if let Some(text) = worktree.text(&path)? {
        let text = changelog(&path, &text, version, worktree.commit_time)?;
        edits.insert(path, text.into_bytes());
    }
    Ok(edits)
}

/// The version that the tree says: the crate's or, where there is none, the chart's.
///
/// # Errors
/// It is not semver.
pub fn version_in(product: &Product, chart: &ChartManifest) -> Result<Version> {
    match &product.package {
        Some(package) => Ok(package.version.clone()),
        None => {
            Version::parse(&chart.version).context(Exit::Workspace, || "Chart.yaml: the version is not semver".into())
        }
    }
}

/// The versions that the tree's files say, where they differ from the package's.
///
/// # Errors
/// They differ, or a file is malformed; every difference is listed.
pub fn check_agreement(product: &Product, chart: &ChartManifest) -> Result<()> {
    let (Some(package), Some(folder)) = (&product.package, &product.chart) else { return Ok(()) };
    let version = package.version.to_string();
    let says = [("version", Some(&chart.version)), ("appVersion", chart.app_version.as_ref())];
    let differing = says.iter().filter(|(_, said)| *said != Some(&version)).map(|(key, said)| {
        let said = said.map_or("missing", |text| text.as_str());
        format!("{folder}/Chart.yaml: {key} is {said}")
    });
    let differing: Vec<String> = differing.collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Error::new(Exit::Workspace, format!("the tree does not agree on a version: the package says {version}"))
        .because(differing.join("\n"))
        .remedy(format!("make them all {version}: one number names crate, chart, image and tag")))
}

fn required(worktree: &Worktree, path: &str) -> Result<String> {
    worktree.text(path)?.ok_or_else(|| {
        Error::new(Exit::Workspace, format!("{path} is missing")).remedy(format!("restore it: git checkout -- {path}"))
    })
}

fn inherits_version(manifest: &str) -> Result<bool> {
    let document: DocumentMut =
        manifest.parse().context(Exit::Workspace, || "a Cargo.toml is not valid TOML".into())?;
    let version = document.get("package").and_then(|package| package.get("version"));
    Ok(version.and_then(|version| version.get("workspace")).is_some())
}

fn cargo_manifest(text: &str, shared: bool, version: &Version) -> Result<String> {
    let mut document: DocumentMut = text.parse().context(Exit::Workspace, || "Cargo.toml is not valid TOML".into())?;
    let package = if shared {
        document.get_mut("workspace").and_then(|workspace| workspace.get_mut("package"))
    } else {
        document.get_mut("package")
    };
    let Some(item) = package.and_then(|package| package.get_mut("version")).filter(|item| item.is_str()) else {
        return Err(Error::new(Exit::Workspace, "Cargo.toml has no version to bump"));
    };
    set_string(item, version);
    Ok(document.to_string())
}

fn cargo_lock(text: &str, package: &str, version: &Version) -> Result<String> {
    let mut document: DocumentMut = text.parse().context(Exit::Workspace, || "Cargo.lock is not valid TOML".into())?;
    let packages = document.get_mut("package").and_then(Item::as_array_of_tables_mut);
    let ours = packages.into_iter().flat_map(|packages| packages.iter_mut()).filter(|table| {
        // A crate of the workspace has no source.
        table.get("name").and_then(Item::as_str) == Some(package) && !table.contains_key("source")
    });
    let mut ours: Vec<_> = ours.collect();
    let [table] = ours.as_mut_slice() else {
        return Err(Error::new(Exit::Workspace, format!("Cargo.lock does not list `{package}` exactly once"))
            .remedy("cargo update --workspace"));
    };
    if let Some(item) = table.get_mut("version") {
        set_string(item, version);
    }
    Ok(document.to_string())
}

fn set_string(item: &mut Item, version: &Version) {
    let decor = item.as_value().map(|old| old.decor().clone());
    *item = value(version.to_string());
    if let (Some(decor), Some(new)) = (decor, item.as_value_mut()) {
        *new.decor_mut() = decor;
    }
}

/// Replaces the scalars of these keys on their own lines: everything else of the file, quotes and comments included, stays.
fn chart_manifest(text: &str, keys: &[&str], version: &Version) -> Result<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for key in keys {
        let prefix = format!("{key}:");
        let mut matching: Vec<&mut String> = lines.iter_mut().filter(|line| line.starts_with(&prefix)).collect();
        let [line] = matching.as_mut_slice() else {
            return Err(Error::new(
                Exit::Workspace,
                format!("Chart.yaml does not say `{key}:` exactly once, on a line of its own"),
            ));
        };
        **line = with_scalar(line, &prefix, version);
    }
    let edited: String = lines.concat();
    let read = ChartManifest::parse(&edited)?;
    let said = [("version", Some(read.version)), ("appVersion", read.app_version)];
    if said.iter().any(|(key, said)| keys.contains(key) && *said != Some(version.to_string())) {
        return Err(Error::new(Exit::Workspace, "Chart.yaml cannot be bumped")
            .because("`version` and `appVersion` are not plain or quoted text on one line"));
    }
    Ok(edited)
}

fn with_scalar(line: &str, prefix: &str, version: &Version) -> String {
    let rest = &line[prefix.len()..];
    let scalar = rest.trim_start();
    let space = &rest[..rest.len() - scalar.len()];
    let quote = scalar.chars().next().filter(|first| matches!(first, '"' | '\''));
    let end = match quote {
        Some(quote) => scalar[1..].find(quote).map_or(scalar.len(), |at| at + 2),
        None => scalar.find(char::is_whitespace).unwrap_or(scalar.len()),
    };
    let quote = quote.map(String::from).unwrap_or_default();
    format!("{prefix}{space}{quote}{version}{quote}{}", &scalar[end..])
}

/// Puts a heading for the version below `## [Unreleased]`, so that what was noted there becomes the version's.
fn changelog(path: &str, text: &str, version: &Version, time: i64) -> Result<String> {
    const HEADING: &str = "## [Unreleased]\n";
    if text.contains(&format!("## [{version}]")) {
        return Ok(text.to_owned());
    }
    let Some((before, after)) = text.split_once(HEADING) else {
        return Err(Error::new(Exit::Workspace, format!("{path} has no line `## [Unreleased]`"))
            .remedy("put one above the newest version, with what is new below it"));
    };
    Ok(format!("{before}{HEADING}\n## [{version}] - {}\n{after}", time::day(time)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn a_bump_keeps_comments_and_layout_of_cargo_toml() {
        let text = "[package] # ours\nname = \"a\"\nversion =  \"1.0.0\"  # the number\n\n[dependencies]\n";
        let edited = cargo_manifest(text, false, &version("1.1.0")).unwrap();
        assert_eq!(edited, text.replace("1.0.0", "1.1.0"));
    }

    #[test]
    fn a_bump_finds_an_inherited_version() {
        let text = "[workspace.package]\nversion = \"1.0.0\"\n";
        assert_eq!(cargo_manifest(text, true, &version("2.0.0")).unwrap(), text.replace("1.0.0", "2.0.0"));
        assert!(inherits_version("[package]\nversion.workspace = true\n").unwrap());
    }

    #[test]
    fn a_bump_changes_only_our_own_package_in_cargo_lock() {
        let other = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\n";
        let text = format!("version = 4\n\n{other}\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n");
        let edited = cargo_lock(&text, "a", &version("1.1.0")).unwrap();
        assert_eq!(edited, format!("version = 4\n\n{other}\n[[package]]\nname = \"a\"\nversion = \"1.1.0\"\n"));
        assert!(cargo_lock(&text, "b", &version("1.1.0")).is_err());
    }

    #[test]
    fn a_bump_keeps_quotes_and_comments_of_chart_yaml() {
        let text = "apiVersion: v2\nname: a\nversion: 1.0.0 # chart\nappVersion:  \"1.0.0\"\ndependencies: []\n";
        let keys = ["version", "appVersion"];
        assert_eq!(chart_manifest(text, &keys, &version("1.1.0-rc.1")).unwrap(), text.replace("1.0.0", "1.1.0-rc.1"));
        let alone = text.replace("version: 1.0.0", "version: 1.1.0");
        assert_eq!(chart_manifest(text, &["version"], &version("1.1.0")).unwrap(), alone);
    }

    #[test]
    fn a_chart_yaml_without_an_app_version_is_refused() {
        assert!(
            chart_manifest("apiVersion: v2\nname: a\nversion: 1.0.0\n", &["appVersion"], &version("1.1.0")).is_err()
        );
    }

    #[test]
    fn a_bump_dates_what_was_unreleased_with_the_commit() {
        let text = "# Changelog\n\n## [Unreleased]\n\n- new\n";
        let edited = changelog("CHANGELOG.md", text, &version("3.1.0"), 1_700_000_000).unwrap();
        assert_eq!(edited, "# Changelog\n\n## [Unreleased]\n\n## [3.1.0] - 2023-11-14\n\n- new\n");
        assert_eq!(changelog("CHANGELOG.md", &edited, &version("3.1.0"), 0).unwrap(), edited, "once is enough");
        assert!(changelog("CHANGELOG.md", "# Changelog\n", &version("3.1.0"), 0).is_err());
    }
}
