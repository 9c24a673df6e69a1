//! The chart as Helm renders it, and its objects as the API server takes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use kube::api::{DeleteParams, PostParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Cluster;

/// What the chart makes of some values, in Helm's order.
#[derive(Clone)]
pub(crate) struct Rendered(pub(crate) Vec<Value>);

impl Rendered {
    /// Options are those of `helm template`, such as `--set`.
    pub(crate) fn new(cluster: &Cluster, namespace: &str, options: &[&str]) -> Self {
        let output = Command::new(cluster.tool("helm-3"))
            .args(["template", "kube9-operator"])
            .arg(folder())
            .args(["--namespace", namespace, "--kube-version", "1.31.4"])
            .args(options)
            .env_clear()
            .env("HOME", cluster.directory())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let documents = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
        Self(documents.filter(|document| !document.is_null()).collect())
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The environment of the operator's container, as far as it is written in the chart.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let deployment = self.of_kind("Deployment").next().unwrap();
        let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        variables.iter().filter_map(|variable| Some((text(&variable["name"])?, text(&variable["value"])?))).collect()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/kube9-operator")
}

pub(crate) fn create(cluster: &Cluster, object: &Value) {
    send(cluster, object, false);
}

/// Lets the API server say whether it would take the object.
pub(crate) fn dry_run(cluster: &Cluster, object: &Value) {
    send(cluster, object, true);
}

fn send(cluster: &Cluster, object: &Value, dry_run: bool) {
    let parameters = PostParams { dry_run, ..PostParams::default() };
    let request = Request::new(collection(object)).create(&parameters, object.to_string().into_bytes()).unwrap();
    let answer = cluster.run(cluster.admin.request::<Value>(request));
    answer.unwrap_or_else(|error| panic!("{error}\n{object:#}"));
}

pub(crate) fn delete(cluster: &Cluster, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let request = Request::new(collection(object)).delete(name, &DeleteParams::default()).unwrap();
    cluster.run(cluster.admin.request::<Value>(request)).unwrap();
}

/// Where objects of its kind are.
fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("/{root}/{version}/{plural}"),
    }
}
