//! Following a kind of object: one list, then a watch from there on, taken up again wherever it broke off.
//!
//! Kept apart from what is done with the objects, and without a store of them: whoever follows keeps what it needs.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::client::{broken, unreadable, within};
use super::refusal::Refusal;
use super::{Client, ListOptions, Metadata, REQUEST_TIMEOUT, Request};
use crate::failure::{Class, Failure};

/// After this long the server ends a watch by itself.
const WATCH: Duration = Duration::from_secs(290);

/// A connection that says nothing for longer is dead, though nobody told us.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// A server that ends each watch at once is not asked in a tight loop.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

const PAGE: u32 = 500;

/// What is followed.
pub(crate) struct Feed {
    pub(crate) client: Client,
    pub(crate) path: String,
    pub(crate) fields: Option<String>,
    pub(crate) labels: Option<String>,
}

pub(crate) enum Change<T> {
    /// All there is; what was known before and is not in it is gone.
    Listed(Vec<T>),
    /// From here on, changes come by themselves.
    Watching,
    /// New or changed.
    Put(T),
    Gone(T),
    /// Nothing changed up to now.
    Same,
}

/// An object that tells where in the history of its kind it stands.
pub(crate) trait Versioned {
    fn version(&self) -> &str;
}

impl Feed {
    /// Tells every change until something fails.
    pub(crate) async fn follow<T>(&self, tell: impl FnMut(Change<T>)) -> Failure
    where
        T: Versioned + DeserializeOwned,
    {
        match self.try_follow(tell).await {
            Err(failure) => failure,
        }
    }

    async fn try_follow<T>(&self, mut tell: impl FnMut(Change<T>)) -> Result<Infallible, Failure>
    where
        T: Versioned + DeserializeOwned,
    {
        let mut objects = Vec::new();
        let version = self.list(async |mut page| objects.append(&mut page)).await?;
        tell(Change::Listed(objects));
        self.watch_from(version, tell).await
    }

    /// As `follow`, for a kind with too many objects to hold: the first ones come page by page, and each is waited for.
    #[cfg(feature = "event-store")]
    pub(crate) async fn follow_pages<T>(&self, page: impl AsyncFnMut(Vec<T>), tell: impl FnMut(Change<T>)) -> Failure
    where
        T: Versioned + DeserializeOwned,
    {
        let following = async { self.watch_from(self.list(page).await?, tell).await };
        match following.await {
            Err(failure) => failure,
        }
    }

    async fn watch_from<T>(&self, mut version: String, mut tell: impl FnMut(Change<T>)) -> Result<Infallible, Failure>
    where
        T: Versioned + DeserializeOwned,
    {
        loop {
            let start = Instant::now();
            version = self.watch(version, &mut tell).await?;
            tokio::time::sleep(SHORTEST_WATCH.saturating_sub(start.elapsed())).await;
        }
    }

