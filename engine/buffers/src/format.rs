//! What stands in the files of a buffer, byte by byte. All numbers are little endian, all checksums CRC-32C.
//!
//! A **segment**, `SEQUENCE.segment` with the sequence number of its first frame in 20 digits, is a header, frames one
//! after the other and, once nothing is appended any more, a seal:
//!
//! | header, 40 bytes | |
//! |---|---|
//! | 0 | `TELEBUFS` |
//! | 8 | version, u32: 1 |
//! | 12 | checksum of all else, u32 |
//! | 16 | sequence number of the first frame, u64 |
//! | 24 | records of all frames before it, since the buffer was made, u64 |
//! | 32 | milliseconds since 1970 at which it was made, u64 |
//!
//! A **frame** is one payload: a mark of 48 bytes, the encoded `Export*ServiceRequest`, and the same mark again with another
//! name. One damaged mark costs nothing, since the other says the same.
//!
//! | mark, 48 bytes | |
//! |---|---|
//! | 0 | `TFRM` before the payload, `TEND` behind it |
//! | 4 | checksum of the rest of the mark, u32 |
//! | 8 | bytes of the payload, u32 |
//! | 12 | checksum of the payload, u32 |
//! | 16 | sequence number, u64: one more than that of the frame before |
//! | 24 | records of all frames before it, u64 |
//! | 32 | milliseconds since 1970 at which it was appended, u64 |
//! | 40 | records, u32 |
//! | 44 | signal, u8 (0 logs, 1 metrics, 2 traces), then three zeros |
//!
//! | seal, 40 bytes | |
//! |---|---|
//! | 0 | `TELEBUFE` |
//! | 8 | sequence number behind the last frame, u64 |
//! | 16 | records of all frames before that one, u64 |
//! | 24 | milliseconds since 1970 at which the last frame was appended, u64 |
//! | 32 | zero, u32 |
//! | 36 | checksum of all else, u32 |
//!
//! A segment that is not needed any more may become the next one: it is renamed to `spare`, gets another header and the name
//! that belongs to it, and is written over. So behind the last frame of a segment without a seal there may be what stood there
//! before; each sequence number in that is lower than the first one of the segment, and so is the end in a seal.
//!
//! What is **completed** stands in `completed-0` and `completed-1`. Each begins with a whole state; behind it comes what was
//! completed since. When that has become long, the next whole state is written into the other file and synced, so that one is
//! whole whatever becomes of the other. The state with the higher generation counts, and everything that was added since, in
//! whichever file it stands: what is completed stays so. Their space is allocated from the beginning.
//!
//! | whole state | |
//! |---|---|
//! | 0 | `TELEBUFC` |
//! | 8 | version, u32: 1 |
//! | 12 | checksum of all else up to the length, u32 |
//! | 16 | length in bytes, u64 |
//! | 24 | generation, u64 |
//! | 32 | the next sequence number, u64 |
//! | 40 | records of all frames before that one, u64 |
//! | 48 | the low watermark, u64: every frame before it is completed |
//! | 56 | number of ranges, u32; number of segments, u32 |
//! | 64 | segments of which some frames are completed: first sequence number, completed frames, completed records, u64 each; then ranges above the watermark, each the numbers between it and what is before it, and how many it has, LEB128 both |
//!
//! | addition | |
//! |---|---|
//! | 0 | `TELEBUFA` |
//! | 8 | checksum of all else up to the length, u32 |
//! | 12 | length in bytes, u32 |
//! | 16 | generation of the state that it adds to, u64 |
//! | 24 | the next sequence number, u64 |
//! | 32 | records of all frames before that one, u64 |
//! | 40 | number of ranges, u32; number of segments, u32 |
//! | 48 | segments as above; then ranges, each its first and the number behind its last, u64 |

use std::ops::Range;

use bytes::{Buf, BufMut};
use crc_fast::{CrcAlgorithm, Digest};
use memchr::memmem;
use otlp::Signal;

use crate::ranges::Ranges;

/// The version of the layout that this program writes, and the highest that it reads.
pub const VERSION: u32 = 1;

/// Bytes of a segment's header and of its seal.
pub(crate) const HEADER: usize = 40;
pub(crate) const SEAL: usize = 40;
/// Bytes of one of a frame's two marks.
pub(crate) const MARK: usize = 48;
/// What a frame takes beside its payload.
pub const FRAME_OVERHEAD: usize = 2 * MARK;
/// The largest payload that is taken for one: what is larger is a damaged length.
pub(crate) const MOST_PAYLOAD: u32 = 1 << 30;

