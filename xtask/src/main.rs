//! `cargo xtask`: everything that needs no more than this machine. `xtask-remote` is the same program with a way beyond it.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::commands::main(None)
}
