//! Finding frames in bytes that may be damaged.

use std::io;

use memchr::memmem;

use crate::files::OpenFile;
use crate::format::{BEFORE, BEHIND, MARK, Mark};

/// Bytes that are looked through at once.
const WINDOW: usize = 256 * 1024;

/// The mark of a frame, and where the frame begins in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: u64,
    pub(super) mark: Mark,
}

/// The frame that begins at this offset, by the mark before its payload; whole up to `end`.
pub(super) fn frame_at(file: &impl OpenFile, start: u64, end: u64) -> io::Result<Option<Mark>> {
    let mut bytes = [0; MARK];
    let read = file.read_at(start, &mut bytes)?;
    let mark = if read == MARK { Mark::decode(&bytes, BEFORE) } else { None };
    Ok(mark.filter(|mark| start.checked_add(mark.frame()).is_some_and(|behind| behind <= end)))
}

/// The first frame from this offset on of which a mark is whole and which ends before `end`.
pub(super) fn next_frame(file: &impl OpenFile, from: u64, end: u64) -> io::Result<Option<Found>> {
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
            let found = start.filter(|start| *start >= from && start.saturating_add(mark.frame()) <= end);
            if let Some(start) = found {
                return Ok(Some(Found { start, mark }));
            }
        }
        // A mark may lie across the end of the window.
        offset += (read - MARK + 1) as u64;
    }
    Ok(None)
}
