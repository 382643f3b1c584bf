//! What a buffer does when it is full, old, or taken over by another sink: in memory, with a scripted far end. Time is paused
//! but where other threads work. The same on disk is tested with real files beside those.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use engine_config::{ComponentId, SinkSettings};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::*;
use crate::batch::Batch;
use crate::edge::FULL;
use crate::lane::LaneThreads;
use crate::outcome::{Outcome, RejectionKind};
use crate::test_kit::{ScriptedSink, logs, records_of, within};

fn settings(when_full: WhenFull) -> DriverSettings {
    DriverSettings {
        acknowledge: Acknowledge::Buffered,
        when_full,
        max_buffer: 16 << 10,
        batching: Batching::NONE,
        concurrency: 1,
        backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) },
        max_elapsed: None,
        max_age: None,
    }
}

fn numbered(numbers: std::ops::Range<u64>) -> Payload {
    logs(&[("service.name", "shop")], numbers)
}

fn away() -> ScriptedSink {
    ScriptedSink::answering(|_| Outcome::retry("away"))
}

fn silent() -> ScriptedSink {
    ScriptedSink::new(|_| Box::pin(std::future::pending()) as BoxFuture<'static, Outcome>)
}

fn delivered(sink: &ScriptedSink) -> Vec<u64> {
    let seen = sink.seen();
    let mut all: Vec<u64> = seen
        .iter()
        .filter(|delivery| delivery.outcome == Outcome::Delivered)
        .flat_map(|delivery| records_of(&delivery.payload))
        .collect();
    all.sort_unstable();
    all
}

/// With `drop_oldest` a full buffer takes what comes and loses what has waited longest, but for what is being sent; everything
/// is counted.
#[tokio::test(start_paused = true)]
async fn the_oldest_make_room() {
    let threads = LaneThreads::start(1).unwrap();
    let sink = silent();
    let telemetry = Arc::new(ComponentTelemetry::default());
    let (inlet, handle) =
        start("out", Box::new(sink.clone()), settings(WhenFull::DropOldest), telemetry, &threads.lanes());
    for number in 0..200 {
        let (batch, receipt) = Batch::new(numbered(number * 10..number * 10 + 10));
        let room = inlet.reserve(batch.encoded_len()).unwrap();
        inlet.commit(batch, room);
        assert_eq!(receipt.await, Outcome::Delivered);
        if number == 0 {
            sink.called(1).await;
        }
        assert!(handle.buffered_bytes() <= handle.max_buffer());
    }
    let line = handle.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.held.in_flight), (2000, 10), "what is being sent stays");
    assert_eq!(line.counts.dropped[FULL] + line.held.total(), 2000);
    assert!(line.counts.dropped[FULL] > 1000);
    let newest = inlet.driver.parts.iter().map(|part| part.hand_over(true)).find(|items| !items.is_empty()).unwrap();
    let last = records_of(&Payload::Wire(newest.last().unwrap().wire.clone()));
    assert_eq!(last.last(), Some(&1999), "what came last is there");
}

/// What waited longer than payloads may is lost and counted, in a request under way too.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_lost() {
    let threads = LaneThreads::start(1).unwrap();
    let telemetry = Arc::new(ComponentTelemetry::default());
    let aged = DriverSettings { max_age: Some(Duration::from_secs(60)), ..settings(WhenFull::Refuse) };
    let (inlet, handle) = start("out", Box::new(away()), aged, telemetry, &threads.lanes());
    for first in [0, 10] {
        let (batch, receipt) = Batch::new(numbered(first..first + 10));
        let room = inlet.reserve(batch.encoded_len()).unwrap();
        inlet.commit(batch, room);
        receipt.await;
    }
    while handle.line().held.total() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(handle.line().counts.dropped[EXPIRED], 20);
    handle.line().check().unwrap();
}

