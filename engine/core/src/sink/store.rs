//! What a sink driver asks of a buffer that survives the process.
//!
//! The driver owns what is in memory, the store what is on disk; a frame is one payload there. Calls return at once: what
//! takes long is answered on a thread of the store's own. Not here: files (`engine-buffers`), when what is sent (`durable`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engine_config::{SinkSettings, WhenFull};
use futures::future::BoxFuture;
use otlp::Wire;

/// A buffer on disk.
pub trait Store: fmt::Debug + Send + Sync {
    /// Bytes that a payload takes beside its encoded ones.
    fn overhead(&self) -> usize;
    /// Takes room for so many bytes.
    ///
    /// # Errors
    /// [`NoStore`]: there is none now.
    fn reserve(&self, room: usize) -> Result<(), NoStore>;
    /// Gives room back that nothing was appended to.
    fn give_back(&self, room: usize);
    /// Has a payload written and synced into room that was taken for it.
    fn append(&self, wire: Wire, room: usize, written: Arc<dyn Written>);
    /// Reads the next frames, of about so many bytes. They are not read again by this process.
    fn read(&self, most: usize, found: Box<dyn FnOnce(Vec<ReadFrame>) + Send>);
    /// Whether frames wait to be read.
    fn has_unread(&self) -> bool;
    /// A frame is needed no more.
    fn complete(&self, frame: FrameId);
    /// Who is told what happens by itself, from now on.
    fn belongs_to(&self, owner: Arc<dyn StoreOwner>);
    /// Changes its limits.
    fn resettle(&self, limits: StoreLimits);
    /// What it found when it was opened.
    fn recovered(&self) -> Recovered;
    /// How it does.
    fn state(&self) -> StoreState;
    /// Writes what is left to write and lets go of the files.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// Hears what becomes of a payload that is being written. One of the two is called, once.
pub trait Written: Send + Sync {
    /// It is on disk. When everything before it has been read, `in_turn`, it may be kept in memory, which the answer says.
    fn written(self: Arc<Self>, frame: FrameId, in_turn: bool) -> Keeping;
    /// It is not.
    fn failed(self: Arc<Self>, reason: &str);
    /// Whether anybody still waits for it to be written. It need not be otherwise, and nobody is to be told.
    fn is_wanted(&self) -> bool;
}

/// Hears of what happens in a store by itself.
pub trait StoreOwner: Send + Sync {
    /// There is something to read.
    fn readable(&self);
    /// There may be room again.
    fn freed(&self);
    /// Records were lost that nobody has read.
    fn lost(&self, reason: &'static str, records: u64);
}

/// A frame of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameId {
    /// Its sequence number.
    pub sequence: u64,
    /// Its records.
    pub records: u64,
    /// The store's own.
    pub place: u64,
}

/// A frame and what is in it.
#[derive(Debug)]
pub struct ReadFrame {
    /// Which one.
    pub frame: FrameId,
    /// Its payload.
    pub wire: Wire,
    /// How long it has waited.
    pub age: Duration,
}

/// Where a payload stays that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// In memory too, from where it is sent.
    InMemory,
    /// Nowhere: it is needed no more.
    Nowhere,
    /// On disk only, to be read in its turn.
    OnDisk,
}

/// Why a store has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStore {
    /// It is full.
    Full,
    /// Nothing can be written at present, or it takes too long.
    Failing,
}

/// What a store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of files.
    pub max_size: u64,
    /// How long payloads may wait.
    pub max_age: Option<Duration>,
    /// Whether the oldest make room for the newest.
    pub drops_oldest: bool,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records that are there to be read.
    pub records: u64,
    /// Records that are known to have been there and are gone.
    pub damaged: u64,
}

/// How a store does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreState {
    /// Bytes of its files.
    pub used: u64,
    /// The most of them.
    pub max: u64,
    /// Records that are on disk and that nobody has read.
    pub unread_records: u64,
    /// Frames found damaged, since it was opened.
    pub damaged_frames: u64,
    /// Groups of payloads that were written and synced at once.
    pub groups: u64,
    /// Why nothing can be written at present.
    pub problem: Option<String>,
}

impl StoreLimits {
    /// Those of a sink whose buffer is on disk.
    pub fn of(settings: &SinkSettings) -> Option<Self> {
        let disk = settings.disk?;
        let drops_oldest = settings.buffer.when_full == WhenFull::DropOldest;
        Some(Self { max_size: disk.max_size.0, max_age: disk.max_age, drops_oldest })
    }
}
