//! Imports point downwards: what a module is made of can be read without what is made of it.

use std::path::Path;

/// The rooms of all packages, from the highest to the lowest. Each knows itself and those after it, and nothing before.
const ORDER: [&str; 40] = [
    "xtask_remote::main",
    "xtask::main",
    "xtask::lib",
    "xtask_remote::lib",
    "xtask::commands",
    "xtask::release",
    "xtask_remote::deploy",
    "xtask_remote::cloudfront",
    "xtask_remote::s3",
    "xtask_remote::aws",
    "xtask_remote::registry",
    "xtask_remote::public",
    "xtask_remote::tls",
    "xtask::connector",
    "xtask::local",
    "xtask::trust",
    "xtask::image",
    "xtask::chart",
    "xtask::git",
    "xtask::config",
    "xtask::oci",
    "xtask::ui",
    "xtask::sys",
    "xtask::error",
    "operator::main",
    "operator::serve",
    "operator::cli",
    "operator::query",
    "operator::http",
    "operator::collection",
    "operator::argocd",
    "operator::events",
    "operator::leadership",
    "operator::status",
    "operator::kubernetes",
    "operator::runtime",
    "operator::config",
    "operator::output",
    "operator::text",
    "operator::time",
];

#[test]
fn no_import_runs_upwards() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut wrong = Vec::new();
    for package in ["xtask", "xtask-remote", "operator"] {
        let source = workspace.join(package).join("src");
        for (path, text) in sources(&source, "") {
            wrong.extend(upwards(&package.replace('-', "_"), &path, &text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_that_runs_upwards_is_found_however_it_is_written() {
    let found = |path: &str, text: &str| upwards("xtask", path, text).len();
    for text in [
        "use crate::release::version;",
        "use crate::{error::Error, release::version};",
        "let version = crate::release::version::parse(text);",
        "use xtask::release::version;",
        "use super::super::release::version;",
    ] {
        assert_eq!(found("git/tag.rs", text), 1, "{text}");
    }
    assert_eq!(found("git/mod.rs", "use super::release;"), 1);
    assert_eq!(upwards("operator", "runtime/state.rs", "use crate::argocd::Known;").len(), 1);
    assert_eq!(found("unknown.rs", "use crate::error::Error;"), 1, "every room has its place");
    assert_eq!(
        found("git/tag.rs", "use super::Repository;\n/// As `crate::release`.\nuse crate::{error, sys::files};"),
        0
    );
}

/// The imports of a file that lead to a room above its own.
fn upwards(package: &str, path: &str, text: &str) -> Vec<String> {
    let name = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let room = format!("{package}::{name}");
    let Some(own) = rank(&room) else { return vec![format!("{path}: the room {room} has no place in the order")] };
    // What tests use beside what they test is no part of the room.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
    let code: Vec<&str> = code.filter(|line| !line.trim_start().starts_with("//")).collect();
    let used = rooms_in(&code.join("\n"), package, path);
    let used = used.into_iter().filter(|used| *used != room && rank(used).is_some_and(|rank| rank <= own));
    used.map(|used| format!("{package}/src/{path} uses {used}, which is not below {room}")).collect()
}

fn rank(room: &str) -> Option<usize> {
    ORDER.iter().position(|known| *known == room)
}

/// The rooms that a text names.
fn rooms_in(code: &str, package: &str, path: &str) -> Vec<String> {
    let depth = path.matches('/').count() + usize::from(!path.ends_with("mod.rs"));
    let root = format!("use {}", "super::".repeat(depth));
    let starts =
        [("crate::", package), ("xtask::", "xtask"), ("xtask_remote::", "xtask_remote"), (root.as_str(), package)];
    let mut rooms = Vec::new();
    for (start, package) in starts {
        // `xtask::` is the end of nothing longer, such as `notxtask::`.
        let places = code
            .match_indices(start)
            .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        for (at, _) in places {
            let rest = &code[at + start.len()..];
            let names = rest.strip_prefix('{').map_or_else(|| vec![rest], |group| parts(group));
            rooms.extend(names.into_iter().map(|name| format!("{package}::{}", word(name))));
        }
    }
    rooms
}

/// The parts of a group of imports, up to its closing brace.
fn parts(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts
}

fn word(text: &str) -> &str {
    text.trim_start().split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default()
}

/// Every source file below a folder, by its path there.
fn sources(folder: &Path, below: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder.join(below)).unwrap().map(|entry| entry.unwrap());
    let found = entries.flat_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match entry.path().is_dir() {
            true => sources(folder, &path),
            false => vec![(path, std::fs::read_to_string(entry.path()).unwrap())],
        }
    });
    found.filter(|(path, _)| path.ends_with(".rs")).collect()
}
