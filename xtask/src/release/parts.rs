//! Compiling on several machines, a platform on each, where one is not enough.
//!
//! What a machine hands on is a part: a folder with the binary, and a note that names it by its digest, says what it is of, and holds its
//! bill of materials. The note's own digest is what the next machine is told, so that nobody on the way can change any of it. The image that
//! is put together of parts is the one that a single machine would have made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Context, Error, Exit, Result};
use crate::oci::{self, Digest, Platform};
use crate::release::image::Binaries;
use crate::release::pipeline::Pipeline;
use crate::release::plan::ImagePlan;
use crate::sys::files;
use crate::ui;

const NOTE: &str = "part.json";
const BINARY: &str = "binary";

/// What a part is, as its note says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    version: String,
    revision: String,
    platform: String,
    compiler: String,
    auditable: bool,
    binary: Digest,
    /// Where the version is signed.
    bill: Option<Value>,
}

/// A part that is asked for: `PLATFORM=DIGEST`.
#[derive(Clone, Debug)]
pub struct Part {
    platform: Platform,
    digest: Digest,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (platform, digest) = text.split_once('=').ok_or_else(|| format!("`{text}` is not PLATFORM=DIGEST"))?;
        let digest = digest.parse().map_err(|error| format!("`{digest}` is not a digest: {error}"))?;
        Ok(Part { platform: platform.to_owned().try_into()?, digest })
    }
}

impl Pipeline {
    /// Compiles for one platform alone, and leaves a part here. Gives its digest; nothing where the image is there already.
    ///
    /// # Errors
    /// It cannot be compiled here, or the version's tag belongs to something else.
    pub fn build_part(&self, platform: &Platform) -> Result<Option<Digest>> {
        self.refuse_yanked()?;
        match self.image_plan(&self.images()) {
            ImagePlan::Without => return Err(self.product.without_image()),
            ImagePlan::Conflict(error) | ImagePlan::Unknown(error) => return Err(error),
            ImagePlan::Adopt(facts) => {
                ui::note("Adopted", format_args!("image {}: nothing is left to compile", facts.digest));
                return Ok(None);
            }
            ImagePlan::Build | ImagePlan::Replace(_) | ImagePlan::Unsigned(..) => {}
        }
        let toolchains = self.toolchains()?.only(platform)?;
        let Binaries { context, compilers, auditable, .. } = self.compile_for(&toolchains)?;
        let bills = self.is_signed().then(|| self.bills_of(&context, self.ask_for_bills(&toolchains)?)).transpose()?;
        let (Some(compiler), Some(binary)) = (compilers.get(platform), context.into_values().next()) else {
            return Err(Error::new(Exit::Failure, format!("nothing was compiled for {platform}")));
        };
        let note = Note {
            version: self.release.version.to_string(),
            revision: self.release.revision.clone(),
            platform: platform.to_string(),
            compiler: compiler.clone(),
            auditable,
            binary: Digest::of(&binary),
            bill: bills.and_then(|mut bills| bills.remove(platform)),
        };
        let (folder, note) = (self.part(platform), oci::json(&note)?);
        files::remove(&folder)?;
        files::create_new(&folder.join(BINARY), &binary)?;
        files::create_new(&folder.join(NOTE), &note)?;
        let digest = Digest::of(&note);
        ui::status("Compiled", format_args!("for {platform}: {}, {digest}", folder.display()));
        Ok(Some(digest))
    }

    /// What the parts hold that were brought here.
    pub(super) fn read_parts(&self, parts: &[Part]) -> Result<Binaries> {
        let name = &self.product.package()?.name;
        let (mut binaries, mut bills) = (Binaries::default(), BTreeMap::new());
        for (number, part) in parts.iter().enumerate() {
            let (note, binary) = self.read_part(part)?;
            if number > 0 && note.auditable != binaries.auditable {
                return Err(Error::new(Exit::Environment, "only some of the parts were compiled with cargo-auditable")
                    .remedy("install it on all of these machines, or on none"));
            }
            binaries.auditable = note.auditable;
            binaries.compilers.insert(part.platform.clone(), note.compiler);
            binaries.context.insert(format!("{}/{name}", part.platform), binary);
            bills.extend(note.bill.map(|bill| (part.platform.clone(), bill)));
        }
        let there: Vec<Platform> = binaries.compilers.keys().cloned().collect();
        let missing = self.missing_platforms(&there);
        if self.is_strict() && !missing.is_empty() {
            let missing = oci::platform_names(&missing);
            return Err(Error::new(Exit::Usage, format!("no part is for {missing}")).because("what is public is whole"));
        }
        binaries.bills = Some(bills);
        Ok(binaries)
    }

    fn read_part(&self, Part { platform, digest }: &Part) -> Result<(Note, Vec<u8>)> {
        let folder = self.part(platform);
        let other = |why: String| {
            Error::new(Exit::Conflict, format!("{} is not the part for {platform} that was compiled", folder.display()))
                .because(why)
                .remedy(format!("cargo xtask release build --platform {platform}, and bring that folder here"))
        };
        let read = |name: &str, wanted: &Digest| {
            let bytes = files::read(&folder.join(name))?.ok_or_else(|| other(format!("{name} is not there")))?;
            let found = Digest::of(&bytes);
            if found == *wanted { Ok(bytes) } else { Err(other(format!("{name}\nwanted: {wanted}\nfound:  {found}"))) }
        };
        let note: Note = serde_json::from_slice(&read(NOTE, digest)?)
            .context(Exit::Conflict, || format!("{} cannot be used", folder.join(NOTE).display()))?;
        let (version, revision) = (self.release.version.to_string(), &self.release.revision);
        if (&note.version, &note.revision, &note.platform) != (&version, revision, &platform.to_string()) {
            let Note { version: of, revision: made, platform, .. } = note;
            return Err(other(format!("it is {of} of {made}, for {platform}; wanted is {version} of {revision}")));
        }
        let binary = read(BINARY, &note.binary)?;
        Ok((note, binary))
    }

    fn part(&self, platform: &Platform) -> PathBuf {
        self.work("parts").join(platform.to_string().replace('/', "-"))
    }
}
