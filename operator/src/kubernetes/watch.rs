//! Following a kind of object: one list, then a watch from there on, taken up again wherever it broke off.
//!
//! Kept apart from what is done with the objects, and without a store of them: whoever follows keeps what it needs.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use memchr::memchr;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::client::{broken, unreadable, within};
use super::list::Pages;
use super::refusal::Refusal;
use super::split;
use super::{Client, List, Metadata, REQUEST_TIMEOUT, Request};
use crate::runtime::{Class, Clock, Failure};

/// After this long the server ends a watch by itself.
const WATCH: Duration = Duration::from_secs(290);

/// A connection that says nothing for longer is dead, though nobody told us.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// A server that ends each watch at once is not asked in a tight loop.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// One event; a larger object is skipped.
const LARGEST_LINE: usize = 2 * 1024 * 1024;

/// What is followed.
pub(crate) struct Feed<T> {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) list: List<T>,
    /// Whether what there is at the beginning is only counted.
    pub(crate) is_counted: bool,
}

pub(crate) enum Change<T> {
    /// A list begins: what was known before and is not in it is gone.
    Listing,
    /// The list is complete.
    Listed,
    /// From here on, changes come by themselves.
    Watching,
    /// So many there are, where they are counted in place of being listed.
    Counted(u64),
    /// In the list, or changed.
    Put(T),
    New(T),
    Gone(T),
    /// Nothing changed up to now.
    Same,
    /// Something changed that cannot be read, for this reason.
    Skipped(String),
}

/// An object that tells where in the history of its kind it stands.
pub(crate) trait Versioned {
    fn version(&self) -> &str;
}

/// Of any kind: nothing but what is asked for, so that it costs little how large the rest is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Object {
    pub(crate) metadata: Metadata,
}

impl Versioned for Object {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// Who is told of every change.
pub(crate) trait Follower<T> {
    fn tell(&mut self, change: Change<T>);

    /// No more of a list comes until this returns. What a watch brings cannot wait.
    async fn page_is_over(&mut self) {}
}

impl<T: Versioned + DeserializeOwned> Feed<T> {
    /// Tells every change until something fails.
    pub(crate) async fn follow(&self, follower: &mut impl Follower<T>) -> Failure {
        match self.try_follow(follower).await {
            Err(failure) => failure,
        }
    }

    async fn try_follow(&self, follower: &mut impl Follower<T>) -> Result<Infallible, Failure> {
        let mut version = self.begin(follower).await?;
        loop {
            let start = Instant::now();
            version = self.watch(version, follower).await?;
            tokio::time::sleep(SHORTEST_WATCH.saturating_sub(start.elapsed())).await;
        }
    }

    async fn begin(&self, follower: &mut impl Follower<T>) -> Result<String, Failure> {
        if self.is_counted {
            let (count, version) = self.client.count(&self.list.path).await?;
            follower.tell(Change::Counted(count));
            return Ok(version);
        }
        follower.tell(Change::Listing);
        let (mut pages, read) = (Pages::of(&self.client, &self.list), self.list.form.read);
        loop {
            let put = |object: split::Object<'_>| read(object).map_or_else(Change::Skipped, Change::Put);
            let version = pages.next(&mut |object| follower.tell(put(object))).await?;
            follower.page_is_over().await;
            if let Some(version) = version {
                follower.tell(Change::Listed);
                return Ok(version);
            }
        }
    }

