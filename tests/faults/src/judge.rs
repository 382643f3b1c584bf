//! What a run found: clients' knowledge against the oracle's, the engine's ledger, and the bars of the run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Code;

use crate::engine::figures::Figures;
use crate::engine::status::Status;
use crate::oracle::Oracle;
use crate::producer::Told;

/// Clients' knowledge against the oracle's, in records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Answered with success.
    pub acknowledged: u64,
    /// Came, each once.
    pub delivered: u64,
    /// Answered with success, and did not come.
    pub missing: u64,
    /// Came, and were never sent.
    pub spurious: u64,
    /// Are not as they were sent.
    pub corrupted: u64,
    /// How often a record came beyond the first time.
    pub duplicates: u64,
    /// Came for the first time behind a later one of the same client.
    pub inversions: u64,
}

impl Findings {
    /// Compares.
    pub fn of(told: &Told, oracle: &Oracle) -> Self {
        let tallies = oracle.tallies();
        let counts = oracle.counts();
        let mut findings = Self {
            acknowledged: told.acknowledged(),
            delivered: counts.distinct,
            duplicates: counts.duplicates,
            inversions: counts.inversions,
            corrupted: counts.corrupted,
            ..Self::default()
        };
        for (client, tally) in &tallies {
            findings.spurious += tally.spurious(told.clients.get(client).map_or(0, |client| client.issued));
        }
        findings.missing = told.clients.keys().map(|client| missing(told, oracle, *client)).sum();
        findings
    }
}

/// How many records of a client were answered with success and did not come.
pub fn missing(told: &Told, oracle: &Oracle, client: u32) -> u64 {
    let Some(known) = told.clients.get(&client) else { return 0 };
    let ranges = known.acknowledged.iter();
    oracle.with(client, |tally| match tally {
        Some(tally) => ranges.map(|range| tally.missing(range)).sum(),
        None => known.acknowledged.len(),
    })
}

/// What a run found, and what of it is not as it should be.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed that it ran with.
    pub seed: u64,
    /// Why nothing was done: what this machine lacks.
    pub skipped: Option<String>,
    /// The comparison.
    pub findings: Findings,
    /// Of what is missing, what the engine has counted as lost.
    pub counted: u64,
    /// How often requests were refused, by code.
    pub refusals: BTreeMap<i32, u64>,
    /// How long it took.
    pub took: Duration,
    /// How long it took after the fault until everything had arrived.
    pub settled: Duration,
    /// The most memory and files of the engine.
    pub peak: Figures,
    /// The 99th percentile of the way of records that nothing is done to, before the fault and meanwhile.
    pub p99: Option<(Duration, Duration)>,
    /// What else was measured, in words.
    pub measured: Vec<String>,
    /// What is not as it should be, whatever the machine.
    pub violations: Vec<String>,
    /// What took too long. A machine with more to do may be the reason.
    pub late: Vec<String>,
}

impl Report {
    /// One of a run that this machine cannot do.
    pub(crate) fn lacking(seed: u64, what: &str, error: impl std::fmt::Display) -> Self {
        Self { seed, skipped: Some(format!("{what}: {error:#}")), ..Self::default() }
    }

    /// Notes a violation unless something holds.
    pub fn require(&mut self, holds: impl Into<Option<bool>>, otherwise: impl FnOnce() -> String) {
        if holds.into() != Some(true) {
            self.violations.push(otherwise());
        }
    }

    /// Notes that the fault did not hit unless it did: then the run proves nothing.
    pub fn require_hit(&mut self, hit: impl Into<Option<bool>>, what: &str) {
        self.require(hit, || format!("void: {what}"));
    }

    /// Notes that something took too long unless it is within its bound.
    pub fn require_within(&mut self, what: &str, took: Duration, bound: Duration) {
        if took > bound {
            self.late.push(format!("{what} took {:.1} s, at most {:.1} s", took.as_secs_f64(), bound.as_secs_f64()));
        }
    }

