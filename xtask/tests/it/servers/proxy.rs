//! A reverse proxy that records every request, and does to chosen ones what networks and busy servers do.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::watch;

pub use super::front::{Answer, Asked};
use super::front::{Front, Outcome, forward, handler, loopback};
use super::observer::OBSERVER;
use crate::support::{free_port, wait_until};

/// How a server words its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    S3,
    /// CloudFront and CloudFormation.
    Aws,
    Registry,
}

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is reset without the server seeing the request, and for that time nobody listens.
    Refuse(Duration),
    /// The connection is reset without the server seeing the request.
    Reset,
    /// No answer ever comes; the server does not see the request.
    Stall,
    /// An answer with that status and an error's body; the server does not see the request.
    Status(u16),
    /// The same with a code of its own, and `Retry-After` in seconds.
    Error { status: u16, code: &'static str, retry_after: Option<u32> },
    /// The server's answer, whose body ends in the middle.
    Truncate,
    /// The server's answer with one other bit in the middle of its body.
    Corrupt,
    /// The request reaches the server with one other bit in the middle of its body.
    CorruptRequest,
    /// The server's answer, spread over that time.
    Slow(Duration),
    /// The server does what it is asked, and the connection is reset in place of its answer.
    LoseReply,
    /// The request waits at the gate before the server sees it.
    Hold(Gate),
    /// The server does what it is asked, and its answer waits at the gate.
    HoldReply(Gate),
    /// The server's answer with one text in place of another.
    Replace(&'static str, &'static str),
}

/// Where requests wait until a test lets them through.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
    arrived: Arc<AtomicUsize>,
}

impl Gate {
    pub fn new() -> Self {
        Gate { open: Arc::new(watch::Sender::new(false)), arrived: Arc::default() }
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until so many requests have come to the gate.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        let came = wait_until(Duration::from_secs(60), || self.arrived.load(Ordering::SeqCst) >= count);
        assert!(came, "{} of {count} requests came to the gate", self.arrived.load(Ordering::SeqCst));
    }

    async fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        self.open.subscribe().wait_for(|open| *open).await.ok();
    }
}

/// Which requests a fault is for: every one that matches, unless fewer are wanted.
#[derive(Clone)]
pub struct When {
    method: String,
    path: String,
    header: Option<(String, String)>,
    test: Option<Arc<Test>>,
    first: usize,
    last: usize,
}

impl When {
    /// Requests of that method (`*`: any) whose path and query hold a text.
    pub fn asked(method: &str, path: &str) -> Self {
        When { method: method.into(), path: path.into(), header: None, test: None, first: 1, last: usize::MAX }
    }

    /// Only those that have a header with that text in it.
    pub fn header(mut self, name: &str, text: &str) -> Self {
        self.header = Some((name.into(), text.into()));
        self
    }

    /// Only those of which that is true.
    pub fn test(mut self, test: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        self.test = Some(Arc::new(test));
        self
    }

    /// Only the first ones.
    pub fn first(self, count: usize) -> Self {
        When { first: 1, last: count, ..self }
    }

    /// Only the one of that number, counted from 1.
    pub fn nth(self, number: usize) -> Self {
        When { first: number, last: number, ..self }
    }

    fn matches(&self, asked: &Asked) -> bool {
        let has = |(name, text): &(String, String)| asked.header(name).is_some_and(|value| value.contains(text));
        (self.method == "*" || self.method == asked.method)
            && asked.path.contains(&self.path)
            && self.header.as_ref().is_none_or(has)
            && self.test.as_ref().is_none_or(|test| test(asked))
    }
}

struct Rule {
    when: When,
    fault: Fault,
    matched: usize,
    done: Arc<AtomicUsize>,
}

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

type Test = dyn Fn(&Asked) -> bool + Send + Sync;
type Route = dyn Fn(&mut Asked) -> Way + Send + Sync;
type After = dyn Fn(&Asked, Answer) -> Answer + Send + Sync;

