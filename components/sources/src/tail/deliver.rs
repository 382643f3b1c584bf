//! The runtime's half: delivers requests, keeps positions, and ends the reader. Not here: what is read, and when positions
//! move (`reader`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use engine_core::batch::Batch;
use engine_core::budget::{Budget, Charge};
use engine_core::contract::{ComponentError, SourceContext};
use engine_core::edge::Output;
use engine_core::lane::Lanes;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::telemetry::ComponentTelemetry;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use otlp::{Payload, Signal};
use rand::RngExt;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Tail;
use super::checkpoint;
use super::counts::{Counts, add};
use super::reader::{Answer, Bell, Delivery, Kept, Parts, Reader, Sent, Told};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How long to wait when the memory budget has no room for a request.
const BUDGET_PAUSE: Duration = Duration::from_millis(20);
/// The error kind under which positions count that could not be kept.
const POSITIONS: &str = "positions";

/// The reader as the runtime sees it. Dropped, it ends the reader.
struct Hearing {
    answers: Option<Sender<Answer>>,
    bell: Bell,
}

/// Delivers requests. Clones share it.
#[derive(Clone)]
struct Deliverer {
    output: Output,
    budget: Budget,
    drain: CancellationToken,
    telemetry: Arc<ComponentTelemetry>,
    counts: Arc<Counts>,
}

impl Tail {
    /// Reads and delivers until the source is to drain and everything is answered.
    pub(crate) fn run(self, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(self.read_and_deliver(context))
    }

    async fn read_and_deliver(self, context: SourceContext) -> Result<(), ComponentError> {
        let counts = Arc::new(Counts::default());
        let exposed = Arc::clone(&counts);
        context.telemetry.expose(move || exposed.read());
        let (told, mut messages) = mpsc::unbounded_channel();
        let (answers, hears) = crossbeam_channel::unbounded();
        let bell = Bell::new().map_err(|error| ComponentError::caused("cannot start to read files", error))?;
        let hearing = Hearing { answers: Some(answers), bell: bell.clone() };
        let store = Arc::clone(&self.store);
        let parts = Parts {
            settings: self.settings,
            format: self.format,
            selection: self.selection,
            store: self.store,
            telemetry: Arc::clone(&context.telemetry),
            counts: Arc::clone(&counts),
            told,
            answers: hears,
            bell,
        };
        let thread = std::thread::Builder::new().name("read-files".to_owned());
        let thread = thread.spawn(move || Reader::new(parts).run());
        let thread = thread.map_err(|error| ComponentError::caused("cannot start to read files", error))?;
        let deliverer = Deliverer {
            output: context.output,
            budget: context.budget,
            drain: context.drain.clone(),
            telemetry: Arc::clone(&context.telemetry),
            counts,
        };
        let save = move |content| {
            let store = Arc::clone(&store);
            tokio::task::spawn_blocking(move || checkpoint::save(&store, content))
        };
        let delivered = hearing.serve(&mut messages, deliverer, &context.lanes, save).await;
        drop(hearing);
        // The thread has hung up, or does as soon as it hears that nobody listens: it waits for nothing but that.
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        let ended = ended.map_err(|error| ComponentError::caused("reading files was interrupted", error))?;
        ended
            .map_err(|panic| ComponentError::panicked(&*panic))?
            .map_err(|error| ComponentError::caused("cannot read files", error))?;
        delivered
    }
}

