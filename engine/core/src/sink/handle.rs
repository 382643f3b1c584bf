//! What the engine holds of a running sink: its ledger, its settings that can change, its end.
//!
//! A sink that takes over from another one of the same id goes on in its ledger, while that one still delivers what it
//! holds. Not here: what happens to a batch (`sink`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine_config::SinkSettings;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::part::Item;
use super::request::answer_all;
use super::store::{Store, StoreLimits, StoreOwner};
use super::{Driver, DriverSettings, FINISH_AT_LEAST, SHUTDOWN};
use crate::ledger::Line;
use crate::outcome::Outcome;

/// A running sink: what ends it.
#[derive(Debug)]
pub struct SinkHandle {
    driver: Arc<Driver>,
    parts: TaskTracker,
    history: SinkHistory,
}

/// The ledger of all sinks that one component has had. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SinkHistory(Arc<Mutex<History>>);

#[derive(Debug, Default)]
struct History {
    /// What those have counted that have ended.
    ended: Line,
    /// Those that have not, the last of them the one that takes.
    running: Vec<Arc<Driver>>,
}

/// How the drain of a sink went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Records that had been answered OK, were in memory only and are lost.
    pub dropped: u64,
    /// Records that stay on disk for the next process.
    pub kept: u64,
    /// Whether the sink made final what it had called delivered. When not, some of that may be lost.
    pub finished: bool,
}

impl SinkHandle {
    pub(super) fn of(driver: Arc<Driver>, parts: TaskTracker, history: SinkHistory) -> Self {
        {
            let mut known = history.0.lock();
            known.fold();
            known.running.push(Arc::clone(&driver));
        }
        Self { driver, parts, history }
    }

    /// The ledger's line: each part's at one moment, added up. No record moves between parts, so the sum balances
    /// under load.
    pub fn line(&self) -> Line {
        let mut history = self.history.0.lock();
        history.fold();
        let mut line = history.ended.clone();
        history.running.iter().for_each(|driver| line.add(&driver.line()));
        line
    }

    /// The ledger, for the next sink of the same component.
    pub fn history(&self) -> SinkHistory {
        self.history.clone()
    }

    /// Changes the sizes of the buffer, what happens when it is full, and how long data may wait. Nothing held is touched: a
    /// buffer that shrank below what it holds takes nothing until it is below again.
    pub fn resettle(&self, settings: &SinkSettings) {
        let DriverSettings { max_buffer, when_full, max_age, .. } = DriverSettings::from(settings);
        self.driver.max_buffer.store(max_buffer, Ordering::Relaxed);
        self.driver.when_full.store(when_full as u8, Ordering::Relaxed);
        self.driver.max_age.set(max_age);
        if let (Some(durable), Some(limits)) = (&self.driver.durable, StoreLimits::of(settings)) {
            durable.store.resettle(limits);
        }
        self.driver.freed.notify_waiters();
    }

