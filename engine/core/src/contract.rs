//! What a component is to the engine: four contracts and what each is handed.
//!
//! The engine owns loops, timers, queues, retries and panics; a component does its own work only. Not here: how
//! components are found (`registry`) and wired (`edge`).

use std::sync::Arc;

use engine_config::ComponentId;
use futures::future::BoxFuture;
use otlp::{Payload, RecordView, ResourceView};
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::budget::Budget;
use crate::edge::{Output, panic_message};
use crate::lane::Lanes;
use crate::outcome::Outcome;
use crate::selection::Selection;
use crate::socket::Sockets;
pub use crate::stage::{Event, Held, Input, StageContext, Waker};
use crate::telemetry::ComponentTelemetry;

/// Brings data in. Runs on the shared runtime; [`SourceContext::lanes`] lends a spawner for each lane.
pub trait Source: Send {
    /// Runs until [`SourceContext::drain`], then stops admitting, waits for outstanding receipts and returns.
    ///
    /// Returning earlier without an error is allowed to a source that has nothing more to bring.
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>>;
}

/// Changes batches: stateless, synchronous, CPU only. Runs inline in the task that admitted the batch.
pub trait Transform: Send + Sync {
    /// Emits what becomes of the batch. What it loses on purpose it discards; a batch that it merely drops counts
    /// as Retry.
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>);

    /// For a transform that does nothing but pass on some resources with all their records, to its only output: which.
    /// Where several of those get data from one output the engine asks all of them at once, in place of
    /// [`apply`](Self::apply); what does not pass it counts as not selected.
    fn selection(&self) -> Option<&Selection> {
        None
    }
}

/// A transform that cannot finish every batch at once. What it [hands over](Outputs::hand_over) goes to a stage of its
/// own, its companion, and comes back behind it; everything else stays inline.
pub trait TransformWithCompanion: Transform {
    /// The companion; asked for once.
    fn companion(&self) -> Box<dyn Stage>;
}

/// Holds data or state: runs in a task of its own. Beside the transform whose companion it is, it gets what that hands
/// over and sends to the same outputs.
pub trait Stage: Send {
    /// Runs until the input ends, hands on everything it holds and returns. While draining it hands on after every
    /// batch, because a source that waits for a receipt and a stage that holds it would wait for each other.
    fn run(self: Box<Self>, input: Input, context: StageContext) -> BoxFuture<'static, Result<(), ComponentError>>;
}

/// A stage in several tasks. Records with one key always meet in the same task, in the order in which they were sent.
pub trait Partitioned: Send + Sync {
    /// How many tasks there are; 0 counts as 1.
    fn partitions(&self) -> usize;

    /// The key of a record (for metrics: of a metric with all its data points), by which its task is chosen. Runs where
    /// the batch was sent, once a record; the engine mixes the key, so that any bytes of an id will do.
    fn key(&self, resource: &ResourceView<'_>, record: &RecordView<'_>) -> u64;

    /// The task of one partition, from 0.
    fn stage(&self, partition: usize) -> Box<dyn Stage>;
}

/// Hands payloads to the outside. The sink driver owns queue, batching, retry and splitting.
pub trait Sink: Send + Sync {
    /// Delivers one payload; called up to `concurrency` times at once, on the lane the payload was admitted on.
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome>;

    /// Makes what was delivered final (flushes, closes); called once, after the last [`deliver`](Self::deliver).
    /// It gets what is left of the drain's time, at least a second; then it is dropped and the end counts as unclean.
    fn finish(&self) -> BoxFuture<'_, Result<(), ComponentError>> {
        Box::pin(async { Ok(()) })
    }

    /// What the sink does beside deliveries, such as serving a port; called once, before the first
    /// [`deliver`](Self::deliver). It runs on the shared runtime until [`SinkContext::stop`], which comes after
    /// [`finish`](Self::finish). By default there is nothing to do.
    fn serve(&self, _context: SinkContext) -> Option<BoxFuture<'static, Result<(), ComponentError>>> {
        None
    }
}

/// What a sink that does more than deliver is handed.
#[derive(Debug)]
pub struct SinkContext {
    /// Its id.
    pub id: ComponentId,
    /// Sockets the engine bound for it.
    pub sockets: Sockets,
    /// Its counts and health.
    pub telemetry: Arc<ComponentTelemetry>,
    /// Cancelled when nothing more will be delivered.
    pub stop: CancellationToken,
}

/// What a source is handed.
#[derive(Debug)]
pub struct SourceContext {
    /// Its id.
    pub id: ComponentId,
    /// Where its batches go.
    pub output: Output,
    /// Cancelled when the process is about to drain and still admits: whoever sends may go elsewhere.
    pub leaving: CancellationToken,
    /// Cancelled when the source is to stop admitting.
    pub drain: CancellationToken,
    /// Spawners of the lanes.
    pub lanes: Lanes,
    /// What requests in flight are charged to.
    pub budget: Budget,
    /// Sockets the engine bound for it.
    pub sockets: Sockets,
    /// Its counts and health.
    pub telemetry: Arc<ComponentTelemetry>,
}

/// Collects what a transform emits.
#[derive(Debug)]
pub struct Outputs<'a> {
    telemetry: &'a ComponentTelemetry,
    emitted: Vec<(usize, Batch)>,
    handed_over: Vec<Batch>,
    has_companion: bool,
}

/// Whether a transform has a companion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Companion {
    Present,
    Absent,
}

/// Why a component ended, in words for users.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ComponentError {
    /// What it was doing and what went wrong.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(telemetry: &'a ComponentTelemetry, companion: Companion) -> Self {
        let has_companion = companion == Companion::Present;
        Self { telemetry, emitted: Vec::new(), handed_over: Vec::new(), has_companion }
    }

    /// Sends a batch to the only or first output. Without records nothing is sent and the batch counts as done.
    pub fn emit(&mut self, batch: Batch) {
        self.emit_to(0, batch);
    }

    /// Sends a batch to the output with this place in the component's declared outputs.
    pub fn emit_to(&mut self, output: usize, batch: Batch) {
        if batch.records() == 0 {
            batch.answer(&Outcome::Delivered);
            return;
        }
        self.emitted.push((output, batch));
    }

    /// Hands a batch to the companion, which sends what becomes of it to the same outputs.
    ///
    /// # Panics
    /// When the transform is not registered with a companion.
    pub fn hand_over(&mut self, batch: Batch) {
        assert!(self.has_companion, "a transform hands over to its companion and has none");
        if batch.records() == 0 {
            batch.answer(&Outcome::Delivered);
            return;
        }
        self.handed_over.push(batch);
    }

    /// Where the component counts what it discards.
    pub fn telemetry(&self) -> &'a ComponentTelemetry {
        self.telemetry
    }

    /// What was emitted and what was handed over.
    pub(crate) fn into_parts(self) -> (Vec<(usize, Batch)>, Vec<Batch>) {
        (self.emitted, self.handed_over)
    }
}

impl ComponentError {
    /// An error without a cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// What a panic said, as the error of the component that panicked.
    pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        Self::new(format!("panicked: {}", panic_message(panic)))
    }

    /// An error with its cause.
    pub fn caused(message: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { message: message.into(), source: Some(source.into()) }
    }
}
