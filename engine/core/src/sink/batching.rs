//! How many queued items make one request.

use std::time::Duration;

use otlp::Wire;

/// When a request is large enough, and how long a smaller one waits for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// The most encoded bytes of a request. A larger item goes alone: only the far end knows what it takes, and its
    /// answer "too large" has the item sent by halves.
    pub max_size: usize,
    /// The most records of a request.
    pub max_records: u64,
    /// How long the oldest item waits for company. Zero sends as soon as a request may be under way.
    pub timeout: Duration,
}

impl Batching {
    /// Every item as it came.
    pub const NONE: Self = Self { max_size: 0, max_records: 0, timeout: Duration::ZERO };

    /// Whether items of this size and number of records fill a request.
    pub(super) fn is_filled(&self, size: usize, records: u64) -> bool {
        size >= self.max_size || records >= self.max_records
    }

    /// How many items from the front go into one request: as many as stay within the limits, at least one.
    pub(super) fn take<'a>(&self, wires: impl Iterator<Item = &'a Wire>) -> usize {
        let (mut size, mut records, mut count) = (0, 0, 0);
        for wire in wires {
            size += wire.len();
            records += wire.records();
            if count > 0 && (size > self.max_size || records > self.max_records) {
                break;
            }
            count += 1;
        }
        count
    }
}
