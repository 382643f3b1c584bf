//! Looking into buffers that a log and a disk queue wrote.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IoSlice;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use otlp::{Rope, Signal};

use super::*;
use crate::format::SEAL;
use crate::log::NewFrame;

/// An `ExportLogsServiceRequest` with so many empty records, and a scope name that makes it longer.
fn request(records: u32, padding: usize) -> Bytes {
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(content);
        bytes
    }
    let scope = field(1, &field(1, &vec![b'x'; padding]));
    let records = (0..records).flat_map(|_| field(2, &field(3, b"info")));
    let scope_logs: Vec<u8> = scope.into_iter().chain(records).collect();
    Bytes::from(field(1, &field(2, &scope_logs)))
}

fn frame(records: u32, payload: Bytes) -> NewFrame {
    NewFrame { signal: Signal::Logs, records, payload: Rope::from(payload) }
}

fn at(seconds: u64) -> Now {
    Now { unix_millis: 1_700_000_000_000 + seconds * 1000, elapsed: Duration::from_secs(seconds) }
}

fn log(path: &Path) -> Log<Directory> {
    let options = Options { segment_size: 4096, max_size: u64::MAX, completions: 1, max_age: None };
    Log::open(Directory::hold_or_make(path).unwrap(), options, at(0)).unwrap()
}

/// A buffer in which frames of 1 to `count` records were appended.
fn filled(path: &Path, count: u32) -> Log<Directory> {
    let mut log = log(path);
    let frames: Vec<NewFrame> = (1..=count).map(|records| frame(records, request(records, 400))).collect();
    assert_eq!(log.append(&frames, at(1)).frames.len(), frames.len());
    log
}

/// What is in the files of a directory.
fn bytes_of(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// The records of all whole frames, and all damage.
fn read_all<F: Files>(inspection: &mut Inspection<F>) -> (Vec<u64>, Vec<Damage>) {
    let (mut whole, mut damaged) = (Vec::new(), Vec::new());
    loop {
        let found = inspection.read();
        if found.is_empty() {
            return (whole, damaged);
        }
        for item in found {
            match item {
                Item::Frame(wire) => whole.push(wire.records()),
                Item::Damage(damage) => damaged.push(damage),
            }
        }
    }
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The contents are what was appended and completed, per segment and in sum, and a look changes no byte.
#[test]
fn contents_are_what_was_written() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("out");
    let mut log = filled(&path, 20);
    let stored = log.read(usize::MAX, at(2)).unwrap();
    stored
        .iter()
        .filter(|stored| matches!(stored.frame.sequence, 0..9 | 12))
        .for_each(|stored| log.complete(stored.frame));
    log.maintain(at(3)).unwrap();
    log.append(&[frame(5, request(5, 10))], at(60));
    log.close(at(61)).unwrap();
    drop(log);
    let before = bytes_of(&path);

    let inspection = Inspection::hold(&path).unwrap();
    let contents = inspection.contents();
    let all = (1..=20_u64).sum::<u64>() + 5;
    let completed = (1..=9_u64).sum::<u64>() + 13;
    assert_eq!((contents.version, contents.frames, contents.records), (1, 11, all - completed));
    let above: Vec<(u64, u64)> = contents.completed.iter().map(|range| (range.start, range.end)).collect();
    assert_eq!((contents.completed_before, above), (9, vec![(12, 13)]));
    assert!(contents.segments.len() > 1 && contents.segments.iter().all(|segment| segment.is_sealed));
    let first = &contents.segments[0];
    assert!(first.first > 0 && first.file == segment_name(first.first), "the first segment was removed: {first:?}");
    let sum = |of: fn(&SegmentContents) -> u64| contents.segments.iter().map(of).sum::<u64>();
    assert_eq!(sum(|segment| segment.records - segment.completed_records), contents.records);
    assert_eq!(sum(|segment| segment.frames - segment.completed_frames), contents.frames);
    assert_eq!(first.oldest_unix_millis, Some(at(1).unix_millis));
    assert_eq!(contents.segments.last().unwrap().newest_unix_millis, Some(at(60).unix_millis));
    assert_eq!(contents.bytes, before.values().map(|bytes| bytes.len() as u64).sum::<u64>());
    assert_eq!(bytes_in(&path).unwrap(), contents.bytes);
    drop(inspection);
    let (whole, damaged) = read_all(&mut Inspection::hold(&path).unwrap());
    assert_eq!((whole.iter().sum::<u64>(), whole.len(), damaged.len()), (all - completed, 11, 0));
    assert_eq!(bytes_of(&path), before);
}

/// A write that was cut off by a kill is shown as such, and is no damage: nobody was told that it is there.
#[test]
fn a_write_that_was_cut_off_is_no_damage() {
    let scratch = tempfile::tempdir().unwrap();
    drop(filled(scratch.path(), 3));
    let file = scratch.path().join(segment_name(0));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend([b'T'; 33]);
    std::fs::write(&file, bytes).unwrap();
    let mut inspection = Inspection::hold(scratch.path()).unwrap();
    let segment = inspection.contents().segments[0].clone();
    assert_eq!((segment.is_sealed, segment.cut_off_bytes, segment.frames), (false, 33, 3));
    let (whole, damaged) = read_all(&mut inspection);
    assert_eq!((whole, damaged.len()), (vec![1, 2, 3], 0));
}

/// A damaged payload and damaged marks are told with file and offset; what is whole is read on.
#[test]
fn damage_is_told_with_its_place() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = filled(scratch.path(), 5);
    log.close(at(2)).unwrap();
    drop(log);
    let file = scratch.path().join(segment_name(0));
    let starts: Vec<usize> = (1..=5)
        .scan(HEADER, |start, records| {
            let this = *start;
            *start += request(records, 400).len() + crate::FRAME_OVERHEAD;
            Some(this)
        })
        .collect();
    // The payload of the second frame, both marks of the fourth.
    flip(&file, starts[1] + 60);
    flip(&file, starts[3] + 20);
    flip(&file, starts[4] - 10);
    let (whole, damaged) = read_all(&mut Inspection::hold(scratch.path()).unwrap());
    assert_eq!(whole, [1, 3, 5]);
    let told: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    let name = segment_name(0);
    assert_eq!(told[0], format!("{name}, offset {}: 1 frame with 2 records damaged", starts[1]));
    assert_eq!(told[1], format!("{name}, offset {}: 1 frame damaged", starts[3]));
    assert!(told[2].ends_with("4 records were in the frames that are damaged"), "{told:?}");
    assert_eq!(damaged.iter().map(|damage| damage.frames).sum::<u64>(), 2);
    assert_eq!(damaged.iter().map(|damage| damage.records).sum::<u64>(), 6);
}

