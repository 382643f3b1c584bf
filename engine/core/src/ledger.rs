//! The ledger of a sink: every record it took is somewhere, and the sum says so.
//!
//! `recovered + accepted + created = delivered + dropped + returned + merged + left_on_disk + held`, in records. What is held is
//! never computed from the other terms: queues and in-flight tables report what they hold, and the check compares.
//! Not here: who counts (`sink`) and who shows it.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that happened to records, as counted. `held` is not among it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Found in a durable buffer at start.
    pub recovered: u64,
    /// Taken at the sink's entrance, after its selection.
    pub accepted: u64,
    /// Made on the way, by the component that made them.
    pub created: BTreeMap<String, u64>,
    /// Confirmed by the far end.
    pub delivered: u64,
    /// Lost, by reason, after they were accepted.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Given back to whoever sent them, with the answer Retry.
    pub returned: u64,
    /// Replaced by fewer records, by the component that did it.
    pub merged: BTreeMap<String, u64>,
    /// Left on disk by sinks of the component that are gone, while the process goes on. Whoever gets that buffer recovers them.
    pub left_on_disk: u64,
}

/// What is held now, as each holder reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// In the queue.
    pub queued: u64,
    /// Handed to the far end and not yet answered, or waiting for another attempt.
    pub in_flight: u64,
    /// On disk only. Of a part of a sink it may be negative, since records go in by one part and out by another.
    pub stored: i64,
}

/// One sink's ledger at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// What is held.
    pub held: Held,
    /// Records refused at the entrance for want of room; they were never accepted.
    pub refused: u64,
}

/// The two sides of a ledger differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ledger does not balance: {entered} records entered, {accounted} are accounted for")]
pub struct Imbalance {
    /// recovered + accepted + created.
    pub entered: u64,
    /// delivered + dropped + returned + merged + left_on_disk + held.
    pub accounted: u64,
}

impl Held {
    /// Records held in all places.
    pub fn total(self) -> u64 {
        (self.queued + self.in_flight).saturating_add_signed(self.stored)
    }
}

impl Line {
    /// Compares the two sides.
    pub fn check(&self) -> Result<(), Imbalance> {
        let counts = &self.counts;
        let entered = counts.recovered + counts.accepted + counts.created.values().sum::<u64>();
        let left = counts.delivered + counts.dropped.values().sum::<u64>() + counts.returned + counts.left_on_disk;
        let accounted = left + counts.merged.values().sum::<u64>() + self.held.total();
        if entered == accounted { Ok(()) } else { Err(Imbalance { entered, accounted }) }
    }

    /// Adds another part of the same sink.
    pub fn add(&mut self, other: &Self) {
        let (ours, theirs) = (&mut self.counts, &other.counts);
        ours.recovered += theirs.recovered;
        ours.accepted += theirs.accepted;
        ours.delivered += theirs.delivered;
        ours.returned += theirs.returned;
        ours.left_on_disk += theirs.left_on_disk;
        add_each(&mut ours.created, &theirs.created);
        add_each(&mut ours.dropped, &theirs.dropped);
        add_each(&mut ours.merged, &theirs.merged);
        self.held.queued += other.held.queued;
        self.held.in_flight += other.held.in_flight;
        self.held.stored += other.held.stored;
        self.refused += other.refused;
    }
}

fn add_each<K: Ord + Clone>(ours: &mut BTreeMap<K, u64>, theirs: &BTreeMap<K, u64>) {
    for (key, records) in theirs {
        *ours.entry(key.clone()).or_default() += records;
    }
}
