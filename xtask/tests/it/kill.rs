//! SIGKILL at every effect of a run: what users see stays whole, and the same words finish the release.
//!
//! The tool announces every change it makes and every child it starts (`xtask::effect`). A run without disturbance says how many
//! there are; then, for each number, a run is halted just before that effect, killed, looked at, and repeated. An effect
//! that is added to the tool is covered from then on without a change here.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use semver::Version;
use tempfile::TempDir;
use xtask::chart::index::{self, Index};
use xtask::chart::package::{self, RELEASED_IMAGE};
use xtask::image::layout::{self, Digest, sha256_hex};
use xtask::release::version;

use crate::support::{Demo, Run, build_programs, files_below, pretended_programs, script, wait_until};

/// Longer than any run takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

type Files = BTreeMap<String, Vec<u8>>;

#[test]
fn x3_x4_h6_a_minor_release_survives_a_kill_at_every_effect() {
    let scene = Scene::new(&["release"], &["release", "minor"]);
    let kinds = scene.survives(&|_| true);
    let expected = ["link", "mkdir", "remove", "rename", "run", "wait", "write"];
    assert!(expected.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    assert_eq!(scene.demo.versions(), ["1.1.0", "1.0.0"]);
}

#[test]
fn x3_x4_the_first_release_survives_a_kill_at_every_effect() {
    let scene = Scene::new(&[], &["release"]);
    let kinds = scene.survives(&|_| true);
    let expected = ["link", "lock", "mkdir", "remove", "rename", "run", "wait", "write"];
    assert!(expected.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    assert_eq!(scene.demo.versions(), ["1.0.0"]);
}

#[test]
fn x3_x4_a_rehearsal_that_is_replaced_survives_a_kill_at_every_effect() {
    let mut scene = Scene::new(&["release", "1.0.0-rc.1"], &["release"]);
    Run::of(scene.command(&["release"])).ok();
    scene.demo.edit("operator/src/main.rs", "demo {}", "this is demo {}");
    scene.demo.commit("other sources");
    scene.prepared();
    scene.survives(&|_| true);
    assert_eq!(scene.demo.versions(), ["1.0.0", "1.0.0-rc.1"]);
}

#[test]
fn x3_x4_a_release_of_uncommitted_sources_survives_a_kill_at_every_effect() {
    let mut scene = Scene::new(&["release"], &["release"]);
    scene.demo.edit("operator/src/main.rs", "demo {}", "this is demo {}");
    std::fs::remove_file(scene.demo.root().join("chart/values.yaml")).unwrap();
    scene.prepared();
    scene.survives(&|_| true);
    assert_eq!(scene.demo.versions(), ["1.0.0"]);
}

#[test]
fn x3_a_real_build_survives_a_kill_before_and_while_cargo_runs() {
    let scene = Scene { programs: build_programs(), cargo: env!("CARGO").into(), ..Scene::new(&[], &["release"]) };
    let kinds = scene.survives(&|effect| effect.contains(" cargo build ") || effect.contains("/cargo build "));
    assert!(kinds.contains("run") && kinds.contains("wait"), "{kinds:?}");
}

#[test]
fn x3_h6_yank_and_unyank_survive_a_kill_at_every_effect() {
    let mut scene = Scene::new(&["release"], &["release", "yank", "1.1.0", "--reason", "wrong"]);
    Run::of(scene.command(&["release", "minor"])).ok();
    scene.prepared();
    scene.survives(&|_| true);
    assert_eq!(scene.demo.versions(), ["1.0.0"]);
    scene.words = vec!["release", "unyank", "1.1.0"];
    scene.prepared();
    scene.survives(&|_| true);
    assert_eq!(scene.demo.versions(), ["1.1.0", "1.0.0"]);
}

#[test]
fn x3_a_run_that_is_killed_while_a_child_runs_is_finished_by_the_next_one() {
    let demo = Demo::new();
    let (hold, held) = (demo.root().join("target/hold"), demo.root().join("target/held"));
    demo.write("target/hold", "");
    let programs = tempfile::tempdir().unwrap();
    let slow = programs.path().join("cargo");
    let text = format!(
        "echo $$ > {held}.new && mv {held}.new {held}\n\
         for _ in $(seq 600); do [ -e {hold} ] || break; sleep 0.1; done\nexec {cargo} \"$@\"\n",
        held = held.display(),
        hold = hold.display(),
        cargo = env!("CARGO")
    );
    script(&slow, &text);
    let mut command = demo.command(&["release"]);
    command.env("CARGO", slow);
    let halted = Halted::start(command);
    assert!(wait_until(LIMIT, || held.exists()), "cargo was not started");
    let group = halted.child.id();
    drop(halted);
    assert!(is_alive(group), "the child outlives the tool");
    // The next run does not wait for that child, and the child then builds the same sources into the same folder.
    let report = demo.xtask(&["release", "--json"]).ok().json();
    let published = demo.snapshot();
    std::fs::remove_file(hold).unwrap();
    assert!(wait_until(LIMIT, || !is_alive(group)), "the child of the killed run did not end");
    let again = demo.xtask(&["release", "--json"]).ok().json();
    assert_eq!((again["changed"].as_bool(), &again["digest"]), (Some(false), &report["digest"]));
    assert!(demo.snapshot() == published && demo.versions() == ["1.0.0"]);
    let undisturbed = Demo::on_port(demo.port);
    assert_eq!(undisturbed.xtask(&["release", "--json"]).ok().json()["digest"], report["digest"]);
}

#[test]
fn x5_of_two_runs_in_one_folder_one_waits_and_both_succeed() {
    let demo = Demo::new();
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let run = || demo.xtask(&["release", "minor", "--json"]);
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.into_iter().map(|thread| thread.join().unwrap().ok()).collect()
    });
    let changed: Vec<bool> = runs.iter().map(|run| run.json()["changed"].as_bool().unwrap()).collect();
    assert_eq!(changed.iter().filter(|changed| **changed).count(), 1, "one releases, the other finds it done");
    assert_eq!(runs[0].json()["digest"], runs[1].json()["digest"]);
    let waited = runs.iter().filter(|run| run.stderr.contains("Waiting for another run in this folder to end"));
    assert_eq!(waited.count(), 1, "{runs:?}");
    assert_eq!(demo.versions(), ["1.1.0"]);
}

