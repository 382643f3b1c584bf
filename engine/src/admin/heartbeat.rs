//! Heartbeats: a task on every lane and on the shared runtime that notes the time. A runtime that is stuck in a loop or
//! a lock misses its beats, and `/livez` says so. How late a beat comes is how long every connection of that runtime had
//! to wait for its turn.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine_core::lane::Lanes;
use tokio::runtime::Handle;

/// Time between two beats of a runtime that works, and of one that has next to nothing to do: waking an idle process for
/// nothing costs more than it tells.
const WORKING: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(1);

/// A runtime works when it is busy for more than this share of the time.
const WORKING_FROM: f64 = 0.002;

/// How long a delay is remembered, at least; twice as long at most.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How long a runtime may be without a beat.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The last beat of every runtime.
#[derive(Debug)]
pub struct Heartbeats {
    origin: Instant,
    beats: Mutex<Vec<Beat>>,
}

/// The last beat of one runtime.
#[derive(Clone, Debug)]
struct Beat {
    name: String,
    /// In milliseconds since the origin.
    last: Arc<AtomicU64>,
    delays: Arc<Delays>,
}

/// The longest delays of one runtime, in microseconds, in the remembered time that runs and in the one before it.
#[derive(Debug, Default)]
struct Delays {
    /// Number of the remembered time that runs.
    running: AtomicU64,
    longest: [AtomicU64; 2],
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

    /// The longest that anything had to wait for its turn on each runtime in the last one to two minutes.
    pub(super) fn longest_delays(&self) -> Vec<(String, Duration)> {
        let beats = self.beats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        beats
            .iter()
            .map(|beat| (beat.name.trim_start_matches("the ").to_owned(), beat.delays.longest(self.origin.elapsed())))
            .collect()
    }

    /// A runtime that counts as alive at `now`.
    fn add(&self, name: String, now: Instant) -> Beat {
        let beat = Beat { name, last: Arc::default(), delays: Arc::default() };
        beat.note(now.saturating_duration_since(self.origin));
        self.beats.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(beat.clone());
        beat
    }
}

impl Beat {
    async fn keep(self, origin: Instant) {
        let runtime = Handle::current().metrics();
        let busy =
            || (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum::<Duration>();
        let mut busy_before = busy();
        let mut interval = IDLE;
        loop {
            self.note(origin.elapsed());
            let due = tokio::time::Instant::now() + interval;
            tokio::time::sleep_until(due).await;
            self.delays.note(due.elapsed(), origin.elapsed());
            let busy_now = busy();
            let share = (busy_now - busy_before).div_duration_f64(interval);
            interval = if share > WORKING_FROM { WORKING } else { IDLE };
            busy_before = busy_now;
        }
    }

    fn note(&self, since_origin: Duration) {
        self.last.store(u64::try_from(since_origin.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Delays {
    /// Notes a delay; only the runtime itself does.
    fn note(&self, delay: Duration, since_origin: Duration) {
        let current = period(since_origin);
        let before = self.running.load(Ordering::Relaxed);
        if current > before {
            self.longest[slot(current)].store(0, Ordering::Relaxed);
            if current > before + 1 {
                self.longest[slot(current - 1)].store(0, Ordering::Relaxed);
            }
            self.running.store(current, Ordering::Relaxed);
        }
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.longest[slot(current)].fetch_max(micros, Ordering::Relaxed);
    }

    fn longest(&self, since_origin: Duration) -> Duration {
        let running = self.running.load(Ordering::Relaxed);
        let in_force = [running, running.saturating_sub(1)];
        let remembered = in_force.into_iter().filter(|number| number + 1 >= period(since_origin));
        let longest = remembered.map(|number| self.longest[slot(number)].load(Ordering::Relaxed)).max();
        Duration::from_micros(longest.unwrap_or(0))
    }
}

/// The number of the remembered time that this moment is in.
fn period(since_origin: Duration) -> u64 {
    since_origin.as_secs() / REMEMBERED.as_secs()
}

fn slot(number: u64) -> usize {
    usize::from(number % 2 == 1)
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

    /// The longest delay is told for one to two minutes, whatever shorter ones come behind it.
    #[test]
    fn delays_are_remembered_for_a_while() {
        let delays = Delays::default();
        let (short, long) = (Duration::from_millis(3), Duration::from_millis(200));
        let at = Duration::from_secs;
        assert_eq!(delays.longest(at(0)), Duration::ZERO);
        delays.note(long, at(59));
        delays.note(short, at(61));
        assert_eq!((delays.longest(at(61)), delays.longest(at(119))), (long, long));
        delays.note(short, at(121));
        assert_eq!(delays.longest(at(121)), short);
        assert_eq!(delays.longest(at(900)), Duration::ZERO);
        delays.note(long, at(1000));
        assert_eq!(delays.longest(at(1000)), long);
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
