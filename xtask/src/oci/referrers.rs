//! Lists of referrers in a registry that does not keep them itself: an image index under a tag that everybody writes.
//!
//! A registry has no compare-and-swap: whoever reads the list, adds to it and writes it back takes away what another writer added in
//! between. So a list is written, read again after a pause, and written again until nothing is missing that was ever seen in it. The
//! pause must be longer than another writer's moment between reading and writing. Nobody knows that moment, but writers on one
//! registry wait for the same answers: it is taken from this writer's own slowest one, and a writer that lost something looks twice.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use crate::error::{Error, Exit, Result};
use crate::oci::artifact::{self, Artifact};
use crate::oci::registry::Attached;
use crate::oci::{Descriptor, Digest, ImageIndex};
use crate::sys::http::Answer;

/// The shortest pause before a list is read again: other writers' requests take as long over a slow line.
const PAUSE: Duration = Duration::from_millis(25);
/// How much longer than this writer's own slowest moment the pause is.
const MARGIN: u32 = 2;
/// How often lists are read before it is said that others never leave them alone.
const ROUNDS: usize = 200;

/// Where the lists are.
pub trait Lists {
    /// The list of a digest; an empty one where there is none.
    ///
    /// # Errors
    /// The registry cannot be read.
    fn read(&self, subject: &Digest) -> Result<ImageIndex>;

    /// Replaces the list of a digest.
    ///
    /// # Errors
    /// The registry cannot be written to.
    fn write(&self, subject: &Digest, list: &ImageIndex) -> Result<()>;
}

/// Adds stored artifacts to the lists of their subjects, and stays until they keep them. `pause` waits.
///
/// # Errors
/// The registry cannot be used, or other writers never leave the lists alone.
pub fn list(lists: &dyn Lists, artifacts: &[Artifact], pause: &dyn Fn(Duration)) -> Result<Attached> {
    let mut known: BTreeMap<&Digest, ImageIndex> = BTreeMap::new();
    for artifact in artifacts {
        let Some(subject) = &artifact.subject else { continue };
        let known = known.entry(subject).or_insert_with(|| ImageIndex::new(Vec::new()));
        artifact::merge(known, std::slice::from_ref(&artifact.descriptor));
    }
    let (mut attached, mut slowest, mut quiet) = (Attached::default(), PAUSE, 0);
    for round in 0..ROUNDS {
        let mut complete = true;
        for (subject, known) in &mut known {
            let started = Instant::now();
            let Some((list, missing)) = lacking(lists.read(subject)?, known) else { continue };
            lists.write(subject, &list)?;
            slowest = slowest.max(started.elapsed());
            complete = false;
            if round > 0 {
                attached.restored.extend(missing);
            }
        }
        quiet = if complete { quiet + 1 } else { 0 };
        // What is complete at the first look was listed before.
        if quiet > usize::from(!attached.restored.is_empty()) || (complete && round == 0) {
            attached.restored.sort();
            attached.restored.dedup();
            return Ok(attached);
        }
        pause(at_random(MARGIN * slowest));
    }
    Err(Error::new(Exit::Busy, "other writers keep taking referrers from their lists")
        .because(format!("after {ROUNDS} rounds some are missing again"))
        .remedy("retry the command when they are done: what is there stays"))
}

/// The list with what it lacks of what is known, and which that is. What is in it is known from now on.
fn lacking(mut list: ImageIndex, known: &mut ImageIndex) -> Option<(ImageIndex, Vec<Digest>)> {
    let is_listed = |list: &ImageIndex, one: &Descriptor| list.manifests.iter().any(|other| other.digest == one.digest);
    let missing: Vec<Digest> =
        known.manifests.iter().filter(|one| !is_listed(&list, one)).map(|one| one.digest.clone()).collect();
    artifact::merge(known, &list.manifests);
    artifact::merge(&mut list, &known.manifests).then_some((list, missing))
}

/// Up to half as long again, by chance: writers that got into each other's way do not stay in step.
fn at_random(pause: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() % 500;
    pause + pause * u32::try_from(chance).unwrap_or_default() / 1000
}

/// One page of a registry's own list of referrers.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// What refers to the digest.
    pub referrers: Vec<Descriptor>,
    /// Where the next page is, where there is one.
    pub next: Option<String>,
}

/// What the answer of `base` to a question for referrers means; nothing where it keeps no lists.
///
/// GitHub's registry, asked for referrers, led to a page of its web site for a while (artifacthub/hub#4785): an answer that leads elsewhere
/// is as good as none.
///
/// # Errors
/// It is no list, or its next page is elsewhere.
pub fn page(base: &str, answer: &Answer) -> Result<Option<Page>, String> {
    match answer.status {
        200 => {}
        300..=399 | 404 | 405 => return Ok(None),
        status => return Err(format!("the registry answers with {status}")),
    }
    let list: ImageIndex =
        serde_json::from_slice(&answer.body).map_err(|error| format!("the answer is no image index: {error}"))?;
    let next = answer.header("link").map(|link| next_page(base, link)).transpose()?.flatten();
    Ok(Some(Page { referrers: list.manifests, next }))
}

