//! Where an image or a chart comes from: a SLSA provenance 1.0 predicate, and what a release asks of one. Pure.
//!
//! It names the commit, the version, who built, and with what. Whether a second build gave the same digest is part of it: one machine alone
//! may be lying without knowing it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::oci::{Digest, Platform};

/// What is known of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Where the sources are: `https://github.com/OWNER/REPOSITORY`.
    pub repository: String,
    /// The commit that was checked out.
    pub commit: String,
    /// The source state: the commit, or the commit and the tree that was made of it.
    pub revision: String,
    /// The version.
    pub version: String,
    /// The commit's time as RFC 3339: sources have no other time.
    pub commit_time: String,
    /// The target that it was built for.
    pub target: String,
    /// Who put the image together: `embedded`, `buildx`.
    pub assembler: String,
    /// The compiler of each platform, as it calls itself.
    pub compilers: BTreeMap<Platform, String>,
    /// The digest that a second build gave, where there was one.
    pub second: Option<Digest>,
    /// Where it ran.
    pub runner: Runner,
}

/// Where a build ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runner {
    /// A workflow of GitHub's.
    Workflow {
        /// `https://github.com/OWNER/REPOSITORY/.github/workflows/FILE@REF`.
        id: String,
        /// The page of this very run.
        run: String,
    },
    /// A machine of whoever signed.
    Machine,
}

impl Runner {
    /// As the environment says.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let workflow = || {
            let server = set("GITHUB_SERVER_URL")?;
            let (repository, run) = (set("GITHUB_REPOSITORY")?, set("GITHUB_RUN_ID")?);
            let attempt = set("GITHUB_RUN_ATTEMPT").unwrap_or_else(|| "1".into());
            Some(Runner::Workflow {
                id: format!("{server}/{}", set("GITHUB_WORKFLOW_REF")?),
                run: format!("{server}/{repository}/actions/runs/{run}/attempts/{attempt}"),
            })
        };
        let is_githubs = set("GITHUB_ACTIONS").as_deref() == Some("true");
        workflow().filter(|_| is_githubs).unwrap_or(Runner::Machine)
    }
}

