//! Starts what was built: the services, then the components from the sinks towards the sources, so that nobody sends
//! before its takers are there.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use engine_config::{ComponentId, Kind, Plan, PlannedNode, ProcessSettings, SignalSet, WhenFull};
use engine_core::budget::Budget;
use engine_core::contract::{
    ComponentError, Input, Partitioned, Sink, SinkContext, Source, SourceContext, Stage, StageContext,
    TransformWithCompanion,
};
use engine_core::edge::{Consumer, Output, Route, Target, TransformNode, WhenRefused};
use engine_core::lane::{LaneThreads, Lanes};
use engine_core::poison::PoisonMemory;
use engine_core::self_telemetry::SelfTelemetry;
use engine_core::self_telemetry::spans::Tracer;
use engine_core::service::Services;
use engine_core::sink::{self, DriverSettings, SinkHandle};
use engine_core::socket::Sockets;
use engine_core::stage::{self, StageAccount, StageInlet};
use engine_core::telemetry::{ComponentTelemetry, HealthState};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::build::{Built, BuiltComponent};
use super::services::RunningServices;

/// Name of the output that every source and transform has.
const DEFAULT_OUTPUT: &str = "default";

/// A running graph.
pub struct Running {
    pub(super) settings: ProcessSettings,
    pub(super) nodes: Vec<RunningNode>,
    pub(super) sources: JoinSet<Ended>,
    pub(super) stages: JoinSet<Ended>,
    /// What sinks do beside deliveries.
    pub(super) serving: JoinSet<Ended>,
    /// The components whose tasks have not ended.
    pub(super) unended: BTreeSet<ComponentId>,
    pub(super) services: RunningServices,
    /// The same, to be asked.
    opened: Services,
    pub(super) drain: CancellationToken,
    pub(super) draining: CancellationToken,
    pub(super) stop_serving: CancellationToken,
    pub(super) lanes: LaneThreads,
    pub(super) sockets: Sockets,
    admission: Budget,
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

/// The end of a component that runs in a task of its own.
pub(super) struct Ended(ComponentId);

impl Built {
    /// Starts everything. Runs on, and spawns stages and sources onto, the runtime it is called on.
    pub fn run(self) -> Running {
        let Self { plan, components, services, sockets, lanes } = self;
        // Listeners charge the frames of their connections and the requests in flight to the same budget.
        let admission = plan.memory.admission.0.saturating_add(plan.memory.frames.0);
        let admission = usize::try_from(admission).unwrap_or(usize::MAX);
        // An engine that tells nothing of itself has none.
        let own = services.get::<SelfTelemetry>("").ok();
        let telemetries: Vec<_> = plan.nodes.iter().map(|node| telemetry_of(node, own.as_deref())).collect();
        let mut running_services = RunningServices::default();
        for planned in &plan.services {
            let users = plan.nodes.iter().zip(&telemetries).filter(|(node, _)| planned.users.contains(&node.id));
            running_services.start(&services, planned, users.map(|(_, telemetry)| Arc::clone(telemetry)).collect());
        }
        let mut starter = Starter {
            plan: &plan,
            lanes: lanes.lanes(),
            sockets: sockets.clone(),
            admission: Budget::new(admission),
            poison: Arc::default(),
            drain: CancellationToken::new(),
            draining: CancellationToken::new(),
            telemetries,
            targets: vec![None; plan.nodes.len()],
            sources: JoinSet::new(),
            stages: JoinSet::new(),
            serving: JoinSet::new(),
            stop_serving: CancellationToken::new(),
            unended: BTreeSet::new(),
        };
        let mut nodes = Vec::new();
        for (index, component) in components.into_iter().enumerate().rev() {
            nodes.push(starter.start(index, component));
        }
        nodes.reverse();
        let Starter { admission, drain, draining, sources, stages, serving, stop_serving, unended, .. } = starter;
        let (settings, opened, services) = (plan.settings, services, running_services);
        Running {
            settings,
            nodes,
            sources,
            stages,
            serving,
            unended,
            services,
            opened,
            drain,
            draining,
            stop_serving,
            lanes,
            sockets,
            admission,
        }
    }
}

impl Running {
    /// The components in the order of the plan: each behind those it gets data from.
    pub fn nodes(&self) -> &[RunningNode] {
        &self.nodes
    }

    /// The settings of the process.
    pub fn settings(&self) -> &ProcessSettings {
        &self.settings
    }

    /// The sockets, to learn the ports the operating system chose.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// What requests in flight are charged to.
    pub fn admission(&self) -> &Budget {
        &self.admission
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
        while let Some(joined) = self.sources.join_next().await {
            self.note_end(joined);
        }
    }

