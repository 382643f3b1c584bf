//! The `/status` document: what an engine says about itself, and what the operator and people read.
//!
//! Plain values for both directions. Readers of one version understand documents of the next: unknown fields are
//! skipped, missing ones have their default, unknown states are [`ComponentState::Unknown`] and [`Phase::Unknown`].
//! Nothing here counts or decides.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::SourceFile;
use crate::component::Kind;
use crate::id::ComponentId;

/// An engine at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the engine.
    pub version: String,
    /// Name of the role that it plays, from `engine.role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What [`config_hash`] says of the configuration that runs.
    pub config_hash: String,
    /// What became of the last attempt to take another configuration; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<Reload>,
    /// Set while the configuration that runs is the last good one, because the one that was to be run is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<LastGood>,
    /// Where it stands between start and end.
    pub phase: Phase,
    /// Whether `/readyz` says yes.
    pub ready: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready_because: Option<String>,
    /// Seconds since 1970 at which the process started.
    #[serde(default)]
    pub started_at_unix_seconds: u64,
    /// Seconds since then, on a clock that nobody sets.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// The budget of requests in flight and held data.
    #[serde(default)]
    pub memory: Memory,
    /// Every socket that is bound.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// What components share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Buffers below `state.directory` that belong to no sink.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphaned_buffers: Vec<OrphanedBuffer>,
    /// The components, each behind all those whose data it gets.
    #[serde(default)]
    pub components: Vec<Component>,
}

/// What became of an attempt to take another configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reload {
    /// Seconds since 1970 at which it was made.
    pub last_attempt_unix_seconds: u64,
    /// What became of it.
    pub result: ReloadResult,
    /// What [`config_hash`] says of the configuration that was refused; absent when it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_hash: Option<String>,
    /// Why it was refused, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What became of an attempt to take another configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadResult {
    /// It runs.
    Applied,
    /// It is the one that runs already.
    Unchanged,
    /// It is not run, and what ran goes on.
    Refused,
    /// A result that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A configuration that was kept when it ran, and runs again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastGood {
    /// Seconds since 1970 at which it was kept.
    pub kept_unix_seconds: u64,
}

/// Something that components share, such as what is known of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its kind, and its key where there are several.
    pub id: String,
    /// What keeps it from its work at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Where an engine stands between start and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Something is not bound or not running yet.
    Starting,
    /// Everything runs.
    Running,
    /// The end has begun: not ready any more, and after `shutdown.delay` nothing is admitted.
    Draining,
    /// Everything has ended.
    Stopped,
    /// A phase that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Bytes that the process allows itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// All memory for data.
    pub limit_bytes: u64,
    /// Of this, for requests in flight and held data.
    pub admission_limit_bytes: u64,
    /// In use by them now.
    pub admission_used_bytes: u64,
}

/// A bound socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The component it belongs to, or `admin` or `status`.
    pub component: String,
    /// The key that asks for it, such as `grpc.listen`; empty when an older engine does not say.
    #[serde(default)]
    pub key: String,
    /// The address as the operating system bound it.
    pub address: SocketAddr,
}

/// One component at one moment. Counts start with the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its id.
    pub id: ComponentId,
    /// Its kind.
    pub kind: Kind,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The pipeline that a sink belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// How it does.
    #[serde(default)]
    pub health: Health,
    /// What came in, by signal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub received: BTreeMap<String, Flow>,
    /// What went out, by output and signal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sent: BTreeMap<String, BTreeMap<String, Flow>>,
    /// Records lost on purpose, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub discarded: BTreeMap<String, u64>,
    /// Errors by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, u64>,
    /// Bytes from the outside, as they were on the wire.
    #[serde(default)]
    pub network_bytes_in: u64,
    /// Bytes to the outside, as they were on the wire.
    #[serde(default)]
    pub network_bytes_out: u64,
    /// Panics caught.
    #[serde(default)]
    pub panics: u64,
    /// Counts that only this type of component has, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own: BTreeMap<String, u64>,
    /// What only sinks have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
    /// Where every record is that a component with tasks of its own took into them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageLedger>,
}