    /// Watches until the server ends it, and tells where to go on.
    async fn watch(&self, mut version: String, follower: &mut impl Follower<T>) -> Result<String, Failure> {
        let time = self.clock.real(WATCH).max(SHORTEST_WATCH);
        let request = Request::watch(&self.list.path, &self.list.options(), &version, time);
        let mut lines =
            Lines::of(&self.client, Request { accept: self.list.form.accept_in_watch(), ..request }).await?;
        follower.tell(Change::Watching);
        while let Some(line) = lines.next_in_time().await? {
            let Line::Whole(line) = line else {
                follower.tell(Change::Skipped("it is too large".to_owned()));
                continue;
            };
            let Some((now, change)) = read(&line)? else { break };
            version = now.unwrap_or(version);
            follower.tell(change);
        }
        Ok(version)
    }
}

/// A body as lines, each of which is one event.
struct Lines {
    body: Incoming,
    /// Of a line whose end has not come yet.
    begun: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Lines {
    async fn of(client: &Client, request: Request) -> Result<Self, Failure> {
        Ok(Self { body: within(REQUEST_TIMEOUT, client.open(request)).await?, begun: Vec::new() })
    }

    async fn next_in_time(&mut self) -> Result<Option<Line>, Failure> {
        tokio::time::timeout(LONGEST_SILENCE, self.next()).await.unwrap_or_else(|_elapsed| {
            Err(Failure::new(Class::Timeout, format!("the watch was silent for {LONGEST_SILENCE:?}")))
        })
    }

    /// None when no more will come. A watch that the server or somebody in between cuts off ends like any other.
    async fn next(&mut self) -> Result<Option<Line>, Failure> {
        let mut searched = 0;
        let mut is_too_long = false;
        loop {
            if let Some(end) = memchr(b'\n', &self.begun[searched..]) {
                let rest = self.begun.split_off(searched + end + 1);
                let line = std::mem::replace(&mut self.begun, rest);
                return Ok(Some(if is_too_long { Line::TooLong } else { Line::Whole(line) }));
            }
            if self.begun.len() > LARGEST_LINE {
                is_too_long = true;
            }
            if is_too_long {
                self.begun = Vec::new();
            }
            searched = self.begun.len();
            match self.body.frame().await {
                Some(Ok(frame)) => self.begun.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) if !was_cut_off(&error) => return Err(broken(&error)),
                Some(Err(_)) | None => {
                    let last = std::mem::take(&mut self.begun);
                    return Ok(Some(last).filter(|line| !line.is_empty() && !is_too_long).map(Line::Whole));
                }
            }
        }
    }
}

fn was_cut_off(error: &(dyn Error + 'static)) -> bool {
    let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    error.downcast_ref().is_some_and(is_end) || error.source().is_some_and(was_cut_off)
}

/// One event of a watch, before it is known what it is about.
#[derive(Deserialize)]
struct Event<'line> {
    #[serde(rename = "type")]
    kind: &'line str,
    #[serde(borrow)]
    object: &'line RawValue,
}

/// A change, and the version at which it was like that, if that can be read.
type Told<T> = (Option<String>, Change<T>);

/// What an event tells. None for half an event, with which a watch may end.
fn read<T: Versioned + DeserializeOwned>(line: &[u8]) -> Result<Option<Told<T>>, Failure> {
    let event: Event = match serde_json::from_slice(line) {
        Ok(event) => event,
        Err(error) if error.is_eof() => return Ok(None),
        // Not an event, but what the server has to say about the whole watch.
        Err(error) => return Err(parse(line).map_or_else(|_| unreadable(&error), Refusal::failure)),
    };
    let object = event.object.get().as_bytes();
    Ok(Some(match event.kind {
        "ADDED" => versioned(object, Change::New),
        "MODIFIED" => versioned(object, Change::Put),
        "DELETED" => versioned(object, Change::Gone),
        "BOOKMARK" => (Some(parse::<Object>(object)?.metadata.resource_version), Change::Same),
        "ERROR" => return Err(parse::<Refusal>(object)?.failure()),
        other => return Err(unreadable(&format!("an event of the unknown type {other:?}"))),
    }))
}

fn versioned<T: Versioned + DeserializeOwned>(json: &[u8], change: fn(T) -> Change<T>) -> Told<T> {
    match serde_json::from_slice::<T>(json) {
        Ok(object) => (Some(object.version().to_owned()), change(object)),
        Err(error) => (None, Change::Skipped(error.to_string())),
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[derive(Deserialize)]
    struct Thing {
        metadata: Metadata,
    }

    impl Versioned for Thing {
        fn version(&self) -> &str {
            &self.metadata.resource_version
        }
    }

    fn event(kind: &str, object: &str) -> Result<Option<Told<Thing>>, Failure> {
        read(format!("{{\"type\": \"{kind}\", \"object\": {object}}}\n").as_bytes())
    }

    fn failure(event: Result<Option<Told<Thing>>, Failure>) -> String {
        event.err().unwrap().to_string()
    }

    #[test]
    fn every_event_tells_how_far_the_watch_has_come() {
        let object = r#"{"metadata": {"resourceVersion": "7", "annotations": {}}}"#;
        for (kind, tells) in [("ADDED", "new"), ("MODIFIED", "put"), ("DELETED", "gone"), ("BOOKMARK", "same")] {
            let (version, change) = event(kind, object).unwrap().unwrap();
            let told = match change {
                Change::New(_) => "new",
                Change::Put(_) => "put",
                Change::Gone(_) => "gone",
                Change::Same => "same",
                _ => "nonsense",
            };
            assert_eq!((version.as_deref(), told), (Some("7"), tells), "{kind}");
        }
    }

    #[test]
    fn a_refusal_within_a_watch_is_the_same_as_any_other() {
        let status = r#"{"kind": "Status", "message": "too old", "code": 410, "details": {"retryAfterSeconds": 3}}"#;
        assert_eq!(failure(event("ERROR", status)), "expired: too old (HTTP 410)");
        assert_eq!(event("ERROR", status).err().unwrap().retry_after, Some(Duration::from_secs(3)));
        assert_eq!(failure(read(status.as_bytes())), "expired: too old (HTTP 410)");
    }

    #[test]
    fn half_an_event_is_the_end_and_nonsense_is_a_failure() {
        assert!(read::<Thing>(br#"{"type": "ADDED", "object": {"meta"#).unwrap().is_none());
        assert!(failure(event("BOOKMARK", r#"{"metadata": 1}"#)).starts_with("server_error: "));
        assert!(failure(event("SURPRISE", "{}")).contains("SURPRISE"));
        assert!(failure(read(b"hello\n")).starts_with("server_error: "));
    }

    #[test]
    fn an_object_that_cannot_be_read_does_not_end_the_watch() {
        for kind in ["ADDED", "MODIFIED", "DELETED"] {
            let (version, change) = event(kind, r#"{"metadata": {"name": 1}}"#).unwrap().unwrap();
            assert!(version.is_none() && matches!(change, Change::Skipped(_)), "{kind}");
        }
    }

    /// What a server sends that hangs up afterwards, as its client has it: lines, and how they end.
    async fn received(chunks: &[&str], end: &'static str) -> (Vec<String>, Result<(), Failure>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let chunks: Vec<String> = chunks.iter().map(|chunk| (*chunk).to_owned()).collect();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            for chunk in chunks {
                stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes()).unwrap();
            }
            stream.write_all(end.as_bytes()).unwrap();
        });
        let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        let request = hyper::Request::get(server).body(http_body_util::Empty::<hyper::body::Bytes>::new()).unwrap();
        let mut lines = Lines { body: http.request(request).await.unwrap().into_body(), begun: Vec::new() };
        let mut told = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(Line::Whole(line))) => told.push(String::from_utf8(line).unwrap()),
                Ok(Some(Line::TooLong)) => told.push("too long".to_owned()),
                Ok(None) => return (told, Ok(())),
                Err(failure) => return (told, Err(failure)),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_put_together_from_what_comes_however_it_is_cut() {
        let (lines, end) = received(&["on", "e\ntwo\nth", "ree\n"], "0\r\n\r\n").await;
        assert_eq!(lines, ["one\n", "two\n", "three\n"]);
        assert_eq!(end, Ok(()));
        let long = "x".repeat(LARGEST_LINE + 1);
        let (lines, _) = received(&["one\n", &long, &long, "\ntwo\n", &long], "0\r\n\r\n").await;
        assert_eq!(lines, ["one\n", "too long", "two\n"]);
    }

    #[tokio::test]
    async fn a_watch_that_is_cut_off_is_over_but_one_that_makes_no_sense_has_failed() {
        let (lines, end) = received(&["one\nha"], "").await;
        assert_eq!((lines.concat().as_str(), end), ("one\nha", Ok(())));
        let (lines, end) = received(&["one\n"], "5\r\ntw").await;
        assert_eq!((lines.concat().as_str(), end), ("one\ntw", Ok(())));
        let (_, end) = received(&["one\n"], "no number\r\n").await;
        assert_eq!(end.unwrap_err().class, Class::Unreachable);
    }
}