    /// What of the buffer is on disk.
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        self.driver.durable.as_ref().map(|durable| &durable.store)
    }

    /// From now on nobody waits for room here, because the next batch may go elsewhere.
    pub fn leave(&self) {
        self.driver.leaving.store(true, Ordering::Relaxed);
        self.driver.freed.notify_waiters();
    }

    /// Resolves when the last route to this sink is gone, so that nothing more can come.
    pub async fn left(&self) {
        self.driver.left.cancelled().await;
    }

    /// Bytes held now: encoded bytes, and what keeping each batch costs.
    pub fn buffered_bytes(&self) -> usize {
        self.driver.buffered.load(Ordering::Acquire)
    }

    /// The most bytes that are held.
    pub fn max_buffer(&self) -> usize {
        self.driver.max_buffer()
    }

    /// Resolves when nothing is held any more, on disk neither, or at the deadline.
    pub async fn emptied(&self, deadline: Instant) {
        let driver = &self.driver;
        let emptied = async {
            loop {
                let freed = driver.freed.notified();
                // By the ledger: what is being read is neither on disk nor in memory for a moment.
                if driver.line().held.total() == 0 && driver.buffered.load(Ordering::Acquire) == 0 {
                    return;
                }
                freed.await;
            }
        };
        drop(tokio::time::timeout_at(deadline, emptied).await);
    }

    /// Takes nothing more, delivers what is in memory until `deadline`, settles the rest (what is on disk stays there; told
    /// Retry where somebody waits, else dropped for [`SHUTDOWN`]) and lets the sink finish in the time that is left, but at
    /// least in a second. Where everything is on disk, a backend that does not answer is not waited for.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        let driver = &self.driver;
        driver.close();
        let held = async {
            self.parts.wait().await;
            driver.requests.close();
            driver.requests.wait().await;
        };
        tokio::pin!(held);
        let has_ended = tokio::select! {
            () = &mut held => true,
            () = driver.gate.closed(), if driver.durable.is_some() => false,
            () = tokio::time::sleep_until(deadline) => false,
        };
        if !has_ended {
            driver.abort.cancel();
            driver.wake_parts();
            held.await;
        }
        let finished = self.finished(deadline).await;
        let line = self.driver.line();
        let mut kept = 0;
        if let Some(durable) = &driver.durable {
            kept = line.held.total();
            let closed = tokio::time::timeout_at(deadline.max(Instant::now() + FINISH_AT_LEAST), durable.store.close());
            if closed.await.is_err() {
                tracing::error!(sink = %driver.id, "the buffer on disk was not closed in time, some of it may be sent twice");
            }
            if kept > 0 {
                tracing::info!(sink = %driver.id, records = kept, "records stay on disk");
            }
        }
        Drained { dropped: line.counts.dropped.get(SHUTDOWN).copied().unwrap_or(0), kept, finished }
    }

    /// Holds nothing from now on: what a [`drain`](Self::drain) has kept on disk is counted as left there. For a sink that
    /// is gone while the process goes on; at the end of the process it is held for the next one.
    pub fn leave_on_disk(&self) {
        self.driver.has_left.store(true, Ordering::Release);
    }

    /// Gives everything that is held, in memory and on disk, to the sink that goes on in its place: another configuration of
    /// the same buffer. What the backend is being asked to take is waited for until the deadline, but not tried again.
    /// When the process ends, `hurry`, nothing is waited for.
    pub async fn hand_over(&self, to: &Self, deadline: Instant, hurry: &CancellationToken) -> Drained {
        let driver = &self.driver;
        driver.handing_over.cancel();
        driver.close();
        let held = async {
            self.parts.wait().await;
            driver.requests.close();
            driver.requests.wait().await;
        };
        tokio::pin!(held);
        let has_ended = tokio::select! {
            () = &mut held => true,
            () = tokio::time::sleep_until(deadline) => false,
            () = hurry.cancelled() => false,
        };
        if !has_ended {
            driver.abort.cancel();
            driver.wake_parts();
            held.await;
        }
        let dropped = self.move_items(to);
        if dropped > 0 {
            tracing::error!(sink = %driver.id, records = dropped, "records were answered OK and are lost: the sink that was to take them has ended");
        }
        if let Some(durable) = driver.durable.as_ref().filter(|_| !to.driver.closed.load(Ordering::Acquire)) {
            durable.store.belongs_to(Arc::clone(&to.driver) as Arc<dyn StoreOwner>);
        }
        to.driver.wake_parts();
        if let Some(durable) = &to.driver.durable {
            durable.taken_over();
        }
        let finished = self.finished(deadline).await;
        Drained { dropped, kept: 0, finished }
    }

    /// Moves what is held and what is known to be on disk, at one moment for whoever reads the ledgers. Says how many records
    /// were lost because the other one has ended.
    fn move_items(&self, to: &Self) -> u64 {
        let (ours, theirs) = (&self.history.0, &to.history.0);
        let is_one_ledger = Arc::ptr_eq(ours, theirs);
        // Another type of sink has a ledger of its own. Two may hand over to each other's: the order is that of the addresses.
        let both = [ours, theirs];
        let order = if Arc::as_ptr(ours) <= Arc::as_ptr(theirs) { [0, 1] } else { [1, 0] };
        let _first = both[order[0]].lock();
        let _second = (!is_one_ledger).then(|| both[order[1]].lock());
        let last = to.driver.parts.len() - 1;
        // Of one part what is on disk may be negative: only the sum can be given.
        let stored = self.driver.parts.iter().map(|part| part.give_stored()).sum();
        self.driver.last_part().hand_over_stored(stored, is_one_ledger);
        to.driver.last_part().take_over_stored(stored, is_one_ledger);
        let mut lost = 0;
        for (place, part) in self.driver.parts.iter().enumerate() {
            let items = part.hand_over(is_one_ledger).into_iter().map(|item| {
                let room = Arc::new(to.driver.room_for_read(item.wire.len()));
                Item { room, ..item }
            });
            let refused = to.driver.parts[place.min(last)].take_over(items.collect(), is_one_ledger);
            lost += part.refused_by_successor(&refused, is_one_ledger);
            answer_all(refused, &Outcome::retry(SHUTDOWN));
        }
        lost
    }

    async fn finished(&self, deadline: Instant) -> bool {
        let driver = &self.driver;
        let finished = driver.finish(deadline.max(Instant::now() + FINISH_AT_LEAST)).await;
        if let Err(reason) = &finished {
            // How much of what was delivered is not final only the sink knows, and it does not answer.
            let delivered = self.driver.line().counts.delivered;
            tracing::error!(sink = %driver.id, %reason, delivered, "the sink did not finish, the last it took may be lost");
        }
        finished.is_ok()
    }
}

impl SinkHistory {
    /// Whether no sink has counted in it yet.
    pub(super) fn is_new(&self) -> bool {
        let history = self.0.lock();
        history.running.is_empty() && history.ended == Line::default()
    }
}

impl Driver {
    /// Takes nothing more.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.freed.notify_waiters();
        self.closing.cancel();
        self.wake_parts();
    }
}

impl History {
    /// Keeps the counts of those that have ended, and lets go of them: whom nobody else holds has nothing more to count.
    fn fold(&mut self) {
        let ended = &mut self.ended;
        self.running.retain(|driver| {
            let is_held = Arc::strong_count(driver) > 1;
            if !is_held {
                ended.add(&driver.line());
            }
            is_held
        });
    }
}
