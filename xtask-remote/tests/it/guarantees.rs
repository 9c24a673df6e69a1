//! `docs/guarantees.md` has a row for every guarantee that a test's name cites, with the modules of all tests that cite it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{files_below, root};

const PAGE: &str = "docs/guarantees.md";
/// Where tests are.
const FOLDERS: [&str; 5] = ["operator", "xtask", "xtask-remote", "ci", "infrastructure/test"];
/// What the last cell of a row begins with whose id no test cites.
const UNNAMED: &str = "no test names it";

#[test]
fn every_guarantee_lists_the_modules_of_its_tests_and_every_test_has_its_guarantee() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let to_do = to_do(&page, &tests());
    assert!(to_do.is_empty(), "{PAGE}:\n{}", to_do.join("\n"));
}

#[test]
fn an_id_without_a_row_is_told_with_the_row_to_add() {
    let tests = of(&[("kill", "h6_x3_nothing_is_lost"), ("crowd", "x3_nobody_is_lost_h6_either")]);
    assert_eq!(
        to_do("| H6 | Nothing is lost. | `crowd`, `kill` |", &tests),
        ["add a row: | X3 | what is guaranteed | `crowd`, `kill` |"]
    );
}

#[test]
fn a_row_with_other_modules_than_its_tests_is_told_with_the_cell_that_it_needs() {
    let tests = of(&[("kill", "h6_nothing_is_lost"), ("crowd", "h6_and_nobody")]);
    for cell in ["`kill`", "`crowd`, `faults`, `kill`", "", "no test names it; proven in `kill`"] {
        let page = format!("| H6 | Nothing is lost. | {cell} |");
        assert_eq!(to_do(&page, &tests), [format!("H6: let its row end in | `crowd`, `kill` | and not in | {cell} |")]);
    }
}

#[test]
fn a_row_that_no_test_names_says_so_and_leads_to_tests_that_there_are() {
    let tests = of(&[("counts", "all_is_counted")]);
    let row = |cell: &str| to_do(&format!("| F4 | All is counted. | {cell} |"), &tests);
    assert_eq!(row("`counts`"), ["F4: no test names it; remove its row, or let its last cell begin with these words"]);
    assert_eq!(row("no test names it; proven in `count`"), ["F4: `count` has no tests; remove it"]);
    assert!(row("no test names it; proven in `counts`").is_empty() && row(UNNAMED).is_empty());
}

#[test]
fn names_of_tests_are_found_in_rust_and_typescript() {
    let rust = "#[test]\n#[cfg(unix)]\nfn h1_one() {}\nfn h2_none() {}\n    #[tokio::test]\n    async fn h3_two() {}\n";
    assert_eq!(names_in_rust(rust), ["h1_one", "h3_two"]);
    let typescript =
        r#"test("H1, H8: is one", () => {}); test.each(["A"])("H2: has %s", (a) => {}); test("H3 alone");"#;
    let ids = names_in_typescript(typescript).into_iter().flat_map(|name| ids(&name, "").collect::<Vec<_>>());
    assert_eq!(ids.collect::<Vec<_>>(), ["H1", "H8", "H2"]);
}

/// A test: its module, and its name.
type Test = (String, String);

fn of(tests: &[(&str, &str)]) -> Vec<Test> {
    tests.iter().map(|(module, name)| ((*module).to_owned(), (*name).to_owned())).collect()
}

/// Every test of the workspace.
fn tests() -> Vec<Test> {
    let files = FOLDERS.into_iter().flat_map(|folder| {
        let files = files_below(&root().join(folder)).into_iter();
        files.map(move |(name, content)| (format!("{folder}/{name}"), content))
    });
    let tests = files.filter_map(|(path, content)| Some((module(&path)?, names(&path, &content))));
    tests.flat_map(|(module, names)| names.into_iter().map(move |name| (module.clone(), name))).collect()
}

