//! Every task of a stage, a companion's too, hands on or counts every record that it took when it drains, and answers by
//! what happens behind it.

use engine_config::Kind;
use engine_core::batch::Batch;
use engine_core::contract::{ComponentError, Event, Input, Stage, StageContext};
use engine_core::outcome::Outcome;
use engine_core::registry::{Build, registered};
use engine_core::test_kit::{deliver_all, lanes, run_stage, within};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{hostile, options};

/// The stages of the binary.
#[tokio::test]
async fn every_stage_lets_go_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (threads, lanes) = lanes(1);
    for registration in registered().into_iter().filter(|found| found.kind == Kind::Transform) {
        if matches!(registration.build, Build::Transform(_)) {
            continue;
        }
        let node = options::node(Kind::Transform, registration.type_name, folder.path());
        let (built_from, context) = (node.options.as_ref(), options::context(&node, &lanes));
        let tasks: Vec<Box<dyn Stage>> = match registration.build {
            Build::Stage(build) => vec![build(built_from, &context).unwrap()],
            Build::Partitioned(build) => {
                let stage = build(built_from, &context).unwrap();
                (0..stage.partitions().max(1)).map(|partition| stage.stage(partition)).collect()
            }
            Build::WithCompanion(build) => vec![build(built_from, &context).unwrap().companion()],
            Build::Source(_) | Build::Transform(_) | Build::Sink(_) => unreachable!("transforms were left out"),
        };
        for task in tasks {
            lets_go(registration.type_name, task, node.outputs.len()).await;
        }
    }
    threads.stop();
}

async fn lets_go(name: &str, stage: Box<dyn Stage>, outputs: usize) {
    let run = run_stage("tested", stage, outputs);
    let collected: Vec<_> = run.outputs.into_iter().map(deliver_all).collect();
    let mut receipts = Vec::new();
    let mut sent = 0;
    for (case, payload) in hostile::payloads() {
        sent += payload.records();
        let (batch, receipt) = Batch::new(payload);
        within(case, run.feed.send(batch)).await;
        receipts.push((case, receipt));
    }
    run.draining.cancel();
    drop(run.feed);
    within(name, run.ended).await.unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
    for (_, collecting) in collected {
        within(name, collecting).await.unwrap();
    }
    for (case, receipt) in receipts {
        let outcome = within(case, receipt).await;
        assert_eq!(outcome, Outcome::Delivered, "{name} with {case}");
    }
    let line = run.account.line();
    line.check().unwrap_or_else(|imbalance| panic!("{name}: {imbalance}"));
    assert_eq!((line.received, line.held), (sent, 0), "{name}");
}

/// Passes everything on, or forgets one batch.
struct Sample {
    forgets: bool,
}

impl Stage for Sample {
    fn run(self: Box<Self>, mut input: Input, context: StageContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let mut context = context;
            let mut may_forget = self.forgets;
            loop {
                match context.next(&mut input, None).await {
                    Event::Batch(batch) if may_forget => {
                        may_forget = false;
                        drop(batch);
                    }
                    Event::Batch(batch) => context.outputs[0].send(batch.release()).await,
                    Event::End => return Ok(()),
                    Event::Due | Event::Woken | Event::Draining => {}
                }
            }
        })
    }
}

/// The test above finds a stage that forgets a batch: a test of the test, while the binary has few stages.
#[tokio::test]
async fn forgetting_a_batch_is_found() {
    lets_go("careful", Box::new(Sample { forgets: false }), 1).await;
    let careless = std::panic::AssertUnwindSafe(lets_go("careless", Box::new(Sample { forgets: true }), 1));
    assert!(careless.catch_unwind().await.is_err());
}
