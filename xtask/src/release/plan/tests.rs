//! What is decided about images, and a property: whatever world a release finds, its plan leads to one in which nothing is left to do.

use proptest::prelude::*;

use super::*;
use crate::trust::statement::{Statement, predicate};
use crate::trust::verify::Attested;

const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn platforms(names: &[&str]) -> Vec<Platform> {
    names.iter().map(|name| (*name).to_owned().try_into().unwrap()).collect()
}

fn ours(platforms_of: &[&str]) -> ImageFacts {
    ImageFacts {
        digest: Digest::of(b"ours"),
        platforms: platforms(platforms_of),
        parts: BTreeMap::new(),
        version: Some("3.1.0".into()),
        revision: Some(COMMIT.into()),
        auditable: false,
    }
}

/// What the tests want to vary.
#[derive(Clone, Copy)]
struct Machine<'m> {
    strict: bool,
    auditable: bool,
    buildable: &'m [&'m str],
}

const PRODUCTION: Machine<'static> = Machine { strict: true, auditable: false, buildable: &BOTH };
const REHEARSAL: Machine<'static> = Machine { strict: false, auditable: false, buildable: &BOTH };

impl Machine<'_> {
    fn decide<T>(self, decide: impl FnOnce(&Wanted<'_>) -> T) -> T {
        decide(&Wanted {
            version: &version(1),
            tag: &Tag::of(None, &version(1)),
            tree: &version(1),
            first: &version(0),
            revision: COMMIT,
            has_chart: true,
            has_image: true,
            platforms: &platforms(&BOTH),
            archive: "demo-3.1.0.tgz",
            repository: "https://charts.example.com",
            strict: self.strict,
            page: true,
            signed: true,
            remote: self.strict,
            push: false,
            ordered_by_tag: false,
            auditable: self.auditable,
            compilers: &|| {
                let platforms = platforms(self.buildable);
                let nothing = || Error::new(Exit::Environment, "no platform can be built");
                (!platforms.is_empty()).then(|| Compilers { platforms, detail: String::new() }).ok_or_else(nothing)
            },
            scanner: &|_| Ok(Ok("Trivy".into())),
            signer: &|| Ok("a key".into()),
            pack: &|facts| Ok(facts.map_or_else(|| b"chart alone".to_vec(), packed)),
        })
    }

    fn trusts(self, facts: &ImageFacts) -> Trust {
        self.decide(|wanted| trusted(facts, wanted))
    }
}

fn version(minor: u64) -> Version {
    Version::new(3, minor, 0)
}

fn packed(facts: &ImageFacts) -> Vec<u8> {
    format!("chart of {}", facts.digest).into_bytes()
}

#[test]
fn x3_an_image_of_our_version_and_commit_is_ours_whatever_its_digest() {
    assert_eq!(Machine { auditable: true, ..PRODUCTION }.trusts(&ours(&BOTH)), Trust::Ours);
    assert_eq!(Machine { buildable: &[], ..REHEARSAL }.trusts(&ours(&BOTH)), Trust::Ours);
}

#[test]
fn an_image_of_another_commit_or_version_is_not_ours() {
    let other = ImageFacts { revision: Some("other".into()), ..ours(&BOTH) };
    assert!(matches!(REHEARSAL.trusts(&other), Trust::Foreign(_)));
    let other = ImageFacts { version: None, ..ours(&BOTH) };
    assert!(matches!(REHEARSAL.trusts(&other), Trust::Foreign(_)));
}

#[test]
fn a_rehearsal_with_fewer_platforms_is_made_again_once_more_can_be_built() {
    let one = ours(&BOTH[..1]);
    assert_eq!(Machine { buildable: &BOTH[..1], ..REHEARSAL }.trusts(&one), Trust::Ours);
    assert_eq!(REHEARSAL.trusts(&one), Trust::Outdated("linux/arm64 can be built now".into()));
    assert_eq!(
        Machine { buildable: &[], ..REHEARSAL }.trusts(&one),
        Trust::Ours,
        "a machine without compilers adds nothing"
    );
    assert!(matches!(PRODUCTION.trusts(&one), Trust::Foreign(_)), "what is public is whole");
}

