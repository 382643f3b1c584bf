//! The thread that reads: waits for changes, reads what has changed in turns, and puts records into requests.
//!
//! It owns the files and never waits for anybody but the kernel: requests go to the runtime, answers come back, and how much
//! may be under way is counted here. Here is the loop and its clock; finding files is in `look` and `found`, reading them in `turn`,
//! leaving them out in `left_out`, what waits for more lines in `waits`, and what becomes of requests and positions in `keep`. Not
//! here: the runtime's half (`deliver`).

mod found;
mod keep;
mod left_out;
mod look;
#[cfg(test)]
mod tests;
mod turn;
mod waits;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use engine_config::sources::file::StartAt;
use engine_config::sources::reading::Watch;
use engine_core::state_store::StateStore;
use engine_core::telemetry::ComponentTelemetry;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use slab::Slab;
use tokio::sync::mpsc::UnboundedSender;

use self::found::Undecided;
use self::keep::Saving;
pub(super) use self::keep::Sent;
use self::look::Directory;
use super::Settings;
use super::batch::Request;
use super::checkpoint::{self, PositionsError, Remembered};
use super::counts::{Counts, add, set};
use super::identity::Inode;
use super::log::{FileKey, Log, LogFile, LogKey};
use super::record::{Format, Records};
use super::selection::{Decision, Selection};
use super::watch::Watcher;

/// A directory in the reader's table.
pub(super) type DirectoryKey = usize;

/// How long changes are let come together before the next look at them. The first one after a pause is looked at at once.
const PAUSE: Duration = Duration::from_millis(200);
/// By how much longer for each log that has changed: a look at a log costs the same for one line and for many.
const PAUSE_A_LOG: Duration = Duration::from_micros(300);
/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often things that wait for time to pass are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long a log whose permission is not known yet is held.
const HOLD: Duration = Duration::from_secs(5);
/// How often it is measured how much is not read yet, while something is.
const MEASURE: Duration = Duration::from_secs(1);
/// How often everything is looked at, whatever the kernel has told: what a link points to can change anywhere.
const LOOK_AROUND: Duration = Duration::from_secs(60);

/// What the reader tells the runtime.
#[derive(Debug)]
pub(super) enum Told {
    /// A request to deliver.
    Request(Sent),
    /// The content of the document of positions, to be kept.
    Save(Vec<u8>),
}

/// What the runtime answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What became of the request with this number.
    Request(u64, Delivery),
    /// What became of the positions.
    Saved(Kept),
    /// Read no more; end when everything is answered.
    Drain,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Delivered, or refused for good.
    Done,
    /// Given up because the source ends: it is read again after the next start.
    Unfinished,
}

/// Whether positions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No,
}

/// Wakes the reader.
#[derive(Clone, Debug)]
pub(super) struct Bell(Arc<OwnedFd>);

/// What a reader is made of.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) format: Arc<Format>,
    pub(super) selection: Box<dyn Selection>,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) telemetry: Arc<ComponentTelemetry>,
    pub(super) counts: Arc<Counts>,
    pub(super) told: UnboundedSender<Told>,
    pub(super) answers: Receiver<Answer>,
    pub(super) bell: Bell,
}

/// The state of the thread.
pub(super) struct Reader {
    parts: Parts,
    watcher: Option<Watcher>,
    directories: Slab<Directory>,
    directory_keys: HashMap<Inode, DirectoryKey>,
    logs: Slab<Log>,
    log_keys: HashMap<PathBuf, LogKey>,
    files: Slab<LogFile>,
    /// Files that are open, at most.
    opened: usize,
    file_keys: HashMap<Inode, FileKey>,
    /// Positions of an earlier start whose files were not found yet, and of files that are gone.
    remembered: Remembered,
    start: Start,
    /// Logs that may have something to read, in the order of their turns.
    ready: VecDeque<LogKey>,
    /// Logs that wait for a permission.
    held: Vec<LogKey>,
    /// Logs whose parser has something waiting.
    waiting: HashSet<LogKey>,
    /// Files that were rotated or deleted and may still be written to.
    settling: Vec<FileKey>,
    /// Files of which it is not known yet whether they are whole.
    undecided: Vec<Undecided>,
    /// Logs whose files could not be opened for want of a place for one more.
    stalled: Vec<LogKey>,
    /// Directories that are looked at again and again.
    polled: Vec<DirectoryKey>,
    /// It was told that the kernel cannot tell of changes.
    is_polling_told: bool,
    /// There are links that point elsewhere.
    has_links: bool,
    buffer: Vec<u8>,
    records: Records,
    request: Request,
    saving: Saving,
    clock: Clock,
    /// How often a log was found to go on in a new file.
    begun: u64,
    /// Names of files, or which of them are read, have changed since the last count.
    is_renamed: bool,
    is_draining: bool,
}

