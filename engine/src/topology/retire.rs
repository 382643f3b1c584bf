//! The ends of components that have been replaced or removed, beside everything that runs on.
//!
//! A source stops admitting and waits for its receipts; a stage hands on what it holds; a sink delivers what it holds with
//! the configuration it had, once the last route to it is gone, unless a reload has its buffer again meanwhile: that sink
//! gets what is left. What has not ended at the deadline is stopped, and what a sink still holds then is settled as at a
//! shutdown. Not here: the end of the process (`drain`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine_config::{ComponentId, Kind, Resource};
use engine_core::sink::{Drained, SinkHandle};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::buffers;
use super::estate::{Claim, Estate};
use super::instance::{Instance, Standing};
use super::run::{RunningNode, note_end};
use super::services::LEAST_GRACE;

/// How long a sink is waited for that lets go of a buffer on disk. It does so within seconds.
const LET_GO_WAIT: Duration = Duration::from_secs(5);

/// Components that are coming to their ends.
#[derive(Debug, Default)]
pub(super) struct Retiring {
    /// Sources and stages.
    flows: JoinSet<Retired>,
    /// Sinks, which end behind those.
    sinks: JoinSet<Retired>,
    all: Vec<Retiree>,
}

/// What is known of one of them meanwhile.
#[derive(Debug)]
struct Retiree {
    node: engine_config::PlannedNode,
    reading: RunningNode,
    standing: Arc<Standing>,
    farewell: Farewell,
    ended: CancellationToken,
    estate: Estate,
    /// How long a sink delivers what it holds, by the clock.
    drains_until: SystemTime,
}

/// What a sink holds that is coming to its end, claimed for the one that has its buffer again.
#[derive(Debug)]
pub(super) struct Claimed {
    /// As that sink was planned.
    pub(super) node: engine_config::PlannedNode,
    pub(super) reading: RunningNode,
    /// Cancelled when that sink has ended.
    pub(super) ended: CancellationToken,
    standing: Arc<Standing>,
    claim: Claim,
}

/// How one of them came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retired {
    pub(super) id: ComponentId,
    /// Whether it had to be stopped.
    pub(super) unfinished: bool,
    /// Records of a sink that had been answered OK, were in memory only and are lost.
    pub(super) dropped: u64,
}

/// Why a component ends while others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Another instance has its place.
    Replaced,
    /// The configuration has it no more.
    Removed,
}

/// How an instance ends.
#[derive(Debug)]
pub(super) struct End {
    /// How long sources and stages have, and sinks that hand over.
    pub(super) grace: Duration,
    /// The sink that gets what the instance holds; without one, whoever has its buffer again before it has ended.
    pub(super) successor: Option<Arc<SinkHandle>>,
    /// The process ends: the grace counts from then on for everybody.
    pub(super) hurry: CancellationToken,
}