#[test]
fn a_rehearsal_without_dependency_list_is_made_again_once_it_can_have_one() {
    let machine = Machine { auditable: true, ..REHEARSAL };
    assert!(matches!(machine.trusts(&ours(&BOTH)), Trust::Outdated(_)));
    assert_eq!(machine.trusts(&ImageFacts { auditable: true, ..ours(&BOTH) }), Trust::Ours);
}

#[test]
fn a_taken_tag_names_both_ways_out() {
    let revision = "f".repeat(40);
    let other = ImageFacts { revision: Some(revision.clone()), ..ours(&BOTH) };
    let images = Images { tagged: Ok(Some(other)), archive: Ok(None), attested: BTreeMap::new() };
    let ImagePlan::Conflict(error) = PRODUCTION.decide(|wanted| image(&images, wanted)) else { panic!("no conflict") };
    let text = error.to_string();
    assert!(text.contains(&format!("git checkout {revision}")) && text.contains("release 3.1.1"), "{text}");
}

/// What is known where an accepted signer says that an image is of a version and a source state.
fn said_to_be_of(version: &str, revision: &str) -> Findings {
    let predicate = serde_json::json!({"buildDefinition": {
        "externalParameters": {"version": version, "revision": revision},
        "resolvedDependencies": [{"digest": {"gitCommit": revision}}],
    }});
    let statement = Statement::new("demo", &Digest::of(b"ours"), predicate::PROVENANCE, predicate);
    Findings { accepted: vec![Attested { signer: "ann".into(), statement }], refused: Vec::new() }
}

#[test]
fn i16_labels_and_tags_are_no_proof_and_an_image_is_adopted_on_a_signers_word_for_this_very_commit() {
    let decided = |attested: Option<Result<Findings>>| {
        let attested = attested.into_iter().map(|findings| (Digest::of(b"ours"), findings)).collect();
        let images = Images { tagged: Ok(Some(ours(&BOTH))), archive: Ok(None), attested };
        PRODUCTION.decide(|wanted| image(&images, wanted))
    };
    assert!(matches!(decided(Some(Ok(said_to_be_of("3.1.0", COMMIT)))), ImagePlan::Adopt(_)));
    for other in [said_to_be_of("3.1.0", "other"), said_to_be_of("3.0.0", COMMIT), Findings::default()] {
        assert!(matches!(decided(Some(Ok(other))), ImagePlan::Unsigned(..)));
    }
    assert!(matches!(decided(None), ImagePlan::Unsigned(..)));
    assert!(matches!(decided(Some(Err(Error::new(Exit::Repository, "503")))), ImagePlan::Unknown(_)));
    let before = Images { tagged: Ok(Some(ours(&BOTH))), archive: Ok(None), attested: BTreeMap::new() };
    let unsigned = PRODUCTION.decide(|wanted| image(&before, &Wanted { signed: false, ..*wanted }));
    assert!(matches!(unsigned, ImagePlan::Adopt(_)), "it was published before anything was signed");
}

/// A world as far as a release of 3.1.0 changes it. 3.0.0 may be there, too.
#[derive(Clone, Debug)]
struct Model {
    strict: bool,
    pushed: bool,
    git_tag: bool,
    /// By digest, what the registry has.
    images: BTreeMap<Digest, ImageFacts>,
    tags: BTreeMap<String, Digest>,
    archive: Option<Vec<u8>>,
    /// The archive that the record beside it is of.
    record: Option<String>,
    index: BTreeMap<Version, String>,
    yanked: bool,
    /// What the page was made of.
    page: Option<BTreeMap<Version, String>>,
    /// What users see of the index.
    shown: BTreeMap<Version, String>,
    scanned: BTreeSet<Digest>,
    /// The images of which an accepted signer says where they are from.
    signed: BTreeSet<Digest>,
    /// Those of which, and of whose charts, all is said that is to be said.
    whole: BTreeSet<Digest>,
    /// The images that listed charts name.
    named: BTreeMap<Version, Digest>,
    /// The image whose chart the chart's own tag leads to.
    chart_tag: Option<Digest>,
}

