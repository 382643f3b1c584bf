//! Fan-out, isolation, panics and waiting, through an output with real sink drivers behind it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use engine_config::{Acknowledge, WhenFull};
use futures::FutureExt;
use futures::future::BoxFuture;
use otlp::Payload;
use tokio::time::Instant;

use super::*;
use crate::lane::LaneThreads;
use crate::sink::{self, Backoff, Batching, DriverSettings, SinkHandle};
use crate::stage;
use crate::test_kit::{ScriptedSink, logs, records_of, within};

struct Behind {
    target: Target,
    handle: SinkHandle,
    sink: ScriptedSink,
}

fn sink_behind(threads: &LaneThreads, id: &str, script: ScriptedSink, when_full: WhenFull) -> Behind {
    let settings = DriverSettings {
        acknowledge: Acknowledge::Buffered,
        when_full,
        max_buffer: 400,
        batching: Batching::NONE,
        concurrency: 1,
        backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) },
        max_elapsed: None,
        max_age: None,
    };
    let telemetry = Arc::new(ComponentTelemetry::default());
    let (inlet, handle) = sink::start(id, Box::new(script.clone()), settings, telemetry, &threads.lanes());
    Behind { target: Target::Sink(Arc::new(inlet)), handle, sink: script }
}

fn silent() -> ScriptedSink {
    ScriptedSink::new(|_| Box::pin(std::future::pending()) as BoxFuture<'static, Outcome>)
}

fn taking() -> ScriptedSink {
    ScriptedSink::answering(|_| Outcome::Delivered)
}

fn output(targets: Vec<Target>, when_refused: WhenRefused) -> (Output, Arc<ComponentTelemetry>) {
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let output = Output::new(0, Route::to_all(targets), Arc::clone(&telemetry), Arc::default(), when_refused);
    (output, telemetry)
}

fn numbered(numbers: std::ops::Range<u64>) -> Payload {
    logs(&[("service.name", "shop")], numbers)
}

async fn send(output: &Output, payload: Payload) -> Option<Outcome> {
    let (batch, receipt) = Batch::new(payload);
    output.send(batch).await;
    receipt.now_or_never()
}

struct Panics;
impl Transform for Panics {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        if records_of(batch.payload()).contains(&13) {
            std::panic::resume_unwind(Box::new("unlucky"));
        }
        outputs.emit(batch);
    }
}

struct Forgets;
impl Transform for Forgets {
    fn apply(&self, batch: Batch, _outputs: &mut Outputs<'_>) {
        drop(batch);
    }
}

fn node(transform: impl Transform + 'static, targets: Vec<Target>) -> (Target, Arc<ComponentTelemetry>) {
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let outputs = vec![Route::to_all(targets)];
    (Target::Transform(Arc::new(TransformNode::new(Box::new(transform), Arc::clone(&telemetry), outputs))), telemetry)
}

/// Notes where it runs.
struct Notes(std::sync::mpsc::Sender<Option<crate::lane::LaneId>>);
impl Transform for Notes {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        self.0.send(crate::lane::current()).unwrap();
        outputs.emit(batch);
    }
}

/// Makes so many bytes of every batch.
struct Grows(usize);
impl Transform for Grows {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        outputs.emit(batch.map(|_| logs(&[("filler", &"x".repeat(self.0))], 0..1)));
    }
}

/// Waits in the middle of a batch until a test has looked at it.
struct Halts(std::sync::mpsc::Sender<()>, std::sync::Mutex<std::sync::mpsc::Receiver<()>>);
impl Transform for Halts {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv().unwrap();
        outputs.emit(batch);
    }
}

