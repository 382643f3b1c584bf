//! Completing frames, remembering that, and removing what nobody needs any more.

use std::io;

use super::open::OpenError;
use super::{Frame, Log, Now};
use crate::files::{Files, Listed, OpenFile};
use crate::format::{COMPLETED, Completed, DAMAGED_SUFFIX, HEADER, Read, SEGMENT_SUFFIX, segment_name};

/// Bytes allocated for each completion file at the beginning: a full disk can still be emptied.
const ALLOCATED: u64 = 256 * 1024;
/// Damaged segments that are kept aside.
const KEPT_ASIDE: usize = 4;

/// The two files that say what is completed.
#[derive(Debug)]
pub(super) struct CompletionFiles<O> {
    generation: u64,
    files: [Option<O>; 2],
    /// Completions since the last time they were written.
    pending: u32,
}

impl<O: OpenFile> CompletionFiles<O> {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// So many frames were completed, or lost: both are to be remembered.
    pub(super) fn note(&mut self, frames: u64) {
        self.pending = self.pending.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
    }

    /// Reads both and says what the newer one says.
    pub(super) fn read<F: Files<File = O>>(
        files: &F,
        listed: &[Listed],
    ) -> Result<(Self, Option<Completed>), OpenError> {
        let mut newest: Option<Completed> = None;
        for name in COMPLETED {
            let Some(Listed { size, .. }) = listed.iter().find(|listed| listed.name == name) else { continue };
            let failed = |source| OpenError::Io { name: name.to_owned(), source };
            let file = files.open_to_read(name).map_err(failed)?;
            let mut bytes = vec![0; usize::try_from(*size).unwrap_or_default()];
            let read = file.read_at(0, &mut bytes).map_err(failed)?;
            match Completed::decode(&bytes[..read]) {
                Read::Newer(version) => return Err(OpenError::Newer { name: name.to_owned(), version }),
                Read::Whole(completed)
                    if newest.as_ref().is_none_or(|newest| newest.generation < completed.generation) =>
                {
                    newest = Some(completed);
                }
                Read::Whole(_) | Read::Damaged => {}
            }
        }
        let generation = newest.as_ref().map_or(0, |newest| newest.generation);
        Ok((Self { generation, files: [None, None], pending: 0 }, newest))
    }

    /// Has both files, with their space.
    pub(super) fn prepare<F: Files<File = O>>(&mut self, files: &F) -> io::Result<()> {
        for (name, open) in COMPLETED.iter().zip(&mut self.files) {
            if open.is_some() {
                continue;
            }
            let mut file = match files.open(name) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    drop(files.create(name)?);
                    files.open(name)?
                }
                Err(error) => return Err(error),
            };
            // Also where it seems to be so already: perhaps that was never synced.
            let size = file.size()?;
            if let Err(error) = file.allocate(ALLOCATED).and_then(|()| file.sync()) {
                // The next time it must not seem to be so.
                return Err(file.set_size(size).err().unwrap_or(error));
            }
            *open = Some(file);
        }
        Ok(())
    }

    /// Writes into the older of the two.
    fn write(&mut self, completed: &Completed, durability: Durability) -> io::Result<()> {
        let place = usize::from(completed.generation % 2 == 1);
        let file = self.files[place].as_mut().expect("they were prepared");
        file.write_at(0, &completed.encode())?;
        if durability == Durability::PowerLoss {
            file.sync()?;
        }
        self.generation = completed.generation;
        self.pending = 0;
        Ok(())
    }
}

/// What a completion that is written must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    Kill,
    PowerLoss,
}

impl<F: Files> Log<F> {
    /// A frame that was read, or kept from reading, is not needed any more.
    pub fn complete(&mut self, frame: Frame) {
        if self.done.contains(frame.sequence) {
            return;
        }
        self.done.insert(frame.sequence..frame.sequence + 1);
        let Some((first, segment)) = self.segments.range_mut(..=frame.sequence).next_back() else { return };
        segment.done_frames += 1;
        segment.done_records += u64::from(frame.records);
        if self.cursor.is_some_and(|cursor| frame.sequence >= cursor.sequence) {
            // Nobody is to read it any more.
            segment.unread_frames = segment.unread_frames.saturating_sub(1);
            segment.unread_records = segment.unread_records.saturating_sub(u64::from(frame.records));
        }
        let first = *first;
        self.completions.note(1);
        self.settled(first);
    }

    /// Whether [`maintain`](Self::maintain) has something to do that should not wait.
    pub fn needs_maintenance(&self) -> bool {
        self.completions.pending >= self.options.completions || !self.removable.is_empty()
    }

    /// Whether anything was completed that is not written yet.
    pub fn has_unwritten_completions(&self) -> bool {
        self.completions.pending > 0
    }

    /// Writes what is completed, removes what is needed no more, and drops what is too old.
    ///
    /// # Errors
    /// What stands in the way; nothing is lost by that, and it is tried again the next time.
    pub fn maintain(&mut self, now: Now) -> io::Result<()> {
        self.expire(now);
        self.put_aside_foreign()?;
        if self.completions.pending == 0 && self.removable.is_empty() {
            return Ok(());
        }
        self.completions.prepare(&self.files)?;
        // A segment goes only when the disk knows that it is completed: else it would seem to be missing.
        let durability = if self.removable.is_empty() { Durability::Kill } else { Durability::PowerLoss };
        self.completions.write(&self.completed(), durability)?;
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
        if self.segments.is_empty() && self.completions.generation == 0 {
            return Ok(());
        }
        self.completions.prepare(&self.files)?;
        self.completions.note(1);
        self.maintain(now)?;
        self.completions.write(&self.completed(), Durability::PowerLoss)
    }

    /// Looks whether a segment can go.
    pub(super) fn settled(&mut self, first: u64) {
        let is_active = self.active.as_ref().is_some_and(|active| active.first == first);
        let Some(segment) = self.segments.get(&first) else { return };
        if !is_active && segment.is_done(first) && !self.removable.contains(&first) {
            self.removable.push(first);
        }
    }

    fn remove(&mut self, first: u64) -> io::Result<()> {
        let Some(segment) = self.segments.get(&first) else { return Ok(()) };
        let name = segment_name(first);
        let done = if segment.is_damaged { self.put_aside(&name) } else { self.files.remove(&name) };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.freed += segment.size;
        self.segments.remove(&first);
        Ok(())
    }

    fn put_aside_foreign(&mut self) -> io::Result<()> {
        while let Some(name) = self.foreign.last().cloned() {
            let size = self.files.open_to_read(&name).and_then(|file| file.size());
            // What was begun and never got further is nothing to look at.
            let is_empty = size.is_ok_and(|size| size <= HEADER as u64);
            let done = if is_empty { self.files.remove(&name) } else { self.put_aside(&name) };
            match done {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            self.foreign.pop();
        }
        Ok(())
    }

    /// Keeps a file in which damage was found, and of older ones so many as are kept.
    fn put_aside(&self, name: &str) -> io::Result<()> {
        let kept = name.strip_suffix(SEGMENT_SUFFIX).unwrap_or(name).to_owned() + DAMAGED_SUFFIX;
        self.files.rename(name, &kept)?;
        let mut aside: Vec<String> = self.files.list()?.into_iter().map(|listed| listed.name).collect();
        aside.retain(|name| name.ends_with(DAMAGED_SUFFIX));
        aside.sort_unstable();
        let too_many = aside.len().saturating_sub(KEPT_ASIDE);
        aside[..too_many].iter().try_for_each(|name| self.files.remove(name))
    }
}
