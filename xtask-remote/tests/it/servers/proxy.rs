//! A reverse proxy that records every request, and does to chosen ones what networks and busy servers do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::fault::{Dialect, Fault, Faults, Met, When};
pub use super::front::{Answer, Asked};
use super::front::{Front, Outcome, forward, handler, loopback};
use super::observer::OBSERVER;
use crate::support::free_port;

/// What a proxy has seen of one request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: hyper::HeaderMap,
    /// Of the answer that was sent; nothing where none was, or not yet.
    pub status: Option<u16>,
    /// What the server itself answered, whatever became of it.
    pub answered: Option<u16>,
}

/// Where a request goes.
pub enum Way {
    To(u16),
    Here(Answer),
}

type Route = dyn Fn(&mut Asked) -> Way + Send + Sync;
type After = dyn Fn(&Asked, Answer) -> Answer + Send + Sync;

struct Shared {
    faults: Faults,
    route: Box<Route>,
    after: Box<After>,
    seen: Mutex<Vec<Seen>>,
    changes: Changes,
}

/// How many requests went through a proxy that may have changed what users get.
#[derive(Clone, Default)]
pub struct Changes(Arc<AtomicUsize>);

impl Changes {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A running proxy.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    _front: Front,
}

impl Proxy {
    /// In front of the server at that port.
    pub fn before(port: u16, dialect: Dialect) -> Self {
        Self::with(free_port(), dialect, move |_| Way::To(port), |_, answer| answer)
    }

    /// Where each request goes, and what becomes of each answer, is decided by these.
    pub fn with(
        port: u16,
        dialect: Dialect,
        route: impl Fn(&mut Asked) -> Way + Send + Sync + 'static,
        after: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (route, after) = (Box::new(route), Box::new(after));
        let faults = Faults::of(dialect);
        let shared = Arc::new(Shared { faults, route, after, seen: Mutex::default(), changes: Changes::default() });
        let state = Arc::clone(&shared);
        let handler = handler(move |asked| serve(Arc::clone(&state), asked));
        let sites = loopback(port).into_iter().map(|address| (address, Arc::clone(&handler))).collect();
        Proxy { port, shared, _front: Front::start(sites, None) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Does that to requests from now on: see `Faults::inject`.
    pub fn inject(&self, when: When, fault: Fault) -> Arc<Met> {
        self.shared.faults.inject(when, fault)
    }

    /// The faults that are injected here.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// No more faults: see `Faults::heal`.
    #[track_caller]
    pub fn heal(&self) {
        self.shared.faults.heal();
    }

    /// What changes from now on.
    pub fn changes(&self) -> Changes {
        self.shared.changes.clone()
    }

    /// Every request so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests of that method (`*`: any) have that text in their path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let seen = self.seen();
        seen.iter().filter(|seen| (method == "*" || seen.method == method) && seen.path.contains(path)).count()
    }

    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.faults.end();
    }
}

impl Shared {
    fn record(&self, asked: &Asked) -> usize {
        let mut seen = self.seen.lock().unwrap();
        let Asked { method, path, headers, .. } = asked.clone();
        seen.push(Seen { method, path, headers, status: None, answered: None });
        seen.len() - 1
    }

    fn note(&self, number: usize, change: impl FnOnce(&mut Seen)) {
        // The record may have been emptied meanwhile.
        if let Some(seen) = self.seen.lock().unwrap().get_mut(number) {
            change(seen);
        }
    }

    /// What the server says to it.
    async fn through(&self, number: usize, mut asked: Asked) -> Answer {
        let answer = match (self.route)(&mut asked) {
            Way::Here(answer) => answer,
            Way::To(port) => match forward(port, &asked).await {
                Ok(answer) => (self.after)(&asked, answer),
                Err(error) => Answer::new(502, "text/plain", error.to_string()),
            },
        };
        self.note(number, |seen| seen.answered = Some(answer.status));
        // AWS's other services change caches while they are asked how far they are.
        if self.faults.dialect() == Dialect::Aws || !matches!(asked.method.as_str(), "GET" | "HEAD") {
            self.changes.0.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }
}

async fn serve(shared: Arc<Shared>, mut asked: Asked) -> Outcome {
    if asked.headers.remove(OBSERVER).is_some() {
        return Outcome::Answer(shared.through(usize::MAX, asked).await);
    }
    let number = shared.record(&asked);
    let outcome = shared.faults.meet(asked, |asked| shared.through(number, asked)).await;
    if let Outcome::Answer(answer) | Outcome::Slow(answer, _) | Outcome::Cut(answer) = &outcome {
        shared.note(number, |seen| seen.status = Some(answer.status));
    }
    outcome
}
