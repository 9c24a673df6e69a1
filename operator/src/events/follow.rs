//! Fills the store: one watch of all events, and one thread that writes what came, in batches: a disk may take its time.
//!
//! Nothing here ends the operator. What the API server refuses is asked for again; what the file refuses is kept for a
//! while and tried again. Where that was too long, all events are listed anew, since the API server still has them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Sender};

use super::keep::{is_kept, type_label};
use super::store::{Store, Trouble};
use super::{Event, Record};
use crate::config::EventStore;
use crate::kubernetes::{Change, Client, Feed, Follower, Form, List};
use crate::runtime::{Class, Context, Failure, Shutdown, Task, retry};

/// What comes within this time is written together.
const GATHERING: Duration = Duration::from_millis(200);

/// How many are written at a time.
const BATCH: usize = 250;

/// How many wait for that: some seconds of the busiest cluster. Should the file not take them, memory does not grow.
const ROOM: usize = 1000;

/// By the first time, the API server has told what time it is: a node with a wrong clock must not cost history.
const FIRST_RETENTION: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(6 * 3600);

/// Once a signal came: while the status takes leave, and no longer.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// Keeps events until the shutdown; what has come by then is still written.
pub(crate) async fn keep(
    client: Client,
    store: Store,
    settings: EventStore,
    context: Arc<Context>,
    shutdown: &Shutdown,
) {
    let gaps = Arc::new(Gaps::default());
    let (sender, waiting) = mpsc::channel(ROOM);
    let keeper = Keeper {
        store,
        settings,
        context: Arc::clone(&context),
        waiting,
        batch: Vec::new(),
        gaps: Arc::clone(&gaps),
        has_failed: false,
    };
    // A disk may take its time, and the status is not to wait for it.
    let (runtime, signal) = (Handle::current(), shutdown.clone());
    let keeping = tokio::task::spawn_blocking(move || runtime.block_on(keeper.run(&signal)));
    tokio::select! {
        never = follow(client, &context, sender, &gaps) => match never {},
        () = shutdown.requested() => {}
    }
    // With the watch the channel ends, and with that the keeping.
    tokio::select! {
        kept = keeping => kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())),
        () = tokio::time::sleep(LAST_WRITES) => {
            gaps.is_over.store(true, Ordering::Relaxed);
            tracing::warn!("the last events could not be written in time");
        }
    }
}

/// What the watch, and whoever keeps what it brings, tell each other.
#[derive(Default)]
struct Gaps {
    /// More came at once than there was room for.
    overflowed: AtomicBool,
    /// What was lost can be had again by now, by a list.
    again: Notify,
    /// Nobody waits for the keeping any more.
    is_over: AtomicBool,
}

/// Keeps the watch going, whatever happens to it.
async fn follow(client: Client, context: &Context, sender: Sender<Record>, gaps: &Gaps) -> Infallible {
    let list = List::all("/api/v1/events", 500, Form::COMPACT);
    let feed = Feed { client, clock: context.clock.clone(), list, is_counted: false };
    let mut receiver = Receiver { client: feed.client.clone(), context, sender, gaps, listed: None };
    loop {
        let watch = async || {
            tokio::select! {
                failure = feed.follow(&mut receiver) => Err(failure),
                () = gaps.again.notified() => Ok(()),
            }
        };
        retry::until_success(context, Task::EventWatch, watch).await;
    }
}

/// Takes what the watch brings.
struct Receiver<'context> {
    client: Client,
    context: &'context Context,
    sender: Sender<Record>,
    gaps: &'context Gaps,
    /// What a list brings, as long as there is one.
    listed: Option<Vec<Record>>,
}

impl Follower<Event> for Receiver<'_> {
    fn tell(&mut self, change: Change<Event>) {
        match change {
            Change::Listing => self.listed = Some(Vec::new()),
            Change::Listed => self.listed = None,
            Change::Watching => self.context.update(|state| state.task_runs(Task::EventWatch)),
            Change::Put(event) | Change::New(event) => {
                let kind = type_label(&event);
                self.context.update(|state| *state.events.received.entry(kind).or_default() += 1);
                if is_kept(&event) {
                    let record = Record::of(&event, self.client.time().unwrap_or_else(|| self.context.calendar()));
                    match &mut self.listed {
                        Some(listed) => listed.push(record),
                        None => self.push(record),
                    }
                }
            }
            Change::Skipped(reason) => self.context.skipped(Task::EventWatch, &reason),
            // What the API server forgets is what the store is for.
            Change::Gone(_) | Change::Counted(_) | Change::Same => {}
        }
    }

    /// The next page is asked for when there is room for this one.
    async fn page_is_over(&mut self) {
        for record in self.listed.iter_mut().flat_map(std::mem::take) {
            // Nobody takes it any more only where the keeping has ended, and with it all this.
            let _closed = self.sender.send(record).await;
        }
    }
}

