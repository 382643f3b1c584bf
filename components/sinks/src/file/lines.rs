//! A file that whole lines are appended to, or nothing.
//!
//! A line that could not be written to its end is taken back. Where even that fails, or a process before this one
//! was killed in the middle of a line, the next line begins on a line of its own. Others may move, delete or shorten the
//! file at any time; they may not append to it, which no lock can keep them from.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Owner reads and writes, group reads: telemetry is not for everybody on the machine.
const MODE: u32 = 0o640;

/// When a line counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// The operating system has it: it survives the end of this process.
    OperatingSystem,
    /// The disk has it: it survives a power failure.
    Disk,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    device: u64,
    inode: u64,
    len: u64,
    durability: Durability,
    /// The last line has no end.
    is_torn: bool,
}

/// The directory that a file stands in.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

impl Lines {
    /// Opens the file at the path, or makes one.
    ///
    /// # Errors
    ///
    /// Those of the operating system; something other than a regular file stands there.
    pub(super) fn open(path: &Path, durability: Durability) -> io::Result<Self> {
        // Before opening, because opening a pipe waits for a reader.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
        if durability == Durability::Disk {
            // The name of a new file must survive as well.
            File::open(directory_of(path))?.sync_all()?;
        }
        let metadata = file.metadata()?;
        let is_torn = metadata.len() > 0 && {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            last != *b"\n"
        };
        let (device, inode, len) = (metadata.dev(), metadata.ino(), metadata.len());
        Ok(Self { file, device, inode, len, durability, is_torn })
    }

    /// This file, if it still is the one at the path, with the length it has now.
    pub(super) fn still_at(self, path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let is_same = (metadata.dev(), metadata.ino()) == (self.device, self.inode);
        is_same.then_some(Self { len: metadata.len(), ..self })
    }

    /// Bytes in the file.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Appends a line, which ends with a line feed.
    ///
    /// # Errors
    ///
    /// Those of the operating system. The line has been taken back if that was possible; the file must be opened anew,
    /// which finds out. After a sync that failed nobody knows what the disk has, and another one would say nothing.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.write(line);
        if let Err(error) = written {
            self.take_back();
            return Err(error);
        }
        self.len = self.file.metadata()?.len();
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(line)?;
        if self.durability == Durability::Disk {
            self.file.sync_data()?;
        }
        self.is_torn = false;
        Ok(())
    }

    /// Cuts off what was written of a line. An error here leaves a torn line, which the next opening finds.
    fn take_back(&self) {
        let is_longer = self.file.metadata().is_ok_and(|metadata| metadata.len() > self.len);
        if is_longer && let Err(error) = self.file.set_len(self.len) {
            tracing::warn!(%error, "half a line stays in the file, the next one begins after it");
        }
    }
}
