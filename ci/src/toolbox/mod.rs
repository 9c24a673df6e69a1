//! The pinned programs that tests run, installed once for each user and kept by the digest of their lock.
//!
//! Go programs are built from locks in the repository (`ci/test-tools`; cosign's lies in `.github/cosign`), whose checksums Go
//! enforces; a Rust program by its own lock; Python wheels, some of which hold other programs such as Node, by their hashes. Everything
//! else comes from Debian (`debian.rs`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use xtask::error::{Context, Error, Exit, Result};
use xtask::oci::sha256_hex;
use xtask::sys::children::Call;
use xtask::sys::files::{self, Lock};
use xtask::sys::tools;

mod debian;

pub(crate) use debian::Packages;

/// Where the locks are, below the workspace's root.
const LOCKS: &str = "ci/test-tools";
/// What a build leaves in a tool's folder that nobody needs any more.
const BUILD: &str = "target";

/// What has to be installed for some parts, and where.
pub(crate) struct Installation {
    recipes: Vec<Recipe>,
    cache: PathBuf,
    packages: Option<Packages>,
    /// Another run of the same user may be installing.
    _turn: Lock,
}

/// Installed tools.
pub(crate) struct Toolbox {
    /// A folder with each program under the name that the tests use.
    pub(crate) folder: PathBuf,
    /// A value for PATH where `node` is the pinned one, and all else as it was: npm starts it by its name.
    pub(crate) path: OsString,
}

impl Installation {
    /// Looks for what the parts of these names need.
    ///
    /// # Errors
    /// The list of tools, or a lock, cannot be read.
    pub(crate) fn new(root: &Path, cache: Option<&Path>, parts: &[&str]) -> Result<Self> {
        let locks = root.join(LOCKS);
        let cache = cache.map_or_else(default_cache, |cache| Ok(cache.to_owned()))?;
        let list = files::read(&locks.join("tools.toml"))?.unwrap_or_default();
        let list: List = toml_edit::de::from_str(&String::from_utf8_lossy(&list))
            .context(Exit::Workspace, || format!("{LOCKS}/tools.toml cannot be used"))?;
        let recipes = list.recipes(&Places { root, cache: &cache }, parts)?;
        let _turn = Lock::wait(&cache.join(".lock"))?;
        Ok(Installation { recipes, cache, packages: Packages::missing(&locks.join("debian.txt"), parts)?, _turn })
    }

    /// The Debian packages that are not installed yet, if any.
    pub(crate) fn packages(&self) -> Option<&Packages> {
        self.packages.as_ref()
    }

    /// The tools that are not installed yet.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.iter().filter(|recipe| !recipe.is_made())
    }

    /// Gathers all tools in one folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn finish(self) -> Result<Toolbox> {
        let programs: Vec<(&str, PathBuf)> = self.recipes.iter().flat_map(Recipe::programs).collect();
        let key: String = programs.iter().map(|(_, path)| path.display().to_string()).collect();
        let folder = self.cache.join(format!("all-{}", &sha256_hex(key.as_bytes())[..12]));
        files::create_folder(&folder)?;
        for (name, path) in &programs {
            if std::fs::read_link(folder.join(name)).ok().as_ref() != Some(path) {
                files::symlink(path, &folder.join(name))?;
            }
        }
        Ok(Toolbox { path: path_with_node(&folder)?, folder })
    }
}

fn path_with_node(folder: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let node = std::fs::read_link(folder.join("node")).ok();
    let node = node.as_deref().and_then(Path::parent).map(Path::to_owned);
    std::env::join_paths(node.into_iter().chain(std::env::split_paths(&path)))
        .context(Exit::Environment, || "PATH cannot be extended".into())
}

/// How one tool, or several of one lock, are made: by some calls, which leave the programs somewhere.
pub(crate) struct Recipe {
    pub(crate) name: String,
    /// Where it is kept, under a name that holds the digest of everything it depends on.
    home: PathBuf,
    calls: Vec<Call>,
    /// Where each program is then, by the name that it gets.
    made: Vec<(String, PathBuf)>,
}

impl Recipe {
    fn programs(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        self.made.iter().map(|(name, _)| (name.as_str(), self.home.join(name)))
    }

    fn is_made(&self) -> bool {
        self.programs().all(|(_, program)| program.is_file())
    }

    /// Makes it; `run` runs one call to its end.
    ///
    /// # Errors
    /// A call fails, or left no program.
    pub(crate) fn make(&self, run: impl Fn(&Call) -> Result<()>) -> Result<()> {
        files::remove(&self.home)?;
        files::create_folder(&self.home)?;
        self.calls.iter().try_for_each(run)?;
        files::remove(&self.home.join(BUILD))?;
        // Programs get their names last, so that what was interrupted is never taken for done.
        self.made.iter().try_for_each(|(name, made)| files::symlink(made, &self.home.join(name)))?;
        match self.programs().find(|(_, program)| !program.is_file()) {
            None => Ok(()),
            Some((name, _)) => Err(Error::new(Exit::Failure, format!("no program `{name}` was made"))
                .remedy(format!("see what {LOCKS}/tools.toml says of it"))),
        }
    }
}

