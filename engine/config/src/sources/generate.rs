//! Options of the `generate` source.

use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;
use crate::size::ByteSize;

/// The largest batch that is made, by estimate.
const LARGEST_BATCH: ByteSize = ByteSize::mib(64);
/// About what a record takes besides its body and attributes, and what one attribute takes.
const RECORD_BYTES: u64 = 200;
const ATTRIBUTE_BYTES: u64 = 32;

/// Makes up logs, metrics and traces, to try a pipeline out and to measure it. The same seed gives the same records,
/// except for their times. `signals` says which; the signals take turns batch by batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Generate {
    /// Records a second (log records, data points, spans together). Without it as many as the sinks take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU64>,
    /// Stop after this many records. Without it the source never stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<NonZeroU64>,
    /// Records in one batch. At a slow `rate` a batch holds no more than one second's worth.
    #[schemars(range(min = 1, max = 100_000))]
    pub records_per_batch: NonZeroU32,
    /// Resources that the records of a batch are spread over.
    #[schemars(range(min = 1, max = 10_000))]
    pub resources: NonZeroU32,
    /// Attributes of each record.
    #[schemars(range(max = 128))]
    pub attributes: u32,
    /// Length of a log body.
    #[schemars(extend("x-maximum" = "1MiB"))]
    pub body_size: ByteSize,
    /// Start of the pseudo-random numbers.
    pub seed: u32,
}

impl Default for Generate {
    fn default() -> Self {
        Self {
            rate: None,
            count: None,
            records_per_batch: NonZeroU32::new(100).expect("not zero"),
            resources: NonZeroU32::MIN,
            attributes: 8,
            body_size: ByteSize::bytes(128),
            seed: 0,
        }
    }
}

impl Generate {
    /// Records in one batch as it is made: at most a second's worth of a slow rate, so that data keeps coming.
    pub fn batch_records(&self) -> u32 {
        let wanted = self.records_per_batch.get();
        let rate = self.rate.map_or(u64::MAX, NonZeroU64::get);
        u32::try_from(rate).map_or(wanted, |rate| wanted.min(rate))
    }

    /// Bytes of a record, by estimate.
    fn record_bytes(&self) -> u64 {
        RECORD_BYTES + u64::from(self.attributes) * ATTRIBUTE_BYTES + self.body_size.as_u64()
    }
}

impl ComponentOptions for Generate {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "generate";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        let (records, record_bytes) = (u64::from(self.batch_records()), self.record_bytes());
        if records.saturating_mul(record_bytes) > LARGEST_BATCH.as_u64() {
            let message =
                format!("{records} records of about {record_bytes} bytes make a batch larger than {LARGEST_BATCH}");
            checker.error(["records_per_batch"], message).help("lower it, `body_size` or `attributes`");
        }
    }

    fn facts(&self) -> Facts {
        Facts { pull: true, ..Facts::source(SignalSet::ALL) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::{Catalog, Environment, ParseOptions, SourceFile, load};

    fn problems(options: &str) -> Option<String> {
        let text = format!(
            "version = 1\n[sources.made]\ntype = \"generate\"\n{options}\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"made\"]\n"
        );
        let files = [SourceFile::new("engine.toml", text)];
        let loaded = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default());
        loaded.err().map(|problems| problems.to_string())
    }

    /// A batch that would not fit into memory is an error of the configuration; a slow rate makes it smaller.
    #[test]
    fn gigantic_batches_are_refused() {
        assert_eq!(problems("records_per_batch = 50"), None);
        let text = problems("records_per_batch = 100000\nbody_size = \"1KiB\"").unwrap();
        assert!(text.contains("make a batch larger than 64MiB"), "{text}");
        assert_eq!(problems("records_per_batch = 100000\nbody_size = \"1KiB\"\nrate = 100"), None);
    }

    /// A batch holds at most a second's worth.
    #[test]
    fn slow_rates_make_small_batches() {
        let slow = Generate { rate: NonZeroU64::new(3), ..Generate::default() };
        assert_eq!(slow.batch_records(), 3);
        assert_eq!(Generate::default().batch_records(), 100);
    }
}
