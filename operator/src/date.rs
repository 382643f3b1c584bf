//! Days of the calendar, for messages.

use k8s_openapi::jiff::Timestamp;

/// The day of a moment in seconds since 1970, in UTC: `2026-11-30`.
pub fn day(seconds: i64) -> String {
    let moment = Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX });
    moment.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day is the one in UTC, and no number of a certificate is too large.
    #[test]
    fn days_are_written() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(1_796_947_199), "2026-12-10");
        assert_eq!(day(i64::MAX), "9999-12-30");
    }
}
