//! What is known of a log that is only looked at: its segments, what is completed, and where frames are.

use super::segment::Age;
use super::{Log, Now, Place, Stored};
use crate::files::Files;
use crate::format::FRAME_OVERHEAD;
use crate::ranges::Ranges;

/// A segment, as far as it is known without reading its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownSegment {
    /// The sequence numbers of its first frame, and behind its last one.
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) done_frames: u64,
    pub(crate) done_records: u64,
    /// Bytes of its file, and those behind its last frame and its seal.
    pub(crate) size: u64,
    pub(crate) behind: u64,
    pub(crate) is_sealed: bool,
    /// Something in it is known not to be as it was written.
    pub(crate) is_damaged: bool,
    /// How long before the moment of opening it was begun, and its last frame appended, in milliseconds.
    pub(crate) oldest: u64,
    pub(crate) newest: u64,
}

impl<F: Files> Log<F> {
    /// Its segments in order. `opened` is the moment at which it was opened.
    pub(crate) fn known_segments(&self, opened: Now) -> impl Iterator<Item = KnownSegment> {
        let millis = move |age: Age| u64::try_from(age.until(opened).as_millis()).unwrap_or(u64::MAX);
        self.segments.iter().map(move |(first, segment)| KnownSegment {
            first: *first,
            end: segment.end,
            records: segment.records,
            done_frames: segment.done_frames,
            done_records: segment.done_records,
            size: segment.size + segment.behind,
            behind: segment.behind,
            is_sealed: segment.size > segment.length,
            is_damaged: segment.is_damaged,
            oldest: millis(segment.oldest),
            newest: millis(segment.newest),
        })
    }

    /// Every frame that is completed.
    pub(crate) fn done(&self) -> &Ranges {
        &self.done
    }

    /// Files that are called segments and hold nothing of this log.
    pub(crate) fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// Where reading goes on.
    pub(crate) fn place(&self) -> Option<Place> {
        self.cursor.map(super::read::Cursor::place)
    }

    /// Where a frame begins that was read.
    pub(crate) fn place_of(&self, stored: &Stored) -> Place {
        let before = self.segments.range(..=stored.frame.sequence).next_back();
        let (segment, _) = before.expect("a frame that was read is in a segment");
        let size = (stored.payload.len() + FRAME_OVERHEAD) as u64;
        Place { segment: *segment, offset: stored.frame.behind.saturating_sub(size) }
    }
}
