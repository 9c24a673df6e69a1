//! SIGKILL at every effect of a run, in the middle of effects, and at any moment; loss of power; what users see stays whole, and the
//! same words finish the release.
//!
//! The tool announces every change it makes and every child it starts (`xtask::sys::failpoints`). One run halts at each of them, and in
//! the middle of each that has one, and what is there is kept: it is what a process leaves that is killed there. Where there is more
//! to a process than its files, since a child runs or a lock is held, another run is really killed, and must have left the same. From each
//! of these states the same words must finish the release. An effect that is added to the tool is covered from then on without a change
//! here. So is what a loss of power may leave there, of which a kill leaves nothing: see `power_loss`.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use semver::Version;
use tempfile::TempDir;
use xtask::chart::archive::{self, RELEASED_IMAGE};
use xtask::chart::index::{self, Index};
use xtask::chart::record::Record;
use xtask::error::{Error, Exit};
use xtask::oci::{self, Digest, ImageIndex, REF_NAME, sha256_hex};
use xtask::release::version;
use xtask::trust::signer::OWN_KEY;

use crate::folders::{kept, refill};
use crate::power_loss::{Journal, Left, Loss, is_effect};
use crate::support::{Demo, Run, build_programs, files_below, pretended_programs, script, unsigned, wait_until};

/// Longer than any run takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Several versions, so that an index which has lost some of them is not taken for one that has lost none.
const SEVERAL: [&[&str]; 3] = [&["release", "1.0.0-rc.1"], &["release"], &["release", "1.0.1"]];

type Files = BTreeMap<String, Vec<u8>>;

#[test]
fn x3_x4_h6_a_minor_release_survives_a_kill_at_every_effect_and_a_loss_of_power() {
    let scene = Scene::new(&[], &["release", "minor"], &[]).with_page(&SEVERAL);
    let survived = scene.survives();
    let expected = ["link", "mkdir", "remove", "rename", "run", "wait", "write"];
    assert!(expected.iter().all(|kind| survived.kinds.contains(*kind)), "{:?}", survived.kinds);
    assert_eq!(scene.demo.versions(), ["1.1.0", "1.0.1", "1.0.0", "1.0.0-rc.1"]);
    // The looks above see a loss where there is one: had nothing been synced, these changes could be lost alone.
    let missed = survived.missed_where_nothing_is_synced(&scene);
    for published in ["demo-1.1.0.tgz", "demo-1.1.0.json", "index.yaml", "image/index.json", "image/blobs/sha256/"] {
        let path = scene.demo.published().join(published).display().to_string();
        assert!(missed.iter().any(|missed| missed.starts_with(&path)), "nobody misses {published}, but {missed:#?}");
    }
}

#[test]
fn x3_x4_the_first_release_survives_a_kill_at_every_effect_and_a_loss_of_power() {
    let mut scene = Scene::new(&[], &["release"], &[]);
    // Only here: what signing does is the same in every release, and it takes nearly as many effects as all the rest. Most of them store
    // blobs.
    scene.demo.sign_since("1.0.0");
    scene.of_blobs = 9;
    scene.prepared();
    let survived = scene.survives();
    let expected = ["link", "lock", "mkdir", "remove", "rename", "run", "wait", "write"];
    assert!(expected.iter().all(|kind| survived.kinds.contains(*kind)), "{:?}", survived.kinds);
    assert_eq!(scene.demo.versions(), ["1.0.0"]);
    let missed = survived.missed_where_nothing_is_synced(&scene);
    let folder = scene.demo.published().join("image/blobs").display().to_string();
    assert!(missed.contains(&folder), "nobody misses {folder}, but {missed:#?}");
}

#[test]
fn x3_x4_a_rehearsal_that_is_replaced_survives_a_kill_at_every_effect_and_a_loss_of_power() {
    let before: [&[&str]; 3] = [&["release", "1.0.0-rc.1"], &["release", "1.0.0-rc.2"], &["release"]];
    let mut scene = Scene::new(&before, &["release"], &["1.0.0"]);
    scene.demo.edit("operator/src/main.rs", "demo {}", "this is demo {}");
    scene.demo.commit("other sources");
    scene.prepared();
    scene.survives();
    assert_eq!(scene.demo.versions(), ["1.0.0", "1.0.0-rc.2", "1.0.0-rc.1"]);
}

