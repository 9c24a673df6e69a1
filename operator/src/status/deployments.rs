//! The Deployment that the operator belongs to.
//!
//! It owns our ConfigMaps, so that they go with it: a status left behind by an uninstall would make kube9 call the
//! cluster degraded for ever. And it knows whether another pod will follow this one.

use std::time::Duration;

use serde::Deserialize;

use crate::config::Pod;
use crate::kubernetes::{Client, Metadata, REQUEST_TIMEOUT, Request};
use crate::runtime::{Class, Context, Failure, Owner, Task, retry};

pub(crate) struct Deployments {
    client: Client,
    path: String,
    name: String,
}

impl Deployments {
    pub(crate) fn new(client: Client, pod: &Pod) -> Self {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", pod.namespace);
        Self { client, path, name: pod.deployment.clone() }
    }

    /// Asks until there is an answer.
    pub(crate) async fn find_owner(&self, context: &Context) {
        let owner = retry::until_success(context, Task::Owner, async || self.owner(REQUEST_TIMEOUT).await).await;
        if owner.is_none() {
            tracing::info!(deployment = self.name, "there is no such Deployment: the status will outlive us");
        }
        context.update(|state| {
            state.task_runs(Task::Owner);
            state.found_owner(owner);
        });
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
