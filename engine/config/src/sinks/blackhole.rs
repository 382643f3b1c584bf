//! Options of the `blackhole` sink.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;
use crate::sink::SinkDefaults;

/// Takes everything and throws it away, counted as delivered. For measuring what is in front of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Blackhole {}

impl ComponentOptions for Blackhole {
    const KIND: Kind = Kind::Sink;
    const TYPE: &'static str = "blackhole";
    const STABILITY: Stability = Stability::Beta;

    fn facts(&self) -> Facts {
        Facts::sink(SignalSet::ALL)
    }

    /// Never the bottleneck: one delivery a lane and some to spare.
    fn sink_defaults() -> SinkDefaults {
        SinkDefaults { batch: None, concurrency: NonZeroU32::new(64).expect("not zero") }
    }
}
