//! Scalar values: what a number, a string or a literal means for a field, and the field that it becomes.

use super::error::{Fault, Problem};
use super::output::Output;
use super::scan::{self, Number as Token, byte};
use super::text;
use crate::protobuf::{put_length_head, put_varint};
use crate::schema::{Kind, NAME_WORDS, Number};

/// From here on a double does not tell one integer from the next.
const BEYOND_EXACT: f64 = 9_007_199_254_740_992.0;

/// From here on a double is no integer of 64 bits.
const BEYOND_INTEGERS: f64 = 9_223_372_036_854_775_808.0;

/// What a field takes, in words.
pub(super) const fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Varint(Number::Bool) => "a boolean",
        Kind::Varint(Number::I32 | Number::Zigzag32) => "an integer of 32 bits",
        Kind::Varint(Number::U32) | Kind::Fixed32 => "an unsigned integer of 32 bits",
        Kind::Fixed64(Number::Double) | Kind::Fixed64s(Number::Double) => "a number",
        Kind::Varint(Number::I64) | Kind::Fixed64(Number::I64) => "an integer of 64 bits",
        Kind::Varint(_) | Kind::Fixed64(_) | Kind::Varints | Kind::Fixed64s(_) => "an unsigned integer of 64 bits",
        Kind::String => "a string",
        Kind::Bytes => "a string in base64",
        Kind::Id => "a string in hexadecimal",
        Kind::Message(_) | Kind::Absent => "an object",
    }
}

/// Reads one value that is neither a string nor a message, and writes it as a field; of a list of numbers, as an
/// element. Returns where the value ends.
#[inline]
pub(super) fn read(
    text: &[u8],
    at: usize,
    (number, kind): (u32, Kind),
    out: &mut Output,
    scratch: &mut Vec<u8>,
) -> Result<usize, Fault> {
    match kind {
        Kind::Varint(Number::Bool) => {
            let (value, end) = boolean(text, at)?;
            out.put_varint_field(number, u64::from(value));
            Ok(end)
        }
        _ => {
            let (bits, end) = scalar(text, at, kind, scratch)?;
            match kind {
                Kind::Varints => put_varint(out.content(), bits),
                Kind::Fixed64s(_) => out.content().extend_from_slice(&bits.to_le_bytes()),
                Kind::Fixed64(_) => out.put_fixed64_field(number, bits),
                Kind::Fixed32 => out.put_fixed32_field(number, bits as u32),
                _ => out.put_varint_field(number, bits),
            }
            Ok(end)
        }
    }
}

/// Reads a whole number with an exponent that is no integer of 64 bits, and returns a double's bits and where it ends.
/// JavaScript has no integers: its exporters call every whole number one, and it writes those from 1e21 on like this.
#[cold]
pub(super) fn whole_double(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let (_, end) = scan::number(text, at, "").ok()?;
    let token = &text[at..end];
    let value = scan::double(token).filter(|value| value.fract() == 0.0 && value.abs() >= BEYOND_INTEGERS)?;
    token.contains(&b'e').then_some((value.to_bits(), end))
}

pub(super) fn boolean(text: &[u8], at: usize) -> Result<(bool, usize), Fault> {
    match byte(text, at) {
        b't' => Ok((true, scan::literal(text, at, "true")?)),
        b'f' => Ok((false, scan::literal(text, at, "false")?)),
        _ => Err(Fault::expected(at, expected(Kind::Varint(Number::Bool)))),
    }
}

/// Reads a number, or a string that holds one, and returns its bits and where it ends.
#[inline]
fn scalar(text: &[u8], at: usize, kind: Kind, scratch: &mut Vec<u8>) -> Result<(u64, usize), Fault> {
    let wanted = expected(kind);
    if byte(text, at) != b'"' {
        let (token, end) = scan::number(text, at, wanted)?;
        let bits = bits_of(token, &text[at..end], kind).ok_or(Fault::expected(at, wanted))?;
        return Ok((bits, end));
    }
    let (content, end) = string(text, at, wanted, scratch)?;
    if content.len() > scan::LONGEST_NUMBER {
        return Err(Fault { at, problem: Problem::LongNumber });
    }
    let bits = bits_of_text(content, kind).ok_or(Fault::expected(at, wanted))?;
    Ok((bits, end))
}

