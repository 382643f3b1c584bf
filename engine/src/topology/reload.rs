//! Turns a running graph into that of another plan: everything new is opened, built and bound first, so that a failure
//! changes nothing; then routes are exchanged, from the sinks towards the sources.
//!
//! A component whose own options are the same goes on as it is, whoever its neighbours are. One that differs is replaced:
//! the new one starts, the routes turn to it, and the old one comes to its end behind them (`retire`). Not here: reading
//! and judging configurations, saying how it went (`lifecycle`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use engine_config::{ComponentId, Plan, PlannedNode, Resource};
use engine_core::self_telemetry::SelfTelemetry;
use engine_core::service::Services;
use engine_core::sink::SinkHandle;
use engine_core::socket::{BindError, Sockets};
use engine_core::telemetry::{ComponentTelemetry, HealthState};
use tokio::time::Instant;

use super::buffers::{self, DiskSink, SinkBuffer};
use super::build::{self, BuildFailure, BuiltComponent};
use super::instance::{Inheritance, Instance, Start};
use super::retire::{Claimed, End, Farewell, must_wait};
use super::run::{Running, RunningNode, admission_of, telemetry_of};
use super::wiring::Wiring;

/// How long an address is waited for that a component which comes to its end is about to give up, and how often it is tried.
const ADDRESS_WAIT: Duration = Duration::from_secs(1);
const ADDRESS_PAUSE: Duration = Duration::from_millis(5);

/// Why a plan cannot take the place of the one that runs.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A setting of the process differs that is fixed at its start.
    #[error("`{key}` cannot change while the process runs: restart it")]
    NeedsRestart {
        /// The key as it is written.
        key: &'static str,
    },
    /// Something new cannot be built, opened or bound.
    #[error(transparent)]
    Build(#[from] BuildFailure),
}

/// What a reload has done, by ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Components that were not there before.
    pub added: Vec<ComponentId>,
    /// Components that are another instance now.
    pub replaced: Vec<ComponentId>,
    /// Components that are gone.
    pub removed: Vec<ComponentId>,
}

/// What is new in a plan, built and bound.
pub(super) struct Prepared {
    /// None for what goes on.
    components: Vec<Option<BuiltComponent>>,
    services: Services,
    claims: Claims,
}

/// What sinks hold that are coming to their ends, by the new sinks that get it.
type Claims = BTreeMap<ComponentId, Claimed>;

/// A socket that a component asks for.
type Listener = (ComponentId, String, std::net::SocketAddr);

impl Prepared {
    /// Nothing goes on.
    pub(super) fn all(components: Vec<BuiltComponent>, services: Services) -> Self {
        Self { components: components.into_iter().map(Some).collect(), services, claims: Claims::new() }
    }
}

impl Running {
    /// Runs another plan from here on. Returns when the routes are exchanged; what was replaced or removed may still be
    /// delivering what it holds, at the latest until `shutdown.grace` from now.
    ///
    /// # Errors
    /// Everything that stands in the way. Then nothing has changed.
    pub async fn reload(&mut self, plan: Plan) -> Result<Changes, Vec<Refusal>> {
        self.reload_telling(plan, async |_| {}).await
    }

    /// The same. When nothing can fail any more, and before anything changes, `tell` is told which sinks have a buffer on disk
    /// from here on.
    ///
    /// # Errors
    /// Those of [`reload`](Self::reload).
    pub async fn reload_telling(
        &mut self,
        plan: Plan,
        tell: impl AsyncFnOnce(Vec<DiskSink>),
    ) -> Result<Changes, Vec<Refusal>> {
        let fixed = fixed_settings(&self.plan, &plan);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let prepared = self.prepare(&plan).await;
        let prepared = prepared.map_err(|failures| failures.into_iter().map(Refusal::from).collect::<Vec<_>>())?;
        tell(self.disk_sinks_under(&plan)).await;
        let changes = self.exchange(plan, prepared);
        self.let_go().await;
        Ok(changes)
    }

