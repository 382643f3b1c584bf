//! Who is connected to whom: resolved inputs, cycles, and an order in which data flows forward only.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::labelled;
use crate::check::did_you_mean;
use crate::component::Kind;
use crate::document::{Finding, Report};
use crate::id::{ComponentId, InputRef, PortRef};
use crate::pipeline::{BrokenComponents, Pipeline};
use crate::problem::Code;

/// Resolved connections.
#[derive(Debug, Default)]
pub(super) struct Graph {
    inputs: BTreeMap<ComponentId, Vec<PortRef>>,
    ports: BTreeMap<ComponentId, Vec<PortRef>>,
    consumers: BTreeMap<PortRef, Vec<ComponentId>>,
    /// Components with an input that does not resolve; it was reported.
    incomplete: BTreeSet<ComponentId>,
}

impl Graph {
    pub(super) fn inputs(&self, id: &ComponentId) -> &[PortRef] {
        self.inputs.get(id).map_or(&[], Vec::as_slice)
    }

    /// The outputs of a component, the default one first; none for sinks.
    pub(super) fn ports(&self, id: &ComponentId) -> &[PortRef] {
        self.ports.get(id).map_or(&[], Vec::as_slice)
    }

    /// Who gets the data of an output, by id.
    pub(super) fn consumers(&self, port: &PortRef) -> &[ComponentId] {
        self.consumers.get(port).map_or(&[], Vec::as_slice)
    }

    /// Who gets any data of a component.
    fn followers(&self, id: &ComponentId) -> impl Iterator<Item = &ComponentId> {
        self.ports(id).iter().flat_map(|port| self.consumers(port))
    }
}

/// Resolves every input. Components in `broken` exist and could not be read: naming them is no mistake.
pub(super) fn resolve(pipeline: &Pipeline, broken: &BrokenComponents, report: &mut Report<'_>) -> Graph {
    let mut graph = Graph::default();
    for (id, component) in pipeline.components() {
        if component.kind() == Kind::Sink {
            continue;
        }
        let default = PortRef { component: id.clone(), output: None };
        let named = component.options.facts().outputs;
        let named = named.iter().map(|output| PortRef { component: id.clone(), output: Some(output.name.into()) });
        graph.ports.insert(id.clone(), std::iter::once(default).chain(named).collect());
    }
    for (id, component) in pipeline.components() {
        let label = Pipeline::label(id, component);
        if component.kind() != Kind::Source && component.inputs.is_empty() {
            let finding =
                Finding::error(Code::MissingKey, "`inputs` is missing").expected("the ids of other components");
            report.add(component.place(&["inputs".to_owned()]), Some(&label), finding);
            graph.incomplete.insert(id.clone());
        }
        let mut resolved = Vec::new();
        for (index, input) in component.inputs.iter().enumerate() {
            match resolve_input(pipeline, &graph, broken, id, input) {
                Ok(Some(port)) => resolved.push(port),
                Ok(None) => {
                    graph.incomplete.insert(id.clone());
                }
                Err(finding) => {
                    graph.incomplete.insert(id.clone());
                    report.add(component.place(&["inputs".to_owned(), index.to_string()]), Some(&label), finding);
                }
            }
        }
        for port in &resolved {
            graph.consumers.entry(port.clone()).or_default().push(id.clone());
        }
        graph.inputs.insert(id.clone(), resolved);
    }
    for (id, component) in broken {
        for (input, at) in &component.inputs {
            if let Err(finding) = resolve_input(pipeline, &graph, broken, id, input) {
                report.add(*at, Some(&format!("{}.{id}", component.kind.table())), finding);
            }
        }
    }
    graph
}

/// `None` is a component that could not be read.
fn resolve_input(
    pipeline: &Pipeline,
    graph: &Graph,
    broken: &BrokenComponents,
    own: &ComponentId,
    input: &InputRef,
) -> Result<Option<PortRef>, Finding> {
    let split = input.split();
    let named_port = split.as_ref().and_then(|(component, output)| {
        let ports = graph.ports(component);
        ports.iter().find(|port| port.output.as_ref() == Some(output))
    });
    let whole = pipeline.get(input.as_str());
    if whole.is_some_and(|component| component.kind() == Kind::Sink) {
        let finding = Finding::error(Code::UnknownInput, format!("`{input}` is a sink, which gives no data"));
        return Err(finding.expected("a source or a transform"));
    }
    match (whole, named_port) {
        (Some(_), Some(port)) => {
            let output = port.output.as_deref().unwrap_or_default();
            let message = format!("`{input}` is a component, and it is the output `{output}` of `{}`", port.component);
            return Err(Finding::error(Code::UnknownInput, message).help("rename the component"));
        }
        (Some(_), None) => return Ok(Some(PortRef { component: input.as_component().clone(), output: None })),
        (None, Some(port)) => return Ok(Some(port.clone())),
        (None, None) => {}
    }
    let is_broken = |id: &ComponentId| broken.contains_key(id);
    if is_broken(input.as_component()) || split.as_ref().is_some_and(|(component, _)| is_broken(component)) {
        return Ok(None);
    }
    if let Some((component, output)) = &split
        && let [_, named @ ..] = graph.ports(component)
    {
        let names: Vec<&str> = named.iter().filter_map(|port| port.output.as_deref()).collect();
        let finding = Finding::error(Code::UnknownInput, format!("`{component}` has no output `{output}`"));
        let finding = if names.is_empty() {
            finding.help(format!("it has one output, `{component}`"))
        } else {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            finding.expected(quoted.join(" or "))
        };
        return Err(finding.maybe_help(did_you_mean(output, names.into_iter())));
    }
    let known = graph.ports.values().flatten().map(PortRef::to_string);
    let unread = broken.iter().filter(|(_, component)| component.kind != Kind::Sink).map(|(id, _)| id.to_string());
    let known: Vec<String> = known.chain(unread).filter(|other| other != own.as_str()).collect();
    let help = did_you_mean(input.as_str(), known.iter().map(String::as_str));
    let all = if known.is_empty() { "there are none".to_owned() } else { format!("known are {}", known.join(", ")) };
    let finding = Finding::error(Code::UnknownInput, format!("there is no source or transform `{input}`"));
    Err(finding.help(all).maybe_help(help))
}