/// A batch that is on its way when a port turns to another route goes all its way by the one it began with, though the
/// transform is a part of both; the next batch goes by the other. What only the first route held is let go of then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_batch_goes_by_one_route() {
    let threads = LaneThreads::start(1).unwrap();
    let before = sink_behind(&threads, "before", taking(), WhenFull::Refuse);
    let after = sink_behind(&threads, "after", taking(), WhenFull::Refuse);
    let ((reached, reaching), (go, gone)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let (target, telemetry) = node(Halts(reached, std::sync::Mutex::new(gone)), vec![before.target]);
    let other = target.rewired(vec![Route::to_all(vec![after.target.clone()])], SignalSet::default());
    let port = Port::from(Route::to_all(vec![target]));
    let output = Output::new(0, port.clone(), Arc::default(), Arc::default(), WhenRefused::Answer);
    let sending = tokio::spawn(async move {
        let one = send(&output, numbered(0..1)).await;
        (one, send(&output, numbered(1..2)).await)
    });
    tokio::task::block_in_place(|| reaching.recv()).unwrap();
    port.turn_to(Route::to_all(vec![other]));
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(sending.await.unwrap(), (Some(Outcome::Delivered), Some(Outcome::Delivered)));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    crate::test_kit::within("nobody can send to the first one", before.handle.left()).await;
    before.handle.drain(deadline).await;
    assert_eq!(before.handle.line().counts.accepted, 1);
    assert_eq!(after.handle.line().counts.accepted, 1);
    assert_eq!(telemetry.read().received["logs"].records, 2, "it is one transform");
}

/// Whoever waits for room at a sink that leaves is answered at once, to come again by another way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_sink_that_leaves() {
    let threads = LaneThreads::start(1).unwrap();
    let full = sink_behind(&threads, "full", silent(), WhenFull::Block);
    let (output, _) = output(vec![full.target], WhenRefused::Wait);
    assert_eq!(send(&output, numbered(0..1)).await, Some(Outcome::Delivered));
    let waiting = tokio::spawn(async move { send(&output, numbered(1..3)).await });
    full.handle.leave();
    let answer = crate::test_kit::within("it is answered", waiting).await.unwrap();
    assert!(matches!(answer, Some(Outcome::Retry { .. })), "{answer:?}");
}

/// What is small is transformed on the lane that took it in, what is large beside it; both arrive.
#[tokio::test]
async fn large_batches_are_transformed_beside_the_lane() {
    let threads = LaneThreads::start(1).unwrap();
    let lane = threads.lanes().iter().next().unwrap().clone();
    let (note, noted) = std::sync::mpsc::channel();
    let (target, _) = node(Notes(note), vec![]);
    let (output, _) = output(vec![target], WhenRefused::Answer);
    for (size, on) in [(1, Some(lane.id())), (RUN_INLINE, None)] {
        let (batch, receipt) = Batch::new(logs(&[("filler", &"x".repeat(size))], 0..1));
        let sender = output.clone();
        lane.spawn(async move { sender.send(batch).await }).await.unwrap();
        assert_eq!(receipt.await, Outcome::Delivered);
        assert_eq!(noted.try_iter().collect::<Vec<_>>(), [on]);
    }
    threads.stop();
}

/// A batch that could never be transformed, because it and its copy are more than the budget, is not to be sent again for
/// ever; one for which there is no room now is.
#[tokio::test]
async fn what_never_fits_does_not_come_again() {
    let (note, noted) = std::sync::mpsc::channel();
    let (target, _) = node(Notes(note), vec![]);
    let (output, telemetry) = output(vec![target], WhenRefused::Answer);
    let payload = logs(&[("filler", &"x".repeat(RUN_INLINE))], 0..1);
    let size = payload.len();
    for (limit, never) in [(2 * size - 1, true), (2 * size, false)] {
        let budget = crate::budget::Budget::new(limit);
        let held = budget.try_charge(1).unwrap();
        let (batch, receipt) = Batch::new(payload.clone());
        output.send(batch.charged(budget.try_charge(size - 1).unwrap())).await;
        assert_eq!(matches!(receipt.now_or_never(), Some(Outcome::Rejected(_))), never, "{limit}");
        assert!(noted.try_recv().is_ok() != never, "{limit}");
        drop(held);
    }
    assert_eq!(telemetry.read().discarded["too_large"], 1);
}

