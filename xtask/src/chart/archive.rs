//! The chart's archive: the files of its folder in, a `.tgz` out that is the same bytes on every machine. Pure.
//!
//! What is in it is what `helm package` puts in: `.helmignore` is obeyed, symbolic links become the files they lead to, a byte order
//! mark is dropped, subcharts stand under `charts/` by their own names, packed ones unpacked. What differs is what makes it
//! reproducible: entries are sorted, and every time is the commit's.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use chart_text::changes::Changes;

use crate::chart::ignore::Rules;
use crate::chart::manifest::ChartManifest;
use crate::chart::{hub, json, yaml};
use crate::error::{Context, Error, Exit, Result};
use crate::git::Item;
use crate::oci::{Digest, Platform};
use crate::sys::archive::{Tarball, gzip};

/// The files of a chart by their path below its folder.
pub type ChartFiles = BTreeMap<String, Vec<u8>>;

/// The annotation of a released chart that names its image: `repository:tag@sha256:…`. The chart's templates use it while the
/// user's values name no image of their own.
pub const RELEASED_IMAGE: &str = "release/image";

/// The annotation of a released chart without an image: the source state that it was made of.
pub const RELEASED_REVISION: &str = "release/revision";
/// The annotations of which every released chart has one.
pub const RELEASED: [&str; 2] = [RELEASED_IMAGE, RELEASED_REVISION];

/// No chart is larger than this, unpacked; Helm itself refuses one of 100 MiB.
const SIZE_MAX: u64 = 100 << 20;

/// What a release writes into the chart.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// What leads from the chart to its sources.
    pub of: Origin,
    /// The URL of the chart repository.
    pub repository: String,
    /// What changed in the version, where that is known.
    pub changes: Option<Changes>,
}

/// What leads from a chart to its sources.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Its image, which says what it was made of.
    Image {
        /// By tag and digest: `repository:tag@sha256:…`.
        reference: String,
        /// The platforms it is for.
        platforms: Vec<Platform>,
    },
    /// The source state itself, where there is no image.
    Revision(String),
}

/// The files that belong to the chart in a folder, as Helm would read it.
///
/// # Errors
/// A link leads out of the folder or nowhere; `.helmignore` is malformed; a file every chart has is missing or malformed.
pub fn collect(items: &[(String, Item)]) -> Result<ChartFiles> {
    let tree: BTreeMap<&str, &Item> = items.iter().map(|(path, item)| (path.as_str(), item)).collect();
    let mut files = ChartFiles::new();
    for path in tree.keys() {
        files.extend(contents(path, &tree, 0)?.into_iter().map(|(rest, bytes)| (format!("{path}{rest}"), bytes)));
    }
    let rules = match files.get(".helmignore") {
        Some(bytes) => Rules::parse(&text(".helmignore", bytes)?)?,
        None => Rules::parse("")?,
    };
    files.retain(|path, _| !rules.ignore_file(path));
    for bytes in files.values_mut() {
        if let Some(rest) = bytes.strip_prefix("\u{feff}".as_bytes()) {
            *bytes = rest.to_vec();
        }
    }
    check(&files)?;
    Ok(files)
}

/// The manifest of some chart files.
///
/// # Errors
/// `Chart.yaml` is missing or malformed.
pub fn manifest(files: &ChartFiles) -> Result<ChartManifest> {
    let bytes = files.get("Chart.yaml").ok_or_else(|| {
        Error::new(Exit::Workspace, "the chart has no Chart.yaml").remedy("helm create shows what a chart needs")
    })?;
    ChartManifest::parse(&text("Chart.yaml", bytes)?)
}

