//! Which version a word means, and which floating tags a set of versions gives. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Version};

use crate::config::is_candidate_of;
use crate::error::{Error, Exit, Result};

/// What the user asks the next version to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bump {
    /// The next fix: 1.2.3 becomes 1.2.4; a pre-release of 1.2.4 becomes 1.2.4.
    Patch,
    /// The next feature release: 1.2.3 becomes 1.3.0.
    Minor,
    /// The next breaking release: 1.2.3 becomes 2.0.0.
    Major,
    /// Exactly this version.
    Exact(Version),
}

impl FromStr for Bump {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "patch" => Ok(Bump::Patch),
            "minor" => Ok(Bump::Minor),
            "major" => Ok(Bump::Major),
            _ => parse(text).map(Bump::Exact).map_err(|error| format!("{error}: say patch, minor, major or X.Y.Z")),
        }
    }
}

impl fmt::Display for Bump {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bump::Patch => out.write_str("patch"),
            Bump::Minor => out.write_str("minor"),
            Bump::Major => out.write_str("major"),
            Bump::Exact(version) => version.fmt(out),
        }
    }
}

/// Reads a version as people type it: semver, an optional `v` before it.
///
/// # Errors
/// It is not semver.
pub fn parse(text: &str) -> Result<Version, String> {
    Version::parse(text.strip_prefix('v').unwrap_or(text)).map_err(|error| format!("`{text}` is not semver ({error})"))
}

/// The version that `word` makes of `current`.
pub fn next(current: &Version, word: &Bump) -> Version {
    let (major, minor, patch) = (current.major, current.minor, current.patch);
    let pre_release = !current.pre.is_empty();
    match word {
        Bump::Exact(version) => version.clone(),
        Bump::Patch if pre_release => Version::new(major, minor, patch),
        Bump::Patch => Version::new(major, minor, patch + 1),
        Bump::Minor if pre_release && patch == 0 => Version::new(major, minor, 0),
        Bump::Minor => Version::new(major, minor + 1, 0),
        Bump::Major if pre_release && minor == 0 && patch == 0 => Version::new(major, 0, 0),
        Bump::Major => Version::new(major + 1, 0, 0),
    }
}

/// Refuses a version that can never be released.
///
/// # Errors
/// It has build metadata (neither Helm nor a registry can tell such versions apart), or is below the first version.
pub fn check(version: &Version, first: &Version) -> Result<()> {
    if version.build != BuildMetadata::EMPTY {
        return Err(Error::new(Exit::Workspace, format!("{version} cannot be released"))
            .because(format!("`+{}` is build metadata: it is ignored when versions are compared", version.build))
            .remedy("take a version without a `+`"));
    }
    if version < first && !is_candidate_of(version, first) {
        return Err(Error::new(Exit::Workspace, format!("{version} is below the first version, {first}"))
            .because("older versions at the same address belong to an earlier product, and would win over it")
            .remedy(format!("take {first} or a later one")));
    }
    Ok(())
}

/// The tags that name one version and never move: `v1.2.3` and `1.2.3`.
pub fn version_tags(version: &Version) -> [String; 2] {
    [format!("v{version}"), version.to_string()]
}

/// The tags that follow the highest stable version of their line, and the version each must point at: `latest`, `1`, `1.2`.
/// Pre-releases lead nothing, nor do versions below `first`, which belong to somebody else.
pub fn floating_tags<'a>(
    published: impl IntoIterator<Item = &'a Version>,
    first: &Version,
) -> BTreeMap<String, Version> {
    let mut tags: BTreeMap<String, Version> = BTreeMap::new();
    let stable = published.into_iter().filter(|version| version.pre.is_empty() && version.build.is_empty());
    for version in stable.filter(|version| *version >= first) {
        for tag in lines_of(version) {
            let leader = tags.entry(tag).or_insert_with(|| version.clone());
            if version > leader {
                *leader = version.clone();
            }
        }
    }
    tags
}

/// A version as people read it: after the product's name, where that is one of several. Of no version it is the name alone.
pub fn called(product: Option<&str>, version: &str) -> String {
    let words = product.into_iter().chain([version]).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// The versions that get fixes, the newest first: the newest patch of each of the last two minor versions. Pre-releases are none of them,
/// nor are versions below `first`, which belong to somebody else.
pub fn supported<'a>(listed: impl IntoIterator<Item = &'a Version>, first: &Version) -> Vec<Version> {
    const LINES: usize = 2;
    let mut newest: BTreeMap<(u64, u64), &Version> = BTreeMap::new();
    let stable = listed.into_iter().filter(|version| version.pre.is_empty() && version.build.is_empty());
    for version in stable.filter(|version| *version >= first) {
        let of_line = newest.entry((version.major, version.minor)).or_insert(version);
        *of_line = version.max(of_line);
    }
    newest.into_values().rev().take(LINES).cloned().collect()
}

/// Whether a tag is one that `floating_tags` could give.
pub fn is_floating(tag: &str) -> bool {
    let number = |text: &str| text == "0" || (text.parse::<u64>().is_ok() && !text.starts_with(['0', '+']));
    let parts: Vec<&str> = tag.split('.').collect();
    tag == "latest" || (parts.len() <= 2 && parts.into_iter().all(number))
}

