//! Asks Argo CD itself, by a token of its own: for the resource tree of an application, and whether it would tell.
//!
//! Argo CD says 403 of an application that is not there as of one that the token may not see. Its certificate is usually one
//! that it has signed itself, so somebody has to say who vouches for it. What is in the answer is up to those who run the
//! applications: it is bounded, and checked to be a tree, and otherwise passed on as it is.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::detect::USUAL_NAMESPACE;
use crate::config::{Approach, ArgoCd};
use crate::kubernetes::{Request, Voucher, client_of};
use crate::runtime::{Class, Failure};

/// Some 10,000 resources; an answer is in memory twice.
const LARGEST_TREE: usize = 8 * 1024 * 1024;

/// Of applications of one name.
const LARGEST_LIST: usize = 256 * 1024;

/// An application of Argo CD's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) name: String,
    /// None: where Argo CD is.
    pub(crate) namespace: Option<String>,
}

/// Kinds of refusal, as kube9 knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument,
    ApplicationNotFound,
    TokenMissing,
    AuthFailed,
    RbacDenied,
    Timeout,
    Unreachable,
    NotDetected,
    Internal,
}

impl Code {
    pub(crate) fn word(self) -> &'static str {
        self.word_and_exit().0
    }

    /// With which exit code a query ends.
    pub(crate) fn exit(self) -> u8 {
        self.word_and_exit().1
    }

    fn word_and_exit(self) -> (&'static str, u8) {
        match self {
            Self::InvalidArgument => ("INVALID_ARGUMENT", 2),
            Self::ApplicationNotFound => ("APPLICATION_NOT_FOUND", 3),
            Self::TokenMissing => ("ARGOCD_TOKEN_MISSING", 4),
            Self::AuthFailed => ("ARGOCD_AUTH_FAILED", 4),
            Self::RbacDenied => ("ARGOCD_RBAC_DENIED", 5),
            Self::Timeout => ("TIMEOUT", 6),
            Self::Unreachable => ("ARGOCD_API_UNREACHABLE", 7),
            Self::NotDetected => ("ARGOCD_NOT_DETECTED", 7),
            Self::Internal => ("INTERNAL_ERROR", 1),
        }
    }
}

/// What went wrong and what to do, and what the other side said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) details: String,
}

impl Refused {
    fn new(code: Code, message: impl Into<String>, details: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: details.into() }
    }
}

/// Argo CD's API, as far as settings and a token make one.
pub(crate) struct Api<'settings> {
    settings: &'settings ArgoCd,
    token: String,
}

impl<'settings> Api<'settings> {
    /// The token is read anew each time, so that whoever replaces it need not tell.
    pub(crate) fn new(settings: &'settings ArgoCd) -> Result<Self, Refused> {
        if settings.approach == Approach::Off {
            return Err(Refused::new(Code::NotDetected, "there is no Argo CD, say the operator's settings", ""));
        }
        let missing = |details: String| {
            let message = "there is no token for Argo CD's API; argocd.api.token.existingSecret of the chart names a Secret with one";
            Refused::new(Code::TokenMissing, message, details)
        };
        let file = settings.api.token_file.as_deref().ok_or_else(|| missing(String::new()))?;
        let token = std::fs::read_to_string(file).map_err(|error| missing(format!("{}: {error}", file.display())))?;
        if token.trim().is_empty() {
            return Err(missing(format!("{} is empty", file.display())));
        }
        Ok(Self { settings, token })
    }

    /// The tree as Argo CD tells it, as JSON. `found` is the namespace where Argo CD was found.
    pub(crate) async fn tree(&self, found: Option<&str>, application: &Application) -> Result<String, Refused> {
        let Application { name, namespace } = application;
        let of_namespace = namespace.as_ref().map(|namespace| format!("?appNamespace={namespace}")).unwrap_or_default();
        let answer =
            self.ask(found, format!("/api/v1/applications/{name}/resource-tree{of_namespace}"), LARGEST_TREE).await?;
        if is_tree(&answer) { Ok(answer) } else { Err(no_answer("it is no resource tree")) }
    }

