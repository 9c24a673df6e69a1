//! Floating tags: `latest`, `1` and `1.2` follow the highest stable version *that the index lists*, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use crate::error::Result;
use crate::oci::Digest;
use crate::oci::registry::Registry;
use crate::release::version;
use crate::ui;

/// What is to be done about the floating tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Tags to set, and where to.
    pub set: Vec<(String, Digest)>,
    /// Things that a person should know.
    pub warnings: Vec<String>,
}

/// Compares the tags that are there with what the listed versions ask for. Pure.
pub fn moves(tags: &BTreeMap<String, Digest>, listed: &[Version], first: &Version) -> Moves {
    let mut moves = Moves::default();
    let wanted = version::floating_tags(listed, first);
    for (tag, leader) in &wanted {
        match tags.get(&version::version_tags(leader)[0]) {
            None => moves
                .warnings
                .push(format!("tag {tag} stays: {leader} is listed, and the registry has no tag v{leader}")),
            Some(digest) if tags.get(tag) != Some(digest) => moves.set.push((tag.clone(), digest.clone())),
            Some(_) => {}
        }
    }
    for tag in tags.keys().filter(|tag| version::is_floating(tag) && !wanted.contains_key(*tag)) {
        moves.warnings.push(format!("tag {tag} stays where it is: no listed stable version is left in its line"));
    }
    moves
}

/// Moves the tags until nothing is left to move: a registry has no compare-and-swap, so whoever looks last repairs what a slower
/// one wrote. True where a tag moved.
///
/// # Errors
/// The registry cannot be read or written to.
pub fn run(registry: &dyn Registry, listed: &dyn Fn() -> Result<Vec<Version>>, first: &Version) -> Result<bool> {
    const ROUNDS: usize = 10;
    let mut moved = false;
    for round in 0..ROUNDS {
        let listed = listed()?;
        let moves = moves(&pointers(registry, &listed, first, &[])?, &listed, first);
        if round == 0 {
            moves.warnings.iter().for_each(ui::warn);
        }
        if moves.set.is_empty() {
            break;
        }
        registry.tag(&moves.set)?;
        let names: Vec<&str> = moves.set.iter().map(|(tag, _)| tag.as_str()).collect();
        ui::status("Promoted", names.join(", "));
        moved = true;
    }
    Ok(moved)
}

/// The floating tags, those that are wanted and those that are there, the tags of the versions that lead, and `more`.
///
/// # Errors
/// The registry cannot be read.
pub fn pointers(
    registry: &dyn Registry,
    listed: &[Version],
    first: &Version,
    more: &[String],
) -> Result<BTreeMap<String, Digest>> {
    let wanted = version::floating_tags(listed, first);
    let leaders = wanted.values().map(|leader| version::version_tags(leader)[0].clone());
    let mut names: BTreeSet<String> = leaders.chain(wanted.keys().cloned()).chain(more.iter().cloned()).collect();
    names.extend(registry.tags()?.into_iter().filter(|tag| version::is_floating(tag)));
    let mut pointers = BTreeMap::new();
    for name in names {
        if let Some(digest) = registry.resolve(&name)? {
            pointers.insert(name, digest);
        }
    }
    Ok(pointers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, Digest> {
        pairs.iter().map(|(tag, content)| ((*tag).to_owned(), Digest::of(content.as_bytes()))).collect()
    }

    fn set(moves: &Moves) -> Vec<&str> {
        moves.set.iter().map(|(tag, _)| tag.as_str()).collect()
    }

    #[test]
    fn i3_only_tags_that_are_wrong_move() {
        let now = tags(&[("v3.0.0", "a"), ("v3.1.0", "b"), ("latest", "a"), ("3", "b"), ("3.0", "a")]);
        let moves = moves(&now, &[version("3.0.0"), version("3.1.0")], &version("3.0.0"));
        assert_eq!(set(&moves), ["3.1", "latest"]);
        assert!(moves.set.iter().all(|(_, digest)| *digest == Digest::of(b"b")));
    }

    #[test]
    fn i3_a_backport_never_moves_a_tag_down() {
        let now = tags(&[("v3.1.0", "b"), ("v3.0.1", "c"), ("latest", "b"), ("3", "b"), ("3.1", "b"), ("3.0", "a")]);
        let moves = moves(&now, &[version("3.1.0"), version("3.0.1")], &version("3.0.0"));
        assert_eq!(set(&moves), ["3.0"]);
    }

    #[test]
    fn x4_a_version_whose_image_is_not_there_is_not_promoted() {
        let moves = moves(&tags(&[]), &[version("3.0.0")], &version("3.0.0"));
        assert!(moves.set.is_empty() && moves.warnings.len() == 3);
    }

    #[test]
    fn a_line_left_without_a_version_keeps_its_tag_with_a_warning() {
        let moves = moves(&tags(&[("v3.0.0", "a"), ("latest", "a"), ("3.0.0", "a")]), &[], &version("3.0.0"));
        assert!(moves.set.is_empty());
        assert_eq!(moves.warnings, ["tag latest stays where it is: no listed stable version is left in its line"]);
    }
}
