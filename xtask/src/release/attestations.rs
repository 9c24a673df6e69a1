//! What is said of a release's image and chart, signed: made, attached beside them, and found again.
//!
//! Subjects are the image index, the image of each platform, and the chart as it lies in the registry. A statement names every subject
//! that it holds for, so that a release needs few signatures; it is attached to each of them, since who looks at a digest looks beside
//! that one. Signatures differ from run to run: done is done where one bundle of an accepted signer is there, whatever its bytes.

use std::path::PathBuf;

use semver::Version;
use serde_json::{Value, json};

use crate::chart;
use crate::config::{Builder, Location};
use crate::error::{Error, Exit, Result};
use crate::image::labels::ImageFacts;
use crate::oci::artifact::Artifact;
use crate::oci::registry::Registry;
use crate::oci::{self, Descriptor, Digest, Part, Platform};
use crate::release::Release;
use crate::release::destination::Destination;
use crate::release::pipeline::Pipeline;
use crate::sys::time::rfc3339;
use crate::trust::attachments::{self, Found};
use crate::trust::cosign::Cosign;
use crate::trust::key::SigningKey;
use crate::trust::policy::Policy;
use crate::trust::provenance::{self, Build, Runner};
use crate::trust::sbom::Product as Component;
use crate::trust::signer::{OWN_KEY, Signer};
use crate::trust::statement::{Statement, predicate};
use crate::trust::verify::{self, Findings};
use crate::trust::vex::{self, About};
use crate::ui;

/// What must be said of an image index.
pub const OF_IMAGE: [&str; 2] = [predicate::SIGNATURE, predicate::PROVENANCE];
/// What must be said of one platform's image.
pub const OF_PLATFORM: [&str; 2] = [predicate::SIGNATURE, predicate::SBOM];
/// What must be said of a chart.
pub const OF_CHART: [&str; 2] = [predicate::SIGNATURE, predicate::PROVENANCE];

/// Something that is signed.
struct Subject {
    kind: Kind,
    descriptor: Descriptor,
    /// What nobody who is accepted has said of it yet.
    lacking: Vec<&'static str>,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Image,
    Platform(Platform),
    Chart,
}

/// A statement that is to be made, and the kinds of subjects that it is attached to.
struct Draft {
    statement: Statement,
    predicate_type: &'static str,
    subjects: Vec<Kind>,
}

impl Pipeline {
    /// Signs an image and its chart, and attaches what is said of them: what an accepted signer said before is not said again. `second`
    /// is the digest that an independent build gave. True where something was left to do.
    ///
    /// # Errors
    /// Nothing here can sign, or it is nobody whom the target accepts; the registry cannot be read or written to.
    pub(super) fn attest(&self, image: Option<&ImageFacts>, second: Option<&Digest>) -> Result<bool> {
        if !self.is_signed() {
            return Ok(false);
        }
        let chart = self.chart_artifact(image)?;
        let mut subjects = self.subjects(image, chart.as_ref())?;
        subjects.retain(|subject| !subject.lacking.is_empty());
        if subjects.is_empty() {
            return Ok(false);
        }
        let signer = self.destination.signer()?;
        let drafts = self.drafts(image, &subjects, second)?;
        let statements: Vec<Statement> = drafts.iter().map(|draft| draft.statement.clone()).collect();
        let bundles = signer.sign(&statements)?;
        self.check_accepted(&signer, &subjects, &drafts, &bundles)?;
        self.attach(chart, &subjects, &drafts, &bundles)?;
        let image = image.map(|image| image.digest.to_string());
        let chart = self.destination.has_chart.then(|| "the chart".to_owned());
        let signed: Vec<String> = image.into_iter().chain(chart).collect();
        ui::status("Signed", format_args!("{}, with {signer}", signed.join(" and ")));
        Ok(true)
    }