/// What transforms add is charged until the batch is answered. Without room for it the sender is to come again, and not if
/// there never could be.
#[tokio::test(start_paused = true)]
async fn growth_is_charged() {
    let threads = LaneThreads::start(1).unwrap();
    let grown = 4 * FREE_GROWTH;
    let budget = crate::budget::Budget::new(grown + grown / 2);
    let behind = sink_behind(&threads, "silent", silent(), WhenFull::Refuse);
    let (target, counts) = node(Grows(grown), vec![behind.target.clone()]);
    let (output, _) = output(vec![target], WhenRefused::Answer);
    let send = async |budget: &crate::budget::Budget| {
        let (batch, receipt) = Batch::new(numbered(0..1));
        output.send(batch.charged(budget.try_charge(1).unwrap())).await;
        receipt.now_or_never()
    };
    assert_eq!(send(&budget).await, Some(Outcome::Delivered));
    assert!(budget.used() > grown, "the buffer holds what was made");
    let used = budget.used();
    assert!(matches!(send(&budget).await, Some(Outcome::Retry { after: Some(_), .. })));
    assert_eq!(budget.used(), used);
    let small = crate::budget::Budget::new(grown / 2);
    let never = send(&small).await;
    assert!(matches!(never, Some(Outcome::Rejected(refused)) if refused.kind == RejectionKind::TooLarge));
    assert_eq!(counts.read().discarded["too_large"], 1);
    assert_eq!(small.used(), 0);
}

/// One dead sink: the other gets everything, the dead one's share is dropped and counted once its buffer is full.
#[tokio::test(start_paused = true)]
async fn one_dead_sink_hurts_nobody_else() {
    let threads = LaneThreads::start(1).unwrap();
    let dead = sink_behind(&threads, "dead", silent(), WhenFull::DropNewest);
    let alive = sink_behind(&threads, "alive", taking(), WhenFull::DropNewest);
    let (output, _) = output(vec![dead.target.clone(), alive.target.clone()], WhenRefused::Answer);
    for round in 0..30 {
        assert_eq!(send(&output, numbered(round * 10..round * 10 + 10)).await, Some(Outcome::Delivered));
        alive.sink.called(usize::try_from(round).unwrap() + 1).await;
        while alive.handle.buffered_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(alive.handle.line().counts.delivered, 300);
    let line = dead.handle.line();
    line.check().unwrap();
    assert_eq!(line.counts.accepted, 300);
    assert_eq!(line.counts.dropped[FULL] + line.held.total(), 300);
    assert!(line.counts.dropped[FULL] > 0);
}

/// When nobody has room nothing is committed or dropped anywhere, and the sender is told when to come again: also where the
/// sinks drop what is newest.
#[tokio::test(start_paused = true)]
async fn nothing_is_committed_when_nobody_has_room() {
    for when_full in [WhenFull::Refuse, WhenFull::DropNewest] {
        let threads = LaneThreads::start(1).unwrap();
        let one = sink_behind(&threads, "one", silent(), when_full);
        let other = sink_behind(&threads, "other", silent(), when_full);
        let (output, _) = output(vec![one.target.clone(), other.target.clone()], WhenRefused::Answer);
        let mut taken = 0;
        loop {
            match send(&output, numbered(0..10)).await {
                Some(Outcome::Delivered) => taken += 10,
                Some(Outcome::Retry { after: Some(_), .. }) => break,
                outcome => panic!("{outcome:?}"),
            }
        }
        for behind in [&one, &other] {
            let line = behind.handle.line();
            assert_eq!((line.counts.accepted, line.held.total(), line.refused), (taken, taken, 10));
            assert!(line.counts.dropped.is_empty(), "{line:?}");
        }
    }
}

/// Alone behind a source that answers, a full sink that drops what is newest drops it, and the sender is told OK; a source that
/// can wait waits instead.
#[tokio::test(start_paused = true)]
async fn a_single_sink_drops_the_newest() {
    let threads = LaneThreads::start(1).unwrap();
    let behind = sink_behind(&threads, "only", silent(), WhenFull::DropNewest);
    let (answering, _) = output(vec![behind.target.clone()], WhenRefused::Answer);
    let (waiting, _) = output(vec![behind.target.clone()], WhenRefused::Wait);
    for round in 0..20 {
        assert_eq!(send(&answering, numbered(round * 10..round * 10 + 10)).await, Some(Outcome::Delivered));
    }
    let line = behind.handle.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.refused), (200, 0));
    assert!(line.counts.dropped[FULL] > 0 && line.counts.dropped[FULL] + line.held.total() == 200, "{line:?}");
    assert!(send(&waiting, numbered(0..10)).now_or_never().is_none());
}

