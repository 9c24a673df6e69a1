//! An image as a node without credentials pulls it.
//!
//! Public registries want a token even of anonymous users, and say in a challenge where they get it (RFC 6750, and the
//! "Token Authentication Specification" of the distribution project): no account takes part.

use std::cell::{Cell, RefCell};

use serde::Deserialize;

use crate::error::{Error, Exit, Result};
use crate::oci::{self, Descriptor, Digest, ImageIndex, Layout, Part, artifact, referrers};
use crate::sys::http::{Anonymous, Answer};
use crate::sys::threads::side_by_side;

/// Somebody who pulls an image.
#[derive(Debug)]
pub struct Puller<'t> {
    registry: &'t str,
    image: &'t str,
    user: Anonymous,
    token: RefCell<Option<String>>,
    refused: Cell<bool>,
}

impl<'t> Puller<'t> {
    /// Somebody who pulls `image` (`host/path`) from the registry at that URL, and has asked for nothing yet.
    pub fn new(registry: &'t str, image: &'t str, user: &Anonymous) -> Self {
        Puller { registry, image, user: user.another(), token: RefCell::new(None), refused: Cell::new(false) }
    }

    fn path(&self) -> &str {
        self.image.split_once('/').map_or(self.image, |(_, path)| path)
    }

    /// Whether the last part that was asked for is not for anonymous users.
    pub fn was_refused(&self) -> bool {
        self.refused.get()
    }

    /// A manifest by tag or digest; an answer of any status is an answer.
    ///
    /// # Errors
    /// The registry does not answer.
    pub fn manifest(&self, reference: &str) -> Result<Answer> {
        self.get("manifests", reference)
    }

    /// A part of an image, whose bytes are what its digest says.
    ///
    /// # Errors
    /// It is not there for an anonymous user, or it is something else.
    pub fn part(&self, part: Part, digest: &Digest) -> Result<Vec<u8>> {
        let kind = if part == Part::Manifest { "manifests" } else { "blobs" };
        let answer = self.get(kind, &digest.to_string())?;
        match answer.status {
            200 if Digest::of(&answer.body) == *digest => Ok(answer.body),
            200 => Err(Error::new(Exit::Verify, format!("{digest} is served with other bytes"))),
            status @ (401 | 403 | 404) => {
                self.refused.set(status != 404);
                Err(self.not_public(digest, status))
            }
            status => Err(Error::new(Exit::Verify, format!("{digest} is answered with {status}"))),
        }
    }

