//! `cargo xtask`: reads the command line, runs the command, shows an error, and sets the exit code. All else is the library.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use xtask::cli::{Cli, Command, DeployInfra, OrderArgs, PlaceArgs, Release, Stage, Verify};
use xtask::config::Workspace;
use xtask::error::{Context, Error, Exit, Result};
use xtask::image::layout;
use xtask::image::scan::Scanner;
use xtask::image::waivers::Waivers;
use xtask::process::Call;
use xtask::release::destination::Destination;
use xtask::release::pipeline::Pipeline;
use xtask::release::{self, Options};
use xtask::serve;
use xtask::{doctor, tools, ui};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match reach(&cli.command).and_then(|()| run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::from(error.exit as u8)
        }
    }
}

/// Makes sure that this build can reach the command's target: what only targets beyond this machine need is compiled at the first
/// command for one, which then takes this process's place.
fn reach(command: &Command) -> Result<()> {
    #[cfg(feature = "remote")]
    xtask::image::remote::choose_tls();
    let Some(name) = command.target().filter(|_| !cfg!(feature = "remote")) else { return Ok(()) };
    let here = std::env::current_dir().context(Exit::Environment, || "there is no current folder".into())?;
    if !Workspace::find(&here)?.target(name)?.is_remote() {
        return Ok(());
    }
    let words = std::env::args_os().skip(1);
    let cargo = Call::new(tools::cargo()).args(["run", "--locked", "--package", "xtask", "--features", "remote", "--"]);
    Err(cargo.args(words).become_it())
}

