//! Judges the components together and fills in every default: what would run.
//!
//! Each file here is one question about the graph. Nothing is opened, bound or started.

mod buffer;
mod claims;
mod delivery;
mod graph;
mod memory;
mod secrets;
mod services;
mod signals;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use memory::MemoryPlan;
pub use services::PlannedService;

use crate::catalog::Catalog;
use crate::check::did_you_mean;
use crate::component::{Facts, Kind, SharedOptions};
use crate::document::{At, Finding, Report};
use crate::environment::Environment;
use crate::id::{ComponentId, PortRef};
use crate::pipeline::{BrokenComponents, Component, Pipeline};
use crate::problem::{Code, Problems};
use crate::settings::{KubernetesSettings, MAX_LANES, StatusSettings};
use crate::signal::SignalSet;
use crate::sink::SinkSettings;
use crate::validate::validate;

/// What would run: every default filled in, every reference resolved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Settings of the process.
    pub settings: ProcessSettings,
    /// How the memory is divided.
    pub memory: MemoryPlan,
    /// What the components share, in the order in which it is started.
    pub services: Vec<PlannedService>,
    /// The components, each behind all those whose data it gets.
    pub nodes: Vec<PlannedNode>,
    /// What runs, and probably not as meant.
    pub warnings: Problems,
}

/// Settings of the process with their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Where the administration server listens.
    pub admin_listen: SocketAddr,
    /// Its second listener, with the token as a file or a variable.
    pub status: Option<StatusSettings>,
    /// How long data is admitted after readiness is off.
    pub shutdown_delay: Duration,
    /// How long buffers may take to empty.
    pub shutdown_grace: Duration,
    /// Lanes, from 1 to [`MAX_LANES`].
    pub lanes: usize,
    /// Label of the role.
    pub role: Option<Arc<str>>,
    /// Where components keep small documents.
    pub state_directory: Option<PathBuf>,
    /// The cluster.
    pub kubernetes: KubernetesSettings,
}

/// One component with its neighbours.
#[derive(Clone, Debug)]
pub struct PlannedNode {
    /// Its id.
    pub id: ComponentId,
    /// Its kind.
    pub kind: Kind,
    /// The value of `type`.
    pub type_name: &'static str,
    /// Its options: `options.downcast_ref::<O>()`. References to the directory of secrets are resolved to files.
    pub options: SharedOptions,
    /// What its type says about them.
    pub facts: Facts,
    /// Where its data comes from.
    pub inputs: Vec<PortRef>,
    /// The signals that it gets (a source: that it brings).
    pub signals: SignalSet,
    /// Its outputs, the default one first; empty for sinks.
    pub outputs: Vec<PlannedOutput>,
    /// For sinks: the driver's settings.
    pub sink: Option<SinkSettings>,
}

/// An output and who gets its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOutput {
    /// Its name; `None` is the default output.
    pub name: Option<Arc<str>>,
    /// What may come out.
    pub signals: SignalSet,
    /// Who gets it, by id.
    pub consumers: Vec<Consumer>,
}

/// One who gets the data of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Position in [`Plan::nodes`].
    pub node: usize,
    /// Its id.
    pub id: ComponentId,
    /// The signals that it takes from this output.
    pub signals: SignalSet,
}

impl Plan {
    /// A node by id.
    pub fn node(&self, id: &str) -> Option<&PlannedNode> {
        self.nodes.iter().find(|node| node.id.as_str() == id)
    }
}

