//! Times, durations and sizes as people read them. Times are UTC: a reader of logs from several places needs one clock.

use std::fmt;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// A time in nanoseconds since the Unix epoch, shown as `2026-11-24 08:14:03.123Z`; 0 is unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) u64);

/// A duration in nanoseconds, shown in the unit that leaves few digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elapsed {
    nanos: u64,
    /// Clocks of two machines differ, so an end may lie before its start.
    is_negative: bool,
}

/// A number of bytes, shown in the largest binary unit that it has one of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(f64);

impl Size {
    /// A size that is easier to read in a larger unit; none for small numbers and what is no size.
    pub(super) fn of_many(bytes: f64) -> Option<Self> {
        (bytes.is_finite() && bytes.abs() >= 1024.0).then_some(Self(bytes))
    }
}

impl Elapsed {
    pub(super) const fn between(start: u64, end: u64) -> Self {
        Self { nanos: start.abs_diff(end), is_negative: end < start }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return formatter.write_str("no time                 ");
        }
        let seconds = self.0 / NANOS_PER_SECOND;
        let millis = self.0 % NANOS_PER_SECOND / 1_000_000;
        let (year, month, day) = date(seconds / SECONDS_PER_DAY);
        let (hour, minute, second) = (seconds % SECONDS_PER_DAY / 3_600, seconds % 3_600 / 60, seconds % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_negative {
            formatter.write_str("-")?;
        }
        match self.nanos {
            nanos @ 0..1_000 => write!(formatter, "{nanos}ns"),
            nanos @ 1_000..1_000_000 => tenths(formatter, nanos / 100, "\u{b5}s"),
            nanos @ 1_000_000..NANOS_PER_SECOND => tenths(formatter, nanos / 100_000, "ms"),
            nanos if nanos < 60 * NANOS_PER_SECOND => {
                let hundredths = nanos / 10_000_000;
                write!(formatter, "{}.{:02}s", hundredths / 100, hundredths % 100)
            }
            nanos => {
                let seconds = nanos / NANOS_PER_SECOND;
                match seconds / 3_600 {
                    0 => write!(formatter, "{}m{:02}s", seconds / 60, seconds % 60),
                    hours => write!(formatter, "{hours}h{:02}m{:02}s", seconds % 3_600 / 60, seconds % 60),
                }
            }
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut scaled = self.0 / 1024.0;
        let mut unit = 0;
        while scaled.abs() >= 1024.0 && unit + 1 < UNITS.len() {
            scaled /= 1024.0;
            unit += 1;
        }
        write!(formatter, "{scaled:.1}{}", UNITS[unit])
    }
}

fn tenths(formatter: &mut fmt::Formatter<'_>, tenths: u64, unit: &str) -> fmt::Result {
    write!(formatter, "{}.{}{unit}", tenths / 10, tenths % 10)
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the
/// leap day is the last one of its year (Hinnant, "chrono-compatible low-level date algorithms").
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known dates, among them leap days, ends of centuries and the last moment that can be written.
    #[test]
    fn shows_times() {
        let seconds = |seconds: u64| Moment(seconds * NANOS_PER_SECOND).to_string();
        assert_eq!(seconds(1), "1970-01-01 00:00:01.000Z");
        assert_eq!(seconds(951_782_400), "2000-02-29 00:00:00.000Z");
        assert_eq!(seconds(951_868_800), "2000-03-01 00:00:00.000Z");
        assert_eq!(seconds(1_709_251_199), "2024-02-29 23:59:59.000Z");
        assert_eq!(seconds(4_107_542_399), "2100-02-28 23:59:59.000Z");
        assert_eq!(seconds(4_107_542_400), "2100-03-01 00:00:00.000Z");
        assert_eq!(Moment(u64::MAX).to_string(), "2554-07-21 23:34:33.709Z");
        assert_eq!(Moment(0).to_string().len(), seconds(1).len());
    }

    /// Bytes are shown in the unit that leaves few digits, and small numbers not at all.
    #[test]
    fn shows_sizes() {
        let shown = |bytes| Size::of_many(bytes).map(|size| size.to_string());
        assert_eq!(shown(1023.0), None);
        assert_eq!(shown(f64::NAN), None);
        assert_eq!(shown(1024.0).as_deref(), Some("1.0KiB"));
        assert_eq!(shown(7_204_036_608.0).as_deref(), Some("6.7GiB"));
        assert_eq!(shown(-2_097_152.0).as_deref(), Some("-2.0MiB"));
        assert_eq!(shown(1e24).as_deref(), Some("867361.7EiB"));
    }

    /// Each range has its unit, and nothing is rounded up into the next one.
    #[test]
    fn shows_durations() {
        let shown = |nanos| Elapsed::between(0, nanos).to_string();
        assert_eq!(shown(0), "0ns");
        assert_eq!(shown(999), "999ns");
        assert_eq!(shown(12_345), "12.3\u{b5}s");
        assert_eq!(shown(999_999), "999.9\u{b5}s");
        assert_eq!(shown(212_400_000), "212.4ms");
        assert_eq!(shown(3_219_000_000), "3.21s");
        assert_eq!(shown(59_999_999_999), "59.99s");
        assert_eq!(shown(123_000_000_000), "2m03s");
        assert_eq!(shown(7_384_000_000_000), "2h03m04s");
        assert_eq!(Elapsed::between(5_000_000, 1_000_000).to_string(), "-4.0ms");
    }
}
