//! The plan of a release: which steps are done, which are to do, and which must not be done, decided from what was observed. Pure.
//!
//! No state is kept anywhere: whoever observes the same world makes the same plan, and a plan of a finished release is empty but for
//! the proof. `observe.rs` makes the `World`, and `apply.rs` does what the plan says.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use crate::chart::index::{self, FILE};
use crate::error::{Error, Exit, Result};
use crate::git::{Publishable, Tag};
use crate::image::labels::ImageFacts;
use crate::oci::{self, Digest, Platform, sha256_hex};
use crate::release::promote::{self, Listed};
use crate::release::step::{Planned, State, Step};
use crate::release::version::{self, Bump};
use crate::trust::verify::Findings;

/// What was observed of the world. Each answer is known, or unknown for the reason that its error gives.
#[derive(Clone, Debug)]
pub struct World {
    /// Where the checked-out commit stands; nothing for a folder, which anything may be released to.
    pub commit: Result<Option<Publishable>>,
    /// What decides which image is the release's.
    pub images: Images,
    /// What the index says.
    pub listing: Result<Listing>,
    /// The tags of this version, of the versions that lead a line, and every floating one.
    pub tags: Result<BTreeMap<String, Digest>>,
    /// Whether the page shows what the index and the tree say; true where the target has none.
    pub page: Result<bool>,
    /// The archive's SHA-256 in the index that users see.
    pub shown: Result<Option<String>>,
    /// The images that have a verdict which still holds.
    pub scanned: BTreeSet<Digest>,
    /// What nobody who is accepted has said yet of the release's image and chart, where the image is there.
    pub unsaid: Result<Vec<String>>,
    /// Whether the chart's tag in the registry leads to the chart of the release's image, where that is there and signed.
    pub chart_tagged: Result<bool>,
}

/// The images that may be the release's.
#[derive(Clone, Debug)]
pub struct Images {
    /// The one that the version's tag points at.
    pub tagged: Result<Option<ImageFacts>>,
    /// The chart's archive, which names one.
    pub archive: Result<Option<Archive>>,
    /// What accepted signers say of each.
    pub attested: BTreeMap<Digest, Result<Findings>>,
}

/// A published archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The image that it names, where the registry has it.
    pub image: Option<ImageFacts>,
}

/// What the index says of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The version's entry: the SHA-256 that it gives for the archive, where it gives one.
    pub entry: Option<Option<String>>,
    /// Whether what is known of the version is recorded beside its archive, where it is listed.
    pub recorded: bool,
    /// Why the version was yanked, where it was.
    pub yanked: Option<String>,
    /// All versions, and what the charts of those that lead name.
    pub listed: Listed,
}

/// What is wanted, and what this machine could do about it.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The version.
    pub version: &'a Version,
    /// Its git tag.
    pub tag: &'a Tag,
    /// The version that the tree says.
    pub tree: &'a Version,
    /// The first version that floating tags may lead to.
    pub first: &'a Version,
    /// The source state.
    pub revision: &'a str,
    /// Whether there is a chart; an image may be all.
    pub has_chart: bool,
    /// Whether there is an image; a chart may be all.
    pub has_image: bool,
    /// The platforms that the image is to have.
    pub platforms: &'a [Platform],
    /// The archive's file name.
    pub archive: &'a str,
    /// The chart repository's URL.
    pub repository: &'a str,
    /// Whether a published version may never be made again.
    pub strict: bool,
    /// Whether this version is signed there.
    pub signed: bool,
    /// Whether people get a page.
    pub page: bool,
    /// Whether the target is beyond this machine: git counts, and there are caches.
    pub remote: bool,
    /// Whether a commit that the remote lacks is pushed.
    pub push: bool,
    /// Whether the run was ordered by the version's own git tag.
    pub ordered_by_tag: bool,
    /// Whether binaries built now would carry their dependency list.
    pub auditable: bool,
    /// What this machine can compile. Asked only where it matters: finding out takes a moment.
    pub compilers: &'a dyn Fn() -> Result<Compilers>,
    /// The scanner for an image whose binaries carry their dependency list or do not; or why it is left out where that is allowed.
    pub scanner: &'a dyn Fn(bool) -> Result<Result<String, String>>,
    /// Who signs here. Asked only where something is to be signed.
    pub signer: &'a dyn Fn() -> Result<String>,
    /// The chart's archive, for that image, where there is one.
    pub pack: &'a dyn Fn(Option<&ImageFacts>) -> Result<Vec<u8>>,
}