impl Receiver<'_> {
    /// What a watch brings cannot wait.
    fn push(&self, record: Record) {
        if self.sender.try_send(record).is_err() {
            self.context.update(|state| state.events.dropped += 1);
            self.gaps.overflowed.store(true, Ordering::Relaxed);
        }
    }
}

/// Writes what comes, and removes what has been kept for long enough, on a thread of its own.
struct Keeper {
    store: Store,
    settings: EventStore,
    context: Arc<Context>,
    waiting: mpsc::Receiver<Record>,
    /// What is written next, or again where that failed.
    batch: Vec<Record>,
    gaps: Arc<Gaps>,
    /// Since the last success.
    has_failed: bool,
}

impl Keeper {
    /// Ends with the channel, or where a signal came and the file takes nothing. From the signal on it uses no timer: the
    /// runtime may end before a disk that hangs does.
    async fn run(mut self, shutdown: &Shutdown) {
        let context = Arc::clone(&self.context);
        let clock = &context.clock;
        let mut retention = clock.uptime() + FIRST_RETENTION;
        self.measure();
        loop {
            let is_due = clock.uptime() >= retention;
            let done = if is_due { self.expire() } else { self.write() };
            let left = self.left();
            context.update(|state| state.events.waiting = left);
            if is_due && done.is_ok() {
                retention = clock.uptime() + RETENTION;
            }
            if self.gaps.is_over.load(Ordering::Relaxed) || (done.is_err() && shutdown.is_requested()) {
                return;
            }
            let pause = match done {
                Ok(()) => self.note_success(),
                Err(trouble) => self.note_failure(&trouble),
            };
            tokio::select! {
                () = clock.sleep(pause), if !shutdown.is_requested() => {}
                () = shutdown.requested() => {}
            }
            if self.batch.is_empty() {
                tokio::select! {
                    taken = self.waiting.recv_many(&mut self.batch, BATCH) => if taken == 0 { return },
                    () = clock.sleep(retention.saturating_sub(clock.uptime())), if !shutdown.is_requested() => {}
                }
            }
        }
    }

    fn measure(&self) {
        let bytes = self.store.bytes();
        self.context.update(|state| state.events.bytes = bytes);
    }

    /// How many are to be written.
    fn left(&self) -> usize {
        self.batch.len() + self.waiting.len()
    }

    fn write(&mut self) -> Result<(), Trouble> {
        if !self.batch.is_empty() {
            let changed = self.store.write(&self.batch)?;
            self.batch.clear();
            self.context.update(|state| {
                changed.into_iter().for_each(|it| *state.events.stored.entry(it.label()).or_default() += 1);
            });
        }
        Ok(())
    }

    fn expire(&mut self) -> Result<(), Trouble> {
        let cut_offs = self.settings.retention.cut_offs(self.context.calendar());
        let mut removed = 0;
        loop {
            match self.store.expire(cut_offs)? {
                0 => break,
                some => removed += some,
            }
        }
        tracing::info!(removed, "events that were kept for long enough are removed");
        Ok(())
    }

    fn note_success(&mut self) -> Duration {
        if std::mem::take(&mut self.has_failed) {
            tracing::info!("the event store works again");
            self.gaps.again.notify_one();
        }
        self.context.update(|state| state.task_runs(Task::EventStore));
        self.measure();
        // Once all else is written, a list brings what was lost, and waits for whoever writes.
        if self.left() == 0 && self.gaps.overflowed.swap(false, Ordering::Relaxed) {
            self.gaps.again.notify_one();
        }
        // Where there is enough for another batch, there is nothing to wait for.
        if self.left() < BATCH { GATHERING } else { Duration::ZERO }
    }

    fn note_failure(&mut self, trouble: &Trouble) -> Duration {
        self.has_failed = true;
        self.context.update(|state| *state.events.errors.entry(trouble.label()).or_default() += 1);
        let failure = Failure::new(Class::Storage, trouble.to_string());
        retry::note(&self.context, Task::EventStore, &failure)
    }
}
