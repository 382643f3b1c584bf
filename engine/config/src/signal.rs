//! Sets of signals: what a component carries, as `signals = ["logs"]`.
//!
//! The signals themselves are `otlp::Signal`.

use std::borrow::Cow;
use std::fmt;

use otlp::Signal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// All signals in the order in which they are printed.
pub const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];

/// A set of signals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SignalSet(u8);

impl SignalSet {
    /// No signal.
    pub const NONE: Self = Self(0);
    /// Every signal.
    pub const ALL: Self = Self(0b111);
    /// Only logs.
    pub const LOGS: Self = Self::of(Signal::Logs);
    /// Only metrics.
    pub const METRICS: Self = Self::of(Signal::Metrics);
    /// Only traces.
    pub const TRACES: Self = Self::of(Signal::Traces);

    /// The set of one signal.
    pub const fn of(signal: Signal) -> Self {
        match signal {
            Signal::Logs => Self(0b001),
            Signal::Metrics => Self(0b010),
            Signal::Traces => Self(0b100),
        }
    }

    /// Whether the set holds no signal.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many signals the set holds.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set holds `signal`.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & Self::of(signal).0 != 0
    }

    /// What either set holds.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets hold.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What this set holds and `other` does not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The signals in printing order.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        SIGNALS.into_iter().filter(move |signal| self.contains(*signal))
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::NONE, |set, signal| set.union(Self::of(signal)))
    }
}

/// Prints `logs, metrics`, or `no signal`.
impl fmt::Display for SignalSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("no signal");
        }
        for (position, signal) in self.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", signal.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{{{self}}}")
    }
}

impl Serialize for SignalSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.len()))?;
        for signal in self.iter() {
            sequence.serialize_element(signal.as_str())?;
        }
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for SignalSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<Cow<'de, str>>::deserialize(deserializer)?;
        let mut set = Self::NONE;
        for name in names {
            let signal = SIGNALS.into_iter().find(|signal| signal.as_str() == name);
            let signal = signal.ok_or_else(|| de::Error::unknown_variant(&name, &["logs", "metrics", "traces"]))?;
            set = set.union(Self::of(signal));
        }
        Ok(set)
    }
}

impl JsonSchema for SignalSet {
    fn schema_name() -> Cow<'static, str> {
        "SignalSet".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": { "type": "string", "enum": ["logs", "metrics", "traces"] },
            "minItems": 1,
            "uniqueItems": true,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// Sets behave as sets and print in one fixed order.
    #[test]
    fn set_algebra() {
        let set: SignalSet = [Signal::Traces, Signal::Logs].into_iter().collect();
        assert_eq!(set.to_string(), "logs, traces");
        assert_eq!(SignalSet::ALL.without(set), SignalSet::METRICS);
        assert!(set.intersection(SignalSet::METRICS).is_empty());
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["logs","traces"]"#);
        assert_eq!(serde_json::from_str::<SignalSet>(r#"["traces","logs"]"#).unwrap(), set);
        assert!(serde_json::from_str::<SignalSet>(r#"["spans"]"#).is_err());
    }
}