/// The predicate.
pub fn predicate(build: &Build) -> Value {
    let mut dependencies = vec![json!({
        "uri": format!("git+{}@{}", build.repository, build.commit),
        "digest": {"gitCommit": build.commit},
    })];
    let compiler = |(platform, version): (&Platform, &String)| json!({"name": "rustc", "annotations": {"platform": platform.to_string(), "version": version}});
    dependencies.extend(build.compilers.iter().map(compiler));
    let (id, metadata) = match &build.runner {
        Runner::Workflow { id, run } => (id.clone(), json!({"invocationId": run})),
        Runner::Machine => (format!("{}#a-machine-of-the-signer", build.repository), json!({})),
    };
    let second = match &build.second {
        Some(digest) => json!({"made": true, "digest": digest}),
        None => json!({"made": false, "why": "this machine built alone"}),
    };
    json!({
        "buildDefinition": {
            "buildType": format!("{}#release-v1", build.repository),
            "externalParameters": {"version": build.version, "revision": build.revision, "target": build.target},
            "internalParameters": {"assembler": build.assembler, "commitTime": build.commit_time, "secondBuild": second},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {"builder": {"id": id}, "metadata": metadata},
    })
}

/// Whether a provenance is of that version, made from that source state.
///
/// # Errors
/// What it says instead.
pub fn check(predicate: &Value, version: &str, revision: &str) -> Result<(), String> {
    let parameters = &predicate["buildDefinition"]["externalParameters"];
    for (name, wanted) in [("version", version), ("revision", revision)] {
        match parameters[name].as_str() {
            Some(said) if said == wanted => {}
            Some(said) => return Err(format!("its provenance is of {name} {said}, not {wanted}")),
            None => return Err(format!("its provenance does not name the {name}")),
        }
    }
    let commit = revision.split("-dirty-").next().unwrap_or(revision);
    let sources = predicate["buildDefinition"]["resolvedDependencies"].as_array().into_iter().flatten();
    let mut commits = sources.filter_map(|source| source["digest"]["gitCommit"].as_str());
    if commits.any(|said| said == commit) {
        Ok(())
    } else {
        Err(format!("its provenance does not name the commit {commit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Build {
        Build {
            repository: "https://git.example.com/demo".into(),
            commit: "c0ffee".into(),
            revision: "c0ffee".into(),
            version: "1.2.3".into(),
            commit_time: "1970-01-01T00:00:07Z".into(),
            target: "production".into(),
            assembler: "embedded".into(),
            compilers: [("linux/amd64".to_owned().try_into().unwrap(), "rustc 1.95.0".to_owned())].into(),
            second: None,
            runner: Runner::Machine,
        }
    }

    #[test]
    fn a_provenance_names_commit_version_compilers_and_whether_somebody_built_it_again() {
        let alone = predicate(&build());
        let sources = &alone["buildDefinition"]["resolvedDependencies"];
        assert_eq!(sources[0]["uri"], "git+https://git.example.com/demo@c0ffee");
        assert_eq!(sources[1]["annotations"], json!({"platform": "linux/amd64", "version": "rustc 1.95.0"}));
        assert_eq!(alone["buildDefinition"]["internalParameters"]["secondBuild"]["made"], false);
        assert!(alone["runDetails"]["builder"]["id"].as_str().unwrap().ends_with("#a-machine-of-the-signer"));
        let digest = Digest::of(b"image");
        let again = predicate(&Build { second: Some(digest.clone()), ..build() });
        let second = &again["buildDefinition"]["internalParameters"]["secondBuild"];
        assert_eq!(second, &json!({"made": true, "digest": digest}));
    }

    #[test]
    fn a_provenance_of_another_version_or_source_state_is_not_ours() {
        let ours = predicate(&build());
        assert_eq!(check(&ours, "1.2.3", "c0ffee"), Ok(()));
        assert!(check(&ours, "1.2.4", "c0ffee").unwrap_err().contains("of version 1.2.3, not 1.2.4"));
        assert!(check(&ours, "1.2.3", "bad").unwrap_err().contains("of revision c0ffee, not bad"));
        assert!(check(&json!({}), "1.2.3", "c0ffee").unwrap_err().contains("does not name the version"));
        let dirty = predicate(&Build { revision: "c0ffee-dirty-7ee".into(), ..build() });
        assert_eq!(check(&dirty, "1.2.3", "c0ffee-dirty-7ee"), Ok(()));
        assert!(check(&dirty, "1.2.3", "c0ffee").is_err());
        let mut forged = ours;
        forged["buildDefinition"]["resolvedDependencies"] = json!([{"digest": {"gitCommit": "bad"}}]);
        assert!(check(&forged, "1.2.3", "c0ffee").unwrap_err().contains("does not name the commit"));
    }

    #[test]
    fn a_workflow_is_named_by_its_file_and_ref_and_everything_else_is_somebodys_machine() {
        let variable = |name: &str| match name {
            "GITHUB_ACTIONS" => Some("true".to_owned()),
            "GITHUB_SERVER_URL" => Some("https://github.com".to_owned()),
            "GITHUB_REPOSITORY" => Some("a/b".to_owned()),
            "GITHUB_WORKFLOW_REF" => Some("a/b/.github/workflows/release.yml@refs/tags/v1.2.3".to_owned()),
            "GITHUB_RUN_ID" => Some("7".to_owned()),
            _ => None,
        };
        let expected = Runner::Workflow {
            id: "https://github.com/a/b/.github/workflows/release.yml@refs/tags/v1.2.3".into(),
            run: "https://github.com/a/b/actions/runs/7/attempts/1".into(),
        };
        assert_eq!(Runner::of(&variable), expected);
        assert_eq!(Runner::of(&|name| variable(name).filter(|_| name != "GITHUB_ACTIONS")), Runner::Machine);
    }
}
