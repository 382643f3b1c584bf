//! Stages in tasks for each partition, and companions of transforms, in whole graphs: keys, order, receipts, panics,
//! backpressure, drain, the ledger.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use engine_config::{ComponentOptions, Facts, Kind, SignalSet, Stability};
use engine_core::batch::Batch;
use engine_core::contract::{
    ComponentError, Event, Held, Input, Outputs, Partitioned, Stage, StageContext, Transform, TransformWithCompanion,
    Waker,
};
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::receipt::Receipt;
use engine_core::registry::{BuildContext, BuildError, BuildPartitioned, BuildTransform, Registration};
use engine_core::stage::StageAccount;
use engine_core::telemetry::HealthState;
use engine_core::test_kit::{logs, records_of, wire, within};
use futures::FutureExt;
use futures::future::BoxFuture;
use otlp::{Payload, RecordView, ResourceView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::fakes::Board;
use crate::{run, state};

/// What stages have seen, by partition, and what wakes them; one for each test.
#[derive(Default)]
struct Seen {
    by_partition: Mutex<BTreeMap<usize, Vec<u64>>>,
    wakers: Mutex<Vec<Waker>>,
    /// Whether a task that waits to begin may.
    may_begin: watch::Sender<bool>,
}

static SEEN: LazyLock<Mutex<HashMap<String, Arc<Seen>>>> = LazyLock::new(Mutex::default);

fn seen(board: &str) -> Arc<Seen> {
    Arc::clone(SEEN.lock().unwrap().entry(board.to_owned()).or_default())
}

/// What a task does with its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Manner {
    /// Sends them on at once.
    Pass,
    /// Holds them until it is woken or drains.
    Hold,
    /// Does not even look until it may begin.
    Late,
}

/// Sorts records by number into three tasks: the number modulo 10 is the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SortOptions {
    /// The test.
    board: String,
    /// What its tasks do.
    manner: Manner,
}

/// Passes on even records; its companion gets the odd ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeferOptions {
    /// The test.
    board: String,
    /// What its companion does.
    manner: Manner,
}

struct Sort(SortOptions);
struct Defer(DeferOptions);
struct Task {
    board: String,
    partition: usize,
    manner: Manner,
}

inventory::submit! { Registration::partitioned::<Sort>() }
inventory::submit! { Registration::with_companion::<Defer>() }

impl ComponentOptions for SortOptions {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "sort";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::transform(SignalSet::LOGS)
    }
}

impl ComponentOptions for DeferOptions {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "defer";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::transform(SignalSet::LOGS)
    }
}

impl BuildPartitioned for Sort {
    type Options = SortOptions;

    fn build(options: &SortOptions, _context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self(options.clone()))
    }
}

impl BuildTransform for Defer {
    type Options = DeferOptions;

    fn build(options: &DeferOptions, _context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self(options.clone()))
    }
}

fn number(record: &RecordView<'_>) -> u64 {
    let RecordView::Log(log) = record else { panic!("these are no logs") };
    log.time_unix_nano()
}

/// A task panics at this record.
const PANICS_TASK: u64 = 9_997;
/// The choice of a task panics at this record.
const PANICS_KEY: u64 = 9_999;

impl Partitioned for Sort {
    fn partitions(&self) -> usize {
        3
    }

    fn key(&self, _resource: &ResourceView<'_>, record: &RecordView<'_>) -> u64 {
        let number = number(record);
        assert_ne!(number, PANICS_KEY, "told to panic");
        number % 10
    }

    fn stage(&self, partition: usize) -> Box<dyn Stage> {
        Box::new(Task { board: self.0.board.clone(), partition, manner: self.0.manner })
    }
}

impl Transform for Defer {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        let mut parts = wire(batch.payload()).partition_records(2, |_, record| usize::from(number(record) % 2 == 1));
        let (odd, even) = (parts.pop().unwrap(), parts.pop().unwrap());
        outputs.hand_over(batch.branch(Payload::Wire(odd)));
        outputs.emit(batch.map(|_| Payload::Wire(even)));
    }
}

impl TransformWithCompanion for Defer {
    fn companion(&self) -> Box<dyn Stage> {
        Box::new(Task { board: self.0.board.clone(), partition: 0, manner: self.0.manner })
    }
}

