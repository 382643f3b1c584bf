//! The log on a real directory. What a crash or a bad disk makes of it is tested over a simulated one.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use otlp::Rope;

use super::*;
use crate::files::{Directory, HoldError};
use crate::format::SPARE;

const OPTIONS: Options = Options { segment_size: 4096, max_size: u64::MAX, completions: 32, max_age: None };

fn at(seconds: u64) -> Now {
    Now { unix_millis: 1_700_000_000_000 + seconds * 1000, elapsed: Duration::from_secs(seconds) }
}

fn open(path: &Path, options: Options, now: Now) -> Log<Directory> {
    Log::open(Directory::hold_or_make(path).unwrap(), options, now).unwrap()
}

fn frame(number: u32, size: usize) -> NewFrame {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(size.max(4), b'x');
    let middle = payload.len() / 2;
    let bytes = Bytes::from(payload);
    let payload = Rope::from_iter([bytes.slice(..middle), bytes.slice(middle..)]);
    NewFrame { signal: Signal::Logs, records: number % 7 + 1, payload }
}

fn frames(numbers: std::ops::Range<u32>, size: usize) -> Vec<NewFrame> {
    numbers.map(|number| frame(number, size)).collect()
}

fn numbers(read: &[Stored]) -> Vec<u32> {
    read.iter().map(|stored| u32::from_le_bytes(stored.payload[..4].try_into().unwrap())).collect()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is appended is read in order, once, and again by the next process until it is completed; then its files go.
#[test]
fn what_is_appended_is_read_until_it_is_completed() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = open(scratch.path(), OPTIONS, at(0));
    assert_eq!((log.unread(), names(scratch.path()).len()), ((0, 0), 0), "opening writes nothing");
    let new = frames(0..40, 500);
    let appended = log.append(&new, at(1));
    assert!(appended.error.is_none());
    assert_eq!(appended.frames.len(), 40);
    let mut read = log.read(3000, at(2)).unwrap();
    while log.has_unread() {
        read.extend(log.read(3000, at(2)).unwrap());
    }
    assert_eq!(numbers(&read), (0..40).collect::<Vec<_>>());
    assert!(read.iter().zip(&new).all(|(stored, new)| stored.payload == new.payload.clone().into_bytes()));
    read.iter().filter(|stored| stored.frame.sequence % 2 == 0).for_each(|stored| log.complete(stored.frame));
    log.maintain(at(3)).unwrap();
    drop(log);

    let mut log = open(scratch.path(), OPTIONS, at(4));
    let (unread, records) = log.unread();
    assert_eq!(
        (unread, records),
        (20, (0..40_u64).filter(|number| number % 2 == 1).map(|number| number % 7 + 1).sum())
    );
    let again = log.read(usize::MAX, at(5)).unwrap();
    assert_eq!(numbers(&again), (0..40).filter(|number| number % 2 == 1).collect::<Vec<_>>());
    assert_eq!(again[0].age, Duration::from_secs(4));
    again.iter().for_each(|stored| log.complete(stored.frame));
    log.close(at(6)).unwrap();
    assert_eq!(names(scratch.path()), ["completed-0", "completed-1"]);
    drop(log);

    let mut log = open(scratch.path(), OPTIONS, at(0));
    assert_eq!(log.unread(), (0, 0));
    let appended = log.append(&frames(40..41, 10), at(7));
    assert_eq!(appended.frames[0].sequence, 40, "a number is never given twice");
    assert!(log.take_losses().is_empty());
}

/// A segment that has lost its header and frames that were completed has as many records to be read as are in the others.
#[test]
fn what_was_completed_before_a_damage_is_not_subtracted() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = open(scratch.path(), OPTIONS, at(0));
    let appended = log.append(&frames(0..40, 500), at(0)).frames;
    log.read(usize::MAX, at(0)).unwrap();
    appended.iter().take(3).for_each(|frame| log.complete(*frame));
    log.maintain(at(1)).unwrap();
    drop(log);
    let first = scratch.path().join(&names(scratch.path())[0]);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[..1000].fill(0);
    std::fs::write(&first, bytes).unwrap();

    let mut log = open(scratch.path(), OPTIONS, at(2));
    let records = (3..40_u64).map(|number| number % 7 + 1).sum();
    assert_eq!(log.unread(), (37, records));
    assert_eq!(numbers(&log.read(usize::MAX, at(2)).unwrap()), (3..40).collect::<Vec<_>>());
    assert!(log.take_losses().is_empty());
}

