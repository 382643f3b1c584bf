//! The three signals of OTLP. Nothing else about them differs in this crate but the names and the record messages.

use std::fmt;
use std::str::FromStr;

/// A signal of OTLP.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Signal {
    /// Log records.
    Logs,
    /// Metrics, counted in data points.
    Metrics,
    /// Spans.
    Traces,
}

/// The text names no signal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown signal `{0}`, expected logs, metrics or traces")]
pub struct UnknownSignal(pub String);

impl Signal {
    /// All signals, in the order of [`Signal::index`].
    pub const ALL: [Self; 3] = [Self::Logs, Self::Metrics, Self::Traces];

    /// The name used in configuration, metrics and paths (`/v1/logs`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }

    /// What one record of the signal is called in messages to users.
    pub const fn record_name(self) -> &'static str {
        match self {
            Self::Logs => "log record",
            Self::Metrics => "data point",
            Self::Traces => "span",
        }
    }

    /// Position in [`Signal::ALL`], for tables by signal.
    pub const fn index(self) -> usize {
        match self {
            Self::Logs => 0,
            Self::Metrics => 1,
            Self::Traces => 2,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == text).ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}
