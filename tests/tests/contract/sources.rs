//! Every source ends when it is told to drain, not before its receipts are answered, and gives its memory back.

use engine_config::{Kind, Resource};
use engine_core::budget::Budget;
use engine_core::outcome::Outcome;
use engine_core::registry::{Build, registered};
use engine_core::socket::Sockets;
use engine_core::test_kit::{lanes, run_source, within};
use futures::FutureExt;

use crate::options;

const MEMORY: usize = 256 << 20;

/// A source that is drained at once ends without an error and holds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_when_drained() {
    for_each_source(|name, whole| async move {
        // All of it moves in here: its lanes must live as long as it runs.
        let mut run = whole;
        run.drain.cancel();
        while let Some(batch) = within(&name, run.batches.next()).await {
            batch.answer(&Outcome::Delivered);
        }
        within(&name, &mut run.ended).await.unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(run.budget.used(), 0, "{name}");
    })
    .await;
}

/// A source that brings data by itself waits for the answer to what it sent, and ends after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_for_its_receipts() {
    for_each_source(|name, whole| async move {
        // All of it moves in here: its lanes must live as long as it runs.
        let mut run = whole;
        let first = tokio::time::timeout(std::time::Duration::from_secs(2), run.batches.next()).await;
        // A source that waits for clients brings nothing here.
        let Ok(Some(first)) = first else { return };
        assert!(first.records() > 0, "{name}");
        run.drain.cancel();
        let mut held = vec![first];
        while let Some(Some(batch)) = run.batches.next().now_or_never() {
            held.push(batch);
        }
        tokio::task::yield_now().await;
        assert!(!run.ended.is_finished(), "{name} ended before its batch was answered");
        held.into_iter().for_each(|batch| batch.answer(&Outcome::Delivered));
        while let Some(batch) = within(&name, run.batches.next()).await {
            batch.answer(&Outcome::Delivered);
        }
        within(&name, &mut run.ended).await.unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(run.budget.used(), 0, "{name}");
    })
    .await;
}

async fn for_each_source<F: Future<Output = ()>>(test: impl Fn(String, engine_core::test_kit::SourceRun) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let (threads, lanes) = lanes(1);
    for registration in registered().into_iter().filter(|found| found.kind == Kind::Source) {
        let Build::Source(build) = registration.build else { unreachable!("a source is built as one") };
        let node = options::node(Kind::Source, registration.type_name, folder.path());
        let source = build(node.options.as_ref(), &options::context(&node, &lanes)).unwrap();
        let sockets = Sockets::default();
        for claim in &node.facts.claims {
            if let Resource::Tcp(address) = &claim.resource {
                sockets.bind(&node.id, &claim.key(), address.get()).unwrap();
            }
        }
        let run = run_source(node.id.as_str(), source, sockets, Budget::new(MEMORY));
        test(registration.type_name.to_owned(), run).await;
    }
    threads.stop();
}
