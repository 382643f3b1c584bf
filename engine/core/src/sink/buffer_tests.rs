//! What a buffer does when it is full, old, or taken over by another sink: in memory, with a scripted far end. Time is paused
//! but where other threads work. The same on disk is tested with real files beside those.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use engine_config::{ComponentId, SinkSettings};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::batch::Batch;
use crate::edge::FULL;
use crate::lane::LaneThreads;
use crate::outcome::Outcome;
use crate::test_kit::{ScriptedSink, logs, records_of};

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
    let newest = inlet.driver.parts.iter().map(|part| part.hand_over(true).0).find(|items| !items.is_empty()).unwrap();
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
    let drained = old.hand_over(&new, Instant::now() + Duration::from_secs(30)).await;
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
    old.hand_over(&new, Instant::now() + Duration::from_secs(30)).await;
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
