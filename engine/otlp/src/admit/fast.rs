//! The checker for messages as clients write them: the same judgement as the reference checker at a third of its
//! cost, or no judgement. Where it answers `None` the reference checker must be asked.
//!
//! Strings are not checked one by one. Keys, lengths below 128 and ASCII text have no byte with the highest bit set,
//! and of varints, longer lengths and doubles it is known how many such bytes they have; so one count over a whole
//! region proves that all strings in it are ASCII. A region ends where ids and times begin, which are not counted.

use super::check::Checker;
use crate::schema::{self, Message};

/// Reads one message.
struct Scan<'a> {
    /// The body as far as the message's end.
    bytes: &'a [u8],
    at: usize,
    /// Where the region begins that is still to be proven ASCII.
    region: usize,
    /// Bytes in the region that are known to have their highest bit set.
    high: usize,
    /// Levels of messages that may still follow inside.
    depth: u32,
}

/// Checks a log record in `at..end` of the checker's body.
pub(super) fn log_record(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x32 => {
                scan.attributes(0x32, checker)?;
                continue;
            }
            0x09 | 0x59 => scan.binary(9)?,
            0x10 | 0x38 => scan.varint()?,
            0x1a | 0x62 => scan.string()?,
            0x2a => scan.value(checker)?,
            0x45 => scan.binary(5)?,
            0x4a | 0x52 => scan.id()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

/// Checks a span.
pub(super) fn span(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x4a => {
                scan.attributes(0x4a, checker)?;
                continue;
            }
            0x5a => {
                let (start, next) = scan.nested()?;
                event(checker, body, start, next, depth.checked_sub(1)?)?;
                continue;
            }
            0x6a => {
                scan.delegate(&schema::LINK, checker)?;
                continue;
            }
            0x0a | 0x12 | 0x22 => scan.id()?,
            0x1a | 0x2a => scan.string()?,
            0x30 | 0x50 | 0x60 | 0x70 => scan.varint()?,
            0x39 | 0x41 => scan.binary(9)?,
            0x7a => scan.status(checker)?,
            0x85 => {
                // The key of field 16 has two bytes.
                if scan.bytes.get(scan.at + 1) != Some(&0x01) {
                    return None;
                }
                scan.binary(6)?;
            }
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

fn event(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x1a => {
                scan.attributes(0x1a, checker)?;
                continue;
            }
            0x09 => scan.binary(9)?,
            0x12 => scan.string()?,
            0x20 => scan.varint()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

/// Checks a metric and returns how many data points it has.
pub(super) fn metric(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<u64> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    let mut points = 0;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x0a | 0x12 | 0x1a => {
                scan.string()?;
                once(&mut seen, 1 << (tag >> 3))?;
            }
            0x2a | 0x3a | 0x4a => {
                let (start, next) = scan.nested()?;
                let point = if tag == 0x4a { histogram_point } else { number_point };
                points += data(checker, body, start, next, depth.checked_sub(1)?, point)?;
                once(&mut seen, 1 << 5)?;
            }
            0x62 => scan.attributes(0x62, checker)?,
            _ => return None,
        }
    }
    scan.prove()?;
    Some(points)
}

type Point = fn(&mut Checker<'_>, &[u8], usize, usize, u32) -> Option<()>;

/// Checks a gauge, sum or histogram: data points, temporality, monotony.
#[inline]
fn data(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32, point: Point) -> Option<u64> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    let mut points = 0;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x0a => {
                let (start, next) = scan.nested()?;
                point(checker, body, start, next, depth.checked_sub(1)?)?;
                points += 1;
            }
            0x10 => {
                scan.varint()?;
                once(&mut seen, 1)?;
            }
            // Monotony: an unknown field of gauges and histograms, for which a varint is as good.
            0x18 => {
                scan.varint()?;
                once(&mut seen, 2)?;
            }
            _ => return None,
        }
    }
    Some(points)
}

fn number_point(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x3a => {
                scan.attributes(0x3a, checker)?;
                continue;
            }
            0x2a => {
                scan.delegate(&schema::EXEMPLAR, checker)?;
                continue;
            }
            0x11 | 0x19 => scan.binary(9)?,
            // The value is a double or an integer.
            0x21 | 0x31 => {
                scan.binary(9)?;
                once(&mut seen, 1)?;
                continue;
            }
            0x40 => scan.varint()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

fn histogram_point(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x4a => {
                scan.attributes(0x4a, checker)?;
                continue;
            }
            0x42 => {
                scan.delegate(&schema::EXEMPLAR, checker)?;
                continue;
            }
            0x32 | 0x3a => {
                let (start, next) = scan.nested()?;
                if !(next - start).is_multiple_of(8) {
                    return None;
                }
                continue;
            }
            0x11 | 0x19 | 0x21 | 0x29 | 0x59 | 0x61 => scan.binary(9)?,
            0x50 => scan.varint()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

/// Checks a Resource.
pub(super) fn resource(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x0a => scan.attributes(0x0a, checker)?,
            0x1a => scan.delegate(&schema::ENTITY_REF, checker)?,
            0x10 => {
                scan.varint()?;
                once(&mut seen, 1)?;
            }
            _ => return None,
        }
    }
    scan.prove()
}

/// Notes a singular field; `None` when it occurs again.
#[inline(always)]
fn once(seen: &mut u32, bit: u32) -> Option<()> {
    if *seen & bit != 0 {
        return None;
    }
    *seen |= bit;
    Some(())
}