    /// Opens, builds and binds what is new.
    async fn prepare(&self, plan: &Plan) -> Result<Prepared, Vec<BuildFailure>> {
        let mut failures = Vec::new();
        let services = build::open_services(self.opened.clone(), &plan.services, &plan.settings, &mut failures);
        let claims = self.claim(plan).await;
        let mut components = Vec::new();
        for node in &plan.nodes {
            if self.goes_on(node) {
                components.push(None);
                continue;
            }
            match build::component(node, &services, &self.surroundings.lanes, || self.buffer(node, plan, &claims)) {
                Ok(built) => components.push(built),
                Err(failure) => failures.push(failure),
            }
        }
        let mut bound = Vec::new();
        for (component, key, address) in plan.nodes.iter().flat_map(listeners) {
            match self.bind(&component, &key, address).await {
                Ok(true) => bound.push((component, key, address)),
                Ok(false) => {}
                Err(error) => failures.push(error.into()),
            }
        }
        if failures.is_empty() {
            return Ok(Prepared { components, services, claims });
        }
        release(&self.surroundings.sockets, bound.iter());
        Err(failures)
    }

    /// Claims the buffers of new sinks that others have which are coming to their ends.
    async fn claim(&self, plan: &Plan) -> Claims {
        let mut claims = Claims::new();
        for node in plan.nodes.iter().filter(|node| !self.goes_on(node) && self.owner(node).is_none()) {
            if let Some(claimed) = self.retiring.claim(node).await {
                claims.insert(node.id.clone(), claimed);
            }
        }
        claims
    }

    /// The sink that runs and has the buffer that this one is to have.
    fn owner(&self, node: &PlannedNode) -> Option<&Instance> {
        self.instances.iter().find(|instance| buffers::is_same(&instance.node, node))
    }

    /// The buffer of a sink that is new: one that runs, or is coming to its end, may have it.
    fn buffer(&self, node: &PlannedNode, plan: &Plan, claims: &Claims) -> Result<SinkBuffer, BuildFailure> {
        let owner = self.owner(node).map(|instance| &instance.reading);
        let owner = owner.or_else(|| claims.get(&node.id).map(|claimed| &claimed.reading));
        match owner.and_then(|owner| owner.sink.as_ref()?.store().cloned()) {
            Some(store) => Ok(SinkBuffer::HandedOver(store)),
            None if self.retiring.has_buffer_of(node) => {
                let identity = node.sink.as_ref().expect("it has a buffer").identity.clone();
                Err(BuildFailure::StillDrained { id: node.id.clone(), identity })
            }
            None => buffers::open(node, &plan.settings),
        }
    }