/// How far an earlier run came, and what of it the world shows.
fn models() -> impl Strategy<Value = Model> {
    let image = prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    (any::<bool>(), 0..10_usize, image, any::<bool>(), any::<bool>(), any::<[bool; 8]>()).prop_map(
        |(strict, steps, image, older, stale, [pushed, scanned, toolchains, yanked, forged, lost, unpaged, old])| {
            let mut model = Model::with(strict, older);
            model.pushed = pushed || steps > 0;
            if let Some(is_ours) = image {
                let built = if is_ours { b"another toolchain".as_slice() } else { b"other sources" };
                let revision = if is_ours { COMMIT } else { "other" };
                let facts = ImageFacts { digest: Digest::of(built), revision: Some(revision.into()), ..ours(&BOTH) };
                model.run(&facts, steps);
                if scanned {
                    model.scanned.insert(facts.digest);
                }
                if toolchains && is_ours {
                    // A second machine pushed its own image, and moved the tag to it.
                    let other = ours(&BOTH);
                    model.tags.insert("v3.1.0".into(), other.digest.clone());
                    model.signed.insert(other.digest.clone());
                    model.whole.insert(other.digest.clone());
                    model.images.insert(other.digest.clone(), other);
                }
            }
            if !stale {
                model.shown.clone_from(&model.index);
            }
            if old {
                // It was listed before there were records.
                model.record = None;
            }
            if unpaged {
                // It could not be written.
                model.page = None;
            }
            if lost || forged {
                // Another writer took something from a list of referrers.
                model.whole.clear();
            }
            if forged && !toolchains {
                // What is there says to be ours, and nobody who is accepted says so.
                model.signed.clear();
            }
            model.yanked = yanked && model.index.remove(&version(1)).is_some();
            model
        },
    )
}

impl Model {
    fn with(strict: bool, older: bool) -> Self {
        let mut model = Model {
            strict,
            pushed: false,
            git_tag: false,
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
            archive: None,
            record: None,
            index: BTreeMap::new(),
            yanked: false,
            page: None,
            shown: BTreeMap::new(),
            scanned: BTreeSet::new(),
            signed: BTreeSet::new(),
            whole: BTreeSet::new(),
            named: BTreeMap::new(),
            chart_tag: None,
        };
        if older {
            let digest = Digest::of(b"3.0.0");
            let names = ["v3.0.0", "3.0.0", "3.0", "3", "latest"];
            model.tags.extend(names.map(|name| (name.to_owned(), digest.clone())));
            model.index.insert(version(0), "3.0.0".into());
            model.named.insert(version(0), digest);
            model.shown.clone_from(&model.index);
        }
        model
    }

    /// The first steps after the build, as an earlier run took them.
    fn run(&mut self, image: &ImageFacts, steps: usize) {
        const STEPS: [Step; 9] = [
            Step::Push,
            Step::Sign,
            Step::Tag,
            Step::Package,
            Step::Publish,
            Step::Page,
            Step::Invalidate,
            Step::Promote,
            Step::GitTag,
        ];
        STEPS.iter().take(steps).for_each(|step| self.apply(*step, image));
    }

    fn apply(&mut self, step: Step, image: &ImageFacts) {
        match step {
            Step::Push => drop(self.images.insert(image.digest.clone(), image.clone())),
            Step::Sign => {
                assert!(self.images.contains_key(&image.digest), "what is signed is there");
                self.signed.insert(image.digest.clone());
                self.whole.insert(image.digest.clone());
            }
            Step::Tag => {
                assert!(self.signed.contains(&image.digest), "no tag leads to what is not signed");
                let moved = self.tags.get("v3.1.0").is_some_and(|digest| *digest != image.digest);
                if moved && !self.strict && self.archive.as_ref() != Some(&packed(image)) {
                    self.index.remove(&version(1));
                }
                self.tags.extend(["v3.1.0", "3.1.0"].map(|name| (name.to_owned(), image.digest.clone())));
            }
            Step::Package => {
                let archive = packed(image);
                if self.archive.as_ref() != Some(&archive) {
                    assert!(!self.strict || self.archive.is_none(), "a published archive never changes");
                    self.index.remove(&version(1));
                    self.archive = Some(archive);
                }
            }
            Step::Publish => {
                let sha256 = sha256_hex(&packed(image));
                if self.record.as_ref() != Some(&sha256) {
                    let is_first = self.record.is_none();
                    assert!(!self.strict || is_first, "a record never changes");
                    self.record = Some(sha256);
                    self.check();
                }
                self.index.insert(version(1), sha256_hex(&packed(image)));
                self.named.insert(version(1), image.digest.clone());
            }
            Step::Page => self.page = Some(self.index.clone()),
            Step::Invalidate => self.shown.clone_from(&self.index),
            Step::Promote => {
                self.tags.extend(promote::moves(&self.tags, &self.listed(), &version(0)).set);
                self.chart_tag = Some(image.digest.clone());
            }
            Step::GitTag => self.git_tag = true,
            Step::Scan => drop(self.scanned.insert(image.digest.clone())),
            Step::Bump | Step::Compile | Step::Build | Step::Verify => {}
        }
        if !self.strict {
            self.shown.clone_from(&self.index);
        }
    }

