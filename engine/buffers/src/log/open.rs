//! What stands on the disk at the start. Only reads.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::complete::CompletionFiles;
use super::read::Cursor;
use super::scan::{frame_at, next_frame};
use super::segment::{Age, Segment};
use super::{Log, Loss, LossReason, Now, Options};
use crate::files::{Files, Listed, OpenFile};
use crate::format::{Completed, HEADER, Header, Read, SEAL, Seal, VERSION, segment_name, segment_of};
use crate::ranges::Ranges;

/// Why a log cannot be opened. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a later version.
    #[error(
        "`{name}` is of version {version}, and this program reads versions up to {VERSION}: use the program that wrote it"
    )]
    Newer {
        /// The file.
        name: String,
        /// Its version.
        version: u32,
    },
    /// The operating system refused.
    #[error("cannot read `{name}`")]
    Io {
        /// The file, or `.` for the directory.
        name: String,
        /// The refusal.
        #[source]
        source: io::Error,
    },
}

/// A segment as it was found.
struct FoundSegment {
    header: Option<Header>,
    size: u64,
    seal: Option<Seal>,
}

/// The sequence number and the records in front of what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    sequence: u64,
    records: u64,
}

impl<F: Files> Log<F> {
    /// Opens the log of a directory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(files: F, options: Options, now: Now) -> Result<Self, OpenError> {
        let failed = |name: &str| {
            let name = name.to_owned();
            move |source| OpenError::Io { name, source }
        };
        let listed = files.list().map_err(failed("."))?;
        let (completions, completed) = CompletionFiles::read(&files, &listed)?;
        let mut found = BTreeMap::new();
        let mut foreign = Vec::new();
        for Listed { name, size } in &listed {
            let Some(first) = segment_of(name) else { continue };
            let segment = look_at(&files, name, *size, first)?;
            if segment.header.is_none() && is_foreign(&files, name, first, &segment).map_err(failed(name))? {
                foreign.push(name.clone());
            } else {
                found.insert(first, segment);
            }
        }
        let mut log = Self {
            files,
            options,
            segments: BTreeMap::new(),
            active: None,
            completions,
            done: Ranges::up_to(0),
            next: 0,
            records_before: 0,
            cursor: None,
            losses: Vec::new(),
            removable: Vec::new(),
            foreign,
            freed: 0,
        };
        log.recover(found, completed, now).map_err(|(name, source)| OpenError::Io { name, source })?;
        Ok(log)
    }

    fn recover(
        &mut self,
        found: BTreeMap<u64, FoundSegment>,
        completed: Option<Completed>,
        now: Now,
    ) -> Result<(), (String, io::Error)> {
        let knows_completed = completed.is_some();
        let Completed { next, records_before, done, segments, .. } = completed.unwrap_or_default();
        let written = Count { sequence: next, records: records_before };
        let partly: BTreeMap<u64, (u64, u64)> =
            segments.into_iter().map(|[first, frames, records]| (first, (frames, records))).collect();
        self.done = done;
        let starts: Vec<(u64, Option<u64>)> =
            found.iter().map(|(first, segment)| (*first, segment.header.map(|header| header.records_before))).collect();
        if let Some((first, _)) = starts.first().filter(|_| knows_completed) {
            // That a frame is completed is on the disk before its segment goes.
            self.missing(self.done.watermark()..*first, None);
        }
        let mut before: Option<Count> = None;
        for (place, (first, segment)) in found.into_iter().enumerate() {
            let name = segment_name(first);
            let file = self.files.open_to_read(&name).map_err(|error| (name.clone(), error))?;
            let following = starts.get(place + 1).copied();
            let limit = following.map(|(first, _)| first);
            let scanned = scan(&file, first, &segment, limit).map_err(|error| (name, error))?;
            let continued = before.filter(|before| before.sequence == first).map(|before| before.records);
            let begin = segment.header.map(|header| header.records_before).or(continued).unwrap_or(scanned.begin);
            if let Some(before) = before {
                self.missing(before.sequence..first, Some(begin.saturating_sub(before.records)));
            }
            // What is known to have come before the next segment, or when completions were written last, was here.
            let mut end = scanned.end;
            let known = match following {
                Some((sequence, Some(records))) => Some(Count { sequence, records }),
                Some((_, None)) => None,
                None => (written.sequence > first).then_some(written),
            };
            // A segment that is missing leaves a gap too; what is sealed has lost nothing at its end. Where more is completed up to
            // there than was of this segment, others were completed and removed in between.
            let partly_done = partly.get(&first).map_or(0, |(frames, _)| *frames);
            let is_here = |known: &Count| self.done.count_in(first..known.sequence) == partly_done;
            let known = known.filter(|known| known.sequence > end.sequence && segment.seal.is_none());
            if let Some(known) = known.filter(is_here) {
                end = known;
            }
            before = Some(end);
            let done_frames = self.done.count_in(first..end.sequence);
            let done_records = match partly.get(&first) {
                _ if done_frames == end.sequence - first => end.records.saturating_sub(begin),
                // Both come from one file, so they belong together.
                Some((frames, records)) if *frames == done_frames => *records,
                None if done_frames == 0 => 0,
                // It has come back after it was removed, with frames that were given up.
                _ => self.done_records(&file, scanned.length).map_err(|error| (segment_name(first), error))?,
            };
            self.add(first, begin, end, &scanned, segment.size, (done_frames, done_records), now);
        }
        let end = before.unwrap_or(written);
        self.next = end.sequence.max(written.sequence);
        self.records_before = end.records.max(written.records);
        if self.next > end.sequence {
            // Everything behind the last segment that is left.
            self.missing(end.sequence..self.next, Some(self.records_before.saturating_sub(end.records)));
        }
        let first = self.segments.keys().next().copied().unwrap_or(self.next);
        self.done.insert(0..first);
        self.cursor = self.first_unread(0);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "it is one step of recover")]
    fn add(
        &mut self,
        first: u64,
        begin: u64,
        end: Count,
        scanned: &Scanned,
        size: u64,
        (done_frames, done_records): (u64, u64),
        now: Now,
    ) {
        let frames = end.sequence - first;
        let records = end.records.saturating_sub(begin);
        let segment = Segment {
            end: end.sequence,
            length: scanned.length,
            size,
            records,
            unread_frames: frames - done_frames,
            unread_records: records.saturating_sub(done_records),
            done_frames,
            done_records,
            oldest: Age::of(scanned.oldest_at, now),
            newest: Age::of(scanned.newest_at, now),
            is_damaged: scanned.is_headless,
            reader: None,
        };
        if segment.is_done(first) {
            self.removable.push(first);
        }
        self.segments.insert(first, segment);
    }

    /// Records of the frames of a segment that are completed, by their marks.
    fn done_records(&self, file: &F::File, end: u64) -> io::Result<u64> {
        let mut records = 0;
        let mut from = HEADER as u64;
        loop {
            let (start, mark) = match frame_at(file, from, end)? {
                Some(mark) => (from, mark),
                None => match next_frame(file, from, end)? {
                    Some(found) => (found.start, found.mark),
                    None => return Ok(records),
                },
            };
            if self.done.contains(mark.sequence) {
                records += u64::from(mark.records);
            }
            from = start + mark.frame();
        }
    }

    /// Frames between two segments, of which no file is left. Those that were completed were removed.
    fn missing(&mut self, sequences: Range<u64>, records: Option<u64>) {
        let all = sequences.end.saturating_sub(sequences.start);
        let frames = all - self.done.count_in(sequences.clone());
        if frames > 0 {
            // How many of the records between belong to what was completed is not known any more.
            let records = records.filter(|_| frames == all).unwrap_or(0);
            self.completions.note(frames);
            self.losses.push(Loss { reason: LossReason::Damaged, frames, records });
        }
        self.done.insert(sequences);
    }

    /// The first segment from this one on of which something is to be read.
    pub(super) fn first_unread(&self, from: u64) -> Option<Cursor> {
        let mut segments = self.segments.range(from..);
        let (first, _) = segments.find(|(_, segment)| segment.unread_frames > 0)?;
        Some(Cursor { segment: *first, offset: HEADER as u64, sequence: *first })
    }
}

