//! All objects of a kind, in pages, one object at a time.
//!
//! How many objects make a page follows from how large they are: whoever may write objects decides that, and neither
//! we nor the API server is to hold hundreds of megabytes at once. An object that makes no sense costs nobody the others.

use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::client::{broken, unreadable, within};
use super::split::{Object, Splitter};
use super::wire::Wire;
use super::{Client, ListMeta, ListOptions, REQUEST_TIMEOUT, Request};
use crate::runtime::Failure;

/// So few make the first page, whose objects may be of any size.
const FIRST_PAGE: u32 = 20;

/// About so large is a page meant to be.
const USUAL_PAGE: usize = 2 * 1024 * 1024;

/// A page that turns out larger is cut off, and asked for again with fewer objects.
const LARGEST_PAGE: usize = 16 * 1024 * 1024;

const JSON: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// What is listed.
#[derive(Clone)]
pub(crate) struct List<T> {
    pub(crate) path: String,
    pub(crate) label_selector: Option<String>,
    pub(crate) field_selector: Option<String>,
    /// The most objects in a page.
    pub(crate) most: u32,
    pub(crate) form: Form<T>,
}

impl<T> List<T> {
    /// Whatever is at a path.
    pub(crate) fn all(path: impl Into<String>, most: u32, form: Form<T>) -> Self {
        Self { path: path.into(), label_selector: None, field_selector: None, most, form }
    }
}

/// How objects are asked for, and read.
pub(crate) struct Form<T> {
    pub(super) accept: &'static str,
    pub(super) read: fn(Object<'_>) -> Result<T, String>,
}

impl<T> Clone for Form<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Form<T> {}

impl<T> Form<T> {
    /// A watch brings one object at a time, in JSON.
    pub(super) fn accept_in_watch(self) -> &'static str {
        if self.accept == METADATA { "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1" } else { JSON }
    }
}

impl<T: DeserializeOwned> Form<T> {
    pub(crate) const JSON: Self = Self { accept: JSON, read: read_json };

    /// Nothing but the metadata of each, whatever else is in it.
    pub(crate) const METADATA: Self = Self { accept: METADATA, read: read_json };
}

impl<T: Wire + DeserializeOwned> Form<T> {
    /// It takes half the time and half the bytes that the same list takes in JSON, nearly all of it the API server's
    /// time. What stands before the API server may know nothing but JSON.
    pub(crate) const COMPACT: Self =
        Self { accept: "application/vnd.kubernetes.protobuf,application/json;q=0.5", read: read_either };
}

fn read_json<T: DeserializeOwned>(object: Object<'_>) -> Result<T, String> {
    match object {
        Object::Json(json) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        Object::Wire(_) => Err("it is not JSON".to_owned()),
        Object::TooLarge => Err("it is too large".to_owned()),
    }
}

fn read_either<T: Wire + DeserializeOwned>(object: Object<'_>) -> Result<T, String> {
    match object {
        Object::Wire(wire) => T::read(wire).map_err(|error| error.to_string()),
        other => read_json(other),
    }
}

/// An object, or why it could not be read.
pub(crate) type Read<T> = Result<T, String>;

impl Client {
    /// Tells every object once.
    pub(crate) async fn list<T>(&self, list: &List<T>, tell: &mut dyn FnMut(Read<T>)) -> Result<(), Failure> {
        let mut pages = Pages::of(self, list);
        while pages.next(&mut |object| tell((list.form.read)(object))).await?.is_none() {}
        Ok(())
    }

    /// How many objects there are, and the version at which that was so: one that is sent, without its content, and those that are
    /// said to remain.
    pub(super) async fn count(&self, path: &str) -> Result<(u64, String), Failure> {
        let list = List::<IgnoredAny>::all(path, 1, Form::METADATA);
        let page = Pages::of(self, &list).page(&mut |_object| {}, false).await?;
        let sent = page.objects as u64;
        let end = page.end.unwrap_or_default();
        let version = end.resource_version.unwrap_or_default();
        let remaining = end.remaining_item_count.and_then(|count| u64::try_from(count).ok());
        match (end.continue_token.is_none_or(|token| token.is_empty()), remaining) {
            (true, _) => Ok((sent, version)),
            (false, Some(remaining)) => Ok((sent + remaining, version)),
            (false, None) => Err(unreadable(&format_args!("it does not say how many more there are under {path}"))),
        }
    }
}

