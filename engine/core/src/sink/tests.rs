//! The sink driver through its entrance, with a scripted far end and paused time.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::batch::Batch;
use crate::lane::LaneThreads;
use crate::outcome::{Outcome, RejectionKind};
use crate::receipt::Receipt;
use crate::telemetry::HealthState;
use crate::test_kit::{ScriptedSink, logs, records_of, traces};

struct Driven {
    inlet: SinkInlet,
    handle: SinkHandle,
    telemetry: Arc<ComponentTelemetry>,
    _threads: LaneThreads,
}

fn settings(acknowledge: Acknowledge) -> DriverSettings {
    DriverSettings {
        acknowledge,
        when_full: WhenFull::Refuse,
        max_buffer: 1 << 20,
        batching: Batching { max_size: 1 << 20, max_records: 8192, timeout: Duration::ZERO },
        concurrency: 4,
        backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) },
        max_elapsed: None,
        max_age: None,
    }
}

fn drive(sink: &ScriptedSink, settings: DriverSettings) -> Driven {
    let threads = LaneThreads::start(1).unwrap();
    let telemetry = Arc::new(ComponentTelemetry::default());
    let (inlet, handle) = start("out", Box::new(sink.clone()), settings, Arc::clone(&telemetry), &threads.lanes());
    Driven { inlet, handle, telemetry, _threads: threads }
}

impl Driven {
    fn offer(&self, payload: Payload) -> Receipt {
        let (batch, receipt) = Batch::new(payload);
        self.take(batch);
        receipt
    }

    fn take(&self, batch: Batch) {
        let room = self.inlet.reserve(batch.encoded_len()).unwrap();
        self.inlet.commit(batch, room);
    }

    async fn drained(&self) -> Line {
        self.handle.drain(Instant::now() + Duration::from_secs(30)).await;
        let line = self.handle.line();
        line.check().unwrap();
        assert_eq!(line.held.total(), 0);
        assert_eq!(self.handle.buffered_bytes(), 0);
        line
    }
}

fn numbered(numbers: std::ops::Range<u64>) -> Payload {
    logs(&[("service.name", "shop")], numbers)
}

/// However few records are left of it, this much is too large for some backend.
fn large(numbers: std::ops::Range<u64>) -> Payload {
    logs(&[("service.name", &"shop".repeat(10_000))], numbers)
}

/// With `buffered` the sender is answered while the far end has said nothing; with `delivered` it is not.
#[tokio::test(start_paused = true)]
async fn declares_success_where_configured() {
    let silent = ScriptedSink::new(|_| Box::pin(std::future::pending()) as BoxFuture<'static, Outcome>);
    let buffered = drive(&silent, settings(Acknowledge::Buffered));
    assert_eq!(buffered.offer(numbered(0..3)).await, Outcome::Delivered);
    let delivered = drive(&silent, settings(Acknowledge::Delivered));
    let receipt = delivered.offer(numbered(0..3));
    silent.called(2).await;
    assert!(receipt.now_or_never().is_none());
}

/// A sink that delivers as many payloads as permits are added.
fn gated() -> (ScriptedSink, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let sink = ScriptedSink::new(move |_| {
        let gate = Arc::clone(&held);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Outcome::Delivered
        })
    });
    (sink, gate)
}

/// What waits while requests are under way goes out joined, in order, within the limits.
#[tokio::test(start_paused = true)]
async fn joins_what_waits() {
    let (sink, gate) = gated();
    let mut one_at_a_time = settings(Acknowledge::Delivered);
    one_at_a_time.concurrency = 1;
    one_at_a_time.batching.max_records = 25;
    let driven = drive(&sink, one_at_a_time);
    let first = driven.offer(numbered(0..1));
    sink.called(1).await;
    let rest: Vec<_> = (1..5).map(|round| driven.offer(numbered(round * 10..round * 10 + 10))).collect();
    gate.add_permits(10);
    assert_eq!(first.await, Outcome::Delivered);
    for receipt in rest {
        assert_eq!(receipt.await, Outcome::Delivered);
    }
    let sent: Vec<_> = sink.seen().iter().map(|delivery| records_of(&delivery.payload)).collect();
    assert_eq!(sent, [vec![0], (10..30).collect(), (30..50).collect()]);
    assert_eq!(driven.drained().await.counts.delivered, 41);
}

