//! The pinned programs that tests run, installed once for each user and kept by the digest of their lock.
//!
//! Go programs are built from locks in the repository (`xtask/test-tools`), whose checksums Go enforces; a Rust program by its own
//! lock; Python wheels, some of which hold other programs such as Node, by their hashes. Everything else comes from Debian: installed here where we are root on Debian, and asked
//! for in one line elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::disk::{self, Lock};
use crate::error::{Context, Error, Exit, Result};
use crate::image::layout::sha256_hex;
use crate::process::Call;
use crate::{tools, ui};

const LIMIT: Duration = Duration::from_secs(40 * 60);

/// The tools of one state of the locks, all of them installed.
pub(super) struct Toolbox {
    /// A folder with each program under the name that the tests use.
    pub(super) folder: PathBuf,
}

/// `xtask/test-tools/tools.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    go: Vec<Go>,
    cargo: Vec<Cargo>,
    python: Vec<Python>,
    wheel: Vec<Wheel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Go {
    name: String,
    folder: String,
    installed: String,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default = "tool_of_the_lock")]
    package: String,
    #[serde(default)]
    link: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cargo {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Python {
    name: String,
    requirements: String,
    program: Option<String>,
}

/// Programs that a Python package holds, and that need no Python.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wheel {
    name: String,
    requirements: String,
    programs: BTreeMap<String, PathBuf>,
}

fn tool_of_the_lock() -> String {
    "tool".into()
}

/// How one tool is made: by some calls, which leave its programs somewhere.
struct Recipe<'l> {
    name: &'l str,
    /// Where it is kept, under a name that holds the digest of everything it depends on.
    home: PathBuf,
    calls: Vec<Call>,
    /// Where each program is then, by the name that it gets.
    made: Vec<(&'l str, PathBuf)>,
}

/// Where tools are kept and made.
struct Places<'p> {
    locks: &'p Path,
    cache: &'p Path,
    unfinished: &'p Path,
}

impl Places<'_> {
    fn home(&self, name: &str, key: &[u8]) -> PathBuf {
        self.cache.join(format!("{name}-{}", &sha256_hex(key)[..12]))
    }
}

impl Toolbox {
    /// Installs what is missing. `took` hears how long each took.
    ///
    /// # Errors
    /// A tool cannot be built; a Debian package is missing and cannot be installed by us.
    pub(super) fn install(root: &Path, cache: Option<&Path>, took: &mut dyn FnMut(&str, Duration)) -> Result<Self> {
        let locks = root.join("xtask/test-tools");
        install_packages(&locks.join("debian.txt"), took)?;
        let cache = cache.map_or_else(default_cache, |cache| Ok(cache.to_owned()))?;
        let lists = disk::read(&locks.join("tools.toml"))?.unwrap_or_default();
        let lists: Lists = toml_edit::de::from_str(&String::from_utf8_lossy(&lists))
            .context(Exit::Workspace, || "xtask/test-tools/tools.toml cannot be used".into())?;
        // Another run of the same user may be installing.
        let _turn = Lock::wait(&cache.join(".lock"))?;
        let mut installed = Vec::new();
        let unfinished = cache.join("unfinished");
        for recipe in lists.recipes(&Places { locks: &locks, cache: &cache, unfinished: &unfinished })? {
            installed.extend(recipe.make(&unfinished, took)?);
        }
        let key: String = installed.iter().map(|(_, path)| path.display().to_string()).collect();
        let folder = cache.join(format!("all-{}", &sha256_hex(key.as_bytes())[..12]));
        for (name, path) in installed {
            if std::fs::read_link(folder.join(&name)).ok().as_ref() != Some(&path) {
                disk::symlink(&path, &folder.join(&name))?;
            }
        }
        Ok(Toolbox { folder })
    }

    /// A program of these.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A value for PATH where `node` is the pinned one, and all else as it was: npm starts it by its name.
    ///
    /// # Errors
    /// PATH cannot be written.
    pub(super) fn path_with_node(&self) -> Result<OsString> {
        let node = std::fs::read_link(self.program("node")).context(Exit::Environment, || "node is not here".into())?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = node.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
        std::env::join_paths(folders).context(Exit::Environment, || "PATH cannot be extended".into())
    }
}

impl Lists {
    fn recipes(&self, places: &Places) -> Result<Vec<Recipe<'_>>> {
        let go = self.go.iter().map(|tool| tool.recipe(places));
        let cargo = self.cargo.iter().map(|tool| Ok(tool.recipe(places)));
        let python = self.python.iter().map(|tool| tool.recipe(places));
        let wheels = self.wheel.iter().map(|tool| tool.recipe(places));
        go.chain(cargo).chain(python).chain(wheels).collect()
    }
}

