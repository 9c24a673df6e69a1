//! What is in a binary and is no crate: C that crates bring along, the C library, the compiler's own library, Rust's standard library.
//!
//! Versions are asked for, never assumed: a crate's C says its own in a header; a static archive belongs to a Debian package, which says
//! which source it was built from. A cross-compiler's package has versions of its own and names that source in `Built-Using`: an older
//! one, often, than the machine's own C library.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::image::compile::Toolchain;
use crate::oci::sha256_hex;
use crate::sys::children::{Begun, Call};
use crate::sys::files;
use crate::sys::tools;
use crate::trust::sbom::crates::{Crates, Metadata};
use crate::trust::sbom::{Distribution, LISTED_UNDER, Part, UNSCANNED};

/// C that a crate brings along, with a version of its own.
struct Bundle {
    of: &'static str,
    /// The feature that compiles it in.
    feature: &'static str,
    /// The header that defines the version as a string, and the name of that definition.
    header: &'static str,
    define: &'static str,
    /// What it is made of.
    source: &'static str,
    name: &'static str,
    /// Vendor and product as the NVD calls them.
    cpe: &'static str,
}

const BUNDLES: [Bundle; 1] = [Bundle {
    of: "libsqlite3-sys",
    feature: "bundled",
    header: "sqlite3/sqlite3.h",
    define: "SQLITE_VERSION",
    source: "sqlite3/sqlite3.c",
    name: "sqlite",
    cpe: "sqlite:sqlite",
}];

/// Adds the C that crates bring along. What has no version of its own is noted at its crate.
///
/// # Errors
/// A crate's files cannot be read.
pub fn add_bundled(crates: &mut Crates, metadata: &Metadata) -> Result<()> {
    let mut bundled = Vec::new();
    for part in &mut crates.parts {
        let version = part.version.clone().unwrap_or_default();
        let bundle = BUNDLES.iter().find(|bundle| bundle.of == part.name);
        let feature = bundle.map_or("", |bundle| bundle.feature);
        let Some((package, is_on)) = metadata.find(&part.name, &version, feature) else { continue };
        let folder = package.manifest_path.parent().unwrap_or(Path::new("/"));
        match (bundle.filter(|_| is_on), &package.links) {
            (Some(bundle), _) => {
                let found = bundle.part(folder, part)?;
                part.brings.push(found.reference());
                bundled.push(found);
            }
            (None, Some(links)) => {
                let why = format!("native code that it links as `{links}` has no version of its own");
                part.properties.push((UNSCANNED.into(), why));
            }
            (None, None) => {}
        }
    }
    crates.parts.extend(bundled);
    Ok(())
}

impl Bundle {
    fn part(&self, folder: &Path, of: &Part) -> Result<Part> {
        let header = files::read(&folder.join(self.header))?.unwrap_or_default();
        let version = defined(&String::from_utf8_lossy(&header), self.define);
        let cpe = version.as_ref().map(|version| cpe(self.cpe, version));
        let purl = version.as_ref().map(|version| format!("pkg:generic/{}@{version}", self.name));
        let source = files::read(&folder.join(self.source))?;
        let part = Part { name: self.name.into(), sha256: source.map(|it| sha256_hex(&it)), ..Part::default() };
        let part = Part { version, cpe, purl, ..part }.noted(LISTED_UNDER, of.reference());
        Ok(part.noted(
            UNSCANNED,
            "Trivy matches no CPE; RustSec and GitHub list flaws of it under the crate that brings it",
        ))
    }
}

/// What a linker and a compiler add to every static binary, and the distribution that it is from.
pub type Linked = (Vec<Part>, Option<Distribution>);

/// The same for each of some toolchains. They are looked up together, since dpkg reads all it has for each question.
///
/// # Errors
/// A program that is there cannot be asked.
pub fn linked(toolchains: &[&Toolchain]) -> Result<Vec<Linked>> {
    let distribution =
        files::read(Path::new("/etc/os-release"))?.and_then(|text| distribution(&String::from_utf8_lossy(&text)));
    let libraries: Vec<_> = toolchains.iter().map(|toolchain| StaticLibrary::all(toolchain)).collect::<Result<_>>()?;
    let paths: Vec<&Path> = libraries.iter().flatten().filter_map(|library| library.path.as_deref()).collect();
    let owners = owners(&paths)?;
    libraries.iter().map(|libraries| linked_of(libraries, &owners, distribution.clone())).collect()
}

fn linked_of(libraries: &[StaticLibrary], owners: &[Owner], distribution: Option<Distribution>) -> Result<Linked> {
    let parts = libraries.iter().map(|library| {
        let bytes = library.path.as_deref().map(files::read).transpose()?.flatten();
        let owner = library.path.as_ref().and_then(|path| owners.iter().find(|owner| owner.path == *path));
        let part = match (owner, &distribution) {
            (Some(owner), Some(distribution)) => owner.part(library, distribution),
            _ => library.of_nobody(),
        };
        Ok(Part { sha256: bytes.map(|bytes| sha256_hex(&bytes)), ..part })
    });
    let parts: Vec<Part> = parts.collect::<Result<_>>()?;
    let is_used = parts.iter().any(|part| part.purl.as_ref().is_some_and(|purl| purl.starts_with("pkg:deb/")));
    Ok((parts, distribution.filter(|_| is_used)))
}

