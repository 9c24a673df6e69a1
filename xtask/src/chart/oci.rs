//! The chart as an artifact in a registry, for `helm pull oci://…`: the very archive that the chart repository has. Pure.
//!
//! Media types and annotations are those that `helm push` writes (Helm, `pkg/registry`), but for the time, which is the commit's: the
//! manifest is the same bytes wherever it is made.

use crate::chart::archive;
use crate::chart::index::Entry;
use crate::chart::manifest::ChartManifest;
use crate::error::Result;
use crate::oci::artifact::Artifact;
use crate::oci::{self, Annotations};
use crate::sys::time;

/// The media type of the configuration: `Chart.yaml` as JSON.
pub const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
/// The media type of the archive.
pub const ARCHIVE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The artifact of a chart's archive. `time` is in seconds since 1970.
///
/// # Errors
/// The archive is damaged, or no chart's.
pub fn artifact(archive: &[u8], time: i64) -> Result<Artifact> {
    let manifest = archive::manifest_of(archive)?;
    let config = oci::json(&manifest)?;
    Artifact::with_config((CONFIG, &config), (ARCHIVE, archive), annotations(&manifest, time)?)
}

/// The time of an entry's artifact: that of the commit, which the entry gives as its `created`.
pub fn time(entry: &Entry) -> Option<i64> {
    time::seconds(entry.created.as_deref()?)
}

/// The tag of a chart's version: a registry's tags may hold no `+` (Helm, "OCI Artifact Reference").
pub fn tag(version: &str) -> String {
    version.replace('+', "_")
}

fn annotations(manifest: &ChartManifest, time: i64) -> Result<Annotations> {
    let about = [
        ("title", Some(manifest.name.clone())),
        ("version", Some(manifest.version.clone())),
        ("description", manifest.description.clone()),
        ("url", manifest.home.clone()),
        ("source", manifest.sources.first().cloned()),
        ("created", Some(time::rfc3339(time)?)),
    ];
    let about = about.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    Ok(about.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::archive::ChartFiles;
    use crate::oci::Digest;

    const CHART: &str = "apiVersion: v2\nname: demo\nversion: 1.2.3\ndescription: A demo\nsources: [https://s]\n";

    fn archive() -> Vec<u8> {
        let files: ChartFiles = [("Chart.yaml", CHART), ("values.yaml", "{}\n")]
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .into();
        archive::pack(&files, 7).unwrap()
    }

    #[test]
    fn the_artifact_of_a_chart_holds_its_archive_byte_for_byte_and_is_the_same_wherever_it_is_made() {
        let archive = archive();
        let made = artifact(&archive, 7).unwrap();
        assert_eq!(made, artifact(&archive, 7).unwrap());
        assert!(made.parts().any(|(digest, bytes)| *digest == Digest::of(&archive) && bytes == archive));
        let manifest: serde_json::Value = serde_json::from_slice(&made.manifest).unwrap();
        assert_eq!(
            (&manifest["config"]["mediaType"], &manifest["layers"][0]["mediaType"]),
            (&CONFIG.into(), &ARCHIVE.into())
        );
        let expected = serde_json::json!({
            "org.opencontainers.image.created": "1970-01-01T00:00:07Z",
            "org.opencontainers.image.description": "A demo",
            "org.opencontainers.image.source": "https://s",
            "org.opencontainers.image.title": "demo",
            "org.opencontainers.image.version": "1.2.3",
        });
        assert_eq!(manifest["annotations"], expected);
        assert_eq!((&made.subject, &made.descriptor.artifact_type), (&None, &None));
    }

    #[test]
    fn the_tag_of_a_version_has_no_plus() {
        assert_eq!((tag("1.2.3").as_str(), tag("1.2.3-rc.1+b").as_str()), ("1.2.3", "1.2.3-rc.1_b"));
        assert!(artifact(b"no archive", 7).is_err());
    }
}
