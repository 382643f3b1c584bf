//! What is known of a segment without reading it.

use std::time::Duration;

/// A file of frames.
#[derive(Debug)]
pub(super) struct Segment<O> {
    /// The sequence number behind its last frame.
    pub(super) end: u64,
    /// Where its frames end in the file.
    pub(super) length: u64,
    /// Bytes of it in the file, its seal included.
    pub(super) size: u64,
    /// Bytes of the file behind that: of its last use, or left there by a process that was killed.
    pub(super) behind: u64,
    /// Records of all its frames.
    pub(super) records: u64,
    pub(super) unread_frames: u64,
    pub(super) unread_records: u64,
    pub(super) done_frames: u64,
    pub(super) done_records: u64,
    /// When it was begun, and when its last frame was appended, on the clock of [`Now::elapsed`](super::Now::elapsed); for a frame of another
    /// process that may be before its beginning.
    pub(super) oldest: Age,
    pub(super) newest: Age,
    /// Something in it is not as it was written.
    pub(super) is_damaged: bool,
    /// This process has begun it, and no write to it has failed.
    pub(super) is_in_order: bool,
    /// Open for reading.
    pub(super) reader: Option<O>,
}

/// A moment before or behind a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// So long before the beginning.
    Before(Duration),
    /// So long behind it.
    At(Duration),
}

impl Age {
    /// The moment at which something was written, by the wall's clock. What seems to come from the future is of now.
    pub(super) fn of(written_at: u64, now: super::Now) -> Self {
        let age = Duration::from_millis(now.unix_millis.saturating_sub(written_at));
        match now.elapsed.checked_sub(age) {
            Some(moment) => Self::At(moment),
            None => Self::Before(age - now.elapsed),
        }
    }

    /// How long ago it is.
    pub(super) fn until(self, now: super::Now) -> Duration {
        match self {
            Self::Before(before) => now.elapsed + before,
            Self::At(moment) => now.elapsed.saturating_sub(moment),
        }
    }
}

impl<O> Segment<O> {
    /// Its first sequence number, which it does not know itself, and what of it is completed, if anything is.
    pub(super) fn done(&self, first: u64) -> Option<[u64; 3]> {
        (self.done_frames > 0).then_some([first, self.done_frames, self.done_records])
    }

    /// How long a frame of it has waited that was appended then by the wall's clock. However that was set meanwhile, it is
    /// between its oldest and its newest one.
    pub(super) fn age_of(&self, written_at: u64, now: super::Now) -> Duration {
        let (least, most) = (self.newest.until(now), self.oldest.until(now));
        Age::of(written_at, now).until(now).min(most).max(least)
    }

    /// Whether nobody needs it any more, once nothing is appended to it.
    pub(super) fn is_done(&self, first: u64) -> bool {
        self.done_frames >= self.end - first
    }
}
