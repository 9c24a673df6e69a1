//! Patterns of paths as `@actions/glob` has them, as far as our workflows use them.

use std::path::{Path, PathBuf};

/// Whether a path is one that a pattern means: `*` within a part, `**` for any number of parts.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    parts_match(&pattern, &path)
}

fn parts_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| parts_match(rest, &path[skipped..])),
        ([part, pattern @ ..], [name, path @ ..]) => part_matches(part, name) && parts_match(pattern, path),
        _ => false,
    }
}

fn part_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| part_matches(rest, &name[at..]))
        }),
    }
}

/// Every file below a folder, by its path within it, links followed, in order.
pub fn below(folder: &Path, hidden: bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(folder, Path::new(""), hidden, &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, within: &Path, hidden: bool, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        let (path, within) = (folder.join(&name), within.join(&name));
        match path.metadata() {
            _ if !hidden && name.to_string_lossy().starts_with('.') => {}
            Ok(data) if data.is_dir() => collect(&path, &within, hidden, files),
            Ok(_) => files.push(within),
            // A link that leads nowhere.
            Err(_) => {}
        }
    }
}
