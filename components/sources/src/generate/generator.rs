//! An endless sequence of batches: the signals take turns, the records are counted.
//! The same seed gives the same sequence but for times. Not here: when a batch is due.

use bytes::Bytes;
use otlp::Signal;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::template::{Moment, Shape, Template};

/// Templates of a signal, so that not every batch says the same. Series must come again: metrics have one.
const VARIANTS: usize = 4;
/// Records in all templates of a signal: large batches vary enough in themselves.
const RECORDS_IN_VARIANTS: usize = 4096;

/// Makes batches.
#[derive(Debug)]
pub(super) struct Generator {
    lines: Vec<Line>,
    next: usize,
    shape: Shape,
    /// Records that may still be made.
    left: Option<u64>,
    /// When counters started, in nanoseconds since the Unix epoch.
    started: u64,
}

/// One batch.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) signal: Signal,
    pub(super) request: Bytes,
    pub(super) records: usize,
}

/// The batches of one signal.
#[derive(Debug)]
struct Line {
    signal: Signal,
    seed: u64,
    templates: Vec<Template>,
    random: StdRng,
    made: u64,
}

impl Generator {
    /// Makes up the templates. `count` is how many records are made in all; without it there is no end.
    pub(super) fn new(signals: &[Signal], shape: Shape, seed: u32, count: Option<u64>, started: u64) -> Generator {
        let lines = signals.iter().map(|signal| Line::new(*signal, shape, seed)).collect();
        Generator { lines, next: 0, shape, left: count, started }
    }

    /// The next batch at `now`, in nanoseconds since the Unix epoch; none when all records have been made.
    pub(super) fn next(&mut self, now: u64) -> Option<Made> {
        let wanted = self.shape.records;
        let records = match self.left {
            Some(left) => usize::try_from(left).unwrap_or(wanted).min(wanted),
            None => wanted,
        };
        if records == 0 {
            return None;
        }
        let place = self.next % self.lines.len().max(1);
        let line = self.lines.get_mut(place)?;
        self.next = place + 1;
        self.left = self.left.map(|left| left - records as u64);
        let shape = Shape { records, ..self.shape };
        let request = line.batch(shape, records == wanted, now, self.started);
        Some(Made { signal: line.signal, request, records })
    }
}

impl Line {
    fn new(signal: Signal, shape: Shape, seed: u32) -> Line {
        let variants = match signal {
            Signal::Metrics => 1,
            Signal::Logs | Signal::Traces => (RECORDS_IN_VARIANTS / shape.records).clamp(1, VARIANTS),
        };
        // The signals get numbers of their own, so that one more signal changes nothing in the others.
        let seed = u64::from(seed) << 16 | (signal as u64) << 8;
        let templates = (0..variants).map(|variant| Template::new(signal, shape, seed + variant as u64));
        Line { signal, seed, templates: templates.collect(), random: StdRng::seed_from_u64(seed + 0xff), made: 0 }
    }

    fn batch(&mut self, shape: Shape, is_whole: bool, now: u64, started: u64) -> Bytes {
        let variants = self.templates.len() as u64;
        let moment = Moment { now, started, round: self.made / variants + 1, ids: self.random.random() };
        let variant = self.made % variants;
        self.made += 1;
        if is_whole {
            return self.templates[variant as usize].batch(moment);
        }
        // The last batch of a counted run is a shorter one of its own.
        Template::new(self.signal, shape, self.seed + variant).batch(moment)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing batch is a failed test")]
    use super::*;

    const SHAPE: Shape = Shape { records: 10, resources: 2, attributes: 8, body_bytes: 128 };
    const NOW: u64 = 1_800_000_000_000_000_000;

    fn all(seed: u32, count: u64) -> Vec<Made> {
        let mut generator = Generator::new(&Signal::ALL, SHAPE, seed, Some(count), NOW);
        std::iter::from_fn(|| generator.next(NOW)).collect()
    }

    /// The same seed makes the same bytes at the same time, another seed makes others.
    #[test]
    fn a_seed_decides_everything() {
        let requests = |seed| all(seed, 95).into_iter().map(|made| made.request).collect::<Vec<_>>();
        assert_eq!(requests(7), requests(7));
        assert_ne!(requests(7), requests(8));
    }

    /// Signals take turns, and the records made add up to the count although it is no multiple of a batch.
    #[test]
    fn the_count_is_exact() {
        let made = all(1, 47);
        let signals: Vec<Signal> = made.iter().map(|made| made.signal).collect();
        let turns: Vec<Signal> = Signal::ALL.into_iter().cycle().take(5).collect();
        assert_eq!(signals, turns);
        for batch in &made {
            let wire = otlp::admit(batch.signal, batch.request.clone()).unwrap();
            assert_eq!(wire.records(), batch.records as u64);
        }
        assert_eq!(made.iter().map(|made| made.records).sum::<usize>(), 47);
    }

    /// A signal's batches do not depend on which other signals are made.
    #[test]
    fn signals_are_independent() {
        let mut alone = Generator::new(&[Signal::Traces], SHAPE, 3, None, NOW);
        let mut together = Generator::new(&Signal::ALL, SHAPE, 3, None, NOW);
        let traces = std::iter::from_fn(|| together.next(NOW)).filter(|made| made.signal == Signal::Traces);
        for made in traces.take(9) {
            assert_eq!(alone.next(NOW).unwrap().request, made.request);
        }
    }
}
