//! What a component is to the engine: four contracts and what each is handed.
//!
//! The engine owns loops, timers, queues, retries and panics; a component does its own work only. Not here: how
//! components are found (`registry`) and wired (`edge`).

use std::sync::Arc;

use engine_config::ComponentId;
use futures::future::BoxFuture;
use otlp::Payload;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::budget::Budget;
use crate::edge::{Batches, Output, panic_message};
use crate::lane::Lanes;
use crate::outcome::Outcome;
use crate::socket::Sockets;
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
}

/// Holds data or state: runs in a task of its own.
pub trait Stage: Send {
    /// Runs until the input ends, hands on everything it holds and returns. While draining it hands on after every
    /// batch, because a source that waits for a receipt and a stage that holds it would wait for each other.
    fn run(self: Box<Self>, input: Input, context: StageContext) -> BoxFuture<'static, Result<(), ComponentError>>;
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
}

/// What a source is handed.
#[derive(Debug)]
pub struct SourceContext {
    /// Its id.
    pub id: ComponentId,
    /// Where its batches go.
    pub output: Output,
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

/// What a stage is handed.
#[derive(Debug)]
pub struct StageContext {
    /// Its id.
    pub id: ComponentId,
    /// Where its batches go, in the order of its declared outputs.
    pub outputs: Vec<Output>,
    /// Cancelled when the process drains: from then on nothing is held after a batch.
    pub draining: CancellationToken,
    /// Its counts and health.
    pub telemetry: Arc<ComponentTelemetry>,
}

/// The receiving end of an edge into a stage; ends when everything before it has ended.
#[derive(Debug)]
pub struct Input {
    pub(crate) batches: mpsc::Receiver<Batches>,
    /// What was received and not yet read, the last first.
    pub(crate) received: Batches,
    pub(crate) telemetry: Arc<ComponentTelemetry>,
}

/// Collects what a transform emits.
#[derive(Debug)]
pub struct Outputs<'a> {
    telemetry: &'a ComponentTelemetry,
    emitted: Vec<(usize, Batch)>,
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

impl Input {
    /// The next batch, or none when the input has ended.
    pub async fn next(&mut self) -> Option<Batch> {
        if self.received.is_empty() {
            self.received = self.batches.recv().await?;
            self.received.reverse();
        }
        let batch = self.received.pop()?;
        self.telemetry.received(&batch);
        Some(batch)
    }
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(telemetry: &'a ComponentTelemetry) -> Self {
        Self { telemetry, emitted: Vec::new() }
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

    /// Where the component counts what it discards.
    pub fn telemetry(&self) -> &'a ComponentTelemetry {
        self.telemetry
    }

    pub(crate) fn into_emitted(self) -> Vec<(usize, Batch)> {
        self.emitted
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
