//! A directory in memory for tests: it knows what lasts and what does not, loses it in a power loss, is killed in the middle
//! of a write, fails on demand, fills up and gets damaged.
//!
//! A clone is the same directory, so that a test keeps one while the log has the other. Who writes to a file that was opened
//! for reading is stopped by a panic, and so is who writes behind its end where nothing was to be left out.

mod choices;
mod content;
mod damage;
mod faults;
mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{Files, Listed, OpenFile};

pub(crate) use choices::Choices;
pub(crate) use faults::{Call, Calls, Counts, Failure, Fault, is_crash};
pub(crate) use names::NameLoss;

use content::{Content, What};
use faults::Faults;
use names::{FileId, NameChange, Names};

/// A directory in memory.
#[derive(Clone)]
pub(crate) struct SimulatedDirectory(Arc<Mutex<Disk>>);

/// An open file of it.
pub(crate) struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    id: FileId,
    access: Access,
}

#[derive(Clone, Default)]
struct Disk {
    names: Names,
    files: BTreeMap<FileId, Inode>,
    next: FileId,
    faults: Faults,
    /// Bytes that all files together may take.
    capacity: Option<u64>,
    /// Bytes that were to be written in place.
    written_in_place: u64,
    /// The process is at its end, perhaps while it did something.
    crashed: Option<Option<Doing>>,
}

#[derive(Clone, Default)]
struct Inode {
    content: Content,
    /// How many have it open.
    open: usize,
}

/// What a process was doing when it ended.
#[derive(Clone)]
enum Doing {
    Change(FileId, What),
    Sync(FileId),
    Name(NameChange),
    SyncNames,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

impl SimulatedDirectory {
    /// An empty one without limits.
    pub(crate) fn new() -> Self {
        Self::of(Disk::default())
    }

    fn of(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    /// The directory as a killed process leaves it: with everything that it did, and perhaps a part of what it was doing.
    /// What was not synced can still be lost later.
    pub(crate) fn kill(&self, choices: &mut Choices) -> Self {
        let mut disk = self.lock().clone();
        if let Some(Some(doing)) = disk.crashed.take() {
            disk.finish(doing, choices);
        }
        for inode in disk.files.values_mut() {
            inode.open = 0;
        }
        disk.faults = Faults::default();
        disk.forget_unreachable();
        Self::of(disk)
    }

    /// The directory as a power loss may leave it: with everything that was synced, and any part of all the rest.
    pub(crate) fn power_loss(&self, loss: NameLoss, choices: &mut Choices) -> Self {
        let killed = self.kill(choices);
        {
            let mut disk = killed.lock();
            disk.names = disk.names.lose(loss, choices);
            disk.forget_unreachable();
            for inode in disk.files.values_mut() {
                inode.content = inode.content.lose(choices);
            }
        }
        killed
    }

    /// Makes calls fail from now on.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.lock().faults.set(fault);
    }

    /// Takes all faults away. A crash stays.
    pub(crate) fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Whether the process has come to its end.
    pub(crate) fn is_crashed(&self) -> bool {
        self.lock().crashed.is_some()
    }

    /// How many calls failed because of a fault that was set.
    pub(crate) fn faults_hit(&self) -> u64 {
        self.lock().faults.hits()
    }

    /// How often what was called.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().faults.counts()
    }

    /// How many bytes were to be written in place.
    pub(crate) fn written_in_place(&self) -> u64 {
        self.lock().written_in_place
    }

    /// Limits the bytes that all files together may take.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Bytes that all files together take: those that have a name, and those that somebody has open.
    pub(crate) fn used(&self) -> u64 {
        self.lock().used()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    fn opened(&self, name: &str, call: Call, access: Access) -> io::Result<SimulatedFile> {
        let mut disk = self.lock();
        disk.call(call, None)?;
        let id = disk.file_named(name)?;
        Ok(self.handle(&mut disk, id, access))
    }

    fn handle(&self, disk: &mut Disk, id: FileId, access: Access) -> SimulatedFile {
        disk.inode(id).open += 1;
        SimulatedFile { disk: Arc::clone(&self.0), id, access }
    }
}

impl Disk {
    /// Counts a call that is about to do something, and fails it where it is to fail.
    fn call(&mut self, call: Call, doing: Option<Doing>) -> io::Result<()> {
        if self.crashed.is_some() {
            return Err(Failure::Crash.error());
        }
        let Some(fault) = self.faults.call(call) else { return Ok(()) };
        match doing {
            _ if fault.failure == Failure::Crash => self.crashed = Some(doing),
            Some(Doing::Change(id, what)) => {
                let arrives = what.len() * u64::from(fault.arrives) / 255;
                if arrives > 0 {
                    // The error of the fault counts, not that of a disk which is full as well.
                    let _partial = self.change(id, what.prefix(arrives));
                }
            }
            Some(Doing::Sync(id)) => self.inode(id).content.fail_sync(),
            Some(Doing::Name(_) | Doing::SyncNames) | None => {}
        }
        Err(fault.failure.error())
    }

    /// Does in part, or wholly, what a process was doing at its end.
    fn finish(&mut self, doing: Doing, choices: &mut Choices) {
        match doing {
            // Closed at the end of the process, and without a name: nobody sees it again.
            Doing::Change(id, _) | Doing::Sync(id) if !self.files.contains_key(&id) => {}
            Doing::Change(id, what) => {
                let arrives = what.len() - choices.number(0..=what.len());
                let happens = what.len() > 0 || !choices.flag();
                if happens {
                    // What does not fit is not there, as if the process had ended before.
                    let _full = self.change(id, what.prefix(arrives));
                }
            }
            Doing::Sync(id) if !choices.flag() => self.inode(id).content.sync(),
            Doing::Name(change) if !choices.flag() => self.change_name(change),
            Doing::SyncNames if !choices.flag() => self.names.sync(),
            Doing::Sync(_) | Doing::Name(_) | Doing::SyncNames => {}
        }
    }