impl Go {
    fn recipe(&self, places: &Places) -> Result<Recipe<'_>> {
        let lock = places.locks.join(&self.folder);
        let link: Vec<String> = self.link.iter().map(|setting| format!("-X {setting}")).collect();
        let tags = self.tags.join(",");
        let mut key = [link.join(" "), tags.clone()].concat().into_bytes();
        for name in ["go.mod", "go.sum", "main.go"] {
            key.extend(disk::read(&lock.join(name))?.unwrap_or_default());
        }
        let call = Call::new("go")
            .args(["install", "-trimpath", "-tags", &tags, "-ldflags", &link.join(" "), &self.package])
            .within(&lock)
            .env("GOFLAGS", "-mod=readonly")
            .env("GOBIN", places.unfinished)
            .env("GOTOOLCHAIN", "local");
        let programs = self.also.iter().map(|name| (name.as_str(), name.as_str()));
        let programs = programs.chain([(self.name.as_str(), self.installed.as_str())]);
        let made = programs.map(|(name, installed)| (name, places.unfinished.join(installed))).collect();
        Ok(Recipe { name: &self.name, home: places.home(&self.name, &key), calls: vec![call], made })
    }
}

impl Cargo {
    fn recipe(&self, places: &Places) -> Recipe<'_> {
        let call = Call::new(tools::cargo())
            .args(["install", &self.name, "--version", &self.version, "--locked", "--root"])
            .args([places.unfinished])
            .env("CARGO_TARGET_DIR", places.unfinished.join("target"));
        let home = places.home(&self.name, self.version.as_bytes());
        let made = vec![(self.name.as_str(), places.unfinished.join("bin").join(&self.name))];
        Recipe { name: &self.name, home, calls: vec![call], made }
    }
}

impl Python {
    /// An environment is made where it stays: its programs name their interpreter by its whole path.
    fn recipe(&self, places: &Places) -> Result<Recipe<'_>> {
        let lock = Wheels::read(&self.name, &self.requirements, places)?;
        let made = lock.environment().join("bin").join(self.program.as_ref().unwrap_or(&self.name));
        let calls = vec![lock.prepare(), lock.install()];
        Ok(Recipe { name: &self.name, made: vec![(self.name.as_str(), made)], calls, home: lock.home })
    }
}

impl Wheel {
    fn recipe(&self, places: &Places) -> Result<Recipe<'_>> {
        let lock = Wheels::read(&self.name, &self.requirements, places)?;
        let content = lock.home.join("content");
        let calls = vec![lock.prepare(), lock.install().args(["--target"]).args([&content])];
        let made = self.programs.iter().map(|(name, path)| (name.as_str(), content.join(path))).collect();
        Ok(Recipe { name: &self.name, made, calls, home: lock.home })
    }
}

/// A file of hashes, and where what it locks is kept.
struct Wheels {
    home: PathBuf,
    requirements: PathBuf,
}

impl Wheels {
    fn read(name: &str, requirements: &str, places: &Places) -> Result<Self> {
        let requirements = places.locks.join(requirements);
        let home = places.home(name, &disk::read(&requirements)?.unwrap_or_default());
        Ok(Wheels { home, requirements })
    }

    fn environment(&self) -> PathBuf {
        self.home.join("venv")
    }

    /// Debian's Python has no pip outside of an environment.
    fn prepare(&self) -> Call {
        Call::new("python3").args(["-m", "venv"]).args([self.environment()])
    }

    fn install(&self) -> Call {
        Call::new(self.environment().join("bin/pip"))
            .args(["install", "--quiet", "--no-deps", "--require-hashes", "--requirement"])
            .args([&self.requirements])
    }
}

impl Recipe<'_> {
    /// Gives the programs by their names, made now if they are not in the cache.
    fn make(&self, unfinished: &Path, took: &mut dyn FnMut(&str, Duration)) -> Result<Vec<(String, PathBuf)>> {
        let programs: Vec<_> = self.made.iter().map(|(name, _)| ((*name).to_owned(), self.home.join(name))).collect();
        if programs.iter().all(|(_, program)| program.is_file()) {
            return Ok(programs);
        }
        let started = Instant::now();
        ui::status("Installing", format_args!("{} for tests", self.name));
        for folder in [unfinished, &self.home] {
            disk::remove(folder)?;
            disk::create_folder(folder)?;
        }
        self.calls.iter().try_for_each(|call| call.watch(LIMIT))?;
        // Programs get their names last, so that what was interrupted is never taken for done.
        for ((_, made), (_, program)) in self.made.iter().zip(&programs) {
            if made.starts_with(&self.home) {
                disk::symlink(made, program)?;
            } else {
                disk::rename(made, program)?;
            }
        }
        disk::remove(unfinished)?;
        took(self.name, started.elapsed());
        Ok(programs)
    }
}

