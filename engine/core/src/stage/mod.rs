//! The entrance of a stage and what happens inside: batches, timers, wake-ups, the end.
//!
//! A partitioned stage has a task for each partition; a batch is cut into a piece for each, which share its receipt, and
//! a batch has room only when all its pieces have. Not here: what a stage does with a batch, who sends it (`edge`).

mod account;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine_config::{ComponentId, SignalSet};
use otlp::{Payload, Signal, Wire};
use smallvec::{SmallVec, smallvec};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use account::{Held, StageAccount, StageLine};

use crate::batch::Batch;
use crate::contract::Partitioned;
use crate::edge::{Batches, Output, panic_message};
use crate::sink::NoRoom;
use crate::telemetry::ComponentTelemetry;

/// Pieces that may wait in front of each task of a stage.
const QUEUE: usize = 16;

/// The entrance of a stage.
pub struct StageInlet {
    id: String,
    /// One for each task.
    tasks: Box<[mpsc::Sender<Batches>]>,
    /// Says which task; none when there is one.
    partitioned: Option<Arc<dyn Partitioned>>,
    may_lose: SignalSet,
    telemetry: Arc<ComponentTelemetry>,
}

/// The receiving end of an edge into a task of a stage; ends when everything before it has ended.
#[derive(Debug)]
pub struct Input {
    batches: mpsc::Receiver<Batches>,
    /// What was received and not yet read, the last first.
    received: Batches,
    /// None for a companion: its transform has counted the batch.
    telemetry: Option<Arc<ComponentTelemetry>>,
    account: Arc<StageAccount>,
}

/// What a task of a stage is handed.
#[derive(Debug)]
pub struct StageContext {
    /// The id of its component.
    pub id: ComponentId,
    /// Where its batches go, in the order of its declared outputs.
    pub outputs: Vec<Output>,
    /// Cancelled when the process drains: from then on nothing is held after a batch.
    pub draining: CancellationToken,
    /// Counts and health of its component, which all tasks share.
    pub telemetry: Arc<ComponentTelemetry>,
    /// The ledger of the stage, which all tasks share.
    pub account: Arc<StageAccount>,
    waker: Waker,
    told_draining: bool,
}

/// Wakes a task of a stage from anywhere. Calls before it looks are one call.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<Notify>);

/// What a task of a stage wakes up for.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is matched at once, and almost every event is a batch")]
pub enum Event {
    /// A batch came in.
    Batch(Held),
    /// The time that the task asked for has come.
    Due,
    /// Somebody used the [`Waker`].
    Woken,
    /// The process drains: everything held is to be handed on now, and from now on after every batch. Told once.
    Draining,
    /// Nothing comes any more: everything held is to be handed on now, and the task ends.
    End,
}

/// Room in the queues of some tasks.
pub(crate) type StageRoom = SmallVec<[(usize, mpsc::OwnedPermit<Batches>); 1]>;

/// Pieces of a batch with the tasks they go to.
pub(crate) type Pieces = SmallVec<[(usize, Batch); 1]>;

/// The key of a record panicked; the batch is gone.
pub(crate) struct KeyPanicked;

/// The entrance of a stage that is one task, and the input of that.
pub fn single(id: &str, telemetry: Arc<ComponentTelemetry>) -> (StageInlet, Input) {
    single_on(id, &StageAccount::new(telemetry))
}

/// The same with a ledger that is kept already, because the stage comes after another one.
pub fn single_on(id: &str, account: &Arc<StageAccount>) -> (StageInlet, Input) {
    let telemetry = Arc::clone(account.telemetry());
    let (sender, input) = task(Some(Arc::clone(&telemetry)), Arc::clone(account));
    (StageInlet::new(id, vec![sender], None, telemetry), input)
}

/// The same for a companion of a transform, whose telemetry this is: what comes in was counted there.
pub fn companion(id: &str, telemetry: Arc<ComponentTelemetry>) -> (StageInlet, Input) {
    companion_on(id, &StageAccount::new(telemetry))
}

/// The same with a ledger that is kept already.
pub fn companion_on(id: &str, account: &Arc<StageAccount>) -> (StageInlet, Input) {
    let (sender, input) = task(None, Arc::clone(account));
    (StageInlet::new(id, vec![sender], None, Arc::clone(account.telemetry())), input)
}