    pub(super) fn note_end(&mut self, joined: Result<Ended, tokio::task::JoinError>) {
        match joined {
            Ok(Ended(id)) => {
                self.unended.remove(&id);
                if let Some(node) = self.nodes.iter().find(|node| node.id == id) {
                    node.telemetry.set_state(HealthState::Stopped);
                }
            }
            Err(error) if error.is_cancelled() => {}
            // Panics of components are caught; this one is of dropping what they held.
            Err(error) => tracing::error!(%error, "the end of a component panicked"),
        }
    }
}

fn telemetry_of(node: &PlannedNode, own: Option<&SelfTelemetry>) -> Arc<ComponentTelemetry> {
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

/// What starting needs, and the targets of what has been started.
struct Starter<'p> {
    plan: &'p Plan,
    lanes: Lanes,
    sockets: Sockets,
    admission: Budget,
    poison: Arc<PoisonMemory>,
    drain: CancellationToken,
    draining: CancellationToken,
    telemetries: Vec<Arc<ComponentTelemetry>>,
    targets: Vec<Option<Target>>,
    sources: JoinSet<Ended>,
    stages: JoinSet<Ended>,
    serving: JoinSet<Ended>,
    stop_serving: CancellationToken,
    unended: BTreeSet<ComponentId>,
}

impl Starter<'_> {
    fn start(&mut self, index: usize, component: BuiltComponent) -> RunningNode {
        let plan = self.plan;
        let node = &plan.nodes[index];
        let telemetry = Arc::clone(&self.telemetries[index]);
        let (mut handle, mut account) = (None, None);
        if !matches!(component, BuiltComponent::Transform(_) | BuiltComponent::Sink(_)) {
            self.unended.insert(node.id.clone());
        }
        match component {
            BuiltComponent::Source(source) => self.start_source(node, source, &telemetry),
            BuiltComponent::Stage(stage) => {
                let (inlet, input) = stage::single(node.id.as_str(), Arc::clone(&telemetry));
                account = Some(Arc::clone(input.account()));
                self.start_tasks(node, vec![(stage, input)], &telemetry);
                self.targets[index] = Some(Target::Stage(Arc::new(inlet.losing(self.shared_behind(node)))));
            }
            BuiltComponent::Partitioned(stage) => {
                let (inlet, started) = self.start_partitioned(node, stage, &telemetry);
                account = Some(started);
                self.targets[index] = Some(Target::Stage(Arc::new(inlet.losing(self.shared_behind(node)))));
            }
            BuiltComponent::WithCompanion(transform) => {
                let (target, started) = self.start_with_companion(node, transform, &telemetry);
                account = Some(started);
                self.targets[index] = Some(target);
            }
            BuiltComponent::Transform(transform) => {
                let routes = self.routes(node);
                let started = TransformNode::new(transform, Arc::clone(&telemetry), routes);
                self.targets[index] = Some(Target::Transform(Arc::new(started)));
            }
            BuiltComponent::Sink(built) => {
                self.start_serving(node, built.as_ref(), &telemetry);
                let settings = node.sink.as_ref().expect("the plan settles every sink");
                let driver = DriverSettings::from(settings);
                let (inlet, started) =
                    sink::start(node.id.as_str(), built, driver, Arc::clone(&telemetry), &self.lanes);
                self.targets[index] = Some(Target::Sink(Arc::new(inlet)));
                handle = Some(Arc::new(started));
            }
        }
        RunningNode {
            id: node.id.clone(),
            kind: node.kind,
            type_name: node.type_name,
            pipeline: node.sink.as_ref().and_then(|settings| settings.pipeline.clone()),
            telemetry,
            sink: handle,
            stage: account,
        }
    }

    fn start_source(&mut self, node: &PlannedNode, source: Box<dyn Source>, telemetry: &Arc<ComponentTelemetry>) {
        let when_refused = if node.facts.pull { WhenRefused::Wait } else { WhenRefused::Answer };
        let route = self.routes(node).into_iter().next().unwrap_or_default();
        let context = SourceContext {
            id: node.id.clone(),
            output: Output::new(0, route, Arc::clone(telemetry), Arc::clone(&self.poison), when_refused),
            drain: self.drain.clone(),
            lanes: self.lanes.clone(),
            budget: self.admission.clone(),
            sockets: self.sockets.clone(),
            telemetry: Arc::clone(telemetry),
        };
        let run = watched(node.id.clone(), Arc::clone(telemetry), move || source.run(context));
        let id = node.id.clone();
        self.sources.spawn(async move {
            run.await;
            Ended(id)
        });
    }

    /// Starts what a sink does beside deliveries.
    fn start_serving(&mut self, node: &PlannedNode, sink: &dyn Sink, telemetry: &Arc<ComponentTelemetry>) {
        let context = SinkContext {
            id: node.id.clone(),
            sockets: self.sockets.clone(),
            telemetry: Arc::clone(telemetry),
            stop: self.stop_serving.clone(),
        };
        if let Some(work) = sink.serve(context) {
            let run = watched(node.id.clone(), Arc::clone(telemetry), move || work);
            let id = node.id.clone();
            self.serving.spawn(async move {
                run.await;
                Ended(id)
            });
        }
    }

