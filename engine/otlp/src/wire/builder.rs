//! Puts a new [`Wire`] together from ranges of another one and bytes of its own. Neighbouring ranges become one
//! piece again, small ones are copied; what the bytes mean is the caller's matter.

use bytes::{Bytes, BytesMut};

use super::{Cursor, Entries, Entry, Wire};
use crate::Rope;

/// Ranges below this size are copied next to the bytes written around them. A piece costs a reference count, a slot
/// in every vectored write, and may keep a large allocation alive. Editing 200 entries of 2.8 KB and writing them to a
/// socket took as long either way; with smaller entries copying is faster, with larger ones sharing.
pub(crate) const SHARE_FROM: usize = 4096;

/// Writes a [`Wire`].
pub(crate) struct Builder<'a> {
    rope: Rope,
    entries: Entries,
    records: u64,
    /// Bytes of the builder's own since the last piece.
    own: BytesMut,
    own_len: usize,
    /// Bytes that were allocated for them at first.
    own_capacity: usize,
    /// A range that may grow before it is shared or copied.
    run: Option<Run<'a>>,
    shares: bool,
}

struct Run<'a> {
    piece: &'a Bytes,
    start: usize,
    end: usize,
}

impl<'a> Builder<'a> {
    /// `own_bytes` is how many bytes will be written or copied, roughly.
    pub(crate) fn new(own_bytes: usize) -> Self {
        Self {
            rope: Rope::new(),
            entries: Entries::new(),
            records: 0,
            own: BytesMut::with_capacity(own_bytes),
            own_len: 0,
            own_capacity: own_bytes,
            run: None,
            shares: false,
        }
    }

    /// Where to write bytes that follow what was put so far.
    pub(crate) fn own(&mut self) -> &mut BytesMut {
        self.end_run();
        &mut self.own
    }

    /// Appends a range of the source. It must begin and end where pieces may.
    pub(crate) fn share(&mut self, range: Cursor<'a>) {
        for (piece, slice) in range.slices() {
            if let Some(run) = &mut self.run
                && std::ptr::eq(run.piece, piece)
                && run.end == slice.start
            {
                run.end = slice.end;
                continue;
            }
            self.end_run();
            self.run = Some(Run { piece, start: slice.start, end: slice.end });
        }
    }

    /// States that the last `entry.len` bytes are one entry.
    pub(crate) fn entry(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.records += entry.records;
    }

    /// The request. `source` is what was shared from.
    pub(crate) fn finish(mut self, source: &Wire) -> Wire {
        self.end_run();
        self.end_own();
        let shared = if self.shares { source.retained } else { 0 };
        debug_assert_eq!(
            self.rope.len(),
            self.entries.iter().map(|entry| entry.len).sum::<usize>(),
            "entries tile the rope"
        );
        Wire {
            signal: source.signal,
            rope: self.rope,
            entries: self.entries,
            records: self.records,
            retained: shared + self.own_len.max(self.own_capacity),
            normalised: source.normalised,
            left_out: 0,
        }
    }

    fn end_run(&mut self) {
        let Some(Run { piece, start, end }) = self.run.take() else {
            return;
        };
        if end - start < SHARE_FROM {
            self.own.extend_from_slice(&piece[start..end]);
            return;
        }
        self.end_own();
        self.rope.push(piece.slice(start..end));
        self.shares = true;
    }

    fn end_own(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let piece = self.own.split().freeze();
        self.own_len += piece.len();
        self.rope.push(piece);
    }
}