impl Retiring {
    /// Lets an instance come to its end. Nothing is sent to it by routes that are in force.
    pub(super) fn add(&mut self, mut instance: Instance, farewell: Farewell, end: End) {
        let End { grace, successor, hurry } = end;
        let deadline = Instant::now() + grace;
        let estate = Estate::of(successor);
        self.all.push(Retiree {
            node: instance.node.clone(),
            reading: instance.reading.clone(),
            standing: Arc::clone(&instance.standing),
            farewell,
            ended: instance.ended.clone(),
            estate: estate.clone(),
            drains_until: buffers::drains_until(&instance.node),
        });
        // With them go the routes that it is part of, and those that it sends by unless its tasks still do.
        instance.target = None;
        instance.ports = Vec::new();
        if instance.node.kind == Kind::Sink {
            if farewell == Farewell::Replaced {
                // Its port is the other one's by now.
                instance.stop.cancel();
            }
            self.sinks.spawn(end_of_sink(instance, grace, estate, hurry));
        } else {
            instance.stop.cancel();
            self.flows.spawn(end_of_flow(instance, deadline));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.sinks.is_empty()
    }

    /// Waits for the next end; for ever when nothing is coming to its end.
    pub(super) async fn next(&mut self) {
        let joined = tokio::select! {
            Some(joined) = self.flows.join_next() => joined,
            Some(joined) = self.sinks.join_next() => joined,
            else => std::future::pending().await,
        };
        if let Err(error) = joined {
            note_end(Err(error));
        }
        self.forget();
    }

    /// Waits for the ends of sources and stages, which have a deadline of their own.
    pub(super) async fn flows_ended(&mut self) -> Vec<Retired> {
        let mut ended = Vec::new();
        while let Some(joined) = self.flows.join_next().await {
            match joined {
                Ok(retired) => ended.push(retired),
                Err(error) => note_end(Err(error)),
            }
        }
        ended
    }

    /// The same for sinks.
    pub(super) async fn sinks_ended(&mut self) -> Vec<Retired> {
        let mut ended = Vec::new();
        while let Some(joined) = self.sinks.join_next().await {
            match joined {
                Ok(retired) => ended.push(retired),
                Err(error) => note_end(Err(error)),
            }
        }
        ended
    }

    /// Those whose place nobody has.
    pub(super) fn removed(&self) -> impl Iterator<Item = &RunningNode> {
        self.running().filter(|retiree| retiree.farewell == Farewell::Removed).map(|retiree| &retiree.reading)
    }

    /// What they were planned as, all that have not ended.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &engine_config::PlannedNode> {
        self.running().map(|retiree| &retiree.node)
    }

    /// The sinks that deliver what they hold, and until when.
    pub(super) fn draining(&self) -> impl Iterator<Item = (&engine_config::PlannedNode, SystemTime)> {
        let sinks = self.running().filter(|retiree| retiree.node.kind == Kind::Sink && !retiree.estate.has_heir());
        sinks.map(|retiree| (&retiree.node, retiree.drains_until))
    }

    /// Whether one of them has the buffer on disk that this node is to have.
    pub(super) fn has_buffer_of(&self, node: &engine_config::PlannedNode) -> bool {
        buffers::wanted(node).is_some() && self.with_buffer_of(node).next().is_some()
    }

    /// Claims the buffer that this node is to have, where one of them has it. One that lets go of it is waited for.
    pub(super) async fn claim(&self, node: &engine_config::PlannedNode) -> Option<Claimed> {
        let claim = |retiree: &Retiree| {
            Some(Claimed {
                claim: retiree.estate.claim()?,
                node: retiree.node.clone(),
                reading: retiree.reading.clone(),
                ended: retiree.ended.clone(),
                standing: Arc::clone(&retiree.standing),
            })
        };
        let claimed = self.with_buffer_of(node).find_map(claim);
        if claimed.is_none() && self.has_buffer_of(node) {
            let all = self.with_buffer_of(node).map(|retiree| retiree.ended.cancelled());
            drop(tokio::time::timeout(LET_GO_WAIT, futures::future::join_all(all)).await);
        }
        claimed
    }

    /// Another instance goes on as the component of this one.
    pub(super) fn succeeded(&mut self, by: &Claimed) {
        by.standing.replaced();
        by.reading.telemetry.taken_over();
        let retiree = self.all.iter_mut().find(|retiree| Arc::ptr_eq(&retiree.standing, &by.standing));
        retiree.into_iter().for_each(|retiree| retiree.farewell = Farewell::Replaced);
    }

    fn with_buffer_of(&self, node: &engine_config::PlannedNode) -> impl Iterator<Item = &Retiree> {
        self.running().filter(|retiree| buffers::is_same(&retiree.node, node))
    }

    fn running(&self) -> impl Iterator<Item = &Retiree> {
        self.all.iter().filter(|retiree| !retiree.ended.is_cancelled())
    }

