//! Edges: how a batch gets from an output through transforms to the sinks and stages that take it.
//!
//! Sending has two phases. First every inline branch runs and yields pieces, each with its taker; then the takers
//! reserve room in order of their ids. Nothing reserved means that nothing is committed and everybody is told Retry;
//! otherwise what has room is committed and the rest is counted as dropped, where sinks must not hold up each other. Where
//! there is one sink, all of a batch is taken or nothing. Not here: what a taker does with it.

mod port;
mod table;
mod taker;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use engine_config::SignalSet;
use otlp::Signal;
use smallvec::{SmallVec, smallvec};

use crate::batch::Batch;
use crate::budget::Exhausted;
use crate::contract::{Companion, Outputs, Transform};
use crate::lane;
use crate::outcome::{Outcome, RejectionKind};
use crate::poison::{Fingerprint, PoisonMemory};
use crate::selection::Selection;
use crate::sink::SinkInlet;
use crate::stage::{StageAccount, StageInlet};
use crate::telemetry::ComponentTelemetry;
pub use port::Port;
use table::Table;
use taker::{Piece, Taker, add};

/// Reason under which records are counted that had no room at one of several takers.
pub const FULL: &str = "full";
/// Reason under which records are counted that no sink selects.
pub const UNSELECTED: &str = "unselected";

/// Encoded bytes up to which code of components runs where a batch is sent. For more it runs beside the lane, which has
/// other connections to serve.
const RUN_INLINE: usize = 1024 * 1024;

/// Bytes by which transforms may make a batch larger without it being charged.
const FREE_GROWTH: usize = 64 * 1024;

/// The wait asked of a sender for whose data there is no memory.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What one taker gets of one batch that was sent: mostly one batch, several where branches meet again.
pub(crate) type Batches = SmallVec<[Batch; 1]>;

/// Where the batches of one output port go.
#[derive(Clone, Debug, Default)]
pub struct Route {
    consumers: Arc<[Consumer]>,
    /// Where several of them select.
    table: Option<Arc<Table>>,
}

/// One consumer of an output port and the signals it takes from it.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Batches of other signals pass it by.
    pub signals: SignalSet,
    /// Who takes them.
    pub target: Target,
}

/// Who takes a batch.
#[derive(Clone, Debug)]
pub enum Target {
    /// Runs inline.
    Transform(Arc<TransformNode>),
    /// Takes the batch into its own tasks.
    Stage(Arc<StageInlet>),
    /// Takes the batch into its queue.
    Sink(Arc<SinkInlet>),
}

/// A transform and what follows it.
pub struct TransformNode {
    transform: Arc<dyn Transform>,
    telemetry: Arc<ComponentTelemetry>,
    outputs: Vec<Route>,
    companion: Option<Arc<StageInlet>>,
}

/// How an output behaves when nobody has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenRefused {
    /// The batch is answered Retry at once: its sender can be told.
    Answer,
    /// The sender waits until somebody has room.
    Wait,
}

/// The sending end of one output port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Output {
    place: usize,
    port: Port,
    telemetry: Arc<ComponentTelemetry>,
    /// The ledger of the stage that this is an output of.
    account: Option<Arc<StageAccount>>,
    poison: Arc<PoisonMemory>,
    when_refused: WhenRefused,
}

impl Route {
    /// A route to these consumers.
    pub fn new(consumers: Vec<Consumer>) -> Self {
        let table = Table::of(&consumers).map(Arc::new);
        Self { consumers: consumers.into(), table }
    }

    /// Consumers that take every signal.
    pub fn to_all(targets: Vec<Target>) -> Self {
        Self::new(targets.into_iter().map(|target| Consumer { signals: SignalSet::ALL, target }).collect())
    }

    fn takers(&self, signal: Signal) -> impl Iterator<Item = &Target> {
        self.consumers.iter().filter(move |consumer| consumer.signals.contains(signal)).map(|consumer| &consumer.target)
    }

    fn runs_code(&self, signal: Signal) -> bool {
        self.takers(signal).any(Target::runs_code)
    }
}

impl Target {
    /// The same taker in another graph: a transform goes on before these routes, the entrance of a stage before sinks that
    /// must not hold up others with data of these signals.
    #[must_use]
    pub fn rewired(&self, outputs: Vec<Route>, losing: SignalSet) -> Self {
        match self {
            Self::Transform(node) => Self::Transform(Arc::new(node.rewired(outputs, losing))),
            Self::Stage(inlet) => Self::Stage(Arc::new(inlet.another().losing(losing))),
            Self::Sink(inlet) => Self::Sink(Arc::clone(inlet)),
        }
    }

    /// Whether code of a component runs where the batch is sent.
    fn runs_code(&self) -> bool {
        match self {
            Self::Transform(_) => true,
            Self::Stage(inlet) => inlet.looks_at_records(),
            Self::Sink(_) => false,
        }
    }
}

