//! A file whose name was looked at: one that is known, with another name maybe, or a new one, and then where it begins to be
//! read. Not here: how names come to be looked at (`look`).

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::look::{Arrival, Role};
use super::{Named, Reader, Start, beginning_at};
use crate::tail::checkpoint::{Position, is_same_content};
use crate::tail::content::{Content, Form};
use crate::tail::identity::{FIRST_BYTES, Fingerprint, Inode};
use crate::tail::log::{Committed, FileKey, Log, LogFile, LogKey, Place};
use crate::tail::record::FileParser;
use crate::tail::rotation;
use crate::tail::selection::Decision;

/// How long a file must not change to be taken for whole, where nobody tells that it is.
const WHOLE_AFTER: Duration = Duration::from_secs(5);

/// A file of which it is not known yet whether it is whole.
#[derive(Debug)]
pub(super) struct Undecided {
    pub(super) named: Named,
    size: u64,
    since: Instant,
}

/// Where a file begins to be read.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    At(Committed),
    /// Nothing of it is read.
    Done(Committed),
    /// What this file is read to is not read again.
    CopyOf(FileKey),
    /// It may not be whole.
    Later,
}

impl Reader {
    /// Whether a known inode still is the file that was known, and not another one that got its number.
    pub(super) fn is_unchanged(&self, key: FileKey, path: &Path) -> bool {
        let file = &self.files[key];
        if file.content.is_some() {
            // An open file keeps its number.
            return true;
        }
        if file.form != form_of(path) || file.fingerprint.is_empty() {
            // Nothing is known of an empty one by which it could be told from any other.
            return false;
        }
        let mut first = [0; FIRST_BYTES];
        let read = Content::open(path, file.form).and_then(|mut content| content.read_at(&mut first, 0));
        read.is_ok_and(|count| file.fingerprint.is_of(&first[..count]))
    }

    /// A file that was closed is gone, and its number belongs to another one.
    pub(super) fn replaced(&mut self, key: FileKey) {
        let file = &mut self.files[key];
        self.file_keys.remove(&file.inode);
        if file.place != Place::Gone {
            file.place = Place::Gone;
            file.since = self.clock.now;
            self.settling.push(key);
        }
    }

    /// A known file has another name, or the same again.
    pub(super) fn renamed(&mut self, key: FileKey, named: Named, path: PathBuf, role: &Role) {
        let log = self.files[key].log;
        let (of, place) = match role {
            Role::Active(of) => (of, Place::Active),
            Role::Rotated(of) => (of, Place::Rotated),
        };
        let is_of_its_log = self.logs.get(log).is_some_and(|log| log.path == *of);
        if !is_of_its_log && self.files[key].place == Place::Active {
            // Two names for one file: it is read once.
            self.directories[named.directory].others.insert(named.name);
            return;
        }
        // With the name of another log it still is a file of the one that it was found as.
        let place = if is_of_its_log { place } else { Place::Rotated };
        self.name(key, named);
        self.is_renamed = true;
        let file = &mut self.files[key];
        file.path = path;
        if file.place != place {
            file.place = place;
            file.since = self.clock.now;
            if place == Place::Rotated {
                self.settling.push(key);
            }
        }
        self.saving.is_due = true;
        self.file_written(key);
    }

    /// Puts a file's name into its directory, and where a link points.
    fn name(&mut self, key: FileKey, named: Named) {
        let links = self.directories.iter().filter(|_| self.has_links).filter_map(|(directory, of)| {
            let (target, _) = of.links.iter().find(|(_, link)| **link == named)?;
            Some(Named { directory, name: target.clone() })
        });
        let places: Vec<Named> = links.chain([named.clone()]).collect();
        for place in places {
            let before = self.directories[place.directory].files.insert(place.name, key);
            if let Some(before) = before.filter(|before| *before != key)
                && self.files.get(before).is_some_and(|file| file.place == Place::Active)
            {
                self.unname(before);
            }
        }
    }

