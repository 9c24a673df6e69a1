//! A server that stands before the API server and answers in its place when a test wants it to.
//!
//! For answers that a healthy API server gives too rarely to wait for: conflicts, internal errors, throttling, none.

use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cluster::Cluster;

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// What the API server says.
    Forwarded,
    /// The same, after a while.
    Late(Duration),
    /// A refusal with this code and reason, as the API server words it.
    Refusal(u16, &'static str),
    /// Every watch begins well, and is told then that its place in history is gone. All else is forwarded.
    WatchesExpire,
    /// None at all.
    Silence,
}

type Answered = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

pub(crate) struct Proxy {
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    answer: Mutex<Answer>,
    writes: AtomicU32,
    api_server: Client,
}

impl Proxy {
    pub(crate) fn start(cluster: &Cluster, first: Answer) -> Self {
        let listener = cluster.run(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api_server = cluster.run(async { anonymous(cluster) });
        let state = Arc::new(State { answer: Mutex::new(first), writes: AtomicU32::new(0), api_server });
        cluster.spawn(serve(listener, Arc::clone(&state)));
        Self { url, state }
    }

    pub(crate) fn answer_with(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// How many requests to write something have come so far.
    pub(crate) fn writes(&self) -> u32 {
        self.state.writes.load(Ordering::SeqCst)
    }
}

/// A client with no identity of its own: requests bring theirs along.
fn anonymous(cluster: &Cluster) -> Client {
    let mut config = Config::new(cluster.url().parse().unwrap());
    config.root_cert_file = Some(cluster.certificate_authority());
    Client::try_from(config).unwrap()
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let service = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(respond(request, &state).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(request: Request<Incoming>, state: &State) -> Response<Answered> {
    let request = received(request).await;
    let answer = *state.answer.lock().unwrap();
    // Counted when its fate is sealed, so that a test that saw it come may change the answer for the next one.
    state.writes.fetch_add(u32::from(request.method() == "PATCH"), Ordering::SeqCst);
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let forwarded = forward(request, state.api_server.clone());
    match answer {
        Answer::WatchesExpire if is_watch => expired_watch(),
        Answer::Forwarded | Answer::WatchesExpire => forwarded.await,
        Answer::Late(delay) => {
            let late = async move {
                tokio::time::sleep(delay).await;
                forwarded.await
            };
            // As a task of its own it goes on when the client hangs up, as a real server may.
            tokio::spawn(late).await.unwrap()
        }
        Answer::Refusal(code, reason) => refusal(code, reason),
        Answer::Silence => std::future::pending().await,
    }
}

async fn received(request: Request<Incoming>) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    head.headers.remove("host");
    Request::from_parts(head, Body::from(body.collect().await.unwrap().to_bytes().to_vec()))
}

async fn forward(request: Request<Body>, api_server: Client) -> Response<Answered> {
    let (mut head, body) = api_server.send(request).await.unwrap().into_parts();
    head.headers.remove("transfer-encoding");
    // As it comes: a watch has no end.
    Response::from_parts(head, body.map_err(Into::into).boxed_unsync())
}

/// Within a watch, a refusal is an event like any other (Kubernetes API concepts, "Efficient detection of changes").
fn expired_watch() -> Response<Answered> {
    answered(200, &json!({"type": "ERROR", "object": status(410, "Expired")}))
}

fn refusal(code: u16, reason: &str) -> Response<Answered> {
    answered(code, &status(code, reason))
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": "injected by the test",
        "reason": reason,
        "code": code,
    })
}

fn answered(code: u16, json: &Value) -> Response<Answered> {
    let body = Full::new(Bytes::from(format!("{json}\n"))).map_err(|never| match never {});
    Response::builder().status(code).body(body.boxed_unsync()).unwrap()
}
