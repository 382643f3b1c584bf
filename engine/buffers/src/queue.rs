//! The disk queue of a sink: a log on a thread of its own, and the counts that everybody else may look at.
//!
//! The thread takes all that waits for it at once: what is to be written goes into one group, which is synced once. Nobody
//! waits in a call: answers come on the thread. Not here: files (`log`), what is sent (`engine_core::sink`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendError, Sender, TryRecvError};
use engine_core::memory;
use engine_core::sink::{FrameId, NoStore, ReadFrame, Recovered, Store, StoreLimits, StoreOwner, StoreState, Written};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use otlp::Wire;
use parking_lot::Mutex;

use crate::files::{Directory, HoldError};
use crate::format::FRAME_OVERHEAD;
use crate::log::{Log, Now, OpenError, Options};
use crate::worker::Worker;

/// A buffer has about so many segments when it is full: so large is the part of it that is freed at once.
const SEGMENTS: u64 = 16;
/// The limits of a segment's size.
const LEAST_SEGMENT: u64 = 256 * 1024;
const MOST_SEGMENT: u64 = 16 * 1024 * 1024;
/// Beyond so many segments they become larger.
const MOST_SEGMENTS: u64 = 2048;
/// Completions that the thread hears of at once, and that it writes at once: a kill may lose twice as many.
const COMPLETIONS: u32 = 8;
/// Bytes of a buffer that are not for segments: what is completed stands there.
const BESIDE_SEGMENTS: u64 = 512 * 1024;
/// The share of a buffer that is kept free for what comes next where the oldest make room, as a divisor.
const HEADROOM: u64 = 8;
/// Bytes on their way to the disk beyond which nothing more is taken: they may be charged to nobody any more.
const MOST_UNWRITTEN: u64 = 64 * 1024 * 1024;
/// What is taken at once before others are told how things are.
const MOST_AT_ONCE: usize = 1024;
/// After so long without anything to do the thread gives back the memory that it keeps.
const QUIET: Duration = Duration::from_secs(3);
/// How long a sync may take before nothing more is taken.
const STALLED: Duration = Duration::from_secs(2);

/// Why a buffer cannot be opened. Nothing in it has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenQueueError {
    /// The operating system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// It cannot be held.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// What stands in it cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A buffer that is open. Nothing in it is changed before it belongs to somebody.
#[derive(Debug)]
pub struct DiskQueue {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// Behind the commands, so that the thread finds their end when it is woken for it.
    thread: Wake,
}

/// Wakes the thread, also when nobody can ask any more. Waiting on a channel looks again and again before it sleeps, which
/// costs a busy machine more than what it is woken for.
#[derive(Debug)]
struct Wake(thread::Thread);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// What the thread and the others share.
pub(crate) struct Shared {
    pub(crate) name: String,
    began: Instant,
    recovered: Recovered,
    /// Bytes of the segments.
    pub(crate) written: AtomicU64,
    /// Room that was taken and is not written yet.
    pub(crate) reserved: AtomicU64,
    max: AtomicU64,
    pub(crate) drops_oldest: AtomicBool,
    pub(crate) unread: AtomicU64,
    pub(crate) has_unread: AtomicBool,
    pub(crate) damaged_frames: AtomicU64,
    pub(crate) groups: AtomicU64,
    /// Milliseconds after the beginning, plus one, at which a write began that has not ended.
    writing_since: AtomicU64,
    is_failing: AtomicBool,
    pub(crate) problem: Mutex<Option<String>>,
    pub(crate) owner: Mutex<Option<Arc<dyn StoreOwner>>>,
    /// Frames that are not needed any more, and that the thread has not heard of: it is not woken for each.
    pub(crate) completed: Mutex<Unheard>,
}

/// Frames that the thread has not heard of.
#[derive(Debug, Default)]
pub(crate) struct Unheard {
    pub(crate) frames: Vec<FrameId>,
    /// The thread sleeps without end, so that the next one has to wake it.
    wakes_first: bool,
}

impl Unheard {
    /// Has the next one wake the thread; not where there is one already.
    pub(crate) fn wake_for_first(&mut self) -> bool {
        self.wakes_first = self.frames.is_empty();
        self.wakes_first
    }

    /// Adds one, and says whether the thread is to be woken.
    fn add(&mut self, frame: FrameId) -> bool {
        self.frames.push(frame);
        std::mem::take(&mut self.wakes_first) || self.frames.len().is_multiple_of(COMPLETIONS as usize)
    }
}

/// What the thread is asked to do.
pub(crate) enum Command {
    Append {
        wire: Wire,
        room: usize,
        written: Arc<dyn Written>,
    },
    Read {
        most: usize,
        found: Box<dyn FnOnce(Vec<ReadFrame>) + Send>,
    },
    /// So many frames wait to be completed that it should not wait any longer.
    Complete,
    Resettle(StoreLimits),
    /// The oldest are to make room for so many bytes.
    MakeRoom(u64),
    /// The buffer is in use from now on: before that nothing in it is changed.
    Begin,
    Close(oneshot::Sender<()>),
}

