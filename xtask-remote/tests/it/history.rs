//! The git side of a production release, on real repositories and a real (bare) remote: what is in the way is said at once, what is
//! allowed is done once, and a run that dies anywhere is finished by the same words.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use semver::Version;
use tempfile::TempDir;
use xtask::error::{Error, Exit, Result};
use xtask::git::{Publishable, Purpose, Repository, Tag, Tagged};

use crate::folders::{kept, refill};
use crate::kill::effects_in;
use crate::support::{Run, files_below, git, script, wait_until};

fn tag() -> Tag {
    Tag::of(None, &Version::new(1, 1, 0))
}

/// A clone, and the remote that it was made from.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Scene { folder: tempfile::tempdir().unwrap() };
        let path = scene.folder.path();
        git(path, &["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "remote"]);
        git(path, &["init", "--quiet", "--template=", "--initial-branch=main", "clone"]);
        scene.settings("clone");
        scene.git(&["remote", "add", "origin", "../remote"]);
        scene.write("Cargo.toml", "version = \"1.0.0\"\n");
        scene.write("chart/Chart.yaml", "version: 1.0.0\n");
        scene.write(".gitignore", "/target/\n");
        scene.commit("first");
        scene.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
        scene
    }

    /// What the tests need of git, whatever the machine's own settings are.
    fn settings(&self, clone: &str) {
        for (name, value) in
            [("user.name", "A Person"), ("user.email", "person@example.com"), ("commit.gpgSign", "false")]
        {
            git(&self.folder.path().join(clone), &["config", name, value]);
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.root(), arguments)
    }

    fn remote(&self, arguments: &[&str]) -> String {
        git(&self.folder.path().join("remote"), arguments)
    }

    /// From now on, the remote takes nothing, and says why.
    fn remote_refuses(&self, why: &str) {
        let hooks = self.folder.path().join("remote/hooks");
        std::fs::create_dir(&hooks).unwrap();
        script(&hooks.join("pre-receive"), &format!("echo {why} >&2; exit 1\n"));
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Somebody else puts a commit on a branch of the remote.
    fn other_commit(&self, branch: &str) -> String {
        let other = self.folder.path().join("other");
        if !other.exists() {
            git(self.folder.path(), &["clone", "--quiet", "remote", "other"]);
        }
        git(&other, &["fetch", "--quiet"]);
        git(&other, &["checkout", "--quiet", "--detach", &format!("origin/{branch}")]);
        git(&other, &["commit", "--quiet", "--allow-empty", "--message", "by somebody else"]);
        git(&other, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")]);
        git(&other, &["rev-parse", "HEAD"])
    }

    /// Everything of the clone but what git writes on the side, and every reference of both sides.
    fn everything(&self) -> (BTreeMap<String, Vec<u8>>, String, String) {
        let mut files = files_below(&self.root());
        files.retain(|path, _| !path.starts_with(".git/"));
        (files, self.git(&["for-each-ref"]), self.remote(&["for-each-ref"]))
    }

    fn publishable(&self, push: bool) -> Result<Publishable> {
        Repository::at(&self.root()).unwrap().publishable(&tag(), push)
    }

    fn bumpable(&self) -> Result<Publishable> {
        Repository::at(&self.root()).unwrap().preflight(&tag(), Purpose::Bump)
    }

    /// The error of a state that is not to be published from. Nothing is changed by finding out.
    fn refused(&self, result: fn(&Self) -> Result<Publishable>) -> Error {
        let before = self.everything();
        let error = result(self).unwrap_err();
        assert_eq!(self.everything(), before, "{error}");
        error
    }

    fn bump(&self) -> Result<String> {
        Repository::at(&self.root()).unwrap().commit_bump(&edits(), &tag())
    }

    fn tag(&self, commit: &str) -> Result<Tagged> {
        Repository::at(&self.root()).unwrap().tag(&tag(), commit, "origin")
    }

    fn status(&self) -> String {
        self.git(&["status", "--porcelain"])
    }
}

fn edits() -> BTreeMap<String, Vec<u8>> {
    let edit = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    BTreeMap::from([edit("Cargo.toml", "version = \"1.1.0\"\n"), edit("chart/Chart.yaml", "version: 1.1.0\n")])
}

fn says(error: &Error, exit: Exit, parts: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.exit, exit, "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

fn on(standing: &Publishable) -> (&str, bool) {
    (&standing.branch, standing.pushed)
}

#[test]
fn x1_a_bump_is_one_commit_of_exactly_its_files_by_the_person_that_git_knows() {
    let scene = Scene::new();
    let before = scene.git(&["rev-parse", "HEAD"]);
    let commit = scene.bump().unwrap();
    assert_eq!(scene.git(&["rev-parse", "refs/heads/main"]), commit);
    assert_eq!(
        scene.git(&["log", "-1", "--format=%an <%ae>|%s|%P"]),
        format!("A Person <person@example.com>|Release 1.1.0|{before}")
    );
    assert_eq!(scene.git(&["diff", "--name-only", "HEAD^", "HEAD"]), "Cargo.toml\nchart/Chart.yaml");
    assert_eq!(
        (scene.status(), files_below(&scene.root())["Cargo.toml"].clone()),
        (String::new(), edits()["Cargo.toml"].clone())
    );
    let time: u64 = scene.git(&["log", "-1", "--format=%ct"]).parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(time) < 600, "the commit is made now");
    assert_eq!(scene.bump().unwrap(), commit, "there is nothing left to commit");
}

#[test]
fn x1_a_bump_works_in_a_folder_of_a_repository_on_a_detached_head_and_keeps_modes() {
    let scene = Scene::new();
    scene.write("deep/run.sh", "version 1.0.0\n");
    script(&scene.root().join("deep/run.sh"), "echo 1.0.0\n");
    scene.commit("deeper");
    scene.git(&["checkout", "--quiet", "--detach"]);
    let edits = BTreeMap::from([("run.sh".to_owned(), b"#!/bin/sh\necho 1.1.0\n".to_vec())]);
    let commit = Repository::at(&scene.root().join("deep")).unwrap().commit_bump(&edits, &tag()).unwrap();
    assert_eq!(scene.git(&["rev-parse", "HEAD"]), commit);
    assert_eq!(
        scene.git(&["diff", "--raw", "--abbrev=1", "HEAD^", "HEAD"]).split(' ').take(2).collect::<String>(),
        ":100755100755"
    );
    assert_ne!(scene.git(&["rev-parse", "refs/heads/main"]), commit);
}

#[test]
fn a_bump_without_a_person_says_so_before_anything_is_written() {
    let scene = Scene::new();
    scene.git(&["config", "user.name", ""]);
    let before = scene.everything();
    says(
        &scene.bump().unwrap_err(),
        Exit::Environment,
        &["does not know who commits", "git config --global user.name"],
    );
    assert_eq!(scene.everything(), before);
}

#[test]
fn a_bump_of_a_dirty_tree_is_refused_with_the_first_ten_paths() {
    let scene = Scene::new();
    for number in 10..22 {
        scene.write(&format!("new/{number}.txt"), "");
    }
    let before = scene.everything();
    let error = scene.bump().unwrap_err();
    says(&error, Exit::Workspace, &["new/10.txt", "new/19.txt", "and 2 more", "git stash"]);
    assert!(!error.to_string().contains("new/20.txt"), "{error}");
    assert_eq!(scene.everything(), before);
}

#[test]
fn x3_a_tree_that_differs_by_some_or_all_of_the_edits_is_finished() {
    for (written, staged) in [(1, false), (2, false), (1, true), (2, true)] {
        let scene = Scene::new();
        for (path, bytes) in edits().iter().take(written) {
            scene.write(path, std::str::from_utf8(bytes).unwrap());
        }
        if staged {
            scene.git(&["add", "--all"]);
        }
        let commit = scene.bump().unwrap();
        assert_eq!((scene.git(&["rev-parse", "HEAD"]), scene.status()), (commit, String::new()));
        assert_eq!(scene.git(&["diff", "--name-only", "HEAD^", "HEAD"]), "Cargo.toml\nchart/Chart.yaml");
    }
}

#[test]
fn x3_nobodys_work_in_a_file_of_the_bump_is_lost() {
    let scene = Scene::new();
    scene.write("Cargo.toml", "version = \"1.1.0\"\n# and a thought\n");
    let before = scene.everything();
    says(&scene.bump().unwrap_err(), Exit::Workspace, &["Cargo.toml"]);
    assert_eq!(scene.everything(), before);
}

#[test]
fn x1_a_commit_that_the_default_branch_has_can_be_published_from() {
    let scene = Scene::new();
    assert_eq!(on(&scene.publishable(false).unwrap()), ("main", true));
    scene.other_commit("main");
    let before = scene.everything();
    assert_eq!(on(&scene.publishable(false).unwrap()), ("main", true), "though the branch went on");
    assert_eq!(scene.everything(), before, "what was fetched to compare moves nothing");
    scene.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(on(&scene.publishable(false).unwrap()), ("main", true), "as in CI");
    scene.git(&["checkout", "--quiet", "-b", "feature"]);
    assert_eq!(on(&scene.publishable(false).unwrap()), ("main", true), "whatever it is called here");
}

#[test]
fn x1_a_commit_of_a_release_branch_can_be_published_from() {
    let scene = Scene::new();
    scene.git(&["checkout", "--quiet", "-b", "release/1.0"]);
    scene.commit("a fix of the old line");
    scene.git(&["push", "--quiet", "origin", "release/1.0"]);
    assert_eq!(on(&scene.publishable(false).unwrap()), ("release/1.0", true));
    scene.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(on(&scene.publishable(false).unwrap()), ("release/1.0", true));
    let commit = scene.bump().unwrap();
    says(&scene.publishable(true).unwrap_err(), Exit::Workspace, &["no single branch", "detached", "git switch main"]);
    scene.git(&["checkout", "--quiet", "-B", "release/1.0", &commit]);
    assert_eq!(on(&scene.publishable(true).unwrap()), ("release/1.0", true));
    assert_eq!(scene.remote(&["rev-parse", "release/1.0"]), commit);
}

#[test]
fn x1_a_release_branch_that_begins_here_is_pushed_as_a_new_one() {
    let scene = Scene::new();
    scene.git(&["checkout", "--quiet", "-b", "release/1.1"]);
    let commit = scene.bump().unwrap();
    says(&scene.refused(|scene| scene.publishable(false)), Exit::Unpushed, &["refs/heads/release/1.1"]);
    scene.publishable(true).unwrap();
    assert_eq!(scene.remote(&["rev-parse", "release/1.1"]), commit);
}

#[test]
fn x3_a_commit_that_is_ahead_waits_for_its_push_and_the_same_words_go_on_after_it() {
    let scene = Scene::new();
    let commit = scene.bump().unwrap();
    let error = scene.refused(|scene| scene.publishable(false));
    let line = format!("git push origin {commit}:refs/heads/main");
    says(&error, Exit::Unpushed, &["`main` of `origin`", &line, "--push", "refs/heads/bump-1.1.0"]);
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    scene.git(&words);
    assert_eq!(on(&scene.publishable(false).unwrap()), ("main", true));
}

#[test]
fn x1_with_push_a_commit_that_is_ahead_is_pushed_and_nothing_else_is() {
    for detached in [false, true] {
        let scene = Scene::new();
        scene.git(&["tag", "--annotate", "--message", "mine", "mine"]);
        scene.git(&["config", "push.followTags", "true"]);
        scene.git(&["branch", "mine-too"]);
        if detached {
            scene.git(&["checkout", "--quiet", "--detach"]);
        }
        let commit = scene.bump().unwrap();
        assert_eq!(on(&scene.publishable(true).unwrap()), ("main", true));
        assert_eq!(
            scene.remote(&["for-each-ref", "--format=%(objectname) %(refname)"]),
            format!("{commit} refs/heads/main")
        );
        assert_eq!(on(&scene.publishable(false).unwrap()), ("main", true));
    }
}

#[test]
fn a_push_that_the_remote_refuses_is_said_with_its_reason_and_the_way_of_a_pull_request() {
    let scene = Scene::new();
    scene.remote_refuses("main is protected");
    scene.bump().unwrap();
    let error = scene.refused(|scene| scene.publishable(true));
    says(&error, Exit::Unpushed, &["main is protected", "bump-1.1.0", "run the same command again"]);
}

#[test]
fn a_branch_that_diverged_is_never_forced() {
    let scene = Scene::new();
    scene.bump().unwrap();
    scene.other_commit("main");
    let error = scene.refused(|scene| scene.publishable(true));
    says(&error, Exit::Workspace, &["`main` of `origin` have diverged", "git pull --rebase origin main"]);
}

#[test]
fn a_bump_is_refused_where_the_branch_has_newer_commits_before_it_is_committed() {
    let scene = Scene::new();
    assert_eq!(on(&scene.bumpable().unwrap()), ("main", true));
    scene.other_commit("main");
    says(&scene.refused(Scene::bumpable), Exit::Workspace, &["newer commits", "git pull --ff-only origin main"]);
    scene.git(&["pull", "--quiet", "--ff-only"]);
    scene.bumpable().unwrap();
    scene.commit("mine, not pushed");
    assert_eq!(on(&scene.bumpable().unwrap()), ("main", false));
}

#[test]
fn a_branch_of_another_name_is_neither_bumped_nor_pushed_as_the_default_one() {
    let scene = Scene::new();
    scene.git(&["checkout", "--quiet", "-b", "feature"]);
    says(&scene.refused(Scene::bumpable), Exit::Workspace, &["`feature` is not part of `main`", "pull request"]);
    scene.commit("work");
    scene.git(&["push", "--quiet", "origin", "feature"]);
    says(&scene.refused(|scene| scene.publishable(true)), Exit::Workspace, &["`feature` is not part of `main`"]);
    scene.git(&["branch", "--quiet", "--set-upstream-to=origin/main"]);
    assert_eq!(on(&scene.bumpable().unwrap()), ("main", false), "but one that follows the default branch is");
}

#[test]
fn x3_a_bump_that_was_merged_as_another_commit_goes_on_from_that_one() {
    let scene = Scene::new();
    scene.bump().unwrap();
    scene.git(&["push", "--quiet", "origin", "HEAD:refs/heads/bump-1.1.0"]);
    assert_eq!(scene.publishable(false).unwrap_err().exit, Exit::Unpushed, "a topic branch is not a release branch");
    scene.git(&["checkout", "--quiet", "-B", "main", "origin/main"]);
    scene.git(&["merge", "--quiet", "--squash", "origin/bump-1.1.0"]);
    let merged = scene.commit("Release 1.1.0 (#7)");
    scene.git(&["push", "--quiet", "origin", "main"]);
    assert_eq!(scene.publishable(false).unwrap().commit, merged);
}

#[test]
fn a_shallow_clone_is_refused_with_the_way_to_make_it_whole() {
    let scene = Scene::new();
    scene.commit("second");
    scene.git(&["push", "--quiet"]);
    let shallow = scene.folder.path().join("shallow");
    let url = format!("file://{}", scene.folder.path().join("remote").display());
    git(scene.folder.path(), &["clone", "--quiet", "--depth=1", &url, "shallow"]);
    let error = Repository::at(&shallow).unwrap().publishable(&tag(), false).unwrap_err();
    says(&error, Exit::Environment, &["shallow", "git fetch --unshallow", "fetch-depth: 0"]);
    git(&shallow, &["fetch", "--quiet", "--unshallow"]);
    Repository::at(&shallow).unwrap().publishable(&tag(), false).unwrap();
}

#[test]
fn a_remote_that_is_missing_unclear_empty_or_gone_is_said_with_its_remedy() {
    let scene = Scene::new();
    scene.git(&["remote", "rename", "origin", "one"]);
    assert_eq!(scene.publishable(false).unwrap().remote, "one", "the one that the branch follows");
    scene.git(&["branch", "--quiet", "--unset-upstream"]);
    assert_eq!(scene.publishable(false).unwrap().remote, "one", "the only one");
    scene.git(&["remote", "add", "two", "../two"]);
    says(&scene.publishable(false).unwrap_err(), Exit::Environment, &["which remote", "one, two", "--set-upstream-to"]);
    scene.git(&["remote", "remove", "one"]);
    says(&scene.publishable(false).unwrap_err(), Exit::Environment, &["`two` cannot be asked", "git ls-remote two"]);
    git(scene.folder.path(), &["init", "--quiet", "--bare", "two"]);
    says(&scene.publishable(false).unwrap_err(), Exit::Workspace, &["default", "git push two HEAD:refs/heads/main"]);
    scene.git(&["remote", "remove", "two"]);
    says(&scene.publishable(false).unwrap_err(), Exit::Environment, &["no remote", "git remote add origin"]);
}

#[test]
fn a_tag_elsewhere_is_a_conflict_wherever_it_is_and_whatever_its_kind() {
    for kind in [&["tag"][..], &["tag", "--annotate", "--message=it"]] {
        let scene = Scene::new();
        let other = scene.git(&["rev-parse", "HEAD"]);
        scene.git(&[kind, &["v1.1.0"]].concat());
        assert!(scene.publishable(false).is_ok(), "a tag right here is as it should be");
        says(&scene.refused(Scene::bumpable), Exit::Conflict, &["v1.1.0"]);
        scene.commit("second");
        scene.git(&["push", "--quiet", "origin", "main"]);
        let error = scene.refused(|scene| scene.publishable(false));
        says(&error, Exit::Conflict, &["v1.1.0", &format!("here: {other}"), "git tag --delete v1.1.0"]);
        scene.git(&["push", "--quiet", "origin", "v1.1.0"]);
        scene.git(&["tag", "--delete", "v1.1.0"]);
        let error = scene.refused(|scene| scene.publishable(false));
        says(&error, Exit::Conflict, &["v1.1.0", &format!("on `origin`: {other}")]);
        let head = scene.git(&["rev-parse", "HEAD"]);
        assert_eq!(scene.tag(&head).unwrap_err().exit, Exit::Conflict);
        scene.git(&["checkout", "--quiet", "--detach", &other]);
        assert!(scene.publishable(false).is_ok(), "from the tagged commit it goes on");
    }
}

#[test]
fn all_that_is_in_the_way_is_said_at_once() {
    let scene = Scene::new();
    scene.git(&["tag", "v1.1.0"]);
    scene.git(&["checkout", "--quiet", "-b", "feature"]);
    scene.commit("work");
    scene.write("new.txt", "");
    let error = scene.refused(|scene| scene.publishable(true));
    says(&error, Exit::Conflict, &["v1.1.0", "new.txt", "`feature` is not part of", "git stash", "pull request"]);
}

#[test]
fn x3_a_tag_is_made_once_here_and_on_the_remote() {
    let scene = Scene::new();
    let commit = scene.git(&["rev-parse", "HEAD"]);
    scene.git(&["config", "tag.gpgSign", "true"]);
    assert_eq!(scene.tag(&commit).unwrap(), Tagged::Now);
    assert_eq!(
        (scene.git(&["rev-parse", "refs/tags/v1.1.0"]), scene.remote(&["rev-parse", "refs/tags/v1.1.0"])),
        (commit.clone(), commit.clone())
    );
    let before = scene.everything();
    assert_eq!(scene.tag(&commit).unwrap(), Tagged::Before);
    assert_eq!(scene.everything(), before);
    scene.git(&["tag", "--delete", "v1.1.0"]);
    assert_eq!(scene.tag(&commit).unwrap(), Tagged::Before, "from another clone");
    assert_eq!(scene.everything(), before);
}

#[test]
fn x3_an_annotated_tag_that_somebody_else_made_is_adopted() {
    let scene = Scene::new();
    let commit = scene.git(&["rev-parse", "HEAD"]);
    scene.remote(&["tag", "--annotate", "--message=released", "v1.1.0", &commit]);
    let before = scene.remote(&["for-each-ref"]);
    assert_eq!(scene.tag(&commit).unwrap(), Tagged::Before);
    assert_eq!(scene.remote(&["for-each-ref"]), before);
}

#[test]
fn a_tag_that_the_remote_refuses_leaves_none_here() {
    let scene = Scene::new();
    scene.remote_refuses("tags are protected");
    let commit = scene.git(&["rev-parse", "HEAD"]);
    let before = scene.everything();
    let line = format!("git push origin {commit}:refs/tags/v1.1.0");
    says(&scene.tag(&commit).unwrap_err(), Exit::Unpushed, &["tags are protected", &line]);
    assert_eq!(scene.everything(), before);
}

/// All of it, as a release does it.
fn release(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    if !text.contains("1.1.0") {
        Repository::at(root)?.preflight(&tag(), Purpose::Bump)?;
        Repository::at(root)?.commit_bump(&edits(), &tag())?;
    }
    let standing = Repository::at(root)?.publishable(&tag(), true)?;
    Repository::at(root)?.tag(&tag(), &standing.commit, &standing.remote).map(drop)
}

const CHILD: &str = "HISTORY_CHILD";

#[test]
#[ignore = "the process that another test kills"]
fn a_child_that_releases() {
    release(Path::new(&std::env::var_os(CHILD).unwrap())).unwrap();
}

/// This program, as `a_child_that_releases`.
fn child(root: &Path, record: &Path, halt_at: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "history::a_child_that_releases"]).env(CHILD, root);
    command.env("XTASK_EFFECTS", record).env("XTASK_HALT_AT", halt_at.to_string());
    command.env("TMPDIR", record.parent().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_remove("GITHUB_ACTIONS");
    command
}

#[test]
fn x3_bump_push_and_tag_survive_a_kill_at_every_effect() {
    let count = |record: &Path| effects_in(record).len();
    let beside = tempfile::tempdir().unwrap();
    let record = beside.path().join("effects");
    let scene = Scene::new();
    let start = kept(scene.folder.path());
    Run::of(child(&scene.root(), &record, 0)).ok();
    let effects = count(&record);
    assert!(effects > 20, "{effects}");
    for number in 1..=effects {
        refill(scene.folder.path(), start.path());
        std::fs::remove_file(&record).unwrap();
        let mut halted = child(&scene.root(), &record, number).spawn().unwrap();
        let reached = wait_until(Duration::from_secs(60), || count(&record) == number);
        halted.kill().unwrap();
        halted.wait().unwrap();
        assert!(reached, "{number}");
        let text = std::fs::read_to_string(scene.root().join("Cargo.toml")).unwrap();
        assert_eq!(scene.status(), "", "killed at {number}: the tree is the old one or the new one");
        assert!(scene.remote(&["tag"]).is_empty() || text.contains("1.1.0"), "{number}");
        release(&scene.root()).unwrap_or_else(|error| panic!("after a kill at {number}: {error}"));
        let head = scene.git(&["rev-parse", "HEAD"]);
        assert_eq!(scene.git(&["log", "--format=%s"]), "Release 1.1.0\nfirst", "killed at {number}");
        for reference in ["refs/heads/main", "refs/tags/v1.1.0"] {
            assert_eq!(scene.remote(&["rev-parse", reference]), head, "killed at {number}: {reference}");
        }
    }
    println!("bump, push and tag: killed at each of {effects} effects");
}
