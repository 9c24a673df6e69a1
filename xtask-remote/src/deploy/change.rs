//! What a deployment would change: the template that is deployed against the one that is wanted. Pure.
//!
//! CloudFormation replaces a resource where a property that can only be set at creation differs (which ones these are, it is asked:
//! `Stack::replaced`), and deletes one whose logical id is gone. For most resources that is fine. The bucket holds every chart, and the
//! distribution is where users' DNS leads: those two are kept.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

/// The types that hold what cannot be made again.
const PRECIOUS: [&str; 2] = ["AWS::S3::Bucket", "AWS::CloudFront::Distribution"];

/// The outputs by which releases find bucket and distribution.
const PRECIOUS_OUTPUTS: [&str; 2] = ["BucketName", "DistributionId"];

/// What becomes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Add,
    /// It is changed where it is.
    Modify,
    /// Another one takes its place.
    Replace,
    /// It is deleted.
    Delete,
    /// It stays, and no stack looks after it any more.
    Abandon,
}

/// What becomes of one resource, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its logical id.
    pub resource: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What becomes of it.
    pub action: Action,
    /// Whether it holds what cannot be made again, and would be lost to users by this.
    pub loses: bool,
    /// Which of its parts differ; nothing where all of it comes or goes.
    pub differences: Vec<Difference>,
}

/// One value of a template that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where: names of members with dots between, `[]` for a member of a list.
    pub path: String,
    /// What is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Everything that a deployment would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    /// Of resources.
    pub resources: Vec<Change>,
    /// Of the rest of the template: outputs, mappings, the description.
    pub template: Vec<Difference>,
}

impl Changes {
    /// Whether a deployment has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.template.is_empty()
    }

    /// Those that would cost users their charts.
    pub fn losses(&self) -> Vec<&Change> {
        self.resources.iter().filter(|change| change.loses).collect()
    }

    /// Whether a resource of that type is made.
    pub fn adds(&self, kind: &str) -> bool {
        self.resources.iter().any(|change| change.action == Action::Add && change.kind == kind)
    }
}

/// Compares the deployed template (`null` where nothing is deployed) with the wanted one; `replaced` are the logical ids of what
/// CloudFormation would, or may, replace.
pub fn compare(deployed: &Value, wanted: &Value, replaced: &BTreeSet<String>) -> Changes {
    let precious = precious(deployed);
    let (before, after) = (resources(deployed), resources(wanted));
    let mut changes: Vec<Change> = after
        .iter()
        .filter_map(|(name, resource)| match before.get(name) {
            None => Some(change(name, resource, Action::Add, Vec::new())),
            Some(old) => modified(name, old, resource, replaced.contains(name)),
        })
        .collect();
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    changes.extend(gone.map(|(name, resource)| change(name, resource, farewell(resource), Vec::new())));
    for change in &mut changes {
        let stays = matches!(change.action, Action::Add | Action::Modify);
        change.loses = !stays && precious.contains(&change.resource);
    }
    let mut template = Vec::new();
    if !deployed.is_null() {
        difference("", &without_resources(deployed), &without_resources(wanted), &mut template);
    }
    Changes { resources: changes, template }
}

fn modified(name: &str, old: &Value, new: &Value, is_replaced: bool) -> Option<Change> {
    let mut differences = Vec::new();
    difference("", old, new, &mut differences);
    let action = if is_replaced || kind(old) != kind(new) { Action::Replace } else { Action::Modify };
    (is_replaced || !differences.is_empty()).then(|| change(name, new, action, differences))
}

/// What `DeletionPolicy` makes of a resource that leaves the stack.
fn farewell(resource: &Value) -> Action {
    match resource["DeletionPolicy"].as_str() {
        Some("Retain" | "RetainExceptOnCreate") => Action::Abandon,
        _ => Action::Delete,
    }
}

/// The logical ids of the deployed resources that must stay: those that releases are told of, or all of their types where the stack
/// does not say.
fn precious(deployed: &Value) -> BTreeSet<String> {
    let of_type = |resource: &Value| PRECIOUS.contains(&kind(resource));
    let named: BTreeSet<&str> =
        PRECIOUS_OUTPUTS.iter().filter_map(|output| deployed["Outputs"][output]["Value"]["Ref"].as_str()).collect();
    let resources = resources(deployed);
    let all = resources.iter().filter(|(_, resource)| of_type(resource)).map(|(name, _)| name.clone());
    all.filter(|name| named.len() < PRECIOUS_OUTPUTS.len() || named.contains(name.as_str())).collect()
}

fn change(name: &str, resource: &Value, action: Action, differences: Vec<Difference>) -> Change {
    Change { resource: name.to_owned(), kind: kind(resource).to_owned(), action, loses: false, differences }
}

fn kind(resource: &Value) -> &str {
    resource["Type"].as_str().unwrap_or_default()
}

fn resources(template: &Value) -> Map<String, Value> {
    template["Resources"].as_object().cloned().unwrap_or_default()
}

fn without_resources(template: &Value) -> Value {
    let mut rest = template.as_object().cloned().unwrap_or_default();
    rest.remove("Resources");
    Value::Object(rest)
}

/// Adds what differs between two values.
fn difference(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match (old.get(name), new.get(name)) {
                    (Some(old), Some(new)) => difference(&path, old, new, found),
                    (old, new) => found.push(Difference { path, before: old.cloned(), after: new.cloned() }),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter().zip(new).for_each(|(old, new)| difference(&format!("{path}[]"), old, new, found));
        }
        // A member that came or went would make all that follow it look changed.
        (Value::Array(old), Value::Array(new)) => {
            let (gone, come) = (missing_from(new, old), missing_from(old, new));
            if gone.is_empty() && come.is_empty() {
                let (before, after) = (Some(before.clone()), Some(after.clone()));
                found.push(Difference { path: path.to_owned(), before, after });
            }
            let path = format!("{path}[]");
            let one = |before, after| Difference { path: path.clone(), before, after };
            found.extend(gone.into_iter().map(|old| one(Some(old), None)));
            found.extend(come.into_iter().map(|new| one(None, Some(new))));
        }
        _ if before == after => {}
        _ => found.push(Difference { path: path.to_owned(), before: Some(before.clone()), after: Some(after.clone()) }),
    }
}

/// The members of one list that the other one lacks.
fn missing_from(other: &[Value], list: &[Value]) -> Vec<Value> {
    list.iter().filter(|member| !other.contains(member)).cloned().collect()
}

#[cfg(test)]
mod tests;