#[test]
fn x3_x4_a_release_of_uncommitted_sources_survives_a_kill_at_every_effect_and_a_loss_of_power() {
    let mut scene = Scene::new(&[&["release", "1.0.0-rc.1"], &["release"]], &["release"], &["1.0.0"]);
    scene.demo.edit("operator/src/main.rs", "demo {}", "this is demo {}");
    std::fs::remove_file(scene.demo.root().join("chart/values.yaml")).unwrap();
    scene.prepared();
    scene.survives();
    assert_eq!(scene.demo.versions(), ["1.0.0", "1.0.0-rc.1"]);
}

#[test]
fn x3_a_real_build_survives_a_kill_before_and_while_cargo_runs() {
    let Some(programs) = build_programs() else { return };
    let scene = Scene::new(&[], &["release"], &[]);
    let scene = Scene { programs, cargo: env!("CARGO").into(), ..scene };
    let undisturbed = scene.undisturbed();
    let effects = undisturbed.effects.iter().zip(1..);
    let of_cargo: Vec<_> = effects.filter(|(effect, _)| effect.contains("cargo build ")).collect();
    assert!(
        [" run ", " wait "].iter().all(|kind| of_cargo.iter().any(|(effect, _)| effect.contains(kind))),
        "{of_cargo:?}"
    );
    for (effect, number) in of_cargo {
        scene.killed_at(number, &undisturbed);
        scene.recovers(number, &undisturbed, &format!("after a kill at {effect}"));
    }
}

#[test]
fn x3_h6_yank_and_unyank_survive_a_kill_at_every_effect_and_a_loss_of_power() {
    let before: [&[&str]; 3] = [&["release"], &["release", "1.0.1"], &["release", "minor"]];
    let mut scene = Scene::new(&[], &["release", "yank", "1.1.0", "--reason", "wrong"], &["1.1.0"]).with_page(&before);
    scene.survives();
    assert_eq!(scene.demo.versions(), ["1.0.1", "1.0.0"]);
    (scene.words, scene.gives_up) = (vec!["release", "unyank", "1.1.0"], &[]);
    scene.prepared();
    scene.survives();
    assert_eq!(scene.demo.versions(), ["1.1.0", "1.0.1", "1.0.0"]);
}

/// Moments that nobody announces: in the middle of a child's work, of a write, of a computation.
#[test]
fn x3_x4_h6_a_release_survives_a_kill_at_any_moment() {
    const KILLS: usize = 12;
    let scene = Scene::new(&SEVERAL, &["release", "minor"], &[]);
    let undisturbed = scene.undisturbed();
    let mut moments = Moments::within(undisturbed.took, 0);
    let mut killed = 0;
    while killed < KILLS {
        scene.reset();
        let halted = Halted::start(scene.recorded(0));
        let moment = moments.wait_for_next();
        // The tool alone, as a process that runs out of memory, or all that it started, as where a terminal is closed.
        killed += moments.count(if killed % 2 == 0 { halted.kill() } else { halted.kill_with_children() });
        let effects = scene.effects();
        let doing = effects.last().cloned().unwrap_or_default();
        scene.recovers(effects.len(), &undisturbed, &format!("after a kill {moment}, after {doing}"));
    }
}

#[test]
fn x3_a_run_that_is_killed_while_a_child_runs_is_finished_by_the_next_one() {
    let demo = Demo::that_compiles();
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
    let undisturbed = Demo::that_compiles_on_port(demo.port);
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
    let scene = Scene::new(&[], &["release"], &[]);
    Run::of(scene.recorded(0)).ok();
    // The folder's own lock and that of what is published are both held while a blob is put there.
    let at =
        scene.effects().iter().position(|effect| effect.contains(" link ") && effect.contains("/published/image/"));
    scene.reset();
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
    /// The versions that the words may take out of the index, for a while or for good: no other may ever be missing.
    gives_up: &'static [&'static str],
    /// Of the moments at which a blob is stored, one in so many is finished: nothing leads to the blob yet, and one is like another. What
    /// users see is looked at in all of them.
    of_blobs: usize,
    start: TempDir,
    /// Where the runs keep what they need for a moment.
    beside: TempDir,
    empty: TempDir,
    /// And where effects are recorded.
    programs: TempDir,
    cargo: PathBuf,
}