/// A sink that takes the place of another one of the same buffer gets what that one held, queued and under way, and the ledger
/// goes on as one. What is being answered at that moment is not sent again.
#[tokio::test]
async fn what_is_held_is_handed_over() {
    let threads = LaneThreads::start(2).unwrap();
    let telemetry = Arc::new(ComponentTelemetry::default());
    let refusing = away();
    let (inlet, old) =
        start("out", Box::new(refusing.clone()), settings(WhenFull::Refuse), Arc::clone(&telemetry), &threads.lanes());
    for number in 0..20 {
        let (batch, receipt) = Batch::new(numbered(number * 10..number * 10 + 10));
        let room = inlet.reserve(batch.encoded_len()).unwrap();
        inlet.commit(batch, room);
        receipt.await;
    }
    refusing.called(1).await;
    drop(inlet);
    let taking = ScriptedSink::answering(|_| Outcome::Delivered);
    let succession = Succession { history: old.history(), ..Succession::default() };
    let (inlet, new) = start_after(
        "out",
        Box::new(taking.clone()),
        settings(WhenFull::Refuse),
        telemetry,
        &threads.lanes(),
        succession,
    );
    let drained = old.hand_over(&new, Instant::now() + Duration::from_secs(30), &CancellationToken::new()).await;
    assert_eq!(drained, Drained { dropped: 0, kept: 0, finished: true });
    new.emptied(Instant::now() + Duration::from_secs(30)).await;
    assert_eq!(delivered(&taking), (0..200).collect::<Vec<_>>());
    let line = new.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.counts.delivered, line.counts.recovered), (200, 200, 0));
    assert_eq!((old.buffered_bytes(), new.buffered_bytes()), (0, 0));
    drop(inlet);
}

/// A sender that waits for the far end's answer gets it from the sink that took over.
#[tokio::test]
async fn who_waits_is_handed_over_too() {
    let threads = LaneThreads::start(1).unwrap();
    let telemetry = Arc::new(ComponentTelemetry::default());
    let waiting = DriverSettings { acknowledge: Acknowledge::Delivered, ..settings(WhenFull::Refuse) };
    let refusing = away();
    let (inlet, old) =
        start("out", Box::new(refusing.clone()), waiting.clone(), Arc::clone(&telemetry), &threads.lanes());
    let (batch, receipt) = Batch::new(numbered(0..10));
    let room = inlet.reserve(batch.encoded_len()).unwrap();
    inlet.commit(batch, room);
    refusing.called(1).await;
    let taking = ScriptedSink::answering(|_| Outcome::Delivered);
    let (_inlet, new) =
        start_after("out", Box::new(taking), waiting, telemetry, &threads.lanes(), Succession::default());
    old.hand_over(&new, Instant::now() + Duration::from_secs(30), &CancellationToken::new()).await;
    assert_eq!(receipt.await, Outcome::Delivered);
    // Another type of sink has a ledger of its own: each balances by itself.
    assert_eq!((old.line().counts.returned, new.line().counts.recovered), (10, 10));
    old.line().check().unwrap();
    new.line().check().unwrap();
}

/// A buffer whose share shrinks below what it holds drops nothing, and takes nothing until it is below again.
#[tokio::test(start_paused = true)]
async fn a_share_that_shrinks_costs_nothing() {
    let threads = LaneThreads::start(1).unwrap();
    let telemetry = Arc::new(ComponentTelemetry::default());
    let (inlet, handle) = start("out", Box::new(away()), settings(WhenFull::Refuse), telemetry, &threads.lanes());
    let mut taken = 0;
    while let Ok(room) = inlet.reserve(numbered(0..10).len()) {
        let (batch, receipt) = Batch::new(numbered(0..10));
        inlet.commit(batch, room);
        assert_eq!(receipt.now_or_never(), Some(Outcome::Delivered));
        taken += 10;
    }
    let smaller = r#"
version = 1
[sources.a]
type = "otlp"
grpc.listen = "127.0.0.1:0"
[sinks.b]
type = "blackhole"
inputs = ["a"]
buffer.max_size = "64KiB"
"#;
    let file = engine_config::SourceFile::new("engine.toml", smaller);
    let catalog = engine_config::Catalog::builtin();
    let (environment, options) = (engine_config::Environment::Unknown, engine_config::ParseOptions::default());
    let loaded = engine_config::load(&[file], &catalog, &environment, &options).unwrap();
    let planned = loaded.plan.node(ComponentId::new("b").unwrap().as_str()).unwrap().sink.clone().unwrap();
    let shrunk = SinkSettings {
        buffer: engine_config::BufferSettings { max_size: engine_config::ByteSize::kib(4), ..planned.buffer },
        ..planned
    };
    handle.resettle(&shrunk);
    assert!(handle.buffered_bytes() > handle.max_buffer());
    assert!(matches!(inlet.reserve(1), Err(NoRoom::Full)));
    assert_eq!(handle.line().held.total(), taken);
    handle.line().check().unwrap();
}