/// A sender that waits goes on as soon as one sink has room again.
#[tokio::test(start_paused = true)]
async fn a_waiting_sender_goes_on_when_room_appears() {
    let threads = LaneThreads::start(1).unwrap();
    let start = Instant::now();
    let slow = sink_behind(
        &threads,
        "slow",
        ScriptedSink::new(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Outcome::Delivered
            })
        }),
        WhenFull::Refuse,
    );
    let (output, _) = output(vec![slow.target.clone()], WhenRefused::Wait);
    for round in 0..10 {
        assert_eq!(send(&output, numbered(round * 10..round * 10 + 10)).await, Some(Outcome::Delivered));
    }
    assert!(start.elapsed() > Duration::from_secs(5));
    assert_eq!(slow.handle.line().counts.accepted, 100);
}

/// However many senders wait for a stage, each gets its turn.
#[tokio::test]
async fn many_senders_wait_for_one_stage() {
    const SENDERS: u64 = 100;
    let (inlet, mut after) = stage::single("after", Arc::default());
    let (output, telemetry) = output(vec![Target::Stage(Arc::new(inlet))], WhenRefused::Answer);
    for sender in 0..SENDERS {
        let sending = output.clone();
        tokio::spawn(async move { sending.send(Batch::new(logs(&[], [sender])).0).await });
    }
    // All of them wait before the stage takes the first batch.
    while telemetry.read().sent["default"].get("logs").is_none_or(|flow| flow.records < SENDERS) {
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    for _ in 0..SENDERS {
        let batch = within("the next batch", after.next()).await.unwrap();
        seen.extend(records_of(batch.payload()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..SENDERS).collect::<Vec<_>>());
}

/// Counts how often somebody who waits is woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);
impl futures::task::ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Self>) {
        woken.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Who waits for a full sink beside a stage that has ended sleeps until the sink has room.
#[tokio::test(start_paused = true)]
async fn a_stage_that_has_ended_keeps_nobody_awake() {
    let threads = LaneThreads::start(1).unwrap();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let gated = ScriptedSink::new(move |_| {
        let gate = Arc::clone(&held);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Outcome::Delivered
        })
    });
    let behind = sink_behind(&threads, "full", gated, WhenFull::Block);
    let (inlet, input) = stage::single("ended", Arc::default());
    let inlet = inlet.losing(SignalSet::ALL);
    drop(input);
    let (to_sink, _) = output(vec![behind.target.clone()], WhenRefused::Answer);
    while send(&to_sink, numbered(0..10)).now_or_never().is_some() {}
    let (output, _) = output(vec![Target::Stage(Arc::new(inlet)), behind.target.clone()], WhenRefused::Answer);
    let (batch, receipt) = Batch::new(numbered(0..10));
    let woken = Arc::new(Woken::default());
    let waker = futures::task::waker(Arc::clone(&woken));
    let mut sending = Box::pin(output.send(batch));
    assert!(sending.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 0);
    gate.add_permits(100);
    within("the sink has room", sending).await;
    assert_eq!(receipt.await, Outcome::Delivered);
}

/// A panic costs the batch, with the answer Retry; the same content is refused for good and counted as lost after
/// three in a row, and other batches go on all the while.
#[tokio::test]
async fn a_panic_costs_the_batch_and_poison_is_refused() {
    let (inlet, mut after) = stage::single("after", Arc::default());
    let (target, telemetry) = node(Panics, vec![Target::Stage(Arc::new(inlet))]);
    let (output, sender) = output(vec![target], WhenRefused::Answer);
    for _ in 0..3 {
        assert!(matches!(send(&output, numbered(10..20)).await, Some(Outcome::Retry { .. })));
        let (batch, receipt) = Batch::new(numbered(20..30));
        output.send(batch).await;
        after.next().await.unwrap().answer(&Outcome::Delivered);
        assert_eq!(receipt.await, Outcome::Delivered);
    }
    let refused = send(&output, numbered(10..20)).await;
    assert!(matches!(&refused, Some(Outcome::Rejected(rejection)) if rejection.kind == RejectionKind::Panic));
    assert_eq!(telemetry.read().panics, 3);
    assert_eq!(sender.read().discarded["panic"], 10);
}

