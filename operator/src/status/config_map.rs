//! The ConfigMaps that the operator keeps, and how they are written: by server-side apply.
//!
//! One kind of request serves for the first write and all later ones, there is no read before it, and fields that
//! others added stay untouched. Force, because nobody else has a say in our fields.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::NAME;
use crate::kubernetes::{Client, Request};
use crate::runtime::{Class, Failure, Owner};
use crate::time::Timestamp;

/// Which object a write is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one that is there, or a new one.
    Any,
    /// The one with this identity, as it was then. If it is gone or has changed, the API server answers with a conflict
    /// and creates nothing.
    Only(Identity),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What another object of the same name does not share.
    pub(crate) uid: String,
    /// What changes with every write, whoever writes.
    pub(crate) version: String,
}

/// What is to be in a ConfigMap.
pub(crate) struct Content<'content> {
    pub(crate) name: &'static str,
    pub(crate) component: &'static str,
    pub(crate) data: &'content [(&'static str, &'content str)],
}

/// What the API server answered to a write.
pub(crate) struct Written {
    pub(crate) identity: Identity,
    /// When that was, by the clock of the API server.
    pub(crate) time: Option<Timestamp>,
}

pub(crate) struct ConfigMaps {
    client: Client,
    path: String,
}

impl ConfigMaps {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self { client, path: format!("/api/v1/namespaces/{namespace}/configmaps") }
    }

    pub(crate) async fn apply(
        &self,
        content: &Content<'_>,
        owner: Option<&Owner>,
        target: &Target,
        limit: Duration,
    ) -> Result<Written, Failure> {
        let request = Request::apply(&self.object(content.name), &manifest(content, owner, target));
        let written: ConfigMap = self.client.fetch(request, limit).await?;
        Ok(Written { time: written.metadata.time(), identity: written.metadata.identity() })
    }

    /// Removes it, if it is there, and the one with that uid where there is one.
    pub(crate) async fn delete(&self, name: &str, uid: Option<&str>, limit: Duration) -> Result<(), Failure> {
        match self.client.fetch::<IgnoredAny>(Request::delete(self.object(name), uid), limit).await {
            Err(failure) if failure.class == Class::NotFound => Ok(()),
            // Another one stands in its place, which is none of our business.
            Err(failure) if failure.class == Class::Conflict && uid.is_some() => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// What is there now: its identity, and the text under a key.
    pub(crate) async fn read(&self, name: &str, key: &str, limit: Duration) -> Result<(Identity, String), Failure> {
        let found: ConfigMap = self.client.fetch(Request::get(self.object(name)), limit).await?;
        let text = found.data.as_ref().and_then(|data| data.get(key)?.as_str()).unwrap_or_default().to_owned();
        Ok((found.metadata.identity(), text))
    }

    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// What we read of one.
#[derive(Deserialize)]
struct ConfigMap {
    metadata: Metadata,
    data: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    resource_version: String,
    managed_fields: Option<Vec<Manager>>,
}

/// Somebody who has a say in the object, and when they last said something.
#[derive(Deserialize)]
struct Manager {
    manager: Option<String>,
    time: Option<Timestamp>,
}

impl Metadata {
    fn identity(self) -> Identity {
        Identity { uid: self.uid, version: self.resource_version }
    }

    fn time(&self) -> Option<Timestamp> {
        let managers = self.managed_fields.iter().flatten();
        managers.filter(|entry| entry.manager.as_deref() == Some(NAME)).find_map(|entry| entry.time)
    }
}

fn manifest(content: &Content<'_>, owner: Option<&Owner>, target: &Target) -> Value {
    let mut manifest = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": content.name,
            "labels": {
                "app.kubernetes.io/name": "kube9-operator",
                "app.kubernetes.io/component": content.component,
            },
        },
    });
    for (key, text) in content.data {
        manifest["data"][key] = json!(text);
    }
    if let Some(owner) = owner {
        manifest["metadata"]["ownerReferences"] = json!([owner.reference()]);
    }
    if let Target::Only(identity) = target {
        manifest["metadata"]["uid"] = json!(identity.uid);
        manifest["metadata"]["resourceVersion"] = json!(identity.version);
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content<'static> {
        Content { name: "notes", component: "status", data: &[("key", "text")] }
    }

    #[test]
    fn a_config_map_is_labelled_with_its_part() {
        let manifest = manifest(&content(), None, &Target::Any);
        assert_eq!(manifest["metadata"]["name"], "notes");
        assert_eq!(manifest["data"], json!({"key": "text"}));
        assert_eq!(
            manifest["metadata"]["labels"],
            json!({"app.kubernetes.io/name": "kube9-operator", "app.kubernetes.io/component": "status"})
        );
        assert_eq!(manifest["metadata"].get("ownerReferences"), None);
    }

    #[test]
    fn only_a_write_about_one_object_names_its_identity() {
        let any = manifest(&content(), None, &Target::Any);
        assert_eq!((any["metadata"].get("uid"), any["metadata"].get("resourceVersion")), (None, None));
        let identity = Identity { uid: "12-34".to_owned(), version: "56".to_owned() };
        let one = manifest(&content(), None, &Target::Only(identity));
        assert_eq!((&one["metadata"]["uid"], &one["metadata"]["resourceVersion"]), (&json!("12-34"), &json!("56")));
    }

    #[test]
    fn an_owner_takes_the_config_map_along_when_it_goes() {
        let owner = Owner::deployment("kube9-operator", "12-34".to_owned());
        let manifest = manifest(&content(), Some(&owner), &Target::Any);
        assert_eq!(
            manifest["metadata"]["ownerReferences"],
            json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "kube9-operator", "uid": "12-34"}])
        );
    }
}
