//! The reader on real files, driven through the source: what arrives, in which order, how often, and what is counted.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;
mod leaving;
mod left_out;
mod limits;
mod looks;
mod model;
mod positions;
mod rotations;
mod stepped;
mod waiting;

use std::fs;
use std::time::Duration;

use engine_config::sources::file::StartAt;
use engine_config::sources::reading::Watch;
use engine_core::outcome::{Outcome, RejectionKind};

use self::harness::{Folder, eventually};
use crate::tail::{Decision, Settings};

/// What is there and what comes is read, a line without its end when that comes, and new files and directories are found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_files() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo\nthr");
    let mut reading = folder.read();
    assert_eq!(reading.lines(2).await, ["one", "two"]);
    folder.append("a.log", "ee\nfour\n");
    assert_eq!(reading.lines(2).await, ["three", "four"]);
    folder.append("deep/down/b.log", "five\r\n\r\n");
    folder.append("other.txt", "not a log\n");
    assert_eq!(reading.lines(1).await, ["five"]);
    reading.nothing_more().await;
    // Lines that are no records move positions all the same.
    folder.append("deep/down/b.log", "\n\n");
    reading.kept("the empty lines", |found| found.iter().any(|(_, position)| position.offset == 10)).await;
}

/// Without the kernel telling, all the same is found by looking again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_files_by_looking() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let settings = Settings { watch: Watch::Poll, poll_interval: Duration::from_millis(50), ..harness::settings() };
    let mut reading = folder.read_with(settings, |_| Decision::Collect);
    assert_eq!(reading.lines(1).await, ["one"]);
    folder.append("a.log", "two\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "three\n");
    assert_eq!(reading.lines(1).await, ["three"]);
    folder.append("deep/b.log", "four\n");
    assert_eq!(reading.lines(1).await, ["four"]);
    eventually("both directories are counted", || reading.count("directories_polled") == 2).await;
    reading.nothing_more().await;
}

/// Lines of 64 KiB and lines longer than what is read at once are whole; one that is too long is cut and counted, and takes
/// nobody with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lines() {
    let folder = Folder::new();
    let [large, larger, largest] = [64 << 10, 700 << 10, (1 << 20) + 10].map(|size| "x".repeat(size));
    folder.append("a.log", &format!("{large}\n{larger}\n{largest}\nend\n{largest}"));
    let mut reading = folder.read();
    let lines = reading.lines(5).await;
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [64 << 10, 700 << 10, 1 << 20, 3, 1 << 20]);
    folder.append("a.log", "and more of it\nnext\n");
    assert_eq!(reading.lines(1).await, ["next"]);
    assert_eq!(reading.count("lines_truncated"), 2);
}

/// A file of the very first start may begin at its end, in the middle of a line too; one that comes later does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn begins_at_the_end() {
    let folder = Folder::new();
    folder.append("a.log", "old\n");
    folder.append("b.log", "old and ha");
    let settings = Settings { start_at: StartAt::End, ..harness::settings() };
    let mut reading = folder.read_with(settings.clone(), |_| Decision::Collect);
    reading.is_started().await;
    folder.append("a.log", "one\n");
    assert_eq!(reading.lines(1).await, ["one"]);
    folder.append("b.log", "lf\ntwo\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    folder.append("c.log", "three\n");
    assert_eq!(reading.lines(1).await, ["three"]);
    reading.stop().await;
    folder.append("d.log", "four\n");
    let mut reading = folder.read_with(settings, |_| Decision::Collect);
    assert_eq!(reading.lines(1).await, ["four"]);
    reading.nothing_more().await;
}

/// While nobody answers, only so much is read as may be in flight; the rest comes when there are answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_waits_for_answers() {
    let folder = Folder::new();
    let line = "x".repeat(999);
    let lines = 20_000;
    folder.append("a.log", &format!("{line}\n").repeat(lines));
    let settings = Settings { max_in_flight: 4 << 20, ..harness::settings() };
    let mut reading = folder.read_with(settings, |_| Decision::Collect);
    let held = reading.held_until_nothing_comes().await;
    let bytes: usize = held.iter().map(engine_core::batch::Batch::encoded_len).sum();
    // Half of what may be in flight, and what one more turn brings.
    assert!((1 << 20..3 << 20).contains(&bytes), "{bytes} bytes are held");
    let records: u64 = held.iter().map(engine_core::batch::Batch::records).sum();
    held.into_iter().for_each(|batch| batch.answer(&Outcome::Delivered));
    assert_eq!(reading.lines(lines - records as usize).await.len(), lines - records as usize);
    reading.nothing_more().await;
}

/// What is to be tried again comes again; what is refused for good does not, and is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_answers_mean() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    reading.batch().await.answer(&Outcome::retry("down"));
    let again = reading.batch().await;
    assert_eq!(harness::lines_of(&again), ["one"]);
    again.answer(&Outcome::rejected(RejectionKind::Invalid, "no"));
    folder.append("a.log", "two\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    assert_eq!(reading.count("records_rejected"), 1);
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// Two files that begin alike, and two with the same content, are both read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_begin_alike() {
    let folder = Folder::new();
    let text = "the same\n".repeat(1000);
    folder.append("a.log", &text);
    folder.append("b.log", &text);
    let mut reading = folder.read();
    assert_eq!(reading.lines(2000).await.len(), 2000);
    folder.append("c.log", &text);
    assert_eq!(reading.lines(1000).await.len(), 1000);
    reading.nothing_more().await;
}

/// A log whose permission is not known is held and read when it is; one without permission is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_are_waited_for() {
    let folder = Folder::new();
    let permission = folder.path("permission");
    folder.append("a.log", "one\n");
    folder.append("secret.log", "not for you\n");
    let asked = permission.clone();
    let mut reading = folder.read_with(harness::settings(), move |path| match path.file_stem() {
        Some(stem) if stem == "secret" => Decision::Skip,
        _ if asked.exists() => Decision::Collect,
        _ => Decision::Unknown,
    });
    reading.is_started().await;
    reading.nothing_more().await;
    fs::write(&permission, "").unwrap();
    assert_eq!(reading.lines(1).await, ["one"]);
    folder.append("secret.log", "still not\n");
    folder.append("a.log", "two\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    reading.nothing_more().await;
}

/// A directory with the name of a log is looked into like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_with_names_of_files() {
    let folder = Folder::new();
    fs::create_dir(folder.path("a.log")).unwrap();
    folder.append("b.log", "one\n");
    folder.append("a.log/c.log", "two\n");
    let mut reading = folder.read();
    let mut lines = reading.lines(2).await;
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
}

/// What is in memory is given back to the budget when it is answered, and the end waits for answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_waits_for_answers() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    let batch = reading.batch().await;
    assert!(reading.run.budget.used() > 0);
    reading.run.drain.cancel();
    tokio::task::yield_now().await;
    assert!(!reading.run.ended.is_finished());
    batch.answer(&Outcome::Delivered);
    let budget = reading.run.budget.clone();
    reading.stop().await;
    eventually("the budget is free", || budget.used() == 0).await;
    folder.read().nothing_more().await;
}
