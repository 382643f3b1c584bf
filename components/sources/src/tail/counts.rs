//! What a reader counts besides records and bytes: read by the engine when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use super::record::LineCounts;

/// The counts of one source.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Files that are open now.
    pub(super) files_open: AtomicU64,
    /// Files that are known now.
    pub(super) files_known: AtomicU64,
    /// Logs that are written to now and left out, because those who own them do not agree.
    pub(super) logs_left_out: AtomicU64,
    /// Logs that are read although nobody could tell in time whether they may be.
    pub(super) logs_undecided: AtomicU64,
    /// Bytes that are known to be in files and have not been read.
    pub(super) bytes_behind: AtomicU64,
    /// Bytes read and not yet kept as delivered.
    pub(super) bytes_in_flight: AtomicU64,
    /// Directories that are looked at again and again, because the kernel does not tell of their changes.
    pub(super) directories_polled: AtomicU64,
    /// Records that hold less than was written.
    pub(super) lines_truncated: AtomicU64,
    /// Lines that were joined with the one before.
    pub(super) lines_joined: AtomicU64,
    /// Lines without anything in them, which become no records.
    pub(super) lines_blank: AtomicU64,
    /// Lines of containers in no form that is known.
    pub(super) lines_unframed: AtomicU64,
    /// Lines that are no JSON object although they begin like one, or should be.
    pub(super) lines_malformed_json: AtomicU64,
    /// Lines that the expression does not match.
    pub(super) lines_unmatched: AtomicU64,
    /// Records in which bytes that are no UTF-8 were replaced.
    pub(super) records_invalid_utf8: AtomicU64,
    /// Records whose time could not be read, which stays an attribute.
    pub(super) records_unread_times: AtomicU64,
    /// Attributes that were left out because their record has one of this name already.
    pub(super) attributes_shadowed: AtomicU64,
    /// Entries that became several records because of their size.
    pub(super) entries_split: AtomicU64,
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
            ("logs_left_out", &self.logs_left_out),
            ("logs_undecided", &self.logs_undecided),
            ("bytes_behind", &self.bytes_behind),
            ("bytes_in_flight", &self.bytes_in_flight),
            ("directories_polled", &self.directories_polled),
            ("lines_truncated", &self.lines_truncated),
            ("lines_joined", &self.lines_joined),
            ("lines_blank", &self.lines_blank),
            ("lines_unframed", &self.lines_unframed),
            ("lines_malformed_json", &self.lines_malformed_json),
            ("lines_unmatched", &self.lines_unmatched),
            ("records_invalid_utf8", &self.records_invalid_utf8),
            ("records_unread_times", &self.records_unread_times),
            ("attributes_shadowed", &self.attributes_shadowed),
            ("entries_split", &self.entries_split),
            ("files_truncated", &self.files_truncated),
            ("files_lost", &self.files_lost),
            ("bytes_lost", &self.bytes_lost),
            ("records_rejected", &self.records_rejected),
        ];
        all.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }
}

impl Counts {
    /// Adds what a parser has counted.
    pub(super) fn add_lines(&self, lines: LineCounts) {
        if lines == LineCounts::default() {
            return;
        }
        let LineCounts {
            truncated,
            unframed,
            malformed_json,
            unmatched,
            invalid_utf8,
            unread_times,
            shadowed,
            blank,
            joined,
            split,
        } = lines;
        for (count, more) in [
            (&self.lines_truncated, truncated),
            (&self.lines_unframed, unframed),
            (&self.lines_malformed_json, malformed_json),
            (&self.lines_unmatched, unmatched),
            (&self.records_invalid_utf8, invalid_utf8),
            (&self.records_unread_times, unread_times),
            (&self.attributes_shadowed, shadowed),
            (&self.lines_blank, blank),
            (&self.lines_joined, joined),
            (&self.entries_split, split),
        ] {
            add(count, more);
        }
    }

    /// Whether something was not read when it was measured last.
    pub(super) fn is_behind(&self) -> bool {
        self.bytes_behind.load(Ordering::Relaxed) > 0
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
