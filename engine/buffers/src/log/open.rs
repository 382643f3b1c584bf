//! What stands on the disk at the start. Only reads.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::completions::{CompletionFiles, Remembered};
use super::read::Cursor;
use super::scan::{Found, frame_from, is_torn};
use super::segment::{Age, Segment};
use super::spare::Spare;
use super::{Log, Loss, LossReason, Now, Options};
use crate::files::{Files, Listed, OpenFile};
use crate::format::{
    Completed, DAMAGED_SUFFIX, HEADER, Header, Read, SEAL, SPARE, Seal, VERSION, segment_name, segment_of,
};
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
    /// The header is that of another segment.
    is_copy: bool,
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
        let (completions, remembered) = CompletionFiles::read(&files, &listed)?;
        let mut found = BTreeMap::new();
        let mut foreign = Vec::new();
        for Listed { name, size } in &listed {
            let Some(first) = segment_of(name) else { continue };
            let segment = look_at(&files, name, *size, first)?;
            if is_foreign(&files, name, first, &segment).map_err(failed(name))? {
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
            spare: listed
                .iter()
                .find(|listed| listed.name == SPARE)
                .map_or(Spare::None, |left| Spare::Leftover(left.size)),
            aside: aside(&listed),
            completions,
            done: Ranges::up_to(0),
            next: 0,
            records_before: 0,
            cursor: None,
            losses: Vec::new(),
            removable: Vec::new(),
            tails: Vec::new(),
            foreign,
            freed: 0,
        };
        log.recover(found, remembered, now).map_err(|(name, source)| OpenError::Io { name, source })?;
        Ok(log)
    }

    fn recover(
        &mut self,
        found: BTreeMap<u64, FoundSegment>,
        remembered: Remembered,
        now: Now,
    ) -> Result<(), (String, io::Error)> {
        let Completed { next, records_before, done, segments, .. } = remembered.completed;
        let written = Count { sequence: next, records: records_before };
        let partly: BTreeMap<u64, (u64, u64)> =
            segments.into_iter().map(|[first, frames, records]| (first, (frames, records))).collect();
        self.done = done;
        let starts: Vec<(u64, Option<u64>)> =
            found.iter().map(|(first, segment)| (*first, segment.header.map(|header| header.records_before))).collect();
        if let Some((first, _)) = starts.first().filter(|_| remembered.is_whole) {
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
                // Without a header the segment begins with its first frame that is left: what was completed before is not of it.
                _ if scanned.is_headless && continued.is_none() => {
                    self.done_records(&file, first, scanned.length).map_err(|error| (segment_name(first), error))?
                }
                // Both come from one file, so they belong together.
                Some((frames, records)) if *frames == done_frames => *records,
                None if done_frames == 0 => 0,
                // It has come back after it was removed, with frames that were given up.
                _ => self.done_records(&file, first, scanned.length).map_err(|error| (segment_name(first), error))?,
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
        file_size: u64,
        (done_frames, done_records): (u64, u64),
        now: Now,
    ) {
        let frames = end.sequence - first;
        let records = end.records.saturating_sub(begin);
        let behind = if scanned.is_sealed { 0 } else { file_size.saturating_sub(scanned.length) };
        let segment = Segment {
            end: end.sequence,
            length: scanned.length,
            size: file_size - behind,
            behind,
            records,
            unread_frames: frames - done_frames,
            unread_records: records.saturating_sub(done_records),
            done_frames,
            done_records,
            oldest: Age::of(scanned.oldest_at, now),
            newest: Age::of(scanned.newest_at, now),
            is_damaged: scanned.is_headless,
            is_in_order: false,
            reader: None,
        };
        if segment.is_done(first) {
            self.removable.push(first);
        }
        // What is damaged is left for whoever wants to know.
        if behind > 0 && !scanned.is_headless && scanned.end == end {
            self.tails.push(first);
        }
        self.segments.insert(first, segment);
    }

    /// Records of the frames of a segment that are completed, by their marks.
    fn done_records(&self, file: &F::File, first: u64, end: u64) -> io::Result<u64> {
        let mut records = 0;
        let mut from = HEADER as u64;
        loop {
            let Some(Found { start, mark }) = frame_from(file, from, end, |found| found.mark.sequence >= first)? else {
                return Ok(records);
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
            self.losses.push(Loss { reason: LossReason::Damaged, frames, records, place: None });
        }
        self.set_done(sequences, frames);
    }

    /// The first segment from this one on of which something is to be read.
    pub(super) fn first_unread(&self, from: u64) -> Option<Cursor> {
        let mut segments = self.segments.range(from..);
        let (first, _) = segments.find(|(_, segment)| segment.unread_frames > 0)?;
        Some(Cursor { segment: *first, offset: HEADER as u64, sequence: *first })
    }
}

/// The damaged files that are kept, and their sizes.
fn aside(listed: &[Listed]) -> BTreeMap<String, u64> {
    let damaged = listed.iter().filter(|listed| listed.name.ends_with(DAMAGED_SUFFIX));
    damaged.map(|listed| (listed.name.clone(), listed.size)).collect()
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
        // One that ends before the segment begins is of another that stands behind it, or stood in its file before.
        seal = Seal::decode(&bytes[..read]).filter(|seal| seal.ends(first, place));
    }
    let is_copy = header.is_some_and(|header| header.first != first);
    Ok(FoundSegment { header, is_copy, size, seal })
}

/// Whether a file holds no frame that its name could mean: it is a copy of another one, or nothing.
fn is_foreign<F: Files>(files: &F, name: &str, first: u64, segment: &FoundSegment) -> io::Result<bool> {
    if segment.header.is_some() {
        return Ok(segment.is_copy);
    }
    let file = files.open_to_read(name)?;
    // What stood in the file before has lower numbers.
    let found = frame_from(&file, HEADER as u64, segment.size, |found| found.mark.sequence >= first)?;
    Ok(found.is_none())
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
    is_sealed: bool,
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
            is_sealed: true,
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
        is_sealed: false,
    };
    let mut has_begun = begin.is_some();
    // What is of another file or was given up does not count, nor what only looks like a frame.
    let belongs = |found: &Found, scanned: &Scanned, has_begun: bool| {
        let Some(missing) = found.mark.sequence.checked_sub(scanned.end.sequence) else { return false };
        let records = found.mark.records_before.checked_sub(scanned.end.records);
        found.has_place_for_missing(scanned.end.sequence, scanned.length)
            && (!has_begun || records.is_some_and(|records| records <= missing * u64::from(u32::MAX)))
            && limit.is_none_or(|limit| found.mark.sequence < limit)
    };
    let mut last = None;
    loop {
        let next = frame_from(file, scanned.length, segment.size, |found| belongs(found, &scanned, has_begun))?;
        let Some(Found { start, mark }) = next else { break };
        last = Some((Found { start, mark }, scanned.end, scanned.length));
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
    if let Some((found, end, length)) = last
        && is_torn(file, &found)?
    {
        (scanned.end, scanned.length) = (end, length);
    }
    Ok(scanned)
}
