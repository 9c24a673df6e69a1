//! What the tests share: a workspace to release, a way to run the tool in it, and the pinned programs.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::chart::record::Record;
use xtask::oci::{self, Digest};
use xtask::trust::key::SigningKey;
use xtask::trust::policy::Policy;
use xtask::trust::signer::OWN_KEY;
use xtask::trust::verify;

use crate::folders::{kept, refill};

/// What a target's table says where nothing is signed that these tests release.
pub const UNSIGNED: &str = "signed-since = \"99.0.0\"\n";
/// And where no page is written.
pub const PAGELESS: &str = "page = false\n";

/// A workspace of its own, in a git repository of its own, with a port of its own.
pub struct Demo {
    folder: TempDir,
    pub port: u16,
    /// Whether its binaries are really compiled: most tests are about what becomes of a binary, whatever is in it.
    compiles: bool,
}

impl Demo {
    /// The workspace of `fixtures/demo`, committed once. Every call gives the same commit, the port aside.
    pub fn new() -> Self {
        Self::on_port(free_port())
    }

    /// The same, whose binaries are compiled by this machine's compilers.
    pub fn that_compiles() -> Self {
        Self::that_compiles_on_port(free_port())
    }

    pub fn that_compiles_on_port(port: u16) -> Self {
        Demo { compiles: true, ..Self::on_port(port) }
    }

    pub fn on_port(port: u16) -> Self {
        Self::within(tempfile::tempdir().unwrap(), port)
    }

    /// In memory, where that is possible: every file of a release is synced, and a busy disk makes each wait.
    pub fn in_memory() -> Self {
        Self::within(folder_in_memory(), free_port())
    }

    /// The same, where everything that is published is signed: most tests are about something else, and signing takes its time.
    pub fn that_signs(self) -> Self {
        self.sign_since("0.0.0");
        self
    }

    /// From now on, versions from that one on are signed, wherever they are published.
    pub fn sign_since(&self, version: &str) {
        let manifest = self.read("Cargo.toml");
        assert!(manifest.contains(UNSIGNED));
        self.write("Cargo.toml", manifest.replace(UNSIGNED, &format!("signed-since = \"{version}\"\n")));
        self.commit("sign");
    }

    /// From now on, releases write the page that people read, wherever they go.
    pub fn show_page(&self) {
        let manifest = self.read("Cargo.toml");
        assert!(manifest.contains(PAGELESS));
        self.write("Cargo.toml", manifest.replace(PAGELESS, ""));
        self.commit("show a page");
    }

    fn within(folder: TempDir, port: u16) -> Self {
        let demo = Demo { folder, port, compiles: false };
        copy_fixture(&fixtures().join("demo"), demo.root(), port);
        // Without the samples of hooks, which each copy of the folder would carry.
        demo.git(&["init", "--quiet", "--template=", "--initial-branch=main"]);
        demo.commit("first");
        demo
    }

    /// From now on its binaries are really compiled.
    pub fn compile(&mut self) {
        self.compiles = true;
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that the target `local` publishes into.
    pub fn published(&self) -> PathBuf {
        self.root().join("target/published")
    }

    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// Replaces a text that must stand exactly once in a file.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {path}");
        self.write(path, text.replace(from, to));
    }

