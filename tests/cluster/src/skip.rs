//! Skipping a test that cannot run here: said aloud, counted, and a failure in CI.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::StartError;

/// The file that skips of a whole test run are written to, a line each, so that its end can tell how many there were.
const LIST: &str = "TESTS_SKIPPED";

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// The cluster, or nothing where this machine cannot have one: then the test returns. Says so past the capture of test
/// output, and counts it.
///
/// # Panics
///
/// Where a cluster could be had and did not start, and in CI (`CI=true`), where everything has to be there.
pub fn or_skip<T>(started: Result<T, StartError>) -> Option<T> {
    let missing = match started {
        Ok(cluster) => return Some(cluster),
        Err(StartError::Failed(error)) => panic!("the cluster did not start: {error:#}"),
        Err(error @ StartError::Missing(_)) => error,
    };
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "CI must not skip a test. {missing}");
    let number = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {missing}\n", thread.name().unwrap_or("a test"));
    // Not by a macro: the test runner would keep what a passing test prints.
    std::io::stderr().write_all(format!("{line}{number} skipped so far in this program\n").as_bytes()).ok();
    if let Some(path) = std::env::var_os(LIST) {
        let list = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        list.and_then(|mut list| list.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("{LIST} names {}: {error}", path.display()));
    }
    None
}

/// How many tests of this process were skipped.
pub fn skipped() -> usize {
    SKIPPED.load(Ordering::Relaxed)
}
