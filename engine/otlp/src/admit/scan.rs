//! The parts that ordinary messages are made of: strings, ids, numbers, attributes and values in the forms in which
//! clients write them. Which parts a message has is the matter of `fast`.
//!
//! Strings are not checked one by one. Keys, lengths below 128 and ASCII text have no byte with the highest bit set,
//! and of varints, longer lengths and doubles it is known how many such bytes they have; so one count over a whole
//! region proves that all strings in it are ASCII. A region ends where ids and times begin, which are not counted.

use super::ascii::{count_high, is_ascii};
use super::check::Checker;
use crate::protobuf::varint;
use crate::schema::{self, Message};

/// Reads one message.
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
}

impl<'a> Scan<'a> {
    #[inline(always)]
    pub(super) fn new(body: &'a [u8], at: usize, end: usize, depth: u32) -> Option<Self> {
        Some(Self { bytes: body.get(..end)?, at, region: at, high: 0, depth })
    }

    /// Proves the text of the region that ends here.
    #[inline(always)]
    pub(super) fn prove(&mut self) -> Option<()> {
        let region = self.bytes.get(self.region..self.at)?;
        let proven = if self.high == 0 { is_ascii(region) } else { count_high(region) == self.high };
        self.high = 0;
        proven.then_some(())
    }

    /// Passes a field of `len` bytes that is no text.
    #[inline(always)]
    pub(super) fn binary(&mut self, len: usize) -> Option<()> {
        if self.region < self.at {
            self.prove()?;
        }
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
        self.high += len - 1;
        self.at += 1 + len;
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
        self.high += len - 1;
        self.at += 1 + len;
        Some(value as usize)
    }

    /// Passes a nested message that somebody else checks: its start and end.
    #[inline(always)]
    pub(super) fn nested(&mut self) -> Option<(usize, usize)> {
        if self.region < self.at {
            self.prove()?;
        }
        let len = self.length()?;
        self.high = 0;
        let start = self.at;
        self.move_to(start + len)?;
        self.region = self.at;
        Some((start, self.at))
    }

    /// Passes a nested message, which the reference checker checks.
    pub(super) fn delegate(&mut self, message: &'static Message, checker: &mut Checker<'_>) -> Option<()> {
        let (start, next) = self.nested()?;
        checker.message(message, start, next, self.depth.checked_sub(1)?)
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
        while self.bytes.get(self.at) == Some(&tag) {
            // Key and length of the attribute, key and length of its key; both lengths below 128.
            let head = match self.word(self.at) {
                Some(head) if head & 0x80ff_8000 == 0x000a_0000 => head,
                _ => {
                    self.other_attribute(checker)?;
                    continue;
                }
            };
            let len = head >> 8 & 0x7f;
            let key_len = head >> 24;
            let value_at = self.at + 4 + key_len as usize;
            // What is left for the value's content, after its key and length.
            let Some(value_len) = len.checked_sub(key_len + 4) else {
                self.other_attribute(checker)?;
                continue;
            };
            let Some(value) = self.word(value_at) else {
                self.other_attribute(checker)?;
                continue;
            };
            if value_len >= 2 && value == 0x000a_0012 | value_len << 8 | (value_len - 2) << 24 {
                self.move_to(value_at + 2 + value_len as usize)?;
                continue;
            }
            if value & 0xffff != 0x12 | value_len << 8 {
                self.other_attribute(checker)?;
                continue;
            }
            self.scalar(value >> 16 & 0xff, value_at + 2, value_len as usize, checker)?;
        }
        Some(())
    }

    /// Passes an attribute whose value is no string; the value's content is `len` bytes at `at`.
    #[inline(always)]
    fn scalar(&mut self, tag: u32, at: usize, len: usize, checker: &mut Checker<'_>) -> Option<()> {
        let content = self.bytes.get(at..at + len)?;
        match (tag, content) {
            // A boolean or an integer, with nothing behind it.
            (0x10 | 0x18, [_, 0..0x80]) => {}
            (0x10 | 0x18, [_, value @ ..]) => {
                let (_, value_len) = varint(value)?;
                if value_len != value.len() {
                    return self.other_attribute(checker);
                }
                self.high += value_len - 1;
            }
            (0x21, [_, value @ ..]) if value.len() == 8 => self.high += count_high(value),
            _ => return self.other_attribute(checker),
        }
        self.at = at + len;
        Some(())
    }

    /// Passes an attribute of another form: a long string, or what the reference checker must see.
    #[cold]
    fn other_attribute(&mut self, checker: &mut Checker<'_>) -> Option<()> {
        let (from, high) = (self.at, self.high);
        if self.long_attribute().is_some() {
            return Some(());
        }
        (self.at, self.high) = (from, high);
        self.delegate(&schema::KEY_VALUE, checker)
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
        let (from, high) = (self.at, self.high);
        let len = self.length()?;
        if self.string_content(self.at + len).is_some() {
            return Some(());
        }
        (self.at, self.high) = (from, high);
        self.delegate(&schema::ANY_VALUE, checker)
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
