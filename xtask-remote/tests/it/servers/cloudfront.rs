//! CloudFront's API as AWS describes it, where moto differs: a fake before a fake.
//!
//! An invalidation takes a while and some polls before it is complete, and only then is every edge cache without the paths; the
//! same caller reference gives the first invalidation again, and with other paths it is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::elements;
use super::edge::Caches;
use super::fault::Dialect;
use super::moto::Moto;
use super::proxy::{Answer, Asked, Proxy, Way};
use crate::support::free_port;

/// A running front of CloudFront's API; every other service of moto passes through.
pub struct CloudFront {
    /// Faults are injected here.
    pub proxy: Proxy,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    polls: usize,
    delay: Duration,
    /// By caller reference.
    made: BTreeMap<String, Made>,
    /// By id.
    running: BTreeMap<String, Running>,
    caches: Option<Caches>,
    asked: Vec<Asked>,
}

struct Made {
    paths: Vec<String>,
    answer: Answer,
}

struct Running {
    ready: Instant,
    polls: usize,
}

impl CloudFront {
    /// In front of moto; what is invalidated there leaves the edge's caches.
    pub fn before(moto: &Moto, caches: Option<Caches>) -> Self {
        let state = Arc::new(Mutex::new(State { caches, ..State::default() }));
        let (moto, before, after) = (moto.clone(), Arc::clone(&state), Arc::clone(&state));
        let route = move |asked: &mut Asked| {
            before.lock().unwrap().asked.push(asked.clone());
            moto.claim(asked);
            let replayed = creates(asked).then(|| before.lock().unwrap().replay(asked)).flatten();
            replayed.map_or(Way::To(moto.port), Way::Here)
        };
        let after = move |asked: &Asked, answer: Answer| after.lock().unwrap().answered(asked, answer);
        CloudFront { proxy: Proxy::with(free_port(), Dialect::Aws, route, after), state }
    }

    /// From now on an invalidation is in progress for so many polls, and at least for that time, after which the caches are emptied.
    pub fn slow_down(&self, polls: usize, delay: Duration) {
        let mut state = self.state.lock().unwrap();
        (state.polls, state.delay) = (polls, delay);
    }

    /// From now on invalidations complete, and no cache hears of them.
    pub fn disconnect(&self) {
        self.state.lock().unwrap().caches = None;
    }

    /// Every request so far, in order, those for other services, too.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Knows no invalidation any more.
    pub fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.made.clear();
        state.running.clear();
    }

    /// Knows no invalidation any more but those of these caller references, as at the moment when they were all there were.
    pub fn know_only(&self, references: &BTreeMap<String, Vec<String>>) {
        self.state.lock().unwrap().made.retain(|reference, _| references.contains_key(reference));
    }

    /// The paths of all invalidations that were accepted, by caller reference.
    pub fn invalidated(&self) -> BTreeMap<String, Vec<String>> {
        let state = self.state.lock().unwrap();
        state.made.iter().map(|(reference, made)| (reference.clone(), made.paths.clone())).collect()
    }
}

fn creates(asked: &Asked) -> bool {
    asked.method == "POST" && asked.path.contains("/distribution/") && asked.path.ends_with("/invalidation")
}

impl State {
    fn replay(&self, asked: &Asked) -> Option<Answer> {
        let text = String::from_utf8_lossy(&asked.body);
        let made = self.made.get(elements(&text, "CallerReference").first()?)?;
        if made.paths == elements(&text, "Path") {
            return Some(made.answer.clone());
        }
        Some(Dialect::Aws.error(400, "InvalidationBatchAlreadyExists"))
    }

    fn answered(&mut self, asked: &Asked, answer: Answer) -> Answer {
        if creates(asked) && answer.status == 201 {
            return self.begin(asked, answer);
        }
        let id = asked.path.rsplit_once("/invalidation/").map(|(_, id)| id);
        let Some(running) = id.and_then(|id| self.running.get_mut(id)) else { return answer };
        let is_ready = running.polls == 0 && Instant::now() >= running.ready;
        running.polls = running.polls.saturating_sub(1);
        with_status(answer, if is_ready { "Completed" } else { "InProgress" })
    }

    fn begin(&mut self, asked: &Asked, answer: Answer) -> Answer {
        let text = String::from_utf8_lossy(&asked.body);
        let paths = elements(&text, "Path");
        let id = elements(&String::from_utf8_lossy(&answer.body), "Id").remove(0);
        self.running.insert(id, Running { ready: Instant::now() + self.delay, polls: self.polls });
        self.empty(paths.clone());
        let answer = with_status(answer, "InProgress");
        let reference = elements(&text, "CallerReference").remove(0);
        self.made.insert(reference, Made { paths, answer: answer.clone() });
        answer
    }

    fn empty(&self, paths: Vec<String>) {
        let Some(caches) = self.caches.clone() else { return };
        if self.delay.is_zero() {
            caches.invalidate(&paths);
            return;
        }
        let delay = self.delay;
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            caches.invalidate(&paths);
        });
    }
}

fn with_status(answer: Answer, status: &str) -> Answer {
    let text = String::from_utf8_lossy(&answer.body);
    // moto's own word differs from AWS's by its case.
    let body = ["COMPLETED", "Completed"].iter().fold(text.into_owned(), |text, known| {
        text.replace(&format!("<Status>{known}</Status>"), &format!("<Status>{status}</Status>"))
    });
    Answer { body: body.into(), ..answer }
}