fn lines_of(version: &Version) -> [String; 3] {
    ["latest".into(), version.major.to_string(), format!("{}.{}", version.major, version.minor)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn tags(published: &[&str]) -> Vec<String> {
        let versions: Vec<Version> = published.iter().map(|text| version(text)).collect();
        floating_tags(&versions, &version("3.0.0")).iter().map(|(tag, version)| format!("{tag}={version}")).collect()
    }

    #[test]
    fn a_word_gives_the_next_version() {
        let table = [
            ("1.2.3", "patch", "1.2.4"),
            ("1.2.3", "minor", "1.3.0"),
            ("1.2.3", "major", "2.0.0"),
            ("1.2.3", "v4.5.6", "4.5.6"),
            ("1.2.3-rc.1", "patch", "1.2.3"),
            ("1.2.3-rc.1", "minor", "1.3.0"),
            ("1.3.0-rc.1", "minor", "1.3.0"),
            ("1.3.0-rc.1", "major", "2.0.0"),
            ("2.0.0-rc.1", "major", "2.0.0"),
            ("1.2.3", "1.3.0-rc.1", "1.3.0-rc.1"),
        ];
        for (current, word, expected) in table {
            assert_eq!(next(&version(current), &word.parse().unwrap()), version(expected), "{current} {word}");
        }
    }

    #[test]
    fn a_word_that_is_no_version_is_refused_with_what_to_say() {
        let error = "1.2".parse::<Bump>().unwrap_err();
        assert!(error.contains("not semver") && error.contains("patch, minor, major"), "{error}");
    }

    #[test]
    fn i13_build_metadata_is_refused() {
        let error = check(&version("3.0.1+linux"), &version("3.0.0")).unwrap_err();
        assert!(error.to_string().contains("build metadata"), "{error}");
    }

    #[test]
    fn a_version_below_the_first_one_is_refused_but_its_candidates_are_not() {
        let first = version("3.0.0");
        assert!(check(&version("2.9.9"), &first).is_err());
        assert!(check(&version("2.9.9-rc.1"), &first).is_err());
        assert!(check(&version("3.0.0-rc.1"), &first).is_ok());
        assert!(check(&version("3.0.0"), &first).is_ok());
    }

    #[test]
    fn i3_the_highest_stable_version_leads_every_line_it_is_in() {
        assert_eq!(tags(&["3.0.0"]), ["3=3.0.0", "3.0=3.0.0", "latest=3.0.0"]);
        assert_eq!(
            tags(&["3.0.0", "3.1.0", "3.0.1", "4.0.0-rc.1"]),
            ["3=3.1.0", "3.0=3.0.1", "3.1=3.1.0", "latest=3.1.0"]
        );
    }

    #[test]
    fn i3_versions_of_the_earlier_product_lead_nothing() {
        assert_eq!(tags(&["2.4.0", "3.0.0"]), ["3=3.0.0", "3.0=3.0.0", "latest=3.0.0"]);
        assert!(tags(&["2.4.0"]).is_empty());
    }

    #[test]
    fn i13_a_pre_release_leads_nothing() {
        assert!(tags(&["3.1.0-rc.1"]).is_empty());
    }

    #[test]
    fn i9_the_newest_patch_of_the_last_two_minor_versions_is_supported_and_nothing_else() {
        let supported = |listed: &[&str]| {
            let versions: Vec<Version> = listed.iter().map(|text| version(text)).collect();
            let supported = supported(&versions, &version("3.0.0"));
            supported.iter().map(Version::to_string).collect::<Vec<_>>()
        };
        assert_eq!(supported(&[]), [""; 0]);
        assert_eq!(supported(&["2.4.0", "3.0.0-rc.1"]), [""; 0], "another product's, and one to try");
        assert_eq!(supported(&["2.4.0", "3.0.0"]), ["3.0.0"]);
        assert_eq!(supported(&["3.0.9", "3.2.0", "3.1.10", "3.1.9", "3.2.1", "3.3.0-rc.1"]), ["3.2.1", "3.1.10"]);
        assert_eq!(
            supported(&["4.0.0", "3.0.5", "3.12.2", "3.2.7"]),
            ["4.0.0", "3.12.2"],
            "whatever is yanked in between"
        );
    }

    #[test]
    fn floating_tags_are_told_from_version_tags() {
        for tag in ["latest", "3", "3.1", "0.1"] {
            assert!(is_floating(tag), "{tag}");
        }
        for tag in ["3.1.0", "v3.1.0", "v3", "sha256-1234", "03", "3.1-rc", ""] {
            assert!(!is_floating(tag), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn i3_the_order_in_which_versions_were_published_does_not_matter(
            mut numbers in proptest::collection::vec((3u64..6, 0u64..4, 0u64..4), 0..12)
        ) {
            let of = |numbers: &[(u64, u64, u64)]| -> Vec<Version> {
                numbers.iter().map(|(a, b, c)| Version::new(*a, *b, *c)).collect()
            };
            let forward = floating_tags(&of(&numbers), &Version::new(3, 0, 0));
            numbers.reverse();
            prop_assert_eq!(forward, floating_tags(&of(&numbers), &Version::new(3, 0, 0)));
        }

        #[test]
        fn a_word_never_goes_back(major in 0u64..9, minor in 0u64..9, patch in 0u64..9, pre in "(rc\\.[1-9])?") {
            let current = version(&format!("{major}.{minor}.{patch}{}{pre}", if pre.is_empty() { "" } else { "-" }));
            for word in [Bump::Patch, Bump::Minor, Bump::Major] {
                prop_assert!(next(&current, &word) > current);
            }
        }
    }
}