const SEGMENT_NAME: &[u8; 8] = b"TELEBUFS";
const SEAL_NAME: &[u8; 8] = b"TELEBUFE";
const COMPLETED_NAME: &[u8; 8] = b"TELEBUFC";
const ADDED_NAME: &[u8; 8] = b"TELEBUFA";
/// Names of the marks before and behind a payload.
pub(crate) const BEFORE: [u8; 4] = *b"TFRM";
pub(crate) const BEHIND: [u8; 4] = *b"TEND";
/// Bytes of a completion file before its ranges.
const COMPLETED_HEADER: usize = 64;
/// Bytes of an addition before its segments.
const ADDED_HEADER: usize = 48;
/// A page of space that was allocated only.
const ZEROS: [u8; 4096] = [0; 4096];

/// How the name of a segment ends, and of one in which damage was found.
pub(crate) const SEGMENT_SUFFIX: &str = ".segment";
pub(crate) const DAMAGED_SUFFIX: &str = ".damaged";
/// A segment that nobody needs any more, to become the next one.
pub(crate) const SPARE: &str = "spare";
/// The two completion files.
pub(crate) const COMPLETED: [&str; 2] = ["completed-0", "completed-1"];

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) first: u64,
    pub(crate) records_before: u64,
    pub(crate) made_at: u64,
}

/// What a frame's marks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) length: u32,
    pub(crate) checksum: u32,
    pub(crate) sequence: u64,
    pub(crate) records_before: u64,
    pub(crate) written_at: u64,
    pub(crate) records: u32,
    pub(crate) signal: Signal,
}

/// The seal of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) end: u64,
    pub(crate) records_before: u64,
    pub(crate) newest_at: u64,
}

/// What is completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) generation: u64,
    pub(crate) next: u64,
    pub(crate) records_before: u64,
    pub(crate) done: Ranges,
    /// First sequence number, completed frames and completed records.
    pub(crate) segments: Vec<[u64; 3]>,
}

/// What was completed since a state was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) generation: u64,
    pub(crate) next: u64,
    pub(crate) records_before: u64,
    pub(crate) ranges: Vec<Range<u64>>,
    /// As in [`Completed`], of the segments that these belong to.
    pub(crate) segments: Vec<[u64; 3]>,
}

/// What bytes turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read<T> {
    Whole(T),
    /// Of a version that this program does not know.
    Newer(u32),
    Damaged,
}

impl<T> Read<T> {
    pub(crate) fn whole(self) -> Option<T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Newer(_) | Self::Damaged => None,
        }
    }
}

pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:020}{SEGMENT_SUFFIX}")
}

/// The first sequence number in the name of a segment.
pub(crate) fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut rest = &mut bytes[..];
        rest.put_slice(SEGMENT_NAME);
        rest.put_u32_le(VERSION);
        rest.put_u32_le(0);
        rest.put_u64_le(self.first);
        rest.put_u64_le(self.records_before);
        rest.put_u64_le(self.made_at);
        checksummed(bytes, 12)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Self> {
        let Some(bytes) = bytes.first_chunk::<HEADER>() else { return Read::Damaged };
        // The version is looked at only where the checksum proves that it is one: it has the same place in all versions.
        if !bytes.starts_with(SEGMENT_NAME) || !is_whole(bytes, 12) {
            return Read::Damaged;
        }
        let mut rest = &bytes[8..];
        let version = rest.get_u32_le();
        if version != VERSION {
            return Read::Newer(version);
        }
        rest.advance(4);
        Read::Whole(Self { first: rest.get_u64_le(), records_before: rest.get_u64_le(), made_at: rest.get_u64_le() })
    }
}

impl Mark {
    pub(crate) fn encode(&self, name: [u8; 4]) -> [u8; MARK] {
        let mut bytes = [0; MARK];
        let mut rest = &mut bytes[..];
        rest.put_slice(&name);
        rest.put_u32_le(0);
        rest.put_u32_le(self.length);
        rest.put_u32_le(self.checksum);
        rest.put_u64_le(self.sequence);
        rest.put_u64_le(self.records_before);
        rest.put_u64_le(self.written_at);
        rest.put_u32_le(self.records);
        rest.put_u8(self.signal as u8);
        checksummed(bytes, 4)
    }

