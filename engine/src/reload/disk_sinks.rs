//! The sinks that have a buffer on disk, kept in the state directory: a start whose configuration has one of them no more
//! delivers what that left behind, as a reload would, for what is left of its time.
//!
//! They are kept before anything is sent to them, so that nothing of a sink is ever delivered as another one. Where they cannot be, none
//! are: what a sink leaves then is an orphan. Not here: what a record holds (`engine_config::SinkRecord`), how a sink comes to
//! its end (`topology`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use engine_config::{ByteSize, Catalog, ComponentId, Plan, PlannedNode, SinkRecord};
use engine_core::state_store::StateError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::document::Document;
use crate::logging::Chain;
use crate::topology::{DiskSink, OwnedBuffers};

/// The file in the state directory.
const FILE: &str = ".disk-sinks.json";

/// The version of its layout.
const VERSION: u32 = 1;

/// Memory for what a sink of another configuration reads ahead: the memory of the process is shared out among those of this one.
const MEMORY: ByteSize = ByteSize::mib(1);

/// Where they are kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DiskSinksFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    document: Document,
    catalog: Catalog,
    /// Counts those who are to be kept.
    turns: AtomicU64,
    /// Entries of sinks that could not be started: another start may. Locked for a moment only.
    carried: Mutex<Vec<Entry>>,
    /// Locked while the disk is written to.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the file holds: the same is not written again.
    known: Vec<Entry>,
    /// Whose turn it was.
    turn: u64,
}

/// Sinks that are to be kept, in their turn.
#[derive(Debug)]
pub struct ToBeKept {
    file: DiskSinksFile,
    turn: u64,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    sinks: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    identity: ComponentId,
    drain_timeout_seconds: u64,
    /// Set once the configuration has it no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    drains_until_unix_seconds: Option<u64>,
    /// Its record: another version's may not be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<Json>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfit: Option<String>,
}

impl DiskSinksFile {
    /// In this state directory.
    pub fn of(state_directory: &Path) -> Self {
        Self(Arc::new(Inner {
            document: Document::of(state_directory, FILE),
            catalog: Catalog::builtin(),
            turns: AtomicU64::new(0),
            carried: Mutex::default(),
            state: Mutex::default(),
        }))
    }

    /// The sinks whose buffers this plan has no owner for, as they were planned, each with the time that is left to it. What
    /// cannot be delivered is told. Waits for the disk.
    pub fn leaving(&self, plan: &Plan) -> Vec<PlannedNode> {
        let Some(owned) = OwnedBuffers::of(plan) else { return Vec::new() };
        let now = unix_seconds(SystemTime::now());
        let mut absent = self.load_or_tell();
        absent.retain(|entry| !owned.has(&entry.identity) && owned.is_there(&entry.identity));
        for entry in &mut absent {
            entry.drains_until_unix_seconds.get_or_insert(now.saturating_add(entry.drain_timeout_seconds));
        }
        absent.retain(|entry| !entry.is_over(now));
        let nodes = absent.iter().filter_map(|entry| self.node(entry, now)).collect();
        *self.0.carried.lock() = absent;
        nodes
    }

