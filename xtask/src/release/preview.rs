//! What every step would do, decided without doing any.

use crate::chart::index::FILE;
use crate::error::{Error, Result};
use crate::image::layout::sha256_hex;
use crate::release::plan::{ImagePlan, State, Step};
use crate::release::road::{Road, auditable};
use crate::release::{Release, verify, version};

impl Road {
    /// What every step would do, decided without doing any.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn plan(&self) -> Result<Vec<Step>> {
        let seen = self.look().and_then(|found| {
            let snapshot = self.place.seen()?;
            snapshot.index()?;
            Ok((found, snapshot))
        });
        let (found, snapshot) = match seen {
            Ok(seen) => seen,
            Err(error) if self.release.target.is_remote() => return self.plan_blindly(&error),
            Err(error) => return Err(error),
        };
        let index = snapshot.index()?;
        let version = self.release.version.to_string();
        let adopted = match &found.image {
            ImagePlan::Adopt(facts) => Some(facts),
            _ => None,
        };
        let name = self.chart.archive_name();
        let packed = adopted.map(|image| self.pack(image)).transpose()?.map(|(_, bytes)| bytes);
        let adopted = adopted.map(|image| image.digest.clone());
        let sha256 = packed.as_ref().map(|bytes| sha256_hex(bytes));
        let archive = match (&found.archive, &packed) {
            (None, _) => State::ToDo(name.clone()),
            (Some(there), Some(packed)) if there == packed => State::Done(name.clone()),
            _ => self.other_content(&name),
        };
        let entry = match (index.yanked(&self.chart.name, &version)?, index.find(&self.chart.name, &version)) {
            (Some(yanked), _) => State::Conflict(format!("{version} was yanked: {}", yanked.reason)),
            (None, None) => State::ToDo(format!("list {version} in {FILE}")),
            (None, Some(entry)) if sha256.as_deref() == entry.sha256() => {
                State::Done(format!("{version} is listed in {FILE}"))
            }
            _ => self.other_content(FILE),
        };
        let mut listed = index.versions(&self.chart.name);
        listed.push(self.release.version.clone());
        let floating = version::floating_tags(&listed, &self.workspace.first_version);
        let ours: Vec<String> =
            floating.into_iter().filter(|(_, leader)| *leader == self.release.version).map(|(tag, _)| tag).collect();
        let tag_state = |tags: &[String]| -> Result<State> {
            let text = if tags.is_empty() { "none".into() } else { tags.join(" ") };
            for tag in tags {
                if adopted.is_none() || self.place.registry.resolve(tag)? != adopted {
                    return Ok(State::ToDo(text));
                }
            }
            Ok(State::Done(text))
        };
        let [compile, build, scan] = self.plan_image(&found.image)?;
        let invalidate = self.place.cdn.as_ref().map(|_| ("invalidate", self.plan_invalidate(sha256.as_deref())));
        let states = [
            ("bump", self.plan_bump()),
            ("compile", compile),
            ("build", build),
            ("scan", scan),
            ("push", tag_state(&version::version_tags(&self.release.version))?),
            ("package", archive),
            ("publish", entry),
        ];
        let last = [("promote", tag_state(&ours)?), ("verify", self.plan_verify())];
        Ok(states.into_iter().chain(invalidate).chain(last).map(|(step, state)| Step { step, state }).collect())
    }

    /// The plan of somebody who may not look at the target: what is there decides everything but the build.
    fn plan_blindly(&self, error: &Error) -> Result<Vec<Step>> {
        let [compile, build, scan] = self.plan_image(&ImagePlan::Build)?;
        let unless_there = |state: State| match state {
            State::ToDo(detail) => State::ToDo(format!("{detail}, unless the image is there")),
            state => state,
        };
        let mut steps = vec![("bump", self.plan_bump())];
        steps.extend(
            [("compile", compile), ("build", build), ("scan", scan)].map(|(step, state)| (step, unless_there(state))),
        );
        let unseen = || State::Unknown(error.to_string());
        steps.extend(["push", "package", "publish", "invalidate", "promote"].map(|step| (step, unseen())));
        steps.push(("verify", self.plan_verify()));
        Ok(steps.into_iter().map(|(step, state)| Step { step, state }).collect())
    }

    fn plan_verify(&self) -> State {
        State::ToDo(format!("fetch all of it from {}", self.release.target.repository))
    }

    /// What users see decides, and not what the bucket holds.
    fn plan_invalidate(&self, sha256: Option<&str>) -> State {
        let Release { target, version, .. } = &self.release;
        match verify::listed(target, &self.chart.name, &version.to_string()) {
            Ok(Some(listed)) if Some(listed.as_str()) == sha256 => State::Done("users see this index".into()),
            Ok(_) => State::ToDo(format!("/{FILE} in every cache")),
            Err(error) => State::Unknown(error.to_string()),
        }
    }

    fn plan_bump(&self) -> State {
        let version = &self.release.version;
        if *version == self.workspace.package.version {
            State::Done(format!("{version} is the tree's version"))
        } else {
            let how = if self.release.target.is_remote() { "and is committed" } else { "in a staging copy" };
            State::ToDo(format!("{} becomes {version}, {how}", self.workspace.package.version))
        }
    }

    fn plan_image(&self, image: &ImagePlan) -> Result<[State; 3]> {
        let why = match image {
            ImagePlan::Adopt(facts) => {
                let done = State::Done(format!("image {} is of this source state", facts.digest));
                return Ok([done.clone(), done.clone(), done]);
            }
            ImagePlan::Conflict(error) => {
                let conflict = State::Conflict(error.to_string());
                return Ok([conflict.clone(), conflict.clone(), conflict]);
            }
            ImagePlan::Replace(why) => format!(" again: {why}"),
            ImagePlan::Build => String::new(),
        };
        let toolchains = self.toolchains()?;
        let found: Vec<String> = toolchains
            .found
            .iter()
            .map(|(platform, toolchain)| format!("{platform} with {}", toolchain.version))
            .collect();
        let missing: Vec<String> = toolchains
            .missing
            .iter()
            .map(|(platform, missing)| format!("; {platform} is left out: {}", missing.why))
            .collect();
        let scan = match self.scanner(auditable())? {
            Ok(scanner) => State::ToDo(scanner.label),
            Err(reason) => State::Done(format!("skipped: {reason}")),
        };
        Ok([
            State::ToDo(format!("{}{}", found.join(", "), missing.concat())),
            State::ToDo(format!("an image for {} platforms{why}", found.len())),
            scan,
        ])
    }

    fn other_content(&self, what: &str) -> State {
        if self.strict {
            State::Conflict(format!("{what} is already published with other content"))
        } else {
            State::ToDo(format!("{what}, again: its sources changed since it was rehearsed"))
        }
    }
}
