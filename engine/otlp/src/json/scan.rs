//! Tokens of JSON: white space, strings, numbers and literals, many bytes at a time where it pays. What a token means
//! for a field is the matter of `value`.

use super::error::{Fault, Problem};

const ONES: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGH: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = ONES * b'"' as u64;
const BACKSLASHES: u64 = ONES * b'\\' as u64;
const SPACES: u64 = ONES * b' ' as u64;

/// Characters of a string up to one that ends it or needs a closer look.
#[derive(Copy, Clone)]
pub(super) struct Run {
    /// Where the quote, backslash or control character is, or the text ends.
    pub(super) end: usize,
    /// Whether there is a byte beyond ASCII, perhaps just behind the end.
    pub(super) high: bool,
}

/// How much of a string was skipped.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Skipped {
    /// All of it. It ends here, behind the quote.
    All(usize),
    /// Some of it. The rest begins here.
    Some(usize),
}

/// A number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Number {
    Integer {
        negative: bool,
        magnitude: u64,
    },
    /// One with a fraction or an exponent, or an integer of more than 64 bits.
    Decimal,
}

/// The longest number that is read, in bytes. A double is exact with 767 digits.
pub(super) const LONGEST_NUMBER: usize = 4096;

/// The longest part of a string that is read at once, in bytes.
const PIECE: usize = 64 * 1024;

/// The text up to where a string that begins at a position has to end to be read at once.
#[inline(always)]
pub(super) fn piece(text: &[u8], at: usize) -> &[u8] {
    &text[..text.len().min(at.saturating_add(PIECE))]
}

/// The text up to a position, or up to three bytes less, so that no character is cut.
pub(super) fn up_to(text: &[u8], stop: usize) -> &[u8] {
    let mut end = stop.min(text.len());
    for _ in 0..3 {
        if byte(text, end) & 0xc0 != 0x80 {
            break;
        }
        end -= 1;
    }
    &text[..end]
}

/// The byte at a position, and 0, which no token has, behind the end.
#[inline(always)]
pub(super) fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// The eight bytes from a position on.
#[inline(always)]
pub(super) fn word(text: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*text.get(at..)?.first_chunk::<8>()?))
}

/// Where the white space ends that begins here.
#[inline(always)]
pub(super) fn space(text: &[u8], mut at: usize) -> usize {
    if byte(text, at) > b' ' {
        return at;
    }
    while word(text, at) == Some(SPACES) {
        at += 8;
    }
    while matches!(byte(text, at), b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    at
}

/// Highest bits of the bytes that are a quote, a backslash or a control character. Bytes above the lowest of them may
/// be marked wrongly.
#[inline(always)]
pub(super) fn special(word: u64) -> u64 {
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    (zero(word ^ QUOTES) | zero(word ^ BACKSLASHES) | (word.wrapping_sub(SPACES) & !word)) & HIGH
}

/// The plain characters from a position on.
#[inline(always)]
pub(super) fn run(text: &[u8], start: usize) -> Run {
    let mut at = start;
    let mut seen = 0;
    while let Some(found) = word(text, at) {
        seen |= found;
        let marks = special(found);
        if marks != 0 {
            return Run { end: at + marks.trailing_zeros() as usize / 8, high: seen & HIGH != 0 };
        }
        at += 8;
    }
    let mut high = seen & HIGH != 0;
    while let Some(&found) = text.get(at) {
        if matches!(found, b'"' | b'\\' | 0..0x20) {
            break;
        }
        high |= found >= 0x80;
        at += 1;
    }
    Run { end: at, high }
}

/// The plain characters from a position on, which are UTF-8.
#[inline(always)]
pub(super) fn text_run(text: &[u8], start: usize) -> Result<usize, Fault> {
    let run = run(text, start);
    if run.high && simdutf8::basic::from_utf8(&text[start..run.end]).is_err() {
        return Err(utf8_fault(text, start, run.end));
    }
    Ok(run.end)
}

/// The string whose content begins at a position, if it is plain and not too long to be read at once.
#[inline(always)]
pub(super) fn plain(text: &[u8], at: usize) -> Result<Option<&[u8]>, Fault> {
    let run = run(piece(text, at), at);
    if byte(text, run.end) != b'"' {
        return Ok(None);
    }
    let content = &text[at..run.end];
    if run.high && simdutf8::basic::from_utf8(content).is_err() {
        return Err(utf8_fault(text, at, run.end));
    }
    Ok(Some(content))
}

#[cold]
fn utf8_fault(text: &[u8], start: usize, end: usize) -> Fault {
    let valid = std::str::from_utf8(&text[start..end]).map_or_else(|error| error.valid_up_to(), str::len);
    Fault { at: start + valid, problem: Problem::Utf8 }
}

/// What is wrong where a run ends neither in a quote nor in a backslash.
#[cold]
pub(super) fn end_fault(text: &[u8], at: usize) -> Fault {
    match text.get(at) {
        Some(_) => Fault { at, problem: Problem::ControlCharacter },
        None => Fault::expected(at, "the end of a string"),
    }
}

/// Where `literal` ends, which begins here.
#[inline]
pub(super) fn literal(text: &[u8], at: usize, literal: &'static str) -> Result<usize, Fault> {
    let rest = text.get(at..).unwrap_or_default();
    if rest.starts_with(literal.as_bytes()) {
        return Ok(at + literal.len());
    }
    Err(Fault::expected(at, literal))
}

/// Decodes the escape at a position, and returns the character and where the escape ends.
pub(super) fn escape(text: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let plain = match byte(text, at + 1) {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text, at).ok_or(Fault { at, problem: Problem::Escape }),
        _ => return Err(Fault { at, problem: Problem::Escape }),
    };
    Ok((plain, at + 2))
}