/// A transform that loses a batch without saying so does not acknowledge it.
#[tokio::test]
async fn forgetting_is_not_acknowledging() {
    let (target, _) = node(Forgets, Vec::new());
    let (output, _) = output(vec![target], WhenRefused::Answer);
    assert!(matches!(send(&output, numbered(0..10)).await, Some(Outcome::Retry { .. })));
}

/// Records that nothing selects are counted at the end they came to, and their sender is told OK.
#[tokio::test]
async fn unselected_is_counted() {
    let (output, telemetry) = output(Vec::new(), WhenRefused::Answer);
    assert_eq!(send(&output, numbered(0..10)).await, Some(Outcome::Delivered));
    assert_eq!(telemetry.read().discarded[UNSELECTED], 10);
}

/// Both ends of an edge count the same.
#[tokio::test]
async fn counts_at_both_ends() {
    let (inlet, mut after) = stage::single("after", Arc::default());
    let (target, between) = node(Panics, vec![Target::Stage(Arc::new(inlet))]);
    let (output, source) = output(vec![target], WhenRefused::Answer);
    output.send(Batch::unacknowledged(numbered(20..30))).await;
    after.next().await.unwrap();
    let (source, between) = (source.read(), between.read());
    assert_eq!(source.sent["default"], between.received);
    assert_eq!(between.sent["default"], between.received);
    assert_eq!(between.received["logs"].records, 10);
}

/// Sends every batch to its output as it is, and in two branches.
struct Doubles;
impl Transform for Doubles {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        outputs.emit(batch.branch(batch.payload().clone()));
        outputs.emit(batch);
    }
}

/// Hands odd records to its companion and emits even ones.
struct Defers;
impl Transform for Defers {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        let of = |rest| logs(&[], records_of(batch.payload()).into_iter().filter(move |number| number % 2 == rest));
        outputs.hand_over(batch.branch(of(1)));
        outputs.emit(batch.branch(of(0)));
    }
}

/// A transform with its companion in front of one sink: while the sink has no room, the companion gets nothing either, and
/// the sender is told to come again with all of it.
#[tokio::test(start_paused = true)]
async fn a_full_sink_costs_a_companion_nothing() {
    let threads = LaneThreads::start(1).unwrap();
    let only = sink_behind(&threads, "only", silent(), WhenFull::Refuse);
    let (to_sink, _) = output(vec![only.target.clone()], WhenRefused::Answer);
    while send(&to_sink, numbered(0..1)).await == Some(Outcome::Delivered) {}
    let before = only.handle.line();
    let (companion, mut input) = stage::companion("defers", Arc::default());
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let node = TransformNode::new(Box::new(Defers), telemetry, vec![Route::to_all(vec![only.target.clone()])]);
    let (output, _) = output(vec![Target::Transform(Arc::new(node.with_companion(companion)))], WhenRefused::Answer);
    assert!(matches!(send(&output, numbered(0..10)).await, Some(Outcome::Retry { after: Some(_), .. })));
    assert!(input.next().now_or_never().is_none());
    let after = only.handle.line();
    assert_eq!((after.counts, after.refused), (before.counts, before.refused + 5));
}

/// Two branches that meet again in one sink are taken together or refused together: with room for one of them only,
/// neither is lost while the sender is told OK. Empty, the sink takes both however large they are.
#[tokio::test(start_paused = true)]
async fn branches_that_meet_again_are_taken_together() {
    let threads = LaneThreads::start(1).unwrap();
    let only = sink_behind(&threads, "only", silent(), WhenFull::Refuse);
    let (doubles, _) = node(Doubles, vec![only.target.clone()]);
    let (output, _) = output(vec![doubles], WhenRefused::Answer);
    let mut taken = 0;
    let refused = loop {
        match send(&output, numbered(0..50)).await {
            Some(Outcome::Delivered) => taken += 100,
            outcome => break outcome,
        }
    };
    assert!(matches!(refused, Some(Outcome::Retry { after: Some(_), .. })), "{refused:?}");
    let line = only.handle.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.held.total(), line.refused), (taken, taken, 100));
    assert!(taken > 0 && line.counts.dropped.is_empty(), "{line:?}");
}
