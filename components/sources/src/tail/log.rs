//! A log: one stream of lines that rotation spreads over files. Positions in it count on from file to file, so that what was
//! delivered up to a position says how far each file is done. Not here: files on a disk.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;

use super::content::{Content, Form};
use super::identity::{Fingerprint, Inode};
use super::record::FileParser;

/// A file in the reader's table.
pub(super) type FileKey = usize;
/// A log in the reader's table.
pub(super) type LogKey = usize;
/// Stands for a file or log that is forgotten: the key that it had may be another one's now.
pub(super) const FORGOTTEN: usize = usize::MAX;

/// One file of a log.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) log: LogKey,
    pub(super) inode: Inode,
    /// Where it was seen last.
    pub(super) path: PathBuf,
    pub(super) fingerprint: Fingerprint,
    pub(super) form: Form,
    /// Open while it may be read soon.
    pub(super) content: Option<Content>,
    pub(super) place: Place,
    /// When it was found.
    pub(super) found: Instant,
    /// Since when it has that place, or has not grown.
    pub(super) since: Instant,
    /// Bytes it was known to have.
    pub(super) size: u64,
    /// How far it is read.
    pub(super) read_to: u64,
    /// How far it is delivered.
    pub(super) committed: Committed,
    /// Nothing of it is to be read any more, whatever its size.
    pub(super) is_done: bool,
    /// The file whose content this one has too: what that is read to needs no second reading.
    pub(super) copy_of: Option<FileKey>,
    /// Another file is a copy of this one.
    pub(super) has_copy: bool,
}

/// What a file is to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has the log's own name.
    Active,
    /// It was renamed, or is a copy that rotation made.
    Rotated,
    /// It has no name any more, or other content.
    Gone,
}

/// How far a file is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: u64,
    /// The offset stands in a line that was cut short, the rest of which is in no record.
    pub(super) is_inside: bool,
}

/// A stretch of a file in the order of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) file: FileKey,
    /// Offset in the file where it begins.
    from: u64,
    /// Position in the log where it begins; known once what is before it is read.
    origin: u64,
    /// Offset in the file up to which whole lines are read.
    pub(super) read: u64,
    /// The line at `read` was cut short.
    pub(super) is_inside: bool,
}

/// How long a stream waits for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// The position in the log of the line that was added to the stream last.
    pub(super) last: u64,
}

/// A log.
#[derive(Debug)]
pub(super) struct Log {
    /// The path of the file it is written to.
    pub(super) path: PathBuf,
    pub(super) resource: Bytes,
    pub(super) parser: FileParser,
    /// Its files, in no order.
    pub(super) files: Vec<FileKey>,
    /// Whether it stands in line to be read.
    pub(super) is_queued: bool,
    /// When what its parser has waiting becomes a record, if until then nothing is added to it.
    pub(super) deadline: Option<Deadline>,
    /// Since when it is not known whether it may be read.
    pub(super) held_since: Option<Instant>,
    /// What is being read is not the first one: those before it are read and not all delivered.
    segments: VecDeque<Segment>,
    reading: usize,
    /// Position where the segment behind the last one that is read begins.
    end: u64,
    /// The highest position that was told to [`commit`](Self::commit).
    committed: u64,
}

impl LogFile {
    /// Bytes that are known and not read.
    pub(super) fn behind(&self) -> u64 {
        self.size.saturating_sub(self.read_to)
    }

    /// Has so many bytes, none of which is to be read.
    pub(super) fn skip_to(&mut self, size: u64) {
        self.size = size;
        self.read_to = size;
        self.committed = Committed { offset: size, is_inside: false };
    }

    /// Whether everything of it is delivered and nothing more is expected.
    pub(super) fn is_finished(&self) -> bool {
        self.is_done || (self.place != Place::Active && self.read_to >= self.size && self.committed.offset >= self.size)
    }
}

impl Segment {
    /// Its position in the log behind what is read of it.
    fn position(&self) -> u64 {
        self.origin + (self.read - self.from)
    }

    /// The position in the log of an offset in its file.
    pub(super) fn position_of(&self, offset: u64) -> u64 {
        self.origin + (offset - self.from)
    }
}