/// Bits of a number that stands in a string.
fn bits_of_text(content: &[u8], kind: Kind) -> Option<u64> {
    if let Kind::Fixed64(Number::Double) | Kind::Fixed64s(Number::Double) = kind {
        match content {
            b"NaN" => return Some(f64::NAN.to_bits()),
            b"Infinity" => return Some(f64::INFINITY.to_bits()),
            b"-Infinity" => return Some(f64::NEG_INFINITY.to_bits()),
            _ => {}
        }
    }
    let (token, end) = scan::number(content, 0, "").ok()?;
    if end < content.len() { None } else { bits_of(token, content, kind) }
}

/// Bits of a number as a field of some kind has them, if it can hold the number.
#[inline]
fn bits_of(token: Token, digits: &[u8], kind: Kind) -> Option<u64> {
    if let Kind::Fixed64(Number::Double) | Kind::Fixed64s(Number::Double) = kind {
        return scan::double(digits).map(f64::to_bits);
    }
    let (negative, magnitude) = match token {
        Token::Integer { negative, magnitude } => (negative, magnitude),
        // The JSON mapping lets integers be written as 1.0 or 1e3.
        Token::Decimal => {
            let value = scan::double(digits).filter(|value| value.fract() == 0.0)?;
            (value < 0.0, Some(value.abs()).filter(|size| *size < BEYOND_EXACT)? as u64)
        }
    };
    let signed = || {
        let limit = i64::MAX.unsigned_abs() + u64::from(negative);
        let bits = if negative { magnitude.wrapping_neg() } else { magnitude };
        (magnitude <= limit).then_some(bits.cast_signed())
    };
    let unsigned = (!negative || magnitude == 0).then_some(magnitude);
    match kind {
        Kind::Varint(Number::I32) => i32::try_from(signed()?).ok().map(|number| i64::from(number).cast_unsigned()),
        Kind::Varint(Number::Zigzag32) => {
            i32::try_from(signed()?).ok().map(|number| u64::from((number << 1 ^ number >> 31).cast_unsigned()))
        }
        Kind::Varint(Number::U32) | Kind::Fixed32 => u32::try_from(unsigned?).ok().map(u64::from),
        Kind::Varint(Number::I64) | Kind::Fixed64(Number::I64) => signed().map(i64::cast_unsigned),
        _ => unsigned,
    }
}

/// Reads a string of hexadecimal or base64. A long one, or one with escapes, is begun only: then what is returned is
/// `None`.
pub(super) fn plain_encoded(
    text: &[u8],
    at: usize,
    (number, kind): (u32, Kind),
    out: &mut Output,
) -> Result<Option<usize>, Fault> {
    if byte(text, at) != b'"' {
        return Err(Fault::expected(at, expected(kind)));
    }
    let end = scan::run(scan::piece(text, at), at + 1).end;
    if byte(text, end) != b'"' {
        return Ok(None);
    }
    let content = &text[at + 1..end];
    // What the length says if the content is valid; if it is not, nothing of the output is used.
    let len = if matches!(kind, Kind::Id) { content.len() / 2 } else { text::base64_len(content) };
    put_length_head(out.content(), number, len);
    decode(kind, content, out).ok_or(Fault::expected(at, expected(kind)))?;
    Ok(Some(end + 1))
}

/// Decodes as much of the beginning of a string of hexadecimal or base64 as cannot be its end, and removes it.
pub(super) fn decode_beginning(kind: Kind, content: &mut Vec<u8>, out: &mut Output) -> Option<()> {
    let unit = if matches!(kind, Kind::Id) { 2 } else { 4 };
    let whole = content.len().saturating_sub(unit) / unit * unit;
    // Padding stands at the end only.
    if content[..whole].contains(&b'=') {
        return None;
    }
    decode(kind, &content[..whole], out)?;
    content.drain(..whole);
    Some(())
}

/// Decodes what is left of a string of hexadecimal or base64.
pub(super) fn decode(kind: Kind, content: &[u8], out: &mut Output) -> Option<()> {
    let decode = if matches!(kind, Kind::Id) { text::decode_hexadecimal } else { text::decode_base64 };
    decode(content, out.content())
}

