//! The Deployment that the operator belongs to.
//!
//! It owns our ConfigMaps, so that they go with it: a status left behind by an uninstall would make kube9 call the
//! cluster degraded for ever. And it knows whether another pod will follow this one.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::backoff;
use crate::failure::{Class, Failure};
use crate::kubernetes::{Client, Metadata, REQUEST_TIMEOUT, Request};
use crate::progress::Job;
use crate::serve::Context;

/// What a ConfigMap goes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    api: &'static str,
    kind: &'static str,
    name: String,
    uid: String,
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

pub(crate) struct Deployments {
    client: Client,
    path: String,
    name: String,
}

impl Deployments {
    pub(crate) fn new(client: Client, namespace: &str, name: &str) -> Self {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
        Self { client, path, name: name.to_owned() }
    }

    /// Asks until there is an answer.
    pub(crate) async fn find_owner(&self, context: &Context) {
        let Context { clock, progress, metrics, .. } = context;
        loop {
            match self.owner(REQUEST_TIMEOUT).await {
                Ok(owner) => {
                    if owner.is_none() {
                        tracing::info!(
                            deployment = self.name,
                            "there is no such Deployment: the status will outlive us"
                        );
                    }
                    progress.job_runs(Job::Owner);
                    return progress.found_owner(owner);
                }
                Err(failure) => {
                    tracing::warn!(%failure, "cannot ask for the Deployment that the status belongs to");
                    metrics.job_failed(Job::Owner, failure.class);
                    let asked_for = failure.retry_after;
                    let failures = progress.job_failed(Job::Owner, failure, clock.uptime());
                    clock.sleep(backoff::pause(failures, backoff::random_fraction(), asked_for)).await;
                }
            }
        }
    }

    /// None if the operator was not installed by a Deployment.
    async fn owner(&self, limit: Duration) -> Result<Option<Owner>, Failure> {
        match self.get(limit).await {
            Ok(deployment) => Ok(Some(Owner::deployment(&self.name, deployment.metadata.uid))),
            Err(failure) if failure.class == Class::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether a pod like ours is to run after us, as in an upgrade or when a node is drained.
    pub(crate) async fn will_replace_us(&self, owner: &Owner, limit: Duration) -> bool {
        match self.get(limit).await {
            Ok(deployment) => deployment.metadata.uid == owner.uid && wants_pods(&deployment),
            Err(failure) => {
                tracing::info!(%failure, "the Deployment does not say that another pod will follow");
                false
            }
        }
    }

    async fn get(&self, limit: Duration) -> Result<Deployment, Failure> {
        self.client.fetch(Request::get(format!("{}/{}", self.path, self.name)), limit).await
    }
}

fn wants_pods(deployment: &Deployment) -> bool {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.metadata.deletion_timestamp.is_none() && replicas > 0
}

#[derive(Deserialize)]
struct Deployment {
    metadata: Metadata,
    spec: Option<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    replicas: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_is_scaled_down_or_going_away_wants_no_pods() {
        let wants = |text| wants_pods(&serde_json::from_str(text).unwrap());
        assert!(wants(r#"{"metadata": {}, "spec": {"replicas": 1}}"#));
        assert!(wants(r#"{"metadata": {}, "spec": {}}"#));
        assert!(!wants(r#"{"metadata": {}, "spec": {"replicas": 0}}"#));
        assert!(!wants(r#"{"metadata": {"deletionTimestamp": "2026-08-03T12:00:00Z"}, "spec": {"replicas": 1}}"#));
    }
}