    /// A whole image. Half of its platforms come over a connection of their own, at the same time.
    ///
    /// # Errors
    /// As for each part, or it is no image.
    pub fn image(&self, digest: &Digest) -> Result<Layout> {
        let index = self.part(Part::Manifest, digest)?;
        let platforms = oci::listed(digest, &index)?;
        let (one_half, other_half) = platforms.split_at(platforms.len().div_ceil(2));
        // It has the token that this one got for the image index.
        let other = Puller { user: self.user.another(), token: self.token.clone(), refused: Cell::new(false), ..*self };
        let pull = |puller: &Puller<'_>, half| {
            let blobs = oci::collect_platforms(half, &|part, digest| puller.part(part, digest));
            (blobs, puller.was_refused())
        };
        let ((ours, _), (theirs, refused)) = side_by_side(|| pull(self, one_half), move || pull(&other, other_half));
        let mut blobs = ours?;
        self.refused.set(refused | self.refused.get());
        blobs.extend(theirs?);
        blobs.insert(digest.clone(), index);
        Ok(Layout { digest: digest.clone(), blobs })
    }

    /// What the registry, or a list under a tag where it keeps none itself, says to refer to a digest. Nothing of it is believed.
    ///
    /// # Errors
    /// The registry does not answer, or with no list.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        const PAGES_MAX: usize = 100;
        let wrong =
            |why: String| Error::new(Exit::Verify, format!("cannot list what refers to {subject}")).because(why);
        let mut url = format!("{}/v2/{}/referrers/{subject}", self.registry, self.path());
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(page) = referrers::page(self.registry, &self.get_at(&url, false)?).map_err(wrong)? else {
                return self.listed_by_tag(subject);
            };
            found.extend(page.referrers);
            let Some(next) = page.next else { return Ok(found) };
            url = next;
        }
        Err(wrong(format!("the list has more than {PAGES_MAX} pages")))
    }

    fn listed_by_tag(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let tag = artifact::referrers_tag(subject);
        let answer = self.manifest(&tag)?;
        let list: Result<ImageIndex, _> = serde_json::from_slice(&answer.body);
        match (answer.status, list) {
            (404, _) => Ok(Vec::new()),
            (200, Ok(list)) if Digest::of(&answer.body) != *subject => Ok(list.manifests),
            (status, _) => Err(Error::new(Exit::Verify, format!("cannot list what refers to {subject}"))
                .because(format!("the tag {tag} is answered with {status}, or leads to no list"))),
        }
    }

    fn get(&self, kind: &str, reference: &str) -> Result<Answer> {
        self.get_at(&format!("{}/v2/{}/{kind}/{reference}", self.registry, self.path()), true)
    }

    fn get_at(&self, url: &str, follows: bool) -> Result<Answer> {
        let answer = self.ask(url, follows)?;
        let Some(challenge) = answer.header("www-authenticate").filter(|_| answer.status == 401) else {
            return Ok(answer);
        };
        let Some(token_url) = token_url(challenge, self.path()) else { return Ok(answer) };
        #[derive(Deserialize)]
        struct Token {
            #[serde(alias = "access_token")]
            token: String,
        }
        let granted = self.user.get(&token_url, &[])?;
        let Ok(granted) = serde_json::from_slice::<Token>(&granted.body) else { return Ok(answer) };
        self.token.replace(Some(format!("Bearer {}", granted.token)));
        self.ask(url, follows)
    }

    fn ask(&self, url: &str, follows: bool) -> Result<Answer> {
        let types = format!("{}, {}", oci::INDEX, oci::MANIFEST);
        let token = self.token.borrow();
        let mut headers = vec![("accept", types.as_str())];
        headers.extend(token.as_deref().map(|token| ("authorization", token)));
        if follows { self.user.get(url, &headers) } else { self.user.get_without_redirects(url, &headers) }
    }

    fn not_public(&self, digest: &Digest, status: u16) -> Error {
        let error = Error::new(Exit::Verify, format!("{digest} is answered with {status} to anonymous users"));
        match visibility_page(self.image) {
            Some(page) => error
                .because("a new package of GitHub is private until somebody changes that")
                .remedy(format!("make it public: {page} (Danger Zone, Change visibility); then retry the command")),
            None => {
                error.remedy("make the image public where its registry keeps such settings; then retry the command")
            }
        }
    }
}

/// Where GitHub keeps the visibility of an image's package.
fn visibility_page(image: &str) -> Option<String> {
    let (owner, name) = image.strip_prefix("ghcr.io/")?.split_once('/')?;
    Some(format!("https://github.com/orgs/{owner}/packages/container/{}/settings", name.replace('/', "%2F")))
}

/// Where a challenge says that a token for pulling is had: `Bearer realm="URL",service="NAME"`.
fn token_url(challenge: &str, path: &str) -> Option<String> {
    let parameters = challenge.strip_prefix("Bearer ")?;
    let parameter = |name: &str| {
        let start = parameters.find(&format!("{name}=\""))? + name.len() + 2;
        parameters[start..].split('"').next()
    };
    let realm = parameter("realm")?;
    let service = parameter("service").map(|service| format!("service={service}&")).unwrap_or_default();
    Some(format!("{realm}?{service}scope=repository:{path}:pull"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i5_an_anonymous_token_is_asked_for_where_the_challenge_says_and_a_private_package_has_a_page() {
        let challenge = "Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\",scope=\"repository:a/b:pull\"";
        assert_eq!(
            token_url(challenge, "a/b").as_deref(),
            Some("https://ghcr.io/token?service=ghcr.io&scope=repository:a/b:pull")
        );
        assert_eq!(
            visibility_page("ghcr.io/me/tools/demo").as_deref(),
            Some("https://github.com/orgs/me/packages/container/tools%2Fdemo/settings")
        );
        assert_eq!(visibility_page("registry.example.com/me/demo"), None);
        assert_eq!(token_url("Basic realm=\"x\"", "a/b"), None);
    }
}
