//! Half a minute of frames that are read and not completed, 20,000 a second.

use std::time::Duration;

use super::PRODUCTION;
use super::model::Content;
use super::world::Recovered;
use crate::format::{COMPLETED, Completed, Read, segment_of};
use crate::log::{Frame, Log, NewFrame, Now};
use crate::simulated::{Calls, Choices, SimulatedDirectory};

const FRAMES: usize = 600_000;
/// Frames that are synced together.
const GROUP: usize = 500;
const NOW: Now = Now { unix_millis: 1_700_000_000_000, elapsed: Duration::ZERO };

/// How long what is completed is, written as a whole.
fn whole_state(disk: &SimulatedDirectory) -> usize {
    let states = COMPLETED.iter().map(|name| match Completed::decode(&disk.contents(name)) {
        Read::Whole(completed) => (completed.generation, completed.encode().len()),
        other => panic!("{name}: {other:?}"),
    });
    states.max().unwrap().1
}

/// All but the first are completed in any order. What is written about that costs as much as it says, what is known stays
/// small, segments go, and a start in between or at the end finds exactly what is left.
#[test]
fn half_a_minute_is_outstanding() {
    let disk = SimulatedDirectory::new();
    let mut log = Log::open(disk.clone(), PRODUCTION, NOW).unwrap();
    let frame = NewFrame { records: 1, ..Content::new(1, 40).frame() };
    let group = vec![frame; GROUP];
    let mut frames: Vec<Frame> = Vec::with_capacity(FRAMES);
    for _ in 0..FRAMES / GROUP {
        assert!(log.append(&group, NOW).error.is_none());
        frames.extend(log.read(usize::MAX, NOW).unwrap().into_iter().map(|stored| stored.frame));
    }
    assert_eq!(frames.len(), FRAMES);
    assert_eq!(disk.written_in_place(), 0);
    let segments = disk.snapshot().len();
    assert!(segments > 200, "{segments} files");

    let mut choices = Choices::seeded(7);
    let oldest = frames.remove(0);
    for place in (1..frames.len()).rev() {
        frames.swap(place, choices.number(0..=place as u64) as usize);
    }
    let calls = disk.counts().of(Calls::Any);
    for (count, frame) in frames.iter().enumerate() {
        log.complete(*frame);
        if log.needs_maintenance() {
            log.maintain(NOW).unwrap();
        }
        if count == FRAMES / 2 {
            let unread = Recovered::opened(&disk.kill(&mut Choices::mild()), PRODUCTION, NOW);
            let left = (FRAMES - 1 - count) as u64;
            assert!((left..left + 32).contains(&unread.0) && unread.0 == unread.1, "{unread:?}, {left} are left");
            let state = COMPLETED.iter().map(|name| disk.contents(name).len()).max().unwrap();
            assert!(state < 1 << 20, "{state} bytes");
        }
    }
    log.maintain(NOW).unwrap();
    let written = disk.written_in_place() / FRAMES as u64;
    assert!(written < 100, "{written} bytes were written for a frame");
    let calls = disk.counts().of(Calls::Any) - calls;
    assert!(calls < FRAMES as u64 / 10, "{calls} calls");
    let left = disk.snapshot().into_keys().filter(|name| segment_of(name).is_some()).count();
    assert_eq!(left, 2, "the first segment and the last one are needed");

    log.close(NOW).unwrap();
    assert!(whole_state(&disk) < 200, "{} bytes", whole_state(&disk));
    let recovered = Recovered::of(&disk.kill(&mut Choices::mild()), PRODUCTION, NOW);
    assert_eq!(recovered.read.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [oldest.sequence]);
    assert_eq!(recovered.lost(), (0, 0));
}
