//! Reading frames in order, past what is completed and what is damaged.

use std::io;

use bytes::{Bytes, BytesMut};

use super::scan::{Found, frame_from};
use super::{Frame, Log, Loss, LossReason, Now, Place, Stored};
use crate::files::{Files, OpenFile};
use crate::format::{BEFORE, MARK, Mark, checksum};

/// Bytes that are read at once, unless a frame is larger.
const CHUNK: usize = 256 * 1024;

/// Where reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The segment.
    pub(super) segment: u64,
    /// Where in it a frame begins that is not behind the next one to read.
    pub(super) offset: u64,
    /// The next frame to read.
    pub(super) sequence: u64,
}

/// What a part of a segment turned out to hold.
enum Step {
    /// Read on here.
    On(Cursor),
    /// The segment holds no more frames from here on.
    End(Cursor),
}

impl Cursor {
    pub(super) fn place(self) -> Place {
        Place { segment: self.segment, offset: self.offset }
    }
}

impl<F: Files> Log<F> {
    /// The next frames, of about so many bytes together, at least one where there is one. They are not read again
    /// before the log is opened anew.
    ///
    /// # Errors
    /// What the operating system says; reading goes on at the same place.
    pub fn read(&mut self, most: usize, now: Now) -> io::Result<Vec<Stored>> {
        let mut read = Vec::new();
        let mut bytes = 0;
        while let Some(cursor) = self.cursor {
            if bytes >= most {
                break;
            }
            let before = read.len();
            match self.read_chunk(cursor, now, &mut read) {
                Ok(Step::On(next)) => {
                    self.cursor = Some(next);
                    self.leave_if_read();
                }
                Ok(Step::End(last)) => self.leave_segment(last),
                // What was read is not read again; the error is said when it comes again.
                Err(_) if !read.is_empty() => break,
                Err(error) => return Err(error),
            }
            bytes += read[before..].iter().map(|stored| stored.payload.len()).sum::<usize>();
        }
        Ok(read)
    }

    /// Has everything that is not completed read again.
    #[cfg(test)]
    pub(crate) fn read_again(&mut self) {
        for (first, segment) in &mut self.segments {
            segment.unread_frames = segment.end - first - segment.done_frames;
            segment.unread_records = segment.records.saturating_sub(segment.done_records);
        }
        self.cursor = self.first_unread(0);
    }

    fn read_chunk(&mut self, cursor: Cursor, now: Now, read: &mut Vec<Stored>) -> io::Result<Step> {
        let end = self.segments[&cursor.segment].length;
        let data = self.bytes_at(cursor.segment, cursor.offset, CHUNK)?;
        let mut at = cursor;
        loop {
            let place = usize::try_from(at.offset - cursor.offset).expect("it is within the chunk");
            let rest = data.slice(place.min(data.len())..);
            if at.offset >= end {
                return Ok(Step::End(at));
            }
            let segment_end = self.segments[&at.segment].end;
            let mark = Mark::decode(&rest, BEFORE).filter(|mark| {
                let fits = at.offset.checked_add(mark.frame()).is_some_and(|behind| behind <= end);
                // What stood in the file before is no frame of it.
                fits && (at.segment..segment_end).contains(&mark.sequence)
            });
            let Some(mark) = mark else {
                // At the end of a chunk a mark is cut; and what was taken so far is not taken again after an error.
                if place > 0 {
                    return Ok(Step::On(at));
                }
                return self.search(at, end, now, read);
            };
            let size = usize::try_from(mark.frame()).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let behind = Cursor { offset: at.offset + mark.frame(), ..at };
            if mark.sequence < at.sequence || self.done.contains(mark.sequence) {
                at = Cursor { sequence: at.sequence.max(mark.sequence + 1), ..behind };
                continue;
            }
            if rest.len() < size {
                if place > 0 {
                    return Ok(Step::On(at));
                }
                let whole = self.bytes_at(at.segment, at.offset, size)?;
                return Ok(Step::On(self.take(at, mark, whole.slice(MARK.min(whole.len())..), now, read)));
            }
            at = self.take(at, mark, rest.slice(MARK..), now, read);
        }
    }