    /// Hands everything on, and tells the version at which it was like that.
    async fn list<T: DeserializeOwned>(&self, mut hand_on: impl AsyncFnMut(Vec<T>)) -> Result<String, Failure> {
        let mut options = ListOptions { limit: Some(PAGE), ..self.options() };
        loop {
            let mut page = self.client.list(&self.path, &options).await?;
            hand_on(page.items()).await;
            options.continue_token = page.next();
            if options.continue_token.is_none() {
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }

    /// Watches until the server ends it, and tells where to go on.
    async fn watch<T>(&self, mut version: String, tell: &mut impl FnMut(Change<T>)) -> Result<String, Failure>
    where
        T: Versioned + DeserializeOwned,
    {
        let request = Request::watch(&self.path, &self.options(), &version, WATCH);
        let body = within(REQUEST_TIMEOUT, self.client.open(request)).await?;
        tell(Change::Watching);
        let mut lines = Lines { body, begun: Vec::new() };
        while let Some(line) = in_time(lines.next()).await? {
            let Some((now, change)) = read(&line)? else { break };
            version = now;
            tell(change);
        }
        Ok(version)
    }

    fn options(&self) -> ListOptions {
        ListOptions {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            ..ListOptions::default()
        }
    }
}

async fn in_time<T>(news: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(LONGEST_SILENCE, news).await.unwrap_or_else(|_elapsed| {
        Err(Failure {
            class: Class::Timeout,
            message: format!("the watch was silent for {LONGEST_SILENCE:?}"),
            retry_after: None,
        })
    })
}

/// A body as lines, each of which is one event.
struct Lines {
    body: Incoming,
    /// Of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Lines {
    /// None when no more will come. A watch that the server or somebody in between cuts off ends like any other.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.begun[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.begun.split_off(searched + end + 1);
                return Ok(Some(std::mem::replace(&mut self.begun, rest)));
            }
            searched = self.begun.len();
            match self.body.frame().await {
                Some(Ok(frame)) => self.begun.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) if !was_cut_off(&error) => return Err(broken(&error)),
                Some(Err(_)) | None => {
                    let last = std::mem::take(&mut self.begun);
                    return Ok(Some(last).filter(|line| !line.is_empty()));
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

/// Of an object that only tells how far the watch has come.
#[derive(Deserialize)]
struct Bookmark {
    metadata: Metadata,
}

/// What an event tells, and the version at which it was like that. None for half an event, with which a watch may end.
fn read<T: Versioned + DeserializeOwned>(line: &[u8]) -> Result<Option<(String, Change<T>)>, Failure> {
    let event: Event = match serde_json::from_slice(line) {
        Ok(event) => event,
        Err(error) if error.is_eof() => return Ok(None),
        // Not an event, but what the server has to say about the whole watch.
        Err(error) => return Err(parse(line).map_or_else(|_| unreadable(&error), Refusal::failure)),
    };
    let object = event.object.get().as_bytes();
    Ok(Some(match event.kind {
        "ADDED" | "MODIFIED" => versioned(parse(object)?, Change::Put),
        "DELETED" => versioned(parse(object)?, Change::Gone),
        "BOOKMARK" => (parse::<Bookmark>(object)?.metadata.resource_version, Change::Same),
        "ERROR" => return Err(parse::<Refusal>(object)?.failure()),
        other => return Err(unreadable(&format!("an event of the unknown type {other:?}"))),
    }))
}

fn versioned<T: Versioned>(object: T, change: fn(T) -> Change<T>) -> (String, Change<T>) {
    (object.version().to_owned(), change(object))
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

    fn event(kind: &str, object: &str) -> Result<Option<(String, Change<Thing>)>, Failure> {
        read(format!("{{\"type\": \"{kind}\", \"object\": {object}}}\n").as_bytes())
    }

    fn failure(event: Result<Option<(String, Change<Thing>)>, Failure>) -> String {
        event.err().unwrap().to_string()
    }

    #[test]
    fn every_event_tells_how_far_the_watch_has_come() {
        let object = r#"{"metadata": {"resourceVersion": "7", "annotations": {}}}"#;
        for (kind, tells) in [("ADDED", "put"), ("MODIFIED", "put"), ("DELETED", "gone"), ("BOOKMARK", "same")] {
            let (version, change) = event(kind, object).unwrap().unwrap();
            let told = match change {
                Change::Put(_) => "put",
                Change::Gone(_) => "gone",
                Change::Same => "same",
                Change::Listed(_) | Change::Watching => "nonsense",
            };
            assert_eq!((version.as_str(), told), ("7", tells), "{kind}");
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
        assert!(failure(event("ADDED", r#"{"metadata": 1}"#)).starts_with("server_error: "));
        assert!(failure(event("SURPRISE", "{}")).contains("SURPRISE"));
        assert!(failure(read(b"hello\n")).starts_with("server_error: "));
    }

    /// What a server sends that hangs up afterwards, as its client has it: lines, and how they end.
    async fn received(chunks: &'static [&'static str], end: &'static str) -> (Vec<String>, Result<(), Failure>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
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
                Ok(Some(line)) => told.push(String::from_utf8(line).unwrap()),
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
