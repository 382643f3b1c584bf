//! A buffer on disk: what was answered OK arrives, whatever happens to the process, the configuration or the backend.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use engine_config::status::OrphanedBuffer;

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

/// Kills an engine under load; gives what it has answered OK.
async fn killed_under_load(engine: Engine) -> BTreeSet<u64> {
    let load = Load::start(engine.apps(), 4).await;
    thousands_are_taken(&load).await;
    engine.kill().await;
    load.ended().await.accepted()
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
    let accepted = killed_under_load(engine).await;
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

/// All that stands in files of this directory, and below.
fn texts_below(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| match path.is_dir() {
        true => texts_below(&path),
        false => String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
    };
    entries.map(text).collect()
}

/// Where engines keep sinks that have a buffer on disk.
const KEPT: &str = ".disk-sinks.json";

fn kept(state: &Path) -> String {
    std::fs::read_to_string(state.join(KEPT)).unwrap_or_default()
}

async fn orphan(engine: &Engine, identity: &str) -> OrphanedBuffer {
    eventually(&format!("{identity} is an orphan"), || async {
        engine.status().await.orphaned_buffers.into_iter().find(|orphan| orphan.identity == identity)
    })
    .await
}

/// Killed while a sink that a reload took away delivers what it holds, a process leaves that to the next one, which goes on
/// with the configuration that the sink had, in the time that is left to it; nobody else gets any of it. After that time what is
/// left is an orphan.
#[tokio::test]
async fn a_removed_sink_goes_on_after_a_kill() {
    let state = tempfile::tempdir().unwrap();
    let (old, other) = (Backend::default(), Backend::default());
    let (address, elsewhere) = (old.serve().await, other.serve().await);
    old.set_away(true);
    let engine = start(state.path(), address, "drain_timeout = \"1h\"").await;
    let load = Load::start(engine.apps(), 4).await;
    thousands_are_taken(&load).await;
    let accepted = load.stop().await.accepted();
    let next = configuration(state.path(), "next", elsewhere, "");
    engine.reload(&next).await.unwrap();
    engine.kill().await;

    let engine = Engine::start(&next).await;
    let ledger = engine.ledger("out").await;
    assert!(ledger.recovered >= accepted.len() as u64, "{ledger:?} of {}", accepted.len());
    engine.terminate();
    assert!(engine.ended().await.status.success());

    // As if it had had no time left.
    let content = kept(state.path());
    let mut document: serde_json::Value = serde_json::from_str(&content).unwrap();
    let sinks = document["sinks"].as_array_mut().unwrap();
    let out = sinks.iter_mut().find(|sink| sink["identity"] == "out").unwrap();
    assert!(out["drains_until_unix_seconds"].is_u64(), "{out}");
    out["drains_until_unix_seconds"] = 1.into();
    std::fs::write(state.path().join(KEPT), document.to_string()).unwrap();
    old.set_away(false);
    let engine = Engine::start(&next).await;
    assert!(orphan(&engine, "out").await.records >= accepted.len() as u64);
    assert!(!engine.status().await.components.iter().any(|component| component.id.as_str() == "out"));
    assert!(!kept(state.path()).contains("\"out\""), "it has no owner any more");
    engine.kill().await;
    assert!(old.taken().is_empty());

    std::fs::write(state.path().join(KEPT), content).unwrap();
    let engine = Engine::start(&next).await;
    arrived(&old, &accepted).await;
    assert_eq!(orphan(&engine, "out").await.records, 0, "it has come to its end, and holds nothing");
    assert!(other.taken().is_empty(), "nothing of it went to another identity");
    engine.terminate();
    assert!(engine.ended().await.status.success());
}

/// A sink that is gone from the configuration of the next start is taken away by that start. What it sends in its headers comes
/// from where it came before; the secret itself is nowhere in the directory.
#[tokio::test]
async fn a_sink_that_a_start_has_no_more_delivers_what_is_left() {
    let (state, secrets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = secrets.path().join("token");
    std::fs::write(&secret, "hunter2").unwrap();
    let (old, other) = (Backend::default(), Backend::default());
    let (address, elsewhere) = (old.serve().await, other.serve().await);
    old.set_away(true);
    let header = format!("headers.authorization.secret = \"file:{}\"\n", secret.display());
    let engine = Engine::start(&(configuration(state.path(), "out", address, "") + &header)).await;
    let accepted = killed_under_load(engine).await;
    assert!(!texts_below(state.path()).contains("hunter2"));

    let engine = Engine::start(&configuration(state.path(), "next", elsewhere, "")).await;
    let ledger = engine.ledger("out").await;
    assert!(ledger.recovered >= accepted.len() as u64, "{ledger:?} of {}", accepted.len());
    old.set_away(false);
    arrived(&old, &accepted).await;
    assert_eq!(old.authorization().as_deref(), Some("hunter2"));
    assert!(other.taken().is_empty());
    engine.terminate();
    assert!(engine.ended().await.status.success());
}

/// A sink is kept as it runs, and not as it once was: what it took in after a reload gave it another backend goes there, though the
/// process is killed at once and the next one does not have the sink.
#[tokio::test]
async fn a_sink_is_kept_with_the_backend_that_it_has() {
    let state = tempfile::tempdir().unwrap();
    let (old, new, other) = (Backend::default(), Backend::default(), Backend::default());
    let (before, after, elsewhere) = (old.serve().await, new.serve().await, other.serve().await);
    old.set_away(true);
    new.set_away(true);
    let engine = start(state.path(), before, "").await;
    engine.reload(&configuration(state.path(), "out", after, "")).await.unwrap();
    let accepted = killed_under_load(engine).await;

    old.set_away(false);
    new.set_away(false);
    let engine = Engine::start(&configuration(state.path(), "next", elsewhere, "")).await;
    arrived(&new, &accepted).await;
    assert!(old.taken().is_empty() && other.taken().is_empty());
    engine.terminate();
    assert!(engine.ended().await.status.success());
}

/// A value that may be a secret and stands in the configuration itself is not kept; such a sink does not deliver without it, and
/// the log says why. A sink that has the identity again gets what it left.
#[tokio::test]
async fn a_sink_with_a_secret_in_its_configuration_is_not_kept() {
    let state = tempfile::tempdir().unwrap();
    let (old, backend) = (Backend::default(), Backend::default());
    let (address, elsewhere) = (old.serve().await, backend.serve().await);
    old.set_away(true);
    let header = "headers.authorization = \"hunter2\"\n";
    let engine = Engine::start(&(configuration(state.path(), "out", address, "") + header)).await;
    let accepted = killed_under_load(engine).await;
    assert!(kept(state.path()).contains("out") && !kept(state.path()).contains("hunter2"));

    old.set_away(false);
    let engine = Engine::start(&configuration(state.path(), "next", elsewhere, "")).await;
    assert!(orphan(&engine, "out").await.records >= accepted.len() as u64);
    let log = engine.log();
    assert!(log.contains("its configuration was not kept") && log.contains("as a reference"), "{log}");
    engine.terminate();
    assert!(engine.ended().await.status.success());
    assert!(old.taken().is_empty(), "nothing is sent without the header");

    let engine = Engine::start(&configuration(state.path(), "next", elsewhere, "identity = \"out\"")).await;
    arrived(&backend, &accepted).await;
    engine.terminate();
    assert!(engine.ended().await.status.success());
}
