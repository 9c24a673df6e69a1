//! `cargo xtask ci`: everything that CI checks. CI itself runs nothing else.
//!
//! `parts.rs` says what there is to check, `run.rs` runs it, `tests.rs` compiles and starts the tests, `toolbox/` installs the
//! programs that they need, and `memory.rs` gives them a place for their files.

use std::process::ExitCode;

use clap::Parser;
use xtask::commands::ci::Ci;
use xtask::ui;

mod advisories;
mod memory;
mod parts;
mod run;
mod tests;
mod toolbox;

/// Checks everything that CI checks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask ci", bin_name = "cargo xtask ci", max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    ci: Ci,
}

fn main() -> ExitCode {
    match run::run(&Cli::parse().ci) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::from(error.exit as u8)
        }
    }
}
