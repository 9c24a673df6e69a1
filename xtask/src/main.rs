//! `cargo xtask`: reads the command line, runs the command, shows an error, and sets the exit code. All else is the library.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use xtask::cli::{Cli, Command, DeployInfra, OrderArgs, PlaceArgs, Release, Stretch, Verify};
use xtask::config::Workspace;
use xtask::error::{Context, Error, Exit, Result};
use xtask::image::layout;
use xtask::process::Call;
use xtask::release::road::Road;
use xtask::release::version::Word;
use xtask::release::{self, Order};
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
    let word = arguments.version.clone().map(Word::Exact);
    let order = order(OrderArgs { word, place: arguments.place.clone() });
    let road = Road::open(here, &Order { looking: true, ..order })?;
    let _outside = road.outside()?;
    let version = if arguments.newest { road.newest()? } else { Some(road.release.version.clone()) };
    let Some(version) = version else {
        ui::note("Unreleased", "users see no stable version listed yet");
        return print_json(arguments.place.json, &serde_json::Value::Null);
    };
    let proof = road.verify(&version, Duration::from_secs(arguments.wait))?;
    ui::status("Verified", release::verify::shown(&proof));
    let title = format!("Users get {version} from {}", road.release.target.repository);
    ui::summary(&release::verify::page(&title, &[], &proof));
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
    match arguments.stretch {
        Some(stretch) => run_stretch(root, stretch),
        None if arguments.plan => {
            let road = Road::open(root, &order(arguments.order))?;
            let steps = road.plan()?;
            if !json {
                ui::plan(&steps);
            }
            print_json(json, &steps)
        }
        None => {
            let (builder, waivers) = (arguments.builder.builder, arguments.waivers.waivers);
            let (init, push) = (arguments.init, arguments.push);
            let order = Order { init, push, builder, waivers, ..order(arguments.order) };
            print_json(json, &release::run(root, &order)?)
        }
    }
}

fn run_stretch(root: &Path, stretch: Stretch) -> Result<()> {
    let _turn = release::take_turn(root)?;
    // Whoever publishes needs a commit that others can have.
    let publish = |arguments: &OrderArgs| {
        let order = order(arguments.clone());
        Road::open(root, &order)?.settle(&order)
    };
    let look = |word: Option<Word>, place: &PlaceArgs| {
        Road::open(root, &Order { looking: true, ..order(OrderArgs { word, place: place.clone() }) })
    };
    match stretch {
        Stretch::Bump(arguments) => {
            let road = publish(&arguments)?;
            let folder = road.stage()?;
            ui::status("Staged", format_args!("{} in {}", road.release.version, folder.display()));
            print_json(
                arguments.place.json,
                &serde_json::json!({"version": road.release.version.to_string(), "folder": folder}),
            )
        }
        Stretch::Build { order: arguments, builder } => {
            let json = arguments.place.json;
            let order = Order { builder: builder.builder, ..order(arguments) };
            let road = Road::open(root, &order)?;
            road.check_order()?;
            let digest = road.build()?;
            print_json(json, &serde_json::json!({"digest": digest}))
        }
        Stretch::Scan { order: arguments, waivers } => {
            let json = arguments.place.json;
            let order = Order { waivers: waivers.waivers, ..order(arguments) };
            print_json(json, &Road::open(root, &order)?.scan()?)
        }
        Stretch::Push(arguments) => {
            let digest = publish(&arguments)?.push()?;
            print_json(arguments.place.json, &serde_json::json!({"digest": digest}))
        }
        Stretch::Tag { order, digest } => {
            let road = publish(&order)?;
            let digest = match digest {
                Some(digest) => digest,
                None => layout::Layout::read(&root.join("target/xtask/image"))?.digest,
            };
            told(road.tag(&digest)?, order.place.json)
        }
        Stretch::Chart { order, digest } => {
            let road = publish(&order)?;
            let _outside = road.outside()?;
            let digest = digest.map_or_else(|| road.tagged(), Ok)?;
            told(road.publish_only(&digest)?, order.place.json)
        }
        Stretch::Promote(arguments) => told(look(arguments.word, &arguments.place)?.promote()?, arguments.place.json),
        Stretch::Yank { version, reason, place } => told(look(None, &place)?.yank(&version, &reason)?, place.json),
        Stretch::Unyank { version, reason, place } => {
            let road = look(None, &place)?;
            if let Some(reason) = reason {
                ui::note("Reason", reason);
            }
            told(road.unyank(&version)?, place.json)
        }
    }
}

fn order(arguments: OrderArgs) -> Order {
    let PlaceArgs { target, strict, .. } = arguments.place;
    Order { word: arguments.word, target, strict, ..Order::default() }
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
