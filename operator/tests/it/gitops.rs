//! Argo CD, as far as it can be seen of it: a CustomResourceDefinition, and the Deployment of its server.

use serde_json::{Value, json};

use crate::chart;
use crate::cluster::Cluster;

pub(crate) fn install(cluster: &Cluster, namespace: &str, version: &str) {
    chart::create(cluster, &definition());
    let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    chart::create(cluster, &place);
    chart::create(cluster, &server(namespace, version));
}

pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "applications.argoproj.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/argoproj/argo-cd"},
        },
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"kind": "Application", "plural": "applications", "singular": "application"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

pub(crate) fn server(namespace: &str, version: &str) -> Value {
    let labels = json!({"app.kubernetes.io/name": "argocd-server"});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "my-argocd-server", "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [
                    {"name": "argocd-server", "image": format!("quay.io/argoproj/argocd:{version}")},
                ]},
            },
        },
    })
}
