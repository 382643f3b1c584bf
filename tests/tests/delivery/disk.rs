//! A buffer on disk: what was answered OK arrives, whatever happens to the process, the configuration or the backend.

use std::collections::BTreeSet;
use std::path::Path;

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;
use crate::producer::Load;

/// A sink `out` whose buffer is below this directory.
async fn start(state: &Path, backend: std::net::SocketAddr, buffer: &str) -> Engine {
    Engine::start(&format!(
        "[state]\ndirectory = \"{}\"\n[sinks.out]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"http://{backend}\"\n\
         batch.timeout = \"10ms\"\nbuffer = {{ type = \"disk\", {buffer} }}\n",
        state.display()
    ))
    .await
}

async fn arrived(backend: &Backend, accepted: &BTreeSet<u64>) {
    let all = || {
        let taken = backend.taken();
        std::future::ready(accepted.iter().all(|number| taken.contains_key(number)).then_some(()))
    };
    eventually("everything that was answered OK arrives", all).await;
}

/// Killed while the backend is away, a process leaves what it answered OK to the next one, which counts it as recovered,
/// delivers it, and has nothing left then.
#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let state = tempfile::tempdir().unwrap();
    let backend = Backend::default();
    let address = backend.serve().await;
    backend.set_away(true);
    let engine = start(state.path(), address, "max_size = \"64MiB\"").await;
    let load = Load::start(engine.apps(), 4).await;
    eventually("some thousand records are taken", || {
        std::future::ready((load.told.accepted().len() > 5000).then_some(()))
    })
    .await;
    engine.kill().await;
    let told = load.ended().await;
    let accepted = told.accepted();
    assert!(backend.taken().is_empty(), "it was away");

    let engine = start(state.path(), address, "max_size = \"64MiB\"").await;
    let ledger = engine.ledger("out").await;
    // What was written and not answered when it was killed is there too.
    assert!(ledger.recovered >= accepted.len() as u64, "{ledger:?} of {}", accepted.len());
    backend.set_away(false);
    arrived(&backend, &accepted).await;
    let ledger = eventually("the ledger says so", || async {
        let ledger = engine.ledger("out").await;
        (ledger.delivered == ledger.recovered).then_some(ledger)
    })
    .await;
    assert_eq!((ledger.held.queued, ledger.held.in_flight, ledger.held.on_disk), (0, 0, 0));
    engine.terminate();
    assert!(engine.ended().await.status.success());

    let engine = start(state.path(), address, "max_size = \"64MiB\"").await;
    assert_eq!(engine.ledger("out").await.recovered, 0, "what was delivered is not there again");
    engine.terminate();
    assert!(engine.ended().await.status.success());
}

/// Ended in good order while the backend is away, a process leaves what it holds on disk at once, and loses nothing.
#[tokio::test]
async fn an_end_in_good_order_leaves_the_rest_on_disk() {
    let state = tempfile::tempdir().unwrap();
    let backend = Backend::default();
    let address = backend.serve().await;
    backend.set_away(true);
    let engine = start(state.path(), address, "").await;
    let load = Load::start(engine.apps(), 4).await;
    eventually("some thousand records are taken", || {
        std::future::ready((load.told.accepted().len() > 5000).then_some(()))
    })
    .await;
    engine.terminate();
    let ended = engine.ended().await;
    assert!(ended.status.success() && ended.lost == 0, "{ended:?}");
    let accepted = load.ended().await.accepted();

    backend.set_away(false);
    let engine = start(state.path(), address, "").await;
    arrived(&backend, &accepted).await;
    engine.terminate();
    assert!(engine.ended().await.status.success());
    let twice = backend.taken().values().filter(|count| **count > 1).count();
    assert_eq!(twice, 0, "nobody was told anything else than OK or nothing");
}

/// A full buffer refuses with one sink behind the source, and what it refused can be sent again.
#[tokio::test]
async fn a_full_buffer_refuses() {
    let state = tempfile::tempdir().unwrap();
    let backend = Backend::default();
    let address = backend.serve().await;
    backend.set_away(true);
    let engine = start(state.path(), address, "max_size = \"8MiB\"").await;
    let load = Load::start(engine.apps(), 4).await;
    eventually("it is full", || std::future::ready((load.told.refused() > 10).then_some(()))).await;
    let accepted = load.told.accepted();
    assert!(accepted.len() > 10_000, "{}", accepted.len());
    assert_eq!(load.told.refusals(), [tonic::Code::Unavailable]);
    let size: u64 = std::fs::read_dir(state.path().join("buffers/out"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= 8 << 20, "{size}");
    backend.set_away(false);
    let more = accepted.len() + 10_000;
    eventually("it takes again", || std::future::ready((load.told.accepted().len() > more).then_some(()))).await;
    let accepted = load.stop().await.accepted();
    arrived(&backend, &accepted).await;
    engine.terminate();
    assert!(engine.ended().await.status.success());
}
