//! What networks and busy servers do to chosen requests.

use std::fmt::{Display, Formatter};
use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::watch;

use super::front::{Answer, Asked, Outcome};
use crate::support::wait_until;

/// The faults that are injected before one server.
///
/// A fault that nobody meets proves nothing: whoever heals faults, or ends their server, asserts that each of them was done.
pub struct Faults {
    dialect: Dialect,
    rules: Mutex<Vec<Rule>>,
}

impl Faults {
    /// None yet, before a server that words its errors like that.
    pub fn of(dialect: Dialect) -> Self {
        Faults { dialect, rules: Mutex::default() }
    }

    /// Of the server behind.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Does that to requests from now on; of several faults for one request, the first that was injected is done. It has to be done
    /// at least once.
    pub fn inject(&self, when: When, fault: Fault) -> Arc<Met> {
        self.add(when, fault, true)
    }

    /// The same where it is for the test to say whether it is to be done at all.
    pub fn offer(&self, when: When, fault: Fault) -> Arc<Met> {
        self.add(when, fault, false)
    }

    fn add(&self, when: When, fault: Fault, is_due: bool) -> Arc<Met> {
        let met = Arc::default();
        self.rules.lock().unwrap().push(Rule { when, fault, is_due, met: Arc::clone(&met) });
        met
    }

    /// No more faults. Those that were injected were done.
    #[track_caller]
    pub fn heal(&self) {
        let rules = std::mem::take(&mut *self.rules.lock().unwrap());
        let unmet: Vec<String> =
            rules.iter().filter(|rule| rule.is_due && rule.met.done() == 0).map(Rule::to_string).collect();
        assert!(unmet.is_empty(), "no request met {unmet:#?}");
    }

    /// The same at the end of the server, where a test that fails already is not asked.
    pub fn end(&self) {
        if !std::thread::panicking() {
            self.heal();
        }
    }

    /// What becomes of a request that the server would answer so.
    pub async fn meet<F: Future<Output = Answer>>(
        &self,
        mut asked: Asked,
        through: impl FnOnce(Asked) -> F,
    ) -> Outcome {
        let Some((fault, met)) = self.choose(&asked) else { return Outcome::Answer(through(asked).await) };
        match fault {
            Fault::Refuse(time) => Outcome::Refuse(time),
            Fault::Reset => Outcome::Reset,
            Fault::Stall => pending().await,
            Fault::Status(status) => Outcome::Answer(self.dialect.error(status, self.dialect.code(status))),
            Fault::Error { status, code, retry_after } => {
                let answer = self.dialect.error(status, code);
                Outcome::Answer(match retry_after {
                    Some(seconds) => answer.with("retry-after", seconds.to_string()),
                    None => answer,
                })
            }
            Fault::Truncate => {
                let answer = through(asked).await;
                if answer.body.is_empty() { met.pass_on(answer) } else { Outcome::Cut(answer) }
            }
            Fault::Corrupt => met.damage(through(asked).await, corrupted),
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
                let replaced = |body: &Bytes| String::from_utf8_lossy(body).replace(from, to).into();
                met.damage(through(asked).await, replaced)
            }
        }
    }

    /// What is to be done to a request. Every rule counts what it matches, whichever is done.
    fn choose(&self, asked: &Asked) -> Option<(Fault, Arc<Met>)> {
        let mut chosen = None;
        for rule in self.rules.lock().unwrap().iter().filter(|rule| rule.when.matches(asked)) {
            if !rule.met.meets(&rule.when) || chosen.is_some() {
                continue;
            }
            if rule.fault.can_act_on(asked) {
                rule.met.act();
                chosen = Some((rule.fault.clone(), Arc::clone(&rule.met)));
            } else {
                rule.met.skip();
            }
        }
        chosen
    }
}

struct Rule {
    when: When,
    fault: Fault,
    /// Whether it has to be done.
    is_due: bool,
    met: Arc<Met>,
}

