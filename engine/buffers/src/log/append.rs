//! Appending frames in groups: written, synced, and acknowledged then.

use std::io::{self, IoSlice};

use otlp::{Rope, Signal};

use super::read::Cursor;
use super::segment::{Age, Segment};
use super::{Frame, Log, Now};
use crate::files::{Files, OpenFile, unless_absent};
use crate::format::{BEFORE, BEHIND, FRAME_OVERHEAD, HEADER, Header, MARK, Mark, SEAL, Seal, checksum, segment_name};

/// A payload that is to become a frame.
#[derive(Clone, Debug)]
pub struct NewFrame {
    /// Its signal.
    pub signal: Signal,
    /// Its records.
    pub records: u32,
    /// Its encoded bytes, less than 1 GiB.
    pub payload: Rope,
}

/// What became of a group.
#[derive(Debug)]
pub struct Appended {
    /// The frames that are on the disk: the first ones of the group.
    pub frames: Vec<Frame>,
    /// Why the others are not. They may be appended again.
    pub error: Option<io::Error>,
}

/// The file that is appended to.
#[derive(Debug)]
pub(super) struct Active<O> {
    pub(super) first: u64,
    file: O,
    newest_at: u64,
}

impl NewFrame {
    /// Bytes that the frame takes in a file.
    pub fn size(&self) -> u64 {
        (self.payload.len() + FRAME_OVERHEAD) as u64
    }
}

impl<F: Files> Log<F> {
    /// Appends frames, makes them last, and says which do. They are yet to be read.
    pub fn append(&mut self, frames: &[NewFrame], now: Now) -> Appended {
        let mut appended = Vec::with_capacity(frames.len());
        let mut rest = frames;
        while !rest.is_empty() {
            match self.append_some(rest, now, &mut appended) {
                Ok(count) => rest = &rest[count..],
                Err(error) => return Appended { frames: appended, error: Some(error) },
            }
        }
        Appended { frames: appended, error: None }
    }

