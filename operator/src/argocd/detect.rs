//! The decision: what follows from what is known. Pure.

use std::time::Duration;

use litemap::LiteMap;

use crate::config::Approach;
use crate::kubernetes::Labels;
use crate::runtime::{Answer, Server, Task};
use crate::text::shortened;

/// A namespace, and the name of a Deployment in it.
pub(super) type Place = (String, String);

pub(super) type Servers = LiteMap<Place, Candidate>;

/// A Deployment with the labels of Argo CD's server.
#[derive(Debug, Default)]
pub(super) struct Candidate {
    /// What changes whenever its image may have.
    pub(super) revision: String,
    /// As its labels have it.
    pub(super) version: Option<String>,
}

/// What was learned of a Deployment at a revision by looking at its image.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) place: Place,
    pub(super) revision: String,
    pub(super) version: Option<String>,
}

/// What the API server has told so far. Nothing stands for "it has not said".
pub(super) struct Known {
    approach: Approach,
    pub(super) crd: Option<bool>,
    pub(super) servers: Option<Servers>,
    /// The same of a list that is not complete.
    pub(super) listed_crd: Option<bool>,
    pub(super) listed_servers: Option<Servers>,
    pub(super) image: Option<Image>,
    checks: LiteMap<Task, Duration>,
}

impl Known {
    pub(super) fn new(approach: Approach) -> Self {
        Self {
            approach,
            crd: None,
            servers: None,
            listed_crd: None,
            listed_servers: None,
            image: None,
            checks: LiteMap::new(),
        }
    }

    /// The server to tell of, where nobody has looked yet what its image says of its version.
    pub(super) fn unnamed(&self) -> Option<(Place, String)> {
        detect(self).filter(|answer| *answer != Answer::NotDetected)?;
        let (place, candidate) = chosen(self.servers.as_ref()?)?;
        let is_named = candidate.version.is_some() || self.image_of(place, candidate).is_some();
        (!is_named).then(|| (place.clone(), candidate.revision.clone()))
    }

    fn image_of(&self, place: &Place, candidate: &Candidate) -> Option<&Image> {
        self.image.as_ref().filter(|image| image.place == *place && image.revision == candidate.revision)
    }

    pub(super) fn checked(&mut self, task: Task, now: Duration) {
        self.checks.insert(task, now);
    }

    /// The answer is as old as the oldest of what it rests on.
    pub(super) fn oldest_check(&self) -> Duration {
        self.checks.values().min().copied().unwrap_or_default()
    }
}

/// The answer, or nothing as long as it could be either.
pub(super) fn detect(known: &Known) -> Option<Answer> {
    let wanted = match known.approach {
        Approach::Off => false,
        Approach::WithoutCrd => true,
        Approach::WithCrd => known.crd?,
    };
    if !wanted {
        return Some(Answer::NotDetected);
    }
    let Some((place, candidate)) = chosen(known.servers.as_ref()?) else { return Some(Answer::NotDetected) };
    let image = || known.image_of(place, candidate).and_then(|image| image.version.clone());
    let version = candidate.version.clone().or_else(image);
    Some(Answer::Detected(Server { namespace: place.0.clone(), version }))
}

/// Where most people have it, or else always the same one.
fn chosen(servers: &Servers) -> Option<(&Place, &Candidate)> {
    servers.iter().find(|((namespace, _), _)| namespace == USUAL_NAMESPACE).or(servers.first())
}

pub(super) const USUAL_NAMESPACE: &str = "argocd";

/// More that look like Argo CD are of no interest, and somebody's joke.
const MOST_SERVERS: usize = 1000;

pub(super) fn put(servers: &mut Servers, place: Place, candidate: Candidate) {
    if place.0 == USUAL_NAMESPACE || servers.len() < MOST_SERVERS || servers.contains_key(&place) {
        servers.insert(place, candidate);
    }
    if servers.len() > MOST_SERVERS
        && let Some(place) = servers.keys().rev().find(|(namespace, _)| namespace != USUAL_NAMESPACE).cloned()
    {
        servers.remove(&place);
    }
}

/// What the labels say.
pub(super) fn labelled_version(labels: &Labels) -> Option<String> {
    let labels = [&labels.recommended, &labels.argocd, &labels.plain];
    labels.into_iter().flatten().find(|version| !version.is_empty()).map(|version| told(version))
}

/// What the images of its containers say.
pub(super) fn version_in(images: &[(&str, &str)]) -> Option<String> {
    let named = images.iter().find(|(name, _)| *name == "argocd-server");
    let (_, image) = named.or(images.iter().find(|(_, image)| image.contains("argocd")))?;
    tag(image).map(|version| told(&version))
}

/// Like `v2.8.0`, and of the length of a label, since an image may have any.
fn told(version: &str) -> String {
    let version = shortened(version, 63);
    if version.starts_with(|first: char| first.is_ascii_digit()) { format!("v{version}") } else { version }
}