fn look_at<F: Files>(files: &F, name: &str, size: u64, first: u64) -> Result<FoundSegment, OpenError> {
    let failed = |source| OpenError::Io { name: name.to_owned(), source };
    let file = files.open_to_read(name).map_err(failed)?;
    let mut bytes = [0; HEADER];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    let header = match Header::decode(&bytes[..read]) {
        Read::Newer(version) => return Err(OpenError::Newer { name: name.to_owned(), version }),
        other => other.whole(),
    };
    let mut seal = None;
    if let Some(place) = size.checked_sub(SEAL as u64).filter(|place| *place >= HEADER as u64) {
        let mut bytes = [0; SEAL];
        let read = file.read_at(place, &mut bytes).map_err(failed)?;
        seal = Seal::decode(&bytes[..read]).filter(|seal| seal.end >= first);
    }
    // A copy of another segment under this name is none.
    let header = header.filter(|header| header.first == first);
    Ok(FoundSegment { header, size, seal })
}

/// Whether a file without a header holds no frame that its name could mean: it is a copy, or nothing.
fn is_foreign<F: Files>(files: &F, name: &str, first: u64, segment: &FoundSegment) -> io::Result<bool> {
    let file = files.open_to_read(name)?;
    let found = next_frame(&file, 0, segment.size)?;
    Ok(found.is_none_or(|found| found.mark.sequence < first))
}