fn default_cache() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    cache.map(|cache| cache.join("xtask-tools")).ok_or_else(|| {
        Error::new(Exit::Environment, "there is no place for test tools").remedy("set HOME, or say --cache FOLDER")
    })
}

fn install_packages(list: &Path, took: &mut dyn FnMut(&str, Duration)) -> Result<()> {
    let list = String::from_utf8_lossy(&disk::read(list)?.unwrap_or_default()).into_owned();
    let missing = missing_packages(&wanted_packages(&list, &is_there))?;
    if missing.is_empty() {
        return Ok(());
    }
    let commands = commands_for(missing);
    if tools::on_path("apt-get").is_none() || Call::new("id").args(["-u"]).read()? != "0" {
        let line: Vec<String> = commands.iter().map(|words| format!("sudo {}", words.join(" "))).collect();
        return Err(Error::new(Exit::Environment, "packages that the tests need are not installed")
            .because("only root on Debian or Ubuntu can install them from here")
            .remedy(line.join(" && ")));
    }
    let started = Instant::now();
    for words in &commands {
        ui::status("Installing", words.join(" "));
        Call::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive").watch(LIMIT)?;
    }
    took("Debian packages", started.elapsed());
    Ok(())
}

/// The packages of a list whose purpose is not fulfilled yet.
fn wanted_packages<'l>(list: &'l str, is_there: &dyn Fn(&str) -> bool) -> Vec<&'l str> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    let pairs = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()))
    });
    pairs.filter(|(_, purpose)| !purpose.is_some_and(is_there)).map(|(package, _)| package).collect()
}

/// Whether a package's purpose is fulfilled by whatever else is on this machine.
fn is_there(purpose: &str) -> bool {
    match purpose.strip_prefix("std:") {
        Some(target) => tools::all_on_path("rustc").iter().any(|rustc| {
            let folder = Call::new(rustc).args(["--print", "target-libdir", "--target", target]).read();
            folder.is_ok_and(|folder| Path::new(&folder).is_dir())
        }),
        None if purpose.starts_with('/') => Path::new(purpose).exists(),
        None => tools::on_path(purpose).is_some(),
    }
}

/// Ubuntu's servers have one architecture: another one is only asked for where a package is of it.
fn commands_for(packages: Vec<&str>) -> Vec<Vec<&str>> {
    let foreign = packages.iter().filter_map(|package| Some(package.split_once(':')?.1)).next();
    let architecture = foreign.map(|foreign| vec!["dpkg", "--add-architecture", foreign]);
    let install = [vec!["apt-get", "install", "--yes", "--no-install-recommends"], packages].concat();
    architecture.into_iter().chain([vec!["apt-get", "update"], install]).collect()
}

fn missing_packages<'p>(packages: &[&'p str]) -> Result<Vec<&'p str>> {
    if tools::on_path("dpkg-query").is_none() {
        return Ok(packages.to_vec());
    }
    let mut missing = Vec::new();
    for package in packages {
        let said = Call::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output()?;
        if said.stdout != b"installed" {
            missing.push(*package);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = include_str!("../../test-tools/debian.txt");

    #[test]
    fn a_bare_debian_needs_every_package_and_the_other_architecture() {
        let wanted = wanted_packages(LIST, &|_| false);
        assert!(wanted.len() > 8 && wanted.contains(&"libstd-rust-web-dev:arm64"), "{wanted:?}");
        assert_eq!(commands_for(wanted)[0], ["dpkg", "--add-architecture", "arm64"]);
    }

    #[test]
    fn a_second_compiler_and_its_architecture_are_not_wanted_where_rustup_added_the_target() {
        let wanted = wanted_packages(LIST, &|purpose| purpose.starts_with("std:"));
        assert!(!wanted.iter().any(|package| package.contains("rust") || package.contains(':')), "{wanted:?}");
        assert_eq!(commands_for(wanted)[0], ["apt-get", "update"]);
    }

    #[test]
    fn what_is_there_from_elsewhere_is_not_installed_again() {
        let wanted = wanted_packages(LIST, &|purpose| purpose == "runc");
        assert!(!wanted.contains(&"runc") && wanted.contains(&"skopeo"), "{wanted:?}");
        assert!(
            is_there("sh") && is_there("/") && !is_there("no-such-program-here") && !is_there("std:no-such-target")
        );
    }
}
