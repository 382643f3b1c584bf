//! `docs/security.md` promises what tests show.

use std::path::Path;

use crate::{none, read, root};

/// Every test that the page names is one.
#[test]
fn named_tests_exist() {
    let page = read(Path::new("docs/security.md"));
    let named: Vec<(&str, &str)> = page.split('`').filter_map(|quoted| quoted.split_once(".rs::")).collect();
    assert!(named.len() >= 40, "the page names {} tests", named.len());
    let mut findings = Vec::new();
    for (file, function) in named {
        let file = Path::new(file).with_extension("rs");
        if !root().join(&file).is_file() {
            findings.push(format!("{}: no such file", file.display()));
            continue;
        }
        let text = read(&file);
        let before = text.split_once(&format!("fn {function}()")).map(|(before, _)| before);
        let is_test =
            before.is_some_and(|before| before.rsplit("\n}\n").next().is_some_and(|item| item.contains("test")));
        if !is_test {
            findings.push(format!("{}: no test `{function}`", file.display()));
        }
    }
    none("docs/security.md names tests that are not there", findings);
}

/// A line of a table that describes a measure also names what shows it.
#[test]
fn every_line_names_a_test() {
    let page = read(Path::new("docs/security.md"));
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what |"));
    none("lines without a test", rows.filter(|row| !row.contains(".rs::")).map(str::to_owned).collect());
}