impl PlannedNode {
    /// Whether a running instance of `other` can go on as this node: neighbours and positions do not count, nor what a
    /// running sink can change.
    pub fn is_same_instance(&self, other: &Self) -> bool {
        let is_same_sink = match (&self.sink, &other.sink) {
            (Some(one), Some(two)) => one.is_same_driver(two),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.id == other.id && self.options.equals(&*other.options) && self.signals == other.signals && is_same_sink
    }
}

/// Judges a pipeline as a whole; what [`validate`] finds is part of the answer.
///
/// # Errors
///
/// Everything that is wrong, warnings included.
pub fn plan(pipeline: &Pipeline, catalog: &Catalog, environment: &Environment) -> Result<Plan, Problems> {
    let mut report = Report::new(&pipeline.files);
    unknown_types(pipeline, catalog, &mut report);
    not_enough(pipeline, &mut report);
    claims::check(pipeline, &mut report);
    let services = services::collect(pipeline, &mut report);
    secrets::unused(pipeline, &mut report);
    let no_broken = BrokenComponents::new();
    let graph = graph::resolve(pipeline, &no_broken, &mut report);
    let lanes = lanes(pipeline, environment);
    let memory = memory::divide(pipeline, environment, &mut report);
    let order = graph::order(pipeline, &graph, &mut report);
    let mut problems = validate(pipeline, environment);
    let Some(order) = order.filter(|_| report.error_count() == 0) else {
        problems.extend(report.finish());
        return Err(problems);
    };
    let flow = signals::infer(pipeline, &graph, &order, &mut report);
    let reach = delivery::Reach::of(pipeline, &graph, &flow);
    signals::unused(pipeline, &flow, &reach, &mut report);
    let sinks = delivery::settle(pipeline, &reach, &memory, &mut report);
    problems.extend(report.finish());
    if problems.has_errors() {
        return Err(problems);
    }
    let settings = ProcessSettings {
        admin_listen: pipeline.settings.admin.listen.get(),
        status: pipeline.settings.status.clone().map(|status| secrets::of_status(status, &pipeline.settings)),
        shutdown_delay: pipeline.settings.shutdown.delay.get(),
        shutdown_grace: pipeline.settings.shutdown.grace.get(),
        lanes,
        role: pipeline.settings.engine.role.as_deref().map(Arc::from),
        state_directory: pipeline.settings.state.directory.clone(),
        kubernetes: pipeline.settings.kubernetes.clone(),
    };
    let mut nodes = assemble(pipeline, &graph, &order, &flow, sinks);
    if let Some(directory) = &pipeline.settings.secrets.directory {
        nodes.iter_mut().for_each(|node| secrets::resolve(node, catalog, directory));
    }
    Ok(Plan { settings, memory, services, nodes, warnings: problems })
}

/// What can be said about the components that could be read while others could not.
pub(crate) fn plan_known(pipeline: &Pipeline, broken: &BrokenComponents) -> Problems {
    let mut report = Report::new(&pipeline.files);
    claims::check(pipeline, &mut report);
    services::missing_state(pipeline, &mut report);
    let graph = graph::resolve(pipeline, broken, &mut report);
    graph::cycles(pipeline, &graph, &mut report);
    report.finish()
}

/// A pipeline built from types may hold a type that this program does not have.
fn unknown_types(pipeline: &Pipeline, catalog: &Catalog, report: &mut Report<'_>) {
    for (id, component) in pipeline.components() {
        let (kind, type_name) = (component.kind(), component.type_name());
        if catalog.get(kind, type_name).is_none() {
            let finding = Finding::error(Code::UnknownType, format!("there is no {kind} `{type_name}`"));
            let help = did_you_mean(type_name, catalog.names(kind).into_iter());
            report.add(
                component.place(&["type".to_owned()]),
                Some(&Pipeline::label(id, component)),
                finding.maybe_help(help),
            );
        }
    }
}

fn not_enough(pipeline: &Pipeline, report: &mut Report<'_>) {
    for kind in [Kind::Source, Kind::Sink] {
        if pipeline.of_kind(kind).next().is_none() {
            let finding = Finding::error(Code::MissingKey, format!("there is no {kind}"));
            report.add(At::start_of_first_file(), None, finding.help(format!("add a table `[{}.ID]`", kind.table())));
        }
    }
}

fn lanes(pipeline: &Pipeline, environment: &Environment) -> usize {
    let cores = match environment {
        Environment::Known(known) => known.cores.unwrap_or(1),
        Environment::Unknown => 1,
    };
    pipeline.settings.engine.lanes.map_or(cores, usize::from).clamp(1, MAX_LANES)
}

/// A component's label and the component, for a report.
fn labelled<'p>(pipeline: &'p Pipeline, id: &ComponentId) -> (String, &'p Component) {
    let component = pipeline.get(id.as_str()).expect("the graph holds ids of this pipeline");
    (Pipeline::label(id, component), component)
}

fn assemble(
    pipeline: &Pipeline,
    graph: &graph::Graph,
    order: &[ComponentId],
    flow: &signals::Flow,
    mut sinks: BTreeMap<ComponentId, SinkSettings>,
) -> Vec<PlannedNode> {
    let position =
        |id: &ComponentId| order.iter().position(|other| other == id).expect("the order holds every component");
    let node = |id: &ComponentId| {
        let (_, component) = labelled(pipeline, id);
        let outputs = graph.ports(id).iter().map(|port| PlannedOutput {
            name: port.output.clone(),
            signals: flow.of_port(port),
            consumers: graph
                .consumers(port)
                .iter()
                .map(|consumer| Consumer {
                    node: position(consumer),
                    id: consumer.clone(),
                    signals: flow.of_edge(port, consumer),
                })
                .collect(),
        });
        PlannedNode {
            id: id.clone(),
            kind: component.kind(),
            type_name: component.type_name(),
            options: Arc::clone(&component.options),
            facts: component.options.facts(),
            inputs: graph.inputs(id).to_vec(),
            signals: flow.of_node(id),
            outputs: outputs.collect(),
            sink: sinks.remove(id),
        }
    };
    order.iter().map(node).collect()
}
