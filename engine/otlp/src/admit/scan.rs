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
use super::attribute::{pass_attributes, short_length};
use super::check::Checker;
use crate::protobuf::varint;
use crate::schema::{self, Message};

/// Reads one message.
///
/// What is rare takes and returns it by value: a reference would keep it out of registers.
#[derive(Copy, Clone)]
pub(super) struct Scan<'a> {
    body: &'a [u8],
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
        Some(Self { body, bytes: body.get(..end)?, at, region: at, high: 0, depth, exact: checker.state.exact })
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

    /// Passes an id of this length, or none.
    #[inline(always)]
    pub(super) fn id<const LEN: u8>(&mut self) -> Option<()> {
        let len = *self.bytes.get(self.at + 1)?;
        if len != LEN && len != 0 {
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
        if let Some((len, len_len)) = short_length(self.bytes, self.at + 1)
            && (len_len == 1 || !self.exact)
        {
            self.at += 1 + len_len;
            self.high += len_len - 1;
            return Some(len);
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

    /// Passes attributes with this key, as many as follow each other.
    #[inline(always)]
    pub(super) fn attributes(&mut self, tag: u8, checker: &mut Checker<'_>) -> Option<()> {
        while self.bytes.get(self.at) == Some(&tag) {
            let (len, high) =
                pass_attributes(self.body.get(self.at..)?, self.body.len() - self.bytes.len(), tag, self.exact);
            self.at += len;
            self.high += high;
            if self.bytes.get(self.at) == Some(&tag) {
                *self = self.other_attribute(checker)?;
            }
        }
        Some(())
    }

    /// Passes an attribute near the end of the body, or one of another form.
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
pub(super) fn is_proven(region: &[u8], high: usize) -> bool {
    if high == 0 { is_ascii(region) } else { count_high(region) == high }
}
