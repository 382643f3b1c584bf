//! What is kept beside the segments while there is room: the file of one that nobody needs any more, to become the next one, and
//! those in which damage was found.
//!
//! Writing to a file that has its blocks, and its pages in memory, costs half of what a new one costs, and a sync of it need
//! not write down its size. What still stands in it is older than the segment that it becomes: each of its sequence numbers is
//! lower than the first one there, by which it is told from frames. So only a file is kept that this process has begun and
//! ended in order, and none of an earlier process: what was never acknowledged could stand in that.

use std::io;

use super::Log;
use super::segment::Segment;
use crate::files::{Files, OpenFile, unless_absent};
use crate::format::{SEAL, SPARE, segment_name};

/// What there is of a file that can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spare {
    None,
    /// An earlier process left one, or this one was not able to use it: it is to be removed.
    Leftover(u64),
    /// It has so many bytes.
    Kept(u64),
}

impl Spare {
    /// Bytes that it takes.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Leftover(size) | Self::Kept(size) => size,
        }
    }
}

impl<F: Files> Log<F> {
    /// Bytes of all segments and of what is kept beside them.
    pub(super) fn footprint(&self) -> u64 {
        let segments: u64 = self.segments.values().map(|segment| segment.size + segment.behind).sum();
        segments + self.spare.size() + self.aside.values().sum::<u64>()
    }

    /// Takes away a segment that nobody needs: under its name there is nothing any more.
    pub(super) fn retire(&mut self, first: u64, segment_size: u64) -> io::Result<()> {
        let name = segment_name(first);
        let is_of_use = self.spare == Spare::None && self.is_reusable(&self.segments[&first]);
        if !is_of_use {
            return self.files.remove(&name);
        }
        self.files.rename(&name, SPARE)?;
        self.spare = Spare::Kept(segment_size);
        Ok(())
    }

    fn is_reusable(&self, segment: &Segment<F::File>) -> bool {
        let is_large = segment.size >= self.options.segment_size / 2;
        segment.is_in_order && is_large && !self.is_too_large(segment.size) && !self.lacks(0)
    }

    /// Whether a file is of no use for segments of the size that they have now.
    fn is_too_large(&self, size: u64) -> bool {
        size > self.options.segment_size.saturating_add(SEAL as u64)
    }

    /// Whether there is no room for so many bytes more.
    fn lacks(&self, more: u64) -> bool {
        self.footprint().saturating_add(more) > self.options.max_size
    }

    /// Makes the file that is kept a segment of this name, and says how many bytes it has. None where there is none, or where
    /// it cannot be used.
    pub(super) fn reuse(&mut self, name: &str, header: &[u8]) -> Option<(F::File, u64)> {
        let Spare::Kept(size) = self.spare else { return None };
        match self.reuse_spare(name, header) {
            Ok(file) => {
                self.spare = Spare::None;
                Some((file, size))
            }
            Err(error) => {
                tracing::debug!(%error, "a file cannot be used again");
                self.spare = Spare::Leftover(size);
                None
            }
        }
    }

    fn reuse_spare(&self, name: &str, header: &[u8]) -> io::Result<F::File> {
        // Under its old name a file with this header would be damaged.
        self.files.sync_names()?;
        let mut file = self.files.open(SPARE)?;
        file.write_at(0, header)?;
        file.sync()?;
        self.files.rename(SPARE, name)?;
        self.files.sync_names()?;
        Ok(file)
    }

    /// Whether a file is kept that cannot stay.
    pub(super) fn has_leftover(&self) -> bool {
        matches!(self.spare, Spare::Leftover(_))
    }

    /// Gives the space of what is kept back where so many bytes more need it, or it is of no use; damaged files go last. An error
    /// is one of the disk, which those that need the space will meet.
    pub(super) fn trim(&mut self, more: u64) -> io::Result<()> {
        let is_to_go = match self.spare {
            Spare::None => false,
            Spare::Leftover(_) => true,
            Spare::Kept(size) => self.is_too_large(size) || self.lacks(more),
        };
        if is_to_go {
            self.remove_spare()?;
        }
        while !self.aside.is_empty() && self.lacks(more) {
            self.remove_aside()?;
        }
        Ok(())
    }

    /// Takes the oldest of the damaged files away.
    pub(super) fn remove_aside(&mut self) -> io::Result<()> {
        let Some(name) = self.aside.keys().next().cloned() else { return Ok(()) };
        unless_absent(self.files.remove(&name))?;
        self.aside.remove(&name);
        Ok(())
    }

    pub(super) fn remove_spare(&mut self) -> io::Result<()> {
        if self.spare == Spare::None {
            return Ok(());
        }
        self.spare = Spare::Leftover(self.spare.size());
        unless_absent(self.files.remove(SPARE))?;
        self.spare = Spare::None;
        Ok(())
    }
}