/// A damaged header, and one damaged mark of two, lose nothing and are told all the same.
#[test]
fn damage_that_costs_nothing_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    drop(filled(scratch.path(), 3));
    let file = scratch.path().join(segment_name(0));
    flip(&file, HEADER + 5);
    let (whole, damaged) = read_all(&mut Inspection::hold(scratch.path()).unwrap());
    assert_eq!(whole, [1, 2, 3]);
    assert!(matches!(&damaged[..], [Damage { kind: DamageKind::Marks, frames: 0, records: 0, .. }]), "{damaged:?}");
    flip(&file, HEADER + 5);
    flip(&file, 9);
    let (whole, damaged) = read_all(&mut Inspection::hold(scratch.path()).unwrap());
    assert_eq!((whole.len(), damaged.len()), (3, 1), "{damaged:?}");
}

/// Bytes that are as they were written and are no OTLP, or hold other records than were counted, are damage at their place.
#[test]
fn what_cannot_be_admitted_is_damage() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = log(scratch.path());
    let (good, wrong) = (request(2, 10), Bytes::from_static(b"\xff\xff\xff"));
    log.append(&[frame(2, good.clone()), frame(4, wrong), frame(9, good.clone()), frame(2, good.clone())], at(1));
    drop(log);
    let (whole, damaged) = read_all(&mut Inspection::hold(scratch.path()).unwrap());
    assert_eq!(whole, [2, 2]);
    let second = (HEADER + good.len() + crate::FRAME_OVERHEAD) as u64;
    let third = second + (3 + crate::FRAME_OVERHEAD) as u64;
    let places: Vec<_> = damaged.iter().map(|damage| damage.place.clone().unwrap().1).collect();
    assert_eq!(places, [second, third]);
    assert!(matches!(damaged[0].kind, DamageKind::Meaningless(_)), "{damaged:?}");
    assert!(matches!(damaged[1].kind, DamageKind::Miscounted(2)), "{damaged:?}");
}