/// A run that nothing disturbed.
struct Undisturbed {
    before: Public,
    after: Public,
    effects: Vec<String>,
    /// Everything that it left behind.
    outcome: Files,
    took: Duration,
}

/// A moment of a run at which it could be killed, and what that would leave.
struct Moment {
    /// The effect that is about to be made, or in the middle of which the run is.
    doing: String,
    /// Its number.
    number: usize,
    /// What was recorded until then.
    record: String,
    /// The folder, and what runs keep beside it.
    left: [TempDir; 2],
    /// Whether no earlier moment leaves the same.
    is_new: bool,
}

/// What was done to runs, and what is known of a whole one.
struct Survived {
    undisturbed: Undisturbed,
    /// The end of the run that halted at every moment.
    end: Option<Moment>,
    journal: Journal,
    /// Of the effects.
    kinds: BTreeSet<String>,
    /// What was there when that was judged: it need not be judged again.
    states: BTreeSet<String>,
    /// What was left by the losses of power that were looked at.
    left: BTreeSet<Left>,
    /// How many moments would leave something else than those before them, and were followed by the same words.
    repeats: usize,
    /// At how many effects a run was really killed.
    kills: usize,
    /// How many moments were in the middle of an effect.
    halves: usize,
    /// How many losses of power left something that no kill leaves.
    losses: usize,
}