/// A small item waits for company as long as configured, and no longer.
#[tokio::test(start_paused = true)]
async fn waits_for_company() {
    let sink = ScriptedSink::answering(|_| Outcome::Delivered);
    let mut lingering = settings(Acknowledge::Buffered);
    lingering.batching.timeout = Duration::from_millis(200);
    let driven = drive(&sink, lingering);
    let start = Instant::now();
    driven.offer(numbered(0..2)).await;
    driven.offer(numbered(2..4)).await;
    sink.called(1).await;
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    driven.drained().await;
    assert_eq!(sink.seen().len(), 1);
}

/// Signals are never joined with each other.
#[tokio::test(start_paused = true)]
async fn keeps_signals_apart() {
    let sink = ScriptedSink::answering(|_| Outcome::Delivered);
    let mut lingering = settings(Acknowledge::Buffered);
    lingering.batching.timeout = Duration::from_millis(200);
    let driven = drive(&sink, lingering);
    driven.offer(numbered(0..2)).await;
    driven.offer(traces(&[], 0..3)).await;
    driven.offer(numbered(2..4)).await;
    assert_eq!(driven.drained().await.counts.delivered, 7);
    assert_eq!(sink.seen().len(), 2);
}

/// One bad part of a joined request is found by halves: it alone is rejected, its sender is told, the others arrive.
#[tokio::test(start_paused = true)]
async fn one_bad_part_takes_nobody_with_it() {
    let sink = ScriptedSink::answering(|payload| {
        let bad = records_of(payload).contains(&33);
        if bad { Outcome::rejected(RejectionKind::Invalid, "no such tenant") } else { Outcome::Delivered }
    });
    let mut lingering = settings(Acknowledge::Delivered);
    lingering.batching.timeout = Duration::from_millis(200);
    let driven = drive(&sink, lingering);
    let receipts: Vec<_> = (0..7).map(|part| driven.offer(numbered(part * 10..part * 10 + 10))).collect();
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(receipt.await);
    }
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Rejected(_))).count();
    assert_eq!(refused, 1);
    assert!(matches!(&outcomes[3], Outcome::Rejected(rejection) if rejection.message == "no such tenant"));
    let line = driven.drained().await;
    assert_eq!((line.counts.delivered, line.counts.dropped["rejected"]), (60, 10));
}

/// A backend that rejects everything costs little more than a request for each part, and those go out side by side; while
/// that lasts nothing is merged, and afterwards it is again.
#[tokio::test(start_paused = true)]
async fn rejecting_everything_costs_a_request_for_each_part() {
    const PARTS: u64 = 64;
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, highest) = (Arc::clone(&under_way), Arc::clone(&most));
    let sink = ScriptedSink::new(move |_| {
        let (now, highest) = (Arc::clone(&now), Arc::clone(&highest));
        Box::pin(async move {
            highest.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Outcome::rejected(RejectionKind::Invalid, "no such tenant")
        })
    });
    let mut lingering = settings(Acknowledge::Delivered);
    lingering.batching.timeout = Duration::from_millis(200);
    let driven = drive(&sink, lingering);
    let mut calls = Vec::new();
    for round in 0..3 {
        if round == 2 {
            tokio::time::advance(apart::APART).await;
        }
        let before = sink.seen().len();
        let receipts: Vec<_> = (0..PARTS).map(|part| driven.offer(numbered(part..part + 1))).collect();
        for receipt in receipts {
            assert!(matches!(receipt.await, Outcome::Rejected(_)));
        }
        calls.push(sink.seen().len() - before);
    }
    assert_eq!(most.load(Ordering::Relaxed), 4);
    let parts = usize::try_from(PARTS).unwrap();
    assert!(calls[0] <= parts + 16 && calls[1] == parts && calls[2] == calls[0], "{calls:?}");
    assert_eq!(records_of(&sink.seen()[0].payload).len(), parts);
    let line = driven.drained().await;
    assert_eq!((line.counts.delivered, line.counts.dropped["rejected"]), (0, 3 * PARTS));
}

/// Of many bad parts among good ones exactly the bad are rejected, whichever way they were found.
#[tokio::test(start_paused = true)]
async fn many_bad_parts_take_nobody_with_them() {
    for every in [2, 3, 7, 30] {
        let sink = ScriptedSink::answering(move |payload| {
            let bad = records_of(payload).iter().any(|record| record % every == 0);
            if bad { Outcome::rejected(RejectionKind::Invalid, "no such tenant") } else { Outcome::Delivered }
        });
        let mut lingering = settings(Acknowledge::Delivered);
        lingering.batching.timeout = Duration::from_millis(200);
        let driven = drive(&sink, lingering);
        let receipts: Vec<_> = (0..100).map(|part| driven.offer(numbered(part..part + 1))).collect();
        for (part, receipt) in receipts.into_iter().enumerate() {
            let is_bad = (part as u64).is_multiple_of(every);
            assert_eq!(matches!(receipt.await, Outcome::Rejected(_)), is_bad, "part {part}, every {every}th is bad");
        }
        let line = driven.drained().await;
        assert_eq!(line.counts.delivered + line.counts.dropped["rejected"], 100);
    }
}