    pub(crate) fn decode(bytes: &[u8], name: [u8; 4]) -> Option<Self> {
        let bytes = bytes.first_chunk::<MARK>()?;
        if !bytes.starts_with(&name) || !is_whole(bytes, 4) {
            return None;
        }
        let mut rest = &bytes[8..];
        let mark = Self {
            length: rest.get_u32_le(),
            checksum: rest.get_u32_le(),
            sequence: rest.get_u64_le(),
            records_before: rest.get_u64_le(),
            written_at: rest.get_u64_le(),
            records: rest.get_u32_le(),
            signal: *Signal::ALL.get(usize::from(rest.get_u8()))?,
        };
        (mark.length <= MOST_PAYLOAD).then_some(mark)
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame(&self) -> u64 {
        u64::from(self.length) + FRAME_OVERHEAD as u64
    }

    /// The counts behind the frame: next sequence number, records before that.
    pub(crate) fn behind(&self) -> (u64, u64) {
        (self.sequence.saturating_add(1), self.records_before.saturating_add(self.records.into()))
    }
}

impl Seal {
    /// Whether it can be that of the segment that begins with this number, at this place of its file. Another one may stand
    /// there that the file had in an earlier use, or when a copy of it was made.
    pub(crate) fn ends(&self, first: u64, place: u64) -> bool {
        self.end > first || place == HEADER as u64
    }

    pub(crate) fn encode(&self) -> [u8; SEAL] {
        let mut bytes = [0; SEAL];
        let mut rest = &mut bytes[..];
        rest.put_slice(SEAL_NAME);
        rest.put_u64_le(self.end);
        rest.put_u64_le(self.records_before);
        rest.put_u64_le(self.newest_at);
        checksummed(bytes, 36)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<SEAL>()?;
        if !bytes.starts_with(SEAL_NAME) || !is_whole(bytes, 36) {
            return None;
        }
        let mut rest = &bytes[8..];
        Some(Self { end: rest.get_u64_le(), records_before: rest.get_u64_le(), newest_at: rest.get_u64_le() })
    }
}

impl Completed {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(COMPLETED_HEADER + 24 * self.segments.len() + 4 * self.done.ranges().len());
        bytes.put_slice(COMPLETED_NAME);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(0);
        bytes.put_u64_le(0);
        bytes.put_u64_le(self.generation);
        bytes.put_u64_le(self.next);
        bytes.put_u64_le(self.records_before);
        bytes.put_u64_le(self.done.watermark());
        bytes.put_u32_le(u32::try_from(self.done.ranges().len()).expect("what is in memory has fewer ranges"));
        bytes.put_u32_le(u32::try_from(self.segments.len()).expect("there are fewer files"));
        self.segments.iter().flatten().for_each(|number| bytes.put_u64_le(*number));
        let mut before = self.done.watermark();
        for (first, end) in self.done.ranges() {
            put_varint(&mut bytes, first - before);
            put_varint(&mut bytes, end - first);
            before = *end;
        }
        let length = (bytes.len() as u64).to_le_bytes();
        bytes[16..24].copy_from_slice(&length);
        let checksum = checksum_without(&bytes, 12).to_le_bytes();
        bytes[12..16].copy_from_slice(&checksum);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Self> {
        if bytes.len() < COMPLETED_HEADER || !bytes.starts_with(COMPLETED_NAME) {
            return Read::Damaged;
        }
        let mut rest = &bytes[8..];
        let version = rest.get_u32_le();
        rest.advance(4);
        let length = usize::try_from(rest.get_u64_le()).unwrap_or(usize::MAX);
        let whole = bytes.get(..length).filter(|bytes| bytes.len() >= COMPLETED_HEADER && is_whole(bytes, 12));
        let Some(bytes) = whole else { return Read::Damaged };
        if version != VERSION {
            return Read::Newer(version);
        }
        Self::decode_whole(&bytes[24..]).map_or(Read::Damaged, Read::Whole)
    }

    fn decode_whole(mut rest: &[u8]) -> Option<Self> {
        let generation = rest.get_u64_le();
        let (next, records_before, watermark) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u64_le());
        let (ranges, segments) = (rest.get_u32_le(), rest.get_u32_le());
        let segments = take_segments(&mut rest, segments)?;
        let mut done = Ranges::up_to(watermark);
        let mut before = watermark;
        for _ in 0..ranges {
            let first = before.checked_add(take_varint(&mut rest)?)?;
            before = first.checked_add(take_varint(&mut rest)?)?;
            done.insert(first..before);
        }
        rest.is_empty().then_some(Self { generation, next, records_before, done, segments })
    }

