//! The bill of materials of each platform's image: made where its binaries are, and kept beside the layout until it is signed.
//!
//! Which libraries were linked, only the machine knows that linked them. Whoever signs an image that was built elsewhere, and has no bill
//! of it, lists the crates that cargo resolves for the commit, and says that the libraries are not known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Context, Error, Exit, Result};
use crate::image::compile::{self, Toolchain, Toolchains};
use crate::image::embedded::BuildContext;
use crate::image::labels::ImageFacts;
use crate::oci::{self, Digest, Platform};
use crate::release::pipeline::Pipeline;
use crate::sys::children::Begun;
use crate::sys::{files, tools};
use crate::trust::sbom::crates::{self, Checksums, Metadata};
use crate::trust::sbom::{
    self, Part, UNSCANNED,
    native::{self, Linked},
};

/// The file in the layout's folder.
const FILE: &str = "bills.json";

/// What cargo is asked for the bill of what a toolchain compiles for a platform.
pub type Asked<'t> = (&'t Platform, &'t Toolchain, Begun);

/// A bill for each platform.
pub type Bills = BTreeMap<Platform, Value>;

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    image: Digest,
    bills: BTreeMap<String, Value>,
}

impl Pipeline {
    /// Asks for what the bills of a build need, and goes on: it takes as long as putting the image together.
    pub(super) fn ask_for_bills<'t>(&self, toolchains: &'t Toolchains) -> Result<Vec<Asked<'t>>> {
        let asked = toolchains.found.iter().map(|(platform, toolchain)| {
            let source = self.work("source");
            Ok((platform, toolchain, self.metadata(&source, &toolchain.triple, Some(&toolchain.rustc))?))
        });
        asked.collect()
    }

    /// Makes the bills of what was just compiled.
    pub(super) fn bills_of(&self, context: &BuildContext, asked: Vec<Asked<'_>>) -> Result<Bills> {
        let name = &self.product.package()?.name;
        let toolchains: Vec<&Toolchain> = asked.iter().map(|(_, toolchain, _)| *toolchain).collect();
        let linked = native::linked(&toolchains)?;
        let mut bills = BTreeMap::new();
        for ((platform, _, said), linked) in asked.into_iter().zip(linked) {
            let binary = context.get(&format!("{platform}/{name}")).map(Vec::as_slice);
            let bill = self.bill(&resolved(said)?, platform, binary, Some(linked))?;
            bills.insert(platform.clone(), bill);
        }
        Ok(bills)
    }

    /// Keeps the bills of an image beside its layout.
    pub(super) fn keep_bills(&self, image: &Digest, bills: Bills) -> Result<()> {
        let bills = bills.into_iter().map(|(platform, bill)| (platform.to_string(), bill)).collect();
        let kept = Kept { image: image.clone(), bills };
        files::replace(&self.bills_file(), &oci::json(&kept)?)
    }

    /// The bills of an image: those that were kept when it was built here, or others of the same commit.
    pub(super) fn bills(&self, image: &ImageFacts) -> Result<Bills> {
        let kept = files::read(&self.bills_file())?;
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        if let Some(kept) = kept.filter(|kept| kept.image == image.digest) {
            let known = kept.bills.into_iter().filter_map(|(name, bill)| Some((name.try_into().ok()?, bill)));
            return Ok(known.collect());
        }
        let source = self.stage()?;
        let bill = |platform: &Platform| {
            let triple = self.product.platforms.get(platform).map_or("", String::as_str);
            let metadata = resolved(self.metadata(&source, triple, None)?)?;
            Ok((platform.clone(), self.bill(&metadata, platform, None, None)?))
        };
        image.platforms.iter().map(bill).collect()
    }

    fn bill(
        &self,
        metadata: &Metadata,
        platform: &Platform,
        binary: Option<&[u8]>,
        linked: Option<Linked>,
    ) -> Result<Value> {
        let damaged = || format!("cannot list what is in the image for {platform}");
        let lock = self.worktree.text("Cargo.lock")?.unwrap_or_default();
        let known: Checksums = crates::checksums(&lock).context(Exit::Workspace, damaged)?;
        let embedded = binary.map(|binary| crates::embedded(binary, &known)).transpose();
        let embedded = embedded.context(Exit::Failure, damaged)?.flatten();
        let package = self.product.package()?;
        let mut found = embedded.unwrap_or_else(|| metadata.crates(&package.name, &known));
        native::add_bundled(&mut found, metadata)?;
        let (linked, distribution) = linked.unwrap_or_else(|| {
            let why = "only the machine that linked it knows which version that was";
            let unknown = |name: &str| Part { name: name.into(), ..Part::default() }.noted(UNSCANNED, why);
            (["libc", "libgcc", "rust-std"].map(unknown).to_vec(), None)
        });
        found.direct.extend(linked.iter().map(Part::reference));
        found.parts.extend(linked);
        let version = self.release.version.to_string();
        sbom::document(&self.component(&version, platform)?, &found.parts, &found.direct, distribution.as_ref())
    }

    fn bills_file(&self) -> PathBuf {
        self.work("image").join(FILE)
    }

    /// Asks cargo what it resolves for a target. It runs nothing of any crate, and keeps in a folder what it asked a compiler before.
    fn metadata(&self, source: &Path, triple: &str, rustc: Option<&Path>) -> Result<Begun> {
        let folder = self.work("metadata").join(triple);
        files::create_folder(&folder)?;
        let call = tools::cargo()
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", triple])
            .env("CARGO_TARGET_DIR", folder)
            .current_dir(source);
        rustc.map_or(call.clone(), |rustc| call.env("RUSTC", rustc)).env_retain(compile::may_see).begin()
    }
}

fn resolved(asked: Begun) -> Result<Metadata> {
    let failed = || "cannot ask cargo which crates are in the image".to_owned();
    let said = asked.answer()?;
    if said.code != Some(0) {
        return Err(Error::new(Exit::Failure, failed()).because(said.stderr.trim_end()));
    }
    serde_json::from_slice(&said.stdout).context(Exit::Failure, failed)
}
