//! The document that says how far each file is delivered. It is as large as the number of files that are there, and what is
//! gone leaves it after an hour.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_core::state_store::{Document, StateError, StateStore};
use serde::{Deserialize, Serialize};

use super::identity::{Fingerprint, Inode};

/// The key of the document.
const KEY: &str = "positions";
/// The version of its content.
const VERSION: u32 = 1;

/// Seconds that a file which is gone is remembered, because a compressed copy of it may come up.
const REMEMBERED_SECONDS: u64 = 3600;

/// How far files are delivered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Positions {
    /// Files by their directory.
    directories: Vec<Directory>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Directory {
    path: String,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    #[serde(flatten)]
    position: Position,
}

/// How far one file is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) inode: Inode,
    pub(super) fingerprint: Fingerprint,
    /// Bytes that are delivered.
    pub(super) offset: u64,
    /// Bytes that it was known to have.
    pub(super) size: u64,
    /// The offset stands in a line that was cut short.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) is_inside: bool,
    /// Nothing more is read of it, whatever its size.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) is_done: bool,
    /// When it was found to be gone, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone_since: Option<u64>,
}

/// Positions of an earlier start, until their files are found.
#[derive(Debug, Default)]
pub(super) struct Remembered(HashMap<Inode, Vec<(PathBuf, Position)>>);

/// Why there are no positions.
#[derive(Debug, thiserror::Error)]
pub(super) enum PositionsError {
    #[error("cannot read the positions of files")]
    State(#[source] StateError),
    #[error("the positions of files are of version {0}, and this program knows version {VERSION}")]
    Version(u32),
    #[error("the positions of files cannot be understood")]
    Content(#[source] serde_json::Error),
}

/// Loads what an earlier start has left; none when there was none.
pub(super) fn load(store: &Arc<dyn StateStore>) -> Result<Option<Remembered>, PositionsError> {
    let Some(Document { version, content }) = store.load(KEY).map_err(PositionsError::State)? else { return Ok(None) };
    if version != VERSION {
        return Err(PositionsError::Version(version));
    }
    let positions: Positions = serde_json::from_slice(&content).map_err(PositionsError::Content)?;
    let mut remembered = Remembered::default();
    for Directory { path, files } in positions.directories {
        let path = PathBuf::from(path);
        files.into_iter().for_each(|entry| remembered.keep(path.join(entry.name), entry.position));
    }
    Ok(Some(remembered))
}

/// Replaces the document. Waits for the disk.
pub(super) fn save(store: &Arc<dyn StateStore>, content: Vec<u8>) -> Result<(), StateError> {
    store.store(KEY, &Document { version: VERSION, content })
}

impl Positions {
    /// Adds a file. Those of one directory best come one behind the other.
    pub(super) fn add(&mut self, path: &Path, position: Position) {
        let folder = path.parent().unwrap_or(path).to_string_lossy();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let entry = Entry { name, position };
        match self.directories.last_mut().filter(|last| last.path == folder) {
            Some(last) => last.files.push(entry),
            None => self.directories.push(Directory { path: folder.into_owned(), files: vec![entry] }),
        }
    }

    /// The content of the document.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts can be written as JSON")
    }
}

impl Remembered {
    /// Takes the position of a file that begins so. That of a file which is known to be gone is of another one, whose inode
    /// was used again: files may well begin alike.
    pub(super) fn take(&mut self, inode: Inode, beginning: &[u8]) -> Option<Position> {
        self.take_if(inode, |_, position| position.gone_since.is_none() && position.fingerprint.is_of(beginning))
    }

    /// Takes the position of a file whose content a rotated one in the same directory has, which is of `total` bytes.
    pub(super) fn take_copied(&mut self, copy: &Path, beginning: &[u8], total: Option<u64>) -> Option<Position> {
        let is_copied = |path: &Path, position: &Position| {
            path.parent() == copy.parent()
                && is_same_content(position.fingerprint, beginning)
                && total.is_none_or(|total| total >= position.offset.max(position.size))
        };
        // A file and a copy of it may both be here: whichever was read further says more.
        let all = self.0.iter().flat_map(|(inode, entries)| entries.iter().map(move |entry| (*inode, entry)));
        let copied = all.filter(|(_, (path, position))| is_copied(path, position));
        let (inode, offset) =
            copied.map(|(inode, (_, position))| (inode, position.offset)).max_by_key(|(_, offset)| *offset)?;
        self.take_if(inode, |path, position| position.offset == offset && is_copied(path, position))
    }

    /// Files that an earlier start had not read to the end that it knew, and that are gone now or were then already. Those
    /// that `may_be_there` are waited for. Each is told once.
    pub(super) fn newly_gone(
        &mut self,
        now_unix_seconds: u64,
        may_be_there: impl Fn(&Path) -> bool,
    ) -> Vec<(PathBuf, u64)> {
        let mut lost = Vec::new();
        for (path, position) in self.0.values_mut().flatten() {
            if position.gone_since.is_none() && may_be_there(path) {
                continue;
            }
            position.gone_since.get_or_insert(now_unix_seconds);
            let behind = position.size.saturating_sub(position.offset);
            if behind > 0 && !position.is_done {
                lost.push((path.clone(), behind));
                position.size = position.offset;
            }
        }
        lost
    }

