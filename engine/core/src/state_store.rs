//! Small versioned documents that outlive the process: checkpoints and bookmarks.
//!
//! A document is replaced as a whole and atomically: after a crash there is the old one or the new one, never half of
//! each. A component whose facts need [`ServiceId::state`](engine_config::ServiceId::state) gets its store from the service
//! [`StateDirectory`]. Not here: anything large, anything per record.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_config::{ComponentId, ServiceId};

use crate::registry::BuildError;
use crate::service::{Service, ServiceContext, ServiceRegistration};

/// First bytes of a document file, with the version of this layout.
const HEADER: &str = "telemetry-engine state 1";

/// Held while a process uses the directory. No component id begins with a dot.
const LOCK: &str = ".lock";

/// Keeps one document per key. Reading and writing waits for the disk: call it where blocking is allowed.
pub trait StateStore: Send + Sync {
    /// The document under `key`, or none when there never was one.
    fn load(&self, key: &str) -> Result<Option<Document>, StateError>;
    /// Replaces the document under `key`. When this returns the document survives a crash of the machine.
    fn store(&self, key: &str, document: &Document) -> Result<(), StateError>;
}

/// A document and the version of its content, which its owner defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Version of the content's layout.
    pub version: u32,
    /// The content.
    pub content: Vec<u8>,
}

/// Documents as files of one directory, one component's keys under its id.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    directory: PathBuf,
}

/// The service that keeps documents in `state.directory`, for this process only.
#[derive(Debug)]
pub struct StateDirectory {
    root: PathBuf,
    /// Locked; the lock ends with the process, however that ends.
    _lock: File,
}

inventory::submit! { ServiceRegistration::of::<StateDirectory>() }

/// A document cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key would not be a file name of its own.
    #[error("state key `{0}` is not made of letters, digits, `_`, `.` and `-`")]
    Key(String),
    /// Another process writes there.
    #[error("{} is used by another process", .0.display())]
    InUse(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// A file of the engine's own does not hold what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not a document, or one of a newer layout; it is left as it is.
    #[error("{} is not a state document of this version: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
}

impl StateDirectory {
    /// Takes a directory for this process; it is made if it is absent.
    pub fn take(root: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(root).map_err(StateError::refused("create", root))?;
        let path = root.join(LOCK);
        let lock = File::create(&path).map_err(StateError::refused("create", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => Err(StateError::refused("lock", &path)(error)),
        }
    }

    /// The documents of one component.
    pub fn of(&self, component: &ComponentId) -> Result<Arc<dyn StateStore>, StateError> {
        Ok(Arc::new(DirectoryStore::open(&self.root, component)?))
    }
}

impl Service for StateDirectory {
    const TYPE: &'static str = ServiceId::STATE;

    fn open(context: &ServiceContext<'_>) -> Result<Self, BuildError> {
        let root = context.settings.state_directory.as_deref();
        let root = root.ok_or_else(|| BuildError::new("`state.directory` is not set"))?;
        Self::take(root).map_err(|error| BuildError::caused("cannot use `state.directory`", error))
    }
}

impl DirectoryStore {
    /// The store of one component below `root`, made if it is absent.
    pub fn open(root: &Path, component: &ComponentId) -> Result<Self, StateError> {
        let directory = root.join(component.as_str());
        fs::create_dir_all(&directory).map_err(StateError::refused("create", &directory))?;
        Ok(Self { directory })
    }

    fn path(&self, key: &str) -> Result<PathBuf, StateError> {
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-');
        if key.is_empty() || key.starts_with('.') || !key.chars().all(allowed) {
            return Err(StateError::Key(key.to_owned()));
        }
        Ok(self.directory.join(key))
    }
}

impl StateStore for DirectoryStore {
    fn load(&self, key: &str) -> Result<Option<Document>, StateError> {
        let path = self.path(key)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::refused("read", &path)(error)),
        };
        parse(&bytes).map(Some).map_err(|reason| StateError::Format { path, reason })
    }

    fn store(&self, key: &str, document: &Document) -> Result<(), StateError> {
        let path = self.path(key)?;
        // A leading dot cannot be a key, so no document is ever named like this.
        let unfinished = self.directory.join(format!(".{key}.new"));
        let head = format!("{HEADER} {} {}\n", document.version, document.content.len());
        replace(&path, &unfinished, &[head.as_bytes(), &document.content])
    }
}