/// The module that a file is; nothing where it has no tests. Those of TypeScript go by their file's name.
fn module(path: &str) -> Option<String> {
    let inner = ["/src/", "/tests/it/", "/test/"].iter().find_map(|folder| Some(path.split_once(folder)?.1))?;
    let module = inner.strip_suffix(".rs").or_else(|| inner.ends_with(".test.ts").then_some(inner))?;
    Some(module.strip_suffix("/mod").unwrap_or(module).replace('/', "::"))
}

fn names(path: &str, content: &[u8]) -> Vec<String> {
    let source = str::from_utf8(content).unwrap();
    if path.ends_with(".rs") { names_in_rust(source) } else { names_in_typescript(source) }
}

/// The names of functions with the attribute `test`.
fn names_in_rust(source: &str) -> Vec<String> {
    let mut lines = source.lines().map(str::trim);
    let mut names = Vec::new();
    while lines.any(|line| line == "#[test]" || line.starts_with("#[tokio::test")) {
        names.extend(lines.find_map(name_of_function).map(str::to_owned));
    }
    names
}

fn name_of_function(line: &str) -> Option<&str> {
    line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?.split(['(', '<']).next()
}

/// What stands before the colon in the names of tests, `H1, H8: …`, written as in Rust.
fn names_in_typescript(source: &str) -> Vec<String> {
    let texts = source.split("(\"").skip(1).filter_map(|rest| rest.split('"').next()?.split_once(": "));
    texts.map(|(ids, _)| ids.to_lowercase().replace(", ", "_")).collect()
}

/// The ids that a test's name cites: those that it begins with, and further on those of these groups.
fn ids<'n>(name: &'n str, groups: &'n str) -> impl Iterator<Item = String> + 'n {
    let mut leads = true;
    name.split('_').map(str::to_uppercase).filter(move |segment| {
        leads &= is_id(segment);
        leads || is_id(segment) && segment.starts_with(|letter: char| groups.contains(letter))
    })
}

/// A letter and a number.
fn is_id(text: &str) -> bool {
    let number = text.strip_prefix(|letter: char| letter.is_ascii_uppercase());
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is to be changed on the page, so that it says of these tests what is so.
fn to_do(page: &str, tests: &[Test]) -> Vec<String> {
    let rows: BTreeMap<&str, &str> = page.lines().filter_map(row).collect();
    let groups: String = rows.keys().filter_map(|id| id.chars().next()).collect();
    let mut cited: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (module, name) in tests {
        for id in ids(name, &groups) {
            cited.entry(id).or_default().insert(module);
        }
    }
    let missing = cited.iter().filter(|(id, _)| !rows.contains_key(id.as_str()));
    let missing = missing.map(|(id, modules)| format!("add a row: | {id} | what is guaranteed | {} |", cell(modules)));
    let wrong = rows.iter().flat_map(|(id, last)| match cited.get(*id) {
        Some(modules) => differs(id, last, &cell(modules)),
        None => unnamed(id, last, tests),
    });
    missing.chain(wrong).collect()
}

/// The id and the last cell of a row.
fn row(line: &str) -> Option<(&str, &str)> {
    let (id, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
    let (_, last) = rest.strip_suffix('|')?.rsplit_once("| ")?;
    is_id(id).then_some((id, last.trim_end()))
}

fn cell(modules: &BTreeSet<&str>) -> String {
    modules.iter().map(|module| format!("`{module}`")).collect::<Vec<_>>().join(", ")
}

fn differs(id: &str, last: &str, expected: &str) -> Vec<String> {
    if last == expected {
        return Vec::new();
    }
    vec![format!("{id}: let its row end in | {expected} | and not in | {last} |")]
}

/// What is wrong with the row of an id that no test cites.
fn unnamed(id: &str, last: &str, tests: &[Test]) -> Vec<String> {
    if !last.starts_with(UNNAMED) {
        return vec![format!("{id}: {UNNAMED}; remove its row, or let its last cell begin with these words")];
    }
    let modules = last.split('`').skip(1).step_by(2);
    let unknown = modules.filter(|named| !tests.iter().any(|(module, _)| module == named));
    unknown.map(|module| format!("{id}: `{module}` has no tests; remove it")).collect()
}
