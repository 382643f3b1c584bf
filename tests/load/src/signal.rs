//! The three OTLP signals and where their export service lives.
//! Names only; nothing here reads or writes a message.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One OTLP signal. A metric's records are its data points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Signal {
    /// Log records.
    Logs,
    /// Spans.
    Spans,
    /// Metric data points.
    Points,
}

impl Signal {
    /// Every signal, in the order of the reports.
    pub const ALL: [Signal; 3] = [Signal::Logs, Signal::Spans, Signal::Points];

    /// The plural noun of the reports.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Spans => "spans",
            Signal::Points => "points",
        }
    }

    /// The gRPC method path of the signal's export call.
    pub fn path(self) -> &'static str {
        match self {
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Points => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// The signal that a gRPC method path exports, or nothing.
    pub fn from_path(path: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.path() == path)
    }
}
