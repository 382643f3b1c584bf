//! The table in the module documentation and the tests speak of the same cases.

use std::collections::BTreeSet;
use std::path::Path;

/// Every case of the table has a test under its id, and every test with an id stands in the table.
#[test]
fn every_case_has_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut tests = BTreeSet::new();
    for side in ["server", "client"] {
        for file in std::fs::read_dir(folder.join(side)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            tests.extend(text.lines().filter_map(|line| id_of(line.strip_prefix("async fn ")?)));
        }
    }
    let table = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    let rows: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("//! | ")).filter_map(id_of).collect();
    let table: BTreeSet<_> = rows.iter().copied().collect();
    assert_eq!(table.len(), rows.len(), "a case stands twice in the table");
    assert_eq!(table, tests);
}

/// The letter and the number that a text begins with, before a space or an underscore.
fn id_of(text: &str) -> Option<(char, u32)> {
    let (id, _) = text.split_once([' ', '_'])?;
    let mut characters = id.chars();
    let letter = characters.next()?.to_ascii_uppercase();
    let number = characters.as_str().parse().ok()?;
    matches!(letter, 'S' | 'K').then_some((letter, number))
}