    /// Those that must have ended before this node may begin: a source that fetches its data itself must not fetch it
    /// twice, and a file has one writer.
    pub(super) fn before(&self, node: &engine_config::PlannedNode) -> Vec<CancellationToken> {
        let all = self.all.iter().filter(|retiree| must_wait(node, &retiree.node));
        all.map(|retiree| retiree.ended.clone()).collect()
    }

    fn forget(&mut self) {
        self.all.retain(|retiree| !retiree.ended.is_cancelled());
    }
}

impl Claimed {
    /// What the sink holds goes to this one.
    pub(super) fn give_to(self, heir: Arc<SinkHandle>) {
        self.claim.give_to(heir);
    }
}

/// Whether `node` may begin only when `earlier` has ended.
pub(super) fn must_wait(node: &engine_config::PlannedNode, earlier: &engine_config::PlannedNode) -> bool {
    let is_same_source = node.kind == Kind::Source && node.facts.pull && node.id == earlier.id;
    let is_file = |resource: &Resource| matches!(resource, Resource::File(_));
    let has = |resource: &Resource| earlier.facts.claims.iter().any(|claim| claim.resource == *resource);
    let shares_file = node.facts.claims.iter().any(|claim| is_file(&claim.resource) && has(&claim.resource));
    is_same_source || shares_file
}

async fn end_of_flow(mut instance: Instance, deadline: Instant) -> Retired {
    let _ended = instance.ended.clone().drop_guard();
    let id = instance.node.id.clone();
    while let Ok(Some(joined)) = tokio::time::timeout_at(deadline, instance.tasks.join_next()).await {
        note_end(joined);
    }
    let unfinished = !instance.tasks.is_empty();
    if unfinished {
        tracing::warn!(component = %id, "a component of the configuration before had not ended in time and is stopped");
        instance.tasks.shutdown().await;
    }
    Retired { id, unfinished, dropped: 0 }
}

async fn end_of_sink(mut instance: Instance, grace: Duration, estate: Estate, hurry: CancellationToken) -> Retired {
    let _ended = instance.ended.clone().drop_guard();
    let id = instance.node.id.clone();
    let handle = instance.reading.sink.clone().expect("a sink has a driver");
    let mut deadline = Instant::now() + grace;
    // At the deadline nothing is taken any more, whoever still sends.
    drop(tokio::time::timeout_at(deadline, handle.left()).await);
    // Whoever hands over to it must find it there.
    for earlier in std::mem::take(&mut instance.awaits) {
        earlier.cancelled().await;
    }
    let is_without_heir = !estate.has_heir();
    if is_without_heir {
        let settings = instance.node.sink.as_ref().expect("the plan settles every sink");
        deadline = Instant::now() + settings.drain_timeout;
        tokio::select! {
            () = handle.emptied(deadline) => {}
            () = estate.named() => {}
            () = hurry.cancelled() => deadline = deadline.min(Instant::now() + grace),
        }
    }
    let heir = estate.settle().await;
    let drained = match heir.as_ref() {
        Some(successor) => {
            if is_without_heir {
                deadline = Instant::now() + grace;
            }
            handle.hand_over(successor, deadline, &hurry).await
        }
        None => {
            let drained = handle.drain(deadline).await;
            if !hurry.is_cancelled() {
                handle.leave_on_disk();
            }
            drained
        }
    };
    let Drained { dropped, kept, finished } = drained;
    instance.stop.cancel();
    let last = deadline.max(Instant::now() + LEAST_GRACE);
    while let Ok(Some(joined)) = tokio::time::timeout_at(last, instance.serving.join_next()).await {
        note_end(joined);
    }
    let unfinished = !finished || !instance.serving.is_empty();
    instance.serving.shutdown().await;
    if kept > 0 {
        tracing::warn!(sink = %id, records = kept, "the sink is gone and could not deliver everything, its buffer stays on disk");
    }
    if dropped > 0 {
        tracing::error!(
            sink = %id,
            records = dropped,
            "records were answered OK and are lost: the sink of the configuration before could not deliver them in time"
        );
    }
    Retired { id, unfinished, dropped }
}