    /// Whether Argo CD takes the token: it is asked for an application that hardly anybody has, which costs it nothing.
    pub(crate) async fn attempt(&self, found: Option<&str>) -> Result<(), Refused> {
        let answer =
            self.ask(found, "/api/v1/applications?name=kube9-operator-attempt".to_owned(), LARGEST_LIST).await?;
        if is_list(&answer) { Ok(()) } else { Err(no_answer("it is no list of applications")) }
    }

    async fn ask(&self, found: Option<&str>, target: String, longest: usize) -> Result<String, Refused> {
        let api = &self.settings.api;
        let server = address(self.settings, found)?;
        let voucher = match &api.authority_file {
            Some(file) => Voucher::File(file),
            None if api.insecure => Voucher::Nobody,
            None => Voucher::Machine,
        };
        let client = client_of(&server, self.token.trim(), voucher).map_err(|details| {
            let message = format!(
                "cannot ask Argo CD's API at {server}; the chart's value argocd.api.ca names who vouches for it"
            );
            Refused::new(Code::Unreachable, message, details)
        })?;
        let answer = client.text(Request::get(target), api.timeout, longest).await;
        answer.map_err(|failure| refused(&failure, &server))
    }
}

/// Where the API is. Whoever may make a Deployment in some namespace could pass for Argo CD: where no certificate counts, no
/// token goes to a namespace that nobody named.
fn address(settings: &ArgoCd, found: Option<&str>) -> Result<String, Refused> {
    if let Some(address) = &settings.api.address {
        return Ok(address.clone());
    }
    let namespace = found.ok_or_else(|| Refused::new(Code::NotDetected, "there is no Argo CD in this cluster", ""))?;
    let is_named = namespace == settings.namespace.as_deref().unwrap_or(USUAL_NAMESPACE);
    if settings.api.insecure && settings.api.authority_file.is_none() && !is_named {
        let message = format!(
            "the token is not sent to namespace {namespace}, where Argo CD was found: nobody vouches for its certificate; \
             set the chart's value argocd.namespace, or argocd.api.ca"
        );
        return Err(Refused::new(Code::Unreachable, message, ""));
    }
    Ok(format!("https://{}.{namespace}.svc", settings.api.service))
}

/// What a failure means to whoever asked.
fn refused(failure: &Failure, server: &str) -> Refused {
    let is_of_argocd = failure.message.contains("argoproj.io");
    let (code, message) = match failure.class {
        Class::Unauthorized => {
            (Code::AuthFailed, "Argo CD does not take the token; has it expired, or was it revoked?".to_owned())
        }
        Class::Forbidden => (
            Code::RbacDenied,
            "there is no such application, or Argo CD's RBAC does not let the token's account get it".to_owned(),
        ),
        Class::NotFound if is_of_argocd => (Code::ApplicationNotFound, "there is no such application".to_owned()),
        Class::Timeout => (Code::Timeout, format!("Argo CD's API at {server} does not answer in time")),
        Class::Unreachable if failure.message.contains("certificate") => (
            Code::Unreachable,
            format!("nobody vouches for the certificate of {server}; the chart's value argocd.api.ca says who does"),
        ),
        Class::Rejected | Class::Conflict | Class::Expired | Class::Storage => {
            (Code::Internal, format!("Argo CD's API at {server} does not understand"))
        }
        Class::NotFound | Class::Throttled | Class::ServerError | Class::Unreachable => {
            (Code::Unreachable, format!("Argo CD's API does not answer at {server} as it should"))
        }
    };
    Refused::new(code, message, failure.to_string())
}

fn no_answer(details: &str) -> Refused {
    let message =
        "what answers is not Argo CD's API; do argocd.api.baseUrl and argocd.api.serverServiceName lead there?";
    Refused::new(Code::Unreachable, message, details)
}