impl Log {
    pub(super) fn new(path: PathBuf, resource: Bytes, parser: FileParser) -> Self {
        Self {
            path,
            resource,
            parser,
            files: Vec::new(),
            is_queued: false,
            deadline: None,
            held_since: None,
            segments: VecDeque::new(),
            reading: 0,
            end: 0,
            committed: 0,
        }
    }

    /// Adds a file from an offset on, behind all others.
    pub(super) fn push(&mut self, file: FileKey, at: Committed) {
        let segment = Segment { file, from: at.offset, origin: self.end, read: at.offset, is_inside: at.is_inside };
        self.segments.push_back(segment);
    }

    /// Adds a file from an offset on, in front of what is not read yet of files that `are_last`, and behind all others.
    pub(super) fn interpose(&mut self, file: FileKey, at: Committed, are_last: impl Fn(FileKey) -> bool) {
        let Some(current) = self.current().copied() else { return self.push(file, at) };
        let mut place = self.reading;
        if are_last(current.file) {
            self.advance();
            place = self.reading;
            self.segments.insert(place, Segment { from: current.read, origin: self.end, ..current });
        } else {
            let behind = self.segments.iter().skip(place);
            place += behind.take_while(|segment| !are_last(segment.file)).count();
        }
        let interposed = Segment { file, from: at.offset, origin: self.end, read: at.offset, is_inside: at.is_inside };
        self.segments.insert(place, interposed);
    }

