//! The workflow files as data.

use std::collections::BTreeMap;

use serde_json::Value;

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

    /// A text with its expressions replaced. An output or a variable that nobody set is empty, as on GitHub.
    pub fn render(&self, text: &str) -> String {
        let mut parts = text.split("${{");
        let mut rendered = parts.next().unwrap().to_owned();
        for part in parts {
            let (expression, rest) = part.split_once("}}").unwrap();
            rendered.push_str(&self.value(expression.trim()));
            rendered.push_str(rest);
        }
        rendered
    }

    fn value(&self, name: &str) -> String {
        let may_be_missing = name.contains(".outputs.") || name.starts_with("vars.");
        match self.0.get(name) {
            Some(value) => value.clone(),
            None if may_be_missing => String::new(),
            None => panic!("the tests do not know the expression `{name}`"),
        }
    }

    pub fn render_all(&self, value: &Value) -> BTreeMap<String, String> {
        scalars(value).into_iter().map(|(name, text)| (name, self.render(&text))).collect()
    }
}
