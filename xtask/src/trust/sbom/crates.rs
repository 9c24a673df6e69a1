//! Which crates are in a binary: by the list that cargo-auditable embedded, or else by what cargo resolved for the target. Pure.
//!
//! Only what runs in the image counts: build scripts and procedural macros, and all that only they need, are left out. The embedded list
//! is in the section `.dep-v0` of an ELF file, as compressed JSON (cargo-auditable, `PARSING.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde::Deserialize;

use crate::trust::sbom::{Part, UNSCANNED};

/// No list is larger than this.
const SIZE_MAX: u64 = 8 << 20;
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The crates in a binary, each as a part, and which of them the product names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crates {
    /// All of them, without the product's own.
    pub parts: Vec<Part>,
    /// The `Part::reference` of those that the product names.
    pub direct: Vec<String>,
}

/// The SHA-256 of each crate by name and version, as `Cargo.lock` has it.
pub type Checksums = BTreeMap<(String, String), String>;

/// The checksums of a `Cargo.lock`.
///
/// # Errors
/// It is not TOML of that kind.
pub fn checksums(lock: &str) -> Result<Checksums, String> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let lock: Lock = toml_edit::de::from_str(lock).map_err(|error| error.to_string())?;
    let known = lock.package.into_iter();
    Ok(known.filter_map(|package| Some(((package.name, package.version), package.checksum?))).collect())
}

/// The crates that the embedded list of a binary names; nothing where it has no list.
///
/// # Errors
/// There is a list, and it is damaged.
pub fn embedded(binary: &[u8], checksums: &Checksums) -> Result<Option<Crates>, String> {
    #[derive(Deserialize)]
    struct List {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        source: String,
        #[serde(default)]
        kind: String,
        #[serde(default)]
        dependencies: Vec<usize>,
        #[serde(default)]
        root: bool,
    }
    let Some(section) = section(binary, b".dep-v0") else { return Ok(None) };
    let mut json = Vec::new();
    let mut decoder = flate2::read::ZlibDecoder::new(section).take(SIZE_MAX);
    decoder.read_to_end(&mut json).map_err(|error| format!("the binary's list of crates is damaged: {error}"))?;
    let list: List =
        serde_json::from_slice(&json).map_err(|error| format!("the binary's list of crates is damaged: {error}"))?;
    let nodes = list.packages.into_iter().map(|package| Node {
        source: match package.source.as_str() {
            "crates.io" => Source::CratesIo,
            "local" => Source::Local,
            other => Source::Other(other.to_owned()),
        },
        runs: package.kind != "build",
        name: package.name,
        version: package.version,
        brings: package.dependencies,
        root: package.root,
    });
    Ok(Some(of(&nodes.collect::<Vec<_>>(), checksums)))
}

/// What `cargo metadata --filter-platform` says of a workspace.
#[derive(Deserialize)]
pub struct Metadata {
    /// Every package.
    pub packages: Vec<MetadataPackage>,
    resolve: Resolve,
}

/// One package of it.
#[derive(Deserialize)]
pub struct MetadataPackage {
    id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    source: Option<String>,
    /// What it calls the native code that it links.
    pub links: Option<String>,
    /// Where it is.
    pub manifest_path: std::path::PathBuf,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<ResolveNode>,
}

#[derive(Deserialize)]
struct ResolveNode {
    id: String,
    deps: Vec<Dependency>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    /// The crates that `package` needs when it runs.
    pub fn crates(&self, package: &str, checksums: &Checksums) -> Crates {
        let index: BTreeMap<&str, usize> =
            self.packages.iter().enumerate().map(|(number, package)| (package.id.as_str(), number)).collect();
        let resolved: BTreeMap<&str, &ResolveNode> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let nodes = self.packages.iter().map(|known| Node {
            name: known.name.clone(),
            version: known.version.clone(),
            source: match known.source.as_deref() {
                None => Source::Local,
                Some(CRATES_IO) => Source::CratesIo,
                Some(other) => Source::Other(other.to_owned()),
            },
            runs: !known.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro")),
            brings: resolved.get(known.id.as_str()).map_or_else(Vec::new, |node| {
                let needed = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
                let needed = node.deps.iter().filter(needed);
                needed.filter_map(|dependency| index.get(dependency.pkg.as_str()).copied()).collect()
            }),
            root: known.source.is_none() && known.name == package,
        });
        of(&nodes.collect::<Vec<_>>(), checksums)
    }