/// What is kept by whoever appended it is not read; what comes behind something that waits is.
#[test]
fn what_is_kept_is_not_read() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = open(scratch.path(), OPTIONS, at(0));
    let first = log.append(&frames(0..6, 500), at(0)).frames;
    assert!(first.iter().take(5).all(|frame| log.keep_from_reading(*frame)));
    let second = log.append(&frames(6..20, 500), at(0)).frames;
    assert!(second.iter().all(|frame| !log.keep_from_reading(*frame)), "they would overtake the sixth");
    assert_eq!(log.unread().0, 15);
    assert_eq!(numbers(&log.read(usize::MAX, at(0)).unwrap()), (5..20).collect::<Vec<_>>());
    assert!(!log.has_unread());
    let third = log.append(&frames(20..21, 500), at(0)).frames;
    assert!(log.keep_from_reading(third[0]) && !log.has_unread());
}

/// A frame that is larger than a segment has one for itself.
#[test]
fn large_frames() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = open(scratch.path(), OPTIONS, at(0));
    let new = [frame(0, 10), frame(1, 1 << 20), frame(2, 10)];
    assert_eq!(log.append(&new, at(0)).frames.len(), 3);
    assert_eq!(log.segments.len(), 3);
    let read = log.read(usize::MAX, at(0)).unwrap();
    assert_eq!(read.iter().map(|stored| stored.payload.len()).collect::<Vec<_>>(), [10, 1 << 20, 10]);
}

/// What is too old is lost by whole segments and by frames, whatever the clock of the wall says meanwhile.
#[test]
fn old_frames_are_lost() {
    let scratch = tempfile::tempdir().unwrap();
    let options = Options { max_age: Some(Duration::from_secs(60)), ..OPTIONS };
    let mut log = open(scratch.path(), options, at(0));
    log.append(&frames(0..10, 500), at(0));
    log.append(&frames(10..20, 500), at(50));
    let years_later = Now { unix_millis: at(0).unix_millis * 2, elapsed: Duration::from_secs(55) };
    log.maintain(years_later).unwrap();
    assert!(log.take_losses().is_empty());
    log.maintain(at(70)).unwrap();
    let read = log.read(usize::MAX, at(70)).unwrap();
    assert_eq!(numbers(&read), (10..20).collect::<Vec<_>>());
    let losses = log.take_losses();
    assert!(losses.iter().all(|loss| loss.reason == LossReason::Expired));
    assert_eq!(losses.iter().map(|loss| loss.frames).sum::<u64>(), 10);
    let all = (0..10_u64).map(|number| number % 7 + 1).sum::<u64>();
    assert_eq!(losses.iter().map(|loss| loss.records).sum::<u64>(), all);
}

/// Room is made by whole segments, the oldest first, and what was read already is not touched.
#[test]
fn the_oldest_go_first() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = open(scratch.path(), OPTIONS, at(0));
    log.append(&frames(0..30, 500), at(0));
    let read = log.read(1, at(0)).unwrap();
    let first = numbers(&read);
    assert!(log.drop_oldest());
    log.maintain(at(0)).unwrap();
    let lost = log.take_losses()[0].frames;
    let rest = numbers(&log.read(usize::MAX, at(0)).unwrap());
    assert_eq!(first.len() + usize::try_from(lost).unwrap() + rest.len(), 30);
    assert_eq!(rest.last(), Some(&29));
    assert!(!log.drop_oldest());
}

