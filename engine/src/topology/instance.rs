//! One running component: how it is started, what others send to, and what ends it.
//!
//! Not here: which components there are (`run`, `reload`), how they end (`retire`, `drain`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_config::{ComponentId, PlannedNode};
use engine_core::budget::Budget;
use engine_core::contract::{
    ComponentError, Input, Partitioned, Sink, SinkContext, Source, SourceContext, Stage, StageContext,
    TransformWithCompanion,
};
use engine_core::edge::{Output, Port, Target, TransformNode, WhenRefused};
use engine_core::lane::Lanes;
use engine_core::poison::PoisonMemory;
use engine_core::sink::{self, DriverSettings, Succession};
use engine_core::socket::Sockets;
use engine_core::stage::{self, StageAccount, StageInlet};
use engine_core::telemetry::{ComponentTelemetry, HealthState};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::buffers::SinkBuffer;
use super::build::BuiltComponent;
use super::run::{Chain, RunningNode};
use super::wiring::Wiring;

/// What every component of a process is started with.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) lanes: Lanes,
    pub(super) sockets: Sockets,
    pub(super) admission: Budget,
    pub(super) poison: Arc<PoisonMemory>,
    /// Tells sources that the end is near.
    pub(super) leaving: CancellationToken,
    /// Ends every source.
    pub(super) drain: CancellationToken,
    /// Has every stage hand on what it holds.
    pub(super) draining: CancellationToken,
    /// Ends what sinks do beside deliveries.
    pub(super) stop_serving: CancellationToken,
}

/// A running component.
#[derive(Debug)]
pub(super) struct Instance {
    /// As it was planned.
    pub(super) node: PlannedNode,
    pub(super) reading: RunningNode,
    /// What others send to; none for a source.
    pub(super) target: Option<Target>,
    /// Where its tasks send, in the order of its outputs. A transform without tasks has none: its routes are part of its
    /// target.
    pub(super) ports: Vec<Port>,
    /// The source, or the tasks of a stage.
    pub(super) tasks: JoinSet<()>,
    /// What a sink does beside deliveries.
    pub(super) serving: JoinSet<()>,
    /// Ends the source, has the stage hand on what it holds, or ends what the sink does beside deliveries.
    pub(super) stop: CancellationToken,
    pub(super) standing: Arc<Standing>,
    /// Cancelled when all of it has ended.
    pub(super) ended: CancellationToken,
    /// Of sinks that hand over to this one: it must not end before them.
    pub(super) awaits: Vec<CancellationToken>,
}

/// Speaks for an instance about the health of its component, until another one does.
#[derive(Debug)]
pub(super) struct Standing {
    telemetry: Arc<ComponentTelemetry>,
    is_replaced: AtomicBool,
}

/// What an instance takes over from those of the same component, or of the same files, that end.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// Who must have ended before it begins.
    pub(super) after: Vec<CancellationToken>,
    /// The reading of the one before, if it counts on there.
    pub(super) before: Option<RunningNode>,
}

/// Starts one component.
pub(super) struct Start<'a> {
    pub(super) surroundings: &'a Surroundings,
    pub(super) wiring: &'a Wiring<'a>,
    pub(super) node: &'a PlannedNode,
    pub(super) telemetry: Arc<ComponentTelemetry>,
    pub(super) inheritance: Inheritance,
}

impl Standing {
    pub(super) fn set_state(&self, state: HealthState) {
        if !self.is_replaced.load(Ordering::Relaxed) {
            self.telemetry.set_state(state);
        }
    }

    /// From now on another instance is the component.
    pub(super) fn replaced(&self) {
        self.is_replaced.store(true, Ordering::Relaxed);
    }
}

