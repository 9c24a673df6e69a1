//! Fills the store: one watch of all events, and one task that writes what came, in batches, off the main thread.
//!
//! Nothing here ends the operator. What the API server refuses is asked for again; what the file refuses is kept for a
//! while and tried again. Where that was too long, all events are listed anew, since the API server still has them.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::keep::{is_kept, type_label};
use super::queue::Queue;
use super::store::{Store, Trouble};
use super::{Event, Record, Settings};
use crate::backoff;
use crate::failure::{Class, Failure};
use crate::kubernetes::{Change, Client, Feed, Follower, Form, List};
use crate::progress::Job;
use crate::serve::Context;
use crate::shutdown::Shutdown;

/// What comes within this time is written together.
const GATHERING: Duration = Duration::from_millis(200);

/// How many are written at a time.
const BATCH: usize = 250;

/// By the first time, the API server has told what time it is: a node with a wrong clock must not cost history.
const FIRST_RETENTION: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(6 * 3600);

/// Keeps events until the shutdown; what has come by then is still written.
pub(crate) async fn keep(client: Client, store: Store, settings: &Settings, context: &Context, shutdown: &Shutdown) {
    let channel = Channel::default();
    let keeper = Keeper { store: Some(store), settings, context, channel: &channel, failures: 0 };
    tokio::select! {
        never = follow(client, context, &channel) => match never {},
        () = keeper.run(shutdown) => {}
        () = overdue(shutdown) => tracing::warn!("the last events could not be written in time"),
    }
}

/// While the status takes leave, and no longer.
const LAST_WRITES: Duration = Duration::from_secs(3);

async fn overdue(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(LAST_WRITES).await;
}

/// What lies between the watch and the file.
#[derive(Default)]
struct Channel {
    queue: Queue<Record>,
    /// More came at once than there was room for.
    overflowed: AtomicBool,
    /// Something was lost, and can be had again by now.
    again: Notify,
}

impl Channel {
    /// Adds one that cannot wait, and tells how many were lost for that.
    fn push(&self, record: Record) -> u64 {
        let lost = self.queue.push(record);
        self.overflowed.fetch_or(lost > 0, Ordering::Relaxed);
        lost
    }

    /// Once all else is written, a list brings what was lost, and waits for whoever writes.
    fn make_up(&self) {
        if self.queue.len() == 0 && self.overflowed.swap(false, Ordering::Relaxed) {
            self.again.notify_one();
        }
    }
}

/// Keeps the watch going, whatever happens to it.
async fn follow(client: Client, context: &Context, channel: &Channel) -> Infallible {
    let Context { clock, progress, metrics, .. } = context;
    let list = List {
        path: "/api/v1/events".to_owned(),
        label_selector: None,
        field_selector: None,
        most: 500,
        form: Form::COMPACT,
    };
    let feed = Feed { client, list, is_counted: false };
    let mut receiver = Receiver { client: feed.client.clone(), context, channel, listed: None };
    progress.job_expected(Job::EventWatch);
    loop {
        let failure = tokio::select! {
            failure = feed.follow(&mut receiver) => failure,
            () = channel.again.notified() => continue,
        };
        metrics.job_failed(Job::EventWatch, failure.class);
        let (message, asked_for, class) = (failure.to_string(), failure.retry_after, failure.class);
        let failures = progress.job_failed(Job::EventWatch, failure, clock.uptime());
        if class == Class::Expired && failures == 1 {
            tracing::debug!("the watch of events was away for too long; listing them again");
            continue;
        }
        tracing::warn!(error = message, failures, "cannot watch events");
        tokio::select! {
            () = clock.sleep(backoff::pause(failures, backoff::random_fraction(), asked_for)) => {}
            () = progress.recovered() => {}
        }
    }
}

/// Takes what the watch brings.
struct Receiver<'context> {
    client: Client,
    context: &'context Context,
    channel: &'context Channel,
    /// What a list brings, as long as there is one.
    listed: Option<Vec<Record>>,
}

