//! Opens the services of a plan, builds every component and binds its sockets. Nothing runs yet, so a failure changes
//! nothing.

use engine_config::{ComponentId, Kind, Plan, PlannedNode, PlannedService, ProcessSettings, Resource, ServiceId};
use engine_core::contract::{Partitioned, Sink, Source, Stage, Transform, TransformWithCompanion};
use engine_core::lane::{LaneThreads, Lanes};
use engine_core::registry::{Build, BuildContext, BuildError, find};
use engine_core::service::{ServiceRegistration, Services};
use engine_core::socket::{BindError, Sockets};

use super::buffers::{self, SinkBuffer};
use super::run::Chain;

/// Everything a plan names, built and bound, ready to run.
pub struct Built {
    pub(super) plan: Plan,
    pub(super) components: Vec<BuiltComponent>,
    /// Sinks that the plan does not have, and that deliver what they have left behind.
    pub(super) leaving: Vec<(PlannedNode, BuiltComponent)>,
    pub(super) services: Services,
    pub(super) sockets: Sockets,
    pub(super) lanes: LaneThreads,
}

/// A component that does not run yet, in the order of the plan's nodes.
pub(super) enum BuiltComponent {
    Source(Box<dyn Source>),
    Transform(Box<dyn Transform>),
    Stage(Box<dyn Stage>),
    Partitioned(Box<dyn Partitioned>),
    WithCompanion(Box<dyn TransformWithCompanion>),
    Sink(Box<dyn Sink>, SinkBuffer),
}

/// Why a plan cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildFailure {
    /// The plan names a type that is not part of this binary.
    #[error("{id}: {kind} `{type_name}` is not part of this binary")]
    NotPresent {
        /// The component.
        id: ComponentId,
        /// Its kind.
        kind: Kind,
        /// Its type.
        type_name: &'static str,
    },
    /// A component cannot be built.
    #[error("{id}: {error}")]
    Component {
        /// The component.
        id: ComponentId,
        /// What stands in the way.
        #[source]
        error: BuildError,
    },
    /// A service that components need is not part of this binary.
    #[error("{}: the service {service} is not part of this binary", listed(users))]
    NoSuchService {
        /// The service.
        service: ServiceId,
        /// The components that need it.
        users: Vec<ComponentId>,
    },
    /// A service that components need cannot be opened.
    #[error("{}: the service {service}: {error}", listed(users))]
    Service {
        /// The service.
        service: ServiceId,
        /// The components that need it.
        users: Vec<ComponentId>,
        /// What stands in the way.
        #[source]
        error: BuildError,
    },
    /// The buffer of a sink cannot be opened. Nothing in it has been changed.
    #[error("{id}: the buffer `{identity}` cannot be opened: {}", Chain(error.as_ref()))]
    Buffer {
        /// The sink.
        id: ComponentId,
        /// The buffer.
        identity: ComponentId,
        /// What stands in the way.
        #[source]
        error: Box<engine_buffers::OpenQueueError>,
    },
    /// A sink that was taken away is at its end and does not let go of the buffer.
    #[error(
        "{id}: the buffer `{identity}` is not let go of yet by a sink that was taken away: try again when that has ended"
    )]
    StillDrained {
        /// The sink.
        id: ComponentId,
        /// The buffer.
        identity: ComponentId,
    },
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system gives no more threads.
    #[error("cannot start a lane")]
    Lanes(#[source] std::io::Error),
}

/// Opens all services, builds all components, then binds all sockets.
///
/// # Errors
/// Every service that cannot be opened, every component that cannot be built and every address that cannot be bound.
pub fn build(plan: Plan) -> Result<Built, Vec<BuildFailure>> {
    build_with(plan, Vec::new(), Services::default())
}

