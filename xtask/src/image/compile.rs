//! Compiles the released crate into one static binary for each platform, with whatever compiler on this machine can.
//!
//! A platform can be built where a `rustc` has the target's standard library and a linker can make a static program. Both are found
//! out by asking: each `rustc` (of `RUSTC`, of every rustup toolchain, on PATH) says where its library would be, and an empty
//! program is linked. The build sees a copy of the sources at one path name, and paths of the machine are mapped away, so that
//! folder, user and home leave no trace in the binary (I15).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use crate::config::{Package, Product};
use crate::error::{Error, Exit, Result};
use crate::oci::{self, Platform};
use crate::sys::children::{self, Begun, Call};
use crate::sys::files;
use crate::sys::tools;
use crate::ui;

/// A compiler that can build for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler target, such as `aarch64-unknown-linux-gnu`.
    pub triple: String,
    /// The compiler.
    pub rustc: PathBuf,
    /// The folder that its libraries are in.
    pub sysroot: PathBuf,
    /// What it calls itself: `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub version: String,
    /// The program that links for the target.
    pub linker: String,
}

/// What can be built here, and why the rest cannot.
#[derive(Clone, Debug, Default)]
pub struct Toolchains {
    /// A compiler for each platform that can be built.
    pub found: BTreeMap<Platform, Toolchain>,
    /// What is missing for the others, with the ways to get it.
    pub missing: BTreeMap<Platform, Missing>,
}

/// Why a platform cannot be built.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The reason, in a few words.
    pub why: String,
    /// What would cure it; any one of these is enough.
    pub remedies: Vec<String>,
}

/// Finds a compiler for every platform.
///
/// # Errors
/// A program that was found cannot be started.
pub fn toolchains(product: &Product) -> Result<Toolchains> {
    let triples: Vec<&str> = product.platforms.values().map(String::as_str).collect();
    let compilers = best_first(compilers(product, &triples)?, &triples);
    let mut toolchains = Toolchains::default();
    let mut probes = Vec::new();
    for (platform, triple) in &product.platforms {
        match toolchain(triple, &compilers) {
            // All at once: a linker takes its time, and each is waited for in turn.
            Ok(toolchain) => probes.push((platform, Probe::start(toolchain)?)),
            Err(missing) => drop(toolchains.missing.insert(platform.clone(), missing)),
        }
    }
    for (platform, probe) in probes {
        match probe.finish()? {
            Ok(toolchain) => drop(toolchains.found.insert(platform.clone(), toolchain)),
            Err(missing) => drop(toolchains.missing.insert(platform.clone(), missing)),
        }
    }
    Ok(toolchains)
}

impl Toolchains {
    /// Refuses a machine that can build nothing at all.
    ///
    /// # Errors
    /// No platform can be built; every reason and remedy is listed.
    pub fn require_any(&self) -> Result<()> {
        if !self.found.is_empty() {
            return Ok(());
        }
        let reasons = self.missing.iter().map(|(platform, missing)| format!("{platform}: {}", missing.why));
        let remedies = self
            .missing
            .iter()
            .flat_map(|(platform, missing)| missing.remedies.iter().map(move |remedy| format!("{platform}: {remedy}")));
        let error = Error::new(Exit::Environment, "no platform of the image can be built on this machine")
            .because(reasons.collect::<Vec<_>>().join("\n"));
        Err(remedies.fold(error, Error::remedy))
    }

    /// As `require_any`, for every platform: what is public is whole.
    ///
    /// # Errors
    /// A platform cannot be built.
    pub fn require_all(&self) -> Result<()> {
        match self.missing.iter().next() {
            None => Ok(()),
            Some((platform, missing)) => Err(missing.remedies.iter().fold(
                Error::new(Exit::Environment, format!("{platform} cannot be built on this machine"))
                    .because(&missing.why),
                Error::remedy,
            )),
        }
    }