/// Reads a string that holds a number, and returns its content and where it ends, behind the quote. Only one with escapes
/// is copied.
fn string<'s>(
    text: &'s [u8],
    at: usize,
    wanted: &'static str,
    scratch: &'s mut Vec<u8>,
) -> Result<(&'s [u8], usize), Fault> {
    if byte(text, at) != b'"' {
        return Err(Fault::expected(at, wanted));
    }
    let plain = scan::run(scan::piece(text, at), at + 1).end;
    if byte(text, plain) == b'"' {
        return Ok((&text[at + 1..plain], plain + 1));
    }
    scratch.clear();
    let mut next = at + 1;
    loop {
        let end = scan::run(scan::piece(text, next), next).end;
        scratch.extend_from_slice(&text[next..end]);
        if scratch.len() > scan::LONGEST_NUMBER {
            return Err(Fault { at, problem: Problem::LongNumber });
        }
        match byte(text, end) {
            b'"' => return Ok((scratch, end + 1)),
            b'\\' => next = scan::unescape(text, end, scratch)?,
            _ => return Err(scan::end_fault(text, end)),
        }
    }
}

/// Reads a string value. A long one, or one with escapes, is begun only: then what is returned is `None`.
#[inline]
pub(super) fn plain_string(text: &[u8], at: usize, number: u32, out: &mut Output) -> Result<Option<usize>, Fault> {
    if byte(text, at) != b'"' {
        return Err(Fault::expected(at, expected(Kind::String)));
    }
    let Some(content) = scan::plain(text, at + 1)? else { return Ok(None) };
    out.put_bytes_field(number, content);
    Ok(Some(at + content.len() + 2))
}

/// A key of an object.
#[derive(Copy, Clone)]
pub(super) enum Key {
    /// One that may be the name of a field: its characters, filled up with zeros.
    Short([u64; NAME_WORDS]),
    /// No field is called so.
    Other,
    /// It is longer than all names, and goes on.
    Long,
}

/// Reads a key behind its quote, and returns it and where it ends, behind the other quote, or goes on.
#[inline]
pub(super) fn key(text: &[u8], at: usize, scratch: &mut Vec<u8>) -> Result<(Key, usize), Fault> {
    let mut words = [0; NAME_WORDS];
    let mut next = at;
    for place in &mut words {
        let Some(found) = scan::word(text, next) else { break };
        let marks = scan::special(found);
        if marks != 0 {
            let len = marks.trailing_zeros() as usize / 8;
            *place = found & !(u64::MAX << (8 * len));
            next += len;
            if byte(text, next) == b'"' && next > at {
                // Of what is not UTF-8 nothing is known.
                let is_ascii = words.iter().all(|word| word & scan::HIGH == 0);
                return if is_ascii { Ok((Key::Short(words), next + 1)) } else { long_key(text, at, scratch) };
            }
            break;
        }
        *place = found;
        next += 8;
    }
    long_key(text, at, scratch)
}

/// A key that is longer than all names, near the end of the text, or written with escapes.
#[cold]
fn long_key(text: &[u8], at: usize, scratch: &mut Vec<u8>) -> Result<(Key, usize), Fault> {
    let mut words = [0; NAME_WORDS];
    scratch.clear();
    let mut next = at;
    let end = loop {
        let run_end = scan::text_run(text, next)?;
        if scratch.len() + (run_end - next) > 8 * words.len() {
            return Ok((Key::Long, run_end));
        }
        scratch.extend_from_slice(&text[next..run_end]);
        match byte(text, run_end) {
            b'"' => break run_end + 1,
            b'\\' => next = scan::unescape(text, run_end, scratch)?,
            _ => return Err(scan::end_fault(text, run_end)),
        }
    };
    if scratch.is_empty() || scratch.contains(&0) {
        return Ok((Key::Other, end));
    }
    for (index, byte) in scratch.iter().enumerate() {
        words[index / 8] |= u64::from(*byte) << (8 * (index % 8));
    }
    Ok((Key::Short(words), end))
}

impl Key {
    /// Whether the key is this text.
    pub(super) fn is(self, name: &str) -> bool {
        let Self::Short(words) = self else { return false };
        let padded = name.bytes().chain(std::iter::repeat(0));
        name.len() <= 8 * words.len()
            && words.iter().flat_map(|word| word.to_le_bytes()).eq(padded.take(8 * words.len()))
    }
}

/// The fault of a key that occurs twice.
pub(super) const fn duplicate(at: usize) -> Fault {
    Fault { at, problem: Problem::DuplicateKey }
}
