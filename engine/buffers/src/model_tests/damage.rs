//! What becomes of a log whose files are no longer what was written: it opens, loses the frames that were hit and no others,
//! says how many that were, and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use otlp::{Rope, Signal};

use super::model::{Content, Fate, Model};
use super::world::{Ending, Recovered, World};
use crate::format::{BEFORE, BEHIND, COMPLETED, HEADER, MARK, Mark, SPARE, checksum, segment_name, segment_of};
use crate::log::{Log, NewFrame, Now, OpenError, Options};
use crate::simulated::{Calls, Choices, Failure, Fault, SimulatedDirectory};

const OPTIONS: Options = Options { segment_size: 12_000, max_size: u64::MAX, completions: 8, max_age: None };
const NOW: Now = Now { unix_millis: 1_800_000_000_000, elapsed: Duration::from_secs(1) };

/// A directory at rest, what is in it, and where.
struct Rested {
    disk: SimulatedDirectory,
    model: Model,
    /// File, start and end of each frame.
    places: BTreeMap<u64, (String, u64, u64)>,
    /// The next number is on the disk: frames that are missing at the end are known to be.
    knows_its_end: bool,
}

/// What may happen to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    /// All frames that are lost are counted, with their records.
    Exact,
    /// Frames are, records as far as they are known.
    Frames,
    /// Nobody can know that they were there.
    AtMost,
}

impl Rested {
    /// Segments that are full, partly completed, completed in the middle and gone, and one that is being filled, in the file of
    /// the one that is gone.
    fn after(ending: Ending) -> Self {
        let mut world = World::new(OPTIONS);
        let knows_its_end = matches!(ending, Ending::Close);
        for step in 0..12_usize {
            world.append(&[1 + step, 900 + 31 * step, 7, 2500, 40 * step + 1, 300]);
        }
        world.read(30_000);
        // Everything of the second segment, and some of others.
        let second = (6 * 2..6 * 6).filter(|index| (10..29).contains(index) || index % 3 == 0);
        let mut picks = Vec::new();
        let sequences: Vec<u64> = world.model.in_hands().iter().map(|frame| frame.sequence).collect();
        let mut left = sequences.clone();
        for wanted in second {
            if let Some(place) = left.iter().position(|sequence| *sequence == wanted) {
                picks.push(place);
                left.swap_remove(place);
            }
        }
        world.complete(&picks);
        world.maintain();
        assert!(world.disk.snapshot().contains_key(SPARE), "{:?}", world.disk);
        for step in 0..2_usize {
            world.append(&[2000 + step, 500]);
        }
        while world.disk.snapshot().contains_key(SPARE) {
            world.append(&[1500]);
        }
        world.reopen(ending);
        let model = world.model.clone();
        let disk = world.disk.kill(&mut Choices::mild());
        let places = places(&disk);
        Self { disk, model, places, knows_its_end }
    }

    fn segments(&self) -> Vec<String> {
        self.disk.snapshot().into_keys().filter(|name| segment_of(name).is_some()).collect()
    }

    fn size(&self, name: &str) -> u64 {
        self.disk.contents(name).len() as u64
    }

    /// Frames of a file that lie in a part of it, at least partly.
    fn hit(&self, name: &str, from: u64, to: u64) -> BTreeSet<u64> {
        let is_hit = |(file, start, end): &(String, u64, u64)| file == name && *start < to && from < *end;
        self.places.iter().filter(|(_, place)| is_hit(place)).map(|(sequence, _)| *sequence).collect()
    }

