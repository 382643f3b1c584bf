//! What a restart reads again, and what not.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use engine_core::outcome::Outcome;
use engine_core::state_store::{Document, StateError, StateStore};

use super::harness::{self, Folder};
use crate::tail::Settings;

/// After an end in order nothing comes twice and nothing is missing, whatever was written meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_order_repeats_nothing() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo\nthr");
    let mut reading = folder.read();
    assert_eq!(reading.lines(2).await, ["one", "two"]);
    reading.stop().await;
    folder.append("a.log", "ee\n");
    folder.append("b.log", "four\n");
    let mut reading = folder.read();
    let mut lines = reading.lines(2).await;
    lines.sort();
    assert_eq!(lines, ["four", "three"]);
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// After a crash what was not answered comes again, and what was answered and kept does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_repeats_what_was_not_answered() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    reading.kept("the first line", |positions| positions[0].1.offset == 4).await;
    folder.append("a.log", "two\n");
    let unanswered = reading.batch().await;
    reading.crash().await;
    drop(unanswered);
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["two"]);
    reading.nothing_more().await;
}

/// Answers that come in another order than requests move no position beyond one that is not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_wait_for_the_first_answer() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    let first = reading.batch().await;
    folder.append("a.log", "two\n");
    reading.batch().await.answer(&Outcome::Delivered);
    folder.append("b.log", "three\n");
    reading.batch().await.answer(&Outcome::Delivered);
    reading.kept("the second file", |positions| positions.iter().any(|(path, _)| path.ends_with("b.log"))).await;
    reading.kept("nothing of the first", |positions| positions.iter().all(|(_, found)| found.offset == 0)).await;
    reading.crash().await;
    drop(first);
    let mut reading = folder.read();
    let mut lines = reading.lines(3).await;
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
}

/// A file that was replaced by another one while nobody looked is read from its beginning, also when it has the same name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_file_of_the_same_name() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    reading.stop().await;
    std::fs::remove_file(folder.path("a.log")).unwrap();
    folder.append("a.log", "two and more than before\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["two and more than before"]);
    reading.nothing_more().await;
}

/// What was known and is gone without a trace is counted as lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_counted() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo\n");
    let mut reading = folder.read();
    let unanswered = reading.batch().await;
    reading.kept("the size", |positions| positions.first().is_some_and(|found| found.1.size == 8)).await;
    reading.crash().await;
    drop(unanswered);
    std::fs::remove_file(folder.path("a.log")).unwrap();
    folder.append("a.log", "three\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["three"]);
    assert_eq!((reading.count("files_lost"), reading.count("bytes_lost")), (1, 8));
}

/// What is rotated right after the very first start is not taken for older than that, whatever happens to the first start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_right_after_the_first_start() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    reading.is_started().await;
    let unanswered = reading.batch().await;
    reading.crash().await;
    drop(unanswered);
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "two\n");
    folder.rename("a.log.1", "a.log.2");
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "three\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(3).await, ["one", "two", "three"]);
    reading.nothing_more().await;
}

/// Positions that cannot be kept are an error and hold up nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_that_cannot_be_kept() {
    let folder = Folder::new();
    let line = "x".repeat(999);
    folder.append("a.log", &format!("{line}\n").repeat(20_000));
    let settings = Settings { max_in_flight: 4 << 20, ..harness::settings() };
    let mut reading = folder.read_to(Arc::new(Unwritable), settings);
    assert_eq!(reading.lines(20_000).await.len(), 20_000);
    harness::eventually("the error is counted", || reading.run.telemetry.read().errors.contains_key("positions")).await;
    reading.stop().await;
}

/// A place that can be read and not be written.
struct Unwritable;

impl StateStore for Unwritable {
    fn load(&self, _: &str) -> Result<Option<Document>, StateError> {
        Ok(None)
    }

    fn store(&self, key: &str, _: &Document) -> Result<(), StateError> {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        Err(StateError::Io { action: "write", path: PathBuf::from(key), source })
    }
}
