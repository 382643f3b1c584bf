//! The keys that every sink has: when success is declared, the buffer in front of it, batching, retry, concurrency.
//!
//! The sink driver of the engine carries them out, the same for every sink type. Here are the keys as written
//! ([`SinkKeys`]), a type's own defaults ([`SinkDefaults`]) and what the plan makes of both ([`SinkSettings`]).

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::ComponentId;
use crate::omit::is_default;
use crate::size::ByteSize;
use crate::span::Span;

/// When a sink tells the source that data is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// Once the buffer has taken the data. What a memory buffer holds is lost when the process is killed.
    #[default]
    Buffered,
    /// Once the backend has answered. The client waits for it; the source may feed no other sink.
    Delivered,
}

/// Where a buffer keeps its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferType {
    /// In memory, within the memory limit of the process.
    #[default]
    Memory,
    /// In files below `state.directory`, which is needed. Data is answered as a success once it is on the disk
    /// (fdatasync, for all that came meanwhile at once), so it survives the end of the process, however it comes, and a loss
    /// of power. A part of what waits is in memory too: half of `memory.limit` divided by the number of sinks, at least 1MiB and
    /// at most 64MiB, and at most an eighth of `max_size`.
    Disk,
}

/// What happens to data that comes while the buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The client is told to come again later (UNAVAILABLE, 503). Not allowed where several sinks get one signal from
    /// one source.
    Refuse,
    /// The source waits. Not allowed where a source feeds several sinks.
    Block,
    /// The new data is dropped, counted, and answered as a success. With one sink behind a source that is every payload that
    /// comes while the buffer is full. With several sinks it is what the full ones would have got, while at least one other
    /// takes it; when all of them are full, nothing is dropped anywhere and the client is told to come again later. So it is
    /// with what a disk does not take, with one sink too. A source that fetches its data itself waits until one sink at least
    /// has room, instead of having its data dropped.
    DropNewest,
    /// What has waited longest and is not being sent is dropped, counted, to make room. Of a disk buffer that is a file of it
    /// at a time, a sixteenth of `max_size`. Nobody waits and nobody is refused, but for what a disk does not take. Not allowed
    /// with `acknowledge = "delivered"`, where somebody waits for what would be dropped.
    DropOldest,
}

/// The buffer between pipeline and sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BufferOptions {
    /// Where the data waits.
    #[serde(rename = "type")]
    pub kind: BufferType,
    /// Bytes that the buffer may hold. In memory they are reserved: no other buffer can use them. Default in memory: half of
    /// `memory.limit` divided by the number of sinks, at least 1MiB and at most 64MiB. A single payload that is larger is
    /// taken as soon as the buffer is not full, one at a time, and counts as a request in flight until it is delivered.
    /// On disk it is the size of the buffer's files, at least 8MiB; default 1GiB. Space comes back by whole files of a
    /// sixteenth of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "64KiB"))]
    pub max_size: Option<ByteSize>,
    /// What happens to new data while the buffer is full. Default: `"refuse"`; `"block"` when all sources before the
    /// sink fetch their data themselves; `"drop_newest"` when several sinks get one signal from one source, so that a
    /// dead backend cannot hold up the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_full: Option<WhenFull>,
    /// Only for `"disk"`: what has waited longer is dropped, counted as `expired`. Without it there is no limit. Time counts
    /// while the process runs, whatever happens to the clock; over a restart the clock says how old data is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s"))]
    pub max_age: Option<Span>,
    /// Whose data the buffer holds. What is held goes to the sink with this identity, also when another sink has it after a
    /// reload, and on disk after a restart; it is never given to another identity. The name of a directory below
    /// `state.directory`. Default: the id of the sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<ComponentId>,
    /// How long what is held is still delivered after a reload that takes the sink away, with the configuration that it had; of
    /// a disk over restarts, and after a start without the sink, too.
    /// What is left then stays on disk, where `telemetry-engine buffer export` reads it; of memory it is lost and counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-maximum" = "24h"))]
    pub drain_timeout: Option<Span>,
}