    /// Commits everything, at a fixed time.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(self.root(), arguments)
    }

    /// The tool, ready to be given more and run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xtask();
        command.current_dir(self.root()).args(arguments);
        if !self.compiles || !links_for_linux() {
            let folder = &*PRETENDED;
            let path = std::env::var_os("PATH").unwrap_or_default();
            let path = std::iter::once(folder.clone()).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(path).unwrap()).env("CARGO", folder.join("cargo"));
        }
        command
    }

    pub fn xtask(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// Every published file and its content.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(&self.published())
    }

    /// The published index as JSON.
    pub fn index(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("target/published/index.yaml")).unwrap()
    }

    /// What is recorded of a version beside its archive.
    pub fn record(&self, version: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("target/published/demo-{version}.json"))).unwrap()
    }

    /// The listed versions of the chart, in the file's order.
    pub fn versions(&self) -> Vec<String> {
        let index = self.index();
        let entries = index["entries"]["demo"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
    }

    /// Every tag of the published image, and the digest it points at.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let index: serde_json::Value = serde_json::from_str(&self.read("target/published/image/index.json")).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        let tag = |manifest: &serde_json::Value| {
            let tag = manifest["annotations"]["org.opencontainers.image.ref.name"].as_str()?.to_owned();
            Some((tag, manifest["digest"].as_str().unwrap().to_owned()))
        };
        manifests.iter().filter_map(tag).collect()
    }

    /// A copy of the whole folder, build output included, to come back to.
    pub fn keep(&self) -> TempDir {
        kept(self.root())
    }

    /// Makes the folder what it was when the copy was taken, times of files included.
    pub fn restore(&self, kept: &TempDir) {
        refill(self.root(), kept.path());
    }

    /// A clone of a remote, on a branch of its own that the remote has, too.
    pub fn cloned(&self, remote: &Path, branch: &str) -> Demo {
        let folder = tempfile::tempdir_in(self.root().parent().unwrap()).unwrap();
        git(folder.path(), &["clone", "--quiet", remote.to_str().unwrap(), "."]);
        let demo = Demo { folder, port: self.port, compiles: self.compiles };
        if demo.git(&["branch", "--show-current"]) != branch {
            demo.git(&["switch", "--quiet", "--create", branch]);
            demo.git(&["push", "--quiet", "--set-upstream", "origin", branch]);
        }
        demo
    }

    /// `xtask serve`, running until the value is dropped.
    pub fn serve(&self) -> Served {
        let mut child = self.command(&["serve"]).stderr(Stdio::null()).spawn().unwrap();
        let url = self.url();
        let up = wait_until(Duration::from_secs(10), || http_status(&format!("{url}/index.yaml")) == Some(200));
        if !up {
            child.kill().ok();
        }
        assert!(up, "serve did not start");
        Served { child }
    }
}

