//! Argo CD's own code chooses a version, pulls the chart with Helm and unpacks it (`ci/test-tools/argo-cd`).

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{NEWEST, PRE_RELEASE, PUBLISHED, YANKED};
use crate::support::{Run, files_below, scrubbed, tool};

#[test]
fn h2_h3_h5_argo_cd_takes_the_application_that_the_page_offers_and_finds_versions_by_constraints() {
    let Some(argo_cd) = ArgoCd::new() else { return };
    let published = &*PUBLISHED;
    let application = published.offered("Argo CD").remove(0);
    assert_eq!(application["kind"], "Application");
    let source = &application["spec"]["source"];
    let [repository, chart, revision] =
        ["repoURL", "chart", "targetRevision"].map(|name| source[name].as_str().unwrap());
    assert_eq!(revision, NEWEST);
    let registry = format!("localhost:{}/team/charts", published.demo().port);
    for repository in [repository, &registry] {
        for (revision, version) in
            [(revision, NEWEST), ("1.0.0", "1.0.0"), ("*", NEWEST), ("~1.0.0", NEWEST), (">=1.0.0-0", PRE_RELEASE)]
        {
            assert_eq!(argo_cd.takes(repository, chart, revision), version, "{revision} at {repository}");
        }
        argo_cd.run(repository, chart, YANKED).fails(1, YANKED);
        argo_cd.run(repository, chart, "~1.1").fails(1, "version matching constraint not found");
    }
}

/// The program, the Helm that it runs, and a folder for what it unpacks.
struct ArgoCd {
    program: PathBuf,
    folder: TempDir,
}

impl ArgoCd {
    /// Nothing (said once a test) where a part of it is not installed.
    fn new() -> Option<Self> {
        let (program, helm) = (tool("argo-cd")?, tool("helm-4")?);
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(helm, folder.path().join("helm")).unwrap();
        Some(ArgoCd { program, folder })
    }

    fn run(&self, repository: &str, chart: &str, revision: &str) -> Run {
        let mut command = scrubbed(self.program.to_str().unwrap());
        command.args([repository, chart, revision]).current_dir(self.folder.path());
        let folder = self.folder.path();
        Run::of({
            command.env("PATH", folder).env("HOME", folder).env("TMPDIR", folder);
            command
        })
    }

    /// The version that it takes, whose archive it unpacked.
    #[track_caller]
    fn takes(&self, repository: &str, chart: &str, revision: &str) -> String {
        let taken = self.run(repository, chart, revision).ok().json();
        let version = taken["version"].as_str().unwrap().to_owned();
        let unpacked = files_below(Path::new(taken["folder"].as_str().unwrap()));
        assert!(unpacked == contents(&PUBLISHED.archive(&version)), "{version} of {repository}");
        version
    }
}

/// The files in an archive, below its one folder.
fn contents(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path.split_once('/').unwrap().1.to_owned(), content)
    });
    files.collect()
}