/// A drain that ends while parts are to go out alone settles all of them.
#[tokio::test(start_paused = true)]
async fn a_drain_settles_what_was_to_go_out_alone() {
    for acknowledge in [Acknowledge::Buffered, Acknowledge::Delivered] {
        let sink = ScriptedSink::new(|payload| {
            let alone = records_of(&payload).len() == 1;
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(if alone { 400 } else { 1 })).await;
                Outcome::rejected(RejectionKind::Invalid, "no such tenant")
            })
        });
        let mut lingering = settings(acknowledge);
        lingering.batching.timeout = Duration::from_millis(200);
        let driven = drive(&sink, lingering);
        let _receipts: Vec<_> = (0..64).map(|part| driven.offer(numbered(part..part + 1))).collect();
        sink.called(10).await;
        driven.handle.drain(Instant::now() + Duration::from_secs(3)).await;
        let line = driven.handle.line();
        line.check().unwrap();
        assert_eq!((line.held.total(), driven.handle.buffered_bytes()), (0, 0));
        let settled = line.counts.dropped.values().sum::<u64>() + line.counts.returned;
        assert_eq!(settled, 64, "{line:?}");
    }
}

/// A request the far end calls too large is halved down to one record; only a record that is too large by itself is lost.
#[tokio::test(start_paused = true)]
async fn halves_what_is_too_large() {
    let sink = ScriptedSink::answering(|payload| {
        let records = records_of(payload);
        let fits = records.len() <= 2 && !records.contains(&5);
        if fits { Outcome::Delivered } else { Outcome::rejected(RejectionKind::TooLarge, "too large") }
    });
    let driven = drive(&sink, settings(Acknowledge::Delivered));
    let outcome = driven.offer(large(0..9)).await;
    assert!(matches!(outcome, Outcome::Partial { rejected: 1, .. }), "{outcome:?}");
    let line = driven.drained().await;
    assert_eq!((line.counts.delivered, line.counts.dropped["too_large"]), (8, 1));
}

/// A backend that calls everything too large (some say so when they are merely busy) is not asked for every record: what
/// is small enough for any backend is not divided further. The sender is told that all of it was too large.
#[tokio::test(start_paused = true)]
async fn halving_ends_where_size_cannot_matter() {
    let sink = ScriptedSink::answering(|_| Outcome::rejected(RejectionKind::TooLarge, "RESOURCE_EXHAUSTED"));
    let driven = drive(&sink, settings(Acknowledge::Delivered));
    let outcome = driven.offer(numbered(0..2000)).await;
    assert!(
        matches!(&outcome, Outcome::Rejected(rejection) if rejection.kind == RejectionKind::TooLarge),
        "{outcome:?}"
    );
    let line = driven.drained().await;
    assert_eq!((line.counts.delivered, line.counts.dropped["too_large"]), (0, 2000));
    let calls = sink.seen().len();
    assert!((3..50).contains(&calls), "{calls} calls for 2000 records");
}

/// A request that is too large in all of its halves was rejected, not taken in part.
#[tokio::test(start_paused = true)]
async fn rejected_in_all_halves_is_rejected() {
    let sink = ScriptedSink::answering(|_| Outcome::rejected(RejectionKind::TooLarge, "too large"));
    let driven = drive(&sink, settings(Acknowledge::Delivered));
    let outcome = driven.offer(large(0..4)).await;
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
}

/// Partial success passes on for a request of one part, is counted once for a joined one, and is never sent again.
#[tokio::test(start_paused = true)]
async fn partial_success_is_not_sent_again() {
    let sink = ScriptedSink::answering(|_| Outcome::Partial { rejected: 2, message: "two too old".to_owned() });
    let mut lingering = settings(Acknowledge::Delivered);
    lingering.batching.timeout = Duration::from_millis(200);
    let driven = drive(&sink, lingering);
    let alone = driven.offer(numbered(0..5)).await;
    assert_eq!(alone, Outcome::Partial { rejected: 2, message: "two too old".to_owned() });
    let (one, other) = (driven.offer(numbered(5..10)), driven.offer(numbered(10..15)));
    assert_eq!((one.await, other.await), (Outcome::Delivered, Outcome::Delivered));
    let line = driven.drained().await;
    assert_eq!((line.counts.delivered, line.counts.dropped[PARTIAL]), (11, 4));
    assert_eq!(sink.seen().len(), 2);
}

