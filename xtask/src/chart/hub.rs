//! What Artifact Hub reads: annotations of a chart's `Chart.yaml`, by the rules in `docs/helm_annotations.md` of artifacthub/hub, and whose
//! the repository is, in a file beside the index (`docs/metadata/artifacthub-repo.yml` there).
//!
//! It reads the annotations in the archive, not in the index (`internal/tracker/source/helm` there). So what is long stays out of the
//! index, which every Helm fetches whole.

use chart_text::changes::{Changes, Point};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chart::archive::{Origin, Stamp};
use crate::chart::manifest::ChartManifest;
use crate::error::{Context, Error, Exit, Result};
use crate::oci::Platform;

/// The file that says whose a repository is, beside the index; in the tree, beside the chart's folder.
pub const REPOSITORY: &str = "artifacthub-repo.yml";
const IMAGES: &str = "artifacthub.io/images";
const PRERELEASE: &str = "artifacthub.io/prerelease";
const CHANGES: &str = "artifacthub.io/changes";
const SECURITY: &str = "artifacthub.io/containsSecurityUpdates";
/// Every kind of change that it knows; "Keep a Changelog" has the same.
const KINDS: [&str; 6] = ["added", "changed", "deprecated", "removed", "fixed", "security"];

/// Adds to a chart's annotations what a release knows. What the chart itself says of its changes stays.
///
/// # Errors
/// The version is not semver.
pub(super) fn annotate(manifest: &mut ChartManifest, stamp: &Stamp) -> Result<()> {
    let version = semver::Version::parse(&manifest.version).context(Exit::Workspace, || "Chart.yaml".into())?;
    let annotations = &mut manifest.annotations;
    if let Origin::Image { reference, platforms } = &stamp.of {
        annotations.insert(IMAGES.into(), images(&manifest.name, reference, platforms)?);
    }
    if !version.pre.is_empty() {
        annotations.insert(PRERELEASE.into(), "true".into());
    }
    let points = stamp.changes.as_ref().map(Changes::points).unwrap_or_default();
    if points.is_empty() || annotations.contains_key(CHANGES) {
        return Ok(());
    }
    if points.iter().any(|point| kind(point) == Some("security")) {
        annotations.insert(SECURITY.into(), "true".into());
    }
    annotations.insert(CHANGES.into(), yaml(&points.iter().map(change).collect::<Vec<_>>())?);
    Ok(())
}

/// A manifest as the index has it.
pub fn listed(manifest: &ChartManifest) -> ChartManifest {
    let mut listed = manifest.clone();
    listed.annotations.remove(CHANGES);
    listed
}

/// What Artifact Hub knows of a repository; what it does not know, it ignores without a word, as a name that is misspelt.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    #[serde(rename = "repositoryID")]
    repository_id: Option<String>,
    #[serde(default)]
    owners: Vec<Owner>,
    #[serde(default)]
    ignore: Vec<Ignored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read is asked")]
struct Owner {
    name: Option<String>,
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read is asked")]
struct Ignored {
    name: String,
    version: Option<String>,
}

/// Refuses a file that Artifact Hub would make nothing of.
///
/// # Errors
/// It is no YAML, or says what Artifact Hub does not know.
pub(super) fn check(path: &str, bytes: &[u8]) -> Result<()> {
    let wrong = |why: String| {
        Error::new(Exit::Workspace, format!("{path} is not what Artifact Hub reads"))
            .because(why)
            .remedy("it knows repositoryID (a UUID, from the repository's page there), owners (name, email) and ignore (name, version)")
    };
    let metadata: Metadata = serde_yaml::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let is_uuid = |id: &String| {
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        parts == [8, 4, 4, 4, 12] && id.chars().all(|character| character == '-' || character.is_ascii_hexdigit())
    };
    match metadata.repository_id {
        Some(id) if !is_uuid(&id) => Err(wrong(format!("repositoryID `{id}` is no UUID"))),
        None if metadata.owners.is_empty() && metadata.ignore.is_empty() => Err(wrong("it says nothing".into())),
        _ => Ok(()),
    }
}

fn images(name: &str, image: &str, platforms: &[Platform]) -> Result<String> {
    let platforms: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    yaml(&[json!({"name": name, "image": image, "platforms": platforms})])
}

fn change(point: &Point) -> Value {
    let mut change = json!({"description": point.text});
    if let Some(kind) = kind(point) {
        change["kind"] = kind.into();
    }
    if !point.links.is_empty() {
        change["links"] = point.links.iter().map(|(name, url)| json!({"name": name, "url": url})).collect();
    }
    change
}

/// A kind that it does not know has it refuse all changes; none at all is allowed.
fn kind(point: &Point) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| point.heading.eq_ignore_ascii_case(kind))
}

