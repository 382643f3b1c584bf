//! Every transform accounts for every record, emits what can be admitted again, and answers by what happens behind it.

use engine_config::Kind;
use engine_core::batch::Batch;
use engine_core::outcome::Outcome;
use engine_core::registry::{Build, registered};
use engine_core::test_kit::{apply, lanes, wire};
use futures::FutureExt;

use crate::{hostile, options};

/// Records that go in come out or are counted; the receipt says Delivered once what came out was delivered, and Retry
/// when it was abandoned.
#[tokio::test]
async fn every_record_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let (threads, lanes) = lanes(1);
    for registration in registered().into_iter().filter(|found| found.kind == Kind::Transform) {
        let Build::Transform(build) = registration.build else { continue };
        let node = options::node(Kind::Transform, registration.type_name, folder.path());
        let transform = build(node.options.as_ref(), &options::context(&node, &lanes)).unwrap();
        for (name, payload) in hostile::payloads() {
            let case = format!("{} with {name}", registration.type_name);
            for outcome in [Outcome::Delivered, Outcome::retry("away")] {
                let records = payload.records();
                let (batch, receipt) = Batch::new(payload.clone());
                let applied = apply(transform.as_ref(), batch);
                let emitted: u64 = applied.emitted.iter().map(|(_, batch)| batch.records()).sum();
                let discarded: u64 = applied.telemetry.read().discarded.values().sum();
                assert_eq!(emitted + discarded, records, "{case}");
                let expected = if applied.emitted.is_empty() { Outcome::Delivered } else { outcome.clone() };
                for (_, batch) in applied.emitted {
                    let bytes = wire(batch.payload()).into_rope().into_bytes();
                    let again = otlp::admit(batch.signal(), bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(again.records(), batch.records(), "{case}");
                    batch.answer(&outcome);
                }
                assert_eq!(receipt.now_or_never(), Some(expected), "{case}");
            }
        }
    }
    threads.stop();
}
