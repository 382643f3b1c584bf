//! Rotation by renaming, by copying and truncating, by deleting, by compressing, and by links that point elsewhere.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;

use engine_core::outcome::Outcome;

use super::harness::{self, Folder};
use crate::tail::{Decision, Settings};

/// A renamed file is read to its end, also what comes into it when the new one has begun already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    folder.append("a.log", "two\n");
    folder.rename("a.log", "a.log.1");
    folder.append("a.log.1", "three\n");
    folder.append("a.log", "four\n");
    assert_eq!(reading.lines(3).await, ["two", "three", "four"]);
    folder.append("a.log.1", "late\n");
    assert_eq!(reading.lines(1).await, ["late"]);
    folder.append("a.log", "five\n");
    assert_eq!(reading.lines(1).await, ["five"]);
    // To a name that says nothing, outside of everything that is looked at.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut open = fs::OpenOptions::new().append(true).open(folder.path("a.log")).unwrap();
    open.write_all(b"six\n").unwrap();
    fs::rename(folder.path("a.log"), elsewhere.path().join("gone")).unwrap();
    folder.append("a.log", "seven\n");
    assert_eq!(reading.lines(2).await, ["six", "seven"]);
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// Several rotations while nobody looked: every file is read, the oldest first, and the first from where it was left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_again_and_again_unseen() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    reading.stop().await;
    folder.append("a.log", "two\n");
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "three\n");
    folder.rename("a.log.1", "a.log.2");
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "four\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(3).await, ["two", "three", "four"]);
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// A new log may get the inode of a compressed one that was deleted to make room: it is a file of its own and read whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inode_of_a_deleted_copy_is_used_again() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "two\n");
    folder.compress("a.log.1");
    assert_eq!(reading.lines(1).await, ["two"]);
    reading.nothing_more().await;
    let inode = |name: &str| fs::metadata(folder.path(name)).unwrap().ino();
    let deleted = inode("a.log.1.gz");
    folder.rename("a.log", "a.log.2");
    fs::remove_file(folder.path("a.log.1.gz")).unwrap();
    // Most file systems give the lowest number that is free; on one that does not this is an ordinary rotation.
    for other in 0..1000 {
        folder.append(&format!("other-{other}"), "three\n");
        if inode(&format!("other-{other}")) == deleted {
            folder.rename(&format!("other-{other}"), "a.log");
            break;
        }
    }
    if !folder.path("a.log").exists() {
        folder.append("a.log", "three\n");
    }
    assert_eq!(reading.lines(1).await, ["three"]);
    reading.stop().await;
}

