//! The sink driver: everything between a sink's entrance and its `deliver`.
//!
//! It owns the memory queue (bounded in bytes), says when success is declared, joins what waits into requests,
//! limits how many are under way, tries again, and finds the bad part of a request by halves. A driver has one part a
//! lane, so that a batch is delivered where it was admitted; bytes and concurrency are shared. Not here: protocols.

mod apart;
mod batching;
mod gate;
mod handle;
mod kept;
mod part;
mod request;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traced_tests;

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use engine_config::{Acknowledge, SinkSettings, WhenFull};
use futures::FutureExt;
use otlp::{Payload, Wire};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use batching::Batching;
pub use gate::Backoff;
pub use handle::{Drained, SinkHandle, SinkHistory};

use crate::batch::{Batch, Debts};
use crate::contract::Sink;
use crate::edge::panic_message;
use crate::lane::{self, Lanes};
use crate::ledger::Line;
use crate::outcome::{Outcome, RejectionKind};
use crate::telemetry::ComponentTelemetry;
use apart::Apart;
use gate::Gate;
use part::{Item, Part, Ready};
use request::Request;

/// Reason for records that were answered OK, still in memory when the process had to end, and are lost.
pub const SHUTDOWN: &str = "shutdown";
/// Reason for records the far end rejected out of a request it otherwise took.
pub const PARTIAL: &str = "partial";
/// Reason for records that were tried for longer than configured.
pub const EXPIRED: &str = "expired";
/// Reason for records whose payload cannot be encoded for the wire.
pub const UNENCODABLE: &str = "unencodable";

/// The longest a sender is kept waiting for an answer while the far end does not take its data; then it is told to
/// come again.
pub const HOLD: Duration = Duration::from_secs(5);

/// What a sink gets to finish when its deliveries have used up the time of a drain.
const FINISH_AT_LEAST: Duration = Duration::from_secs(1);

/// What keeping an item costs beside its encoded bytes: itself in a queue that grows by doubling, and the allocations of
/// its room and of its bytes. Most of what a sink holds may be tiny, and then this is most of the memory.
const KEEPING: usize = size_of::<Item>() * 3 / 2 + size_of::<Room>() + 64;

/// How a sink is driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverSettings {
    /// When success is declared.
    pub acknowledge: Acknowledge,
    /// What happens when the queue is full.
    pub when_full: WhenFull,
    /// The most bytes held, queued and in flight: encoded bytes, and what keeping each batch costs.
    pub max_buffer: usize,
    /// How requests are made of what waits.
    pub batching: Batching,
    /// The most requests under way at once.
    pub concurrency: usize,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// How long one request is tried; without it for ever.
    pub max_elapsed: Option<Duration>,
}

/// The entrance of a sink: takes batches, from any lane.
pub struct SinkInlet {
    driver: Arc<Driver>,
    /// Tells the driver that nobody can send any more.
    _left: DropGuard,
}

/// What a sink that takes over from others has of them.
#[derive(Clone, Debug, Default)]
pub struct Succession {
    /// Where the ledger goes on.
    pub history: SinkHistory,
    /// Whom the first delivery waits for, because both write to the same place.
    pub after: Vec<CancellationToken>,
}

/// Room in the buffer, given back on drop.
#[derive(Debug)]
pub struct Room {
    driver: Arc<Driver>,
    bytes: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The buffer is full.
    Full,
    /// The sink is ending.
    Closed,
}

struct Driver {
    id: String,
    sink: Box<dyn Sink>,
    settings: DriverSettings,
    telemetry: Arc<ComponentTelemetry>,
    parts: Vec<Part>,
    gate: Gate,
    apart: Apart,
    after: Vec<CancellationToken>,
    permits: Arc<Semaphore>,
    buffered: AtomicUsize,
    freed: Arc<Notify>,
    closed: AtomicBool,
    /// Nobody is to wait for room here any more.
    leaving: AtomicBool,
    /// Cancelled when the last route to this sink is gone.
    left: CancellationToken,
    max_buffer: AtomicUsize,
    when_full: AtomicU8,
    closing: CancellationToken,
    abort: CancellationToken,
    requests: TaskTracker,
    degraded: AtomicBool,
    dropping: AtomicBool,
}

