//! Promises of delivery: what one sink may do to a source that it shares with others.
//!
//! The rule: behind a source with several sinks none may hold up the others. So a sink that makes the source wait, or
//! refuses for it, must be the only one.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::Graph;
use super::labelled;
use super::memory::MemoryPlan;
use super::signals::Flow;
use crate::component::Kind;
use crate::document::{Finding, Report};
use crate::id::ComponentId;
use crate::pipeline::{Component, Pipeline};
use crate::problem::Code;
use crate::signal::SignalSet;
use crate::sink::{Acknowledge, BufferSettings, SinkSettings, WhenFull};

/// What a sink shares with others.
struct Neighbourhood<'p> {
    /// A source before the sink that feeds other sinks too, and those.
    any: Option<(&'p ComponentId, Vec<ComponentId>)>,
    /// The same, counting only sinks that get one signal in common.
    same_signal: Option<(&'p ComponentId, Vec<ComponentId>)>,
    /// The sources before the sink.
    sources: Vec<&'p ComponentId>,
}

/// The sinks that get one of some signals from a source.
pub(super) fn sinks_behind(
    graph: &Graph,
    flow: &Flow,
    source: &ComponentId,
    signals: SignalSet,
) -> BTreeSet<ComponentId> {
    let mut sinks = BTreeSet::new();
    for signal in signals.iter() {
        let mut seen = BTreeSet::new();
        let mut stack = vec![source.clone()];
        while let Some(id) = stack.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            if graph.ports(&id).is_empty() {
                sinks.insert(id);
                continue;
            }
            for port in graph.ports(&id) {
                let takers = graph.consumers(port).filter(|consumer| flow.of_edge(port, consumer).contains(signal));
                stack.extend(takers.cloned());
            }
        }
    }
    sinks
}

/// Checks the promises of every sink and fills in its settings.
pub(super) fn settle(
    pipeline: &Pipeline,
    graph: &Graph,
    flow: &Flow,
    memory: &MemoryPlan,
    report: &mut Report<'_>,
) -> BTreeMap<ComponentId, SinkSettings> {
    let mut settings = BTreeMap::new();
    for (id, sink) in pipeline.of_kind(Kind::Sink) {
        let around = neighbourhood(pipeline, graph, flow, id);
        check_isolation(id, sink, &around, report);
        check_rereading(pipeline, id, sink, &around, report);
        let keys = &sink.sink;
        let defaults = sink.options.sink_defaults();
        let max_size = memory.buffers.get(id).copied().unwrap_or_default();
        let when_full = keys.buffer.when_full.unwrap_or_else(|| default_when_full(pipeline, &around));
        let resolved = SinkSettings {
            pipeline: keys.pipeline.as_deref().map(Into::into),
            acknowledge: keys.acknowledge,
            buffer: BufferSettings { max_size, when_full },
            batch: keys.batch.settings(&defaults, keys.acknowledge),
            retry: keys.retry.settings(),
            concurrency: keys.concurrency.unwrap_or(defaults.concurrency),
        };
        settings.insert(id.clone(), resolved);
    }
    settings
}

fn neighbourhood<'p>(pipeline: &'p Pipeline, graph: &Graph, flow: &Flow, sink: &ComponentId) -> Neighbourhood<'p> {
    let mut around = Neighbourhood { any: None, same_signal: None, sources: Vec::new() };
    let others = |sinks: BTreeSet<ComponentId>| {
        let others: Vec<ComponentId> = sinks.into_iter().filter(|other| other != sink).collect();
        (!others.is_empty()).then_some(others)
    };
    for (source, _) in pipeline.of_kind(Kind::Source) {
        let all = sinks_behind(graph, flow, source, SignalSet::ALL);
        if !all.contains(sink) {
            continue;
        }
        around.sources.push(source);
        around.any = around.any.or(others(all).map(|sinks| (source, sinks)));
        for signal in SignalSet::ALL.iter() {
            let same = sinks_behind(graph, flow, source, SignalSet::of(signal));
            if same.contains(sink) {
                around.same_signal = around.same_signal.or(others(same).map(|sinks| (source, sinks)));
            }
        }
    }
    around
}

