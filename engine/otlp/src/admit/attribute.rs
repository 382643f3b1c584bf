//! Attributes as clients write them: a key and a text, a number or a boolean. Where they are read from is the matter of
//! `scan` and `usual`, and so is their text: this counts the bytes that are known to have their highest bit set.

use super::ascii::count_high;
use crate::protobuf::varint;

/// Room for what is looked at of an attribute whose lengths take a byte each: 4 bytes, a key, 5 bytes.
const WINDOW: usize = 4 + 255 + 5;

/// Passes attributes with this key at the start of `bytes`, of which the last `behind` are not theirs, and returns how
/// many bytes they take and how many of these are known to have their highest bit set; with `exact`, attributes that have
/// such bytes are not passed.
///
/// It stops at what is no attribute of a usual form, and where less than a window is left: every byte that is looked at
/// lies in it, so that one comparison makes all reads sound. Where the next attribute begins depends on one byte of this
/// one, so that both are looked at side by side.
#[inline(always)]
pub(super) fn pass_attributes(bytes: &[u8], behind: usize, tag: u8, exact: bool) -> (usize, usize) {
    let mut rest = bytes;
    let mut high = 0;
    let theirs = |after: &[u8]| after.len() >= behind;
    while let Some(window) = rest.first_chunk::<WINDOW>() {
        // Key and length of the attribute, key and length of its key; lengths below 128.
        let len = window[1];
        let head = u32_at(window, 0);
        let key_len = (head >> 24) as u8;
        if head & 0x80ff_80ff == 0x000a_0000 | u32::from(tag) {
            let value_at = 4 + usize::from(key_len);
            // Key and length of the value; key of what it is, and the length of a text or the first byte of a number.
            let value = u32_at(window, value_at);
            let value_len = i64::from(len) - i64::from(key_len) - 4;
            // A text is two bytes shorter than the value. Without them the sum is negative, and equal to nothing.
            let after = &rest[2 + usize::from(len)..];
            if !theirs(after) {
                break;
            }
            if i64::from(value) == value_len * 0x0100_0100 + (0x000a_0012 - 0x0200_0000) {
                rest = after;
                continue;
            }
            let number = value & 0x80ff_ffff;
            // An integer below 128, or a boolean.
            if value_len == 2 && matches!(number, 0x0018_0212 | 0x0010_0212) {
                rest = after;
                continue;
            }
            // An integer below 16384.
            if value_len == 3 && number == 0x8018_0312 && window[value_at + 4] < 0x80 && !exact {
                rest = after;
                high += 1;
                continue;
            }
        } else if window[0] != tag {
            break;
        }
        let Some((other_len, other_high)) = other_attribute(rest) else { break };
        let after = &rest[other_len..];
        if !theirs(after) || exact && other_high > 0 {
            break;
        }
        rest = after;
        high += other_high;
    }
    (bytes.len() - rest.len(), high)
}

#[inline(always)]
fn u32_at(window: &[u8; WINDOW], at: usize) -> u32 {
    window[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The length of the attribute at the start of `bytes`, and how many bytes of it are known to have their highest bit
/// set; `None` for a value of another kind, and for lengths of more than two bytes.
#[inline(never)]
fn other_attribute(bytes: &[u8]) -> Option<(usize, usize)> {
    let (len, len_len) = short_length(bytes, 1)?;
    let key_at = 1 + len_len;
    let end = key_at + len;
    let (key_len, key_len_len) = short_length(bytes, key_at + 1)?;
    let value_at = key_at + 1 + key_len_len + key_len;
    let (value_len, value_len_len) = short_length(bytes, value_at + 1)?;
    let content_at = value_at + 1 + value_len_len;
    if bytes[key_at] != 0x0a || bytes[value_at] != 0x12 || content_at + value_len != end {
        return None;
    }
    let high = match bytes.get(content_at..end)? {
        content @ [0x0a, ..] => {
            let (text_len, text_len_len) = short_length(content, 1)?;
            (1 + text_len_len + text_len == value_len).then_some(text_len_len - 1)?
        }
        [0x10 | 0x18, number @ ..] => {
            let (_, number_len) = varint(number)?;
            (number_len == number.len()).then_some(number_len - 1)?
        }
        [0x21, number @ ..] if number.len() == 8 => count_high(number),
        _ => return None,
    };
    Some((end, high + len_len + key_len_len + value_len_len - 3))
}

/// Reads a length of one or two bytes, and how many they are.
#[inline(always)]
pub(super) fn short_length(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*bytes.get(at)?);
    if first < 0x80 {
        return Some((first, 1));
    }
    let second = usize::from(*bytes.get(at + 1)?);
    (second < 0x80).then_some((first & 0x7f | second << 7, 2))
}
