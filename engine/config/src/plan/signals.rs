//! Which signals flow where. They are inferred from the sources on; a component may narrow its own.

use std::collections::BTreeMap;

use super::delivery::Reach;
use super::graph::Graph;
use super::labelled;
use crate::component::Kind;
use crate::document::{Finding, Report};
use crate::id::{ComponentId, PortRef};
use crate::pipeline::{Component, Pipeline};
use crate::problem::Code;
use crate::signal::SignalSet;

/// The signals of every node, output and connection.
#[derive(Debug, Default)]
pub(super) struct Flow {
    nodes: BTreeMap<ComponentId, SignalSet>,
    ports: BTreeMap<PortRef, SignalSet>,
    accepted: BTreeMap<ComponentId, SignalSet>,
}

impl Flow {
    pub(super) fn of_node(&self, id: &ComponentId) -> SignalSet {
        self.nodes.get(id).copied().unwrap_or_default()
    }

    pub(super) fn of_port(&self, port: &PortRef) -> SignalSet {
        self.ports.get(port).copied().unwrap_or_default()
    }

    pub(super) fn of_edge(&self, port: &PortRef, consumer: &ComponentId) -> SignalSet {
        let accepted = self.accepted.get(consumer).copied().unwrap_or_default();
        self.of_port(port).intersection(accepted)
    }
}

/// Lets signals flow in order and reports where they cannot.
pub(super) fn infer(pipeline: &Pipeline, graph: &Graph, order: &[ComponentId], report: &mut Report<'_>) -> Flow {
    let mut flow = Flow::default();
    for id in order {
        let (label, component) = labelled(pipeline, id);
        let carried = carried(component, &label, report);
        flow.accepted.insert(id.clone(), carried);
        let signals = match component.kind() {
            Kind::Source => carried,
            Kind::Transform | Kind::Sink => incoming(graph, id, component, &label, &flow, report),
        };
        flow.nodes.insert(id.clone(), signals);
        let facts = component.options.facts();
        for port in graph.ports(id) {
            let named = facts.outputs.iter().find(|output| Some(output.name) == port.output.as_deref());
            let possible = named.map_or(facts.signals_out, |output| output.signals);
            flow.ports.insert(port.clone(), possible.intersection(signals));
        }
    }
    flow
}

/// What a component carries: what its type can, narrowed by the user.
fn carried(component: &Component, label: &str, report: &mut Report<'_>) -> SignalSet {
    let facts = component.options.facts();
    let possible = match component.kind() {
        Kind::Source => facts.outputs.iter().fold(facts.signals_out, |all, output| all.union(output.signals)),
        Kind::Transform | Kind::Sink => facts.signals_in,
    };
    let Some(wanted) = component.signals else { return possible };
    let excess = wanted.without(possible);
    if !excess.is_empty() {
        let message = format!("the {} `{}` cannot carry {excess}", component.kind(), component.type_name());
        let finding = Finding::error(Code::WrongSignal, message).expected(possible.to_string());
        report.add(component.place(&["signals".to_owned()]), Some(label), finding);
    }
    wanted.intersection(possible)
}

/// What comes in over all inputs; an input over which nothing can come is a mistake.
fn incoming(
    graph: &Graph,
    id: &ComponentId,
    component: &Component,
    label: &str,
    flow: &Flow,
    report: &mut Report<'_>,
) -> SignalSet {
    let accepted = flow.accepted.get(id).copied().unwrap_or_default();
    let mut all = SignalSet::NONE;
    for (index, port) in graph.inputs(id).iter().enumerate() {
        let arriving = flow.of_edge(port, id);
        all = all.union(arriving);
        // Two empty sides were reported where they became empty.
        if arriving.is_empty() && !accepted.is_empty() && !flow.of_port(port).is_empty() {
            let given = flow.of_port(port);
            let message = format!("`{port}` gives {given}, and this {} takes {accepted}", component.kind());
            let finding = Finding::error(Code::WrongSignal, message).help("remove the input, or change `signals`");
            report.add(component.place(&["inputs".to_owned(), index.to_string()]), Some(label), finding);
        }
    }
    all
}

/// Data of a source that nobody takes is thrown away: not wrong, and seldom meant. A source without any taker was
/// reported with the graph.
pub(super) fn unused(pipeline: &Pipeline, flow: &Flow, reach: &Reach<'_>, report: &mut Report<'_>) {
    for (id, source) in pipeline.of_kind(Kind::Source) {
        let taken = reach.taken(id);
        let unused = flow.of_node(id).without(taken);
        if taken.is_empty() || unused.is_empty() {
            continue;
        }
        let message = format!("no sink gets the {unused} of this source: what comes is thrown away and counted");
        let names: Vec<String> = taken.iter().map(|signal| format!("\"{}\"", signal.as_str())).collect();
        let finding = Finding::warning(Code::Unused, message);
        let finding = finding.help(format!("write `signals = [{}]`, or add a sink", names.join(", ")));
        report.add(source.place(&[]), Some(&Pipeline::label(id, source)), finding);
    }
}