fn run(command: Command) -> Result<()> {
    let here = std::env::current_dir().context(Exit::Environment, || "there is no current folder".into())?;
    match command {
        Command::Release(release) => run_release(&here, *release),
        Command::Verify(arguments) => verify(&here, &arguments),
        Command::Serve(arguments) => {
            let workspace = Workspace::find(&here)?;
            let target = workspace.target(&arguments.target)?;
            let folder = workspace.directory(&target).ok_or_else(|| {
                Error::new(Exit::Usage, format!("target `{}` is not a folder", target.name))
                    .because(format!("it is public: {}", target.repository))
                    .remedy("cargo xtask serve serves a rehearsal")
            })?;
            serve::run(&folder, &target, arguments.port.unwrap_or(target.port()), &|| serve::tell(&folder, &target))
        }
        Command::DeployInfra(arguments) => deploy_infra(&here, &arguments),
        Command::Doctor(arguments) => doctor::run(&here, &arguments.target, arguments.json),
        // A package of its own, since releasing does not need it.
        Command::Ci(_) => {
            let words = std::env::args_os().skip(2);
            let call = Call::new(tools::cargo()).args(["run", "--quiet", "--locked", "--package", "ci", "--"]);
            Err(call.args(words).become_it())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "xtask", &mut script);
            ui::result(String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

fn verify(here: &Path, arguments: &Verify) -> Result<()> {
    let workspace = Workspace::find(here)?;
    let destination = Destination::named(&workspace, &arguments.place.target)?;
    let _served = destination.serve()?;
    let version = match &arguments.version {
        _ if arguments.newest => destination.newest()?,
        Some(version) => Some(version.clone()),
        None => Some(workspace.package.version.clone()),
    };
    let Some(version) = version else {
        ui::note("Unreleased", "users see no stable version listed yet");
        return print_json(arguments.place.json, &serde_json::Value::Null);
    };
    let proof = destination.verify(&version, Duration::from_secs(arguments.wait))?;
    ui::status("Verified", release::verify::shown(&proof));
    let title = format!("Users get {version} from {}", destination.target.repository);
    ui::summary(&release::verify::page(&title, &[], &proof));
    if arguments.scan {
        let waivers = Waivers::read(&workspace.root, arguments.waivers.waivers.as_deref())?;
        let image = release::verify::pull(&destination.target, &proof)?;
        let reports = workspace.root.join("target/xtask/scan");
        let verdict = Scanner::find()?.scan(&image, &workspace.package.name, &waivers, &reports)?;
        ui::status("Scanned", format_args!("{} with {}", verdict.digest, verdict.scanner.unwrap_or_default()));
    }
    print_json(arguments.place.json, &proof)
}

#[cfg(feature = "remote")]
fn deploy_infra(here: &Path, arguments: &DeployInfra) -> Result<()> {
    print_json(arguments.json, &xtask::deploy::run(here, arguments)?)
}

/// What is left for a build that reaches no target beyond this machine.
#[cfg(not(feature = "remote"))]
fn deploy_infra(here: &Path, arguments: &DeployInfra) -> Result<()> {
    Err(Workspace::find(here)?.target(&arguments.target)?.no_infrastructure())
}

fn run_release(here: &Path, arguments: Release) -> Result<()> {
    let json = arguments.order.place.json;
    let root = &Workspace::find(here)?.root;
    match arguments.stage {
        Some(stage) => run_stage(root, stage),
        None if arguments.plan => {
            let options =
                Options { push: arguments.push, builder: arguments.builder.builder, ..options(arguments.order) };
            let plan = Pipeline::open(root, &options)?.plan().steps;
            if !json {
                ui::plan(&plan);
            }
            print_json(json, &plan)
        }
        None => {
            let (builder, waivers) = (arguments.builder.builder, arguments.waivers.waivers);
            let (init, push) = (arguments.init, arguments.push);
            let options = Options { init, push, builder, waivers, ..options(arguments.order) };
            print_json(json, &release::apply::run(root, &options)?)
        }
    }
}

fn run_stage(root: &Path, stage: Stage) -> Result<()> {
    let _turn = release::take_turn(root)?;
    // Whoever publishes needs a commit that others can have.
    let bumped = |arguments: &OrderArgs| Pipeline::open(root, &options(arguments.clone()))?.bump();
    let destination = |place: &PlaceArgs| Destination::named(&Workspace::find(root)?, &place.target);
    match stage {
        Stage::Bump(arguments) => {
            let pipeline = bumped(&arguments)?;
            let (folder, version) = (pipeline.stage()?, &pipeline.release.version);
            ui::status("Staged", format_args!("{version} in {}", folder.display()));
            print_json(arguments.place.json, &serde_json::json!({"version": version.to_string(), "folder": folder}))
        }
        Stage::Build { order: arguments, builder, public } => {
            let json = arguments.place.json;
            let options = Options { builder: builder.builder, public, ..options(arguments) };
            let pipeline = Pipeline::open(root, &options)?;
            pipeline.check_order()?;
            print_json(json, &serde_json::json!({"digest": pipeline.build()?}))
        }
        Stage::Scan { order: arguments, waivers, digest } => {
            let json = arguments.place.json;
            let options = Options { waivers: waivers.waivers, ..options(arguments) };
            print_json(json, &Pipeline::open(root, &options)?.scan(digest.as_ref())?)
        }
        Stage::Push { order, digest } => {
            let digest = bumped(&order)?.push(digest.as_ref())?;
            print_json(order.place.json, &serde_json::json!({"digest": digest}))
        }
        Stage::Tag { order, digest } => {
            let pipeline = bumped(&order)?;
            let built = || Ok(layout::Layout::read(&root.join("target/xtask/image"))?.digest);
            told(pipeline.tag(&digest.map_or_else(built, Ok)?)?, order.place.json)
        }
        Stage::Chart { order, digest } => {
            let pipeline = bumped(&order)?;
            let _served = pipeline.destination.serve()?;
            let digest = digest.map_or_else(|| pipeline.tagged(), Ok)?;
            told(pipeline.publish_only(&digest)?, order.place.json)
        }
        Stage::Promote(arguments) => told(destination(&arguments.place)?.promote()?, arguments.place.json),
        Stage::Yank { version, reason, place } => told(destination(&place)?.yank(&version, &reason)?, place.json),
        Stage::Unyank { version, reason, place } => {
            if let Some(reason) = reason {
                ui::note("Reason", reason);
            }
            told(destination(&place)?.unyank(&version)?, place.json)
        }
    }
}

fn options(arguments: OrderArgs) -> Options {
    let PlaceArgs { target, strict, .. } = arguments.place;
    Options { bump: arguments.word, target, strict, ..Options::default() }
}

fn told(changed: bool, json: bool) -> Result<()> {
    if changed {
        ui::status("Done", "");
    } else {
        ui::note("Unchanged", "it was done before; no byte was changed");
    }
    print_json(json, &serde_json::json!({"changed": changed}))
}

fn print_json(wanted: bool, value: &impl serde::Serialize) -> Result<()> {
    if wanted {
        let text = serde_json::to_string_pretty(value);
        ui::result(text.map_err(|error| Error::new(Exit::Failure, "cannot write JSON").because(error))?);
    }
    Ok(())
}