    /// Looks for the next frame behind something that is none.
    fn search(&mut self, at: Cursor, end: u64, now: Now, read: &mut Vec<Stored>) -> io::Result<Step> {
        self.damaged(at.segment);
        let segment_end = self.segments[&at.segment].end;
        let mut from = at.offset;
        loop {
            self.open_reader(at.segment)?;
            let reader = self.segments[&at.segment].reader.as_ref().expect("it was opened just now");
            let can_be = |found: &Found| {
                let is_ahead = (at.sequence..segment_end).contains(&found.mark.sequence);
                is_ahead && found.has_place_for_missing(at.sequence, at.offset)
            };
            let Some(found) = frame_from(reader, from, end, can_be)? else { return Ok(Step::End(at)) };
            if self.done.contains(found.mark.sequence) {
                from = found.start + found.mark.frame();
                continue;
            }
            // What is missing before it was where the search began.
            self.gap(at, found.mark.sequence);
            let place = Cursor { offset: found.start, sequence: found.mark.sequence, ..at };
            let size = usize::try_from(found.mark.frame()).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let whole = self.bytes_at(at.segment, found.start, size)?;
            return Ok(Step::On(self.take(place, found.mark, whole.slice(MARK.min(whole.len())..), now, read)));
        }
    }

    /// Takes the frame that begins at the cursor, or counts it as lost, and what is missing before it.
    fn take(&mut self, at: Cursor, mark: Mark, rest: Bytes, now: Now, read: &mut Vec<Stored>) -> Cursor {
        self.gap(at, mark.sequence);
        let next = Cursor { offset: at.offset + mark.frame(), sequence: mark.sequence + 1, ..at };
        let frame = Frame { sequence: mark.sequence, records: mark.records, behind: next.offset };
        let length = mark.length as usize;
        let payload = rest.get(..length).map(|_| rest.slice(..length));
        let Some(payload) = payload.filter(|payload| checksum([&payload[..]]) == mark.checksum) else {
            self.damaged(at.segment);
            self.lose_unread(at.place(), frame, LossReason::Damaged);
            return next;
        };
        let age = self.segments[&at.segment].age_of(mark.written_at, now);
        if self.options.max_age.is_some_and(|most| age > most) {
            self.lose_unread(at.place(), frame, LossReason::Expired);
            return next;
        }
        let segment = self.segments.get_mut(&at.segment).expect("it is being read");
        segment.unread_frames = segment.unread_frames.saturating_sub(1);
        segment.unread_records = segment.unread_records.saturating_sub(u64::from(mark.records));
        read.push(Stored { frame, signal: mark.signal, payload, age });
        next
    }

    /// Counts the frames from the cursor up to a sequence number as lost, unless they are completed. Their records are counted
    /// at the end of the segment, when it is known what is left of them.
    fn gap(&mut self, at: Cursor, to: u64) {
        let Cursor { segment, sequence: from, .. } = at;
        let missing = to.saturating_sub(from);
        if missing == 0 {
            return;
        }
        let frames = missing - self.done.count_in(from..to);
        self.set_done(from..to, frames);
        if frames > 0 {
            self.damaged(segment);
            let known = self.segments.get_mut(&segment).expect("it is being read");
            known.done_frames += frames;
            known.unread_frames = known.unread_frames.saturating_sub(frames);
            self.losses.push(Loss { reason: LossReason::Damaged, frames, records: 0, place: Some(at.place()) });
        }
    }

    /// Goes on behind the segment that is being read where nothing of it is to be read any more: it may be removed.
    pub(super) fn leave_if_read(&mut self) {
        let Some(cursor) = self.cursor else { return };
        let segment = &self.segments[&cursor.segment];
        if segment.unread_frames == 0 || cursor.offset >= segment.length {
            self.leave_segment(cursor);
        }
    }

    /// Goes on behind a segment. What it should have held and did not is lost.
    fn leave_segment(&mut self, at: Cursor) {
        let end = self.segments[&at.segment].end;
        self.gap(at, end);
        let segment = self.segments.get_mut(&at.segment).expect("it is being read");
        segment.reader = None;
        let records = std::mem::take(&mut segment.unread_records);
        if records > 0 {
            segment.done_records += records;
            self.losses.push(Loss { reason: LossReason::Damaged, frames: 0, records, place: Some(at.place()) });
        }
        segment.unread_frames = 0;
        self.settled(at.segment);
        self.cursor = self.first_unread(at.segment + 1);
    }

    /// Bytes of a segment from an offset on, up to the end of its frames.
    fn bytes_at(&mut self, first: u64, offset: u64, most: usize) -> io::Result<Bytes> {
        self.open_reader(first)?;
        let segment = &self.segments[&first];
        let left = usize::try_from(segment.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::zeroed(left.min(most));
        let reader = segment.reader.as_ref().expect("it was opened just now");
        let read = reader.read_at(offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes.freeze())
    }

    fn open_reader(&mut self, first: u64) -> io::Result<()> {
        let segment = self.segments.get_mut(&first).expect("it is being read");
        if segment.reader.is_none() {
            segment.reader = Some(self.files.open_to_read(&crate::format::segment_name(first))?);
        }
        Ok(())
    }
}