/// A file that is linked into every binary.
struct StaticLibrary {
    /// What it is called where nobody owns it.
    name: &'static str,
    version: Option<String>,
    cpe: Option<String>,
    /// How the name of the source package begins that it is built from.
    source: &'static str,
    path: Option<PathBuf>,
}

impl StaticLibrary {
    /// What a static binary for a GNU system holds. A target with another C library has its own in Rust's folder.
    fn all(toolchain: &Toolchain) -> Result<Vec<StaticLibrary>> {
        let ask = |file: &str| Call::new(&toolchain.linker).args([format!("-print-file-name={file}")]).begin();
        let (libc, libgcc) = (ask("libc.a")?, ask("libgcc_eh.a")?);
        let rust = toolchain.sysroot.join("lib/rustlib").join(&toolchain.triple).join("lib");
        let own = rust.join("self-contained/libc.a");
        let libc = if own.exists() { Some(own) } else { real(&said(libc)?) };
        let version = toolchain.version.split(' ').nth(1).map(str::to_owned);
        let library = |name, source, path| StaticLibrary { name, version: None, cpe: None, source, path };
        Ok(vec![
            library("libc", "glibc", libc),
            library("libgcc", "gcc-", real(&said(libgcc)?)),
            StaticLibrary {
                cpe: version.as_ref().map(|version| cpe("rust-lang:rust", version)),
                version,
                ..library("rust-std", "rustc", standard_library(&rust))
            },
        ])
    }

    fn of_nobody(&self) -> Part {
        let why = match &self.path {
            Some(_) => "it is of no package of a distribution, and no scanner has a source for it",
            None => "the linker does not say where it is from",
        };
        let part =
            Part { name: self.name.into(), version: self.version.clone(), cpe: self.cpe.clone(), ..Part::default() };
        part.noted(UNSCANNED, why)
    }
}

/// Where a linker finds a file; it says the bare name of one that it does not find.
fn real(said: &str) -> Option<PathBuf> {
    Path::new(said).canonicalize().ok().filter(|_| said.starts_with('/'))
}

fn said(asked: Begun) -> Result<String> {
    Ok(String::from_utf8_lossy(&asked.answer()?.stdout).trim().to_owned())
}

fn standard_library(folder: &Path) -> Option<PathBuf> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    };
    names.filter(is_it).min()?.canonicalize().ok()
}

/// The package that a file is of.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    path: PathBuf,
    package: String,
    source: String,
    version: String,
    built_using: String,
}

/// The Debian packages that own some files; nobody where dpkg does not know them, or is not there.
fn owners(paths: &[&Path]) -> Result<Vec<Owner>> {
    const FORMAT: &str = "${Package}:${Architecture}\t${source:Package}\t${source:Version}\t${Built-Using}\n";
    let Some(dpkg) = tools::on_path("dpkg-query").filter(|_| !paths.is_empty()) else { return Ok(Vec::new()) };
    // It fails where it does not know one of them, and says the others all the same.
    let found = Call::new(&dpkg).args(["--search"]).args(paths).output()?;
    let owned = owned(&String::from_utf8_lossy(&found.stdout));
    if owned.is_empty() {
        return Ok(Vec::new());
    }
    let packages = owned.iter().map(|(package, _)| package);
    let shown = Call::new(&dpkg).args(["--show", "--showformat", FORMAT]).args(packages).output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    Ok(owned.into_iter().filter_map(|(package, path)| Owner::read(&shown, package, path)).collect())
}

/// `libc6-dev:amd64: /usr/lib/x86_64-linux-gnu/libc.a`, a line for each file.
fn owned(said: &str) -> Vec<(String, PathBuf)> {
    let lines = said.lines().filter_map(|line| line.rsplit_once(": "));
    lines.map(|(package, path)| (package.to_owned(), PathBuf::from(path))).collect()
}

impl Owner {
    fn read(shown: &str, package: String, path: PathBuf) -> Option<Self> {
        let name = |line: &&str| {
            let full = line.split('\t').next().unwrap_or_default();
            full == package || full.split(':').next() == Some(package.as_str())
        };
        let mut fields = shown.lines().find(name)?.split('\t').skip(1).map(str::to_owned);
        let (source, version) = (fields.next()?, fields.next()?);
        Some(Owner { path, package, source, version, built_using: fields.next().unwrap_or_default() })
    }