    /// One call for each of the two repositories: where a registry keeps no lists of its own, each waits a moment for other writers, and
    /// the chart's goes on in that of the image's.
    fn attach(
        &self,
        chart: Option<Artifact>,
        subjects: &[Subject],
        drafts: &[Draft],
        bundles: &[Vec<u8>],
    ) -> Result<()> {
        let time = rfc3339(self.release.time)?;
        let (mut of_image, mut of_chart) = (Vec::new(), Vec::new());
        for (draft, bundle) in drafts.iter().zip(bundles) {
            for subject in subjects.iter().filter(|subject| draft.subjects.contains(&subject.kind)) {
                let referrer = attachments::referrer(&subject.descriptor, bundle, draft.predicate_type, &time)?;
                if subject.kind == Kind::Chart { of_chart.push(referrer) } else { of_image.push(referrer) }
            }
        }
        if !of_chart.is_empty() {
            of_chart.splice(0..0, chart);
        }
        let Destination { registry, charts, .. } = &self.destination;
        let attach_chart = || match of_chart.is_empty() {
            true => Ok(()),
            false => charts.attach(&of_chart).map(|attached| tell_restored(&attached.restored)),
        };
        if of_image.is_empty() {
            return attach_chart();
        }
        registry.attach_and(&of_image, &attach_chart).map(|attached| tell_restored(&attached.restored))
    }

    /// What nobody who is accepted has said yet of an image and its chart: a line for each subject, for people.
    pub(super) fn unsaid(&self, image: Option<&ImageFacts>) -> Result<Vec<String>> {
        if !self.is_signed() {
            return Ok(Vec::new());
        }
        let subjects = self.subjects(image, self.chart_artifact(image)?.as_ref())?;
        let lacking = subjects.iter().filter(|subject| !subject.lacking.is_empty());
        Ok(lacking.map(|subject| format!("{} of the {}", names(&subject.lacking), subject.kind)).collect())
    }

    /// Refuses to list what is not signed as a whole: the chart, too.
    pub(super) fn check_said(&self, image: Option<&ImageFacts>) -> Result<()> {
        let unsaid = self.unsaid(image)?;
        if unsaid.is_empty() {
            return Ok(());
        }
        Err(Error::new(Exit::Conflict, format!("{} is not signed as a whole", self.release.version))
            .because(unsaid.join("\n"))
            .remedy("cargo xtask release sign comes first"))
    }

    /// Whether the chart's tag in the registry leads to the chart for an image.
    pub(super) fn is_chart_tagged(&self, image: Option<&ImageFacts>) -> Result<bool> {
        Ok(self.untagged_chart(image)?.is_none())
    }

    /// Points the chart's tag in the registry at the chart for an image, once users see the version listed. True where that was left to do.
    pub(super) fn tag_chart(&self, image: Option<&ImageFacts>) -> Result<bool> {
        let Some(lead) = self.untagged_chart(image)? else { return Ok(false) };
        self.destination.charts.tag(&[lead])?;
        ui::status("Tagged", self.destination.chart_reference(&self.release.version));
        Ok(true)
    }

    /// The chart's tag in the registry and the digest that it should lead to, where it does not yet.
    fn untagged_chart(&self, image: Option<&ImageFacts>) -> Result<Option<(String, Digest)>> {
        if !self.is_signed() {
            return Ok(None);
        }
        let Some(artifact) = self.chart_artifact(image)? else { return Ok(None) };
        let tag = chart::oci::tag(&self.release.version.to_string());
        let there = self.destination.charts.resolve(&tag)?;
        let wanted = artifact.descriptor.digest;
        Ok((there.as_ref() != Some(&wanted)).then_some((tag, wanted)))
    }

    /// What accepted signers say of an image.
    pub(super) fn attested(&self, digest: &Digest) -> Result<Findings> {
        let Destination { registry, .. } = &self.destination;
        self.destination.findings(&**registry, digest, &self.release.version, &OF_IMAGE)
    }

    /// Refuses an image of which no accepted signer says that it is of this release.
    ///
    /// # Errors
    /// It is not signed so; the registry cannot be read.
    pub(super) fn check_signed(&self, digest: &Digest) -> Result<()> {
        let Release { version, revision, .. } = &self.release;
        if !self.is_signed() {
            return Ok(());
        }
        let origin = self.attested(digest)?.origin(&version.to_string(), revision).map(drop);
        origin.map_err(|why| {
            Error::new(Exit::Conflict, format!("{digest} is not signed as the image of {version}"))
                .because(why)
                .remedy("cargo xtask release build, scan, push and sign come first")
        })
    }

