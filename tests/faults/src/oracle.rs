//! The backend that never fails: keeps which records came, how often, in which order and how late, and knows a record that
//! is not as it was sent. Cheap enough for tens of thousands of records a second beside what is tested.
//!
//! Not here: what the connection to it does (`proxy`), and answers other than success (`backend`).

mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

pub use tally::Tally;

use crate::record::{self, Came};

/// The longest time on the way that is told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// Clones share what they know.
#[derive(Clone, Default)]
pub struct Oracle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    clients: BTreeMap<u32, Client>,
    requests: u64,
    corrupted: u64,
    /// When the last record came that had not come before, as [`record::now`] says it.
    last_new: u64,
}

struct Client {
    tally: Tally,
    latencies: Histogram<u64>,
}

/// What came, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Records that came, each once.
    pub distinct: u64,
    /// How often a record came beyond the first time.
    pub duplicates: u64,
    /// Records that came for the first time behind a later one of the same sender.
    pub inversions: u64,
    /// Records that are not as they were sent.
    pub corrupted: u64,
}

impl Oracle {
    /// Takes what is in a message.
    ///
    /// # Errors
    /// When it is no export request; then nothing is taken.
    pub fn take(&self, message: &[u8]) -> Result<(), prost::DecodeError> {
        let came = record::read(message)?;
        self.take_records(&came);
        Ok(())
    }

    /// Takes these records as one request.
    pub fn take_records(&self, came: &[Option<Came>]) {
        let now = record::now();
        let mut state = self.0.lock();
        state.requests += 1;
        for record in came {
            let Some(Came { id, sent }) = *record else {
                state.corrupted += 1;
                continue;
            };
            let client = state.clients.entry(id.client).or_insert_with(Client::new);
            if client.tally.take(id.number) {
                let late = now.saturating_sub(sent) / 1000;
                client.latencies.record(late.clamp(1, LONGEST)).expect("it is within the bounds");
                state.last_new = now;
            }
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        let state = self.0.lock();
        let mut counts = Counts { requests: state.requests, corrupted: state.corrupted, ..Counts::default() };
        for client in state.clients.values() {
            counts.distinct += client.tally.distinct();
            counts.duplicates += client.tally.duplicates();
            counts.inversions += client.tally.inversions();
        }
        counts
    }

    /// What came of each client.
    pub fn tallies(&self) -> BTreeMap<u32, Tally> {
        self.0.lock().clients.iter().map(|(client, known)| (*client, known.tally.clone())).collect()
    }

    /// Looks at what came of one client.
    pub fn with<T>(&self, client: u32, look: impl FnOnce(Option<&Tally>) -> T) -> T {
        look(self.0.lock().clients.get(&client).map(|known| &known.tally))
    }

    /// When the last record came that had not come before, as [`record::now`] says it.
    pub fn last_new(&self) -> u64 {
        self.0.lock().last_new
    }

    /// How long records of these clients were on the way when they came first, in microseconds, since the last call.
    pub fn take_latencies(&self, of: impl Fn(u32) -> bool) -> Histogram<u64> {
        let mut all = histogram();
        for (_, known) in self.0.lock().clients.iter_mut().filter(|(client, _)| of(**client)) {
            all.add(&known.latencies).expect("they have the same bounds");
            known.latencies.reset();
        }
        all
    }
}

impl Client {
    fn new() -> Self {
        Self { tally: Tally::default(), latencies: histogram() }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are valid")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;
    use crate::record::{frame, now};

    /// What came twice, late and in the wrong order is counted, of each client by itself.
    #[test]
    fn it_counts_what_came() {
        let oracle = Oracle::default();
        let sent = now() - 5_000_000;
        for (client, numbers) in [(1, 0..10), (1, 20..30), (2, 10..20), (1, 10..21)] {
            oracle.take(&frame(client, "a", numbers, sent)[5..]).unwrap();
        }
        let counts = oracle.counts();
        let expected = Counts { requests: 4, distinct: 40, duplicates: 1, inversions: 10, corrupted: 0 };
        assert_eq!(counts, expected);
        let latencies = oracle.take_latencies(|client| client == 1);
        assert_eq!((latencies.len(), latencies.min() >= 4_900), (30, true));
        assert_eq!(oracle.take_latencies(|client| client == 1).len(), 0);
        assert_eq!(oracle.take_latencies(|_| true).len(), 10);
    }

    /// A record with a changed letter is counted as corrupted and as nothing else.
    #[test]
    fn it_knows_what_is_damaged() {
        let oracle = Oracle::default();
        let mut message = frame(1, "a", 0..3, 7)[5..].to_vec();
        let at = message.windows(4).position(|window| window == b"1.1 ").unwrap() + 20;
        message[at] ^= 1;
        oracle.take(&message).unwrap();
        assert_eq!(oracle.counts(), Counts { requests: 1, distinct: 2, corrupted: 1, ..Counts::default() });
        assert!(oracle.take(&message[1..]).is_err());
    }
}