    /// Adds what was completed since.
    pub(crate) fn add(&mut self, added: &Added) {
        added.ranges.iter().for_each(|range| self.done.insert(range.clone()));
        (self.next, self.records_before) = (self.next, self.records_before).max((added.next, added.records_before));
        for segment in &added.segments {
            match self.segments.iter_mut().find(|known| known[0] == segment[0]) {
                Some(known) => *known = *segment,
                None => self.segments.push(*segment),
            }
        }
    }
}

impl Added {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = ADDED_HEADER + 16 * self.ranges.len() + 24 * self.segments.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.put_slice(ADDED_NAME);
        bytes.put_u32_le(0);
        bytes.put_u32_le(u32::try_from(length).expect("it is written before it is that long"));
        bytes.put_u64_le(self.generation);
        bytes.put_u64_le(self.next);
        bytes.put_u64_le(self.records_before);
        bytes.put_u32_le(u32::try_from(self.ranges.len()).expect("there are fewer than bytes"));
        bytes.put_u32_le(u32::try_from(self.segments.len()).expect("there are fewer than bytes"));
        self.segments.iter().flatten().for_each(|number| bytes.put_u64_le(*number));
        for range in &self.ranges {
            bytes.put_u64_le(range.start);
            bytes.put_u64_le(range.end);
        }
        let checksum = checksum_without(&bytes, 8).to_le_bytes();
        bytes[8..12].copy_from_slice(&checksum);
        bytes
    }

    /// The addition at the beginning of bytes, and its length.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        if bytes.len() < ADDED_HEADER || !bytes.starts_with(ADDED_NAME) {
            return None;
        }
        let length = (&bytes[12..]).get_u32_le() as usize;
        let whole = bytes.get(..length).filter(|bytes| bytes.len() >= ADDED_HEADER && is_whole(bytes, 8))?;
        let mut rest = &whole[16..];
        let (generation, next, records_before) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u64_le());
        let (ranges, segments) = (rest.get_u32_le() as usize, rest.get_u32_le());
        let segments = take_segments(&mut rest, segments)?;
        if rest.len() != 16 * ranges {
            return None;
        }
        let ranges = (0..ranges).map(|_| rest.get_u64_le()..rest.get_u64_le()).collect();
        Some((Self { generation, next, records_before, ranges, segments }, length))
    }

    /// All that are whole in a file, in order, past what is damaged.
    pub(crate) fn all(file: &[u8]) -> Vec<Self> {
        // The end is mostly space that nothing was written to.
        let pages = file.chunks(ZEROS.len()).rposition(|page| page != &ZEROS[..page.len()]).map_or(0, |last| last + 1);
        let bytes = &file[..file.len().min(pages * ZEROS.len())];
        let mut all = Vec::new();
        let mut from = 0;
        while let Some(place) = memmem::find(&bytes[from..], ADDED_NAME) {
            from += place;
            let decoded = Self::decode(&bytes[from..]);
            from += decoded.as_ref().map_or(1, |(_, length)| *length);
            all.extend(decoded.map(|(added, _)| added));
        }
        all
    }
}

fn take_segments(rest: &mut &[u8], count: u32) -> Option<Vec<[u64; 3]>> {
    let count = count as usize;
    (rest.len() >= 24 * count)
        .then(|| (0..count).map(|_| [rest.get_u64_le(), rest.get_u64_le(), rest.get_u64_le()]).collect())
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = rest.try_get_u8().ok()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The checksum of a payload in pieces.
pub(crate) fn checksum<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    pieces.into_iter().for_each(|piece| digest.update(piece));
    finished(&digest)
}

fn checksum_without(bytes: &[u8], place: usize) -> u32 {
    checksum([&bytes[..place], &bytes[place + 4..]])
}

fn finished(digest: &Digest) -> u32 {
    u32::try_from(digest.finalize()).expect("a CRC-32 has 32 bits")
}

fn checksummed<const N: usize>(mut bytes: [u8; N], place: usize) -> [u8; N] {
    let checksum = checksum_without(&bytes, place).to_le_bytes();
    bytes[place..place + 4].copy_from_slice(&checksum);
    bytes
}