    fn world(&self) -> World {
        let commit = self.strict.then(|| Publishable {
            commit: COMMIT.into(),
            remote: "origin".into(),
            branch: "main".into(),
            pushed: self.pushed,
            tagged: self.git_tag,
        });
        let named = |bytes: &Vec<u8>| self.images.values().find(|facts| packed(facts) == *bytes).cloned();
        let archive = self.archive.clone().map(|bytes| Archive { image: named(&bytes), bytes });
        let listing = Listing {
            entry: self.index.get(&version(1)).cloned().map(Some),
            recorded: self.record.is_some() || !self.index.contains_key(&version(1)),
            yanked: self.yanked.then(|| "wrong".into()),
            listed: self.listed(),
        };
        let tagged = self.tags.get("v3.1.0").map(|digest| self.images[digest].clone());
        let shown = self.shown.get(&version(1)).cloned().filter(|_| listing.entry.is_some());
        let scanned = self.scanned.clone();
        let attested = self.images.keys().map(|digest| {
            let is_signed = self.signed.contains(digest);
            let findings = if is_signed { said_to_be_of("3.1.0", COMMIT) } else { Findings::default() };
            (digest.clone(), Ok(findings))
        });
        let images = Images { tagged: Ok(tagged), archive: Ok(archive), attested: attested.collect() };
        let adopted = self.machine().decide(|wanted| image(&images, wanted));
        let chart_tagged =
            matches!(&adopted, ImagePlan::Adopt(facts) if self.chart_tag.as_ref() == Some(&facts.digest));
        let unsaid = match adopted {
            ImagePlan::Adopt(facts) if !self.whole.contains(&facts.digest) => vec!["signature of the chart".into()],
            _ => Vec::new(),
        };
        World {
            commit: Ok(commit),
            images,
            listing: Ok(listing),
            tags: Ok(self.tags.clone()),
            page: Ok(self.page.as_ref() == Some(&self.index)),
            shown: Ok(shown),
            scanned,
            unsaid: Ok(unsaid),
            chart_tagged: Ok(chart_tagged),
        }
    }

    fn listed(&self) -> Listed {
        let is_listed = |(version, _): &(&Version, &Digest)| self.index.contains_key(*version);
        let images = self.named.iter().filter(is_listed).map(|(version, image)| (version.clone(), image.clone()));
        Listed { versions: self.index.keys().cloned().collect(), images: images.collect() }
    }

    fn plan(&self) -> Plan {
        let world = self.world();
        self.machine().decide(|wanted| plan(&world, wanted))
    }

    fn machine(&self) -> Machine<'static> {
        if self.strict { PRODUCTION } else { REHEARSAL }
    }

    /// What no user may ever meet.
    fn check(&self) {
        if let Some(listed) = self.index.get(&version(1)) {
            assert_eq!(
                self.archive.as_deref().map(sha256_hex).as_ref(),
                Some(listed),
                "the index leads to its archive"
            );
            let is_right = self.record.as_ref().is_none_or(|record| record == listed);
            assert!(is_right, "what is recorded of a listed version is of its archive");
        }
        if self.archive.is_some() && self.index.contains_key(&version(1)) {
            assert!(
                self.world().images.archive.unwrap().unwrap().image.is_some(),
                "a listed chart names an image that is there"
            );
        }
        if self.chart_tag.is_some() && self.strict && !self.yanked {
            assert!(self.shown.contains_key(&version(1)), "the chart's tag leads to what users see listed");
        }
        if self.strict && self.tags.get("latest").is_some_and(|latest| Some(latest) == self.tags.get("3.1.0")) {
            assert!(self.shown.contains_key(&version(1)), "a floating tag leads to what users see listed");
        }
    }
}