/// How a component does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// What it is doing.
    pub state: ComponentState,
    /// The last error, kept after it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

/// States of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentState {
    /// Built and not yet running.
    Starting,
    /// Doing its work.
    Ok,
    /// Working, or trying to, with an error that lasts.
    Degraded,
    /// Finishing what it holds.
    Draining,
    /// Ended as asked.
    Stopped,
    /// Ended by an error.
    Failed,
    /// A state that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// An error and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// What went wrong.
    pub message: String,
    /// Seconds since 1970.
    pub at_unix_seconds: u64,
}

/// What passed one end of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flow {
    /// Batches.
    pub batches: u64,
    /// Log records, spans or data points.
    pub records: u64,
    /// Encoded bytes.
    pub bytes: u64,
}

/// What only sinks have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sink {
    /// Where every record that it took is.
    pub ledger: Ledger,
    /// The buffer in front of it.
    pub buffer: Buffer,
}

/// A sink's ledger in records:
/// `recovered + accepted + created = delivered + dropped + returned + merged + left_on_disk + held`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Found in a durable buffer at start.
    pub recovered: u64,
    /// Taken at the entrance, after selection.
    pub accepted: u64,
    /// Made on the way, by the component that made them.
    pub created: BTreeMap<String, u64>,
    /// Confirmed by the far end.
    pub delivered: u64,
    /// Lost after they were accepted, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Given back to whoever sent them, to be sent again.
    pub returned: u64,
    /// Replaced by fewer records, by the component that did it.
    pub merged: BTreeMap<String, u64>,
    /// Left on disk by a sink that is gone or has another buffer by now: they stand with the orphans, or are recovered by
    /// whoever got that buffer.
    pub left_on_disk: u64,
    /// Held now.
    pub held: Held,
    /// Turned away at the entrance and never accepted; not part of the sum.
    pub refused: u64,
    /// Whether the engine found that the two sides are equal.
    pub balanced: bool,
}

/// A stage's ledger in records: `received + created = sent + dropped + returned + merged + held`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageLedger {
    /// Taken in.
    pub received: u64,
    /// Made there.
    pub created: u64,
    /// Handed on.
    pub sent: u64,
    /// Lost on purpose, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Given back to whoever sent them, to be sent again.
    pub returned: u64,
    /// Replaced by fewer records.
    pub merged: u64,
    /// Held now.
    pub held: u64,
    /// Whether the engine found that the two sides are equal. They always are at rest; while a task has records in its hands,
    /// taken in and neither held nor handed on yet, they may differ for a moment.
    pub balanced: bool,
}

/// Records held, as each holder reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// In the queue.
    pub queued: u64,
    /// Handed to the far end and not yet answered, or waiting for another attempt.
    pub in_flight: u64,
    /// On disk only: what is queued or in flight is not among them, though it is on disk too.
    pub on_disk: u64,
}

/// Fill of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Buffer {
    /// Held in memory now, queued and in flight: encoded bytes.
    pub used_bytes: u64,
    /// The most that is held in memory.
    pub max_bytes: u64,
    /// Bytes of its files, if it is on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used_bytes: Option<u64>,
    /// The most of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_max_bytes: Option<u64>,
    /// Frames on disk that were found damaged; each is one payload as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged_frames: Option<u64>,
    /// Groups of payloads that were written and synced at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_groups: Option<u64>,
    /// Why nothing can be written to the disk at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A buffer on disk that belongs to no sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanedBuffer {
    /// Whose data it holds: the name of its directory.
    pub identity: String,
    /// Bytes of its files.
    #[serde(default)]
    pub used_bytes: u64,
    /// Records in it that were not delivered; 0 also where that is not known, which the log tells.
    #[serde(default)]
    pub records: u64,
}

