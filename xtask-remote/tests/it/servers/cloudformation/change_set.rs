//! What CloudFormation would do with a template, without doing it: its API reference, "ChangeSet", "ResourceChange" and
//! "ResourceTargetDefinition".

use std::collections::BTreeSet;

use serde_json::Value;

use super::made::fixed_names;
use super::template::{Refusal, Template, invalid};
use super::{Form, element, escaped};

/// A change set of a stack.
#[derive(Clone, Default)]
pub struct ChangeSet {
    pub id: String,
    name: String,
    stack: String,
    /// What is wrong with it.
    failure: Option<String>,
    changes: Vec<Change>,
    /// It is made while whoever wants it does something else.
    was_asked_for: bool,
    /// The stack was changed since.
    pub obsolete: bool,
}

#[derive(Clone)]
struct Change {
    action: &'static str,
    id: String,
    kind: String,
    replacement: Option<&'static str>,
}

impl ChangeSet {
    pub fn of(name: &str, stack: &str, deployed: &Template, wanted: &Template) -> Self {
        let other = wanted.other_types(deployed);
        let failure = if deployed.value() == wanted.value() {
            let nothing = "The submitted information didn't contain changes. Submit different information to create a change set.";
            Some(nothing.to_owned())
        } else {
            (!other.is_empty()).then(|| other_types(&other))
        };
        let changes = if failure.is_some() { Vec::new() } else { changes(deployed, wanted) };
        let id = stack.replace(":stack/", ":changeSet/").replace(stack.split('/').nth(1).unwrap(), name);
        ChangeSet {
            id,
            name: name.into(),
            stack: stack.into(),
            failure,
            changes,
            was_asked_for: false,
            obsolete: false,
        }
    }

    /// As it stands: under way when it is asked for the first time.
    pub fn told(&mut self) -> String {
        let status = match (std::mem::replace(&mut self.was_asked_for, true), &self.failure) {
            (false, _) => ("CREATE_IN_PROGRESS", "UNAVAILABLE"),
            (true, Some(_)) => ("FAILED", "UNAVAILABLE"),
            (true, None) => ("CREATE_COMPLETE", if self.obsolete { "OBSOLETE" } else { "AVAILABLE" }),
        };
        let reason = self.failure.as_ref().filter(|_| status.0 == "FAILED");
        let changes = self.changes.iter().filter(|_| status.0 == "CREATE_COMPLETE").map(Change::told);
        [
            element("ChangeSetName", &self.name),
            element("ChangeSetId", &self.id),
            element("StackId", &self.stack),
            element("StackName", self.stack.split('/').nth(1).unwrap()),
            element("Status", status.0),
            reason.map(|reason| element("StatusReason", &escaped(reason))).unwrap_or_default(),
            element("ExecutionStatus", status.1),
            element("Changes", &changes.collect::<String>()),
        ]
        .concat()
    }
}

impl Change {
    fn told(&self) -> String {
        let fields = [
            element("Action", self.action),
            element("LogicalResourceId", &self.id),
            element("ResourceType", &self.kind),
            self.replacement.map(|replacement| element("Replacement", replacement)).unwrap_or_default(),
        ];
        element("member", &(element("Type", "Resource") + &element("ResourceChange", &fields.concat())))
    }
}

/// The name of a change set in a request.
///
/// # Errors
/// It is none.
pub fn name(form: &Form) -> Result<String, Refusal> {
    let name = form.get("ChangeSetName").cloned().unwrap_or_default();
    // They are asked for by their ids, too.
    let name = if name.starts_with("arn:") { name.split('/').nth(1).unwrap_or_default().to_owned() } else { name };
    let is_plain = |rest: char| rest.is_ascii_alphanumeric() || rest == '-';
    if name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.chars().all(is_plain) && name.len() <= 128 {
        return Ok(name);
    }
    Err(invalid(format!(
        "1 validation error detected: Value '{name}' at 'changeSetName' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
    )))
}

pub fn other_types(ids: &[String]) -> String {
    format!(
        "Update of resource type is not permitted. The new template modifies resource type of the following resources: [{}]",
        ids.join(", ")
    )
}

fn changes(deployed: &Template, wanted: &Template) -> Vec<Change> {
    let (old, new) = (deployed.resources(), wanted.resources());
    let mut found: Vec<Change> = Vec::new();
    let mut replaced = BTreeSet::new();
    // Each after all that it names: what becomes of that may change it, too.
    for id in wanted.in_order().unwrap() {
        let kind = wanted.kind(&id).to_owned();
        let Some(before) = old.get(&id) else {
            found.push(Change { action: "Add", id, kind, replacement: None });
            continue;
        };
        let after = &new[&id];
        if before == after && !wanted.names(&after["Properties"], &replaced) {
            continue;
        }
        let replacement = replacement(wanted, &kind, before, after, &replaced);
        if replacement != "False" {
            replaced.insert(id.clone());
        }
        found.push(Change { action: "Modify", id, kind, replacement: Some(replacement) });
    }
    let gone = old.keys().filter(|id| !new.contains_key(*id));
    found.extend(gone.map(|id| Change {
        action: "Remove",
        id: id.clone(),
        kind: deployed.kind(id).into(),
        replacement: None,
    }));
    found
}

/// `True` where a property that needs another resource is another one for certain, `Conditional` where that rests on what something else
/// becomes.
fn replacement(
    wanted: &Template,
    kind: &str,
    before: &Value,
    after: &Value,
    replaced: &BTreeSet<String>,
) -> &'static str {
    let all: BTreeSet<String> = wanted.resources().keys().cloned().collect();
    let value = |resource: &'_ Value, name: &str| resource["Properties"][name].clone();
    let changed = |name: &&&str| value(before, name) != value(after, name);
    let fixed = fixed_names(kind);
    if fixed.iter().filter(changed).any(|name| !wanted.names(&value(after, name), &all)) {
        return "True";
    }
    let depends = |name: &&str| wanted.names(&value(after, name), replaced);
    if fixed.iter().any(depends) || fixed.iter().any(|name| changed(&name)) { "Conditional" } else { "False" }
}
