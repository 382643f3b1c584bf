//! Which files are logs: what a source tells its reader. Not here: finding, opening and reading them.

use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Chooses files by their paths.
pub(crate) trait Selection: Send {
    /// Where to begin to look: directories, absolute. One that is not there yet is waited for.
    fn roots(&self) -> Vec<PathBuf>;

    /// Whether there may be logs in this directory or below it.
    fn enters(&self, directory: &Path) -> bool;

    /// What is known of the log with this path, before rotation renames it; none when it is not to be read.
    fn log(&self, path: &Path) -> Option<Description>;

    /// Whether the log with this path may be read, as far as that can be said yet. Asked for each file that is found of it.
    fn decide(&self, path: &Path) -> Decision;
}

/// What every record of a log has, known from its path.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// The Resource, as an encoded field of ResourceLogs.
    pub(crate) resource: Bytes,
    /// Attributes, as encoded fields of LogRecord.
    pub(crate) attributes: Bytes,
}

/// Whether a log may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Yes.
    Collect,
    /// No, and for the file in question it is not asked again.
    Skip,
    /// What decides is not known yet. It is asked again for a while; then the log is read.
    Unknown,
}