/// Starts a sink's driver: one part on each lane and one on the runtime this is called on.
pub fn start(
    id: &str,
    sink: Box<dyn Sink>,
    settings: DriverSettings,
    telemetry: Arc<ComponentTelemetry>,
    lanes: &Lanes,
) -> (SinkInlet, SinkHandle) {
    start_after(id, sink, settings, telemetry, lanes, Succession::default())
}

/// The same for a sink that takes over from another one.
pub fn start_after(
    id: &str,
    sink: Box<dyn Sink>,
    settings: DriverSettings,
    telemetry: Arc<ComponentTelemetry>,
    lanes: &Lanes,
    succession: Succession,
) -> (SinkInlet, SinkHandle) {
    let driver = Arc::new(Driver {
        id: id.to_owned(),
        sink,
        gate: Gate::new(settings.backoff),
        apart: Apart::default(),
        permits: Arc::new(Semaphore::new(settings.concurrency.max(1))),
        max_buffer: AtomicUsize::new(settings.max_buffer),
        when_full: AtomicU8::new(settings.when_full as u8),
        leaving: AtomicBool::new(false),
        left: CancellationToken::new(),
        after: succession.after,
        settings,
        telemetry,
        parts: (0..=lanes.count()).map(|_| Part::default()).collect(),
        buffered: AtomicUsize::new(0),
        freed: Arc::default(),
        closed: AtomicBool::new(false),
        closing: CancellationToken::new(),
        abort: CancellationToken::new(),
        requests: TaskTracker::new(),
        degraded: AtomicBool::new(false),
        dropping: AtomicBool::new(false),
    });
    let parts = TaskTracker::new();
    for lane in lanes.iter() {
        lane.spawn(parts.track_future(Arc::clone(&driver).drive(lane.id().0)));
    }
    tokio::spawn(parts.track_future(Arc::clone(&driver).drive(lanes.count())));
    parts.close();
    let left = driver.left.clone().drop_guard();
    let handle = SinkHandle::of(Arc::clone(&driver), parts, succession.history);
    (SinkInlet { driver, _left: left }, handle)
}

impl From<&SinkSettings> for DriverSettings {
    fn from(settings: &SinkSettings) -> Self {
        let size = |bytes: engine_config::ByteSize| usize::try_from(bytes.0).unwrap_or(usize::MAX);
        let batching = settings.batch.map_or(Batching::NONE, |batch| Batching {
            max_size: size(batch.max_size),
            max_records: batch.max_records.map_or(u64::MAX, std::num::NonZeroU64::get),
            timeout: batch.timeout,
        });
        Self {
            acknowledge: settings.acknowledge,
            when_full: settings.buffer.when_full,
            max_buffer: size(settings.buffer.max_size),
            batching,
            concurrency: usize::try_from(settings.concurrency.get()).unwrap_or(usize::MAX),
            backoff: Backoff { initial: settings.retry.initial_interval, max: settings.retry.max_interval },
            max_elapsed: settings.retry.max_elapsed,
        }
    }
}

impl SinkInlet {
    /// The sink's id, by which takers are ordered.
    pub fn id(&self) -> &str {
        &self.driver.id
    }

    /// Whether a sender waits when the buffer is full.
    pub fn blocks(&self) -> bool {
        self.driver.is_when_full(WhenFull::Block)
    }

    /// Whether a piece is dropped when the buffer is full, even if nobody else takes it.
    pub fn drops(&self) -> bool {
        self.driver.is_when_full(WhenFull::DropNewest)
    }

    /// Room for one batch of `bytes` encoded bytes. What is larger than the whole buffer gets in as soon as the buffer is not
    /// full: if it had to wait for an empty one, it would never get into that of a busy sink. So the buffer passes its size
    /// by one such batch at most.
    pub fn reserve(&self, bytes: usize) -> Result<Room, NoRoom> {
        self.reserve_for(1, bytes)
    }

