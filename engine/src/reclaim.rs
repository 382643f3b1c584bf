//! Keeps what the allocator holds back from counting against a memory limit.
//!
//! Freed memory stays with the process for a while, because taking it again from the system costs a tenth of the
//! processor time of a busy gateway. A crowd of large requests frees and takes so much in that while that the process
//! grows to several times what it holds, and a control group kills it. So a thread of its own has free memory given back,
//! again and again, for as long as memory is short: after a request was refused for want of memory, and while the process
//! is larger than most of its limit. And while services get what the process waits for: lists of a whole cluster come in pages
//! of megabytes, and what is kept of them is a small part.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use engine_core::budget::Budget;

use crate::admin::resident_bytes;

/// Time between two looks at a process that holds next to nothing, at one that works, and while memory is short: a machine
/// copies some ten megabytes from sockets in a hundredth of a second.
const IDLE: Duration = Duration::from_secs(1);
const WORKING: Duration = Duration::from_millis(100);
const SHORT: Duration = Duration::from_millis(10);

/// How long after a refusal memory counts as short.
const REMEMBERED: Duration = Duration::from_secs(1);

/// A process works when it holds more than one part in so many of its budget.
const WORKING_FROM: usize = 16;

/// Giving back was worth it when the process is smaller by more than one part in so many.
const WORTH: u64 = 32;

/// Gives free memory back to the system.
pub type GiveBack = fn();

/// Starts the thread. It lasts as long as the process. `limit` is the memory limit in bytes; `waits` says whether services
/// get what the process waits for.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    budget: Budget,
    mut waits: impl FnMut() -> bool + Send + 'static,
    limit: u64,
    give_back: GiveBack,
) -> io::Result<()> {
    let mut shortage = Shortage { most: limit / 4 * 3, refusals: budget.refusals(), last_refusal: None };
    let watch = move || {
        budget.wake_when_exhausted(thread::current());
        let mut pause = SHORT;
        let mut waited = false;
        loop {
            let waiting = waits();
            // Once more when they have it.
            let has_waited = std::mem::replace(&mut waited, waiting) || waiting;
            let resident = resident_bytes().unwrap_or(0);
            if shortage.lasts(Instant::now(), budget.refusals(), resident) || has_waited {
                give_back();
                let after = resident_bytes().unwrap_or(0);
                // Where there was hardly anything to give back, there will not be in a moment.
                pause = if after < resident - resident / WORTH { SHORT } else { (2 * pause).min(WORKING) };
                // Not parked: further refusals shall not wake it sooner.
                thread::sleep(pause);
                continue;
            }
            pause = SHORT;
            if resident > limit / 3 || budget.used() > budget.limit() / WORKING_FROM {
                thread::park_timeout(WORKING);
            } else {
                thread::park_timeout(IDLE);
            }
        }
    };
    thread::Builder::new().name("reclaim".to_owned()).spawn(watch).map(drop)
}

/// What tells whether memory is short.
struct Shortage {
    /// A process larger than this is short of memory.
    most: u64,
    refusals: u64,
    last_refusal: Option<Instant>,
}

impl Shortage {
    fn lasts(&mut self, now: Instant, refusals: u64, resident: u64) -> bool {
        if refusals != self.refusals {
            self.refusals = refusals;
            self.last_refusal = Some(now);
        }
        resident > self.most || self.last_refusal.is_some_and(|last| now.duration_since(last) < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Memory is short for a second after each refusal, and while the process is large.
    #[test]
    fn shortage_lasts() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut shortage = Shortage { most: 75, refusals: 3, last_refusal: None };
        assert!(!shortage.lasts(at(0), 3, 75));
        assert!(shortage.lasts(at(0), 3, 76));
        assert!(shortage.lasts(at(100), 4, 10));
        assert!(shortage.lasts(at(1099), 4, 10));
        assert!(!shortage.lasts(at(1100), 4, 10));
    }

    /// A refusal wakes the thread, which then has memory given back.
    #[test]
    fn a_refusal_gives_memory_back() {
        static GIVEN: AtomicUsize = AtomicUsize::new(0);
        let budget = Budget::new(10);
        start(budget.clone(), || false, u64::MAX, || GIVEN.store(1, Ordering::Relaxed)).unwrap();
        budget.try_charge(11).unwrap_err();
        while GIVEN.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
    }

    /// While services wait memory is given back, and once more when they have what they waited for.
    #[test]
    fn waiting_gives_memory_back() {
        static GIVEN: AtomicUsize = AtomicUsize::new(0);
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let waits = || ASKED.fetch_add(1, Ordering::Relaxed) < 3;
        let count = || {
            GIVEN.fetch_add(1, Ordering::Relaxed);
        };
        start(Budget::new(10), waits, u64::MAX, count).unwrap();
        while ASKED.load(Ordering::Relaxed) < 5 {
            thread::yield_now();
        }
        assert_eq!(GIVEN.load(Ordering::Relaxed), 4);
    }
}