/// The chart as it is released: its manifest names the image and the repository, and tells Artifact Hub what it asks for.
///
/// # Errors
/// `Chart.yaml` is malformed.
pub fn stage(mut files: ChartFiles, stamp: &Stamp) -> Result<(ChartFiles, ChartManifest)> {
    let mut manifest = manifest(&files)?;
    if !manifest.sources.contains(&stamp.repository) {
        manifest.sources.push(stamp.repository.clone());
    }
    let (name, value) = match &stamp.of {
        Origin::Image { reference, .. } => (RELEASED_IMAGE, reference),
        Origin::Revision(revision) => (RELEASED_REVISION, revision),
    };
    manifest.annotations.insert(name.into(), value.clone());
    hub::annotate(&mut manifest, stamp)?;
    files.insert("Chart.yaml".into(), manifest_text(&manifest)?.into_bytes());
    Ok((files, manifest))
}

/// Packs chart files: entries sorted, stamped with one time (seconds since 1970).
///
/// # Errors
/// The chart or one of its subcharts is malformed.
pub fn pack(files: &ChartFiles, time: i64) -> Result<Vec<u8>> {
    let mut entries = ChartFiles::new();
    place(files, "", &mut entries)?;
    let mut archive = Tarball::new(time);
    for (path, bytes) in &entries {
        archive.file(path, 0o644, bytes)?;
    }
    gzip(&archive.finish()?)
}

/// The files of a packed chart, below its folder.
///
/// # Errors
/// It is not a gzipped tar archive of one folder, or is larger than any chart.
pub fn unpack(archive: &[u8]) -> Result<ChartFiles> {
    let damaged = || "the chart archive is damaged".to_owned();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive).take(SIZE_MAX));
    let mut files = ChartFiles::new();
    for entry in tar.entries().context(Exit::Repository, damaged)? {
        let mut entry = entry.context(Exit::Repository, damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().context(Exit::Repository, damaged)?.to_string_lossy().into_owned();
        let Some((_, path)) = path.split_once('/') else { continue };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).context(Exit::Repository, damaged)?;
        files.insert(path.to_owned(), bytes);
    }
    Ok(files)
}

/// The manifest of a packed chart.
///
/// # Errors
/// As `unpack` and `manifest`.
pub fn manifest_of(archive: &[u8]) -> Result<ChartManifest> {
    manifest(&unpack(archive)?)
}

/// The digest of the image that a released chart names, where it names one.
pub fn image_of(manifest: &ChartManifest) -> Option<Digest> {
    manifest.annotations.get(RELEASED_IMAGE)?.rsplit_once('@')?.1.parse().ok()
}

/// The time that an archive's files carry, in seconds since 1970: a release's is that of its commit.
///
/// # Errors
/// As `unpack`; it holds nothing.
pub fn time(archive: &[u8]) -> Result<i64> {
    let damaged = || "the chart archive is damaged".to_owned();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive).take(SIZE_MAX));
    let first = tar.entries().context(Exit::Repository, damaged)?.next();
    let first = first.ok_or_else(|| Error::new(Exit::Repository, damaged()).because("it is empty"))?;
    let time = first.and_then(|first| first.header().mtime()).context(Exit::Repository, damaged)?;
    i64::try_from(time).context(Exit::Repository, damaged)
}

/// A manifest as YAML, one field a line, each value as JSON: no text in it can be read as anything else.
fn manifest_text(manifest: &ChartManifest) -> Result<String> {
    let fields = serde_json::to_value(manifest).context(Exit::Failure, || "cannot write Chart.yaml".into())?;
    let fields = fields.as_object().into_iter().flatten();
    let lines = fields.map(|(name, value)| Ok(format!("{name}: {}\n", json::exact(&value.to_string())?)));
    lines.collect::<Result<_, String>>().context(Exit::Failure, || "cannot write Chart.yaml".into())
}