    /// Damages a copy and looks what is left: everything but those that were hit, which are counted.
    fn check(&self, what: &str, hit: &BTreeSet<u64>, counting: Counting, damage: impl FnOnce(&SimulatedDirectory)) {
        let disk = self.disk.kill(&mut Choices::mild());
        damage(&disk);
        let recovered = Recovered::of(&disk, OPTIONS, NOW);
        let mut missing: BTreeMap<u64, &Content> =
            self.model.unread().map(|(sequence, known)| (sequence, &known.content)).collect();
        let mut last = None;
        for (sequence, content) in &recovered.read {
            assert!(last < Some(*sequence), "{what}: {sequence} is read behind {last:?}");
            last = Some(*sequence);
            let found = missing.remove(sequence).unwrap_or_else(|| panic!("{what}: {sequence} is nothing to read"));
            assert!(found == content, "{what}: {sequence} has other bytes");
        }
        assert!(
            missing.keys().all(|sequence| hit.contains(sequence)),
            "{what}: {:?} lost, hit: {hit:?}",
            missing.keys()
        );
        let records = missing.values().map(|content| u64::from(content.records)).sum::<u64>();
        let lost = recovered.lost();
        match counting {
            Counting::Exact => assert_eq!(lost, (missing.len() as u64, records), "{what}: {:?}", missing.keys()),
            Counting::Frames => {
                assert_eq!(lost.0, missing.len() as u64, "{what}");
                assert!(lost.1 <= records, "{what}: {} of {records} records", lost.1);
            }
            Counting::AtMost => {
                assert!(
                    lost.0 <= missing.len() as u64 && lost.1 <= records,
                    "{what}: {lost:?} of {missing:?}",
                    missing = missing.len()
                );
            }
        }
        goes_on(what, disk, recovered.read.len());
    }

    /// Damages what is known about completions: no frame is lost, and what was completed may come again.
    fn check_completions(&self, what: &str, damage: impl FnOnce(&SimulatedDirectory)) -> u64 {
        let disk = self.disk.kill(&mut Choices::mild());
        damage(&disk);
        let recovered = Recovered::of(&disk, OPTIONS, NOW);
        let read: BTreeMap<u64, &Content> =
            recovered.read.iter().map(|(sequence, content)| (*sequence, content)).collect();
        assert_eq!(read.len(), recovered.read.len(), "{what}: each once");
        for (sequence, content) in &read {
            let known = &self.model.frames[sequence];
            assert!(known.content == **content, "{what}: {sequence} has other bytes");
        }
        assert!(self.model.unread().all(|(sequence, _)| read.contains_key(&sequence)), "{what}: a frame is lost");
        // What was completed and removed with its segment may seem to be missing.
        let completed = self.model.frames.iter().filter(|(_, known)| matches!(known.fate, Fate::Done(_)));
        let gone = completed.filter(|(sequence, _)| !self.places.contains_key(*sequence)).count() as u64;
        let (lost, _) = recovered.lost();
        assert!(lost <= gone, "{what}: {lost} frames are said to be lost, {gone} were removed");
        goes_on(what, disk, recovered.read.len());
        lost
    }
}

/// Where every frame of a directory lies.
fn places(disk: &SimulatedDirectory) -> BTreeMap<u64, (String, u64, u64)> {
    let mut places = BTreeMap::new();
    for (name, bytes) in disk.snapshot() {
        let mut at = HEADER;
        let Some(mut next) = segment_of(&name) else { continue };
        // What stood in the file before is none of its frames.
        while let Some(mark) = bytes.get(at..).and_then(|rest| Mark::decode(rest, BEFORE))
            && mark.sequence >= next
        {
            let end = at + mark.frame() as usize;
            next = mark.sequence + 1;
            places.insert(mark.sequence, (name.clone(), at as u64, end as u64));
            at = end;
        }
    }
    places
}

/// The log takes more, gives everything out, and leaves nothing but what it keeps aside.
fn goes_on(what: &str, disk: SimulatedDirectory, recovered: usize) {
    let mut log = Log::open(disk.clone(), OPTIONS, NOW).unwrap();
    log.maintain(NOW).unwrap();
    let appended = log.append(&[Content::new(1_000_000, 100).frame()], NOW);
    assert!(appended.error.is_none(), "{what}: {appended:?}");
    let mut read = Vec::new();
    while log.has_unread() {
        read.extend(log.read(20_000, NOW).unwrap());
        log.maintain(NOW).unwrap();
    }
    assert_eq!(read.len(), recovered + 1, "{what}");
    assert_eq!(read.last().unwrap().frame, appended.frames[0], "{what}");
    read.iter().for_each(|stored| log.complete(stored.frame));
    log.maintain(NOW).unwrap();
    log.close(NOW).unwrap();
    drop(log);
    let recovered = Recovered::of(&disk, OPTIONS, NOW);
    assert_eq!((recovered.read.len(), recovered.lost()), (0, (0, 0)), "{what}: nothing is left");
    let names: Vec<String> = disk.snapshot().into_keys().collect();
    assert!(names.iter().all(|name| segment_of(name).is_none()), "{what}: {names:?}");
    assert!(names.iter().filter(|name| name.ends_with(".damaged")).count() <= 4, "{what}: {names:?}");
}

