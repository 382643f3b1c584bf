//! Finding frames in bytes that may be damaged.

use std::io;

use memchr::memmem;

use crate::files::OpenFile;
use crate::format::{BEFORE, BEHIND, FRAME_OVERHEAD, MARK, Mark, checksum};

/// Bytes that are looked through at once.
const WINDOW: usize = 256 * 1024;

/// How far the mark behind a payload is looked for.
const NEAR: u64 = 4 * 1024 * 1024;

/// The mark of a frame, and where the frame begins in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: u64,
    pub(super) mark: Mark,
}

impl Found {
    /// Whether the frames that would be missing before it, after this one, had their place between.
    pub(super) fn has_place_for_missing(&self, next: u64, offset: u64) -> bool {
        let missing = self.mark.sequence.saturating_sub(next);
        missing <= self.start.saturating_sub(offset) / FRAME_OVERHEAD as u64
    }
}

/// The frame that begins at this offset, by the mark before its payload; whole up to `end`.
fn frame_at(file: &impl OpenFile, start: u64, end: u64) -> io::Result<Option<Mark>> {
    let mut bytes = [0; MARK];
    let read = file.read_at(start, &mut bytes)?;
    let mark = if read == MARK { Mark::decode(&bytes, BEFORE) } else { None };
    Ok(mark.filter(|mark| start.checked_add(mark.frame()).is_some_and(|behind| behind <= end)))
}

/// Whether a frame was begun and not written to its end: behind it there may be what stood in the file before.
pub(super) fn is_torn(file: &impl OpenFile, found: &Found) -> io::Result<bool> {
    let Found { start, mark } = found;
    let mut behind = [0; MARK];
    let read = file.read_at(start + mark.frame() - MARK as u64, &mut behind)?;
    if Mark::decode(&behind[..read], BEHIND).as_ref() == Some(mark) {
        return Ok(false);
    }
    // A mark may be damaged behind a payload that is whole.
    let mut payload = vec![0; mark.length as usize];
    let read = file.read_at(start + MARK as u64, &mut payload)?;
    Ok(checksum([&payload[..read]]) != mark.checksum)
}

/// The frame that begins at this offset by either of its marks, or the next one.
pub(super) fn frame_from(
    file: &impl OpenFile,
    from: u64,
    end: u64,
    can_be: impl Fn(&Found) -> bool,
) -> io::Result<Option<Found>> {
    let found = frame_at(file, from, end)?.map(|mark| Found { start: from, mark }).filter(&can_be);
    if found.is_some() {
        return Ok(found);
    }
    // What is in a payload comes before the mark behind it.
    let near = end.min(from.saturating_add(NEAR));
    match next_frame(file, from, near, |found| found.start == from && can_be(found))? {
        Some(found) => Ok(Some(found)),
        None => next_frame(file, from, end, can_be),
    }
}

/// The first frame from this offset on of which a mark is whole, which ends before `end`, and which can stand there.
fn next_frame(file: &impl OpenFile, from: u64, end: u64, can_be: impl Fn(&Found) -> bool) -> io::Result<Option<Found>> {
    let mut window = vec![0; WINDOW];
    let mut offset = from;
    while offset + MARK as u64 <= end {
        let most = usize::try_from(end - offset).map_or(WINDOW, |left| left.min(WINDOW));
        let read = file.read_at(offset, &mut window[..most])?;
        if read < MARK {
            return Ok(None);
        }
        let bytes = &window[..read];
        let mut candidates: Vec<(usize, [u8; 4])> = memmem::find_iter(bytes, &BEFORE)
            .map(|place| (place, BEFORE))
            .chain(memmem::find_iter(bytes, &BEHIND).map(|place| (place, BEHIND)))
            .collect();
        candidates.sort_unstable();
        for (place, name) in candidates {
            let Some(mark) = Mark::decode(&bytes[place..], name) else { continue };
            let at = offset + place as u64;
            let start = if name == BEFORE { Some(at) } else { at.checked_sub(u64::from(mark.length) + MARK as u64) };
            let fits = start.filter(|start| *start >= from && start.saturating_add(mark.frame()) <= end);
            if let Some(found) = fits.map(|start| Found { start, mark }).filter(&can_be) {
                return Ok(Some(found));
            }
        }
        // A mark may lie across the end of the window.
        offset += (read - MARK + 1) as u64;
    }
    Ok(None)
}
