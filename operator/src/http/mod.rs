//! Probes and metrics over HTTP: three pages, each of them read off what is known.
//!
//! Hyper alone serves them; a router would be more code than the three lines it replaces.

mod metrics;
mod probes;
mod process;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::runtime::Context;
use probes::Complaint;

/// A client has to send its request, or its next one, within this time, so that silent clients do not pile up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);

/// Listens on every address of the pod, be its network IPv6, IPv4 or both.
pub(crate) async fn listen(port: NonZeroU16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port.get())).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.get())).await
        }
        bound => bound,
    }
}

/// So many clients are there at a time. One more, and the one that is there the longest has to go: a probe takes no time.
const MOST_CLIENTS: usize = 64;

/// Answers requests for ever.
pub(crate) async fn answer(listener: TcpListener, context: Arc<Context>) {
    let mut conversations: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                conversations.retain(|conversation| !conversation.is_finished());
                if conversations.len() >= MOST_CLIENTS
                    && let Some(oldest) = conversations.pop_front()
                {
                    oldest.abort();
                }
                let conversation = tokio::spawn(converse(stream, Arc::clone(&context)));
                conversations.push_back(conversation.abort_handle());
            }
            Err(error) => {
                // Such as too many open files: wait for some to close instead of spinning.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, context: Arc<Context>) {
    let service = service_fn(async |request| Ok::<_, Infallible>(respond(&request, &context)));
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_PATIENCE)
        .max_buf_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "a client left in the middle of a conversation");
    }
}

fn respond(request: &Request<Incoming>, context: &Context) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let now = context.clock.uptime();
    let state = context.state();
    match request.uri().path() {
        "/healthz" => verdict(probes::liveness(&state, now), "OK", StatusCode::INTERNAL_SERVER_ERROR),
        "/readyz" => {
            let readiness = probes::readiness(&state, now, context.config.status_interval);
            verdict(readiness, "Ready", StatusCode::SERVICE_UNAVAILABLE)
        }
        "/metrics" => page(StatusCode::OK, OPEN_METRICS, metrics::page(state, now)),
        _ => text(StatusCode::NOT_FOUND, "only /healthz, /readyz and /metrics"),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn verdict(judgement: Result<(), Complaint>, good: &str, bad: StatusCode) -> Response<Full<Bytes>> {
    match judgement {
        Ok(()) => text(StatusCode::OK, good),
        Err(complaint) => text(bad, &complaint),
    }
}

fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
