//! The README says what is true.

use xtask::error::Exit;

use crate::support::root;

#[path = "../../../xtask/benches/table.rs"]
mod table;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn the_readmes_figures_are_those_of_the_benchmarks() {
    for readme in table::READMES {
        let text = std::fs::read_to_string(root().join(readme.path)).unwrap();
        let expected = readme.with_table(&text, &root());
        assert_eq!(Some(text), expected, "`cargo bench --package xtask -- tables` writes {}", readme.path);
    }
}

#[test]
fn the_readme_lists_every_exit_code_and_no_other() {
    let readme = readme();
    let (_, codes) = readme.split_once("## Exit codes").unwrap();
    let listed = codes.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse::<u8>().ok());
    let known = std::iter::once(0).chain(Exit::ALL.map(|exit| exit as u8));
    assert_eq!(listed.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}

#[test]
fn every_command_that_the_readme_names_exists() {
    for words in readme().split("`cargo xtask ").skip(1) {
        let command = words.split(['`', ' ', '[']).next().unwrap();
        let help = crate::support::Run::of({
            let mut help = crate::support::xtask();
            help.args([command, "--help"]);
            help
        });
        assert_eq!(help.code, Some(0), "cargo xtask {command}");
    }
}
