//! The file operations that the log needs, and nothing more, so that tests can put a file system in between that loses what
//! was not synced, tears writes and fails on demand.
//!
//! Everything is relative to one directory, which is the log's own, and names hold no separator. Not here: what is written.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Mode of the directory: what is buffered is for nobody else to read.
const DIRECTORY_MODE: u32 = 0o700;
/// Mode of the files in it.
const FILE_MODE: u32 = 0o600;

/// A directory of files.
pub trait Files: fmt::Debug + Send {
    /// A file of it that is open.
    type File: OpenFile;

    /// Names and sizes of the files in it, in no order.
    fn list(&self) -> io::Result<Vec<Listed>>;
    /// Makes an empty file to read and to write, which must not exist. Its name lasts once [`Self::sync_names`] has returned.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file for reading and for writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file for reading only.
    fn open_to_read(&self, name: &str) -> io::Result<Self::File>;
    /// Gives a file another name, in the place of a file that has that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away. Who has it open can go on reading.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals last.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the directory.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// An open file.
pub trait OpenFile: fmt::Debug + Send {
    /// Writes pieces one after the other, from an offset within the file or at its end on. After an error any part of them
    /// may have been written.
    fn write_pieces_at(&mut self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()>;
    /// Writes bytes at an offset within or beyond the file. After an error any part of them may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads bytes at an offset, up to the length of `into`, and says how many: fewer only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Makes what was written last, and the size of the file. After an error it is not known what lasts.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file, or makes it longer by zeros.
    fn set_size(&mut self, size: u64) -> io::Result<()>;
    /// Reserves space, so that writing at these offsets needs none any more; makes the file as long by zeros.
    fn allocate(&mut self, size: u64) -> io::Result<()>;
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// A directory of the operating system, held by one process at a time unless it is only glanced at.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The directory itself, locked where it is held: nothing is written for it, so who only looks changes nothing.
    handle: File,
}

/// Why a directory cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// It is not there.
    #[error("{} does not exist", .0.display())]
    Absent(PathBuf),
    /// Another process holds it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
}

impl Directory {
    /// Holds a directory, which is made where it is absent.
    ///
    /// # Errors
    /// [`HoldError`].
    pub fn hold_or_make(path: &Path) -> Result<Self, HoldError> {
        let failed = |source| HoldError::Io { action: "make", path: path.to_owned(), source };
        let absent: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(failed)?;
        // What is in it lasts only where its name does.
        for parent in absent.iter().filter_map(|folder| folder.parent()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        Self::hold(path)
    }

    /// Holds a directory that is there.
    ///
    /// # Errors
    /// [`HoldError`].
    pub fn hold(path: &Path) -> Result<Self, HoldError> {
        let handle = open_directory(path)?;
        match handle.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), handle }),
            Err(TryLockError::WouldBlock) => Err(HoldError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(HoldError::Io { action: "lock", path: path.to_owned(), source }),
        }
    }

    /// Looks at a directory without holding it: another process may have it and change it meanwhile, and none is kept from
    /// having it. For whoever only reads and can live with what is true a moment later.
    ///
    /// # Errors
    /// [`HoldError`], but never [`HoldError::InUse`].
    pub fn glance(path: &Path) -> Result<Self, HoldError> {
        Ok(Self { path: path.to_owned(), handle: open_directory(path)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn options(&self) -> fs::OpenOptions {
        let mut options = File::options();
        options.mode(FILE_MODE);
        options
    }
}

impl Drop for Directory {
    /// Closing alone would leave it held for as long as a child of this process that was just begun has the same file.
    fn drop(&mut self) {
        // An error means that the file system has no locks, and then it was never held.
        drop(self.handle.unlock());
    }
}

fn open_directory(path: &Path) -> Result<File, HoldError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => HoldError::Absent(path.to_owned()),
        _ => HoldError::Io { action: "open", path: path.to_owned(), source },
    })
}

impl Files for Directory {
    type File = File;

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // What is not UTF-8 is no file of a log.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                listed.push(Listed { name, size: metadata.len() });
            }
        }
        Ok(listed)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.options().read(true).write(true).create_new(true).open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        self.options().read(true).write(true).open(self.path.join(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<File> {
        self.options().read(true).open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl OpenFile for File {
    fn write_pieces_at(&mut self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut left = pieces.to_vec();
        let mut rest = left.as_mut_slice();
        let mut at = offset;
        // So that no piece is left over that is empty, which would look like a file that takes nothing.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&*self, rest, at))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut rest, written);
            at += written as u64;
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match FileExt::read_at(self, &mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn allocate(&mut self, size: u64) -> io::Result<()> {
        let reserved =
            rustix::io::retry_on_intr(|| rustix::fs::fallocate(&*self, rustix::fs::FallocateFlags::empty(), 0, size));
        match reserved {
            // Network file systems mostly cannot: there the space is taken by writing.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => fill(self, size),
            other => Ok(other?),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Takes it for done where what was to go is not there.
pub(crate) fn unless_absent(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a file as long by zeros that are written.
fn fill(file: &mut impl OpenFile, size: u64) -> io::Result<()> {
    const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
    let mut written = file.size()?;
    while written < size {
        let piece = (size - written).min(ZEROS.len() as u64);
        file.write_at(written, &ZEROS[..piece as usize])?;
        written += piece;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    /// Where the file system cannot reserve space, it is written; what is there stays.
    #[test]
    fn space_is_taken_by_writing() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::hold(scratch.path()).unwrap();
        directory.create("a").unwrap().write_pieces_at(0, &[IoSlice::new(b"kept")]).unwrap();
        let mut file = directory.open("a").unwrap();
        fill(&mut file, 40_000).unwrap();
        fill(&mut file, 10).unwrap();
        let mut bytes = vec![1; 50_000];
        assert_eq!(OpenFile::read_at(&file, 0, &mut bytes).unwrap(), 40_000);
        assert!(bytes.starts_with(b"kept\0") && bytes[4..40_000].iter().all(|byte| *byte == 0));
        assert_eq!(OpenFile::size(&file).unwrap(), 40_000);
    }
}
