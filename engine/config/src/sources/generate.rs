//! Options of the `generate` source.

use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;
use crate::size::ByteSize;

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
    /// Records in one batch.
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

impl ComponentOptions for Generate {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "generate";
    const STABILITY: Stability = Stability::Beta;

    fn facts(&self) -> Facts {
        Facts { pull: true, ..Facts::source(SignalSet::ALL) }
    }
}
