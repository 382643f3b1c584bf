//! Finds files: enters directories, and looks at names that changed. Not here: what becomes of a file that is found (`found`).

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{DirectoryKey, LONGEST_PAUSE, Named, PAUSE, PAUSE_A_LOG, ReadError, Reader};
use crate::tail::content::Form;
use crate::tail::identity::Inode;
use crate::tail::log::{FileKey, Place};
use crate::tail::rotation;
use crate::tail::watch::{Change, Event, Watch, Watcher};

/// How often events are taken in a row where each look finds that a log goes on in a new file.
const LOOKS: usize = 64;

/// The error kind under which files and directories count that cannot be read.
pub(super) const UNREADABLE: &str = "unreadable";

/// A directory that is looked into.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    inode: Inode,
    /// The files of logs by their names.
    pub(super) files: HashMap<OsString, FileKey>,
    /// Names that are no logs, so that their changes cost no second look.
    pub(super) others: HashSet<OsString>,
    /// Those of them that could not be read, which are tried again now and then.
    pub(super) refused: HashSet<OsString>,
    /// Names that links elsewhere point to.
    pub(super) links: HashMap<OsString, Named>,
    /// It is looked into for its own sake, not only because a link points here.
    is_selected: bool,
}

/// How a name came to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is there, and may be in the making.
    Seen,
    /// It is whole: it was renamed, or closed by who wrote it, or has not changed for a while.
    Whole,
}

/// An event that is kept for a moment.
#[derive(Debug)]
enum Owned {
    Of(DirectoryKey, Change, OsString),
    Gone(DirectoryKey, Watch),
    Missed,
}

/// What comes first is looked at first: what rotation made before others, by the date in its name and by its time.
type Order = (bool, Option<String>, Option<SystemTime>, OsString);

/// What a name is to a log.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Active(PathBuf),
    /// Rotation made it of the log with this path.
    Rotated(PathBuf),
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
        for (_, directory) in &mut self.directories {
            directory.refused.drain().for_each(|name| _ = directory.others.remove(&name));
        }
        let keys: Vec<DirectoryKey> = self.directories.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.look_again(key));
    }

    /// Takes what the kernel has told.
    pub(super) fn changes(&mut self) -> Result<(), ReadError> {
        if self.clock.now < self.clock.changes {
            return Ok(());
        }
        let mut has_changed = false;
        for _ in 0..LOOKS {
            let begun = self.begun;
            has_changed |= self.take_events()?;
            // Before a new file has its name, those before it have lost it: of them is told by now, and they are read first.
            if self.begun == begun {
                break;
            }
        }
        if has_changed {
            let logs = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
            let pause = PAUSE.saturating_add(PAUSE_A_LOG.saturating_mul(logs)).min(LONGEST_PAUSE);
            self.clock.changes = self.clock.now + pause;
        }
        Ok(())
    }

    /// Takes all events that there are. Says whether there were any.
    fn take_events(&mut self) -> Result<bool, ReadError> {
        let Some(mut watcher) = self.watcher.take() else { return Ok(false) };
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
                Owned::Gone(key, watch) => {
                    if self.watcher.as_ref().is_some_and(|watcher| watcher.is_of(watch, key)) {
                        self.leave(key);
                    }
                }
                Owned::Missed => self.look_around(),
            }
        }
        Ok(has_changed)
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
            refused: HashSet::new(),
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

    fn order(&self, key: DirectoryKey, name: OsString) -> Order {
        let text = name.to_str();
        let is_rotated = text.and_then(rotation::base_of).is_some();
        let date = text.and_then(rotation::date_of).map(str::to_owned);
        let modified = fs::metadata(self.directories[key].path.join(&name)).and_then(|found| found.modified()).ok();
        (!is_rotated, date, modified, name)
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
    pub(super) fn unname(&mut self, key: FileKey) {
        let Some(file) = self.files.get_mut(key) else { return };
        let has_name =
            file.content.as_ref().and_then(|open| open.metadata().ok()).is_some_and(|found| found.nlink() > 0);
        file.place = if has_name { Place::Rotated } else { Place::Gone };
        self.is_renamed = true;
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
    pub(super) fn look(&mut self, key: DirectoryKey, name: &OsStr, arrival: Arrival) {
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
    pub(super) fn role(&self, key: DirectoryKey, name: &OsStr, path: &Path) -> Option<Role> {
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
        // A name next to the link may be that of a log of its own.
        if let Some(key) = self.open_directory(folder)
            && (key != named.directory || self.parts.selection.log(&target).is_none())
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
            Event::Gone(key, watch) => Self::Gone(key, watch),
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
    pub(super) fn is(&self, directory: DirectoryKey, name: &OsStr) -> bool {
        self.directory == directory && self.name == name
    }
}
