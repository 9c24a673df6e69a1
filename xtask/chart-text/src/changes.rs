//! What changed in a version: its section of a changelog in the format of "Keep a Changelog", as data and as HTML.

use std::collections::HashMap;

use crate::html::{Html, is_web, put};

/// The blocks of a version's section, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<Block>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    /// `### Added`.
    Heading(String),
    /// `- what was added`.
    Item(String),
    Paragraph(String),
}

/// One thing that changed, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What it stands below: `Added`; empty where it stands below nothing.
    pub heading: String,
    /// What changed.
    pub text: String,
    /// The links in it: what they are called, and where they lead.
    pub links: Vec<(String, String)>,
}

/// What a changelog says of each version.
pub fn of_changelog(text: &str) -> HashMap<String, Changes> {
    let mut sections = HashMap::new();
    for section in text.split("\n## ").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        let changes = Changes::parse(body);
        if !changes.0.is_empty() {
            sections.entry(name_in(heading).to_owned()).or_insert(changes);
        }
    }
    sections
}

/// A version's section of a changelog as Markdown, without its heading, and with the references that it uses.
pub fn section(text: &str, version: &str) -> Option<String> {
    let sections = text.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    let (_, body) = sections.into_iter().find(|(heading, _)| name_in(heading) == version)?;
    let own = body.lines().filter(|line| !is_reference(line)).collect::<Vec<_>>().join("\n");
    let is_used = |line: &&str| is_reference(line) && own.contains(&line[..=line.find(']').unwrap_or(0)]);
    let references: Vec<&str> = text.lines().filter(is_used).collect();
    let section = [own.trim(), &references.join("\n")].join("\n\n");
    Some(section.trim().to_owned()).filter(|section| !section.is_empty())
}

/// The version that a heading is of: `[3.1.0] - 2026-02-03`, `v3.1.0`.
fn name_in(heading: &str) -> &str {
    heading.trim_start_matches(['[', 'v']).split([']', ' ']).next().unwrap_or_default()
}

impl Changes {
    /// Reads a version's section, without its heading.
    pub fn parse(text: &str) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let mut ended = true;
        for line in text.lines() {
            let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let item = words.strip_prefix("- ").or_else(|| words.strip_prefix("* "));
            if words.is_empty() || is_reference(&words) {
                ended = true;
            } else if let Some(heading) = words.strip_prefix("### ") {
                blocks.push(Block::Heading(heading.into()));
                ended = true;
            } else if let Some(item) = item {
                blocks.push(Block::Item(item.into()));
                ended = false;
            } else if let Some(Block::Item(text) | Block::Paragraph(text)) = blocks.last_mut().filter(|_| !ended) {
                *text += " ";
                *text += &words;
            } else {
                blocks.push(Block::Paragraph(words));
                ended = false;
            }
        }
        Changes(blocks)
    }

    /// Each thing that changed, in its order.
    pub fn points(&self) -> Vec<Point> {
        let mut heading = String::new();
        let mut points = Vec::new();
        for block in &self.0 {
            match block {
                Block::Heading(text) => heading.clone_from(text),
                Block::Item(text) => points.push(Point::of(&heading, text)),
                Block::Paragraph(_) => {}
            }
        }
        points
    }

    pub(crate) fn put(&self, html: &mut Html) {
        put!(html, "<div class=\"changes\">\n");
        let mut in_list = false;
        for block in &self.0 {
            let is_item = matches!(block, Block::Item(_));
            match (in_list, is_item) {
                (false, true) => put!(html, "<ul>\n"),
                (true, false) => put!(html, "</ul>\n"),
                _ => {}
            }
            in_list = is_item;
            match block {
                Block::Heading(text) => put!(html, "<h4>{}</h4>\n", text),
                Block::Item(text) => {
                    put!(html, "<li>");
                    put_inline(text, html);
                    put!(html, "</li>\n");
                }
                Block::Paragraph(text) => {
                    put!(html, "<p>");
                    put_inline(text, html);
                    put!(html, "</p>\n");
                }
            }
        }
        if in_list {
            put!(html, "</ul>\n");
        }
        put!(html, "</div>\n");
    }
}

/// `[3.0.0]: https://…`, which gives a heading its link.
fn is_reference(line: &str) -> bool {
    line.starts_with('[') && line.split_once("]: ").is_some_and(|(_, url)| is_web(url))
}

