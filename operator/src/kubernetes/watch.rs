//! Following a kind of object: one list, then a watch from there on, taken up again wherever it broke off.
//!
//! Kept apart from what is done with the objects, and without a store of them: whoever follows keeps what it needs.

use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use kube::Client;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Request;
use serde::de::DeserializeOwned;

use super::{REQUEST_TIMEOUT, failure, list, within};
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
        T: Versioned + Clone + DeserializeOwned,
    {
        match self.try_follow(tell).await {
            Err(failure) => failure,
        }
    }

    async fn try_follow<T>(&self, mut tell: impl FnMut(Change<T>)) -> Result<Infallible, Failure>
    where
        T: Versioned + Clone + DeserializeOwned,
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
        T: Versioned + Clone + DeserializeOwned,
    {
        let following = async { self.watch_from(self.list(page).await?, tell).await };
        match following.await {
            Err(failure) => failure,
        }
    }

    async fn watch_from<T>(&self, mut version: String, mut tell: impl FnMut(Change<T>)) -> Result<Infallible, Failure>
    where
        T: Versioned + Clone + DeserializeOwned,
    {
        loop {
            let start = Instant::now();
            version = self.watch(version, &mut tell).await?;
            tokio::time::sleep(SHORTEST_WATCH.saturating_sub(start.elapsed())).await;
        }
    }

    /// Hands everything on, and tells the version at which it was like that.
    async fn list<T: DeserializeOwned>(&self, mut hand_on: impl AsyncFnMut(Vec<T>)) -> Result<String, Failure> {
        let mut parameters = ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        loop {
            let mut page = list(&self.client, &self.path, &parameters).await?;
            hand_on(page.items()).await;
            parameters.continue_token = page.next();
            if parameters.continue_token.is_none() {
                return Ok(page.metadata.resource_version.unwrap_or_default());
            }
        }
    }

    /// Watches until the server ends it, and tells where to go on.
    async fn watch<T>(&self, mut version: String, tell: &mut impl FnMut(Change<T>)) -> Result<String, Failure>
    where
        T: Versioned + Clone + DeserializeOwned,
    {
        let parameters = WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            timeout: u32::try_from(WATCH.as_secs()).ok(),
            bookmarks: true,
            ..WatchParams::default()
        };
        let stream = within(REQUEST_TIMEOUT, async {
            let request = Request::new(&self.path).watch(&parameters, &version).map_err(kube::Error::BuildRequest)?;
            self.client.request_events::<T>(request).await
        });
        let mut stream = pin!(stream.await?);
        tell(Change::Watching);
        while let Some(event) = next(&mut stream).await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    object.version().clone_into(&mut version);
                    tell(Change::Put(object));
                }
                WatchEvent::Deleted(object) => {
                    object.version().clone_into(&mut version);
                    tell(Change::Gone(object));
                }
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    tell(Change::Same);
                }
                WatchEvent::Error(status) => return Err(failure(&kube::Error::Api(status))),
            }
        }
        Ok(version)
    }
}

async fn next<T>(
    stream: &mut (impl futures_util::TryStream<Ok = T, Error = kube::Error> + Unpin),
) -> Result<Option<T>, Failure> {
    match tokio::time::timeout(LONGEST_SILENCE, stream.try_next()).await {
        Ok(event) => event.map_err(|error| failure(&error)),
        Err(_elapsed) => Err(Failure {
            class: Class::Timeout,
            message: format!("the watch was silent for {LONGEST_SILENCE:?}"),
            retry_after: None,
        }),
    }
}
