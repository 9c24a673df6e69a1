//! Whether Argo CD runs in the cluster, where, and in which version.
//!
//! kube9 takes the answer for final and stops looking for itself. So "not there" is only said when the API server said
//! so: an error leaves the last answer standing, and before there is one, none is given.
//!
//! `detect` decides; this file brings it the facts, by two watches, so that an install shows within seconds. `api` asks Argo CD
//! itself, where there is a token for that, and `probe` tells whether it would answer.

pub(crate) mod api;
mod detect;
mod probe;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;

use crate::config::{Approach, ArgoCd};
use crate::kubernetes::{Change, Client, Feed, Follower, Form, List, Metadata, Object, Read};
use crate::runtime::{Answer, Context, Failure, Finding, Task, retry};
use detect::{Candidate, Image, Known, Place, Servers, detect};

/// Looks for ever, and keeps the finding up to date.
pub(crate) async fn look(client: Client, context: Arc<Context>) {
    let settings = &context.config.argocd;
    if settings.approach == Approach::Off {
        let finding = Finding { answer: Answer::NotDetected, checked: context.clock.uptime() };
        context.update(|state| state.found(finding));
        return;
    }
    let look = Look { known: RefCell::new(Known::new(settings.approach)), context: &context, unnamed: Notify::new() };
    let feed = |list| Feed { client: client.clone(), clock: context.clock.clone(), list, is_counted: false };
    let (definitions, servers) = (feed(definitions()), feed(servers(settings)));
    tokio::join!(
        async {
            if settings.approach == Approach::WithCrd {
                look.follow(&definitions, Task::CrdWatch, Known::crd).await;
            }
        },
        look.follow(&servers, Task::DeploymentWatch, Known::servers),
        look.name_versions(&client),
        probe::keep_probing(&context),
    );
}

struct Look<'context> {
    known: RefCell<Known>,
    context: &'context Context,
    /// There is a server of which only its image may tell the version.
    unnamed: Notify,
}

impl Look<'_> {
    /// Keeps one watch going, whatever happens to it.
    async fn follow(&self, feed: &Feed<Object>, task: Task, learn: fn(&mut Known, Change<Object>)) {
        let Context { config, clock, .. } = self.context;
        let mut learner = Learner { look: self, task, learn };
        loop {
            let look = async || {
                tokio::select! {
                    failure = feed.follow(&mut learner) => Err(failure),
                    // A full look from time to time, in case that a watch misses something.
                    () = clock.sleep(config.argocd.interval) => Ok(()),
                }
            };
            retry::until_success(self.context, task, look).await;
        }
    }

    fn publish(&self) {
        let known = self.known.borrow();
        if known.unnamed().is_some() {
            self.unnamed.notify_one();
        } else if let Some(finding) = known.finding() {
            self.context.update(|state| state.found(finding));
        }
    }

    /// Looks at the image of a server whose labels do not tell its version: of that one alone, whatever else there is.
    async fn name_versions(&self, client: &Client) {
        loop {
            self.unnamed.notified().await;
            let Some((place, revision)) = self.known.borrow().unnamed() else { continue };
            let asked = version_of(client, &place).await;
            let pause = if asked.is_ok() { BETWEEN_IMAGES } else { AFTER_FAILURE };
            let version = asked.unwrap_or_else(|failure| {
                tracing::warn!(%failure, namespace = place.0, "cannot ask for the version of Argo CD");
                None
            });
            self.known.borrow_mut().image = Some(Image { place, revision, version });
            self.publish();
            self.context.clock.sleep(pause).await;
        }
    }
}

/// Whoever may change a Deployment may do so all the time.
const BETWEEN_IMAGES: Duration = Duration::from_secs(1);
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Puts what a watch tells into what is known.
struct Learner<'look, 'context> {
    look: &'look Look<'context>,
    task: Task,
    learn: fn(&mut Known, Change<Object>),
}

impl Follower<Object> for Learner<'_, '_> {
    fn tell(&mut self, change: Change<Object>) {
        let context = self.look.context;
        match &change {
            Change::Watching => context.update(|state| state.task_runs(self.task)),
            Change::Skipped(reason) => context.skipped(self.task, reason),
            _ => {}
        }
        let mut known = self.look.known.borrow_mut();
        (self.learn)(&mut known, change);
        known.checked(self.task, context.clock.uptime());
        drop(known);
        self.look.publish();
    }
}

/// Where kube9 looks for itself, too.
const CRD: &str = "applications.argoproj.io";

const PAGE: u32 = 500;

fn definitions() -> List<Object> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    // Also what lets the role be limited to this one name.
    List { field_selector: Some(format!("metadata.name={CRD}")), ..List::all(path, PAGE, Form::METADATA) }
}