    /// Room for several batches that have `encoded` bytes together.
    pub(crate) fn reserve_for(&self, batches: usize, encoded: usize) -> Result<Room, NoRoom> {
        let driver = &self.driver;
        let bytes = encoded.saturating_add(batches.saturating_mul(KEEPING));
        if driver.closed.load(Ordering::Acquire) {
            return Err(NoRoom::Closed);
        }
        let max = driver.max_buffer();
        let fits = |used: usize| {
            let is_let_in_beyond = bytes > max && (used < max || used == 0);
            used.checked_add(bytes).filter(|sum| *sum <= max || is_let_in_beyond)
        };
        match driver.buffered.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Room { driver: Arc::clone(driver), bytes }),
            // Room may come too late for whoever waits, and the next batch may go elsewhere.
            Err(_) if driver.leaving.load(Ordering::Relaxed) => Err(NoRoom::Closed),
            Err(_) => Err(NoRoom::Full),
        }
    }

    /// Resolves when room may have appeared since this call.
    pub fn freed(&self) -> impl Future<Output = ()> + Send + 'static {
        Arc::clone(&self.driver.freed).notified_owned()
    }

    /// Takes a batch into the queue of the lane this is called on. With [`Acknowledge::Buffered`] it is answered now.
    pub fn commit(&self, batch: Batch, room: Room) {
        self.commit_one(batch, Arc::new(room));
    }

    /// Takes batches for which room was reserved together.
    pub(crate) fn commit_all(&self, batches: impl IntoIterator<Item = Batch>, room: Room) {
        let shared = Arc::new(room);
        batches.into_iter().for_each(|batch| self.commit_one(batch, Arc::clone(&shared)));
    }

    fn commit_one(&self, batch: Batch, room: Arc<Room>) {
        let driver = &self.driver;
        driver.telemetry.received(&batch);
        if driver.dropping.load(Ordering::Relaxed) && driver.dropping.swap(false, Ordering::Relaxed) {
            tracing::info!(sink = %driver.id, "records are taken again");
        }
        let (payload, debts) = batch.into_parts();
        let records = payload.records();
        let wire = match payload.into_wire() {
            Ok(wire) => wire,
            Err(error) => {
                driver.telemetry.error(UNENCODABLE, error.to_string());
                driver.part().drop_at_entrance(UNENCODABLE, records);
                return debts.answer(&Outcome::rejected(RejectionKind::Invalid, error.to_string()));
            }
        };
        if driver.settings.acknowledge == Acknowledge::Delivered {
            if let Err(late) = driver.enqueue(wire, debts, room) {
                late.debts.answer(&Outcome::retry(SHUTDOWN));
            }
            return;
        }
        // Queued first, answered then: whoever is told OK can rely on it. From here on the buffer accounts for the
        // bytes, and the charge of the request is given back with its debts, but for what `kept` says.
        let (wire, kept) = driver.kept(wire, &debts, room.bytes);
        let is_slice = kept::is_slice(&wire);
        match driver.enqueue(wire, kept, room) {
            Ok(()) => {
                if is_slice && !driver.gate.is_open() {
                    // The gate has closed meanwhile, and whoever closed it may have looked here already.
                    driver.part().keep_alone(driver.max_buffer());
                }
                debts.answer(&Outcome::Delivered);
            }
            Err(_) => debts.answer(&Outcome::retry(SHUTDOWN)),
        }
    }

    /// Counts a piece that was turned away with the answer Retry.
    pub fn refused(&self, records: u64) {
        self.driver.part().refused(records);
    }

    /// Loses a piece at the entrance: accepted by selection, dropped for `reason`.
    pub fn drop_at_entrance(&self, batch: Batch, reason: &'static str) {
        let driver = &self.driver;
        if !driver.dropping.swap(true, Ordering::Relaxed) {
            tracing::warn!(sink = %driver.id, reason, "records are dropped, because other sinks go on without this one");
        }
        driver.part().drop_at_entrance(reason, batch.records());
        batch.answer(&Outcome::Delivered);
    }
}