/// Whether positions of an earlier start exist, and whether files are looked at for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The first look of the very first start.
    First,
    /// The first look of a later start.
    Again,
    /// What is found now is new.
    Over,
}

/// When what is done next.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Tells the time.
    tell: fn() -> Instant,
    now: Instant,
    /// Changes are looked at.
    changes: Instant,
    tick: Instant,
    poll: Instant,
    measure: Instant,
    look_around: Instant,
}

/// How reading ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Positions(#[from] PositionsError),
    #[error("cannot wait for changes of files")]
    Wait(#[source] io::Error),
}

impl Clock {
    fn look(&mut self) {
        self.now = (self.tell)();
    }
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    pub(super) fn ring(&self) {
        // It can only be full, and then it rings already.
        rustix::io::write(&*self.0, &1_u64.to_ne_bytes()).ok();
    }

    fn hush(&self) {
        // Nothing to read means that nobody rang.
        rustix::io::read(&*self.0, &mut [0; 8]).ok();
    }
}

impl Reader {
    pub(super) fn new(parts: Parts) -> Self {
        Self::with_clock(parts, Instant::now)
    }

    /// A reader that is told the time.
    fn with_clock(parts: Parts, tell: fn() -> Instant) -> Self {
        let now = tell();
        let buffer = vec![0; turn::QUANTUM];
        let request = Request::new(parts.settings.scope);
        let clock =
            Clock { tell, now, changes: now, tick: now, poll: now, measure: now, look_around: now + LOOK_AROUND };
        Self {
            watcher: None,
            directories: Slab::new(),
            directory_keys: HashMap::new(),
            logs: Slab::new(),
            log_keys: HashMap::new(),
            files: Slab::new(),
            opened: 0,
            file_keys: HashMap::new(),
            remembered: Remembered::default(),
            start: Start::First,
            ready: VecDeque::new(),
            held: Vec::new(),
            waiting: HashSet::new(),
            settling: Vec::new(),
            undecided: Vec::new(),
            stalled: Vec::new(),
            polled: Vec::new(),
            is_polling_told: false,
            has_links: false,
            buffer,
            records: Records::default(),
            request,
            saving: Saving::new(now),
            clock,
            begun: 0,
            is_renamed: false,
            is_draining: false,
            parts,
        }
    }

    /// Reads until it is told to drain and everything is answered, or nobody listens any more.
    pub(super) fn run(mut self) -> Result<(), ReadError> {
        self.begin()?;
        loop {
            self.clock.look();
            if self.round()? == Round::Last {
                return Ok(());
            }
            self.wait()?;
        }
    }

    /// Takes answers and changes, and reads and sends what may be.
    fn round(&mut self) -> Result<Round, ReadError> {
        if self.hear() == Listening::Nobody {
            return Ok(Round::Last);
        }
        if self.is_draining {
            self.send_request();
            if self.is_at_rest() {
                return Ok(Round::Last);
            }
        } else {
            self.changes()?;
            self.pass();
            // Behind reading, so that what has come ends no wait.
            self.tick();
            self.send_request();
        }
        self.save_if_due();
        self.tell_counts();
        Ok(Round::Done)
    }

    /// Loads positions and looks at everything for the first time.
    fn begin(&mut self) -> Result<(), ReadError> {
        match checkpoint::load(&self.parts.store)? {
            Some(remembered) => {
                self.remembered = remembered;
                self.start = Start::Again;
            }
            None => self.start = Start::First,
        }
        if self.parts.settings.watch == Watch::Auto {
            match Watcher::new() {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => self.tell_polling(None, &error),
            }
        }
        self.look_at_roots();
        self.start = Start::Over;
        self.count_gone();
        // At once: after a kill what is rotated from now on must not be taken for older than the first start.
        self.save();
        Ok(())
    }

    /// Takes all answers.
    fn hear(&mut self) -> Listening {
        self.parts.bell.hush();
        loop {
            match self.parts.answers.try_recv() {
                Ok(Answer::Request(number, delivery)) => self.answered(number, delivery),
                Ok(Answer::Saved(kept)) => self.saved(kept),
                Ok(Answer::Drain) => self.drain(),
                Err(TryRecvError::Empty) => return Listening::Yes,
                Err(TryRecvError::Disconnected) => return Listening::Nobody,
            }
        }
    }