/// Two processes cannot have one directory, and who may not have it changes nothing.
#[test]
fn a_directory_has_one_holder() {
    let scratch = tempfile::tempdir().unwrap();
    let log = open(scratch.path(), OPTIONS, at(0));
    assert!(matches!(Directory::hold(scratch.path()), Err(HoldError::InUse(_))));
    assert!(matches!(Directory::hold(&scratch.path().join("absent")), Err(HoldError::Absent(_))));
    drop(log);
    Directory::hold(scratch.path()).unwrap();
}

/// The file of a segment that nobody needs becomes the next segment, what stood in it is never read;
/// it is not kept where another process left it, or its room is needed.
#[test]
fn a_file_is_used_again() {
    let scratch = tempfile::tempdir().unwrap();
    let inodes = || -> std::collections::BTreeSet<u64> {
        let segments = names(scratch.path()).into_iter().filter(|name| !name.starts_with("completed"));
        segments.map(|name| std::fs::metadata(scratch.path().join(name)).unwrap().ino()).collect()
    };
    let turn = |log: &mut Log<Directory>, number: u32| {
        let appended = log.append(&frames(number..number + 3, 1000), at(1));
        assert!(appended.error.is_none());
        let read = log.read(usize::MAX, at(2)).unwrap();
        assert_eq!(numbers(&read), [number, number + 1, number + 2]);
        read.iter().for_each(|stored| log.complete(stored.frame));
        log.maintain(at(3)).unwrap();
    };
    let mut log = open(scratch.path(), OPTIONS, at(0));
    (0..2).for_each(|number| turn(&mut log, 3 * number));
    let used = inodes();
    assert_eq!(used.len(), 2);
    (2..20).for_each(|number| turn(&mut log, 3 * number));
    assert_eq!(inodes(), used, "the same two files");
    assert!(log.append(&frames(60..62, 100), at(1)).error.is_none());
    drop(log);

    assert!(names(scratch.path()).contains(&SPARE.to_owned()));
    let mut log = open(scratch.path(), OPTIONS, at(4));
    let left = log.read(usize::MAX, at(5)).unwrap();
    assert_eq!(numbers(&left), [60, 61]);
    left.iter().for_each(|stored| log.complete(stored.frame));
    assert!(log.needs_maintenance());
    log.maintain(at(6)).unwrap();
    assert!(!names(scratch.path()).contains(&SPARE.to_owned()), "it is of another process");
    log.close(at(6)).unwrap();
    drop(log);

    let mut log = open(scratch.path(), Options { max_size: 9000, ..OPTIONS }, at(7));
    (21..24).for_each(|number| turn(&mut log, 3 * number));
    assert!(names(scratch.path()).contains(&SPARE.to_owned()));
    assert!(log.append(&frames(80..85, 1000), at(8)).error.is_none());
    assert!(!names(scratch.path()).contains(&SPARE.to_owned()), "its room is needed");
    assert_eq!(numbers(&log.read(usize::MAX, at(9)).unwrap()), [80, 81, 82, 83, 84]);
}

/// Damaged files are kept as long as there is room beside what the buffer holds, and the oldest goes first.
#[test]
fn damaged_files_make_room() {
    let scratch = tempfile::tempdir().unwrap();
    let damaged = ["00000000000000000003.damaged", "00000000000000000007.damaged"];
    damaged.iter().for_each(|name| std::fs::write(scratch.path().join(name), [0; 3000]).unwrap());
    let kept = || names(scratch.path()).into_iter().filter(|name| name.ends_with(".damaged")).collect::<Vec<_>>();
    let mut log = open(scratch.path(), Options { max_size: 10_000, ..OPTIONS }, at(0));
    assert!(log.append(&frames(0..3, 1000), at(1)).error.is_none());
    assert_eq!(kept(), damaged, "there is room for both");
    assert!(log.append(&frames(3..5, 1000), at(2)).error.is_none());
    assert_eq!(kept(), damaged[1..]);
    assert!(log.append(&frames(5..8, 1000), at(3)).error.is_none());
    assert_eq!(kept(), [""; 0]);
    assert_eq!(numbers(&log.read(usize::MAX, at(4)).unwrap()), (0..8).collect::<Vec<_>>());
}
