//! The ledger of a stage: what came in is somewhere, and the sum says so.
//!
//! `received + created = sent + dropped + returned + merged + held`, in records, over all tasks of the stage. What is
//! held is never computed from the other terms: each [`Held`] batch counts itself, so that a panic, which drops them,
//! moves their records to `returned`. Not here: sinks (`ledger`), who waits for what is held (`receipt`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::batch::Batch;
use crate::ledger::Imbalance;
use crate::outcome::Outcome;
use crate::telemetry::ComponentTelemetry;

/// Counts what a stage does with records.
#[derive(Debug)]
pub struct StageAccount {
    telemetry: Arc<ComponentTelemetry>,
    received: AtomicU64,
    created: AtomicU64,
    sent: AtomicU64,
    returned: AtomicU64,
    merged: AtomicU64,
    held: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
}

/// A stage's ledger at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StageLine {
    /// Taken from the input.
    pub received: u64,
    /// Made by the stage.
    pub created: u64,
    /// Handed on to its outputs.
    pub sent: u64,
    /// Lost on purpose, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Given back to whoever sent them, with the answer Retry.
    pub returned: u64,
    /// Replaced by fewer records.
    pub merged: u64,
    /// In the stage now.
    pub held: u64,
}

/// A batch in a stage, counted as held while it is there. Dropping it gives its records back: the answer is Retry.
#[derive(Debug)]
pub struct Held {
    /// None once it has left the stage.
    batch: Option<Batch>,
    records: u64,
    account: Arc<StageAccount>,
}

impl StageAccount {
    /// An empty ledger of the component with this telemetry.
    pub fn new(telemetry: Arc<ComponentTelemetry>) -> Arc<Self> {
        Arc::new(Self {
            telemetry,
            received: AtomicU64::new(0),
            created: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            held: AtomicU64::new(0),
            dropped: Mutex::default(),
        })
    }

    pub(crate) fn telemetry(&self) -> &Arc<ComponentTelemetry> {
        &self.telemetry
    }

    /// Holds a batch that the stage has put together itself of what it [released](Held::release).
    pub fn hold(self: &Arc<Self>, batch: Batch) -> Held {
        let records = batch.records();
        self.held.fetch_add(records, Ordering::Relaxed);
        Held { batch: Some(batch), records, account: Arc::clone(self) }
    }

    /// Counts records that the stage made.
    pub fn created(&self, records: u64) {
        self.created.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts records that went up in others.
    pub fn merged(&self, records: u64) {
        self.merged.fetch_add(records, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn line(&self) -> StageLine {
        StageLine {
            received: self.received.load(Ordering::Relaxed),
            created: self.created.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.lock().clone(),
            returned: self.returned.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn received(&self, batch: &Batch) {
        self.received.fetch_add(batch.records(), Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, batch: &Batch) {
        self.sent.fetch_add(batch.records(), Ordering::Relaxed);
    }
}

impl StageLine {
    /// Compares the two sides; they are equal when nothing is on its way between two counts.
    ///
    /// # Errors
    /// Both sums, when they differ.
    pub fn check(&self) -> Result<(), Imbalance> {
        let entered = self.received + self.created;
        let left = self.sent + self.dropped.values().sum::<u64>() + self.returned;
        let accounted = left + self.merged + self.held;
        if entered == accounted { Ok(()) } else { Err(Imbalance { entered, accounted }) }
    }
}

impl Held {
    /// What is held.
    pub fn batch(&self) -> &Batch {
        self.batch.as_ref().expect("a held batch is there until it is released")
    }

    /// Takes the batch out, to send it at once or to make another one of it.
    pub fn release(mut self) -> Batch {
        self.take()
    }

    /// Loses the batch on purpose: counts its records under `reason` and answers Delivered.
    pub fn discard(mut self, reason: &'static str) {
        let batch = self.take();
        *self.account.dropped.lock().entry(reason).or_default() += self.records;
        batch.discard(reason, &self.account.telemetry);
    }

    /// Gives the batch back to whoever sent it.
    pub fn give_back(mut self, reason: &str) {
        let batch = self.take();
        self.account.returned.fetch_add(self.records, Ordering::Relaxed);
        batch.answer(&Outcome::retry(reason));
    }

    fn take(&mut self) -> Batch {
        self.account.held.fetch_sub(self.records, Ordering::Relaxed);
        self.batch.take().expect("a held batch is taken once")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.batch.take().is_some() {
            self.account.held.fetch_sub(self.records, Ordering::Relaxed);
            self.account.returned.fetch_add(self.records, Ordering::Relaxed);
        }
    }
}
