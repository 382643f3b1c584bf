//! Remembers for a while that many parts of merged requests were rejected, so that parts go out alone.
//!
//! A backend that rejects everything, or every other part, makes each merged request cost more requests than it has
//! parts, one after the other. Sent alone, each part costs one, and as many at once as the sink allows. Not here: who
//! finds out (`request`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long parts go out alone before merging is tried again.
pub(super) const APART: Duration = Duration::from_secs(10);

/// Whether parts go out alone at present.
#[derive(Debug, Default)]
pub(super) struct Apart {
    // Beside the time, so that a sink that was never in this trouble pays one load for it.
    is_set: AtomicBool,
    until: Mutex<Option<Instant>>,
}

impl Apart {
    /// Parts go out alone from now on, for [`APART`]. True when they did not before.
    pub(super) fn begin(&self) -> bool {
        let before = self.until.lock().replace(Instant::now() + APART);
        self.is_set.store(true, Ordering::Relaxed);
        before.is_none()
    }

    /// Whether parts go out alone now.
    pub(super) fn holds(&self) -> bool {
        if !self.is_set.load(Ordering::Relaxed) {
            return false;
        }
        let mut until = self.until.lock();
        if until.is_some_and(|end| Instant::now() < end) {
            return true;
        }
        *until = None;
        self.is_set.store(false, Ordering::Relaxed);
        false
    }
}

/// The most requests of one merged request that may be rejected before its other parts go out alone: as many as it takes
/// to find two bad parts of so many by halves.
pub(super) fn tolerated_rejections(parts: usize) -> u32 {
    let halvings = usize::BITS - parts.saturating_sub(1).leading_zeros();
    2 * (halvings + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two bad parts, wherever they stand, cause no more rejections than are tolerated.
    #[test]
    fn two_bad_parts_are_tolerated() {
        fn rejected(parts: std::ops::Range<usize>, bad: [usize; 2]) -> u32 {
            if !bad.iter().any(|part| parts.contains(part)) {
                return 0;
            }
            if parts.len() == 1 {
                return 1;
            }
            let middle = parts.start + parts.len() / 2;
            1 + rejected(parts.start..middle, bad) + rejected(middle..parts.end, bad)
        }
        for parts in 1..70 {
            for (one, other) in (0..parts).flat_map(|one| (0..parts).map(move |other| (one, other))) {
                assert!(rejected(0..parts, [one, other]) <= tolerated_rejections(parts), "{one}, {other} of {parts}");
            }
        }
    }
}