#[expect(clippy::use_debug, reason = "only the message of a failed test shows it")]
impl Display for Rule {
    fn fmt(&self, formatter: &mut Formatter) -> std::fmt::Result {
        let (When { method, path, .. }, count) = (&self.when, self.met.0.lock().unwrap());
        write!(formatter, "{:?} at {method} {path}: {count:?}", self.fault)
    }
}

/// What became of a fault so far; it goes on counting.
#[derive(Default)]
pub struct Met(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    matched: usize,
    done: Vec<Instant>,
    powerless: usize,
}

impl Met {
    /// How many requests it was done to.
    pub fn done(&self) -> usize {
        self.0.lock().unwrap().done.len()
    }

    /// When it was done for the last time.
    pub fn last(&self) -> Option<Instant> {
        self.0.lock().unwrap().done.last().copied()
    }

    /// How many requests it met that have nothing in them which it could damage: it was not done to those.
    pub fn powerless(&self) -> usize {
        self.0.lock().unwrap().powerless
    }

    /// Counts a request, and says whether the fault is to be done to it.
    fn meets(&self, when: &When) -> bool {
        let mut count = self.0.lock().unwrap();
        count.matched += 1;
        count.matched >= when.from && count.done.len() < when.times
    }

    fn act(&self) {
        self.0.lock().unwrap().done.push(Instant::now());
    }

    fn skip(&self) {
        self.0.lock().unwrap().powerless += 1;
    }

    /// Passes an answer on that turned out to have nothing in it to damage.
    fn pass_on(&self, answer: Answer) -> Outcome {
        self.0.lock().unwrap().done.pop();
        self.skip();
        Outcome::Answer(answer)
    }

    /// Passes an answer on with another body.
    fn damage(&self, answer: Answer, damaged: impl Fn(&Bytes) -> Bytes) -> Outcome {
        let body = damaged(&answer.body);
        if body == answer.body {
            return self.pass_on(answer);
        }
        Outcome::Answer(Answer { body, ..answer })
    }
}

type Test = dyn Fn(&Asked) -> bool + Send + Sync;

fn corrupted(body: &Bytes) -> Bytes {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
    body.into()
}

/// How a server words its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    S3,
    /// CloudFront and CloudFormation.
    Aws,
    Registry,
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
    /// The server's answer, whose body ends in the middle. Like the next ones, it passes by what has no body.
    Truncate,
    /// The server's answer with one other bit in the middle of its body.
    Corrupt,
    /// The request reaches the server with one other bit in the middle of its body.
    CorruptRequest,
    /// The server's answer, spread over that time; one without a body comes at its end.
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

impl Fault {
    /// Whether there can be anything in a request, or in an answer to it, that it could damage.
    fn can_act_on(&self, asked: &Asked) -> bool {
        match self {
            Fault::Truncate | Fault::Corrupt | Fault::Replace(..) => asked.method != "HEAD",
            Fault::CorruptRequest => !asked.body.is_empty(),
            _ => true,
        }
    }
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
    /// The number of the first one, counted from 1.
    from: usize,
    /// How many of them.
    times: usize,
}

impl When {
    /// Requests of that method (`*`: any) whose path and query hold a text.
    pub fn asked(method: &str, path: &str) -> Self {
        When { method: method.into(), path: path.into(), header: None, test: None, from: 1, times: usize::MAX }
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
        When { times: count, ..self }
    }

    /// Only the one of that number, counted from 1.
    pub fn nth(self, number: usize) -> Self {
        When { from: number, times: 1, ..self }
    }

    fn matches(&self, asked: &Asked) -> bool {
        let has = |(name, text): &(String, String)| asked.header(name).is_some_and(|value| value.contains(text));
        (self.method == "*" || self.method == asked.method)
            && asked.path.contains(&self.path)
            && self.header.as_ref().is_none_or(has)
            && self.test.as_ref().is_none_or(|test| test(asked))
    }
}
