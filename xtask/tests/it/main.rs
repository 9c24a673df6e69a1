//! The program that people start; what it does on this machine is tested with the one that can do everything (`xtask-remote/tests/it/`).

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]
#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

mod rooms;

/// Runs the program in the workspace that it is part of, with a cargo that prints its arguments, and what it is told of a package, and
/// ends with 42.
fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    std::fs::write(
        &cargo,
        "#!/bin/sh\nfor word; do echo \"[$word]\"; done\nenv | grep '^CARGO_[PM][KA][GN]'\nexit 42\n",
    )
    .unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // As `cargo run` sets it for the program that it runs.
    xtask.env("CARGO_MANIFEST_DIR", "/xtask").env("CARGO_PKG_NAME", "xtask");
    xtask.args(arguments).env("CARGO", cargo).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    xtask.output().unwrap()
}

/// A cargo that is told of the package which called it compiles ring, and what stands above that, once more.
#[test]
fn a_command_for_a_target_beyond_this_machine_is_handed_over_with_its_arguments_alone() {
    let commands: [&[&str]; 4] = [
        &["release", "minor", "--plan", "--to", "production"],
        &["release", "yank", "3.0.0", "--reason", "it's wrong", "--to", "production"],
        &["doctor", "--to", "production"],
        &["deploy-infra"],
    ];
    for words in commands {
        let ended = run(words);
        let given = ["run", "--locked", "--package", "xtask-remote", "--"].iter().chain(words);
        let given: String = given.map(|word| format!("[{word}]\n")).collect();
        assert_eq!((String::from_utf8(ended.stdout).unwrap(), ended.status.code()), (given, Some(42)), "{words:?}");
    }
}

#[test]
fn a_command_for_this_machine_is_not_handed_over() {
    let ended = run(&["completions", "bash"]);
    assert!(ended.status.success() && String::from_utf8(ended.stdout).unwrap().contains("complete"));
    let plan = run(&["deploy-infra", "--to", "local"]);
    assert_eq!(plan.status.code(), Some(2), "{}", String::from_utf8_lossy(&plan.stderr));
}
