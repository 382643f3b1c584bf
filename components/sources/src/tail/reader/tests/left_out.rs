//! Logs that may not be read: what is left out stays so, whatever becomes of its files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::harness::{self, Folder, Reading, eventually};
use crate::tail::Decision;

/// Reads a folder as a file beside its logs says: `skip` or `wait`, or everything without it.
fn read(folder: &Folder) -> Reading {
    let said = folder.path("decision");
    folder.read_with(harness::settings(), move |_| decision(&said))
}

fn decision(said: &Path) -> Decision {
    match fs::read_to_string(said).as_deref() {
        Ok("skip") => Decision::Skip,
        Ok("wait") => Decision::Unknown,
        _ => Decision::Collect,
    }
}

fn say(folder: &Folder, text: &str) {
    // Whole at once: it may be read at any time.
    let unfinished: PathBuf = folder.path("unfinished");
    fs::write(&unfinished, text).unwrap();
    fs::rename(unfinished, folder.path("decision")).unwrap();
}

async fn left_out(reading: &Reading, logs: u64) {
    eventually("logs are left out", || reading.run.telemetry.read().own.get("logs_left_out") == Some(&logs)).await;
}

/// What is decided of a file holds for it, its copies and later starts; another decision counts from the next file on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_are_those_of_files() {
    let folder = Folder::new();
    say(&folder, "skip");
    folder.append("a.log", "secret 1\n");
    let mut reading = read(&folder);
    reading.is_started().await;
    left_out(&reading, 1).await;
    say(&folder, "collect");
    folder.append("a.log", "secret 2\n");
    reading.nothing_more().await;
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "one\n");
    assert_eq!(reading.lines(1).await, ["one"]);
    left_out(&reading, 0).await;
    folder.append("a.log.1", "secret 3\n");
    folder.compress("a.log.1");
    reading.nothing_more().await;

    say(&folder, "skip");
    folder.append("a.log", "two\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    folder.append("a.log", "three\n");
    folder.rename("a.log", "a.log.2");
    folder.append("a.log", "secret 4\n");
    assert_eq!(reading.lines(1).await, ["three"]);
    left_out(&reading, 1).await;
    reading.nothing_more().await;
    reading.stop().await;

    say(&folder, "collect");
    let mut reading = read(&folder);
    reading.is_started().await;
    // Long enough to be known again by how it begins.
    folder.append("a.log", &format!("secret 5{}\n", "x".repeat(2000)));
    reading.nothing_more().await;
    left_out(&reading, 1).await;
    reading.stop().await;
    folder.append("a.log", "secret 6\n");
    folder.rename("a.log", "a.log.3");
    folder.compress("a.log.3");
    folder.append("a.log", "four\n");
    let mut reading = read(&folder);
    assert_eq!(reading.lines(1).await, ["four"]);
    reading.nothing_more().await;
    assert_eq!((reading.count("files_lost"), reading.count("logs_undecided")), (0, 0));
}

/// A log that is held and then left out is not read, and neither is what was written while it was held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_and_then_left_out() {
    let folder = Folder::new();
    say(&folder, "wait");
    folder.append("a.log", "secret 1\n");
    folder.append("b.log", "");
    let mut reading = read(&folder);
    reading.is_started().await;
    folder.append("a.log", "secret 2\n");
    reading.nothing_more().await;
    say(&folder, "skip");
    left_out(&reading, 2).await;
    folder.append("b.log", "secret 3\n");
    reading.nothing_more().await;
    reading.stop().await;
    say(&folder, "collect");
    let mut reading = read(&folder);
    reading.is_started().await;
    reading.nothing_more().await;
    folder.append("c.log", "one\n");
    assert_eq!(reading.lines(1).await, ["one"]);
    reading.nothing_more().await;
}

/// A file that was read in part and is found at the next start by somebody who may not read it keeps the rest to itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn left_out_from_the_next_start_on() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = read(&folder);
    assert_eq!(reading.lines(1).await, ["one"]);
    reading.stop().await;
    say(&folder, "skip");
    folder.append("a.log", "secret\n");
    let mut reading = read(&folder);
    left_out(&reading, 1).await;
    reading.nothing_more().await;
    assert_eq!(reading.count("files_lost"), 0);
    reading.stop().await;
}

/// A log of which nobody says anything is held for a while, and then it is read and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_says_anything() {
    let folder = Folder::new();
    say(&folder, "wait");
    folder.append("a.log", "one\n");
    let mut reading = read(&folder);
    reading.is_started().await;
    reading.nothing_more().await;
    assert_eq!(reading.count("logs_undecided"), 0);
    assert_eq!(reading.lines(1).await, ["one"]);
    assert_eq!((reading.count("logs_undecided"), reading.count("logs_left_out")), (1, 0));
}

/// A log that gets the inode of an empty one that was left out is another log, and read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inode_of_what_was_left_out_is_used_again() {
    let folder = Folder::new();
    say(&folder, "skip");
    folder.append("a.log", "");
    let mut reading = read(&folder);
    left_out(&reading, 1).await;
    let inode = |name: &str| fs::metadata(folder.path(name)).unwrap().ino();
    let deleted = inode("a.log");
    say(&folder, "collect");
    fs::remove_file(folder.path("a.log")).unwrap();
    left_out(&reading, 0).await;
    // Most file systems give the lowest number that is free; on one that does not this is an ordinary new log.
    for other in 0..1000 {
        let name = format!("other-{other}");
        folder.append(&name, "one\n");
        if inode(&name) == deleted {
            folder.rename(&name, "b.log");
            break;
        }
    }
    if !folder.path("b.log").exists() {
        folder.append("b.log", "one\n");
    }
    assert_eq!(reading.lines(1).await, ["one"]);
    reading.nothing_more().await;
}