impl Follower<Event> for Receiver<'_> {
    fn tell(&mut self, change: Change<Event>) {
        let Context { progress, metrics, .. } = self.context;
        match change {
            Change::Listing => self.listed = Some(Vec::new()),
            Change::Listed => self.listed = None,
            Change::Watching => progress.job_runs(Job::EventWatch),
            Change::Put(event) | Change::New(event) => {
                metrics.event_received(type_label(&event));
                if is_kept(&event) {
                    let record = Record::of(&event, self.client.time().unwrap_or_else(|| self.context.calendar()));
                    match &mut self.listed {
                        Some(listed) => listed.push(record),
                        None => metrics.events_dropped(self.channel.push(record)),
                    }
                }
            }
            Change::Skipped(reason) => self.context.skipped(Job::EventWatch, &reason),
            // What the API server forgets is what the store is for.
            Change::Gone(_) | Change::Counted(_) | Change::Same => {}
        }
    }

    async fn page_is_over(&mut self) {
        for record in self.listed.iter_mut().flat_map(std::mem::take) {
            self.channel.queue.push_patiently(record).await;
        }
    }
}

/// Writes what is in the queue, and removes what has been kept for long enough.
struct Keeper<'context> {
    /// None while another thread has it.
    store: Option<Store>,
    settings: &'context Settings,
    context: &'context Context,
    channel: &'context Channel,
    /// Since the last success.
    failures: u32,
}

impl Keeper<'_> {
    async fn run(mut self, shutdown: &Shutdown) {
        let Context { clock, metrics, .. } = self.context;
        let mut retention = clock.uptime() + FIRST_RETENTION;
        self.note_size();
        loop {
            let is_due = clock.uptime() >= retention;
            let done = if is_due { self.expire().await } else { self.write().await };
            metrics.event_queue(self.channel.queue.len());
            if is_due && done.is_ok() {
                retention = clock.uptime() + RETENTION;
            }
            if shutdown.is_requested() && (done.is_err() || self.channel.queue.len() == 0) {
                return;
            }
            let pause = match done {
                Ok(()) => self.note_success(),
                Err(trouble) => self.note_failure(&trouble),
            };
            tokio::select! {
                () = clock.sleep(pause) => {}
                () = shutdown.requested() => {}
            }
            tokio::select! {
                () = self.channel.queue.filled() => {}
                () = clock.sleep(retention.saturating_sub(clock.uptime())) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    async fn write(&mut self) -> Result<(), Trouble> {
        let batch = self.channel.queue.take(BATCH);
        if batch.is_empty() {
            return Ok(());
        }
        let (batch, written) = self
            .beside(move |store| {
                let written = store.write(&batch);
                (batch, written)
            })
            .await;
        match written {
            Ok(changed) => {
                changed.into_iter().for_each(|severity| self.context.metrics.event_stored(severity.label()));
                Ok(())
            }
            Err(trouble) => {
                self.context.metrics.events_dropped(self.channel.queue.put_back(batch));
                Err(trouble)
            }
        }
    }

    async fn expire(&mut self) -> Result<(), Trouble> {
        let cut_offs = self.settings.retention.cut_offs(self.context.calendar());
        let mut removed = 0;
        loop {
            match self.beside(move |store| store.expire(cut_offs)).await? {
                0 => break,
                some => removed += some,
            }
        }
        tracing::info!(removed, "events that were kept for long enough are removed");
        Ok(())
    }

    /// On another thread, since a disk may take its time; the status is not to wait for it.
    async fn beside<T: Send + 'static>(&mut self, act: impl FnOnce(&mut Store) -> T + Send + 'static) -> T {
        let place = self.settings.place.clone();
        let store = self.store.take();
        let acting = tokio::task::spawn_blocking(move || {
            let mut store = store.unwrap_or_else(|| Store::closed(place));
            let result = act(&mut store);
            (store, result)
        });
        let (store, result) = match acting.await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        self.store = Some(store);
        result
    }

    fn note_success(&mut self) -> Duration {
        let progress = &self.context.progress;
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the event store works again");
            self.channel.again.notify_one();
        }
        progress.job_runs(Job::EventStore);
        self.note_size();
        self.channel.make_up();
        // Where there is enough for another batch, there is nothing to wait for.
        if self.channel.queue.len() < BATCH { GATHERING } else { Duration::ZERO }
    }

    fn note_failure(&mut self, trouble: &Trouble) -> Duration {
        let Context { clock, metrics, progress, .. } = self.context;
        metrics.event_store_failed(trouble.label());
        let failure = Failure { class: Class::Storage, message: trouble.to_string(), retry_after: None };
        self.failures = progress.job_failed(Job::EventStore, failure, clock.uptime());
        tracing::warn!(%trouble, failures = self.failures, "cannot write to the event store");
        backoff::pause(self.failures, backoff::random_fraction(), None)
    }

    fn note_size(&self) {
        if let Some(store) = &self.store {
            self.context.metrics.event_storage(store.bytes());
        }
    }
}