impl DiskQueue {
    /// Opens the buffer in a directory, which is made where it is absent.
    ///
    /// # Errors
    /// [`OpenQueueError`].
    pub fn open(path: &Path, limits: StoreLimits) -> Result<Self, OpenQueueError> {
        let directory = Directory::hold_or_make(path)?;
        let began = Instant::now();
        let mut log = Log::open(directory, options(limits), now_since(began))?;
        let (_, records) = log.unread();
        let losses = log.take_losses();
        let recovered = Recovered { records, damaged: losses.iter().map(|loss| loss.records).sum() };
        let shared = Shared {
            name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            began,
            recovered,
            written: AtomicU64::new(log.size()),
            reserved: AtomicU64::new(0),
            max: AtomicU64::new(0),
            drops_oldest: AtomicBool::new(false),
            unread: AtomicU64::new(records),
            has_unread: AtomicBool::new(log.has_unread()),
            damaged_frames: AtomicU64::new(losses.iter().map(|loss| loss.frames).sum()),
            groups: AtomicU64::new(0),
            writing_since: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            problem: Mutex::new(None),
            owner: Mutex::new(None),
            completed: Mutex::default(),
        };
        shared.limit(limits);
        let shared = Arc::new(shared);
        let (commands, asked) = crossbeam_channel::unbounded();
        let worker = Worker::new(log, Arc::clone(&shared));
        let thread = thread::Builder::new().name("buffer".to_owned()).spawn(move || serve(worker, &asked));
        let thread = thread.map_err(OpenQueueError::Thread)?.thread().clone();
        Ok(Self { shared, commands, thread: Wake(thread) })
    }

    #[expect(clippy::result_large_err, reason = "the command comes back to whoever asked, who has to answer it")]
    fn ask(&self, command: Command) -> Result<(), SendError<Command>> {
        self.commands.send(command)?;
        self.thread.0.unpark();
        Ok(())
    }
}

/// Nobody can ask any more.
struct Ended;

/// The next command, when there is one within a time.
fn next(asked: &Receiver<Command>, within: Option<Duration>) -> Result<Option<Command>, Ended> {
    let until = within.map(|within| Instant::now() + within);
    loop {
        match asked.try_recv() {
            Ok(command) => return Ok(Some(command)),
            Err(TryRecvError::Disconnected) => return Err(Ended),
            Err(TryRecvError::Empty) => {}
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => return Ok(None),
            Some(left) => thread::park_timeout(left),
        }
    }
}

/// The thread: until it is closed, or nobody can ask any more.
fn serve(mut worker: Worker, asked: &Receiver<Command>) {
    let mut keeps_memory = true;
    let mut asked_at = Instant::now();
    loop {
        let pause = worker.pause().or(keeps_memory.then_some(QUIET));
        let Ok(first) = next(asked, pause) else { return worker.close() };
        if first.is_some() {
            (keeps_memory, asked_at) = (true, Instant::now());
        } else if keeps_memory && asked_at.elapsed() >= QUIET {
            memory::give_back();
            keeps_memory = false;
        }
        let waiting = first.into_iter().chain(std::iter::from_fn(|| asked.try_recv().ok())).take(MOST_AT_ONCE);
        if let Some(closed) = worker.work(waiting) {
            // Whoever still asks is told so by the end of the channel.
            worker.work(asked.try_iter());
            worker.close();
            // Whoever hears of it may open it.
            drop(worker);
            closed.send(()).unwrap_or(());
            return;
        }
    }
}

impl Store for DiskQueue {
    fn overhead(&self) -> usize {
        FRAME_OVERHEAD
    }

    fn reserve(&self, room: usize) -> Result<(), NoStore> {
        let shared = &self.shared;
        if shared.is_failing.load(Ordering::Relaxed) || shared.is_stalled() {
            return Err(NoStore::Failing);
        }
        let room = room as u64;
        let max = shared.max.load(Ordering::Relaxed);
        let fits = |reserved: u64| {
            let held = shared.written.load(Ordering::Acquire) + reserved;
            // What is larger than all of it gets in as soon as there is any room.
            let is_let_in_beyond = room > max && held < max;
            (held + room <= max || is_let_in_beyond).then_some(reserved + room)
        };
        if shared.reserved.load(Ordering::Relaxed) > MOST_UNWRITTEN {
            return Err(NoStore::Failing);
        }
        let taken = shared.reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        if taken.is_err() && shared.drops_oldest.load(Ordering::Relaxed) {
            // It comes too late for this one.
            drop(self.ask(Command::MakeRoom(room)));
        }
        taken.map(drop).map_err(|_| NoStore::Full)
    }

