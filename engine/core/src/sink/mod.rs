//! The sink driver: everything between a sink's entrance and its `deliver`.
//!
//! It owns the memory queue (bounded in bytes), says when success is declared, joins what waits into requests,
//! limits how many are under way, tries again, and finds the bad part of a request by halves. A driver has one part a
//! lane, so that a batch is delivered where it was admitted; bytes and concurrency are shared. Not here: protocols.

mod apart;
mod batching;
#[cfg(test)]
mod buffer_tests;
mod durable;
mod gate;
mod handle;
mod inlet;
mod kept;
mod part;
mod request;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traced_tests;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use engine_config::{Acknowledge, SinkSettings, WhenFull};
use futures::FutureExt;
use otlp::{Payload, Wire};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use batching::Batching;
pub use gate::Backoff;
pub use handle::{Drained, SinkHandle, SinkHistory};
pub use inlet::{NoRoom, Room, SinkInlet};
pub use store::{FrameId, Keeping, NoStore, ReadFrame, Recovered, Store, StoreLimits, StoreOwner, StoreState, Written};

use crate::batch::Debts;
use crate::contract::Sink;
use crate::edge::panic_message;
use crate::lane::{self, Lanes};
use crate::ledger::Line;
use crate::telemetry::ComponentTelemetry;
use apart::Apart;
use durable::{Accounted, Durable};
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

/// Reason for records that could not be written to the disk.
pub const IO_ERROR: &str = "io_error";
/// Reason for records of which the bytes on disk are not those that were written.
pub const DAMAGED: &str = "damaged";

/// The longest a sender is kept waiting for an answer while the far end does not take its data; then it is told to
/// come again.
pub const HOLD: Duration = Duration::from_secs(5);

/// What a sink gets to finish when its deliveries have used up the time of a drain.
const FINISH_AT_LEAST: Duration = Duration::from_secs(1);

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
    /// How long a payload may wait; without it for ever.
    pub max_age: Option<Duration>,
}

/// What a sink that takes over from others has of them.
#[derive(Clone, Debug, Default)]
pub struct Succession {
    /// Where the ledger goes on.
    pub history: SinkHistory,
    /// What is on disk.
    pub store: Option<Arc<dyn Store>>,
    /// Whether another sink of this process has the store too and will hand over.
    pub is_handed_over: bool,
    /// Whom the first delivery waits for, because both write to the same place.
    pub after: Vec<CancellationToken>,
}

struct Driver {
    id: String,
    sink: Box<dyn Sink>,
    settings: DriverSettings,
    telemetry: Arc<ComponentTelemetry>,
    parts: Vec<Part>,
    /// What is on disk.
    durable: Option<Durable>,
    gate: Gate,
    apart: Apart,
    after: Vec<CancellationToken>,
    permits: Arc<Semaphore>,
    buffered: AtomicUsize,
    freed: Arc<Notify>,
    closed: AtomicBool,
    /// Nobody is to wait for room here any more.
    leaving: AtomicBool,
    /// It has ended, and what it has on disk belongs to whoever has the buffer next.
    has_left: AtomicBool,
    /// Cancelled when the last route to this sink is gone.
    left: CancellationToken,
    max_buffer: AtomicUsize,
    when_full: AtomicU8,
    closing: CancellationToken,
    /// What is held goes to another sink.
    handing_over: CancellationToken,
    abort: CancellationToken,
    max_age: MaxAge,
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
    let accounted = match succession.is_handed_over && succession.history.is_new() {
        true => Accounted::Elsewhere,
        false => Accounted::Here,
    };
    let driver = Arc::new(Driver {
        id: id.to_owned(),
        sink,
        gate: Gate::new(settings.backoff),
        apart: Apart::default(),
        permits: Arc::new(Semaphore::new(settings.concurrency.max(1))),
        max_buffer: AtomicUsize::new(settings.max_buffer),
        when_full: AtomicU8::new(settings.when_full as u8),
        leaving: AtomicBool::new(false),
        has_left: AtomicBool::new(false),
        left: CancellationToken::new(),
        after: succession.after,
        durable: succession.store.map(|store| Durable::new(store, accounted)),
        settings,
        telemetry,
        parts: (0..=lanes.count()).map(|_| Part::default()).collect(),
        buffered: AtomicUsize::new(0),
        freed: Arc::default(),
        closed: AtomicBool::new(false),
        closing: CancellationToken::new(),
        handing_over: CancellationToken::new(),
        abort: CancellationToken::new(),
        max_age: MaxAge::default(),
        requests: TaskTracker::new(),
        degraded: AtomicBool::new(false),
        dropping: AtomicBool::new(false),
    });
    driver.max_age.set(driver.settings.max_age);
    let parts = TaskTracker::new();
    if let Some(durable) = &driver.durable {
        if !succession.is_handed_over {
            driver.recover(durable.store.recovered());
            durable.store.belongs_to(Arc::clone(&driver) as Arc<dyn StoreOwner>);
        }
        tokio::spawn(parts.track_future(Arc::clone(&driver).feed()));
    }
    for lane in lanes.iter() {
        lane.spawn(parts.track_future(Arc::clone(&driver).drive(lane.id().0)));
    }
    tokio::spawn(parts.track_future(Arc::clone(&driver).drive(lanes.count())));
    parts.close();
    let left = driver.left.clone().drop_guard();
    let handle = SinkHandle::of(Arc::clone(&driver), parts, succession.history);
    (SinkInlet { driver, _left: left }, handle)
}

/// How long a payload may wait. It can change while others look.
#[derive(Debug, Default)]
struct MaxAge(AtomicU64);

impl MaxAge {
    fn set(&self, most: Option<Duration>) {
        let millis = most.map_or(0, |most| u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1));
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::Relaxed)).filter(|millis| *millis > 0).map(Duration::from_millis)
    }
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
            max_age: settings.disk.and_then(|disk| disk.max_age),
        }
    }
}

impl Driver {
    /// What this sink alone has counted.
    fn line(&self) -> Line {
        let mut line = Line::default();
        self.parts.iter().for_each(|part| line.add(&part.line()));
        if self.has_left.load(Ordering::Acquire) {
            // Nothing is sent from it any more, so it is held by nobody.
            line.counts.left_on_disk += u64::try_from(std::mem::take(&mut line.held.stored)).unwrap_or_default();
        }
        line
    }

    fn part(&self) -> &Part {
        &self.parts[self.part_index()]
    }

    fn part_index(&self) -> usize {
        let last = self.parts.len() - 1;
        lane::current().map_or(last, |id| id.0.min(last))
    }

    /// Where is counted what happens on no lane.
    fn last_part(&self) -> &Part {
        &self.parts[self.parts.len() - 1]
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
        let item = Item { wire, debts, since: Instant::now(), room, on_disk: None };
        self.part().accept(item, &self.settings.batching)
    }

    /// One part's loop: waits for a request's worth, for leave, and starts the request.
    async fn drive(self: Arc<Self>, index: usize) {
        let part = &self.parts[index];
        for earlier in &self.after {
            tokio::select! {
                () = earlier.cancelled() => {}
                () = self.abort.cancelled() => break,
                () = self.handing_over.cancelled() => return,
            }
        }
        loop {
            if self.handing_over.is_cancelled() {
                return;
            }
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
                    () = self.handing_over.cancelled() => {}
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

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Driver").field("settings", &self.settings).finish_non_exhaustive()
    }
}
