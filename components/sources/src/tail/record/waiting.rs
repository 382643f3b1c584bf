//! Lines that wait for more: parts of a line, or lines of an entry.

use super::Piece;
use super::multiline::Phase;

/// Room for more bytes than this is given back to the allocator.
const KEPT_BYTES: usize = 64 * 1024;

/// Lines in one, with what is known of the first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) content: Vec<u8>,
    pub(super) time: u64,
    pub(super) start: u64,
    /// Where the line stands that was added last.
    pub(super) last: u64,
    pub(super) lines: u32,
    pub(super) phase: Phase,
    /// Lines since the phase changed.
    pub(super) lines_in_phase: u32,
    pub(super) is_truncated: bool,
}

impl Waiting {
    /// Begins anew. What is longer than a record may be is cut off.
    pub(super) fn begin(&mut self, piece: Piece<'_>, max_bytes: usize) {
        self.content.clear();
        self.content.shrink_to(KEPT_BYTES);
        self.time = piece.time;
        self.start = piece.start;
        self.lines = 1;
        self.phase = Phase::default();
        self.lines_in_phase = 0;
        self.is_truncated = false;
        self.extend(piece, max_bytes);
    }

    /// Appends a part of the same line. What is longer than a record may be is cut off.
    pub(super) fn extend(&mut self, piece: Piece<'_>, max_bytes: usize) {
        self.last = piece.start;
        let room = max_bytes - self.content.len().min(max_bytes);
        let taken = piece.content.len().min(room);
        self.content.extend_from_slice(&piece.content[..taken]);
        self.is_truncated |= piece.is_truncated || taken < piece.content.len();
    }

    /// Appends a line.
    pub(super) fn add_line(&mut self, piece: Piece<'_>, phase: Phase) {
        self.last = piece.start;
        self.content.push(b'\n');
        self.content.extend_from_slice(piece.content);
        self.is_truncated |= piece.is_truncated;
        self.lines += 1;
        self.lines_in_phase = if phase == self.phase { self.lines_in_phase + 1 } else { 0 };
        self.phase = phase;
    }

    /// What waits, as one.
    pub(super) fn piece(&self) -> Piece<'_> {
        Piece { content: &self.content, time: self.time, start: self.start, is_truncated: self.is_truncated }
    }
}