/// A far end that is away for a minute costs nothing that was buffered, and is not hammered.
#[tokio::test(start_paused = true)]
async fn outlasts_an_outage() {
    let start = Instant::now();
    let sink = ScriptedSink::answering(move |_| {
        if start.elapsed() < Duration::from_secs(60) { Outcome::retry("away") } else { Outcome::Delivered }
    });
    let driven = drive(&sink, settings(Acknowledge::Buffered));
    for round in 0..20 {
        driven.offer(numbered(round * 10..round * 10 + 10)).await;
    }
    let mut records: Vec<u64> = Vec::new();
    while records.len() < 200 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let delivered = sink.seen().into_iter().filter(|delivery| delivery.outcome == Outcome::Delivered);
        records = delivered.flat_map(|delivery| records_of(&delivery.payload)).collect();
    }
    records.sort_unstable();
    assert_eq!(records, (0..200).collect::<Vec<_>>());
    let attempts = sink.seen().iter().filter(|delivery| delivery.outcome != Outcome::Delivered).count();
    assert!(attempts < 80, "{attempts} attempts in a minute");
    driven.drained().await;
}

/// A sender who waits for delivery is told to come again after the hold, queued or in flight, and nothing is lost track of.
#[tokio::test(start_paused = true)]
async fn a_waiting_sender_is_told_to_come_again() {
    let sink = ScriptedSink::answering(|_| Outcome::retry("away"));
    let mut one_at_a_time = settings(Acknowledge::Delivered);
    one_at_a_time.concurrency = 1;
    let driven = drive(&sink, one_at_a_time);
    let start = Instant::now();
    let receipts: Vec<_> = (0..5).map(|part| driven.offer(numbered(part * 10..part * 10 + 10))).collect();
    for receipt in receipts {
        assert!(matches!(receipt.await, Outcome::Retry { after: Some(_), .. }));
    }
    assert!(start.elapsed() >= HOLD && start.elapsed() < HOLD * 2, "{:?}", start.elapsed());
    assert_eq!(driven.drained().await.counts.returned, 50);
}

