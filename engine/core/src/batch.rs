//! A batch: one signal's payload on its way, with the answers it still owes.
//!
//! Losing data is a call that counts ([`Batch::discard`]); forgetting a batch is not: its shares then say Retry.
//! Not here: the bytes (`otlp`) and who waits (`receipt`).

use std::sync::Arc;
use std::time::Duration;

use otlp::{Payload, Signal, Wire};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::budget::{Charge, Exhausted};
use crate::outcome::{Outcome, RejectionKind};
use crate::peer::{Arrival, Peer};
use crate::receipt::{Receipt, Share, receipt};
use crate::sink::UNENCODABLE;
use crate::telemetry::ComponentTelemetry;

/// One signal's records, the shares of the receipts that wait for them, and the memory they are charged for.
#[derive(Debug)]
pub struct Batch {
    payload: Payload,
    debts: Debts,
    arrival: Option<Arrival>,
}

/// The answers owed for a batch, and what lives as long as they do: one tie, or those of all that was joined.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    owed: SmallVec<[Debt; 1]>,
    ties: SmallVec<[Tie; 1]>,
}

/// What a batch carries along, and everything made of it.
#[derive(Clone, Debug)]
enum Tie {
    /// A memory charge.
    Charge(Arc<Charge>),
    /// Records that the engine tells of itself are among the batch's. Here, because then other batches do not grow.
    Engine,
}

/// An answer owed for some of the batch's records.
#[derive(Debug)]
struct Debt {
    share: Share,
    records: u64,
}

impl Batch {
    /// A batch and the receipt that resolves when all of it has been answered.
    pub fn new(payload: Payload) -> (Self, Receipt) {
        let (waiting, share) = receipt();
        let records = payload.records();
        let debts = Debts { owed: SmallVec::from_iter([Debt { share, records }]), ties: SmallVec::new() };
        (Self { payload, debts, arrival: None }, waiting)
    }

    /// A batch that nobody waits for: what became of it is in the counts only.
    pub fn unacknowledged(payload: Payload) -> Self {
        Self { payload, debts: Debts::default(), arrival: None }
    }

    /// Ties a memory charge to the batch and to everything made of it.
    #[must_use]
    pub fn charged(mut self, charge: Charge) -> Self {
        self.debts.ties.push(Tie::Charge(Arc::new(charge)));
        self
    }

    /// Says that its records, and those of everything made of it, came just now from this peer, which may be the one they are
    /// about.
    #[must_use]
    pub fn sent_by(self, peer: Arc<Peer>) -> Self {
        Self { arrival: Some(Arrival { peer, at: Instant::now() }), ..self }
    }

    /// Who sent its records and when, where they came over a connection of whoever they may be about.
    pub fn arrival(&self) -> Option<&Arrival> {
        self.arrival.as_ref()
    }

    /// Says that its records are what the engine tells of itself, and so of everything made of it.
    #[must_use]
    pub fn of_the_engine(mut self) -> Self {
        self.debts.mark();
        self
    }

    /// A further charge against the budget that the batch is charged to; none when it is charged to no budget.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] when there is no room.
    pub(crate) fn another_charge(&self, bytes: usize) -> Result<Option<Charge>, Exhausted> {
        self.debts.charges().next().map(|charge| charge.another(bytes)).transpose()
    }

    /// Charges further bytes for as long as the batch is charged; none to a batch that is charged to no budget.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] when there is no room.
    pub(crate) fn charge_more(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let charge = self.another_charge(bytes)?;
        self.debts.ties.extend(charge.map(|charge| Tie::Charge(Arc::new(charge))));
        Ok(())
    }

    /// The signal of every record in it.
    pub fn signal(&self) -> Signal {
        self.payload.signal()
    }

    /// Log records, spans or data points.
    pub fn records(&self) -> u64 {
        self.payload.records()
    }

    /// Encoded size in bytes.
    pub fn encoded_len(&self) -> usize {
        self.payload.len()
    }

    /// What it carries.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The same debts and charge with another payload: what an edit makes of a batch.
    ///
    /// A batch with one debt owes it for the records that are left; what an edit took away on purpose is counted
    /// with the component's telemetry.
    #[must_use]
    pub fn map(self, change: impl FnOnce(Payload) -> Payload) -> Self {
        let Self { payload, mut debts, arrival } = self;
        let changed = change(payload);
        debts.now_for(changed.records());
        Self { payload: changed, debts, arrival }
    }

