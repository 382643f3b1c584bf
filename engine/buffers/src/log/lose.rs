//! Losing frames that were acknowledged, and saying so.

use super::{Frame, Log, Loss, LossReason, Now, Place};
use crate::files::Files;

impl<F: Files> Log<F> {
    /// Drops the oldest segment that still has frames to read, but for those that were read, and says whether there was one.
    pub fn drop_oldest(&mut self) -> bool {
        let Some(cursor) = self.cursor else { return false };
        if self.active.as_ref().is_some_and(|active| active.first == cursor.segment) {
            self.seal();
        }
        self.drop_unread(cursor.segment, cursor.sequence, LossReason::Full);
        true
    }

    /// Gives up what is left of the segment that is being read and cannot be.
    pub fn lose_unreadable(&mut self) {
        let Some(cursor) = self.cursor else { return };
        if self.active.as_ref().is_some_and(|active| active.first == cursor.segment) {
            self.seal();
        }
        self.damaged(cursor.segment);
        self.drop_unread(cursor.segment, cursor.sequence, LossReason::Damaged);
    }

    /// Drops segments of which every frame is too old.
    pub(super) fn expire(&mut self, now: Now) {
        let Some(most) = self.options.max_age else { return };
        while let Some(cursor) = self.cursor {
            if self.segments[&cursor.segment].newest.until(now) <= most {
                return;
            }
            if self.active.as_ref().is_some_and(|active| active.first == cursor.segment) {
                self.seal();
            }
            self.drop_unread(cursor.segment, cursor.sequence, LossReason::Expired);
        }
    }

    /// Loses what of a segment has not been read, from this frame on.
    fn drop_unread(&mut self, first: u64, from: u64, reason: LossReason) {
        let end = self.segments[&first].end;
        let frames = end - from - self.done.count_in(from..end);
        self.set_done(from..end, frames);
        let segment = self.segments.get_mut(&first).expect("it is to be read");
        segment.done_frames += frames;
        segment.unread_frames = 0;
        let records = std::mem::take(&mut segment.unread_records);
        segment.done_records += records;
        segment.reader = None;
        self.losses.push(Loss { reason, frames, records, place: None });
        self.settled(first);
        self.cursor = self.first_unread(first + 1);
    }

    /// Loses one frame that nobody has read and that begins there.
    pub(super) fn lose_unread(&mut self, place: Place, frame: Frame, reason: LossReason) {
        let first = place.segment;
        let records = u64::from(frame.records);
        let segment = self.segments.get_mut(&first).expect("it is being read");
        segment.unread_frames = segment.unread_frames.saturating_sub(1);
        segment.unread_records = segment.unread_records.saturating_sub(records);
        segment.done_frames += 1;
        segment.done_records += records;
        self.set_done(frame.sequence..frame.sequence + 1, 1);
        self.losses.push(Loss { reason, frames: 1, records, place: Some(place) });
        self.settled(first);
    }

    /// Loses a frame that was read: its bytes are those that were written, and mean nothing.
    pub fn lose_read(&mut self, frame: Frame) {
        if let Some((first, _)) = self.segments.range(..=frame.sequence).next_back() {
            self.damaged(*first);
        }
        let records = u64::from(frame.records);
        self.losses.push(Loss { reason: LossReason::Damaged, frames: 1, records, place: None });
        self.complete(frame);
    }

    pub(super) fn damaged(&mut self, first: u64) {
        self.segments.get_mut(&first).expect("it is being read").is_damaged = true;
    }
}
