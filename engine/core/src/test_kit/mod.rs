//! Runs one component alone: feeds it batches, reads what it sends, its receipts and its counts.
//!
//! For tests, in the component crates and in `tests/contract`. Not here: whole graphs, real sockets.

mod payloads;
mod scripted;

use std::sync::Arc;
use std::time::Duration;

use engine_config::ComponentId;
use futures::future::BoxFuture;
use otlp::Payload;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use payloads::{logs, metrics, nested_logs, records_of, traces, wire};
pub use scripted::{Delivery, ScriptedSink};

use crate::batch::Batch;
use crate::budget::Budget;
use crate::contract::{
    Companion, ComponentError, Input, Outputs, Source, SourceContext, Stage, StageContext, Transform,
};
use crate::edge::{Output, Route, Target, WhenRefused};
use crate::lane::{LaneThreads, Lanes};
use crate::socket::Sockets;
use crate::stage::{self, StageAccount};
use crate::telemetry::ComponentTelemetry;

/// A source that runs alone; its batches wait here until the test answers them.
#[derive(Debug)]
pub struct SourceRun {
    /// What the source sent and nobody has answered yet.
    pub batches: Input,
    /// Tells the source to stop admitting.
    pub drain: CancellationToken,
    /// What requests in flight are charged to.
    pub budget: Budget,
    /// Sockets that were bound for it.
    pub sockets: Sockets,
    /// Its counts and health.
    pub telemetry: Arc<ComponentTelemetry>,
    /// Its end.
    pub ended: JoinHandle<Result<(), ComponentError>>,
    // Stops the lanes when the test is over.
    _lanes: LaneThreads,
}

/// What a transform made of one batch.
#[derive(Debug)]
pub struct Applied {
    /// What it emitted, with the place of the output.
    pub emitted: Vec<(usize, Batch)>,
    /// What it handed to its companion.
    pub handed_over: Vec<Batch>,
    /// Its counts.
    pub telemetry: ComponentTelemetry,
}

/// A stage that runs alone.
#[derive(Debug)]
pub struct StageRun {
    /// Into the stage; dropping it ends the stage's input.
    pub feed: Output,
    /// What each of its outputs sent.
    pub outputs: Vec<Input>,
    /// Tells the stage that the process drains.
    pub draining: CancellationToken,
    /// Its counts and health.
    pub telemetry: Arc<ComponentTelemetry>,
    /// Its ledger.
    pub account: Arc<StageAccount>,
    /// Its end.
    pub ended: JoinHandle<Result<(), ComponentError>>,
}

/// Runs a source on one lane, with `sockets` bound for `id`.
pub fn run_source(id: &str, source: Box<dyn Source>, sockets: Sockets, budget: Budget) -> SourceRun {
    let threads = LaneThreads::start(1).expect("a lane can be started");
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let (output, batches) = captured(&telemetry, 0);
    let drain = CancellationToken::new();
    let context = SourceContext {
        id: id_of(id),
        output,
        leaving: CancellationToken::new(),
        drain: drain.clone(),
        lanes: threads.lanes(),
        budget: budget.clone(),
        sockets: sockets.clone(),
        telemetry: Arc::clone(&telemetry),
    };
    let ended = tokio::spawn(source.run(context));
    SourceRun { batches, drain, budget, sockets, telemetry, ended, _lanes: threads }
}

/// Applies a transform to one batch.
pub fn apply(transform: &dyn Transform, batch: Batch) -> Applied {
    let telemetry = ComponentTelemetry::new(["default".to_owned()]);
    let mut outputs = Outputs::new(&telemetry, Companion::Present);
    transform.apply(batch, &mut outputs);
    let (emitted, handed_over) = outputs.into_parts();
    Applied { emitted, handed_over, telemetry }
}

/// Runs a stage with `outputs` outputs.
pub fn run_stage(id: &str, stage: Box<dyn Stage>, outputs: usize) -> StageRun {
    let telemetry = Arc::new(ComponentTelemetry::new((0..outputs).map(|place| place.to_string())));
    let (inlet, input) = stage::single(id, Arc::clone(&telemetry));
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..outputs).map(|place| captured(&telemetry, place)).unzip();
    let draining = CancellationToken::new();
    let context = StageContext::new(id_of(id), &input, senders, draining.clone(), Arc::clone(&telemetry));
    let account = Arc::clone(input.account());
    let feeder = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let route = Route::to_all(vec![Target::Stage(Arc::new(inlet))]);
    let feed = Output::new(0, route, feeder, Arc::default(), WhenRefused::Answer);
    let ended = tokio::spawn(stage.run(input, context));
    StageRun { feed, outputs: receivers, draining, telemetry, account, ended }
}

/// An output whose batches come out of the returned input.
pub fn captured(telemetry: &Arc<ComponentTelemetry>, port: usize) -> (Output, Input) {
    let (inlet, input) = stage::single("captured", Arc::new(ComponentTelemetry::default()));
    let route = Route::to_all(vec![Target::Stage(Arc::new(inlet))]);
    (Output::new(port, route, Arc::clone(telemetry), Arc::default(), WhenRefused::Answer), input)
}

/// Answers every batch Delivered until the channel ends, and hands the payloads over.
pub fn deliver_all(mut batches: Input) -> (mpsc::UnboundedReceiver<Payload>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Some(batch) = batches.next().await {
            let payload = batch.payload().clone();
            batch.answer(&crate::outcome::Outcome::Delivered);
            if sender.send(payload).is_err() {
                return;
            }
        }
    });
    (receiver, task)
}

/// A future with a bound, so that a test that would hang says what it waited for.
///
/// # Panics
/// When `what` has not happened within a minute of the runtime's clock.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited for a minute: {what}"),
    }
}

/// Lanes for a test, with the threads that must outlive it.
pub fn lanes(count: usize) -> (LaneThreads, Lanes) {
    let threads = LaneThreads::start(count).expect("lanes can be started");
    let lanes = threads.lanes();
    (threads, lanes)
}

/// A boxed closure that decides what a scripted sink says.
pub type Script = Box<dyn Fn(Payload) -> BoxFuture<'static, crate::outcome::Outcome> + Send + Sync>;

fn id_of(text: &str) -> ComponentId {
    ComponentId::new(text).expect("a test uses a valid id")
}