    /// [`map`](Self::map) on the bytes. A batch is structs only behind a transform that needed a tree. What has no bytes,
    /// because values are nested too deeply for anybody to decode, is counted as an error and as lost, and rejected as a
    /// sink would reject it; then there is no batch any more.
    #[must_use]
    pub fn map_wire(self, telemetry: &ComponentTelemetry, change: impl FnOnce(Wire) -> Wire) -> Option<Self> {
        let Self { payload, mut debts, arrival } = self;
        let records = payload.records();
        match payload.into_wire() {
            Ok(wire) => {
                let changed = change(wire);
                debts.now_for(changed.records());
                Some(Self { payload: changed.into(), debts, arrival })
            }
            Err(error) => {
                telemetry.error(UNENCODABLE, error.to_string());
                telemetry.discarded(UNENCODABLE, records);
                debts.answer(&Outcome::rejected(RejectionKind::Invalid, error.to_string()));
                None
            }
        }
    }

    /// Another batch that owes to the same receipts and carries `payload`: a branch of a fan-out, a part of a split.
    #[must_use]
    pub fn branch(&self, payload: Payload) -> Self {
        let debts = self.debts.branch(payload.records());
        Self { payload, debts, arrival: self.arrival.clone() }
    }

    /// Joins batches into one that owes what they owed and carries `payload`, which may hold bytes of all of them: the
    /// charge of each is kept until the result is answered. It is of no one peer.
    #[must_use]
    pub fn joined(batches: impl IntoIterator<Item = Self>, payload: Payload) -> Self {
        let mut debts = Debts::default();
        for batch in batches {
            debts.owed.extend(batch.debts.owed);
            debts.tie(batch.debts.ties);
        }
        Self { payload, debts, arrival: None }
    }

    /// Answers everything owed.
    pub fn answer(self, outcome: &Outcome) {
        self.debts.answer(outcome);
    }

    /// Loses the batch on purpose: counts its records under `reason` and answers Delivered.
    pub fn discard(self, reason: &'static str, telemetry: &ComponentTelemetry) {
        telemetry.discarded(reason, self.records());
        self.answer(&Outcome::Delivered);
    }

    /// Loses the batch because there is no way for it here, while there may be another: counts its records under `reason`, and
    /// answers that they could not be kept.
    pub(crate) fn lose(self, reason: &'static str, telemetry: &ComponentTelemetry) {
        telemetry.discarded(reason, self.records());
        self.debts.answer_unkept(None, reason);
    }

    pub(crate) fn into_parts(self) -> (Payload, Debts) {
        (self.payload, self.debts)
    }
}

impl Debts {
    /// Another set of debts to the same receipts, for `records` records.
    pub(crate) fn branch(&self, records: u64) -> Self {
        let merged = self.owed.len() > 1;
        let branched =
            |debt: &Debt| Debt { share: debt.share.split(), records: if merged { debt.records } else { records } };
        Self { owed: self.owed.iter().map(branched).collect(), ties: self.ties.clone() }
    }

    /// The debts of both halves of what was owed for, with so many records each.
    pub(crate) fn halved(mut self, first: u64, second: u64) -> [Self; 2] {
        let debts = self.branch(first);
        self.now_for(second);
        [debts, self]
    }

    /// What lives as long as they do, owing nothing to anybody.
    pub(crate) fn only_ties(&self) -> Self {
        Self { owed: SmallVec::new(), ties: self.ties.clone() }
    }

    /// Whose records they are, charged for nothing and owing nothing to anybody.
    pub(crate) fn only_origin(&self) -> Self {
        let mut debts = Self::default();
        if self.are_of_the_engine() {
            debts.mark();
        }
        debts
    }

    /// Whether they can stay charged for a while without being in the way of requests: they are charged, to a budget that is
    /// light.
    pub(crate) fn may_stay_charged(&self) -> bool {
        let mut charges = self.charges().peekable();
        charges.peek().is_some() && charges.all(|charge| charge.is_light())
    }

    /// Whether records that the engine tells of itself are among those of the batch.
    pub(crate) fn are_of_the_engine(&self) -> bool {
        self.ties.iter().any(|tie| matches!(tie, Tie::Engine))
    }

    fn mark(&mut self) {
        if !self.are_of_the_engine() {
            self.ties.push(Tie::Engine);
        }
    }

    fn tie(&mut self, ties: SmallVec<[Tie; 1]>) {
        for tie in ties {
            match tie {
                Tie::Charge(_) => self.ties.push(tie),
                Tie::Engine => self.mark(),
            }
        }
    }

    fn charges(&self) -> impl Iterator<Item = &Arc<Charge>> {
        self.ties.iter().filter_map(|tie| match tie {
            Tie::Charge(charge) => Some(charge),
            Tie::Engine => None,
        })
    }