/// What the frames of a segment say.
struct Scanned {
    /// Records before the first frame.
    begin: u64,
    end: Count,
    /// Where the last of them ends.
    length: u64,
    oldest_at: u64,
    newest_at: u64,
    is_headless: bool,
}

/// Looks for the end of a segment: its seal says it, else the frames are followed by their marks. What is torn at the end
/// was never acknowledged.
fn scan(file: &impl OpenFile, first: u64, segment: &FoundSegment, limit: Option<u64>) -> io::Result<Scanned> {
    if let (Some(header), Some(seal)) = (segment.header, segment.seal)
        && limit.is_none_or(|limit| seal.end <= limit)
    {
        let end = Count { sequence: seal.end, records: seal.records_before };
        let length = segment.size - SEAL as u64;
        return Ok(Scanned {
            begin: header.records_before,
            end,
            length,
            oldest_at: header.made_at,
            newest_at: seal.newest_at,
            is_headless: false,
        });
    }
    let begin = segment.header.map(|header| header.records_before);
    let mut scanned = Scanned {
        begin: begin.unwrap_or(0),
        end: Count { sequence: first, records: begin.unwrap_or(0) },
        length: HEADER as u64,
        oldest_at: segment.header.map_or(u64::MAX, |header| header.made_at),
        newest_at: segment.header.map_or(0, |header| header.made_at),
        is_headless: segment.header.is_none(),
    };
    let mut has_begun = begin.is_some();
    let belongs = |sequence: u64, end: u64| sequence >= end && limit.is_none_or(|limit| sequence < limit);
    loop {
        let at = frame_at(file, scanned.length, segment.size)?;
        let at = at.filter(|mark| belongs(mark.sequence, scanned.end.sequence));
        let (start, mark) = match at {
            Some(mark) => (scanned.length, mark),
            None => match next_frame(file, scanned.length, segment.size)? {
                Some(found) if belongs(found.mark.sequence, scanned.end.sequence) => (found.start, found.mark),
                // Of another file, or of what was given up: nothing behind it counts.
                Some(_) | None => return Ok(scanned),
            },
        };
        if !has_begun {
            has_begun = true;
            // Without a header the first frame says how many records came before; those of frames before it are lost unseen.
            scanned.begin = mark.records_before;
        }
        let (sequence, records) = mark.behind();
        scanned.end = Count { sequence, records };
        scanned.length = start + mark.frame();
        scanned.oldest_at = scanned.oldest_at.min(mark.written_at);
        scanned.newest_at = scanned.newest_at.max(mark.written_at);
    }
}
