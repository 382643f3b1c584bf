//! Completing frames, remembering that, and removing what nobody needs any more.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use super::completions::Durability;
use super::{Frame, Log, Now};
use crate::files::{Files, OpenFile, unless_absent};
use crate::format::{Added, Completed, DAMAGED_SUFFIX, HEADER, SEGMENT_SUFFIX, segment_name};

/// Damaged segments that are kept aside.
const KEPT_ASIDE: usize = 4;

impl<F: Files> Log<F> {
    /// A frame that was read, or kept from reading, is not needed any more.
    pub fn complete(&mut self, frame: Frame) {
        if self.done.contains(frame.sequence) {
            return;
        }
        self.set_done(frame.sequence..frame.sequence + 1, 1);
        let Some((first, segment)) = self.segments.range_mut(..=frame.sequence).next_back() else { return };
        segment.done_frames += 1;
        segment.done_records += u64::from(frame.records);
        if self.cursor.is_some_and(|cursor| frame.sequence >= cursor.sequence) {
            // Nobody is to read it any more.
            segment.unread_frames = segment.unread_frames.saturating_sub(1);
            segment.unread_records = segment.unread_records.saturating_sub(u64::from(frame.records));
        }
        let first = *first;
        self.leave_if_read();
        self.settled(first);
    }

    /// Whether [`maintain`](Self::maintain) has something to do that should not wait.
    pub fn needs_maintenance(&self) -> bool {
        self.completions.pending() >= self.options.completions
            || !self.removable.is_empty()
            || !self.tails.is_empty()
            || self.has_leftover()
    }

    /// Whether anything was completed that is not written yet.
    pub fn has_unwritten_completions(&self) -> bool {
        self.completions.pending() > 0
    }

    /// Writes what is completed, removes what is needed no more, and drops what is too old.
    ///
    /// # Errors
    /// What stands in the way; nothing is lost by that, and it is tried again the next time.
    pub fn maintain(&mut self, now: Now) -> io::Result<()> {
        self.cut_tails()?;
        self.expire(now);
        if let Err(error) = self.trim(0) {
            // It is only beside what the log needs.
            tracing::debug!(%error, "a file that is not needed cannot be removed");
        }
        if self.completions.pending() > 0 || !self.removable.is_empty() {
            self.settle()?;
        }
        self.put_aside_foreign()
    }

    /// Cuts off what an earlier process left behind the frames of its segments. A segment behind tells that it is none of theirs, and
    /// that may go first.
    pub(super) fn cut_tails(&mut self) -> io::Result<()> {
        while let Some(first) = self.tails.last().copied() {
            if let Some(segment) = self.segments.get_mut(&first).filter(|segment| !segment.is_damaged) {
                let file = self.files.open(&segment_name(first));
                unless_absent(file.and_then(|mut file| file.set_size(segment.length).and_then(|()| file.sync())))?;
                segment.behind = 0;
            }
            self.tails.pop();
        }
        Ok(())
    }

    /// Writes what is completed, and removes what is needed no more.
    fn settle(&mut self) -> io::Result<()> {
        self.completions.prepare(&self.files)?;
        // A segment goes only when the disk knows that it is completed: else it would seem to be missing.
        let durability = if self.removable.is_empty() { Durability::Kill } else { Durability::PowerLoss };
        self.write_completions(durability)?;
        while let Some(first) = self.removable.last().copied() {
            self.remove(first)?;
            self.removable.pop();
        }
        Ok(())
    }

    /// Seals what is appended to and writes what is completed, so that the next start is quick and reads nothing twice.
    ///
    /// # Errors
    /// What stands in the way; then the next start has more to do.
    pub fn close(&mut self, now: Now) -> io::Result<()> {
        self.seal();
        if self.segments.is_empty() && self.completions.generation() == 0 {
            return self.remove_spare();
        }
        self.maintain(now)?;
        self.completions.prepare(&self.files)?;
        self.completions.write(&self.completed())?;
        self.remove_spare()
    }

    /// Nobody needs these frames any more, of which so many were needed before.
    pub(super) fn set_done(&mut self, sequences: Range<u64>, frames: u64) {
        self.done.insert(sequences.clone());
        self.completions.note(sequences, frames);
    }

    /// Writes what was completed since the last time, or all where there is no place for that.
    fn write_completions(&mut self, durability: Durability) -> io::Result<()> {
        let mut touched = BTreeSet::new();
        for range in self.completions.ranges() {
            touched.extend(self.segments.range(..=range.start).next_back().map(|(first, _)| *first));
            touched.extend(self.segments.range(range.clone()).map(|(first, _)| *first));
        }
        let added = Added {
            generation: self.completions.generation(),
            next: self.next,
            records_before: self.records_before,
            ranges: self.completions.ranges().to_vec(),
            segments: touched.into_iter().filter_map(|first| self.segments[&first].done(first)).collect(),
        };
        let bytes = added.encode();
        if self.completions.has_room_for(&bytes) {
            return self.completions.add(&bytes, durability);
        }
        self.completions.write(&self.completed())
    }

    /// What is completed, all of it.
    fn completed(&self) -> Completed {
        Completed {
            generation: self.completions.generation() + 1,
            next: self.next,
            records_before: self.records_before,
            done: self.done.clone(),
            segments: self.segments.iter().filter_map(|(first, segment)| segment.done(*first)).collect(),
        }
    }

    /// Looks whether a segment can go.
    pub(super) fn settled(&mut self, first: u64) {
        let is_active = self.active.as_ref().is_some_and(|active| active.first == first);
        let Some(segment) = self.segments.get(&first) else { return };
        if is_active && segment.is_done(first) && segment.length >= self.options.segment_size {
            // Nothing may ever be appended to it again, where what it takes leaves no room.
            return self.seal();
        }
        if !is_active && segment.is_done(first) && !self.removable.contains(&first) {
            self.removable.push(first);
        }
    }

    fn remove(&mut self, first: u64) -> io::Result<()> {
        let Some(segment) = self.segments.get(&first) else { return Ok(()) };
        let (is_damaged, size) = (segment.is_damaged, segment.size);
        // What was begun on a full disk and never got a frame makes no room that was not there before.
        let freed = if segment.end > first { size } else { 0 };
        let done = if is_damaged { self.put_aside(&segment_name(first), size) } else { self.retire(first, size) };
        unless_absent(done)?;
        self.freed += freed;
        self.segments.remove(&first);
        Ok(())
    }

    fn put_aside_foreign(&mut self) -> io::Result<()> {
        while let Some(name) = self.foreign.last().cloned() {
            let size = self.files.open_to_read(&name).and_then(|file| file.size());
            // What was begun and never got further is nothing to look at.
            let done = match size {
                Ok(size) if size <= HEADER as u64 => self.files.remove(&name),
                size => self.put_aside(&name, size.unwrap_or_default()),
            };
            unless_absent(done)?;
            self.foreign.pop();
        }
        Ok(())
    }

    /// Keeps a file in which damage was found, and of older ones so many as are kept.
    fn put_aside(&mut self, name: &str, size: u64) -> io::Result<()> {
        let kept = name.strip_suffix(SEGMENT_SUFFIX).unwrap_or(name).to_owned() + DAMAGED_SUFFIX;
        self.files.rename(name, &kept)?;
        self.aside.insert(kept, size);
        while self.aside.len() > KEPT_ASIDE {
            self.remove_aside()?;
        }
        Ok(())
    }
}
