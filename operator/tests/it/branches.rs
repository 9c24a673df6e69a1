//! The chart with a note at every branch of its templates, which tells which of them were taken.
//!
//! A note is an assignment: it prints nothing, so that what is rendered stays as it is.

use std::collections::BTreeSet;

use crate::chart::Rendered;
use crate::helm::{Copy, files};

pub(crate) struct Noted {
    pub(crate) chart: Copy,
    /// Each with its place and the words that lead to it; none for one where rendering ends.
    branches: Vec<Option<String>>,
}

impl Noted {
    pub(crate) fn new() -> Self {
        let chart = Copy::new();
        let mut branches = Vec::new();
        for file in files(chart.path()).into_iter().filter(|file| file.starts_with("templates/")) {
            let text = std::fs::read_to_string(chart.path().join(&file)).unwrap();
            chart.write(&file, &with_notes(&file, &text, &mut branches));
        }
        // Helm renders the name that sorts first last.
        chart.write("templates/0.yaml", "kind: Branches\ntaken: {{ keys .Values | toJson }}\n");
        Self { chart, branches }
    }

    /// Those that none of these took.
    pub(crate) fn missed(&self, rendered: &[Rendered]) -> Vec<&String> {
        let notes = rendered.iter().flat_map(|rendered| rendered.of_kind("Branches"));
        let taken: BTreeSet<usize> = notes
            .flat_map(|note| note["taken"].as_array().unwrap())
            .filter_map(|key| key.as_str()?.strip_prefix("branch-")?.parse().ok())
            .collect();
        let branches = self.branches.iter().enumerate();
        branches.filter(|(number, _)| !taken.contains(number)).filter_map(|(_, branch)| branch.as_ref()).collect()
    }
}

/// An `if` or `with` has two ways, also where only one is written.
struct Block {
    start: String,
    has_two_ways: bool,
}

fn with_notes(file: &str, text: &str, branches: &mut Vec<Option<String>>) -> String {
    let mut noted = String::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let is_comment = after.trim_start_matches(['-', ' ']).starts_with("/*");
        let end = if is_comment { after.find("*/").unwrap() } else { 0 };
        let end = end + after[end..].find("}}").unwrap();
        let (inner, left) = (&after[..end], &after[end + 2..]);
        let words = inner.trim_matches(['-', ' ']);
        let mut note = |place: &str| {
            branches.push(Some(format!("{file}: {place}")));
            let trim = if inner.ends_with('-') { "-" } else { "" };
            format!("{{{{ $_ := set $.Values \"branch-{}\" true {trim}}}}}", branches.len() - 1)
        };
        let (mut first, mut second) = (String::new(), String::new());
        match words.split(' ').next().unwrap() {
            keyword @ ("if" | "with" | "range") => {
                blocks.push(Block { start: words.to_owned(), has_two_ways: keyword != "range" });
                second = note(words);
            }
            "define" => blocks.push(Block { start: words.to_owned(), has_two_ways: false }),
            "else" => {
                let block = blocks.last_mut().unwrap();
                block.has_two_ways = words != "else";
                second = note(&format!("{words} of {}", block.start));
            }
            "end" => {
                let block = blocks.pop().unwrap();
                if block.has_two_ways {
                    let trim = if inner.starts_with('-') { "-" } else { "" };
                    first = format!("{{{{{trim} else }}}}{}", note(&format!("not {}", block.start)));
                }
            }
            "fail" => *branches.last_mut().unwrap() = None,
            _ => {}
        }
        noted.push_str(&format!("{before}{first}{{{{{inner}}}}}{second}"));
        rest = left;
    }
    noted + rest
}

mod tests {
    use super::*;

    #[test]
    fn the_notes_themselves_stand_in_every_branch_and_nowhere_else() {
        let mut branches = Vec::new();
        let text = "{{/* {{ if }} */}}{{ define \"a\" }}x{{- if .b -}} y {{ else if .c }}z{{ end }}{{ end }}{{ with .d }}{{ fail .e }}{{ end }}";
        let noted = with_notes("f", text, &mut branches);
        let expected = ["f: if .b", "f: else if .c of if .b", "f: not if .b", "", "f: not with .d"];
        assert_eq!(branches.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>(), expected);
        let without = noted.split("{{ $_").map(|part| part.split_once("}}").map_or(part, |(_, rest)| rest));
        assert!(noted.contains("{{- if .b -}}{{ $_ := set $.Values \"branch-0\" true -}} y"), "{noted}");
        assert!(noted.contains("z{{ else }}{{ $_ := set $.Values \"branch-2\" true }}{{ end }}"), "{noted}");
        assert_eq!(without.count(), 6);
    }
}