/// However much is in a buffer, and however much of it is damaged, little of it is in memory at once.
#[test]
fn reading_takes_little_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 1 << 20, ..OPTIONS };
    let mut log = Log::open(Directory::hold_or_make(scratch.path()).unwrap(), options, at(0)).unwrap();
    let frames: Vec<NewFrame> = (0..800).map(|_| frame(1, request(1, 10_000))).collect();
    assert_eq!(log.append(&frames, at(1)).frames.len(), 800);
    drop(log);
    let all: Vec<String> =
        Inspection::hold(scratch.path()).unwrap().contents().segments.iter().map(|one| one.file.clone()).collect();
    for name in &all {
        let file = scratch.path().join(name);
        let bytes = std::fs::read(&file).unwrap();
        let flipped: Vec<u8> =
            bytes.chunks(30_000).flat_map(|part| [&part[..1][..], &[part[1] ^ 1], &part[2..]].concat()).collect();
        // The header stays.
        std::fs::write(&file, [&bytes[..HEADER], &flipped[HEADER..]].concat()).unwrap();
    }
    let mut inspection = Inspection::hold(scratch.path()).unwrap();
    let (mut whole, mut lost) = (0, 0);
    loop {
        let found = inspection.read();
        if found.is_empty() {
            break;
        }
        let held: usize = found.iter().map(|item| if let Item::Frame(wire) = item { wire.len() } else { 0 }).sum();
        assert!(held <= 512 * 1024 && found.len() < 100, "{held} bytes in {} items", found.len());
        for item in found {
            match item {
                Item::Frame(_) => whole += 1,
                Item::Damage(damage) => lost += damage.frames,
            }
        }
    }
    assert!(lost > 100, "{lost}");
    assert_eq!(whole + lost, 800);
}

/// A segment whose file is gone, a copy under another name, and two damaged completion files are told.
#[test]
fn files_that_are_gone_or_strange_are_told() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = filled(scratch.path(), 20);
    log.close(at(2)).unwrap();
    drop(log);
    let contents = Inspection::hold(scratch.path()).unwrap().contents().clone();
    let middle = &contents.segments[1];
    std::fs::remove_file(scratch.path().join(&middle.file)).unwrap();
    std::fs::copy(scratch.path().join(segment_name(0)), scratch.path().join(segment_name(1 << 40))).unwrap();
    let (whole, damaged) = read_all(&mut Inspection::hold(scratch.path()).unwrap());
    assert_eq!(whole.len() as u64, contents.frames - middle.frames);
    let told: Vec<String> = damaged.iter().map(ToString::to_string).collect();
    let gone = format!("{} frames with {} records gone with their file", middle.frames, middle.records);
    assert_eq!(told[0], gone);
    assert!(matches!(damaged[1].kind, DamageKind::Foreign), "{told:?}");

    std::fs::remove_file(scratch.path().join(segment_name(1 << 40))).unwrap();
    flip(&scratch.path().join(COMPLETED[0]), 30);
    let is_told = |damaged: &[Damage]| damaged.iter().any(|damage| matches!(damage.kind, DamageKind::Completions));
    let (_, one) = read_all(&mut Inspection::hold(scratch.path()).unwrap());
    flip(&scratch.path().join(COMPLETED[1]), 30);
    let (_, both) = read_all(&mut Inspection::hold(scratch.path()).unwrap());
    assert_eq!((is_told(&one), is_told(&both)), (false, true), "{one:?} {both:?}");
}

/// A directory of which the operating system does not read one file from an offset on.
#[derive(Debug)]
struct Failing {
    directory: Directory,
    name: String,
    from: u64,
}

#[derive(Debug)]
struct FailingFile {
    file: File,
    from: u64,
}

impl Files for Failing {
    type File = FailingFile;

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.directory.list()
    }

    fn create(&self, name: &str) -> io::Result<FailingFile> {
        panic!("a look makes `{name}`")
    }

    fn open(&self, name: &str) -> io::Result<FailingFile> {
        panic!("a look writes to `{name}`")
    }

    fn open_to_read(&self, name: &str) -> io::Result<FailingFile> {
        let from = if name == self.name { self.from } else { u64::MAX };
        Ok(FailingFile { file: self.directory.open_to_read(name)?, from })
    }

    fn rename(&self, from: &str, _: &str) -> io::Result<()> {
        panic!("a look renames `{from}`")
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        panic!("a look removes `{name}`")
    }

    fn sync_names(&self) -> io::Result<()> {
        panic!("a look syncs")
    }
}