/// What a machine can compile for.
#[derive(Clone, Debug, Default)]
pub struct Compilers {
    /// The platforms.
    pub platforms: Vec<Platform>,
    /// With what, and what is left out, as people read it.
    pub detail: String,
}

/// What a published image is to a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is the image of this release.
    Ours,
    /// It is, but this machine can make a better one, and the target allows that.
    Outdated(String),
    /// It is of something else.
    Foreign(String),
}

/// What is to be done about the image.
#[derive(Clone, Debug)]
pub enum ImagePlan {
    /// The product has none.
    Without,
    /// There is none.
    Build,
    /// This one is it.
    Adopt(ImageFacts),
    /// There is one, and it will be made again; why.
    Replace(String),
    /// There is one that says to be ours, and no accepted signer says so, for these reasons: it is made again, and must come out the same.
    Unsigned(ImageFacts, String),
    /// There is one of something else.
    Conflict(Error),
    /// It could not be seen.
    Unknown(Error),
}

/// What is to be done for a release.
#[derive(Debug)]
pub struct Plan {
    /// Which image it has.
    pub image: ImagePlan,
    /// Every step, in its order.
    pub steps: Vec<Planned>,
}

/// Plans a release.
pub fn plan(world: &World, wanted: &Wanted<'_>) -> Plan {
    let image = image(&world.images, wanted);
    let packed = match &image {
        ImagePlan::Adopt(_) if !wanted.has_chart => Ok(None),
        ImagePlan::Adopt(facts) => (wanted.pack)(Some(facts)).map(Some),
        ImagePlan::Without => (wanted.pack)(None).map(Some),
        ImagePlan::Unknown(error) => Err(error.clone()),
        _ => Ok(None),
    };
    let sha256 = packed.as_ref().ok().and_then(Option::as_deref).map(sha256_hex);
    let planner = Planner { world, wanted, image, packed, sha256 };
    let [compile, build, scan] = planner.image_steps();
    let steps = [
        (Step::Bump, planner.bump()),
        (Step::Compile, compile),
        (Step::Build, build),
        (Step::Scan, scan),
        (Step::Push, planner.push()),
        (Step::Sign, planner.sign()),
        (Step::Tag, planner.tag()),
        (Step::Package, planner.package()),
        (Step::Publish, planner.publish()),
        (Step::Page, planner.page()),
        (Step::Invalidate, planner.invalidate()),
        (Step::Promote, planner.promote()),
        (Step::Verify, State::ToDo(format!("fetch all of it from {}", wanted.repository))),
        (Step::GitTag, planner.git_tag()),
    ];
    let is_here = |step| match step {
        Step::Invalidate => wanted.remote && wanted.has_chart,
        Step::GitTag => wanted.remote,
        Step::Page => wanted.page && wanted.has_chart,
        Step::Package | Step::Publish => wanted.has_chart,
        Step::Compile | Step::Build | Step::Scan | Step::Push | Step::Tag => wanted.has_image,
        _ => true,
    };
    let here = steps.into_iter().filter(|(step, _)| is_here(*step));
    Plan { steps: here.map(|(step, state)| Planned { step, state }).collect(), image: planner.image }
}

/// Refuses a plan with a step that must not be done, or that depends on what could not be seen. Whatever users see, the page can be written,
/// caches can be told and everything can be fetched.
///
/// # Errors
/// All that is in the way, at once.
pub fn check(steps: &[Planned]) -> Result<()> {
    let stops = |planned: &Planned| match &planned.state {
        State::Conflict(error) => Some(error.clone()),
        State::Unknown(error) if !matches!(planned.step, Step::Page | Step::Invalidate) => Some(error.clone()),
        _ => None,
    };
    let problems: Vec<Error> = steps.iter().filter_map(stops).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::all("this cannot be released as it is", problems)) }
}

