//! Options of the `internal` source.

use otlp::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{ComponentOptions, Facts, Kind, ServiceId, Stability};
use crate::omit::is_default;
use crate::ratio::Ratio;
use crate::signal::SignalSet;
use crate::span::Span;

/// Brings the engine's own metrics, log and traces as OTLP, to watch it by its own means. Metrics are those of `/metrics`, by
/// the same names but for `_total` at the end of counters, with the same attributes. Log events come with their fields as
/// attributes, limited as the log is. Traces are off unless `traces.sampling_ratio` asks for them. At most 2048 log records
/// and 2048 spans wait, then the oldest are dropped and counted as `queue_full`. The resource is `telemetry-engine` with
/// version, host, role and an instance id that is new with every start.
///
/// What handing these records on logs is no record itself, a delivery that carries any of them has no span, and that a
/// backend refuses nothing but them for good is told in the log only. `signals` narrows to some of metrics, logs and, where
/// they are asked for, traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Internal {
    /// Time between two readings of the metrics.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub interval: Span,
    /// What is taken from the log.
    #[serde(skip_serializing_if = "is_default")]
    pub logs: LogOptions,
    /// Which of the engine's work is traced.
    #[serde(skip_serializing_if = "is_default")]
    pub traces: TraceOptions,
}

/// What is taken from the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogOptions {
    /// The least important level. Never more than what `--log-level` lets the program tell.
    pub level: LogLevel,
}

/// Which of the engine's work is traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TraceOptions {
    /// The share of requests to `otlp` sources and of attempts of sinks to deliver that get a span. 0: no traces. More than
    /// 0: requests whose `traceparent` says that their sender sampled them get one besides, as its child.
    ///
    /// The span of a request (kind SERVER) is named by the semantic conventions of OpenTelemetry for gRPC
    /// (`opentelemetry.proto.collector.logs.v1.LogsService/Export`) and HTTP (`POST /v1/logs`), with their attributes. That of
    /// an attempt (kind CLIENT) is named `deliver`, begins a trace of its own because it joins many requests, and has an
    /// `attempt` that counts from 1. Both have `component_id`, `component_type`, `signal`, `records`, `bytes` and `outcome`;
    /// refusals have the status ERROR.
    pub sampling_ratio: Ratio,
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
        Self { interval: Span::secs(60), logs: LogOptions::default(), traces: TraceOptions::default() }
    }
}

impl ComponentOptions for Internal {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "internal";
    const STABILITY: Stability = Stability::Beta;

    fn facts(&self) -> Facts {
        let traces = (self.traces.sampling_ratio > Ratio::ZERO).then_some(Signal::Traces);
        let signals = [Signal::Metrics, Signal::Logs].into_iter().chain(traces).collect::<SignalSet>();
        Facts { pull: true, ..Facts::source(signals) }.needs([], ServiceId::self_telemetry())
    }
}
