//! Every transform accounts for every record, emits what can be admitted again, and answers by what happens behind it.

use engine_config::Kind;
use engine_core::batch::Batch;
use engine_core::contract::Transform;
use engine_core::outcome::Outcome;
use engine_core::registry::{Build, registered};
use engine_core::test_kit::{apply, lanes, wire};
use futures::FutureExt;

use crate::{hostile, options};

/// Records that go in come out, go to the companion or are counted; the receipt says Delivered once what came out was
/// delivered, and Retry when it was abandoned.
#[tokio::test]
async fn every_record_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let (threads, lanes) = lanes(1);
    for registration in registered().into_iter().filter(|found| found.kind == Kind::Transform) {
        let node = options::node(Kind::Transform, registration.type_name, folder.path());
        let (built_from, context) = (node.options.as_ref(), options::context(&node, &lanes));
        let transform: Box<dyn Transform> = match registration.build {
            Build::Transform(build) => build(built_from, &context).unwrap(),
            Build::WithCompanion(build) => build(built_from, &context).unwrap(),
            // Stages have a test of their own.
            _ => continue,
        };
        for (name, payload) in hostile::payloads() {
            let case = format!("{} with {name}", registration.type_name);
            for outcome in [Outcome::Delivered, Outcome::retry("away")] {
                let records = payload.records();
                let (batch, receipt) = Batch::new(payload.clone());
                let applied = apply(transform.as_ref(), batch);
                let discarded: u64 = applied.telemetry.read().discarded.values().sum();
                let emitted = applied.emitted.into_iter().map(|(_, batch)| batch);
                let passed_on: Vec<Batch> = emitted.chain(applied.handed_over).collect();
                assert_eq!(passed_on.iter().map(Batch::records).sum::<u64>() + discarded, records, "{case}");
                let expected = if passed_on.is_empty() { Outcome::Delivered } else { outcome.clone() };
                for batch in passed_on {
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
