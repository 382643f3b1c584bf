//! SIGTERM under load, again and again: no record that was answered OK is missing, or it is counted.

use std::time::Duration;

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;
use crate::producer::Load;

const RUNS: u32 = 20;
const CLIENTS: u64 = 4;

fn sink(address: std::net::SocketAddr, acknowledge: &str, grace: &str) -> String {
    format!(
        "[shutdown]\ngrace = \"{grace}\"\n[sinks.out]\ntype = \"otlp\"\ninputs = [\"apps\"]\n\
         endpoint = \"http://{address}\"\nacknowledge = \"{acknowledge}\"\n"
    )
}

/// Waits until enough was answered that the signal falls into full traffic, a little later in each run.
async fn under_load(load: &Load, run: u32) {
    let least = 200 + 100 * run as usize;
    eventually("records are answered OK", || std::future::ready((load.told.accepted().len() > least).then_some(())))
        .await;
}

/// With the backend there everything that was answered OK has arrived when the engine has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_with_the_backend_there() {
    for run in 0..RUNS {
        let acknowledge = if run % 2 == 0 { "buffered" } else { "delivered" };
        let backend = Backend::default();
        let engine = Engine::start(&sink(backend.serve().await, acknowledge, "30s")).await;
        let load = Load::start(engine.apps(), CLIENTS).await;
        under_load(&load, run).await;
        engine.terminate();
        let told = load.ended().await;
        let ended = engine.ended().await;
        assert!(ended.status.success(), "run {run}: {ended:?}");
        let taken = backend.taken();
        let missing: Vec<_> = told.accepted().into_iter().filter(|record| !taken.contains_key(record)).collect();
        assert!(missing.is_empty(), "run {run}, {acknowledge}: {} records are missing", missing.len());
    }
}

/// With the backend away nothing was answered OK that has not arrived, when success means delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivered_means_delivered_with_the_backend_away() {
    for run in 0..RUNS {
        let backend = Backend::default();
        let engine = Engine::start(&sink(backend.serve().await, "delivered", "1s")).await;
        let load = Load::start(engine.apps(), CLIENTS).await;
        under_load(&load, run).await;
        backend.set_away(true);
        engine.terminate();
        let told = load.ended().await;
        let ended = engine.ended().await;
        assert_eq!(ended.lost, 0, "run {run}");
        let taken = backend.taken();
        let missing = told.accepted().into_iter().filter(|record| !taken.contains_key(record)).count();
        assert_eq!(missing, 0, "run {run}");
    }
}

/// With the backend away what was answered OK from a memory buffer has arrived or is counted as lost by shutdown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buffered_is_delivered_or_counted_with_the_backend_away() {
    for run in 0..RUNS {
        let backend = Backend::default();
        let engine = Engine::start(&sink(backend.serve().await, "buffered", "500ms")).await;
        let load = Load::start(engine.apps(), CLIENTS).await;
        under_load(&load, run).await;
        backend.set_away(true);
        let before = load.told.accepted().len();
        eventually("more is buffered", || {
            std::future::ready((load.told.accepted().len() > before + 100).then_some(()))
        })
        .await;
        engine.terminate();
        let told = load.ended().await;
        let ended = engine.ended().await;
        assert_eq!(ended.status.code(), Some(3), "run {run}: {ended:?}");
        let arrived: u64 = backend.taken().values().sum();
        let accepted = told.accepted().len() as u64;
        // A request whose answer the end of the connection cut off may have been taken all the same.
        let unanswered = CLIENTS * 20;
        let accounted = arrived + ended.lost;
        assert!(
            accounted >= accepted && accounted <= accepted + unanswered,
            "run {run}: {accepted} answered OK, {arrived} arrived, {} counted as lost",
            ended.lost
        );
    }
}

/// While it drains the engine is not ready; a second SIGTERM ends it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let backend = Backend::default();
    backend.set_away(true);
    let engine = Engine::start(&sink(backend.serve().await, "buffered", "10m")).await;
    let mut client = crate::producer::connect(engine.apps()).await;
    client.export(crate::producer::request(0..10)).await.unwrap();
    engine.terminate();
    eventually("the engine is not ready", || async { (!engine.status().await.ready).then_some(()) }).await;
    engine.terminate();
    let ended = tokio::time::timeout(Duration::from_secs(60), engine.ended()).await.unwrap();
    assert_eq!(ended.status.code(), Some(143));
}
