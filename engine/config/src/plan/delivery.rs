//! Promises of delivery: what one sink may do to a source that it shares with others.
//!
//! The rule: behind a source with several sinks none may hold up the others. So a sink that makes the source wait, or
//! refuses for it, must be the only one.

use std::collections::{BTreeMap, BTreeSet};

use otlp::Signal;

use super::buffer;
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
use crate::sink::{Acknowledge, BatchSettings, BufferOptions, BufferSettings, BufferType, SinkSettings, WhenFull};
use crate::span::Span;

/// What a sink shares with others.
struct Neighbourhood<'p> {
    /// A source before the sink that feeds other sinks too, and those.
    any: Option<(&'p ComponentId, Vec<ComponentId>)>,
    /// The same, counting only sinks that get one signal in common.
    same_signal: Option<(&'p ComponentId, Vec<ComponentId>)>,
    /// The sources before the sink.
    sources: Vec<&'p ComponentId>,
}

/// The sinks behind every source, by signal.
#[derive(Debug, Default)]
pub(super) struct Reach<'p>(BTreeMap<&'p ComponentId, BTreeMap<Signal, BTreeSet<ComponentId>>>);

impl<'p> Reach<'p> {
    pub(super) fn of(pipeline: &'p Pipeline, graph: &Graph, flow: &Flow) -> Self {
        let by_signal = |source: &ComponentId| {
            SignalSet::ALL.iter().map(|signal| (signal, follow(graph, flow, source, signal))).collect()
        };
        Self(pipeline.of_kind(Kind::Source).map(|(source, _)| (source, by_signal(source))).collect())
    }

    /// The signals of a source that reach a sink.
    pub(super) fn taken(&self, source: &ComponentId) -> SignalSet {
        let by_signal = self.0.get(source).into_iter().flatten();
        by_signal.filter(|(_, sinks)| !sinks.is_empty()).map(|(signal, _)| *signal).collect()
    }
}

/// The sinks that get a signal of a source.
fn follow(graph: &Graph, flow: &Flow, source: &ComponentId, signal: Signal) -> BTreeSet<ComponentId> {
    let (mut seen, mut sinks) = (BTreeSet::new(), BTreeSet::new());
    let mut stack = vec![source];
    while let Some(id) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        if graph.ports(id).is_empty() {
            sinks.insert(id.clone());
            continue;
        }
        for port in graph.ports(id) {
            let consumers = graph.consumers(port).iter();
            stack.extend(consumers.filter(|consumer| flow.of_edge(port, consumer).contains(signal)));
        }
    }
    sinks
}

/// Checks the promises of every sink and fills in its settings.
pub(super) fn settle(
    pipeline: &Pipeline,
    reach: &Reach<'_>,
    memory: &MemoryPlan,
    report: &mut Report<'_>,
) -> BTreeMap<ComponentId, SinkSettings> {
    let mut settings = BTreeMap::new();
    for (id, sink) in pipeline.of_kind(Kind::Sink) {
        let around = neighbourhood(reach, id);
        check_isolation(id, sink, &around, report);
        check_rereading(pipeline, id, sink, &around, report);
        check_batch(id, sink, report);
        buffer::check(id, sink, report);
        let keys = &sink.sink;
        let defaults = sink.options.sink_defaults();
        let max_size = memory.buffers.get(id).copied().unwrap_or_default();
        let when_full = keys.buffer.when_full.unwrap_or_else(|| default_when_full(pipeline, &around));
        let resolved = SinkSettings {
            pipeline: keys.pipeline.as_deref().map(Into::into),
            acknowledge: keys.acknowledge,
            buffer: BufferSettings { max_size, when_full },
            disk: keys.buffer.disk(),
            identity: keys.buffer.identity.clone().unwrap_or_else(|| id.clone()),
            drain_timeout: keys.buffer.drain_timeout.map_or(BufferOptions::DRAIN_TIMEOUT, Span::get),
            batch: keys.batch.settings(&defaults, keys.acknowledge).map(|batch| within_a_request(batch, sink)),
            retry: keys.retry.settings(),
            concurrency: keys.concurrency.unwrap_or(defaults.concurrency),
        };
        settings.insert(id.clone(), resolved);
    }
    buffer::check_identities(pipeline, &settings, report);
    settings
}

fn neighbourhood<'p>(reach: &Reach<'p>, sink: &ComponentId) -> Neighbourhood<'p> {
    let mut around = Neighbourhood { any: None, same_signal: None, sources: Vec::new() };
    let others = |source: &'p ComponentId, sinks: BTreeSet<&ComponentId>| {
        let others: Vec<ComponentId> = sinks.into_iter().filter(|other| *other != sink).cloned().collect();
        (!others.is_empty()).then_some((source, others))
    };
    for (source, by_signal) in &reach.0 {
        let all: BTreeSet<&ComponentId> = by_signal.values().flatten().collect();
        if !all.contains(sink) {
            continue;
        }
        around.sources.push(source);
        around.any = around.any.or_else(|| others(source, all));
        for sinks in by_signal.values().filter(|sinks| sinks.contains(sink)) {
            around.same_signal = around.same_signal.or_else(|| others(source, sinks.iter().collect()));
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
        Some(WhenFull::DropNewest | WhenFull::DropOldest) | None => &None,
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

/// What is merged beyond the size of a request is split again.
fn check_batch(id: &ComponentId, sink: &Component, report: &mut Report<'_>) {
    let (Some(merged), Some(most)) = (sink.sink.batch.max_size, sink.options.facts().max_request_size) else { return };
    if merged > most {
        let message = format!("`batch.max_size` ({merged}) is larger than `max_request_size` ({most})");
        let finding = Finding::error(Code::Conflict, message).help("lower the one or raise the other");
        let path = ["batch".to_owned(), "max_size".to_owned()];
        report.add(sink.place(&path), Some(&Pipeline::label(id, sink)), finding);
    }
}

/// A small `max_request_size` lowers the default of `batch.max_size`.
fn within_a_request(batch: BatchSettings, sink: &Component) -> BatchSettings {
    let most = sink.options.facts().max_request_size.unwrap_or(batch.max_size);
    BatchSettings { max_size: batch.max_size.min(most), ..batch }
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
    let answers_early = keys.acknowledge == Acknowledge::Buffered && keys.buffer.kind == BufferType::Memory;
    match around.sources.iter().find(rereads) {
        Some(source) if answers_early && !keys.may_lose_on_crash => {
            let message = format!(
                "the source `{source}` can read its data again after a crash, and a memory buffer that answers early \
                 makes it forget what was not delivered"
            );
            let finding = Finding::error(Code::Delivery, message);
            let finding = finding
                .expected("`acknowledge = \"delivered\"`, `buffer.type = \"disk\"`, or `may_lose_on_crash = true`");
            report.add(sink.place(&["acknowledge".to_owned()]), Some(&label), finding);
        }
        Some(_) if answers_early => {}
        _ if keys.may_lose_on_crash => {
            let reason = if keys.buffer.kind == BufferType::Disk {
                "a disk buffer survives a crash"
            } else if answers_early {
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
