//! The pinned programs that tests run, installed once for each user and kept by the digest of their lock.
//!
//! Go programs are built from locks in the repository (`xtask/test-tools`), whose checksums Go enforces; a Rust program by its own
//! lock; a Python wheel by its hash. Everything else comes from Debian: installed here where we are root on Debian, and asked
//! for in one line elsewhere.

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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Go {
    name: String,
    folder: String,
    installed: String,
    #[serde(default = "tool_of_the_lock")]
    package: String,
    #[serde(default)]
    link: Vec<String>,
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
}

fn tool_of_the_lock() -> String {
    "tool".into()
}

/// How one tool is made: into an empty folder, by some calls, one of which leaves the program at a path below that folder.
struct Recipe<'l> {
    name: &'l str,
    /// Everything that the result depends on.
    key: Vec<u8>,
    calls: Vec<Call>,
    program: String,
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
        for recipe in lists.recipes(&locks, &unfinished)? {
            installed.push((recipe.name.to_owned(), recipe.make(&cache, &unfinished, took)?));
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
}

impl Lists {
    fn recipes(&self, locks: &Path, unfinished: &Path) -> Result<Vec<Recipe<'_>>> {
        let go = self.go.iter().map(|tool| tool.recipe(locks, unfinished));
        let cargo = self.cargo.iter().map(|tool| Ok(tool.recipe(unfinished)));
        let python = self.python.iter().map(|tool| tool.recipe(locks, unfinished));
        go.chain(cargo).chain(python).collect()
    }
}

impl Go {
    fn recipe(&self, locks: &Path, unfinished: &Path) -> Result<Recipe<'_>> {
        let lock = locks.join(&self.folder);
        let link: Vec<String> = self.link.iter().map(|setting| format!("-X {setting}")).collect();
        let mut key = link.join(" ").into_bytes();
        for name in ["go.mod", "go.sum", "main.go"] {
            key.extend(disk::read(&lock.join(name))?.unwrap_or_default());
        }
        let call = Call::new("go")
            .args(["install", "-trimpath", "-ldflags", &link.join(" "), &self.package])
            .within(&lock)
            .env("GOFLAGS", "-mod=readonly")
            .env("GOBIN", unfinished)
            .env("GOTOOLCHAIN", "local");
        Ok(Recipe { name: &self.name, key, calls: vec![call], program: self.installed.clone() })
    }
}

impl Cargo {
    fn recipe(&self, unfinished: &Path) -> Recipe<'_> {
        let call = Call::new(tools::cargo())
            .args(["install", &self.name, "--version", &self.version, "--locked", "--root"])
            .args([unfinished])
            .env("CARGO_TARGET_DIR", unfinished.join("target"));
        let program = format!("bin/{}", self.name);
        Recipe { name: &self.name, key: self.version.clone().into_bytes(), calls: vec![call], program }
    }
}

impl Python {
    fn recipe(&self, locks: &Path, unfinished: &Path) -> Result<Recipe<'_>> {
        let requirements = locks.join(&self.requirements);
        let environment = unfinished.join("venv");
        let make = Call::new("python3").args(["-m", "venv"]).args([&environment]);
        let install = Call::new(environment.join("bin/pip"))
            .args(["install", "--quiet", "--no-deps", "--require-hashes", "--requirement"])
            .args([&requirements]);
        let key = disk::read(&requirements)?.unwrap_or_default();
        Ok(Recipe { name: &self.name, key, calls: vec![make, install], program: format!("venv/bin/{}", self.name) })
    }
}

impl Recipe<'_> {
    /// Gives the program, made now if it is not in the cache.
    fn make(&self, cache: &Path, unfinished: &Path, took: &mut dyn FnMut(&str, Duration)) -> Result<PathBuf> {
        let program = cache.join(format!("{}-{}", self.name, &sha256_hex(&self.key)[..12])).join(self.name);
        if program.is_file() {
            return Ok(program);
        }
        let started = Instant::now();
        ui::status("Installing", format_args!("{} for tests", self.name));
        // Made in a folder of its own, so that what was interrupted is never taken for done.
        disk::remove(unfinished)?;
        disk::create_folder(unfinished)?;
        self.calls.iter().try_for_each(|call| call.watch(LIMIT))?;
        disk::create_folder(program.parent().unwrap_or(cache))?;
        disk::rename(&unfinished.join(&self.program), &program)?;
        disk::remove(unfinished)?;
        took(self.name, started.elapsed());
        Ok(program)
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
    let packages: Vec<&str> =
        list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let missing = missing_packages(&packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let commands = [
        vec!["dpkg", "--add-architecture", "arm64"],
        vec!["apt-get", "update"],
        [vec!["apt-get", "install", "--yes", "--no-install-recommends"], missing].concat(),
    ];
    if tools::on_path("apt-get").is_none() || Call::new("id").args(["-u"]).read()? != "0" {
        let line: Vec<String> = commands.iter().map(|words| format!("sudo {}", words.join(" "))).collect();
        return Err(Error::new(Exit::Environment, "packages that the tests need are not installed")
            .because("only root on Debian can install them from here")
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