/// Which image is the release's: what the published archive names, since archives never change, or else what the version's tag points at.
pub fn image(images: &Images, wanted: &Wanted<'_>) -> ImagePlan {
    if !wanted.has_image {
        return ImagePlan::Without;
    }
    let known = || -> Result<ImagePlan> {
        if let Ok(Some(archive)) = &images.archive
            && let Some(facts) = published(archive, wanted)?
            && images.origin(facts, wanted)?.is_ok()
        {
            return Ok(ImagePlan::Adopt(facts.clone()));
        }
        let Some(facts) = images.tagged.clone()? else { return Ok(ImagePlan::Build) };
        Ok(match trusted(&facts, wanted) {
            Trust::Ours => match images.origin(&facts, wanted)? {
                Ok(()) => ImagePlan::Adopt(facts),
                Err(why) => ImagePlan::Unsigned(facts, why),
            },
            Trust::Outdated(why) => ImagePlan::Replace(why),
            Trust::Foreign(why) if !wanted.strict => ImagePlan::Replace(why),
            Trust::Foreign(why) => ImagePlan::Conflict(taken(wanted, &facts, &why)),
        })
    };
    known().unwrap_or_else(ImagePlan::Unknown)
}

impl Images {
    /// Whether an accepted signer says that an image is of this release; if not, why.
    ///
    /// # Errors
    /// What is said of it could not be seen.
    fn origin(&self, facts: &ImageFacts, wanted: &Wanted<'_>) -> Result<Result<(), String>> {
        match self.attested.get(&facts.digest) {
            _ if !wanted.signed => Ok(Ok(())),
            None => Ok(Err("nobody says where it is from".into())),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(findings)) => Ok(findings.origin(&wanted.version.to_string(), wanted.revision).map(drop)),
        }
    }
}

/// What is wrong with an image that nobody signed and that came out otherwise when it was made again.
pub fn came_out_otherwise(version: &Version, there: &ImageFacts, made: &Digest, why: &str) -> Error {
    let [tag, _] = version::version_tags(version);
    let next = version::next(version, &Bump::Patch);
    Error::new(Exit::Conflict, format!("the tag {tag} leads to an image that this source state does not make"))
        .because(format!(
            "there: {}, and {why}
made:  {made}",
            there.digest
        ))
        .remedy("look who pushed it; an accepted signer with the compiler that made it can finish that release")
        .remedy(format!("or take the next version: cargo xtask release {next}"))
}

/// The image that an archive names, where it is of this release and the archive is what we would make for it.
///
/// # Errors
/// The chart cannot be packaged.
pub fn published<'a>(archive: &'a Archive, wanted: &Wanted<'_>) -> Result<Option<&'a ImageFacts>> {
    let Some(facts) = archive.image.as_ref().filter(|facts| trusted(facts, wanted) == Trust::Ours) else {
        return Ok(None);
    };
    Ok(((wanted.pack)(Some(facts))? == archive.bytes).then_some(facts))
}

/// What a published image is, by its labels, which anybody can write: only what accepted signers say makes it ours (`image`). Its digest
/// does not matter, since another compiler makes another digest of the same sources.
pub fn trusted(facts: &ImageFacts, wanted: &Wanted<'_>) -> Trust {
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "not said".into());
    if facts.version.as_ref() != Some(&wanted.version.to_string()) {
        return Trust::Foreign(format!("its version is {}", said(&facts.version)));
    }
    if facts.revision.as_deref() != Some(wanted.revision) {
        return Trust::Foreign(format!("it was made of {}", said(&facts.revision)));
    }
    if facts.platforms != wanted.platforms {
        let known = facts.platforms.iter().all(|platform| wanted.platforms.contains(platform));
        if wanted.strict || !known {
            return Trust::Foreign(format!("its platforms are {}", oci::platform_names(&facts.platforms)));
        }
        // A machine that can compile nothing has nothing to add.
        let gained = (wanted.compilers)().map(|compilers| compilers.platforms).unwrap_or_default();
        let gained: Vec<Platform> = gained.into_iter().filter(|one| !facts.platforms.contains(one)).collect();
        if !gained.is_empty() {
            return Trust::Outdated(format!("{} can be built now", oci::platform_names(&gained)));
        }
    }
    if wanted.auditable && !facts.auditable && !wanted.strict {
        return Trust::Outdated("its binaries carry no dependency list, and could now".into());
    }
    Trust::Ours
}

fn taken(wanted: &Wanted<'_>, facts: &ImageFacts, why: &str) -> Error {
    let [tag, _] = version::version_tags(wanted.version);
    let error = Error::new(Exit::Conflict, format!("the tag {tag} belongs to another image")).because(why);
    let error = match &facts.revision {
        Some(revision) if !revision.contains("-dirty-") => {
            error.remedy(format!("finish that release: git checkout {revision}, and run the same command there"))
        }
        _ => error,
    };
    // Said exactly: a bump would count from a version that the index does not list, and stay where it is.
    let next = version::next(wanted.version, &Bump::Patch);
    error.remedy(format!("or take the next version: cargo xtask release {next}"))
}