/// How payloads are merged before they are sent. A payload is never cut to fit: `max_request_size` of a sink type does
/// that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchOptions {
    /// A batch is sent before it would pass this many bytes, uncompressed. At most the `max_request_size` of a sink that
    /// has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "64MiB"))]
    pub max_size: Option<ByteSize>,
    /// A batch is sent before it would pass this many records (log records, spans, data points). 1 sends everything as
    /// it came. Without it only `max_size` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_records: Option<NonZeroU64>,
    /// Longest time that data waits for more. `"0s"` waits for nothing and merges what is queued already. Always
    /// `"0s"` by default with `acknowledge = "delivered"`, because there the client waits too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-maximum" = "5s"))]
    pub timeout: Option<Span>,
}

/// How a delivery that failed for the moment is tried again: exponential backoff with full jitter. A backend that names
/// a time (`Retry-After`, RetryInfo) is obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryOptions {
    /// Upper end of the first pause.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub initial_interval: Span,
    /// Upper end of every later pause.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub max_interval: Span,
    /// Give a payload up after this time, counted as dropped. Without it there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s"))]
    pub max_elapsed: Option<Span>,
}

/// Keys that every sink takes besides its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkKeys {
    /// Name of the pipeline that the sink belongs to: a label in the ledger, in metrics and in `/status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub pipeline: Option<String>,
    /// When a source is told that its data is safe.
    pub acknowledge: Acknowledge,
    /// The buffer in front of the sink.
    pub buffer: BufferOptions,
    /// How payloads are merged before they are sent.
    pub batch: BatchOptions,
    /// How failed deliveries are tried again.
    pub retry: RetryOptions,
    /// How many deliveries may be under way at once, over all lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: Option<NonZeroU32>,
    /// Accept that a crash loses what the memory buffer holds, although a source before this sink could have read it
    /// again. Has a meaning only there, and only with `acknowledge = "buffered"`.
    #[serde(skip_serializing_if = "is_default")]
    pub may_lose_on_crash: bool,
}

/// A sink type's own defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkDefaults {
    /// Default of `batch`; `None` sends everything as it came unless the user writes `batch`.
    pub batch: Option<BatchSettings>,
    /// Default of `concurrency`.
    pub concurrency: NonZeroU32,
}

/// Everything that the sink driver needs, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSettings {
    /// Label for ledger, metrics and status.
    #[serde(serialize_with = "write_label", deserialize_with = "read_label")]
    pub pipeline: Option<Arc<str>>,
    /// When a source is told that its data is safe.
    pub acknowledge: Acknowledge,
    /// The buffer.
    pub buffer: BufferSettings,
    /// What it has on disk; `None` keeps it in memory only.
    pub disk: Option<DiskSettings>,
    /// Whose data it holds.
    pub identity: ComponentId,
    /// How long it is drained when the sink is taken away.
    pub drain_timeout: Duration,
    /// Merging; `None` sends everything as it came.
    pub batch: Option<BatchSettings>,
    /// Trying again.
    pub retry: RetrySettings,
    /// Deliveries under way at once, over all lanes.
    pub concurrency: NonZeroU32,
}

/// A memory buffer with its reserved share, or the part of a disk buffer that is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferSettings {
    /// Reserved bytes.
    pub max_size: ByteSize,
    /// What happens to new data while the buffer is full.
    pub when_full: WhenFull,
}

/// The part of a buffer that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSettings {
    /// The most bytes of its files.
    pub max_size: ByteSize,
    /// How long data may wait; `None` is no limit.
    pub max_age: Option<Duration>,
}

/// Limits of a merged payload: the first one reached sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSettings {
    /// Bytes, uncompressed.
    pub max_size: ByteSize,
    /// Records; `None` is no limit.
    pub max_records: Option<NonZeroU64>,
    /// Longest wait for more; zero merges only what is queued already.
    pub timeout: Duration,
}

/// Backoff between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrySettings {
    /// Upper end of the first pause.
    pub initial_interval: Duration,
    /// Upper end of every later pause.
    pub max_interval: Duration,
    /// When to give up; `None` never.
    pub max_elapsed: Option<Duration>,
}

impl BufferOptions {
    /// How long a sink that is taken away delivers what it holds, unless it is written.
    pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
    /// The most bytes on disk, unless it is written, and the least that can be written.
    pub const DISK_SIZE: ByteSize = ByteSize::gib(1);
    /// See there.
    pub const LEAST_DISK_SIZE: ByteSize = ByteSize::mib(8);

    /// Reserved memory, if it is written.
    pub(crate) fn memory_size(&self) -> Option<ByteSize> {
        self.max_size.filter(|_| self.kind == BufferType::Memory)
    }

