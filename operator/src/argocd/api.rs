//! Asks Argo CD itself, by a token of its own: for the resource tree of an application, and whether it would tell.
//!
//! Argo CD says 403 of an application that is not there as of one that the token may not see. Its certificate is usually one
//! that it has signed itself, so somebody has to say who vouches for it. What is in the answer is up to those who run the
//! applications: it is bounded, and checked to be a tree, and otherwise passed on as it is.

use serde::Deserialize;

use super::detect::USUAL_NAMESPACE;
use crate::config::{Approach, ArgoCd};
use crate::kubernetes::{Request, Trust, client_of};
use crate::runtime::{Class, Failure};

/// Some 10,000 resources, or the names of 100,000 applications.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

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
    /// The second is the exit code of a query.
    pub(crate) fn word_and_exit(self) -> (&'static str, u8) {
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
pub(crate) struct ApiError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) details: String,
}

impl ApiError {
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
    pub(crate) fn new(settings: &'settings ArgoCd) -> Result<Self, ApiError> {
        if settings.approach == Approach::Off {
            return Err(ApiError::new(Code::NotDetected, "Argo CD is switched off in the operator's settings", ""));
        }
        let missing = |details: String| {
            let message = "there is no usable token for Argo CD's API; argocd.api.token.existingSecret of the chart names a Secret with one";
            ApiError::new(Code::TokenMissing, message, details)
        };
        let file = settings.api.token_file.as_deref().ok_or_else(|| missing(String::new()))?;
        let token = std::fs::read_to_string(file).map_err(|error| missing(format!("{}: {error}", file.display())))?;
        let token = token.trim().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(missing(format!("{} is empty, or has what no token has", file.display())));
        }
        Ok(Self { settings, token })
    }

    /// The tree as Argo CD tells it, as JSON. `found` is the namespace where Argo CD was found.
    pub(crate) async fn tree(&self, found: Option<&str>, application: &Application) -> Result<String, ApiError> {
        let Application { name, namespace } = application;
        let of_namespace = namespace.as_ref().map(|namespace| format!("?appNamespace={namespace}")).unwrap_or_default();
        let answer = self.ask(found, format!("/api/v1/applications/{name}/resource-tree{of_namespace}")).await?;
        if object::<Tree>(&answer).is_some() { Ok(answer) } else { Err(no_answer("it is no resource tree")) }
    }

    /// Whether Argo CD takes the token, and lets it get anything: its list leaves out what its RBAC does not allow, without a word.
    pub(crate) async fn probe(&self, found: Option<&str>) -> Result<(), ApiError> {
        let answer = self.ask(found, "/api/v1/applications?fields=items.metadata.name".to_owned()).await?;
        let list: List = object(&answer).ok_or_else(|| no_answer("it is no list of applications"))?;
        if list.items.is_none_or(|items| items.is_empty()) {
            let message = "Argo CD's RBAC lets the token's account get no application, or there is none";
            return Err(ApiError::new(Code::RbacDenied, message, ""));
        }
        Ok(())
    }

    async fn ask(&self, found: Option<&str>, target: String) -> Result<String, ApiError> {
        let api = &self.settings.api;
        let server = address(self.settings, found)?;
        let trust = match &api.authority_file {
            _ if server.starts_with("http:") => Ok(Trust::Plaintext),
            Some(file) => Trust::file(file.clone()),
            None if api.insecure => Ok(Trust::Unverified),
            None => Trust::of_machine(),
        };
        let client = trust.and_then(|trust| client_of(&server, &self.token, trust)).map_err(|details| {
            let message = format!(
                "cannot verify Argo CD's server at {server}; the chart's value argocd.api.ca names who vouches for it"
            );
            ApiError::new(Code::Unreachable, message, details)
        })?;
        let answer = client.text(Request::get(target), api.timeout, LARGEST_ANSWER).await;
        answer.map_err(|failure| error(&failure, &server))
    }
}