/// A running `serve`.
pub struct Served {
    child: Child,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A finished run of a program.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// A program that was written just now may still be open for writing in a child that another thread is starting, which the system
    /// refuses to run (`ETXTBSY`): it is tried again until that child is itself.
    pub fn of(mut command: Command) -> Self {
        let mut output = command.stdin(Stdio::null()).output();
        wait_until(Duration::from_secs(10), || {
            let is_busy = matches!(&output, Err(error) if error.kind() == ErrorKind::ExecutableFileBusy);
            if is_busy {
                output = command.output();
            }
            !is_busy
        });
        Run::from(output.unwrap())
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts an exit code and a text in what was said.
    #[track_caller]
    pub fn fails(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The tool, in an environment that holds nothing of the test run's own.
pub fn xtask() -> Command {
    scrubbed(env!("CARGO_BIN_EXE_xtask-remote"))
}

/// A program in an environment that holds nothing of the test run's own.
pub fn scrubbed(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        let stray = [
            "ACTIONS_",
            "CARGO_",
            "CLICOLOR",
            "GITHUB_",
            "GIT_",
            "NO_COLOR",
            "RUNNER_",
            "RUSTC",
            "RUSTFLAGS",
            "TRIVY_",
            "XTASK_",
        ];
        if name != "CARGO_HOME" && stray.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

pub fn git(folder: &Path, arguments: &[&str]) -> String {
    const TIME: &str = "2026-01-02T03:04:05Z";
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]).args(arguments);
    command.env("GIT_AUTHOR_DATE", TIME).env("GIT_COMMITTER_DATE", TIME);
    Run::of(command).ok().stdout.trim().to_owned()
}

/// A pinned program, or nothing (said once a test) where `cargo xtask ci` has not installed it.
pub fn tool(name: &str) -> Option<PathBuf> {
    let pinned = std::env::var_os("TEST_TOOLS").map(|folder| Path::new(&folder).join(name));
    let found = pinned.filter(|path| path.exists()).or_else(|| on_path(name));
    if found.is_none() {
        skipped(&format!("{name} is not in TEST_TOOLS nor on PATH"));
    }
    found
}

/// Says that a test proves nothing here, past the capture of a passing test's output; in CI that is a failure.
pub fn skipped(reason: &str) {
    assert!(std::env::var_os("TEST_TOOLS_REQUIRED").is_none(), "this may not be skipped: {reason}");
    let mut past_the_capture = std::io::stderr();
    writeln!(past_the_capture, "skipped: {reason} (cargo xtask ci --only tools)").unwrap();
}

pub fn is_root() -> bool {
    let mut ask = Command::new("id");
    ask.arg("-u");
    Run::of(ask).ok().stdout.trim() == "0"
}

/// A port that nobody uses, below the range that the system hands out, so that nobody is given it later. No port is given twice, neither
/// in this process nor, while it lives, in another one that asks in this way.
pub fn free_port() -> u16 {
    /// The ports that are left of a block, and what keeps it from other processes.
    struct Block {
        left: Range<u16>,
        _held: File,
    }
    static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    // Asked by a client: a listener of ours would live on for a moment in every child that is started just now.
    let refused = |address: SocketAddr| TcpStream::connect(address).is_err();
    let free =
        |port: &u16| refused((Ipv4Addr::LOCALHOST, *port).into()) && refused((Ipv6Addr::LOCALHOST, *port).into());
    let mut blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(port) = blocks.last_mut().and_then(|block| block.left.find(free)) {
            return port;
        }
        // One place for all test programs of this machine, wherever each keeps its files.
        let locks = Path::new("/tmp/xtask-test-ports");
        std::fs::create_dir_all(locks).unwrap();
        let next = (20_000..32_000).step_by(100).find_map(|first| {
            let held = File::create(locks.join(first.to_string())).ok()?;
            held.try_lock().ok()?;
            Some(Block { left: first..first + 100, _held: held })
        });
        assert!(next.is_some(), "other processes hold all ports for tests");
        blocks.extend(next);
    }
}

pub fn http_status(url: &str) -> Option<u16> {
    xtask::sys::http::Anonymous::new(Duration::from_secs(30)).get(url, &[]).ok().map(|answer| answer.status)
}

/// Looks often at first, for what comes at once, and then more rarely: most of all where a look takes long itself.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    const RARELY: Duration = Duration::from_millis(20);
    const SELDOM: Duration = Duration::from_millis(500);
    let (started, mut pause) = (Instant::now(), Duration::from_millis(1));
    while started.elapsed() < limit {
        let asked = Instant::now();
        if condition() {
            return true;
        }
        // Where a program is started to find out, one after the other would keep a core busy.
        std::thread::sleep(pause.max(SELDOM.min(asked.elapsed() * 2)));
        pause = RARELY.min(pause * 2);
    }
    false
}

/// A folder that holds these programs of PATH and no others; what is not there is left out.
pub fn programs(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        if let Some(program) = on_path(name) {
            std::os::unix::fs::symlink(program, folder.path().join(name)).unwrap();
        }
    }
    folder
}

/// The first program of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    all_on_path(name).into_iter().next()
}

fn all_on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|path| path.exists()).collect()
}

/// Whether a rehearsal can be compiled on this machine. Where it cannot, as on macOS, what is put into images is pretended, and tests of
/// the compiling itself are skipped. `TEST_WITHOUT_LINKER=1` shows on Linux what the tests do there.
fn links_for_linux() -> bool {
    cfg!(target_os = "linux") && std::env::var_os("TEST_WITHOUT_LINKER").is_none()
}

/// Whether a test of compiling proves anything on this machine; where it does not, that is said.
pub fn can_compile() -> bool {
    let can = links_for_linux();
    if !can {
        skipped("nothing here can link for Linux");
    }
    can
}

/// The programs for all tests of a machine that cannot link for Linux.
static PRETENDED: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pretended");
    pretend_within(&folder);
    folder
});

/// What a build for two platforms needs, in a folder, with one compiler: the first on PATH that can build for both, so that
/// no test spends its time on asking others. Where there is none (said once a test), the first one; nothing (said, too) where nothing
/// can be built.
pub fn build_programs() -> Option<TempDir> {
    if !can_compile() {
        return None;
    }
    let folder = programs(&["aarch64-linux-gnu-gcc", "as", "cc", "gcc", "git", "ld"]);
    let rustc = cross_rustc().or_else(|| on_path("rustc")).unwrap();
    std::os::unix::fs::symlink(rustc, folder.path().join("rustc")).unwrap();
    Some(folder)
}