/// `ci/test-tools/tools.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    go: Vec<Go>,
    cargo: Vec<Cargo>,
    python: Vec<Python>,
    wheel: Vec<Wheel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Go {
    folder: String,
    /// Where the lock is, relative to the workspace's root, if not in the folder of that name among the locks.
    lock: Option<PathBuf>,
    parts: Vec<String>,
    programs: BTreeMap<String, String>,
    #[serde(default)]
    link: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cargo {
    name: String,
    parts: Vec<String>,
    version: String,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Python {
    name: String,
    parts: Vec<String>,
    requirements: String,
    program: Option<String>,
}

/// Programs that a Python package holds, and that need no Python.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wheel {
    name: String,
    parts: Vec<String>,
    requirements: String,
    programs: BTreeMap<String, PathBuf>,
}

/// The workspace, and where tools are kept.
struct Places<'p> {
    root: &'p Path,
    cache: &'p Path,
}

impl Places<'_> {
    fn locks(&self) -> PathBuf {
        self.root.join(LOCKS)
    }

    fn home(&self, name: &str, key: &[u8]) -> PathBuf {
        self.cache.join(format!("{name}-{}", &sha256_hex(key)[..12]))
    }
}

impl List {
    fn recipes(&self, places: &Places, parts: &[&str]) -> Result<Vec<Recipe>> {
        let wanted = |names: &[String]| parts.iter().any(|part| names.iter().any(|name| part.starts_with(name)));
        let go = self.go.iter().filter(|tool| wanted(&tool.parts)).map(|tool| tool.recipe(places));
        let cargo = self.cargo.iter().filter(|tool| wanted(&tool.parts)).map(|tool| Ok(tool.recipe(places)));
        let python = self.python.iter().filter(|tool| wanted(&tool.parts)).map(|tool| tool.recipe(places));
        let wheels = self.wheel.iter().filter(|tool| wanted(&tool.parts)).map(|tool| tool.recipe(places));
        go.chain(cargo).chain(python).chain(wheels).collect()
    }
}

impl Go {
    fn lock(&self, places: &Places) -> PathBuf {
        self.lock.as_ref().map_or_else(|| places.locks().join(&self.folder), |lock| places.root.join(lock))
    }

    fn recipe(&self, places: &Places) -> Result<Recipe> {
        let lock = self.lock(places);
        // Nobody debugs them: without tables for that a program is compiled and linked sooner.
        let link: String =
            ["-s -w".to_owned()].into_iter().chain(self.link.iter().map(|set| format!(" -X {set}"))).collect();
        let tags = self.tags.join(",");
        let mut key = format!("{link}{tags}{:?}", self.programs).into_bytes();
        for name in ["go.mod", "go.sum", "main.go"] {
            key.extend(files::read(&lock.join(name))?.unwrap_or_default());
        }
        let home = places.home(&self.folder, &key);
        let build = |to: &Path| {
            Call::new("go")
                .args(["build", "-trimpath", "-tags", &tags, "-gcflags=all=-dwarf=false", "-ldflags", &link, "-o"])
                .args([to])
                .current_dir(&lock)
                .env("GOFLAGS", "-mod=readonly")
                .env("GOTOOLCHAIN", "local")
                // The compiler collects its garbage less often, and takes a quarter less time.
                .env("GOGC", "400")
        };
        let (mut calls, mut made) = (Vec::new(), Vec::new());
        for (folder, programs) in together(&self.programs).into_iter().enumerate() {
            let folder = home.join(format!("bin{folder}"));
            calls.push(build(&folder.join("")).args(programs.iter().map(|(_, package)| package)));
            made.extend(programs.into_iter().map(|(name, package)| (name.to_owned(), folder.join(file_name(package)))));
        }
        Ok(Recipe { name: self.folder.clone(), home, calls, made })
    }
}

/// Programs that one call can build: those whose files Go would name alike need one call each.
fn together(programs: &BTreeMap<String, String>) -> Vec<Vec<(&str, &str)>> {
    let mut calls: Vec<Vec<(&str, &str)>> = Vec::new();
    for (name, package) in programs {
        let free = |call: &&mut Vec<(&str, &str)>| call.iter().all(|(_, other)| file_name(other) != file_name(package));
        match calls.iter_mut().find(free) {
            Some(call) => call.push((name, package)),
            None => calls.push(vec![(name, package)]),
        }
    }
    calls
}

/// What Go calls a package's program: the last element of its path, major versions aside (`go help build`).
fn file_name(package: &str) -> &str {
    let is_version =
        |name: &str| name.strip_prefix('v').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    package.rsplit('/').find(|name| !is_version(name)).unwrap_or(package)
}