    /// Whether this version is signed in this target.
    pub(super) fn is_signed(&self) -> bool {
        self.target().signs(&self.release.version)
    }

    /// The chart for an image, as it lies in the registry, where there is a chart.
    pub(super) fn chart_artifact(&self, image: Option<&ImageFacts>) -> Result<Option<Artifact>> {
        let packed = self.destination.has_chart.then(|| self.pack(image)).transpose()?;
        packed.map(|(_, archive)| chart::oci::artifact(&archive, self.release.time)).transpose()
    }

    fn subjects(&self, image: Option<&ImageFacts>, chart: Option<&Artifact>) -> Result<Vec<Subject>> {
        let (destination, mut all) = (&self.destination, Vec::new());
        if let Some(image) = image {
            let index = destination.registry.fetch(Part::Manifest, &image.digest)?;
            let mut of_image = OF_IMAGE.to_vec();
            if self.exceptions(image)?.is_some() {
                of_image.push(predicate::VEX);
            }
            all.push((Kind::Image, Descriptor::of(oci::INDEX, &index), of_image));
            for part in destination.registry.platforms(&image.digest)? {
                all.push((Kind::Platform(part.platform), part.descriptor, OF_PLATFORM.to_vec()));
            }
        }
        all.extend(chart.map(|chart| (Kind::Chart, chart.descriptor.clone(), OF_CHART.to_vec())));
        let subject = |(kind, descriptor, wanted): (Kind, Descriptor, Vec<&'static str>)| {
            let registry = if kind == Kind::Chart { &destination.charts } else { &destination.registry };
            let findings = destination.findings(&**registry, &descriptor.digest, &self.release.version, &wanted)?;
            Ok(Subject { lacking: findings.lacking(&wanted), kind, descriptor })
        };
        all.into_iter().map(subject).collect()
    }