    /// Those for one platform.
    ///
    /// # Errors
    /// This machine has none.
    pub fn only(&self, platform: &Platform) -> Result<Self> {
        let mut only = self.clone();
        only.found.retain(|found, _| found == platform);
        only.missing.retain(|missing, _| missing == platform);
        only.require_all()?;
        if only.found.is_empty() {
            return Err(Error::new(Exit::Usage, format!("there is no image for {platform}"))
                .because("it is not in [workspace.metadata.release.platforms]"));
        }
        Ok(only)
    }
}

/// Compiles the crate in `source` for every platform that can be built.
///
/// Platforms that share a compiler share one call of cargo, which builds what runs on this machine (build scripts, macros) once.
/// Different compilers run side by side: the last step of each, linking, keeps one core busy only.
///
/// # Errors
/// A build fails; cargo has said why by then.
pub fn compile(
    product: &Product,
    source: &Path,
    build_folder: &Path,
    toolchains: &Toolchains,
    auditable: bool,
) -> Result<BTreeMap<Platform, Vec<u8>>> {
    const LIMIT: Duration = Duration::from_secs(60 * 60);
    let package = product.package()?;
    let mut groups: BTreeMap<&Path, Vec<(&Platform, &Toolchain)>> = BTreeMap::new();
    for (platform, toolchain) in &toolchains.found {
        groups.entry(&toolchain.rustc).or_default().push((platform, toolchain));
    }
    let alone = groups.len() == 1;
    let mut running = Vec::new();
    for (number, group) in groups.into_values().enumerate() {
        let platforms: Vec<Platform> = group.iter().map(|(platform, _)| (*platform).clone()).collect();
        let (name, version) = (&package.name, &group[0].1.version);
        ui::status("Compiling", format_args!("{name} for {} with {version}", oci::platform_names(&platforms)));
        let target_folder = build_folder.join(number.to_string());
        let mut call = cargo_call(&package.name, source, &target_folder, &group, auditable);
        if !alone {
            // Two progress bars on one terminal would overwrite each other.
            call = call.env("CARGO_TERM_PROGRESS_WHEN", "never");
        }
        running.push((call.start()?, target_folder, group));
    }
    let mut binaries = BTreeMap::new();
    for (call, target_folder, group) in running {
        let what = || format!("the sources that were built: {}", source.display());
        call.finish(LIMIT).map_err(|error| error.remedy(what()))?;
        for (platform, toolchain) in group {
            binaries.insert(platform.clone(), binary(package, &target_folder, &toolchain.triple)?);
        }
    }
    Ok(binaries)
}

fn cargo_call(
    package: &str,
    source: &Path,
    target_folder: &Path,
    group: &[(&Platform, &Toolchain)],
    auditable: bool,
) -> Call {
    let verb: &[&str] = if auditable { &["auditable", "build"] } else { &["build"] };
    let mut call = tools::cargo()
        .args(verb)
        .args(["--release", "--locked", "--package", package, "--bin", package])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", target_folder)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(source, target_folder).join("\u{1f}"));
    for (_, toolchain) in group {
        call = call
            .args(["--target", &toolchain.triple])
            .env("RUSTC", &toolchain.rustc)
            .env(&linker_variable(&toolchain.triple), &toolchain.linker)
            .env(&format!("CFLAGS_{}", toolchain.triple.replace('-', "_")), c_flags(source, target_folder));
    }
    call.env_retain(may_see)
}

/// What cargo is told of the environment: it runs the build scripts of every crate, which are programs of strangers. So these are names that
/// a compiler may want, and none that holds a secret.
pub fn may_see(variable: &str) -> bool {
    const COMPILERS: [&str; 17] = [
        "AR",
        "CC",
        "CPATH",
        "CXX",
        "C_INCLUDE_PATH",
        "DEVELOPER_DIR",
        "LD_LIBRARY_PATH",
        "LIBRARY_PATH",
        "MACOSX_DEPLOYMENT_TARGET",
        "MAKEFLAGS",
        "NUM_JOBS",
        "RANLIB",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUST_BACKTRACE",
        "SDKROOT",
        "XDG_CACHE_HOME",
    ];
    const STARTS: [&str; 8] = ["AR_", "CARGO_", "CCACHE_", "CC_", "CXX_", "NIX_", "RUSTUP_", "SCCACHE_"];
    let is_wanted = children::is_harmless(variable)
        || COMPILERS.contains(&variable)
        || STARTS.iter().any(|start| variable.starts_with(start));
    is_wanted && !children::is_secret(variable) && !changes_the_binary(variable)
}

