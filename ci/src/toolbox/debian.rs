//! Packages of Debian and Ubuntu: installed here where we are root, and asked for in one line elsewhere.

use std::path::Path;

use xtask::error::Result;
use xtask::sys::children::Call;
use xtask::sys::files;
use xtask::sys::tools;

/// Packages that are not installed.
pub(crate) struct Packages {
    names: Vec<String>,
}

impl Packages {
    /// Those of a list that these parts need and whose purpose nothing on this machine fulfils; nothing where there are none.
    ///
    /// # Errors
    /// The list cannot be read.
    pub(crate) fn missing(list: &Path, parts: &[&str]) -> Result<Option<Self>> {
        let list = String::from_utf8_lossy(&files::read(list)?.unwrap_or_default()).into_owned();
        let missing = missing_packages(&wanted_packages(&list, parts, &is_there))?;
        let names: Vec<String> = missing.into_iter().map(str::to_owned).collect();
        Ok((!names.is_empty()).then_some(Packages { names }))
    }

    /// What installs them, where root runs it on Debian or Ubuntu.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let call = |words: &Vec<&str>| Call::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive");
        self.commands().iter().map(call).collect()
    }

    /// The same as a line for whoever is not root.
    pub(crate) fn line(&self) -> String {
        let commands = self.commands().into_iter().map(|words| format!("sudo {}", words.join(" ")));
        commands.collect::<Vec<_>>().join(" && ")
    }

    fn commands(&self) -> Vec<Vec<&str>> {
        commands_for(self.names.iter().map(String::as_str).collect())
    }
}

/// The packages of a list that some parts need, and whose purpose is not fulfilled yet.
fn wanted_packages<'l>(list: &'l str, parts: &[&str], is_there: &dyn Fn(&str) -> bool) -> Vec<&'l str> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    let wanted = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let (package, purpose, part) = (words.next()?, words.next(), words.next());
        let is_needed = part.is_none_or(|part| parts.iter().any(|name| name.contains(part)));
        let is_there = purpose.is_some_and(|purpose| purpose.split('|').any(is_there));
        (is_needed && !is_there).then_some(package)
    });
    wanted.collect()
}

/// Whether a package's purpose is fulfilled by whatever else is on this machine.
fn is_there(purpose: &str) -> bool {
    let asked = |arguments: &[&str], below: &str| {
        tools::all_on_path("rustc").iter().any(|rustc| {
            let folder = Call::new(rustc).args(arguments).read();
            folder.is_ok_and(|folder| Path::new(&folder).join(below).is_dir())
        })
    };
    match purpose.strip_prefix("std:") {
        Some(target) => asked(&["--print", "target-libdir", "--target", target], ""),
        None if purpose == "src" => asked(&["--print", "sysroot"], "lib/rustlib/src/rust/library"),
        None if purpose.starts_with('/') => Path::new(purpose).exists(),
        None => tools::on_path(purpose).is_some(),
    }
}

/// Ubuntu's servers have one architecture: another one is only asked for where a package is of it.
fn commands_for(packages: Vec<&str>) -> Vec<Vec<&str>> {
    let foreign = packages.iter().filter_map(|package| Some(package.split_once(':')?.1)).next();
    let architecture = foreign.map(|foreign| vec!["dpkg", "--add-architecture", foreign]);
    let install = [vec!["apt-get", "install", "--yes", "--no-install-recommends"], packages].concat();
    architecture.into_iter().chain([vec!["apt-get", "update"], install]).collect()
}

fn missing_packages<'p>(packages: &[&'p str]) -> Result<Vec<&'p str>> {
    if tools::on_path("dpkg-query").is_none() {
        return Ok(packages.to_vec());
    }
    let mut missing = Vec::new();
    for package in packages {
        let said = Call::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output()?;
        if said.stdout != b"installed" {
            missing.push(*package);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = include_str!("../../test-tools/debian.txt");

    #[test]
    fn a_bare_debian_needs_every_package_and_the_other_architecture() {
        let wanted = wanted_packages(LIST, &["xtask"], &|_| false);
        assert!(wanted.len() > 8 && wanted.contains(&"libstd-rust-web-dev:arm64"), "{wanted:?}");
        assert_eq!(commands_for(wanted)[0], ["dpkg", "--add-architecture", "arm64"]);
    }

    #[test]
    fn a_second_compiler_and_its_architecture_are_not_wanted_where_rustup_has_the_target_and_the_sources() {
        let wanted = wanted_packages(LIST, &["xtask"], &|purpose| purpose.starts_with("std:") || purpose == "src");
        assert!(!wanted.iter().any(|package| package.contains("rust") || package.contains(':')), "{wanted:?}");
        assert_eq!(commands_for(wanted)[0], ["apt-get", "update"]);
    }

    #[test]
    fn what_is_large_is_installed_for_those_who_need_it_and_one_of_several_is_enough() {
        let has_browser = |parts: &[&str], there: &str| {
            wanted_packages(LIST, parts, &|purpose| purpose == there).contains(&"chromium-headless-shell")
        };
        assert!(has_browser(&["xtask", "xtask nightly"], "") && !has_browser(&["xtask"], ""));
        assert!(!has_browser(&["xtask nightly"], "google-chrome"));
    }

    #[test]
    fn what_is_there_from_elsewhere_is_not_installed_again() {
        let wanted = wanted_packages(LIST, &["xtask"], &|purpose| purpose == "runc");
        assert!(!wanted.contains(&"runc") && wanted.contains(&"skopeo"), "{wanted:?}");
        assert!(
            is_there("sh") && is_there("/") && !is_there("no-such-program-here") && !is_there("std:no-such-target")
        );
    }
}