fn is_whole(bytes: &[u8], place: usize) -> bool {
    let stored = u32::from_le_bytes(bytes[place..place + 4].try_into().expect("four bytes are four bytes"));
    stored == checksum_without(bytes, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: Mark = Mark {
        length: 5,
        checksum: 6,
        sequence: 7,
        records_before: 8,
        written_at: 9,
        records: 10,
        signal: Signal::Traces,
    };

    /// What is written is read, and no single bit can change without being noticed.
    #[test]
    fn every_bit_is_checked() {
        let header = Header { first: 1, records_before: 2, made_at: 3 };
        let seal = Seal { end: 1, records_before: 2, newest_at: 3 };
        let mut done = Ranges::up_to(4);
        done.insert(6..9);
        done.insert(12..13);
        let completed = Completed { generation: 3, next: 20, records_before: 40, done, segments: vec![[5, 1, 2]] };
        assert_eq!(Header::decode(&header.encode()), Read::Whole(header));
        assert_eq!(Mark::decode(&MARKED.encode(BEFORE), BEFORE), Some(MARKED));
        assert_eq!(Mark::decode(&MARKED.encode(BEFORE), BEHIND), None);
        assert_eq!(Seal::decode(&seal.encode()), Some(seal));
        assert_eq!(Completed::decode(&completed.encode()), Read::Whole(completed.clone()));
        fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
            (0..8 * bytes.len()).map(move |bit| {
                let mut changed = bytes.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                changed
            })
        }
        assert!(flipped(&header.encode()).all(|bytes| Header::decode(&bytes) == Read::Damaged));
        assert!(flipped(&MARKED.encode(BEHIND)).all(|bytes| Mark::decode(&bytes, BEHIND).is_none()));
        assert!(flipped(&seal.encode()).all(|bytes| Seal::decode(&bytes).is_none()));
        assert!(flipped(&completed.encode()).all(|bytes| Completed::decode(&bytes) == Read::Damaged));
        let ranges = vec![5..9, 2..3];
        let added = Added { generation: 1, next: 2, records_before: 3, ranges, segments: vec![[5, 1, 2]] };
        assert_eq!(Added::all(&added.encode()), std::slice::from_ref(&added));
        assert!(flipped(&added.encode()).all(|bytes| Added::all(&bytes).is_empty()));
    }

    /// A file of a later version is told from a damaged one.
    #[test]
    fn later_versions_are_known_as_such() {
        let mut header = Header { first: 1, records_before: 2, made_at: 3 }.encode();
        header[8] = 2;
        assert_eq!(Header::decode(&checksummed(header, 12)), Read::Newer(2));
        let mut completed = Completed::default().encode();
        completed[8] = 9;
        let checksum = checksum_without(&completed, 12).to_le_bytes();
        completed[12..16].copy_from_slice(&checksum);
        assert_eq!(Completed::decode(&completed), Read::Newer(9));
    }

    /// Ranges of any size come back, and many small ones take little space.
    #[test]
    fn ranges_take_little_space() {
        let mut done = Ranges::up_to(1 << 40);
        done.insert((1 << 62) + 1..(1 << 63) + 5);
        done.insert(u64::MAX - 1..u64::MAX);
        (0..1000).for_each(|step| done.insert((1 << 41) + 3 * step..(1 << 41) + 3 * step + 1));
        let completed = Completed { done, ..Completed::default() };
        assert!(completed.encode().len() < COMPLETED_HEADER + 2 * 1000 + 50);
        assert_eq!(Completed::decode(&completed.encode()), Read::Whole(completed));
    }

    /// What was added to a state is found behind what is damaged, and changes the state.
    #[test]
    fn additions_are_found() {
        let added = |first: u64| Added {
            next: first + 2,
            ranges: std::iter::once(first..first + 1).collect(),
            segments: vec![[0, first, first]],
            ..Added::default()
        };
        let mut bytes = Completed::default().encode();
        (1..6).for_each(|first| bytes.extend(added(first).encode()));
        let second = bytes.len() - 4 * added(1).encode().len();
        bytes[second + 20] ^= 1;
        bytes.extend_from_slice(ADDED_NAME);
        let all = Added::all(&bytes);
        assert_eq!(all, [1, 3, 4, 5].map(added));
        let mut completed = Completed::default();
        all.iter().for_each(|added| completed.add(added));
        assert_eq!((completed.next, completed.done.count_in(0..10), completed.segments), (7, 4, vec![[0, 5, 5]]));
    }

    /// Names of segments are those of their first frames, in an order that a listing shows.
    #[test]
    fn names() {
        assert_eq!(segment_name(17), "00000000000000000017.segment");
        assert_eq!(segment_of(&segment_name(u64::MAX)), Some(u64::MAX));
        assert!(
            ["17.segment", "00000000000000000017.damaged", "completed-0"].iter().all(|name| segment_of(name).is_none())
        );
    }
}