    /// Reads nothing of its files. Nothing was read of them so far.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.reading = 0;
    }

    /// Adds a file from an offset on, in front of all that are not read: what was current is left.
    pub(super) fn push_next(&mut self, file: FileKey, at: Committed) {
        let segment = Segment { file, from: at.offset, origin: self.end, read: at.offset, is_inside: at.is_inside };
        self.segments.insert(self.reading, segment);
    }

    /// Reads the rest of the current file behind all others.
    pub(super) fn defer(&mut self) {
        let Some(current) = self.current().copied() else { return };
        self.advance();
        self.push(current.file, Committed { offset: current.read, is_inside: current.is_inside });
    }

    /// What is being read.
    pub(super) fn current(&self) -> Option<&Segment> {
        self.segments.get(self.reading)
    }

    /// What is being read, to note how far.
    pub(super) fn current_mut(&mut self) -> Option<&mut Segment> {
        self.segments.get_mut(self.reading)
    }

    /// What is read next.
    pub(super) fn next(&self) -> Option<&Segment> {
        self.segments.get(self.reading + 1)
    }

    /// Nothing more is read of the current segment.
    pub(super) fn advance(&mut self) {
        let Some(current) = self.current() else { return };
        self.end = current.position();
        self.reading += 1;
        let end = self.end;
        if let Some(next) = self.current_mut() {
            next.origin = end;
        }
    }

    /// The position up to which everything is read, and whether that is inside of a line that was cut short.
    pub(super) fn position(&self) -> (u64, bool) {
        self.current().map_or((self.end, false), |current| (current.position(), current.is_inside))
    }

    /// The position from which a restart reads again when all records so far are delivered.
    pub(super) fn resume(&self) -> (u64, bool) {
        self.parser.waits_from().map_or_else(|| self.position(), |position| (position, false))
    }

    /// Has what waits wait until then, if it does not wait already.
    pub(super) fn wait_until(&mut self, at: Instant) {
        let last = self.parser.waits_since();
        if self.deadline.map(|deadline| deadline.last) != last {
            self.deadline = last.map(|last| Deadline { at, last });
        }
    }

    /// Whether everything that was read is delivered.
    pub(super) fn is_all_committed(&self) -> bool {
        self.committed >= self.position().0
    }

    /// Whether a file is being read or still to be read.
    pub(super) fn is_to_be_read(&self, file: FileKey) -> bool {
        self.segments.iter().skip(self.reading).any(|segment| segment.file == file)
    }

    /// Forgets a file of which nothing is to be read.
    pub(super) fn forget(&mut self, file: FileKey) {
        self.files.retain(|other| *other != file);
        self.segments.iter_mut().filter(|segment| segment.file == file).for_each(|segment| segment.file = FORGOTTEN);
    }

    /// Everything up to a position is delivered: says so of each file that this concerns.
    pub(super) fn commit(&mut self, position: u64, is_inside: bool, mut each: impl FnMut(FileKey, Committed)) {
        self.committed = self.committed.max(position);
        while self.reading > 0
            && let Some(first) = self.segments.front()
            && first.position() <= position
        {
            each(first.file, Committed { offset: first.read, is_inside: first.is_inside });
            self.segments.pop_front();
            self.reading -= 1;
        }
        if let Some(first) = self.segments.front()
            && position > first.origin
        {
            each(first.file, Committed { offset: first.from + (position - first.origin), is_inside });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::record::Format;
    use super::*;

    fn log() -> Log {
        let parser = FileParser::new(Arc::new(Format::plain()), Bytes::new());
        Log::new(PathBuf::from("/a.log"), Bytes::new(), parser)
    }

    fn at(offset: u64) -> Committed {
        Committed { offset, is_inside: false }
    }

    fn read_to(log: &mut Log, offset: u64) {
        if let Some(segment) = log.current_mut() {
            segment.read = offset;
        }
    }

    fn committed(log: &mut Log, position: u64) -> Vec<(FileKey, u64)> {
        let mut found = Vec::new();
        log.commit(position, false, |file, at| found.push((file, at.offset)));
        found
    }

    /// Positions count on from file to file, and delivery of a position is delivery of every file up to it.
    #[test]
    fn positions_count_on() {
        let mut log = log();
        log.push(1, at(100));
        log.push(2, at(0));
        read_to(&mut log, 150);
        assert_eq!(log.position(), (50, false));
        assert_eq!(committed(&mut log, 20), [(1, 120)]);
        log.advance();
        read_to(&mut log, 30);
        assert_eq!(log.position(), (80, false));
        assert!(!log.is_all_committed() && log.is_to_be_read(2) && !log.is_to_be_read(1));
        assert_eq!(committed(&mut log, 70), [(1, 150), (2, 20)]);
        assert_eq!(committed(&mut log, 80), [(2, 30)]);
        assert!(log.is_all_committed());
    }

    /// What comes in between is read before the rest of the file, and each offset belongs to its own file.
    #[test]
    fn what_comes_in_between() {
        let mut log = log();
        log.push(1, at(0));
        read_to(&mut log, 10);
        log.interpose(2, at(500), |file| file == 1);
        assert_eq!(log.current().map(|segment| segment.file), Some(2));
        read_to(&mut log, 600);
        log.advance();
        assert_eq!(log.current().map(|segment| (segment.file, segment.read)), Some((1, 10)));
        read_to(&mut log, 15);
        assert_eq!(log.position(), (115, false));
        assert_eq!(committed(&mut log, 60), [(1, 10), (2, 550)]);
        assert_eq!(committed(&mut log, 115), [(2, 600), (1, 15)]);
    }

    /// What comes in between comes behind others that did before.
    #[test]
    fn the_order_of_what_comes_in_between() {
        let mut log = log();
        log.push(1, at(0));
        for file in [2, 3, 4] {
            log.interpose(file, at(0), |file| file == 1);
        }
        let mut order = Vec::new();
        while let Some(segment) = log.current().copied() {
            order.push(segment.file);
            log.advance();
        }
        assert_eq!(order, [1, 2, 3, 4, 1][1..]);
    }

    /// What is deferred is read behind all others, from where it was left.
    #[test]
    fn what_is_deferred() {
        let mut log = log();
        log.push(1, at(0));
        log.push(2, at(0));
        read_to(&mut log, 10);
        log.defer();
        assert_eq!(log.current().map(|segment| segment.file), Some(2));
        read_to(&mut log, 5);
        log.advance();
        assert_eq!(log.current().map(|segment| (segment.file, segment.read)), Some((1, 10)));
        read_to(&mut log, 12);
        assert_eq!(log.position(), (17, false));
        assert_eq!(committed(&mut log, 17), [(1, 10), (2, 5), (1, 12)]);
    }

    /// A log whose files are all read to their ends goes on where it ended.
    #[test]
    fn goes_on_behind_its_end() {
        let mut log = log();
        log.push(1, at(0));
        read_to(&mut log, 10);
        log.advance();
        assert_eq!(log.position(), (10, false));
        log.push(2, at(7));
        read_to(&mut log, 9);
        assert_eq!(log.position(), (12, false));
        assert_eq!(committed(&mut log, 12), [(1, 10), (2, 9)]);
    }
}
