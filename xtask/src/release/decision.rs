//! Whether the word of a production release still counts. Pure.
//!
//! A run may die after its bump was committed, and is then started again. Nothing remembers that; the index tells:
//! while it does not list the tree's version, that version is the release in progress, and the word has been applied.

use semver::Version;

use crate::error::{Error, Exit, Result};
use crate::git::short;
use crate::release::version::{Bump, next};

/// What the index says of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It has no such version.
    Not,
    /// It has the version, made of this commit (nothing where its chart does not say).
    From(Option<String>),
    /// The version was taken out of it, for this reason.
    Yanked(String),
    /// It cannot be read. A plan may go on without it, a release may not.
    Unknown,
}

/// What a release does about the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The tree's version is what is released: it is in progress, or all of it is done.
    AsIs,
    /// The tree is given this version first.
    Bump(Version),
    /// The index could not be read: the tree's version or, where the tree's was released before, this one.
    Unknown(Option<Version>),
}

/// Decides what is released from a tree that says the version `tree`, at the commit `head`.
///
/// # Errors
/// There is nothing to release under that version: it belongs to another commit, or was yanked; so does what the word makes of it; the
/// word goes back. The index's own error.
pub fn decide(
    word: Option<&Bump>,
    tree: &Version,
    listed: &dyn Fn(&Version) -> Result<Listed>,
    head: &str,
) -> Result<Decision> {
    match word {
        Some(Bump::Exact(version)) if version < tree => Err(backwards(version, tree)),
        // Said exactly, a version other than the tree's was not applied yet, whatever the index holds.
        Some(Bump::Exact(version)) if version != tree => bump(version.clone(), tree, &listed(version)?),
        Some(Bump::Exact(_)) | None => as_is(tree, &listed(tree)?, head),
        Some(word) => match listed(tree)? {
            Listed::Not => Ok(Decision::AsIs),
            Listed::From(Some(commit)) if commit == head => Ok(Decision::AsIs),
            Listed::Unknown => Ok(Decision::Unknown(Some(next(tree, word)))),
            Listed::From(_) | Listed::Yanked(_) => {
                let version = next(tree, word);
                let taken = listed(&version)?;
                bump(version, tree, &taken)
            }
        },
    }
}

fn as_is(tree: &Version, listed: &Listed, head: &str) -> Result<Decision> {
    match listed {
        Listed::Not => Ok(Decision::AsIs),
        Listed::Unknown => Ok(Decision::Unknown(None)),
        Listed::From(Some(commit)) if commit == head => Ok(Decision::AsIs),
        Listed::From(commit) => Err(released_elsewhere(tree, commit.as_deref(), head)),
        Listed::Yanked(reason) => Err(Error::new(Exit::Conflict, format!("{tree}, the tree's version, was yanked"))
            .because(reason)
            .remedy(format!("put it back: cargo xtask release unyank {tree}"))
            .remedy(NEXT)),
    }
}

const NEXT: &str = "or release the next version: say patch, minor or major";

fn released_elsewhere(tree: &Version, commit: Option<&str>, head: &str) -> Error {
    let error =
        Error::new(Exit::Conflict, format!("{tree}, the tree's version, is already released from another commit"));
    match commit {
        Some(commit) => error
            .because(format!("released: {commit}\nhere:     {head}"))
            .remedy(format!("to look at that release, check its commit out: git checkout {}", short(commit))),
        None => error.because("what is published does not say which commit it was made of"),
    }
    .remedy(NEXT)
}

fn backwards(version: &Version, tree: &Version) -> Error {
    Error::new(Exit::Usage, format!("{version} is below {tree}, the tree's version"))
        .because("what is newer in the sources must be newer in its version, too")
        .remedy(format!(
            "for a fix of an older line, check out that line's release/* branch; else say more than {tree}"
        ))
}