impl Stage for Task {
    fn run(self: Box<Self>, mut input: Input, context: StageContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let mut context = context;
            let seen = seen(&self.board);
            seen.wakers.lock().unwrap().push(context.waker());
            if self.manner == Manner::Late {
                seen.may_begin.subscribe().wait_for(|may| *may).await.unwrap();
            }
            let mut holds_on = self.manner == Manner::Hold;
            let mut held: Vec<Held> = Vec::new();
            loop {
                let event = context.next(&mut input, None).await;
                let is_end = matches!(event, Event::End);
                match event {
                    Event::Batch(batch) => {
                        let numbers = records_of(batch.batch().payload());
                        assert!(!numbers.contains(&PANICS_TASK), "told to panic");
                        seen.by_partition.lock().unwrap().entry(self.partition).or_default().extend(numbers);
                        held.push(batch);
                        if holds_on {
                            continue;
                        }
                    }
                    Event::Draining => holds_on = false,
                    Event::Woken | Event::Due | Event::End => {}
                }
                for batch in held.drain(..) {
                    context.outputs[0].send(batch.release()).await;
                }
                if is_end {
                    return Ok(());
                }
            }
        })
    }
}

fn graph(board: &str, middle: &str) -> String {
    format!(
        "[sources.in]\ntype = \"push\"\nboard = \"{board}\"\n\
         [transforms.mid]\n{middle}\nboard = \"{board}\"\ninputs = [\"in\"]\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"mid\"]\nboard = \"{board}\"\nacknowledge = \"delivered\"\n"
    )
}

fn sorted(board: &str, manner: &str) -> (Board, engine::topology::Running) {
    (Board::named(board), run(&graph(board, &format!("type = \"sort\"\nmanner = \"{manner}\""))))
}

fn deferred(board: &str, manner: &str) -> (Board, engine::topology::Running) {
    (Board::named(board), run(&graph(board, &format!("type = \"defer\"\nmanner = \"{manner}\""))))
}

/// Records that were sent by the component of this id.
fn sent(running: &engine::topology::Running, id: &str) -> impl Fn() -> u64 + use<> {
    let telemetry = running.nodes().iter().find(|node| node.id.as_str() == id).unwrap().telemetry.clone();
    move || telemetry.read().sent["default"].get("logs").map_or(0, |flow| flow.records)
}

fn account(running: &engine::topology::Running) -> Arc<StageAccount> {
    running.nodes().iter().find_map(|node| node.stage.clone()).expect("there is a stage")
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn drained(running: engine::topology::Running) {
    let account = account(&running);
    let report = within("the graph drains", running.drain()).await;
    assert!(report.unfinished.is_empty() && report.dropped.is_empty(), "{report:?}");
    account.line().check().unwrap();
    assert_eq!(account.line().held, 0);
}

async fn outcomes(receipts: Vec<Receipt>) -> Vec<Outcome> {
    within("all receipts are answered", futures::future::join_all(receipts)).await
}

fn shown(board: &Board) -> Vec<u64> {
    let mut shown: Vec<u64> = board.shown().iter().flat_map(records_of).collect();
    shown.sort_unstable();
    shown
}

/// The partition of every key.
fn partitions(board: &str) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for (partition, numbers) in seen(board).by_partition.lock().unwrap().iter() {
        for number in numbers {
            assert_eq!(*found.entry(number % 10).or_insert(*partition), *partition, "key {}", number % 10);
        }
    }
    found
}

/// Records with one key meet in one task, in the order in which they were sent; all tasks have work; every record comes
/// out once and every receipt is answered by what happened to all of its pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_with_one_key_meet_in_one_task() {
    let (board, running) = sorted("sort", "pass");
    let account = account(&running);
    let receipts = (0..20).map(|batch| board.push(logs(&[], batch * 50..(batch + 1) * 50))).collect();
    assert_eq!(outcomes(receipts).await, vec![Outcome::Delivered; 20]);
    drained(running).await;
    assert_eq!(shown(&board), (0..1000).collect::<Vec<_>>());
    let by_key = partitions("sort");
    assert_eq!(by_key.len(), 10);
    for numbers in seen("sort").by_partition.lock().unwrap().values() {
        for key in 0..10 {
            assert!(numbers.iter().filter(|number| *number % 10 == key).is_sorted());
        }
    }
    assert_eq!(seen("sort").by_partition.lock().unwrap().len(), 3, "every task has work");
    let line = account.line();
    assert_eq!((line.received, line.sent, line.held), (1000, 1000, 0));
}