/// Decodes the escape at a position into `out`, and returns where it ends.
pub(super) fn unescape(text: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let (found, end) = escape(text, at)?;
    out.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(end)
}

/// Decodes `\u0000`, or two of them that are a pair of surrogates.
fn unicode(text: &[u8], at: usize) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at + 2..at + 6)?;
        digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
    };
    let first = unit(at)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, at + 6));
    }
    if text.get(at + 6..at + 8)? != b"\\u" {
        return None;
    }
    let second = unit(at + 6).filter(|second| (0xdc00..0xe000).contains(second))?;
    Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00)))?, at + 12))
}

/// Skips what is left of a string from a position on, up to `stop` or to the end of characters that need no closer look.
pub(super) fn skip_string(text: &[u8], mut at: usize, stop: usize) -> Result<Skipped, Fault> {
    loop {
        let end = text_run(text, at)?;
        at = match byte(text, end) {
            b'"' => return Ok(Skipped::All(end + 1)),
            b'\\' => escape(text, end)?.1,
            _ => return Err(end_fault(text, end)),
        };
        if at >= stop {
            return Ok(Skipped::Some(at));
        }
    }
}

/// The value of eight digits, or `None` when there are other characters among them.
#[inline(always)]
fn eight_digits(word: u64) -> Option<u64> {
    const ZEROS: u64 = ONES * b'0' as u64;
    let digits = word ^ ZEROS;
    // Digits are 0 to 9 now: adding 0x76 sets the highest bit of all others.
    if (digits | digits.wrapping_add(ONES * 0x76)) & HIGH != 0 {
        return None;
    }
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
}

/// Reads the number at a position by the grammar of JSON, and returns it and where it ends.
#[inline]
pub(super) fn number(text: &[u8], start: usize, expected: &'static str) -> Result<(Number, usize), Fault> {
    let negative = byte(text, start) == b'-';
    let first = start + usize::from(negative);
    let mut at = first;
    let mut magnitude = 0_u64;
    while let Some(value) = word(text, at).and_then(eight_digits)
        && at - first <= LONGEST_NUMBER
    {
        magnitude = magnitude.wrapping_mul(100_000_000).wrapping_add(value);
        at += 8;
    }
    loop {
        let digit = byte(text, at).wrapping_sub(b'0');
        if digit > 9 || at - first > LONGEST_NUMBER {
            break;
        }
        magnitude = magnitude.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    if at - start > LONGEST_NUMBER {
        return Err(Fault { at: start, problem: Problem::LongNumber });
    }
    if at == first || (byte(text, first) == b'0' && at > first + 1) {
        return Err(Fault::expected(start, expected));
    }
    let is_whole = !matches!(byte(text, at), b'.' | b'e' | b'E');
    if is_whole && at - first < 20 {
        return Ok((Number::Integer { negative, magnitude }, at));
    }
    long_number(text, first, at, start, expected).map(|(exact, end)| match exact {
        Some(exact) => (Number::Integer { negative, magnitude: exact }, end),
        None => (Number::Decimal, end),
    })
}

/// The rest of a number with a fraction, an exponent or more digits than any 64 bits hold.
fn long_number(
    text: &[u8],
    first: usize,
    digits_end: usize,
    start: usize,
    expected: &'static str,
) -> Result<(Option<u64>, usize), Fault> {
    let mut at = digits_end;
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default().iter();
        match rest.take(LONGEST_NUMBER + 1).take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(Fault::expected(start, expected)),
            count if from + count - start <= LONGEST_NUMBER => Ok(from + count),
            _ => Err(Fault { at: start, problem: Problem::LongNumber }),
        }
    };
    if byte(text, at) == b'.' {
        at = digits(at + 1)?;
    }
    if matches!(byte(text, at), b'e' | b'E') {
        at = digits(at + 1 + usize::from(matches!(byte(text, at + 1), b'+' | b'-')))?;
    }
    let exact = std::str::from_utf8(&text[first..digits_end]).ok().and_then(|digits| digits.parse().ok());
    Ok((exact.filter(|_| at == digits_end), at))
}

/// The value of a number that [`number`] has read. `None` when it is beyond what a double can hold.
pub(super) fn double(token: &[u8]) -> Option<f64> {
    short_double(token)
        .or_else(|| std::str::from_utf8(token).ok()?.parse().ok())
        .filter(|value: &f64| value.is_finite())
}

