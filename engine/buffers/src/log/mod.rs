//! The log: frames appended in groups, read in order, completed in any order, over the files of one directory.
//!
//! It belongs to one thread and does nothing by itself. Opening only reads: the first byte is written by the first
//! [`append`](Log::append) or [`maintain`](Log::maintain), so that a start that fails leaves everything as it was. A frame is
//! acknowledged when `append` says so, and then it is on the disk. It is read until it is completed, and a segment goes when
//! all of it is completed and that is on the disk too. Not here: threads, who waits (`queue`).

mod append;
mod complete;
mod completions;
mod look;
mod lose;
mod open;
mod read;
mod scan;
mod segment;
mod spare;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use otlp::Signal;

pub use append::{Appended, NewFrame};
pub use open::OpenError;

use crate::files::Files;
use crate::ranges::Ranges;
use append::Active;
use completions::CompletionFiles;
use read::Cursor;
use segment::Segment;
use spare::Spare;

/// How a log divides its files and how long it keeps frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes at which a new segment is begun. A frame that is larger has a segment for itself.
    pub segment_size: u64,
    /// Bytes of all segments beyond which nothing is kept beside them: no file to become the next one, and no damaged one.
    pub max_size: u64,
    /// Completions that may be lost by a kill: so many are written at the latest.
    pub completions: u32,
    /// How old a frame may become.
    pub max_age: Option<Duration>,
}

/// A moment, by both clocks: the one of the wall for what is written, the other for how much time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970.
    pub unix_millis: u64,
    /// Time since a beginning that is the same for all moments given to one log.
    pub elapsed: Duration,
}

/// A frame of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// Its sequence number.
    pub sequence: u64,
    /// Its records.
    pub records: u32,
    /// Where it ends in its file.
    behind: u64,
}

impl Frame {
    /// A frame that this log has told of, by what it told.
    pub fn at(sequence: u64, records: u64, behind: u64) -> Self {
        Self { sequence, records: u32::try_from(records).unwrap_or(u32::MAX), behind }
    }

    /// The log's own.
    pub fn behind(self) -> u64 {
        self.behind
    }
}

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which one.
    pub frame: Frame,
    /// Its signal.
    pub signal: Signal,
    /// Its payload, as it was appended.
    pub payload: Bytes,
    /// How long it has waited.
    pub age: Duration,
}

/// Why frames are lost that were acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossReason {
    /// Their bytes are not those that were written, or are gone.
    Damaged,
    /// They had waited for too long.
    Expired,
    /// Room was needed for others.
    Full,
}

/// Frames that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: LossReason,
    /// How many frames.
    pub frames: u64,
    /// How many records they had; of damaged ones as far as that is known.
    pub records: u64,
    /// Where the first of them was, as far as that is known: none where a whole file is gone, or was given up.
    pub place: Option<Place>,
}

/// A place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The first sequence number of the segment.
    pub segment: u64,
    /// Bytes from the beginning of its file.
    pub offset: u64,
}

/// A log, on the files of a directory.
#[derive(Debug)]
pub struct Log<F: Files> {
    files: F,
    options: Options,
    /// By their first sequence numbers.
    segments: BTreeMap<u64, Segment<F::File>>,
    /// The segment that is appended to.
    active: Option<Active<F::File>>,
    /// A file that may become the next segment.
    spare: Spare,
    completions: CompletionFiles<F::File>,
    /// Every frame that is completed, lost ones included.
    done: Ranges,
    /// The next frame, and the records of all before it.
    next: u64,
    records_before: u64,
    /// Where reading goes on; none when there is nothing to read.
    cursor: Option<Cursor>,
    losses: Vec<Loss>,
    /// Segments that are completed and not yet removed.
    removable: Vec<u64>,
    /// Files in which damage was found, for whoever wants to know; in the order of their names.
    aside: BTreeMap<String, u64>,
    /// Segments of an earlier process behind whose frames something stands that was never acknowledged, or is older than they are.
    tails: Vec<u64>,
    /// Files that are called segments and are none.
    foreign: Vec<String>,
    /// Bytes of files that were removed since the last time somebody asked.
    freed: u64,
}

impl<F: Files> Log<F> {
    /// Frames and records that nobody has read yet and nobody has completed.
    pub fn unread(&self) -> (u64, u64) {
        self.segments.values().fold((0, 0), |(frames, records), segment| {
            (frames + segment.unread_frames, records + segment.unread_records)
        })
    }

    /// Whether somebody has frames that may be completed at any moment.
    pub fn has_handed_out(&self) -> bool {
        self.segments.iter().any(|(first, segment)| segment.end - first > segment.done_frames + segment.unread_frames)
    }

    /// Whether there is something to read.
    pub fn has_unread(&self) -> bool {
        self.cursor.is_some()
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments.values().map(|segment| segment.size).sum()
    }

    /// What was lost since the last time this was asked.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    /// Whether segments were removed since the last time somebody took that.
    pub fn has_freed(&self) -> bool {
        self.freed > 0
    }

    /// Bytes of segments removed since the last time this was asked.
    pub fn take_freed(&mut self) -> u64 {
        std::mem::take(&mut self.freed)
    }

    /// The sequence number of the next frame.
    #[cfg(test)]
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Whether frames may become too old.
    pub fn has_max_age(&self) -> bool {
        self.options.max_age.is_some()
    }

    /// Changes how old frames may become, and how large segments and all of them.
    pub fn resettle(&mut self, options: Options) {
        self.options = options;
        if let Some(first) = self.active.as_ref().map(|active| active.first) {
            self.settled(first);
        }
    }

    /// The directory.
    pub fn files(&self) -> &F {
        &self.files
    }
}

#[cfg(test)]
mod tests;