/// Reports every cycle once, with the way around it. Returns who takes part in one.
pub(super) fn cycles(pipeline: &Pipeline, graph: &Graph, report: &mut Report<'_>) -> BTreeSet<ComponentId> {
    let mut connections: DiGraphMap<&str, ()> = DiGraphMap::new();
    for (id, inputs) in &graph.inputs {
        connections.add_node(id.as_str());
        for port in inputs {
            connections.add_edge(port.component.as_str(), id.as_str(), ());
        }
    }
    let mut found = BTreeSet::new();
    for members in tarjan_scc(&connections) {
        let is_loop = members.len() > 1 || connections.contains_edge(members[0], members[0]);
        if !is_loop {
            continue;
        }
        found.extend(members.iter().filter_map(|id| ComponentId::new(id).ok()));
        let way = way_around(&connections, &members);
        let first = ComponentId::new(way[0]).expect("nodes are ids");
        let (label, component) = labelled(pipeline, &first);
        let finding = Finding::error(Code::Cycle, format!("data goes in a circle: {}", way.join(" -> ")));
        let finding = finding.help("remove one of these connections from `inputs`");
        report.add(component.place(&["inputs".to_owned()]), Some(&label), finding);
    }
    found
}

/// A shortest closed walk from the first member by id.
fn way_around<'c>(connections: &DiGraphMap<&'c str, ()>, members: &[&'c str]) -> Vec<&'c str> {
    let start = members.iter().copied().min().expect("a component of a graph has a member");
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for next in connections.neighbors(node).filter(|next| members.contains(next)) {
            if next == start {
                let mut way = vec![start, node];
                let mut step = node;
                while step != start {
                    step = came_from[step];
                    way.push(step);
                }
                way.reverse();
                return way;
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    vec![start, start]
}

/// An order in which every component stands behind those whose data it gets; `None` when there is none. Reports cycles
/// and what no source reaches or what reaches no sink.
pub(super) fn order(pipeline: &Pipeline, graph: &Graph, report: &mut Report<'_>) -> Option<Vec<ComponentId>> {
    let in_cycles = cycles(pipeline, graph, report);
    unreached(pipeline, graph, &in_cycles, report);
    if graph.incomplete.is_empty() {
        useless(pipeline, graph, report);
    }
    if !in_cycles.is_empty() {
        return None;
    }
    let mut order: Vec<ComponentId> = Vec::new();
    let mut placed: BTreeSet<&ComponentId> = BTreeSet::new();
    // Kinds first: sources, then transforms by depth, then sinks; ids decide among equals, so that the order is stable.
    let mut waiting: Vec<&ComponentId> =
        Kind::ALL.into_iter().flat_map(|kind| pipeline.of_kind(kind).map(|(id, _)| id)).collect();
    while !waiting.is_empty() {
        let is_ready = |id: &ComponentId| graph.inputs(id).iter().all(|port| placed.contains(&port.component));
        let next = waiting.iter().position(|id| is_ready(id))?;
        let id = waiting.remove(next);
        placed.insert(id);
        order.push(id.clone());
    }
    Some(order)
}

/// Reports what no source reaches, except for those who take part in a cycle: they were reported.
fn unreached(pipeline: &Pipeline, graph: &Graph, in_cycles: &BTreeSet<ComponentId>, report: &mut Report<'_>) {
    let mut reached: BTreeSet<&ComponentId> = BTreeSet::new();
    let mut stack: Vec<&ComponentId> = pipeline.of_kind(Kind::Source).map(|(id, _)| id).collect();
    // What hangs behind an input that does not resolve might be reached by what was meant.
    stack.extend(&graph.incomplete);
    while let Some(id) = stack.pop() {
        if reached.insert(id) {
            stack.extend(graph.followers(id));
        }
    }
    for (id, component) in pipeline.components() {
        if reached.contains(id) || in_cycles.contains(id) {
            continue;
        }
        let finding = Finding::error(Code::Unreachable, format!("no source reaches this {}", component.kind()));
        let finding = finding.help("name a source, or a transform behind one, in `inputs`");
        report.add(component.place(&[]), Some(&Pipeline::label(id, component)), finding);
    }
}

/// Reports what reaches no sink.
fn useless(pipeline: &Pipeline, graph: &Graph, report: &mut Report<'_>) {
    let mut useful: BTreeSet<&ComponentId> = BTreeSet::new();
    let mut stack: Vec<&ComponentId> = pipeline.of_kind(Kind::Sink).map(|(id, _)| id).collect();
    while let Some(id) = stack.pop() {
        if useful.insert(id) {
            stack.extend(graph.inputs(id).iter().map(|port| &port.component));
        }
    }
    for (id, component) in pipeline.components() {
        if useful.contains(id) {
            continue;
        }
        let message = format!("no sink gets the data of this {}", component.kind());
        let finding = match component.kind() {
            Kind::Source => Finding::warning(Code::Unused, message),
            Kind::Transform | Kind::Sink => Finding::error(Code::Unreachable, message),
        };
        let finding =
            finding.help(format!("name `{id}` in the `inputs` of a sink or of a transform before one, or remove it"));
        report.add(component.place(&[]), Some(&Pipeline::label(id, component)), finding);
    }
}
