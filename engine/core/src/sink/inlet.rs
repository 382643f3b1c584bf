//! The entrance of a sink: room is asked for first, then a batch is committed to it.
//!
//! Not here: what becomes of a batch that was taken.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine_config::{Acknowledge, WhenFull};
use otlp::Wire;
use tokio_util::sync::DropGuard;

use super::part::Item;
use super::{Driver, SHUTDOWN, UNENCODABLE, kept};
use crate::batch::{Batch, Debts};
use crate::edge::FULL;
use crate::outcome::{Outcome, RejectionKind};

/// What keeping an item costs beside its encoded bytes: itself in a queue that grows by doubling, and the allocations of
/// its room and of its bytes. Most of what a sink holds may be tiny, and then this is most of the memory.
const KEEPING: usize = size_of::<Item>() * 3 / 2 + size_of::<Room>() + 64;

/// The entrance of a sink: takes batches, from any lane.
pub struct SinkInlet {
    pub(super) driver: Arc<Driver>,
    /// Tells the driver that nobody can send any more.
    pub(super) _left: DropGuard,
}

/// Room in the buffer, given back on drop.
#[derive(Debug)]
pub struct Room {
    driver: Arc<Driver>,
    /// In memory.
    pub(super) bytes: usize,
    /// In the store, until something is appended there.
    pub(super) on_disk: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The buffer is full.
    Full,
    /// The sink is ending.
    Closed,
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
        self.driver.is_when_full(WhenFull::DropNewest) || self.driver.is_when_full(WhenFull::DropOldest)
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
        let room = match &driver.durable {
            Some(durable) => {
                let on_disk = encoded.saturating_add(batches.saturating_mul(durable.store.overhead()));
                durable.store.reserve(on_disk).ok().map(|()| {
                    // What is on its way to the disk is still charged as a request in flight.
                    let bytes = batches.saturating_mul(KEEPING);
                    driver.buffered.fetch_add(bytes, Ordering::AcqRel);
                    Room { driver: Arc::clone(driver), bytes, on_disk }
                })
            }
            None => driver.room_for(bytes),
        };
        match room {
            Some(room) => Ok(room),
            // Room may come too late for whoever waits, and the next batch may go elsewhere.
            None if driver.leaving.load(Ordering::Relaxed) => Err(NoRoom::Closed),
            None => Err(NoRoom::Full),
        }
    }

    /// Resolves when room may have appeared since this call.
    pub fn freed(&self) -> impl Future<Output = ()> + Send + 'static {
        Arc::clone(&self.driver.freed).notified_owned()
    }

    /// Takes a batch into the queue of the lane this is called on. With [`Acknowledge::Buffered`] it is answered now.
    pub fn commit(&self, batch: Batch, room: Room) {
        self.commit_all([batch], room);
    }

    /// Takes batches for which room was reserved together.
    pub(crate) fn commit_all(&self, batches: impl IntoIterator<Item = Batch>, room: Room) {
        let Some(durable) = &self.driver.durable else {
            let shared = Arc::new(room);
            batches.into_iter().for_each(|batch| self.commit_one(batch, Arc::clone(&shared)));
            return;
        };
        let mut left = room;
        for batch in batches {
            let Some((wire, debts)) = self.received(batch) else { continue };
            let room = left.split_off(wire.len().saturating_add(durable.store.overhead()));
            self.driver.write(durable, wire, debts, room);
        }
    }

    /// Counts a batch that comes in; none where it has no bytes, which is answered.
    fn received(&self, batch: Batch) -> Option<(Wire, Debts)> {
        let driver = &self.driver;
        driver.telemetry.received(&batch);
        if driver.dropping.load(Ordering::Relaxed) && driver.dropping.swap(false, Ordering::Relaxed) {
            tracing::info!(sink = %driver.id, "records are taken again");
        }
        let (payload, debts) = batch.into_parts();
        let records = payload.records();
        match payload.into_wire() {
            Ok(wire) => Some((wire, debts)),
            Err(error) => {
                driver.telemetry.error(UNENCODABLE, error.to_string());
                driver.part().drop_at_entrance(UNENCODABLE, records);
                debts.answer(&Outcome::rejected(RejectionKind::Invalid, error.to_string()));
                None
            }
        }
    }

    fn commit_one(&self, batch: Batch, room: Arc<Room>) {
        let driver = &self.driver;
        let Some((wire, debts)) = self.received(batch) else { return };
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

    /// Loses a piece at the entrance: accepted by selection, dropped for `reason`. Either `others_take`
    /// it, or it is lost on purpose.
    pub fn drop_at_entrance(&self, batch: Batch, reason: &'static str, others_take: bool) {
        let driver = &self.driver;
        if !driver.dropping.swap(true, Ordering::Relaxed) {
            tracing::warn!(sink = %driver.id, reason, "records are dropped, because other sinks go on without this one");
        }
        driver.part().drop_at_entrance(reason, batch.records());
        match others_take {
            true => batch.into_parts().1.answer_unkept(None, reason),
            false => batch.answer(&Outcome::Delivered),
        }
    }
}

