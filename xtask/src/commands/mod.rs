//! The command line: one module for each verb, with its arguments and what it calls. Decisions are elsewhere.
//!
//! Two programs share it. `xtask` is what people start, and reaches nothing beyond this machine; where a command's target is there, cargo
//! runs `xtask-remote` in its place with the same arguments. So a newcomer's first command compiles no AWS SDK, no registry client and no TLS.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::{Product, RESERVED, Workspace};
use crate::connector::Connector;
use crate::error::{Context, Error, Exit, Result};
use crate::sys::tools;
use crate::ui;

pub mod ci;
pub mod completions;
pub mod deploy_infra;
pub mod doctor;
pub mod release;
pub mod scan;
pub mod serve;
pub mod verify;

/// Releases this workspace: image, chart, and the places they are published to.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    max_term_width = 120,
    after_help = "\
Examples:
  cargo xtask release              rehearse a release into target/release-local
  cargo xtask release minor --plan what a minor release would do, without doing it
  cargo xtask release NAME minor   releases the next minor version of the product NAME, where there are several
  cargo xtask serve                a chart repository and an image registry on one port
  cargo xtask ci                   every check that CI makes

Exit codes are listed in README.md."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build, scan, publish and verify a version, or take some of these steps
    Release(Box<release::Release>),
    /// Fetch a published version as an anonymous user would, and compare digests
    Verify(verify::Verify),
    /// Scan published images with the database of the day, as an anonymous user gets them
    Scan(scan::Scan),
    /// Serve a rehearsed release: chart repository and read-only image registry on one port
    Serve(serve::Serve),
    /// Deploy the bucket, the distribution and the DNS records that charts are hosted by
    DeployInfra(deploy_infra::DeployInfra),
    /// Say what this machine lacks for a target, all at once; --repair: what is wrong with what is published there
    Doctor(doctor::Doctor),
    /// Check everything that CI checks
    Ci(ci::Ci),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Where a command runs, and what it can reach.
struct Session {
    here: PathBuf,
    connector: Option<Connector>,
    /// The one of several products that it is for, once that is known.
    product: OnceCell<String>,
}

/// What commands for one target take.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// The target, one of [workspace.metadata.release.targets]
    #[arg(long = "to", value_name = "TARGET", default_value = "local")]
    target: String,
    /// Never replace what is published, as production does
    #[arg(long)]
    strict: bool,
    /// Print the result as JSON on standard output
    #[arg(long)]
    json: bool,
}

/// What the image's scan is told.
#[derive(Clone, Debug, Args)]
pub struct WaiversArgs {
    /// The file of waivers [default: waivers.toml in the workspace root, where there is one]
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,
}

/// Reads the command line, runs the command, shows an error, and gives the exit code.
pub fn main(connector: Option<Connector>) -> ExitCode {
    let Cli { command } = Cli::parse();
    let here = std::env::current_dir().context(Exit::Environment, || "there is no current folder".into());
    let session = here.map(|here| Session { here, connector, product: OnceCell::new() });
    let run = |session: Session| {
        let ran = command.hand_over(&session).and_then(|()| command.run(&session));
        ran.map_err(|error| naming(error, session.product.get().map(String::as_str)))
    };
    match session.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::from(error.exit as u8)
        }
    }
}

impl Command {
    /// The target that the command is for, where it is for one.
    fn target(&self) -> Option<&str> {
        match self {
            Command::Release(release) => release.to().map(|to| &*to.target),
            Command::Verify(verify) => Some(&verify.to.target),
            Command::Scan(scan) => Some(&scan.to.target),
            Command::DeployInfra(deploy) => Some(&deploy.target),
            Command::Serve(serve) => Some(&serve.target),
            Command::Doctor(doctor) => Some(&doctor.target),
            Command::Ci(_) | Command::Completions(_) => None,
        }
    }

    /// Replaces this program by the one that can reach the command's target, where this one cannot.
    fn hand_over(&self, session: &Session) -> Result<()> {
        let Some(name) = self.target().filter(|_| session.connector.is_none()) else { return Ok(()) };
        if session.workspace()?.target(name)?.is_remote() {
            return Err(instead(&["--package", "xtask-remote"], 1));
        }
        Ok(())
    }

    fn run(self, session: &Session) -> Result<()> {
        match self {
            Command::Release(release) => release.run(session),
            Command::Verify(verify) => verify.run(session),
            Command::Scan(scan) => scan.run(session),
            Command::Serve(serve) => serve.run(session),
            Command::DeployInfra(deploy) => deploy.run(session),
            Command::Doctor(doctor) => doctor.run(session),
            // A package of its own, since releasing does not need it.
            Command::Ci(_) => Err(instead(&["--quiet", "--package", "ci"], 2)),
            Command::Completions(completions) => {
                completions.run();
                Ok(())
            }
        }
    }
}

impl Session {
    fn workspace(&self) -> Result<Workspace> {
        Workspace::find(&self.here)
    }