impl OpenFile for FailingFile {
    fn write_pieces_at(&mut self, _: u64, _: &[IoSlice<'_>]) -> io::Result<()> {
        panic!("a look writes")
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        panic!("a look writes")
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        // The seal and the header are read from other places of the disk.
        let is_frames = into.len() > SEAL.max(HEADER) && offset + into.len() as u64 > self.from;
        if is_frames { Err(io::Error::other("the medium is bad")) } else { OpenFile::read_at(&self.file, offset, into) }
    }

    fn sync(&mut self) -> io::Result<()> {
        panic!("a look syncs")
    }

    fn set_size(&mut self, _: u64) -> io::Result<()> {
        panic!("a look cuts")
    }

    fn allocate(&mut self, _: u64) -> io::Result<()> {
        panic!("a look allocates")
    }

    fn size(&self) -> io::Result<u64> {
        OpenFile::size(&self.file)
    }
}

/// What the operating system does not read costs that segment; the others are read on. Nothing is written meanwhile.
#[test]
fn an_unreadable_segment_costs_itself() {
    let scratch = tempfile::tempdir().unwrap();
    let mut log = filled(scratch.path(), 20);
    log.close(at(2)).unwrap();
    drop(log);
    let contents = Inspection::hold(scratch.path()).unwrap().contents().clone();
    let bad = &contents.segments[1];
    let directory = Directory::hold(scratch.path()).unwrap();
    let mut inspection = Inspection::open(Failing { directory, name: bad.file.clone(), from: 0 }).unwrap();
    assert_eq!(inspection.contents(), &contents);
    let (whole, damaged) = read_all(&mut inspection);
    assert_eq!(whole.len() as u64, contents.frames - bad.frames);
    let [Damage { kind: DamageKind::Unreadable(error), frames, records, place }] = &damaged[..] else {
        panic!("{damaged:?}")
    };
    assert_eq!((error.to_string().as_str(), *frames, *records), ("the medium is bad", bad.frames, bad.records));
    assert_eq!(place.as_ref().unwrap().0, bad.file);
}

/// One buffer, a directory of buffers and a state directory are told from each other, and from what is none of them.
#[test]
fn a_path_means_buffers() {
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path();
    for identity in ["shop", "pay"] {
        drop(filled(&state.join("buffers").join(identity), 1));
    }
    let new = state.join("buffers/new");
    std::fs::create_dir(&new).unwrap();
    std::fs::write(state.join("positions.json"), "{}").unwrap();
    let buffers = state.join("buffers");
    let all = vec![new.clone(), buffers.join("pay"), buffers.join("shop")];
    assert_eq!(buffers_at(state).unwrap(), all);
    assert_eq!(buffers_at(&buffers).unwrap(), all);
    assert_eq!(buffers_at(&buffers.join("shop")).unwrap(), [buffers.join("shop")]);
    assert_eq!(buffers_at(&new).unwrap(), [new.as_path()], "an engine makes it before it writes");
    assert_eq!(Inspection::hold(&new).unwrap().contents().bytes, 0);
    // A copy of it that has another name.
    let copy = state.join("copy");
    std::fs::rename(&buffers, &copy).unwrap();
    assert_eq!(buffers_at(&copy).unwrap().len(), 3);

    let said = |path: &Path| buffers_at(path).unwrap_err().to_string();
    let absent = said(&copy.join("shp"));
    assert!(absent.contains("shp does not exist; ") && absent.contains("copy has `new/`, `pay/`, `shop/`"), "{absent}");
    let file = said(&copy.join("shop").join(segment_name(0)));
    assert!(file.contains("it is a file of the buffer ") && file.contains("copy/shop"), "{file}");
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("notes.txt"), "").unwrap();
    let strange = said(other.path());
    assert!(strange.contains("is no buffer: it has `notes.txt`; expected"), "{strange}");
    let empty = tempfile::tempdir().unwrap();
    assert!(said(empty.path()).contains("it is empty"));
}

/// Who has a buffer keeps it; a glance takes nothing from anybody. A later version is named and left alone.
#[test]
fn a_buffer_in_use_and_one_of_a_later_version() {
    let scratch = tempfile::tempdir().unwrap();
    let log = filled(scratch.path(), 2);
    let refused = Inspection::hold(scratch.path()).unwrap_err().to_string();
    assert!(refused.ends_with("is in use by another process"), "{refused}");
    let glance = Inspection::glance(scratch.path()).unwrap();
    assert_eq!((glance.contents().frames, glance.contents().records), (2, 3));
    drop(log);
    Inspection::hold(scratch.path()).expect("a glance does not hold it");
    drop(glance);

    let mut bytes = std::fs::read(scratch.path().join(segment_name(0))).unwrap();
    bytes[8] = 2;
    let checksum = crate::format::checksum([&bytes[..12], &bytes[16..HEADER]]).to_le_bytes();
    bytes[12..16].copy_from_slice(&checksum);
    std::fs::write(scratch.path().join(segment_name(0)), bytes).unwrap();
    let error = Inspection::hold(scratch.path()).unwrap_err();
    let InspectError::Open { source: OpenError::Newer { version: 2, .. }, .. } = &error else { panic!("{error:?}") };
}
