//! Reads files: a quantum of one log at a time, from file to file as rotation made them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use engine_core::telemetry::Direction;

use super::Reader;
use super::found::is_out_of_files;
use super::keep::unix_seconds;
use crate::tail::content::{Content, Form};
use crate::tail::counts::add;
use crate::tail::identity::{FIRST_BYTES, Fingerprint, Inode};
use crate::tail::lines;
use crate::tail::log::{Committed, FileKey, LogFile, LogKey, Place};
use crate::tail::record::Line;
use crate::tail::rotation;

/// Bytes that are read of one log before others have their turn.
pub(super) const QUANTUM: usize = 256 * 1024;

/// How long a file that was rotated or deleted is expected to be written to, since it was or has grown.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// How long the end of a line may stay away in a file that was rotated, before what is there of it is a line.
const LAST_LINE_AFTER: Duration = Duration::from_secs(1);

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more to read.
    More,
    /// Nothing more is there now.
    CaughtUp,
}

/// What stands in the buffer behind the last whole line.
#[derive(Clone, Copy, Debug)]
struct Rest {
    from: usize,
    to: usize,
    is_inside: bool,
}

impl Reader {
    /// Reads a quantum of a log.
    pub(super) fn turn(&mut self, key: LogKey) -> Turn {
        let Some(segment) = self.logs.get(key).and_then(|log| log.current()).copied() else { return Turn::CaughtUp };
        let file = segment.file;
        let read = self.make_sure_it_is_open(file).and_then(|()| self.read(file, segment.read));
        let count = match read {
            Ok(Read::Bytes(count)) => count,
            Ok(Read::Truncated) => {
                self.truncated(key, file);
                return Turn::More;
            }
            Err(error) => return self.cannot_read(key, file, &error),
        };
        let max_line = self.parts.format.max_line_bytes();
        let (observed, base) = (unix_nanos(), segment.position_of(segment.read));
        let Some(log) = self.logs.get_mut(key) else { return Turn::CaughtUp };
        let (parser, records) = (&mut log.parser, &mut self.records);
        let cut = lines::cut(&self.buffer[..count], segment.is_inside, max_line, |start, bytes, is_truncated| {
            parser.line(Line { bytes, is_truncated, start: base + start as u64 }, observed, records);
        });
        let is_full = count == self.buffer.len();
        if cut.consumed == 0 && is_full {
            // One line is longer than the buffer and not too long.
            self.buffer.resize(self.buffer.len() * 2, 0);
            return Turn::More;
        }
        let Some(current) = log.current_mut() else { return Turn::CaughtUp };
        current.read += cut.consumed as u64;
        current.is_inside = cut.is_inside;
        let read_to = current.read;
        let rest = Rest { from: cut.consumed, to: count, is_inside: cut.is_inside };
        if let Some(file) = self.files.get_mut(file) {
            file.read_to = read_to;
            let size = segment.read + count as u64;
            if size > file.size {
                file.size = size;
                file.since = self.clock.now;
            }
        }
        self.parts.telemetry.protocol_bytes(Direction::Inbound, cut.consumed as u64);
        self.emit(key, cut.consumed as u64);
        self.extend_fingerprint(file);
        if is_full {
            return Turn::More;
        }
        let turn = self.at_end(key, rest);
        if self.buffer.len() > QUANTUM {
            self.buffer.truncate(QUANTUM);
            self.buffer.shrink_to_fit();
        }
        turn
    }

    /// Reads a file before the rest of what is being read.
    pub(super) fn interpose(&mut self, key: LogKey, file: FileKey, at: Committed) {
        self.flush(key);
        let now = self.clock.now;
        let date = |key: FileKey| rotation::date_of(self.files.get(key)?.path.file_name()?.to_str()?);
        let this = date(file);
        let is_newer = |key: FileKey| this.is_some() && date(key) > this;
        let Some(log) = self.logs.get_mut(key) else { return };
        let path = log.path.clone();
        // It had the log's name a moment ago. That it has another one now is told behind what is told of now.
        let had_the_name = |file: &LogFile| file.found == now && file.path == path;
        let is_last = |file: &LogFile| file.place == Place::Active || had_the_name(file);
        log.interpose(file, at, |key| self.files.get(key).is_some_and(is_last) || is_newer(key));
    }