fn servers(settings: &ArgoCd) -> List<Object> {
    let path = settings.namespace.as_deref().map_or_else(|| "/apis/apps/v1/deployments".to_owned(), deployments);
    List { label_selector: Some(settings.selector.clone()), ..List::all(path, PAGE, Form::METADATA) }
}

fn deployments(namespace: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments")
}

/// The version by the tag of the image, if there is such a Deployment, and such a tag.
async fn version_of(client: &Client, (namespace, name): &Place) -> Result<Option<String>, Failure> {
    let field_selector = Some(format!("metadata.name={name}"));
    let list = List { field_selector, ..List::all(deployments(namespace), 1, Form::JSON) };
    let mut version = None;
    client
        .list(&list, &mut |deployment: Read<Deployment>| version = deployment.ok().and_then(|it| it.version()))
        .await?;
    Ok(version)
}

#[derive(Deserialize)]
struct Deployment {
    spec: Option<DeploymentSpec>,
}

#[derive(Deserialize)]
struct DeploymentSpec {
    template: PodTemplate,
}

#[derive(Deserialize)]
struct PodTemplate {
    spec: Option<PodSpec>,
}

#[derive(Deserialize)]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    image: Option<String>,
}

impl Deployment {
    fn version(&self) -> Option<String> {
        let pod = self.spec.as_ref()?.template.spec.as_ref()?;
        let images = pod.containers.iter().map(|it| (it.name.as_str(), it.image.as_deref().unwrap_or("")));
        detect::version_in(&images.collect::<Vec<_>>())
    }
}

impl Known {
    fn crd(&mut self, change: Change<Object>) {
        match change {
            Change::Listing => self.listed_crd = Some(false),
            Change::Listed => self.crd = self.listed_crd.take(),
            Change::Put(definition) | Change::New(definition) => {
                let crd = self.listed_crd.as_mut().unwrap_or_else(|| self.crd.get_or_insert_default());
                *crd = is_there(&definition);
            }
            Change::Gone(_) => self.crd = Some(false),
            Change::Watching | Change::Counted(_) | Change::Same | Change::Skipped(_) => {}
        }
    }

    fn servers(&mut self, change: Change<Object>) {
        match change {
            Change::Listing => self.listed_servers = Some(Servers::new()),
            Change::Listed => self.servers = self.listed_servers.take(),
            Change::Put(deployment) | Change::New(deployment) => {
                let servers = self.listed_servers.as_mut().unwrap_or_else(|| self.servers.get_or_insert_default());
                detect::put(servers, place(&deployment), candidate(&deployment));
            }
            Change::Gone(deployment) => {
                self.servers.get_or_insert_default().remove(&place(&deployment));
            }
            Change::Watching | Change::Counted(_) | Change::Same | Change::Skipped(_) => {}
        }
    }

    /// What there is to say, if enough is known.
    fn finding(&self) -> Option<Finding> {
        Some(Finding { answer: detect(self)?, checked: self.oldest_check() })
    }
}

/// No other is ever told of; and one on its way out can take a while.
fn is_there(definition: &Object) -> bool {
    definition.metadata.deletion_timestamp.is_none()
}

fn place(deployment: &Object) -> Place {
    (deployment.metadata.namespace.clone().unwrap_or_default(), deployment.metadata.name.clone())
}

fn candidate(deployment: &Object) -> Candidate {
    let Metadata { uid, generation, labels, .. } = &deployment.metadata;
    Candidate { revision: format!("{uid} {generation}"), version: labels.as_ref().and_then(detect::labelled_version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Object {
        Object { metadata: Metadata { name: name.to_owned(), ..Metadata::default() } }
    }

    #[test]
    fn a_list_says_nothing_before_it_is_complete() {
        let mut known = Known::new(Approach::WithCrd);
        for change in [Change::Listing, Change::Put(object("a")), Change::Skipped(String::new())] {
            known.servers(change);
        }
        known.crd(Change::Listing);
        assert_eq!((known.crd, known.servers.is_some()), (None, false));
        known.servers(Change::Listed);
        known.crd(Change::Listed);
        assert_eq!((known.crd, known.servers.as_ref().map(Servers::len)), (Some(false), Some(1)));
        known.servers(Change::Put(object("b")));
        known.servers(Change::Gone(object("a")));
        known.crd(Change::Put(object("c")));
        assert_eq!(
            (known.crd, known.servers.unwrap().keys().map(|place| place.1.clone()).collect()),
            (Some(true), vec!["b".to_owned()])
        );
    }
}
