//! Finds files: enters directories, looks at names that changed, and says where a file that is found begins to be read.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{DirectoryKey, Named, PAUSE, ReadError, Reader, Start, beginning_at};
use crate::tail::checkpoint::is_same_content;
use crate::tail::content::{Content, Form};
use crate::tail::identity::{FIRST_BYTES, Fingerprint, Inode};
use crate::tail::log::{Committed, FileKey, Log, LogFile, LogKey, Place};
use crate::tail::record::FileParser;
use crate::tail::rotation;
use crate::tail::selection::Decision;
use crate::tail::watch::{Change, Event, Watcher};

/// How long a file must not change to be taken for whole, where nobody tells that it is.
const WHOLE_AFTER: Duration = Duration::from_secs(5);

/// The error kind under which files and directories count that cannot be read.
pub(super) const UNREADABLE: &str = "unreadable";

/// A directory that is looked into.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    inode: Inode,
    /// The files of logs by their names.
    files: HashMap<OsString, FileKey>,
    /// Names that are no logs, so that their changes cost no second look.
    others: HashSet<OsString>,
    /// Names that links elsewhere point to.
    links: HashMap<OsString, Named>,
    /// It is looked into for its own sake, not only because a link points here.
    is_selected: bool,
}

/// A file of which it is not known yet whether it is whole.
#[derive(Debug)]
pub(super) struct Undecided {
    named: Named,
    size: u64,
    since: Instant,
}

/// How a name came to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// It is there, and may be in the making.
    Seen,
    /// It is whole: it was renamed, or closed by who wrote it, or has not changed for a while.
    Whole,
}

/// An event that is kept for a moment.
#[derive(Debug)]
enum Owned {
    Of(DirectoryKey, Change, OsString),
    Gone(DirectoryKey),
    Missed,
}

/// What a name is to a log.
#[derive(Clone, Debug)]
enum Role {
    Active(PathBuf),
    /// Rotation made it of the log with this path.
    Rotated(PathBuf),
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
    /// Enters the directories from which to start, or those above them that are there.
    pub(super) fn look_at_roots(&mut self) {
        for root in self.parts.selection.roots() {
            if let Some(there) = root.ancestors().find(|path| path.is_dir()) {
                self.enter(there);
            }
        }
    }

