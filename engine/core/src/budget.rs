//! The memory budget of the process: what may be held, and the charges that count against it.
//!
//! A charge lives as long as the allocation it stands for and gives its bytes back when dropped. The
//! budget never waits: a charge that does not fit is refused at once, and the caller refuses its request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use bytes::Bytes;

/// A bounded number of bytes, shared by everything that charges against it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: AtomicUsize,
    used: AtomicUsize,
    refusals: AtomicU64,
    watcher: OnceLock<Thread>,
}

/// Bytes taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: usize,
}

/// The budget has no room for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory budget exhausted: {wanted} bytes wanted, {used} of {limit} in use")]
pub struct Exhausted {
    /// Bytes asked for.
    pub wanted: usize,
    /// Bytes in use when asked.
    pub used: usize,
    /// The budget's size in bytes.
    pub limit: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Account {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            refusals: AtomicU64::new(0),
            watcher: OnceLock::new(),
        }))
    }

    /// Takes `bytes`, or says why not. Never waits.
    pub fn try_charge(&self, bytes: usize) -> Result<Charge, Exhausted> {
        self.take(bytes)?;
        Ok(Charge { budget: self.clone(), bytes })
    }

    /// Bytes in use now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The size in bytes.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Changes the size. Nothing held is touched: a budget that shrank below what it holds takes nothing
    /// until it is below again.
    pub fn resize(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// How often something did not fit.
    pub fn refusals(&self) -> u64 {
        self.0.refusals.load(Ordering::Relaxed)
    }

    /// Has a parked thread go on whenever something does not fit. The first thread stays.
    pub fn wake_when_exhausted(&self, thread: Thread) {
        drop(self.0.watcher.set(thread));
    }

    fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        let limit = self.limit();
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .map(|_| ())
            .map_err(|used| {
                self.0.refusals.fetch_add(1, Ordering::Relaxed);
                self.0.watcher.get().inspect(|watcher| watcher.unpark());
                Exhausted { wanted: bytes, used, limit }
            })
    }
}

impl Charge {
    /// Bytes this charge stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the charge to `bytes`, as more of a body arrives or its final size is known.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes)?;
        } else {
            self.budget.0.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Whether little of its budget is in use: a quarter at most.
    pub fn is_light(&self) -> bool {
        self.budget.used() <= self.budget.limit() / 4
    }

    /// Another charge against the same budget.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] as [`Budget::try_charge`].
    pub fn another(&self, bytes: usize) -> Result<Self, Exhausted> {
        self.budget.try_charge(bytes)
    }

    /// Ties the charge to an allocation: every slice of the result carries it, and the last one gives it back.
    pub fn attach(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Charged { bytes, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Charged {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    /// A charge that does not fit is refused and takes nothing.
    #[test]
    fn refuses_what_does_not_fit() {
        let budget = Budget::new(10);
        let _held = budget.try_charge(7).unwrap();
        assert_eq!(budget.try_charge(4).unwrap_err(), Exhausted { wanted: 4, used: 7, limit: 10 });
        assert_eq!(budget.used(), 7);
    }

    /// Growing past the limit fails and leaves the charge as it was; shrinking gives bytes back.
    #[test]
    fn resizes_both_ways() {
        let budget = Budget::new(10);
        let mut charge = budget.try_charge(4).unwrap();
        charge.resize(11).unwrap_err();
        assert_eq!((charge.bytes(), budget.used()), (4, 4));
        charge.resize(10).unwrap();
        charge.resize(1).unwrap();
        assert_eq!(budget.used(), 1);
    }

    /// Every slice of a charged allocation holds the charge, and only the last one gives it back.
    #[test]
    fn lives_as_long_as_the_last_slice() {
        let budget = Budget::new(10);
        let bytes = budget.try_charge(3).unwrap().attach(Bytes::from_static(b"abc"));
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_eq!(budget.used(), 3);
        drop(slice);
        assert_eq!(budget.used(), 0);
    }

    /// A budget that shrank below what it holds keeps it and takes nothing more.
    #[test]
    fn shrinks_below_what_it_holds() {
        let budget = Budget::new(10);
        let held = budget.try_charge(8).unwrap();
        budget.resize(5);
        budget.try_charge(1).unwrap_err();
        drop(held);
        budget.try_charge(5).unwrap();
    }
}
