//! A sink driver over a disk queue with real files.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine_config::{Acknowledge, WhenFull};
use engine_core::batch::Batch;
use engine_core::lane::{LaneThreads, Lanes};
use engine_core::ledger::Line;
use engine_core::outcome::Outcome;
use engine_core::sink::{self, Backoff, Batching, Drained, DriverSettings, NoRoom, SinkHandle, SinkInlet, Succession};
use engine_core::telemetry::ComponentTelemetry;
use engine_core::test_kit::{ScriptedSink, logs, records_of, within};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;

const LIMITS: StoreLimits = StoreLimits { max_size: 8 << 20, max_age: None, drops_oldest: false };
/// Records of a payload, and its size about.
const RECORDS: u64 = 10;

struct Driven {
    inlet: SinkInlet,
    handle: SinkHandle,
}

fn settings(when_full: WhenFull) -> DriverSettings {
    DriverSettings {
        acknowledge: Acknowledge::Buffered,
        when_full,
        max_buffer: 256 << 10,
        batching: Batching { max_size: 1 << 20, max_records: 8192, timeout: Duration::ZERO },
        concurrency: 4,
        backoff: Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(50) },
        max_elapsed: None,
        max_age: None,
    }
}

fn drive(sink: &ScriptedSink, when_full: WhenFull, lanes: &Lanes, succession: Succession) -> Driven {
    let telemetry = Arc::new(ComponentTelemetry::default());
    let settings = settings(when_full);
    let (inlet, handle) = sink::start_after("out", Box::new(sink.clone()), settings, telemetry, lanes, succession);
    Driven { inlet, handle }
}

fn over(store: Arc<dyn Store>) -> Succession {
    Succession { store: Some(store), ..Succession::default() }
}

fn open(path: &Path, limits: StoreLimits) -> Arc<dyn Store> {
    Arc::new(DiskQueue::open(path, limits).unwrap())
}

fn away() -> ScriptedSink {
    ScriptedSink::answering(|_| Outcome::retry("away"))
}

fn taking() -> ScriptedSink {
    ScriptedSink::answering(|_| Outcome::Delivered)
}

/// A payload of ten records with these numbers, of 10 KiB.
fn payload(number: u64) -> otlp::Payload {
    let resource = "shop".repeat(2500);
    logs(&[("service.name", &resource)], number * RECORDS..(number + 1) * RECORDS)
}

impl Driven {
    async fn offer(&self, number: u64) -> Option<Outcome> {
        let (batch, receipt) = Batch::new(payload(number));
        match self.inlet.reserve(batch.encoded_len()) {
            Ok(room) => {
                self.inlet.commit(batch, room);
                Some(receipt.await)
            }
            Err(NoRoom::Full | NoRoom::Closed) => None,
        }
    }

    fn line(&self) -> Line {
        let line = self.handle.line();
        line.check().unwrap();
        line
    }

    async fn drained(&self) -> Drained {
        self.handle.drain(Instant::now() + Duration::from_secs(30)).await
    }
}

/// How often each number was delivered.
fn delivered(sink: &ScriptedSink) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for delivery in sink.seen().iter().filter(|delivery| delivery.outcome == Outcome::Delivered) {
        for number in records_of(&delivery.payload) {
            *counts.entry(number).or_default() += 1;
        }
    }
    counts
}

fn each_once(numbers: std::ops::Range<u64>) -> BTreeMap<u64, usize> {
    numbers.map(|number| (number, 1)).collect()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    within(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// What does not fit into memory waits on disk and is delivered in the end, once; memory stays within its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_memory_does_not_hold_waits_on_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let threads = LaneThreads::start(2).unwrap();
    let is_away = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&is_away);
    let sink = ScriptedSink::answering(move |_| match asked.load(Ordering::Relaxed) {
        true => Outcome::retry("away"),
        false => Outcome::Delivered,
    });
    let driven = drive(&sink, WhenFull::Refuse, &threads.lanes(), over(open(scratch.path(), LIMITS)));
    for number in 0..400 {
        assert_eq!(driven.offer(number).await, Some(Outcome::Delivered));
        assert!(driven.handle.buffered_bytes() <= driven.handle.max_buffer());
    }
    let line = driven.line();
    assert_eq!((line.counts.accepted, line.held.total()), (4000, 4000));
    assert!(line.held.stored > 3000, "{line:?}");
    is_away.store(false, Ordering::Relaxed);
    until("everything is delivered", || driven.line().counts.delivered == 4000).await;
    assert_eq!(delivered(&sink), each_once(0..4000));
    assert_eq!(driven.drained().await, Drained { dropped: 0, kept: 0, finished: true });
    assert_eq!(driven.line().held.total(), 0);
}