    /// A known file was written to.
    pub(super) fn file_written(&mut self, key: FileKey) {
        let Some(file) = self.files.get_mut(key) else { return };
        if file.is_done {
            return self.follow_left_out(key);
        }
        if file.copy_of.is_some() {
            return;
        }
        let (log, from) = (file.log, Committed { offset: file.read_to, is_inside: false });
        if self.logs.get(log).is_some_and(|log| log.is_to_be_read(key)) {
            return self.make_ready(log);
        }
        // It was read to its end and left, and who writes it has not noticed the rotation.
        let has_grown =
            self.make_sure_it_is_open(key).is_ok() && self.grown_to(key).is_some_and(|size| size > from.offset);
        if has_grown && file_is_plain(&self.files[key]) {
            self.files[key].since = self.clock.now;
            self.settling.push(key);
            self.interpose(log, key, from);
            self.make_ready(log);
        }
    }

    /// Looks after files that were rotated or deleted, until nothing more is expected of them.
    pub(super) fn settle(&mut self) {
        let mut settling = std::mem::take(&mut self.settling);
        settling.sort_unstable();
        settling.dedup();
        for key in settling {
            let Some(file) = self.files.get(key) else { continue };
            if file.place == Place::Active {
                continue;
            }
            let (log, size) = (file.log, file.size);
            let now = file.content.as_ref().and_then(|content| content.metadata().ok());
            if let Some(now) = now.filter(|_| file_is_plain(file)) {
                if now.nlink() == 0 {
                    self.files[key].place = Place::Gone;
                }
                if now.len() > size {
                    self.files[key].since = self.clock.now;
                    self.file_written(key);
                }
            }
            let is_settled = self.clock.now >= self.files[key].since + SETTLED_AFTER;
            let is_current =
                self.logs.get(log).and_then(|log| log.current()).is_some_and(|current| current.file == key);
            if is_current {
                // What comes next may have begun, or its last line may be one now.
                self.make_ready(log);
            }
            let is_to_be_read = self.logs.get(log).is_some_and(|log| log.is_to_be_read(key));
            if !is_settled || is_to_be_read {
                self.settling.push(key);
                continue;
            }
            let file = &mut self.files[key];
            file.content = None;
            if file.place != Place::Gone {
                continue;
            }
            if file.copy_of.is_some() || file.is_done || file.committed.offset >= file.read_to {
                self.forget(key);
            } else {
                self.settling.push(key);
            }
        }
        self.give_up_deleted();
    }

    /// Files that were deleted take disk space as long as they are open. When those that are not read yet take too much, the
    /// oldest are given up.
    fn give_up_deleted(&mut self) {
        let is_deleted = |file: &LogFile| file.place == Place::Gone && file.content.is_some();
        let mut deleted: Vec<_> = self.settling.iter().filter(|key| is_deleted(&self.files[**key])).copied().collect();
        deleted.sort_by_key(|key| self.files[*key].since);
        let mut total: u64 = deleted.iter().map(|key| self.files[*key].size).sum();
        for key in deleted {
            if total <= self.parts.settings.max_deleted {
                return;
            }
            let file = &mut self.files[key];
            let (bytes, log) = (file.behind(), file.log);
            total -= file.size;
            file.content = None;
            file.read_to = file.size;
            file.is_done = true;
            if bytes > 0 {
                tracing::warn!(path = %file.path.display(), bytes, "a deleted file was given up before it was read to its end");
                self.count_lost(bytes);
            }
            self.make_ready(log);
        }
    }

