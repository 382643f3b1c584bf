//! The life of a process: bind and build, run, take other configurations, notice the end, drain, say how it went.
//!
//! Threads: lanes (started by the topology), one shared runtime for sources, stages and the shared parts of sinks, one
//! thread for signals and the administration server, which must answer while everything else is busy, and one that gives
//! free memory back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine_core::self_telemetry::{self, Identity, SelfTelemetry};
use engine_core::service::Services;
use engine_core::socket::Bound;
use engine_core::telemetry::HealthState;
use tokio::runtime::Runtime;

use crate::admin::{self, DoorError, Doors, Facts, Graph, State};
use crate::logging::Repeats;
use crate::reclaim::{self, GiveBack};
use crate::reload::{
    self, Asked, Candidate, Configuration, DiskSinksFile, LastGoodFile, Refused, Reloads, Standing, Taking,
};
use crate::topology::{self, BuildFailure, DrainReport, Happened, Running, RunningNode};

/// Workers of the shared runtime: enough that one long poll of a source does not stop the others.
const SHARED_WORKERS: usize = 2;

/// What is run, and how.
#[derive(Debug)]
pub struct Start {
    /// What to run.
    pub candidate: Candidate,
    /// Where it comes from, to be asked again.
    pub configuration: Arc<dyn Configuration>,
    /// Whether changes of its files are noticed.
    pub watch: Watch,
    /// Set when this is the last good configuration.
    pub instead_of: Option<InsteadOf>,
    /// Where to write the addresses that were bound.
    pub address_file: Option<PathBuf>,
    /// What the log suppresses, to be summarised now and then.
    pub repeats: Arc<Repeats>,
    /// What components get that send the engine's own telemetry on; the log goes there already.
    pub own: SelfTelemetry,
    /// Returns free memory to the system.
    pub give_back: GiveBack,
}

/// Whether changes of the configuration's files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// They are, and the configuration is taken.
    Files,
    /// It is taken when somebody asks.
    Nothing,
}

/// The last good configuration runs instead of this one.
#[derive(Clone, Debug)]
pub struct InsteadOf {
    /// The one that was to be run.
    pub refused: Refused,
    /// Seconds since 1970 at which the last good one was kept.
    pub kept_unix_seconds: u64,
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
    let Start { candidate, configuration, watch, instead_of, address_file, repeats, own, give_back } = start;
    let Candidate { plan, files, hash } = candidate;
    let limit = plan.memory.limit.0;
    let facts = Facts::of(&plan, hash.clone());
    let doors = Doors::open(&plan.settings);
    own.identify(identity(plan.settings.role.as_deref()));
    let disk_sinks = plan.settings.state_directory.as_deref().map(DiskSinksFile::of);
    let leaving = disk_sinks.as_ref().map(|file| file.leaving(&plan)).unwrap_or_default();
    let built = topology::build_with(plan, leaving, Services::default().with("", own.clone()));
    let (built, doors) = match (built, doors) {
        (Ok(built), Ok(doors)) => (built, doors),
        (built, doors) => {
            let admin = doors.err().unwrap_or_default().into_iter().map(StartError::from);
            let components = built.err().unwrap_or_default().into_iter().map(StartError::from);
            return Err(admin.chain(components).collect());
        }
    };
    let system = |what| move |source| vec![StartError::System { what, source }];
    let (reloads, asked) = Reloads::channel();
    let state = Arc::new(State::new(facts, repeats, reloads.clone()));
    // The state has what reads it; a strong reference would be a circle.
    let measured = Arc::downgrade(&state);
    own.measure(move || measured.upgrade().map(|state| admin::measure(&state)).unwrap_or_default());
    let own_listeners = doors.bound();
    let admin = admin::start(doors, Arc::clone(&state)).map_err(system("the administration server"))?;
    let shared = shared_runtime().map_err(system("the shared runtime"))?;
    if let Some(file) = &disk_sinks {
        file.started(built.leaving());
        reload::note(file.ask(&built.disk_sinks()).keep());
    }
    let running = {
        let _inside = shared.enter();
        built.run()
    };
    engine_core::memory::give_back_by(give_back);
    let waiting = Arc::downgrade(&state);
    let waits = move || waiting.upgrade().is_some_and(|state| state.services_wait());
    reclaim::start(running.admission().clone(), waits, limit, running.lanes(), give_back)
        .map_err(system("the thread that gives memory back"))?;
    state.heartbeats().start(&running.lanes(), shared.handle());
    let bound = listeners(&running, &own_listeners);
    for Bound { component, key, address } in &bound {
        tracing::info!(%component, %key, %address, "listening");
    }
    if let Some(path) = &address_file
        && let Err(source) = write_addresses(path, &bound)
    {
        return Err(vec![StartError::AddressFile { path: path.clone(), source }]);
    }
    let directory = running.settings().state_directory.clone();
    let mut taking =
        Taking::new(Arc::clone(&configuration), Arc::clone(&state), disk_sinks, own_listeners, address_file);
    let mut standing = Standing::Runs(hash);
    match (instead_of, directory) {
        (Some(InsteadOf { refused, kept_unix_seconds }), _) => {
            standing = Standing::Refused(refused.hash.clone().unwrap_or_default());
            taking.started_with_last_good(refused, kept_unix_seconds);
        }
        (None, Some(directory)) => drop(shared.spawn(reload::keep(LastGoodFile::of(&directory), files))),
        (None, None) => {}
    }
    if watch == Watch::Files {
        drop(shared.spawn(reload::watch(configuration, reloads, standing)));
    }
    state.running(Graph::of(&running, bound));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), components = running.nodes().len(), "running");
    let ending = shared.block_on(live(running, &state, taking, asked));
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

/// How long it may take until nobody new is sent to an engine that is not ready any more.
const UNNOTICED: Duration = Duration::from_secs(5);

/// Waits for a reason to end, and ends.
async fn live(mut running: Running, state: &State, mut taking: Taking, mut asked: Asked) -> Ending {
    let shutdown = state.shutdown();
    state.orphans().search(running.buffers());
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                state.draining();
                let delay = running.settings().shutdown_delay;
                if !delay.is_zero() {
                    tracing::info!(?delay, "not ready any more, still admitting");
                    // Whoever would connect anew at once could be sent here again.
                    let unnoticed = UNNOTICED.min(delay / 2);
                    tokio::time::sleep(unnoticed).await;
                    running.leave();
                    tracing::info!("clients are told to connect anew");
                    tokio::time::sleep(delay - unnoticed).await;
                }
                break;
            }
            happened = running.next() => match happened {
                Happened::SourcesEnded => {
                    tracing::info!("all sources have ended");
                    state.draining();
                    break;
                }
                Happened::Retired => taking.retired(&running),
            },
            ask = asked.next() => taking.take(&mut running, ask).await,
        }
    }
    // Whoever asks from here on hears that nothing is taken any more.
    drop(asked);
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

/// Every address that is bound, those of the administration server first.
pub(crate) fn listeners(running: &Running, own: &[Bound]) -> Vec<Bound> {
    own.iter().cloned().chain(running.sockets().bound()).collect()
}

/// Complete or not at all: whoever waits for the file may read it as soon as it is there.
pub(crate) fn write_addresses(path: &Path, listeners: &[Bound]) -> io::Result<()> {
    let line = |Bound { component, key, address }: &Bound| format!("{component} {address} {key}\n");
    let text: String = listeners.iter().map(line).collect();
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)
}
