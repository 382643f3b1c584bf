//! The source in its place: what it sends, when it ends, what it does with each answer.
#![allow(clippy::unwrap_used, reason = "a missing batch is a failed test")]

use std::num::NonZeroU32;

use engine_config::{ComponentId, ComponentOptions, SignalSet};
use engine_core::{
    outcome::Outcome,
    socket::Sockets,
    test_kit::{SourceRun, deliver_all, lanes, run_source, within},
};

use super::*;

const BUDGET: usize = 64 << 20;

fn options(count: u64) -> Generate {
    let records_per_batch = NonZeroU32::new(100).unwrap();
    Generate { count: NonZeroU64::new(count), records_per_batch, ..Generate::default() }
}

fn build(options: &Generate, signals: SignalSet) -> Result<GenerateSource, BuildError> {
    let (_threads, lanes) = lanes(1);
    let id = ComponentId::new("made-up").unwrap();
    GenerateSource::build(
        options,
        &BuildContext { id, signals, lanes, services: engine_core::service::Services::default() },
    )
}

fn run(options: &Generate, signals: SignalSet, budget: usize) -> SourceRun {
    let source = Box::new(build(options, signals).unwrap());
    run_source("made-up", source, Sockets::default(), Budget::new(budget))
}

/// A counted run makes exactly its records, of each signal that it is allowed, and ends by itself.
#[tokio::test]
async fn a_counted_run_ends() {
    let signals = SignalSet::LOGS.union(SignalSet::TRACES);
    let run = run(&options(250), signals, BUDGET);
    let (mut payloads, _answering) = deliver_all(run.batches);
    within("the run ends", run.ended).await.unwrap().unwrap();
    let mut sent = Vec::new();
    while let Some(payload) = payloads.recv().await {
        sent.push((payload.signal(), payload.records()));
    }
    sent.sort();
    assert_eq!(sent, [(Signal::Logs, 50), (Signal::Logs, 100), (Signal::Traces, 100)]);
}

/// What is answered Retry comes again, byte for byte; what is refused for good does not.
#[tokio::test]
async fn retry_comes_again() {
    let mut run = run(&options(100), SignalSet::LOGS, BUDGET);
    let first = within("a first batch", run.batches.next()).await.unwrap();
    let bytes = |payload: &Payload| payload.clone().into_wire().unwrap().into_rope().into_bytes();
    let sent = bytes(first.payload());
    first.answer(&Outcome::Retry { after: Some(Duration::ZERO), reason: "full".into() });
    let second = within("the batch again", run.batches.next()).await.unwrap();
    assert_eq!(bytes(second.payload()), sent);
    second.answer(&Outcome::rejected(engine_core::outcome::RejectionKind::Invalid, "no"));
    within("the run ends", run.ended).await.unwrap().unwrap();
    assert!(run.batches.next().await.is_none());
}

/// A source that drains makes nothing more and waits for what is on its way.
#[tokio::test]
async fn draining_waits_for_receipts() {
    let slow = Generate { rate: NonZeroU64::new(1), ..Generate::default() };
    let mut run = run(&slow, SignalSet::METRICS, BUDGET);
    let batch = within("a batch", run.batches.next()).await.unwrap();
    assert_eq!(batch.records(), 1, "a batch covers at most a second");
    run.drain.cancel();
    tokio::task::yield_now().await;
    assert!(!run.ended.is_finished());
    batch.answer(&Outcome::Delivered);
    within("the run ends", run.ended).await.unwrap().unwrap();
}

/// What is answered Retry while the source drains is not sent again and counts as lost.
#[tokio::test]
async fn draining_ends_retries() {
    let mut run = run(&options(100), SignalSet::LOGS, BUDGET);
    let batch = within("a batch", run.batches.next()).await.unwrap();
    run.drain.cancel();
    batch.answer(&Outcome::retry("down"));
    within("the run ends", run.ended).await.unwrap().unwrap();
    assert_eq!(run.telemetry.read().discarded["shutdown"], 100);
}

/// Batches are charged while they are on their way: a budget with room for one holds the next back.
#[tokio::test]
async fn the_budget_holds_back() {
    let mut run = run(&options(200), SignalSet::LOGS, 50_000);
    let first = within("a first batch", run.batches.next()).await.unwrap();
    assert_eq!(run.budget.used(), first.encoded_len());
    assert!(run.budget.used() > 25_000, "two batches do not fit");
    first.answer(&Outcome::Delivered);
    let second = within("a second batch", run.batches.next()).await.unwrap();
    second.answer(&Outcome::Delivered);
    within("the run ends", run.ended).await.unwrap().unwrap();
    assert_eq!(run.budget.used(), 0);
}

/// A budget that no batch can ever fit into ends the source with an error instead of waiting for ever.
#[tokio::test]
async fn a_budget_below_one_batch_is_an_error() {
    let run = run(&options(100), SignalSet::LOGS, 1000);
    let error = within("the run ends", run.ended).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("never fits into the memory limit of 1000 bytes"), "{error}");
}

/// The component is registered under the name of its options.
#[test]
fn is_registered() {
    assert!(engine_core::registry::find(Generate::KIND, Generate::TYPE).is_some());
}
