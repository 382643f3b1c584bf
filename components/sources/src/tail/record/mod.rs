//! Lines of a file become log records on the wire: the framing of container runtimes is taken off, partial lines are
//! joined, lines of one entry too, JSON and expressions become attributes. Nothing of a line is lost but what is longer
//! than a record may be, and that is counted.
//!
//! No I/O, no clock and no runtime: who reads the files tells the time, and says when a file or a wait is over.

mod container;
mod emit;
mod format;
mod meaning;
mod multiline;
mod records;
mod severity;
mod time;
mod trace;
mod waiting;
mod wire;

use std::sync::Arc;

use bytes::Bytes;

use self::container::{Frame, Stream};
use self::emit::{Emission, FileAttributes};
pub(crate) use self::format::{Format, RecordOptions};
use self::multiline::Phase;
pub(crate) use self::records::{LineCounts, Records};
use self::waiting::Waiting;

/// One line of a file without its line end (`\n` or `\r\n`).
#[derive(Copy, Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    /// The line was longer than [`Format::max_line_bytes`]; the reader skipped the rest.
    pub(crate) is_truncated: bool,
    /// Where its first byte stands in the file.
    pub(crate) start: u64,
}

/// What one open file has waiting: partial lines, unfinished entries of several lines. Small while nothing waits.
#[derive(Debug)]
pub(crate) struct FileParser {
    format: Arc<Format>,
    file: FileAttributes,
    streams: [StreamState; Stream::COUNT],
    /// Where the last line stands that a record was made at.
    made_at: u64,
}

/// What one stream has waiting, by offsets.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Waits {
    /// Of its first byte.
    pub(crate) from: u64,
    /// Of the line that was added last.
    pub(crate) last: u64,
}

/// What one stream of a container has waiting.
#[derive(Debug, Default)]
struct StreamState {
    partial: Option<Box<Waiting>>,
    entry: Option<Box<Waiting>>,
}

/// A line as it was written, or a part of one.
#[derive(Copy, Clone, Debug)]
struct Piece<'a> {
    content: &'a [u8],
    /// Nanoseconds since 1970, 0 when the framing does not tell.
    time: u64,
    start: u64,
    is_truncated: bool,
}

/// Where a piece is handled: the same for all of them that come out of one line.
#[derive(Copy, Clone)]
struct Place<'a> {
    format: &'a Format,
    file: &'a FileAttributes,
    stream: Stream,
    observed: u64,
}

impl FileParser {
    /// A parser of one file. `attributes` are encoded `attributes` fields of `LogRecord` that every record of the file
    /// carries, such as `log.file.path`; none of them, or some.
    pub(crate) fn new(format: Arc<Format>, attributes: Bytes) -> Self {
        Self { format, file: FileAttributes::new(attributes), streams: Default::default(), made_at: 0 }
    }

    /// Takes the next line. What it completes is put into `records`.
    pub(crate) fn line(&mut self, line: Line<'_>, observed_unix_nano: u64, records: &mut Records) {
        let before = records.len;
        self.take(line, observed_unix_nano, records);
        if records.len > before {
            self.made_at = line.start;
        }
    }

    #[inline]
    fn take(&mut self, line: Line<'_>, observed_unix_nano: u64, records: &mut Records) {
        let Self { format, file, streams, .. } = self;
        let place = |stream| Place { format, file, stream, observed: observed_unix_nano };
        let whole = Piece { content: line.bytes, time: 0, start: line.start, is_truncated: line.is_truncated };
        if !format.is_container {
            place(Stream::None).entry(&mut streams[Stream::None.index()], whole, records);
            return;
        }
        // It is put back below: the content may lie in it.
        let mut members = std::mem::take(&mut records.frame);
        match container::frame(line.bytes, &mut members) {
            Some(Frame { time, stream, is_partial, content }) => {
                let piece = Piece { content, time, ..whole };
                place(stream).piece(&mut streams[stream.index()], piece, is_partial, records);
            }
            None => {
                records.counts.unframed += 1;
                // It overtakes nothing of the same stream.
                place(Stream::None).end_entry(&mut streams[Stream::None.index()], records);
                Emission::new(place(Stream::None), whole).write_text(records);
            }
        }
        records.frame = members;
    }

    /// The offset from which a restart must read again: of the first byte that was read and is in no record yet. `None`
    /// when nothing waits.
    pub(crate) fn waits_from(&self) -> Option<u64> {
        self.streams.iter().filter_map(StreamState::waits).map(|waits| waits.from).min()
    }

