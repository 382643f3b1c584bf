//! A log over a simulated directory beside the model of it: everything is done with both, and every answer compared.

use std::time::Duration;

use crate::log::{Frame, Log, Loss, LossReason, NewFrame, Now, OpenError, Options, Stored};
use crate::simulated::{Calls, Choices, NameLoss, SimulatedDirectory, is_crash};

use super::model::{Content, Ended, Excused, Fate, Kept, Left, Model};

/// A log, its directory and its model.
pub(super) struct World {
    pub(super) disk: SimulatedDirectory,
    pub(super) model: Model,
    log: Option<Log<SimulatedDirectory>>,
    options: Options,
    /// Frames that were never acknowledged and whose loss may therefore be reported or not.
    excused: Excused,
    /// As many as the last power loss left gaps for.
    gaps: Excused,
    is_full: bool,
    ids: u64,
    clock: u64,
}

/// How a process ends.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// In good order, if nothing stands in the way.
    Close,
    Kill(Choices),
    PowerLoss(NameLoss, Choices),
}

/// What the log of a directory says when it is opened and all of it is read.
pub(super) struct Recovered {
    pub(super) read: Vec<(u64, Content)>,
    /// Lost already when it was opened, and found to be lost when reading.
    pub(super) at_open: Vec<Loss>,
    pub(super) while_reading: Vec<Loss>,
}

impl Recovered {
    /// Opens a directory, reads everything, and makes sure that this changes nothing.
    pub(super) fn of(disk: &SimulatedDirectory, options: Options, now: Now) -> Self {
        let before = disk.snapshot();
        let changes = disk.counts().of(Calls::Changing);
        let mut log = Log::open(disk.clone(), options, now).unwrap();
        let (unread, at_open) = (log.unread(), log.take_losses());
        let mut read = Vec::new();
        while log.has_unread() {
            read.extend(log.read(5000, now).unwrap().into_iter().map(content));
        }
        assert_eq!(log.read(1, now).unwrap(), []);
        assert_eq!(log.unread(), (0, 0), "everything has been read");
        let while_reading = log.take_losses();
        assert_eq!(disk.counts().of(Calls::Changing), changes, "opening and reading change nothing");
        assert!(disk.snapshot() == before, "opening and reading change nothing");
        let found = read.iter().map(|(_, content)| u64::from(content.records)).sum::<u64>();
        let (frames, records) = totals(&while_reading);
        assert_eq!(unread, (read.len() as u64 + frames, found + records), "what was recovered is read or lost");
        Self { read, at_open, while_reading }
    }

    /// Opens a directory and says how much is to be read, in frames and records.
    pub(super) fn opened(disk: &SimulatedDirectory, options: Options, now: Now) -> (u64, u64) {
        Log::open(disk.clone(), options, now).unwrap().unread()
    }