/// What is held at the end of one process is recovered by the next, and the end does not wait for a backend that is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_one_recovers() {
    let scratch = tempfile::tempdir().unwrap();
    let threads = LaneThreads::start(1).unwrap();
    let driven = drive(&away(), WhenFull::Refuse, &threads.lanes(), over(open(scratch.path(), LIMITS)));
    for number in 0..100 {
        driven.offer(number).await;
    }
    assert_eq!(driven.drained().await, Drained { dropped: 0, kept: 1000, finished: true });
    assert_eq!(driven.line().held.stored, 1000);

    let sink = taking();
    let driven = drive(&sink, WhenFull::Refuse, &threads.lanes(), over(open(scratch.path(), LIMITS)));
    assert_eq!(driven.line().counts.recovered, 1000);
    until("everything is delivered", || driven.line().counts.delivered == 1000).await;
    assert_eq!(delivered(&sink), each_once(0..1000));
    driven.drained().await;
    assert_eq!(open(scratch.path(), LIMITS).recovered(), Recovered::default());
}

/// A full disk buffer refuses, or lets the oldest make room; its files never take more than they may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer() {
    for when_full in [WhenFull::Refuse, WhenFull::DropOldest] {
        let scratch = tempfile::tempdir().unwrap();
        let threads = LaneThreads::start(1).unwrap();
        let limits = StoreLimits { drops_oldest: when_full == WhenFull::DropOldest, ..LIMITS };
        let driven = drive(&away(), when_full, &threads.lanes(), over(open(scratch.path(), limits)));
        let mut refused = 0;
        for number in 0..2000 {
            refused += u64::from(driven.offer(number).await.is_none());
        }
        let state = driven.handle.store().unwrap().state();
        assert!(state.used <= state.max + state.max / 8, "{state:?}");
        let line = driven.line();
        if when_full == WhenFull::Refuse {
            assert!(refused > 1000 && line.counts.dropped.is_empty(), "{refused} of {line:?}");
        } else {
            assert_eq!((refused, line.counts.accepted), (0, 20_000));
            assert!(line.counts.dropped["full"] > 10_000, "{line:?}");
        }
        driven.drained().await;
        let sink = taking();
        let driven = drive(&sink, WhenFull::Refuse, &threads.lanes(), over(open(scratch.path(), LIMITS)));
        let held = driven.line().counts.recovered;
        until("everything is delivered", || driven.line().counts.delivered == held).await;
        let last = delivered(&sink).into_keys().next_back().unwrap();
        assert_eq!(last == 19_999, when_full == WhenFull::DropOldest, "the newest are kept: {last}");
        driven.drained().await;
    }
}

/// While nothing can be written whoever sends is told to come again and nothing is taken; then it goes on by itself. What was
/// on disk already is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_not_taken() {
    let scratch = tempfile::tempdir().unwrap();
    let (path, elsewhere) = (scratch.path().join("out"), scratch.path().join("gone"));
    let threads = LaneThreads::start(1).unwrap();
    let driven = drive(&away(), WhenFull::Refuse, &threads.lanes(), over(open(&path, LIMITS)));
    // A first segment, and then no name for the next one.
    assert_eq!(driven.offer(0).await, Some(Outcome::Delivered));
    std::fs::rename(&path, &elsewhere).unwrap();
    let mut number = 1;
    let refusal = loop {
        match driven.offer(number).await {
            Some(Outcome::Delivered) => number += 1,
            other => break other,
        }
    };
    assert!(matches!(refusal, Some(Outcome::Retry { .. })), "{refusal:?}");
    assert_eq!(driven.offer(number).await, None, "nothing is tried for each of them");
    let line = driven.line();
    assert_eq!((line.counts.returned, line.held.total()), (RECORDS, number * RECORDS));
    assert!(driven.handle.store().unwrap().state().problem.is_some());
    std::fs::rename(&elsewhere, &path).unwrap();
    until("it can be written again", || driven.handle.store().unwrap().state().problem.is_none()).await;
    assert_eq!(driven.offer(number).await, Some(Outcome::Delivered));
    driven.drained().await;
    assert_eq!(open(&path, LIMITS).recovered().records, (number + 1) * RECORDS);
}