impl TransformNode {
    /// A transform and the routes of its outputs, in the order it declares them.
    pub fn new(transform: Box<dyn Transform>, telemetry: Arc<ComponentTelemetry>, outputs: Vec<Route>) -> Self {
        Self { transform: transform.into(), telemetry, outputs, companion: None }
    }

    fn rewired(&self, outputs: Vec<Route>, losing: SignalSet) -> Self {
        let companion = self.companion.as_ref().map(|inlet| Arc::new(inlet.another().losing(losing)));
        Self { transform: Arc::clone(&self.transform), telemetry: Arc::clone(&self.telemetry), outputs, companion }
    }

    /// The same with a companion behind this entrance.
    #[must_use]
    pub fn with_companion(self, companion: StageInlet) -> Self {
        Self { companion: Some(Arc::new(companion)), ..self }
    }

    /// What it selects, if that is all it does.
    fn selection(&self) -> Option<&Selection> {
        if self.companion.is_some() { None } else { self.transform.selection() }
    }

    /// Runs the transform on one batch; a panic costs the batch, whose answer is then Retry. What it adds is charged like
    /// what came in: a small edit of many small records makes many times their bytes.
    fn run(&self, batch: Batch) -> Result<Ran, Stopped> {
        self.telemetry.received(&batch);
        let before = batch.encoded_len();
        let companion = if self.companion.is_some() { Companion::Present } else { Companion::Absent };
        let mut outputs = Outputs::new(&self.telemetry, companion);
        // The transform is stateless by contract and the batch is gone with the panic, so nothing half-changed is
        // seen afterwards.
        let run = catch_unwind(AssertUnwindSafe(|| self.transform.apply(batch, &mut outputs)));
        if let Err(panic) = run {
            self.telemetry.panicked(panic_message(panic.as_ref()));
            return Err(Stopped::Panicked);
        }
        let (mut emitted, handed_over) = outputs.into_parts();
        let grown = |piece: &Batch| piece.encoded_len().saturating_sub(before);
        let mut grew = emitted.iter_mut().map(|(_, piece)| piece).filter(|piece| grown(piece) > FREE_GROWTH);
        if let Err(exhausted) = grew.try_for_each(|piece| piece.charge_more(grown(piece))) {
            let made = emitted.into_iter().map(|(_, piece)| piece).chain(handed_over);
            return Err(self.no_memory(made.collect(), &exhausted));
        }
        for (output, piece) in &emitted {
            self.telemetry.sent(*output, piece);
        }
        Ok(Ran { emitted, handed_over })
    }

    /// What was made cannot be held.
    fn no_memory(&self, made: Vec<Batch>, exhausted: &Exhausted) -> Stopped {
        let records = made.iter().map(Batch::records).sum();
        let outcome = refusal(&self.telemetry, exhausted, exhausted.wanted, records);
        made.into_iter().for_each(|batch| batch.answer(&outcome));
        Stopped::NoMemory(outcome)
    }
}

impl Stopped {
    /// The same for a batch of which a branch was stopped.
    fn with(self, batch: Batch) -> Self {
        if let Self::NoMemory(outcome) = &self {
            batch.answer(outcome);
        }
        self
    }
}

/// The answer for records for which there is no memory: they come again, or not if they need `least` bytes and could never
/// be held.
fn refusal(telemetry: &ComponentTelemetry, exhausted: &Exhausted, least: usize, records: u64) -> Outcome {
    if least <= exhausted.limit {
        return Outcome::Retry { after: Some(RETRY_AFTER), reason: exhausted.to_string() };
    }
    let kind = RejectionKind::TooLarge;
    telemetry.error(kind.as_str(), exhausted.to_string());
    telemetry.discarded(kind.as_str(), records);
    Outcome::rejected(kind, exhausted.to_string())
}

impl fmt::Debug for TransformNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TransformNode").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

/// Why a batch did not get through its transforms.
enum Stopped {
    /// Its shares say Retry by being forgotten.
    Panicked,
    /// The answer for all of it.
    NoMemory(Outcome),
}

/// What a transform made of a batch.
struct Ran {
    emitted: Vec<(usize, Batch)>,
    handed_over: Vec<Batch>,
}

impl Output {
    /// The output with this place among the outputs of the component that `telemetry` belongs to.
    pub fn new(
        place: usize,
        port: impl Into<Port>,
        telemetry: Arc<ComponentTelemetry>,
        poison: Arc<PoisonMemory>,
        when_refused: WhenRefused,
    ) -> Self {
        Self { place, port: port.into(), telemetry, account: None, poison, when_refused }
    }

    /// The same as an output of a stage, in whose ledger it counts what it sends.
    #[must_use]
    pub(crate) fn counted_in(self, account: Arc<StageAccount>) -> Self {
        Self { account: Some(account), ..self }
    }

