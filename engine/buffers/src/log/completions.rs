//! The two files that say what is completed.
//!
//! Writing costs as much as there is to say: what was completed since is added at the end, and the whole is written only when
//! additions have become as long as it. Not here: what is completed.

use std::io;
use std::ops::Range;

use super::open::OpenError;
use crate::files::{Files, Listed, OpenFile};
use crate::format::{Added, COMPLETED, Completed, Read};

/// Bytes allocated for each of them at the beginning: a full disk can still be emptied.
const ALLOCATED: u64 = 256 * 1024;
/// Ranges that wait to be added; beyond that the whole is written.
const MOST_PENDING: usize = 4096;

/// The files, and what is to be written.
#[derive(Debug)]
pub(super) struct CompletionFiles<O> {
    files: [Option<O>; 2],
    /// Which of them has the state that counts, and its generation.
    current: usize,
    generation: u64,
    /// Where in it the next addition goes, and how long the state before all additions is. None where nothing can be added: the
    /// process has not written yet, or a write has failed.
    place: Option<Place>,
    /// What was completed since the last time it was written, and how many frames that are.
    ranges: Vec<Range<u64>>,
    pending: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    end: u64,
    whole: u64,
}

/// What the files say.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) completed: Completed,
    /// A whole state was among it: all that had been completed before it is known.
    pub(super) is_whole: bool,
}

/// What completions that are written must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    Kill,
    PowerLoss,
}

impl<O: OpenFile> CompletionFiles<O> {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How many frames were completed that is not written yet.
    pub(super) fn pending(&self) -> u32 {
        self.pending
    }

    /// Which frames these are, and perhaps others that were completed before.
    pub(super) fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Frames were completed, or lost: both are to be remembered.
    pub(super) fn note(&mut self, sequences: Range<u64>, frames: u64) {
        if sequences.is_empty() {
            return;
        }
        self.pending = self.pending.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
        let has_room = self.ranges.len() < MOST_PENDING;
        match self.ranges.last_mut() {
            Some(last) if last.end == sequences.start => last.end = sequences.end,
            _ if has_room => self.ranges.push(sequences),
            _ => self.place = None,
        }
    }

    /// Reads both and says what is completed.
    pub(super) fn read<F: Files<File = O>>(files: &F, listed: &[Listed]) -> Result<(Self, Remembered), OpenError> {
        let mut newest: Option<(usize, Completed)> = None;
        let mut additions = Vec::new();
        for (place, name) in COMPLETED.into_iter().enumerate() {
            let Some(Listed { size, .. }) = listed.iter().find(|listed| listed.name == name) else { continue };
            let failed = |source| OpenError::Io { name: name.to_owned(), source };
            let file = files.open_to_read(name).map_err(failed)?;
            let mut bytes = vec![0; usize::try_from(*size).unwrap_or_default()];
            let read = file.read_at(0, &mut bytes).map_err(failed)?;
            additions.extend(Added::all(&bytes[..read]));
            match Completed::decode(&bytes[..read]) {
                Read::Newer(version) => return Err(OpenError::Newer { name: name.to_owned(), version }),
                Read::Whole(completed)
                    if newest.as_ref().is_none_or(|(_, newest)| newest.generation < completed.generation) =>
                {
                    newest = Some((place, completed));
                }
                Read::Whole(_) | Read::Damaged => {}
            }
        }
        let is_whole = newest.is_some();
        let (current, mut completed) = newest.unwrap_or_default();
        // Those of a later state that is damaged add to an earlier one as well.
        additions.retain(|added| added.generation >= completed.generation);
        additions.sort_by_key(|added| added.generation);
        additions.iter().for_each(|added| completed.add(added));
        let generation = additions.last().map_or(completed.generation, |added| added.generation);
        let files = Self { files: [None, None], current, generation, place: None, ranges: Vec::new(), pending: 0 };
        Ok((files, Remembered { completed, is_whole }))
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
                    files.sync_names()?;
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

    /// Whether an addition has its place in the current file.
    pub(super) fn has_room_for(&self, added: &[u8]) -> bool {
        let most = |place: Place| ALLOCATED.max(2 * place.whole);
        self.place.is_some_and(|place| place.end + added.len() as u64 <= most(place))
    }

    /// Writes an addition, which has its place.
    pub(super) fn add(&mut self, added: &[u8], durability: Durability) -> io::Result<()> {
        // After an error it is not known what stands there.
        let place = self.place.take().expect("there is room for it");
        let file = self.files[self.current].as_mut().expect("they were prepared");
        file.write_at(place.end, added)?;
        if durability == Durability::PowerLoss {
            file.sync()?;
        }
        self.place = Some(Place { end: place.end + added.len() as u64, ..place });
        self.written();
        Ok(())
    }

    /// Writes the whole state into the file that does not count. It lasts before the other is written again.
    pub(super) fn write(&mut self, completed: &Completed) -> io::Result<()> {
        self.place = None;
        let other = 1 - self.current;
        let file = self.files[other].as_mut().expect("they were prepared");
        let bytes = completed.encode();
        file.write_at(0, &bytes)?;
        file.sync()?;
        (self.current, self.generation) = (other, completed.generation);
        self.place = Some(Place { end: bytes.len() as u64, whole: bytes.len() as u64 });
        self.written();
        Ok(())
    }

    fn written(&mut self) {
        self.ranges.clear();
        self.pending = 0;
    }
}
