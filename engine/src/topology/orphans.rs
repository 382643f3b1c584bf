//! Buffers on disk that belong to no sink: looked for at the start and whenever sinks change, never where data passes.
//!
//! They are read beside everything else, on a thread that may wait for a disk, and not held: a reload that gives one to a sink
//! again finds it free. Whoever has a buffer again while it is looked into makes that look void. Not here: anything that
//! changes them. An orphan stays until somebody takes it away or a sink has its identity.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_buffers::inspect::{Inspection, bytes_in};
use engine_config::status::OrphanedBuffer;
use engine_config::{ComponentId, Plan, PlannedNode};
use parking_lot::Mutex;

use super::buffers;
use super::run::{Chain, Running};

/// The buffers of an engine: where they are, and which of them have owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedBuffers {
    directory: PathBuf,
    owned: BTreeSet<ComponentId>,
}

/// What was found, and what is looked for.
#[derive(Clone, Debug, Default)]
pub struct Orphans(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    found: Vec<OrphanedBuffer>,
    owned: BTreeSet<ComponentId>,
    /// What is to be looked at when the search that is under way has ended.
    wanted: Option<OwnedBuffers>,
    is_searching: bool,
}

/// A directory that has no owner.
#[derive(Debug)]
struct Found {
    orphan: OrphanedBuffer,
    /// Why it is not known what it holds.
    problem: Option<String>,
}

impl OwnedBuffers {
    /// The buffers of the sinks of a plan; none without a state directory.
    pub fn of(plan: &Plan) -> Option<Self> {
        let directory = buffers::directory(plan.settings.state_directory.as_deref()?);
        Some(Self { directory, owned: owned(plan.nodes.iter()) })
    }

    /// Whether this buffer has an owner.
    pub fn has(&self, identity: &ComponentId) -> bool {
        self.owned.contains(identity)
    }

    /// Whether there is such a buffer. Waits for the disk.
    pub fn is_there(&self, identity: &ComponentId) -> bool {
        self.directory.join(identity.as_str()).is_dir()
    }
}

impl Running {
    /// The buffers of the sinks that run, and of those that still deliver what they hold; none without a state directory.
    pub fn buffers(&self) -> Option<OwnedBuffers> {
        let directory = buffers::directory(self.plan.settings.state_directory.as_deref()?);
        let nodes = self.instances.iter().map(|instance| &instance.node).chain(self.retiring.nodes());
        Some(OwnedBuffers { directory, owned: owned(nodes) })
    }
}

impl Orphans {
    /// What is known now, by identity.
    pub fn found(&self) -> Vec<OrphanedBuffer> {
        self.0.lock().found.clone()
    }

    /// Has orphans looked for, on a thread of the runtime this is called on that may be blocked. One search is under way at a
    /// time, and what the last one finds counts.
    pub fn search(&self, buffers: Option<OwnedBuffers>) {
        let Some(buffers) = buffers else { return };
        let mut inner = self.0.lock();
        inner.owned.clone_from(&buffers.owned);
        inner.forget_owned();
        inner.wanted = Some(buffers);
        if !std::mem::replace(&mut inner.is_searching, true) {
            let orphans = self.clone();
            drop(tokio::task::spawn_blocking(move || orphans.work()));
        }
    }

    /// The buffers of this plan are about to have owners. A [`search`](Self::search) says what has come of it.
    pub fn claim(&self, plan: &Plan) {
        let mut inner = self.0.lock();
        inner.owned.extend(owned(plan.nodes.iter()));
    }

    fn next(&self) -> Option<OwnedBuffers> {
        let mut inner = self.0.lock();
        let wanted = inner.wanted.take();
        inner.is_searching = wanted.is_some();
        wanted
    }

    fn work(&self) {
        while let Some(buffers) = self.next() {
            match look(&buffers) {
                Ok(found) => self.tell(&buffers.directory, found),
                Err(error) => {
                    let directory = buffers.directory.display();
                    tracing::warn!(%error, "buffers that belong to no sink are not known: cannot read {directory}");
                }
            }
        }
    }

