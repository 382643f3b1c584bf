//! One attempt after the other: reads, judges and takes over a configuration, and tells what became of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine_config::status::{LastGood, Reload, ReloadResult};
use engine_core::socket::Bound;
use engine_core::state_store::StateError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::disk_sinks::DiskSinksFile;
use super::last_good::LastGoodFile;
use super::{Ask, Attempt, Candidate, Configuration, Refused, reread};
use crate::admin::{Facts, Graph, Series, State};
use crate::lifecycle::{listeners, write_addresses};
use crate::logging::Chain;
use crate::topology::{Changes, DiskSink, Refusal, Running};

/// How long a reload waits for a disk that does not answer.
const DISK_WAIT: Duration = Duration::from_secs(5);

/// Takes configurations over, and remembers what was said of them.
#[derive(Debug)]
pub struct Taking {
    configuration: Arc<dyn Configuration>,
    state: Arc<State>,
    /// Where sinks with a buffer on disk are kept; none without a state directory.
    disk_sinks: Option<DiskSinksFile>,
    /// Where the administration server listens.
    admin: Vec<Bound>,
    /// Where the addresses that were bound are written.
    address_file: Option<PathBuf>,
    /// What was refused last, so that it is logged once.
    refused: Option<Refused>,
}

impl Taking {
    /// For what this configuration gives.
    pub fn new(
        configuration: Arc<dyn Configuration>,
        state: Arc<State>,
        disk_sinks: Option<DiskSinksFile>,
        admin: Vec<Bound>,
        address_file: Option<PathBuf>,
    ) -> Self {
        Self { configuration, state, disk_sinks, admin, address_file, refused: None }
    }

    /// The configuration of the start was refused, and the last good one runs.
    pub fn started_with_last_good(&mut self, refused: Refused, kept_unix_seconds: u64) {
        self.state.runs_last_good(Some(LastGood { kept_unix_seconds }));
        self.state.attempted(report(ReloadResult::Refused, Some(&refused)));
        self.refused = Some(refused);
    }

    /// A component that was replaced or removed has come to its end.
    pub fn retired(&self, running: &Running) {
        if let Some(file) = &self.disk_sinks {
            let asked = file.ask(&running.disk_sinks());
            // Nobody waits for it: a disk that does not answer must not hold up the end.
            drop(tokio::task::spawn_blocking(move || note(asked.keep())));
        }
        self.state.changed(Graph::of(running, listeners(running, &self.admin)));
        self.state.orphans().search(running.buffers());
    }

    /// Answers one who asks.
    pub async fn take(&mut self, running: &mut Running, ask: Ask) {
        let configuration = Arc::clone(&self.configuration);
        // Files may be on a file system that does not answer, which must not hold up the end.
        let reading = tokio::task::spawn_blocking(move || reread(&configuration));
        let shutdown = self.state.shutdown();
        let candidate = tokio::select! {
            read = reading => match read {
                Ok(candidate) => candidate,
                Err(error) => Err(Refused::unreadable(format!("cannot judge the configuration: {error}"))),
            },
            () = shutdown.cancelled() => return,
        };
        let trigger = ask.trigger.as_str();
        let attempt = match candidate {
            Err(refused) => self.refuse(refused, trigger),
            Ok(candidate) if candidate.hash == self.state.facts().config_hash => self.unchanged(candidate.hash),
            Ok(candidate) => self.run(running, candidate, trigger).await,
        };
        // Whoever asked may have gone away.
        drop(ask.answer.send(attempt));
    }

    fn unchanged(&mut self, hash: String) -> Attempt {
        if self.refused.take().is_some() {
            tracing::info!(config_hash = hash, "the configuration is the one that runs");
        }
        self.state.runs_last_good(None);
        self.state.attempted(report(ReloadResult::Unchanged, None));
        Attempt::Unchanged { hash }
    }