impl Scene {
    /// Says what comes before, and keeps what that made as the state from which `words` are said.
    /// Compilers are pretended: a run with real ones takes ten times as long, in children that a kill does not reach.
    fn new(before: &[&[&str]], words: &[&'static str], gives_up: &'static [&'static str]) -> Self {
        let (demo, programs) = (Demo::in_memory(), pretended_programs());
        let [start, beside, empty] = [(); 3].map(|()| tempfile::tempdir_in(demo.root().parent().unwrap()).unwrap());
        let cargo = programs.path().join("cargo");
        let mut scene =
            Scene { demo, words: words.to_vec(), gives_up, of_blobs: 1, start, beside, empty, programs, cargo };
        scene.begin(before);
        scene
    }

    /// The same, where releases write the page. In the other scenes they do not: it is written in the same way everywhere.
    fn with_page(self, before: &[&[&str]]) -> Self {
        let mut scene = self;
        scene.demo.show_page();
        scene.begin(before);
        scene
    }

    fn begin(&mut self, before: &[&[&str]]) {
        for words in before {
            Run::of(self.command(words)).ok();
        }
        self.prepared();
    }

    /// Keeps the folder as it is now as the state to begin from. Git's objects become one file: every look reads all there are.
    fn prepared(&mut self) {
        self.demo.git(&["repack", "--quiet", "-a", "-d"]);
        self.start = self.demo.keep();
    }

    /// Begins again.
    fn reset(&self) {
        self.demo.restore(&self.start);
        refill(self.beside.path(), self.empty.path());
    }

    fn record(&self) -> PathBuf {
        self.programs.path().join("effects")
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

    /// Everything in the folder but cargo's own folder and git's, and what is signed in place of signatures.
    fn everything(&self) -> Files {
        let mut files = files_below(self.demo.root());
        files.retain(|path, _| !path.starts_with(".git/") && !path.starts_with("target/xtask/build/"));
        unsigned(files)
    }

    fn undisturbed(&self) -> Undisturbed {
        self.reset();
        let before = Public::of(&self.demo).unwrap();
        let started = Instant::now();
        Run::of(self.recorded(0)).ok();
        let took = started.elapsed();
        let after = Public::of(&self.demo).unwrap();
        let undisturbed = Undisturbed { before, after, effects: self.effects(), outcome: self.everything(), took };
        undisturbed.after.judge(&undisturbed, self.gives_up).unwrap();
        undisturbed
    }

    /// Finishes what a kill leaves at each effect of a run and in the middle of each that has one, and what a loss of power may leave.
    fn survives(&self) -> Survived {
        let started = Instant::now();
        let mut survived = Survived::of(self.undisturbed(), self);
        let (moments, end) = self.moments(&mut survived);
        let (blobs, others): (Vec<_>, Vec<_>) =
            moments.iter().partition(|moment| moment.doing.contains("/blobs/sha256/"));
        for moment in others.into_iter().chain(blobs.into_iter().step_by(self.of_blobs)) {
            self.survives_at(moment, &mut survived);
        }
        self.is_left_as_at(&end);
        self.survives_losses(&end.record, &end, &mut survived);
        survived.end = Some(end);
        let (words, seconds) = (self.words.join(" "), started.elapsed().as_secs_f64());
        let Survived { undisturbed, repeats, kills, halves, losses, .. } = &survived;
        let all = undisturbed.effects.len();
        println!(
            "{words}: {all} effects ({repeats} leave something new), really killed at {kills}, in the middle of {halves}, without \
             power {losses} times, {seconds:.0} s"
        );
        survived
    }

    /// All moments of one run, and its end.
    fn moments(&self, survived: &mut Survived) -> (Vec<Moment>, Moment) {
        let mut moments = Vec::new();
        self.reset();
        let mut run = Stepped::start(self.recorded(0), self.record());
        while let Some(record) = run.next_halt() {
            let last = record.lines().last().unwrap();
            let number: usize = last.trim_start_matches("- in ").split(' ').next().unwrap().parse().unwrap();
            let effect = survived.undisturbed.effects.get(number - 1);
            let doing = effect.unwrap_or_else(|| panic!("every run has the same effects: {last}")).clone();
            let doing = if is_effect(last) { doing } else { format!("the middle of {doing}") };
            survived.journal.keep(&record);
            moments.push(self.moment(doing, number, record, survived));
        }
        assert_eq!(self.effects(), survived.undisturbed.effects, "every run has the same effects");
        let record = std::fs::read_to_string(self.record()).unwrap();
        let end = self.moment("the end".into(), self.effects().len(), record, survived);
        (moments, end)
    }

    fn moment(&self, doing: String, number: usize, record: String, survived: &mut Survived) -> Moment {
        self.is_whole(number, &survived.undisturbed, &format!("at {doing}"));
        let is_new = survived.states.insert(self.state());
        Moment { doing, number, record, left: [self.demo.keep(), kept(self.beside.path())], is_new }
    }

    /// Makes the folder what a run left there that was killed at a moment.
    fn is_left_as_at(&self, moment: &Moment) {
        self.demo.restore(&moment.left[0]);
        refill(self.beside.path(), moment.left[1].path());
    }

    fn survives_at(&self, moment: &Moment, survived: &mut Survived) {
        let Moment { doing, number, record, is_new, .. } = moment;
        let after = format!("after a kill at {doing}");
        self.is_left_as_at(moment);
        let is_middle = record.lines().last().is_some_and(|last| !is_effect(last));
        if is_middle {
            survived.halves += 1;
        } else {
            let kind = doing.split(' ').nth(1).unwrap();
            survived.kinds.insert(kind.to_owned());
            if is_more_than_files(doing) {
                let left = self.comparable();
                self.killed_at(*number, &survived.undisturbed);
                assert!(self.comparable() == left, "a run that halts leaves what one leaves that is killed at {doing}");
                survived.kills += 1;
            }
            let done = record.rsplit_once(&format!("\n{number} ")).map_or("", |(done, _)| done);
            self.survives_losses(done, moment, survived);
        }
        if *is_new {
            survived.repeats += 1;
            self.finishes(&survived.undisturbed, &after);
            self.is_left_as_at(moment);
        }
        let to_go = files_that_are_to_go(record);
        if !is_middle && to_go.len() > 1 {
            to_go[..to_go.len() / 2].iter().for_each(|path| std::fs::remove_file(path).unwrap());
            survived.halves += 1;
            self.recovers(*number, &survived.undisturbed, &format!("after a kill in the middle of {doing}"));
        }
    }

    /// Makes of the folder all that a loss of power may make of it after what a record says, and leaves it as it is.
    fn survives_losses(&self, record: &str, moment: &Moment, survived: &mut Survived) {
        let Moment { doing, number, .. } = moment;
        let changes = survived.journal.changes(record);
        for loss in survived.journal.losses(record) {
            if !survived.left.insert(survived.journal.left(record, &loss)) {
                continue;
            }
            survived.journal.lose(&loss, &changes);
            if survived.states.insert(self.state()) {
                survived.losses += 1;
                let after = format!("after a loss of power at {doing} that took {loss:?}");
                self.recovers(*number, &survived.undisturbed, &after);
            }
            self.is_left_as_at(moment);
        }
    }

    /// Kills a run just before an effect.
    fn killed_at(&self, number: usize, undisturbed: &Undisturbed) {
        self.reset();
        let doing = &undisturbed.effects[number - 1];
        let halted = Halted::start(self.recorded(number));
        let reached = wait_until(LIMIT, || self.effects().len() == number);
        assert!(reached, "{doing} was not reached, but {:?}", self.effects().last());
        halted.kill();
        assert_eq!(self.effects(), undisturbed.effects[..number], "every run has the same effects");
    }

    /// Asserts that what a run left, that was killed at the effect of a number, is whole for its users, and that the same words finish it.
    #[track_caller]
    fn recovers(&self, number: usize, undisturbed: &Undisturbed, moment: &str) {
        self.is_whole(number, undisturbed, moment);
        self.finishes(undisturbed, moment);
    }

    #[track_caller]
    fn is_whole(&self, number: usize, undisturbed: &Undisturbed, moment: &str) {
        let Undisturbed { before, effects, .. } = undisturbed;
        let left = Public::of(&self.demo).and_then(|left| left.judge(undisturbed, self.gives_up).map(|()| left));
        let left = left.unwrap_or_else(|wrong| panic!("{moment}: {wrong}"));
        let scanned = effects.iter().position(|effect| effect.contains(" rename ") && effect.contains("/verdicts/"));
        if scanned.is_some_and(|scanned| number <= scanned + 1) {
            assert_eq!(left.files, before.files, "public before it was scanned: {moment}");
        }
    }

    #[track_caller]
    fn finishes(&self, Undisturbed { outcome, .. }: &Undisturbed, moment: &str) {
        let again = Run::of(self.command(&self.words));
        assert_eq!(again.code, Some(0), "{moment}: {}", again.stderr);
        let now = self.everything();
        let changed: Vec<_> = outcome.iter().filter(|(path, bytes)| now.get(*path) != Some(bytes)).collect();
        let changed: Vec<_> = changed.into_iter().map(|(path, _)| path).collect();
        let litter: Vec<_> = now.keys().filter(|path| !outcome.contains_key(*path)).collect();
        assert!(changed.is_empty() && litter.is_empty(), "{moment}: {changed:?} differ, litter {litter:?}");
    }

    /// What the folder holds, and what runs keep for a moment, in short.
    fn state(&self) -> String {
        digest_of(&[self.demo.root(), self.beside.path()])
    }

    /// The same for another run, whose signatures are others.
    fn comparable(&self) -> (Files, String) {
        let files = self.everything().into_iter().map(|(name, bytes)| (without_process(&name), bytes));
        (files.collect(), digest_of(&[self.beside.path()]))
    }
}

/// Whether there is more to a process at that effect than its files: a child runs, or a lock is held.
pub fn is_more_than_files(effect: &str) -> bool {
    effect.contains(" wait ") || effect.contains(" lock ")
}

/// The files in the folder that a record's last effect is about to remove, if it is one that removes a folder.
fn files_that_are_to_go(record: &str) -> Vec<PathBuf> {
    let doing = record.lines().rfind(|line| is_effect(line)).unwrap_or_default();
    let folder = doing.split_once(" remove ").map(|(_, path)| Path::new(path)).filter(|path| path.is_dir());
    folder.map(|folder| files_below(folder).into_keys().map(|name| folder.join(name)).collect()).unwrap_or_default()
}

impl Survived {
    /// Nothing yet, right after the undisturbed run.
    fn of(undisturbed: Undisturbed, scene: &Scene) -> Self {
        Survived {
            undisturbed,
            end: None,
            journal: Journal::below(scene.demo.root()),
            kinds: BTreeSet::new(),
            states: BTreeSet::new(),
            left: BTreeSet::new(),
            repeats: 0,
            kills: 0,
            halves: 0,
            losses: 0,
        }
    }

    /// The places of changes that users would miss at the end of a run, if it had synced nothing and power took them.
    fn missed_where_nothing_is_synced(&self, scene: &Scene) -> Vec<String> {
        let end = self.end.as_ref().unwrap();
        let changes = self.journal.changes(&end.record);
        let published = changes.iter().filter(|change| change.path.starts_with(scene.demo.published()));
        let places: BTreeSet<&Path> = published.map(|change| change.path.as_path()).collect();
        let is_missed = |place: &&&Path| {
            let lost = changes.iter().filter(|change| change.path == **place).map(|change| change.number).collect();
            scene.is_left_as_at(end);
            self.journal.lose(&Loss { changes: lost, ..Loss::default() }, &changes);
            let left = Public::of(&scene.demo);
            left.and_then(|left| left.judge(&self.undisturbed, scene.gives_up)).is_err()
        };
        places.iter().filter(is_missed).map(|place| place.display().to_string()).collect()
    }
}

/// The effects that a file records, without the process's number and the moment, which differ from run to run.
pub fn effects_in(record: &Path) -> Vec<String> {
    let text = numbered(std::fs::read_to_string(record).unwrap_or_default());
    text.lines().filter(|line| is_effect(line)).map(without_process).collect()
}

/// A text in which every digest is a number, in the order in which they come: no two signatures are alike, nor are the digests of what holds
/// them.
fn numbered(mut text: String) -> String {
    let mut digests: Vec<String> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64) {
        if !digests.iter().any(|known| known == word) {
            digests.push(word.to_owned());
        }
    }
    for (number, digest) in digests.iter().enumerate() {
        text = text.replace(digest, &format!("({number})"));
    }
    text
}

fn without_process(text: &str) -> String {
    let (first, rest) = text.split_once("/xtask-").unwrap_or((text, ""));
    let rest = rest.split("/xtask-").map(|part| part.trim_start_matches(|c: char| c.is_numeric() || c == '.'));
    format!("{first}{}", rest.collect::<Vec<_>>().join("/xtask"))
}

/// Everything below some folders, in short: names, kinds and contents. What one run made of it, another would make again.
pub fn digest_of(folders: &[&Path]) -> String {
    let mut pending: Vec<PathBuf> = folders.iter().map(|folder| (*folder).to_owned()).collect();
    let mut all = BTreeSet::new();
    while let Some(here) = pending.pop() {
        for path in std::fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().path()) {
            let kind = std::fs::symlink_metadata(&path).unwrap();
            let content = if kind.is_symlink() {
                std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if kind.is_dir() {
                pending.push(path.clone());
                Vec::new()
            } else {
                std::fs::read(&path).unwrap()
            };
            let name = without_process(&path.display().to_string());
            all.insert(format!("{name} {:o} {}", kind.permissions().mode(), sha256_hex(&content)));
        }
    }
    sha256_hex(all.into_iter().collect::<Vec<_>>().join("\n").as_bytes())
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

    /// Ends the tool, and waits until the children that it leaves behind have ended by themselves. False where it had ended.
    pub fn kill(mut self) -> bool {
        let met = self.child.try_wait().unwrap().is_none();
        self.child.kill().unwrap();
        self.wait();
        met
    }

    /// Ends the tool and all its children at once. False where it had ended.
    fn kill_with_children(mut self) -> bool {
        let met = self.child.try_wait().unwrap().is_none();
        let mut kill = Command::new("kill");
        kill.args(["-KILL", "--", &format!("-{}", self.child.id())]);
        assert!(!met || Run::of(kill).code == Some(0));
        self.wait();
        met
    }

    fn wait(&mut self) {
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

/// A run that halts at every moment until it is told to go on.
pub struct Stepped {
    child: Child,
    input: ChildStdin,
    record: PathBuf,
    /// How often it was told to.
    passed: usize,
}

impl Stepped {
    pub fn start(mut command: Command, record: PathBuf) -> Self {
        command.env("XTASK_HALT_EACH", "1").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        Stepped { child, input, record, passed: 0 }
    }

    /// Lets it go on, if it had halted, until it halts again and its children have ended by themselves. Gives what it recorded until then;
    /// nothing where it has ended.
    pub fn next_halt(&mut self) -> Option<String> {
        if self.passed > 0 {
            self.input.write_all(b"\n").unwrap();
        }
        self.passed += 1;
        let (mut record, mut ended) = (String::new(), None);
        let halted = wait_until(LIMIT, || {
            ended = self.child.try_wait().unwrap();
            record = std::fs::read_to_string(&self.record).unwrap_or_default();
            let halts = record.lines().filter(|line| is_effect(line) || line.starts_with("- in ")).count();
            ended.is_some() || (halts == self.passed && !others_are_alive(self.child.id()))
        });
        assert!(halted && ended.is_none_or(|status| status.success()), "{ended:?} after {:?}", record.lines().last());
        ended.is_none().then_some(record)
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether a process of that group is running.
fn is_alive(group: u32) -> bool {
    !running(group).is_empty()
}

/// Whether a process of that group is running beside the one that leads it.
fn others_are_alive(group: u32) -> bool {
    running(group).iter().any(|process| *process != group)
}

/// The processes of a group.
fn running(group: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.into_iter().filter_map(|process| process.file_name().to_str()?.parse().ok());
    let is_of_group = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name, in parentheses, may hold spaces. After it: state, parent, group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.first().is_some_and(|state| *state != "Z") && fields.get(2).and_then(|id| id.parse().ok()) == Some(group)
    };
    ids.filter(is_of_group).collect()
}

/// Moments of the time that a run takes, in no order, and the same for each run of a test unless `TEST_SEED` says otherwise.
pub struct Moments {
    time: Duration,
    seed: u64,
    state: u64,
    left: usize,
}

impl Moments {
    /// Of several who ask at once, each has a number, and moments of its own.
    pub fn within(time: Duration, number: usize) -> Self {
        let seed = std::env::var("TEST_SEED").map_or(13, |seed| seed.parse().unwrap());
        Moments { time, seed, state: seed + u64::try_from(number).unwrap(), left: 60 }
    }

    /// Waits for the next one from now. Says which that is.
    pub fn wait_for_next(&mut self) -> String {
        assert!(self.left > 0, "runs have ended before most moments");
        self.left -= 1;
        // SplitMix64 (G. L. Steele and others, OOPSLA 2014).
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let moment = self.time.mul_f64(f64::from(u32::try_from(mixed >> 32).unwrap()) / f64::from(u32::MAX));
        std::thread::sleep(moment);
        format!("{moment:?} from the start (TEST_SEED={})", self.seed)
    }

    /// Counts a kill that met its run. One that did not shortens the time: the machine has become quicker since that was taken.
    pub fn count(&mut self, met: bool) -> usize {
        if !met {
            self.time = self.time.mul_f64(0.9);
        }
        usize::from(met)
    }
}

/// What is published, as its users read it.
struct Public {
    files: Files,
    /// The listed versions and their entries.
    entries: BTreeMap<Version, String>,
    tags: BTreeMap<String, Digest>,
    /// The images that something refers to.
    signed: BTreeSet<Digest>,
}

impl Public {
    /// An error says what no user could read.
    fn of(demo: &Demo) -> Result<Self, String> {
        let files = demo.snapshot();
        let mut entries = BTreeMap::new();
        if let Some(bytes) = files.get(index::FILE) {
            let index = Index::from_bytes(bytes).map_err(|error| error.to_string())?;
            for entry in index.entries("demo") {
                let twice = entries.insert(Version::parse(&entry.version).unwrap(), entry.json().to_owned());
                ensure(twice.is_none(), || format!("{} is listed twice", entry.version))?;
            }
        }
        let (mut tags, mut signed) = (BTreeMap::new(), BTreeSet::new());
        if let Some(bytes) = files.get("image/index.json") {
            let index: ImageIndex = serde_json::from_slice(bytes).map_err(|error| format!("the tags: {error}"))?;
            for one in index.manifests {
                match one.annotations.get(REF_NAME) {
                    Some(tag) => drop(tags.insert(tag.clone(), one.digest)),
                    None => signed.extend(subject_of(&files, &one.digest)?),
                }
            }
        }
        Ok(Public { files, entries, tags, signed })
    }

    /// Whether all holds that must hold at every moment of a run.
    fn judge(&self, undisturbed: &Undisturbed, gives_up: &[&str]) -> Result<(), String> {
        self.judge_entries(undisturbed, gives_up)?;
        let before = &undisturbed.before;
        for (version, entry) in &self.entries {
            let digest = self.image_of(entry)?;
            for tag in version::version_tags(version) {
                let leads = self.tags.get(&tag);
                ensure(leads == Some(&digest), || format!("{tag} leads to {leads:?}, not to {digest}"))?;
            }
        }
        let leaders = version::floating_tags(self.entries.keys(), &Version::new(1, 0, 0));
        for (tag, digest) in self.tags.iter().filter(|(tag, _)| version::is_floating(tag)) {
            let leader = leaders.get(tag).and_then(|version| self.entries.get(version));
            let leads = leader.map(|entry| self.image_of(entry)).transpose()?.as_ref() == Some(digest);
            ensure(leads || before.tags.get(tag) == Some(digest), || format!("{tag} is ahead of the index"))?;
        }
        for (tag, digest) in self.tags.iter().filter(|_| self.files.contains_key(OWN_KEY)) {
            ensure(self.signed.contains(digest), || format!("{tag} leads to {digest}, which is not signed yet"))?;
        }
        before.tags.keys().try_for_each(|tag| ensure(self.tags.contains_key(tag), || format!("{tag} is gone")))
    }

    /// Every version is listed as it was or as it will be, and none but those that the words give up is ever missing.
    fn judge_entries(&self, undisturbed: &Undisturbed, gives_up: &[&str]) -> Result<(), String> {
        let Undisturbed { before, after, .. } = undisturbed;
        let versions: BTreeSet<&Version> = before.entries.keys().chain(self.entries.keys()).collect();
        for version in versions {
            let [was, is, will_be] = [before, self, after].map(|public| public.entries.get(version));
            let is_given_up = was.is_none() || gives_up.contains(&version.to_string().as_str());
            let right = is == was || (is_given_up && (is.is_none() || is == will_be));
            ensure(right, || format!("{version} was {was:?}, is {is:?}, and is to be {will_be:?}"))?;
        }
        let stays = |name: &str| name.ends_with(".tgz") || (name.ends_with(".json") && !name.contains('/'));
        for (name, was) in before.files.iter().filter(|(name, _)| stays(name)) {
            let [is, will_be] = [self, after].map(|public| public.files.get(name));
            ensure(is.is_some() && (is == Some(was) || is == will_be), || format!("{name} has changed, or is gone"))?;
        }
        Ok(())
    }

    /// The image of a listed version, which is there as a whole, as is the archive.
    fn image_of(&self, entry: &str) -> Result<Digest, String> {
        let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
        let name = entry["urls"][0].as_str().unwrap().rsplit('/').next().unwrap();
        let archive = self.files.get(name).ok_or_else(|| format!("{name} is listed and not there"))?;
        ensure(entry["digest"].as_str() == Some(&sha256_hex(archive)), || format!("{name} holds other bytes"))?;
        let record = self.files.get(&name.replace(".tgz", ".json"));
        let record = record.and_then(|bytes| serde_json::from_slice::<Record>(bytes).ok());
        let right = record
            .is_some_and(|record| record.entry["digest"] == entry["digest"] && record.size == archive.len() as u64);
        ensure(right, || format!("{name} is listed and what is known of it is not recorded"))?;
        let manifest = archive::manifest(&archive::unpack(archive).unwrap()).unwrap();
        let digest: Digest = manifest.annotations[RELEASED_IMAGE].rsplit_once('@').unwrap().1.parse().unwrap();
        let blob = |_, digest: &Digest| {
            let bytes = self.files.get(&format!("image/blobs/sha256/{}", digest.hex())).cloned().unwrap_or_default();
            if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(Error::new(Exit::Verify, digest.to_string())) }
        };
        oci::collect(&digest, &blob).map_err(|error| format!("{name} leads to what is not there: {error}"))?;
        Ok(digest)
    }
}

/// What a manifest in the registry refers to.
fn subject_of(files: &Files, digest: &Digest) -> Result<Option<Digest>, String> {
    let bytes = files.get(&format!("image/blobs/sha256/{}", digest.hex()));
    let bytes = bytes.ok_or_else(|| format!("{digest} is listed and not there"))?;
    let manifest: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| format!("{digest}: {error}"))?;
    Ok(manifest["subject"]["digest"].as_str().and_then(|digest| digest.parse().ok()))
}

fn ensure(right: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(wrong()) }
}