fn binary(package: &Package, target_folder: &Path, triple: &str) -> Result<Vec<u8>> {
    let path = target_folder.join(triple).join("release").join(&package.name);
    files::read(&path)?.ok_or_else(|| {
        Error::new(Exit::Failure, format!("cargo built no binary `{}`", package.name))
            .because(format!("{} is not there", path.display()))
            .remedy(format!("give the package a binary of its own name: {}/src/main.rs", package.folder))
    })
}

/// Settings of the caller's shell that would make another binary than anybody else's.
fn changes_the_binary(variable: &str) -> bool {
    let exact = ["RUSTFLAGS", "RUSTC_BOOTSTRAP", "CFLAGS", "CPPFLAGS", "LDFLAGS", "CARGO_INCREMENTAL"];
    // How fast cargo builds is the user's own affair.
    let harmless = ["CARGO_BUILD_JOBS", "CARGO_BUILD_RUSTC_WRAPPER"];
    exact.contains(&variable)
        || (variable.starts_with("CARGO_BUILD_") && !harmless.contains(&variable))
        || variable.starts_with("CARGO_PROFILE_")
        || variable.starts_with("LIBSQLITE3_")
        || variable.starts_with("SQLITE_MAX_")
        || (variable.starts_with("CARGO_TARGET_") && variable.ends_with("_RUSTFLAGS"))
}

fn rust_flags(source: &Path, target_folder: &Path) -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let mapped = machine_paths(source, target_folder);
    flags.extend(mapped.map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())));
    flags
}

fn c_flags(source: &Path, target_folder: &Path) -> String {
    let mapped = machine_paths(source, target_folder);
    mapped.map(|(path, name)| format!("-ffile-prefix-map={}={name}", path.display())).collect::<Vec<_>>().join(" ")
}

/// The folders of this machine that compilers write into binaries, and the names that stand for them.
fn machine_paths(source: &Path, target_folder: &Path) -> impl Iterator<Item = (PathBuf, &'static str)> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home.map(|home| home.join(".cargo")));
    let known = [(cargo_home, "/cargo"), (Some(target_folder.into()), "/target"), (Some(source.into()), "/source")];
    known.into_iter().filter_map(|(path, name)| Some((path?, name)))
}

fn linker_variable(triple: &str) -> String {
    format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"))
}

/// A `rustc` of this machine.
#[derive(Clone, Debug)]
struct Compiler {
    path: PathBuf,
    version: String,
    host: String,
    sysroot: PathBuf,
}

/// The one that the user chose, and then those that can build for more platforms than others: what one compiler builds for all of them
/// takes a twentieth less time than what each builds for one.
fn best_first(mut compilers: Vec<Compiler>, triples: &[&str]) -> Vec<Compiler> {
    let chosen = std::env::var_os("RUSTC").map(PathBuf::from);
    compilers.sort_by_cached_key(|compiler| {
        let built = triples.iter().filter(|triple| compiler.has_library(triple)).count();
        (chosen.as_ref() != Some(&compiler.path), Reverse(built))
    });
    compilers
}