    /// Sends a batch on its way. What becomes of it is told to its receipt.
    pub async fn send(&self, batch: Batch) {
        if batch.records() == 0 {
            batch.answer(&Outcome::Delivered);
            return;
        }
        self.telemetry.sent(self.place, &batch);
        if let Some(account) = &self.account {
            account.sent(&batch);
        }
        let pieces = if batch.encoded_len() > RUN_INLINE && self.port.route().runs_code(batch.signal()) {
            // Boxed, because every sender has this future and few send so much at once.
            Box::pin(self.run_beside(batch)).await
        } else {
            self.run_inline(batch)
        };
        if let Some(pieces) = pieces {
            taker::send(pieces, self.when_refused).await;
        }
    }

    /// [`run_inline`](Self::run_inline) on a thread of its own. What an edit writes anew is as large again as what came in,
    /// and is charged from the beginning.
    async fn run_beside(&self, batch: Batch) -> Option<Vec<Piece>> {
        let charge = match batch.another_charge(batch.encoded_len()) {
            Ok(charge) => charge,
            Err(exhausted) => {
                // What came in is charged too, so twice the bytes must fit.
                let outcome = refusal(&self.telemetry, &exhausted, 2 * exhausted.wanted, batch.records());
                batch.answer(&outcome);
                return None;
            }
        };
        let output = self.clone();
        let run = lane::beside(move || {
            let pieces = output.run_inline(batch);
            drop(charge);
            pieces
        });
        // Interrupted, the batch is gone, and its shares say Retry.
        run.await.ok().flatten()
    }

    /// Phase one: every inline branch. None when the batch is poison or panicked.
    fn run_inline(&self, batch: Batch) -> Option<Vec<Piece>> {
        // Looked up once: the batch goes all its way by this one, whatever comes next.
        let route = self.port.route();
        if !route.runs_code(batch.signal()) {
            let mut pieces = Vec::with_capacity(route.consumers.len());
            return self.walk(&route, batch, &mut pieces).is_ok().then_some(pieces);
        }
        let known = self.poison.suspect(batch.payload());
        if known.is_some_and(|fingerprint| self.poison.is_poison(&fingerprint)) {
            let message = "this batch made a component panic three times";
            self.telemetry.discarded(RejectionKind::Panic.as_str(), batch.records());
            batch.answer(&Outcome::rejected(RejectionKind::Panic, message));
            return None;
        }
        let before = batch.payload().clone();
        let mut pieces = Vec::new();
        match self.walk(&route, batch, &mut pieces) {
            Ok(()) => {}
            Err(Stopped::Panicked) => {
                self.poison.panicked(&known.unwrap_or_else(|| Fingerprint::of(&before)));
                // The pieces of other branches go with it: their shares say Retry too, so that the batch comes whole again.
                return None;
            }
            Err(Stopped::NoMemory(outcome)) => {
                taker::answer_pieces(pieces, &outcome);
                return None;
            }
        }
        if let Some(fingerprint) = known {
            self.poison.went_through(&fingerprint);
        }
        Some(pieces)
    }

    fn walk(&self, route: &Route, batch: Batch, pieces: &mut Vec<Piece>) -> Result<(), Stopped> {
        if let Some(table) = &route.table
            && let Some(shares) = table.share_out(&batch)
        {
            return self.walk_table(table, shares, batch, pieces);
        }
        let mut takers = route.takers(batch.signal()).peekable();
        while let Some(target) = takers.next() {
            if takers.peek().is_none() {
                return self.walk_target(target, batch, pieces);
            }
            let branch = batch.branch(batch.payload().clone());
            if let Err(stopped) = self.walk_target(target, branch, pieces) {
                return Err(stopped.with(batch));
            }
        }
        batch.discard(UNSELECTED, &self.telemetry);
        Ok(())
    }

    fn walk_target(&self, target: &Target, batch: Batch, pieces: &mut Vec<Piece>) -> Result<(), Stopped> {
        match target {
            Target::Sink(inlet) => add(pieces, Taker::Sink(Arc::clone(inlet)), batch),
            Target::Stage(inlet) => enter(pieces, inlet, batch)?,
            Target::Transform(node) => {
                let Ran { emitted: all_emitted, handed_over } = node.run(batch)?;
                for handed in handed_over {
                    let companion = node.companion.as_ref().expect("without a companion nothing is handed over");
                    enter(pieces, companion, handed)?;
                }
                for (output, emitted) in all_emitted {
                    match node.outputs.get(output) {
                        Some(route) => self.walk(route, emitted, pieces)?,
                        None => emitted.discard(UNSELECTED, &node.telemetry),
                    }
                }
            }
        }
        Ok(())
    }
}

/// Adds a batch for a stage, cut into a piece for each of its tasks.
fn enter(pieces: &mut Vec<Piece>, inlet: &Arc<StageInlet>, batch: Batch) -> Result<(), Stopped> {
    let cut = inlet.split(batch).map_err(|_| Stopped::Panicked)?;
    for (task, piece) in cut.into_iter().flatten() {
        add(pieces, Taker::Stage(Arc::clone(inlet), smallvec![task]), piece);
    }
    Ok(())
}
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

#[cfg(test)]
mod tests;