    fn give_back(&self, room: usize) {
        self.shared.reserved.fetch_sub(room as u64, Ordering::AcqRel);
    }

    fn append(&self, wire: Wire, room: usize, written: Arc<dyn Written>) {
        if let Err(error) = self.ask(Command::Append { wire, room, written }) {
            self.give_back(room);
            if let Command::Append { written, .. } = error.0 {
                written.failed("the buffer is closed");
            }
        }
    }

    fn read(&self, most: usize, found: Box<dyn FnOnce(Vec<ReadFrame>) + Send>) {
        if let Err(error) = self.ask(Command::Read { most, found })
            && let Command::Read { found, .. } = error.0
        {
            found(Vec::new());
        }
    }

    fn has_unread(&self) -> bool {
        self.shared.has_unread.load(Ordering::Acquire)
    }

    fn complete(&self, frame: FrameId) {
        let is_time = self.shared.completed.lock().add(frame);
        if is_time {
            // Once it is closed the frame comes again with the next process.
            drop(self.ask(Command::Complete));
        }
    }

    fn belongs_to(&self, owner: Arc<dyn StoreOwner>) {
        *self.shared.owner.lock() = Some(owner);
        drop(self.ask(Command::Begin));
    }

    fn resettle(&self, limits: StoreLimits) {
        self.shared.limit(limits);
        drop(self.ask(Command::Resettle(limits)));
    }

    fn recovered(&self) -> Recovered {
        self.shared.recovered
    }

    fn state(&self) -> StoreState {
        let shared = &self.shared;
        let stalled = || shared.is_stalled().then(|| "the disk does not answer".to_owned());
        StoreState {
            used: shared.written.load(Ordering::Acquire) + BESIDE_SEGMENTS,
            max: shared.max.load(Ordering::Relaxed) + BESIDE_SEGMENTS,
            unread_records: shared.unread.load(Ordering::Acquire),
            damaged_frames: shared.damaged_frames.load(Ordering::Relaxed),
            groups: shared.groups.load(Ordering::Relaxed),
            problem: shared.problem.lock().clone().or_else(stalled),
        }
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        // Nobody is told any more: the owner goes with its last task.
        let (closed, ended) = oneshot::channel();
        let is_asked = self.ask(Command::Close(closed)).is_ok();
        let shared = Arc::clone(&self.shared);
        async move {
            if is_asked {
                ended.await.unwrap_or(());
            }
            shared.owner.lock().take();
        }
        .boxed()
    }
}

impl Shared {
    fn limit(&self, limits: StoreLimits) {
        self.max.store(for_segments(limits), Ordering::Relaxed);
        self.drops_oldest.store(limits.drops_oldest, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Now {
        now_since(self.began)
    }

    /// Whether the oldest are to make room, when so much is to be written.
    pub(crate) fn wants_room(&self, more: u64) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let is_over = self.written.load(Ordering::Relaxed) + more > max - max / HEADROOM;
        is_over && self.drops_oldest.load(Ordering::Relaxed)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_stalled(&self) -> bool {
        let since = self.writing_since.load(Ordering::Relaxed);
        since > 0 && u128::from(self.millis().saturating_sub(since - 1)) > STALLED.as_millis()
    }

    pub(crate) fn work_begins(&self) {
        self.writing_since.store(self.millis() + 1, Ordering::Relaxed);
    }

    /// Says whether it has taken too long.
    pub(crate) fn work_ended(&self) -> bool {
        let was_stalled = self.is_stalled();
        self.writing_since.store(0, Ordering::Relaxed);
        was_stalled
    }

    /// What comes next is tried, though the problem may not be over.
    pub(crate) fn takes_again(&self) {
        self.is_failing.store(false, Ordering::Relaxed);
    }

    /// Nothing can be written, for this reason, or it can again.
    pub(crate) fn set_problem(&self, problem: Option<String>) {
        self.is_failing.store(problem.is_some(), Ordering::Relaxed);
        *self.problem.lock() = problem;
    }

    pub(crate) fn owner(&self) -> Option<Arc<dyn StoreOwner>> {
        self.owner.lock().clone()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a buffer of this size divides its files.
pub(crate) fn options(limits: StoreLimits) -> Options {
    Options {
        segment_size: (limits.max_size / SEGMENTS)
            .clamp(LEAST_SEGMENT, MOST_SEGMENT.max(limits.max_size / MOST_SEGMENTS)),
        max_size: for_segments(limits),
        completions: COMPLETIONS,
        max_age: limits.max_age,
    }
}

/// Bytes that segments may take.
fn for_segments(limits: StoreLimits) -> u64 {
    limits.max_size.saturating_sub(BESIDE_SEGMENTS)
}

fn now_since(began: Instant) -> Now {
    let unix = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { unix_millis: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX), elapsed: began.elapsed() }
}

#[cfg(test)]
mod tests;
