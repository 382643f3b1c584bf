//! Tasks of stages alone: keys, pieces, timers, wake-ups, the ledger.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use otlp::{RecordView, ResourceView};
use proptest::prelude::*;

use super::*;
use crate::contract::Stage;
use crate::outcome::Outcome;
use crate::sink::UNENCODABLE;
use crate::test_kit::{captured, logs, nested_logs, records_of, within};

/// Keys records by their number without its last digit.
struct Tens(usize);

impl Partitioned for Tens {
    fn partitions(&self) -> usize {
        self.0
    }

    fn key(&self, _resource: &ResourceView<'_>, record: &RecordView<'_>) -> u64 {
        let RecordView::Log(log) = record else { panic!("these are no logs") };
        assert_ne!(log.time_unix_nano(), 666, "told to panic");
        log.time_unix_nano() / 10
    }

    fn stage(&self, _partition: usize) -> Box<dyn Stage> {
        unreachable!("only the entrance is tested here")
    }
}

fn entrance(tasks: usize) -> (StageInlet, Vec<Input>) {
    partitioned("tens", Arc::new(Tens(tasks)), Arc::default())
}

fn task_alone() -> (StageContext, Input, StageInlet) {
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let (inlet, input) = single("alone", Arc::clone(&telemetry));
    let id = ComponentId::new("alone").unwrap();
    let context = StageContext::new(id, &input, Vec::new(), CancellationToken::new(), telemetry);
    (context, input, inlet)
}

fn push(inlet: &StageInlet, batch: Batch) {
    commit(inlet.reserve(&[0]).unwrap(), &[0], smallvec![batch]);
}

proptest! {
    /// Pieces together are the batch; records with one key are in one piece, in order; the receipt waits for all of them.
    #[test]
    fn pieces_together_are_the_batch(numbers in prop::collection::vec(0_u64..100, 1..60), tasks in 1_usize..6) {
        let (inlet, _inputs) = entrance(tasks);
        let (batch, mut receipt) = Batch::new(logs(&[("service.name", "shop")], numbers.clone()));
        let pieces = inlet.split(batch).ok().flatten().unwrap();
        let mut by_task: BTreeMap<u64, usize> = BTreeMap::new();
        let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (task, piece) in &pieces {
            prop_assert!(piece.records() > 0 && *task < tasks);
            for number in records_of(piece.payload()) {
                prop_assert_eq!(*by_task.entry(number / 10).or_insert(*task), *task);
                found.entry(number / 10).or_default().push(number);
            }
        }
        let mut expected: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        numbers.iter().for_each(|number| expected.entry(number / 10).or_default().push(*number));
        prop_assert_eq!(found, expected);
        for (_, piece) in pieces {
            prop_assert!((&mut receipt).now_or_never().is_none());
            piece.answer(&Outcome::Delivered);
        }
        prop_assert_eq!(receipt.now_or_never(), Some(Outcome::Delivered));
    }
}

/// Keys that are small numbers reach every task, about equally often.
#[test]
fn small_keys_are_spread() {
    let mut counts = [0_u32; 4];
    (0..4000).for_each(|key| counts[place(key, 4)] += 1);
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}

/// A key that panics costs the batch, which is told to come again.
#[test]
fn a_key_that_panics_is_answered_retry() {
    let (inlet, _inputs) = entrance(2);
    let (batch, receipt) = Batch::new(logs(&[], [1, 666]));
    assert!(inlet.split(batch).is_err());
    assert!(matches!(receipt.now_or_never(), Some(Outcome::Retry { .. })));
    assert_eq!(inlet.telemetry().read().panics, 1);
}

/// What cannot be encoded, because a transform nested values too deeply for anybody to decode, is rejected and counted.
#[test]
fn what_cannot_be_encoded_is_rejected_and_counted() {
    let (inlet, _inputs) = entrance(2);
    let (batch, receipt) = Batch::new(nested_logs(100));
    assert!(inlet.split(batch).ok().unwrap().is_none());
    assert!(matches!(receipt.now_or_never(), Some(Outcome::Rejected(_))));
    let counted = inlet.telemetry().read();
    assert_eq!((counted.errors[UNENCODABLE], counted.discarded[UNENCODABLE]), (1, 1));
}