/// What the tasks hold is held by nobody else: its receipts wait, the ledger says where it is, and a drain lets all of it
/// out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_hand_on_everything_when_draining() {
    let (board, running) = sorted("sort-hold", "hold");
    let account = account(&running);
    let mut receipts: Vec<Receipt> = (0..5).map(|batch| board.push(logs(&[], batch * 20..(batch + 1) * 20))).collect();
    until("everything is held", || account.line().held == 100).await;
    account.line().check().unwrap();
    assert!(receipts.iter_mut().all(|receipt| receipt.now_or_never().is_none()));
    assert!(board.shown().is_empty());
    drained(running).await;
    assert_eq!(outcomes(receipts).await, vec![Outcome::Delivered; 5]);
    assert_eq!(shown(&board), (0..100).collect::<Vec<_>>());
}

/// A task that panics is told at once. What it held and what is meant for it is answered Retry and counted as returned;
/// the other tasks go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_gives_back_what_it_holds() {
    let (board, running) = sorted("sort-panic", "hold");
    let account = account(&running);
    let every_key = board.push(logs(&[], 0..10));
    // Held is what waits in front of a task too.
    until("every task has taken its part", || partitions("sort-panic").len() == 10).await;
    assert_eq!(account.line().held, 10);
    let by_key = partitions("sort-panic");
    let dead = by_key[&(PANICS_TASK % 10)];
    let alive = *by_key.iter().find(|(_, partition)| **partition != dead).expect("there are several tasks").0;
    let fatal = board.push(logs(&[], [PANICS_TASK]));
    assert!(matches!(within("the batch is given back", fatal).await, Outcome::Retry { .. }));
    until("the failure is told", || state(&running, "mid") == HealthState::Failed).await;
    let lost = by_key.values().filter(|partition| **partition == dead).count() as u64;
    let line = account.line();
    line.check().unwrap();
    assert_eq!((line.received, line.returned, line.held), (11, lost + 1, 10 - lost));
    let Outcome::Retry { reason, .. } = within("it is refused", board.push(logs(&[], [PANICS_TASK - 10]))).await else {
        panic!("nobody takes it")
    };
    assert_eq!(reason, "mid has ended");
    let other = board.push(logs(&[], [alive + 100]));
    until("the others go on", || account.line().held == 11 - lost).await;
    drained(running).await;
    assert_eq!(other.await, Outcome::Delivered);
    assert!(matches!(every_key.await, Outcome::Retry { .. }), "a part of it was given back");
    assert_eq!(shown(&board).len() as u64, 11 - lost);
}

/// The source waits for a stage that does not keep up: nothing is lost, nothing is refused, no more than the queue is
/// taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stage_makes_the_source_wait() {
    let (board, running) = sorted("sort-late", "late");
    let account = account(&running);
    // One key: all of it is for one task, whose queue holds 16.
    let mut receipts: Vec<Receipt> = (0..40).map(|batch| board.push(logs(&[], [batch * 10]))).collect();
    let sent = sent(&running, "in");
    until("the source waits with its seventeenth batch", || sent() == 17).await;
    assert!(receipts.iter_mut().all(|receipt| receipt.now_or_never().is_none()));
    assert_eq!((account.line().received, sent()), (0, 17));
    seen("sort-late").may_begin.send_replace(true);
    assert_eq!(outcomes(receipts).await, vec![Outcome::Delivered; 40]);
    drained(running).await;
    assert_eq!(shown(&board), (0..40).map(|batch| batch * 10).collect::<Vec<_>>());
}

/// A batch that makes the choice of its task panic is told to come again, twice, and is then rejected: it would circle for
/// ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_always_panics_is_rejected() {
    let (board, running) = sorted("sort-poison", "pass");
    for _ in 0..3 {
        let outcome = within("it is answered", board.push(logs(&[], [1, PANICS_KEY]))).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    }
    let outcome = within("it is answered", board.push(logs(&[], [1, PANICS_KEY]))).await;
    assert!(matches!(outcome, Outcome::Rejected(rejection) if rejection.kind == RejectionKind::Panic));
    assert_eq!(within("others go on", board.push(logs(&[], 0..5))).await, Outcome::Delivered);
    drained(running).await;
}

