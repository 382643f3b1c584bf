//! What the thread of a disk queue does with what it is asked.
//!
//! After a write that failed nothing is written for a growing while; then a new file is tried. Not here: who asks (`queue`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine_core::edge::FULL;
use engine_core::sink::{DAMAGED, EXPIRED, FrameId, Keeping, ReadFrame, Written};
use futures::channel::oneshot;
use otlp::Wire;

use crate::files::Directory;
use crate::log::{Frame, Log, LossReason, NewFrame, Stored};
use crate::queue::{Command, Shared, options};

/// Pauses between attempts to write after one failed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often what was completed is written at the least, and what is too old looked for.
const FLUSH: Duration = Duration::from_millis(250);
const AGES: Duration = Duration::from_secs(1);
/// How long a problem is told that may be over.
const FORGOTTEN: Duration = Duration::from_secs(15);
/// Attempts to read a part of a file, 250 ms apart, before it is given up.
const READ_ATTEMPTS: u32 = 8;
/// The most bytes that are written as one group, so that nobody waits for a group without end.
const GROUP: usize = 16 * 1024 * 1024;

/// The log and its trouble.
#[derive(Debug)]
pub(crate) struct Worker {
    log: Log<Directory>,
    shared: Arc<Shared>,
    trouble: Option<Trouble>,
    /// Since when writing is tried again that has failed, until something is written.
    tried_since: Option<Duration>,
    /// The last pause between attempts, and whether the trouble was told; both until something is written again.
    pause: Duration,
    is_told: bool,
    /// Reads in a row that have failed.
    unreadable: u32,
    maintained_at: Duration,
    /// It belongs to somebody.
    has_begun: bool,
    /// Nothing was asked for the last time.
    is_quiet: bool,
}

/// Writing has failed, and is tried again at a moment after the beginning.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    again_at: Duration,
}

/// Something to be written.
struct Pending {
    frame: NewFrame,
    room: usize,
    written: Arc<dyn Written>,
}

impl Worker {
    pub(crate) fn new(log: Log<Directory>, shared: Arc<Shared>) -> Self {
        Self {
            log,
            shared,
            trouble: None,
            tried_since: None,
            pause: Duration::ZERO,
            is_told: false,
            unreadable: 0,
            maintained_at: Duration::ZERO,
            has_begun: false,
            is_quiet: false,
        }
    }

    /// How long to wait for work before looking after the log; none where there is nothing to look after.
    pub(crate) fn pause(&self) -> Option<Duration> {
        match self.trouble {
            _ if !self.has_begun => None,
            Some(trouble) => {
                Some(trouble.again_at.saturating_sub(self.shared.now().elapsed).max(Duration::from_millis(1)))
            }
            None if self.log.has_unwritten_completions() || self.log.needs_maintenance() => Some(FLUSH),
            // While data passes nobody wakes the thread for what is delivered, in a quiet time the first one does.
            None if !self.is_quiet && self.log.has_handed_out() => Some(FLUSH),
            None if self.tried_since.is_some() || (self.log.has_max_age() && self.log.has_unread()) => Some(AGES),
            None => (!self.shared.completed.lock().wake_for_first()).then_some(FLUSH),
        }
    }

    /// Does what is asked, as far as it is asked now. Says whom to tell when it is to close.
    pub(crate) fn work(&mut self, waiting: impl Iterator<Item = Command>) -> Option<oneshot::Sender<()>> {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut worked = false;
        let mut closed = None;
        for command in waiting {
            worked = true;
            // Whatever it does takes the disk; one that does not answer takes nothing more.
            self.shared.work_begins();
            match command {
                Command::Append { wire, room, written } => {
                    bytes += wire.len();
                    group.push(pending(wire, room, written));
                    if bytes >= GROUP {
                        self.append(std::mem::take(&mut group));
                        bytes = 0;
                    }
                }
                Command::Read { most, found } => {
                    // What is to be written goes first: it may be what is read.
                    self.append(std::mem::take(&mut group));
                    bytes = 0;
                    let frames = self.read(most);
                    // Others may see that there is nothing left before they see what there was.
                    self.tell();
                    found(frames);
                }
                Command::Complete => self.complete(),
                Command::Begin => {
                    self.has_begun = true;
                    self.make_room(0);
                }
                Command::Resettle(limits) => {
                    self.log.resettle(options(limits));
                    if self.has_begun {
                        self.maintain();
                    }
                    self.make_room(0);
                }
                Command::MakeRoom(bytes) => self.make_room(bytes),
                Command::Close(sender) => closed = Some(sender),
            }
        }
        self.is_quiet = !worked;
        self.shared.work_begins();
        self.append(group);
        self.complete();
        let most = if self.log.has_unwritten_completions() { FLUSH } else { AGES };
        let is_time = self.shared.now().elapsed.saturating_sub(self.maintained_at) > most;
        // A quiet moment is used to write down what was completed meanwhile.
        if self.has_begun && (self.log.needs_maintenance() || !worked || is_time) {
            self.maintain();
        }
        if self.is_forgotten() {
            self.tried_since = None;
            self.shared.set_problem(None);
        }
        let was_stalled = self.shared.work_ended();
        self.tell();
        if was_stalled {
            self.freed();
        }
        closed
    }