    /// Binds a listener, and says whether it is a new one. An address that somebody is about to give up is waited for.
    async fn bind(&self, component: &ComponentId, key: &str, address: std::net::SocketAddr) -> Result<bool, BindError> {
        let given_up = Instant::now() + ADDRESS_WAIT;
        loop {
            match self.surroundings.sockets.bind_or_share(component, key, address) {
                Err(error)
                    if error.source.kind() == io::ErrorKind::AddrInUse
                        && !self.retiring.is_empty()
                        && Instant::now() < given_up =>
                {
                    tokio::time::sleep(ADDRESS_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    fn goes_on(&self, node: &PlannedNode) -> bool {
        self.instances.iter().any(|instance| node.is_same_instance(&instance.node))
    }

    /// Starts a sink of another configuration that nobody sends to, before anything else runs.
    pub(super) fn revive(&mut self, node: &PlannedNode, sink: BuiltComponent) {
        let own = self.opened.get::<SelfTelemetry>("").ok();
        let earlier = self.instances.iter().filter(|earlier| must_wait(node, &earlier.node));
        let after = self.retiring.before(node).into_iter().chain(earlier.map(|earlier| earlier.ended.clone()));
        let start = Start {
            surroundings: &self.surroundings,
            wiring: &Wiring::of(&self.plan),
            node,
            telemetry: telemetry_of(node, own.as_deref()),
            inheritance: Inheritance { after: after.collect(), before: None },
        };
        let instance = start.start(sink);
        // Two of one id were taken away one after the other.
        if self.instances.iter().any(|other| other.node.id == node.id) {
            self.depart(instance, Farewell::Removed, None);
        } else {
            self.instances.push(instance);
        }
    }

    /// Lets an instance come to its end.
    fn depart(&mut self, instance: Instance, farewell: Farewell, successor: Option<Arc<SinkHandle>>) {
        if farewell == Farewell::Removed {
            instance.standing.set_state(HealthState::Draining);
        }
        if let Some(sink) = &instance.reading.sink {
            sink.leave();
        }
        let grace = self.plan.settings.shutdown_grace;
        let end = End { grace, successor, hurry: self.surroundings.draining.clone() };
        self.retiring.add(instance, farewell, end);
    }

    /// Starts what is new and turns the routes to it. Cannot fail.
    pub(super) fn exchange(&mut self, plan: Plan, prepared: Prepared) -> Changes {
        let Prepared { components, services, mut claims } = prepared;
        let own = services.get::<SelfTelemetry>("").ok();
        let mut before: BTreeMap<ComponentId, Instance> =
            self.instances.drain(..).map(|instance| (instance.node.id.clone(), instance)).collect();
        let telemetries: Vec<Arc<ComponentTelemetry>> = plan
            .nodes
            .iter()
            .map(|node| {
                let known = before.get(&node.id);
                let earlier = known.filter(|instance| counts_on(node, &instance.node));
                let earlier = earlier.map(|instance| &instance.reading);
                match earlier.or_else(|| known.is_none().then(|| comes_again(node, &claims)).flatten()) {
                    Some(reading) => Arc::clone(&reading.telemetry),
                    None => telemetry_of(node, own.as_deref()),
                }
            })
            .collect();
        self.opened = services;
        for planned in &plan.services {
            if !self.services.contains(&planned.id) {
                self.services.start(&self.opened, planned);
            }
            let users = plan.nodes.iter().zip(&telemetries).filter(|(node, _)| planned.users.contains(&node.id));
            self.services.used_by(&planned.id, users.map(|(_, telemetry)| Arc::clone(telemetry)).collect());
        }
        self.surroundings.admission.resize(admission_of(&plan));
        let mut changes = Changes::default();
        let mut wiring = Wiring::of(&plan);
        let mut leaving = Vec::new();
        let mut instances = Vec::new();
        // Those that leave for good are known first: others may have to wait for them.
        let gone: Vec<ComponentId> = before.keys().filter(|id| plan.node(id.as_str()).is_none()).cloned().collect();
        for id in gone {
            let instance = before.remove(&id).expect("its id was listed in the line above");
            changes.removed.push(id);
            leaving.push((instance, Farewell::Removed));
        }
        for (place, component) in components.into_iter().enumerate().rev() {
            let node = &plan.nodes[place];
            let known = before.remove(&node.id);
            let instance = match (component, known) {
                (None, Some(instance)) => go_on(instance, node, &wiring),
                (None, None) => unreachable!("only what runs goes on"),
                (Some(component), known) => {
                    let mut after = self.retiring.before(node);
                    let other = leaving.iter().map(|(instance, _)| instance).chain(before.values());
                    let ending = other.chain(known.as_ref()).filter(|earlier| must_wait(node, &earlier.node));
                    after.extend(ending.map(|earlier| earlier.ended.clone()));
                    let inherited = match &known {
                        Some(instance) => counts_on(node, &instance.node).then(|| succeed(instance)),
                        None => {
                            if let Some(claimed) = claims.get(&node.id).filter(|claimed| claimed.node.id == node.id) {
                                self.retiring.succeeded(claimed);
                            }
                            comes_again(node, &claims).cloned()
                        }
                    };
                    let inheritance = Inheritance { after, before: inherited };
                    let start = Start {
                        surroundings: &self.surroundings,
                        wiring: &wiring,
                        node,
                        telemetry: Arc::clone(&telemetries[place]),
                        inheritance,
                    };
                    match known {
                        Some(instance) => {
                            changes.replaced.push(node.id.clone());
                            leaving.push((instance, Farewell::Replaced));
                        }
                        None => changes.added.push(node.id.clone()),
                    }
                    start.start(component)
                }
            };
            wiring.set(place, instance.target.clone());
            instances.push(instance);
        }
        instances.reverse();
        drop(wiring);
        for new in &mut instances {
            let Some(claimed) = claims.remove(&new.node.id) else { continue };
            new.awaits.push(claimed.ended.clone());
            claimed.give_to(new.reading.sink.clone().expect("only sinks claim a buffer"));
        }
        let wanted: Vec<Listener> = plan.nodes.iter().flat_map(listeners).collect();
        self.plan = plan;
        for (instance, farewell) in leaving {
            let given_up = listeners(&instance.node).filter(|listener| !wanted.contains(listener));
            release(&self.surroundings.sockets, given_up.collect::<Vec<_>>().iter());
            let successor = instances.iter_mut().find(|new| buffers::is_same(&new.node, &instance.node));
            let successor = successor.and_then(|new: &mut Instance| {
                new.awaits.push(instance.ended.clone());
                new.reading.sink.clone()
            });
            self.depart(instance, farewell, successor);
        }
        self.instances = instances;
        self.list_nodes();
        [&mut changes.added, &mut changes.replaced, &mut changes.removed].into_iter().for_each(|ids| ids.sort());
        changes
    }

    /// Lets go of what nobody uses any more.
    pub(super) async fn let_go(&mut self) {
        if self.retiring.is_empty() {
            let needed = &self.plan.services;
            let stopped = self.services.stop_unneeded(|id| needed.iter().any(|planned| planned.id == *id)).await;
            stopped.iter().for_each(|id| self.opened.forget(id));
        }
        self.list_nodes();
    }
}

/// Wires an instance into another graph.
fn go_on(mut instance: Instance, node: &PlannedNode, wiring: &Wiring<'_>) -> Instance {
    let routes = wiring.routes(node);
    for (port, route) in instance.ports.iter().zip(&routes) {
        port.turn_to(route.clone());
    }
    instance.target = instance.target.map(|target| target.rewired(routes, wiring.shared_behind(node)));
    if let (Some(sink), Some(settings)) = (&instance.reading.sink, &node.sink) {
        sink.resettle(settings);
        instance.reading.pipeline.clone_from(&settings.pipeline);
    }
    instance.node = node.clone();
    instance
}

/// Has an instance speak for its component no more, and hands its counts on.
fn succeed(instance: &Instance) -> RunningNode {
    instance.standing.replaced();
    if let Some(sink) = &instance.reading.sink {
        sink.leave();
    }
    instance.reading.telemetry.taken_over();
    instance.reading.clone()
}

/// What is known of the sink of this component that was taken away and is coming to its end, if the new one counts on there.
fn comes_again<'c>(node: &PlannedNode, claims: &'c Claims) -> Option<&'c RunningNode> {
    let claimed = claims.get(&node.id).filter(|claimed| claimed.node.id == node.id);
    claimed.filter(|claimed| counts_on(node, &claimed.node)).map(|claimed| &claimed.reading)
}

/// Whether the counters of a component stay those of the next one: of the same type, with the same outputs.
fn counts_on(node: &PlannedNode, before: &PlannedNode) -> bool {
    let names = |node: &PlannedNode| node.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
    node.kind == before.kind && node.type_name == before.type_name && names(node) == names(before)
}

fn listeners(node: &PlannedNode) -> impl Iterator<Item = Listener> {
    node.facts.claims.iter().filter_map(|claim| match &claim.resource {
        Resource::Tcp(address) => Some((node.id.clone(), claim.key(), address.get())),
        Resource::File(_) => None,
    })
}

fn release<'l>(sockets: &Sockets, listeners: impl Iterator<Item = &'l Listener>) {
    listeners.for_each(|(component, key, address)| sockets.release(component, key, *address));
}

/// Settings that differ and are fixed at the start of a process.
fn fixed_settings(running: &Plan, next: &Plan) -> Vec<Refusal> {
    let (one, other) = (&running.settings, &next.settings);
    let differ = [
        ("admin.listen", one.admin_listen != other.admin_listen),
        ("engine.lanes", one.lanes != other.lanes),
        ("engine.role", one.role != other.role),
        ("kubernetes", one.kubernetes != other.kubernetes),
        ("memory.limit", running.memory.limit != next.memory.limit),
        ("status", one.status != other.status),
        ("state.directory", one.state_directory != other.state_directory),
    ];
    let differing = differ.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| Refusal::NeedsRestart { key }).collect()
}