/// Where a `Link` header (RFC 8288) says that the next page is: `</v2/…>; rel="next"`. Credentials go nowhere else.
fn next_page(base: &str, link: &str) -> Result<Option<String>, String> {
    let Some((target, parameters)) = link.trim().strip_prefix('<').and_then(|link| link.split_once('>')) else {
        return Err(format!("the header `Link: {link}` is malformed"));
    };
    if !parameters.contains("rel=\"next\"") && !parameters.contains("rel=next") {
        return Ok(None);
    }
    let absolute = if target.starts_with('/') { format!("{base}{target}") } else { target.to_owned() };
    if absolute.starts_with(&format!("{base}/")) {
        Ok(Some(absolute))
    } else {
        Err(format!("the next page of the list is elsewhere: {absolute}"))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::oci::{Annotations, INDEX};

    /// A list that another writer replaces in the middle of some writes.
    struct Contested {
        list: RefCell<ImageIndex>,
        /// After how many more writes the other one still has what it read before.
        lose: Cell<usize>,
        before: RefCell<ImageIndex>,
        writes: Cell<usize>,
    }

    impl Contested {
        fn new(lose: usize, there: &[Descriptor]) -> Self {
            let list = ImageIndex::new(there.to_vec());
            Contested {
                before: RefCell::new(list.clone()),
                list: RefCell::new(list),
                lose: Cell::new(lose),
                writes: Cell::new(0),
            }
        }
    }

    impl Lists for Contested {
        fn read(&self, _: &Digest) -> Result<ImageIndex> {
            Ok(self.list.borrow().clone())
        }

        fn write(&self, _: &Digest, list: &ImageIndex) -> Result<()> {
            self.writes.set(self.writes.get() + 1);
            self.list.replace(list.clone());
            if self.lose.get() > 0 {
                self.lose.set(self.lose.get() - 1);
                let mut theirs = self.before.borrow().clone();
                theirs.manifests.push(Descriptor::of("theirs", &[u8::try_from(self.lose.get()).unwrap()]));
                self.list.replace(theirs);
            }
            Ok(())
        }
    }

    fn artifacts() -> Vec<Artifact> {
        let subject = Descriptor::of(INDEX, b"subject");
        let of = |file: &[u8]| Artifact::referring_to(subject.clone(), "a/b", file, Annotations::new()).unwrap();
        vec![of(b"1"), of(b"2")]
    }

    fn digests(contested: &Contested) -> Vec<Digest> {
        contested.list.borrow().manifests.iter().map(|one| one.digest.clone()).collect()
    }

    #[test]
    fn x5_what_another_writer_took_is_put_back_and_told_and_the_others_own_stays() {
        let there = [Descriptor::of("there", b"there")];
        let contested = Contested::new(3, &there);
        let attached = list(&contested, &artifacts(), &|_| ()).unwrap();
        let mine: Vec<Digest> = artifacts().iter().map(|artifact| artifact.descriptor.digest.clone()).collect();
        assert!(mine.iter().all(|one| attached.restored.contains(one)), "{attached:?}");
        let kept = digests(&contested);
        assert!(mine.iter().chain([&there[0].digest]).all(|one| kept.contains(one)), "{kept:?}");
        assert_eq!(kept.len(), 2 + 1 + 3, "each of the other's is there as well");
    }

    #[test]
    fn a_list_that_nobody_else_writes_is_written_once_and_looked_at_once_more() {
        let contested = Contested::new(0, &[]);
        let pauses = Cell::new(0);
        let paused = |pause: Duration| {
            assert!(pause >= PAUSE * MARGIN);
            pauses.set(pauses.get() + 1);
        };
        assert_eq!(list(&contested, &artifacts(), &paused).unwrap(), Attached::default());
        assert_eq!((contested.writes.get(), pauses.get()), (1, 1));
        assert_eq!(list(&contested, &artifacts(), &paused).unwrap(), Attached::default());
        assert_eq!((contested.writes.get(), pauses.get()), (1, 1), "what is listed is left alone");
    }

    #[test]
    fn a_list_that_is_never_left_alone_is_an_error_that_asks_for_another_try() {
        let contested = Contested::new(usize::from(u8::MAX), &[]);
        assert_eq!(list(&contested, &artifacts(), &|_| ()).unwrap_err().exit, Exit::Busy);
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_registry_that_keeps_no_list_of_referrers_is_told_from_one_that_is_out_of_order() {
        for status in [303, 307, 404, 405] {
            let elsewhere = answer(status, &[("location", "https://github.com/-/v2/packages")], "<html>");
            assert_eq!(page("https://r", &elsewhere), Ok(None), "{status}");
        }
        for status in [401, 403, 429, 500, 503] {
            assert!(page("https://r", &answer(status, &[], "")).unwrap_err().contains(&status.to_string()));
        }
        assert!(page("https://r", &answer(200, &[], "<html>")).unwrap_err().contains("no image index"));
        let list = crate::oci::json(&ImageIndex::new(vec![Descriptor::of("a", b"1")])).unwrap();
        let whole = answer(200, &[], &String::from_utf8(list).unwrap());
        let found = page("https://r", &whole).unwrap().unwrap();
        assert_eq!((found.referrers.len(), found.next), (1, None));
    }

    #[test]
    fn the_next_page_of_a_list_is_followed_in_the_same_registry_only() {
        let next = |link| next_page("https://r", link);
        assert_eq!(
            next("</v2/a/referrers/d?last=1>; rel=\"next\""),
            Ok(Some("https://r/v2/a/referrers/d?last=1".into()))
        );
        assert_eq!(next("<https://r/v2/a>; rel=\"next\""), Ok(Some("https://r/v2/a".into())));
        assert_eq!(next("</v2/a>; rel=\"prev\""), Ok(None));
        assert!(next("<https://r.example.com/v2/a>; rel=\"next\"").unwrap_err().contains("elsewhere"));
        assert!(next("nonsense").unwrap_err().contains("malformed"));
    }
}