/// Where somebody waits for some of the queued items only, exactly those are given back after the hold.
#[tokio::test(start_paused = true)]
async fn gives_back_only_what_somebody_waits_for() {
    let silent = ScriptedSink::new(|_| Box::pin(std::future::pending()) as BoxFuture<'static, Outcome>);
    let mut one_at_a_time = settings(Acknowledge::Delivered);
    one_at_a_time.concurrency = 1;
    let driven = drive(&silent, one_at_a_time);
    driven.take(Batch::unacknowledged(numbered(0..1)));
    silent.called(1).await;
    driven.take(Batch::unacknowledged(numbered(1..3)));
    let receipts: Vec<_> = (1..4).map(|part| driven.offer(numbered(part * 10..part * 10 + 10))).collect();
    driven.take(Batch::unacknowledged(numbered(3..5)));
    assert_eq!(driven.handle.line().held, crate::ledger::Held { queued: 34, in_flight: 1, stored: 0 });
    let start = Instant::now();
    for receipt in receipts {
        assert!(matches!(receipt.await, Outcome::Retry { .. }));
    }
    assert!(start.elapsed() < HOLD * 2, "{:?}", start.elapsed());
    let line = driven.handle.line();
    line.check().unwrap();
    assert_eq!((line.held.total(), line.counts.returned), (5, 30));
}

/// A batch whose sender has gone away is not tried again: the sender will send it elsewhere or again.
#[tokio::test(start_paused = true)]
async fn an_abandoned_batch_is_not_tried_again() {
    let sink = ScriptedSink::answering(|_| Outcome::retry("away"));
    let driven = drive(&sink, settings(Acknowledge::Delivered));
    drop(driven.offer(numbered(0..10)));
    assert_eq!(driven.drained().await.counts.returned, 10);
    assert_eq!(sink.seen().len(), 1);
}

/// A full buffer refuses, waits are woken when room appears, and what is larger than the buffer gets in alone.
#[tokio::test(start_paused = true)]
async fn bounds_what_is_buffered() {
    let (sink, gate) = gated();
    let mut small = settings(Acknowledge::Buffered);
    small.max_buffer = 200;
    let driven = drive(&sink, small);
    driven.offer(numbered(0..50)).await;
    assert!(driven.handle.buffered_bytes() > 200);
    assert!(matches!(driven.inlet.reserve(1), Err(NoRoom::Full)));
    let freed = driven.inlet.freed();
    gate.add_permits(1);
    freed.await;
    assert!(driven.inlet.reserve(200).is_ok());
    driven.drained().await;
    assert!(matches!(driven.inlet.reserve(1), Err(NoRoom::Closed)));
}

/// What is larger than the buffer gets into one that is never empty, and is charged to the requests in flight until it is
/// delivered; meanwhile nothing else gets in, so the buffer passes its size by one batch at most.
#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_buffer_does_not_starve() {
    let (sink, gate) = gated();
    let mut small = settings(Acknowledge::Buffered);
    small.max_buffer = 2000;
    small.batching = Batching::NONE;
    small.concurrency = 1;
    let driven = drive(&sink, small);
    let budget = crate::budget::Budget::new(1 << 20);
    let charged = |numbers| {
        let (batch, receipt) = Batch::new(numbered(numbers));
        let charge = budget.try_charge(batch.encoded_len()).unwrap();
        (batch.charged(charge), receipt)
    };
    let (batch, receipt) = charged(0..1);
    driven.take(batch);
    assert_eq!((receipt.await, budget.used()), (Outcome::Delivered, 0));
    let (batch, receipt) = charged(1..200);
    let size = batch.encoded_len();
    assert!(size > 2000);
    driven.take(batch);
    assert_eq!((receipt.await, budget.used()), (Outcome::Delivered, size));
    assert!(matches!(driven.inlet.reserve(1), Err(NoRoom::Full)));
    assert!(matches!(driven.inlet.reserve(size), Err(NoRoom::Full)));
    gate.add_permits(2);
    assert_eq!(driven.drained().await.counts.delivered, 200);
    assert_eq!(budget.used(), 0);
}

/// One of two resources of a request, charged to a budget with all of it: a slice that keeps the request in memory.
fn slice(budget: &crate::budget::Budget, numbers: std::ops::Range<u64>) -> (Batch, Receipt) {
    let resources = [logs(&[("service.name", "shop")], numbers), large(0..1)];
    let request = Wire::concat(resources.iter().map(crate::test_kit::wire)).into_compact();
    let charge = budget.try_charge(request.len()).unwrap();
    let mut is_first = true;
    let slice = request.select(|_| std::mem::take(&mut is_first));
    let (batch, receipt) = Batch::new(slice.into());
    (batch.charged(charge), receipt)
}

/// A slice that leaves soon is not copied, and keeps its request charged until it is delivered.
#[tokio::test(start_paused = true)]
async fn slices_that_leave_soon_keep_their_request_charged() {
    let (sink, gate) = gated();
    let driven = drive(&sink, settings(Acknowledge::Buffered));
    let budget = crate::budget::Budget::new(1 << 20);
    let (batch, receipt) = slice(&budget, 0..200);
    let charged = budget.used();
    driven.take(batch);
    assert_eq!((receipt.await, budget.used()), (Outcome::Delivered, charged));
    gate.add_permits(1);
    assert_eq!(driven.drained().await.counts.delivered, 200);
    assert_eq!(budget.used(), 0);
}

/// Slices are copied, and their request is no longer charged, when the budget of requests is not light and when the backend
/// does not answer: those in flight, those that wait, and those that come.
#[tokio::test(start_paused = true)]
async fn slices_that_stay_are_copied() {
    let budget = crate::budget::Budget::new(100_000);
    let (sink, gate) = gated();
    let driven = drive(&sink, settings(Acknowledge::Buffered));
    let (batch, _) = slice(&budget, 0..200);
    assert!(budget.used() > budget.limit() / 4, "the budget is not light");
    driven.take(batch);
    assert_eq!(budget.used(), 0);
    gate.add_permits(1);
    driven.drained().await;

    let budget = crate::budget::Budget::new(1 << 20);
    let refusals = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&refusals);
    let refusing = ScriptedSink::new(move |_| {
        let held = Arc::clone(&held);
        Box::pin(async move {
            held.acquire().await.unwrap().forget();
            Outcome::retry("away")
        }) as BoxFuture<'static, Outcome>
    });
    let mut one_at_a_time = settings(Acknowledge::Buffered);
    one_at_a_time.concurrency = 1;
    let driven = drive(&refusing, one_at_a_time);
    let (in_flight, _) = slice(&budget, 0..200);
    driven.take(in_flight);
    refusing.called(1).await;
    driven.take(slice(&budget, 200..400).0);
    assert!(budget.used() > 0, "both are slices");
    refusals.add_permits(1);
    while budget.used() > 0 {
        tokio::task::yield_now().await;
    }
    driven.take(slice(&budget, 400..600).0);
    assert_eq!(budget.used(), 0, "what comes is copied at once");
    assert_eq!(driven.handle.line().held.total(), 600);
}