    /// Answers everything owed. A partial success of a merged batch is Delivered for each of its parts: whose
    /// records were rejected is not known, and the rejection is counted where it was received.
    pub(crate) fn answer(self, outcome: &Outcome) {
        let merged = self.owed.len() > 1;
        for debt in self.owed {
            match outcome {
                Outcome::Partial { .. } if merged => debt.share.answer(&Outcome::Delivered, debt.records),
                _ => debt.share.answer(outcome, debt.records),
            }
        }
    }

    /// Answers everything owed: it could not be kept here. A success where another taker has kept it.
    pub(crate) fn answer_unkept(self, after: Option<Duration>, reason: &str) {
        self.owed.into_iter().for_each(|debt| debt.share.answer_unkept(after, reason));
    }

    /// Whether someone waited and nobody does any more (the client went away).
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_owed() && self.owed.iter().all(|debt| debt.share.is_abandoned())
    }

    /// Whether an answer is owed to anybody.
    pub(crate) fn is_owed(&self) -> bool {
        !self.owed.is_empty()
    }

    fn now_for(&mut self, records: u64) {
        if let [only] = self.owed.as_mut_slice() {
            only.records = records;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::budget::Budget;
    use crate::test_kit::{logs, nested_logs};

    /// Structs become bytes; those that cannot are counted and their sender hears of it.
    #[test]
    fn structs_become_bytes_or_are_rejected() {
        let telemetry = ComponentTelemetry::default();
        let batch = Batch::unacknowledged(nested_logs(3)).map_wire(&telemetry, |wire| wire).expect("it can be encoded");
        assert!(matches!(batch.payload(), Payload::Wire(_)) && batch.records() == 1);

        let (deep, receipt) = Batch::new(nested_logs(100));
        assert!(deep.map_wire(&telemetry, |wire| wire).is_none());
        assert!(matches!(receipt.now_or_never(), Some(Outcome::Rejected(_))));
        let counted = telemetry.read();
        assert_eq!((counted.discarded[UNENCODABLE], counted.errors[UNENCODABLE]), (1, 1));
    }

    /// What was joined may hold the bytes of every batch it was made of, so it stays charged for all of them.
    #[test]
    fn joined_batches_stay_charged_for_all() {
        let budget = Budget::new(100);
        let charged = |bytes: usize| {
            let charge = budget.try_charge(bytes).expect("there is room");
            Batch::new(logs(&[], 0..1)).0.charged(charge)
        };
        let joined = Batch::joined([charged(10), charged(20), charged(30)], logs(&[], 0..3));
        assert_eq!(budget.used(), 60);
        let branch = joined.branch(logs(&[], 0..1));
        joined.answer(&Outcome::Delivered);
        assert_eq!(budget.used(), 60, "a branch shares the bytes");
        branch.answer(&Outcome::Delivered);
        assert_eq!(budget.used(), 0);
    }

    /// Who sent records is known of everything made of them, but for what was joined with others'.
    #[test]
    fn the_peer_stays() {
        let peer = Arc::new(Peer::connected_now(([10, 0, 0, 7], 1).into()));
        let sent = || Batch::new(logs(&[], 0..2)).0.sent_by(Arc::clone(&peer));
        let telemetry = ComponentTelemetry::default();
        let branch = sent().branch(logs(&[], 0..1));
        let made = [sent().map(|payload| payload), branch];
        let made = made.into_iter().chain(sent().map_wire(&telemetry, |wire| wire));
        assert!(made.map(|batch| batch.arrival().map(|arrival| *arrival.peer)).all(|found| found == Some(*peer)));
        assert!(Batch::joined([sent(), sent()], logs(&[], 0..4)).arrival().is_none());
    }

    /// Whose records they are is told by everything that is made of them, and costs batches of others nothing.
    #[test]
    fn the_origin_stays() {
        let is_own = |batch: &Batch| batch.debts.are_of_the_engine();
        let own = || Batch::new(logs(&[], 0..2)).0.of_the_engine();
        let other = || Batch::unacknowledged(logs(&[], 0..2));
        assert!(is_own(&own()) && !is_own(&other()));
        let joined = Batch::joined([other(), own(), own()], logs(&[], 0..6));
        assert!(is_own(&joined) && is_own(&joined.branch(logs(&[], 0..1))));
        let telemetry = ComponentTelemetry::default();
        let changed = own().map(|payload| payload).map_wire(&telemetry, |wire| wire);
        assert!(changed.is_some_and(|batch| is_own(&batch)));
        assert!(own().debts.halved(1, 1).iter().all(Debts::are_of_the_engine));
        assert!(own().debts.only_origin().are_of_the_engine() && !other().debts.only_origin().are_of_the_engine());
        assert_eq!(size_of::<Tie>(), size_of::<Arc<Charge>>());
        // It is charged to no budget, and its mark is no charge.
        assert!(own().another_charge(1).is_ok_and(|charge| charge.is_none()));
    }
}