/// What kube9 looks into: every node is an object. One without anything is of an application without resources.
fn is_tree(answer: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Tree {
        nodes: Option<Vec<Object>>,
        orphaned_nodes: Option<Vec<Object>>,
        hosts: Option<IgnoredAny>,
        shards_count: Option<IgnoredAny>,
    }
    let tree: Option<Tree> = object(answer);
    let says_something = |tree: Tree| {
        tree.nodes.is_some() || tree.orphaned_nodes.is_some() || tree.hosts.is_some() || tree.shards_count.is_some()
    };
    answer.trim() == "{}" || tree.is_some_and(says_something)
}

fn is_list(answer: &str) -> bool {
    #[derive(Deserialize)]
    struct List {
        #[serde(rename = "metadata")]
        _metadata: Object,
    }
    object::<List>(answer).is_some()
}

#[derive(Deserialize)]
struct Object {}

/// Rust would read a list as an object, too.
fn object<'answer, T: Deserialize<'answer>>(answer: &'answer str) -> Option<T> {
    answer.trim_start().starts_with('{').then(|| serde_json::from_str(answer).ok()).flatten()
}

/// What the files say from which access is made, to see when they change.
pub(super) fn files(settings: &ArgoCd) -> [Option<Vec<u8>>; 2] {
    let files = [&settings.api.token_file, &settings.api.authority_file];
    files.map(|file| std::fs::read(file.as_ref()?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> ArgoCd {
        let set = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        ArgoCd::read(set).unwrap()
    }

    #[test]
    fn the_api_is_at_the_service_where_argocd_was_found_unless_somebody_says_where() {
        assert_eq!(address(&settings(&[]), Some("gitops")).unwrap(), "https://argocd-server.gitops.svc");
        assert_eq!(address(&settings(&[]), None).unwrap_err().code, Code::NotDetected);
        let elsewhere = settings(&[("ARGOCD_API_BASE_URL", "https://argocd.example/cd/")]);
        assert_eq!(address(&elsewhere, Some("gitops")).unwrap(), "https://argocd.example/cd");
    }

    #[test]
    fn f9_no_token_goes_to_a_namespace_that_nobody_named_and_nobody_vouches_for() {
        let insecure = ("ARGOCD_API_TLS_INSECURE", "true");
        assert!(address(&settings(&[insecure]), Some("argocd")).is_ok());
        assert!(address(&settings(&[insecure, ("ARGOCD_NAMESPACE", "gitops")]), Some("gitops")).is_ok());
        assert!(address(&settings(&[insecure, ("ARGOCD_API_CA_FILE", "/ca.crt")]), Some("gitops")).is_ok());
        let refused = address(&settings(&[insecure]), Some("anybodys")).unwrap_err();
        assert_eq!(refused.code, Code::Unreachable);
        assert!(refused.message.contains("namespace anybodys"), "{}", refused.message);
    }

    #[test]
    fn only_what_could_be_a_tree_is_taken_for_one() {
        for tree in ["{}", r#"{"nodes":[{"kind":"Pod"}]}"#, r#" {"nodes":null,"hosts":[],"more":[1]}"#] {
            assert!(is_tree(tree), "{tree}");
        }
        for other in ["", "[]", "null", "<html>", r#"{"nodes":[null]}"#, r#"{"nodes":[{}"#, r#"{"error":"no"}"#] {
            assert!(!is_tree(other), "{other}");
        }
        assert!(is_list(r#"{"metadata":{"resourceVersion":"1"},"items":null}"#) && !is_list("{}"));
    }

    #[test]
    fn not_found_is_of_an_application_only_where_argocd_says_it() {
        let code = |message: &str| refused(&Failure::new(Class::NotFound, message), "").code;
        assert_eq!(code("applications.argoproj.io \"shop\" not found"), Code::ApplicationNotFound);
        assert_eq!(code("404 page not found"), Code::Unreachable);
    }
}
