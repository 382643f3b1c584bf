//! What happens to files of a simulated directory behind the back of the program: bits flip, pages vanish, people copy and
//! delete. Everything is by name, needs a file that is there, and lasts at once, as do all changes of names before it.

use std::collections::BTreeMap;

use super::SimulatedDirectory;
use super::names::NameChange;

/// What a file system hands out and zeros as one.
const PAGE: usize = 4096;

impl SimulatedDirectory {
    /// All files and what is in them.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.lock();
        let content = |id| disk.files[id].content.current().to_vec();
        disk.names.current().iter().map(|(name, id)| (name.clone(), content(id))).collect()
    }

    /// What is in a file.
    pub(crate) fn contents(&self, name: &str) -> Vec<u8> {
        let mut disk = self.lock();
        let id = disk.file_named(name).expect("the file is there");
        disk.inode(id).content.current().to_vec()
    }

    /// Puts bytes in the place of all that is in a file, which is made where there is none.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = self.lock();
        let id = disk.file_named(name).unwrap_or(disk.next);
        disk.change_name(NameChange::Create(name.to_owned(), id));
        disk.names.sync();
        disk.inode(id).content.replace(bytes);
    }

    /// Flips a bit, counted from the start of the file.
    pub(crate) fn flip_bit(&self, name: &str, bit: u64) {
        self.edit(name, |bytes| bytes[(bit / 8) as usize] ^= 1 << (bit % 8));
    }

    /// Zeros a page of 4 KiB, as far as the file reaches.
    pub(crate) fn zero_page(&self, name: &str, page: u64) {
        self.edit(name, |bytes| {
            let start = page as usize * PAGE;
            let end = bytes.len().min(start + PAGE);
            bytes[start..end].fill(0);
        });
    }

    /// Cuts a file.
    pub(crate) fn truncate(&self, name: &str, size: u64) {
        self.edit(name, |bytes| bytes.truncate(size as usize));
    }

    /// Puts bytes behind the end of a file.
    pub(crate) fn append_garbage(&self, name: &str, garbage: &[u8]) {
        self.edit(name, |bytes| bytes.extend_from_slice(garbage));
    }

    /// Copies a file to another name.
    pub(crate) fn duplicate(&self, name: &str, copy: &str) {
        self.put(copy, self.contents(name));
    }

    /// Deletes a file.
    pub(crate) fn delete(&self, name: &str) {
        let mut disk = self.lock();
        let id = disk.file_named(name).expect("the file is there");
        disk.names.change(NameChange::Remove(name.to_owned(), id));
        disk.names.sync();
        disk.forget_unreachable();
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.contents(name);
        edit(&mut bytes);
        self.put(name, bytes);
    }
}