/// The same with services that are open already, and with sinks of another configuration, which need none of their own: what
/// they have left on disk is delivered as if a reload had taken them away now. One that cannot be built is told, and what it
/// has left stays.
///
/// # Errors
/// Those of [`build`].
pub fn build_with(plan: Plan, leaving: Vec<PlannedNode>, provided: Services) -> Result<Built, Vec<BuildFailure>> {
    let lanes = LaneThreads::start(plan.settings.lanes).map_err(|error| vec![BuildFailure::Lanes(error)])?;
    let mut failures = Vec::new();
    let services = open_services(provided, &plan.services, &plan.settings, &mut failures);
    let mut components = Vec::new();
    for node in &plan.nodes {
        match component(node, &services, &lanes.lanes(), || buffers::open(node, &plan.settings)) {
            Ok(built) => components.extend(built),
            Err(failure) => failures.push(failure),
        }
    }
    let sockets = Sockets::default();
    for node in &plan.nodes {
        for claim in &node.facts.claims {
            let Resource::Tcp(address) = &claim.resource else { continue };
            if let Err(error) = sockets.bind(&node.id, &claim.key(), address.get()) {
                failures.push(error.into());
            }
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    let mut built_leaving = Vec::new();
    for node in leaving {
        match component(&node, &services, &lanes.lanes(), || buffers::open(&node, &plan.settings)) {
            Ok(built) => built_leaving.extend(built.map(|built| (node, built))),
            Err(failure) => {
                let problem = Chain(&failure).to_string();
                tracing::warn!(sink = %node.id, problem, "what the sink `{}` has left on disk is not delivered", node.id);
            }
        }
    }
    Ok(Built { plan, components, leaving: built_leaving, services, sockets, lanes })
}

impl Built {
    /// The sinks that the plan does not have, and that deliver what they have left behind.
    pub fn leaving(&self) -> impl Iterator<Item = &PlannedNode> {
        self.leaving.iter().map(|(node, _)| node)
    }

    /// The sockets that were bound, to learn the ports the operating system chose.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }
}

/// Builds one component. None without one of its services: it was named in that failure already.
pub(super) fn component(
    node: &PlannedNode,
    services: &Services,
    lanes: &Lanes,
    buffer: impl FnOnce() -> Result<SinkBuffer, BuildFailure>,
) -> Result<Option<BuiltComponent>, BuildFailure> {
    let Some(own_services) = services.for_needs(&node.facts.services) else { return Ok(None) };
    let context =
        BuildContext { id: node.id.clone(), signals: node.signals, lanes: lanes.clone(), services: own_services };
    let Some(registration) = find(node.kind, node.type_name) else {
        let (id, kind, type_name) = (node.id.clone(), node.kind, node.type_name);
        return Err(BuildFailure::NotPresent { id, kind, type_name });
    };
    let options = node.options.as_ref();
    let built = match registration.build {
        Build::Source(build) => build(options, &context).map(BuiltComponent::Source),
        Build::Transform(build) => build(options, &context).map(BuiltComponent::Transform),
        Build::Stage(build) => build(options, &context).map(BuiltComponent::Stage),
        Build::Partitioned(build) => build(options, &context).map(BuiltComponent::Partitioned),
        Build::WithCompanion(build) => build(options, &context).map(BuiltComponent::WithCompanion),
        Build::Sink(build) => match build(options, &context) {
            Ok(sink) => return Ok(Some(BuiltComponent::Sink(sink, buffer()?))),
            Err(error) => Err(error),
        },
    };
    built.map(Some).map_err(|error| BuildFailure::Component { id: node.id.clone(), error })
}

/// Opens what is not open yet.
pub(super) fn open_services(
    provided: Services,
    planned: &[PlannedService],
    settings: &ProcessSettings,
    failures: &mut Vec<BuildFailure>,
) -> Services {
    let mut services = provided;
    for PlannedService { id, users } in planned {
        if services.contains(id) {
            continue;
        }
        let (service, users) = (id.clone(), users.clone());
        let Some(registration) = ServiceRegistration::find(id.type_name) else {
            failures.push(BuildFailure::NoSuchService { service, users });
            continue;
        };
        if let Err(error) = services.open(registration, id, settings) {
            failures.push(BuildFailure::Service { service, users, error });
        }
    }
    services
}

fn listed(ids: &[ComponentId]) -> String {
    ids.iter().map(ComponentId::as_str).collect::<Vec<_>>().join(", ")
}
