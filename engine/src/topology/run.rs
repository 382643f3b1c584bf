//! Starts what was built: the services, then the components from the sinks towards the sources, so that nobody sends
//! before its takers are there.

use std::sync::Arc;

use engine_config::{ComponentId, Kind, Plan, PlannedNode, ProcessSettings};
use engine_core::budget::Budget;
use engine_core::lane::{LaneThreads, Lanes};
use engine_core::self_telemetry::SelfTelemetry;
use engine_core::self_telemetry::spans::Tracer;
use engine_core::service::Services;
use engine_core::sink::SinkHandle;
use engine_core::socket::Sockets;
use engine_core::stage::StageAccount;
use engine_core::telemetry::{ComponentTelemetry, HealthState};
use tokio_util::sync::CancellationToken;

use super::build::Built;
use super::instance::{Instance, Surroundings};
use super::reload::Prepared;
use super::retire::Retiring;
use super::services::RunningServices;

/// Name of the output that every source and transform has.
const DEFAULT_OUTPUT: &str = "default";

/// A running graph.
pub struct Running {
    /// What runs, as it was planned.
    pub(super) plan: Plan,
    /// The readable side of what runs.
    pub(super) nodes: Vec<RunningNode>,
    /// The components in the order of the plan.
    pub(super) instances: Vec<Instance>,
    /// Those that have been replaced or removed and are coming to their ends.
    pub(super) retiring: Retiring,
    pub(super) services: RunningServices,
    /// The same, to be asked.
    pub(super) opened: Services,
    pub(super) surroundings: Surroundings,
    pub(super) lanes: LaneThreads,
}

/// What can be read of one running component.
#[derive(Clone, Debug)]
pub struct RunningNode {
    /// Its id.
    pub id: ComponentId,
    /// Its kind.
    pub kind: Kind,
    /// Its type.
    pub type_name: &'static str,
    /// The pipeline label of a sink.
    pub pipeline: Option<Arc<str>>,
    /// Its counts and health.
    pub telemetry: Arc<ComponentTelemetry>,
    /// The driver of a sink.
    pub sink: Option<Arc<SinkHandle>>,
    /// The ledger of a stage, or of a transform's companion.
    pub stage: Option<Arc<StageAccount>>,
}

/// What happened to a running graph by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Every source has ended: there is nothing more to come.
    SourcesEnded,
    /// A component that was replaced or removed has come to its end.
    Retired,
}

impl Built {
    /// Starts everything: those that leave first, as if all of the plan had taken their places since. Runs on, and spawns
    /// stages and sources onto, the runtime it is called on.
    pub fn run(self) -> Running {
        let Self { plan, components, leaving, services, sockets, lanes } = self;
        let surroundings = Surroundings {
            lanes: lanes.lanes(),
            sockets,
            admission: Budget::new(admission_of(&plan)),
            poison: Arc::default(),
            leaving: CancellationToken::new(),
            drain: CancellationToken::new(),
            draining: CancellationToken::new(),
            stop_serving: CancellationToken::new(),
        };
        let mut running = Running {
            nodes: Vec::new(),
            instances: Vec::new(),
            retiring: Retiring::default(),
            services: RunningServices::default(),
            opened: services.clone(),
            surroundings,
            lanes,
            plan: Plan { nodes: Vec::new(), services: Vec::new(), ..plan.clone() },
        };
        for (node, sink) in leaving {
            running.revive(&node, sink);
        }
        running.exchange(plan, Prepared::all(components, services));
        running
    }
}

impl Running {
    /// The components in the order of the plan: each behind those it gets data from. Behind them those that have been
    /// removed and have not come to their ends.
    pub fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    /// The settings of the process.
    pub fn settings(&self) -> &ProcessSettings {
        &self.plan.settings
    }

    /// What runs, as it was planned.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The sockets, to learn the ports the operating system chose.
    pub fn sockets(&self) -> &Sockets {
        &self.surroundings.sockets
    }

    /// What requests in flight are charged to.
    pub fn admission(&self) -> &Budget {
        &self.surroundings.admission
    }

    /// The services, to learn what they wait for.
    pub fn services(&self) -> &Services {
        &self.opened
    }

    /// The lanes, to see whether they run.
    pub fn lanes(&self) -> Lanes {
        self.lanes.lanes()
    }

    /// Resolves when every source has ended by itself: there is nothing more to come.
    pub async fn sources_ended(&mut self) {
        sources_ended(&mut self.instances).await;
    }

    /// Waits for what happens by itself.
    pub async fn next(&mut self) -> Happened {
        tokio::select! {
            () = sources_ended(&mut self.instances) => return Happened::SourcesEnded,
            () = self.retiring.next() => {}
        }
        self.let_go().await;
        Happened::Retired
    }

    pub(super) fn list_nodes(&mut self) {
        let current: Vec<RunningNode> = self.instances.iter().map(|instance| instance.reading.clone()).collect();
        let removed = self.retiring.removed().filter(|node| current.iter().all(|other| other.id != node.id)).cloned();
        self.nodes = current.iter().cloned().chain(removed.collect::<Vec<_>>()).collect();
    }
}

async fn sources_ended(instances: &mut [Instance]) {
    for source in instances.iter_mut().filter(|instance| instance.node.kind == Kind::Source) {
        while let Some(joined) = source.tasks.join_next().await {
            note_end(joined);
        }
    }
}

pub(super) fn note_end(joined: Result<(), tokio::task::JoinError>) {
    match joined {
        Err(error) if !error.is_cancelled() => {
            // Panics of components are caught; this one is of dropping what they held.
            tracing::error!(%error, "the end of a component panicked");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Listeners charge the frames of their connections and the requests in flight to the same budget.
pub(super) fn admission_of(plan: &Plan) -> usize {
    let bytes = plan.memory.admission.0.saturating_add(plan.memory.frames.0);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Counters for a component that has none yet.
pub(super) fn telemetry_of(node: &PlannedNode, own: Option<&SelfTelemetry>) -> Arc<ComponentTelemetry> {
    let outputs = node.outputs.iter().map(|output| output.name.as_deref().unwrap_or(DEFAULT_OUTPUT).to_owned());
    let mut telemetry = ComponentTelemetry::new(outputs);
    if let Some(own) = own {
        telemetry = telemetry.traced(Tracer::new(own.spans().clone(), node.id.as_str(), node.type_name));
    }
    let telemetry = Arc::new(telemetry);
    telemetry.set_state(HealthState::Ok);
    telemetry
}

/// An error with its causes on one line.
pub(super) struct Chain<'e>(pub(super) &'e dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