    /// Looks at everything again.
    pub(super) fn look_around(&mut self) {
        self.look_at_roots();
        let keys: Vec<DirectoryKey> = self.directories.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.look_again(key));
    }

    /// Takes what the kernel has told.
    pub(super) fn changes(&mut self) -> Result<(), ReadError> {
        if self.clock.now < self.clock.changes {
            return Ok(());
        }
        let Some(mut watcher) = self.watcher.take() else { return Ok(()) };
        // Writes to known files are most of all events and need no memory. Behind anything else the order counts.
        let (mut others, mut has_changed) = (Vec::new(), false);
        let read = watcher.read(|event| {
            has_changed = true;
            let known = match event {
                Event::Of(key, Change::Written, name) if others.is_empty() => {
                    self.directories.get(key).and_then(|directory| directory.files.get(name)).copied()
                }
                _ => None,
            };
            match known {
                Some(file) => self.file_written(file),
                None => others.push(Owned::from(event)),
            }
        });
        self.watcher = Some(watcher);
        read.map_err(ReadError::Wait)?;
        for event in others {
            match event {
                Owned::Of(key, Change::Written, name) => self.written(key, &name),
                Owned::Of(key, change, name) => self.changed(key, change, &name),
                Owned::Gone(key) => self.leave(key),
                Owned::Missed => self.look_around(),
            }
        }
        if has_changed {
            self.clock.changes = self.clock.now + PAUSE;
        }
        Ok(())
    }

    /// Enters a directory and looks at everything in it, if that was not done yet.
    pub(super) fn enter(&mut self, path: &Path) -> Option<DirectoryKey> {
        let key = self.open_directory(path)?;
        if !self.directories[key].is_selected {
            self.directories[key].is_selected = true;
            self.scan(key);
        }
        Some(key)
    }

    /// The directory with this path, watched from now on.
    fn open_directory(&mut self, path: &Path) -> Option<DirectoryKey> {
        let inode = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Inode::of(&metadata),
            Ok(_) => return None,
            Err(error) => {
                self.unreadable(path, &error);
                return None;
            }
        };
        if let Some(&key) = self.directory_keys.get(&inode) {
            let known = &self.directories[key].path;
            if known == path || fs::metadata(known).is_ok_and(|found| Inode::of(&found) == inode) {
                return Some(key);
            }
            // The number of a directory that is gone was used again.
            self.leave(key);
        }
        let key = self.directories.insert(Directory {
            path: path.to_owned(),
            inode,
            files: HashMap::new(),
            others: HashSet::new(),
            links: HashMap::new(),
            is_selected: false,
        });
        self.directory_keys.insert(inode, key);
        if let Some(mut watcher) = self.watcher.take() {
            self.watch(&mut watcher, key);
            self.watcher = Some(watcher);
        } else {
            self.polled.push(key);
        }
        Some(key)
    }

    /// Has the kernel tell of a directory, or looks at it again and again.
    fn watch(&mut self, watcher: &mut Watcher, key: DirectoryKey) {
        let path = self.directories[key].path.clone();
        if let Err(error) = watcher.add(&path, key) {
            self.polled.push(key);
            self.tell_polling(Some(&path), &error);
        }
    }

    /// Looks at everything in a directory. What rotation made comes first, the oldest before the others.
    fn scan(&mut self, key: DirectoryKey) {
        let mut found: Vec<_> = self.names(key).into_iter().map(|name| self.order(key, name)).collect();
        found.sort();
        for (.., name) in found {
            self.look(key, &name, Arrival::Seen);
        }
    }

    fn order(&self, key: DirectoryKey, name: OsString) -> (bool, Option<std::time::SystemTime>, OsString) {
        let is_rotated = name.to_str().and_then(rotation::base_of).is_some();
        let modified = fs::metadata(self.directories[key].path.join(&name)).and_then(|found| found.modified()).ok();
        (!is_rotated, modified, name)
    }

    fn names(&self, key: DirectoryKey) -> Vec<OsString> {
        let path = &self.directories[key].path;
        match fs::read_dir(path) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect(),
            Err(error) => {
                self.unreadable(path, &error);
                Vec::new()
            }
        }
    }

    /// Compares a directory with what is known of it.
    pub(super) fn look_again(&mut self, key: DirectoryKey) {
        let Some(directory) = self.directories.get(key) else { return };
        let is_there = fs::metadata(&directory.path).is_ok_and(|found| Inode::of(&found) == directory.inode);
        if !is_there {
            return self.leave(key);
        }
        let names = self.names(key);
        let there: HashSet<&OsString> = names.iter().collect();
        let directory = &mut self.directories[key];
        directory.others.retain(|name| there.contains(name));
        let left: Vec<OsString> = directory.files.keys().filter(|name| !there.contains(name)).cloned().collect();
        for name in left {
            self.left(key, &name);
        }
        let mut ordered: Vec<_> = names.into_iter().map(|name| self.order(key, name)).collect();
        ordered.sort();
        for (.., name) in ordered {
            let directory = &self.directories[key];
            if directory.others.contains(&name) {
                continue;
            }
            let known = directory.files.get(&name).map(|file| &self.files[*file]);
            match (known, fs::metadata(directory.path.join(&name))) {
                (Some(file), Ok(metadata)) if file.inode == Inode::of(&metadata) => {
                    if file.form == Form::Plain && metadata.len() != file.size {
                        self.written(key, &name);
                    }
                }
                _ => self.look(key, &name, Arrival::Seen),
            }
        }
    }

    fn changed(&mut self, key: DirectoryKey, change: Change, name: &OsStr) {
        let Some(directory) = self.directories.get_mut(key) else { return };
        match change {
            Change::Written => {}
            Change::Left => {
                directory.others.remove(name);
                self.left(key, name);
            }
            Change::Created => {
                directory.others.remove(name);
                self.look(key, name, Arrival::Seen);
            }
            Change::Complete => {
                if let Some(&file) = directory.files.get(name)
                    && fs::metadata(directory.path.join(name))
                        .is_ok_and(|found| Inode::of(&found) == self.files[file].inode)
                {
                    // Who wrote it has closed it.
                    return self.file_written(file);
                }
                directory.others.remove(name);
                self.undecided.retain(|one| !one.named.is(key, name));
                self.look(key, name, Arrival::Whole);
            }
        }
    }

    /// A file was written to.
    fn written(&mut self, key: DirectoryKey, name: &OsStr) {
        let Some(directory) = self.directories.get(key) else { return };
        match directory.files.get(name) {
            Some(&file) => self.file_written(file),
            None if directory.others.contains(name) => {}
            None => self.look(key, name, Arrival::Seen),
        }
    }

    /// A name is gone. The file may have another one now.
    fn left(&mut self, key: DirectoryKey, name: &OsStr) {
        let Some(directory) = self.directories.get_mut(key) else { return };
        let now = fs::metadata(directory.path.join(name)).map(|found| Inode::of(&found)).ok();
        if let Some(&file) = directory.files.get(name) {
            // The name may have come again before this was told, with the file that is known already.
            if self.files.get(file).is_some_and(|file| Some(file.inode) == now) {
                return;
            }
            directory.files.remove(name);
            self.unname(file);
        }
        if let Some(link) = self.directories[key].links.get(name).cloned()
            && let Some(&file) = self.directories.get(link.directory).and_then(|of| of.files.get(&link.name))
        {
            self.unname(file);
        }
        if !self.has_links {
            return;
        }
        // A link points elsewhere or nowhere.
        for directory in self.directories.iter_mut().map(|(_, directory)| directory) {
            directory.links.retain(|_, link| !link.is(key, name));
        }
    }

    /// A file is not where it was.
    fn unname(&mut self, key: FileKey) {
        let Some(file) = self.files.get_mut(key) else { return };
        let has_name = file.content.as_ref().and_then(|open| open.metadata().ok()).is_some_and(|found| {
            use std::os::unix::fs::MetadataExt;
            found.nlink() > 0
        });
        file.place = if has_name { Place::Rotated } else { Place::Gone };
        file.since = self.clock.now;
        let log = file.log;
        self.settling.push(key);
        self.make_ready(log);
    }

    /// A directory is gone with everything in it.
    fn leave(&mut self, key: DirectoryKey) {
        if !self.directories.contains(key) {
            return;
        }
        let names: Vec<OsString> = self.directories[key].files.keys().cloned().collect();
        for name in names {
            self.left(key, &name);
        }
        let directory = self.directories.remove(key);
        self.directory_keys.remove(&directory.inode);
        self.polled.retain(|polled| *polled != key);
        self.undecided.retain(|one| one.named.directory != key);
        if let Some(watcher) = &mut self.watcher {
            watcher.remove(key);
        }
    }

    /// Looks at a name whose file may be new.
    fn look(&mut self, key: DirectoryKey, name: &OsStr, arrival: Arrival) {
        if let Some(link) = self.directories[key].links.get(name).cloned()
            && self.directories.contains(link.directory)
        {
            return self.look(link.directory, &link.name, arrival);
        }
        let path = self.directories[key].path.join(name);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // It is gone already, or a link that points nowhere yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.unreadable(&path, &error),
        };
        if metadata.is_dir() {
            if self.directories[key].is_selected && self.parts.selection.enters(&path) {
                self.enter(&path);
            }
            return;
        }
        let role = if metadata.is_file() { self.role(key, name, &path) } else { None };
        let Some(role) = role else {
            self.directories[key].others.insert(name.to_owned());
            return;
        };
        let named = Named { directory: key, name: name.to_owned() };
        self.follow_link(&named, &path);
        match self.file_keys.get(&Inode::of(&metadata)).copied() {
            Some(file) if self.is_unchanged(file, &path) => self.renamed(file, named, path, &role),
            Some(file) => {
                self.replaced(file);
                self.found(named, path, &role, arrival);
            }
            None => self.found(named, path, &role, arrival),
        }
    }

    /// What a name is to a log, if anything.
    fn role(&self, key: DirectoryKey, name: &OsStr, path: &Path) -> Option<Role> {
        let directory = &self.directories[key];
        let is_log = |path: &Path| directory.is_selected && self.parts.selection.log(path).is_some();
        let is_active = is_log(path);
        let base = name.to_str().and_then(rotation::base_of).map(|base| {
            match directory.links.get(OsStr::new(base)).filter(|link| self.directories.contains(link.directory)) {
                Some(link) => (true, self.directories[link.directory].path.join(&link.name)),
                None => {
                    let of = directory.path.join(base);
                    (is_log(&of), of)
                }
            }
        });
        match base {
            // Files that are named by date from the beginning look like rotated ones.
            Some((true, of)) if !is_active || self.log_keys.contains_key(&of) || of.exists() => Some(Role::Rotated(of)),
            _ => is_active.then(|| Role::Active(path.to_owned())),
        }
    }

    /// Watches the directory that a link points into, where its file is written to and rotated.
    fn follow_link(&mut self, named: &Named, path: &Path) {
        if !fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
            return;
        }
        let Ok(target) = fs::canonicalize(path) else { return };
        let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return };
        for directory in self.directories.iter_mut().map(|(_, directory)| directory) {
            directory.links.retain(|_, link| link != named);
        }
        if let Some(key) = self.open_directory(folder)
            && key != named.directory
        {
            self.has_links = true;
            let directory = &mut self.directories[key];
            let is_new = directory.links.insert(name.to_owned(), named.clone()).is_none();
            if is_new && !directory.is_selected {
                self.look_for_rotated(key, name);
            }
        }
    }

    /// Looks at what rotation made of the file that a link points to.
    fn look_for_rotated(&mut self, key: DirectoryKey, target: &OsStr) {
        let is_of_it =
            |name: &OsString| name.to_str().and_then(rotation::base_of).is_some_and(|base| OsStr::new(base) == target);
        let mut found: Vec<_> =
            self.names(key).into_iter().filter(is_of_it).map(|name| self.order(key, name)).collect();
        found.sort();
        for (.., name) in found {
            self.look(key, &name, Arrival::Seen);
        }
    }

    /// Whether a known inode still is the file that was known, and not another one that got its number.
    fn is_unchanged(&self, key: FileKey, path: &Path) -> bool {
        let file = &self.files[key];
        if file.content.is_some() || file.fingerprint.is_empty() || file.form == Form::Gzip {
            // An open file keeps its number.
            return true;
        }
        let mut first = [0; FIRST_BYTES];
        let read = Content::open(path, file.form).and_then(|mut content| content.read_at(&mut first, 0));
        read.is_ok_and(|count| file.fingerprint.is_of(&first[..count]))
    }

    /// A file that was closed is gone, and its number belongs to another one.
    fn replaced(&mut self, key: FileKey) {
        let file = &mut self.files[key];
        self.file_keys.remove(&file.inode);
        if file.place != Place::Gone {
            file.place = Place::Gone;
            file.since = self.clock.now;
            self.settling.push(key);
        }
    }

    /// A known file has another name, or the same again.
    fn renamed(&mut self, key: FileKey, named: Named, path: PathBuf, role: &Role) {
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
    fn found(&mut self, named: Named, path: PathBuf, role: &Role, arrival: Arrival) {
        let form = if rotation::is_compressed(&named.name.to_string_lossy()) { Form::Gzip } else { Form::Plain };
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
        let Some(log) = self.log_of(of) else {
            self.directories[named.directory].others.insert(named.name);
            return;
        };
        let total = content.total().unwrap_or_default();
        let inode = Inode::of(&metadata);
        let beginning = self.beginning(inode, &first[..count], role, &path, log, total, arrival);
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
        self.saving.is_due = true;
        if is_read {
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
        if place == Place::Active && self.parts.selection.decide(&self.logs[log].path) == Decision::Skip {
            self.drop_log(log);
        }
    }

    /// The log with this path, made if it is new; none if it may not be read.
    fn log_of(&mut self, path: &Path) -> Option<LogKey> {
        if let Some(&key) = self.log_keys.get(path) {
            return Some(key);
        }
        let description = self.parts.selection.log(path)?;
        let decision = self.parts.selection.decide(path);
        if decision == Decision::Skip {
            return None;
        }
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
        let known = |position: crate::tail::checkpoint::Position| {
            let at = at(position.offset, position.is_inside);
            if position.is_done { Beginning::Done(at) } else { Beginning::At(at) }
        };
        if let Some(position) = self.remembered.take(inode, first) {
            return known(position);
        }
        let is_compressed = rotation::is_compressed(&path.to_string_lossy());
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
        if let Some(original) = self.original(log, first, total) {
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

    /// The file of a log that one with this content is a copy of.
    fn original(&self, log: LogKey, first: &[u8], total: u64) -> Option<FileKey> {
        let is_alike = |file: &LogFile| !file.has_copy && is_same_content(file.fingerprint, first);
        let of_log = || self.logs[log].files.iter().copied().filter(|key| is_alike(&self.files[*key]));
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

    /// Nothing of a log is read, now or later.
    pub(super) fn drop_log(&mut self, key: LogKey) {
        let log = self.logs.remove(key);
        self.log_keys.remove(&log.path);
        self.waiting.remove(&key);
        self.ready.retain(|ready| *ready != key);
        for file in log.files {
            let removed = self.files.remove(file);
            self.file_keys.remove(&removed.inode);
            self.settling.retain(|settling| *settling != file);
            for directory in self.directories.iter_mut().map(|(_, directory)| directory) {
                let names: Vec<OsString> =
                    directory.files.iter().filter(|(_, key)| **key == file).map(|(name, _)| name.clone()).collect();
                for name in names {
                    directory.files.remove(&name);
                    directory.others.insert(name);
                }
            }
        }
    }

    fn refuse(&mut self, named: Named, path: &Path, error: &io::Error) {
        self.unreadable(path, error);
        self.directories[named.directory].others.insert(named.name);
    }

    /// Counts and tells that something cannot be read.
    pub(super) fn unreadable(&self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        self.parts.telemetry.error(UNREADABLE, format!("cannot read {}: {error}", path.display()));
        tracing::warn!(path = %path.display(), %error, "cannot read a file or directory");
    }

    /// Tells once why changes are not told by the kernel.
    pub(super) fn tell_polling(&mut self, path: Option<&Path>, error: &io::Error) {
        if std::mem::replace(&mut self.is_polling_told, true) {
            return;
        }
        let path = path.map(|path| path.display().to_string()).unwrap_or_default();
        let interval = self.parts.settings.poll_interval;
        tracing::warn!(path, %error, ?interval, "the kernel cannot tell of changes here, so directories are looked at again and again");
    }
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Of(key, change, name) => Self::Of(key, change, name.to_owned()),
            Event::Gone(key) => Self::Gone(key),
            Event::Missed => Self::Missed,
        }
    }
}

impl Directory {
    /// Has a file take the names of another one.
    pub(super) fn replace(&mut self, old: FileKey, new: FileKey) {
        self.files.values_mut().filter(|key| **key == old).for_each(|key| *key = new);
    }

    /// No longer keeps a name for a file.
    pub(super) fn forget(&mut self, file: FileKey) {
        self.files.retain(|_, key| *key != file);
    }
}

impl Named {
    fn is(&self, directory: DirectoryKey, name: &OsStr) -> bool {
        self.directory == directory && self.name == name
    }
}

/// Whether the process or the system has no place for another open file.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}
