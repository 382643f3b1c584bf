//! The parts that ordinary messages are made of: strings, ids, numbers, attributes and values in the forms in which
//! clients write them. Which parts a message has is the matter of `fast`.
//!
//! Strings are not checked one by one. Keys, lengths below 128 and ASCII text have no byte with the highest bit set,
//! and of varints, longer lengths and doubles it is known how many such bytes they have; so one count over a whole
//! region proves that all strings in it are ASCII. A region ends where ids and times begin, which are not counted.
//!
//! For text that is not ASCII there is the exact way: a region ends at varints, longer lengths and doubles too, and is
//! checked as one piece of UTF-8. That proves every string in it, because an ASCII byte stands between any two.

use super::ascii::{count_high, is_ascii};
use super::check::Checker;
use crate::protobuf::varint;
use crate::schema::{self, Message};

/// Reads one message.
///
/// What is rare takes and returns it by value: a reference would keep it out of registers.
#[derive(Copy, Clone)]
pub(super) struct Scan<'a> {
    /// The body as far as the message's end.
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Where the region begins that is still to be proven ASCII.
    region: usize,
    /// Bytes in the region that are known to have their highest bit set.
    high: usize,
    /// Levels of messages that may still follow inside.
    depth: u32,
    /// See [`State::exact`](super::check::State).
    exact: bool,
}

impl<'a> Scan<'a> {
    #[inline(always)]
    pub(super) fn new(checker: &Checker<'_>, body: &'a [u8], at: usize, end: usize, depth: u32) -> Option<Self> {
        Some(Self { bytes: body.get(..end)?, at, region: at, high: 0, depth, exact: checker.state.exact })
    }

    /// Proves the text of the region that ends here.
    #[inline(always)]
    pub(super) fn prove(&mut self) -> Option<()> {
        if self.region < self.at {
            let high = std::mem::take(&mut self.high);
            let region = self.bytes.get(self.region..self.at)?;
            self.region = self.at;
            let proven = if self.exact { is_utf8(region) } else { is_proven(region, high) };
            return proven.then_some(());
        }
        Some(())
    }

    /// Passes a field of `len` bytes that is no text.
    #[inline(always)]
    pub(super) fn binary(&mut self, len: usize) -> Option<()> {
        self.prove()?;
        self.move_to(self.at + len)?;
        self.region = self.at;
        Some(())
    }

    /// Passes an id: bytes with a short length.
    #[inline(always)]
    pub(super) fn id(&mut self) -> Option<()> {
        let len = *self.bytes.get(self.at + 1)?;
        if len >= 0x80 {
            return None;
        }
        self.binary(2 + usize::from(len))
    }