    /// The source package: of a cross-compiler's package, the one that it says to have been built using.
    fn part(&self, library: &StaticLibrary, distribution: &Distribution) -> Part {
        let built_using = self.built_using.split(", ").filter_map(|entry| entry.split_once(" (= "));
        let mut built_using = built_using.map(|(name, version)| (name, version.trim_end_matches(')')));
        let named = built_using.find(|(name, _)| name.starts_with(library.source));
        let (source, version) = named.unwrap_or((&self.source, &self.version));
        let Distribution { id, version: release } = distribution;
        let purl = format!("pkg:deb/{id}/{}@{}?arch=source&distro={id}-{release}", encoded(source), encoded(version));
        let part = Part { name: source.into(), version: Some(version.into()), purl: Some(purl), ..Part::default() };
        Part { cpe: library.cpe.clone(), ..part }
            .noted("linked", format!("{} of the package {}", library.name, self.package))
    }
}

/// Debian, Ubuntu and their kin say what they are; others have no packages of that kind.
fn distribution(os_release: &str) -> Option<Distribution> {
    let field = |name: &str| {
        let value = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    Some(Distribution { id: field("ID")?, version: field("VERSION_ID")? })
}

/// The text of a `#define NAME "text"`.
fn defined(header: &str, name: &str) -> Option<String> {
    let line = header.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.trim().trim_matches('"').to_owned()).filter(|text| !text.is_empty())
}

fn cpe(product: &str, version: &str) -> String {
    format!("cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*")
}

/// As package URLs want it.
fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What dpkg says on Debian 12 of both C libraries for static binaries.
    const SHOWN: &str = "libc6-dev:amd64\tglibc\t2.36-9+deb12u14\t\n\
        libc6-dev-arm64-cross:all\tcross-toolchain-base\t66\tbinutils (= 2.40-2), gcc-12 (= 12.2.0-14), glibc (= 2.36-8)\n\
        libgcc-12-dev-arm64-cross:all\tgcc-12-cross\t15\tgcc-12 (= 12.2.0-14)\n";

    fn part(package: &str, name: &'static str, source: &'static str) -> Part {
        let owner = Owner::read(SHOWN, package.into(), "/lib/it.a".into()).unwrap();
        let library = StaticLibrary { name, version: None, cpe: None, source, path: Some("/lib/it.a".into()) };
        owner.part(&library, &Distribution { id: "debian".into(), version: "12".into() })
    }

    #[test]
    fn a_c_library_is_called_by_the_source_that_its_package_was_really_built_from() {
        let own = part("libc6-dev:amd64", "libc", "glibc");
        assert_eq!(own.purl.as_deref(), Some("pkg:deb/debian/glibc@2.36-9%2Bdeb12u14?arch=source&distro=debian-12"));
        let cross = part("libc6-dev-arm64-cross", "libc", "glibc");
        assert_eq!((cross.name.as_str(), cross.version.as_deref()), ("glibc", Some("2.36-8")));
        let compiler = part("libgcc-12-dev-arm64-cross", "libgcc", "gcc-");
        assert_eq!((compiler.name.as_str(), compiler.version.as_deref()), ("gcc-12", Some("12.2.0-14")));
        assert_eq!(Owner::read(SHOWN, "absent".into(), "/a".into()), None);
    }

    #[test]
    fn what_no_package_owns_is_listed_and_said_to_be_unscanned() {
        let library = |path: Option<PathBuf>| {
            let version = Some("1.95.0".to_owned());
            StaticLibrary {
                name: "rust-std",
                cpe: Some(cpe("rust-lang:rust", "1.95.0")),
                version,
                source: "rustc",
                path,
            }
            .of_nobody()
        };
        let found = library(Some("/home/it".into()));
        assert_eq!((found.reference().as_str(), found.purl), ("rust-std@1.95.0", None));
        assert_eq!(found.cpe.as_deref(), Some("cpe:2.3:a:rust-lang:rust:1.95.0:*:*:*:*:*:*:*"));
        assert!(found.properties[0].1.contains("no scanner has a source"), "{:?}", found.properties);
        assert!(library(None).properties[0].1.contains("does not say"));
    }

    #[test]
    fn versions_and_owners_are_read_as_they_are_written() {
        assert_eq!(defined("#define SQLITE_VERSION        \"3.50.4\"\n", "SQLITE_VERSION").as_deref(), Some("3.50.4"));
        assert_eq!(defined("#define SQLITE_VERSION_NUMBER 3050004\n", "SQLITE_VERSION"), None);
        let said = "libc6-dev:amd64: /usr/lib/libc.a\n";
        assert_eq!(owned(said), [("libc6-dev:amd64".to_owned(), PathBuf::from("/usr/lib/libc.a"))]);
        let debian = distribution("NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert_eq!(debian, Some(Distribution { id: "debian".into(), version: "12".into() }));
        assert_eq!(distribution("ID=arch\n"), None);
        assert_eq!(encoded("1:2.3+b"), "1%3A2.3%2Bb");
    }
}