/// At the deadline of a drain whoever waits is told Retry, and what was answered OK is counted as lost by shutdown.
#[tokio::test(start_paused = true)]
async fn settles_everything_at_the_deadline() {
    for (acknowledge, lost) in [(Acknowledge::Buffered, 50), (Acknowledge::Delivered, 0)] {
        let silent = ScriptedSink::new(|_| Box::pin(std::future::pending()) as BoxFuture<'static, Outcome>);
        let mut one_at_a_time = settings(acknowledge);
        one_at_a_time.concurrency = 1;
        let driven = drive(&silent, one_at_a_time);
        let receipts: Vec<_> = (0..5).map(|part| driven.offer(numbered(part * 10..part * 10 + 10))).collect();
        silent.called(1).await;
        let drained = driven.handle.drain(Instant::now() + Duration::from_secs(2)).await;
        assert_eq!(drained, Drained { dropped: lost, kept: 0, finished: true });
        let line = driven.handle.line();
        line.check().unwrap();
        assert_eq!((line.held.total(), line.counts.returned), (0, 50 - lost));
        for receipt in receipts {
            let outcome = receipt.await;
            assert_eq!(matches!(outcome, Outcome::Retry { .. }), acknowledge == Acknowledge::Delivered);
        }
    }
}

/// A sink that panics costs an attempt; one that panics on the same request three times costs the request, counted.
#[tokio::test(start_paused = true)]
async fn a_panicking_sink_is_survived() {
    let sink = ScriptedSink::answering(|payload| {
        if records_of(payload).contains(&13) {
            std::panic::resume_unwind(Box::new("unlucky"));
        }
        Outcome::Delivered
    });
    let driven = drive(&sink, settings(Acknowledge::Delivered));
    let outcome = driven.offer(numbered(10..20)).await;
    assert!(matches!(&outcome, Outcome::Rejected(rejection) if rejection.kind == RejectionKind::Panic), "{outcome:?}");
    assert_eq!(driven.offer(numbered(20..30)).await, Outcome::Delivered);
    assert_eq!(driven.telemetry.read().panics, 3);
    let line = driven.drained().await;
    assert_eq!((line.counts.delivered, line.counts.dropped["panic"]), (10, 10));
}

/// A request is dropped and counted when it was tried for longer than configured.
#[tokio::test(start_paused = true)]
async fn expires_only_when_configured() {
    let sink = ScriptedSink::answering(|_| Outcome::retry("away"));
    let mut impatient = settings(Acknowledge::Buffered);
    impatient.max_elapsed = Some(Duration::from_secs(20));
    let driven = drive(&sink, impatient);
    driven.offer(numbered(0..10)).await;
    while driven.handle.line().counts.dropped.get(EXPIRED) != Some(&10) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    driven.drained().await;
}

/// The time limit ends a wait too that the backend asked for.
#[tokio::test(start_paused = true)]
async fn expires_while_it_waits() {
    let asked = Duration::from_secs(300);
    let sink = ScriptedSink::answering(move |_| Outcome::Retry { after: Some(asked), reason: "busy".to_owned() });
    let mut impatient = settings(Acknowledge::Buffered);
    impatient.max_elapsed = Some(Duration::from_secs(20));
    let driven = drive(&sink, impatient);
    driven.offer(numbered(0..10)).await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(driven.handle.line().counts.dropped.get(EXPIRED), Some(&10));
    driven.drained().await;
}

/// Without batching every item goes as it came, also when several wait.
#[tokio::test(start_paused = true)]
async fn sends_as_it_came_without_batching() {
    let sink = ScriptedSink::answering(|_| Outcome::Delivered);
    let mut apart = settings(Acknowledge::Buffered);
    apart.batching = Batching::NONE;
    let driven = drive(&sink, apart);
    for part in 0..3 {
        driven.offer(numbered(part * 10..part * 10 + 10)).await;
    }
    driven.drained().await;
    assert_eq!(sink.seen().len(), 3);
}

/// Leaving out any one count makes the ledger's check fail: the check sees every move.
#[tokio::test(start_paused = true)]
async fn the_check_sees_every_count() {
    let moves = [None, Some("accepted"), Some("delivered"), Some("dropped"), Some("returned"), Some("entrance")];
    for omitted in moves {
        let start = Instant::now();
        let sink = ScriptedSink::answering(move |payload| match records_of(payload).first() {
            Some(0) => Outcome::Delivered,
            Some(10) => Outcome::Partial { rejected: 3, message: "old".to_owned() },
            Some(20) => Outcome::rejected(RejectionKind::Invalid, "bad"),
            _ if start.elapsed() > Duration::from_secs(20) => Outcome::Delivered,
            _ => Outcome::retry("away"),
        });
        let mut apart = settings(Acknowledge::Delivered);
        apart.batching = Batching::NONE;
        let driven = drive(&sink, apart);
        for part in &driven.inlet.driver.parts {
            part.omit(omitted);
        }
        for first in [0, 10, 20, 30] {
            driven.offer(numbered(first..first + 10)).await;
        }
        driven.inlet.drop_at_entrance(Batch::new(numbered(40..50)).0, "full", true);
        driven.handle.drain(Instant::now() + Duration::from_secs(30)).await;
        assert_eq!(driven.handle.line().check().is_ok(), omitted.is_none(), "without {omitted:?}");
    }
}

/// The ledger balances in every snapshot taken while lanes deliver, fail and reject, and at rest nothing is held.
#[test]
fn balances_under_load() {
    let threads = LaneThreads::start(2).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let calls = AtomicUsize::new(0);
    let sink = ScriptedSink::answering(move |_| match calls.fetch_add(1, Ordering::Relaxed) % 7 {
        3 => Outcome::rejected(RejectionKind::Invalid, "bad"),
        5 => Outcome::Partial { rejected: 2, message: "old".to_owned() },
        _ => Outcome::Delivered,
    });
    let mut several = settings(Acknowledge::Buffered);
    several.batching.max_records = 30;
    let telemetry = Arc::new(ComponentTelemetry::default());
    let (inlet, handle) = start("out", Box::new(sink), several, telemetry, &threads.lanes());
    let inlet = Arc::new(inlet);
    let senders: Vec<_> = threads
        .lanes()
        .iter()
        .map(|lane| {
            let inlet = Arc::clone(&inlet);
            lane.spawn(async move {
                for _ in 0..300 {
                    let (batch, receipt) = Batch::new(numbered(0..10));
                    match inlet.reserve(batch.encoded_len()) {
                        Ok(room) => inlet.commit(batch, room),
                        Err(_) => inlet.drop_at_entrance(batch, "full", false),
                    }
                    assert_eq!(receipt.await, Outcome::Delivered);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut snapshots = 0;
    while !senders.iter().all(tokio::task::JoinHandle::is_finished) || snapshots < 100 {
        handle.line().check().unwrap();
        snapshots += 1;
    }
    for sender in senders {
        runtime.block_on(sender).unwrap();
    }
    runtime.block_on(handle.drain(Instant::now() + Duration::from_secs(30)));
    let line = handle.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.held.total()), (6000, 0));
    drop(inlet);
    drop(_entered);
    threads.stop();
}

/// Small items count with what keeping them costs: a buffer full of tiny batches takes no multiple of its size.
#[tokio::test(start_paused = true)]
async fn small_items_count_with_their_bookkeeping() {
    let silent = ScriptedSink::new(|_| Box::pin(std::future::pending()) as BoxFuture<'static, Outcome>);
    let driven = drive(&silent, settings(Acknowledge::Buffered));
    let mut held = 0;
    loop {
        let (batch, _receipt) = Batch::new(logs(&[], held..=held));
        let Ok(room) = driven.inlet.reserve(batch.encoded_len()) else { break };
        held += 1;
        driven.inlet.commit(batch, room);
    }
    let kept = usize::try_from(held).unwrap() * std::mem::size_of::<Item>();
    assert!(kept <= driven.handle.max_buffer(), "{held} items take {kept} bytes beside their content");
    assert!(kept > driven.handle.max_buffer() / 4, "{held} items");
}

/// What is committed after the sink has ended (its room was reserved before) is given back, whoever it comes from.
#[tokio::test(start_paused = true)]
async fn what_comes_after_the_end_is_given_back() {
    for acknowledge in [Acknowledge::Buffered, Acknowledge::Delivered] {
        let sink = ScriptedSink::answering(|_| Outcome::Delivered);
        let driven = drive(&sink, settings(acknowledge));
        let (batch, receipt) = Batch::new(numbered(0..10));
        let room = driven.inlet.reserve(batch.encoded_len()).unwrap();
        driven.handle.drain(Instant::now()).await;
        driven.inlet.commit(batch, room);
        let line = driven.handle.line();
        line.check().unwrap();
        assert_eq!((line.held.total(), line.counts.returned), (0, 10), "{acknowledge:?}");
        let outcome = receipt.now_or_never();
        assert!(matches!(outcome, Some(Outcome::Retry { .. })), "{outcome:?}");
    }
}

/// A backend that does not let us in, or does not know what we ask for, makes the sink degraded until it takes data.
#[tokio::test(start_paused = true)]
async fn shut_out_is_degraded() {
    for kind in [RejectionKind::Unauthorized, RejectionKind::Unsupported] {
        let sink = ScriptedSink::answering(move |payload| {
            if records_of(payload).contains(&13) {
                Outcome::rejected(kind, "token expired")
            } else {
                Outcome::Delivered
            }
        });
        let driven = drive(&sink, settings(Acknowledge::Delivered));
        assert!(matches!(driven.offer(numbered(10..20)).await, Outcome::Rejected(_)));
        assert_eq!(driven.telemetry.health().state, HealthState::Degraded);
        assert_eq!(driven.offer(numbered(20..30)).await, Outcome::Delivered);
        assert_eq!(driven.telemetry.health().state, HealthState::Ok);
        assert_eq!(driven.drained().await.counts.dropped[kind.as_str()], 10);
    }
}

/// Panics before it has made a future.
struct PanicsEarly;
impl Sink for PanicsEarly {
    fn deliver(&self, _payload: Payload) -> BoxFuture<'_, Outcome> {
        std::panic::resume_unwind(Box::new("unlucky"))
    }
}

/// A panic before the first await of a delivery is caught as any other.
#[tokio::test(start_paused = true)]
async fn an_early_panic_is_survived() {
    let threads = LaneThreads::start(1).unwrap();
    let telemetry = Arc::new(ComponentTelemetry::default());
    let buffered = settings(Acknowledge::Buffered);
    let (inlet, handle) = start("out", Box::new(PanicsEarly), buffered, Arc::clone(&telemetry), &threads.lanes());
    let (batch, receipt) = Batch::new(numbered(0..10));
    let room = inlet.reserve(batch.encoded_len()).unwrap();
    inlet.commit(batch, room);
    assert_eq!(receipt.await, Outcome::Delivered);
    handle.drain(Instant::now() + Duration::from_secs(30)).await;
    let line = handle.line();
    line.check().unwrap();
    assert_eq!((line.held.total(), line.counts.dropped.get("panic")), (0, Some(&10)));
}

/// Takes everything and never comes to an end, or panics at it.
struct NeverFinishes {
    panics: bool,
}
impl Sink for NeverFinishes {
    fn deliver(&self, _payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::Delivered })
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), crate::contract::ComponentError>> {
        if self.panics {
            std::panic::resume_unwind(Box::new("unlucky"))
        }
        Box::pin(std::future::pending())
    }
}

/// A sink that does not finish gets the rest of the drain's time and no more; that it hung is told and counted. One that
/// panics instead is survived.
#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_ever_for_a_sink_to_finish() {
    for (panics, grace, took) in [(false, 30, 30), (false, 0, 1), (true, 30, 0)] {
        let threads = LaneThreads::start(1).unwrap();
        let telemetry = Arc::new(ComponentTelemetry::default());
        let buffered = settings(Acknowledge::Buffered);
        let sink = Box::new(NeverFinishes { panics });
        let (_inlet, handle) = start("out", sink, buffered, Arc::clone(&telemetry), &threads.lanes());
        let began = Instant::now();
        let drained = handle.drain(began + Duration::from_secs(grace)).await;
        assert_eq!(drained, Drained { dropped: 0, kept: 0, finished: false });
        // The clock may jump to the deadline while the lane's thread ends its part; then the least is still to come.
        assert!((took..=grace + 1).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        assert_eq!(telemetry.read().errors.get("finish"), Some(&1));
    }
}