    /// Ends it in good order.
    pub(crate) fn close(&mut self) {
        if !self.has_begun {
            return;
        }
        self.complete();
        if let Err(error) = self.log.close(self.shared.now()) {
            tracing::warn!(buffer = %self.shared.name, %error, "the buffer could not be closed in order, the next start has more to read");
        }
        self.tell();
    }

    fn append(&mut self, group: Vec<Pending>) {
        if group.is_empty() {
            return;
        }
        let now = self.shared.now();
        if self.trouble.is_some_and(|trouble| trouble.again_at > now.elapsed) {
            let problem = self.shared.problem.lock().clone().unwrap_or_default();
            return self.fail(group, &problem);
        }
        let (group, unwanted): (Vec<_>, Vec<_>) = group.into_iter().partition(|pending| pending.written.is_wanted());
        // Whoever sent them has been told to come again, so the disk is spared them.
        let unwanted: u64 = unwanted.iter().map(|pending| pending.room as u64).sum();
        self.shared.reserved.fetch_sub(unwanted, Ordering::AcqRel);
        if group.is_empty() {
            return;
        }
        self.make_room(group.iter().map(|pending| pending.frame.size()).sum());
        if self.log.has_unwritten_completions() {
            // So a kill repeats what was sent meanwhile at most.
            self.maintain();
        }
        let (mut frames, mut waiting, mut room) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()), 0);
        for pending in group {
            frames.push(pending.frame);
            waiting.push(pending.written);
            room += pending.room as u64;
        }
        let appended = self.log.append(&frames, now);
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        self.measure();
        self.shared.reserved.fetch_sub(room, Ordering::AcqRel);
        drop(frames);
        let mut waiting = waiting.into_iter();
        for frame in appended.frames {
            let written = waiting.next().expect("every frame was asked for");
            let in_turn = self.log.is_next(frame);
            let id = FrameId { sequence: frame.sequence, records: u64::from(frame.records), place: frame.behind() };
            match written.written(id, in_turn) {
                Keeping::OnDisk => {}
                Keeping::InMemory => {
                    self.log.keep_from_reading(frame);
                }
                Keeping::Nowhere => self.log.complete(frame),
            }
        }
        match appended.error {
            None => self.written(),
            Some(error) => {
                let problem = error.to_string();
                self.failed(&problem);
                waiting.for_each(|written| written.failed(&problem));
            }
        }
    }

    /// Hears of frames that are not needed any more.
    fn complete(&mut self) {
        let completed = std::mem::take(&mut self.shared.completed.lock().frames);
        for frame in completed {
            self.log.complete(Frame::at(frame.sequence, frame.records, frame.place));
        }
    }

    /// Has the oldest make room for so many bytes, where they do.
    fn make_room(&mut self, bytes: u64) {
        // What is delivered goes before anything is lost.
        self.complete();
        if self.has_begun && self.shared.wants_room(bytes) && self.log.needs_maintenance() {
            self.maintain();
            self.measure();
        }
        while self.has_begun && self.shared.wants_room(bytes) {
            let before = self.log.size();
            if !self.log.drop_oldest() {
                return;
            }
            self.maintain();
            self.measure();
            // What is being sent keeps its file, and a disk that fails keeps all: more would be lost for nothing.
            if self.trouble.is_some() || self.log.size() >= before {
                return;
            }
        }
    }

    fn fail(&mut self, group: Vec<Pending>, problem: &str) {
        for pending in group {
            self.shared.reserved.fetch_sub(pending.room as u64, Ordering::AcqRel);
            pending.written.failed(problem);
        }
    }

    /// Nothing can be written for a while.
    fn failed(&mut self, problem: &str) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        if !self.is_told {
            self.is_told = true;
            tracing::error!(buffer = %self.shared.name, %problem, "the buffer cannot be written");
        }
        self.tried_since = None;
        self.trouble = Some(Trouble { again_at: self.shared.now().elapsed + self.pause });
        self.shared.set_problem(Some(problem.to_owned()));
    }

    /// Something has been written: the trouble is over.
    fn written(&mut self) {
        self.try_again();
        if self.tried_since.take().is_some() {
            self.shared.set_problem(None);
        }
        self.pause = Duration::ZERO;
        if std::mem::take(&mut self.is_told) {
            tracing::info!(buffer = %self.shared.name, "the buffer can be written again");
        }
    }

    /// A file could be made, so that what comes next is tried. That there is room for it is not known, so the problem is told
    /// until something is written, or nobody has come for a while.
    fn try_again(&mut self) {
        if self.trouble.take().is_some() {
            self.tried_since = Some(self.shared.now().elapsed);
            self.shared.takes_again();
            self.freed();
        }
    }

    /// Whether nobody came for a while to try what has failed.
    fn is_forgotten(&self) -> bool {
        self.tried_since.is_some_and(|since| self.shared.now().elapsed.saturating_sub(since) > FORGOTTEN)
    }

    /// Whoever waits for room may find some.
    fn freed(&self) {
        if let Some(owner) = self.shared.owner() {
            owner.freed();
        }
    }

    fn read(&mut self, most: usize) -> Vec<ReadFrame> {
        let stored = match self.log.read(most, self.shared.now()) {
            Ok(stored) => {
                self.unreadable = 0;
                stored
            }
            Err(error) => {
                // It is asked for again in a moment. What cannot be read then either must not keep what is behind it.
                self.unreadable += 1;
                tracing::warn!(buffer = %self.shared.name, %error, attempt = self.unreadable, "the buffer cannot be read");
                if self.unreadable >= READ_ATTEMPTS {
                    self.unreadable = 0;
                    self.log.lose_unreadable();
                }
                return Vec::new();
            }
        };
        stored.into_iter().filter_map(|stored| self.readmitted(stored)).collect()
    }

    /// What was stored was admitted before; if it is not now, it is not what was stored.
    fn readmitted(&mut self, stored: Stored) -> Option<ReadFrame> {
        let Stored { frame, signal, payload, age } = stored;
        match otlp::readmit(signal, payload) {
            Ok(wire) if wire.records() == u64::from(frame.records) => {
                let frame = FrameId { sequence: frame.sequence, records: wire.records(), place: frame.behind() };
                Some(ReadFrame { frame, wire, age })
            }
            Ok(_) | Err(_) => {
                self.log.lose_read(frame);
                None
            }
        }
    }

    fn maintain(&mut self) {
        let now = self.shared.now();
        self.maintained_at = now.elapsed;
        let done = self.log.maintain(now);
        // Where a file has gone there may be room now.
        let is_due = self.trouble.is_some_and(|trouble| trouble.again_at <= now.elapsed || self.log.has_freed());
        match done {
            Err(error) => self.failed(&error.to_string()),
            Ok(()) if is_due => match self.log.probe(now) {
                Ok(()) => self.try_again(),
                Err(error) => self.failed(&error.to_string()),
            },
            Ok(()) => {}
        }
    }

    fn measure(&self) {
        self.shared.written.store(self.log.size(), Ordering::Release);
    }

    /// Lets everybody know how things are.
    fn tell(&mut self) {
        self.measure();
        let (_, records) = self.log.unread();
        self.shared.unread.store(records, Ordering::Release);
        let had_unread = self.shared.has_unread.swap(self.log.has_unread(), Ordering::AcqRel);
        let losses = self.log.take_losses();
        let Some(owner) = self.shared.owner() else { return };
        for loss in losses {
            let reason = match loss.reason {
                LossReason::Damaged => {
                    self.shared.damaged_frames.fetch_add(loss.frames, Ordering::Relaxed);
                    DAMAGED
                }
                LossReason::Expired => EXPIRED,
                LossReason::Full => FULL,
            };
            owner.lost(reason, loss.records);
        }
        if self.log.take_freed() > 0 {
            owner.freed();
        }
        if !had_unread && self.log.has_unread() {
            owner.readable();
        }
    }
}

fn pending(wire: Wire, room: usize, written: Arc<dyn Written>) -> Pending {
    let (signal, records) = (wire.signal(), u32::try_from(wire.records()).unwrap_or(u32::MAX));
    Pending { frame: NewFrame { signal, records, payload: wire.into_rope() }, room, written }
}
