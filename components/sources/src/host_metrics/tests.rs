//! The source in its place: when it scrapes, what it does with each answer, when it ends.
#![allow(clippy::unwrap_used, reason = "a missing batch is a failed test")]

use engine_config::{ComponentId, ComponentOptions, SignalSet, Span};
use engine_core::{
    budget::Budget,
    outcome::Outcome,
    socket::Sockets,
    test_kit::{SourceRun, deliver_all, lanes, run_source, within},
};

use super::{fake_host::FakeHost, *};

fn build(root: &std::path::Path) -> Result<HostMetricsSource, BuildError> {
    let options = HostMetrics { root_path: root.to_owned(), interval: Span::secs(30), ..HostMetrics::default() };
    let (_threads, lanes) = lanes(1);
    let id = ComponentId::new("host").unwrap();
    HostMetricsSource::build(
        &options,
        &BuildContext { id, signals: SignalSet::METRICS, lanes, services: engine_core::service::Services::default() },
    )
}

fn run(host: &FakeHost) -> SourceRun {
    let source = Box::new(build(host.path()).unwrap());
    run_source("host", source, Sockets::default(), Budget::new(1 << 20))
}

fn encoded(payload: &Payload) -> Vec<u8> {
    payload.clone().into_wire().unwrap().into_rope().into_bytes().to_vec()
}

/// The first scrape comes at once, the next after the interval, and draining ends the source.
#[tokio::test(start_paused = true)]
async fn scrapes_at_once_and_then_at_intervals() {
    let host = FakeHost::complete();
    let run = run(&host);
    let begin = Instant::now();
    let (mut payloads, _answering) = deliver_all(run.batches);
    let first = within("a scrape", payloads.recv()).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(first.records() > 50);
    let second = within("another scrape", payloads.recv()).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(30));
    assert_ne!(encoded(&first), encoded(&second));
    run.drain.cancel();
    within("the source ends", run.ended).await.unwrap().unwrap();
}

/// A scrape that is answered Retry comes again, unchanged, until the next one is there; then it counts as lost.
#[tokio::test(start_paused = true)]
async fn a_scrape_is_tried_for_one_interval() {
    let host = FakeHost::complete();
    let mut run = run(&host);
    let first = within("a scrape", run.batches.next()).await.unwrap();
    let (bytes, records) = (encoded(first.payload()), first.records());
    first.answer(&Outcome::retry("down"));
    let mut again = 0;
    let next = loop {
        let batch = within("a scrape or its repetition", run.batches.next()).await.unwrap();
        if encoded(batch.payload()) != bytes {
            break batch;
        }
        again += 1;
        batch.answer(&Outcome::retry("still down"));
    };
    assert!(again > 1);
    assert_eq!(run.telemetry.read().discarded["expired"], records);
    next.answer(&Outcome::Delivered);
    run.drain.cancel();
    within("the source ends", run.ended).await.unwrap().unwrap();
    assert_eq!(run.telemetry.read().discarded.len(), 1);
}

/// A scrape that was taken is waited for, even while the source drains.
#[tokio::test]
async fn draining_waits_for_the_receipt() {
    let host = FakeHost::complete();
    let mut run = run(&host);
    let batch = within("a scrape", run.batches.next()).await.unwrap();
    run.drain.cancel();
    tokio::task::yield_now().await;
    assert!(!run.ended.is_finished());
    batch.answer(&Outcome::Delivered);
    within("the source ends", run.ended).await.unwrap().unwrap();
}

/// Files that are missing are counted by scraper, and the rest arrives.
#[tokio::test]
async fn failures_are_counted() {
    let host = FakeHost::empty();
    host.write("proc/loadavg", "0.1 0.2 0.3 1/2 3\n");
    let mut run = run(&host);
    let batch = within("a scrape", run.batches.next()).await.unwrap();
    let reading = run.telemetry.read();
    assert_eq!(reading.errors["memory"], 1);
    assert!(reading.health.last_error.is_some());
    batch.answer(&Outcome::Delivered);
}

/// A root without the kernel's files is refused when the source is built, and named.
#[test]
fn a_wrong_root_is_refused() {
    let error = build(std::path::Path::new("/nowhere")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/proc"), "{error}");
}

/// The component is registered under the name of its options.
#[test]
fn is_registered() {
    assert!(engine_core::registry::find(HostMetrics::KIND, HostMetrics::TYPE).is_some());
}