impl Point {
    fn of(heading: &str, markdown: &str) -> Self {
        let mut point = Point { heading: heading.to_owned(), text: String::new(), links: Vec::new() };
        for span in spans(markdown) {
            match span {
                Span::Text(text) | Span::Code(text) => point.text += text,
                Span::Link(label, url) => {
                    point.text += label;
                    point.links.push((label.to_owned(), url.to_owned()));
                }
            }
        }
        point
    }
}

/// The part of Markdown that changelogs write within a line. Anything else is text.
enum Span<'t> {
    Text(&'t str),
    Code(&'t str),
    /// Label and address.
    Link(&'t str, &'t str),
}

fn spans(text: &str) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '[']) {
        let (before, marked) = rest.split_at(at);
        spans.push(Span::Text(before));
        if let Some((code, after)) = marked.strip_prefix('`').and_then(|inner| inner.split_once('`')) {
            spans.push(Span::Code(code));
            rest = after;
        } else if let Some((label, url, after)) = link(marked) {
            spans.push(Span::Link(label, url));
            rest = after;
        } else {
            spans.push(Span::Text(&marked[..1]));
            rest = &marked[1..];
        }
    }
    spans.push(Span::Text(rest));
    spans
}

fn put_inline(text: &str, html: &mut Html) {
    for span in spans(text) {
        match span {
            Span::Text(text) => put!(html, "{}", text),
            Span::Code(code) => put!(html, "<code>{}</code>", code),
            Span::Link(label, url) => put!(html, "<a href=\"{}\">{}</a>", url, label),
        }
    }
}

/// `[label](url)`: both, and what follows.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (label, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (url, after) = rest.split_once(')')?;
    (is_web(url) && !label.is_empty()).then_some((label, url, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n## [3.1.0] - 2026-02-03\n\nBetter.\n\n### Added\n\n- one `a < b`,\n  \
        and [more](https://example.com/?a&b)\n- two\n\n### Fixed\n- [no](javascript:alert(1)) ` [\n\n## v3.0.0\n- first\n\n[3.1.0]: https://x\n";

    fn shown(changes: &Changes) -> String {
        let mut html = Html::default();
        changes.put(&mut html);
        html.into_text()
    }

    #[test]
    fn a_section_becomes_headings_lists_code_and_links_and_nothing_else_becomes_markup() {
        let sections = of_changelog(CHANGELOG);
        let mut names: Vec<_> = sections.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["3.0.0", "3.1.0"], "nothing is said of what is not released");
        assert_eq!(
            shown(&sections["3.1.0"]),
            "<div class=\"changes\">\n<p>Better.</p>\n<h4>Added</h4>\n<ul>\n\
             <li>one <code>a &lt; b</code>, and <a href=\"https://example.com/?a&amp;b\">more</a></li>\n<li>two</li>\n</ul>\n\
             <h4>Fixed</h4>\n<ul>\n<li>[no](javascript:alert(1)) ` [</li>\n</ul>\n</div>\n"
        );
        assert_eq!(shown(&sections["3.0.0"]).matches("<li>first</li>").count(), 1, "references are left out");
    }

    #[test]
    fn what_changed_is_told_point_by_point_as_text_with_its_links() {
        let points = of_changelog(CHANGELOG)["3.1.0"].points();
        let link = ("more".to_owned(), "https://example.com/?a&b".to_owned());
        let added =
            |text: &str, links: &[_]| Point { heading: "Added".into(), text: text.into(), links: links.to_vec() };
        assert_eq!(points[..2], [added("one a < b, and more", &[link]), added("two", &[])]);
        assert_eq!((&*points[2].heading, &*points[2].text), ("Fixed", "[no](javascript:alert(1)) ` ["));
        assert_eq!(of_changelog("\n## v1\n- a\n")["1"].points()[0].heading, "");
    }

    #[test]
    fn a_section_is_given_as_it_was_written_with_the_references_that_it_uses() {
        assert_eq!(section(CHANGELOG, "3.0.0").unwrap(), "- first");
        assert!(
            section(CHANGELOG, "3.1.0").unwrap().starts_with("Better.\n\n### Added\n\n- one `a < b`,\n  and [more]")
        );
        let text = "## [2.0.0]\n- [x] done\n\n[x]: https://x\n[y]: https://y\n";
        assert_eq!(section(&format!("\n{text}"), "2.0.0").unwrap(), "- [x] done\n\n[x]: https://x");
        assert_eq!(section(CHANGELOG, "9.9.9"), None);
        assert_eq!(section(CHANGELOG, "Unreleased"), None, "an empty one says nothing");
    }
}
