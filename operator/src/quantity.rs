//! Amounts as Kubernetes writes them: `512Mi`, `1.5G`, `2e9`.

/// An amount in whole units, rounded up; `None` for what is none, or is less than nothing.
pub fn bytes(text: &str) -> Option<u64> {
    // Below 2^53 every whole number is one of these.
    amount(text).filter(|amount| (0.0..9e15).contains(amount)).map(|amount| amount.ceil() as u64)
}

/// An amount in units; `None` for what is none.
pub fn amount(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 16] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("", 1.0),
    ];
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, factor)))?;
    let amount = number.parse::<f64>().ok()? * factor;
    amount.is_finite().then_some(amount)
}

/// A number of bytes in the largest unit that divides it, or rounded up to `Ki`.
pub fn text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    if bytes == 0 {
        return "0".to_owned();
    }
    let (unit, factor) = UNITS.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor)).unwrap_or(UNITS[3]);
    format!("{}{unit}", bytes.div_ceil(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written is read again, never less than it was.
    #[test]
    fn amounts_are_written() {
        for (amount, expected) in [
            (0, "0"),
            (1, "1Ki"),
            (1 << 30, "1Gi"),
            (3 << 29, "1536Mi"),
            ((1 << 30) + 1, "1048577Ki"),
            (5 << 40, "5Ti"),
        ] {
            assert_eq!(text(amount), expected);
            assert!(bytes(expected).is_some_and(|read| read >= amount));
        }
    }

    /// The forms that the API server takes.
    #[test]
    fn amounts_are_read() {
        for (text, expected) in [
            ("512Mi", Some(536_870_912)),
            ("1.5G", Some(1_500_000_000)),
            ("2e9", Some(2_000_000_000)),
            ("128974848", Some(128_974_848)),
            ("128974848000m", Some(128_974_848)),
            ("1Gi", Some(1 << 30)),
            ("-1", None),
            ("much", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