    /// A file that is not known yet.
    pub(super) fn found(&mut self, named: Named, path: PathBuf, role: &Role, arrival: Arrival) {
        let form = form_of(&path);
        let opened = self.open(&path, form);
        let mut first = [0; FIRST_BYTES];
        let read = opened.and_then(|mut content| {
            let count = content.read_at(&mut first, 0);
            let metadata = content.metadata()?;
            Ok((content, metadata, count))
        });
        let (content, metadata, count) = match read {
            Ok((content, metadata, Ok(count))) => (content, metadata, count),
            // What is being compressed is not whole.
            Ok((.., Err(_))) if form == Form::Gzip && arrival == Arrival::Seen => return self.undecide(named, &path),
            Ok((.., Err(error))) => return self.refuse(named, &path, &error),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) if is_out_of_files(&error) => {
                self.unreadable(&path, &error);
                return self.undecide(named, &path);
            }
            Err(error) => return self.refuse(named, &path, &error),
        };
        let of = match role {
            Role::Active(of) | Role::Rotated(of) => of,
        };
        let decision = self.parts.selection.decide(of);
        let Some(log) = self.log_of(of, decision) else {
            self.directories[named.directory].others.insert(named.name);
            return;
        };
        let total = content.total().unwrap_or_default();
        let inode = Inode::of(&metadata);
        let mut beginning = self.beginning(inode, &first[..count], role, &path, log, total, arrival);
        if decision == Decision::Skip {
            beginning = Beginning::Done(Committed { offset: total, is_inside: false });
        }
        let (at, is_done, copy_of) = match beginning {
            Beginning::At(at) => (at, false, None),
            Beginning::Done(at) => (at, true, None),
            Beginning::CopyOf(original) => (self.files[original].committed, false, Some(original)),
            Beginning::Later => return self.undecide(named, &path),
        };
        let is_read = !is_done && copy_of.is_none();
        let place = if matches!(role, Role::Active(_)) { Place::Active } else { Place::Rotated };
        let file = self.files.insert(LogFile {
            log,
            inode,
            path,
            fingerprint: Fingerprint::of(&first[..count]),
            form,
            content: is_read.then_some(content),
            place,
            found: self.clock.now,
            since: self.clock.now,
            size: total,
            read_to: at.offset,
            committed: at,
            is_done,
            copy_of,
            has_copy: false,
        });
        if let Some(original) = copy_of {
            self.files[original].has_copy = true;
        }
        self.file_keys.insert(inode, file);
        self.logs[log].files.push(file);
        self.name(file, named);
        self.is_renamed = true;
        self.saving.is_due = true;
        if is_read {
            self.begun += u64::from(place == Place::Active);
            // What was missed is older than what is being read.
            if place == Place::Rotated && self.start == Start::Over {
                self.interpose(log, file, at);
            } else {
                self.logs[log].push(file, at);
            }
            if place == Place::Rotated {
                self.settling.push(file);
            }
            self.make_ready(log);
        }
    }

    /// The log with this path, made if it is new; none if it is none.
    fn log_of(&mut self, path: &Path, decision: Decision) -> Option<LogKey> {
        if let Some(&key) = self.log_keys.get(path) {
            return Some(key);
        }
        let description = self.parts.selection.log(path)?;
        let parser = FileParser::new(self.parts.format.clone(), description.attributes);
        let mut log = Log::new(path.to_owned(), description.resource, parser);
        log.held_since = (decision == Decision::Unknown).then_some(self.clock.now);
        let key = self.logs.insert(log);
        if decision == Decision::Unknown {
            self.held.push(key);
        }
        self.log_keys.insert(path.to_owned(), key);
        Some(key)
    }

    /// Where a file begins to be read.
    #[allow(clippy::too_many_arguments, reason = "each of them decides, and they are known one by one")]
    fn beginning(
        &mut self,
        inode: Inode,
        first: &[u8],
        role: &Role,
        path: &Path,
        log: LogKey,
        total: u64,
        arrival: Arrival,
    ) -> Beginning {
        let at = |offset, is_inside| Committed { offset, is_inside };
        let known = |position: Position| {
            let at = at(position.offset, position.is_inside);
            // Of an empty file nothing is known by which it could be told from one that got its number.
            if position.is_done && !position.fingerprint.is_empty() { Beginning::Done(at) } else { Beginning::At(at) }
        };
        let is_compressed = rotation::is_compressed(&path.to_string_lossy());
        // What is compressed has something in it: an empty file was another one, whose number was used again.
        let says_something = |position: &Position| !is_compressed || !position.fingerprint.is_empty();
        if let Some(position) = self.remembered.take(inode, first).filter(says_something) {
            return known(position);
        }
        if matches!(role, Role::Active(_)) && !is_compressed {
            return match self.start {
                Start::First => {
                    let offset = beginning_at(self.parts.settings.start_at, total);
                    // The last line may be half written.
                    Beginning::At(at(offset, offset > 0 && !self.ends_with_line(path, offset)))
                }
                Start::Again | Start::Over => Beginning::At(at(0, false)),
            };
        }
        if self.start == Start::First {
            return Beginning::Done(at(total, false));
        }
        self.follow_rotated(log);
        for key in self.logs[log].files.clone() {
            self.look_into(key);
        }
        if let Some(original) = self.original(log, path, first, total) {
            return Beginning::CopyOf(original);
        }
        if let Some(position) = self.remembered.take_copied(path, first, Some(total)) {
            return known(position);
        }
        match arrival {
            Arrival::Seen if self.start == Start::Over => Beginning::Later,
            Arrival::Seen | Arrival::Whole => Beginning::At(at(0, false)),
        }
    }

    /// The file of a log that the one with this path and content is a copy of.
    fn original(&self, log: LogKey, path: &Path, first: &[u8], total: u64) -> Option<FileKey> {
        let files = || self.logs[log].files.iter().copied().filter(|key| !self.files[*key].has_copy);
        if rotation::is_compressed(&path.to_string_lossy()) {
            // What a file is compressed to has its name, however much of it is there already.
            let plain = path.with_extension("");
            let begins = |known: Fingerprint| !known.is_empty() && known.is_of(first);
            let is_it = |file: &LogFile| file.path == plain && begins(file.fingerprint);
            if let Some(key) = files().find(|key| is_it(&self.files[*key])) {
                return Some(key);
            }
        }
        let of_log = || files().filter(|key| is_same_content(self.files[*key].fingerprint, first));
        let known = |key: FileKey| self.files[key].size.max(self.files[key].read_to);
        // One of which more may have been copied than was seen, if none fits exactly.
        let has_more = |key: &FileKey| self.files[*key].place != Place::Rotated && total >= known(*key);
        of_log().find(|key| total == known(*key)).or_else(|| of_log().find(has_more))
    }

    fn ends_with_line(&self, path: &Path, offset: u64) -> bool {
        let mut last = [0];
        let read = Content::open(path, Form::Plain).and_then(|mut content| content.read_at(&mut last, offset - 1));
        read.is_ok_and(|count| count == 1 && last == *b"\n")
    }

    /// Looks again later at a file that may not be whole.
    fn undecide(&mut self, named: Named, path: &Path) {
        let size = fs::metadata(path).map_or(0, |found| found.len());
        self.directories[named.directory].others.insert(named.name.clone());
        if !self.undecided.iter().any(|one| one.named == named) {
            self.undecided.push(Undecided { named, size, since: self.clock.now });
        }
    }

    /// Decides about files that have not changed for a while.
    pub(super) fn decide_undecided(&mut self) {
        for mut one in std::mem::take(&mut self.undecided) {
            let Some(directory) = self.directories.get_mut(one.named.directory) else { continue };
            let Ok(metadata) = fs::metadata(directory.path.join(&one.named.name)) else {
                directory.others.remove(&one.named.name);
                continue;
            };
            if metadata.len() != one.size {
                one.size = metadata.len();
                one.since = self.clock.now;
            }
            if self.clock.now < one.since + WHOLE_AFTER {
                self.undecided.push(one);
                continue;
            }
            directory.others.remove(&one.named.name);
            self.look(one.named.directory, &one.named.name, Arrival::Whole);
        }
    }

    /// Looks now at files that may be copies of one that was truncated.
    pub(super) fn decide_copies(&mut self, log: LogKey) {
        for one in std::mem::take(&mut self.undecided) {
            let Some(directory) = self.directories.get_mut(one.named.directory) else { continue };
            let path = directory.path.join(&one.named.name);
            let is_of_it = matches!(self.role(one.named.directory, &one.named.name, &path),
                Some(Role::Rotated(of)) if self.log_keys.get(&of) == Some(&log));
            if is_of_it {
                self.directories[one.named.directory].others.remove(&one.named.name);
                self.look(one.named.directory, &one.named.name, Arrival::Whole);
            } else {
                self.undecided.push(one);
            }
        }
    }

    /// Forgets a log that has no files any more.
    pub(super) fn drop_log(&mut self, key: LogKey) {
        let log = self.logs.remove(key);
        self.log_keys.remove(&log.path);
        self.saving.forget(key);
        self.waiting.remove(&key);
        self.ready.retain(|ready| *ready != key);
    }

    pub(super) fn refuse(&mut self, named: Named, path: &Path, error: &io::Error) {
        self.unreadable(path, error);
        let directory = &mut self.directories[named.directory];
        directory.refused.insert(named.name.clone());
        directory.others.insert(named.name);
    }

    /// Files that are there and could not be read, or not yet.
    pub(super) fn unread(&self) -> HashSet<PathBuf> {
        let refused = self.directories.iter().flat_map(|(_, of)| of.refused.iter().map(|name| of.path.join(name)));
        let undecided = self.undecided.iter().filter_map(|one| {
            let directory = self.directories.get(one.named.directory)?;
            Some(directory.path.join(&one.named.name))
        });
        refused.chain(undecided).collect()
    }
}

/// How a file with this path is written.
fn form_of(path: &Path) -> Form {
    if rotation::is_compressed(&path.to_string_lossy()) { Form::Gzip } else { Form::Plain }
}

/// Whether the process or the system has no place for another open file.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}