    /// Puts the records that were made of a log into the request, and notes how far it is read.
    pub(super) fn emit(&mut self, key: LogKey, raw: u64) {
        self.note_what_waits(key);
        let Some(log) = self.logs.get_mut(key) else { return };
        let count = self.records.len();
        if raw == 0 && self.records.byte_len() == 0 {
            return;
        }
        self.saving.note(key, raw, log.resume());
        if count > 0 {
            let records = self.records.take();
            self.request.add(&log.resource, &records, count as u64);
        }
        self.parts.counts.add_lines(self.records.counts());
    }

    /// Nothing more is there of the current file: goes on with the next one when that is due.
    fn at_end(&mut self, key: LogKey, rest: Rest) -> Turn {
        let Some(log) = self.logs.get(key) else { return Turn::CaughtUp };
        let (Some(current), next) = (log.current().copied(), log.next().copied()) else { return Turn::CaughtUp };
        let file = &self.files[current.file];
        let is_active = |key: FileKey| self.files.get(key).is_some_and(|file| file.place == Place::Active);
        if file.place == Place::Active && next.is_some_and(|next| !is_active(next.file)) {
            // What comes behind is older, or it would not be behind.
            self.flush(key);
            self.logs[key].defer();
            return Turn::More;
        }
        let waited = self.clock.now.saturating_duration_since(file.since);
        let may_leave = match (file.form, file.place, next) {
            (Form::Gzip, ..) => true,
            // Only the last file of a log has its name.
            (_, Place::Active, next) => next.is_some(),
            (_, Place::Gone | Place::Rotated, None) => waited >= SETTLED_AFTER,
            (.., Some(next)) => {
                let has_rest = rest.to > rest.from && !rest.is_inside;
                let is_over = !has_rest || waited >= LAST_LINE_AFTER;
                (is_over && self.has_begun(next.file)) || waited >= SETTLED_AFTER
            }
        };
        if !may_leave {
            return Turn::CaughtUp;
        }
        self.close(key, current.file, rest);
        Turn::More
    }

    /// Reads nothing more of the current file. What has no line end is its last line.
    fn close(&mut self, key: LogKey, file: FileKey, rest: Rest) {
        let max_line = self.parts.format.max_line_bytes();
        let Some(log) = self.logs.get_mut(key) else { return };
        let mut raw = 0;
        if rest.to > rest.from && !rest.is_inside {
            let Some(current) = log.current_mut() else { return };
            let base = current.position_of(current.read);
            raw = (rest.to - rest.from) as u64;
            current.read += raw;
            let read_to = current.read;
            let (parser, records, observed) = (&mut log.parser, &mut self.records, unix_nanos());
            lines::last(&self.buffer[rest.from..rest.to], max_line, |start, bytes, is_truncated| {
                parser.line(Line { bytes, is_truncated, start: base + start as u64 }, observed, records);
            });
            if let Some(file) = self.files.get_mut(file) {
                file.read_to = read_to;
            }
        }
        log.advance();
        self.emit(key, raw);
    }

    /// Whether there is something to read in a file that comes next.
    fn has_begun(&self, key: FileKey) -> bool {
        let Some(file) = self.files.get(key) else { return true };
        // A file that is shorter than it was has other content.
        let has_changed = |size| size > file.read_to || size < file.size;
        file.place != Place::Active || self.grown_to(key).is_none_or(has_changed)
    }

    /// The size of an open plain file now.
    fn grown_to(&self, key: FileKey) -> Option<u64> {
        let file = self.files.get(key).filter(|file| file_is_plain(file))?;
        Some(file.content.as_ref()?.metadata().ok()?.len())
    }

