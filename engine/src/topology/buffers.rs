//! The buffers of sinks that are on disk: where they are, which are open, and whose they are for how long.
//!
//! A buffer is a directory named by its identity. It is opened before anything runs and read only, so that a start or a
//! reload that fails leaves it as it was. Not here: what is in it (`engine_buffers`), which belong to nobody (`orphans`), and
//! where sinks are kept for the next start (`reload`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use engine_buffers::DiskQueue;
use engine_config::{ComponentId, Plan, PlannedNode, ProcessSettings};
use engine_core::sink::{Store, StoreLimits};

use super::build::{BuildFailure, Built};
use super::run::Running;

/// Below `state.directory`.
const DIRECTORY: &str = "buffers";

/// What a sink that is about to start holds its data in.
#[derive(Debug)]
pub(super) enum SinkBuffer {
    /// Nothing but memory.
    Memory,
    /// What was opened for it.
    Opened(Arc<dyn Store>),
    /// What another sink of this process has, which will hand over.
    HandedOver(Arc<dyn Store>),
}

/// A sink that has a buffer on disk.
#[derive(Clone, Debug)]
pub struct DiskSink {
    /// As it was planned.
    pub node: PlannedNode,
    /// How long it still delivers what it holds, once the configuration has it no more.
    pub drains_until: Option<SystemTime>,
}

impl Running {
    /// The sinks that have a buffer on disk, and those that deliver what is left in one that is nobody else's.
    pub fn disk_sinks(&self) -> Vec<DiskSink> {
        self.disk_sinks_under(&self.plan)
    }

    /// The same once this plan runs.
    pub(super) fn disk_sinks_under(&self, plan: &Plan) -> Vec<DiskSink> {
        let leaving = self.instances.iter().map(|instance| (&instance.node, drains_until(&instance.node)));
        disk_sinks(plan, leaving.chain(self.retiring.draining()))
    }
}

impl Built {
    /// The same once it runs.
    pub fn disk_sinks(&self) -> Vec<DiskSink> {
        disk_sinks(&self.plan, self.leaving().map(|node| (node, drains_until(node))))
    }
}

/// Those of a plan, and those that have a buffer which is not in it.
fn disk_sinks<'n>(plan: &'n Plan, leaving: impl Iterator<Item = (&'n PlannedNode, SystemTime)>) -> Vec<DiskSink> {
    let all = plan.nodes.iter().map(|node| (node, None)).chain(leaving.map(|(node, until)| (node, Some(until))));
    let mut sinks: BTreeMap<&ComponentId, DiskSink> = BTreeMap::new();
    for (node, drains_until) in all {
        let Some((identity, _)) = wanted(node) else { continue };
        sinks.entry(identity).or_insert_with(|| DiskSink { node: node.clone(), drains_until });
    }
    sinks.into_values().collect()
}

/// How long a sink delivers what it holds that is taken away now; of anything else, until now.
pub(super) fn drains_until(node: &PlannedNode) -> SystemTime {
    let timeout = node.sink.as_ref().map(|settings| settings.drain_timeout);
    SystemTime::now() + timeout.unwrap_or_default()
}

/// Where the buffers of an engine are.
pub(crate) fn directory(state: &Path) -> PathBuf {
    state.join(DIRECTORY)
}

/// Opens the buffer of a sink.
pub(super) fn open(node: &PlannedNode, settings: &ProcessSettings) -> Result<SinkBuffer, BuildFailure> {
    let Some((identity, limits)) = wanted(node) else { return Ok(SinkBuffer::Memory) };
    let state = settings.state_directory.as_deref().expect("the plan refuses a disk buffer without a directory");
    let opened = DiskQueue::open(&directory(state).join(identity.as_str()), limits);
    let opened = opened.map_err(|error| BuildFailure::Buffer {
        id: node.id.clone(),
        identity: identity.clone(),
        error: Box::new(error),
    })?;
    Ok(SinkBuffer::Opened(Arc::new(opened)))
}

/// The buffer on disk that a sink has.
pub(super) fn wanted(node: &PlannedNode) -> Option<(&ComponentId, StoreLimits)> {
    let settings = node.sink.as_ref()?;
    Some((&settings.identity, StoreLimits::of(settings)?))
}

/// Whether what one sink holds goes to the other: the same buffer, kept in the same place.
pub(super) fn is_same(one: &PlannedNode, other: &PlannedNode) -> bool {
    let owner = |node: &PlannedNode| node.sink.as_ref().map(|sink| (sink.identity.clone(), sink.disk.is_some()));
    owner(one).is_some() && owner(one) == owner(other)
}