/// A number of few digits: both the digits and the power of ten are exact doubles then, and one division is rounded
/// as it should be (Clinger, How to Read Floating Point Numbers Accurately, 1990).
#[inline]
fn short_double(token: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    if token.len() > 17 {
        return None;
    }
    let (negative, digits) = match token.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, token),
    };
    let mut magnitude = 0_u64;
    let mut point = None;
    for (index, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => magnitude = magnitude * 10 + u64::from(byte - b'0'),
            b'.' => point = Some(index),
            _ => return None,
        }
    }
    let power = POWERS.get(point.map_or(0, |point| digits.len() - point - 1))?;
    if magnitude > 1 << 53 {
        return None;
    }
    let value = magnitude as f64 / power;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// The end of a run is found at every position, for every byte that ends one, and for none that does not.
    #[test]
    fn runs_end_where_they_should() {
        for len in 0..40 {
            for at in 0..len {
                for found in 0..=255 {
                    let mut text = vec![b'a'; len];
                    text[at] = found;
                    let ends = matches!(found, b'"' | b'\\' | 0..0x20);
                    let run = run(&text, 0);
                    assert_eq!(run.end, if ends { at } else { len }, "{found:#x} at {at} of {len}");
                    assert_eq!(run.high, found >= 0x80);
                }
            }
        }
        // A byte that follows the end, and borrows from it, does not move it.
        let text = b"abc\"\x21\x5d\x20\x80aaaaaaa";
        assert_eq!(run(text, 0).end, 3);
    }

    /// Every length of integer is exact, and only the grammar of JSON is a number.
    #[test]
    fn numbers_follow_the_grammar() {
        fn whole(text: &str) -> Result<(Number, &str), Fault> {
            number(text.as_bytes(), 0, "a number").map(|(found, end)| (found, &text[end..]))
        }
        let mut digits = String::new();
        for digit in "12345678901234567890".chars() {
            digits.push(digit);
            for behind in ["", ",", "}        ", " 12345678"] {
                let (found, rest) = whole(&format!("{digits}{behind}")).map(|(n, r)| (n, r.len())).unwrap();
                assert_eq!(found, Number::Integer { negative: false, magnitude: digits.parse().unwrap() });
                assert_eq!(rest, behind.len());
            }
        }
        let max = Number::Integer { negative: true, magnitude: u64::MAX };
        assert_eq!(whole("-18446744073709551615 ").unwrap(), (max, " "));
        assert_eq!(whole("18446744073709551616").unwrap(), (Number::Decimal, ""));
        for decimal in ["1.0", "1e3", "-0.5E-3", "0e0", "1E+5", "100000000000000000000000", "12345678.5"] {
            assert_eq!(whole(decimal).unwrap(), (Number::Decimal, ""), "{decimal}");
        }
        for wrong in ["", "-", "01", "-01", "00", "1.", "1.e3", "1e", "1e+", ".5", "+1", "a", "-a", "012345678"] {
            assert!(whole(wrong).is_err(), "{wrong}");
        }
    }

    /// Doubles are read as the standard library reads them, which is exact.
    #[test]
    fn doubles_are_exact() {
        let mut state = 1_u64;
        for round in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let text = match round % 3 {
                0 => format!("{}{}.{}", if state & 1 == 0 { "-" } else { "" }, state >> 40, state % 100_000_000),
                1 => format!("{}", f64::from_bits(state)),
                _ => format!("0.{:0width$}", state >> 50, width = (state % 9) as usize),
            };
            let Ok(expected) = text.parse::<f64>() else { continue };
            if expected.is_finite() {
                assert_eq!(double(text.as_bytes()).unwrap().to_bits(), expected.to_bits(), "{text}");
            }
        }
        assert_eq!(double(b"-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
        assert_eq!(double(b"1e400"), None);
        for (longest, longer) in [("1", "11"), ("0.1", "0.11"), ("1e0", "1e00")] {
            let fill = |form: &str| format!("{form}{}", form[form.len() - 1..].repeat(LONGEST_NUMBER - longest.len()));
            assert!(number(fill(longest).as_bytes(), 0, "").is_ok(), "{longest}");
            assert!(number(fill(longer).as_bytes(), 0, "").is_err(), "{longer}");
        }
        assert_eq!(double(b"5e-324"), Some(5e-324));
    }

    /// Pairs of surrogates are one character, and halves of one are none.
    #[test]
    fn escapes_are_decoded() {
        let text = br#"\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\ude00"#;
        let (mut out, mut at) = (String::new(), 0);
        while at < text.len() {
            let (found, next) = escape(text, at).unwrap();
            out.push(found);
            at = next;
        }
        assert_eq!(out, "\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{20ac}\u{1f600}");
        for wrong in [r#"\x""#, r#"\ud83d""#, r#"\ude00""#, r#"\ud83d\u0041""#, r#"\u12""#, r#"\u00g0""#, r"\", "abc"] {
            assert!(skip_string(wrong.as_bytes(), 0, usize::MAX).is_err(), "{wrong}");
            let is_escape = wrong.starts_with('\\');
            assert!(!is_escape || unescape(wrong.as_bytes(), 0, &mut Vec::new()).is_err(), "{wrong}");
        }
    }
}
