//! `Span`: a length of time that a person writes as `"5s"` or `"100ms"`.
//!
//! Not a point in time and not a position in a file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time with millisecond resolution. Written as whole numbers with a unit: `"100ms"`, `"5s"`, `"2m"`,
/// `"1h30m"`. A number without a unit is refused, because nobody can tell seconds from milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// A text that is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration")]
pub struct SpanError(String);

/// Units that are read, largest first: a text names each at most once and in this order.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// So many milliseconds.
    pub const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    /// So many seconds.
    pub const fn secs(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }

    /// As the standard library's duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Deref for Span {
    type Target = Duration;
    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return formatter.write_str("0s");
        }
        // A day is read, not printed: "24h" and "48h" are what people write.
        for (name, unit) in &UNITS[1..] {
            let count = rest / unit;
            rest %= unit;
            if count > 0 {
                write!(formatter, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.to_owned());
        let mut rest = text;
        let mut millis: u64 = 0;
        let mut next_unit = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let count: u64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let name = &rest[..letters];
            rest = &rest[letters..];
            let index = UNITS.iter().position(|(unit, _)| *unit == name).ok_or_else(error)?;
            if index < next_unit {
                return Err(error());
            }
            next_unit = index + 1;
            let part = count.checked_mul(UNITS[index].1).ok_or_else(error)?;
            millis = millis.checked_add(part).ok_or_else(error)?;
        }
        if next_unit == 0 {
            return Err(error());
        }
        Ok(Self::millis(millis))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // "duration" is JSON Schema's name for ISO 8601 durations, hence the own name.
        json_schema!({
            "type": "string",
            "format": "time-span",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// What is printed reads back as the same time.
    #[test]
    fn printing_and_reading_agree() {
        for millis in [0, 1, 100, 1_000, 61_001, 5_400_000, 86_400_000, 90_061_001] {
            let span = Span::millis(millis);
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span, "{span}");
        }
        assert_eq!(Span::millis(5_400_000).to_string(), "1h30m");
        assert_eq!("1d".parse::<Span>().unwrap(), Span::secs(86_400));
    }

    /// No unit, a fraction, a repeated or misordered unit and overflow are refused.
    #[test]
    fn what_is_not_a_duration() {
        for text in ["", "5", "s", "1.5s", "-1s", "1s1s", "1s1m", "5 s", "5sec", "99999999999999999h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