/// The entrance of a partitioned stage, and the input of each partition.
pub fn partitioned(
    id: &str,
    stage: Arc<dyn Partitioned>,
    telemetry: Arc<ComponentTelemetry>,
) -> (StageInlet, Vec<Input>) {
    partitioned_on(id, stage, &StageAccount::new(telemetry))
}

/// The same with a ledger that is kept already.
pub fn partitioned_on(id: &str, stage: Arc<dyn Partitioned>, account: &Arc<StageAccount>) -> (StageInlet, Vec<Input>) {
    let telemetry = Arc::clone(account.telemetry());
    let open = |_| task(Some(Arc::clone(&telemetry)), Arc::clone(account));
    let (senders, inputs): (Vec<_>, Vec<_>) = (0..stage.partitions().max(1)).map(open).unzip();
    let partitioned = (senders.len() > 1).then_some(stage);
    (StageInlet::new(id, senders, partitioned, telemetry), inputs)
}

fn task(telemetry: Option<Arc<ComponentTelemetry>>, account: Arc<StageAccount>) -> (mpsc::Sender<Batches>, Input) {
    let (sender, batches) = mpsc::channel(QUEUE);
    (sender, Input { batches, received: Batches::new(), telemetry, account })
}

impl StageInlet {
    fn new(
        id: &str,
        tasks: Vec<mpsc::Sender<Batches>>,
        partitioned: Option<Arc<dyn Partitioned>>,
        telemetry: Arc<ComponentTelemetry>,
    ) -> Self {
        Self { id: id.to_owned(), tasks: tasks.into(), partitioned, may_lose: SignalSet::default(), telemetry }
    }

    /// Another entrance of the same stage.
    pub(crate) fn another(&self) -> Self {
        Self {
            id: self.id.clone(),
            tasks: self.tasks.clone(),
            partitioned: self.partitioned.clone(),
            may_lose: self.may_lose,
            telemetry: Arc::clone(&self.telemetry),
        }
    }

    /// The same in front of sinks that must not hold up others with data of these signals: what it has no room for is lost by
    /// count when another taker takes its own.
    #[must_use]
    pub fn losing(self, signals: SignalSet) -> Self {
        Self { may_lose: signals, ..self }
    }