/// The compilers of this machine that are new enough, in the order in which a shell would find them. Where the first one can build for all
/// platforms, as on most machines, it is the only one that is asked: a compiler takes longer to start than to answer.
fn compilers(product: &Product, triples: &[&str]) -> Result<Vec<Compiler>> {
    let oldest = product.package()?.rust_version.as_deref();
    let mut paths = paths_in_environment();
    let first = match paths.first() {
        Some(path) => Question::ask(path.clone())?.answer(oldest)?,
        None => None,
    };
    if first.as_ref().is_some_and(|first| triples.iter().all(|triple| first.has_library(triple))) {
        return Ok(first.into_iter().collect());
    }
    let asked = paths.len().min(1);
    paths.extend(paths_of_rustup()?);
    let mut compilers: Vec<Compiler> = first.into_iter().collect();
    // The others are asked all at once.
    let asked = without_doubles(paths).into_iter().skip(asked).map(Question::ask).collect::<Result<Vec<_>>>()?;
    for question in asked {
        let Some(compiler) = question.answer(oldest)? else { continue };
        if compilers.iter().all(|known| known.sysroot != compiler.sysroot) {
            compilers.push(compiler);
        }
    }
    Ok(compilers)
}

fn paths_in_environment() -> Vec<PathBuf> {
    let chosen = std::env::var_os("RUSTC").map(PathBuf::from);
    chosen.into_iter().chain(tools::all_on_path("rustc")).collect()
}

