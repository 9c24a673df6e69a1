//! The runbook's commands, taken from its text and run as somebody in trouble would, in one shell, on real servers.

#![expect(clippy::disallowed_methods, reason = "tests set up files and processes of their own")]

use std::process::Command;

use crate::production::Production;
use crate::support::{Run, blocks, tool};

/// The commands of the page, in their order.
fn commands() -> Vec<String> {
    let page = include_str!("../../../docs/runbook.md");
    blocks(page, "sh").map(str::to_owned).collect()
}

struct Shell<'p> {
    production: &'p Production,
    programs: tempfile::TempDir,
}

impl<'p> Shell<'p> {
    /// Nothing where the AWS command line is not installed.
    fn new(production: &'p Production) -> Option<Self> {
        let programs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(tool("aws")?, programs.path().join("aws")).unwrap();
        // What `cargo xtask` is, without compiling it once more.
        let cargo = programs.path().join("cargo");
        crate::support::script(&cargo, &format!("shift\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask-remote")));
        Some(Shell { production, programs })
    }

    fn run(&self, script: &str, variables: &[(&str, &str)]) -> Run {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).current_dir(self.production.demo.root());
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.programs.path().display()));
        command.env("AWS_PAGER", "");
        command.env("AWS_ENDPOINT_URL", self.production.cloudfront.proxy.url());
        command.env("AWS_ENDPOINT_URL_S3", self.production.s3.url());
        command.envs(variables.iter().copied());
        Run::of(self.production.equip(command))
    }
}

#[test]
fn x3_h6_every_command_of_the_runbook_does_what_the_runbook_says() {
    let Some(production) = Production::new() else { return };
    let Some(shell) = Shell::new(&production) else { return };
    let commands = commands();
    let [left, look, mend, yank, unyank, find, restore, verify] = commands.as_slice() else { panic!("{commands:?}") };
    assert!(shell.run(left, &[]).ok().stdout.contains("to do"), "nothing was released yet");
    production.release(&[]).ok();
    assert_eq!(production.versions(1), ["1.0.0"]);
    let index = production.store.get("index.yaml").unwrap().body;
    production.store.put("index.yaml", &index, &[]);
    production.edge.caches().invalidate(&["/index.yaml".into()]);
    assert!(shell.run(look, &[]).ok().stderr.contains("index.yaml is sent with content-type"));
    shell.run(mend, &[]).ok();
    assert!(!shell.run(look, &[]).ok().stderr.contains("to mend"), "all is as it should be");
    shell.run(yank, &[("VERSION", "1.0.0")]).ok();
    assert!(production.versions(1).is_empty());
    shell.run(unyank, &[("VERSION", "1.0.0")]).ok();
    assert_eq!(production.versions(1), ["1.0.0"]);
    let good = production.store.versions("index.yaml").remove(0);
    let before = production.objects();
    production.store.put("index.yaml", b"entries: [", &[]);
    production.xtask(&["release", "--to", "production"]).fails(6, "index.yaml cannot be used");
    let find = find.replace("STACK=kube9-operator-charts", "STACK=demo-charts");
    assert!(shell.run(&find, &[]).ok().stdout.contains(&good), "the version to go back to is shown");
    shell.run(&format!("{find}\n{restore}"), &[("VERSION_ID", &good)]).ok();
    std::fs::remove_file(production.demo.root().join("index.yaml")).unwrap();
    assert!(production.objects() == before, "everything is as it was");
    shell.run(verify, &[]).ok();
}