/// What a transform cannot finish comes back behind it, on the same output; the rest does not wait. The batch is answered
/// when both parts are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_finishes_what_its_transform_cannot() {
    let (board, running) = deferred("defer", "hold");
    let account = account(&running);
    let mut receipt = board.push(logs(&[], 0..10));
    until("the even ones are through", || shown(&board) == [0, 2, 4, 6, 8]).await;
    until("the odd ones are held", || account.line().held == 5).await;
    assert!((&mut receipt).now_or_never().is_none());
    seen("defer").wakers.lock().unwrap().iter().for_each(Waker::wake);
    assert_eq!(within("the companion hands on", receipt).await, Outcome::Delivered);
    assert_eq!(shown(&board), (0..10).collect::<Vec<_>>());
    let line = account.line();
    assert_eq!((line.received, line.sent, line.held), (5, 5, 0));
    // To users they are one transform: everything came in once and went out once.
    let counted = running.nodes().iter().find(|node| node.id.as_str() == "mid").unwrap().telemetry.read();
    assert_eq!((counted.received["logs"].records, counted.sent["default"]["logs"].records), (10, 10));
    let only_even = board.push(logs(&[], [20, 22]));
    assert_eq!(within("nothing is held of it", only_even).await, Outcome::Delivered);
    drained(running).await;
}

/// A companion that does not keep up makes the source wait: there is one sink, which is to get all of a batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_companion_makes_the_source_wait() {
    let (board, running) = deferred("defer-late", "late");
    let receipts: Vec<Receipt> = (0..40).map(|batch| board.push(logs(&[], [batch * 2, batch * 2 + 1]))).collect();
    let sent = sent(&running, "in");
    until("the source waits with its seventeenth batch", || sent() == 34).await;
    until("what is taken arrives", || shown(&board).len() == 16).await;
    seen("defer-late").may_begin.send_replace(true);
    assert_eq!(outcomes(receipts).await, vec![Outcome::Delivered; 40]);
    drained(running).await;
    assert_eq!(shown(&board), (0..80).collect::<Vec<_>>());
}

/// A stage that does not keep up holds up nobody beside it where every sink has to go its own way: what it has no room for
/// is lost by count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stage_hurts_no_other_sink() {
    let (board, other) = (Board::named("sort-beside"), Board::named("sort-other"));
    let running = run("[sources.in]\ntype = \"push\"\nboard = \"sort-beside\"\n\
         [transforms.mid]\ntype = \"sort\"\nboard = \"sort-beside\"\nmanner = \"late\"\ninputs = [\"in\"]\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"mid\"]\nboard = \"sort-beside\"\n\
         [sinks.other]\ntype = \"show\"\ninputs = [\"in\"]\nboard = \"sort-other\"\n");
    let receipts: Vec<Receipt> = (0..40).map(|batch| board.push(logs(&[], [batch * 10]))).collect();
    until("the other sink gets everything", || shown(&other).len() == 40).await;
    seen("sort-beside").may_begin.send_replace(true);
    assert_eq!(outcomes(receipts).await, vec![Outcome::Delivered; 40]);
    let mid = running.nodes().iter().find(|node| node.id.as_str() == "mid").unwrap().telemetry.clone();
    drained(running).await;
    assert_eq!((shown(&board).len(), mid.read().discarded["full"]), (16, 24));
}

/// A companion hands on what it holds when the process drains, while the source still waits for the receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_drains() {
    let (board, running) = deferred("defer-drain", "hold");
    let account = account(&running);
    let receipt = board.push(logs(&[], 0..10));
    until("the odd ones are held", || account.line().held == 5).await;
    drained(running).await;
    assert_eq!(receipt.await, Outcome::Delivered);
    assert_eq!(shown(&board), (0..10).collect::<Vec<_>>());
}

/// When the companion panics, its part of every batch is given back, and its transform goes on with what it can finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_that_panics_gives_back_what_it_holds() {
    let (board, running) = deferred("defer-panic", "hold");
    let account = account(&running);
    let held = board.push(logs(&[], 0..4));
    until("the odd ones are held", || account.line().held == 2).await;
    let fatal = board.push(logs(&[], [PANICS_TASK, 4]));
    assert!(matches!(within("it is given back", fatal).await, Outcome::Retry { .. }));
    assert!(matches!(within("what was held is given back", held).await, Outcome::Retry { .. }));
    until("the failure is told", || state(&running, "mid") == HealthState::Failed).await;
    assert_eq!(account.line().returned, 3);
    assert_eq!(within("the rest goes on", board.push(logs(&[], [6]))).await, Outcome::Delivered);
    drained(running).await;
    assert_eq!(shown(&board), [0, 2, 4, 6]);
}