impl Cargo {
    fn recipe(&self, places: &Places) -> Recipe {
        let home = places.home(&self.name, (self.version.clone() + &self.options.concat()).as_bytes());
        let call = tools::cargo()
            .args(["install", &self.name, "--version", &self.version, "--locked", "--no-track", "--root"])
            .args([&home])
            .args(&self.options)
            // Nobody debugs them.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_TARGET_DIR", home.join(BUILD));
        let made = vec![(self.name.clone(), home.join("bin").join(&self.name))];
        Recipe { name: self.name.clone(), home, calls: vec![call], made }
    }
}

impl Python {
    fn recipe(&self, places: &Places) -> Result<Recipe> {
        let lock = Wheels::read(&self.name, &self.requirements, places)?;
        let made = lock.environment().join("bin").join(self.program.as_ref().unwrap_or(&self.name));
        let calls = vec![lock.prepare(), lock.install()];
        Ok(Recipe { name: self.name.clone(), made: vec![(self.name.clone(), made)], calls, home: lock.home })
    }
}

impl Wheel {
    fn recipe(&self, places: &Places) -> Result<Recipe> {
        let lock = Wheels::read(&self.name, &self.requirements, places)?;
        let content = lock.home.join("content");
        let calls = vec![lock.prepare(), lock.install().args(["--target"]).args([&content])];
        let made = self.programs.iter().map(|(name, path)| (name.clone(), content.join(path))).collect();
        Ok(Recipe { name: self.name.clone(), made, calls, home: lock.home })
    }
}

/// A file of hashes, and where what it locks is kept.
struct Wheels {
    home: PathBuf,
    requirements: PathBuf,
}

impl Wheels {
    fn read(name: &str, requirements: &str, places: &Places) -> Result<Self> {
        let requirements = places.locks().join(requirements);
        let home = places.home(name, &files::read(&requirements)?.unwrap_or_default());
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
            .args([
                "install",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .args([&self.requirements])
    }
}

fn default_cache() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    cache.map(|cache| cache.join("xtask-tools")).ok_or_else(|| {
        Error::new(Exit::Environment, "there is no place for test tools").remedy("set HOME, or say --cache FOLDER")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_one_lock_are_built_by_one_call_unless_go_would_name_two_of_them_alike() {
        let packages = [
            ("helm-3", "helm.sh/helm/v3/cmd/helm"),
            ("helm-4", "helm.sh/helm/v4/cmd/helm"),
            ("etcd", "go.etcd.io/etcd/server/v3"),
        ];
        let packages = packages.map(|(name, package)| (name.to_owned(), package.to_owned())).into();
        let calls: Vec<Vec<&str>> =
            together(&packages).iter().map(|call| call.iter().map(|(name, _)| *name).collect()).collect();
        assert_eq!(calls, [vec!["etcd", "helm-3"], vec!["helm-4"]]);
        assert_eq!(file_name("go.etcd.io/etcd/server/v3"), "server");
    }

    #[test]
    fn what_a_program_is_told_to_call_itself_is_the_version_in_its_lock() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let places = Places { root, cache: root };
        let list = std::fs::read_to_string(places.locks().join("tools.toml")).unwrap();
        let list: List = toml_edit::de::from_str(&list).unwrap();
        for tool in &list.go {
            let lock = std::fs::read_to_string(tool.lock(&places).join("go.mod")).unwrap();
            let said = tool.link.iter().filter_map(|set| set.split_once('=')).map(|(_, value)| value);
            for version in said.filter(|value| value.starts_with('v')) {
                assert!(lock.contains(&format!(" {version}")), "{}: {version}", tool.folder);
            }
        }
    }

    #[test]
    fn a_part_gets_the_tools_that_it_needs_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let names = |parts: &[&str]| -> Vec<String> {
            let installation = Installation::new(root, Some(folder.path()), parts).unwrap();
            installation.missing().map(|recipe| recipe.name.clone()).collect()
        };
        assert_eq!(names(&["workflow syntax"]), ["actionlint"]);
        assert_eq!(names(&["infrastructure types"]), ["node"]);
        assert_eq!(names(&["dependencies"]), ["cargo-deny"]);
        let operator = names(&["operator"]);
        assert!(operator.iter().any(|name| name == "kubernetes"), "{operator:?}");
        assert!(!operator.iter().any(|name| ["kubernetes-oldest", "moto"].contains(&name.as_str())), "{operator:?}");
        assert!(names(&["operator nightly"]).iter().any(|name| name == "kubernetes-oldest"));
        let large =
            |part: &str| names(&[part]).iter().filter(|name| ["kyverno", "readers"].contains(&name.as_str())).count();
        assert_eq!((large("xtask"), large("xtask nightly")), (0, 2));
    }
}
