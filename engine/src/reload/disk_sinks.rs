//! The sinks that have a buffer on disk, kept in the state directory: a start whose configuration has one of them no more
//! delivers what that left behind, as a reload would, for what is left of its time.
//!
//! Not here: what a record holds (`engine_config::SinkRecord`), how a sink comes to its end (`topology`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine_config::{Catalog, ComponentId, Plan, PlannedNode, SinkRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::document::{Document, DocumentError};
use crate::logging::Chain;
use crate::topology::{DiskSink, OwnedBuffers};

/// The file in the state directory.
const FILE: &str = ".disk-sinks.json";

/// The version of its layout.
const VERSION: u32 = 1;

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct DiskSinksFile {
    document: Document,
    catalog: Arc<Catalog>,
    /// What was written last: the same is not written again.
    written: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    sinks: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    identity: ComponentId,
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
        Self { document: Document::of(state_directory, FILE), catalog: Arc::new(Catalog::builtin()), written: None }
    }

    /// The sinks whose buffers this plan has no owner for, as they were planned, each with the time that is left to it. What
    /// cannot be delivered is told. Waits for the disk.
    pub fn leaving(&self, plan: &Plan) -> Vec<PlannedNode> {
        let entries = self.load().unwrap_or_else(|error| {
            let error = Chain(&error);
            tracing::warn!(%error, "what sinks that are gone have left on disk is not delivered");
            Vec::new()
        });
        let Some(owned) = OwnedBuffers::of(plan) else { return Vec::new() };
        let now = SystemTime::now();
        let absent = entries.into_iter().filter(|entry| !owned.has(&entry.identity) && owned.is_there(&entry.identity));
        absent.filter_map(|entry| self.node(entry, now)).collect()
    }

    /// Keeps these. Waits for the disk.
    ///
    /// # Errors
    /// The system's refusal. Those before are still there then.
    pub fn keep(&mut self, sinks: &[DiskSink]) -> Result<(), DocumentError> {
        if sinks.is_empty() {
            self.written = None;
            return self.document.remove();
        }
        let sinks = sinks.iter().map(|sink| self.entry(sink)).collect();
        let text = serde_json::to_vec_pretty(&Content { version: VERSION, sinks });
        let text = text.expect("texts and numbers can be written as JSON");
        if self.written.as_ref() != Some(&text) {
            self.document.write(&text)?;
            self.written = Some(text);
        }
        Ok(())
    }

    fn load(&self) -> Result<Vec<Entry>, DocumentError> {
        let Some(bytes) = self.document.read()? else { return Ok(Vec::new()) };
        let content: Content = serde_json::from_slice(&bytes).map_err(|error| self.document.damaged(error))?;
        if content.version != VERSION {
            let reason = format!("it is of version {}, and this program knows {VERSION}", content.version);
            return Err(self.document.damaged(reason));
        }
        Ok(content.sinks)
    }

    fn entry(&self, DiskSink { node, drains_until }: &DiskSink) -> Entry {
        let identity = node.sink.as_ref().expect("it has a buffer").identity.clone();
        let record = SinkRecord::of(node, &self.catalog);
        let (sink, unfit) = match record {
            Ok(record) => (Some(serde_json::to_value(record).expect("a record is plain values")), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Entry { identity, drains_until_unix_seconds: drains_until.map(unix_seconds), sink, unfit }
    }

    /// The sink of an entry, if it still has time.
    fn node(&self, entry: Entry, now: SystemTime) -> Option<PlannedNode> {
        let Entry { identity, drains_until_unix_seconds, sink, unfit } = entry;
        let left = drains_until_unix_seconds.map(|until| until.saturating_sub(unix_seconds(now)));
        if left == Some(0) {
            return None;
        }
        let read = match sink {
            Some(record) => serde_json::from_value::<SinkRecord>(record)
                .map_err(|error| error.to_string())
                .and_then(|record| record.node(&self.catalog).map_err(|error| Chain(&error).to_string())),
            None => Err(unfit.unwrap_or_default()),
        };
        match read {
            Ok(mut node) => {
                let settings = node.sink.as_mut().expect("a record is of a sink");
                if let Some(seconds) = left {
                    settings.drain_timeout = settings.drain_timeout.min(Duration::from_secs(seconds));
                }
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
        let table =
            |id: &&str| format!("[sinks.{id}]\ntype = \"blackhole\"\ninputs = [\"a\"]\nbuffer.type = \"disk\"\n");
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
        let mut file = DiskSinksFile::of(state);
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
        file.keep(&sinks).unwrap();
        let two = plan(state, &["stays"]);
        let leaving = DiskSinksFile::of(state).leaving(&two);
        assert_eq!(ids(&leaving), ["gone", "leaving"]);
        let timeout = |node: &PlannedNode| node.sink.as_ref().unwrap().drain_timeout;
        assert_eq!(timeout(&leaving[0]), Duration::from_secs(60), "its time begins");
        assert!((1..=30).contains(&timeout(&leaving[1]).as_secs()), "its time goes on");
        assert!(file.leaving(&one).is_empty(), "all of them have owners");

        let path = file.document.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        file.keep(&sinks).unwrap();
        assert!(!path.exists(), "the same is not written again");
        file.keep(&sinks[..1]).unwrap();
        assert!(path.exists());
        file.keep(&[]).unwrap();
        assert!(!path.exists(), "nothing is left for nothing");
    }

    /// What another version wrote, or nobody, stops nothing and gives nothing; one bad record leaves the others.
    #[test]
    fn what_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path();
        let mut file = DiskSinksFile::of(state);
        let one = plan(state, &["x", "y"]);
        for identity in ["x", "y"] {
            std::fs::create_dir_all(state.join("buffers").join(identity)).unwrap();
        }
        file.keep(&[disk_sink(&one, "x", None), disk_sink(&one, "y", None)]).unwrap();
        let path = file.document.path().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let nobody = plan(state, &[]);
        assert_eq!(ids(&file.leaving(&nobody)), ["x", "y"]);
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        for bad in [&newer, &text[..text.len() / 2], ""] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(file.load(), Err(DocumentError::Damaged { .. })), "{bad}");
            assert!(file.leaving(&nobody).is_empty());
        }
        let one_bad = text.replacen("\"blackhole\"", "\"black_hole\"", 1);
        std::fs::write(&path, one_bad).unwrap();
        assert_eq!(ids(&file.leaving(&nobody)), ["y"]);
    }
}
