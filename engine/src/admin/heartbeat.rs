//! Heartbeats: a task on every lane and on the shared runtime that notes the time. A runtime that is stuck in a loop or
//! a lock misses its beats, and `/livez` says so.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine_core::lane::Lanes;
use tokio::runtime::Handle;

/// How often a beat is noted.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a runtime may be without a beat.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The last beat of every runtime.
#[derive(Debug)]
pub struct Heartbeats {
    origin: Instant,
    beats: Mutex<Vec<Beat>>,
}

/// The last beat of one runtime, in milliseconds since the origin.
#[derive(Clone, Debug)]
struct Beat {
    name: String,
    last: Arc<AtomicU64>,
}

/// A runtime that is late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Late {
    /// Which one.
    pub(super) name: String,
    /// Since when.
    pub(super) silent: Duration,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self { origin: Instant::now(), beats: Mutex::default() }
    }
}

impl Heartbeats {
    /// Starts a task on every lane and on the shared runtime. The tasks end with their runtimes.
    pub fn start(&self, lanes: &Lanes, shared: &Handle) {
        for lane in lanes.iter() {
            let beat = self.add(format!("lane {}", lane.id().0), Instant::now());
            drop(lane.spawn(beat.keep(self.origin)));
        }
        let beat = self.add("the shared runtime".to_owned(), Instant::now());
        drop(shared.spawn(beat.keep(self.origin)));
    }

    /// The runtimes whose last beat is longer ago than [`LIMIT`].
    pub(super) fn late(&self, now: Instant) -> Vec<Late> {
        let beats = self.beats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let silent = |beat: &Beat| {
            let last = Duration::from_millis(beat.last.load(Ordering::Relaxed));
            now.saturating_duration_since(self.origin).saturating_sub(last)
        };
        let late = beats.iter().filter(|beat| silent(beat) > LIMIT);
        late.map(|beat| Late { name: beat.name.clone(), silent: silent(beat) }).collect()
    }

    /// A runtime that counts as alive at `now`.
    fn add(&self, name: String, now: Instant) -> Beat {
        let beat = Beat { name, last: Arc::default() };
        beat.note(now.saturating_duration_since(self.origin));
        self.beats.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(beat.clone());
        beat
    }
}

impl Beat {
    async fn keep(self, origin: Instant) {
        loop {
            self.note(origin.elapsed());
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn note(&self, since_origin: Duration) {
        self.last.store(u64::try_from(since_origin.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// A runtime is late once its last beat is longer ago than the limit, and no more after the next beat.
    #[test]
    fn silence_is_noticed_and_forgiven() {
        let heartbeats = Heartbeats::default();
        let start = heartbeats.origin;
        let stuck = heartbeats.add("lane 0".to_owned(), start);
        let healthy = heartbeats.add("lane 1".to_owned(), start);
        assert_eq!(heartbeats.late(start + LIMIT), []);
        let later = LIMIT + Duration::from_secs(1);
        healthy.note(later);
        assert_eq!(heartbeats.late(start + later), [Late { name: "lane 0".to_owned(), silent: later }]);
        stuck.note(later);
        assert_eq!(heartbeats.late(start + later), []);
    }

    /// The tasks do beat, on lanes and on the shared runtime.
    #[tokio::test]
    async fn runtimes_beat() {
        let lanes = engine_core::lane::LaneThreads::start(1).unwrap();
        let heartbeats = Heartbeats::default();
        heartbeats.start(&lanes.lanes(), &Handle::current());
        let beats = heartbeats.beats.lock().unwrap().clone();
        assert_eq!(beats.len(), 2);
        beats.iter().for_each(|beat| beat.last.store(u64::MAX, Ordering::Relaxed));
        while beats.iter().any(|beat| beat.last.load(Ordering::Relaxed) == u64::MAX) {
            tokio::task::yield_now().await;
        }
        lanes.stop();
    }
}