/// A store in memory that does as it is told. What a real one does is tested with real files (`engine-buffers`).
#[derive(Debug, Default)]
struct TestStore {
    conduct: Conduct,
    recovered: Recovered,
    next: AtomicU64,
    unread: Mutex<Vec<ReadFrame>>,
    completed: Mutex<Vec<FrameId>>,
    unanswered: Mutex<Vec<Unanswered>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Conduct {
    #[default]
    Writes,
    Fails,
    Hangs,
}

struct Unanswered(Arc<dyn Written>);

impl std::fmt::Debug for Unanswered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Unanswered")
    }
}

impl TestStore {
    fn frame(&self, records: u64) -> FrameId {
        FrameId { sequence: self.next.fetch_add(1, Ordering::Relaxed), records, place: 0 }
    }
}

impl Store for TestStore {
    fn overhead(&self) -> usize {
        0
    }

    fn reserve(&self, _room: usize) -> Result<(), NoStore> {
        Ok(())
    }

    fn give_back(&self, _room: usize) {}

    fn append(&self, wire: otlp::Wire, _room: usize, written: Arc<dyn Written>) {
        match self.conduct {
            Conduct::Writes => {
                let frame = self.frame(wire.records());
                if written.written(frame, true) == Keeping::OnDisk {
                    self.unread.lock().push(ReadFrame { frame, wire, age: Duration::ZERO });
                }
            }
            Conduct::Fails => written.failed("no space"),
            Conduct::Hangs => self.unanswered.lock().push(Unanswered(written)),
        }
    }

    fn read(&self, _most: usize, found: Box<dyn FnOnce(Vec<ReadFrame>) + Send>) {
        found(std::mem::take(&mut *self.unread.lock()));
    }

    fn has_unread(&self) -> bool {
        !self.unread.lock().is_empty()
    }

    fn complete(&self, frame: FrameId) {
        self.completed.lock().push(frame);
    }

    fn belongs_to(&self, owner: Arc<dyn StoreOwner>) {
        owner.readable();
    }

    fn resettle(&self, _limits: StoreLimits) {}

    fn recovered(&self) -> Recovered {
        self.recovered
    }

