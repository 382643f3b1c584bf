//! The counting part of a receipt, alone so that a model checker can run every interleaving of it.
//!
//! It counts open shares and keeps the worst severity and the rejected records. Words, wake-ups and types of
//! outcomes are the parent's.

use super::sync::{AtomicU64, AtomicUsize, Ordering};

/// Open shares, the worst answer so far, and how many records were delivered and rejected.
#[derive(Debug)]
pub(crate) struct State {
    open: AtomicUsize,
    worst: AtomicUsize,
    rejected: AtomicU64,
    delivered: AtomicU64,
}

/// How bad an answer is; the larger wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Delivered,
    Rejected,
    Retry,
}

/// What the shares of one receipt said together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) worst: Severity,
    pub(crate) rejected: u64,
    pub(crate) delivered: u64,
}

impl State {
    /// A state with one open share.
    pub(crate) fn new() -> Self {
        Self {
            open: AtomicUsize::new(1),
            worst: AtomicUsize::new(0),
            rejected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        }
    }

    /// One more open share. The caller holds an open share itself, so the count cannot have reached zero.
    pub(crate) fn open_another(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes one share with its answer; whoever closes the last one gets the tally.
    pub(crate) fn close(&self, severity: Severity, delivered: u64, rejected: u64) -> Option<Tally> {
        if severity != Severity::Delivered {
            self.worst.fetch_max(severity as usize, Ordering::Relaxed);
        }
        if rejected > 0 {
            self.rejected.fetch_add(rejected, Ordering::Relaxed);
        }
        if delivered > 0 {
            self.delivered.fetch_add(delivered, Ordering::Relaxed);
        }
        // AcqRel: what every share wrote before its own decrement is visible to the one that reaches zero.
        if self.open.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        Some(Tally {
            worst: match self.worst.load(Ordering::Relaxed) {
                0 => Severity::Delivered,
                1 => Severity::Rejected,
                _ => Severity::Retry,
            },
            rejected: self.rejected.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
        })
    }
}
