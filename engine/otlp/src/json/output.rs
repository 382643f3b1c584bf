//! Protobuf as it is written from front to back. The length of a message stands before it and is known behind it: room
//! is left for a length of as many bytes as the last such message had. Where that was wrong, a short message is moved,
//! and a long one is put right in the one copy at the end, so that no byte is moved once a level.

use crate::protobuf::{put_length_head, put_varint, varint_len};

/// A message, string or list that was begun and not ended.
#[derive(Copy, Clone, Debug)]
pub(super) struct Head {
    /// Where the content begins.
    start: usize,
    /// Bytes left for the length before it.
    width: usize,
    /// Which width shall be remembered.
    place: usize,
    /// Corrections that had been noted, and what they add up to.
    corrections: usize,
    grown: isize,
}

/// A length that has more bytes than were left for it, or fewer.
#[derive(Debug)]
struct Correction {
    /// Where the room for the length begins.
    at: usize,
    width: usize,
    len: usize,
}

/// Protobuf in the making.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    corrections: Vec<Correction>,
    /// Bytes that the corrections will add.
    grown: isize,
    /// Bytes that the last length took, by place.
    widths: [u8; PLACES],
}

/// Levels that have widths of their own, and fields within each: those of one level with the same last bits share one.
const LEVELS: usize = 16;
const FIELDS: usize = 4;
const PLACES: usize = LEVELS * FIELDS;

/// Up to this length a message is moved.
const MOVED: usize = 1024;

impl Output {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), corrections: Vec::new(), grown: 0, widths: [1; PLACES] }
    }

    /// Bytes so far, without corrections.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes.capacity() + size_of::<Correction>() * self.corrections.capacity()
    }

    /// Begins a field with a length; `level` is how many others are open.
    #[inline]
    pub(super) fn open(&mut self, number: u32, level: usize) -> Head {
        let place = level.min(LEVELS - 1) * FIELDS + number as usize % FIELDS;
        put_varint(&mut self.bytes, u64::from(number << 3 | 2));
        let width = usize::from(self.widths[place]);
        self.bytes.extend_from_slice(&[0; 8][..width]);
        Head { start: self.bytes.len(), width, place, corrections: self.corrections.len(), grown: self.grown }
    }

    /// The content of the whole request needs no length.
    pub(super) const fn root(&self) -> Head {
        Head { start: 0, width: 0, place: 0, corrections: 0, grown: 0 }
    }

    /// Ends a field that was begun.
    #[inline]
    pub(super) fn close(&mut self, head: Head) {
        let content = self.bytes.len() - head.start;
        let len = content.wrapping_add_signed(self.grown - head.grown);
        let width = varint_len(len as u64);
        if width == head.width {
            put_varint(&mut &mut self.bytes[head.start - width..], len as u64);
        } else if head.width > 0 {
            self.correct(head, content, len, width);
        }
    }

    #[cold]
    fn correct(&mut self, head: Head, content: usize, len: usize, width: usize) {
        self.widths[head.place] = width as u8;
        let at = head.start - head.width;
        if content > MOVED || head.corrections < self.corrections.len() {
            self.corrections.push(Correction { at, width: head.width, len });
            self.grown += width.cast_signed() - head.width.cast_signed();
            return;
        }
        let end = self.bytes.len();
        let moved_end = end - head.width + width;
        self.bytes.resize(end.max(moved_end), 0);
        self.bytes.copy_within(head.start..end, at + width);
        self.bytes.truncate(moved_end);
        put_varint(&mut &mut self.bytes[at..], len as u64);
    }

    #[inline]
    pub(super) fn put_varint_field(&mut self, number: u32, value: u64) {
        put_varint(&mut self.bytes, u64::from(number << 3));
        put_varint(&mut self.bytes, value);
    }

    #[inline]
    pub(super) fn put_fixed64_field(&mut self, number: u32, value: u64) {
        put_varint(&mut self.bytes, u64::from(number << 3 | 1));
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(super) fn put_fixed32_field(&mut self, number: u32, value: u32) {
        put_varint(&mut self.bytes, u64::from(number << 3 | 5));
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(super) fn put_bytes_field(&mut self, number: u32, content: &[u8]) {
        put_length_head(&mut self.bytes, number, content.len());
        self.bytes.extend_from_slice(content);
    }

    /// Bytes inside of a field that was begun.
    pub(super) const fn content(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// All of it, in an allocation of about its size.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.corrections.is_empty() {
            if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 8 {
                self.bytes.shrink_to_fit();
            }
            return self.bytes;
        }
        self.corrections.sort_unstable_by_key(|correction| correction.at);
        let mut whole = Vec::with_capacity(self.bytes.len().wrapping_add_signed(self.grown));
        let mut copied = 0;
        for correction in &self.corrections {
            whole.extend_from_slice(&self.bytes[copied..correction.at]);
            put_varint(&mut whole, correction.len as u64);
            copied = correction.at + correction.width;
        }
        whole.extend_from_slice(&self.bytes[copied..]);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nested fields of any lengths, in any order, have the lengths that they would have been given beforehand.
    #[test]
    fn lengths_are_those_of_the_content() {
        fn nest(depth: usize, len: usize) -> Vec<u8> {
            let mut inner = vec![7; len];
            for _ in 0..depth {
                let mut outer = Vec::new();
                put_length_head(&mut outer, 5, inner.len());
                outer.extend_from_slice(&inner);
                inner = outer;
            }
            inner
        }
        let lengths = [0, 1, 120, 126, 127, 128, 130, 1023, 1024, 1025, 16_370, 16_383, 16_384, 20_000, 2_097_151];
        let mut output = Output::with_capacity(0);
        let mut expected = Vec::new();
        for round in 0..3 {
            for (index, len) in lengths.into_iter().enumerate() {
                let depth = 1 + (index * 7 + round * 5) % 20;
                let heads: Vec<_> = (0..depth).map(|level| output.open(5, level)).collect();
                let content = output.content();
                content.resize(content.len() + len, 7);
                heads.into_iter().rev().for_each(|head| output.close(head));
                expected.extend(nest(depth, len));
            }
        }
        let found = output.finish();
        assert!(found == expected, "{} bytes, expected {}", found.len(), expected.len());
        assert!(found.capacity() < found.len() + found.len() / 4);
    }
}