impl Hearing {
    /// Serves the reader until it hangs up.
    async fn serve<S>(
        &self,
        messages: &mut UnboundedReceiver<Told>,
        deliverer: Deliverer,
        lanes: &Lanes,
        save: impl Fn(Vec<u8>) -> tokio::task::JoinHandle<Result<(), S>>,
    ) -> Result<(), ComponentError>
    where
        S: std::error::Error + Send + 'static,
    {
        let mut under_way = FuturesUnordered::new();
        let mut saving = FuturesUnordered::new();
        let mut is_draining = false;
        loop {
            tokio::select! {
                () = deliverer.drain.cancelled(), if !is_draining => {
                    is_draining = true;
                    self.answer(Answer::Drain);
                }
                Some(ended) = under_way.next() => {
                    let ended: Result<(u64, Result<Delivery, ComponentError>), tokio::task::JoinError> = ended;
                    let (number, delivery) = ended.map_err(interrupted)?;
                    self.answer(Answer::Request(number, delivery?));
                }
                Some(kept) = saving.next() => {
                    let kept: Result<Result<(), S>, tokio::task::JoinError> = kept;
                    let mut answer = Kept::Yes;
                    if let Err(error) = kept.map_err(interrupted)? {
                        let chain = Chain(&error);
                        deliverer.telemetry.error(POSITIONS, format!("cannot keep positions of files: {chain}"));
                        tracing::warn!(error = %chain, "positions of files cannot be kept: after a crash more comes twice");
                        answer = Kept::No;
                    }
                    self.answer(Answer::Saved(answer));
                }
                message = messages.recv() => match message {
                    Some(Told::Request(Sent { number, body })) => {
                        // One at a time stays on one lane and its connections.
                        let lane = lanes.iter().nth(under_way.len() % lanes.count());
                        let lane = lane.expect("a process has at least one lane");
                        let delivery = deliverer.clone().deliver(body);
                        under_way.push(lane.spawn(async move { (number, delivery.await) }));
                    }
                    Some(Told::Save(content)) => saving.push(save(content)),
                    None => return Ok(()),
                },
            }
        }
    }

    fn answer(&self, answer: Answer) {
        if let Some(answers) = &self.answers {
            // A reader that has ended needs no answer.
            answers.send(answer).ok();
        }
        self.bell.ring();
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.answers = None;
        self.bell.ring();
    }
}

impl Deliverer {
    /// Sends a request until it is delivered or refused for good, or the source drains and nobody takes it. What is given back
    /// while it drains is offered once more: what came behind it may be delivered already, and comes twice if this is not.
    async fn deliver(self, body: bytes::Bytes) -> Result<Delivery, ComponentError> {
        let Some(charge) = self.charge(body.len()).await? else { return Ok(Delivery::Unfinished) };
        let wire = otlp::admit(Signal::Logs, charge.attach(body));
        let wire = wire.map_err(|error| ComponentError::caused("records of files are no valid request", error))?;
        let records = wire.records();
        let mut backoff = FIRST_BACKOFF;
        let mut is_last_try = false;
        loop {
            let (batch, receipt) = Batch::new(Payload::Wire(wire.clone()));
            // Sending comes first, so that a sink with room gets the request even while the source drains.
            let is_sent = tokio::select! {
                biased;
                () = self.output.send(batch) => true,
                () = self.drain.cancelled() => false,
            };
            if !is_sent {
                return Ok(Delivery::Unfinished);
            }
            let after = match receipt.await {
                Outcome::Delivered => return Ok(Delivery::Done),
                Outcome::Partial { rejected, .. } => {
                    add(&self.counts.records_rejected, rejected);
                    return Ok(Delivery::Done);
                }
                // Credentials are renewed without a word, on one side first; until both have them the lines stay where they are.
                Outcome::Rejected(rejection) if rejection.kind == RejectionKind::Unauthorized => {
                    if is_last_try {
                        return Ok(Delivery::Unfinished);
                    }
                    None
                }
                Outcome::Rejected(_) => {
                    add(&self.counts.records_rejected, records);
                    return Ok(Delivery::Done);
                }
                Outcome::Retry { .. } if is_last_try => return Ok(Delivery::Unfinished),
                Outcome::Retry { after, .. } => after,
            };
            let wait = after.unwrap_or_else(|| backoff.mul_f64(rand::rng().random_range(0.1..1.0)));
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
            tokio::select! {
                biased;
                () = self.drain.cancelled() => is_last_try = true,
                () = sleep(wait) => {}
            }
        }
    }

    /// Charges a request to the memory budget, as soon as there is room; none when the source drains before.
    async fn charge(&self, bytes: usize) -> Result<Option<Charge>, ComponentError> {
        if bytes > self.budget.limit() {
            let limit = self.budget.limit();
            let message = format!("a request of {bytes} bytes never fits into the memory limit of {limit} bytes");
            return Err(ComponentError::new(message));
        }
        loop {
            if let Ok(charge) = self.budget.try_charge(bytes) {
                return Ok(Some(charge));
            }
            tokio::select! {
                biased;
                () = self.drain.cancelled() => return Ok(None),
                () = sleep(BUDGET_PAUSE) => {}
            }
        }
    }
}

/// An error with its causes in one line.
struct Chain<'e>(&'e dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn interrupted(error: tokio::task::JoinError) -> ComponentError {
    ComponentError::caused("a delivery ended early", error)
}