impl Driver {
    /// Room in memory; where the oldest make room, after they have.
    fn room_for(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let max = self.max_buffer();
        let fits = |used: usize| {
            let is_let_in_beyond = bytes > max && (used < max || used == 0);
            used.checked_add(bytes).filter(|sum| *sum <= max || is_let_in_beyond)
        };
        let taken = || self.buffered.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok();
        let has_room = taken() || (self.is_when_full(WhenFull::DropOldest) && self.drop_oldest(bytes) && taken());
        has_room.then(|| Room { driver: Arc::clone(self), bytes, on_disk: 0 })
    }

    /// Room for what was read from the disk. It was asked for before, and a frame may be larger than what is left.
    pub(super) fn room_for_read(self: &Arc<Self>, encoded: usize) -> Room {
        let bytes = encoded.saturating_add(KEEPING);
        self.buffered.fetch_add(bytes, Ordering::AcqRel);
        Room { driver: Arc::clone(self), bytes, on_disk: 0 }
    }

    /// Drops what has waited longest until so many bytes are free, and says whether anything was dropped.
    fn drop_oldest(&self, bytes: usize) -> bool {
        let mut freed = 0;
        while freed < bytes {
            let parts = self.parts.iter().filter_map(|part| Some((part.oldest()?, part)));
            let Some((_, part)) = parts.min_by_key(|(since, _)| *since) else { break };
            match part.drop_oldest(FULL) {
                Some(item) => freed += item.room.bytes,
                None => break,
            }
        }
        if freed > 0 && !self.dropping.swap(true, Ordering::Relaxed) {
            tracing::warn!(sink = %self.id, reason = FULL, "the oldest records are dropped to make room for new ones");
        }
        freed > 0
    }
}

impl Room {
    /// The room of one payload out of that of several, with so many bytes on disk.
    fn split_off(&mut self, on_disk: usize) -> Self {
        let (bytes, on_disk) = (self.bytes.min(KEEPING), self.on_disk.min(on_disk));
        self.bytes -= bytes;
        self.on_disk -= on_disk;
        Self { driver: Arc::clone(&self.driver), bytes, on_disk }
    }

    /// Makes it larger by so many bytes, if there is room in memory.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let max = self.driver.max_buffer();
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= max);
        let has_room = self.driver.buffered.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok();
        if has_room {
            self.bytes += bytes;
        }
        has_room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(durable) = self.driver.durable.as_ref().filter(|_| self.on_disk > 0) {
            durable.store.give_back(self.on_disk);
        }
        self.driver.buffered.fetch_sub(self.bytes, Ordering::AcqRel);
        self.driver.freed.notify_waiters();
    }
}

impl fmt::Debug for SinkInlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SinkInlet").field("id", &self.driver.id).finish_non_exhaustive()
    }
}