    /// These have been started, and are kept like others from here on.
    pub fn started<'n>(&self, nodes: impl IntoIterator<Item = &'n PlannedNode>) {
        let mut carried = self.0.carried.lock();
        for node in nodes {
            carried.retain(|entry| entry.identity != *identity(node));
        }
    }

    /// Has these kept in place of all before, when [`ToBeKept::keep`] is called. Whoever asks later has the last word.
    pub fn ask(&self, sinks: &[DiskSink]) -> ToBeKept {
        let now = unix_seconds(SystemTime::now());
        let mut entries: Vec<Entry> = sinks.iter().map(|sink| self.entry(sink)).collect();
        let mut carried = self.0.carried.lock();
        carried.retain(|entry| !entry.is_over(now) && entry.in_place_of(&entries).is_none());
        entries.extend(carried.iter().cloned());
        ToBeKept { file: self.clone(), turn: self.0.turns.fetch_add(1, Ordering::Relaxed) + 1, entries }
    }

    fn load_or_tell(&self) -> Vec<Entry> {
        let error = match self.load() {
            Ok(entries) => {
                self.0.state.lock().known.clone_from(&entries);
                return entries;
            }
            Err(error) => error,
        };
        let aside = self.0.document.put_aside().ok().map(|path| path.display().to_string());
        let error = Chain(&error);
        tracing::warn!(%error, aside, "what sinks that are gone have left on disk is not delivered");
        Vec::new()
    }

    fn load(&self) -> Result<Vec<Entry>, StateError> {
        let document = &self.0.document;
        let Some(bytes) = document.read()? else { return Ok(Vec::new()) };
        let content: Content = serde_json::from_slice(&bytes).map_err(|error| document.damaged(error))?;
        if content.version != VERSION {
            let reason = format!("it is of version {}, and this program knows {VERSION}", content.version);
            return Err(document.damaged(reason));
        }
        Ok(content.sinks)
    }

    fn entry(&self, DiskSink { node, drains_until }: &DiskSink) -> Entry {
        let settings = node.sink.as_ref().expect("it has a buffer");
        let (sink, unfit) = match SinkRecord::of(node, &self.0.catalog) {
            Ok(record) => (Some(serde_json::to_value(record).expect("a record is plain values")), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Entry {
            identity: settings.identity.clone(),
            drain_timeout_seconds: settings.drain_timeout.as_secs(),
            drains_until_unix_seconds: drains_until.map(unix_seconds),
            sink,
            unfit,
        }
    }

    /// The sink of an entry.
    fn node(&self, entry: &Entry, now: u64) -> Option<PlannedNode> {
        let Entry { identity, drains_until_unix_seconds, sink, unfit, .. } = entry;
        let read = match sink {
            Some(record) => match serde_json::from_value::<SinkRecord>(record.clone()) {
                Ok(record) if record.identity() == identity => {
                    record.node(&self.0.catalog).map_err(|error| Chain(&error).to_string())
                }
                Ok(_) => Err("its record is of another buffer".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            None => Err(unfit.clone().unwrap_or_default()),
        };
        match read {
            Ok(mut node) => {
                let settings = node.sink.as_mut().expect("a record is of a sink");
                let left = drains_until_unix_seconds.unwrap_or(now).saturating_sub(now);
                settings.drain_timeout = settings.drain_timeout.min(Duration::from_secs(left));
                settings.buffer.max_size = settings.buffer.max_size.min(MEMORY);
                Some(node)
            }
            Err(problem) => {
                // The identity is part of the message: each is told, however many there are.
                tracing::warn!(
                    buffer = %identity,
                    problem,
                    "what the buffer `{identity}` holds is not delivered: its sink is gone, and its configuration was not kept"
                );
                None
            }
        }
    }
}

impl ToBeKept {
    /// Keeps them. Waits for the disk.
    ///
    /// # Errors
    /// The system's refusal. Then those before stay, unless one of them is another one by now: then none are kept, if that can be.
    pub fn keep(self) -> Result<(), StateError> {
        let Self { file, turn, entries } = self;
        let Inner { document, state, .. } = &*file.0;
        let mut state = state.lock();
        if turn < state.turn {
            return Ok(());
        }
        state.turn = turn;
        if state.known == entries {
            return Ok(());
        }
        let content = Content { version: VERSION, sinks: entries };
        let text = serde_json::to_vec_pretty(&content).expect("texts and numbers can be written as JSON");
        let kept = if content.sinks.is_empty() { document.remove() } else { document.write(&text) };
        if let Err(error) = kept {
            let is_another =
                |before: &Entry| before.in_place_of(&content.sinks).is_some_and(|now| !now.is_same_sink(before));
            if state.known.iter().any(is_another) && document.remove().is_ok() {
                state.known.clear();
            }
            return Err(error);
        }
        state.known = content.sinks;
        Ok(())
    }
}

impl Entry {
    /// The entry of the same buffer among these.
    fn in_place_of<'e>(&self, others: &'e [Self]) -> Option<&'e Self> {
        others.iter().find(|other| other.identity == self.identity)
    }

    fn is_same_sink(&self, other: &Self) -> bool {
        (&self.sink, &self.unfit) == (&other.sink, &other.unfit)
    }

    fn is_over(&self, now: u64) -> bool {
        self.drains_until_unix_seconds.is_some_and(|until| until <= now)
    }
}

fn identity(node: &PlannedNode) -> &ComponentId {
    &node.sink.as_ref().expect("it has a buffer").identity
}

fn unix_seconds(moment: SystemTime) -> u64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::os::unix::fs::PermissionsExt;

    use engine_config::{Environment, ParseOptions, SourceFile, load};

    use super::*;

    /// The plan of these sinks, each with a buffer on disk.
    fn plan(state: &Path, sinks: &[&str]) -> Plan {
        plan_of(state, sinks, "")
    }

    /// The same with keys more of each buffer.
    fn plan_of(state: &Path, sinks: &[&str], keys: &str) -> Plan {
        let table = |id: &&str| {
            format!("[sinks.{id}]\ntype = \"blackhole\"\ninputs = [\"a\"]\nbuffer = {{ type = \"disk\"{keys} }}\n")
        };
        let tables: String = sinks.iter().map(table).collect();
        let text = format!(
            "version = 1\nstate.directory = \"{}\"\n[sources.a]\ntype = \"generate\"\n{tables}\
             [sinks.memory]\ntype = \"blackhole\"\ninputs = [\"a\"]\n",
            state.display()
        );
        let files = [SourceFile::new("engine.toml", text)];
        load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap().plan
    }

    fn disk_sink(plan: &Plan, id: &str, drains_until: Option<SystemTime>) -> DiskSink {
        DiskSink { node: plan.node(id).unwrap().clone(), drains_until }
    }

    fn ids(nodes: &[PlannedNode]) -> Vec<&str> {
        nodes.iter().map(|node| node.id.as_str()).collect()
    }

    /// What a plan has no owner for leaves, with the time that is left to it, if there is a buffer of it; for nobody else to
    /// read, and not written twice.
    #[test]
    fn sinks_that_a_plan_has_no_more() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path();
        let file = DiskSinksFile::of(state);
        let one = plan(state, &["stays", "gone", "leaving", "late", "nothing"]);
        assert!(file.leaving(&one).is_empty(), "nothing was kept yet");
        for identity in ["stays", "gone", "leaving", "late"] {
            std::fs::create_dir_all(state.join("buffers").join(identity)).unwrap();
        }
        let now = SystemTime::now();
        let sinks = [
            disk_sink(&one, "stays", None),
            disk_sink(&one, "gone", None),
            disk_sink(&one, "leaving", Some(now + Duration::from_secs(30))),
            disk_sink(&one, "late", Some(now)),
            disk_sink(&one, "nothing", None),
        ];
        file.ask(&sinks).keep().unwrap();
        let two = plan(state, &["stays"]);
        let leaving = DiskSinksFile::of(state).leaving(&two);
        assert_eq!(ids(&leaving), ["gone", "leaving"]);
        let timeout = |node: &PlannedNode| node.sink.as_ref().unwrap().drain_timeout;
        assert_eq!(timeout(&leaving[0]), Duration::from_secs(60), "its time begins");
        assert!((1..=30).contains(&timeout(&leaving[1]).as_secs()), "its time goes on");
        assert!(leaving.iter().all(|node| node.sink.as_ref().unwrap().buffer.max_size == MEMORY));
        assert!(file.leaving(&one).is_empty(), "all of them have owners");

        let path = file.0.document.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        file.ask(&sinks).keep().unwrap();
        assert!(!path.exists(), "the same is not written again");
        file.ask(&sinks[..1]).keep().unwrap();
        assert!(path.exists());
        file.ask(&[]).keep().unwrap();
        assert!(!path.exists(), "nothing is left for nothing");
    }

    /// What another version wrote, or nobody, stops nothing and gives nothing; one bad record leaves the others.
    #[test]
    fn what_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path();
        let file = DiskSinksFile::of(state);
        let one = plan(state, &["x", "y"]);
        for identity in ["x", "y"] {
            std::fs::create_dir_all(state.join("buffers").join(identity)).unwrap();
        }
        file.ask(&[disk_sink(&one, "x", None), disk_sink(&one, "y", None)]).keep().unwrap();
        let path = file.0.document.path().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let nobody = plan(state, &[]);
        assert_eq!(ids(&file.leaving(&nobody)), ["x", "y"]);
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        for bad in [&newer, &text[..text.len() / 2], ""] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(file.load(), Err(StateError::Damaged { .. })), "{bad}");
            assert!(file.leaving(&nobody).is_empty());
            assert!(!path.exists(), "it is put aside");
        }
        let one_bad = text.replacen("\"blackhole\"", "\"black_hole\"", 1);
        std::fs::write(&path, one_bad).unwrap();
        let leaving = file.leaving(&nobody);
        assert_eq!(ids(&leaving), ["y"]);

        // It is there still for a start that can read it, with the time that is left to it from now on.
        file.started(&leaving);
        file.ask(&[]).keep().unwrap();
        let entries = file.load().unwrap();
        assert_eq!(entries.iter().map(|entry| entry.identity.as_str()).collect::<Vec<_>>(), ["x"]);
        assert!(entries[0].drains_until_unix_seconds.is_some());
        file.ask(&[disk_sink(&one, "x", None)]).keep().unwrap();
        file.ask(&[]).keep().unwrap();
        assert!(!path.exists(), "it had an owner since");
    }

    /// Who asked later has the last word, and where nothing can be written nothing stays that is of before.
    #[test]
    fn what_is_kept_is_of_now() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        let file = DiskSinksFile::of(&state);
        let one = plan(&state, &["x", "y"]);
        let (earlier, later) = (file.ask(&[disk_sink(&one, "x", None)]), file.ask(&[disk_sink(&one, "y", None)]));
        later.keep().unwrap();
        earlier.keep().unwrap();
        assert_eq!(file.load().unwrap()[0].identity.as_str(), "y");
        // The name of what is not finished is taken by something that cannot be written to.
        let unfinished = format!("{}.{}", file.0.document.path().display(), std::process::id());
        std::fs::create_dir(unfinished).unwrap();
        let until = Some(SystemTime::now());
        assert!(file.ask(&[disk_sink(&one, "x", None), disk_sink(&one, "y", until)]).keep().is_err());
        assert_eq!(file.load().unwrap()[0].identity.as_str(), "y", "it is the same sink");
        let other = plan_of(&state, &["y"], ", max_age = \"1h\"");
        assert!(file.ask(&[disk_sink(&other, "y", None)]).keep().is_err());
        assert!(!file.0.document.path().exists());
    }
}
