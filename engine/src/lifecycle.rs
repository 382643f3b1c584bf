//! The life of a running configuration: bind and build, run, notice the end, drain, say how it went.
//!
//! Threads: lanes (started by the topology), one shared runtime for sources, stages and the shared parts of sinks, one
//! thread for signals and the administration server, which must answer while everything else is busy, and one that gives
//! free memory back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine_config::Plan;
use engine_core::self_telemetry::{self, Identity, SelfTelemetry};
use engine_core::service::Services;
use engine_core::socket::Bound;
use engine_core::telemetry::HealthState;
use tokio::runtime::Runtime;

use crate::admin::{self, DoorError, Doors, Facts, Graph, Series, State};
use crate::logging::Repeats;
use crate::reclaim::{self, GiveBack};
use crate::topology::{self, BuildFailure, DrainReport, Running, RunningNode};

/// Workers of the shared runtime: enough that one long poll of a source does not stop the others.
const SHARED_WORKERS: usize = 2;

/// What is run, and how.
#[derive(Debug)]
pub struct Start {
    /// What to run.
    pub plan: Plan,
    /// What `/status` says which configuration this is.
    pub config_hash: String,
    /// Where to write the addresses that were bound.
    pub address_file: Option<PathBuf>,
    /// What the log suppresses, to be summarised now and then.
    pub repeats: Arc<Repeats>,
    /// What components get that send the engine's own telemetry on; the log goes there already.
    pub own: SelfTelemetry,
    /// Returns free memory to the system.
    pub give_back: GiveBack,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything that was taken in was settled.
    Clean,
    /// Records that had been answered with success are lost, or a component or service failed or had to be stopped.
    Unclean,
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener of the administration server.
    #[error(transparent)]
    Admin(#[from] DoorError),
    /// A component or its address.
    #[error(transparent)]
    Build(#[from] BuildFailure),
    /// The file for the addresses that were bound.
    #[error("cannot write {}", path.display())]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The operating system gives no thread or no signals.
    #[error("cannot start {what}")]
    System {
        /// What was to be started.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// Runs a plan until a signal or the end of all sources.
///
/// # Errors
/// Everything that stands in the way of the start, at once.
pub fn run(start: Start) -> Result<Ending, Vec<StartError>> {
    let Start { plan, config_hash, address_file, repeats, own, give_back } = start;
    let limit = plan.memory.limit.0;
    let series = Series::of(&plan);
    let facts = Facts { role: plan.settings.role.clone(), config_hash, memory_limit: limit, series };
    let doors = Doors::open(&plan.settings);
    own.identify(identity(plan.settings.role.as_deref()));
    let built = topology::build_with(plan, Services::default().with("", own.clone()));
    let (built, doors) = match (built, doors) {
        (Ok(built), Ok(doors)) => (built, doors),
        (built, doors) => {
            let admin = doors.err().unwrap_or_default().into_iter().map(StartError::from);
            let components = built.err().unwrap_or_default().into_iter().map(StartError::from);
            return Err(admin.chain(components).collect());
        }
    };
    let system = |what| move |source| vec![StartError::System { what, source }];
    let state = Arc::new(State::new(facts, repeats));
    // The state has what reads it; a strong reference would be a circle.
    let measured = Arc::downgrade(&state);
    own.measure(move || measured.upgrade().map(|state| admin::measure(&state)).unwrap_or_default());
    let own_listeners = doors.bound();
    let admin = admin::start(doors, Arc::clone(&state)).map_err(system("the administration server"))?;
    let shared = shared_runtime().map_err(system("the shared runtime"))?;
    let running = {
        let _inside = shared.enter();
        built.run()
    };
    reclaim::start(running.admission().clone(), running.services().clone(), limit, give_back)
        .map_err(system("the thread that gives memory back"))?;
    state.heartbeats().start(&running.lanes(), shared.handle());
    let listeners: Vec<Bound> = own_listeners.into_iter().chain(running.sockets().bound()).collect();
    for Bound { component, key, address } in &listeners {
        tracing::info!(%component, %key, %address, "listening");
    }
    if let Some(path) = address_file
        && let Err(source) = write_addresses(&path, &listeners)
    {
        return Err(vec![StartError::AddressFile { path, source }]);
    }
    state.running(Graph::of(&running, listeners));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), components = running.nodes().len(), "running");
    let ending = shared.block_on(live(running, &state));
    state.stopped();
    admin.stop();
    // Work on the blocking pool that does not come back must not hold up the end.
    shared.shutdown_timeout(Duration::from_secs(1));
    Ok(ending)
}

/// Who this process is to those who get its telemetry.
fn identity(role: Option<&str>) -> Identity {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let attributes = [
        ("service.name", "telemetry-engine".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", self_telemetry::random_id()),
        ("host.name", host.trim().to_owned()),
        ("telemetry_engine.role", role.unwrap_or_default().to_owned()),
    ];
    let known = attributes.into_iter().filter(|(_, value)| !value.is_empty());
    Identity { attributes: known.collect(), started_unix_nanos: self_telemetry::unix_nanos() }
}

fn shared_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SHARED_WORKERS)
        .thread_name("shared")
        .enable_all()
        .build()
}

/// Waits for a reason to end, and ends.
async fn live(mut running: Running, state: &State) -> Ending {
    let shutdown = state.shutdown();
    tokio::select! {
        () = running.sources_ended() => {
            tracing::info!("all sources have ended");
            state.draining();
        }
        () = shutdown.cancelled() => {
            state.draining();
            let delay = running.settings().shutdown_delay;
            if !delay.is_zero() {
                tracing::info!(?delay, "not ready any more, still admitting");
                tokio::time::sleep(delay).await;
            }
        }
    }
    let grace = running.settings().shutdown_grace;
    tracing::info!(?grace, "draining");
    let nodes = running.nodes().to_vec();
    let report = running.drain().await;
    let has_failed = |node: &&RunningNode| node.telemetry.health().state == HealthState::Failed;
    let failed = nodes.iter().filter(has_failed).map(|node| node.id.to_string());
    let failed: Vec<String> = failed.chain(report.failed.iter().cloned()).collect();
    ending(&report, &failed)
}

/// Says how the end went. What is lost per sink has been logged by the drain.
fn ending(report: &DrainReport, failed: &[String]) -> Ending {
    let dropped: u64 = report.dropped.iter().map(|(_, records)| records).sum();
    if dropped == 0 && report.unfinished.is_empty() && failed.is_empty() {
        tracing::info!("drained");
        return Ending::Clean;
    }
    tracing::error!(
        dropped_records = dropped,
        unfinished = report.unfinished.join(","),
        failed = failed.join(","),
        "not a clean end"
    );
    Ending::Unclean
}

/// Complete or not at all: whoever waits for the file may read it as soon as it is there.
fn write_addresses(path: &Path, listeners: &[Bound]) -> io::Result<()> {
    let line = |Bound { component, key, address }: &Bound| format!("{component} {address} {key}\n");
    let text: String = listeners.iter().map(line).collect();
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)
}