    /// Where the last line stands of the stream that has waited for more for longest. `None` when nothing waits.
    pub(crate) fn waits_since(&self) -> Option<u64> {
        self.streams.iter().filter_map(StreamState::waits).map(|waits| waits.last).min()
    }

    /// How far records reach beyond what waits: so many bytes a restart would make records of again.
    pub(crate) fn overtaken_by(&self) -> u64 {
        self.waits_from().map_or(0, |from| self.made_at.saturating_sub(from))
    }

    /// Makes records of what waits: the file has ended.
    pub(crate) fn flush(&mut self, observed_unix_nano: u64, records: &mut Records) {
        self.flush_if(observed_unix_nano, records, |_| true);
    }

    /// Makes records of what waits in some streams: the wait for more is over there.
    pub(crate) fn flush_if(&mut self, observed_unix_nano: u64, records: &mut Records, is_over: impl Fn(Waits) -> bool) {
        let Self { format, file, streams, .. } = self;
        for stream in Stream::ALL {
            let state = &mut streams[stream.index()];
            if !state.waits().is_some_and(&is_over) {
                continue;
            }
            let place = Place { format, file, stream, observed: observed_unix_nano };
            if let Some(partial) = state.partial.take() {
                place.entry(state, partial.piece(), records);
                records.give_back(partial);
            }
            place.end_entry(state, records);
        }
    }
}

impl StreamState {
    #[inline]
    fn waits(&self) -> Option<Waits> {
        let (first, last) = match (&self.entry, &self.partial) {
            (None, None) => return None,
            (Some(first), Some(last)) => (first, last),
            (Some(waiting), None) | (None, Some(waiting)) => (waiting, waiting),
        };
        Some(Waits { from: first.start, last: last.last })
    }
}

impl Place<'_> {
    /// Takes a line, or a part of one that goes on in the next line of the same stream.
    fn piece(self, state: &mut StreamState, piece: Piece<'_>, is_partial: bool, records: &mut Records) {
        if state.partial.is_none() && !is_partial {
            return self.entry(state, piece, records);
        }
        match &mut state.partial {
            Some(partial) => {
                records.counts.joined += 1;
                partial.extend(piece, self.format.max_bytes);
            }
            None => state.partial = Some(records.waiting(piece, self.format.max_bytes)),
        }
        if !is_partial && let Some(partial) = state.partial.take() {
            self.entry(state, partial.piece(), records);
            records.give_back(partial);
        }
    }

    /// Takes a whole line: it becomes a record, or waits for what follows.
    #[inline]
    fn entry(self, state: &mut StreamState, piece: Piece<'_>, records: &mut Records) {
        let Some(rules) = &self.format.multiline else { return Emission::new(self, piece).write(records) };
        // A line that is JSON by itself is never a part of something.
        if self.format.body.is_json_object(piece, self.format.max_bytes, records) {
            if state.entry.is_none() {
                return Emission::new(self, piece).write_object(records);
            }
            self.end_entry(state, records);
            return Emission::new(self, piece).write(records);
        }
        let Some(entry) = &mut state.entry else {
            return self.begin_entry(state, piece, rules.begins(piece.content), records);
        };
        let Some(phase) = rules.continues(entry.phase, entry.lines_in_phase, piece.content) else {
            self.end_entry(state, records);
            return self.begin_entry(state, piece, rules.begins(piece.content), records);
        };
        let has_room = entry.content.len() + 1 + piece.content.len() <= self.format.max_bytes;
        if !has_room || entry.lines >= rules.max_lines() {
            records.counts.split += 1;
            self.end_entry(state, records);
            return self.begin_entry(state, piece, phase, records);
        }
        records.counts.joined += 1;
        entry.add_line(piece, phase);
    }

    fn begin_entry(self, state: &mut StreamState, piece: Piece<'_>, phase: Phase, records: &mut Records) {
        let mut entry = records.waiting(piece, self.format.max_bytes);
        entry.phase = phase;
        state.entry = Some(entry);
    }

    fn end_entry(self, state: &mut StreamState, records: &mut Records) {
        let Some(entry) = state.entry.take() else { return };
        Emission::new(self, entry.piece()).write(records);
        records.give_back(entry);
    }
}

#[cfg(test)]
mod tests;
