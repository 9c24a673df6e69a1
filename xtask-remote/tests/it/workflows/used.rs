//! What jobs ask of AWS, as the guide lists it: tests beside the infrastructure hold the roles' policies against that list.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::servers::rights::Need;
use crate::support::root;

/// What was asked, in the names that the policies in the guide are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// What tokens said, by which the role was taken.
    taken: BTreeSet<String>,
    needed: BTreeSet<Need>,
}

impl Used {
    /// A role was taken. Which version's tag that was for, and of which product, is nobody's right.
    pub fn take(&mut self, claims: &Value) {
        let mut claims = claims.clone();
        let workflow = claims["job_workflow_ref"].as_str().unwrap();
        let is_version = |tag: &str| tag.rsplit('/').next().is_some_and(|last| last.starts_with('v'));
        if let Some((file, _)) = workflow.split_once("@refs/tags/").filter(|(_, tag)| is_version(tag)) {
            claims["job_workflow_ref"] = json!(format!("{file}@refs/tags/v1.0.0"));
            claims["ref"] = json!("refs/tags/v1.0.0");
        }
        self.taken.insert(claims.to_string());
    }

    /// Something was asked, in names of this machine.
    pub fn note(&mut self, needs: Vec<Need>, named: &[(String, &str)]) {
        for mut need in needs {
            need.resource = named.iter().fold(need.resource, |resource, (here, there)| resource.replace(here, there));
            let kind = [".tgz", ".json"].into_iter().find(|kind| need.resource.ends_with(kind));
            if let Some((kind, (bucket, _))) = kind.zip(need.resource.split_once('/')) {
                need.resource = format!("{bucket}/demo-1.0.0{kind}");
            }
            self.needed.insert(need);
        }
    }

    /// Nothing was asked that the guide does not list.
    #[track_caller]
    pub fn assert_listed(&self, role: &str) {
        let listed = Listed::read(role);
        let more: Vec<String> = self.lines().difference(&listed.all()).cloned().collect();
        assert!(
            more.is_empty(),
            "this is not in {}, nor was it held against the role's policy:\n{}",
            path(role),
            more.join("\n")
        );
    }

    /// All that the guide lists of a kind was asked.
    #[track_caller]
    pub fn assert_whole(&self, role: &str, is_meant: impl Fn(&str) -> bool) {
        let listed: BTreeSet<String> = Listed::read(role).all().into_iter().filter(|line| is_meant(line)).collect();
        let idle: Vec<String> = listed.difference(&self.lines()).cloned().collect();
        assert!(idle.is_empty(), "nobody asks any more what is in {}:\n{}", path(role), idle.join("\n"));
    }

    fn lines(&self) -> BTreeSet<String> {
        self.taken.iter().cloned().chain(self.needed.iter().map(|need| json!(need).to_string())).collect()
    }
}

/// The guide's list for a role.
struct Listed(Value);

impl Listed {
    fn read(role: &str) -> Self {
        let text = std::fs::read_to_string(root().join(path(role))).unwrap_or_else(|_| "{}".into());
        Listed(serde_json::from_str(&text).unwrap())
    }

    fn all(&self) -> BTreeSet<String> {
        let both = ["taken", "needed", "refused"].iter().flat_map(|list| self.0[list].as_array().into_iter().flatten());
        both.map(ToString::to_string).collect()
    }
}

fn path(role: &str) -> String {
    format!("docs/iam/{role}-calls.json")
}
