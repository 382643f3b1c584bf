//! Tells of changes in directories, by inotify. A directory watch tells of writes to its files too, so that idle files cost
//! nothing and files need no watch of their own. Not here: what a change means.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::statfs;

use super::reader::DirectoryKey;

/// Bytes of events that are read at once.
const EVENTS: usize = 64 * 1024;

/// File systems whose changes are made elsewhere, so that this kernel cannot tell of them: NFS, SMB, CIFS, FUSE, 9P, Ceph,
/// AFS, Coda.
const REMOTE: [u64; 8] =
    [0x6969, 0xfe53_4d42, 0xff53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f, 0x7375_7245];

/// What happened to a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The file was written to or truncated.
    Written,
    /// A file or directory was made.
    Created,
    /// A file came by renaming, or whoever wrote to it has closed it.
    Complete,
    /// The name is gone, by renaming or deleting.
    Left,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// Something happened to a name.
    Of(DirectoryKey, Change, &'a OsStr),
    /// The directory itself is gone, if this watch [is still that of it](Watcher::is_of).
    Gone(DirectoryKey, Watch),
    /// There were more events than the kernel keeps: anything may have changed.
    Missed,
}

/// A watch of a directory. Its number is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch(i32);

/// An inotify instance.
#[derive(Debug)]
pub(super) struct Watcher {
    inotify: OwnedFd,
    directories: HashMap<Watch, DirectoryKey>,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Watcher {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, directories: HashMap::new(), buffer: vec![MaybeUninit::uninit(); EVENTS] })
    }

    /// Watches a directory.
    pub(super) fn add(&mut self, path: &Path, key: DirectoryKey) -> io::Result<()> {
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        if statfs(path).is_ok_and(|found| REMOTE.contains(&(found.f_type as u64))) {
            return Err(io::Error::other("its file system may be changed by other hosts"));
        }
        let watch = inotify::add_watch(&self.inotify, path, flags)?;
        self.directories.insert(Watch(watch), key);
        Ok(())
    }

    /// Ends the watch of a directory, if it has one.
    pub(super) fn remove(&mut self, key: DirectoryKey) {
        let found = self.directories.iter().find(|(_, directory)| **directory == key).map(|(watch, _)| *watch);
        if let Some(watch) = found {
            self.directories.remove(&watch);
            // It may be gone with its directory.
            inotify::remove_watch(&self.inotify, watch.0).ok();
        }
    }

    /// Whether a watch is that of a directory. A directory that is gone may have left its key to another one.
    pub(super) fn is_of(&self, watch: Watch, key: DirectoryKey) -> bool {
        self.directories.get(&watch) == Some(&key)
    }

    /// What is readable when there are events.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Hands over all events that have happened.
    pub(super) fn read(&mut self, mut each: impl FnMut(Event<'_>)) -> io::Result<()> {
        let Self { inotify, directories, buffer } = self;
        let mut reader = Reader::new(&*inotify, buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                each(Event::Missed);
                continue;
            }
            let watch = Watch(event.wd());
            let Some(&key) = directories.get(&watch) else { continue };
            if flags.intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT)
            {
                each(Event::Gone(key, watch));
                continue;
            }
            let Some(name) = event.file_name() else { continue };
            let name = OsStr::from_bytes(name.to_bytes());
            let change = if flags.contains(ReadFlags::MODIFY) {
                Change::Written
            } else if flags.intersects(ReadFlags::MOVED_TO | ReadFlags::CLOSE_WRITE) {
                Change::Complete
            } else if flags.contains(ReadFlags::CREATE) {
                Change::Created
            } else {
                Change::Left
            };
            each(Event::Of(key, change, name));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::fs;

    use super::*;

    fn events(watcher: &mut Watcher) -> Vec<(Change, String)> {
        let mut found = Vec::new();
        let mut each = |event: Event<'_>| match event {
            Event::Of(_, change, name) => found.push((change, name.to_string_lossy().into_owned())),
            other => panic!("{other:?}"),
        };
        watcher.read(&mut each).unwrap();
        found
    }

    /// Every kind of change is told with its name, and a write to a renamed file by its new name.
    #[test]
    fn tells_what_happened() {
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new().unwrap();
        watcher.add(folder.path(), 7).unwrap();
        let [old, new] = ["a.log", "a.log.1"].map(|name| folder.path().join(name));
        let mut file = fs::File::create(&old).unwrap();
        fs::rename(&old, &new).unwrap();
        std::io::Write::write_all(&mut file, b"line\n").unwrap();
        drop(file);
        fs::remove_file(&new).unwrap();
        let expected = [
            (Change::Created, "a.log"),
            (Change::Left, "a.log"),
            (Change::Complete, "a.log.1"),
            (Change::Written, "a.log.1"),
            (Change::Complete, "a.log.1"),
            (Change::Left, "a.log.1"),
        ];
        assert_eq!(events(&mut watcher), expected.map(|(change, name)| (change, name.to_owned())));
        watcher.remove(7);
        fs::write(&old, "more").unwrap();
        assert!(events(&mut watcher).is_empty());
    }
}