    /// Reads in turns until nothing is left to read or as much is under way as may be.
    fn pass(&mut self) {
        while let Some(key) = self.ready.pop_front() {
            if !self.may_read() {
                self.ready.push_front(key);
                break;
            }
            match self.turn(key) {
                turn::Turn::More => self.ready.push_back(key),
                turn::Turn::CaughtUp => {
                    if let Some(log) = self.logs.get_mut(key) {
                        log.is_queued = false;
                    }
                }
            }
            if self.request.len() >= self.parts.settings.request_size {
                self.send_request();
                self.clock.look();
                // Rotation goes on while there is much to read.
                if self.clock.now >= self.clock.changes {
                    return;
                }
            }
        }
    }

    /// Has a log read when it is its turn.
    fn make_ready(&mut self, key: LogKey) {
        if let Some(log) = self.logs.get_mut(key)
            && !log.is_queued
            && log.held_since.is_none()
        {
            log.is_queued = true;
            self.ready.push_back(key);
        }
    }

    /// What is due because time has passed.
    fn tick(&mut self) {
        let now = self.clock.now;
        if now >= self.clock.poll {
            self.clock.poll = now + self.parts.settings.poll_interval;
            for key in self.polled.clone() {
                self.look_again(key);
            }
        }
        if now >= self.clock.look_around {
            self.clock.look_around = now + LOOK_AROUND;
            self.look_around();
        }
        if now >= self.clock.measure {
            self.clock.measure = now + MEASURE;
            self.measure();
        }
        if now < self.clock.tick {
            return;
        }
        self.clock.tick = now + TICK;
        self.release_held();
        self.settle();
        self.decide_undecided();
        self.flush_waiting();
        for key in std::mem::take(&mut self.stalled) {
            self.make_ready(key);
        }
    }

    /// Asks again for permissions, and takes it for given after a while.
    fn release_held(&mut self) {
        for key in std::mem::take(&mut self.held) {
            let Some(log) = self.logs.get_mut(key) else { continue };
            let Some(since) = log.held_since else { continue };
            match self.parts.selection.decide(&log.path) {
                Decision::Unknown if self.clock.now < since + HOLD => self.held.push(key),
                decision @ (Decision::Collect | Decision::Unknown) => {
                    log.held_since = None;
                    if decision == Decision::Unknown {
                        add(&self.parts.counts.logs_undecided, 1);
                    }
                    self.make_ready(key);
                }
                Decision::Skip => self.leave_out(key),
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&mut self) -> Result<(), ReadError> {
        if !self.ready.is_empty() && self.may_read() && !self.is_draining {
            return Ok(());
        }
        let now = (self.clock.tell)();
        let until = self.next_due();
        let listens = self.watcher.is_some() && !self.is_draining && now >= self.clock.changes;
        let timeout = until.map(|until| until.saturating_duration_since(now));
        if timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        let timeout =
            timeout.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let bell = PollFd::from_borrowed_fd(self.parts.bell.0.as_fd(), PollFlags::IN);
        let waited = match self.watcher.as_ref().filter(|_| listens) {
            Some(watcher) => {
                let changes = PollFd::from_borrowed_fd(watcher.descriptor(), PollFlags::IN);
                poll(&mut [bell, changes], timeout.as_ref())
            }
            None => poll(&mut [bell], timeout.as_ref()),
        };
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(ReadError::Wait(error.into())),
        }
    }

    /// When to wake up although nothing happens; none while nothing waits for time to pass.
    fn next_due(&self) -> Option<Instant> {
        let saving = self.saving_due();
        if self.is_draining {
            return saving;
        }
        let is_ticking = !(self.held.is_empty()
            && self.settling.is_empty()
            && self.undecided.is_empty()
            && self.stalled.is_empty()
            && self.waiting.is_empty());
        let dues = [
            Some(self.clock.look_around),
            // After a pass changes come together until then.
            (self.clock.changes > self.clock.now).then_some(self.clock.changes),
            is_ticking.then_some(self.clock.tick),
            (!self.polled.is_empty()).then_some(self.clock.poll),
            // Once more after the last one that found something.
            (!self.ready.is_empty() || self.parts.counts.is_behind()).then_some(self.clock.measure),
            saving,
        ];
        dues.into_iter().flatten().min()
    }

    fn tell_counts(&mut self) {
        let counts = &self.parts.counts;
        set(&counts.files_known, self.files.len() as u64);
        if std::mem::take(&mut self.is_renamed) {
            set(&counts.logs_left_out, self.left_out());
        }
        set(&counts.directories_polled, self.polled.len() as u64);
        set(&counts.bytes_in_flight, self.saving.unsaved());
    }
}

/// Whether anybody hears the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Yes,
    Nobody,
}

/// Whether another round follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Done,
    Last,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Named {
    directory: DirectoryKey,
    name: OsString,
}

/// Where a file that is found begins, when nothing is known of it.
fn beginning_at(start_at: StartAt, size: u64) -> u64 {
    match start_at {
        StartAt::Beginning => 0,
        StartAt::End => size,
    }
}
