//! What `cargo xtask` runs in its own place where a target is beyond this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::commands::main(Some(xtask_remote::CONNECTOR))
}