    /// A package by name and version, and whether one of its features is on.
    pub fn find(&self, name: &str, version: &str, feature: &str) -> Option<(&MetadataPackage, bool)> {
        let package = self.packages.iter().find(|package| package.name == name && package.version == version)?;
        let node = self.resolve.nodes.iter().find(|node| node.id == package.id)?;
        Some((package, node.features.iter().any(|known| known == feature)))
    }
}

/// A crate as both kinds of list have it.
struct Node {
    name: String,
    version: String,
    source: Source,
    runs: bool,
    brings: Vec<usize>,
    root: bool,
}

enum Source {
    CratesIo,
    Local,
    Other(String),
}

/// Everything that the root needs when it runs.
fn of(nodes: &[Node], checksums: &Checksums) -> Crates {
    let runs = |number: &usize| nodes.get(*number).is_some_and(|node| node.runs);
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut open: Vec<usize> = (0..nodes.len()).filter(|number| nodes[*number].root).collect();
    let roots = open.clone();
    while let Some(number) = open.pop() {
        if seen.insert(number) {
            open.extend(nodes[number].brings.iter().copied().filter(runs));
        }
    }
    let brought = |number: usize| -> Vec<String> {
        let brings = nodes[number].brings.iter().filter(|other| runs(other));
        brings.map(|other| part(&nodes[*other], checksums).reference()).collect()
    };
    let parts = seen.iter().filter(|number| !roots.contains(number));
    let parts = parts.map(|number| Part { brings: brought(*number), ..part(&nodes[*number], checksums) });
    Crates { parts: parts.collect(), direct: roots.iter().flat_map(|root| brought(*root)).collect() }
}

fn part(node: &Node, checksums: &Checksums) -> Part {
    let purl = match &node.source {
        Source::CratesIo => Some(format!("pkg:cargo/{}@{}", node.name, node.version.replace('+', "%2B"))),
        Source::Local | Source::Other(_) => None,
    };
    let key = (node.name.clone(), node.version.clone());
    let part = Part {
        name: node.name.clone(),
        version: Some(node.version.clone()),
        purl,
        sha256: checksums.get(&key).cloned(),
        ..Part::default()
    };
    match &node.source {
        Source::CratesIo => part,
        Source::Local => part.noted(UNSCANNED, "it is of this repository"),
        Source::Other(place) => part.noted(UNSCANNED, format!("it is not from crates.io, but {place}")),
    }
}

