//! Every Helm that users may have, and the chart as they have it or with changes that tests make to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::chart::Rendered;
use crate::cluster;

/// The oldest that the distribution promises to work with, and the newest of both major versions.
const NAMES: [&str; 3] = ["helm-3.12", "helm-3", "helm-4"];

pub(crate) struct Helm {
    pub(crate) name: &'static str,
    program: PathBuf,
    home: TempDir,
}

impl Helm {
    /// None when the tools are not there.
    pub(crate) fn all() -> Vec<Self> {
        NAMES.into_iter().filter_map(Self::find).collect()
    }

    /// The one that most users have.
    pub(crate) fn usual() -> Option<Self> {
        Self::find("helm-3")
    }

    fn find(name: &'static str) -> Option<Self> {
        Some(Self { name, program: cluster::tools()?.join(name), home: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.home.path()).env_clear().env("HOME", self.home.path());
        // It ends before it would be worth collecting its garbage, which is a quarter of its work otherwise.
        command.env("GOGC", "off");
        command.output().unwrap()
    }

    /// What it prints, if all goes well.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {complaint}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it complains about when it renders a chart with values.
    #[track_caller]
    pub(crate) fn refusal(&self, chart: &Path, values: &Value) -> String {
        let output = self.run(&["template", "x", text(chart), "--values", text(&self.file(values))]);
        assert_eq!(output.status.code(), Some(1), "{} takes {values}", self.name);
        String::from_utf8(output.stderr).unwrap()
    }

    /// What a chart makes of a variant, for a cluster of some version, its tests included.
    #[track_caller]
    pub(crate) fn render(&self, chart: &Path, variant: &Variant, version: &str) -> Rendered {
        let values = self.file(&variant.values);
        let fixed = ["template", RELEASE, text(chart), "--namespace", &variant.namespace, "--kube-version", version];
        let options: Vec<&str> = variant.options.iter().map(String::as_str).collect();
        Rendered::read(&self.ok(&[&fixed[..], &["--values", text(&values)], &options[..]].concat()))
    }

    /// A file with these values, which is there as long as this Helm.
    pub(crate) fn file(&self, values: &Value) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let file = self.home.path().join(format!("values-{}.yaml", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&file, values.to_string()).unwrap();
        file
    }
}

pub(crate) const RELEASE: &str = "kube9-operator";

/// The chart in the sources.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/kube9-operator")
}

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(chart().join(file)).unwrap()
}

/// What `values.yaml` says.
pub(crate) fn defaults() -> Value {
    serde_yaml::from_str(&read("values.yaml")).unwrap()
}

/// A copy of the chart, for changes.
pub(crate) struct Copy(TempDir);

impl Copy {
    pub(crate) fn new() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for file in files(&chart()) {
            copy.write(&file, &read(&file));
        }
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let place = self.path().join(file);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }
}

/// The files below a folder, by their paths from there.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// Values that users may have.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// Where it is installed.
    #[serde(default = "some_namespace")]
    pub(crate) namespace: String,
    /// Further options of `helm template`.
    #[serde(default)]
    pub(crate) options: Vec<String>,
    pub(crate) values: Value,
}

impl Variant {
    pub(crate) fn all() -> Vec<Self> {
        serde_yaml::from_str(include_str!("../fixtures/variants.yaml")).unwrap()
    }
}

fn some_namespace() -> String {
    "variants".to_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
