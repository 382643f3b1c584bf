//! Times as lines have them.

use engine_config::sources::log_format::{ReadTime, RecordKeys, TimeFormat};

const NANOS: u64 = 1_000_000_000;

/// Reads the times of keys and groups.
#[derive(Debug)]
pub(super) enum KeyTime {
    Rfc3339,
    /// Nanoseconds of one unit.
    Epoch(u64),
    Conversions(Box<ReadTime>),
}

impl KeyTime {
    pub(super) fn new(keys: &RecordKeys) -> Self {
        match &keys.time_format {
            TimeFormat::Rfc3339 => Self::Rfc3339,
            TimeFormat::Epoch(unit) => Self::Epoch(*unit),
            TimeFormat::Conversions(conversions) => {
                Self::Conversions(Box::new(ReadTime::new(conversions, &keys.time_zone)))
            }
        }
    }

    /// Nanoseconds since 1970. `now`, in the same unit, completes what the text leaves open.
    pub(super) fn read(&self, text: &[u8], now: u64) -> Option<u64> {
        match self {
            Self::Rfc3339 => rfc3339(text).filter(|(_, len)| *len == text.len()).map(|(time, _)| time),
            Self::Epoch(unit) => epoch(text, *unit),
            Self::Conversions(reader) => reader.unix_nanos(text, now),
        }
    }
}

/// Reads a time as RFC 3339 has it at the start of a text: nanoseconds since 1970, and where it ends. What is finer than a
/// nanosecond is cut off. `None` when it is something else, or before 1970 or after 2554.
#[inline]
pub(super) fn rfc3339(text: &[u8]) -> Option<(u64, usize)> {
    let (date, rest) = text.split_first_chunk::<19>()?;
    let [c0, c1, y0, y1, b'-', m0, m1, b'-', d0, d1, b'T' | b't' | b' ', h0, h1, b':', i0, i1, b':', s0, s1] = *date
    else {
        return None;
    };
    let year = two(c0, c1)? * 100 + two(y0, y1)?;
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
    // A leap second is the first of the next minute.
    if day == 0 || day > days_of(month, year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, fraction_len) = match rest {
        [b'.', digits @ ..] => {
            let (fraction, len) = nanos(digits)?;
            (fraction, len + 1)
        }
        _ => (0, 0),
    };
    let (offset, zone_len) = match rest[fraction_len..] {
        [b'Z' | b'z', ..] => (0, 1),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1, ..] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
            (if sign == b'+' { seconds } else { -seconds }, 6)
        }
        _ => return None,
    };
    let clock = i64::from(hour * 3600 + minute * 60 + second);
    let seconds = u64::try_from(days_since_1970(year, month, day) * 86_400 + clock - offset).ok()?;
    Some((seconds.checked_mul(NANOS)?.checked_add(fraction)?, 19 + fraction_len + zone_len))
}

/// The number of two digits.
#[inline(always)]
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(u32::from(tens) * 10 + u32::from(ones))
}

/// Nanoseconds of a fraction of a second, and how many digits it has.
#[inline]
fn nanos(text: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    let mut len = 0;
    while let Some(digit) = text.get(len).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        if len < 9 {
            value = value * 10 + u64::from(digit);
        }
        len += 1;
    }
    (len > 0).then(|| (value * 10_u64.pow(9 - len.min(9) as u32), len))
}

fn days_of(month: u32, year: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    }
}

/// Days of the Gregorian calendar: years begin in March, so that the day that comes and goes is the last one.
#[inline]
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (i64::from(year), month - 3) } else { (i64::from(year) - 1, month + 9) };
    let century = year.div_euclid(100);
    let day_of_year = i64::from((153 * month + 2) / 5 + day - 1);
    365 * year + year.div_euclid(4) - century + century.div_euclid(4) + day_of_year - 719_468
}

/// Reads a number of units since 1970, which may have a fraction.
fn epoch(text: &[u8], unit: u64) -> Option<u64> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b"0"[..]),
    };
    if let (Some(whole), true) = (digits(whole), fraction.iter().all(u8::is_ascii_digit)) {
        let (nanos, _) = nanos(fraction)?;
        let part = u128::from(nanos) * u128::from(unit) / u128::from(NANOS);
        return whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?);
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let nanos = number * unit as f64;
    (nanos >= 0.0 && nanos < u64::MAX as f64).then_some(nanos as u64)
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
