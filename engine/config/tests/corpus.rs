//! Replays the seeds of the fuzz target for configurations: the samples, and what fuzzers found.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;

use std::path::Path;

/// The samples hold, and so does what was found.
#[test]
fn config() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut replayed = 0;
    for folder in ["config/samples", "fuzz/seeds/config"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            check::config(&std::fs::read(file.unwrap().path()).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed >= 10, "{replayed} seeds");
}