fn both() -> [Rested; 2] {
    [Rested::after(Ending::Close), Rested::after(Ending::Kill(Choices::mild()))]
}

/// One bit that flips anywhere costs the frame that it is in, and nothing where it is in no frame.
#[test]
fn a_flipped_bit_costs_one_frame() {
    for rested in both() {
        assert!(rested.segments().len() > 4, "{:?}", rested.disk);
        let mut lost = 0;
        for name in rested.segments() {
            for seed in 0..60 {
                let bit = Choices::seeded(seed + 1000 * rested.size(&name)).number(0..=8 * rested.size(&name) - 1);
                let hit = rested.hit(&name, bit / 8, bit / 8 + 1);
                rested.check(&format!("bit {bit} of {name}"), &hit, Counting::Exact, |disk| disk.flip_bit(&name, bit));
                lost += hit.len();
            }
        }
        assert!(lost > 100, "most bits are in frames");
    }
}

/// Of headers, marks and seals every bit is needed and none is missed: a flipped one costs nothing at all.
#[test]
fn a_flipped_bit_of_a_mark_costs_nothing() {
    for rested in both() {
        let none = BTreeSet::new();
        for name in rested.segments() {
            let frames = rested.places.values().filter(|(file, _, _)| *file == name);
            let marks = frames.flat_map(|(_, start, end)| [(*start, MARK as u64), (end - MARK as u64, MARK as u64)]);
            let end =
                rested.places.values().filter(|(file, _, _)| *file == name).map(|(_, _, end)| *end).max().unwrap();
            let ends = [(0, HEADER as u64), (end, rested.size(&name) - end)];
            for (index, (start, length)) in ends.into_iter().chain(marks).filter(|(_, length)| *length > 0).enumerate()
            {
                let bit = 8 * start + Choices::seeded(index as u64).number(0..=8 * length - 1);
                rested.check(&format!("bit {bit} of {name}"), &none, Counting::Exact, |disk| disk.flip_bit(&name, bit));
            }
        }
    }
}

/// A file that is cut anywhere loses what was behind the cut.
#[test]
fn a_cut_file_loses_its_end() {
    for rested in both() {
        for name in rested.segments() {
            let size = rested.size(&name);
            let is_last = rested.segments().last() == Some(&name);
            let counting = if is_last && !rested.knows_its_end { Counting::AtMost } else { Counting::Frames };
            let ends =
                rested.places.values().filter(|(file, _, _)| *file == name).flat_map(|(_, start, end)| [*start, *end]);
            let cuts = (0..12).map(|seed| Choices::seeded(seed).number(0..=size)).chain(ends).chain([
                0,
                1,
                HEADER as u64,
                size - 1,
            ]);
            for cut in cuts {
                let hit = rested.hit(&name, cut, u64::MAX);
                rested.check(&format!("{name} cut at {cut}"), &hit, counting, |disk| disk.truncate(&name, cut));
            }
        }
    }
}

/// A page of zeros loses the frames that lie in it.
#[test]
fn a_zeroed_page_loses_what_was_in_it() {
    for rested in both() {
        for name in rested.segments() {
            for page in 0..rested.size(&name).div_ceil(4096) {
                let hit = rested.hit(&name, 4096 * page, 4096 * (page + 1));
                let end = rested.places.values().filter(|(file, _, _)| *file == name).map(|(_, _, end)| *end).max();
                let is_last = rested.segments().last() == Some(&name) && Some(4096 * (page + 1)) >= end;
                let counting = if is_last && !rested.knows_its_end { Counting::AtMost } else { Counting::Frames };
                rested.check(&format!("page {page} of {name}"), &hit, counting, |disk| disk.zero_page(&name, page));
            }
        }
    }
}