/// A sink with another configuration gets the buffer while the process runs: what the one before held is delivered by it, in
/// memory and on disk, and the ledger is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sink_takes_the_buffer() {
    let scratch = tempfile::tempdir().unwrap();
    let threads = LaneThreads::start(2).unwrap();
    let store = open(scratch.path(), LIMITS);
    let old = drive(&away(), WhenFull::Refuse, &threads.lanes(), over(Arc::clone(&store)));
    for number in 0..300 {
        assert_eq!(old.offer(number).await, Some(Outcome::Delivered));
    }
    let sink = taking();
    let succession =
        Succession { history: old.handle.history(), store: Some(store), is_handed_over: true, after: Vec::new() };
    let new = drive(&sink, WhenFull::Refuse, &threads.lanes(), succession);
    let Driven { inlet, handle } = old;
    drop(inlet);
    for number in 300..400 {
        assert_eq!(new.offer(number).await, Some(Outcome::Delivered));
    }
    handle.hand_over(&new.handle, Instant::now() + Duration::from_secs(30), &CancellationToken::new()).await;
    until("everything is delivered", || new.line().counts.delivered == 4000).await;
    assert_eq!(delivered(&sink), each_once(0..4000));
    let line = new.line();
    assert_eq!((line.counts.accepted, line.counts.recovered, line.held.total()), (4000, 0, 0));
    new.drained().await;
}

/// A buffer that was opened and given up, as by a start that fails for another reason, is byte for byte what it was; one that
/// somebody has is not opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let threads = LaneThreads::start(1).unwrap();
    let driven = drive(&away(), WhenFull::Refuse, &threads.lanes(), over(open(scratch.path(), LIMITS)));
    for number in 0..100 {
        driven.offer(number).await;
    }
    let refused = DiskQueue::open(scratch.path(), LIMITS).unwrap_err();
    assert!(matches!(refused, OpenQueueError::Hold(HoldError::InUse(_))), "{refused:?}");
    driven.drained().await;
    let before = contents(scratch.path());
    drop(open(scratch.path(), LIMITS));
    until("it is let go of", || Directory::hold(scratch.path()).is_ok()).await;
    assert_eq!(contents(scratch.path()), before);
}

/// A buffer that becomes much smaller than what is in its files goes on when those are delivered, and so does one that took a
/// payload larger than itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_too_large_does_not_stand_in_the_way() {
    let scratch = tempfile::tempdir().unwrap();
    let threads = LaneThreads::start(1).unwrap();
    let sink = taking();
    let large = StoreLimits { max_size: 1 << 30, ..LIMITS };
    let driven = drive(&sink, WhenFull::Refuse, &threads.lanes(), over(open(scratch.path(), large)));
    for number in 0..1000 {
        assert_eq!(driven.offer(number).await, Some(Outcome::Delivered));
    }
    until("everything is delivered", || driven.line().counts.delivered == 10_000).await;
    driven.handle.store().unwrap().resettle(LIMITS);
    until("the file is let go of", || driven.handle.store().unwrap().state().used < 1 << 20).await;
    assert_eq!(driven.offer(1000).await, Some(Outcome::Delivered));

    let (batch, receipt) = Batch::new(logs(&[("service.name", &"x".repeat(9 << 20))], 0..1));
    let room = driven.inlet.reserve(batch.encoded_len()).unwrap();
    driven.inlet.commit(batch, room);
    assert_eq!(receipt.await, Outcome::Delivered);
    until("it is delivered", || driven.line().held.total() == 0).await;
    until("its file is let go of", || driven.handle.store().unwrap().state().used < 1 << 20).await;
    assert_eq!(driven.offer(1001).await, Some(Outcome::Delivered));
    driven.drained().await;
}

/// A sender that waits for room hears of it when a disk can be written again, though nothing was delivered meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_that_it_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let (path, elsewhere) = (scratch.path().join("out"), scratch.path().join("gone"));
    let threads = LaneThreads::start(1).unwrap();
    let driven = drive(&away(), WhenFull::Block, &threads.lanes(), over(open(&path, LIMITS)));
    std::fs::create_dir_all(&path).unwrap();
    std::fs::rename(&path, &elsewhere).unwrap();
    while driven.offer(0).await.is_some() {}
    let waiting = driven.inlet.freed();
    assert!(matches!(driven.inlet.reserve(1), Err(NoRoom::Full)));
    std::fs::rename(&elsewhere, &path).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "nobody was told");
    driven.drained().await;
}
