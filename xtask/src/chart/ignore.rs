//! `.helmignore`, read as Helm reads it (its package `ignore`), quirks included.
//!
//! Two of them surprise people who know `.gitignore`: a rule `!pattern` ignores everything that does *not* match the pattern, and
//! a pattern without a slash is held against the last part of a path only. An archive that differed from `helm package` here would
//! differ in what it installs.

use crate::error::{Error, Exit, Result};

/// The rules of one file, and the one that Helm always adds.
#[derive(Debug)]
pub struct Rules {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    glob: String,
    negated: bool,
    folders_only: bool,
    /// Held against the whole path, not only its last part.
    whole_path: bool,
}

impl Rules {
    /// Reads the file; nothing but Helm's own rule where there is none.
    ///
    /// # Errors
    /// A line holds `**`, which Helm refuses, or a pattern that is not closed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut patterns = Vec::new();
        // Helm drops a byte order mark, and nothing else, before the first line.
        for line in text.trim_start_matches('\u{feff}').lines().chain(["templates/.?*"]) {
            patterns.extend(Pattern::parse(line.trim())?);
        }
        Ok(Rules { patterns })
    }

    /// Whether a file of this path (relative to the chart) is left out, by itself or by a folder above it.
    pub fn ignore_file(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        folders.into_iter().any(|folder| self.ignore(folder, true)) || self.ignore(path, false)
    }

    fn ignore(&self, path: &str, folder: bool) -> bool {
        for pattern in &self.patterns {
            let applies = folder || !pattern.folders_only;
            if pattern.negated {
                if !applies || !pattern.matches(path) {
                    return true;
                }
            } else if applies && pattern.matches(path) {
                return true;
            }
        }
        false
    }
}

impl Pattern {
    fn parse(line: &str) -> Result<Option<Self>> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let wrong = |why| Error::new(Exit::Workspace, format!(".helmignore: `{line}` cannot be used")).because(why);
        if line.contains("**") {
            return Err(wrong("Helm does not support `**`"));
        }
        let (rule, negated) = line.strip_prefix('!').map_or((line, false), |rest| (rest, true));
        let (rule, folders_only) = rule.strip_suffix('/').map_or((rule, false), |rest| (rest, true));
        let whole_path = rule.contains('/');
        let glob = rule.strip_prefix('/').unwrap_or(rule).to_owned();
        if glob_match(&glob, "a").is_none() {
            return Err(wrong("a `[` is not closed, or a `\\` stands at the end"));
        }
        Ok(Some(Pattern { glob, negated, folders_only, whole_path }))
    }

    fn matches(&self, path: &str) -> bool {
        let name = if self.whole_path { path } else { path.rsplit('/').next().unwrap_or(path) };
        glob_match(&self.glob, name) == Some(true)
    }
}

/// Go's `filepath.Match`: `*` and `?` stop at a slash, `[a-z]` and `[^a]` are classes, `\` takes the next character as it is.
/// Nothing where the pattern is malformed.
fn glob_match(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    check(&pattern)?;
    Some(matches(&pattern, &name))
}

/// A pattern is malformed or not as a whole, whatever it is held against.
fn check(mut pattern: &[char]) -> Option<()> {
    while let Some((first, rest)) = pattern.split_first() {
        pattern = match first {
            '[' => class(rest, 'a')?.1,
            '\\' => rest.split_first()?.1,
            _ => rest,
        };
    }
    Some(())
}

fn matches(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    if *first == '*' {
        let reach = name.iter().position(|character| *character == '/').unwrap_or(name.len());
        return (0..=reach).any(|skipped| matches(rest, &name[skipped..]));
    }
    let Some((character, left)) = name.split_first() else { return false };
    match first {
        '?' => *character != '/' && matches(rest, left),
        '[' => class(rest, *character).is_some_and(|(inside, rest)| inside && matches(rest, left)),
        '\\' => rest.split_first().is_some_and(|(exact, rest)| exact == character && matches(rest, left)),
        exact => exact == character && matches(rest, left),
    }
}

/// Reads a class after its `[`: whether the character is in it, and what follows.
fn class(mut pattern: &[char], character: char) -> Option<(bool, &[char])> {
    let negated = pattern.first() == Some(&'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut inside = false;
    let mut ranges = 0;
    loop {
        if pattern.first() == Some(&']') && ranges > 0 {
            return Some((inside != negated, &pattern[1..]));
        }
        let low = class_character(&mut pattern)?;
        let high = if pattern.first() == Some(&'-') {
            pattern = &pattern[1..];
            class_character(&mut pattern)?
        } else {
            low
        };
        inside |= (low..=high).contains(&character);
        ranges += 1;
    }
}

fn class_character(pattern: &mut &[char]) -> Option<char> {
    let (first, rest) = pattern.split_first()?;
    let (character, rest) = match first {
        '-' | ']' => return None,
        '\\' => rest.split_first()?,
        _ => (first, rest),
    };
    // Go wants something after it: a class is closed by a `]`.
    (!rest.is_empty()).then_some(())?;
    *pattern = rest;
    Some(*character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let table = [
            ("*.tgz", "a.tgz", Some(true)),
            ("*", "a/b", Some(false)),
            ("a/*/c", "a/b/c", Some(true)),
            ("a?c", "abc", Some(true)),
            ("a?c", "a/c", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[\\-]", "-", Some(true)),
            ("\\*", "*", Some(true)),
            ("a[", "a", None),
            ("a\\", "a", None),
            ("ü*", "übung", Some(true)),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(glob_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_rule_without_a_slash_is_held_against_the_last_part_and_a_folder_takes_its_files_along() {
        let rules = Rules::parse("*.bak\n/top.txt\ndocs/\na/b.txt\n# comment\n\n").unwrap();
        let ignored = ["x.bak", "a/x.bak", "top.txt", "docs/readme", "a/docs/readme", "a/b.txt", "templates/.hidden"];
        for path in ignored {
            assert!(rules.ignore_file(path), "{path}");
        }
        for path in ["a/top.txt", "docs", "c/a/b.txt", "templates/a.yaml", ".helmignore"] {
            assert!(!rules.ignore_file(path), "{path}");
        }
    }

    #[test]
    fn a_negated_rule_ignores_what_it_does_not_match_as_in_helm() {
        let rules = Rules::parse("!*.yaml\n").unwrap();
        assert!(rules.ignore_file("README.md") && !rules.ignore_file("values.yaml"));
        assert!(rules.ignore_file("templates/a.yaml"), "the folder does not match, and takes its files along");
    }

    #[test]
    fn what_helm_refuses_is_refused() {
        assert!(Rules::parse("a/**/b\n").is_err() && Rules::parse("[\n").is_err());
    }
}