impl Start<'_> {
    /// Starts it, on the runtime this is called on. Those it sends to have been started.
    pub(super) fn start(self, component: BuiltComponent) -> Instance {
        let node = self.node;
        let mut instance = Instance {
            node: node.clone(),
            reading: RunningNode {
                id: node.id.clone(),
                kind: node.kind,
                type_name: node.type_name,
                pipeline: node.sink.as_ref().and_then(|settings| settings.pipeline.clone()),
                telemetry: Arc::clone(&self.telemetry),
                sink: None,
                stage: None,
            },
            target: None,
            ports: Vec::new(),
            tasks: JoinSet::new(),
            serving: JoinSet::new(),
            stop: self.surroundings.drain.child_token(),
            standing: Arc::new(Standing {
                telemetry: Arc::clone(&self.telemetry),
                is_replaced: AtomicBool::new(false),
            }),
            ended: CancellationToken::new(),
            awaits: Vec::new(),
        };
        match component {
            BuiltComponent::Source(source) => self.source(source, &mut instance),
            BuiltComponent::Transform(transform) => {
                let started = TransformNode::new(transform, self.telemetry, self.wiring.routes(node));
                instance.target = Some(Target::Transform(Arc::new(started)));
            }
            BuiltComponent::Stage(built) => {
                let account = self.account();
                let (inlet, input) = stage::single_on(node.id.as_str(), &account);
                self.stage(vec![(built, input)], account, &mut instance);
                instance.target = Some(self.entrance(inlet));
            }
            BuiltComponent::Partitioned(built) => {
                let account = self.account();
                let shared: Arc<dyn Partitioned> = Arc::from(built);
                let (inlet, inputs) = stage::partitioned_on(node.id.as_str(), Arc::clone(&shared), &account);
                let tasks = inputs.into_iter().enumerate();
                let tasks = tasks.map(|(partition, input)| (shared.stage(partition), input)).collect();
                self.stage(tasks, account, &mut instance);
                instance.target = Some(self.entrance(inlet));
            }
            BuiltComponent::WithCompanion(transform) => self.with_companion(transform, &mut instance),
            BuiltComponent::Sink(built, buffer) => self.sink(built, buffer, &mut instance),
        }
        instance
    }

    fn source(self, source: Box<dyn Source>, instance: &mut Instance) {
        let (node, surroundings) = (self.node, self.surroundings);
        let when_refused = if node.facts.pull { WhenRefused::Wait } else { WhenRefused::Answer };
        let port = Port::from(self.wiring.routes(node).into_iter().next().unwrap_or_default());
        let poison = Arc::clone(&surroundings.poison);
        let context = SourceContext {
            id: node.id.clone(),
            output: Output::new(0, port.clone(), Arc::clone(&self.telemetry), poison, when_refused),
            leaving: surroundings.leaving.clone(),
            drain: instance.stop.clone(),
            lanes: surroundings.lanes.clone(),
            budget: surroundings.admission.clone(),
            sockets: surroundings.sockets.clone(),
            telemetry: self.telemetry,
        };
        instance.ports = vec![port];
        let (id, standing, stop) = (node.id.clone(), Arc::clone(&instance.standing), instance.stop.clone());
        let after = self.inheritance.after;
        instance.tasks.spawn(async move {
            for earlier in after {
                tokio::select! {
                    () = earlier.cancelled() => {}
                    () = stop.cancelled() => return,
                }
            }
            watched(id, &standing, move || source.run(context)).await;
            standing.set_state(HealthState::Stopped);
        });
    }

    fn with_companion(self, transform: Box<dyn TransformWithCompanion>, instance: &mut Instance) {
        let account = self.account();
        let (inlet, input) = stage::companion_on(self.node.id.as_str(), &account);
        self.stage(vec![(transform.companion(), input)], account, instance);
        let inlet = inlet.losing(self.wiring.shared_behind(self.node));
        let started = TransformNode::new(transform, self.telemetry, self.wiring.routes(self.node));
        instance.target = Some(Target::Transform(Arc::new(started.with_companion(inlet))));
    }

    fn sink(self, built: Box<dyn Sink>, buffer: SinkBuffer, instance: &mut Instance) {
        let (node, surroundings) = (self.node, self.surroundings);
        instance.stop = surroundings.stop_serving.child_token();
        let context = SinkContext {
            id: node.id.clone(),
            sockets: surroundings.sockets.clone(),
            telemetry: Arc::clone(&self.telemetry),
            stop: instance.stop.clone(),
        };
        if let Some(work) = built.serve(context) {
            let (id, standing) = (node.id.clone(), Arc::clone(&instance.standing));
            instance.serving.spawn(async move {
                watched(id, &standing, move || work).await;
                standing.set_state(HealthState::Stopped);
            });
        }
        let driver = DriverSettings::from(node.sink.as_ref().expect("the plan settles every sink"));
        let before = self.inheritance.before.and_then(|before| before.sink);
        let history = before.map(|handle| handle.history()).unwrap_or_default();
        let (store, is_handed_over) = match buffer {
            SinkBuffer::Memory => (None, false),
            SinkBuffer::Opened(store) => (Some(store), false),
            SinkBuffer::HandedOver(store) => (Some(store), true),
        };
        let succession = Succession { history, store, is_handed_over, after: self.inheritance.after };
        let lanes = &surroundings.lanes;
        let (inlet, handle) = sink::start_after(node.id.as_str(), built, driver, self.telemetry, lanes, succession);
        instance.target = Some(Target::Sink(Arc::new(inlet)));
        instance.reading.sink = Some(Arc::new(handle));
    }

    /// Starts the tasks of a stage. They end together: the component has ended when the last of them has.
    fn stage(&self, tasks: Vec<(Box<dyn Stage>, Input)>, account: Arc<StageAccount>, instance: &mut Instance) {
        let (node, surroundings) = (self.node, self.surroundings);
        instance.stop = surroundings.draining.child_token();
        instance.reading.stage = Some(account);
        instance.ports = self.wiring.routes(node).into_iter().map(Port::from).collect();
        let mut running = JoinSet::new();
        for (stage, input) in tasks {
            // A stage waits for room: what it holds may have been answered already.
            let output = |(place, port): (usize, &Port)| {
                let poison = Arc::clone(&surroundings.poison);
                Output::new(place, port.clone(), Arc::clone(&self.telemetry), poison, WhenRefused::Wait)
            };
            let outputs = instance.ports.iter().enumerate().map(output).collect();
            let stop = instance.stop.clone();
            let context = StageContext::new(node.id.clone(), &input, outputs, stop, Arc::clone(&self.telemetry));
            let (id, standing) = (node.id.clone(), Arc::clone(&instance.standing));
            running.spawn(async move { watched(id, &standing, move || stage.run(input, context)).await });
        }
        let (id, standing) = (node.id.clone(), Arc::clone(&instance.standing));
        instance.tasks.spawn(async move {
            // An error is a panic of dropping what a task held; the others go on.
            while let Some(joined) = running.join_next().await {
                if let Err(error) = joined {
                    tracing::error!(component = %id, %error, "the end of a task panicked");
                }
            }
            standing.set_state(HealthState::Stopped);
        });
    }

    fn entrance(&self, inlet: StageInlet) -> Target {
        Target::Stage(Arc::new(inlet.losing(self.wiring.shared_behind(self.node))))
    }

    /// The ledger of a stage, which goes on where the one before counted in one.
    fn account(&self) -> Arc<StageAccount> {
        let before = self.inheritance.before.as_ref().and_then(|before| before.stage.clone());
        before.unwrap_or_else(|| StageAccount::new(Arc::clone(&self.telemetry)))
    }
}

/// Runs a task of a component to its end, which a panic is too: what it held is answered Retry, and others go on. A
/// failure is told at once.
async fn watched<R>(id: ComponentId, standing: &Standing, run: R)
where
    R: FnOnce() -> BoxFuture<'static, Result<(), ComponentError>> + Send + 'static,
{
    let running = AssertUnwindSafe(async { run().await }).catch_unwind();
    let result = running.await.unwrap_or_else(|panic| Err(ComponentError::panicked(panic.as_ref())));
    if let Err(error) = result {
        tracing::error!(component = %id, error = %Chain(&error), "component failed");
        standing.telemetry.error("failed", Chain(&error).to_string());
        standing.set_state(HealthState::Failed);
    }
}
