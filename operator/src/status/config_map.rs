//! The ConfigMap that carries the status, and how it is written: by server-side apply.
//!
//! One kind of request serves for the first write and all later ones, there is no read before it, and fields that
//! others added stay untouched. Force, because nobody else has a say in our fields.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::NAME;
use crate::failure::Failure;
use crate::kubernetes::within;

/// Where kube9 looks for the status.
pub(crate) const CONFIG_MAP_NAME: &str = "kube9-operator-status";

/// Which object a write is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one that is there, or a new one.
    Any,
    /// The one with this identity; if it is gone, the API server answers with a conflict and creates nothing.
    Only(Uid),
}

/// The identity of one object, which another object of the same name does not share.
pub(crate) type Uid = String;

pub(crate) struct StatusConfigMap {
    api: Api<ConfigMap>,
    namespace: String,
}

impl StatusConfigMap {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// Writes the document and tells which object now holds it.
    pub(crate) async fn apply(
        &self,
        document: &Value,
        target: &Target,
        limit: Duration,
    ) -> Result<Option<Uid>, Failure> {
        let patch = Patch::Apply(manifest(&self.namespace, document, target));
        let parameters = PatchParams::apply(NAME).force();
        let written = within(limit, self.api.patch(CONFIG_MAP_NAME, &parameters, &patch)).await?;
        Ok(written.uid())
    }
}

fn manifest(namespace: &str, document: &Value, target: &Target) -> Value {
    let mut manifest = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP_NAME,
            "labels": {
                "app.kubernetes.io/name": "kube9-operator",
                "app.kubernetes.io/component": "status",
            },
        },
        "data": {
            "status": format!("{document:#}"),
            // kube9 learns the namespace from here, before it reads the document.
            "namespace": namespace,
        },
    });
    if let Target::Only(uid) = target {
        manifest["metadata"]["uid"] = json!(uid);
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_travels_as_text_under_the_key_kube9_reads() {
        let manifest = manifest("tools", &json!({"mode": "operated"}), &Target::Any);
        assert_eq!(manifest["data"]["status"], "{\n  \"mode\": \"operated\"\n}");
        assert_eq!(manifest["data"]["namespace"], "tools");
        assert_eq!(manifest["metadata"]["name"], "kube9-operator-status");
        assert_eq!(
            manifest["metadata"]["labels"],
            json!({"app.kubernetes.io/name": "kube9-operator", "app.kubernetes.io/component": "status"})
        );
    }

    #[test]
    fn only_a_write_about_one_object_names_its_identity() {
        let any = manifest("tools", &json!({}), &Target::Any);
        assert_eq!(any["metadata"].get("uid"), None);
        let one = manifest("tools", &json!({}), &Target::Only("12-34".to_owned()));
        assert_eq!(one["metadata"]["uid"], "12-34");
    }
}
