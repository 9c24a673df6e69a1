//! With what our ConfigMaps go: what is left behind would be shown as if it were true.

use serde_json::{Value, json};

/// What a ConfigMap goes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    api: &'static str,
    kind: &'static str,
    name: String,
    pub(crate) uid: String,
}

impl Owner {
    pub(crate) fn deployment(name: &str, uid: String) -> Self {
        Self { api: "apps/v1", kind: "Deployment", name: name.to_owned(), uid }
    }

    pub(crate) fn pod(name: &str, uid: &str) -> Self {
        Self { api: "v1", kind: "Pod", name: name.to_owned(), uid: uid.to_owned() }
    }

    /// Without `blockOwnerDeletion`, which would need a further right.
    pub(crate) fn reference(&self) -> Value {
        json!({"apiVersion": self.api, "kind": self.kind, "name": self.name, "uid": self.uid})
    }
}
