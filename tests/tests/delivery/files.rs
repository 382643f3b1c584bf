//! Files that a process writes and rotates under load, read by the real program: nothing is missing, and what comes twice is
//! bounded, through kills, ends in order, outages and rotations.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;
use crate::writer::{Load, Writer, Written};

/// What may come twice after a kill, in bytes of files and in lines.
const WINDOW: u64 = 1 << 20;
const LINE: u64 = 234;

/// Logs and state that outlive an engine.
struct Host {
    logs: tempfile::TempDir,
    state: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self { logs: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap() }
    }

    /// An agent that reads all logs and sends them to this address.
    async fn agent(&self, endpoint: SocketAddr) -> Engine {
        let sink = otlp_sink("out", "logs", endpoint);
        self.engine(&format!("{}{sink}", source("logs", self.logs.path(), "*.log"))).await
    }

    /// An engine with an OTLP source of no importance besides, by which the test sees that it runs.
    async fn engine(&self, rest: &str) -> Engine {
        let text = format!(
            "version = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[state]\ndirectory = \"{}\"\n\
             [sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n\
             [sinks.none]\ntype = \"blackhole\"\ninputs = [\"apps\"]\n{rest}",
            self.state.path().display()
        );
        Engine::start_with(tempfile::tempdir().unwrap(), &text).await
    }
}

fn source(id: &str, logs: &Path, pattern: &str) -> String {
    format!(
        "[sources.{id}]\ntype = \"file\"\npaths = [\"{}/{pattern}\"]\nmax_line_size = \"64KiB\"\n\
         max_in_flight = \"{WINDOW}B\"\n",
        logs.display()
    )
}

fn otlp_sink(id: &str, input: &str, endpoint: SocketAddr) -> String {
    format!(
        "[sinks.{id}]\ntype = \"otlp\"\ninputs = [\"{input}\"]\nendpoint = \"http://{endpoint}\"\n\
         acknowledge = \"delivered\"\nretry.max_interval = \"200ms\"\n"
    )
}

/// Waits until this many more records have arrived than now.
async fn some_arrive(backend: &Backend, count: usize) {
    let wanted = backend.taken().len() + count;
    eventually("records arrive", || std::future::ready((backend.taken().len() >= wanted).then_some(()))).await;
}

/// Waits until all that was written has arrived, and answers how often each has.
async fn all_arrive(backend: &Backend, written: &Written) -> HashMap<u64, u64> {
    eventually(&format!("everything of {written:?} arrives"), || {
        let taken = backend.taken();
        let is_there = written.numbers().all(|number| taken.contains_key(&number));
        std::future::ready(is_there.then_some(taken))
    })
    .await
}

/// How often records came beyond the first time.
fn again(taken: &HashMap<u64, u64>) -> u64 {
    taken.values().map(|count| count - 1).sum()
}

/// Renamed, and renamed and compressed, with the agent killed under load again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_rotation_lose_nothing() {
    const KILLS: u64 = 4;
    for how in ["Rename", "RenameAndCompress"] {
        let (host, backend) = (Host::new(), Backend::default());
        let endpoint = backend.serve().await;
        let mut agent = host.agent(endpoint).await;
        // A file is rotated every 1.2 s or so: five old ones outlast the time that a start takes here.
        let load = Load { files: 3, rate: 4000, rotation: Some(how), from_bytes: 384 << 10 };
        let writer = Writer::start(host.logs.path(), &load);
        for kill in 0..KILLS {
            some_arrive(&backend, 4000 + 1000 * kill as usize).await;
            agent.kill().await;
            agent = host.agent(endpoint).await;
        }
        some_arrive(&backend, 4000).await;
        let written = writer.stop().await;
        assert!(written.rotations >= 6, "{how}: {written:?}");
        let taken = all_arrive(&backend, &written).await;
        assert_eq!(taken.len() as u64, written.total(), "{how}: nothing comes that was not written");
        let again = again(&taken);
        report(&format!(
            "{how}: {} lines, {} rotations, {KILLS} kills, 0 missing, {again} twice; window {} lines",
            written.total(),
            written.rotations,
            WINDOW / LINE
        ));
        assert!(again <= KILLS * WINDOW / LINE, "{how}: {again} came twice");
    }
}

