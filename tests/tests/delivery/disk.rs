//! A buffer on disk: what was answered OK arrives, whatever happens to the process, the configuration or the backend.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;
use crate::producer::Load;

/// A sink whose buffer is below this directory.
fn configuration(state: &Path, sink: &str, backend: SocketAddr, buffer: &str) -> String {
    format!(
        "[state]\ndirectory = \"{}\"\n[sinks.{sink}]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"http://{backend}\"\n\
         batch.timeout = \"10ms\"\nbuffer = {{ type = \"disk\", {buffer} }}\n",
        state.display()
    )
}

/// An engine with a sink `out` whose buffer is below this directory.
async fn start(state: &Path, backend: SocketAddr, buffer: &str) -> Engine {
    Engine::start(&configuration(state, "out", backend, buffer)).await
}

async fn thousands_are_taken(load: &Load) {
    eventually("some thousand records are taken", || {
        std::future::ready((load.told.accepted().len() > 5000).then_some(()))
    })
    .await;
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
    thousands_are_taken(&load).await;
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
    thousands_are_taken(&load).await;
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

/// A sink that is another one after a reload, by its id and its backend, delivers what the one before held under the same
/// identity; meanwhile nothing is refused. A reload that is refused leaves the buffer with the sink that has it.
#[tokio::test]
async fn a_buffer_survives_a_reload_that_changes_its_sink() {
    let state = tempfile::tempdir().unwrap();
    let (dead, backend) = (Backend::default(), Backend::default());
    let (no_address, address) = (dead.serve().await, backend.serve().await);
    dead.set_away(true);
    let buffer = "identity = \"shop\"";
    let engine = start(state.path(), no_address, buffer).await;
    let load = Load::start(engine.apps(), 4).await;
    thousands_are_taken(&load).await;
    let refused =
        engine.reload(&configuration(state.path(), "out", address, "when_full = \"never\"")).await.unwrap_err();
    assert!(refused.contains("when_full"), "{refused}");
    engine.reload(&configuration(state.path(), "other", address, buffer)).await.unwrap();
    let before = load.told.accepted().len();
    eventually("the load goes on", || std::future::ready((load.told.accepted().len() > before + 1000).then_some(())))
        .await;
    let told = load.stop().await;
    assert_eq!(told.refusals(), []);
    arrived(&backend, &told.accepted()).await;
    let ledger = eventually("nothing is held any more", || async {
        let ledger = engine.ledger("other").await;
        (ledger.held.queued + ledger.held.in_flight + ledger.held.on_disk == 0).then_some(ledger)
    })
    .await;
    assert_eq!(ledger.delivered, ledger.accepted + ledger.recovered, "{ledger:?}");
    assert!(dead.taken().is_empty());
    engine.terminate();
    assert!(engine.ended().await.status.success());
}

/// A sink that is taken away and comes again with another backend while it still delivers: the reload is taken, and everything
/// that the old one held arrives at the new backend once.
#[tokio::test]
async fn a_sink_that_comes_again_delivers_what_is_left() {
    let state = tempfile::tempdir().unwrap();
    let (dead, other, backend) = (Backend::default(), Backend::default(), Backend::default());
    let (no_address, elsewhere, address) = (dead.serve().await, other.serve().await, backend.serve().await);
    dead.set_away(true);
    // Little of it fits into memory.
    let buffer = "max_size = \"8MiB\", drain_timeout = \"1h\"";
    let engine = start(state.path(), no_address, buffer).await;
    let load = Load::start(engine.apps(), 4).await;
    // What is on its way to the disk counts as on disk only too.
    eventually("thousands are on disk only", || async {
        (engine.ledger("out").await.held.on_disk > 5000).then_some(())
    })
    .await;
    let accepted = load.stop().await.accepted();
    let next = configuration(state.path(), "next", elsewhere, "");
    engine.reload(&next).await.unwrap();
    let held = engine.ledger("out").await.held;
    assert!(
        held.on_disk > 0 && held.queued + held.in_flight > 0,
        "it is there still, and holds what it held: {held:?}"
    );
    let out = configuration(state.path(), "out", address, buffer);
    engine.reload(&(next + &out[out.find("[sinks").unwrap()..])).await.unwrap();
    arrived(&backend, &accepted).await;
    let ledger = eventually("nothing is held any more", || async {
        let ledger = engine.ledger("out").await;
        (ledger.held.queued + ledger.held.in_flight + ledger.held.on_disk == 0).then_some(ledger)
    })
    .await;
    assert_eq!((ledger.recovered, ledger.delivered), (0, ledger.accepted), "it is one ledger: {ledger:?}");
    assert!(backend.taken().values().all(|count| *count == 1), "each record once");
    assert!(dead.taken().is_empty() && other.taken().is_empty());
    engine.terminate();
    assert!(engine.ended().await.status.success());
}

/// What a sink that is gone could not deliver in time stays on disk under its identity, and no other sink gets it; the sink
/// that has the identity again does.
#[tokio::test]
async fn what_a_removed_sink_holds_stays_its_own() {
    let state = tempfile::tempdir().unwrap();
    let (dead, other, backend) = (Backend::default(), Backend::default(), Backend::default());
    let (no_address, elsewhere, address) = (dead.serve().await, other.serve().await, backend.serve().await);
    dead.set_away(true);
    let engine = start(state.path(), no_address, "drain_timeout = \"1s\"").await;
    let load = Load::start(engine.apps(), 4).await;
    thousands_are_taken(&load).await;
    let accepted = load.stop().await.accepted();
    engine.reload(&configuration(state.path(), "next", elsewhere, "")).await.unwrap();
    eventually("it has come to its end", || async {
        let status = engine.status().await;
        (!status.components.iter().any(|component| component.id.as_str() == "out")).then_some(())
    })
    .await;
    // The same once more: the buffer is free and belongs to whoever has its identity.
    let both = configuration(state.path(), "next", elsewhere, "")
        + &configuration(state.path(), "again", address, "identity = \"out\"")
            .split_once("[sinks")
            .map(|(_, sink)| format!("[sinks{sink}"))
            .unwrap();
    engine.reload(&both).await.unwrap();
    arrived(&backend, &accepted).await;
    assert!(other.taken().is_empty(), "nothing of it went to another identity");
    assert!(engine.ledger("again").await.recovered >= accepted.len() as u64);
    engine.terminate();
    assert!(engine.ended().await.status.success());
}
