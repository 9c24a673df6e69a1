//! Whether Argo CD runs in the cluster, where, and in which version.
//!
//! kube9 takes the answer for final and stops looking for itself. So "not there" is only said when the API server said
//! so: an error leaves the last answer standing, and before there is one, none is given.
//!
//! `detect` decides; this file brings it the facts, by two watches, so that an install shows within seconds.

mod detect;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

pub(crate) use detect::{Answer, Server};

use crate::backoff;
use crate::failure::Class;
use crate::kubernetes::{Change, Client, Feed, Metadata, Versioned};
use crate::progress::Job;
use crate::serve::Context;
use detect::{Known, detect};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) approach: Approach,
    /// The only namespace to look in; all if there is none.
    pub(crate) namespace: Option<String>,
    /// The labels of Argo CD's server.
    pub(crate) selector: String,
    /// The time between two full looks.
    pub(crate) interval: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approach {
    /// There is none, says the user.
    Off,
    /// Its Deployment is enough.
    WithoutCrd,
    /// Its CustomResourceDefinition has to be there, too.
    WithCrd,
}

/// An answer, and the uptime at which it was known to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) answer: Answer,
    pub(crate) checked: Duration,
}

/// Looks for ever, and keeps the finding up to date.
pub(crate) async fn look(client: Client, context: Arc<Context>) {
    let settings = &context.config.argocd;
    if settings.approach == Approach::Off {
        context.progress.found(Finding { answer: Answer::NotDetected, checked: context.clock.uptime() });
        return;
    }
    let known = std::cell::RefCell::new(Known::new(settings.approach));
    tokio::join!(
        async {
            if settings.approach == Approach::WithCrd {
                let crds = |change: Change<Definition>| known.borrow_mut().crd(&change);
                follow(crd_feed(client.clone()), Job::CrdWatch, &context, &known, crds).await;
            }
        },
        async {
            let servers = |change: Change<Deployment>| known.borrow_mut().servers(change);
            follow(server_feed(client.clone(), settings), Job::DeploymentWatch, &context, &known, servers).await;
        },
    );
}

/// Keeps one watch going, whatever happens to it.
async fn follow<T>(
    feed: Feed,
    job: Job,
    context: &Context,
    known: &std::cell::RefCell<Known>,
    mut learn: impl FnMut(Change<T>),
) where
    T: Versioned + serde::de::DeserializeOwned,
{
    let Context { config, clock, progress, metrics, .. } = context;
    progress.job_expected(job);
    loop {
        let following = feed.follow(|change| {
            if matches!(change, Change::Watching) {
                progress.job_runs(job);
            }
            learn(change);
            known.borrow_mut().checked(job, clock.uptime());
            if let Some(finding) = known.borrow().finding() {
                progress.found(finding);
            }
        });
        let failure = tokio::select! {
            failure = following => failure,
            // A full look from time to time, in case that a watch misses something.
            () = clock.sleep(config.argocd.interval) => continue,
        };
        metrics.job_failed(job, failure.class);
        let expired = failure.class == Class::Expired;
        let message = failure.to_string();
        let asked_for = failure.retry_after;
        let failures = progress.job_failed(job, failure, clock.uptime());
        let pause = backoff::pause(failures, backoff::random_fraction(), asked_for);
        if expired && failures == 1 {
            tracing::debug!(watch = job.label(), "the watch was away for too long; looking again");
            continue;
        }
        tracing::warn!(watch = job.label(), error = message, failures, "cannot look for Argo CD");
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = progress.recovered() => {}
        }
    }
}

/// Where kube9 looks for itself, too.
const CRD: &str = "applications.argoproj.io";

fn crd_feed(client: Client) -> Feed {
    Feed {
        client,
        path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(),
        // Also what lets the role be limited to this one name.
        fields: Some(format!("metadata.name={CRD}")),
        labels: None,
    }
}

fn server_feed(client: Client, settings: &Settings) -> Feed {
    let path = match &settings.namespace {
        Some(namespace) => format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
        None => "/apis/apps/v1/deployments".to_owned(),
    };
    Feed { client, path, fields: None, labels: Some(settings.selector.clone()) }
}

#[derive(Debug, Clone, Deserialize)]
struct Definition {
    metadata: Metadata,
}

impl Versioned for Definition {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Deployment {
    metadata: Metadata,
    spec: Option<DeploymentSpec>,
}

#[derive(Debug, Clone, Deserialize)]
struct DeploymentSpec {
    template: PodTemplate,
}

#[derive(Debug, Clone, Deserialize)]
struct PodTemplate {
    spec: Option<PodSpec>,
}

#[derive(Debug, Clone, Deserialize)]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Deserialize)]
struct Container {
    name: String,
    image: Option<String>,
}

impl Versioned for Deployment {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl Known {
    fn crd(&mut self, change: &Change<Definition>) {
        match change {
            Change::Listed(definitions) => self.crd = Some(definitions.iter().any(is_there)),
            Change::Put(definition) => self.crd = Some(is_there(definition)),
            Change::Gone(_) => self.crd = Some(false),
            Change::Watching | Change::Same => {}
        }
    }

    fn servers(&mut self, change: Change<Deployment>) {
        let servers = &mut self.servers;
        match change {
            Change::Listed(deployments) => *servers = Some(deployments.iter().map(entry).collect()),
            Change::Put(deployment) => servers.get_or_insert_default().extend([entry(&deployment)]),
            Change::Gone(deployment) => {
                servers.get_or_insert_default().remove(&entry(&deployment).0);
            }
            Change::Watching | Change::Same => {}
        }
    }

    /// What there is to say, if enough is known.
    fn finding(&self) -> Option<Finding> {
        Some(Finding { answer: detect(self)?, checked: self.oldest_check() })
    }
}

/// No other is ever told of; and one on its way out can take a while.
fn is_there(definition: &Definition) -> bool {
    definition.metadata.deletion_timestamp.is_none()
}

fn entry(deployment: &Deployment) -> ((String, String), Server) {
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let images = pod.map_or(&[][..], |pod| &pod.containers).iter();
    let images: BTreeMap<&str, &str> =
        images.map(|container| (container.name.as_str(), container.image.as_deref().unwrap_or(""))).collect();
    let version = detect::version(deployment.metadata.labels.as_ref(), &images);
    ((namespace.clone(), deployment.metadata.name.clone()), Server { namespace, version })
}
