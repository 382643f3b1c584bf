//! Keeps what the allocator holds back from counting against a memory limit.
//!
//! Freed memory stays with the process for a while, because taking it again from the system costs a tenth of the
//! processor time of a busy gateway. A crowd of large requests frees and takes so much in that while that the process
//! grows to several times what it holds, and a control group kills it. So a thread of its own has free memory given back,
//! again and again, for as long as memory is short: after a request was refused for want of memory, and while the process
//! is larger than most of its limit. And while services get what the process waits for: lists of a whole cluster come in pages
//! of megabytes, and what is kept of them is a small part. And when the process has grown and holds next to nothing, as
//! behind an outage: at first soon, later the more seldom the more often it has grown again as large.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use engine_core::budget::Budget;
use engine_core::lane::Lanes;

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

/// How long a process holds next to nothing before its memory is given back, at first and at most.
const CALM: Duration = Duration::from_secs(3);
const LONGEST_CALM: Duration = Duration::from_secs(600);

/// What a process may have grown by since then without having memory given back, in bytes.
const SLACK: u64 = 16 * 1024 * 1024;

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
    lanes: Lanes,
    give_back: GiveBack,
) -> io::Result<()> {
    let mut shortage = Shortage { most: limit / 4 * 3, refusals: budget.refusals(), last_refusal: None };
    let mut calm = Calm { since: None, wait: CALM, before: 0, after: 0 };
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
            let is_working = budget.used() > budget.limit() / WORKING_FROM;
            if calm.is_over(Instant::now(), resident, is_working) {
                // What a thread keeps for itself, only it can give back.
                lanes.iter().for_each(|lane| drop(lane.spawn(async move { give_back() })));
                thread::sleep(SHORT);
                give_back();
                calm.given_back(resident, resident_bytes().unwrap_or(0));
            }
            if resident > limit / 3 || is_working {
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

/// What tells when a process that has grown needs its memory no more.
struct Calm {
    /// Since when it is larger than it has to be and holds next to nothing.
    since: Option<Instant>,
    wait: Duration,
    /// Bytes of the process when memory was given back, and behind that.
    before: u64,
    after: u64,
}

impl Calm {
    fn is_over(&mut self, now: Instant, resident: u64, is_working: bool) -> bool {
        if !is_working {
            self.after = self.after.min(resident);
        }
        if is_working || resident <= self.after + SLACK {
            self.since = None;
            return false;
        }
        now.duration_since(*self.since.get_or_insert(now)) >= self.wait
    }

    fn given_back(&mut self, before: u64, after: u64) {
        // What grows again to what it was has use for it; what has become larger than ever is new.
        let is_again = before <= self.before + SLACK;
        self.wait = if is_again { (2 * self.wait).min(LONGEST_CALM) } else { CALM };
        *self = Self { since: None, wait: self.wait, before, after };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use engine_core::lane::LaneThreads;

    use super::*;

    fn no_lanes() -> Lanes {
        LaneThreads::start(1).unwrap().lanes()
    }

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

    /// Memory is given back when a process that has grown is calm for a while; when it grows again to the same, after a longer one.
    #[test]
    fn calm_comes_after_growth() {
        const MIB: u64 = 1024 * 1024;
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut calm = Calm { since: None, wait: CALM, before: 0, after: 0 };
        assert!(!calm.is_over(at(0), 16 * MIB, false), "it is small");
        assert!(!calm.is_over(at(1), 80 * MIB, true), "it works");
        assert!(!calm.is_over(at(2), 80 * MIB, false));
        assert!(!calm.is_over(at(4), 80 * MIB, true), "it works again");
        assert!(!calm.is_over(at(5), 80 * MIB, false) && !calm.is_over(at(7), 80 * MIB, false));
        assert!(calm.is_over(at(8), 80 * MIB, false));
        calm.given_back(80 * MIB, 30 * MIB);
        assert!(
            !calm.is_over(at(9), 46 * MIB, false) && !calm.is_over(at(100), 46 * MIB, false),
            "it has not grown much"
        );
        assert!(!calm.is_over(at(101), 81 * MIB, false) && calm.is_over(at(104), 81 * MIB, false));
        calm.given_back(81 * MIB, 30 * MIB);
        assert!(!calm.is_over(at(105), 80 * MIB, false) && !calm.is_over(at(110), 80 * MIB, false));
        assert!(calm.is_over(at(111), 80 * MIB, false), "it has use for it");
        (0..20).for_each(|_| calm.given_back(80 * MIB, 30 * MIB));
        assert_eq!(calm.wait, LONGEST_CALM);
        calm.given_back(200 * MIB, 30 * MIB);
        assert_eq!(calm.wait, CALM, "it was never as large");
    }

    /// A refusal wakes the thread, which then has memory given back.
    #[test]
    fn a_refusal_gives_memory_back() {
        static GIVEN: AtomicUsize = AtomicUsize::new(0);
        let budget = Budget::new(10);
        start(budget.clone(), || false, u64::MAX, no_lanes(), || GIVEN.store(1, Ordering::Relaxed)).unwrap();
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
        start(Budget::new(10), waits, u64::MAX, no_lanes(), count).unwrap();
        while ASKED.load(Ordering::Relaxed) < 5 {
            thread::yield_now();
        }
        assert_eq!(GIVEN.load(Ordering::Relaxed), 4);
    }
}