    pub(crate) fn may_lose(&self, signal: Signal) -> bool {
        self.may_lose.contains(signal)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn telemetry(&self) -> &ComponentTelemetry {
        &self.telemetry
    }

    /// Whether code of a component runs when a batch arrives here.
    pub(crate) fn looks_at_records(&self) -> bool {
        self.partitioned.is_some()
    }

    /// Cuts a batch into a piece for each task that gets some of it. None when it cannot be read; that is answered.
    pub(crate) fn split(&self, batch: Batch) -> Result<Option<Pieces>, KeyPanicked> {
        let Some(stage) = &self.partitioned else { return Ok(Some(smallvec![(0, batch)])) };
        let Some(encoded) = batch.map_wire(&self.telemetry, |wire| wire) else { return Ok(None) };
        let Payload::Wire(wire) = encoded.payload() else { unreachable!("it was encoded just now") };
        let count = self.tasks.len();
        // The batch is gone with the panic, so nothing half-done is seen afterwards.
        let dealt = catch_unwind(AssertUnwindSafe(|| {
            wire.clone().partition_records(count, |resource, record| place(stage.key(resource, record), count))
        }));
        let dealt = dealt.map_err(|panic| {
            self.telemetry.panicked(panic_message(panic.as_ref()));
            KeyPanicked
        })?;
        Ok(Some(shared_out(encoded, dealt)))
    }

    /// Room for one message at each of these tasks, or at none.
    pub(crate) fn reserve(&self, tasks: &[usize]) -> Result<StageRoom, NoRoom> {
        let mut room = StageRoom::new();
        for task in tasks {
            if room.iter().any(|(reserved, _)| reserved == task) {
                continue;
            }
            match self.tasks[*task].clone().try_reserve_owned() {
                Ok(permit) => room.push((*task, permit)),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(NoRoom::Full),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(NoRoom::Closed),
            }
        }
        Ok(room)
    }

    /// Waits for room at all of these tasks, behind those who asked before. Whoever waits keeps what it has got: given back
    /// to look for all of it at once, room would go from one who waits to the next for ever. All senders ask in the order
    /// of the tasks, so that no two wait for each other.
    pub(crate) async fn room(&self, tasks: &[usize]) -> Result<StageRoom, NoRoom> {
        let mut ordered = SmallVec::<[usize; 8]>::from_slice(tasks);
        ordered.sort_unstable();
        ordered.dedup();
        let mut room = StageRoom::new();
        for task in ordered {
            let permit = self.tasks[task].clone().reserve_owned().await.map_err(|_| NoRoom::Closed)?;
            room.push((task, permit));
        }
        Ok(room)
    }
}

/// Sends each piece to its task, all pieces for one task in one message.
pub(crate) fn commit(room: StageRoom, tasks: &[usize], batches: Batches) {
    let mut messages: SmallVec<[(mpsc::OwnedPermit<Batches>, usize, Batches); 1]> =
        room.into_iter().map(|(task, permit)| (permit, task, Batches::new())).collect();
    for (task, batch) in tasks.iter().zip(batches) {
        let message = messages.iter_mut().find(|(_, reserved, _)| reserved == task);
        message.expect("room was reserved for every piece").2.push(batch);
    }
    for (permit, _, message) in messages {
        permit.send(message);
    }
}

/// The pieces as branches of the batch; its own debts go with the last one.
fn shared_out(batch: Batch, dealt: Vec<Wire>) -> Pieces {
    let mut parts: SmallVec<[(usize, Wire); 4]> = dealt.into_iter().enumerate().collect();
    parts.retain(|(_, wire)| !wire.is_empty());
    let Some((last_task, last)) = parts.pop() else { return smallvec![(0, batch)] };
    let mut pieces: Pieces = parts.into_iter().map(|(task, wire)| (task, batch.branch(Payload::Wire(wire)))).collect();
    pieces.push((last_task, batch.map(|_| Payload::Wire(last))));
    pieces
}

/// The task for a key. Keys may be small numbers or parts of ids, so they are mixed first (the finaliser of MurmurHash3);
/// the high half of the product takes every task equally often without a division.
fn place(key: u64, tasks: usize) -> usize {
    let mut mixed = key;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^= mixed >> 33;
    let high = (u128::from(mixed) * tasks as u128) >> 64;
    usize::try_from(high).expect("it is below the number of tasks")
}

impl Input {
    /// The next batch, or none when the input has ended. For tests and for what is no stage; a stage asks
    /// [`StageContext::next`], which counts what it holds.
    pub async fn next(&mut self) -> Option<Batch> {
        if self.received.is_empty() {
            self.received = self.batches.recv().await?;
            self.received.reverse();
        }
        let batch = self.received.pop()?;
        if let Some(telemetry) = &self.telemetry {
            telemetry.received(&batch);
        }
        self.account.received(&batch);
        Some(batch)
    }

    /// The ledger of the stage that reads this.
    pub fn account(&self) -> &Arc<StageAccount> {
        &self.account
    }
}

impl StageContext {
    /// What a task that reads `input` is handed.
    pub fn new(
        id: ComponentId,
        input: &Input,
        outputs: Vec<Output>,
        draining: CancellationToken,
        telemetry: Arc<ComponentTelemetry>,
    ) -> Self {
        let account = Arc::clone(&input.account);
        let outputs = outputs.into_iter().map(|output| output.counted_in(Arc::clone(&account))).collect();
        Self { id, outputs, draining, telemetry, account, waker: Waker::default(), told_draining: false }
    }

    /// What wakes this task.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits for whatever comes first; `due` is when the task wants to be woken at the latest. Times and wake-ups come
    /// before batches, so that a full input cannot hold them off.
    pub async fn next(&mut self, input: &mut Input, due: Option<Instant>) -> Event {
        let timer = async {
            match due {
                Some(time) => tokio::time::sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.draining.cancelled(), if !self.told_draining => {
                self.told_draining = true;
                Event::Draining
            }
            () = timer => Event::Due,
            () = self.waker.0.notified() => Event::Woken,
            batch = input.next() => batch.map_or(Event::End, |taken| Event::Batch(self.account.hold(taken))),
        }
    }
}

impl Waker {
    /// Wakes the task, now or when it looks next.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl fmt::Debug for StageInlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StageInlet").field("id", &self.id).field("tasks", &self.tasks.len()).finish()
    }
}

#[cfg(test)]
mod tests;
