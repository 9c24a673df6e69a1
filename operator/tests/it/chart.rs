//! The chart as Helm renders it, and its objects as the API server takes them.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::helm::{Helm, RELEASE, chart, text};

/// What the chart makes of some values, in Helm's order.
#[derive(Clone)]
pub(crate) struct Rendered(pub(crate) Vec<Value>);

impl Rendered {
    /// What is installed. Options are those of `helm template`, such as `--set`. A cluster has one pointer, and a tenant none.
    pub(crate) fn new(cluster: &Cluster, namespace: &str, options: &[&str]) -> Self {
        let helm = Helm::usual().expect("it came with the servers");
        let chart = chart();
        let fixed = ["template", RELEASE, text(&chart), "--namespace", namespace, "--kube-version", &cluster.version()];
        Self::read(&helm.ok(&[&fixed[..], &["--no-hooks", "--set=pointer.create=false"], options].concat()))
    }

    /// Reads what Helm prints.
    pub(crate) fn read(text: &str) -> Self {
        let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
        Self(documents.filter(|document| !document.is_null()).collect())
    }

    #[track_caller]
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let found: Vec<&Value> = self.of_kind(kind).collect();
        assert_eq!(found.len(), 1, "objects of kind {kind}");
        found[0]
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

pub(crate) fn create(cluster: &Cluster, object: &Value) {
    let _ = answer(cluster, object);
}

/// What the API server makes of a new object.
pub(crate) fn answer(cluster: &Cluster, object: &Value) -> Value {
    let request = Request::new(collection(object)).create(&PostParams::default(), object.to_string().into_bytes());
    let answer = cluster.run(cluster.admin.request::<Value>(request.unwrap()));
    answer.unwrap_or_else(|error| panic!("{error}\n{object:#}"))
}

/// Lets the API server say whether it would take the object, fields that it does not know included.
pub(crate) fn dry_run(cluster: &Cluster, object: &Value) -> Result<(), String> {
    // Another test may have made it.
    let parameters = PatchParams { dry_run: true, force: true, ..PatchParams::apply("tests") };
    apply(cluster, object, parameters)
}

/// Makes sure that the object is there.
pub(crate) fn ensure(cluster: &Cluster, object: &Value) {
    apply(cluster, object, PatchParams::apply("tests")).unwrap();
}

fn apply(cluster: &Cluster, object: &Value, mut parameters: PatchParams) -> Result<(), String> {
    parameters.field_validation = Some(ValidationDirective::Strict);
    let name = object["metadata"]["name"].as_str().unwrap();
    let request = Request::new(collection(object)).patch(name, &parameters, &Patch::Apply(object)).unwrap();
    let answer = cluster.run(cluster.admin.request::<Value>(request));
    answer.map(drop).map_err(|error| format!("{error}\n{object:#}"))
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
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("/{root}/{version}/{plural}"),
    }
}