/// A file that is gone, or emptied, or replaced by another, loses its frames.
#[test]
fn a_missing_file_loses_its_frames() {
    for rested in both() {
        let segments = rested.segments();
        for (index, name) in segments.iter().enumerate() {
            let hit = rested.hit(name, 0, u64::MAX);
            let is_last = index + 1 == segments.len();
            let counting = if is_last && !rested.knows_its_end { Counting::AtMost } else { Counting::Frames };
            rested.check(&format!("{name} is gone"), &hit, counting, |disk| disk.delete(name));
            rested.check(&format!("{name} is empty"), &hit, counting, |disk| disk.truncate(name, 0));
            rested.check(&format!("{name} is zeros"), &hit, counting, |disk| disk.put(name, vec![0; 5000]));
            let other = &segments[(index + 1) % segments.len()];
            rested.check(&format!("{name} is {other}"), &hit, counting, |disk| disk.duplicate(other, name));
        }
    }
}

/// Copies of files, files that are empty and files of others change nothing, whatever their names are.
#[test]
fn more_files_change_nothing() {
    for rested in both() {
        let none = BTreeSet::new();
        for name in rested.segments() {
            let first = segment_of(&name).unwrap();
            let names = [
                name.clone() + ".copy",
                "copy of ".to_owned() + &name,
                segment_name(first + 1),
                segment_name(first.saturating_sub(1)),
                segment_name(500),
                segment_name(u64::MAX),
            ];
            for copy in names.iter().filter(|copy| !rested.disk.snapshot().contains_key(*copy)) {
                rested.check(&format!("{name} as {copy}"), &none, Counting::Exact, |disk| disk.duplicate(&name, copy));
                rested.check(&format!("empty {copy}"), &none, Counting::Exact, |disk| disk.put(copy, Vec::new()));
                rested.check(&format!("garbage {copy}"), &none, Counting::Exact, |disk| disk.put(copy, vec![9; 3000]));
            }
        }
    }
}

/// What stands behind the end of a file changes nothing, not even frames of this file or another.
#[test]
fn a_tail_of_garbage_changes_nothing() {
    for rested in both() {
        let none = BTreeSet::new();
        for name in rested.segments() {
            let whole = rested.disk.contents(&name);
            let other = rested.disk.contents(&rested.segments()[0]);
            let tails = [
                vec![0; 10_000],
                vec![1; 17],
                whole[..HEADER].to_vec(),
                whole[HEADER..].to_vec(),
                whole.clone(),
                other,
            ];
            for (index, tail) in tails.iter().enumerate() {
                let what = format!("tail {index} behind {name}");
                rested.check(&what, &none, Counting::Exact, |disk| disk.append_garbage(&name, tail));
            }
        }
    }
}

/// Whatever becomes of one of the files that say what is completed, every frame is read that is to be read.
#[test]
fn damage_to_what_is_completed_loses_nothing() {
    for rested in both() {
        for name in COMPLETED {
            let written =
                rested.disk.contents(name).iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            for seed in 0..60 {
                let bit = Choices::seeded(seed).number(0..=8 * written.max(100) - 1);
                rested.check_completions(&format!("bit {bit} of {name}"), |disk| disk.flip_bit(name, bit));
            }
            for cut in [0, 10, 63, 64, 100, written.saturating_sub(1), written, 4096] {
                rested.check_completions(&format!("{name} cut at {cut}"), |disk| disk.truncate(name, cut));
            }
            rested.check_completions(&format!("page of {name}"), |disk| disk.zero_page(name, 0));
            rested.check_completions(&format!("{name} is gone"), |disk| disk.delete(name));
            rested.check_completions(&format!("{name} with a tail"), |disk| disk.append_garbage(name, &[7; 5000]));
            let other = COMPLETED.into_iter().find(|other| *other != name).unwrap();
            rested.check_completions(&format!("{other} as {name}"), |disk| disk.duplicate(other, name));
        }
        rested.check_completions("both are gone", |disk| COMPLETED.iter().for_each(|name| disk.delete(name)));
    }
}