/// Copied and truncated, and deleted, while the agent runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_and_deleted_files_are_read_to_their_ends() {
    for how in ["CopyAndTruncate", "Delete"] {
        let (host, backend) = (Host::new(), Backend::default());
        let agent = host.agent(backend.serve().await).await;
        let load = Load { files: 2, rate: 4000, rotation: Some(how), from_bytes: 1 << 20 };
        let mut writer = Writer::start(host.logs.path(), &load);
        while writer.written().await.rotations < 6 {
            some_arrive(&backend, 1000).await;
        }
        let written = writer.stop().await;
        let taken = all_arrive(&backend, &written).await;
        assert_eq!((taken.len() as u64, again(&taken)), (written.total(), 0), "{how}");
        drop(agent);
    }
}

/// Ends in order under load repeat nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_in_order_repeat_nothing() {
    let (host, backend) = (Host::new(), Backend::default());
    let endpoint = backend.serve().await;
    let mut agent = host.agent(endpoint).await;
    let load = Load { files: 3, rate: 4000, rotation: Some("Rename"), from_bytes: 384 << 10 };
    let writer = Writer::start(host.logs.path(), &load);
    for _ in 0..4 {
        some_arrive(&backend, 2000).await;
        agent.terminate();
        let ended = agent.ended().await;
        assert!(ended.status.success() && ended.lost == 0, "{ended:?}");
        agent = host.agent(endpoint).await;
    }
    let written = writer.stop().await;
    let taken = all_arrive(&backend, &written).await;
    assert_eq!((taken.len() as u64, again(&taken)), (written.total(), 0));
}

/// Through a gateway that answers when its backend has: an outage in which agent and gateway are killed loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_two_engines() {
    let (host, backend) = (Host::new(), Backend::default());
    let endpoint = backend.serve().await;
    let forward = otlp_sink("out", "apps", endpoint);
    let gateway = Engine::start(&forward).await;
    let agent = host.agent(gateway.apps()).await;
    let load = Load { files: 2, rate: 2000, rotation: None, from_bytes: 0 };
    let mut writer = Writer::start(host.logs.path(), &load);
    some_arrive(&backend, 2000).await;
    backend.set_away(true);
    let before = writer.written().await.total();
    while writer.written().await.total() < before + 4000 {
        tokio::task::yield_now().await;
    }
    gateway.kill().await;
    agent.kill().await;
    let gateway = Engine::start(&forward).await;
    let agent = host.agent(gateway.apps()).await;
    backend.set_away(false);
    some_arrive(&backend, 2000).await;
    let written = writer.stop().await;
    let taken = all_arrive(&backend, &written).await;
    assert_eq!(taken.len() as u64, written.total());
    assert!(again(&taken) <= WINDOW / LINE, "{} came twice", again(&taken));
    drop((agent, gateway));
}

/// A pipeline whose backend is dead holds up its own file only, and has lost nothing when the backend is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_backend_holds_up_nobody_else() {
    let (host, dead, alive) = (Host::new(), Backend::default(), Backend::default());
    dead.set_away(true);
    let sources = [0, 1].map(|file| source(&format!("logs-{file}"), host.logs.path(), &format!("app-{file}.log")));
    let sinks = [
        otlp_sink("dead", "logs-0", dead.serve().await) + "buffer.max_size = \"64KiB\"\n",
        otlp_sink("alive", "logs-1", alive.serve().await),
    ];
    let agent = host.engine(&format!("{}{}", sources.concat(), sinks.concat())).await;
    let load = Load { files: 2, rate: 8000, rotation: Some("Rename"), from_bytes: 1 << 20 };
    let mut writer = Writer::start(host.logs.path(), &load);
    // More than the window of the dead one, so that it waits.
    some_arrive(&alive, 3 * (WINDOW / LINE) as usize).await;
    assert!(dead.taken().is_empty());
    let ledger = agent.ledger("alive").await;
    assert_eq!((ledger.refused, ledger.returned), (0, 0));
    let so_far = writer.written().await.lines[1];
    eventually("the other one keeps up", || std::future::ready((alive.taken().len() as u64 >= so_far).then_some(())))
        .await;
    assert_eq!(again(&alive.taken()), 0);
    dead.set_away(false);
    let written = writer.stop().await;
    let of = |file: usize| {
        let lines = written.lines.iter().enumerate().map(|(other, count)| if other == file { *count } else { 0 });
        Written { lines: lines.collect(), rotations: 0 }
    };
    all_arrive(&alive, &of(1)).await;
    all_arrive(&dead, &of(0)).await;
}

#[allow(clippy::print_stdout, reason = "who looks at a run wants to see what came twice")]
fn report(line: &str) {
    println!("{line}");
}