fn yaml(values: &[Value]) -> Result<String> {
    serde_yaml::to_string(values).context(Exit::Failure, || "cannot write Chart.yaml".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chart_text::changes::of_changelog;
    use proptest::prelude::*;

    fn annotated(version: &str, section: &str) -> ChartManifest {
        let mut manifest = ChartManifest { name: "demo".into(), version: version.into(), ..ChartManifest::default() };
        let platforms = vec![Platform::try_from("linux/amd64".to_owned()).unwrap()];
        let changes = of_changelog(&format!("\n## [{version}]\n{section}\n")).remove(version);
        let of = Origin::Image { reference: "host/demo:1.0.0@sha256:00".into(), platforms };
        annotate(&mut manifest, &Stamp { of, repository: "https://charts.example.com".into(), changes }).unwrap();
        manifest
    }

    fn changes(manifest: &ChartManifest) -> Value {
        serde_yaml::from_str(&manifest.annotations[CHANGES]).unwrap()
    }

    /// What its `ValidateChange` (`internal/pkg/metadata.go`) asks of every entry.
    fn is_valid(change: &Value) -> bool {
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let mut links = change["links"].as_array().into_iter().flatten();
        (change["kind"].is_null() || KINDS.iter().any(|kind| change["kind"] == *kind))
            && is_text(&change["description"])
            && links.all(|link| is_text(&link["name"]) && is_text(&link["url"]))
    }

    #[test]
    fn a_released_chart_tells_artifact_hub_what_changed_and_the_index_does_not_repeat_it() {
        let section = "### Added\n- `a: b` and [c](https://c)\n### Security\n- d\n### Thanks\n- e";
        let manifest = annotated("1.0.0", section);
        assert_eq!(
            changes(&manifest),
            json!([
                {"kind": "added", "description": "a: b and c", "links": [{"name": "c", "url": "https://c"}]},
                {"kind": "security", "description": "d"},
                {"description": "e"},
            ])
        );
        assert_eq!(manifest.annotations[SECURITY], "true");
        let listed = listed(&manifest);
        assert!(!listed.annotations.contains_key(CHANGES) && listed.annotations.contains_key(IMAGES));
        assert!(!annotated("1.0.0", "### Added\n- a").annotations.contains_key(SECURITY));
        assert!(!annotated("1.0.0", "").annotations.contains_key(CHANGES), "it would refuse an empty list");
    }

    #[test]
    fn what_a_chart_says_of_its_changes_itself_stays() {
        let mut manifest = annotated("1.0.0", "");
        manifest.annotations.insert(CHANGES.into(), "- mine".into());
        let changes = of_changelog("\n## [1.0.0]\n- other\n").remove("1.0.0");
        let stamp = Stamp { of: Origin::Revision(String::new()), repository: String::new(), changes };
        annotate(&mut manifest, &stamp).unwrap();
        assert_eq!(manifest.annotations[CHANGES], "- mine");
    }

    #[test]
    fn a_file_that_artifact_hub_would_make_nothing_of_is_refused() {
        let good = "repositoryID: 0a1b2c3d-0000-4000-8000-0123456789ab\nowners:\n- {name: Ann, email: ann@example.com}\nignore:\n- name: x\n";
        check("charts/artifacthub-repo.yml", good.as_bytes()).unwrap();
        for (bad, why) in [
            ("repositoryId: x\n", "unknown field `repositoryId`"),
            ("repositoryID: x\n", "`x` is no UUID"),
            ("owners: Ann\n", "owners"),
            ("# to be filled in\n", "charts/artifacthub-repo.yml is not"),
        ] {
            let error = check("charts/artifacthub-repo.yml", bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn i13_a_pre_release_is_marked_and_a_stable_version_is_not() {
        assert_eq!(annotated("1.0.0-rc.1", "").annotations.get(PRERELEASE).map(String::as_str), Some("true"));
        assert_eq!(annotated("1.0.0", "").annotations.get(PRERELEASE), None);
    }

    proptest! {
        #[test]
        fn whatever_a_changelog_says_artifact_hub_takes_it(section in "[-a#`<>&\"':{}\\[\\]()\n ]{0,120}") {
            let manifest = annotated("1.0.0", &format!("### Fixed\n- x\n{section}"));
            let all = changes(&manifest);
            prop_assert!(all.as_array().unwrap().iter().all(is_valid), "{all}");
        }
    }
}
