//! What becomes of requests: they are counted while they are under way, and when they are answered, in their order, positions
//! move and are kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::{Delivery, Kept, Reader, Told};
use crate::tail::checkpoint::{Position, Positions};
use crate::tail::counts::{add, set};
use crate::tail::log::{FORGOTTEN, FileKey, LogFile, LogKey, Place};

/// How long positions may wait to be kept.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// A request on its way.
#[derive(Clone, Debug)]
pub(in crate::tail) struct Sent {
    /// Numbers count up.
    pub(in crate::tail) number: u64,
    pub(in crate::tail) body: Bytes,
}

/// A request that is not answered, or behind one that is not.
#[derive(Debug)]
struct UnderWay {
    number: u64,
    /// Bytes of the request.
    bytes: u64,
    /// Bytes of files that were read for it.
    raw: u64,
    is_done: bool,
    /// Where a restart goes on in each of these logs once it is delivered.
    resumes: Vec<(LogKey, u64, bool)>,
}

/// Counts what is under way and what is kept.
#[derive(Debug)]
pub(super) struct Saving {
    next_number: u64,
    under_way: VecDeque<UnderWay>,
    /// Logs that were read for the request in the making.
    resumes: Vec<(LogKey, u64, bool)>,
    /// Bytes of files that were read for it.
    raw: u64,
    /// Bytes of requests under way.
    pub(super) bytes_under_way: u64,
    /// Bytes of files: read, delivered, and delivered when the positions were written that are being kept, or are kept.
    read: u64,
    delivered: u64,
    saving: u64,
    saved: u64,
    is_saving: bool,
    /// Positions have changed.
    pub(super) is_due: bool,
    last: Instant,
    /// A request was given up, so that nothing behind it counts as delivered.
    is_broken: bool,
}

impl Saving {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_number: 0,
            under_way: VecDeque::new(),
            resumes: Vec::new(),
            raw: 0,
            bytes_under_way: 0,
            read: 0,
            delivered: 0,
            saving: 0,
            saved: 0,
            is_saving: false,
            is_due: false,
            last: now,
            is_broken: false,
        }
    }

    /// Bytes of files that were read and are not kept as delivered.
    pub(super) fn unsaved(&self) -> u64 {
        self.read - self.saved
    }

    /// Notes that bytes of a log were read for the request in the making.
    pub(super) fn note(&mut self, log: LogKey, raw: u64, resume: (u64, bool)) {
        self.read += raw;
        self.raw += raw;
        match self.resumes.iter_mut().rev().take(1).find(|(last, ..)| *last == log) {
            Some(last) => *last = (log, resume.0, resume.1),
            None => self.resumes.push((log, resume.0, resume.1)),
        }
    }
}

impl Saving {
    /// Moves no positions of a log that is read no more.
    pub(super) fn forget(&mut self, log: LogKey) {
        let under_way = self.under_way.iter_mut().map(|request| &mut request.resumes);
        let resumes = under_way.chain([&mut self.resumes]).flatten();
        resumes.filter(|(key, ..)| *key == log).for_each(|(key, ..)| *key = FORGOTTEN);
    }
}

impl Reader {
    /// Whether more may be under way.
    pub(super) fn may_read(&self) -> bool {
        let window = self.parts.settings.max_in_flight;
        let in_memory = self.saving.bytes_under_way + self.request.len() as u64;
        in_memory < window / 2 && self.saving.unsaved() < window
    }

    /// Sends what is in the request in the making.
    pub(super) fn send_request(&mut self) {
        let saving = &mut self.saving;
        if saving.resumes.is_empty() {
            return;
        }
        let is_empty = self.request.records() == 0;
        let body = self.request.take();
        let number = saving.next_number;
        saving.next_number += 1;
        let resumes = std::mem::take(&mut saving.resumes);
        let (bytes, raw) = (body.len() as u64, std::mem::take(&mut saving.raw));
        saving.bytes_under_way += bytes;
        // Lines that make no record are done when all before them is.
        saving.under_way.push_back(UnderWay { number, bytes, raw, is_done: is_empty, resumes });
        if is_empty {
            self.move_positions();
        } else {
            // Whoever listens no more ends the reader soon.
            self.parts.told.send(Told::Request(Sent { number, body })).ok();
        }
    }

    /// Takes the answer to a request.
    pub(super) fn answered(&mut self, number: u64, delivery: Delivery) {
        let saving = &mut self.saving;
        let Some(found) = saving.under_way.iter_mut().find(|request| request.number == number) else { return };
        saving.bytes_under_way -= std::mem::take(&mut found.bytes);
        found.is_done = delivery == Delivery::Done;
        if delivery == Delivery::Unfinished {
            saving.is_broken = true;
        }
        self.move_positions();
    }