/// A section of a 64-bit little-endian ELF file (System V ABI, "Sections").
fn section<'b>(binary: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = binary.get(at..at.checked_add(length)?)?;
        usize::try_from(bytes.iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))).ok()
    };
    if binary.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count, names) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?, number(0x3e, 2)?);
    let header = |index: usize| table.checked_add(size.checked_mul(index)?);
    let content = |index: usize| {
        let (start, length) = (number(header(index)? + 0x18, 8)?, number(header(index)? + 0x20, 8)?);
        binary.get(start..start.checked_add(length)?)
    };
    let names = content(names)?;
    let is_called = |index: &usize| {
        let found = header(*index).and_then(|header| names.get(number(header, 4)?..));
        found.is_some_and(|found| found.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0)))
    };
    content((0..count).find(is_called)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIST: &str = r#"{"packages":[
        {"name":"demo","version":"1.0.0","source":"local","root":true,"dependencies":[1,2]},
        {"name":"used","version":"2.0.0+meta","source":"crates.io","dependencies":[3]},
        {"name":"macros","version":"1.0.0","source":"crates.io","kind":"build","dependencies":[4]},
        {"name":"deep","version":"0.1.0","source":"git"},
        {"name":"only-for-macros","version":"1.0.0","source":"crates.io"}]}"#;

    /// An ELF file of two sections: their names, and `content` in one of that name.
    fn elf(name: &str, content: &[u8]) -> Vec<u8> {
        let names = [b"\0".as_slice(), name.as_bytes(), b"\0"].concat();
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let start = file.len();
        file.extend(content);
        file.extend(&names);
        let table = file.len();
        file[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
        file[0x3a..0x40].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
        for (called, at, length) in [(1_u32, start, content.len()), (0, start + content.len(), names.len())] {
            let mut header = vec![0; 64];
            header[..4].copy_from_slice(&called.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
            file.extend(header);
        }
        file
    }

    fn compressed(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn names(crates: &Crates) -> Vec<&str> {
        crates.parts.iter().map(|part| part.name.as_str()).collect()
    }

    #[test]
    fn the_embedded_list_gives_what_runs_with_checksums_and_without_what_only_compiles() {
        let checksums =
            checksums("[[package]]\nname = \"used\"\nversion = \"2.0.0+meta\"\nchecksum = \"ab\"\n").unwrap();
        let crates = embedded(&elf(".dep-v0", &compressed(LIST)), &checksums).unwrap().unwrap();
        assert_eq!(names(&crates), ["used", "deep"]);
        let used = &crates.parts[0];
        assert_eq!(used.purl.as_deref(), Some("pkg:cargo/used@2.0.0%2Bmeta"));
        assert_eq!(
            (used.sha256.as_deref(), used.brings.as_slice()),
            (Some("ab"), ["deep@0.1.0".to_owned()].as_slice())
        );
        assert_eq!(crates.parts[1].purl, None, "what is not from crates.io is not called so");
        assert_eq!(crates.direct, ["pkg:cargo/used@2.0.0%2Bmeta"]);
    }

    #[test]
    fn a_binary_without_a_list_has_none_and_a_damaged_list_is_an_error() {
        let none = Checksums::new();
        assert_eq!(embedded(b"#!/bin/sh", &none), Ok(None));
        assert_eq!(embedded(&elf(".other", b"x"), &none), Ok(None));
        assert!(embedded(&elf(".dep-v0", b"x"), &none).unwrap_err().contains("damaged"));
        let whole = elf(".dep-v0", &compressed(LIST));
        for length in 0..whole.len() {
            embedded(&whole[..length], &none).ok();
        }
    }

    #[test]
    fn what_cargo_resolved_gives_the_same_where_there_is_no_list() {
        let text = r#"{"packages":[
            {"id":"d","name":"demo","version":"1.0.0","source":null,"links":null,"manifest_path":"/d","targets":[{"kind":["bin"]}]},
            {"id":"u","name":"used","version":"2.0.0","source":"registry+https://github.com/rust-lang/crates.io-index","links":"c",
             "manifest_path":"/u","targets":[{"kind":["lib"]}]},
            {"id":"m","name":"macros","version":"1.0.0","source":"registry+https://github.com/rust-lang/crates.io-index","links":null,
             "manifest_path":"/m","targets":[{"kind":["proc-macro"]}]},
            {"id":"b","name":"build","version":"1.0.0","source":"registry+https://github.com/rust-lang/crates.io-index","links":null,
             "manifest_path":"/b","targets":[{"kind":["lib"]}]}],
            "resolve":{"nodes":[
              {"id":"d","deps":[{"pkg":"u","dep_kinds":[{"kind":null}]},{"pkg":"m","dep_kinds":[{"kind":null}]}],"features":[]},
              {"id":"u","deps":[{"pkg":"b","dep_kinds":[{"kind":"build"}]}],"features":["bundled"]}]}}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let crates = metadata.crates("demo", &Checksums::new());
        assert_eq!((names(&crates), crates.direct.len()), (vec!["used"], 1));
        assert!(metadata.find("used", "2.0.0", "bundled").unwrap().1);
        assert!(!metadata.find("used", "2.0.0", "other").unwrap().1);
        assert!(metadata.find("used", "3.0.0", "bundled").is_none());
    }
}