    fn start_partitioned(
        &mut self,
        node: &PlannedNode,
        stage: Box<dyn Partitioned>,
        telemetry: &Arc<ComponentTelemetry>,
    ) -> (StageInlet, Arc<StageAccount>) {
        let shared: Arc<dyn Partitioned> = Arc::from(stage);
        let (inlet, inputs) = stage::partitioned(node.id.as_str(), Arc::clone(&shared), Arc::clone(telemetry));
        let account = Arc::clone(inputs.first().expect("there is at least one partition").account());
        let tasks = inputs.into_iter().enumerate().map(|(partition, input)| (shared.stage(partition), input)).collect();
        self.start_tasks(node, tasks, telemetry);
        (inlet, account)
    }

    fn start_with_companion(
        &mut self,
        node: &PlannedNode,
        transform: Box<dyn TransformWithCompanion>,
        telemetry: &Arc<ComponentTelemetry>,
    ) -> (Target, Arc<StageAccount>) {
        let (inlet, input) = stage::companion(node.id.as_str(), Arc::clone(telemetry));
        let account = Arc::clone(input.account());
        self.start_tasks(node, vec![(transform.companion(), input)], telemetry);
        let started = TransformNode::new(transform, Arc::clone(telemetry), self.routes(node));
        let started = started.with_companion(inlet.losing(self.shared_behind(node)));
        (Target::Transform(Arc::new(started)), account)
    }

    /// Starts the tasks of a stage. They end together: the component has ended when the last of them has.
    fn start_tasks(
        &mut self,
        node: &PlannedNode,
        tasks: Vec<(Box<dyn Stage>, Input)>,
        telemetry: &Arc<ComponentTelemetry>,
    ) {
        let mut running = JoinSet::new();
        for (stage, input) in tasks {
            // A stage waits for room: what it holds may have been answered already.
            let output = |(port, route)| {
                Output::new(port, route, Arc::clone(telemetry), Arc::clone(&self.poison), WhenRefused::Wait)
            };
            let outputs = self.routes(node).into_iter().enumerate().map(output).collect();
            let (id, draining) = (node.id.clone(), self.draining.clone());
            let context = StageContext::new(id, &input, outputs, draining, Arc::clone(telemetry));
            running.spawn(watched(node.id.clone(), Arc::clone(telemetry), move || stage.run(input, context)));
        }
        let id = node.id.clone();
        self.stages.spawn(async move {
            // An error is a panic of dropping what a task held; the others go on.
            while let Some(joined) = running.join_next().await {
                if let Err(error) = joined {
                    tracing::error!(component = %id, %error, "the end of a task panicked");
                }
            }
            Ended(id)
        });
    }

    /// The signals with which a node reaches sinks that drop what they have no room for: others must not wait for those.
    fn shared_behind(&self, node: &PlannedNode) -> SignalSet {
        let consumers = node.outputs.iter().flat_map(|output| &output.consumers);
        let behind = consumers.flat_map(|consumer| {
            let next = &self.plan.nodes[consumer.node];
            let shared = match &next.sink {
                Some(sink) if sink.buffer.when_full == WhenFull::DropNewest => SignalSet::ALL,
                Some(_) => SignalSet::default(),
                None => self.shared_behind(next),
            };
            consumer.signals.iter().filter(move |signal| shared.contains(*signal))
        });
        behind.collect()
    }

    /// The routes of a node's outputs to consumers that have been started already.
    fn routes(&self, node: &PlannedNode) -> Vec<Route> {
        let consumer = |planned: &engine_config::Consumer| Consumer {
            signals: planned.signals,
            target: self.targets[planned.node].clone().expect("consumers start before those they get data from"),
        };
        node.outputs.iter().map(|output| Route::new(output.consumers.iter().map(consumer).collect())).collect()
    }
}

/// Runs a task of a component to its end, which a panic is too: what it held is answered Retry, and others go on. A
/// failure is told at once.
async fn watched<R>(id: ComponentId, telemetry: Arc<ComponentTelemetry>, run: R)
where
    R: FnOnce() -> BoxFuture<'static, Result<(), ComponentError>> + Send + 'static,
{
    let running = AssertUnwindSafe(async { run().await }).catch_unwind();
    let result = running.await.unwrap_or_else(|panic| Err(ComponentError::panicked(panic.as_ref())));
    if let Err(error) = result {
        tracing::error!(component = %id, error = %Chain(&error), "component failed");
        telemetry.error("failed", Chain(&error).to_string());
        telemetry.set_state(HealthState::Failed);
    }
}