/// Where the API is. Whoever may make a Deployment in some namespace could pass for Argo CD: where no certificate counts, no
/// token goes to a namespace that nobody named.
fn address(settings: &ArgoCd, found: Option<&str>) -> Result<String, ApiError> {
    if let Some(address) = &settings.api.address {
        return Ok(address.clone());
    }
    let namespace =
        found.ok_or_else(|| ApiError::new(Code::NotDetected, "the operator's status names no Argo CD (yet)", ""))?;
    let is_named = namespace == settings.namespace.as_deref().unwrap_or(USUAL_NAMESPACE);
    if settings.api.insecure && settings.api.authority_file.is_none() && !is_named {
        let message = format!(
            "the token is not sent to namespace {namespace}, where Argo CD was found: nobody vouches for its certificate; \
             set the chart's value argocd.namespace, or argocd.api.ca"
        );
        return Err(ApiError::new(Code::Unreachable, message, ""));
    }
    Ok(format!("https://{}.{namespace}.svc", settings.api.service))
}

/// What a failure means to whoever asked.
fn error(failure: &Failure, server: &str) -> ApiError {
    if let (Class::Unreachable, Some((_, reason))) =
        (failure.class, failure.message.split_once("invalid peer certificate: "))
    {
        // What follows has the time in it, and would make each probe's failure a new one.
        let reason = reason.split(": verification time").next().unwrap_or_default();
        let message = format!(
            "the certificate of {server} is not accepted: {reason}; the chart's value argocd.api.ca names who vouches for it"
        );
        return ApiError::new(Code::Unreachable, message, "");
    }
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
        Class::Rejected | Class::Conflict | Class::Expired | Class::Storage => {
            (Code::Internal, format!("Argo CD's API at {server} rejected the request"))
        }
        Class::NotFound | Class::Throttled | Class::ServerError | Class::Unreachable => {
            (Code::Unreachable, format!("Argo CD's API does not answer at {server} as it should"))
        }
    };
    ApiError::new(code, message, failure.to_string())
}

fn no_answer(details: &str) -> ApiError {
    let message =
        "what answers is not Argo CD's API; do argocd.api.baseUrl and argocd.api.serverServiceName lead there?";
    ApiError::new(Code::Unreachable, message, details)
}

/// What kube9 looks into: every node is an object. One without any is of an application without resources.
#[derive(Deserialize)]
struct Tree {
    #[serde(rename = "nodes")]
    _nodes: Option<Vec<Object>>,
}

#[derive(Deserialize)]
struct List {
    #[serde(rename = "metadata")]
    _metadata: Object,
    items: Option<Vec<Object>>,
}

#[derive(Deserialize)]
struct Object {}

/// Rust would read a list as an object, too. It is read as bytes, as all JSON here is: a reader of texts would be compiled beside.
fn object<'answer, T: Deserialize<'answer>>(answer: &'answer str) -> Option<T> {
    answer.trim_start().starts_with('{').then(|| serde_json::from_slice(answer.as_bytes()).ok()).flatten()
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
            assert!(object::<Tree>(tree).is_some(), "{tree}");
        }
        for other in ["", "[]", "null", "<html>", r#"{"nodes":[null]}"#, r#"{"nodes":[{}"#, r#"{"nodes":{}}"#] {
            assert!(object::<Tree>(other).is_none(), "{other}");
        }
    }

    #[test]
    fn f9_why_a_certificate_is_not_accepted_is_told_in_words_that_stay_the_same() {
        let expired =
            "client error (Connect): invalid peer certificate: certificate expired: verification time 17 (UNIX), but";
        let ApiError { code, message, details } = error(&Failure::new(Class::Unreachable, expired), "https://a");
        assert_eq!((code, &*details), (Code::Unreachable, ""));
        assert!(
            message.starts_with("the certificate of https://a is not accepted: certificate expired; "),
            "{message}"
        );
    }

    #[test]
    fn not_found_is_of_an_application_only_where_argocd_says_it() {
        let code = |message: &str| error(&Failure::new(Class::NotFound, message), "").code;
        assert_eq!(code("applications.argoproj.io \"shop\" not found"), Code::ApplicationNotFound);
        assert_eq!(code("404 page not found"), Code::Unreachable);
    }
}