    /// Remembers a file that is gone.
    pub(super) fn keep(&mut self, path: PathBuf, position: Position) {
        self.0.entry(position.inode).or_default().push((path, position));
    }

    /// Forgets what has been gone for long.
    pub(super) fn forget(&mut self, now_unix_seconds: u64) {
        let is_remembered = |position: &Position| {
            position.gone_since.is_none_or(|since| now_unix_seconds < since.saturating_add(REMEMBERED_SECONDS))
        };
        self.0.retain(|_, entries| {
            entries.retain(|(_, position)| is_remembered(position));
            !entries.is_empty()
        });
    }

    /// Everything that is remembered.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(PathBuf, Position)> {
        self.0.values().flatten()
    }

    fn take_if(&mut self, inode: Inode, is_it: impl Fn(&Path, &Position) -> bool) -> Option<Position> {
        let entries = self.0.get_mut(&inode)?;
        let place = entries.iter().position(|(path, position)| is_it(path, position))?;
        let (_, position) = entries.swap_remove(place);
        if entries.is_empty() {
            self.0.remove(&inode);
        }
        Some(position)
    }
}

/// Whether a file that begins so is a copy of one. Of a short one only all of it counts: what begins alike may go on
/// otherwise.
pub(super) fn is_same_content(fingerprint: Fingerprint, beginning: &[u8]) -> bool {
    !fingerprint.is_empty()
        && fingerprint.is_of(beginning)
        && (!fingerprint.may_grow() || fingerprint.len() == beginning.len())
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use engine_core::state_store::DirectoryStore;

    use super::*;

    fn position(number: u64, beginning: &[u8], offset: u64) -> Position {
        Position {
            inode: Inode { device: 1, inode: number },
            fingerprint: Fingerprint::of(beginning),
            offset,
            size: 100,
            is_inside: false,
            is_done: false,
            gone_since: None,
        }
    }

    fn store(folder: &Path) -> Arc<dyn StateStore> {
        Arc::new(DirectoryStore::open(folder, &engine_config::ComponentId::new("tail").unwrap()).unwrap())
    }

    /// What was saved is found again by inode and first bytes, and only by both; nothing saved is no document.
    #[test]
    fn positions_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert!(load(&store).unwrap().is_none());
        let mut positions = Positions::default();
        positions.add(Path::new("/logs/a.log"), position(1, b"one\n", 10));
        positions.add(Path::new("/logs/b.log"), position(2, b"two\n", 20));
        positions.add(Path::new("/other/a.log"), position(3, b"", 0));
        assert_eq!(positions.directories.len(), 2);
        save(&store, positions.encode()).unwrap();
        let mut remembered = load(&store).unwrap().unwrap();
        let inode = |inode| Inode { device: 1, inode };
        assert_eq!(remembered.take(inode(1), b"two\n"), None);
        assert_eq!(remembered.take(inode(1), b"one\nand more\n"), Some(position(1, b"one\n", 10)));
        assert_eq!(remembered.take(inode(1), b"one\n"), None, "it is taken once");
        assert_eq!(remembered.take(inode(3), b"any").map(|found| found.offset), Some(0));
        assert_eq!(remembered.newly_gone(999, |path| path.ends_with("b.log")), []);
        assert_eq!(remembered.newly_gone(1000, |_| false), [(PathBuf::from("/logs/b.log"), 80)]);
        assert_eq!(remembered.newly_gone(1001, |_| false), []);
        assert_eq!(remembered.take(inode(2), b"two\n"), None, "an inode is used again");
        remembered.forget(1000 + REMEMBERED_SECONDS - 1);
        assert_eq!(remembered.iter().count(), 1);
        remembered.forget(1000 + REMEMBERED_SECONDS);
        assert_eq!(remembered.iter().count(), 0);
    }

    /// A copy is known by its first bytes, in its directory only, and not when it is too short to be one.
    #[test]
    fn copies_are_known_by_their_content() {
        let long = vec![b'x'; 2000];
        let mut remembered = Remembered::default();
        remembered.keep(PathBuf::from("/logs/a.log"), position(1, &long, 50));
        remembered.keep(PathBuf::from("/logs/b.log"), position(2, b"short\n", 6));
        let mut take = |path: &str, beginning: &[u8], total| {
            remembered.take_copied(Path::new(path), beginning, total).map(|found| found.offset)
        };
        assert_eq!(take("/other/a.log.1.gz", &long, None), None);
        assert_eq!(take("/logs/a.log.1.gz", &long, Some(99)), None);
        assert_eq!(take("/logs/a.log.1.gz", &long, Some(100)), Some(50));
        assert_eq!(take("/logs/a.log.2.gz", &long, Some(100)), None, "one file has one copy");
        assert_eq!(take("/logs/b.log.1", b"short\nand more\n", None), None);
        assert_eq!(take("/logs/b.log.1", b"short\n", None), Some(6));
    }

    /// A document of a newer version is refused, not misread.
    #[test]
    fn newer_versions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.store(KEY, &Document { version: 2, content: b"{}".to_vec() }).unwrap();
        assert!(matches!(load(&store), Err(PositionsError::Version(2))));
        store.store(KEY, &Document { version: 1, content: b"?".to_vec() }).unwrap();
        assert!(matches!(load(&store), Err(PositionsError::Content(_))));
    }
}
