//! What rotation makes of a file's name: `app.log` becomes `app.log.1`, `app.log.old`, `app.log-20261130` or
//! `0.log.20261130-101500`, and each of them may be compressed to the same with `.gz`.

/// Digits that tell a date from a number.
const DIGITS_OF_A_DATE: usize = 8;

/// The name that a file had before it was rotated, if its name is one that rotation makes.
pub(super) fn base_of(name: &str) -> Option<&str> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let end = plain.rfind(['.', '-']).and_then(|_| suffix_start(plain));
    match end {
        Some(end) if end > 0 => Some(&plain[..end]),
        // Compressed in place.
        _ => (plain.len() < name.len() && !plain.is_empty()).then_some(plain),
    }
}

/// Whether a file of this name is compressed.
pub(super) fn is_compressed(name: &str) -> bool {
    name.ends_with(".gz")
}

/// The date in a name that rotation makes. Of two files of one log the one with the lesser date is older, whatever the times
/// of the files: the kubelet compresses one right before it rotates the next.
pub(super) fn date_of(name: &str) -> Option<&str> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let suffix = &plain[suffix_start(plain)?..];
    let digits = suffix.bytes().filter(u8::is_ascii_digit).count();
    (digits >= DIGITS_OF_A_DATE).then_some(suffix)
}

/// Where the suffix begins: `.old`, or a point or dash and then digits with the punctuation of dates.
fn suffix_start(name: &str) -> Option<usize> {
    if let Some(base) = name.strip_suffix(".old") {
        return Some(base.len());
    }
    let is_of_a_date =
        |character: char| character.is_ascii_digit() || matches!(character, '.' | '-' | '_' | ':' | 'T' | 'Z' | '+');
    let tail = name.trim_end_matches(is_of_a_date);
    let suffix = &name[tail.len()..];
    let digit = suffix.find(|character: char| character.is_ascii_digit())?;
    // `app-1.log` ends in no digit; `log.` and `x2` have no separator in front of one.
    let separator = suffix[..digit].rfind(['.', '-'])?;
    suffix.ends_with(|character: char| character.is_ascii_digit() || character == 'Z').then_some(tail.len() + separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dates stand in the order of time, and numbers are no dates.
    #[test]
    fn finds_dates() {
        let dates = ["0.log.20261130-101500.gz", "0.log.20261130-102500", "0.log.20261201-000000"].map(date_of);
        assert!(dates.is_sorted() && dates.iter().all(Option::is_some), "{dates:?}");
        for name in ["app.log", "app.log.1", "app.log.10.gz", "app.log.old", "app-20261130.log"] {
            assert_eq!(date_of(name), None, "{name}");
        }
    }

    /// Names that rotation makes lead back to the file's own, and names of other files lead nowhere.
    #[test]
    fn finds_the_file_that_was_rotated() {
        for (name, base) in [
            ("app.log.1", Some("app.log")),
            ("app.log.1.gz", Some("app.log")),
            ("app.log.gz", Some("app.log")),
            ("app.log.old", Some("app.log")),
            ("app.log-20261130", Some("app.log")),
            ("app.log-20261130.gz", Some("app.log")),
            ("app.log-2026-11-30T10:15:00Z", Some("app.log")),
            ("0.log.20261130-101500", Some("0.log")),
            ("0.log.20261130-101500.gz", Some("0.log")),
            ("syslog.2", Some("syslog")),
            ("app.log", None),
            ("app-1.log", None),
            ("0.log", None),
            ("0.log.20261130-101500.tmp", None),
            ("app2", None),
            (".1", None),
            (".gz", None),
            ("", None),
        ] {
            assert_eq!(base_of(name), base, "{name}");
        }
    }
}