/// A batch has room when all its tasks have: one full queue keeps nothing reserved at the others. Who waits gets room at
/// all of them, or hears that one has ended.
#[tokio::test]
async fn room_is_for_all_pieces_or_none() {
    let (inlet, mut inputs) = entrance(2);
    for number in 0..QUEUE as u64 {
        commit(inlet.reserve(&[0]).unwrap(), &[0], smallvec![Batch::unacknowledged(logs(&[], [number]))]);
    }
    assert_eq!(inlet.reserve(&[1, 0]).err(), Some(NoRoom::Full));
    let others: Vec<_> = (0..QUEUE).map(|_| inlet.reserve(&[1]).unwrap()).collect();
    drop(others);
    let mut waiting = Box::pin(inlet.room(&[1, 0, 1]));
    assert!((&mut waiting).now_or_never().is_none());
    inputs[0].next().await.unwrap();
    let room = within("room appears", waiting).await.unwrap();
    let pieces = [(1, 100), (0, 101), (1, 102)].map(|(_, number)| Batch::unacknowledged(logs(&[], [number])));
    commit(room, &[1, 0, 1], pieces.into_iter().collect());
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.extend(records_of(inputs[1].next().await.unwrap().payload()));
    }
    assert_eq!(seen, [100, 102]);
    inputs.remove(0);
    assert_eq!(inlet.reserve(&[1, 0]).err(), Some(NoRoom::Closed));
    assert_eq!(inlet.room(&[1, 0]).await.err(), Some(NoRoom::Closed));
}

/// Time passes for a task although batches keep coming, and a wake-up is not lost when nobody was waiting for it.
#[tokio::test(start_paused = true)]
async fn times_and_wake_ups_come_before_batches() {
    let (mut context, mut input, inlet) = task_alone();
    let due = Instant::now() + Duration::from_secs(30);
    assert!(context.next(&mut input, Some(due)).now_or_never().is_none());
    let Event::Due = context.next(&mut input, Some(due)).await else { panic!("nothing else can happen") };
    assert_eq!(Instant::now(), due);
    push(&inlet, Batch::unacknowledged(logs(&[], 0..3)));
    let waker = context.waker();
    waker.wake();
    waker.wake();
    assert!(matches!(context.next(&mut input, Some(due)).now_or_never(), Some(Event::Due)));
    assert!(matches!(context.next(&mut input, None).now_or_never(), Some(Event::Woken)));
    assert!(matches!(context.next(&mut input, None).now_or_never(), Some(Event::Batch(_))));
    assert!(context.next(&mut input, None).now_or_never().is_none());
}

/// Draining is told once; then batches go on until the input ends.
#[tokio::test]
async fn draining_is_told_once() {
    let (mut context, mut input, inlet) = task_alone();
    push(&inlet, Batch::unacknowledged(logs(&[], 0..3)));
    context.draining.cancel();
    assert!(matches!(context.next(&mut input, None).await, Event::Draining));
    assert!(matches!(context.next(&mut input, None).await, Event::Batch(_)));
    drop(inlet);
    assert!(matches!(context.next(&mut input, None).await, Event::End));
}

/// Whatever a stage does with a batch, its ledger knows where the records are; the answer fits.
#[tokio::test]
async fn the_ledger_knows_every_record() {
    let (mut context, mut input, inlet) = task_alone();
    let (output, mut after) = captured(&context.telemetry, 0);
    let output = output.counted_in(Arc::clone(&context.account));
    let account = Arc::clone(&context.account);
    let mut take = async |records| {
        let (batch, receipt) = Batch::new(logs(&[], 0..records));
        push(&inlet, batch);
        let Event::Batch(held) = context.next(&mut input, None).await else { panic!("a batch was sent") };
        (held, receipt)
    };
    let (held, returned) = take(1).await;
    assert_eq!(account.line().held, 1);
    held.give_back("not now");
    assert_eq!(returned.await, Outcome::retry("not now"));
    let (held, forgotten) = take(2).await;
    drop(held);
    assert!(matches!(forgotten.await, Outcome::Retry { .. }));
    let (held, discarded) = take(4).await;
    held.discard("test");
    assert_eq!(discarded.await, Outcome::Delivered);
    let (held, mut sent) = take(8).await;
    output.send(held.release()).await;
    assert!((&mut sent).now_or_never().is_none());
    after.next().await.unwrap().answer(&Outcome::Delivered);
    assert_eq!(sent.await, Outcome::Delivered);
    let (held, _still) = take(16).await;
    let (first, _merged) = take(32).await;
    let one = first.release();
    account.merged(31);
    let counted = account.hold(one.map(|_| logs(&[], [0])));
    account.created(64);
    let made = account.hold(Batch::unacknowledged(logs(&[], 0..64)));
    let line = account.line();
    line.check().unwrap();
    let dropped = BTreeMap::from([("test", 4)]);
    let expected =
        StageLine { received: 63, created: 64, sent: 8, dropped, returned: 3, merged: 31, held: 16 + 1 + 64 };
    assert_eq!(line, expected);
    drop((held, counted, made));
    account.line().check().unwrap();
    assert_eq!(account.line().held, 0);
    let lost = StageLine { received: 2, sent: 1, ..StageLine::default() };
    assert_eq!(lost.check(), Err(crate::ledger::Imbalance { entered: 2, accounted: 1 }));
}
