//! Times in lines: how they are written, and reading those that are written by conversions of `strptime`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::check::did_you_mean;

/// How a time is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TimeFormat {
    /// `2024-07-14T21:14:00.123Z`, with any offset.
    #[default]
    Rfc3339,
    /// A number since 1970, of which one unit is so many nanoseconds.
    Epoch(u64),
    /// Conversions of `strptime`.
    Conversions(String),
}

/// A text that is no format of times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeFormatError {
    /// Neither a name nor conversions.
    #[error("`{text}` is no format of times")]
    Unknown {
        /// What is written.
        text: String,
        /// The name that was meant.
        help: Option<String>,
    },
    /// Conversions that cannot be read back.
    #[error("`{text}`: {problem}")]
    Conversions {
        /// What is written.
        text: String,
        /// What is wrong.
        problem: String,
    },
}

/// Where a clock stands: `UTC`, an offset, or a name of the time zone database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String);

/// A text that is no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time zone")]
pub struct ZoneError(String);

/// Reads times that are written by conversions.
#[derive(Clone, Debug)]
pub struct ReadTime {
    conversions: String,
    zone: TimeZone,
}

/// Names of formats, and nanoseconds of their unit.
const EPOCHS: [(&str, u64); 4] =
    [("epoch_s", 1_000_000_000), ("epoch_ms", 1_000_000), ("epoch_us", 1_000), ("epoch_ns", 1)];

const RFC3339: &str = "rfc3339";

impl ReadTime {
    /// A reader of conversions.
    pub fn new(conversions: &str, zone: &Zone) -> Self {
        Self { conversions: conversions.to_owned(), zone: zone.get() }
    }

    /// Nanoseconds since 1970 of a time, `None` when the text is something else or a time before 1970. `now`, in the same
    /// unit, tells the year if the text does not: a time is at most a day ahead.
    pub fn unix_nanos(&self, text: &[u8], now: u64) -> Option<u64> {
        let parsed = BrokenDownTime::parse(&self.conversions, text).ok()?;
        let timestamp = self.resolve(parsed, now).ok()?;
        u64::try_from(timestamp.as_nanosecond()).ok()
    }

    fn resolve(&self, mut parsed: BrokenDownTime, now: u64) -> Result<Timestamp, jiff::Error> {
        let is_dated = parsed.timestamp().is_some() || parsed.year().is_some() || parsed.iso_week_year().is_some();
        if is_dated {
            return self.timestamp(&parsed);
        }
        let latest = Timestamp::from_nanosecond(i128::from(now))?.saturating_add(SignedDuration::from_hours(24))?;
        let year = latest.to_zoned_datetime(self.zone.clone()).year();
        parsed.set_year(Some(year))?;
        match self.timestamp(&parsed) {
            Ok(timestamp) if timestamp <= latest => Ok(timestamp),
            // The 29th of February is of a year that has it.
            _ => {
                parsed.set_year(Some(year - 1))?;
                self.timestamp(&parsed)
            }
        }
    }

    fn timestamp(&self, parsed: &BrokenDownTime) -> Result<Timestamp, jiff::Error> {
        if parsed.timestamp().is_some() || parsed.offset().is_some() {
            return parsed.to_timestamp();
        }
        self.zone.to_timestamp(parsed.to_datetime()?)
    }
}

impl FromStr for TimeFormat {
    type Err = TimeFormatError;

    fn from_str(text: &str) -> Result<Self, TimeFormatError> {
        if text == RFC3339 {
            return Ok(Self::Rfc3339);
        }
        if let Some((_, nanos)) = EPOCHS.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Epoch(*nanos));
        }
        if !text.contains('%') {
            let names = EPOCHS.iter().map(|(name, _)| *name).chain([RFC3339]);
            return Err(TimeFormatError::Unknown { text: text.to_owned(), help: did_you_mean(text, names) });
        }
        let refused = |problem: String| TimeFormatError::Conversions { text: text.to_owned(), problem };
        // 2001-09-09T01:46:40Z, which has two digits in all but the day and the month.
        let example = Timestamp::from_second(1_000_000_000).expect("in range").to_zoned_datetime(TimeZone::UTC);
        let written = BrokenDownTime::from(&example).to_string(text).map_err(|error| refused(error.to_string()))?;
        let parsed = BrokenDownTime::parse(text, &written).map_err(|error| refused(error.to_string()))?;
        let reader = Self::reader(text);
        match reader.resolve(parsed, 1_000_000_000_000_000_000) {
            Ok(_) => Ok(Self::Conversions(text.to_owned())),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

impl TimeFormat {
    fn reader(conversions: &str) -> ReadTime {
        ReadTime::new(conversions, &Zone::default())
    }
}

impl TryFrom<String> for TimeFormat {
    type Error = TimeFormatError;

    fn try_from(text: String) -> Result<Self, TimeFormatError> {
        text.parse()
    }
}

impl From<TimeFormat> for String {
    fn from(format: TimeFormat) -> Self {
        format.to_string()
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rfc3339 => RFC3339,
            Self::Epoch(nanos) => EPOCHS.iter().find(|(_, unit)| unit == nanos).map_or("epoch_s", |(name, _)| name),
            Self::Conversions(text) => text,
        })
    }
}

impl JsonSchema for TimeFormat {
    fn schema_name() -> Cow<'static, str> {
        "TimeFormat".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "log-time" })
    }
}

impl Zone {
    /// The time zone.
    pub fn get(&self) -> TimeZone {
        Self::find(&self.0).expect("it was found when it was read")
    }

    fn find(text: &str) -> Option<TimeZone> {
        if text == "UTC" {
            return Some(TimeZone::UTC);
        }
        if let Some(sign) = text.bytes().next().filter(|sign| matches!(sign, b'+' | b'-')) {
            let (hours, minutes) = text[1..].split_once(':')?;
            let number = |digits: &str, most: i32| {
                let is_number = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
                digits.parse::<i32>().ok().filter(|number| is_number && *number <= most)
            };
            let seconds = number(hours, 23)? * 3600 + number(minutes, 59)? * 60;
            let offset = Offset::from_seconds(if sign == b'-' { -seconds } else { seconds }).ok()?;
            return Some(TimeZone::fixed(offset));
        }
        TimeZone::get(text).ok()
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        Self::find(text).map(|_| Self(text.to_owned())).ok_or_else(|| ZoneError(text.to_owned()))
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(text: String) -> Result<Self, ZoneError> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl JsonSchema for Zone {
    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "time-zone" })
    }
}