    /// Reads into the buffer.
    fn read(&mut self, key: FileKey, offset: u64) -> io::Result<Read> {
        let file = &mut self.files[key];
        let Some(content) = &mut file.content else {
            // Its content was truncated away.
            return Ok(Read::Bytes(0));
        };
        let count = content.read_at(&mut self.buffer, offset)?;
        if file.form == Form::Plain {
            // Behind reading, so that what is truncated meanwhile is found out.
            let mut first = [0; FIRST_BYTES];
            let begun = content.read_at(&mut first[..file.fingerprint.len()], 0)?;
            if !file.fingerprint.is_of(&first[..begun]) || (count == 0 && content.metadata()?.len() < offset) {
                return Ok(Read::Truncated);
            }
        }
        Ok(Read::Bytes(count))
    }

    /// The fingerprint of a short file grows with it.
    pub(super) fn extend_fingerprint(&mut self, key: FileKey) {
        let Some(file) = self.files.get(key) else { return };
        if file.fingerprint.may_grow() && file.size > file.fingerprint.len() as u64 {
            self.look_into(key);
        }
    }

    /// Sees what there is of an open file now, if that is not other content.
    pub(super) fn look_into(&mut self, key: FileKey) {
        let Some(size) = self.grown_to(key) else { return };
        let file = &mut self.files[key];
        let mut first = [0; FIRST_BYTES];
        if let Some(content) = &mut file.content
            && let Ok(count) = content.read_at(&mut first, 0)
            && file.fingerprint.is_of(&first[..count])
        {
            file.fingerprint = Fingerprint::of(&first[..count]);
            file.size = file.size.max(size);
        }
    }

    /// A file has other content than what was read of it: what follows is read from its beginning. What was not read is in a
    /// copy, if rotation made one, and lost if not.
    fn truncated(&mut self, key: LogKey, old: FileKey) {
        add(&self.parts.counts.files_truncated, 1);
        self.flush(key);
        let file = &mut self.files[old];
        let (inode, path, place) = (file.inode, file.path.clone(), file.place);
        let mut content = file.content.take();
        file.place = Place::Gone;
        file.since = self.clock.now;
        self.settling.push(old);
        let mut first = [0; FIRST_BYTES];
        let count = content.as_mut().and_then(|content| content.read_at(&mut first, 0).ok()).unwrap_or_default();
        let new = self.files.insert(LogFile {
            log: key,
            inode,
            path,
            fingerprint: Fingerprint::of(&first[..count]),
            form: Form::Plain,
            content,
            place,
            found: self.clock.now,
            since: self.clock.now,
            size: 0,
            read_to: 0,
            committed: Committed::default(),
            is_done: false,
            copy_of: None,
            has_copy: false,
        });
        self.file_keys.insert(inode, new);
        for directory in self.directories.iter_mut().map(|(_, directory)| directory) {
            directory.replace(old, new);
        }
        self.logs[key].files.push(new);
        self.logs[key].advance();
        self.decide_copies(key);
        self.logs[key].push_next(new, Committed::default());
        let lost = self.read_copy(key, old);
        if lost > 0 {
            add(&self.parts.counts.bytes_lost, lost);
        }
        self.saving.is_due = true;
    }

    /// Reads what a copy of a truncated file has more than was read of it. Answers the bytes that are known to be lost.
    fn read_copy(&mut self, key: LogKey, old: FileKey) -> u64 {
        let read_to = self.files[old].read_to;
        let copy_of =
            |original| self.logs[key].files.iter().copied().find(|file| self.files[*file].copy_of == Some(original));
        let open = |copy: &FileKey| {
            let file = &self.files[*copy];
            Content::open(&file.path, file.form).and_then(|content| Ok((*copy, content.total()?, content)))
        };
        // It may be compressed already.
        let copies = std::iter::successors(copy_of(old), |copy| copy_of(*copy));
        let opened = copies.map(|copy| open(&copy)).find_map(Result::ok);
        let Some((copy, total, content)) = opened else { return self.files[old].behind() };
        let file = &mut self.files[copy];
        file.size = total;
        if total > read_to {
            file.content = Some(content);
            file.read_to = read_to;
            self.logs[key].push_next(copy, Committed { offset: read_to, is_inside: false });
            self.settling.push(copy);
        }
        0
    }

