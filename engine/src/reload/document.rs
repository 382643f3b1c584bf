//! A file of the state directory that is replaced as a whole: complete or not at all, and there after a crash of the machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document(PathBuf);

/// A document of the state directory cannot be kept or used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The system refused.
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
    /// The file does not hold what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Document {
    /// Under this name, which begins with a dot: no component id does.
    pub(super) fn of(state_directory: &Path, name: &str) -> Self {
        debug_assert!(name.starts_with('.'), "{name} could be a component's");
        Self(state_directory.join(name))
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Replaces it; nobody but the owner may read it. Waits for the disk.
    ///
    /// # Errors
    /// The system's refusal. The one before is still there then.
    pub(super) fn write(&self, content: &[u8]) -> Result<(), DocumentError> {
        let directory = self.0.parent().expect("the file is in a directory");
        fs::create_dir_all(directory).map_err(failed("create", directory))?;
        // Another process in the same directory writes under another name.
        let mut unfinished = self.0.clone().into_os_string();
        unfinished.push(format!(".{}", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
        let mut file = opened.map_err(failed("create", &unfinished))?;
        let written = file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("write", &unfinished));
        let replaced = written.and_then(|()| fs::rename(&unfinished, &self.0).map_err(failed("replace", &self.0)));
        if let Err(error) = replaced {
            // On a full disk even the beginning of it takes room.
            drop(fs::remove_file(&unfinished));
            return Err(error);
        }
        // The rename itself lasts only once the directory is synced.
        let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed("sync", directory))
    }

    /// Its content; none when there is none. Waits for the disk.
    ///
    /// # Errors
    /// The system's refusal.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, DocumentError> {
        match fs::read(&self.0) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &self.0)(error)),
        }
    }

    /// Takes it away.
    ///
    /// # Errors
    /// The system's refusal.
    pub(super) fn remove(&self) -> Result<(), DocumentError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &self.0)(error)),
            _ => Ok(()),
        }
    }

    /// Puts it aside under another name, so that it is not written over.
    ///
    /// # Errors
    /// The system's refusal.
    pub(super) fn put_aside(&self) -> Result<PathBuf, DocumentError> {
        let mut aside = self.0.clone().into_os_string();
        aside.push(".aside");
        let aside = PathBuf::from(aside);
        fs::rename(&self.0, &aside).map_err(failed("rename", &self.0))?;
        Ok(aside)
    }

    pub(super) fn damaged(&self, reason: impl ToString) -> DocumentError {
        DocumentError::Damaged { path: self.0.clone(), reason: reason.to_string() }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DocumentError {
    let path = path.to_owned();
    move |source| DocumentError::Io { action, path, source }
}
