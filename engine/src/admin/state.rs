//! What the server tells about: facts of the process, where it stands, and the running graph.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use engine_config::status::{Listener, Phase};
use engine_core::budget::Budget;
use engine_core::service::Services;
use engine_core::socket::Bound;
use tokio_util::sync::CancellationToken;

use super::heartbeat::Heartbeats;
use super::series::Series;
use crate::logging::Repeats;
use crate::topology::{Running, RunningNode};

/// What does not change while a configuration runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Label of the role.
    pub role: Option<Arc<str>>,
    /// Which configuration this is.
    pub config_hash: String,
    /// All memory for data, in bytes.
    pub memory_limit: u64,
    /// The counters of its components that are known beforehand.
    pub series: Series,
}

/// What can be read of a running graph.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(super) nodes: Vec<RunningNode>,
    pub(super) admission: Budget,
    pub(super) listeners: Vec<Listener>,
    pub(super) services: Services,
}

/// Everything that the server tells about.
#[derive(Debug)]
pub struct State {
    facts: Facts,
    repeats: Arc<Repeats>,
    heartbeats: Heartbeats,
    started: Instant,
    started_at_unix: Duration,
    shutdown: CancellationToken,
    now: RwLock<Now>,
}

#[derive(Clone, Debug)]
struct Now {
    phase: Phase,
    graph: Option<Arc<Graph>>,
}

impl Graph {
    /// The readable side of what runs, and where everything listens.
    pub fn of(running: &Running, listeners: Vec<Bound>) -> Self {
        let listener = |Bound { component, key, address }| Listener { component: component.to_string(), key, address };
        Self {
            nodes: running.nodes().to_vec(),
            admission: running.admission().clone(),
            services: running.services().clone(),
            listeners: listeners.into_iter().map(listener).collect(),
        }
    }
}

impl State {
    /// The state of a process that starts now.
    pub fn new(facts: Facts, repeats: Arc<Repeats>) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            facts,
            repeats,
            heartbeats: Heartbeats::default(),
            started: Instant::now(),
            started_at_unix: since_epoch,
            shutdown: CancellationToken::new(),
            now: RwLock::new(Now { phase: Phase::Starting, graph: None }),
        }
    }

    /// Everything runs from here on.
    pub fn running(&self, graph: Graph) {
        self.set(|now| {
            now.graph = Some(Arc::new(graph));
            // A signal may have come first; its answer stands.
            if now.phase == Phase::Starting {
                now.phase = Phase::Running;
            }
        });
    }

    /// The end has begun.
    pub fn draining(&self) {
        self.set(|now| now.phase = Phase::Draining);
    }

    /// Everything has ended.
    pub fn stopped(&self) {
        self.set(|now| now.phase = Phase::Stopped);
    }

    /// Cancelled when the process is asked to end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// The beats that `/livez` looks at.
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// What the log suppresses.
    pub fn repeats(&self) -> &Repeats {
        &self.repeats
    }

    /// Why the process is not ready; `None` when it is. Neither backends nor buffers count: an outage must not spread.
    pub(super) fn not_ready_because(&self) -> Option<&'static str> {
        match self.phase() {
            // What services wait for comes to an end by itself.
            Phase::Running => self.graph().and_then(|graph| graph.services.waits_for()),
            Phase::Starting | Phase::Unknown => Some("starting"),
            Phase::Draining => Some("draining"),
            Phase::Stopped => Some("stopped"),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.now().phase
    }

    pub(super) fn graph(&self) -> Option<Arc<Graph>> {
        self.now().graph
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn started_at_unix(&self) -> Duration {
        self.started_at_unix
    }

    fn now(&self) -> Now {
        self.now.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.write().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}