/// A file of a later version keeps the log from being opened, and every byte stays as it is.
#[test]
fn later_versions_are_left_alone() {
    for rested in both() {
        let names: Vec<String> = rested.segments().into_iter().chain(COMPLETED.map(str::to_owned)).collect();
        let mut refused = 0;
        for name in names {
            let disk = rested.disk.kill(&mut Choices::mild());
            let mut bytes = disk.contents(&name);
            let length = match segment_of(&name) {
                Some(_) => HEADER,
                None => u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize,
            };
            if length == 0 {
                // It has not been written yet.
                continue;
            }
            bytes[8] = 2;
            let checksum = checksum([&bytes[..12], &bytes[16..length]]).to_le_bytes();
            bytes[12..16].copy_from_slice(&checksum);
            disk.put(&name, bytes);
            let before = disk.snapshot();
            match Log::open(disk.clone(), OPTIONS, NOW) {
                Err(OpenError::Newer { name: named, version: 2 }) => assert_eq!(named, name),
                other => panic!("{name}: {other:?}"),
            }
            assert!(disk.snapshot() == before);
            refused += 1;
        }
        assert!(refused > 5);
    }
}

/// Whatever call fails when a log is opened, every byte stays as it is, and the next start finds everything.
#[test]
fn a_failed_start_changes_nothing() {
    for rested in both() {
        let whole = Recovered::of(&rested.disk.kill(&mut Choices::mild()), OPTIONS, NOW).read;
        let mut failed = 0;
        for call in 0.. {
            let disk = rested.disk.kill(&mut Choices::mild());
            let before = disk.snapshot();
            disk.set_fault(Fault::once(Calls::Any, call, Failure::Device));
            match Log::open(disk.clone(), OPTIONS, NOW) {
                Err(OpenError::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(5)),
                Err(newer) => panic!("{newer}"),
                Ok(_) => break,
            }
            assert!(disk.snapshot() == before && disk.counts().of(Calls::Changing) == 0);
            assert!(Recovered::of(&disk, OPTIONS, NOW).read == whole);
            failed += 1;
        }
        assert!(failed > 20, "{failed} calls");
    }
}

/// A payload that looks like frames is a payload: torn, it gives no numbers to the log.
#[test]
fn payloads_that_look_like_frames() {
    for sequence in [0, 1, 2, 3, 1000, u64::MAX - 1, u64::MAX] {
        let inner = b"never appended";
        let mark = Mark {
            length: inner.len() as u32,
            checksum: checksum([&inner[..]]),
            sequence,
            records_before: u64::MAX - 3,
            written_at: 0,
            records: u32::MAX,
            signal: Signal::Logs,
        };
        let forged = [&mark.encode(BEFORE)[..], inner, &mark.encode(BEHIND)].concat();
        let payload = Rope::from(Bytes::from([&[7; 100][..], &forged, &[8; 1000]].concat()));
        let disk = SimulatedDirectory::new();
        let mut log = Log::open(disk.clone(), OPTIONS, NOW).unwrap();
        let hostile = NewFrame { signal: Signal::Logs, records: 1, payload };
        let plain = Content::new(1, 50).frame();
        assert!(log.append(&[plain.clone(), hostile.clone(), plain], NOW).error.is_none());
        let whole = Recovered::of(&disk, OPTIONS, NOW);
        assert_eq!((whole.read.len(), whole.lost()), (3, (0, 0)));
        assert_eq!(whole.read[1].1.payload, hostile.payload.clone().into_bytes());
        drop(log);

        // Cut behind the forged frame, as a crash may leave it.
        let (name, start, end) = places(&disk)[&1].clone();
        let cut = disk.kill(&mut Choices::mild());
        cut.truncate(&name, start + 700);
        let mut log = Log::open(cut, OPTIONS, NOW).unwrap();
        assert!(log.next_sequence() < 10, "{sequence}: {}", log.next_sequence());
        assert!(log.unread().0 < 10 && log.take_losses().iter().all(|loss| loss.frames < 10));
        assert!(log.append(&[Content::new(2, 50).frame()], NOW).error.is_none());
        assert!(!log.read(usize::MAX, NOW).unwrap().is_empty());

        // With the mark before it damaged, it is found by the one behind it; with both, what follows is. Only a payload that knew
        // its number would then be taken for the frame.
        disk.flip_bit(&name, 8 * start);
        let read: Vec<u64> = Recovered::of(&disk, OPTIONS, NOW).read.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(read, [0, 1, 2], "{sequence}");
        if (1..4).contains(&sequence) {
            continue;
        }
        disk.flip_bit(&name, 8 * end - 1);
        let read: Vec<u64> = Recovered::of(&disk, OPTIONS, NOW).read.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(read, [0, 2], "{sequence}");
    }
}
