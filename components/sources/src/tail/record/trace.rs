//! Trace context in lines.

use otlp::json::Value;

/// Which trace a record belongs to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Trace {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: Option<[u8; 8]>,
    pub(super) flags: Option<u8>,
}

/// An id in hexadecimal. One of zeros only is none.
pub(super) fn id<const N: usize>(value: Value<'_>) -> Option<[u8; N]> {
    let Value::String(text) = value else { return None };
    hexadecimal(text).filter(|id| id.iter().any(|byte| *byte != 0))
}

/// Flags in hexadecimal, or as a number.
pub(super) fn flags(value: Value<'_>) -> Option<u8> {
    match value {
        Value::String(text) => hexadecimal::<1>(text).map(|[flags]| flags),
        Value::Int(number) => u8::try_from(number).ok(),
        _ => None,
    }
}

/// A `traceparent` of W3C Trace Context. Later versions may append more.
pub(super) fn traceparent(value: Value<'_>) -> Option<Trace> {
    let Value::String(text) = value else { return None };
    let (head, rest) = text.split_first_chunk::<55>()?;
    let [version] = hexadecimal::<1>(&head[..2]).filter(|[version]| *version != 0xff)?;
    let is_ended = rest.is_empty() || (version > 0 && rest[0] == b'-');
    if !is_ended || [head[2], head[35], head[52]] != *b"---" {
        return None;
    }
    let trace_id = id(Value::String(&head[3..35]))?;
    let span_id = id(Value::String(&head[36..52]))?;
    let [flags] = hexadecimal::<1>(&head[53..])?;
    Some(Trace { trace_id, span_id: Some(span_id), flags: Some(flags) })
}

fn hexadecimal<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    let mut seen = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen < 16).then_some(bytes)
}

/// The value of each digit of either case; above all digits otherwise.
static DIGITS: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};