    /// A file cannot be read: it is left, and tried again when it is written to.
    fn cannot_read(&mut self, key: LogKey, file: FileKey, error: &io::Error) -> Turn {
        let path = self.files[file].path.clone();
        self.unreadable(&path, error);
        if is_out_of_files(error) {
            self.stalled.push(key);
            return Turn::CaughtUp;
        }
        if self.files[file].place == Place::Active && error.kind() != io::ErrorKind::NotFound {
            return Turn::CaughtUp;
        }
        let behind = self.files[file].behind();
        if behind > 0 {
            self.count_lost(behind);
        }
        let (size, log) = (self.files[file].size, &mut self.logs[key]);
        log.advance();
        let file = &mut self.files[file];
        file.is_done = true;
        file.read_to = size;
        Turn::More
    }

    /// Opens a file again that was closed.
    fn make_sure_it_is_open(&mut self, key: FileKey) -> io::Result<()> {
        let Some(file) = self.files.get(key) else { return Ok(()) };
        if file.content.is_some() || file.place == Place::Gone {
            return Ok(());
        }
        let (path, form, inode) = (file.path.clone(), file.form, file.inode);
        let content = self.open(&path, form)?;
        if Inode::of(&content.metadata()?) != inode {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file has its name"));
        }
        self.files[key].content = Some(content);
        Ok(())
    }

    /// Opens a file. When there is no place for another open one, those that have been idle for longest are closed first.
    pub(super) fn open(&mut self, path: &Path, form: Form) -> io::Result<Content> {
        if self.opened >= self.parts.settings.max_open {
            self.opened = self.files.iter().filter(|(_, file)| file.content.is_some()).count();
        }
        if self.opened >= self.parts.settings.max_open {
            self.close_some();
        }
        self.opened += 1;
        match Content::open(path, form) {
            Err(error) if is_out_of_files(&error) => {
                self.close_some();
                Content::open(path, form)
            }
            opened => opened,
        }
    }

    /// Closes half of the files that have names, idle ones first. They are opened again when they are read.
    fn close_some(&mut self) {
        let may_close = |file: &LogFile| file.content.is_some() && file.place == Place::Active;
        let open = self.files.iter().filter(|(_, file)| may_close(file));
        let mut open: Vec<_> = open.map(|(key, file)| (file.behind() > 0, file.since, key)).collect();
        open.sort_unstable();
        for (.., key) in open.iter().take(open.len().div_ceil(2)) {
            self.files[*key].content = None;
            self.opened = self.opened.saturating_sub(1);
        }
    }

    /// Forgets a file that is gone, but for its position: a compressed copy may come up.
    fn forget(&mut self, key: FileKey) {
        let position = self.position(key, unix_seconds());
        let file = self.files.remove(key);
        if self.file_keys.get(&file.inode) == Some(&key) {
            self.file_keys.remove(&file.inode);
        }
        for directory in self.directories.iter_mut().map(|(_, directory)| directory) {
            directory.forget(key);
        }
        let Some(log) = self.logs.get_mut(file.log) else { return };
        log.forget(key);
        for other in &log.files {
            let copy = &mut self.files[*other];
            if copy.copy_of == Some(key) {
                copy.copy_of = None;
                copy.is_done |= position.is_done && copy.size <= position.offset;
                if copy.committed.offset < position.offset {
                    copy.committed = Committed { offset: position.offset, is_inside: position.is_inside };
                }
            }
        }
        let is_over = log.files.is_empty() && log.is_all_committed();
        if !file.has_copy {
            self.remembered.keep(file.path, position);
        }
        self.saving.is_due = true;
        if is_over {
            self.drop_log(file.log);
        }
    }
}

/// What reading gave.
#[derive(Clone, Copy, Debug)]
enum Read {
    Bytes(usize),
    /// The file has other content than what was read of it.
    Truncated,
}

fn file_is_plain(file: &LogFile) -> bool {
    file.form == Form::Plain
}

pub(super) fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