impl<T> List<T> {
    pub(super) fn options(&self) -> ListOptions {
        ListOptions {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            ..ListOptions::default()
        }
    }
}

/// The pages of a list, one after the other, whatever is in them.
pub(super) struct Pages<'list> {
    client: &'list Client,
    path: &'list str,
    accept: &'static str,
    /// Of the next page, but for its size.
    options: ListOptions,
    size: PageSize,
    /// Objects of the next page and those that follow, told before one was cut off.
    told: usize,
}

impl<'list> Pages<'list> {
    pub(super) fn of<T>(client: &'list Client, list: &'list List<T>) -> Self {
        let size = PageSize { limit: FIRST_PAGE.min(list.most), most: list.most };
        Self { client, path: &list.path, accept: list.form.accept, options: list.options(), size, told: 0 }
    }

    /// Tells what is new in the next page, and after the last one the version at which the list was like that.
    pub(super) async fn next(&mut self, tell: &mut dyn FnMut(Object<'_>)) -> Result<Option<String>, Failure> {
        // A place to go on fixes what follows; without one, all might have changed since.
        let may_cut = self.options.continue_token.is_some() && self.size.limit > 1;
        let page = self.page(tell, may_cut).await?;
        self.told = page.told;
        let Some(end) = page.end else {
            self.size.shrink();
            return Ok(None);
        };
        self.size.follow(page.bytes, page.objects);
        self.options.continue_token = end.continue_token.filter(|token| !token.is_empty());
        let is_last = self.options.continue_token.is_none();
        Ok(is_last.then(|| end.resource_version.unwrap_or_default()))
    }

    async fn page(&self, tell: &mut dyn FnMut(Object<'_>), may_cut: bool) -> Result<Page, Failure> {
        let options = ListOptions { limit: Some(self.size.limit), ..self.options.clone() };
        let request = Request { accept: self.accept, ..Request::list(self.path, &options) };
        within(REQUEST_TIMEOUT, async {
            let mut body = self.client.open(request).await?;
            let mut page = Page { end: None, bytes: 0, objects: 0, told: 0 };
            let mut splitter = Splitter::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| broken(&error))?;
                let Some(data) = frame.data_ref() else { continue };
                page.bytes += data.len();
                let mut each = |object: Object<'_>| {
                    page.objects += 1;
                    if page.objects > self.told {
                        tell(object);
                    }
                };
                splitter.take(data, &mut each).map_err(|error| unreadable(&error))?;
                if may_cut && page.bytes > LARGEST_PAGE {
                    page.told = page.objects.max(self.told);
                    return Ok(page);
                }
            }
            page.end = Some(splitter.end().map_err(|reason| unreadable(&reason))?);
            page.told = self.told.saturating_sub(page.objects);
            Ok(page)
        })
        .await
    }
}

struct Page {
    /// None if it was cut off.
    end: Option<ListMeta>,
    bytes: usize,
    objects: usize,
    /// Objects that were told, and will come again in the pages that follow.
    told: usize,
}

struct PageSize {
    limit: u32,
    most: u32,
}

impl PageSize {
    /// The next page is meant to be as large as a page usually is.
    fn follow(&mut self, bytes: usize, objects: usize) {
        let each = (bytes / objects.max(1)).max(1);
        self.limit = u32::try_from(USUAL_PAGE / each).unwrap_or(self.most).clamp(1, self.most);
    }

    fn shrink(&mut self) {
        self.limit = (self.limit / 8).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_follows_that_of_its_objects() {
        let mut size = PageSize { limit: FIRST_PAGE, most: 500 };
        let mut after = |bytes, objects| {
            size.follow(bytes, objects);
            size.limit
        };
        assert_eq!(after(20 * 1400, 20), 500);
        assert_eq!(after(20 * 14_000, 20), 149);
        assert_eq!(after(20 * 1_400_000, 20), 1);
        assert_eq!(after(100, 0), 500);
        size.shrink();
        assert_eq!(size.limit, 62);
    }
}
