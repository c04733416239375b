//! The list of what is tried against the server ([docs/adversary.md](../../docs/adversary.md)): every number has a line,
//! and every line names tests that there are.
//!
//! What a line says is for a reader to compare with its tests. This keeps the names true when tests are renamed or go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The last number of the list.
const LAST: u32 = 139;
/// Numbers that are not used.
const UNUSED: [u32; 5] = [5, 18, 28, 73, 88];

/// Numbers without a test, each with what is still missing. A number that has a test does not stay here.
const WITHOUT_TEST: &[(&str, &str)] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of the tables: the first cell, and the tests in the last.
fn list(document: &str) -> Vec<(String, Vec<String>)> {
    let (mut lines, mut within) = (Vec::new(), false);
    for line in document.lines() {
        // What stands above the rule is the table's head.
        within = line.starts_with("| ---") || (within && line.starts_with("| "));
        if !within || line.starts_with("| ---") {
            continue;
        }
        let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let tests = cells.last().unwrap().split('`').skip(1).step_by(2);
        lines.push((cells[0].to_owned(), tests.map(str::to_owned).collect()));
    }
    lines
}

fn numbers() -> BTreeSet<String> {
    let used = (1..=LAST).filter(|number| !UNUSED.contains(number));
    ["F1", "F2", "F3"].map(str::to_owned).into_iter().chain(used.map(|number| number.to_string())).collect()
}

/// The files below `folder` with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() && !path.ends_with("node_modules") => folders.push(path),
                Some(found) if found == extension => files.push(path),
                _ => {}
            }
        }
    }
    files
}

/// The tests in `source`: the functions behind `#[test]` or `#[tokio::test]`, with the `mod` around them that the file
/// itself opens.
fn functions(source: &str) -> Vec<String> {
    let (mut tests, mut marked, mut within) = (Vec::new(), false, None);
    for line in source.lines() {
        let bare = line.trim_start();
        if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            within = Some(name);
        } else if line == "}" {
            within = None;
        }
        marked |= bare.starts_with("#[test]") || bare.starts_with("#[tokio::test");
        let name = bare.trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ");
        if let Some(name) = name.filter(|_| marked) {
            let name = name.split(['(', '<']).next().unwrap();
            tests.push(within.map_or_else(|| name.to_owned(), |module| format!("{module}::{name}")));
            marked = false;
        }
    }
    tests
}

/// The path of a file's module below `folder`.
fn module(folder: &str, file: &Path) -> String {
    let below = file.strip_prefix(root().join(folder)).unwrap().with_extension("");
    let parts: Vec<&str> = below.iter().filter_map(|part| part.to_str()).filter(|part| *part != "mod").collect();
    parts.join("::")
}

/// Every test by the name that the list has for it.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for (folder, prefix) in [("tests/it", ""), ("src", "unit: ")] {
        for file in files(folder, "rs") {
            let module = module(folder, &file);
            let functions = functions(&fs::read_to_string(&file).unwrap());
            tests.extend(functions.into_iter().map(|function| format!("{prefix}{module}::{function}")));
        }
    }
    for file in files("tests/outside", "js") {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let titles = titles(&fs::read_to_string(&file).unwrap());
        tests.extend(titles.into_iter().map(|title| format!("outside: {name} \"{title}\"")));
    }
    tests
}

/// The titles of the tests in JavaScript, between whichever quotes they stand.
fn titles(source: &str) -> Vec<String> {
    let calls = source.lines().filter_map(|line| line.trim_start().strip_prefix("test("));
    let title = |call: &str| {
        let quote = call.chars().next().filter(|first| ['\'', '"', '`'].contains(first))?;
        Some(call[1..].split_once(quote)?.0.to_owned())
    };
    calls.filter_map(title).collect()
}

/// What is wrong with `document`, where these are the tests.
fn problems(document: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let list = list(document);
    let excused: BTreeMap<&str, &str> = WITHOUT_TEST.iter().copied().collect();
    let mut problems = Vec::new();
    let mut missing = numbers();
    for (number, named) in &list {
        if !missing.remove(number) {
            problems.push(format!("{number} is not a number of the list, or has two lines"));
        }
        if named.is_empty() != excused.contains_key(number.as_str()) {
            let what = if named.is_empty() { "has no test" } else { "has a test and stands among those without" };
            problems.push(format!("{number} {what}"));
        }
        let unknown = named.iter().filter(|test| !tests.contains(*test));
        problems.extend(unknown.map(|test| format!("{number} names `{test}`, and there is no such test")));
    }
    problems.extend(missing.into_iter().map(|number| format!("{number} has no line")));
    problems
}

#[test]
fn every_number_of_the_list_has_a_line_and_every_line_tests_that_there_are() {
    let document = fs::read_to_string(root().join("docs/adversary.md")).unwrap();
    let problems = problems(&document, &tests());
    assert!(problems.is_empty(), "docs/adversary.md:\n{}\n", problems.join("\n"));
}

#[test]
fn every_promise_of_the_security_policy_names_tests_that_there_are() {
    let (document, tests) = (fs::read_to_string(root().join("SECURITY.md")).unwrap(), tests());
    let promises = list(&document);
    assert!(promises.len() > 10, "only {} promises were found", promises.len());
    for (promise, named) in promises {
        assert!(!named.is_empty(), "\"{promise}\" has no test");
        for test in named {
            assert!(tests.contains(&test), "\"{promise}\" names `{test}`, and there is no such test");
        }
    }
}

/// The check, tried on documents that are wrong.
mod the_check {
    use super::*;

    fn found(change: impl Fn(&str) -> String) -> Vec<String> {
        let document = fs::read_to_string(root().join("docs/adversary.md")).unwrap();
        problems(&change(&document), &tests())
    }

    #[test]
    fn misses_a_number_without_a_line() {
        let without = |document: &str| {
            let lines: Vec<&str> = document.lines().filter(|line| !line.starts_with("| 50 ")).collect();
            lines.join("\n")
        };
        assert_eq!(found(without), ["50 has no line"]);
    }

    #[test]
    fn misses_a_test_that_was_renamed() {
        let renamed = |document: &str| document.replacen("`callback::a_callback_is_taken_once`", "`callback::gone`", 1);
        assert_eq!(found(renamed), ["21 names `callback::gone`, and there is no such test"]);
    }

    #[test]
    fn misses_a_line_without_a_test() {
        let bare = |document: &str| {
            let line =
                |line: &str| if line.starts_with("| 50 ") { "| 50 | a | b | |".to_owned() } else { line.to_owned() };
            document.lines().map(line).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(found(bare), ["50 has no test"]);
    }
}