    /// Moves positions as far as requests are delivered one behind the other.
    fn move_positions(&mut self) {
        while let Some(first) = self.saving.under_way.pop_front_if(|first| first.is_done) {
            self.saving.delivered += first.raw;
            self.saving.is_due = true;
            for (key, position, is_inside) in first.resumes {
                let Some(log) = self.logs.get_mut(key) else { continue };
                let files = &mut self.files;
                log.commit(position, is_inside, |file, committed| {
                    if let Some(found) = files.get_mut(file) {
                        found.committed = committed;
                    }
                });
            }
        }
    }

    /// When positions are to be kept, if they have changed.
    pub(super) fn saving_due(&self) -> Option<Instant> {
        let saving = &self.saving;
        (saving.is_due && !saving.is_saving).then(|| saving.last + SAVE_AFTER)
    }

    /// Has positions kept when that is due, or much was delivered since.
    pub(super) fn save_if_due(&mut self) {
        let saving = &self.saving;
        if !saving.is_due || saving.is_saving {
            return;
        }
        let much = saving.delivered - saving.saved >= self.parts.settings.max_in_flight / 4;
        let is_late = self.clock.now >= saving.last + SAVE_AFTER;
        let is_last = self.is_draining && self.is_answered();
        if much || is_late || is_last {
            self.save();
        }
    }

    /// Has positions kept.
    pub(super) fn save(&mut self) {
        let content = self.positions().encode();
        let saving = &mut self.saving;
        saving.saving = saving.delivered;
        saving.is_saving = true;
        saving.is_due = false;
        saving.last = self.clock.now;
        self.parts.told.send(Told::Save(content)).ok();
    }

    /// The positions are kept, or will be tried again. If they could not be, what was delivered may come twice, which is no
    /// reason to deliver no more.
    pub(super) fn saved(&mut self, kept: Kept) {
        self.saving.is_saving = false;
        self.saving.saved = self.saving.saving;
        self.saving.is_due |= kept == Kept::No && !self.is_draining;
    }

    /// Whether all requests were answered, or given up.
    fn is_answered(&self) -> bool {
        self.saving.under_way.is_empty() || (self.saving.is_broken && self.saving.bytes_under_way == 0)
    }

    /// Whether nothing is under way and all positions are kept.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_answered() && !self.saving.is_due && !self.saving.is_saving
    }

    /// How far every file is delivered.
    fn positions(&mut self) -> Positions {
        let now = unix_seconds();
        self.remembered.forget(now);
        let mut positions = Positions::default();
        for (_, log) in &self.logs {
            for key in &log.files {
                positions.add(&self.files[*key].path, self.position(*key, now));
            }
        }
        for (path, position) in self.remembered.iter() {
            positions.add(path, position.clone());
        }
        positions
    }

    /// Measures how much is known to be in files and is not read.
    pub(super) fn measure(&mut self) {
        let (mut open, mut behind) = (0, 0);
        for (_, log) in &self.logs {
            for key in &log.files {
                let file = &mut self.files[*key];
                let Some(content) = &file.content else { continue };
                open += 1;
                if log.is_queued && log.is_to_be_read(*key) {
                    file.size = content.total().unwrap_or_default().max(file.size);
                    behind += file.behind();
                }
            }
        }
        set(&self.parts.counts.files_open, open);
        set(&self.parts.counts.bytes_behind, behind);
    }

    /// How far one file is delivered. A copy is as far as what it is a copy of, which may be a copy too.
    pub(super) fn position(&self, key: FileKey, now: u64) -> Position {
        let file = &self.files[key];
        let original = |copy: &&LogFile| copy.copy_of.and_then(|original| self.files.get(original));
        let originals = || std::iter::successors(original(&file), original);
        let further = originals().chain([file]).max_by_key(|one| one.committed.offset).unwrap_or(file);
        let is_copied = originals().any(|original| original.is_finished() && file.size <= original.committed.offset);
        Position {
            inode: file.inode,
            fingerprint: file.fingerprint,
            offset: further.committed.offset,
            size: file.size,
            is_inside: further.committed.is_inside,
            is_done: is_copied || file.is_finished(),
            gone_since: (file.place == Place::Gone).then_some(now),
        }
    }

    /// Counts what an earlier start knew and is not there any more.
    pub(super) fn count_gone(&mut self) {
        let unread = self.unread();
        for (path, bytes) in self.remembered.newly_gone(unix_seconds(), |path| unread.contains(path)) {
            self.count_lost(bytes);
            tracing::warn!(path = %path.display(), bytes, "a file was gone before it was read to its end");
        }
    }

    pub(super) fn count_lost(&self, bytes: u64) {
        add(&self.parts.counts.bytes_lost, bytes);
        add(&self.parts.counts.files_lost, 1);
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