/// What was rotated before the very first start is not read, and what is compressed of it later neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_before_the_first_start() {
    let folder = Folder::new();
    folder.append("a.log.1", "old\n");
    folder.append("a.log.2", "older\n");
    folder.compress("a.log.2");
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    reading.is_started().await;
    folder.compress("a.log.1");
    folder.append("a.log", "two\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    reading.nothing_more().await;
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// A file that is compressed after it was read is not read again; one that was compressed unseen is read once, from where it
/// was left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed() {
    let folder = Folder::new();
    let text = |name: &str| (0..100).map(|number| format!("{name} {number} of a hundred\n")).collect::<String>();
    folder.append("a.log", &text("one"));
    let mut reading = folder.read();
    assert_eq!(reading.lines(100).await.len(), 100);
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", &text("two"));
    assert_eq!(reading.lines(100).await.len(), 100);
    folder.compress("a.log.1");
    reading.nothing_more().await;
    reading.stop().await;
    folder.append("a.log", &text("rest of two"));
    folder.rename("a.log", "a.log.2");
    folder.compress("a.log.2");
    folder.append("a.log", &text("three"));
    folder.rename("a.log", "a.log.3");
    folder.compress("a.log.3");
    folder.append("a.log", "four\n");
    let mut reading = folder.read();
    let lines = reading.lines(201).await;
    assert_eq!((lines[0].as_str(), lines[100].as_str()), ("rest of two 0 of a hundred", "three 0 of a hundred"));
    reading.nothing_more().await;
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// A file that is copied and truncated goes on at its beginning; what nobody had read of it is read from the copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copied_and_truncated() {
    let folder = Folder::new();
    let first: String = (0..200).map(|number| format!("line {number}\n")).collect();
    folder.append("a.log", &first);
    let mut reading = folder.read();
    assert_eq!(reading.lines(200).await.len(), 200);
    folder.append("a.log", "unread\n");
    fs::copy(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    fs::File::options().write(true).truncate(true).open(folder.path("a.log")).unwrap();
    folder.append("a.log", "new\n");
    assert_eq!(reading.lines(2).await, ["unread", "new"]);
    assert_eq!((reading.count("files_truncated"), reading.count("bytes_lost")), (1, 0));
    folder.append("a.log", "newer\n");
    assert_eq!(reading.lines(1).await, ["newer"]);
    reading.nothing_more().await;
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// A file that was truncated and has more bytes than before at the next look is known by its first bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_and_grown_beyond() {
    let folder = Folder::new();
    folder.append("a.log", "first\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["first"]);
    fs::write(folder.path("a.log"), "other and longer\nlast\n").unwrap();
    assert_eq!(reading.lines(2).await, ["other and longer", "last"]);
    assert_eq!(reading.count("files_truncated"), 1);
    reading.nothing_more().await;
}

/// The same when it happens right after the file was read, when what is known of its beginning is completed.
#[test]
fn truncated_while_it_is_read() {
    let folder = Folder::new();
    folder.append("a.log", "first\n");
    let mut reader = folder.step();
    assert_eq!(reader.step(), ["first"]);
    fs::write(folder.path("a.log"), "other and longer\nlast\n").unwrap();
    let (key, _) = reader.reader.files.iter().next().unwrap();
    reader.reader.files[key].size += 1;
    reader.reader.extend_fingerprint(key);
    assert_eq!(reader.step(), ["other and longer", "last"]);
    assert_eq!(reader.count("files_truncated"), 1);
}

/// A file that is deleted before it is read is read to its end all the same, and a new one of its name as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_before_it_is_read() {
    let folder = Folder::new();
    let line = "x".repeat(999);
    folder.append("a.log", &format!("{line}\n").repeat(5000));
    let settings = Settings { max_in_flight: 4 << 20, ..harness::settings() };
    let mut reading = folder.read_with(settings, |_| Decision::Collect);
    let held = reading.held_until_nothing_comes().await;
    let records: u64 = held.iter().map(engine_core::batch::Batch::records).sum();
    assert!(records < 5000);
    fs::remove_file(folder.path("a.log")).unwrap();
    folder.append("a.log", "new\n");
    held.into_iter().for_each(|batch| batch.answer(&Outcome::Delivered));
    let rest = reading.lines(5001 - records as usize).await;
    assert_eq!(rest.last().unwrap(), "new");
    reading.nothing_more().await;
}

/// A link that points to another file brings that one, and rotation is seen where the files are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links() {
    let folder = Folder::new();
    let elsewhere = Folder::new();
    elsewhere.append("json", "one\n");
    std::os::unix::fs::symlink(elsewhere.path("json"), folder.path("a.log")).unwrap();
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    elsewhere.append("json", "two\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    elsewhere.rename("json", "json.1");
    elsewhere.append("json.1", "three\n");
    elsewhere.append("json", "four\n");
    assert_eq!(reading.lines(2).await, ["three", "four"]);
    elsewhere.append("other", "five\n");
    std::os::unix::fs::symlink(elsewhere.path("other"), folder.path("a.new")).unwrap();
    folder.rename("a.new", "a.log");
    assert_eq!(reading.lines(1).await, ["five"]);
    reading.nothing_more().await;
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// A file that gets the name of another log goes on, and so does the log that it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_to_the_name_of_another_log() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reading = folder.read();
    assert_eq!(reading.lines(1).await, ["one"]);
    folder.rename("a.log", "a-1.log");
    folder.append("a-1.log", "two\n");
    assert_eq!(reading.lines(1).await, ["two"]);
    folder.append("a.log", "three\n");
    assert_eq!(reading.lines(1).await, ["three"]);
    folder.append("a-1.log", "four\n");
    assert_eq!(reading.lines(1).await, ["four"]);
    reading.nothing_more().await;
    reading.stop().await;
    folder.read().nothing_more().await;
}

/// Deleted files that nobody can read take only so much space on the disk; what is given up is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_files_are_not_kept_for_ever() {
    let folder = Folder::new();
    let text = format!("{}\n", "x".repeat(999)).repeat(5000);
    folder.append("a.log", &text);
    let settings = Settings { max_in_flight: 4 << 20, max_deleted: 6 << 20, ..harness::settings() };
    let mut reading = folder.read_with(settings, |_| Decision::Collect);
    let held = reading.held_until_nothing_comes().await;
    let records: u64 = held.iter().map(engine_core::batch::Batch::records).sum();
    for _ in 0..2 {
        folder.rename("a.log", "a.log.1");
        folder.append("a.log", &text);
        harness::eventually("the new file is known", || reading.is_open(&folder.path("a.log"))).await;
        fs::remove_file(folder.path("a.log.1")).unwrap();
    }
    harness::eventually("a file is given up", || reading.count("files_lost") == 1).await;
    assert_eq!(reading.count("bytes_lost"), text.len() as u64 - records * 1000);
    held.into_iter().for_each(|batch| batch.answer(&Outcome::Delivered));
    assert_eq!(reading.lines(10_000).await.len(), 10_000);
    reading.nothing_more().await;
}

/// Every line of many quick rotations arrives once, in the order in which it was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_rotations_keep_the_order() {
    let folder = Folder::new();
    folder.append("a.log", "");
    let mut reading = folder.read();
    reading.is_started().await;
    let mut expected = Vec::new();
    for rotation in 0..20 {
        let lines: Vec<_> = (0..50).map(|line| format!("{rotation}.{line}")).collect();
        lines.iter().for_each(|line| folder.append("a.log", &format!("{line}\n")));
        folder.rename("a.log", &format!("a.log.20261130-{rotation:06}"));
        expected.extend(lines);
    }
    folder.append("a.log", "end\n");
    expected.push("end".to_owned());
    assert_eq!(reading.lines(expected.len()).await, expected);
    reading.nothing_more().await;
}
