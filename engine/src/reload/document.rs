//! A file of the engine's own in the state directory, beside those of components.
//!
//! Not here: what makes a replacement whole and lasting (`engine_core::state_store`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use engine_core::state_store::{StateError, replace};

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document(PathBuf);

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
    pub(super) fn write(&self, content: &[u8]) -> Result<(), StateError> {
        let directory = self.0.parent().expect("the file is in a directory");
        fs::create_dir_all(directory).map_err(StateError::refused("create", directory))?;
        // Another process in the same directory writes under another name.
        replace(&self.0, &self.beside(&std::process::id().to_string()), &[content])
    }

    /// Its content; none when there is none. Waits for the disk.
    ///
    /// # Errors
    /// The system's refusal.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, StateError> {
        match fs::read(&self.0) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::refused("read", &self.0)(error)),
        }
    }

    /// Takes it away.
    ///
    /// # Errors
    /// The system's refusal.
    pub(super) fn remove(&self) -> Result<(), StateError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StateError::refused("remove", &self.0)(error)),
            _ => Ok(()),
        }
    }

    /// Puts it aside under another name, so that it is not written over.
    ///
    /// # Errors
    /// The system's refusal.
    pub(super) fn put_aside(&self) -> Result<PathBuf, StateError> {
        let aside = self.beside("aside");
        fs::rename(&self.0, &aside).map_err(StateError::refused("rename", &self.0))?;
        Ok(aside)
    }

    /// It does not hold what was written.
    pub(super) fn damaged(&self, reason: impl ToString) -> StateError {
        StateError::Damaged { path: self.0.clone(), reason: reason.to_string() }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(format!(".{suffix}"));
        path.into()
    }
}