impl StateError {
    /// What the system refused to do.
    pub fn refused(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Replaces a file as a whole, by way of an `unfinished` one in the same directory: when this returns it survives a crash of the
/// machine. Nobody but the owner may read it.
///
/// # Errors
/// The system's refusal. The file is what it was then.
pub fn replace(path: &Path, unfinished: &Path, parts: &[&[u8]]) -> Result<(), StateError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(unfinished);
    let mut file = opened.map_err(StateError::refused("create", unfinished))?;
    let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
    let replaced = written.map_err(StateError::refused("write", unfinished));
    let replaced = replaced.and_then(|()| fs::rename(unfinished, path).map_err(StateError::refused("replace", path)));
    if let Err(error) = replaced {
        // On a full disk even the beginning of it takes room.
        drop(fs::remove_file(unfinished));
        return Err(error);
    }
    // The rename itself lasts only once the directory is synced.
    let directory = path.parent().expect("a file is in a directory");
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(StateError::refused("sync", directory))
}

fn parse(bytes: &[u8]) -> Result<Document, String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("no header line")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the header is not text")?;
    let numbers = head.strip_prefix(HEADER).ok_or_else(|| format!("its header is `{head}`"))?;
    let mut numbers = numbers.split_ascii_whitespace();
    let version = numbers.next().and_then(|text| text.parse().ok()).ok_or("no content version")?;
    let length: usize = numbers.next().and_then(|text| text.parse().ok()).ok_or("no content length")?;
    let content = bytes[end + 1..].to_vec();
    if content.len() != length {
        return Err(format!("{length} bytes announced, {} found", content.len()));
    }
    Ok(Document { version, content })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    fn store(root: &Path) -> DirectoryStore {
        DirectoryStore::open(root, &ComponentId::new("tail").unwrap()).unwrap()
    }

    /// What was stored last is loaded, by another instance too; an unknown key is none.
    #[test]
    fn keeps_the_last_document() {
        let root = tempfile::tempdir().unwrap();
        let document = |text: &str| Document { version: 3, content: text.as_bytes().to_vec() };
        store(root.path()).store("offsets", &document("one")).unwrap();
        store(root.path()).store("offsets", &document("two\nlines")).unwrap();
        assert_eq!(store(root.path()).load("offsets").unwrap(), Some(document("two\nlines")));
        assert_eq!(store(root.path()).load("other").unwrap(), None);
    }

    /// An unfinished replacement, as a crash leaves it, changes nothing.
    #[test]
    fn an_unfinished_replacement_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let document = Document { version: 1, content: b"whole".to_vec() };
        store(root.path()).store("offsets", &document).unwrap();
        fs::write(root.path().join("tail/.offsets.new"), "telemetry-eng").unwrap();
        assert_eq!(store(root.path()).load("offsets").unwrap(), Some(document));
    }

    /// A truncated document and one of a newer layout are refused and left untouched.
    #[test]
    fn refuses_what_it_does_not_know() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        for text in ["telemetry-engine state 1 1 5\nhalf", "telemetry-engine state 2 1 4\nhalf", "", "no header"] {
            fs::write(root.path().join("tail/offsets"), text).unwrap();
            assert!(matches!(store.load("offsets"), Err(StateError::Format { .. })), "{text:?}");
            assert_eq!(fs::read(root.path().join("tail/offsets")).unwrap(), text.as_bytes());
        }
    }

    /// A directory belongs to one process at a time, and is free again when that lets go of it.
    #[test]
    fn a_directory_has_one_user() {
        let root = tempfile::tempdir().unwrap();
        let taken = StateDirectory::take(&root.path().join("deep/down")).unwrap();
        let again = StateDirectory::take(&root.path().join("deep/down"));
        assert!(matches!(again, Err(StateError::InUse(_))), "{again:?}");
        drop(taken);
        StateDirectory::take(&root.path().join("deep/down")).unwrap();
    }

    /// A key cannot leave the component's directory or hit an unfinished file.
    #[test]
    fn keys_stay_inside() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        for key in ["", "..", "../x", "a/b", ".x.new"] {
            assert!(matches!(store.load(key), Err(StateError::Key(_))), "{key:?}");
        }
    }
}