impl Driver {
    /// What this sink alone has counted.
    fn line(&self) -> Line {
        let mut line = Line::default();
        self.parts.iter().for_each(|part| line.add(&part.line()));
        line
    }

    fn part(&self) -> &Part {
        let last = self.parts.len() - 1;
        &self.parts[lane::current().map_or(last, |id| id.0.min(last))]
    }

    fn max_buffer(&self) -> usize {
        self.max_buffer.load(Ordering::Relaxed)
    }

    fn is_when_full(&self, what: WhenFull) -> bool {
        self.when_full.load(Ordering::Relaxed) == what as u8
    }

    fn wake_parts(&self) {
        for part in &self.parts {
            part.work.notify_one();
        }
    }

    fn enqueue(&self, wire: Wire, debts: Debts, room: Arc<Room>) -> Result<(), Box<Item>> {
        let item = Item { wire, debts, since: Instant::now(), room };
        self.part().accept(item, &self.settings.batching)
    }

    /// One part's loop: waits for a request's worth, for leave, and starts the request.
    async fn drive(self: Arc<Self>, index: usize) {
        let part = &self.parts[index];
        for earlier in &self.after {
            tokio::select! {
                () = earlier.cancelled() => {}
                () = self.abort.cancelled() => break,
            }
        }
        loop {
            if self.abort.is_cancelled() {
                return part.end(SHUTDOWN);
            }
            match part.ready(&self.batching_now()) {
                Ready::Empty if self.closing.is_cancelled() => {
                    let freed = self.freed.notified();
                    // Room that is still reserved may yet be committed, here or on another part.
                    if self.buffered.load(Ordering::Acquire) == 0 {
                        return part.end(SHUTDOWN);
                    }
                    tokio::select! {
                        () = freed => {}
                        () = part.work.notified() => {}
                    }
                }
                Ready::Empty => part.work.notified().await,
                Ready::At(due) => tokio::select! {
                    () = part.work.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                Ready::Now(signal) => tokio::select! {
                    biased;
                    permit = self.leave_to_send() => {
                        if let Some(items) = part.take(signal, &self.batching_now()) {
                            let request = Request::new(Arc::clone(&self), index);
                            tokio::spawn(self.requests.track_future(request.run(items, permit)));
                        }
                    }
                    () = self.abort.cancelled() => {}
                    () = part.overdue(HOLD) => part.return_overdue(HOLD),
                },
            }
        }
    }

    /// A permit, once the gate lets somebody pass: behind a closed gate items stay in the queue, where they can still
    /// be joined.
    async fn leave_to_send(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("permits are never closed");
        self.gate.passable().await;
        permit
    }

    /// Has the sink make final what it took, and counts when it fails, panics or hangs.
    async fn finish(&self, deadline: Instant) -> Result<(), String> {
        // The call itself may panic too, before it has made a future.
        let finish = AssertUnwindSafe(async { self.sink.finish().await }).catch_unwind();
        let reason = match tokio::time::timeout_at(deadline, finish).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(panic)) => {
                let message = panic_message(panic.as_ref());
                self.telemetry.panicked(message.clone());
                message
            }
            Err(_) => "it had not finished at the deadline".to_owned(),
        };
        self.telemetry.error("finish", reason.clone());
        Err(reason)
    }

    /// While draining nothing waits for company, and where many parts are rejected nothing gets any.
    fn batching_now(&self) -> Batching {
        if self.apart.holds() {
            return Batching::NONE;
        }
        let mut batching = self.settings.batching;
        if self.closing.is_cancelled() {
            batching.timeout = Duration::ZERO;
        }
        batching
    }

    fn payload_of(items: &[Item]) -> Payload {
        let wires = items.iter().map(|item| item.wire.clone());
        Payload::Wire(Wire::concat(wires))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.driver.buffered.fetch_sub(self.bytes, Ordering::AcqRel);
        self.driver.freed.notify_waiters();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Driver").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for SinkInlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SinkInlet").field("id", &self.driver.id).finish_non_exhaustive()
    }
}