struct Shared {
    dialect: Dialect,
    route: Box<Route>,
    after: Box<After>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
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
        let shared = Arc::new(Shared { dialect, route, after, rules: Mutex::default(), seen: Mutex::default() });
        let state = Arc::clone(&shared);
        let handler = handler(move |asked| serve(Arc::clone(&state), asked));
        let sites = loopback(port).into_iter().map(|address| (address, Arc::clone(&handler))).collect();
        Proxy { port, shared, _front: Front::start(sites, None) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Does that to requests from now on; of several faults for one request, the first that was injected is done. Gives the number
    /// of times that it was done, which goes on counting.
    pub fn inject(&self, when: When, fault: Fault) -> Arc<AtomicUsize> {
        let done = Arc::default();
        self.shared.rules.lock().unwrap().push(Rule { when, fault, matched: 0, done: Arc::clone(&done) });
        done
    }

    /// No more faults.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
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

impl Shared {
    fn record(&self, asked: &Asked) -> usize {
        let mut seen = self.seen.lock().unwrap();
        let Asked { method, path, headers, .. } = asked.clone();
        seen.push(Seen { method, path, headers, status: None, answered: None });
        seen.len() - 1
    }

    /// What is to be done to a request. Every rule counts what it matches, whichever is done.
    fn fault(&self, asked: &Asked) -> Option<Fault> {
        let mut chosen = None;
        for rule in self.rules.lock().unwrap().iter_mut().filter(|rule| rule.when.matches(asked)) {
            rule.matched += 1;
            if chosen.is_none() && (rule.when.first..=rule.when.last).contains(&rule.matched) {
                rule.done.fetch_add(1, Ordering::SeqCst);
                chosen = Some(rule.fault.clone());
            }
        }
        chosen
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
        answer
    }
}

async fn serve(shared: Arc<Shared>, mut asked: Asked) -> Outcome {
    if asked.headers.remove(OBSERVER).is_some() {
        return Outcome::Answer(shared.through(usize::MAX, asked).await);
    }
    let number = shared.record(&asked);
    let outcome = match shared.fault(&asked) {
        None => Outcome::Answer(shared.through(number, asked).await),
        Some(fault) => suffer(&shared, number, asked, fault).await,
    };
    if let Outcome::Answer(answer) | Outcome::Slow(answer, _) | Outcome::Cut(answer) = &outcome {
        shared.note(number, |seen| seen.status = Some(answer.status));
    }
    outcome
}

async fn suffer(shared: &Shared, number: usize, mut asked: Asked, fault: Fault) -> Outcome {
    let through = |asked| shared.through(number, asked);
    match fault {
        Fault::Refuse(time) => Outcome::Refuse(time),
        Fault::Reset => Outcome::Reset,
        Fault::Stall => pending().await,
        Fault::Status(status) => Outcome::Answer(shared.dialect.error(status, shared.dialect.code(status))),
        Fault::Error { status, code, retry_after } => {
            let answer = shared.dialect.error(status, code);
            Outcome::Answer(match retry_after {
                Some(seconds) => answer.with("retry-after", seconds.to_string()),
                None => answer,
            })
        }
        Fault::Truncate => Outcome::Cut(through(asked).await),
        Fault::Corrupt => {
            let mut answer = through(asked).await;
            answer.body = corrupted(&answer.body);
            Outcome::Answer(answer)
        }
        Fault::CorruptRequest => {
            asked.body = corrupted(&asked.body);
            Outcome::Answer(through(asked).await)
        }
        Fault::Slow(time) => Outcome::Slow(through(asked).await, time),
        Fault::LoseReply => {
            through(asked).await;
            Outcome::Reset
        }
        Fault::Hold(gate) => {
            gate.pass().await;
            Outcome::Answer(through(asked).await)
        }
        Fault::HoldReply(gate) => {
            let answer = through(asked).await;
            gate.pass().await;
            Outcome::Answer(answer)
        }
        Fault::Replace(from, to) => {
            let mut answer = through(asked).await;
            answer.body = String::from_utf8_lossy(&answer.body).replace(from, to).into();
            Outcome::Answer(answer)
        }
    }
}

fn corrupted(body: &Bytes) -> Bytes {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
    body.into()
}

impl Dialect {
    fn code(self, status: u16) -> &'static str {
        match (self, status) {
            (Dialect::S3, 404) => "NoSuchKey",
            (Dialect::S3, 409) => "ConditionalRequestConflict",
            (Dialect::S3, 412) => "PreconditionFailed",
            (Dialect::S3, 429) => "TooManyRequests",
            (Dialect::S3, 500) => "InternalError",
            (Dialect::S3, 503) => "SlowDown",
            (Dialect::Aws, 404) => "NoSuchDistribution",
            (Dialect::Aws, 429) => "Throttling",
            (Dialect::Aws, 500) => "InternalFailure",
            (Dialect::Aws, 503) => "ServiceUnavailable",
            (Dialect::S3 | Dialect::Aws, 403) => "AccessDenied",
            (Dialect::Registry, 401) => "UNAUTHORIZED",
            (Dialect::Registry, 403) => "DENIED",
            (Dialect::Registry, 404) => "NAME_UNKNOWN",
            (Dialect::Registry, 429) => "TOOMANYREQUESTS",
            _ => "Unknown",
        }
    }

    pub fn error(self, status: u16, code: &str) -> Answer {
        let (kind, body) = match self {
            Dialect::S3 => (
                "application/xml",
                format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>"),
            ),
            Dialect::Aws => (
                "text/xml",
                format!(
                    "<?xml version=\"1.0\"?><ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                     <Message>injected</Message></Error><RequestId>0</RequestId></ErrorResponse>"
                ),
            ),
            Dialect::Registry => {
                ("application/json", format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"injected\"}}]}}"))
            }
        };
        Answer::new(status, kind, body)
    }
}
