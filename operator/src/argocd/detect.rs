//! The decision: what follows from what is known. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Approach;
use crate::progress::Job;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    NotDetected,
    Detected(Server),
}

/// One installation of Argo CD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) namespace: String,
    /// Like `v2.8.0`.
    pub(crate) version: Option<String>,
}

/// What the API server has told so far. Nothing stands for "it has not said".
pub(super) struct Known {
    approach: Approach,
    pub(super) crd: Option<bool>,
    /// By namespace and name.
    pub(super) servers: Option<BTreeMap<(String, String), Server>>,
    checks: BTreeMap<Job, Duration>,
}

impl Known {
    pub(super) fn new(approach: Approach) -> Self {
        Self { approach, crd: None, servers: None, checks: BTreeMap::new() }
    }

    pub(super) fn checked(&mut self, job: Job, now: Duration) {
        self.checks.insert(job, now);
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
    let servers = known.servers.as_ref()?;
    // Where most people have it, or else always the same one.
    let usual = servers.values().find(|server| server.namespace == USUAL_NAMESPACE);
    Some(usual.or(servers.values().next()).map_or(Answer::NotDetected, |server| Answer::Detected(server.clone())))
}

const USUAL_NAMESPACE: &str = "argocd";

/// What the labels say, or else the image's tag.
pub(super) fn version(labels: Option<&BTreeMap<String, String>>, images: &BTreeMap<&str, &str>) -> Option<String> {
    let label = |name| labels.and_then(|labels| labels.get(name)).filter(|version| !version.is_empty());
    let named = LABELS.into_iter().find_map(label).cloned();
    let image = images.get("argocd-server").or(images.values().find(|image| image.contains("argocd")));
    let version = named.or_else(|| image.and_then(|image| tag(image)))?;
    Some(if version.starts_with(|first: char| first.is_ascii_digit()) { format!("v{version}") } else { version })
}

const LABELS: [&str; 3] = ["app.kubernetes.io/version", "argocd.argoproj.io/version", "version"];

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
    use super::*;

    fn known(approach: Approach, crd: Option<bool>, namespaces: Option<&[&str]>) -> Known {
        let server = |namespace: &&str| {
            let server = Server { namespace: (*namespace).to_owned(), version: None };
            ((server.namespace.clone(), "argocd-server".to_owned()), server)
        };
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
        known.checked(Job::CrdWatch, Duration::from_secs(9));
        known.checked(Job::DeploymentWatch, Duration::from_secs(4));
        assert_eq!(known.oldest_check(), Duration::from_secs(4));
    }

    #[test]
    fn the_version_is_the_first_label_that_has_one() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let all = labels(&[("version", "v1.0.0"), ("argocd.argoproj.io/version", "v2.0.0")]);
        assert_eq!(version(Some(&all), &BTreeMap::new()).as_deref(), Some("v2.0.0"));
        let bare = labels(&[("app.kubernetes.io/version", "3.0.6")]);
        assert_eq!(version(Some(&bare), &BTreeMap::new()).as_deref(), Some("v3.0.6"));
    }

    #[test]
    fn the_version_is_in_the_tag_of_the_image_otherwise() {
        let of = |image: &str| version(None, &BTreeMap::from([("argocd-server", image)]));
        assert_eq!(of("quay.io/argoproj/argocd:v2.8.0").as_deref(), Some("v2.8.0"));
        assert_eq!(of("mirror:5000/argocd:2.8.0-rc1@sha256:ab").as_deref(), Some("v2.8.0-rc1"));
        for image in ["argocd", "mirror:5000/argocd", "argocd:latest", "argocd@sha256:ab", "", "argocd:v2.8"] {
            assert_eq!(of(image), None, "{image}");
        }
        let sidecar = BTreeMap::from([("proxy", "envoy:1.2.3"), ("server", "x/argocd:v2.9.1")]);
        assert_eq!(version(None, &sidecar).as_deref(), Some("v2.9.1"));
    }
}
