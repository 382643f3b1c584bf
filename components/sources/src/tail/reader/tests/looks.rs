//! What is found, and what is taken for something that was read already.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::time::Duration;

use engine_config::sources::reading::Watch;

use super::super::Named;
use super::harness::{self, Folder};
use crate::tail::{Format, Settings};

const SECOND: Duration = Duration::from_secs(1);

fn text(name: &str) -> String {
    (0..200).map(|number| format!("{name} {number}\n")).collect()
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