struct Planner<'p> {
    world: &'p World,
    wanted: &'p Wanted<'p>,
    image: ImagePlan,
    /// The archive that belongs to an image that is there; nothing where one is built first.
    packed: Result<Option<Vec<u8>>>,
    sha256: Option<String>,
}

impl Planner<'_> {
    fn bump(&self) -> State {
        let Wanted { version, tree, remote, push, .. } = *self.wanted;
        let standing = match &self.world.commit {
            Ok(standing) => standing.as_ref(),
            // What cannot be asked is told from what is wrong.
            Err(error) if error.exit == Exit::Environment => return State::Unknown(error.clone()),
            Err(error) => return State::Conflict(error.clone()),
        };
        if remote && let Err(error) = &self.world.listing {
            return State::Unknown(error.clone());
        }
        match standing {
            _ if version != tree => State::ToDo(match (remote, push) {
                (false, _) => format!("{tree} becomes {version}, in a staging copy"),
                (true, true) => format!("{tree} becomes {version}, committed and pushed"),
                (true, false) => {
                    format!("{tree} becomes {version}, and is committed; without --push, pushing that is left to you")
                }
            }),
            Some(standing) if !standing.pushed && !push => State::Conflict(standing.not_pushed(self.wanted.tag)),
            Some(Publishable { remote, branch, pushed: false, .. }) => {
                State::ToDo(format!("its commit is pushed to {remote}/{branch}"))
            }
            _ => State::Done(format!("{version} is the tree's version")),
        }
    }

    fn image_steps(&self) -> [State; 3] {
        const UNLESS_THERE: &str = ", unless the image is there";
        let why = match &self.image {
            ImagePlan::Adopt(facts) => {
                let done = State::Done(format!("image {} is of this source state", facts.digest));
                let scan = if self.world.scanned.contains(&facts.digest) {
                    done.clone()
                } else {
                    self.scan(facts.auditable || self.wanted.auditable, "")
                };
                return [done.clone(), done, scan];
            }
            ImagePlan::Without => return [(); 3].map(|()| State::Done("there is no image".into())),
            ImagePlan::Conflict(error) => return [(); 3].map(|()| State::Conflict(error.clone())),
            ImagePlan::Replace(why) => format!(", again: {why}"),
            ImagePlan::Unsigned(facts, why) => format!(", again, and {} must come out: {why}", facts.digest),
            ImagePlan::Build => String::new(),
            ImagePlan::Unknown(_) => UNLESS_THERE.into(),
        };
        let is_unseen = matches!(self.image, ImagePlan::Unknown(_));
        let scan = self.scan(self.wanted.auditable, if is_unseen { UNLESS_THERE } else { "" });
        match (self.wanted.compilers)() {
            Ok(compilers) => {
                let image = format!("an image for {}{why}", oci::platform_names(&compilers.platforms));
                [State::ToDo(format!("{}{why}", compilers.detail)), State::ToDo(image), scan]
            }
            Err(error) => [State::Conflict(error.clone()), State::Conflict(error), scan],
        }
    }

    fn scan(&self, auditable: bool, more: &str) -> State {
        match (self.wanted.scanner)(auditable) {
            Ok(Ok(scanner)) => State::ToDo(format!("{scanner}{more}")),
            Ok(Err(reason)) => State::ToDo(format!("left out: {reason}")),
            Err(error) => State::Conflict(error),
        }
    }

    fn push(&self) -> State {
        match &self.image {
            ImagePlan::Conflict(error) => State::Conflict(error.clone()),
            ImagePlan::Unknown(error) => State::Unknown(error.clone()),
            ImagePlan::Adopt(facts) => State::Done(format!("{} is there", facts.digest)),
            ImagePlan::Without => State::Done("there is no image".into()),
            ImagePlan::Build | ImagePlan::Replace(_) | ImagePlan::Unsigned(..) => {
                State::ToDo("the image, by its digest".into())
            }
        }
    }

    fn sign(&self) -> State {
        match (&self.image, &self.world.unsaid) {
            (ImagePlan::Conflict(error), _) => State::Conflict(error.clone()),
            (ImagePlan::Unknown(error), _) => State::Unknown(error.clone()),
            _ if !self.wanted.signed => State::Done(
                "nothing: the target names no `signers`, or this version is older than its `signed-since`".into(),
            ),
            (ImagePlan::Adopt(_) | ImagePlan::Without, Err(error)) => State::Unknown(error.clone()),
            (ImagePlan::Adopt(_), Ok(unsaid)) if unsaid.is_empty() => {
                State::Done(if self.wanted.has_chart { "image and chart" } else { "the image" }.into())
            }
            (ImagePlan::Without, Ok(unsaid)) if unsaid.is_empty() => State::Done("the chart".into()),
            (ImagePlan::Adopt(_) | ImagePlan::Without, Ok(unsaid)) => self.sign_with(&unsaid.join(", ")),
            _ if !self.wanted.has_chart => self.sign_with("the image, and that of each platform"),
            _ => self.sign_with("the image, that of each platform, and the chart"),
        }
    }

    /// Compiling takes minutes: who cannot sign is told before.
    fn sign_with(&self, what: &str) -> State {
        match (self.wanted.signer)() {
            Ok(signer) => State::ToDo(format!("{what}, with {signer}")),
            Err(error) => State::Conflict(error),
        }
    }

    fn tag(&self) -> State {
        let names = version::version_tags(self.wanted.version);
        let text = names.join(" ");
        match (&self.image, &self.world.tags) {
            (ImagePlan::Conflict(error), _) => State::Conflict(error.clone()),
            (ImagePlan::Unknown(error), _) | (_, Err(error)) => State::Unknown(error.clone()),
            (ImagePlan::Adopt(facts), Ok(tags)) if names.iter().all(|name| tags.get(name) == Some(&facts.digest)) => {
                State::Done(text)
            }
            _ => State::ToDo(text),
        }
    }

    fn package(&self) -> State {
        let name = self.wanted.archive;
        match (&self.world.images.archive, &self.packed) {
            (Err(error), _) | (_, Err(error)) => State::Unknown(error.clone()),
            (Ok(None), _) => State::ToDo(name.into()),
            (Ok(Some(there)), Ok(Some(packed))) if there.bytes == *packed => State::Done(name.into()),
            _ => self.other_content(name),
        }
    }

    fn publish(&self) -> State {
        let unrecorded = matches!(&self.world.listing, Ok(listing) if !listing.recorded);
        match self.list() {
            State::Done(_) if unrecorded => State::ToDo(format!("record what is known of {}", self.wanted.version)),
            state => state,
        }
    }

    fn list(&self) -> State {
        let version = self.wanted.version;
        let listing = match (&self.world.listing, &self.image) {
            (Err(error), _) => return State::Unknown(error.clone()),
            (Ok(listing), ImagePlan::Unknown(error)) if listing.entry.is_some() => {
                return State::Unknown(error.clone());
            }
            (Ok(listing), _) => listing,
        };
        match (&listing.yanked, &listing.entry) {
            (Some(reason), _) => State::Conflict(index::was_yanked(&version.to_string(), reason)),
            (None, None) => State::ToDo(format!("list {version} in {FILE}")),
            (None, Some(entry)) if self.sha256.as_ref() == entry.as_ref() => {
                State::Done(format!("{version} is listed in {FILE}"))
            }
            _ => self.other_content(FILE),
        }
    }

    /// The page is made of the index that lists this version.
    fn page(&self) -> State {
        match (self.list(), &self.world.page) {
            (State::Done(_), Ok(true)) => State::Done(format!("{}/ shows it", self.wanted.repository)),
            (State::Done(_) | State::Unknown(_), Err(error)) => State::Unknown(error.clone()),
            _ => State::ToDo(format!("{}/", self.wanted.repository)),
        }
    }

    /// Caches have been told where users see the entry and something has been done that is only done afterwards: they ask one cache of
    /// many, and telling all of them again costs nothing.
    fn invalidate(&self) -> State {
        let followed = || {
            let tagged = matches!(&self.world.commit, Ok(Some(standing)) if standing.tagged);
            let is_chart_tagged = self.wanted.signed && matches!(self.world.chart_tagged, Ok(true));
            (tagged && !self.wanted.ordered_by_tag)
                || (matches!(self.image, ImagePlan::Without) && is_chart_tagged)
                || self.led().is_some_and(|led| !led.is_empty())
        };
        match &self.world.shown {
            Err(error) => State::Unknown(error.clone()),
            Ok(Some(sha256))
                if self.sha256.as_ref() == Some(sha256) && followed() && !matches!(self.world.page, Ok(false)) =>
            {
                State::Done("users see this index".into())
            }
            Ok(_) => State::ToDo(format!("/{FILE} in every cache")),
        }
    }

    fn promote(&self) -> State {
        let (listing, tags) = match (&self.world.listing, &self.world.tags) {
            (Ok(listing), Ok(tags)) => (listing, tags),
            (Err(error), _) | (_, Err(error)) => return State::Unknown(error.clone()),
        };
        if let ImagePlan::Unknown(error) = &self.image {
            return State::Unknown(error.clone());
        }
        let after = self.tags_after(tags);
        let listed = self.listed_after(listing);
        let moves = match &self.image {
            ImagePlan::Without => Vec::new(),
            _ => promote::moves(&after, &listed, self.wanted.first).set,
        };
        let chart = match &self.world.chart_tagged {
            Err(error) => return State::Unknown(error.clone()),
            Ok(true) => None,
            Ok(false) => Some("the chart's tag in the registry".to_owned()),
        };
        let names = |names: Vec<String>| if names.is_empty() { "none".into() } else { names.join(" ") };
        if moves.is_empty() && chart.is_none() {
            State::Done(names(if self.wanted.has_image { self.leads(&listed.versions) } else { Vec::new() }))
        } else {
            State::ToDo(names(moves.into_iter().map(|(tag, _)| tag).chain(chart).collect()))
        }
    }

    fn git_tag(&self) -> State {
        let name = self.wanted.tag.name();
        match &self.world.commit {
            _ if self.wanted.ordered_by_tag => State::Done(format!("this run was ordered by {name}")),
            Ok(Some(standing)) if standing.tagged => State::Done(format!("{name} names this commit")),
            Ok(_) => State::ToDo(name),
            Err(error) => State::Unknown(error.clone()),
        }
    }

    /// The digest that the release's image has; one that is not there yet has a digest that no tag can have.
    fn digest(&self) -> Digest {
        self.adopted().map_or_else(|| Digest::of(b"not built yet"), |facts| facts.digest.clone())
    }

    /// What is listed once this version is.
    fn listed_after(&self, listing: &Listing) -> Listed {
        let mut listed = listing.listed.clone();
        listed.versions.push(self.wanted.version.clone());
        listed.images.insert(self.wanted.version.clone(), self.digest());
        listed
    }

    /// The tags as they are once the version's own point at its image.
    fn tags_after(&self, tags: &BTreeMap<String, Digest>) -> BTreeMap<String, Digest> {
        let own = version::version_tags(self.wanted.version).map(|name| (name, self.digest()));
        tags.clone().into_iter().chain(own).collect()
    }

    /// The floating tags that this version leads once it is listed.
    fn leads(&self, listed: &[Version]) -> Vec<String> {
        let leaders = version::floating_tags(listed, self.wanted.first).into_iter();
        leaders.filter(|(_, leader)| leader == self.wanted.version).map(|(tag, _)| tag).collect()
    }

    /// Those of them that point at its image already; nothing where that is not known.
    fn led(&self) -> Option<Vec<String>> {
        let (listing, tags) = (self.world.listing.as_ref().ok()?, self.world.tags.as_ref().ok()?);
        let digest = &self.adopted()?.digest;
        let leads = self.leads(&listing.listed.versions).into_iter();
        Some(leads.filter(|tag| tags.get(tag) == Some(digest)).collect())
    }

    fn adopted(&self) -> Option<&ImageFacts> {
        if let ImagePlan::Adopt(facts) = &self.image { Some(facts) } else { None }
    }

    fn other_content(&self, what: &str) -> State {
        match &self.image {
            _ if !self.wanted.strict => {
                State::ToDo(format!("{what}, again: its sources changed since it was rehearsed"))
            }
            // Whether the same image comes out again is seen when it is built.
            ImagePlan::Build | ImagePlan::Unsigned(..) => {
                State::ToDo(format!("{what} is there, and must come out the same"))
            }
            _ => State::Conflict(
                Error::new(Exit::Conflict, format!("{what} is already published with other content"))
                    .remedy("take the next version: a published one never changes"),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