#[test]
fn x3_a_lock_does_not_outlive_its_killed_holder() {
    let scene = Scene::new(&[], &["release"]);
    Run::of(scene.recorded(0)).ok();
    // The folder's own lock and that of what is published are both held while a blob is put there.
    let at =
        scene.effects().iter().position(|effect| effect.contains(" link ") && effect.contains("/published/image/"));
    scene.demo.restore(&scene.start);
    let at = at.unwrap() + 1;
    let holder = Halted::start(scene.recorded(at));
    assert!(wait_until(LIMIT, || scene.effects().len() == at));
    let mut second = scene.command(&["release"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(second.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("Waiting for another run"));
    assert!(second.try_wait().unwrap().is_none(), "it waits while the holder lives");
    holder.kill();
    let ended = wait_until(LIMIT, || second.try_wait().unwrap().is_some());
    second.kill().ok();
    assert!(ended && second.wait().unwrap().success(), "{:?}", said.collect::<Vec<_>>());
    assert_eq!(scene.demo.versions(), ["1.0.0"]);
}

/// A prepared folder, and the words that are said in it.
struct Scene {
    demo: Demo,
    words: Vec<&'static str>,
    start: TempDir,
    /// Where effects are recorded, and where the runs keep what they need for a moment.
    beside: TempDir,
    programs: TempDir,
    cargo: PathBuf,
}

impl Scene {
    /// Runs `before` (where it says anything), and keeps what that made as the state from which `words` are said.
    /// Compilers are pretended: a run with real ones takes ten times as long, in children that a kill does not reach.
    fn new(before: &[&str], words: &[&'static str]) -> Self {
        let (demo, programs) = (Demo::in_memory(), pretended_programs());
        let [start, beside] = [(), ()].map(|()| tempfile::tempdir_in(demo.root().parent().unwrap()).unwrap());
        let cargo = programs.path().join("cargo");
        let mut scene = Scene { demo, words: words.to_vec(), start, beside, programs, cargo };
        if !before.is_empty() {
            Run::of(scene.command(before)).ok();
        }
        scene.prepared();
        scene
    }

    /// Keeps the folder as it is now as the state to begin from.
    fn prepared(&mut self) {
        self.start = self.demo.keep();
    }

    fn record(&self) -> PathBuf {
        self.beside.path().join("effects")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.demo.command(words);
        command.env("PATH", self.programs.path()).env("CARGO", &self.cargo).env("TMPDIR", self.beside.path());
        command
    }

    /// The words, recorded, and halted before the effect of that number.
    fn recorded(&self, halt_at: usize) -> Command {
        std::fs::remove_file(self.record()).ok();
        let mut command = self.command(&self.words);
        command.env("XTASK_EFFECTS", self.record()).env("XTASK_HALT_AT", halt_at.to_string());
        command
    }

    /// The effects that were announced so far.
    fn effects(&self) -> Vec<String> {
        effects_in(&self.record())
    }

    /// Everything that the words leave behind but cargo's own folder and git's.
    fn outcome(&self) -> Files {
        let mut files = files_below(self.demo.root());
        files.retain(|path, _| !path.starts_with(".git/") && !path.starts_with("target/xtask/build/"));
        files
    }

    /// Kills a run at each of its effects that is wanted. Gives their kinds.
    fn survives(&self, wanted: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
        let started = Instant::now();
        let before = Public::of(&self.demo);
        self.demo.restore(&self.start);
        Run::of(self.recorded(0)).ok();
        let (effects, outcome) = (self.effects(), self.outcome());
        let scanned = effects.iter().position(|effect| effect.contains(" rename ") && effect.contains("/verdicts/"));
        let numbered = effects.iter().enumerate().map(|(before, effect)| (before + 1, effect));
        let killed: Vec<(usize, &String)> = numbered.filter(|(_, effect)| wanted(effect)).collect();
        for (number, doing) in killed.iter().copied() {
            self.demo.restore(&self.start);
            let halted = Halted::start(self.recorded(number));
            let reached = wait_until(LIMIT, || self.effects().len() == number);
            assert!(reached, "{doing} was not reached, but {:?}", self.effects().last());
            halted.kill();
            assert_eq!(self.effects(), effects[..number], "every run has the same effects");
            Public::of(&self.demo).check(&before, doing);
            if scanned.is_some_and(|scanned| number <= scanned + 1) {
                assert_eq!(Public::of(&self.demo).files, before.files, "public before it was scanned: {doing}");
            }
            let again = Run::of(self.command(&self.words));
            assert_eq!(again.code, Some(0), "after a kill at {doing}: {}", again.stderr);
            let now = self.outcome();
            let changed: Vec<_> = outcome.iter().filter(|(path, bytes)| now.get(*path) != Some(bytes)).collect();
            let litter: Vec<_> = now.keys().filter(|path| !outcome.contains_key(*path)).collect();
            let changed: Vec<_> = changed.into_iter().map(|(path, _)| path).collect();
            assert!(changed.is_empty() && litter.is_empty(), "after a kill at {doing}: {changed:?}, litter {litter:?}");
        }
        self.demo.restore(&self.start);
        let whole = Run::of(self.recorded(effects.len() + 1)).ok();
        assert_eq!(self.effects(), effects, "{}", whole.stderr);
        let seconds = started.elapsed().as_secs_f64();
        println!("{}: {} effects, killed at {}, {seconds:.0} s", self.words.join(" "), effects.len(), killed.len());
        killed.into_iter().map(|(_, effect)| effect.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

/// The effects that a file records, without the process's number and the moment, which differ from run to run.
pub fn effects_in(record: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(record).unwrap_or_default();
    let without_process = |line: &str| {
        let (first, rest) = line.split_once("/xtask-").unwrap_or((line, ""));
        let rest = rest.split("/xtask-").map(|part| part.trim_start_matches(|c: char| c.is_numeric() || c == '.'));
        format!("{first}{}", rest.collect::<Vec<_>>().join("/xtask"))
    };
    text.lines().map(without_process).collect()
}

/// A run that is halted somewhere, in a process group of its own.
pub struct Halted {
    child: Child,
}

impl Halted {
    pub fn start(mut command: Command) -> Self {
        let command = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Halted { child: command.spawn().unwrap() }
    }

    /// Ends the tool, and waits until the children that it leaves behind have ended by themselves.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let group = self.child.id();
        assert!(wait_until(LIMIT, || !is_alive(group)), "a child of the killed run did not end");
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether a process of that group is running.
fn is_alive(group: u32) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // The name, in parentheses, may hold spaces. After it: state, parent, group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.first().is_some_and(|state| *state != "Z") && fields.get(2).and_then(|id| id.parse().ok()) == Some(group)
    })
}

/// What is published, as its users read it.
struct Public {
    files: Files,
    /// The listed versions and their entries.
    entries: BTreeMap<Version, String>,
    tags: BTreeMap<String, Digest>,
}

impl Public {
    fn of(demo: &Demo) -> Self {
        let files = demo.snapshot();
        let mut entries = BTreeMap::new();
        if let Some(bytes) = files.get(index::FILE) {
            let json = index::as_json(bytes).unwrap();
            let index = Index::parse(&json).unwrap();
            for entry in index.entries("demo") {
                let twice = entries.insert(Version::parse(&entry.version).unwrap(), entry.json().to_owned());
                assert_eq!(twice, None, "{} is listed twice", entry.version);
            }
        }
        let tags = if files.contains_key("image/index.json") { demo.tags() } else { BTreeMap::new() };
        Public { files, entries, tags: tags.into_iter().map(|(tag, digest)| (tag, digest.parse().unwrap())).collect() }
    }

    /// What must hold at every moment of a run.
    fn check(&self, before: &Public, moment: &str) {
        assert!(self.entries.len() + 1 >= before.entries.len(), "{moment}: more than the one version is gone");
        for (version, entry) in &self.entries {
            let digest = self.image_of(entry, moment);
            for tag in version::version_tags(version) {
                assert_eq!(self.tags.get(&tag), Some(&digest), "{moment}: {tag}");
            }
        }
        let leaders = version::floating_tags(self.entries.keys(), &Version::new(1, 0, 0));
        for (tag, digest) in self.tags.iter().filter(|(tag, _)| version::is_floating(tag)) {
            let leader = leaders.get(tag).and_then(|version| self.entries.get(version));
            let right = leader.is_some_and(|entry| self.image_of(entry, moment) == *digest);
            assert!(right || before.tags.get(tag) == Some(digest), "{moment}: {tag} is ahead of the index");
        }
        for tag in before.tags.keys() {
            assert!(self.tags.contains_key(tag), "{moment}: {tag} is gone");
        }
    }

    /// The image of a listed version, which is there as a whole, as is the archive.
    fn image_of(&self, entry: &str, moment: &str) -> Digest {
        let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
        let name = entry["urls"][0].as_str().unwrap().rsplit('/').next().unwrap();
        let archive = self.files.get(name).unwrap_or_else(|| panic!("{moment}: {name} is listed and not there"));
        assert_eq!(entry["digest"].as_str(), Some(sha256_hex(archive).as_str()), "{moment}: {name}");
        let manifest = package::manifest(&package::unpack(archive).unwrap()).unwrap();
        let digest: Digest = manifest.annotations[RELEASED_IMAGE].rsplit_once('@').unwrap().1.parse().unwrap();
        let blob = |_, digest: &Digest| {
            let bytes = self.files.get(&format!("image/blobs/sha256/{}", digest.hex()));
            let bytes = bytes.unwrap_or_else(|| panic!("{moment}: {digest} is not there"));
            assert_eq!(Digest::of(bytes), *digest, "{moment}");
            Ok(bytes.clone())
        };
        layout::collect(&digest, &blob).unwrap();
        digest
    }
}