fn paths_of_rustup() -> Result<Vec<PathBuf>> {
    let Some(rustup) = tools::on_path("rustup") else { return Ok(Vec::new()) };
    let listed = Call::new(rustup).args(["toolchain", "list", "--verbose"]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let folders = listed.lines().filter_map(|line| line.split_whitespace().last()).filter(|word| word.starts_with('/'));
    Ok(folders.map(|folder| Path::new(folder).join("bin/rustc")).collect())
}

/// `/bin` and `/usr/bin` are often one folder, and shells like to add to PATH what is in it.
fn without_doubles(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut known = BTreeSet::new();
    paths.retain(|path| known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    paths
}

/// A compiler that was asked what it is.
struct Question {
    path: PathBuf,
    version: Begun,
    sysroot: Begun,
}

impl Question {
    fn ask(path: PathBuf) -> Result<Self> {
        let version = Call::new(&path).args(["--version", "--verbose"]).begin()?;
        let sysroot = Call::new(&path).args(["--print", "sysroot"]).begin()?;
        Ok(Question { path, version, sysroot })
    }

    /// Nothing where it is no compiler, or one that is too old.
    fn answer(self, oldest: Option<&str>) -> Result<Option<Compiler>> {
        let (version, sysroot) = (self.version.answer()?, self.sysroot.answer()?);
        if version.code != Some(0) || sysroot.code != Some(0) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        let line = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
        let Some(host) = line("host: ") else { return Ok(None) };
        let version = text.lines().next().unwrap_or_default().to_owned();
        let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
        let compiler = Compiler { path: self.path, version, host, sysroot };
        Ok(is_at_least(&compiler.version, oldest).then_some(compiler))
    }
}

/// Whether `rustc 1.95.0 (…)` is at least `1.89`. A nightly of a version counts as that version.
fn is_at_least(compiler: &str, wanted: Option<&str>) -> bool {
    let number = |text: &str| {
        let plain = text.split(['-', ' ']).next().unwrap_or_default();
        let dots = plain.matches('.').count();
        Version::parse(&format!("{plain}{}", ".0".repeat(2usize.saturating_sub(dots)))).ok()
    };
    let Some(wanted) = wanted.and_then(number) else { return true };
    compiler.strip_prefix("rustc ").and_then(number).is_some_and(|version| version >= wanted)
}

/// The compiler and the linker for a target, as far as they can be told without trying them.
fn toolchain(triple: &str, compilers: &[Compiler]) -> Result<Toolchain, Missing> {
    let compiler = compilers.iter().find(|compiler| compiler.has_library(triple)).ok_or_else(|| Missing {
        why: format!("no rustc here has the standard library for {triple}"),
        remedies: library_remedies(triple),
    })?;
    let linker = linker(triple, &compiler.host).ok_or_else(|| Missing {
        why: format!("there is no linker for {triple}"),
        remedies: linker_remedies(triple),
    })?;
    let Compiler { path, version, sysroot, .. } = compiler.clone();
    Ok(Toolchain { triple: triple.into(), rustc: path, sysroot, version, linker })
}

impl Compiler {
    fn has_library(&self, triple: &str) -> bool {
        let folder = self.sysroot.join("lib/rustlib").join(triple).join("lib");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("libstd-"))
    }
}

fn linker(triple: &str, host: &str) -> Option<String> {
    if let Ok(chosen) = std::env::var(linker_variable(triple)) {
        return Some(chosen);
    }
    let cross = format!("{}-gcc", triple.replace("-unknown-", "-"));
    let names: &[&str] = if triple == host { &["cc", "gcc", "clang"] } else { &[&cross] };
    names.iter().find(|name| tools::on_path(name).is_some()).map(|name| (*name).to_owned())
}

/// An empty static program that is being linked, to see whether that works.
struct Probe {
    toolchain: Toolchain,
    folder: PathBuf,
    linking: Begun,
}

impl Probe {
    /// Tries without the standard library first, whose presence is known: that takes a fifth of the time.
    fn start(toolchain: Toolchain) -> Result<Self> {
        const EMPTY: &str = "#![no_std]\n#![no_main]\n\
            #[panic_handler] fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n\
            #[unsafe(no_mangle)] extern \"C\" fn main() -> i32 { 0 }\n";
        const LIBC: &str = "-Clink-args=-Wl,-Bstatic,--start-group -lc -lgcc -lgcc_eh -Wl,--end-group";
        let folder = files::scratch("probe");
        let linking = link(&toolchain, &folder, EMPTY, &[LIBC])?;
        Ok(Probe { toolchain, folder, linking })
    }

    fn finish(self) -> Result<Result<Toolchain, Missing>> {
        let mut output = self.linking.answer()?;
        if output.code != Some(0) {
            // Other linkers and C libraries want other arguments, which rustc knows; and its complaint is the one that people know.
            output = link(&self.toolchain, &self.folder, "fn main() {}\n", &[])?.answer()?;
        }
        files::remove(&self.folder)?;
        if output.code == Some(0) {
            return Ok(Ok(self.toolchain));
        }
        let complaint = output.stderr.lines().find(|line| line.contains("cannot find") || line.contains("not found"));
        let why = complaint.or_else(|| output.stderr.lines().next()).unwrap_or("the linker failed").trim();
        let triple = &self.toolchain.triple;
        Ok(Err(Missing {
            why: format!("an empty static program for {triple} cannot be linked: {why}"),
            remedies: linker_remedies(triple),
        }))
    }
}

/// Begins to make a static program of a source.
fn link(toolchain: &Toolchain, folder: &Path, source: &str, arguments: &[&str]) -> Result<Begun> {
    let path = folder.join("empty.rs");
    files::replace(&path, source.as_bytes())?;
    Call::new(&toolchain.rustc)
        .args(["--edition", "2021", "--target", &toolchain.triple, "-Ctarget-feature=+crt-static", "-Cpanic=abort"])
        .args([format!("-Clinker={}", toolchain.linker)])
        .args(arguments)
        .args([path.as_os_str(), "-o".as_ref(), folder.join(&toolchain.triple).as_os_str()])
        .begin()
}

fn library_remedies(triple: &str) -> Vec<String> {
    let mut remedies = vec![format!("rustup target add {triple}")];
    remedies.extend(debian_names(triple).map(|(debian, gnu)| {
        format!(
            "on Debian: dpkg --add-architecture {debian} && apt-get update && apt-get install rustc-web \
             libstd-rust-web-dev:{debian} gcc-{gnu} libc6-dev-{debian}-cross"
        )
    }));
    remedies
}

fn linker_remedies(triple: &str) -> Vec<String> {
    let mut remedies = vec![format!("set {} to a linker that has libc's static archive", linker_variable(triple))];
    remedies.extend(debian_names(triple).map(|(debian, gnu)| {
        format!("on Debian: apt-get install gcc-{gnu} libc6-dev-{debian}-cross (libc6-dev for the machine's own)")
    }));
    remedies
}

/// What Debian calls an architecture, and its tools.
fn debian_names(triple: &str) -> Option<(&'static str, String)> {
    let architecture = match triple.split('-').next()? {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return None,
    };
    Some((architecture, triple.replace("-unknown-", "-").replace('_', "-")))
}

/// One line for each platform that is left out.
pub fn tell_missing(toolchains: &Toolchains) {
    for (platform, missing) in &toolchains.missing {
        ui::warn(format_args!("{platform} is left out: {} ({})", missing.why, missing.remedies.join("; or ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_no_build_script_of_a_crate_sees_a_secret() {
        for name in
            ["PATH", "HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN", "CC_aarch64-unknown-linux-gnu", "https_proxy", "LC_ALL"]
        {
            assert!(may_see(name), "{name}");
        }
        let secrets = [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "GITHUB_TOKEN",
            "GH_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            "ACTIONS_RUNTIME_TOKEN",
            "CARGO_REGISTRY_TOKEN",
            "CARGO_REGISTRIES_OURS_TOKEN",
            "CARGO_REGISTRY_CREDENTIAL_PROVIDER",
            "DOCKER_CONFIG",
            "DOCKER_AUTH_CONFIG",
            "SSH_AUTH_SOCK",
            "KUBECONFIG",
            "GITHUB_ENV",
            "GITHUB_PATH",
            "GITHUB_OUTPUT",
            "BASH_ENV",
        ];
        for name in secrets {
            assert!(!may_see(name), "{name}");
        }
    }

    #[test]
    fn a_compiler_that_can_build_for_all_platforms_goes_before_the_first_one_of_path() {
        let folder = tempfile::tempdir().unwrap();
        let compiler = |name: &str, triples: &[&str]| {
            let sysroot = folder.path().join(name);
            for triple in triples {
                let library = sysroot.join("lib/rustlib").join(triple).join("lib/libstd-0.rlib");
                files::replace(&library, b"").unwrap();
            }
            Compiler { path: sysroot.join("bin/rustc"), version: name.into(), host: String::new(), sysroot }
        };
        let compilers = vec![compiler("none", &[]), compiler("first", &["a"]), compiler("both", &["a", "b"])];
        let best = best_first(compilers, &["a", "b"]);
        let versions = ["a", "b"].map(|triple| {
            best.iter().find(|compiler| compiler.has_library(triple)).map(|compiler| compiler.version.as_str())
        });
        assert_eq!(versions, [Some("both"), Some("both")], "{best:?}");
    }

    #[test]
    fn compiler_versions_are_compared_as_numbers() {
        let table = [
            ("rustc 1.95.0 (59807616e 2026-04-14)", Some("1.89"), true),
            ("rustc 1.9.0", Some("1.89"), false),
            ("rustc 1.97.0-nightly (abc 2026-05-01)", Some("1.89.1"), true),
            ("rustc 1.89.0", Some("1.89"), true),
            ("rustc 1.60.0", None, true),
            ("gcc 12", Some("1.89"), false),
        ];
        for (compiler, wanted, expected) in table {
            assert_eq!(is_at_least(compiler, wanted), expected, "{compiler}");
        }
    }

    #[test]
    fn a_missing_library_names_both_ways_to_get_it() {
        let remedies = library_remedies("aarch64-unknown-linux-gnu").join("\n");
        for part in
            ["rustup target add aarch64-unknown-linux-gnu", "libstd-rust-web-dev:arm64", "gcc-aarch64-linux-gnu"]
        {
            assert!(remedies.contains(part), "{remedies}");
        }
    }

    #[test]
    fn a_machine_that_can_build_nothing_is_told_every_remedy_at_once() {
        let missing = |word: &str| Missing { why: format!("no {word}"), remedies: vec![format!("get {word}")] };
        let platform = |text: &str| Platform::try_from(text.to_owned()).unwrap();
        let toolchains = Toolchains {
            found: BTreeMap::new(),
            missing: [(platform("linux/amd64"), missing("one")), (platform("linux/arm64"), missing("other"))].into(),
        };
        let error = toolchains.require_any().unwrap_err().to_string();
        for part in ["no one", "no other", "get one", "get other"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