/// The tag of an image, if it is a version: three numbers, and perhaps more.
fn tag(image: &str) -> Option<String> {
    let (_, name) = image.split('@').next()?.rsplit_once('/').unwrap_or(("", image));
    let (_, tag) = name.split('@').next()?.split_once(':')?;
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let numbers: Vec<&str> = version.splitn(3, '.').collect();
    let begins_with_digit = |part: &&str| part.starts_with(|first: char| first.is_ascii_digit());
    (numbers.len() == 3 && numbers.iter().all(begins_with_digit)).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn known(approach: Approach, crd: Option<bool>, namespaces: Option<&[&str]>) -> Known {
        let server = |namespace: &&str| (((*namespace).to_owned(), "argocd-server".to_owned()), Candidate::default());
        let servers = namespaces.map(|namespaces| namespaces.iter().map(server).collect());
        Known { crd, servers, ..Known::new(approach) }
    }

    fn namespace(answer: Option<Answer>) -> String {
        match answer {
            Some(Answer::Detected(server)) => server.namespace,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_said_as_long_as_it_could_be_either() {
        for (crd, servers) in [(None, None), (Some(true), None), (None, Some(&["argocd"][..])), (None, Some(&[]))] {
            assert_eq!(detect(&known(Approach::WithCrd, crd, servers)), None, "{crd:?} {servers:?}");
        }
        assert_eq!(detect(&known(Approach::WithoutCrd, None, None)), None);
    }

    #[test]
    fn without_its_crd_it_is_not_there() {
        assert_eq!(detect(&known(Approach::WithCrd, Some(false), None)), Some(Answer::NotDetected));
        assert_eq!(detect(&known(Approach::WithCrd, Some(false), Some(&["argocd"]))), Some(Answer::NotDetected));
    }

    #[test]
    fn without_a_server_it_is_not_there() {
        assert_eq!(detect(&known(Approach::WithCrd, Some(true), Some(&[]))), Some(Answer::NotDetected));
    }

    #[test]
    fn a_user_who_says_there_is_none_is_believed() {
        assert_eq!(detect(&known(Approach::Off, None, None)), Some(Answer::NotDetected));
    }

    #[test]
    fn a_user_who_says_there_is_one_spares_the_crd() {
        assert_eq!(namespace(detect(&known(Approach::WithoutCrd, None, Some(&["gitops"])))), "gitops");
    }

    #[test]
    fn of_several_the_usual_place_wins_and_then_the_first_by_name() {
        let several = |namespaces| namespace(detect(&known(Approach::WithCrd, Some(true), Some(namespaces))));
        assert_eq!(several(&["a", "argocd", "z"]), "argocd");
        assert_eq!(several(&["z", "b"]), "b");
    }

    #[test]
    fn an_answer_is_as_old_as_the_oldest_of_its_grounds() {
        let mut known = known(Approach::WithCrd, Some(true), Some(&[]));
        known.checked(Task::CrdWatch, Duration::from_secs(9));
        known.checked(Task::DeploymentWatch, Duration::from_secs(4));
        assert_eq!(known.oldest_check(), Duration::from_secs(4));
    }

    #[test]
    fn the_image_is_looked_at_once_for_each_revision_of_the_server_that_is_told_of() {
        let mut known = known(Approach::WithoutCrd, None, Some(&["a", "b"]));
        let (place, revision) = known.unnamed().unwrap();
        assert_eq!(place.0, "a");
        known.image = Some(Image { place: place.clone(), revision, version: Some("v2.8.0".to_owned()) });
        assert_eq!(known.unnamed(), None);
        let server = Server { namespace: "a".to_owned(), version: Some("v2.8.0".to_owned()) };
        assert_eq!(detect(&known), Some(Answer::Detected(server)));
        let changed = Candidate { revision: "2".to_owned(), version: None };
        put(known.servers.as_mut().unwrap(), place, changed);
        assert_eq!(known.unnamed().map(|(_, revision)| revision).as_deref(), Some("2"));
    }

    #[test]
    fn however_many_there_are_only_some_are_kept_and_the_usual_place_is_among_them() {
        let mut servers = Servers::new();
        for number in 0..MOST_SERVERS + 5 {
            put(&mut servers, (format!("a-{number:05}"), "x".to_owned()), Candidate::default());
        }
        put(&mut servers, ("argocd".to_owned(), "x".to_owned()), Candidate::default());
        assert_eq!((servers.len(), chosen(&servers).unwrap().0.0.as_str()), (MOST_SERVERS, "argocd"));
    }

    #[test]
    fn the_version_is_the_first_label_that_has_one() {
        let version = |labels: Value| labelled_version(&serde_json::from_value(labels).unwrap());
        let all = json!({"version": "v1.0.0", "argocd.argoproj.io/version": "v2.0.0", "app": "argocd"});
        assert_eq!(version(all).as_deref(), Some("v2.0.0"));
        let bare = json!({"app.kubernetes.io/version": "3.0.6", "version": "v1.0.0"});
        assert_eq!(version(bare).as_deref(), Some("v3.0.6"));
        assert_eq!(version(json!({"version": ""})), None);
    }

    #[test]
    fn the_version_is_in_the_tag_of_the_image_otherwise() {
        let of = |image: &str| version_in(&[("argocd-server", image)]);
        assert_eq!(of("quay.io/argoproj/argocd:v2.8.0").as_deref(), Some("v2.8.0"));
        assert_eq!(of("mirror:5000/argocd:2.8.0-rc1@sha256:ab").as_deref(), Some("v2.8.0-rc1"));
        for image in ["argocd", "mirror:5000/argocd", "argocd:latest", "argocd@sha256:ab", "", "argocd:v2.8"] {
            assert_eq!(of(image), None, "{image}");
        }
        let sidecar = [("proxy", "envoy:1.2.3"), ("server", "x/argocd:v2.9.1")];
        assert_eq!(version_in(&sidecar).as_deref(), Some("v2.9.1"));
    }
}
