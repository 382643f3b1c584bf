//! Options of the `internal` source.

use otlp::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{ComponentOptions, Facts, Kind, ServiceId, Stability};
use crate::omit::is_default;
use crate::signal::SignalSet;
use crate::span::Span;

/// Brings the engine's own metrics and log as OTLP, to watch it by its own means. Metrics are those of `/metrics`, by the
/// same names but for `_total` at the end of counters, with the same attributes. Log events come with their fields as
/// attributes, limited as the log is; at most 2048 wait, then the oldest are dropped and counted. The resource is
/// `telemetry-engine` with version, host, role and an instance id that is new with every start. What handing these records
/// on logs is no record itself. `signals` narrows to metrics or logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Internal {
    /// Time between two readings of the metrics.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub interval: Span,
    /// What is taken from the log.
    #[serde(skip_serializing_if = "is_default")]
    pub logs: LogOptions,
}

/// What is taken from the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogOptions {
    /// The least important level. Never more than what `--log-level` lets the program tell.
    pub level: LogLevel,
}

/// Levels of events, the most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What the engine does, in large steps.
    #[default]
    Info,
    /// What the engine does.
    Debug,
    /// What everything does, libraries included.
    Trace,
}

impl Default for Internal {
    fn default() -> Self {
        Self { interval: Span::secs(60), logs: LogOptions::default() }
    }
}

impl ComponentOptions for Internal {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "internal";
    const STABILITY: Stability = Stability::Beta;

    fn facts(&self) -> Facts {
        let signals = [Signal::Metrics, Signal::Logs].into_iter().collect::<SignalSet>();
        Facts { pull: true, ..Facts::source(signals) }.needs([], ServiceId::self_telemetry())
    }
}
