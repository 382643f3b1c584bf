//! Files that are rotated, deleted or given up: when they are let go, and what is left of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{self, Folder};
use super::stepped::Stepped;
use crate::tail::{Decision, Format};

const SETTLED: Duration = Duration::from_secs(40);

/// What is kept of a file.
fn kept(reader: &Stepped, path: &Path) -> u64 {
    let found = reader.reader.files.iter().find(|(_, file)| file.path == path && file.inode.inode > 0);
    found.unwrap().1.committed.offset
}

/// A deleted file takes no space on the disk and no time although nothing comes into the new one of its name.
#[test]
fn a_deleted_file_does_not_wait_for_the_next_one() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo");
    let mut reader = folder.step();
    assert_eq!(reader.delivered(Duration::from_secs(1)), ["one"]);
    fs::remove_file(folder.path("a.log")).unwrap();
    folder.append("a.log", "");
    assert_eq!(reader.delivered(SETTLED), ["two"]);
    assert_eq!(reader.reader.files.len(), 1);
    assert!(reader.reader.settling.is_empty());
    folder.append("a.log", "three\n");
    assert_eq!(reader.delivered(Duration::from_secs(1)), ["three"]);
}

/// Who writes pieces of lines to a rotated file has its lines kept whole.
#[test]
fn lines_in_pieces_behind_a_rotation() {
    let folder = Folder::new();
    folder.append("a.log", "one\n");
    let mut reader = folder.step();
    assert_eq!(reader.delivered(Duration::from_secs(1)), ["one"]);
    folder.rename("a.log", "a.log.1");
    let mut lines = Vec::new();
    for number in 0..10 {
        folder.append("a.log.1", &format!("{number} be"));
        lines.extend(reader.delivered(Duration::from_secs(4)));
        folder.append("a.log.1", "gun\n");
        lines.extend(reader.delivered(Duration::from_millis(600)));
    }
    assert_eq!(lines, (0..10).map(|number| format!("{number} begun")).collect::<Vec<_>>());
}

/// The answer for a file that is forgotten says nothing of a file that came after it.
#[test]
fn answers_for_forgotten_files() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo\nthree\n");
    let mut reader = folder.step();
    assert_eq!(reader.delivered(Duration::from_secs(1)).len(), 3);
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "four\n");
    fs::remove_file(folder.path("a.log.1")).unwrap();
    // Nobody answers for the new file while the old one is forgotten.
    assert_eq!(reader.steps(SETTLED), ["four"]);
    assert_eq!(reader.reader.files.len(), 1);
    folder.append("b.log", "");
    reader.step();
    reader.deliver();
    reader.steps(Duration::from_secs(1));
    assert_eq!(kept(&reader, &folder.path("b.log")), 0);
    assert_eq!(kept(&reader, &folder.path("a.log")), 5);
}

/// The answer for a log that is read no more says nothing of a log that came after it.
#[test]
fn answers_for_dropped_logs() {
    let folder = Folder::new();
    let is_refused = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_refused);
    folder.append("a.log", "one\ntwo\nthree\n");
    let mut reader = folder.step_if(harness::settings(), Format::plain(), move |path| {
        let is_it = path.ends_with("a.log") && asked.load(Ordering::Relaxed);
        if is_it { Decision::Skip } else { Decision::Collect }
    });
    assert_eq!(reader.step().len(), 3);
    is_refused.store(true, Ordering::Relaxed);
    folder.rename("a.log", "a.log.1");
    folder.append("a.log", "four\n");
    assert!(reader.steps(Duration::from_secs(1)).is_empty());
    folder.append("b.log", "a line that is longer than all of the others\n");
    assert_eq!(reader.step().len(), 1);
    reader.deliver_one();
    reader.step();
    assert_eq!(kept(&reader, &folder.path("b.log")), 0);
    reader.deliver_one();
    reader.step();
    assert_eq!(kept(&reader, &folder.path("b.log")), 45);
}

/// What is lost with a deleted file is counted also when that was deleted before the end, and once.
#[test]
fn deleted_before_a_kill() {
    let folder = Folder::new();
    folder.append("a.log", "one\ntwo\n");
    let mut reader = folder.step();
    assert_eq!(reader.step().len(), 2);
    fs::remove_file(folder.path("a.log")).unwrap();
    // Positions are kept because of another file.
    folder.append("b.log", "");
    reader.steps(Duration::from_secs(3));
    drop(reader);
    for expected in [(1, 8), (0, 0)] {
        let mut reader = folder.step();
        folder.append("b.log", "three\n");
        assert_eq!(reader.delivered(Duration::from_secs(2)), ["three"]);
        assert_eq!((reader.count("files_lost"), reader.count("bytes_lost")), expected);
    }
}