impl<'a> Scan<'a> {
    #[inline(always)]
    fn new(body: &'a [u8], at: usize, end: usize, depth: u32) -> Option<Self> {
        Some(Self { bytes: body.get(..end)?, at, region: at, high: 0, depth })
    }

    /// Proves the text of the region that ends here.
    #[inline(always)]
    fn prove(&mut self) -> Option<()> {
        let region = self.bytes.get(self.region..self.at)?;
        let proven = if self.high == 0 { is_ascii(region) } else { count_high(region) == self.high };
        self.high = 0;
        proven.then_some(())
    }

    /// Passes a field of `len` bytes that is no text.
    #[inline(always)]
    fn binary(&mut self, len: usize) -> Option<()> {
        if self.region < self.at {
            self.prove()?;
        }
        self.move_to(self.at + len)?;
        self.region = self.at;
        Some(())
    }

    /// Passes an id: bytes with a short length.
    #[inline(always)]
    fn id(&mut self) -> Option<()> {
        let len = *self.bytes.get(self.at + 1)?;
        if len >= 0x80 {
            return None;
        }
        self.binary(2 + usize::from(len))
    }

    /// Passes a varint field with a one-byte key.
    #[inline(always)]
    fn varint(&mut self) -> Option<()> {
        let value = *self.bytes.get(self.at + 1)?;
        if value < 0x80 {
            self.at += 2;
            return Some(());
        }
        let (_, len) = crate::protobuf::varint(&self.bytes[self.at + 1..])?;
        self.high += len - 1;
        self.at += 1 + len;
        Some(())
    }

    /// Passes a string field with a one-byte key.
    #[inline(always)]
    fn string(&mut self) -> Option<()> {
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
        let (value, len) = crate::protobuf::varint(&self.bytes[self.at + 1..])?;
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
    fn nested(&mut self) -> Option<(usize, usize)> {
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
    fn delegate(&mut self, message: &'static Message, checker: &mut Checker<'_>) -> Option<()> {
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
    fn attributes(&mut self, tag: u8, checker: &mut Checker<'_>) -> Option<()> {
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
                let (_, value_len) = crate::protobuf::varint(value)?;
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
    fn value(&mut self, checker: &mut Checker<'_>) -> Option<()> {
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
    fn status(&mut self, checker: &mut Checker<'_>) -> Option<()> {
        // Most are empty, or hold a code only.
        match self.bytes.get(self.at + 1..) {
            Some([0, ..]) => self.at += 2,
            Some([2, 0x18, 0..0x80, ..]) => self.at += 4,
            _ => return self.delegate(&schema::STATUS, checker),
        }
        Some(())
    }
}

/// The highest bit of every byte of a word.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Whether no byte has its highest bit set.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<32>();
    let mut all = [0_u64; 4];
    for chunk in chunks {
        for (sum, word) in all.iter_mut().zip(words_of(chunk)) {
            *sum |= word;
        }
    }
    let upper = all[0] | all[1] | all[2] | all[3];
    let (words, odd) = rest.as_chunks::<8>();
    let lower = words.iter().fold(upper, |sum, word| sum | u64::from_le_bytes(*word));
    (lower | last(bytes, odd)) & HIGH == 0
}

/// How many bytes have their highest bit set.
#[inline(always)]
fn count_high(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<32>();
    let mut total = 0;
    // A sum of bytes has room for 63 in each of four words.
    for block in chunks.chunks(63) {
        let mut sums = [0_u64; 4];
        for chunk in block {
            for (sum, word) in sums.iter_mut().zip(words_of(chunk)) {
                *sum += (word & HIGH) >> 7;
            }
        }
        total += sum_of_bytes(sums[0] + sums[1] + sums[2] + sums[3]);
    }
    let (words, odd) = rest.as_chunks::<8>();
    let ones = |word: u64| (word & HIGH) >> 7;
    let lower = words.iter().fold(0, |sum, word| sum + ones(u64::from_le_bytes(*word)));
    total + sum_of_bytes(lower + ones(last(bytes, odd)))
}

#[inline(always)]
fn words_of(chunk: &[u8; 32]) -> [u64; 4] {
    let (words, _) = chunk.as_chunks::<8>();
    [0, 1, 2, 3].map(|index| u64::from_le_bytes(words[index]))
}

/// The fewer than 8 bytes `odd` at the end of `bytes` as a word.
#[inline(always)]
fn last(bytes: &[u8], odd: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        // Read eight bytes that end there, and push out those that do not belong to it.
        Some(_) if odd.is_empty() => 0,
        Some(word) => u64::from_le_bytes(*word) >> (64 - 8 * odd.len()),
        None => odd.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[inline(always)]
const fn sum_of_bytes(word: u64) -> usize {
    let even = 0x00ff_00ff_00ff_00ff;
    let pairs = (word & even) + (word >> 8 & even);
    (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both are right for every length and position of a byte beyond ASCII.
    #[test]
    fn high_bytes_are_counted() {
        for len in (0..200).chain([2015, 2016, 2017, 5000]) {
            let mut bytes = vec![b'a'; len];
            assert!(is_ascii(&bytes) && count_high(&bytes) == 0, "{len}");
            for at in 0..len.min(300) {
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes), "{len} {at}");
                assert_eq!(count_high(&bytes), 1, "{len} {at}");
                bytes[at] = 0x7f;
            }
            let full = vec![0xff; len];
            assert_eq!(count_high(&full), len);
        }
    }
}
