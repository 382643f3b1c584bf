//! What the engine counts for each component, at both ends of each edge, and the component's health.
//!
//! Components add their reasons for dropping, their protocol bytes and their errors; everything else is counted by
//! the engine. Counts are added once a batch, never once a record. Not here: rendering them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use otlp::Signal;
use parking_lot::Mutex;
use serde::Serialize;

use crate::batch::Batch;
use crate::self_telemetry::spans::Tracer;

/// The counts and the health of one component.
#[derive(Debug, Default)]
pub struct ComponentTelemetry {
    received: Flows,
    sent: Vec<(String, Flows)>,
    discarded: Mutex<BTreeMap<&'static str, u64>>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    protocol_bytes: [AtomicU64; 2],
    panics: AtomicU64,
    health: Mutex<Health>,
    own: Mutex<Option<OwnCounts>>,
    tracer: Option<Tracer>,
}

/// Counts that a component keeps itself, read when somebody asks.
struct OwnCounts(Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>);

/// Batches, records and bytes that passed one end of an edge, by signal.
#[derive(Debug, Default)]
pub struct Flows([Flow; 3]);

#[derive(Debug, Default)]
struct Flow {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// A reading of one signal's flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowReading {
    /// Batches.
    pub batches: u64,
    /// Log records, spans or data points.
    pub records: u64,
    /// Encoded bytes.
    pub bytes: u64,
}

/// Which way protocol bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the outside to us.
    Inbound,
    /// From us to the outside.
    Outbound,
}

/// The state of a component as it is told to users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What it is doing.
    pub state: HealthState,
    /// The last error, kept after it is over.
    pub last_error: Option<LastError>,
}

/// States of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// Built and not yet running.
    #[default]
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
}

/// An error and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// What went wrong.
    pub message: String,
    /// Seconds since 1970.
    pub at_unix_seconds: u64,
}

/// A reading of everything a component counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ComponentReading {
    /// What came in, by signal.
    pub received: BTreeMap<&'static str, FlowReading>,
    /// What went out, by output and signal.
    pub sent: BTreeMap<String, BTreeMap<&'static str, FlowReading>>,
    /// Records lost on purpose, by reason.
    pub discarded: BTreeMap<&'static str, u64>,
    /// Errors by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Bytes on the wire, from outside.
    pub protocol_bytes_in: u64,
    /// Bytes on the wire, to the outside.
    pub protocol_bytes_out: u64,
    /// Panics caught.
    pub panics: u64,
    /// Counts of the component's own, such as connections.
    pub own: BTreeMap<&'static str, u64>,
    /// Health.
    pub health: Health,
}

impl ComponentTelemetry {
    /// Telemetry of a component with these outputs.
    pub fn new(outputs: impl IntoIterator<Item = String>) -> Self {
        let sent = outputs.into_iter().map(|name| (name, Flows::default())).collect();
        Self { sent, ..Self::default() }
    }

    /// The same for a component that has spans of its work made.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer: Some(tracer), ..self }
    }

    /// What makes spans of the component's work; none outside of an engine.
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// Counts records lost on purpose.
    pub fn discarded(&self, reason: &'static str, records: u64) {
        if records > 0 {
            *self.discarded.lock().entry(reason).or_default() += records;
        }
    }

    /// Counts an error of a bounded kind and remembers its words.
    pub fn error(&self, kind: &'static str, message: impl Into<String>) {
        *self.errors.lock().entry(kind).or_default() += 1;
        let at_unix_seconds =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        self.health.lock().last_error = Some(LastError { message: message.into(), at_unix_seconds });
    }

    /// Counts bytes as they were on the wire, after compression.
    pub fn protocol_bytes(&self, direction: Direction, bytes: u64) {
        self.protocol_bytes[direction as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Has counts that the component keeps itself read along; their names are a bounded set.
    pub fn expose(&self, counts: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static) {
        *self.own.lock() = Some(OwnCounts(Box::new(counts)));
    }

    /// Sets what the component is doing. One that has failed keeps saying so, whatever its other tasks, its services or a
    /// drain set: nothing restarts it.
    pub fn set_state(&self, state: HealthState) {
        let mut health = self.health.lock();
        if health.state != HealthState::Failed {
            health.state = state;
        }
    }

    /// Another instance of the component goes on counting here. What failed before was not that one.
    pub fn taken_over(&self) {
        self.health.lock().state = HealthState::Ok;
    }

    /// What the component is doing.
    pub fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// Everything counted so far.
    pub fn read(&self) -> ComponentReading {
        ComponentReading {
            received: self.received.read(),
            sent: self.sent.iter().map(|(name, flows)| (name.clone(), flows.read())).collect(),
            discarded: self.discarded.lock().clone(),
            errors: self.errors.lock().clone(),
            protocol_bytes_in: self.protocol_bytes[Direction::Inbound as usize].load(Ordering::Relaxed),
            protocol_bytes_out: self.protocol_bytes[Direction::Outbound as usize].load(Ordering::Relaxed),
            panics: self.panics.load(Ordering::Relaxed),
            own: self.own.lock().as_ref().map(|counts| (counts.0)().into_iter().collect()).unwrap_or_default(),
            health: self.health(),
        }
    }

    pub(crate) fn received(&self, batch: &Batch) {
        self.received.add(batch);
    }

    pub(crate) fn sent(&self, output: usize, batch: &Batch) {
        if let Some((_, flows)) = self.sent.get(output) {
            flows.add(batch);
        }
    }

    pub(crate) fn panicked(&self, message: String) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        self.error("panic", message);
    }
}

impl std::fmt::Debug for OwnCounts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OwnCounts")
    }
}

impl Flows {
    fn add(&self, batch: &Batch) {
        let flow = &self.0[batch.signal() as usize];
        flow.batches.fetch_add(1, Ordering::Relaxed);
        flow.records.fetch_add(batch.records(), Ordering::Relaxed);
        flow.bytes.fetch_add(batch.encoded_len() as u64, Ordering::Relaxed);
    }

    /// The flows of the signals that were seen.
    fn read(&self) -> BTreeMap<&'static str, FlowReading> {
        let readings = Signal::ALL.into_iter().map(|signal| (signal.as_str(), self.0[signal as usize].read()));
        readings.filter(|(_, reading)| reading.batches > 0).collect()
    }
}

impl Flow {
    fn read(&self) -> FlowReading {
        FlowReading {
            batches: self.batches.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