/// What stands at a path: one file (with an empty name), or the files of a folder. A link is what it leads to.
fn contents(path: &str, tree: &BTreeMap<&str, &Item>, links: usize) -> Result<Vec<(String, Vec<u8>)>> {
    const LINKS_MAX: usize = 40;
    match tree.get(path) {
        Some(Item::File(bytes, _)) => Ok(vec![(String::new(), bytes.clone())]),
        Some(Item::Link(target)) => {
            let wrong = |why: &str| {
                Error::new(
                    Exit::Workspace,
                    format!("the chart's link {path} -> {} cannot be packaged", target.display()),
                )
                .because(why)
                .remedy("put the file itself there")
            };
            if links == LINKS_MAX {
                return Err(wrong("it leads to itself"));
            }
            let inside = resolve(path, target).ok_or_else(|| wrong("it leads out of the chart"))?;
            let found = contents(&inside, tree, links + 1)?;
            if found.is_empty() { Err(wrong("there is nothing")) } else { Ok(found) }
        }
        None => {
            let folder = format!("{path}/");
            let mut found = Vec::new();
            for below in tree.keys().filter(|other| other.starts_with(&folder)) {
                let name = &below[path.len()..];
                found.extend(
                    contents(below, tree, links)?.into_iter().map(|(rest, bytes)| (format!("{name}{rest}"), bytes)),
                );
            }
            Ok(found)
        }
    }
}

/// Where a link leads, as a path below the chart's folder; nothing where it leaves that.
fn resolve(path: &str, target: &Path) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    let target = target.to_str()?;
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// What Helm itself would refuse.
fn check(files: &ChartFiles) -> Result<()> {
    let manifest = manifest(files)?;
    let wrong = |what: &str, why: String| {
        Error::new(Exit::Workspace, format!("the chart's {what} cannot be used")).because(why)
    };
    if let Some(bytes) = files.get("values.yaml") {
        let values = text("values.yaml", bytes)?;
        let json = yaml::to_json(&values);
        let empty = values.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let json = json.or_else(|why| if empty { Ok("{}".into()) } else { Err(why) });
        let json = json.map_err(|why| wrong("values.yaml", why))?;
        if !json.starts_with('{') && json != "null" {
            return Err(wrong("values.yaml", "it is not a map".into()));
        }
    }
    if let Some(bytes) = files.get("values.schema.json") {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
            .map_err(|error| wrong("values.schema.json", error.to_string()))?;
    }
    let subcharts = subcharts(files)?;
    let missing: Vec<&str> = manifest
        .dependencies
        .iter()
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !subcharts.iter().any(|(subchart, _)| subchart.name == *name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(Exit::Workspace, format!("the chart depends on what is not in charts/: {}", missing.join(", ")))
        .remedy("helm dependency build, and commit charts/"))
}

/// Puts the files of a chart, and of its subcharts, where they stand in an archive.
fn place(files: &ChartFiles, parent: &str, entries: &mut ChartFiles) -> Result<()> {
    let folder = format!("{parent}{}/", manifest(files)?.name);
    for (path, bytes) in files.iter().filter(|(path, _)| !in_a_subchart(path)) {
        entries.insert(format!("{folder}{path}"), bytes.clone());
    }
    for (_, files) in subcharts(files)? {
        place(&files, &format!("{folder}charts/"), entries)?;
    }
    Ok(())
}

fn in_a_subchart(path: &str) -> bool {
    // A provenance file beside a packed subchart belongs to the parent.
    path.starts_with("charts/") && !path.ends_with(".prov")
}

/// The charts below `charts/`, unpacked.
fn subcharts(files: &ChartFiles) -> Result<Vec<(ChartManifest, ChartFiles)>> {
    let mut groups: BTreeMap<&str, ChartFiles> = BTreeMap::new();
    for (path, bytes) in files.iter().filter(|(path, _)| in_a_subchart(path)) {
        let (name, rest) = path["charts/".len()..].split_once('/').unwrap_or((&path["charts/".len()..], ""));
        if !name.starts_with(['_', '.']) {
            groups.entry(name).or_default().insert(rest.to_owned(), bytes.clone());
        }
    }
    let charts = groups.into_iter().map(|(name, mut files)| {
        if let Some(archive) = files.get("").filter(|_| name.ends_with(".tgz")) {
            files = unpack(archive).map_err(|error| error.remedy(format!("replace charts/{name}")))?;
        }
        files.remove("");
        let manifest = manifest(&files).map_err(|error| error.remedy(format!("it is about charts/{name}")))?;
        Ok((manifest, files))
    });
    charts.collect()
}

