//! What the engine holds of a running sink: its ledger, its settings that can change, its end.
//!
//! A sink that takes over from another one of the same id goes on in its ledger, while that one still delivers what it
//! holds. Not here: what happens to a batch (`sink`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine_config::WhenFull;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Driver, FINISH_AT_LEAST, SHUTDOWN};
use crate::ledger::Line;

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

    /// Changes the size of the buffer and what happens when it is full. Nothing held is touched: a buffer that shrank
    /// below what it holds takes nothing until it is below again.
    pub fn resettle(&self, max_buffer: usize, when_full: WhenFull) {
        self.driver.max_buffer.store(max_buffer, Ordering::Relaxed);
        self.driver.when_full.store(when_full as u8, Ordering::Relaxed);
        self.driver.freed.notify_waiters();
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

    /// Takes nothing more, delivers what is held until `deadline`, settles the rest (told Retry where somebody waits,
    /// else dropped for [`SHUTDOWN`]) and lets the sink finish in the time that is left, but at least in a second.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        let driver = &self.driver;
        driver.closed.store(true, Ordering::Release);
        driver.freed.notify_waiters();
        driver.closing.cancel();
        driver.wake_parts();
        let held = async {
            self.parts.wait().await;
            driver.requests.close();
            driver.requests.wait().await;
        };
        tokio::pin!(held);
        if tokio::time::timeout_at(deadline, &mut held).await.is_err() {
            driver.abort.cancel();
            driver.wake_parts();
            held.await;
        }
        let finished = driver.finish(deadline.max(Instant::now() + FINISH_AT_LEAST)).await;
        let counts = self.driver.line().counts;
        if let Err(reason) = &finished {
            // How much of what was delivered is not final only the sink knows, and it does not answer.
            let delivered = counts.delivered;
            tracing::error!(sink = %driver.id, %reason, delivered, "the sink did not finish, the last it took may be lost");
        }
        Drained { dropped: counts.dropped.get(SHUTDOWN).copied().unwrap_or(0), finished: finished.is_ok() }
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