    pub(crate) fn disk(&self) -> Option<DiskSettings> {
        (self.kind == BufferType::Disk).then(|| DiskSettings {
            max_size: self.max_size.unwrap_or(Self::DISK_SIZE),
            max_age: self.max_age.map(Span::get),
        })
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self { initial_interval: Span::millis(100), max_interval: Span::secs(5), max_elapsed: None }
    }
}

/// Nothing is merged and one delivery runs at a time: right for whatever writes in order.
impl Default for SinkDefaults {
    fn default() -> Self {
        Self { batch: None, concurrency: NonZeroU32::MIN }
    }
}

impl SinkSettings {
    /// Whether a running driver with `other` can go on with these: the sizes of its buffer, what it does when that is full,
    /// how long data may wait, and its label can change while it runs.
    pub fn is_same_driver(&self, other: &Self) -> bool {
        let Self { pipeline, buffer, drain_timeout, .. } = other;
        let disk = self.disk.and(other.disk);
        let changed =
            Self { pipeline: pipeline.clone(), buffer: *buffer, disk, drain_timeout: *drain_timeout, ..self.clone() };
        *other == changed && self.disk.is_some() == other.disk.is_some()
    }
}

fn write_label<S: Serializer>(label: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    label.as_deref().serialize(serializer)
}

fn read_label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Arc::from))
}

impl RetryOptions {
    pub(crate) fn settings(&self) -> RetrySettings {
        RetrySettings {
            initial_interval: self.initial_interval.get(),
            max_interval: self.max_interval.get(),
            max_elapsed: self.max_elapsed.map(Span::get),
        }
    }
}

impl BatchOptions {
    /// Limits where a sink type has none of its own and the user asks for merging.
    const FALLBACK: BatchSettings =
        BatchSettings { max_size: ByteSize::mib(1), max_records: None, timeout: Duration::from_millis(200) };

    /// Fills in what is not written: the type's defaults, and no wait where a client waits for the backend.
    pub(crate) fn settings(&self, defaults: &SinkDefaults, acknowledge: Acknowledge) -> Option<BatchSettings> {
        let is_written = *self != Self::default();
        let base = match defaults.batch {
            Some(base) => base,
            None if is_written => Self::FALLBACK,
            None => return None,
        };
        let default_timeout = match acknowledge {
            Acknowledge::Buffered => base.timeout,
            Acknowledge::Delivered => Duration::ZERO,
        };
        Some(BatchSettings {
            max_size: self.max_size.unwrap_or(base.max_size),
            max_records: self.max_records.or(base.max_records),
            timeout: self.timeout.map_or(default_timeout, Span::get),
        })
    }
}

impl Acknowledge {
    /// As written in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buffered => "buffered",
            Self::Delivered => "delivered",
        }
    }
}

impl WhenFull {
    /// As written in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Block => "block",
            Self::DropNewest => "drop_newest",
            Self::DropOldest => "drop_oldest",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    const OTLP: SinkDefaults = SinkDefaults { batch: Some(BatchOptions::FALLBACK), concurrency: NonZeroU32::MIN };

    /// A wait that nobody asked for must not delay a client that waits for the backend.
    #[test]
    fn delivered_batches_do_not_wait_by_default() {
        let options = BatchOptions::default();
        assert_eq!(options.settings(&OTLP, Acknowledge::Buffered).unwrap().timeout, Duration::from_millis(200));
        assert_eq!(options.settings(&OTLP, Acknowledge::Delivered).unwrap().timeout, Duration::ZERO);
        let written = BatchOptions { timeout: Some(Span::secs(1)), ..options };
        assert_eq!(written.settings(&OTLP, Acknowledge::Delivered).unwrap().timeout, Duration::from_secs(1));
    }

    /// A sink type without batching gets it when the user writes one key of it.
    #[test]
    fn one_written_key_switches_batching_on() {
        let plain = SinkDefaults::default();
        assert_eq!(BatchOptions::default().settings(&plain, Acknowledge::Buffered), None);
        let written = BatchOptions { max_records: NonZeroU64::new(10), ..BatchOptions::default() };
        let settings = written.settings(&plain, Acknowledge::Buffered).unwrap();
        assert_eq!((settings.max_records.unwrap().get(), settings.max_size), (10, ByteSize::mib(1)));
    }
}
