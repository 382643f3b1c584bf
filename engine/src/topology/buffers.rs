//! The buffers of sinks that are on disk: where they are, which are open, and which belong to nobody.
//!
//! A buffer is a directory named by its identity. It is opened before anything runs and read only, so that a start or a
//! reload that fails leaves it as it was. Not here: what is in it (`engine_buffers`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_buffers::DiskQueue;
use engine_config::{ComponentId, PlannedNode, ProcessSettings};
use engine_core::sink::{Store, StoreLimits};

use super::build::BuildFailure;

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
