//! What is found, and what is taken for something that was read already.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::time::Duration;

use engine_config::sources::reading::Watch;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::Named;
use super::harness::{self, Folder};
use crate::tail::{Format, Settings};

const SECOND: Duration = Duration::from_secs(1);

fn text(name: &str) -> String {
    (0..200).map(|number| format!("{name} {number}\n")).collect()
}

/// Rotation that compresses at once, while much is not read, repeats nothing.
#[test]
fn compressed_before_it_is_read() {
    let folder = Folder::new();
    let long: String = (0..300_000_u32).map(|number| format!("{:8x}\n", number.wrapping_mul(0x9e37_79b9))).collect();
    folder.append("a.log", &long);
    let mut reader = folder.step_with(Settings { max_in_flight: 1 << 20, ..harness::settings() }, Format::plain());
    let mut count = reader.steps(2 * SECOND).len();
    for _ in 0..4 {
        // Between two looks at how much there is.
        folder.append("a.log", "last\n");
        reader.step();
    }
    folder.append("a.log", "last\n");
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "new\n");
    reader.step();
    folder.compress("a.log.1");
    reader.step();
    assert!(count < 300_000);
    reader.deliver();
    count += reader.delivered(60 * SECOND).len();
    assert_eq!(count, 300_006);
}

/// The same with a short file, the end of which was not read before.
#[test]
fn compressed_while_it_is_short() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reader = folder.step_with(Settings { max_in_flight: 1 << 20, ..harness::settings() }, Format::plain());
    assert_eq!(reader.delivered(SECOND), ["one"]);
    // Nothing is read any more until there is an answer.
    folder.append("b.log", &"x\n".repeat(600_000));
    reader.steps(SECOND);
    folder.append("a.log", "two\n");
    folder.rename("a.log", "a.log.1");
    reader.steps(SECOND);
    folder.compress("a.log.1");
    reader.steps(SECOND);
    let mut lines = reader.delivered(60 * SECOND);
    lines.retain(|line| line != "x");
    assert_eq!(lines, ["two"]);
}

/// A start while rotation compresses repeats nothing.
#[test]
fn started_while_rotation_compresses() {
    let folder = Folder::new();
    let long: String = (0..200_000_u32).map(|number| format!("{:x}\n", number.wrapping_mul(0x9e37_79b9))).collect();
    folder.append("a.log", &long);
    let mut reader = folder.step();
    assert_eq!(reader.delivered(9 * SECOND).len(), 200_000);
    reader.stop();
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "new\n");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(long.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let (half, rest) = packed.split_at(packed.len() / 2);
    let mut file = fs::File::create(folder.path("a.log.1.gz")).unwrap();
    file.write_all(half).unwrap();
    let mut reader = folder.step();
    assert_eq!(reader.delivered(SECOND), ["new"]);
    file.write_all(rest).unwrap();
    drop(file);
    fs::remove_file(folder.path("a.log.1")).unwrap();
    let more = reader.delivered(60 * SECOND);
    assert!(more.is_empty(), "{} lines came twice", more.len());
    reader.stop();
    assert!(folder.step().delivered(SECOND).is_empty());
}

/// A directory that gets another name is still looked into.
#[test]
fn directories_are_renamed() {
    let folder = Folder::new();
    folder.append("old/a.log", "one\n");
    let mut reader = folder.step();
    assert_eq!(reader.delivered(SECOND), ["one"]);
    folder.rename("old", "new");
    reader.delivered(SECOND);
    folder.append("new/a.log", "two\n");
    folder.append("new/b.log", "three\n");
    let mut lines = reader.delivered(SECOND);
    lines.sort();
    assert_eq!(lines, ["three", "two"]);
}

/// A directory that is made again with the same name is still looked into, whatever number it gets.
#[test]
fn directories_are_made_again() {
    let folder = Folder::new();
    folder.append("deep/a.log", "one\n");
    let mut reader = folder.step();
    assert_eq!(reader.delivered(SECOND), ["one"]);
    for number in 0..5 {
        fs::remove_dir_all(folder.path("deep")).unwrap();
        folder.append("deep/a.log", &format!("{number}\n"));
        assert_eq!(reader.delivered(SECOND), [number.to_string()]);
        folder.append("deep/b.log", &format!("{number}\n"));
        assert_eq!(reader.delivered(SECOND), [number.to_string()]);
    }
}