    /// Passes a varint field with a one-byte key.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Option<()> {
        let value = *self.bytes.get(self.at + 1)?;
        if value < 0x80 {
            self.at += 2;
            return Some(());
        }
        let (_, len) = varint(&self.bytes[self.at + 1..])?;
        self.framing(self.at + 1, len, len - 1)
    }

    /// Passes `len` bytes of framing or number at `from`, of which `high` have their highest bit set.
    #[inline(always)]
    fn framing(&mut self, from: usize, len: usize, high: usize) -> Option<()> {
        if self.exact {
            self.at = from;
            self.prove()?;
            self.region = from + len;
        } else {
            self.high += high;
        }
        self.at = from + len;
        Some(())
    }

    /// Passes a string field with a one-byte key.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Option<()> {
        let len = self.length()?;
        self.move_to(self.at + len)
    }

    /// Passes a one-byte key and a length, and returns the length.
    #[inline(always)]
    fn length(&mut self) -> Option<usize> {
        let first = *self.bytes.get(self.at + 1)?;
        if first < 0x80 {
            self.at += 2;
            return Some(usize::from(first));
        }
        let (value, len) = varint(&self.bytes[self.at + 1..])?;
        // So that adding it to a position cannot overflow.
        if value > self.bytes.len() as u64 {
            return None;
        }
        self.framing(self.at + 1, len, len - 1)?;
        Some(value as usize)
    }

    /// Passes a nested message that somebody else checks: its start and end.
    #[inline(always)]
    pub(super) fn nested(&mut self) -> Option<(usize, usize)> {
        self.prove()?;
        let len = self.length()?;
        self.high = 0;
        let start = self.at;
        self.move_to(start + len)?;
        self.region = self.at;
        Some((start, self.at))
    }

    /// Passes a nested message, which the reference checker checks.
    #[inline(always)]
    pub(super) fn delegate(&mut self, message: &'static Message, checker: &mut Checker<'_>) -> Option<()> {
        *self = self.delegated(message, checker)?;
        Some(())
    }

    #[inline(never)]
    fn delegated(mut self, message: &'static Message, checker: &mut Checker<'_>) -> Option<Self> {
        let (start, next) = self.nested()?;
        checker.message(message, start, next, self.depth.checked_sub(1)?)?;
        Some(self)
    }

    #[inline(always)]
    fn move_to(&mut self, next: usize) -> Option<()> {
        if next > self.bytes.len() {
            return None;
        }
        self.at = next;
        Some(())
    }

    #[inline(always)]
    fn word(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Passes attributes with this key, as many as follow each other.
    #[inline(always)]
    pub(super) fn attributes(&mut self, tag: u8, checker: &mut Checker<'_>) -> Option<()> {
        loop {
            // Key and length of the attribute, key and length of its key; both lengths below 128.
            let head = self.word(self.at).unwrap_or(0);
            if head & 0x80ff_80ff != 0x000a_0000 | u32::from(tag) {
                if self.bytes.get(self.at) != Some(&tag) {
                    return Some(());
                }
                *self = self.other_attribute(checker)?;
                continue;
            }
            let (len, key_len) = (head >> 8 & 0x7f, head >> 24);
            let value_at = self.at + 4 + key_len as usize;
            let value = self.word(value_at).unwrap_or(0);
            // What is left for a text, after the keys and lengths of the value and of the text.
            let text_len = len.wrapping_sub(key_len + 6);
            if text_len < 0x80 && value == 0x000a_0012 | (text_len + 2) << 8 | text_len << 24 {
                self.move_to(value_at + 4 + text_len as usize)?;
                continue;
            }
            // An integer below 128 or a boolean; an integer below 16384.
            if len.wrapping_sub(key_len) == 6 && matches!(value & 0x80ff_ffff, 0x0018_0212 | 0x0010_0212) {
                self.at = value_at + 4;
                continue;
            }
            if len.wrapping_sub(key_len) == 7
                && value & 0x80ff_ffff == 0x8018_0312
                && !self.exact
                && matches!(self.bytes.get(value_at + 4), Some(0..0x80))
            {
                self.high += 1;
                self.at = value_at + 5;
                continue;
            }
            *self = self.number(value, value_at, len.wrapping_sub(key_len + 4), checker)?;
        }
    }

    /// Passes an attribute that may be a number: at `value_at` its value begins with `head`, and the value's content
    /// takes the `len` bytes that are left.
    #[inline(never)]
    fn number(mut self, head: u32, value_at: usize, len: u32, checker: &mut Checker<'_>) -> Option<Self> {
        if len >= 0x80 || head & 0xffff != 0x12 | len << 8 {
            return self.other_attribute(checker);
        }
        let end = value_at + 2 + len as usize;
        match self.bytes.get(value_at + 2..end)? {
            [0x18, value @ ..] => {
                let (_, value_len) = varint(value)?;
                if value_len != value.len() {
                    return self.other_attribute(checker);
                }
                self.framing(value_at + 3, value_len, value_len - 1)?;
            }
            [0x21, value @ ..] if value.len() == 8 => self.framing(value_at + 3, 8, count_high(value))?,
            _ => return self.other_attribute(checker),
        }
        debug_assert_eq!(self.at, end, "the number is all of the value");
        Some(self)
    }

    /// Passes an attribute of another form: a long string, or what the reference checker must see.
    #[inline(never)]
    fn other_attribute(self, checker: &mut Checker<'_>) -> Option<Self> {
        let mut long = self;
        if long.long_attribute().is_some() {
            return Some(long);
        }
        self.delegated(&schema::KEY_VALUE, checker)
    }

    /// Passes an attribute with a string value, with lengths of any size.
    fn long_attribute(&mut self) -> Option<()> {
        let len = self.length()?;
        let end = self.at + len;
        if self.bytes.get(self.at) != Some(&0x0a) {
            return None;
        }
        self.string()?;
        if self.bytes.get(self.at) != Some(&0x12) {
            return None;
        }
        let value_len = self.length()?;
        if self.at + value_len != end {
            return None;
        }
        self.string_content(end)
    }

    /// Passes the content of a value that ends at `end` if it is a string.
    fn string_content(&mut self, end: usize) -> Option<()> {
        if self.bytes.get(self.at) != Some(&0x0a) {
            return None;
        }
        self.string()?;
        (self.at == end).then_some(())
    }

    /// Passes a value: a string, or what the reference checker must see.
    #[inline(always)]
    pub(super) fn value(&mut self, checker: &mut Checker<'_>) -> Option<()> {
        let mut text = *self;
        let len = text.length()?;
        if text.string_content(text.at + len).is_none() {
            return self.delegate(&schema::ANY_VALUE, checker);
        }
        *self = text;
        Some(())
    }

    /// Passes a span's status.
    #[inline(always)]
    pub(super) fn status(&mut self, checker: &mut Checker<'_>) -> Option<()> {
        // Most are empty, or hold a code only.
        match self.bytes.get(self.at + 1..) {
            Some([0, ..]) => self.at += 2,
            Some([2, 0x18, 0..0x80, ..]) => self.at += 4,
            _ => return self.delegate(&schema::STATUS, checker),
        }
        Some(())
    }
}

#[inline(never)]
fn is_utf8(region: &[u8]) -> bool {
    simdutf8::basic::from_utf8(region).is_ok()
}

/// Whether all text of a region is ASCII, `high` bytes of it being known to be none.
#[inline(never)]
fn is_proven(region: &[u8], high: usize) -> bool {
    if high == 0 { is_ascii(region) } else { count_high(region) == high }
}