/// A bump is committed before anything else is looked at: a version that can never be published must not become a commit.
fn bump(version: Version, tree: &Version, taken: &Listed) -> Result<Decision> {
    let why = match taken {
        Listed::Not | Listed::Unknown => return Ok(Decision::Bump(version)),
        Listed::From(Some(commit)) => format!("it is released from {commit}"),
        Listed::From(None) => "it is released, from a commit that is not known".into(),
        Listed::Yanked(reason) => format!("it was yanked: {reason}"),
    };
    Err(Error::new(Exit::Conflict, format!("{version} cannot follow {tree}, the tree's version"))
        .because(why)
        .remedy("check out the branch that released it, or say a version that is free: X.Y.Z"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    /// What the index holds, by version.
    type Index = BTreeMap<Version, Listed>;

    fn index(entries: &[(&str, Listed)]) -> Index {
        entries.iter().map(|(text, listed)| (version(text), listed.clone())).collect()
    }

    fn from(commit: &str) -> Listed {
        Listed::From(Some(commit.into()))
    }

    /// The decision for a tree that says 3.1.0 and is at the commit `here`.
    fn decided(word: &str, index: &Index) -> Result<Decision> {
        let word: Option<Bump> = (!word.is_empty()).then(|| word.parse().unwrap());
        let listed = |version: &Version| Ok(index.get(version).cloned().unwrap_or(Listed::Not));
        decide(word.as_ref(), &version("3.1.0"), &listed, "here")
    }

    fn bumped(text: &str) -> Decision {
        Decision::Bump(version(text))
    }

    #[test]
    fn x3_a_version_that_is_not_listed_is_in_progress_whatever_word_is_said() {
        for word in ["", "patch", "minor", "major", "3.1.0"] {
            assert_eq!(decided(word, &Index::new()).unwrap(), Decision::AsIs, "{word}");
        }
    }

    #[test]
    fn x3_a_release_from_this_very_commit_is_done_whatever_word_is_said() {
        for word in ["", "patch", "minor", "major", "3.1.0"] {
            assert_eq!(decided(word, &index(&[("3.1.0", from("here"))])).unwrap(), Decision::AsIs, "{word}");
        }
    }

    #[test]
    fn x1_a_word_counts_from_a_version_that_was_released_or_yanked() {
        for listed in [from("there"), Listed::From(None), Listed::Yanked("wrong".into())] {
            let index = index(&[("3.1.0", listed)]);
            for (word, expected) in [("patch", "3.1.1"), ("minor", "3.2.0"), ("major", "4.0.0"), ("3.5.0", "3.5.0")] {
                assert_eq!(decided(word, &index).unwrap(), bumped(expected), "{word} on {index:?}");
            }
        }
    }

    #[test]
    fn x1_an_exact_word_counts_wherever_the_tree_says_something_else() {
        for listed in [Listed::Not, from("here"), from("there"), Listed::Unknown] {
            assert_eq!(decided("3.1.1", &index(&[("3.1.0", listed)])).unwrap(), bumped("3.1.1"));
        }
    }

    #[test]
    fn a_version_of_another_commit_is_a_conflict_that_names_both_ways_out() {
        for word in ["", "3.1.0"] {
            let error = decided(word, &index(&[("3.1.0", from("there"))])).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.exit, Exit::Conflict);
            assert!(text.contains("git checkout there") && text.contains("patch, minor or major"), "{text}");
        }
        let error = decided("", &index(&[("3.1.0", Listed::From(None))])).unwrap_err();
        assert!(!error.to_string().contains("git checkout"), "{error}");
    }

    #[test]
    fn a_yanked_version_is_not_released_again() {
        let error = decided("", &index(&[("3.1.0", Listed::Yanked("it loses data".into()))])).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit, Exit::Conflict);
        assert!(text.contains("it loses data") && text.contains("unyank 3.1.0"), "{text}");
    }

    #[test]
    fn a_word_that_leads_to_a_taken_version_is_refused_before_anything_is_committed() {
        for taken in [from("there"), Listed::From(None), Listed::Yanked("wrong".into())] {
            let index = index(&[("3.1.0", from("there")), ("3.2.0", taken)]);
            assert_eq!(decided("minor", &index).unwrap_err().exit, Exit::Conflict);
            assert_eq!(decided("3.2.0", &index).unwrap_err().exit, Exit::Conflict);
            assert_eq!(decided("patch", &index).unwrap(), bumped("3.1.1"), "a backport goes on");
        }
    }

    #[test]
    fn an_exact_word_never_goes_back() {
        for word in ["3.0.9", "3.1.0-rc.1"] {
            assert_eq!(decided(word, &Index::new()).unwrap_err().exit, Exit::Usage, "{word}");
        }
    }

    #[test]
    fn x7_a_plan_without_an_index_says_both_versions_that_it_may_be() {
        let index = index(&[("3.1.0", Listed::Unknown)]);
        assert_eq!(decided("", &index).unwrap(), Decision::Unknown(None));
        assert_eq!(decided("minor", &index).unwrap(), Decision::Unknown(Some(version("3.2.0"))));
    }

    fn words() -> impl Strategy<Value = Option<Bump>> {
        let exact = (0u64..4, 0u64..4, 0u64..4, any::<bool>()).prop_map(|(major, minor, patch, candidate)| {
            let pre = if candidate { "-rc.1" } else { "" };
            Bump::Exact(version(&format!("{major}.{minor}.{patch}{pre}")))
        });
        prop_oneof![
            Just(None),
            Just(Some(Bump::Patch)),
            Just(Some(Bump::Minor)),
            Just(Some(Bump::Major)),
            exact.prop_map(Some),
        ]
    }

    fn holdings() -> impl Strategy<Value = Listed> {
        prop_oneof![
            Just(Listed::Not),
            Just(from("here")),
            Just(from("there")),
            Just(Listed::From(None)),
            Just(Listed::Yanked("wrong".into())),
        ]
    }

    proptest! {
        #[test]
        fn x3_the_same_word_after_its_bump_and_after_its_release_bumps_no_second_time(
            word in words(),
            tree in (0u64..4, 0u64..4, 0u64..4),
            entries in proptest::collection::btree_map((0u64..5, 0u64..5, 0u64..5), holdings(), 0..8),
            own in holdings(),
        ) {
            let of = |(major, minor, patch): (u64, u64, u64)| Version::new(major, minor, patch);
            let tree = of(tree);
            let mut index: Index = entries.into_iter().map(|(numbers, listed)| (of(numbers), listed)).collect();
            index.insert(tree.clone(), own);
            let decide_in = |index: &Index, tree: &Version, head: &str| {
                let listed = |version: &Version| Ok(index.get(version).cloned().unwrap_or(Listed::Not));
                decide(word.as_ref(), tree, &listed, head)
            };
            let Ok(first) = decide_in(&index, &tree, "here") else { return Ok(()) };
            let (tree, head) = match first {
                Decision::Bump(version) => {
                    prop_assert!(version > tree, "a bump goes forward");
                    prop_assert!(index.get(&version).is_none_or(|listed| *listed == Listed::Not), "to a free version");
                    (version, "bumped")
                }
                _ => (tree, "here"),
            };
            prop_assert_eq!(decide_in(&index, &tree, head).unwrap(), Decision::AsIs);
            index.insert(tree.clone(), from(head));
            prop_assert_eq!(decide_in(&index, &tree, head).unwrap(), Decision::AsIs);
        }
    }
}