/// A cargo and a rustc that answer at once, and git. The "binary" they make for a platform is the crate's sources, so that it is
/// another one where those are (a crate other than `demo` is in the folder of its name); all that the tool itself does is as in any other
/// build.
pub fn pretended_programs() -> TempDir {
    let folder = programs(&["cat", "git", "mkdir"]);
    pretend_within(folder.path());
    folder
}

fn pretend_within(folder: &Path) {
    let root = folder.display();
    for triple in ["aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"] {
        let library = folder.join("sysroot/lib/rustlib").join(triple).join("lib");
        std::fs::create_dir_all(&library).unwrap();
        std::fs::write(library.join("libstd-0.rlib"), "").unwrap();
    }
    let rustc = format!(
        "case \"$*\" in\n'--version --verbose') echo 'rustc 1.95.0 (pretended)'; echo 'host: x86_64-unknown-linux-gnu';;\n\
         '--print sysroot') echo '{root}/sysroot';;\nesac\n"
    );
    let cargo = "[ \"$1\" != metadata ] || {\n\
                 echo '{\"packages\":[{\"id\":\"demo\",\"name\":\"demo\",\"version\":\"1.0.0\",\"source\":null,\"links\":null,\
                 \"manifest_path\":\"/demo/Cargo.toml\",\"targets\":[]}],\"resolve\":{\"nodes\":[{\"id\":\"demo\",\"deps\":[]}]}}'\n\
                 exit\n}\nwhile [ $# -gt 0 ]; do\n[ \"$1\" != --package ] || package=$2\nfolder=$package\n\
                 [ \"$folder\" != demo ] || folder=operator\n[ \"$1\" != --target ] || {\nout=$CARGO_TARGET_DIR/$2/release\n\
                 [ -d \"$out\" ] || mkdir -p \"$out\"\n\
                 { echo \"$2\"; cat \"$folder\"/Cargo.toml \"$folder\"/src/*; } >\"$out/$package\"\n}\nshift\ndone\n";
    for (name, text) in [("rustc", rustc.as_str()), ("cargo", cargo), ("cc", ""), ("aarch64-linux-gnu-gcc", "")] {
        script(&folder.join(name), text);
    }
}

/// An empty folder in memory, if the machine has such a place. Whoever sets `TMPDIR`, as `cargo xtask ci` does, has chosen one.
pub fn folder_in_memory() -> TempDir {
    let chosen = std::env::var_os("TMPDIR").map(PathBuf::from);
    let place = chosen.unwrap_or_else(|| "/dev/shm".into());
    tempfile::tempdir_in(place).or_else(|_| tempfile::tempdir()).unwrap()
}

/// Writes a program that a shell runs.
pub fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Every compiler on PATH, and of the folder of toolchains that this was built by.
pub fn compilers() -> Vec<PathBuf> {
    let toolchains = Path::new(env!("CARGO")).ancestors().nth(3).and_then(|folder| std::fs::read_dir(folder).ok());
    let toolchains = toolchains.into_iter().flatten().map(|entry| entry.unwrap().path().join("bin/rustc"));
    all_on_path("rustc").into_iter().chain(toolchains.filter(|path| path.exists())).collect()
}

/// The first compiler on PATH that has the standard library for arm64, where the linker is there, too.
pub fn cross_rustc() -> Option<PathBuf> {
    let has_library = |rustc: &PathBuf| {
        let mut ask = Command::new(rustc);
        ask.args(["--print", "target-libdir", "--target", "aarch64-unknown-linux-gnu"]);
        Path::new(Run::of(ask).stdout.trim()).is_dir()
    };
    let found = on_path("aarch64-linux-gnu-gcc").and_then(|_| all_on_path("rustc").into_iter().find(has_library));
    if found.is_none() {
        skipped("nothing here can build for arm64");
    }
    found
}