/// A link into its own directory is followed without delay.
#[test]
fn links_within_a_directory() {
    let folder = Folder::new();
    folder.append("today", "one\n");
    symlink("today", folder.path("a.log")).unwrap();
    let mut reader = folder.step();
    assert_eq!(reader.delivered(SECOND), ["one"]);
    folder.append("today", "two\n");
    assert_eq!(reader.delivered(SECOND), ["two"]);
    folder.append("today", "three\n");
    folder.append("tomorrow", "four\n");
    symlink("tomorrow", folder.path("link")).unwrap();
    folder.rename("link", "a.log");
    assert_eq!(reader.delivered(SECOND), ["three", "four"]);
    folder.append("tomorrow", "five\n");
    folder.append("today", "late\n");
    let mut lines = reader.delivered(SECOND);
    lines.sort();
    assert_eq!(lines, ["five", "late"]);
}

/// The kubelet compresses a file right before it rotates the next one, which may be older by its time: names say the order.
#[test]
fn names_tell_the_order() {
    let folder = Folder::new();
    folder.append("0.log", &text("zero"));
    let mut reader = folder.step();
    assert_eq!(reader.delivered(SECOND).len(), 200);
    reader.stop();
    folder.append("0.log", "one\n");
    folder.rename("0.log", "0.log.20261130-101500");
    folder.append("0.log", "two\n");
    folder.compress("0.log.20261130-101500");
    folder.rename("0.log", "0.log.20261130-102500");
    folder.append("0.log", "three\n");
    let hour_ago = std::time::SystemTime::now() - 3600 * SECOND;
    fs::File::open(folder.path("0.log.20261130-102500")).unwrap().set_modified(hour_ago).unwrap();
    let mut reader = folder.step();
    assert_eq!(reader.delivered(SECOND), ["one", "two", "three"]);
    reader.stop();
    for number in (1..=11).rev() {
        folder.append(&format!("b.log.{number}"), &format!("{}\n", 11 - number));
        let modified = std::time::SystemTime::now() - number * SECOND;
        fs::File::open(folder.path(&format!("b.log.{number}"))).unwrap().set_modified(modified).unwrap();
    }
    folder.append("b.log", "11\n");
    let expected: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    assert_eq!(folder.step().delivered(SECOND), expected);
}

/// A file that could not be read is tried again, although nothing tells that it can be.
#[test]
fn unreadable_files_are_tried_again() {
    let folder = Folder::new();
    let settings = Settings { watch: Watch::Poll, ..harness::settings() };
    let mut reader = folder.step_with(settings, Format::plain());
    folder.append("a.log", "one\n");
    let (directory, _) = reader.reader.directories.iter().next().unwrap();
    let named = Named { directory, name: "a.log".into() };
    reader.reader.refuse(named, &folder.path("a.log"), &io::ErrorKind::PermissionDenied.into());
    assert!(reader.delivered(10 * SECOND).is_empty());
    assert_eq!(reader.delivered(60 * SECOND), ["one"]);
    assert_eq!(reader.reader.parts.telemetry.read().errors["unreadable"], 1);
}

/// What cannot be read at a start is not gone: it is read from where it was left when it can be.
#[test]
fn unreadable_at_the_start() {
    let folder = Folder::new();
    let elsewhere = Folder::new();
    folder.append("a.log", &text("one"));
    let mut reader = folder.step();
    assert_eq!(reader.delivered(SECOND).len(), 200);
    reader.stop();
    folder.append("a.log", "two\n");
    fs::rename(folder.path("a.log"), elsewhere.path("a.log")).unwrap();
    symlink("/proc/self/mem", folder.path("a.log")).unwrap();
    let mut reader = folder.step();
    assert!(reader.delivered(SECOND).is_empty());
    assert_eq!(reader.count("files_lost"), 0);
    fs::remove_file(folder.path("a.log")).unwrap();
    fs::rename(elsewhere.path("a.log"), folder.path("a.log")).unwrap();
    assert_eq!(reader.delivered(70 * SECOND), ["two"]);
}