    fn drafts(&self, image: Option<&ImageFacts>, subjects: &[Subject], second: Option<&Digest>) -> Result<Vec<Draft>> {
        let Destination { target, chart, .. } = &self.destination;
        let chart = target.of_chart(chart).image;
        let draft = |predicate_type: &'static str, predicate: Value, is_about: &dyn Fn(&Kind) -> bool| {
            let about = subjects.iter().filter(|one| one.lacking.contains(&predicate_type) && is_about(&one.kind));
            let named = about.clone().map(|one| {
                (if one.kind == Kind::Chart { chart.as_str() } else { target.image.as_str() }, &one.descriptor.digest)
            });
            let statement = Statement::about(named, predicate_type, predicate);
            Draft { statement, predicate_type, subjects: about.map(|one| one.kind.clone()).collect() }
        };
        let mut drafts = vec![
            draft(predicate::SIGNATURE, json!({}), &|_| true),
            draft(predicate::PROVENANCE, provenance::predicate(&self.build_of(image, second)?), &|_| true),
        ];
        let platforms = subjects.iter().filter(|one| one.lacking.contains(&predicate::SBOM));
        let platforms: Vec<&Kind> = platforms.map(|one| &one.kind).collect();
        if let Some(image) = image.filter(|_| !platforms.is_empty()) {
            let bills = self.bills(image)?;
            for (platform, bill) in bills {
                drafts.push(draft(predicate::SBOM, bill, &|kind| *kind == Kind::Platform(platform.clone())));
            }
        }
        if let Some(document) = image.map_or(Ok(None), |image| self.exceptions(image))? {
            drafts.push(draft(predicate::VEX, document, &|_| true));
        }
        drafts.retain(|draft| !draft.subjects.is_empty());
        Ok(drafts)
    }

    /// What is known of how an image was built, its labels included: they are part of what its digest names.
    fn build_of(&self, image: Option<&ImageFacts>, second: Option<&Digest>) -> Result<Build> {
        let Release { version, revision, time, .. } = &self.release;
        let parts = image.map_or(Ok(Vec::new()), |image| self.destination.registry.platforms(&image.digest))?;
        let compiler = |label: &String| (!label.is_empty()).then(|| label.clone());
        let compilers = parts.iter().filter_map(|part| {
            let label = part.config.config.labels.get("rustc").and_then(compiler)?;
            Some((part.platform.clone(), label))
        });
        Ok(Build {
            repository: self.home(),
            commit: revision.split("-dirty-").next().unwrap_or(revision).to_owned(),
            revision: revision.clone(),
            version: version.to_string(),
            commit_time: rfc3339(*time)?,
            target: self.target().name.clone(),
            assembler: match self.target().builder {
                Builder::Embedded => "embedded".into(),
                Builder::Buildx => "buildx".into(),
            },
            compilers: compilers.collect(),
            second: second.cloned(),
            runner: Runner::of(&|name| std::env::var(name).ok()),
        })
    }

    /// The vulnerabilities that a waiver calls no concern of this image, for other people's scanners.
    fn exceptions(&self, image: &ImageFacts) -> Result<Option<Value>> {
        let Some(verdict) = self.verdict(&image.digest)? else { return Ok(None) };
        let Some(platform) = image.platforms.first() else { return Ok(None) };
        let about = &self.product.package()?.about;
        let waived: Vec<_> = verdict.waived.iter().map(|waiver| (waiver, Vec::new())).collect();
        let purl = self.component(&self.release.version.to_string(), platform)?.purl();
        let about =
            About { product: &purl, author: &about.vendor, repository: &about.repository, time: self.release.time };
        vex::document(&waived, &about)
    }

    /// One platform's image, as bills of materials name it.
    pub(super) fn component<'p>(&'p self, version: &'p str, platform: &'p Platform) -> Result<Component<'p>> {
        let (name, image) = (&self.product.package()?.name, &self.target().image);
        Ok(Component { name, version, image, platform, time: self.release.time })
    }

    /// Refuses a signer before what it signed is attached: it would lie there and count for nothing. One bundle shows that as well as all.
    fn check_accepted(
        &self,
        signer: &Signer,
        subjects: &[Subject],
        drafts: &[Draft],
        bundles: &[Vec<u8>],
    ) -> Result<()> {
        let Some((draft, bundle)) = drafts.iter().zip(bundles).next() else { return Ok(()) };
        // Where an earlier run died between two statements, the first one that is left need not be about the first subject.
        let subject = subjects.iter().find(|subject| draft.subjects.contains(&subject.kind));
        let Some(subject) = subject else { return Ok(()) };
        let policy = self.destination.policy(&self.release.version)?;
        let findings = self.destination.judge(&subject.descriptor.digest, [bundle], &policy)?;
        let Some(refused) = findings.refused.first() else { return Ok(()) };
        Err(Error::new(
            Exit::Environment,
            format!("target `{}` does not accept what {signer} signs", self.target().name),
        )
        .because(&refused.why)
        .remedy("sign with one of those, or name this signer in the target's `signers`, in a commit of its own"))
    }
}

impl Destination {
    /// What signs: a folder that names nobody has a key of its own, which is made when it is first needed.
    fn signer(&self) -> Result<Signer> {
        self.folder_with_own_key().map_or_else(|| self.named_signer(), |folder| Signer::of_rehearsal(&folder))
    }

    /// Who signs, for people. Makes nothing.
    ///
    /// # Errors
    /// Nothing on this machine can sign for the target.
    pub fn who_signs(&self) -> Result<String> {
        match self.folder_with_own_key() {
            Some(_) => Ok("this folder's own key".into()),
            None => self.named_signer().map(|signer| signer.to_string()),
        }
    }

    /// The program that judges certificates, for people.
    ///
    /// # Errors
    /// It is not installed, or too old.
    pub fn who_judges(&self) -> Result<String> {
        Ok(self.cosign()?.program().display().to_string())
    }

    fn named_signer(&self) -> Result<Signer> {
        let variable = |name: &str| std::env::var(name).ok();
        Signer::choose(&self.target.name, &self.target.signing, self.root(), &variable, &|| self.cosign().cloned())
    }