/// Every file below a folder and its content. The lock, which holds nothing, is left out.
pub fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(here) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&here) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                pending.push(path);
            } else if path.file_name() != Some(".lock".as_ref()) {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Who signed it is told by a version's record, and by the page of that.
fn forget_signers(name: &str, bytes: &mut Vec<u8>) {
    if let Ok(record) = serde_json::from_slice::<Record>(bytes) {
        *bytes = oci::json(&Record { signers: BTreeSet::new(), ..record }).unwrap();
    } else if name.ends_with(".html") {
        let page = String::from_utf8_lossy(bytes);
        *bytes = page
            .lines()
            .filter(|line| !line.contains("<dt>Signed by</dt>"))
            .collect::<Vec<_>>()
            .join("\n")
            .into_bytes();
    }
}

/// Files without what differs from run to run of a release: keys and signatures. In their place stands what is signed of what, and each
/// signature is verified: of one subject nothing is ever said twice.
pub fn unsigned(mut files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let layouts = files.keys().filter_map(|name| name.strip_suffix("oci-layout").map(str::to_owned));
    for layout in layouts.collect::<Vec<_>>() {
        let published = layout.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder);
        let separator = if published.is_empty() { "" } else { "/" };
        let key = files.get(&format!("{published}{separator}{OWN_KEY}")).cloned();
        let index = format!("{layout}index.json");
        if let (Some(key), Some(bytes)) = (key, files.get(&index).cloned()) {
            let mut list: oci::ImageIndex = serde_json::from_slice(&bytes).unwrap();
            let said: BTreeMap<String, Vec<u8>> = list
                .manifests
                .iter()
                .filter(|one| !one.annotations.contains_key(oci::REF_NAME))
                .map(|one| said(&files, &layout, &one.digest, &key))
                .collect();
            let tagged = list.manifests.iter().filter(|one| one.annotations.contains_key(oci::REF_NAME)).count();
            assert_eq!(said.len(), list.manifests.len() - tagged, "nothing is said twice");
            list.manifests.retain(|one| one.annotations.contains_key(oci::REF_NAME));
            files.insert(index, oci::json(&list).unwrap());
            files.extend(said.into_iter().map(|(name, statement)| (format!("{layout}{name}"), statement)));
        }
        // Those that a killed run left are listed nowhere.
        let blobs = format!("{layout}blobs/");
        files.retain(|name, bytes| !name.starts_with(&blobs) || !is_of_a_signature(bytes));
    }
    files.retain(|name, _| !name.ends_with(OWN_KEY));
    files.iter_mut().for_each(|(name, bytes)| forget_signers(name, bytes));
    files
}

/// The statement that a referrer of a layout holds, under a name that says of what it is about, and of which type.
fn said(files: &BTreeMap<String, Vec<u8>>, layout: &str, referrer: &Digest, key: &[u8]) -> (String, Vec<u8>) {
    let blob = |digest: &Digest| files[&format!("{layout}blobs/sha256/{}", digest.hex())].clone();
    let manifest: serde_json::Value = serde_json::from_slice(&blob(referrer)).unwrap();
    let subject: Digest = manifest["subject"]["digest"].as_str().unwrap().parse().unwrap();
    let bundle = blob(&manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap());
    let key = SigningKey::from_pem(std::str::from_utf8(key).unwrap(), &"the folder").unwrap().public();
    let policy = Policy { keys: vec![(key, "the folder's key".into())], identities: Vec::new() };
    let attested = verify::attested(&subject, &bundle, &policy, &|_, _, _| Err("none".into())).unwrap();
    let statement = attested.statement;
    // Whoever says again what is missing names fewer subjects.
    (format!("said/{subject}/{}", statement.predicate_type), oci::json(&statement.predicate).unwrap())
}

/// Whether a blob is a bundle, or the manifest of something that refers to something.
fn is_of_a_signature(blob: &[u8]) -> bool {
    let value: Option<serde_json::Value> = serde_json::from_slice(blob).ok();
    value.is_some_and(|value| value["subject"].is_object() || value["dsseEnvelope"].is_object())
}

