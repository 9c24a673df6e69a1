//! What is asked of the API server, before anybody sends it. Pure.

use std::time::Duration;

use form_urlencoded::Serializer;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::NAME;

#[derive(Debug)]
pub(crate) struct Request {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) accept: &'static str,
    /// None where nothing is sent along.
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Bytes,
}

/// Which objects of a kind are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct ListOptions {
    pub(super) label_selector: Option<String>,
    pub(super) field_selector: Option<String>,
    /// The size of a page.
    pub(super) limit: Option<u32>,
    /// Where the page before ended.
    pub(super) continue_token: Option<String>,
}

const JSON: &str = "application/json";

/// A server-side apply. JSON is YAML.
const APPLY: &str = "application/apply-patch+yaml";

impl Request {
    /// Asks for what is under a path such as `/api/v1/namespaces/default/configmaps/notes`.
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::GET, target: path, accept: JSON, content_type: None, body: Bytes::new() }
    }

    /// Asks for one page of what is under a path such as `/api/v1/nodes`.
    pub(super) fn list(path: &str, options: &ListOptions) -> Self {
        Self::get(query(path, &options.parameters()))
    }

    /// Asks to be told of every change since a version, for some time.
    pub(super) fn watch(path: &str, options: &ListOptions, version: &str, time: Duration) -> Self {
        let mut parameters = vec![
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("timeoutSeconds", time.as_secs().to_string()),
            ("resourceVersion", version.to_owned()),
        ];
        parameters.extend(options.parameters());
        Self::get(query(path, &parameters))
    }

    pub(crate) fn create(path: String, object: &Value) -> Self {
        Self::get(path).sending(Method::POST, JSON, object)
    }

    pub(crate) fn replace(path: String, object: &Value) -> Self {
        Self::get(path).sending(Method::PUT, JSON, object)
    }

    /// Claims the fields in a manifest, whoever had them before.
    pub(crate) fn apply(path: &str, manifest: &Value) -> Self {
        let parameters = [("force", "true".to_owned()), ("fieldManager", NAME.to_owned())];
        Self::get(query(path, &parameters)).sending(Method::PATCH, APPLY, manifest)
    }

    /// Nothing happens to another object than the one with this uid, if there is one.
    pub(crate) fn delete(path: String, uid: Option<&str>) -> Self {
        let preconditions = uid.map(|uid| json!({"uid": uid}));
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
        Self::get(path).sending(Method::DELETE, JSON, &options)
    }

    fn sending(self, method: Method, content_type: &'static str, object: &Value) -> Self {
        Self { method, content_type: Some(content_type), body: object.to_string().into(), ..self }
    }
}

impl ListOptions {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("fieldSelector", self.field_selector.clone()),
            ("labelSelector", self.label_selector.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("continue", self.continue_token.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn query(path: &str, parameters: &[(&'static str, String)]) -> String {
    if parameters.is_empty() {
        return path.to_owned();
    }
    Serializer::for_suffix(format!("{path}?"), path.len() + 1).extend_pairs(parameters).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ListOptions {
        ListOptions {
            label_selector: Some("app=a,tier in (b)".to_owned()),
            field_selector: Some("metadata.name=a".to_owned()),
            ..ListOptions::default()
        }
    }

    #[test]
    fn what_a_selector_says_does_not_end_up_as_something_else_in_the_query() {
        let request = Request::list("/api/v1/nodes", &options());
        let expected = "/api/v1/nodes?fieldSelector=metadata.name%3Da&labelSelector=app%3Da%2Ctier+in+%28b%29";
        assert_eq!((request.method, request.target.as_str()), (Method::GET, expected));
        assert_eq!(Request::list("/api/v1/nodes", &ListOptions::default()).target, "/api/v1/nodes");
    }

    #[test]
    fn a_page_goes_on_where_the_one_before_ended() {
        let options =
            ListOptions { limit: Some(50), continue_token: Some("a+b/c=".to_owned()), ..ListOptions::default() };
        assert_eq!(Request::list("/api/v1/nodes", &options).target, "/api/v1/nodes?limit=50&continue=a%2Bb%2Fc%3D");
    }

    #[test]
    fn a_watch_ends_by_itself_and_tells_how_far_it_has_come() {
        let request = Request::watch("/api/v1/events", &ListOptions::default(), "12", Duration::from_secs(290));
        let expected = "/api/v1/events?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion=12";
        assert_eq!(request.target, expected);
    }

    #[test]
    fn an_apply_takes_what_it_names_and_says_who_does() {
        let request = Request::apply("/api/v1/namespaces/a/configmaps/b", &json!({"data": {"ü": "1"}}));
        assert_eq!(request.target, "/api/v1/namespaces/a/configmaps/b?force=true&fieldManager=kube9-operator");
        assert_eq!((request.method, request.content_type), (Method::PATCH, Some("application/apply-patch+yaml")));
        assert_eq!(request.body, r#"{"data":{"ü":"1"}}"#);
    }
}