    /// Who is accepted as signer of a version.
    ///
    /// # Errors
    /// The target's table cannot be used, or names nobody; a key cannot be read.
    pub fn policy(&self, version: &Version) -> Result<Policy> {
        let own = match self.folder_with_own_key() {
            Some(folder) => match SigningKey::read(&folder.join(OWN_KEY))? {
                // Nothing was signed there yet.
                None => return Ok(Policy::default()),
                own => own.map(|key| key.public()),
            },
            None => None,
        };
        Policy::new(&self.target.name, &self.target.signers, self.root(), version, own)
    }

    /// What accepted signers say of a digest, in bundles that lie beside it in a registry. What cannot be read of them counts only
    /// where something of what is `wanted` is missing.
    ///
    /// # Errors
    /// The registry cannot be read, or what judges certificates is not there.
    pub fn findings(
        &self,
        registry: &dyn Registry,
        subject: &Digest,
        version: &Version,
        wanted: &[&str],
    ) -> Result<Findings> {
        self.judge_found(attachments::find(registry, subject)?, subject, version, wanted)
    }

    /// The same for what was found in another way.
    ///
    /// # Errors
    /// As `findings`.
    pub(super) fn judge_found(
        &self,
        mut found: Found,
        subject: &Digest,
        version: &Version,
        wanted: &[&str],
    ) -> Result<Findings> {
        let findings = self.judge(subject, &found.bundles, &self.policy(version)?)?;
        match found.unreadable.pop() {
            Some(error) if !findings.lacking(wanted).is_empty() => Err(error),
            _ => Ok(findings),
        }
    }

    /// Judges bundles that were found beside a digest.
    ///
    /// # Errors
    /// There is one with a certificate, and what judges those is not there, or has no authorities to judge by.
    pub fn judge<'b>(
        &self,
        subject: &Digest,
        bundles: impl IntoIterator<Item = &'b Vec<u8>>,
        policy: &Policy,
    ) -> Result<Findings> {
        let failed = std::cell::RefCell::new(None);
        let certificates = |bundle: &[u8], statement: &Statement, identity: &_| {
            let judged = self.cosign().and_then(|cosign| cosign.judge(bundle, subject, statement, identity));
            judged.unwrap_or_else(|error| {
                failed.replace(Some(error));
                Err("nobody here can judge certificates".to_owned())
            })
        };
        let findings = verify::judge(subject, bundles.into_iter().map(Vec::as_slice), policy, &certificates);
        failed.into_inner().map_or(Ok(findings), Err)
    }

    /// The program that signs and judges by certificates: looked for once, and only where there is one.
    pub(super) fn cosign(&self) -> Result<&Cosign> {
        if let Some(known) = self.cosign.get() {
            return Ok(known);
        }
        let trusted_root = self.target.trusted_root.as_ref().map(|path| self.root().join(path));
        let found = Cosign::find(trusted_root)?;
        Ok(self.cosign.get_or_init(|| found))
    }

    /// The folder that is published into, where it is one and no signer is named.
    fn folder_with_own_key(&self) -> Option<PathBuf> {
        match &self.target.location {
            Location::Folder(folder) if self.target.signers.is_empty() => Some(self.root().join(folder)),
            _ => None,
        }
    }
}

/// What others took from a list of referrers is put back, and somebody may want to know.
fn tell_restored(restored: &[Digest]) {
    if !restored.is_empty() {
        let names: Vec<String> = restored.iter().map(Digest::to_string).collect();
        ui::note(
            "Restored",
            format_args!("in the registry's lists, from which another writer took it: {}", names.join(", ")),
        );
    }
}

/// Predicate types, for people.
pub fn names(types: &[&str]) -> String {
    let name = |kind: &&str| match *kind {
        predicate::SIGNATURE => "signature",
        predicate::PROVENANCE => "provenance",
        predicate::SBOM => "bill of materials",
        predicate::VEX => "exceptions",
        _ => "another statement",
    };
    types.iter().map(name).collect::<Vec<_>>().join(" and ")
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Image => out.write_str("image"),
            Kind::Platform(platform) => write!(out, "image for {platform}"),
            Kind::Chart => out.write_str("chart"),
        }
    }
}