/// The repository that these tests are of.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Manifests end in `.in` in the repository, so that cargo and git do not take the fixture for a part of it.
fn copy_fixture(from: &Path, to: &Path, port: u16) {
    for (name, content) in files_below(from) {
        let name = name.strip_suffix(".in").unwrap_or(&name).replace("gitignore", ".gitignore");
        let place = to.join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let text = String::from_utf8(content).unwrap().replace("@PORT@", &port.to_string());
        std::fs::write(place, text).unwrap();
    }
}

/// A released workspace and its `serve`, for all tests of a module at once.
///
/// It lives in a `LazyLock`, which is never dropped: a shell waits until this program has ended, however it ends, and then stops the
/// server and removes the folder.
pub struct World {
    pub demo: Demo,
    _guard: Child,
}

impl World {
    pub fn new(demo: Demo) -> Self {
        const GUARD: &str = r#"trap '' INT; "$1" serve & read _; kill $!; wait; cd /; rm -rf "$2""#;
        let mut guard = scrubbed("sh");
        guard.args(["-c", GUARD, "sh", env!("CARGO_BIN_EXE_xtask-remote")]).arg(demo.root()).current_dir(demo.root());
        let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let url = demo.url();
        assert!(
            wait_until(Duration::from_secs(10), || http_status(&format!("{url}/index.yaml")) == Some(200)),
            "{url}"
        );
        World { demo, _guard: guard }
    }
}

/// A pinned Helm with configuration, cache and data of its own, and nothing else in its environment.
pub struct Helm {
    pub name: &'static str,
    program: PathBuf,
    home: TempDir,
}

impl Helm {
    /// Every Helm that the distribution promises to work with: the oldest, and the newest of both major versions.
    pub fn all() -> Vec<Self> {
        ["helm-3.12", "helm-3", "helm-4"].into_iter().filter_map(Helm::find).collect()
    }

    pub fn find(name: &'static str) -> Option<Self> {
        Some(Helm { name, program: tool(name)?, home: tempfile::tempdir().unwrap() })
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.home()).env_clear().env("HOME", self.home());
        // It ends before it would be worth collecting its garbage, which is a quarter of its work otherwise.
        command.env("GOGC", "off");
        for (name, folder) in [("CONFIG", "config"), ("CACHE", "cache"), ("DATA", "data")] {
            command.env(format!("HELM_{name}_HOME"), self.home().join(folder));
        }
        Run::of(command)
    }

    /// A folder of its own.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn add(&self, name: &str, url: &str) {
        self.run(&["repo", "add", name, url]).ok();
    }

    /// What `helm search repo` finds, as it prints it.
    pub fn search(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let arguments = [&["search", "repo", "--output", "json"], arguments].concat();
        serde_json::from_str(&self.run(&arguments).ok().stdout).unwrap()
    }
}

/// The documents of a YAML stream.
pub fn yaml_documents(text: &str) -> Vec<serde_json::Value> {
    use serde::Deserialize;
    let documents = serde_yaml::Deserializer::from_str(text);
    let values = documents.map(|document| serde_json::Value::deserialize(document).unwrap());
    values.filter(|value| !value.is_null()).collect()
}

/// The blocks of a language on a page of documentation.
pub fn blocks<'t>(page: &'t str, language: &str) -> impl Iterator<Item = &'t str> {
    let start = format!("```{language}\n");
    let after: Vec<&str> = page.split(&start).skip(1).collect();
    after.into_iter().map(|rest| rest.split_once("```").unwrap().0)
}

/// The one object of a kind that a page of documentation offers in YAML.
pub fn documented(page: &str, kind: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let mut found = blocks(&text, "yaml").flat_map(yaml_documents).filter(|object| object["kind"] == kind);
    let object = found.next();
    assert!(found.next().is_none(), "{page} has two of {kind}");
    object.unwrap_or_else(|| panic!("{page} has no {kind}"))
}

/// Writes files and links below a folder.
pub fn write_items(folder: &Path, items: &[(String, xtask::git::Item)]) {
    for (path, item) in items {
        let place = folder.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        match item {
            xtask::git::Item::File(bytes, _) => std::fs::write(place, bytes).unwrap(),
            xtask::git::Item::Link(target) => std::os::unix::fs::symlink(target, place).unwrap(),
        }
    }
}
