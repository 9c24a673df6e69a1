//! Sends requests to the API server and reads its answers.
//!
//! Of our own, since what the operator asks is narrow: the usual library brings a reader of JSONPath, regular expressions
//! and more for logins that an operator has no use for, and they took a third of the time to compile it.
//!
//! Nothing is asked a second time: that would hide failures from probes and metrics for minutes.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, USER_AGENT};
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use super::Request;
use super::access::{Access, Token, without_token};
use super::refusal::Refusal;
use crate::runtime::{Class, Failure};
use crate::time::{self, Timestamp};

/// Connections that nobody waits for any more end after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The same for one that takes nothing more of what is written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(295);

/// A single object; lists are read as they come.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// The reason is in the first sentence.
const LARGEST_REFUSAL: usize = 64 * 1024;

const AGENT: HeaderValue = HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    /// What stands before every path.
    server: String,
    token: Option<Token>,
    /// What the API server last said that it was, and when.
    date: Arc<Mutex<Option<(Timestamp, Instant)>>>,
}

impl Client {
    pub(super) fn new(access: Access) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // What is small, as most of it is, is not to wait for what was sent before it to be acknowledged: that takes 40 ms.
        tcp.set_nodelay(true);
        let (tls, names) = access.tls.configure()?;
        let mut connector = TimeoutConnector::new(HttpsConnector::new(tcp, tls, false, names));
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_write_timeout(Some(WRITE_TIMEOUT));
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, server: access.server, token: access.token, date: Arc::default() })
    }

    /// What time it is for the API server, to the second, once it has answered anything.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        let (date, seen) = (*self.date.lock().unwrap_or_else(PoisonError::into_inner))?;
        date.checked_add_signed(TimeDelta::from_std(seen.elapsed()).ok()?)
    }

    /// Asks, and reads the answer as JSON.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, request: Request, limit: Duration) -> Result<T, Failure> {
        let answer = self.answer(request, limit).await?;
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }

    /// The whole answer.
    pub(super) async fn answer(&self, request: Request, limit: Duration) -> Result<Bytes, Failure> {
        within(limit, async { whole(self.open(request).await?, LARGEST_ANSWER).await }).await
    }

    /// The whole answer, of at most `longest` bytes.
    pub(crate) async fn text(&self, request: Request, limit: Duration, longest: usize) -> Result<String, Failure> {
        let answer = within(limit, async { whole(self.open(request).await?, longest).await }).await?;
        String::from_utf8(answer.into()).map_err(|error| unreadable(&error))
    }

    /// The answer as it comes.
    pub(super) async fn open(&self, request: Request) -> Result<Incoming, Failure> {
        let (method, target) = (request.method.clone(), request.target.clone());
        let dressed = self.dressed(request)?;
        let sent = dressed.headers().get(AUTHORIZATION).cloned();
        let response = self.http.request(dressed).await;
        let response = response.inspect_err(|error| tracing::debug!(%method, target, error = chain(error)));
        let response = response.map_err(|error| broken(&error))?;
        let date = response.headers().get(DATE).and_then(|date| time::parsed_http(date.as_bytes()));
        if let Some(date) = date {
            *self.date.lock().unwrap_or_else(PoisonError::into_inner) = Some((date, Instant::now()));
        }
        let status = response.status();
        tracing::debug!(%method, target, status = status.as_u16());
        if status.is_success() {
            return Ok(response.into_body());
        }
        if let (StatusCode::UNAUTHORIZED, Some(token)) = (status, &self.token) {
            token.is_refused();
        }
        // One that is too long or breaks off says enough by its status.
        let answer = whole(response.into_body(), LARGEST_REFUSAL).await.unwrap_or_default();
        Err(Refusal::of(status.as_u16(), &without_token(sent.as_ref(), answer)))
    }

    /// As it goes over the wire.
    fn dressed(&self, request: Request) -> Result<hyper::Request<Full<Bytes>>, Failure> {
        let Request { method, target, accept, content_type, body } = request;
        let builder = hyper::Request::builder().method(method).uri(format!("{}{target}", self.server));
        let mut dressed = builder
            .body(Full::new(body))
            .map_err(|error| Failure::new(Class::Rejected, format!("{target} cannot be asked for: {error}")))?;
        let headers = dressed.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.header());
        }
        Ok(dressed)
    }
}

async fn whole(body: Incoming, longest: usize) -> Result<Bytes, Failure> {
    match Limited::new(body, longest).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => match error.downcast::<LengthLimitError>() {
            Ok(_limit) => Err(unreadable(&format_args!("it is longer than {longest} bytes"))),
            Err(error) => Err(broken(&*error)),
        },
    }
}

