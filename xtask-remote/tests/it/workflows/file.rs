//! The workflow files as data.

use std::collections::BTreeMap;

use serde_json::Value;

use super::expression::{self, Context, evaluate, looks_at_status};
use crate::support::root;

/// One file of `.github/workflows`.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// The file's name.
    pub name: String,
    pub text: String,
    pub value: Value,
}

impl Workflow {
    /// Every one that there is.
    pub fn all() -> Vec<Self> {
        let files = std::fs::read_dir(root().join(".github/workflows")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(root().join(".github/workflows").join(name)).unwrap();
        Workflow { name: name.into(), value: serde_yaml::from_str(&text).unwrap(), text }
    }

    /// The jobs by their ids, in the file's order.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.value["jobs"].as_object().unwrap().iter().map(|(id, job)| (id.as_str(), job))
    }
}

/// The steps of a job; none where it calls another workflow.
pub fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// A mapping of names to texts, numbers and truths.
pub fn scalars(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
}

/// What expressions may name, by their whole names.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.into(), value.into());
    }

    pub fn set_unless_known(&mut self, name: &str, value: &str) {
        self.0.entry(name.into()).or_insert_with(|| value.into());
    }

    /// A value; an output or a variable that nobody set is nothing, as on GitHub.
    pub fn get(&self, name: &str) -> expression::Value {
        let may_be_missing = ["vars.", "env.", "matrix."].iter().any(|start| name.starts_with(start));
        match self.0.get(name) {
            Some(value) => expression::Value::Text(value.clone()),
            None if may_be_missing || name.contains(".outputs.") => expression::Value::Null,
            None => panic!("the tests do not know the expression `{name}`"),
        }
    }
}

/// A text with its expressions replaced.
pub fn render(text: &str, context: &dyn Context) -> String {
    let mut parts = text.split("${{");
    let mut rendered = parts.next().unwrap().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").unwrap();
        rendered.push_str(&evaluate(expression, context).text());
        rendered.push_str(rest);
    }
    rendered
}

pub fn render_all(value: &Value, context: &dyn Context) -> BTreeMap<String, String> {
    scalars(value).into_iter().map(|(name, text)| (name, render(&text, context))).collect()
}

/// Whether a step or job with that condition runs. One that says nothing of how those before it ended wants them to have ended well.
pub fn is_wanted(condition: &Value, context: &dyn Context) -> bool {
    let is_well = || context.call("success", &[]).is_true();
    let Some(text) = condition.as_str() else { return is_well() };
    let text = text.trim().strip_prefix("${{").and_then(|text| text.strip_suffix("}}")).unwrap_or(text);
    (looks_at_status(text) || is_well()) && evaluate(text, context).is_true()
}