    /// Notes how long records took that nothing is done to, before the fault and meanwhile, in microseconds; at most twice as
    /// long.
    pub(crate) fn require_same_pace(&mut self, before: &Histogram<u64>, meanwhile: &Histogram<u64>) {
        // Of what does not come nobody knows how long it took.
        let came = [before, meanwhile].map(Histogram::len);
        self.require(!came.contains(&0), || {
            format!("of those that nothing is done to {came:?} came before and meanwhile")
        });
        let [before, meanwhile] = [before, meanwhile].map(|times| Duration::from_micros(times.value_at_quantile(0.99)));
        self.require_within("p99 of those that nothing is done to", meanwhile, before * 2);
        self.p99 = Some((before, meanwhile));
    }

    /// Compares what clients know with what came. Nothing may be missing beyond `lost`, which the engine has counted.
    pub(crate) fn compare(&mut self, told: &Told, oracle: &Oracle, lost: u64) {
        self.findings = Findings::of(told, oracle);
        self.counted = lost;
        self.refusals.clone_from(&told.refusals);
        let Findings { missing, spurious, corrupted, .. } = self.findings;
        self.require(missing <= lost, || format!("{missing} records are missing, {lost} are counted as lost"));
        self.require(spurious == 0, || format!("{spurious} records came that nobody has sent"));
        self.require(corrupted == 0, || format!("{corrupted} records are not as they were sent"));
        for (code, (count, message)) in &told.rejections {
            let code = Code::from(*code);
            self.violations.push(format!("{count} requests were answered {code:?}, not to be sent again: {message}"));
        }
    }

    /// Checks every ledger of an engine.
    pub(crate) fn require_balance(&mut self, status: &Status) {
        for (sink, ledger) in status.ledgers() {
            self.require(ledger.balances(), || format!("the ledger of {sink} does not balance: {ledger:?}"));
        }
    }

    /// Everything in one paragraph, for a test that fails.
    pub fn in_words(&self) -> String {
        let mut text = format!("seed {}, {:.1} s\n{:?}", self.seed, self.took.as_secs_f64(), self.findings);
        for (title, lines) in [("violation", &self.violations), ("late", &self.late), ("measured", &self.measured)] {
            for line in lines {
                text += &format!("\n{title}: {line}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;
    use crate::producer::ClientTold;
    use crate::record::frame;

    /// Two clients that have sent so many records, and know of the first that they were taken.
    fn told(issued: u64, acknowledged: u64) -> Told {
        let mut client = ClientTold { issued, ..ClientTold::default() };
        client.acknowledged.insert(0..acknowledged);
        Told { clients: [(1, client.clone()), (2, client)].into(), ..Told::default() }
    }

    /// What is missing, came again and was never sent is found; what is uncertain is neither.
    #[test]
    fn findings_tell_what_is_wrong() {
        let oracle = Oracle::default();
        for (client, numbers) in [(1, 0..30), (1, 20..40), (2, 0..10), (3, 0..5)] {
            oracle.take(&frame(client, "a", numbers, 1)[5..]).unwrap();
        }
        // Client 2 has sent 35 and knows of 20 that they were taken.
        let findings = Findings::of(&told(35, 20), &oracle);
        let expected = Findings {
            acknowledged: 40,
            delivered: 55,
            missing: 10,
            spurious: 10,
            duplicates: 10,
            ..Findings::default()
        };
        assert_eq!(findings, expected);
        let mut report = Report::default();
        report.compare(&told(35, 20), &oracle, 0);
        assert_eq!(report.violations.len(), 2, "{}", report.in_words());
        let mut fine = Report::default();
        fine.compare(&told(40, 10), &Oracle::default(), 20);
        assert!(fine.violations.is_empty(), "{}", fine.in_words());
    }

    /// Records that do not come at all are not as fast as before.
    #[test]
    fn what_does_not_come_has_no_pace() {
        let times = |micros: &[u64]| {
            let mut times = Histogram::new_with_bounds(1, 1 << 30, 2).unwrap();
            micros.iter().for_each(|micros| times.record(*micros).unwrap());
            times
        };
        let (before, none) = (times(&[1000, 2000]), times(&[]));
        let pace = |meanwhile| {
            let mut report = Report::default();
            report.require_same_pace(&before, meanwhile);
            (report.violations.len(), report.late.len())
        };
        assert_eq!([pace(&times(&[3000])), pace(&times(&[9000])), pace(&none)], [(0, 0), (0, 1), (1, 0)]);
    }
}
