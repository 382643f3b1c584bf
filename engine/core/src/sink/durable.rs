//! A sink whose buffer is on disk: what is written, what of it stays in memory, what is read again.
//!
//! A payload is answered when it is on disk. It stays in memory, from where it is sent, while the memory share of the buffer
//! has room and everything before it has been read; else it is read in its turn. Not here: files (`store`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use engine_config::WhenFull;
use otlp::Wire;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::part::{Exit, Item};
use super::store::{FrameId, Keeping, ReadFrame, Recovered, Store, StoreOwner, Written};
use super::{DAMAGED, Driver, IO_ERROR, Room};
use crate::batch::Debts;
use crate::outcome::Outcome;

/// How long a payload may be on its way to the disk before whoever sent it is told to come again.
const WRITE_LIMIT: Duration = Duration::from_secs(2);
/// How often that is looked at while something is on its way.
const WRITE_CHECK: Duration = Duration::from_millis(250);
/// The most bytes that are read at once.
const READ_AT_ONCE: usize = 1024 * 1024;

/// A driver's side of its store.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) store: Arc<dyn Store>,
    /// Something is to be read, or is on its way to the disk.
    pub(super) work: Notify,
    /// Whether what is on disk stands in the ledger of this sink already, or in that of the one that hands it over.
    is_accounted: AtomicBool,
    writes: Mutex<Writes>,
}

/// Payloads on their way to the disk.
#[derive(Debug, Default)]
struct Writes {
    queue: VecDeque<Arc<Writing>>,
    /// Somebody looks after them now and then, and need not be woken for one more.
    is_watched: bool,
}

/// In whose ledger it stands what a store holds when a sink gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accounted {
    /// In that of this sink.
    Here,
    /// In another one, until it is handed over.
    Elsewhere,
}

/// A frame of which the items in memory are parts; completed when all of them are settled.
#[derive(Debug)]
pub(super) struct OnDisk {
    store: Arc<dyn Store>,
    frame: FrameId,
    unsettled: AtomicU64,
}

/// A payload on its way to the disk.
struct Writing {
    driver: Arc<Driver>,
    part: usize,
    since: Instant,
    /// Gone once it was answered.
    payload: Mutex<Option<Payload>>,
}

struct Payload {
    wire: Wire,
    debts: Debts,
    room: Room,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Writing").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Durable {
    /// What is on disk is read only where it is `accounted` for.
    pub(super) fn new(store: Arc<dyn Store>, accounted: Accounted) -> Self {
        let is_accounted = AtomicBool::new(accounted == Accounted::Here);
        Self { store, work: Notify::new(), is_accounted, writes: Mutex::default() }
    }

    /// What is on disk has been handed over.
    pub(super) fn taken_over(&self) {
        self.is_accounted.store(true, Ordering::Release);
        self.work.notify_one();
    }

    fn remember(&self, writing: Arc<Writing>) {
        let mut writes = self.writes.lock();
        while writes.queue.pop_front_if(|first| first.payload.lock().is_none()).is_some() {}
        writes.queue.push_back(writing);
        let was_watched = std::mem::replace(&mut writes.is_watched, true);
        drop(writes);
        if !was_watched {
            self.work.notify_one();
        }
    }

    /// Takes out what has been on its way for too long; says whether anything is on its way still.
    fn late(&self) -> (Vec<Arc<Writing>>, bool) {
        let mut writes = self.writes.lock();
        let mut late = Vec::new();
        while let Some(first) =
            writes.queue.pop_front_if(|first| first.since.elapsed() > WRITE_LIMIT || first.payload.lock().is_none())
        {
            late.push(first);
        }
        writes.is_watched = !writes.queue.is_empty();
        (late, writes.is_watched)
    }
}

impl OnDisk {
    fn new(store: &Arc<dyn Store>, frame: FrameId) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), frame, unsettled: AtomicU64::new(frame.records) })
    }

    /// So many records of the frame have gone for good.
    pub(super) fn settle(&self, records: u64) {
        if records > 0 && self.unsettled.fetch_sub(records, Ordering::AcqRel) == records {
            self.store.complete(self.frame);
        }
    }
}

impl Driver {
    /// Counts what another process left.
    pub(super) fn recover(&self, recovered: Recovered) {
        self.last_part().recovered(recovered.records, recovered.damaged);
        if recovered.records > 0 {
            tracing::info!(sink = %self.id, records = recovered.records, "records are on disk from before");
        }
    }

    /// Has a payload written. It is answered when it is on disk.
    pub(super) fn write(self: &Arc<Self>, durable: &Durable, wire: Wire, debts: Debts, mut room: Room) {
        let part = self.part_index();
        self.parts[part].enter_store(wire.records());
        let taken = std::mem::take(&mut room.on_disk);
        let payload = Payload { wire: wire.clone(), debts, room };
        let writing = Arc::new(Writing {
            driver: Arc::clone(self),
            part,
            since: Instant::now(),
            payload: Mutex::new(Some(payload)),
        });
        durable.remember(Arc::clone(&writing));
        durable.store.append(wire, taken, writing);
    }

