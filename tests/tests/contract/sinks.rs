//! Every sink survives what nobody expects, answers every receipt on drain, and its ledger balances at the end.

use std::sync::Arc;
use std::time::Duration;

use engine_config::{Acknowledge, Kind, WhenFull};
use engine_core::batch::Batch;
use engine_core::outcome::Outcome;
use engine_core::registry::{Build, registered};
use engine_core::sink::{Backoff, Batching, DriverSettings, start};
use engine_core::telemetry::ComponentTelemetry;
use engine_core::test_kit::{lanes, within};
use tokio::time::Instant;

use crate::{hostile, options};

/// Whatever a sink is given and whatever its far end does (for a sink that connects: it is not there), after a drain
/// every receipt is answered and every record is accounted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_receipt_is_answered_on_drain() {
    let folder = tempfile::tempdir().unwrap();
    let (threads, lanes) = lanes(1);
    for registration in registered().into_iter().filter(|found| found.kind == Kind::Sink) {
        let name = registration.type_name;
        let Build::Sink(build) = registration.build else { unreachable!("a sink is built as one") };
        let node = options::node(Kind::Sink, name, folder.path());
        let sink = build(node.options.as_ref(), &options::context(&node, &lanes)).unwrap();
        let settings = DriverSettings {
            acknowledge: Acknowledge::Delivered,
            when_full: WhenFull::Refuse,
            max_buffer: 64 << 20,
            batching: Batching::NONE,
            concurrency: 4,
            backoff: Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(50) },
            max_elapsed: None,
            max_age: None,
        };
        let telemetry = Arc::new(ComponentTelemetry::default());
        let (inlet, handle) = start(name, sink, settings, Arc::clone(&telemetry), &lanes);
        let mut receipts = Vec::new();
        let mut sent = 0;
        let wanted = |payload: &otlp::Payload| node.signals.contains(payload.signal());
        for (case, payload) in hostile::payloads().into_iter().filter(|(_, payload)| wanted(payload)) {
            sent += payload.records();
            let (batch, receipt) = Batch::new(payload);
            let room = inlet.reserve(batch.encoded_len()).unwrap();
            inlet.commit(batch, room);
            receipts.push((case, receipt));
        }
        within(name, handle.drain(Instant::now() + Duration::from_secs(1))).await;
        for (case, receipt) in receipts {
            let outcome = within(case, receipt).await;
            let is_expected = matches!(outcome, Outcome::Delivered | Outcome::Retry { .. });
            assert!(is_expected, "{name} with {case}: {outcome:?}");
        }
        let line = handle.line();
        line.check().unwrap_or_else(|imbalance| panic!("{name}: {imbalance}"));
        assert_eq!((line.counts.accepted, line.held.total()), (sent, 0), "{name}");
        assert_eq!(telemetry.read().panics, 0, "{name}");
        assert_eq!(handle.buffered_bytes(), 0, "{name}");
    }
    threads.stop();
}