impl ReloadResult {
    /// As written in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// What tells one configuration from another: the SHA-256 of its file in hexadecimal digits, as `sha256sum` prints it;
/// of several files the SHA-256 of their digests, one after the other in the order they were read. Names do not count.
pub fn config_hash(files: &[SourceFile]) -> String {
    if let [only] = files {
        return hexadecimal(&Sha256::digest(&only.text));
    }
    let mut all = Sha256::new();
    for file in files {
        all.update(Sha256::digest(&file.text));
    }
    hexadecimal(&all.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn full() -> Status {
        let flow = Flow { batches: 1, records: 20, bytes: 300 };
        let ledger = Ledger {
            accepted: 20,
            delivered: 12,
            dropped: [("full".to_owned(), 3)].into(),
            held: Held { queued: 4, in_flight: 1, on_disk: 0 },
            balanced: true,
            ..Ledger::default()
        };
        let sink = Component {
            id: ComponentId::new("backend").unwrap(),
            kind: Kind::Sink,
            type_name: "otlp".to_owned(),
            pipeline: Some("shop".to_owned()),
            health: Health {
                state: ComponentState::Degraded,
                last_error: Some(LastError { message: "connection refused".to_owned(), at_unix_seconds: 1 }),
            },
            received: [("logs".to_owned(), flow)].into(),
            sent: BTreeMap::new(),
            discarded: BTreeMap::new(),
            errors: [("connect".to_owned(), 7)].into(),
            network_bytes_in: 0,
            network_bytes_out: 120,
            panics: 0,
            own: [("redirects".to_owned(), 2)].into(),
            sink: Some(Sink {
                ledger,
                buffer: Buffer { used_bytes: 100, max_bytes: 1000, disk_used_bytes: Some(5), ..Buffer::default() },
            }),
            stage: None,
        };
        Status {
            version: "0.1.0".to_owned(),
            role: Some("log-gateway".to_owned()),
            config_hash: config_hash(&[SourceFile::new("a", "")]),
            reload: Some(Reload {
                last_attempt_unix_seconds: 1_700_000_001,
                result: ReloadResult::Refused,
                refused_hash: Some(config_hash(&[SourceFile::new("a", "x")])),
                problem: Some("not TOML".to_owned()),
            }),
            last_good: Some(LastGood { kept_unix_seconds: 1_600_000_000 }),
            phase: Phase::Draining,
            ready: false,
            not_ready_because: Some("draining".to_owned()),
            started_at_unix_seconds: 1_700_000_000,
            uptime_seconds: 5,
            memory: Memory { limit_bytes: 1, admission_limit_bytes: 1, admission_used_bytes: 0 },
            listeners: vec![Listener {
                component: "admin".to_owned(),
                key: "listen".to_owned(),
                address: "127.0.0.1:1".parse().unwrap(),
            }],
            services: vec![Service { id: "kubernetes".to_owned(), problem: Some("denied".to_owned()) }],
            orphaned_buffers: vec![OrphanedBuffer { identity: "shop".to_owned(), used_bytes: 7, records: 3 }],
            components: vec![sink],
        }
    }

    /// What an engine writes, the operator reads.
    #[test]
    fn reads_what_it_writes() {
        let text = serde_json::to_string(&full()).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), full());
    }

    /// A newer engine may say more and be in states of its own; an older one may say less.
    #[test]
    fn other_versions_are_understood() {
        let mut newer = serde_json::to_value(full()).unwrap();
        newer["phase"] = "reloading".into();
        newer["leader"] = true.into();
        newer["components"][0]["health"]["state"] = "paused".into();
        newer["components"][0]["sink"]["ledger"]["lent"] = 5.into();
        let status: Status = serde_json::from_value(newer).unwrap();
        assert_eq!(status.phase, Phase::Unknown);
        assert_eq!(status.components[0].health.state, ComponentState::Unknown);
        let older = r#"{ "version": "0", "config_hash": "", "phase": "running", "ready": true,
                         "components": [{ "id": "a", "kind": "source", "type": "otlp" }] }"#;
        let status: Status = serde_json::from_str(older).unwrap();
        assert_eq!(status.components[0].health.state, ComponentState::Unknown);
    }

    /// The hash of one file is that of `sha256sum`; of several their order and borders count.
    #[test]
    fn hashes() {
        let hash = |texts: &[&str]| {
            let files: Vec<_> = texts.iter().map(|text| SourceFile::new("name", *text)).collect();
            config_hash(&files)
        };
        assert_eq!(hash(&["abc"]), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
    }
}