    /// Says whether anything can be appended at all, by making a new segment.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn probe(&mut self, now: Now) -> io::Result<()> {
        if self.active.is_none() { self.begin(now) } else { Ok(()) }
    }

    /// Whether everything before a frame has been read, and it has not.
    pub fn is_next(&self, frame: Frame) -> bool {
        self.cursor.is_some_and(|cursor| cursor.sequence == frame.sequence)
    }

    /// Says that the frames just appended are with whoever appended them, and need not be read. True only where everything
    /// before them has been read: else it would be overtaken.
    pub fn keep_from_reading(&mut self, frame: Frame) -> bool {
        let Some(cursor) = self.cursor.filter(|cursor| cursor.sequence == frame.sequence) else { return false };
        let Some((first, segment)) = self.segments.range_mut(..=frame.sequence).next_back() else { return false };
        // The frame has not been read by anybody, so it is among the unread ones.
        segment.unread_frames -= 1;
        segment.unread_records = segment.unread_records.saturating_sub(u64::from(frame.records));
        let is_last = frame.sequence + 1 == segment.end;
        let first = *first;
        self.cursor = match is_last {
            true if frame.sequence + 1 == self.next => None,
            true => self.first_unread(first + 1),
            false => Some(Cursor { sequence: frame.sequence + 1, offset: frame.behind, ..cursor }),
        };
        true
    }

    /// Appends as many frames as go into one segment, at least one.
    fn append_some(&mut self, frames: &[NewFrame], now: Now, appended: &mut Vec<Frame>) -> io::Result<usize> {
        // Where it cannot be given back there is no harm in it yet.
        let _kept = self.trim(frames.iter().map(NewFrame::size).sum());
        self.make_way_for(&frames[0], now)?;
        let active = self.active.as_mut().expect("a segment was begun just now");
        let segment = self.segments.get_mut(&active.first).expect("the active segment is known");
        let mut marks: Vec<[[u8; MARK]; 2]> = Vec::with_capacity(frames.len());
        let mut new = Vec::with_capacity(frames.len());
        let (mut sequence, mut records_before, mut length) = (self.next, self.records_before, segment.length);
        for frame in frames {
            if !new.is_empty() && length + frame.size() > self.options.segment_size {
                break;
            }
            let mark = Mark {
                length: u32::try_from(frame.payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
                checksum: checksum(frame.payload.pieces().iter().map(|piece| &piece[..])),
                sequence,
                records_before,
                written_at: now.unix_millis,
                records: frame.records,
                signal: frame.signal,
            };
            marks.push([mark.encode(BEFORE), mark.encode(BEHIND)]);
            length += mark.frame();
            new.push(Frame { sequence, records: frame.records, behind: length });
            (sequence, records_before) = mark.behind();
        }
        let mut pieces = Vec::with_capacity(4 * new.len());
        for ([before, behind], frame) in marks.iter().zip(frames) {
            pieces.push(IoSlice::new(before));
            pieces.extend(frame.payload.pieces().iter().map(|piece| IoSlice::new(piece)));
            pieces.push(IoSlice::new(behind));
        }
        if let Err(error) = active.file.write_pieces_at(segment.length, &pieces).and_then(|()| active.file.sync()) {
            self.give_up();
            return Err(error);
        }
        let offset = segment.length;
        let records = records_before - self.records_before;
        let count = new.len();
        segment.behind = segment.behind.saturating_sub(length - segment.length);
        segment.length = length;
        segment.size = length;
        segment.end = sequence;
        segment.records += records;
        segment.unread_frames += count as u64;
        segment.unread_records += records;
        segment.newest = Age::At(now.elapsed);
        active.newest_at = now.unix_millis;
        if self.cursor.is_none() {
            self.cursor = Some(Cursor { segment: active.first, offset, sequence: self.next });
        }
        (self.next, self.records_before) = (sequence, records_before);
        appended.extend(new);
        Ok(count)
    }

    /// Has an active segment with room for a frame.
    fn make_way_for(&mut self, frame: &NewFrame, now: Now) -> io::Result<()> {
        if let Some(active) = &self.active {
            let segment = &self.segments[&active.first];
            let is_empty = segment.length == HEADER as u64;
            if is_empty || segment.length + frame.size() <= self.options.segment_size {
                return Ok(());
            }
            self.seal();
        }
        self.begin(now)
    }

    fn begin(&mut self, now: Now) -> io::Result<()> {
        self.completions.prepare(&self.files)?;
        self.cut_tails()?;
        let first = self.next;
        let name = segment_name(first);
        // What was given up before a frame of it was acknowledged, or is left of an attempt to begin.
        if self.segments.get(&first).is_some_and(|segment| segment.end == first) {
            self.segments.remove(&first);
            self.removable.retain(|other| *other != first);
        }
        self.foreign.retain(|other| *other != name);
        let header = Header { first, records_before: self.records_before, made_at: now.unix_millis }.encode();
        let (file, size) = match self.reuse(&name, &header) {
            Some(reused) => reused,
            None => (self.create(&name, &header)?, HEADER as u64),
        };
        let segment = Segment {
            end: first,
            length: HEADER as u64,
            size: HEADER as u64,
            behind: size - HEADER as u64,
            records: 0,
            unread_frames: 0,
            unread_records: 0,
            done_frames: 0,
            done_records: 0,
            oldest: Age::At(now.elapsed),
            newest: Age::At(now.elapsed),
            is_damaged: false,
            is_in_order: true,
            reader: None,
        };
        self.segments.insert(first, segment);
        self.active = Some(Active { first, file, newest_at: now.unix_millis });
        Ok(())
    }

    fn create(&self, name: &str, header: &[u8]) -> io::Result<F::File> {
        // What was renamed to it, and nobody knows whether that lasts.
        unless_absent(self.files.remove(name))?;
        let mut file = self.files.create(name)?;
        file.write_pieces_at(0, &[IoSlice::new(header)])?;
        file.sync()?;
        // Frames last only where the name of their file does.
        self.files.sync_names()?;
        Ok(file)
    }

    /// Ends the active segment. That the seal lasts is not needed: without it the frames are looked through.
    pub(super) fn seal(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        let segment = self.segments.get_mut(&active.first).expect("the active segment is known");
        let seal = Seal { end: self.next, records_before: self.records_before, newest_at: active.newest_at }.encode();
        let end = segment.length + SEAL as u64;
        let sealed = active.file.write_pieces_at(segment.length, &[IoSlice::new(&seal)]);
        // What is left of the file's last use would stand behind it.
        let is_longer = segment.behind > SEAL as u64;
        match sealed.and_then(|()| if is_longer { active.file.set_size(end) } else { Ok(()) }) {
            Ok(()) => (segment.size, segment.behind) = (end, 0),
            Err(_) => segment.is_in_order = false,
        }
        self.ended(active.first);
    }

    /// Gives up the active segment after a write or a sync that failed: nobody knows what of it lasts, and asking again on the
    /// same file would not tell. What was acknowledged before is on the disk.
    fn give_up(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        let segment = self.segments.get_mut(&active.first).expect("the active segment is known");
        segment.is_in_order = false;
        // What was not acknowledged is not to be found after a restart. Where that fails, it may come twice.
        segment.behind = match active.file.set_size(segment.length) {
            Ok(()) => 0,
            Err(_) => active.file.size().map_or(0, |size| size.saturating_sub(segment.length)),
        };
        self.ended(active.first);
    }

    fn ended(&mut self, first: u64) {
        if self.segments[&first].is_done(first) {
            self.removable.push(first);
        }
    }
}
