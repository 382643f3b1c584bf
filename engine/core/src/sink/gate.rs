//! The gate in front of a backend: open while it answers, closed for a growing while when it does not.
//!
//! All requests of a sink share one gate, so that an absent backend sees one attempt at a time instead of
//! `concurrency` of them. Not here: how often one request is tried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Waits between attempts: exponential with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The most that is waited after the first failure.
    pub initial: Duration,
    /// The most that is ever waited, but for a longer wait that the backend asks for.
    pub max: Duration,
}

/// Lets requests pass while the backend answers, and one at a time while it does not.
#[derive(Debug)]
pub(super) struct Gate {
    backoff: Backoff,
    state: Mutex<State>,
    /// Beside the state, for those who ask with every batch.
    closed: AtomicBool,
    changed: Notify,
}

#[derive(Debug)]
enum State {
    Open,
    Closed { failures: u32, until: Instant, probing: bool },
}

/// Leave for one attempt. Dropped without a report (an aborted attempt) it makes way for another.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    probe: bool,
    reported: bool,
}

impl Backoff {
    /// A wait after this many failures in a row (at least one), never shorter than what the backend asked for.
    pub(super) fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.initial.saturating_mul(1 << doublings).min(self.max);
        let jittered = ceiling.mul_f64(rand::random::<f64>());
        asked.map_or(jittered, |least| least.saturating_add(jittered.min(Duration::from_secs(1))))
    }
}

impl Gate {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, state: Mutex::new(State::Open), closed: AtomicBool::new(false), changed: Notify::new() }
    }

    /// Whether the backend answers, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// Resolves when the backend does not answer.
    pub(super) async fn closed(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.is_open() {
                return;
            }
            changed.await;
        }
    }

    /// Waits for leave to attempt.
    pub(super) async fn enter(&self) -> Pass<'_> {
        loop {
            self.passable().await;
            match &mut *self.state.lock() {
                State::Open => return Pass { gate: self, probe: false, reported: false },
                State::Closed { until, probing, .. } if !*probing && Instant::now() >= *until => {
                    *probing = true;
                    return Pass { gate: self, probe: true, reported: false };
                }
                // Somebody else was quicker.
                State::Closed { .. } => {}
            }
        }
    }

    /// Waits until an attempt would be allowed.
    pub(super) async fn passable(&self) {
        loop {
            let changed = self.changed.notified();
            let until = match &*self.state.lock() {
                State::Open => return,
                State::Closed { probing: true, .. } => None,
                State::Closed { until, .. } => Some(*until),
            };
            match until {
                Some(at) if Instant::now() >= at => return,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }
}

impl Pass<'_> {
    /// The backend answered, whatever it said. True when it did not before.
    pub(super) fn answered(mut self) -> bool {
        self.reported = true;
        let mut state = self.gate.state.lock();
        let before = std::mem::replace(&mut *state, State::Open);
        self.gate.closed.store(false, Ordering::Relaxed);
        drop(state);
        let opened = matches!(before, State::Closed { .. });
        if opened {
            self.gate.changed.notify_waiters();
        }
        opened
    }

    /// The backend did not answer, or asked to come again. True when it did answer before.
    pub(super) fn failed(mut self, asked: Option<Duration>) -> bool {
        self.reported = true;
        let mut state = self.gate.state.lock();
        let (failures, closed_now) = match &*state {
            State::Open => (1, true),
            State::Closed { failures, .. } if self.probe => (failures.saturating_add(1), false),
            // Requests that were under way when the gate closed add nothing to what is known.
            State::Closed { .. } => return false,
        };
        let until = Instant::now() + self.gate.backoff.wait(failures, asked);
        *state = State::Closed { failures, until, probing: false };
        self.gate.closed.store(true, Ordering::Relaxed);
        drop(state);
        self.gate.changed.notify_waiters();
        closed_now
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.reported || !self.probe {
            return;
        }
        if let State::Closed { probing, .. } = &mut *self.gate.state.lock() {
            *probing = false;
        }
        self.gate.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;

    const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) };

    /// While the backend fails, one attempt is under way at a time; its answer opens the gate for all.
    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time() {
        let gate = Arc::new(Gate::new(BACKOFF));
        gate.enter().await.failed(None);
        let probe = gate.enter().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(gate.enter().now_or_never().is_none(), "a second attempt passed beside the probe");
        probe.answered();
        assert!(gate.enter().now_or_never().is_some());
        assert!(gate.enter().now_or_never().is_some());
    }

    /// A wait that the backend asked for is kept by every request.
    #[tokio::test(start_paused = true)]
    async fn keeps_the_wait_asked_for() {
        let gate = Gate::new(BACKOFF);
        let start = Instant::now();
        gate.enter().await.failed(Some(Duration::from_secs(5)));
        drop(gate.enter().await);
        assert!(start.elapsed() >= Duration::from_secs(5));
        assert!(start.elapsed() <= Duration::from_secs(6));
    }

    /// An aborted probe makes way for another.
    #[tokio::test(start_paused = true)]
    async fn an_aborted_probe_makes_way() {
        let gate = Gate::new(BACKOFF);
        gate.enter().await.failed(None);
        drop(gate.enter().await);
        gate.enter().await.answered();
    }

    /// Waits grow to the maximum and stay within it, with all of the range used.
    #[test]
    fn waits_grow_and_are_jittered() {
        let waits: Vec<_> = (0..200).map(|_| BACKOFF.wait(20, None)).collect();
        assert!(waits.iter().all(|wait| *wait <= BACKOFF.max));
        assert!(waits.iter().any(|wait| *wait < BACKOFF.max / 4) && waits.iter().any(|wait| *wait > BACKOFF.max / 2));
        assert!((0..200).all(|_| BACKOFF.wait(1, None) <= BACKOFF.initial));
    }
}
