//! A small file system of its own for a state directory, which can be full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// What fills a volume.
const FILLER: &str = "filler";

/// A mounted file system; it is taken away when this is dropped. Needs root.
#[derive(Debug)]
pub struct Volume {
    /// Holds where it is mounted.
    folder: TempDir,
}

impl Volume {
    /// One in memory.
    ///
    /// # Errors
    /// When this process may not mount one.
    pub fn in_memory(bytes: u64) -> Result<Self> {
        let volume = Self::new()?;
        volume.mount(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"])?;
        Ok(volume)
    }

    fn new() -> Result<Self> {
        let volume = Self { folder: TempDir::with_prefix("faults-volume-")? };
        std::fs::create_dir(volume.path())?;
        Ok(volume)
    }

    fn mount(&self, arguments: &[&str]) -> Result<()> {
        done(Command::new("mount").args(arguments).arg(self.path()))
    }

    /// Lets nobody write to it.
    ///
    /// # Errors
    /// When somebody has a file open to write to.
    pub fn forbid_writes(&self) -> Result<()> {
        self.mount(&["-o", "remount,ro"])
    }

    /// Lets everybody write to it again.
    ///
    /// # Errors
    /// When this process may not.
    pub fn allow_writes(&self) -> Result<()> {
        self.mount(&["-o", "remount,rw"])
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Fills it to the last byte; says how many bytes that took.
    ///
    /// # Errors
    /// When something else than a full volume ends it.
    pub fn fill(&self) -> Result<u64> {
        use std::io::Write as _;
        let mut file = std::fs::File::options().create(true).append(true).open(self.path().join(FILLER))?;
        let mut filled = 0;
        for size in [1 << 16, 1 << 12, 1 << 8, 1] {
            let piece = vec![7; size];
            loop {
                match file.write(&piece) {
                    Ok(0) => break,
                    Ok(written) => filled += written as u64,
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("a volume cannot be filled"),
                }
            }
        }
        Ok(filled)
    }

    /// Gives the space back that it was filled with.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn empty(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path().join(FILLER))?)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whoever still uses it keeps it until then.
        done(Command::new("umount").arg("--lazy").arg(self.path())).ok();
    }
}

/// Runs a command to its end, which must be a success.
///
/// # Errors
/// With what it has said.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The files of a directory and those below it.
///
/// # Errors
/// When it cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}