    /// Frames and records that were lost.
    pub(super) fn lost(&self) -> (u64, u64) {
        let (open, reading) = (totals(&self.at_open), totals(&self.while_reading));
        (open.0 + reading.0, open.1 + reading.1)
    }
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let disk = SimulatedDirectory::new();
        let mut world = Self {
            disk,
            model: Model::default(),
            log: None,
            options,
            excused: Excused::default(),
            gaps: Excused::default(),
            is_full: false,
            ids: 0,
            clock: 0,
        };
        world.open();
        world
    }

    pub(super) fn log(&mut self) -> &mut Log<SimulatedDirectory> {
        self.log.as_mut().expect("it is open")
    }

    pub(super) fn now(&mut self) -> Now {
        self.clock += 1;
        Now { unix_millis: 1_700_000_000_000 + self.clock, elapsed: Duration::from_millis(self.clock) }
    }

    /// Limits the space of the disk.
    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.disk.set_capacity(bytes);
        self.is_full = bytes.is_some();
    }

    /// Appends a frame of each size.
    pub(super) fn append(&mut self, sizes: &[usize]) -> Vec<Frame> {
        let new: Vec<Content> = sizes.iter().map(|size| self.content(*size)).collect();
        let frames: Vec<NewFrame> = new.iter().map(Content::frame).collect();
        let now = self.now();
        let hits = self.disk.faults_hit();
        let next = self.log().next_sequence();
        let appended = self.log().append(&frames, now);
        assert_eq!(appended.error.is_some(), appended.frames.len() < new.len());
        if let Some(error) = &appended.error {
            self.explain(error, hits);
        }
        // Of two calls that failed the second may have been the cut.
        let failed = self.disk.faults_hit() - hits + u64::from(self.is_full);
        let left = if failed > 1 || self.disk.is_crashed() { Left::Perhaps } else { Left::Cut };
        for (index, content) in new.into_iter().enumerate() {
            let sequence = next + index as u64;
            match appended.frames.get(index) {
                Some(frame) => {
                    assert_eq!((frame.sequence, frame.records), (sequence, content.records));
                    self.model.acknowledge(sequence, content);
                    self.model.told(*frame);
                }
                None => self.model.attempt(sequence, content, left),
            }
        }
        self.check();
        appended.frames
    }

    /// Appends frames that whoever appended them has already.
    pub(super) fn append_and_keep(&mut self, sizes: &[usize]) {
        for frame in self.append(sizes) {
            let is_next = self.model.unread().next().is_some_and(|(sequence, _)| sequence == frame.sequence);
            let kept = self.log().keep_from_reading(frame);
            // Something damaged may lie before it that nobody has come to yet.
            assert!(kept == is_next || (is_next && self.excused.frames > 0), "kept: {kept}, is the next: {is_next}");
            if kept {
                self.model.set(frame.sequence, Fate::InHands(frame));
            }
        }
        self.check();
    }

    /// Reads some bytes, and says whether anything came.
    pub(super) fn read(&mut self, most: usize) -> bool {
        let now = self.now();
        let hits = self.disk.faults_hit();
        let read = match self.log().read(most, now) {
            Ok(read) => read,
            Err(error) => {
                self.explain(&error, hits);
                Vec::new()
            }
        };
        let came = !read.is_empty();
        for stored in read {
            let frame = stored.frame;
            let (sequence, content) = content(stored);
            let (next, expected) = self.model.unread().next().expect("there is something to read");
            assert_eq!(sequence, next, "frames are read in order, each once");
            assert!(expected.content == content, "{sequence} was read with other bytes");
            self.model.set(sequence, Fate::InHands(frame));
        }
        self.check();
        came
    }

    /// Has everything that is not completed read again.
    pub(super) fn read_again(&mut self) {
        self.log().read_again();
        self.model.read_again();
        self.check();
    }

    /// Completes some of the frames that were read.
    pub(super) fn complete(&mut self, picks: &[usize]) {
        self.complete_of(self.model.in_hands(), picks);
    }

    /// Completes some frames that the process has, also those that are to be read yet or again.
    pub(super) fn complete_any(&mut self, picks: &[usize]) {
        // Which of them damage has hit is not known.
        if self.excused == Excused::default() {
            self.complete_of(self.model.not_completed(), picks);
        }
    }

    fn complete_of(&mut self, mut frames: Vec<Frame>, picks: &[usize]) {
        for pick in picks {
            if frames.is_empty() {
                break;
            }
            let frame = frames.swap_remove(pick % frames.len());
            self.log().complete(frame);
            self.model.set(frame.sequence, Fate::Done(Kept::Volatile));
        }
        let (pending, most) = (self.model.volatile(), self.options.completions as usize);
        assert!(pending < most || self.log().needs_maintenance(), "{pending} completions are in memory only");
        self.check();
        if self.log().needs_maintenance() {
            self.maintain();
        }
    }

    /// Completes all of the frames that were read.
    pub(super) fn complete_all(&mut self) {
        self.complete(&vec![0; self.model.in_hands().len()]);
    }

    pub(super) fn maintain(&mut self) {
        let now = self.now();
        let hits = self.disk.faults_hit();
        self.log().take_freed();
        match self.log().maintain(now) {
            Ok(()) => {
                // Before a segment goes, the disk must know for good what is completed.
                let removed = self.log().take_freed() > 0;
                self.model.keep(if removed { Kept::Durable } else { Kept::Written });
            }
            // Space for it is reserved: a full disk must not keep it from being emptied.
            Err(error) => self.not_all(&error, hits),
        }
        self.check();
    }

    /// Drops the oldest frames that nobody has read. Where frames that were never acknowledged left a gap, nobody can say which
    /// these are, and nothing is done.
    pub(super) fn drop_oldest(&mut self) {
        if self.excused != Excused::default() {
            return;
        }
        let is_any = self.model.unread().next().is_some();
        assert_eq!(self.log().drop_oldest(), is_any);
        let losses = self.log().take_losses();
        assert!(losses.iter().all(|loss| loss.reason == LossReason::Full), "{losses:?}");
        let (frames, records) = totals(&losses);
        assert_eq!(frames > 0, is_any);
        let unread = self.model.unread().map(|(sequence, known)| (sequence, u64::from(known.content.records)));
        let gone: Vec<(u64, u64)> = unread.take(frames as usize).collect();
        assert_eq!(gone.len() as u64, frames);
        assert_eq!(gone.iter().map(|(_, records)| records).sum::<u64>(), records);
        for (sequence, _) in gone {
            self.model.set(sequence, Fate::Done(Kept::Volatile));
        }
        self.check();
    }

    /// Ends the process and starts another one, which must find what it has to find. Where it crashes while it closes the log,
    /// there is no other yet.
    pub(super) fn reopen(&mut self, ending: Ending) {
        if let Ending::Close = ending {
            self.close();
            if self.disk.is_crashed() {
                return;
            }
        }
        self.log = None;
        *self = self.after(ending);
    }

    /// The error is over: the log goes on, gives everything out, and leaves nothing behind.
    pub(super) fn conclude(&mut self) {
        self.disk.clear_faults();
        self.set_capacity(None);
        if self.disk.is_crashed() {
            self.reopen(Ending::Kill(Choices::mild()));
        }
        assert_eq!(self.append(&[10, 2000, 10]).len(), 3, "it goes on");
        loop {
            let came = self.read(4000);
            if !came && !self.log().has_unread() {
                break;
            }
        }
        assert_eq!(self.model.unread_counts(), (0, 0), "everything has been read");
        self.complete_all();
        self.maintain();
        self.reopen(Ending::Close);
        assert!(!self.log().has_unread());
        let left: Vec<String> = self.disk.snapshot().into_keys().filter(|name| name.ends_with(".segment")).collect();
        assert_eq!(left, Vec::<String>::new(), "nothing is left of what nobody needs");
    }

    /// What another process finds after this one has ended so, which it may have done in other ways as well.
    pub(super) fn after(&self, ending: Ending) -> Self {
        let (disk, ended) = match ending {
            Ending::Close => (self.disk.clone(), Ended::Killed),
            Ending::Kill(mut choices) => (self.disk.kill(&mut choices), Ended::Killed),
            Ending::PowerLoss(loss, mut choices) => (self.disk.power_loss(loss, &mut choices), Ended::PowerLost),
        };
        let mut world = Self { disk, model: self.model.clone(), log: None, ..*self };
        world.settle(ended);
        world.open();
        world
    }

    fn close(&mut self) {
        let now = self.now();
        let hits = self.disk.faults_hit();
        match self.log().close(now) {
            Ok(()) => self.model.keep(Kept::Durable),
            Err(error) => self.not_all(&error, hits),
        }
        self.check();
    }

    /// Reads the directory as the next process will find it, and compares it with the model.
    fn settle(&mut self, ended: Ended) {
        let now = self.now();
        let recovered = Recovered::of(&self.disk.kill(&mut Choices::mild()), self.options, now);
        let most = self.model.recover(ended, &recovered.read);
        let (frames, records) = recovered.lost();
        self.excused = Excused { frames, records };
        // A kill loses nothing; what it finds lost is what a power loss left.
        let most = if ended == Ended::Killed { self.gaps } else { most };
        assert!(frames <= most.frames, "{frames} frames are said to be lost, at most {} can be", most.frames);
        assert!(records <= most.records, "{records} records are said to be lost, at most {} can be", most.records);
        self.gaps = self.excused;
    }

    fn open(&mut self) {
        let now = self.now();
        let hits = self.disk.faults_hit();
        let mut log = match Log::open(self.disk.clone(), self.options, now) {
            Ok(log) => log,
            Err(OpenError::Io { source, .. }) => {
                self.explain_fault(&source, hits);
                self.disk = self.disk.kill(&mut Choices::mild());
                return self.open();
            }
            Err(newer) => panic!("{newer}"),
        };
        let excused = self.excused;
        let at_open = log.take_losses();
        self.log = Some(log);
        self.excuse(&at_open);
        let (frames, records) = self.model.unread_counts();
        let to_come = (frames + self.excused.frames, records + self.excused.records);
        assert_eq!(self.log().unread(), to_come, "recovered, beside what is lost: {excused:?}");
    }

    /// What must hold whatever was done.
    fn check(&mut self) {
        let losses = self.log().take_losses();
        self.excuse(&losses);
        if self.excused == Excused::default() {
            let expected = self.model.unread_counts();
            assert_eq!(self.log().unread(), expected, "what is to be read");
            assert_eq!(self.log().has_unread(), expected.0 > 0);
        }
    }

    /// Damage was found: that of frames that were never acknowledged.
    fn excuse(&mut self, losses: &[Loss]) {
        assert!(losses.iter().all(|loss| loss.reason == LossReason::Damaged), "{losses:?}");
        let (frames, records) = totals(losses);
        let left = self.excused.frames.checked_sub(frames).zip(self.excused.records.checked_sub(records));
        let (frames, records) = left.unwrap_or_else(|| panic!("{losses:?}, of {:?}", self.excused));
        self.excused = Excused { frames, records };
    }

    /// An error comes from a fault that was set or from a full disk.
    fn explain(&self, error: &std::io::Error, hits: u64) {
        if self.is_full && error.kind() == std::io::ErrorKind::StorageFull {
            return;
        }
        self.explain_fault(error, hits);
    }

    /// Something could not be done. What is completed may be written all the same.
    fn not_all(&mut self, error: &std::io::Error, hits: u64) {
        self.explain_fault(error, hits);
        if !self.log().has_unwritten_completions() {
            self.model.keep(Kept::Written);
        }
    }

    fn explain_fault(&self, error: &std::io::Error, hits: u64) {
        assert!(is_crash(error) || self.disk.faults_hit() > hits, "an error out of nothing: {error:?}");
    }

    fn content(&mut self, size: usize) -> Content {
        self.ids += 1;
        Content::new(self.ids, size)
    }
}

fn content(stored: Stored) -> (u64, Content) {
    let content = Content { signal: stored.signal, records: stored.frame.records, payload: stored.payload };
    (stored.frame.sequence, content)
}

/// Frames and records.
pub(super) fn totals(losses: &[Loss]) -> (u64, u64) {
    losses.iter().fold((0, 0), |(frames, records), loss| (frames + loss.frames, records + loss.records))
}