    /// The product that words name, which nobody has to where there is only one, and what the words after it say. A git tag is both.
    fn named<T>(&self, words: &[String], read: impl Fn(&str) -> Result<T, String>) -> Result<(Product, Vec<T>)> {
        let workspace = self.workspace()?;
        let words: Vec<&str> = words.iter().flat_map(|word| word.splitn(2, '/')).collect();
        let is_product = |word: &&str| workspace.product(Some(word)).is_ok();
        let name = words.first().copied().filter(is_product);
        let rest = &words[name.iter().len()..];
        let said = rest.iter().map(|word| {
            read(word).map_err(|why| match workspace.product(Some(word)) {
                Err(error) if workspace.products.len() > 1 => error.because(why),
                _ => Error::new(Exit::Usage, why),
            })
        });
        let said = said.collect::<Result<Vec<T>>>()?;
        let product = workspace.product(name)?.clone();
        self.is_for(&product);
        Ok((product, said))
    }

    /// The same for what is done to every product where none is named.
    fn named_or_all<T>(
        &self,
        words: &[String],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(Vec<Product>, Vec<T>)> {
        if words.is_empty() {
            return Ok((self.workspace()?.products, Vec::new()));
        }
        self.named(words, read).map(|(product, said)| (vec![product], said))
    }

    /// Notes the product that remedies have to name.
    fn is_for(&self, product: &Product) {
        if let Some(name) = &product.name {
            self.product.get_or_init(|| name.clone());
        }
    }

    /// The same where at most one word follows.
    fn named_one<T>(&self, words: &[String], read: impl Fn(&str) -> Result<T, String>) -> Result<(Product, Option<T>)> {
        let (product, mut said) = self.named(words, read)?;
        match said.len() {
            0 | 1 => Ok((product, said.pop())),
            _ => Err(Error::new(Exit::Usage, format!("this is too much: {}", words.join(" ")))
                .because("there is one version for one product")),
        }
    }
}

/// The same error, whose remedies name the product where they name one of its versions: `cargo xtask release 1.2.3`.
fn naming(mut error: Error, product: Option<&str>) -> Error {
    let Some(product) = product else { return error };
    for remedy in &mut error.remedies {
        *remedy = named_for(remedy, product);
    }
    error
}

/// A remedy with the product's name where its command takes it: before the version, after a step's name.
fn named_for(remedy: &str, product: &str) -> String {
    const COMMANDS: [&str; 2] = ["cargo xtask release ", "cargo xtask doctor "];
    let is_bump =
        |word: &str| ["patch", "minor", "major"].contains(&word) || word.starts_with(|c: char| c.is_ascii_digit());
    for command in COMMANDS {
        let Some((before, after)) = remedy.split_once(command) else { continue };
        let word = after.split(' ').next().unwrap_or_default();
        let skipped = match word {
            word if is_bump(word) || command == COMMANDS[1] => "",
            word if RESERVED.contains(&word) => word,
            _ => continue,
        };
        let rest = after[skipped.len()..].trim_start();
        let step = if skipped.is_empty() { String::new() } else { format!("{skipped} ") };
        return format!("{before}{command}{step}{product} {rest}").trim_end().to_owned();
    }
    remedy.to_owned()
}

/// Has cargo run another package's program in the place of this one, with all of its arguments but the first `skipped`. Returns only on
/// failure.
fn instead(package: &[&str], skipped: usize) -> Error {
    let cargo = tools::cargo().args(["run", "--locked"]).args(package).args(["--"]);
    cargo.args(std::env::args_os().skip(skipped)).exec()
}

fn print_json(wanted: bool, value: &impl Serialize) -> Result<()> {
    if wanted {
        let text = serde_json::to_string_pretty(value);
        ui::result(text.context(Exit::Failure, || "cannot write JSON".into())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_product_can_be_called_what_release_takes_for_something_else() {
        let command = Cli::command();
        let stages = command.find_subcommand("release").unwrap().get_subcommands();
        let stages =
            stages.map(|stage| stage.get_name().to_owned()).chain(["patch", "minor", "major"].map(str::to_owned));
        let missing: Vec<String> = stages.filter(|name| !RESERVED.contains(&name.as_str())).collect();
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn a_remedy_names_the_product_before_its_version_and_nowhere_else() {
        let said =
            |remedy: &str| naming(Error::new(Exit::Conflict, "x").remedy(remedy), Some("web")).remedies.remove(0);
        assert_eq!(
            said("or take the next: cargo xtask release 1.0.1"),
            "or take the next: cargo xtask release web 1.0.1"
        );
        assert_eq!(said("cargo xtask release unyank 1.0.1"), "cargo xtask release unyank web 1.0.1");
        assert_eq!(said("cargo xtask release patch"), "cargo xtask release web patch");
        assert_eq!(said("cargo xtask release scan --digest x"), "cargo xtask release scan web --digest x");
        assert_eq!(said("cargo xtask doctor --repair"), "cargo xtask doctor web --repair");
        assert_eq!(said("cargo xtask release build, scan and push"), "cargo xtask release build, scan and push");
    }
}