    /// Brings what is on disk into memory as there is room, and gives up on writes that take too long, until the end.
    pub(super) async fn feed(self: Arc<Self>) {
        let Some(durable) = &self.durable else { return };
        for earlier in &self.after {
            tokio::select! {
                () = earlier.cancelled() => {}
                () = self.closing.cancelled() => return,
            }
        }
        loop {
            let freed = self.freed.notified();
            let (late, pending) = durable.late();
            late.iter().for_each(|writing| writing.give_up("the disk does not answer"));
            if self.closing.is_cancelled() {
                if !pending {
                    return;
                }
            } else if let Some(most) = self.readable(durable) {
                let (answer, mut found) = oneshot::channel();
                // Nobody hears of it only when this task is gone, at the end of the process.
                durable.store.read(most, Box::new(move |frames| drop(answer.send(frames))));
                // A disk that does not answer holds neither those who wait for a write nor the end.
                let frames = loop {
                    tokio::select! {
                        frames = &mut found => break frames.unwrap_or_default(),
                        () = tokio::time::sleep(WRITE_CHECK) => {
                            durable.late().0.iter().for_each(|writing| writing.give_up("the disk does not answer"));
                        }
                        () = self.abort.cancelled() => return,
                    }
                };
                if !frames.is_empty() {
                    self.take_in(durable, frames);
                    continue;
                }
                // Nothing but lost frames, or a disk that cannot be read now.
                tokio::select! {
                    () = tokio::time::sleep(WRITE_CHECK) => {}
                    () = self.closing.cancelled() => {}
                }
                continue;
            }
            tokio::select! {
                () = durable.work.notified() => {}
                // Room is of use only where there is something to read; when that comes, `work` says so.
                () = freed, if durable.store.has_unread() => {}
                () = tokio::time::sleep(WRITE_CHECK), if pending => {}
                () = self.closing.cancelled(), if !self.closing.is_cancelled() => {}
            }
        }
    }

    /// How many bytes can be read now, if that is worth it.
    fn readable(&self, durable: &Durable) -> Option<usize> {
        if !durable.is_accounted.load(Ordering::Acquire) {
            return None;
        }
        let max = self.max_buffer();
        let free = max.saturating_sub(self.buffered.load(Ordering::Acquire));
        (durable.store.has_unread() && free >= max / 2).then(|| free.min(READ_AT_ONCE))
    }

    fn take_in(self: &Arc<Self>, durable: &Durable, frames: Vec<ReadFrame>) {
        for (number, ReadFrame { frame, wire, age }) in frames.into_iter().enumerate() {
            let on_disk = Some(OnDisk::new(&durable.store, frame));
            let now = Instant::now();
            let since = now.checked_sub(age).unwrap_or(now);
            let room = Arc::new(self.room_for_read(wire.len()));
            let item = Item { wire, debts: Debts::default(), since, room, on_disk };
            // Each goes out on a lane; the last part is the shared runtime's.
            let part = number % (self.parts.len() - 1).max(1);
            if self.parts[part].take_from_store(item, &self.settings.batching).is_err() {
                // It stays on disk, for the next process.
                return;
            }
        }
    }

    /// Settles what could not be written. Where other sinks go on it is lost here, and comes again if none of them has it.
    fn not_written(&self, part: usize, payload: Payload, reason: &str) {
        let records = payload.wire.records();
        self.telemetry.error(IO_ERROR, reason);
        let after = Some(Duration::from_secs(1));
        if self.is_when_full(WhenFull::DropNewest) || self.is_when_full(WhenFull::DropOldest) {
            self.parts[part].leave_store(Exit::Dropped(IO_ERROR, records));
            return payload.debts.answer_unkept(after, reason);
        }
        self.parts[part].leave_store(Exit::Returned(records));
        payload.debts.answer(&Outcome::Retry { after, reason: reason.to_owned() });
    }
}

impl Writing {
    fn give_up(&self, reason: &str) {
        if let Some(payload) = self.payload.lock().take() {
            self.driver.not_written(self.part, payload, reason);
        }
    }
}

impl Written for Writing {
    fn written(self: Arc<Self>, frame: FrameId, in_turn: bool) -> Keeping {
        let driver = &self.driver;
        let Some(durable) = &driver.durable else { return Keeping::OnDisk };
        let Some(Payload { wire, debts, mut room }) = self.payload.lock().take() else {
            // Whoever sent it has been told to come again.
            return Keeping::Nowhere;
        };
        let mut keeping = Keeping::OnDisk;
        if in_turn && !driver.closing.is_cancelled() && room.grow(wire.len()) {
            let (wire, kept) = driver.kept(wire, &debts, room.bytes);
            let on_disk = Some(OnDisk::new(&durable.store, frame));
            let item = Item { wire, debts: kept, since: self.since, room: Arc::new(room), on_disk };
            if driver.parts[self.part].take_from_store(item, &driver.settings.batching).is_ok() {
                keeping = Keeping::InMemory;
            }
        }
        if keeping == Keeping::OnDisk {
            durable.work.notify_one();
        }
        debts.answer(&Outcome::Delivered);
        keeping
    }

    fn failed(self: Arc<Self>, reason: &str) {
        self.give_up(reason);
    }

    fn is_wanted(&self) -> bool {
        self.payload.lock().is_some()
    }
}

impl StoreOwner for Driver {
    fn readable(&self) {
        if let Some(durable) = &self.durable {
            durable.work.notify_one();
        }
    }

    fn freed(&self) {
        self.freed.notify_waiters();
    }

    fn lost(&self, reason: &'static str, records: u64) {
        if reason == DAMAGED {
            tracing::error!(sink = %self.id, records, "records on disk are damaged and lost");
            self.telemetry.error(DAMAGED, format!("{records} records on disk are damaged and lost"));
        }
        self.last_part().leave_store(Exit::Dropped(reason, records));
        self.freed.notify_waiters();
    }
}
