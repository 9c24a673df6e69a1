//! SIGKILL at every effect of a production release, and at any moment: nobody ever sees it half done, and the same words finish it.
//!
//! As `kill` does for rehearsals, but on real servers, with a user who looks all the time: one run halts at every effect, and what is
//! there is kept and finished; where a child runs or a lock is held, and at any moment, runs are really killed. The tool announces every change
//! that it makes anywhere and every child that it starts. Requests that only read are none: a kill before one finds the world as a
//! kill after the effect before it does.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::folders::{kept, refill};
use crate::kill::{Halted, LIMIT, Moments, Stepped, digest_of, effects_in, is_more_than_files};
use crate::power_loss::is_effect;
use crate::production::Production;
use crate::servers::{KeptCaches, Observed};
use crate::support::{Run, files_below, git, pretended_programs, wait_until};

/// Bump commit, push, image, tags, archive, index, invalidation, promotion and git tag are all left to do.
const WORDS: [&str; 5] = ["release", "minor", "--push", "--to", "production"];

/// No effect is left out. Several scenes share the work, each on servers of its own.
#[test]
fn x3_x4_h6_a_production_release_survives_a_kill_at_every_effect_and_at_any_moment() {
    let started = Instant::now();
    let shares = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
    let scenes: Vec<Scene> = (0..shares).map_while(|_| Scene::new()).collect();
    if scenes.len() < shares {
        return;
    }
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = scenes
            .iter()
            .enumerate()
            .map(|(share, scene)| scope.spawn(move || scene.survives(share, shares)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(counts.iter().all(|count| *count == counts[0]), "every scene has the same effects: {counts:?}");
    let seconds = started.elapsed().as_secs_f64();
    let differ: usize = scenes.iter().map(|scene| scene.finished.lock().unwrap().len()).sum();
    println!(
        "{}: {count} effects, killed at {count} ({differ} differ), {seconds:.0} s",
        WORDS.join(" "),
        count = counts[0]
    );
}

/// What must be among the effects of a whole release.
const EXPECTED: [&str; 13] = [
    " commit-tree ",
    " merge ",
    " push --quiet",
    " push localhost:",
    " put localhost:",
    " put s3://demo-charts/demo-1.1.0.tgz",
    " put s3://demo-charts/demo-1.1.0.json",
    " put s3://demo-charts/index.yaml",
    " put s3://demo-charts/index.html",
    " invalidate /index.yaml",
    "/demo:latest",
    ":refs/tags/v1.1.0",
    " tag --no-sign ",
];

/// Everything that a release leaves behind, anywhere.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    versions: Vec<String>,
    objects: BTreeMap<String, Vec<u8>>,
    /// How often the index was written.
    writings: usize,
    tags: BTreeMap<String, String>,
    /// Of the remote and of the workspace.
    refs: BTreeMap<String, String>,
    here: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
}

/// A moment of a run at which it could be killed, and what that would leave.
struct Moment {
    /// The effect that is about to be made.
    doing: String,
    /// The folders of the scene, and what runs keep beside them.
    folders: Vec<TempDir>,
    caches: KeptCaches,
    /// What the caches had been told, by caller reference.
    invalidated: BTreeMap<String, Vec<String>>,
}

/// A workspace whose 1.0.0 and 1.0.1 are released, and a copy of it and of all that its servers keep.
struct Scene {
    production: Production,
    /// And where effects are recorded.
    programs: TempDir,
    /// Where the runs keep what they need for a moment.
    beside: TempDir,
    empty: TempDir,
    /// Of the workspace and of the servers.
    folders: Vec<PathBuf>,
    /// What those held in the beginning.
    start: Vec<TempDir>,
    /// From where runs were finished: what those folders held, and how many requests and changes there had been.
    finished: Mutex<BTreeSet<(usize, String)>>,
}

impl Scene {
    /// Compilers are pretended: a run with real ones takes ten times as long, in children that a kill does not reach.
    fn new() -> Option<Self> {
        let production = Production::new()?;
        production.demo.show_page();
        production.demo.git(&["push", "--quiet"]);
        let beside = tempfile::tempdir_in(production.demo.root().parent().unwrap()).unwrap();
        let mut scene = Scene {
            production,
            programs: pretended_programs(),
            beside,
            empty: tempfile::tempdir().unwrap(),
            folders: Vec::new(),
            start: Vec::new(),
            finished: Mutex::default(),
        };
        for word in ["1.0.0", "patch"] {
            Run::of(scene.command(&["release", word, "--push", "--to", "production"])).ok();
            // From the commit that is released already, the next words would have nothing to do.
            scene.production.demo.commit("more work");
            scene.production.demo.git(&["push", "--quiet"]);
        }
        let Production { demo, store, registry, origin, .. } = &scene.production;
        let folders = [demo.root().to_owned(), origin.path().to_owned(), registry.storage()];
        let of_store = ["data", "versions"].map(|name| store.folder().join(name));
        scene.folders = folders.into_iter().chain(of_store).collect();
        for folder in [demo.root(), origin.path()] {
            // One file in place of a hundred: every look reads all there are.
            git(folder, &["repack", "--quiet", "-a", "-d"]);
        }
        scene.start = scene.folders.iter().map(|folder| kept(folder)).collect();
        Some(scene)
    }

    fn reset(&self) {
        self.refill(&self.start);
        // What killed runs left there, too: numbers of processes come again.
        refill(self.beside.path(), self.empty.path());
        self.production.edge.caches().invalidate(&["/*".into()]);
    }

    fn refill(&self, copies: &[TempDir]) {
        self.folders.iter().zip(copies).for_each(|(folder, copy)| refill(folder, copy.path()));
    }

    /// Makes everything what a run left that was killed at a moment.
    fn is_left_as_at(&self, Moment { folders, caches, invalidated, .. }: &Moment) {
        let Production { edge, cloudfront, .. } = &self.production;
        let (beside, folders) = folders.split_last().unwrap();
        self.refill(folders);
        refill(self.beside.path(), beside.path());
        edge.caches().restore(caches);
        cloudfront.know_only(invalidated);
    }

    fn record(&self) -> PathBuf {
        self.programs.path().join("effects")
    }

    fn effects(&self) -> Vec<String> {
        effects_in(&self.record())
    }

    /// What all those folders hold, in short.
    fn state(&self) -> String {
        let folders = self.folders.iter().map(PathBuf::as_path);
        digest_of(&folders.chain([self.beside.path()]).collect::<Vec<_>>())
    }

    fn command(&self, words: &[&str]) -> Command {
        const TIME: &str = "2026-01-02T03:04:06Z";
        let mut command = self.production.command(words);
        command.env("PATH", self.programs.path()).env("CARGO", self.programs.path().join("cargo"));
        // One bump is one commit, in whichever run it is made.
        command.env("GIT_AUTHOR_DATE", TIME).env("GIT_COMMITTER_DATE", TIME).env("TMPDIR", self.beside.path());
        command
    }

    /// The words, recorded, and halted before the effect of that number.
    fn recorded(&self, halt_at: usize) -> Command {
        std::fs::remove_file(self.record()).ok();
        let mut command = self.command(&WORDS);
        command.env("XTASK_EFFECTS", self.record()).env("XTASK_HALT_AT", halt_at.to_string());
        command
    }

    fn outcome(&self) -> Outcome {
        let Production { demo, store, origin, .. } = &self.production;
        let refs = |text: String| {
            text.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, at)| (name.into(), at.into())).collect()
        };
        let listing = ["for-each-ref", "--format=%(refname) %(objectname)"];
        let mut files = files_below(demo.root());
        files.retain(|path, _| !path.starts_with(".git/") && !path.starts_with("target/xtask/build/"));
        assert_eq!(demo.git(&["status", "--porcelain"]), "");
        Outcome {
            versions: self.production.versions(0),
            objects: self.production.objects(),
            writings: store.versions("index.yaml").len(),
            tags: self.production.tags(),
            refs: refs(git(origin.path(), &listing)),
            here: refs(demo.git(&listing)),
            files,
        }
    }

    /// Finishes what a kill leaves at each effect of one share of all. Gives the number of all.
    fn survives(&self, share: usize, shares: usize) -> usize {
        let Production { cloudfront, moto, .. } = &self.production;
        let invalidation = format!("/distribution/{}/invalidation", moto.distribution);
        cloudfront.proxy.forget();
        self.reset();
        let started = Instant::now();
        Run::of(self.recorded(0)).ok();
        let took = started.elapsed();
        let (effects, outcome) = (self.effects(), self.outcome());
        assert_eq!(cloudfront.proxy.count("POST", &invalidation), 1);
        assert_eq!(outcome.versions, ["1.1.0", "1.0.1", "1.0.0"]);
        assert_eq!(outcome.refs["refs/tags/v1.1.0"], outcome.refs["refs/heads/main"]);
        for expected in EXPECTED {
            assert!(effects.iter().any(|effect| effect.contains(expected)), "{expected} is not among {effects:#?}");
        }
        // Neighbours together: many of them leave the same.
        let mine = |number: usize| number / 8 % shares == share;
        for moment in self.moments(&mine, &effects) {
            self.is_left_as_at(&moment);
            self.finishes(&outcome, &format!("a kill at {}", moment.doing));
        }
        for number in (1..=effects.len()).filter(|number| mine(*number) && is_more_than_files(&effects[number - 1])) {
            self.survives_at(number, &effects, &outcome);
        }
        self.survives_any(took, share, shares, &outcome);
        if share == 0 {
            self.survives_while_it_signs();
        }
        effects.len()
    }

    /// Halts one run at each of its effects, and keeps what a kill would leave at those that are wanted, where that has not been finished yet.
    fn moments(&self, wanted: &dyn Fn(usize) -> bool, effects: &[String]) -> Vec<Moment> {
        let mut moments = Vec::new();
        self.reset();
        let mut user = self.production.watch();
        let mut run = Stepped::start(self.recorded(0), self.record());
        while let Some(record) = run.next_halt() {
            let number = self.effects().len();
            let is_middle = record.lines().last().is_some_and(|last| !is_effect(last));
            let doing = effects.get(number - 1).unwrap_or_else(|| panic!("every run has the same effects: {record}"));
            if !is_middle && wanted(number) && !is_more_than_files(doing) {
                // This is what a killed run would leave.
                user.look();
                check(&user.observed, &format!("until a halt at {doing}"));
                if self.is_new(number, effects) {
                    moments.push(self.moment(doing.clone()));
                }
            }
        }
        // Somebody new looks at all of it once more, old versions included.
        check(&self.production.observe().finish(), "at the end of a halted run");
        assert_eq!(self.effects(), effects, "every run has the same effects");
        moments
    }

    fn moment(&self, doing: String) -> Moment {
        let folders = self.folders.iter().chain([&self.beside.path().to_owned()]).map(|folder| kept(folder)).collect();
        let Production { edge, cloudfront, .. } = &self.production;
        Moment { doing, folders, caches: edge.caches().keep(), invalidated: cloudfront.invalidated() }
    }

    /// Whether what is there before an effect was not finished yet. Children that only read leave it as it is.
    fn is_new(&self, number: usize, effects: &[String]) -> bool {
        let is_child = |effect: &&String| effect.contains(" run ") || effect.contains(" wait ");
        let others = effects[..number - 1].iter().filter(|effect| !is_child(effect)).count();
        self.finished.lock().unwrap().insert((others, self.state()))
    }

    /// Kills a run just before an effect.
    fn survives_at(&self, number: usize, effects: &[String], outcome: &Outcome) {
        let doing = &effects[number - 1];
        self.reset();
        let halted = Halted::start(self.recorded(number));
        let reached = wait_until(LIMIT, || self.effects().len() == number);
        assert!(reached, "{doing} was not reached, but {:?}", self.effects().last());
        // What a run shows before this effect is watched where runs are killed at any moment: here it would be the same again and again.
        let observer = self.production.observe();
        halted.kill();
        assert_eq!(self.effects(), effects[..number], "every run has the same effects");
        let moment = format!("a kill at {doing}");
        // The last look is at what the killed run left.
        check(&observer.finish(), &format!("until {moment}"));
        if self.is_new(number, effects) {
            self.finishes(outcome, &moment);
        }
    }

    /// Kills a run when the image is signed and its chart is not, where this version is the first one that is signed.
    fn survives_while_it_signs(&self) {
        self.reset();
        self.production.demo.sign_since("1.1.0");
        self.production.demo.git(&["push", "--quiet"]);
        self.folders.iter().zip(&self.start).for_each(|(folder, start)| refill(start.path(), folder));
        Run::of(self.recorded(0)).ok();
        let (effects, outcome) = (self.effects(), self.outcome());
        let of_chart =
            effects.iter().position(|effect| effect.contains(" put localhost:") && effect.contains("/charts/"));
        let of_chart = of_chart.unwrap_or_else(|| panic!("no chart is put into the registry: {effects:#?}"));
        self.survives_at(of_chart + 1, &effects, &outcome);
    }

    /// Kills runs at moments that nobody announces: in the middle of a request, of a child's work, of a write.
    fn survives_any(&self, took: Duration, share: usize, shares: usize, outcome: &Outcome) {
        const KILLS: usize = 8;
        let mut moments = Moments::within(took, share);
        let mut killed = 0;
        while killed * shares < KILLS {
            self.reset();
            let observer = self.production.observe();
            let halted = Halted::start(self.recorded(0));
            let moment = moments.wait_for_next();
            killed += moments.count(halted.kill());
            let doing = self.effects().last().cloned().unwrap_or_default();
            let moment = format!("a kill {moment}, after {doing}");
            check(&observer.finish(), &format!("until {moment}"));
            self.finishes(outcome, &moment);
        }
    }

    /// Asserts that the same words finish what a killed run left, and that nobody sees them do it.
    fn finishes(&self, outcome: &Outcome, moment: &str) {
        let observer = self.production.observe();
        let again = Run::of(self.command(&WORDS));
        assert_eq!(again.code, Some(0), "after {moment}: {}", again.stderr);
        let observed = observer.finish();
        check(&observed, &format!("after {moment}"));
        assert!(observed.versions.contains("1.1.0"), "after {moment}: {observed:?}");
        assert_eq!(self.production.dropped(), Vec::<String>::new(), "{moment}");
        let now = self.outcome();
        for (part, same) in [
            ("versions", now.versions == outcome.versions),
            ("objects", now.objects == outcome.objects),
            ("writings of the index", now.writings == outcome.writings),
            ("tags", now.tags == outcome.tags),
            ("refs of the remote", now.refs == outcome.refs),
            ("refs here", now.here == outcome.here),
            ("files here", now.files.keys().eq(outcome.files.keys())),
        ] {
            assert!(same, "after {moment}, {part} differ:\n{}", again.stderr);
        }
        assert!(now == *outcome, "after {moment}: {}", again.stderr);
    }
}

/// Nothing may ever vanish; what was listed before was there at the first look.
fn check(observed: &Observed, moment: &str) {
    assert_eq!((&observed.violations, &observed.vanished), (&Vec::new(), &Vec::new()), "{moment}");
    assert!(["1.0.0", "1.0.1"].iter().all(|old| observed.versions.contains(*old)), "{moment}: {observed:?}");
}
