//! Floating tags: `latest`, `1` and `1.2` follow the highest stable version *that the index lists*, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use crate::chart::archive::RELEASED_IMAGE;
use crate::chart::index::Index;
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

/// What an index lists of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// All versions.
    pub versions: Vec<Version>,
    /// The image that a version's chart names, for each version that leads a line.
    pub images: BTreeMap<Version, Digest>,
}

impl Listed {
    /// Reads what leads in an index. It may be large: only entries of leading versions are looked into.
    pub fn of(index: &Index, chart: &str, first: &Version) -> Self {
        let versions = index.versions(chart);
        let leaders: BTreeSet<Version> = version::floating_tags(&versions, first).into_values().collect();
        let image = |version: Version| {
            let entry = index.find(chart, &version.to_string())?;
            let fields: serde_json::Value = serde_json::from_str(entry.json()).ok()?;
            let digest = fields["annotations"][RELEASED_IMAGE].as_str()?.rsplit_once('@')?.1.parse().ok()?;
            Some((version, digest))
        };
        Listed { images: leaders.into_iter().filter_map(image).collect(), versions }
    }
}

/// Compares the tags that are there with what the charts of the listed versions name. What the version's own tag leads to does not count:
/// anybody who may push can move it. Pure.
pub fn moves(tags: &BTreeMap<String, Digest>, Listed { versions, images }: &Listed, first: &Version) -> Moves {
    let mut moves = Moves::default();
    let wanted = version::floating_tags(versions, first);
    for (tag, leader) in &wanted {
        let named = images.get(leader);
        match (tags.get(&version::version_tags(leader)[0]), named) {
            (None, _) => moves
                .warnings
                .push(format!("tag {tag} stays: {leader} is listed, and the registry has no tag v{leader}")),
            (_, None) => moves.warnings.push(format!("tag {tag} stays: the chart {leader} names no image")),
            (Some(_), Some(named)) if tags.get(tag) != Some(named) => moves.set.push((tag.clone(), named.clone())),
            (Some(_), Some(_)) => {}
        }
    }
    for leader in wanted.values().collect::<BTreeSet<_>>() {
        let [name, _] = version::version_tags(leader);
        if let (Some(there), Some(named)) = (tags.get(&name), images.get(leader))
            && there != named
        {
            moves.warnings.push(format!("tag {name} leads to {there}, and the chart {leader} names {named}"));
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
pub fn run(registry: &dyn Registry, listed: &dyn Fn() -> Result<Listed>, first: &Version) -> Result<bool> {
    const ROUNDS: usize = 10;
    let mut moved = false;
    for round in 0..ROUNDS {
        let listed = listed()?;
        let moves = moves(&pointers(registry, &listed.versions, first, &[])?, &listed, first);
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
    use crate::chart::index::Entry;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, Digest> {
        pairs.iter().map(|(tag, content)| ((*tag).to_owned(), Digest::of(content.as_bytes()))).collect()
    }

    /// What is listed, each version with the image of which the content is given.
    fn listed(pairs: &[(&str, &str)]) -> Listed {
        let image = |(number, content): &(&str, &str)| (version(number), Digest::of(content.as_bytes()));
        let images: BTreeMap<Version, Digest> = pairs.iter().map(image).collect();
        Listed { versions: images.keys().cloned().collect(), images }
    }

    fn set(moves: &Moves) -> Vec<&str> {
        moves.set.iter().map(|(tag, _)| tag.as_str()).collect()
    }

    #[test]
    fn i3_only_tags_that_are_wrong_move() {
        let now = tags(&[("v3.0.0", "a"), ("v3.1.0", "b"), ("latest", "a"), ("3", "b"), ("3.0", "a")]);
        let moves = moves(&now, &listed(&[("3.0.0", "a"), ("3.1.0", "b")]), &version("3.0.0"));
        assert_eq!(set(&moves), ["3.1", "latest"]);
        assert!(moves.set.iter().all(|(_, digest)| *digest == Digest::of(b"b")));
    }

    #[test]
    fn i3_a_backport_never_moves_a_tag_down() {
        let now = tags(&[("v3.1.0", "b"), ("v3.0.1", "c"), ("latest", "b"), ("3", "b"), ("3.1", "b"), ("3.0", "a")]);
        let moves = moves(&now, &listed(&[("3.1.0", "b"), ("3.0.1", "c")]), &version("3.0.0"));
        assert_eq!(set(&moves), ["3.0"]);
    }

    #[test]
    fn x4_a_version_whose_image_is_not_there_is_not_promoted() {
        let moves = moves(&tags(&[]), &listed(&[("3.0.0", "a")]), &version("3.0.0"));
        assert!(moves.set.is_empty() && moves.warnings.len() == 3);
    }

    #[test]
    fn a_line_left_without_a_version_keeps_its_tag_with_a_warning() {
        let moves =
            moves(&tags(&[("v3.0.0", "a"), ("latest", "a"), ("3.0.0", "a")]), &Listed::default(), &version("3.0.0"));
        assert!(moves.set.is_empty());
        assert_eq!(moves.warnings, ["tag latest stays where it is: no listed stable version is left in its line"]);
    }

    #[test]
    fn i3_floating_tags_follow_the_chart_and_not_a_tag_that_somebody_moved() {
        let now = tags(&[("v3.0.0", "forged"), ("latest", "a"), ("3", "forged"), ("3.0", "a")]);
        let moves = moves(&now, &listed(&[("3.0.0", "a")]), &version("3.0.0"));
        assert_eq!(moves.set, [("3".to_owned(), Digest::of(b"a"))]);
        assert!(moves.warnings[0].starts_with("tag v3.0.0 leads to "), "{:?}", moves.warnings);
        let unnamed = Listed { images: BTreeMap::new(), ..listed(&[("3.0.0", "a")]) };
        let moves = super::moves(&now, &unnamed, &version("3.0.0"));
        assert!(moves.set.is_empty() && moves.warnings[0].contains("names no image"), "{:?}", moves.warnings);
    }

    #[test]
    fn the_image_of_a_leading_version_is_read_from_its_entry() {
        let entry = |version: &str, image: &str| {
            let annotations = serde_json::json!({RELEASED_IMAGE: format!("host/demo:{version}@{image}")});
            Entry::of(&serde_json::json!({"version": version, "digest": "d", "created": "2026-01-01T00:00:00Z",
                "annotations": annotations}))
        };
        let (mut index, digest) = (Index::empty(), Digest::of(b"a"));
        for (version, image) in [("3.0.0", digest.to_string()), ("3.0.1", digest.to_string()), ("3.1.0", "x".into())] {
            index.add("demo", entry(version, &image).unwrap()).unwrap();
        }
        let listed = Listed::of(&index, "demo", &version("3.0.0"));
        assert_eq!((listed.versions.len(), listed.images), (3, [(version("3.0.1"), digest)].into()));
    }
}
