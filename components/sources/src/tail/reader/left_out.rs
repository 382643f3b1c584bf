//! Files that are not read because those who own them do not agree. They are known like others, so that a copy of one is not
//! read either, and so that a later start does not read what was written meanwhile. Not here: who agrees (`selection`).

use super::Reader;
use crate::tail::content::{Content, Form};
use crate::tail::identity::{FIRST_BYTES, Fingerprint, Inode};
use crate::tail::log::{FileKey, LogKey, Place};

impl Reader {
    /// Nothing is read of the files that a log has so far. It was held until now.
    pub(super) fn leave_out(&mut self, key: LogKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        log.held_since = None;
        log.clear();
        for key in log.files.clone() {
            let file = &mut self.files[key];
            file.is_done = true;
            file.content = None;
            file.skip_to(file.size);
            self.follow_left_out(key);
        }
        self.is_renamed = true;
        self.saving.is_due = true;
    }

    /// A file of which nothing is read was written to or renamed. How it begins tells it from one that gets its number, and
    /// its size tells which files are its copies.
    pub(super) fn follow_left_out(&mut self, key: FileKey) {
        let Some(file) = self.files.get_mut(key) else { return };
        let is_known = file.place == Place::Active && !file.fingerprint.may_grow();
        if is_known || file.form != Form::Plain {
            return;
        }
        let opened = file.content.take().map_or_else(|| Content::open(&file.path, file.form), Ok);
        let Ok(mut content) = opened else { return };
        let mut first = [0; FIRST_BYTES];
        let (Ok(metadata), Ok(count)) = (content.metadata(), content.read_at(&mut first, 0)) else { return };
        if Inode::of(&metadata) != file.inode {
            return;
        }
        file.fingerprint = Fingerprint::of(&first[..count]);
        file.skip_to(metadata.len());
        self.saving.is_due = true;
        if file.place == Place::Rotated {
            // It may be compressed and deleted before anybody looks again.
            file.content = Some(content);
            self.settling.push(key);
        }
    }

    /// Looks again at the files of a log that were left out and may have grown since they were rotated.
    pub(super) fn follow_rotated(&mut self, key: LogKey) {
        for file in self.logs[key].files.clone() {
            let found = &self.files[file];
            if found.is_done && found.content.is_some() {
                self.follow_left_out(file);
            }
        }
    }

    /// Logs that are written to and left out.
    pub(super) fn left_out(&self) -> u64 {
        self.files.iter().filter(|(_, file)| file.is_done && file.place == Place::Active).count() as u64
    }
}
