//! What a reader counts besides records and bytes: read by the engine when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of one source.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Files that are open now.
    pub(super) files_open: AtomicU64,
    /// Files that are known now.
    pub(super) files_known: AtomicU64,
    /// Bytes that are known to be in files and have not been read.
    pub(super) bytes_behind: AtomicU64,
    /// Bytes read and not yet kept as delivered.
    pub(super) bytes_in_flight: AtomicU64,
    /// Directories that are looked at again and again, because the kernel does not tell of their changes.
    pub(super) directories_polled: AtomicU64,
    /// Lines that were cut to the longest length.
    pub(super) lines_truncated: AtomicU64,
    /// Files that became shorter than what had been read of them.
    pub(super) files_truncated: AtomicU64,
    /// Files that were gone before they were read to their end.
    pub(super) files_lost: AtomicU64,
    /// Bytes that were known to be in files and were gone before they were read.
    pub(super) bytes_lost: AtomicU64,
    /// Records that a backend refused for good.
    pub(super) records_rejected: AtomicU64,
}

impl Counts {
    /// Names and values.
    pub(super) fn read(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("files_open", &self.files_open),
            ("files_known", &self.files_known),
            ("bytes_behind", &self.bytes_behind),
            ("bytes_in_flight", &self.bytes_in_flight),
            ("directories_polled", &self.directories_polled),
            ("lines_truncated", &self.lines_truncated),
            ("files_truncated", &self.files_truncated),
            ("files_lost", &self.files_lost),
            ("bytes_lost", &self.bytes_lost),
            ("records_rejected", &self.records_rejected),
        ];
        all.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }
}

/// Counts up.
pub(super) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// Says what there is now.
pub(super) fn set(count: &AtomicU64, now: u64) {
    count.store(now, Ordering::Relaxed);
}