/// Runs a request that must be over within `limit`. One that is not is dropped, and its connection with it.
pub(super) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, request)
        .await
        .unwrap_or_else(|_elapsed| Err(Failure::new(Class::Timeout, format!("no answer within {limit:?}"))))
}

/// No connection, or one that broke off.
pub(super) fn broken(error: &(dyn Error + 'static)) -> Failure {
    Failure::new(Class::Unreachable, chain(error))
}

/// An answer that makes no sense.
pub(super) fn unreadable(reason: &dyn std::fmt::Display) -> Failure {
    Failure::new(Class::ServerError, format!("the server's answer cannot be read: {reason}"))
}

/// The error and its causes, leaving out causes that were quoted already.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::fs;
    use std::io;
    use std::path::Path;

    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::super::REQUEST_TIMEOUT;
    use super::*;

    /// A server that takes one token only, keeps what it was asked, and its address.
    async fn serve(token: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                let answer = service_fn(move |request: hyper::Request<Incoming>| {
                    log.lock().unwrap().push(format!("{} {} {:?}", request.method(), request.uri(), request.headers()));
                    let known = request.headers().get(AUTHORIZATION).is_some_and(|header| header == token);
                    let status = if known { 200 } else { 401 };
                    let text = json!({"kind": "Status", "message": "hello"}).to_string();
                    let answer = hyper::Response::builder().status(status).body(Full::new(Bytes::from(text)));
                    async move { Ok::<_, Infallible>(answer.unwrap()) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        (address, asked)
    }

    fn client(folder: &Path, server: &str) -> Client {
        let user = json!({"tokenFile": "token"});
        let config = json!({
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "home", "user": "ann"}}],
            "clusters": [{"name": "home", "cluster": {"server": server}}],
            "users": [{"name": "ann", "user": user}],
        });
        let path = folder.join("config");
        fs::write(&path, config.to_string()).unwrap();
        let files = path.to_str().unwrap().to_owned();
        let environment = |name: &str| (name == "KUBECONFIG").then(|| files.clone());
        Client::new(Access::find_in(environment, folder).unwrap()).unwrap()
    }

    async fn ask(client: &Client) -> Result<Value, Failure> {
        client.fetch(Request::get("/api/v1/nodes".to_owned()), Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn a_request_says_who_asks_and_what_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "good").unwrap();
        let (server, asked) = serve("Bearer good").await;
        let client = client(folder.path(), &format!("{server}/k8s/c-1/"));
        assert_eq!(ask(&client).await.unwrap()["message"], "hello");
        let asked = asked.lock().unwrap().join("");
        assert!(asked.starts_with("GET /k8s/c-1/api/v1/nodes {"), "{asked}");
        let agent = concat!("\"user-agent\": \"kube9-operator/", env!("CARGO_PKG_VERSION"), "\"");
        for header in [agent, "\"accept\": \"application/json\"", "\"host\": \"127.0.0.1:"] {
            assert!(asked.contains(header), "{header} is missing from {asked}");
        }
    }

    #[tokio::test]
    async fn a_token_that_is_refused_is_read_again_for_the_next_request() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "old").unwrap();
        let (server, asked) = serve("Bearer new").await;
        let client = client(folder.path(), &server);

        assert_eq!(ask(&client).await.unwrap_err().to_string(), "unauthorized: hello (HTTP 401)");
        assert_eq!(asked.lock().unwrap().len(), 1, "nothing is asked a second time without being told to");
        fs::write(&token, "new").unwrap();

        assert_eq!(ask(&client).await.unwrap()["message"], "hello");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_or_says_nothing_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "good").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(folder.path(), &format!("http://{}", listener.local_addr().unwrap()));
        let request = || Request::get("/".to_owned());
        let limit = Duration::from_millis(50);
        let start = Instant::now();
        let silence = client.fetch::<Value>(request(), limit).await.unwrap_err();
        assert_eq!(silence.to_string(), "timeout: no answer within 50ms");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        drop(listener);
        let refused = client.fetch::<Value>(request(), REQUEST_TIMEOUT).await.unwrap_err();
        assert_eq!(refused.class, Class::Unreachable);
        assert!(refused.message.contains("Connection refused"), "{refused}");
    }

    #[test]
    fn a_broken_connection_tells_its_cause_once() {
        #[derive(Debug)]
        struct Outer(io::Error);

        impl std::fmt::Display for Outer {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("client error")
            }
        }

        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }

        let cause = io::Error::other(io::Error::other("no route"));
        assert_eq!(broken(&Outer(cause)).to_string(), "unreachable: client error: no route");
    }
}
