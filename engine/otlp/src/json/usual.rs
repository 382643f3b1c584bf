//! Values and attributes as nearly every exporter writes them: one member, no white space, no escapes. Everything
//! about them is known before the first byte is written. What is written otherwise is the matter of `read`.

use super::any_value::Value;
use super::output::Output;
use super::scan::{self, Number, byte, word};

/// Writes the attribute at a position as a field, and returns where it ends.
#[inline]
pub(super) fn attribute(text: &[u8], at: usize, number: u32, out: &mut Output) -> Option<usize> {
    if word(text, at)? != u64::from_le_bytes(*b"{\"key\":\"") {
        return None;
    }
    let (key, end) = string(text, at + 8)?;
    if word(text, end)? != u64::from_le_bytes(*b",\"value\"") || byte(text, end + 8) != b':' {
        return None;
    }
    let (value, end) = value(text, end + 9)?;
    if byte(text, end) != b'}' {
        return None;
    }
    value.put_attribute(number, key, out.content());
    Some(end + 1)
}

/// Writes the value at a position as a field, and returns where it ends.
#[inline]
pub(super) fn any_value(text: &[u8], at: usize, number: u32, out: &mut Output) -> Option<usize> {
    let (value, end) = value(text, at)?;
    value.put_field(number, out.content());
    Some(end)
}

/// Reads `{"stringValue":"..."}` and the like.
#[inline]
fn value(text: &[u8], at: usize) -> Option<(Value<'_>, usize)> {
    const STRING: u64 = u64::from_le_bytes(*b"{\"string");
    const BOOL: u64 = u64::from_le_bytes(*b"{\"boolVa");
    const INT: u64 = u64::from_le_bytes(*b"{\"intVal");
    const DOUBLE: u64 = u64::from_le_bytes(*b"{\"double");
    let (value, end) = match word(text, at)? {
        STRING if word(text, at + 8)? == u64::from_le_bytes(*b"Value\":\"") => {
            let (content, end) = string(text, at + 16)?;
            (Value::String(content), end)
        }
        INT if text[at + 8..].starts_with(b"ue\":") => {
            let quoted = usize::from(byte(text, at + 12) == b'"');
            let (token, end) = scan::number(text, at + 12 + quoted, "").ok()?;
            if quoted == 1 && byte(text, end) != b'"' {
                return None;
            }
            let Number::Integer { negative, magnitude } = token else { return None };
            let positive = i64::try_from(magnitude).ok()?;
            (Value::Int(if negative { -positive } else { positive }), end + quoted)
        }
        BOOL if text[at + 8..].starts_with(b"lue\":") => {
            let (content, end) = super::value::boolean(text, at + 13).ok()?;
            (Value::Bool(content), end)
        }
        DOUBLE if text[at + 8..].starts_with(b"Value\":") => {
            let (_, end) = scan::number(text, at + 15, "").ok()?;
            (Value::Double(scan::double(&text[at + 15..end])?), end)
        }
        _ => return None,
    };
    (byte(text, end) == b'}').then_some((value, end + 1))
}

/// The plain string at a position behind its quote, and where it ends, behind the other quote.
#[inline(always)]
fn string(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let content = scan::plain(text, at).ok()??;
    Some((content, at + content.len() + 1))
}