    /// Changes a file as far as the capacity allows.
    fn change(&mut self, id: FileId, what: What) -> io::Result<()> {
        let free = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        let content = &mut self.inode(id).content;
        let missing = content.needs(&what).saturating_sub(free);
        if missing == 0 {
            content.change(what);
            return Ok(());
        }
        let fits = what.len().saturating_sub(missing);
        if fits > 0 {
            content.change(what.prefix(fits));
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn change_name(&mut self, change: NameChange) {
        if let NameChange::Create(_, id) = change {
            self.files.entry(id).or_default();
            self.next = self.next.max(id + 1);
        }
        self.names.change(change);
    }

    fn used(&self) -> u64 {
        let listed: BTreeSet<FileId> = self.names.current().values().copied().collect();
        let taken = self.files.iter().filter(|(id, inode)| inode.open > 0 || listed.contains(id));
        taken.map(|(_, inode)| inode.content.allocated()).sum()
    }

    fn file_named(&self, name: &str) -> io::Result<FileId> {
        self.names.current().get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&mut self, id: FileId) -> &mut Inode {
        self.files.get_mut(&id).expect("a file that has a name or is open is kept")
    }

    fn forget_unreachable(&mut self) {
        let reachable = self.names.reachable();
        self.files.retain(|id, inode| inode.open > 0 || reachable.contains(id));
    }
}

impl Files for SimulatedDirectory {
    type File = SimulatedFile;

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut disk = self.lock();
        disk.call(Call::List, None)?;
        let size = |id: &FileId| disk.files[id].content.current().len() as u64;
        Ok(disk.names.current().iter().map(|(name, id)| Listed { name: name.clone(), size: size(id) }).collect())
    }

    fn create(&self, name: &str) -> io::Result<SimulatedFile> {
        let mut disk = self.lock();
        let id = disk.next;
        let created = NameChange::Create(name.to_owned(), id);
        let is_taken = disk.names.current().contains_key(name);
        disk.call(Call::Create, (!is_taken).then(|| Doing::Name(created.clone())))?;
        if is_taken {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.change_name(created);
        Ok(self.handle(&mut disk, id, Access::Write))
    }

    fn open(&self, name: &str) -> io::Result<SimulatedFile> {
        self.opened(name, Call::Open, Access::Write)
    }

    fn open_to_read(&self, name: &str) -> io::Result<SimulatedFile> {
        self.opened(name, Call::OpenToRead, Access::Read)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        let found = disk.file_named(from);
        let renamed = found.map(|file| NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file });
        disk.call(Call::Rename, renamed.as_ref().ok().cloned().map(Doing::Name))?;
        disk.change_name(renamed?);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        let removed = disk.file_named(name).map(|file| NameChange::Remove(name.to_owned(), file));
        disk.call(Call::Remove, removed.as_ref().ok().cloned().map(Doing::Name))?;
        disk.change_name(removed?);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.call(Call::SyncNames, Some(Doing::SyncNames))?;
        disk.names.sync();
        disk.forget_unreachable();
        Ok(())
    }
}

impl SimulatedFile {
    /// Its length, which is not a call.
    fn length(&self) -> u64 {
        lock(&self.disk).inode(self.id).content.current().len() as u64
    }

    fn change(&mut self, call: Call, what: What) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.call(call, Some(Doing::Change(self.id, what.clone())))?;
        disk.change(self.id, what)
    }

    fn must_be_writable(&self) {
        assert_ne!(self.access, Access::Read, "the file was opened for reading only");
    }
}

impl OpenFile for SimulatedFile {
    fn write_pieces_at(&mut self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        self.must_be_writable();
        assert!(offset <= self.length(), "pieces at {offset} leave a hole in the file");
        let mut bytes = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        self.change(Call::WritePieces, What::Write { offset, bytes })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.must_be_writable();
        lock(&self.disk).written_in_place += bytes.len() as u64;
        self.change(Call::WriteAt, What::Write { offset, bytes: bytes.to_vec() })
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        disk.call(Call::ReadAt, None)?;
        let content = disk.inode(self.id).content.current();
        let start = content.len().min(offset as usize);
        let length = into.len().min(content.len() - start);
        into[..length].copy_from_slice(&content[start..start + length]);
        Ok(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.call(Call::Sync, Some(Doing::Sync(self.id)))?;
        disk.inode(self.id).content.sync();
        Ok(())
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        self.must_be_writable();
        self.change(Call::SetSize, What::Size(size))
    }

    fn allocate(&mut self, size: u64) -> io::Result<()> {
        self.must_be_writable();
        self.change(Call::Allocate, What::Allocate(size))
    }

    fn size(&self) -> io::Result<u64> {
        let mut disk = lock(&self.disk);
        disk.call(Call::Size, None)?;
        Ok(disk.inode(self.id).content.current().len() as u64)
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        disk.inode(self.id).open -= 1;
        disk.forget_unreachable();
    }
}

impl fmt::Debug for SimulatedDirectory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.lock();
        let sizes = disk.names.current().iter().map(|(name, id)| (name, disk.files[id].content.current().len()));
        formatter.debug_map().entries(sizes).finish()
    }
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SimulatedFile")
            .field("id", &self.id)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// What a test that failed left is as good as ever: others look at it only to say what they saw.
fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}