/// A source that waits anyway is blocked; one that is called is told to come again; one that others share drops.
fn default_when_full(pipeline: &Pipeline, around: &Neighbourhood<'_>) -> WhenFull {
    if around.same_signal.is_some() {
        return WhenFull::DropNewest;
    }
    let is_pull = |source: &&ComponentId| labelled(pipeline, source).1.options.facts().pull;
    let may_block = around.any.is_none() && around.sources.iter().all(is_pull);
    if may_block { WhenFull::Block } else { WhenFull::Refuse }
}

fn check_isolation(id: &ComponentId, sink: &Component, around: &Neighbourhood<'_>, report: &mut Report<'_>) {
    let label = Pipeline::label(id, sink);
    let keys = &sink.sink;
    if keys.acknowledge == Acknowledge::Delivered
        && let Some((source, others)) = &around.any
    {
        let message = format!(
            "`acknowledge = \"delivered\"` needs the source `{source}` for itself, and that feeds {} too: \
             a slow backend here would hold up the others",
            listed(others)
        );
        let finding = Finding::error(Code::Isolation, message).expected("\"buffered\", or a source of its own");
        report.add(sink.place(&["acknowledge".to_owned()]), Some(&label), finding);
    }
    let shared = match keys.buffer.when_full {
        Some(WhenFull::Refuse) => &around.same_signal,
        Some(WhenFull::Block) => &around.any,
        Some(WhenFull::DropNewest) | None => &None,
    };
    if let (Some((source, others)), Some(when_full)) = (shared, keys.buffer.when_full) {
        let message = format!(
            "`buffer.when_full = \"{}\"` needs the source `{source}` for itself, and that feeds {} too: \
             a full buffer here would hold up the others",
            when_full.as_str(),
            listed(others)
        );
        let finding = Finding::error(Code::Isolation, message).expected("\"drop_newest\", or a source of its own");
        report.add(sink.place(&["buffer".to_owned(), "when_full".to_owned()]), Some(&label), finding);
    }
}

/// A source that could read again must not be told "safe" while data is only in memory.
fn check_rereading(
    pipeline: &Pipeline,
    id: &ComponentId,
    sink: &Component,
    around: &Neighbourhood<'_>,
    report: &mut Report<'_>,
) {
    let label = Pipeline::label(id, sink);
    let keys = &sink.sink;
    let rereads = |source: &&&ComponentId| labelled(pipeline, source).1.options.facts().rereads;
    let answers_early = keys.acknowledge == Acknowledge::Buffered;
    match around.sources.iter().find(rereads) {
        Some(source) if answers_early && !keys.may_lose_on_crash => {
            let message = format!(
                "the source `{source}` can read its data again after a crash, and a memory buffer that answers early \
                 makes it forget what was not delivered"
            );
            let finding = Finding::error(Code::Delivery, message);
            let finding = finding.expected("`acknowledge = \"delivered\"`, or `may_lose_on_crash = true`");
            report.add(sink.place(&["acknowledge".to_owned()]), Some(&label), finding);
        }
        Some(_) if answers_early => {}
        _ if keys.may_lose_on_crash => {
            let reason = if answers_early {
                "no source before this sink can read its data again"
            } else {
                "nothing is answered before it is delivered"
            };
            let finding = Finding::error(Code::NoEffect, format!("`may_lose_on_crash` has no effect: {reason}"));
            report.add(sink.place(&["may_lose_on_crash".to_owned()]), Some(&label), finding.help("remove it"));
        }
        _ => {}
    }
}

/// `` `a` and `b` ``, and how many more.
fn listed(ids: &[ComponentId]) -> String {
    let shown: Vec<String> = ids.iter().take(3).map(|id| format!("`{id}`")).collect();
    match ids.len() {
        0..=3 => shown.join(" and "),
        count => format!("{} and {} more", shown.join(", "), count - 3),
    }
}