    async fn run(&mut self, running: &mut Running, candidate: Candidate, trigger: &str) -> Attempt {
        let Candidate { plan, files, hash } = candidate;
        let facts = Facts::of(&plan, hash.clone());
        self.state.orphans().claim(&plan);
        let (file, shutdown) = (self.disk_sinks.clone(), self.state.shutdown());
        let keep_sinks = async |sinks: Vec<DiskSink>| {
            let Some(asked) = file.map(|file| file.ask(&sinks)) else { return };
            waited_for(tokio::task::spawn_blocking(move || note(asked.keep())), &shutdown).await;
        };
        let reloaded = running.reload_telling(plan, keep_sinks).await;
        self.state.orphans().search(running.buffers());
        let changes = match reloaded {
            Ok(changes) => changes,
            Err(refusals) => return self.refuse(refused(&hash, &refusals), trigger),
        };
        self.refused = None;
        for warning in &running.plan().warnings {
            tracing::warn!(code = warning.code.as_str(), "{warning}");
        }
        self.state.runs(facts, Graph::of(running, listeners(running, &self.admin)));
        self.state.attempted(report(ReloadResult::Applied, None));
        let Changes { added, replaced, removed } = &changes;
        tracing::info!(
            trigger,
            config_hash = hash,
            added = listed(added),
            replaced = listed(replaced),
            removed = listed(removed),
            "another configuration runs"
        );
        if let Some(path) = &self.address_file {
            let bound: Vec<Bound> = listeners(running, &self.admin);
            if let Err(error) = write_addresses(path, &bound) {
                tracing::error!(%error, "cannot write {}", path.display());
            }
        }
        let directory = running.settings().state_directory.clone();
        if let Some(directory) = directory {
            waited_for(tokio::spawn(keep(LastGoodFile::of(&directory), files)), &self.state.shutdown()).await;
        }
        Attempt::Applied { hash }
    }

    fn refuse(&mut self, refused: Refused, trigger: &str) -> Attempt {
        self.state.attempted(report(ReloadResult::Refused, Some(&refused)));
        let attempt = Attempt::Refused { drawn: refused.drawn.clone() };
        if self.refused.as_ref() != Some(&refused) {
            tracing::error!(
                trigger,
                config_hash = refused.hash.as_deref().unwrap_or_default(),
                running = self.state.facts().config_hash,
                problem = refused.problem,
                "the configuration is refused, what runs goes on"
            );
            self.refused = Some(refused);
        }
        attempt
    }
}

impl Facts {
    /// What is known of this plan.
    pub fn of(plan: &engine_config::Plan, config_hash: String) -> Self {
        let (role, memory_limit) = (plan.settings.role.clone(), plan.memory.limit.0);
        Self { role, config_hash, memory_limit, series: Series::of(plan) }
    }
}

/// Keeps a configuration that runs as the last good one. That it cannot be kept stops nothing.
pub(crate) async fn keep(file: LastGoodFile, files: Vec<engine_config::SourceFile>) {
    let kept = tokio::task::spawn_blocking(move || file.keep(&files)).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!(error = %Chain(&error), "the configuration is not kept for the next start");
    }
}

/// Waits for something to be written, but not for a disk that does not answer, which must not hold up the end.
async fn waited_for(written: JoinHandle<()>, shutdown: &CancellationToken) {
    tokio::select! {
        written = tokio::time::timeout(DISK_WAIT, written) => if written.is_err() {
            tracing::warn!("the disk does not answer: what the next start needs is not written yet");
        },
        () = shutdown.cancelled() => {}
    }
}

/// Says that sinks with a buffer on disk could not be kept.
pub(crate) fn note(kept: Result<(), StateError>) {
    if let Err(error) = kept {
        let error = Chain(&error);
        tracing::warn!(%error, "the sinks with a buffer on disk are not kept for the next start");
    }
}

fn refused(hash: &str, refusals: &[Refusal]) -> Refused {
    let lines: Vec<String> = refusals.iter().map(|refusal| Chain(refusal).to_string()).collect();
    let drawn = lines.iter().map(|line| format!("error: {line}\n")).collect();
    Refused { hash: Some(hash.to_owned()), problem: lines.join("\n"), drawn }
}

fn report(result: ReloadResult, refused: Option<&Refused>) -> Reload {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Reload {
        last_attempt_unix_seconds: now.as_secs(),
        result,
        refused_hash: refused.and_then(|refused| refused.hash.clone()),
        problem: refused.map(|refused| refused.problem.clone()),
    }
}

fn listed(ids: &[engine_config::ComponentId]) -> String {
    ids.iter().map(engine_config::ComponentId::as_str).collect::<Vec<_>>().join(",")
}
