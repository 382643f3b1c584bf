//! `graph`: the plan as a picture, for Graphviz or Mermaid: components, and which signals flow where.

use std::collections::BTreeMap;
use std::fmt::Write;

use engine_config::{Kind, Plan, PlannedNode, SignalSet};

use super::arguments::{GraphArguments, GraphFormat};
use super::streams::Streams;
use super::{Failure, OK, load};

pub(super) fn graph(
    arguments: &GraphArguments,
    variables: BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Result<u8, Failure> {
    let loaded = load::whole(&arguments.config, variables, streams)?;
    let picture = match arguments.format {
        GraphFormat::Dot => dot(&loaded.plan),
        GraphFormat::Mermaid => mermaid(&loaded.plan),
    };
    write!(streams.stdout, "{}", picture.expect("writing to a String does not fail"))?;
    Ok(OK)
}

fn dot(plan: &Plan) -> Result<String, std::fmt::Error> {
    let mut text = String::from("digraph pipeline {\n  rankdir = LR;\n  node [fontname = \"sans-serif\"];\n");
    for node in &plan.nodes {
        let shape = match node.kind {
            Kind::Source => "cds",
            Kind::Transform => "box",
            Kind::Sink => "cylinder",
        };
        // Ids and types hold neither quotes nor backslashes.
        writeln!(text, "  \"{}\" [shape = {shape}, label = \"{}\\n{}\"];", node.id, node.id, node.type_name)?;
    }
    for edge in edges(plan) {
        writeln!(text, "  \"{}\" -> \"{}\" [label = \"{}\"];", edge.from.id, edge.to.id, edge.label())?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn mermaid(plan: &Plan) -> Result<String, std::fmt::Error> {
    let mut text = String::from("flowchart LR\n");
    for (position, node) in plan.nodes.iter().enumerate() {
        let (open, close) = match node.kind {
            Kind::Source => (">", "]"),
            Kind::Transform => ("[", "]"),
            Kind::Sink => ("[(", ")]"),
        };
        // Nodes are numbered: some ids are words of the language.
        writeln!(text, "  n{position}{open}\"{}<br/>{}\"{close}", node.id, node.type_name)?;
    }
    for edge in edges(plan) {
        writeln!(text, "  n{} -- \"{}\" --> n{}", edge.from_position, edge.label(), edge.to_position)?;
    }
    Ok(text)
}

/// One connection of the plan.
struct Edge<'p> {
    from: &'p PlannedNode,
    from_position: usize,
    output: Option<&'p str>,
    to: &'p PlannedNode,
    to_position: usize,
    signals: SignalSet,
}

impl Edge<'_> {
    /// `logs, traces`, or `errors: logs` for a named output.
    fn label(&self) -> String {
        let signals: Vec<&str> = self.signals.iter().map(|signal| signal.as_str()).collect();
        match self.output {
            Some(output) => format!("{output}: {}", signals.join(", ")),
            None => signals.join(", "),
        }
    }
}

fn edges(plan: &Plan) -> impl Iterator<Item = Edge<'_>> {
    plan.nodes.iter().enumerate().flat_map(move |(from_position, from)| {
        from.outputs.iter().flat_map(move |output| {
            output.consumers.iter().map(move |consumer| Edge {
                from,
                from_position,
                output: output.name.as_deref(),
                to: &plan.nodes[consumer.node],
                to_position: consumer.node,
                signals: consumer.signals,
            })
        })
    })
}