    fn state(&self) -> StoreState {
        StoreState::default()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

fn drive_over(
    store: &Arc<TestStore>,
    sink: ScriptedSink,
    settings: DriverSettings,
    threads: &LaneThreads,
) -> (SinkInlet, SinkHandle) {
    let telemetry = Arc::new(ComponentTelemetry::default());
    let store = Some(Arc::clone(store) as Arc<dyn Store>);
    let succession = Succession { store, ..Succession::default() };
    start_after("out", Box::new(sink), settings, telemetry, &threads.lanes(), succession)
}

async fn offer(inlet: &SinkInlet, numbers: std::ops::Range<u64>) -> Outcome {
    let (batch, receipt) = Batch::new(numbered(numbers));
    let room = inlet.reserve(batch.encoded_len()).unwrap();
    inlet.commit(batch, room);
    receipt.await
}

/// A disk that does not answer holds nobody: who waits is told to come again after two seconds; where other sinks go on it is
/// counted as lost besides. What gets there after all is not sent.
#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_holds_nobody() {
    for when_full in [WhenFull::Refuse, WhenFull::DropNewest] {
        let store = Arc::new(TestStore { conduct: Conduct::Hangs, ..TestStore::default() });
        let sink = ScriptedSink::answering(|_| Outcome::Delivered);
        let threads = LaneThreads::start(1).unwrap();
        let (inlet, handle) = drive_over(&store, sink.clone(), settings(when_full), &threads);
        let asked = Instant::now();
        let outcome = offer(&inlet, 0..10).await;
        assert!(asked.elapsed() >= Duration::from_secs(2), "by the paused clock");
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        let line = handle.line();
        line.check().unwrap();
        let lost = if when_full == WhenFull::Refuse { 0 } else { 10 };
        assert_eq!((line.counts.returned, line.counts.dropped.get(IO_ERROR).copied().unwrap_or(0)), (10 - lost, lost));
        let Unanswered(late) = store.unanswered.lock().pop().unwrap();
        assert!(!late.is_wanted());
        assert_eq!(late.written(store.frame(10), true), Keeping::Nowhere);
        assert_eq!(handle.buffered_bytes(), 0);
        handle.drain(Instant::now() + Duration::from_secs(30)).await;
        assert!(sink.seen().is_empty());
    }
}

/// What one of two disks does not take is lost there, and counted, because the other one has it. What neither takes comes
/// again, at whatever moment they fail: one of them may have had no room when the other one still had.
#[tokio::test(start_paused = true)]
async fn what_no_disk_takes_comes_again() {
    for (conduct, has_room, is_kept) in
        [(Conduct::Writes, true, true), (Conduct::Hangs, true, false), (Conduct::Writes, false, false)]
    {
        let threads = LaneThreads::start(1).unwrap();
        let drive = |conduct| {
            let store = Arc::new(TestStore { conduct, ..TestStore::default() });
            let sink = ScriptedSink::answering(|_| Outcome::Delivered);
            drive_over(&store, sink, settings(WhenFull::DropNewest), &threads)
        };
        let ((one, hanging), (two, other)) = (drive(Conduct::Hangs), drive(conduct));
        let (batch, receipt) = Batch::new(numbered(0..10));
        let branch = batch.branch(batch.payload().clone());
        let room = one.reserve(branch.encoded_len()).unwrap();
        one.commit(branch, room);
        if has_room {
            let room = two.reserve(batch.encoded_len()).unwrap();
            two.commit(batch, room);
        } else {
            two.drop_at_entrance(batch, "full", true);
        }
        let outcome = receipt.await;
        assert_eq!(outcome == Outcome::Delivered, is_kept, "{outcome:?}");
        assert_eq!(matches!(outcome, Outcome::Retry { .. }), !is_kept, "{outcome:?}");
        let line = hanging.line();
        line.check().unwrap();
        assert_eq!(line.counts.dropped.get(IO_ERROR).copied(), Some(10));
        other.line().check().unwrap();
    }
}

/// Of a sink over a disk too every count is needed: without any one of them the check sees it.
#[tokio::test]
async fn the_check_sees_every_count_of_a_disk() {
    let moves = ["accepted", "recovered", "delivered", "dropped", "returned"];
    for omitted in std::iter::once(None).chain(moves.map(Some)) {
        let store = Arc::new(TestStore::default());
        let sink = ScriptedSink::answering(|payload| match records_of(payload).first() {
            Some(0) => Outcome::Delivered,
            Some(10) => Outcome::rejected(RejectionKind::Invalid, "bad"),
            _ => Outcome::retry("away"),
        });
        let failing = Arc::new(TestStore { conduct: Conduct::Fails, ..TestStore::default() });
        let several = DriverSettings { concurrency: 4, ..settings(WhenFull::Refuse) };
        let threads = LaneThreads::start(1).unwrap();
        let (inlet, handle) = drive_over(&store, sink, several, &threads);
        let (broken, of_broken) = drive_over(&failing, away(), settings(WhenFull::Refuse), &threads);
        for part in inlet.driver.parts.iter().chain(&broken.driver.parts) {
            part.omit(omitted);
        }
        // One frame is there from before, four records of another one are gone.
        inlet.driver.recover(Recovered { records: 10, damaged: 4 });
        let wire = numbered(0..10).into_wire().unwrap();
        store.unread.lock().push(ReadFrame { frame: store.frame(10), wire, age: Duration::ZERO });
        inlet.driver.readable();
        offer(&inlet, 10..20).await;
        offer(&inlet, 20..30).await;
        offer(&broken, 30..40).await;
        within("two frames are completed", async {
            while store.completed.lock().len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        handle.drain(Instant::now() + Duration::from_secs(30)).await;
        let (line, of_broken) = (handle.line(), of_broken.line());
        let holds = line.check().is_ok() && of_broken.check().is_ok();
        assert_eq!(holds, omitted.is_none(), "without {omitted:?}: {line:?} {of_broken:?}");
        if omitted.is_none() {
            assert_eq!((line.counts.recovered, line.counts.dropped[DAMAGED], line.held.stored), (14, 4, 10));
        }
    }
}

/// A sink that gets the buffer of one with another ledger reads nothing of it before it is handed over: each ledger balances at
/// every moment, and nothing is sent by both.
#[tokio::test]
async fn what_is_on_disk_is_read_by_whose_ledger_it_is_in() {
    let store = Arc::new(TestStore { recovered: Recovered { records: 10, damaged: 0 }, ..TestStore::default() });
    let threads = LaneThreads::start(1).unwrap();
    let refusing = away();
    let (inlet, old) = drive_over(&store, refusing.clone(), settings(WhenFull::Refuse), &threads);
    let frame = |numbers: std::ops::Range<u64>| {
        let wire = numbered(numbers).into_wire().unwrap();
        ReadFrame { frame: store.frame(10), wire, age: Duration::ZERO }
    };
    store.unread.lock().push(frame(0..10));
    inlet.driver.readable();
    refusing.called(1).await;
    // Nobody has read this one; the old sink does not any more.
    inlet.driver.closing.cancel();
    inlet.driver.recover(Recovered { records: 10, damaged: 0 });
    store.unread.lock().push(frame(10..20));
    let taking = ScriptedSink::answering(|_| Outcome::Delivered);
    let succession =
        Succession { store: Some(Arc::clone(&store) as Arc<dyn Store>), is_handed_over: true, ..Succession::default() };
    let telemetry = Arc::new(ComponentTelemetry::default());
    let (inlet, new) = start_after(
        "out",
        Box::new(taking.clone()),
        settings(WhenFull::Refuse),
        telemetry,
        &threads.lanes(),
        succession,
    );
    inlet.driver.readable();
    // It is at work already, and has looked for something to read before it delivers this.
    assert_eq!(offer(&inlet, 20..30).await, Outcome::Delivered);
    taking.called(1).await;
    assert_eq!(store.unread.lock().len(), 1);
    old.line().check().unwrap();
    new.line().check().unwrap();
    let drained = old.hand_over(&new, Instant::now() + Duration::from_secs(30), &CancellationToken::new()).await;
    assert_eq!(drained, Drained { dropped: 0, kept: 0, finished: true });
    new.emptied(Instant::now() + Duration::from_secs(30)).await;
    assert_eq!(delivered(&taking), (0..30).collect::<Vec<_>>());
    let (old, new) = (old.line(), new.line());
    old.check().unwrap();
    new.check().unwrap();
    assert_eq!((old.counts.recovered, old.counts.returned, old.held.total()), (20, 20, 0));
    assert_eq!((new.counts.recovered, new.counts.accepted, new.counts.delivered), (20, 10, 30));
}