fn to_do(steps: &[Planned]) -> Vec<Step> {
    let is_to_do = |planned: &&Planned| matches!(planned.state, State::ToDo(_));
    steps.iter().filter(is_to_do).map(|planned| planned.step).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn x3_a_plan_leads_to_a_world_in_which_nothing_is_left_to_do_and_shows_nothing_too_early(start in models()) {
        let Plan { image, steps } = start.plan();
        if check(&steps).is_err() {
            let foreign = start.tags.get("v3.1.0").is_some_and(|digest| start.images[digest].revision.as_deref() != Some(COMMIT));
            prop_assert!(start.yanked || (start.strict && (foreign || !start.pushed)), "{start:#?}\n{steps:#?}");
            return Ok(());
        }
        let (is_adopted, is_unsigned) = (matches!(image, ImagePlan::Adopt(_)), matches!(image, ImagePlan::Unsigned(..)));
        // What is made again comes out the same.
        let image = if let ImagePlan::Adopt(facts) | ImagePlan::Unsigned(facts, _) = image { facts } else { ours(&BOTH) };
        let printed = to_do(&steps);
        let mut model = start.clone();
        // Where the page alone was to do, nobody sees that caches were not told of it. Old copies end by themselves.
        let paged = Model { page: Some(start.index.clone()), ..start.clone() };
        let is_told = !to_do(&paged.plan().steps).contains(&Step::Invalidate);
        for (number, step) in printed.iter().enumerate() {
            model.apply(*step, &image);
            model.check();
            // Until a tag leads to what was built, whoever comes next builds again.
            if *step >= Step::Tag || is_adopted {
                // Whoever goes on from here, with a plan of their own, does what was printed; everybody verifies, and nobody can know
                // that every cache was told until something followed.
                let now = model.plan().steps;
                prop_assert!(check(&now).is_ok(), "after {step}: {now:#?}");
                let mut left: BTreeSet<Step> = printed[number + 1..].iter().copied().chain([Step::Verify]).chain((*step == Step::Invalidate).then_some(*step)).collect();
                if is_told && *step >= Step::Page {
                    left.remove(&Step::Invalidate);
                }
                let now = to_do(&now);
                // Of an image that is made again nobody knows beforehand what it leaves to do.
                let is_right = if is_unsigned { now.iter().all(|step| left.contains(step)) } else { now == Vec::from_iter(left.clone()) };
                prop_assert!(is_right, "after {step} of {start:#?}: {now:?}, not {left:?}");
            }
        }
        prop_assert_eq!(to_do(&model.plan().steps), [Step::Verify]);
        prop_assert_eq!(model.record.as_ref(), model.index.get(&version(1)));
    }

    #[test]
    fn h6_a_plan_that_rests_on_what_could_not_be_seen_is_refused(model in models(), unseen in 0..8_usize) {
        let unknown = || Error::new(Exit::Environment, "cannot be asked");
        let mut world = model.world();
        let machine = model.machine();
        let seen = machine.decide(|wanted| image(&world.images, wanted));
        match unseen {
            0 => world.images.tagged = Err(unknown()),
            1 => world.images.archive = Err(unknown()),
            2 => world.listing = Err(unknown()),
            3 => world.tags = Err(unknown()),
            4 => world.unsaid = Err(unknown()),
            6 => world.chart_tagged = Err(unknown()),
            5 => world.images.attested.values_mut().for_each(|findings| *findings = Err(unknown())),
            _ => world.commit = Err(unknown()),
        }
        let steps = machine.decide(|wanted| plan(&world, wanted)).steps;
        let adopted_from_archive = unseen == 0 && matches!(&world.images.archive, Ok(Some(Archive { image: Some(_), .. })));
        let matters = match unseen {
            4 => matches!(seen, ImagePlan::Adopt(_)),
            5 => matches!(seen, ImagePlan::Adopt(_) | ImagePlan::Unsigned(..)),
            _ => !adopted_from_archive,
        };
        prop_assert!(check(&steps).is_err() || !matters, "{steps:#?}");
    }

    #[test]
    fn h14_a_page_that_could_not_be_seen_stops_no_release(model in models()) {
        let mut world = model.world();
        let stops = |world: &World| check(&model.machine().decide(|wanted| plan(world, wanted)).steps).is_err();
        let before = stops(&world);
        world.page = Err(Error::new(Exit::Repository, "503"));
        prop_assert_eq!(stops(&world), before);
    }
}