fn text(path: &str, bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).context(Exit::Workspace, || format!("the chart's {path} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> (String, Item) {
        (path.into(), Item::File(content.into(), false))
    }

    fn link(path: &str, target: &str) -> (String, Item) {
        (path.into(), Item::Link(target.into()))
    }

    fn chart(more: Vec<(String, Item)>) -> Vec<(String, Item)> {
        let mut items =
            vec![file("Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.0.0-rc.1\nappVersion: 1.0.0-rc.1\n")];
        items.extend(more);
        items
    }

    fn stamp() -> Stamp {
        let platforms = vec![Platform::try_from("linux/amd64".to_owned()).unwrap()];
        let repository = "https://charts.example.com".into();
        let of = Origin::Image { reference: "host/demo:1.0.0@sha256:00".into(), platforms };
        Stamp { of, repository, changes: None }
    }

    #[test]
    fn h12_and_i11_a_released_chart_names_its_repository_and_its_image() {
        let (files, manifest) = stage(collect(&chart(vec![])).unwrap(), &stamp()).unwrap();
        assert_eq!(manifest.sources, ["https://charts.example.com"]);
        assert_eq!(manifest.annotations[RELEASED_IMAGE], "host/demo:1.0.0@sha256:00");
        assert_eq!(super::manifest(&files).unwrap(), manifest, "the file says the same");
        let again = stage(files.clone(), &stamp()).unwrap().0;
        assert_eq!(again, files, "staging twice changes nothing");
    }

    #[test]
    fn links_become_what_they_lead_to() {
        let items = chart(vec![
            file("files/a.txt", "a"),
            link("b.txt", "files/a.txt"),
            link("copy", "./files"),
            link("files/up.txt", "../b.txt"),
        ]);
        let files = collect(&items).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["Chart.yaml", "b.txt", "copy/a.txt", "copy/up.txt", "files/a.txt", "files/up.txt"]);
        assert!(files.iter().all(|(name, bytes)| name == "Chart.yaml" || bytes == b"a"));
    }

    #[test]
    fn links_that_leave_the_chart_or_lead_nowhere_are_refused() {
        for (target, why) in [("../x", "out of"), ("/etc/passwd", "out of"), ("gone", "nothing"), ("l", "itself")] {
            let error = collect(&chart(vec![link("l", target)])).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn an_archive_is_sorted_stamped_and_the_same_every_time() {
        let files = collect(&chart(vec![file("values.yaml", "a: 1\n"), file("templates/a.yaml", "x")])).unwrap();
        let packed = pack(&files, 1_700_000_000).unwrap();
        assert_eq!(packed, pack(&files, 1_700_000_000).unwrap());
        assert_ne!(packed, pack(&files, 1_700_000_001).unwrap());
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let names: Vec<String> =
            tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["demo/Chart.yaml", "demo/templates/a.yaml", "demo/values.yaml"]);
        assert_eq!(unpack(&packed).unwrap(), files);
    }

    #[test]
    fn a_chart_that_helm_would_refuse_is_refused() {
        let cases = [
            (vec![file("values.yaml", "- a\n")], "not a map"),
            (vec![file("values.yaml", "a: [\n")], "values.yaml"),
            (vec![file("values.schema.json", "{")], "values.schema.json"),
            (vec![file("charts/README.md", "x")], "Chart.yaml"),
            (vec![file(".helmignore", "**\n")], "**"),
        ];
        for (more, expected) in cases {
            let error = collect(&chart(more)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(collect(&[file("values.yaml", "")]).unwrap_err().to_string().contains("no Chart.yaml"));
    }

    #[test]
    fn a_dependency_that_is_not_there_is_named() {
        let text = "apiVersion: v2\nname: demo\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.0.0, repository: x}]\n";
        let error = collect(&[file("Chart.yaml", text)]).unwrap_err();
        assert!(error.what.contains("redis"));
    }
}