    /// Takes over what was found, and logs what is new.
    fn tell(&self, directory: &Path, found: Vec<Found>) {
        let mut inner = self.0.lock();
        if inner.wanted.is_some() {
            // Sinks have changed meanwhile.
            return;
        }
        let before: BTreeSet<String> = inner.found.drain(..).map(|orphan| orphan.identity).collect();
        inner.found = found.iter().map(|found| found.orphan.clone()).collect();
        inner.forget_owned();
        let now: BTreeSet<String> = inner.found.iter().map(|orphan| orphan.identity.clone()).collect();
        drop(inner);
        let is_new = |found: &&Found| now.contains(&found.orphan.identity) && !before.contains(&found.orphan.identity);
        found.iter().filter(is_new).for_each(|found| found.warn(directory));
    }
}

impl Inner {
    fn forget_owned(&mut self) {
        let owned = &self.owned;
        self.found.retain(|orphan| !owned.contains(orphan.identity.as_str()));
    }
}

impl Found {
    fn warn(&self, directory: &Path) {
        let OrphanedBuffer { identity, used_bytes, records } = &self.orphan;
        let path = directory.join(identity);
        let path = path.display();
        // The identity is part of the message: each is told, however many there are.
        match &self.problem {
            Some(problem) => tracing::warn!(
                buffer = identity,
                bytes = used_bytes,
                problem,
                "the buffer `{identity}` belongs to no sink, and what it holds is not known"
            ),
            None if *records == 0 => tracing::warn!(
                buffer = identity,
                bytes = used_bytes,
                records,
                "the buffer `{identity}` belongs to no sink, and holds nothing that was not delivered: {path}"
            ),
            None => tracing::warn!(
                buffer = identity,
                bytes = used_bytes,
                records,
                "the buffer `{identity}` belongs to no sink: one with this `buffer.identity` delivers what it holds, and \
                 `telemetry-engine buffer export {path}` reads it"
            ),
        }
    }
}

/// The buffers of these.
fn owned<'n>(nodes: impl Iterator<Item = &'n PlannedNode>) -> BTreeSet<ComponentId> {
    nodes.filter_map(buffers::wanted).map(|(identity, _)| identity.clone()).collect()
}

/// Every directory beside those that have owners, by name.
fn look(buffers: &OwnedBuffers) -> io::Result<Vec<Found>> {
    let entries = match std::fs::read_dir(&buffers.directory) {
        // No sink has ever had a buffer here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let identity = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !buffers.owned.contains(identity.as_str()) {
            found.push(look_at(&path, identity));
        }
    }
    found.sort_unstable_by(|one, other| one.orphan.identity.cmp(&other.orphan.identity));
    Ok(found)
}

fn look_at(path: &Path, identity: String) -> Found {
    match Inspection::glance(path) {
        Ok(inspection) => {
            let contents = inspection.contents();
            let orphan = OrphanedBuffer { identity, used_bytes: contents.bytes, records: contents.records };
            Found { orphan, problem: None }
        }
        Err(error) => {
            let orphan = OrphanedBuffer { identity, used_bytes: bytes_in(path).unwrap_or_default(), records: 0 };
            Found { orphan, problem: Some(Chain(&error).to_string()) }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn identities(orphans: &Orphans) -> Vec<String> {
        orphans.found().into_iter().map(|orphan| orphan.identity).collect()
    }

    /// What a search has found is void where sinks have changed meanwhile: a buffer that a reload gives to one is no orphan,
    /// though it was none's when the search began.
    #[test]
    fn a_search_that_is_overtaken_says_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().to_owned();
        for identity in ["pay", "shop"] {
            std::fs::create_dir(directory.join(identity)).unwrap();
        }
        let orphans = Orphans::default();
        let nobody = OwnedBuffers { directory: directory.clone(), owned: BTreeSet::new() };
        let shop: BTreeSet<ComponentId> = [ComponentId::new("shop").unwrap()].into();
        let found = look(&nobody).unwrap();
        orphans.0.lock().owned.clone_from(&shop);
        orphans.tell(&directory, found);
        assert_eq!(identities(&orphans), ["pay"], "it is about to have an owner");

        orphans.0.lock().owned.clear();
        let found = look(&nobody).unwrap();
        orphans.0.lock().wanted = Some(OwnedBuffers { directory: directory.clone(), owned: shop });
        orphans.tell(&directory, found);
        assert_eq!(identities(&orphans), ["pay"], "another search is to come");
        orphans.work();
        assert_eq!(identities(&orphans), ["pay"]);
        let absent = OwnedBuffers { directory: directory.join("absent"), owned: BTreeSet::new() };
        assert!(look(&absent).unwrap().is_empty(), "no sink has had a buffer yet");
    }
}
