//! What the engine tells of itself: its metrics when somebody asks, and its log and spans of its work as records that wait
//! for somebody.
//!
//! A service, so that a component gets it by naming it and never sees the engine. The engine makes it and fills it; who
//! takes from it sends on. Nobody who fills it waits: a queue that is full forgets its oldest records and counts them.
//!
//! Records about the engine's own records must not make more of them for ever. What is sent by whoever takes from here runs
//! [`unheard`]: what is logged meanwhile is no record. Its batches say whose they are
//! ([`Batch::of_the_engine`](crate::batch::Batch::of_the_engine)), so that sinks make no span of their delivery and refuse
//! them unheard. That a backend goes away and comes back is a record, whoever found out.

mod claim;
pub mod spans;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use engine_config::{ServiceId, sources::internal::LogLevel};
use parking_lot::Mutex;

use crate::registry::BuildError;
use crate::service::{Service, ServiceContext};
pub use claim::Claim;
use claim::{Seat, Wanted};
use spans::Spans;

/// Log records that wait at most.
pub const QUEUED_LOGS: usize = 2048;

/// Bytes of the texts of a log record; more is cut off.
pub const LOG_BYTES: usize = 16 * 1024;

/// No level is wanted.
const SILENT: u8 = 0;

thread_local! {
    static UNHEARD: Cell<bool> = const { Cell::new(false) };
}

/// What the engine tells of itself. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SelfTelemetry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    identity: OnceLock<Identity>,
    metrics: OnceLock<Reader>,
    logs: Logs,
    spans: Spans,
}

/// Who this process is: the attributes of the resource of everything that it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Attributes by key.
    pub attributes: Vec<(&'static str, String)>,
    /// When the process started, in nanoseconds since 1970.
    pub started_unix_nanos: u64,
}

/// One of the engine's metrics with its points.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnMetric {
    /// The name in Prometheus' text. That of a counter ends in `_total`.
    pub name: &'static str,
    /// What it says.
    pub description: &'static str,
    /// As OTLP spells it (UCUM); empty when there is none.
    pub unit: &'static str,
    /// The points, one a set of attributes.
    pub points: Vec<OwnPoint>,
}

/// One point of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnPoint {
    /// Names and values.
    pub attributes: Vec<(&'static str, String)>,
    /// The value now.
    pub value: OwnValue,
}

/// A value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OwnValue {
    /// A whole number.
    Count(u64),
    /// A number with a fraction.
    Double(f64),
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnLog {
    /// When it happened, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// How important it is.
    pub level: LogLevel,
    /// The part of the program that it comes from.
    pub target: &'static str,
    /// What happened.
    pub message: String,
    /// The fields of the event besides.
    pub fields: Vec<(&'static str, OwnField)>,
}

/// A field of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnField {
    /// A text, or anything as text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// True or false.
    Bool(bool),
}

/// Log records that were taken from the queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenLogs {
    /// The records, the oldest first.
    pub records: Vec<OwnLog>,
    /// Records that had to make room since the last time.
    pub forgotten: u64,
}

struct Reader(Box<dyn Fn() -> Vec<OwnMetric> + Send + Sync>);

#[derive(Debug, Default)]
struct Logs {
    /// The least important level that somebody wants, as [`rank`] counts; [`SILENT`] while nobody takes.
    wanted: AtomicU8,
    seat: Seat,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<OwnLog>,
    forgotten: u64,
}

impl Service for SelfTelemetry {
    const TYPE: &'static str = ServiceId::SELF_TELEMETRY;

    fn open(_: &ServiceContext<'_>) -> Result<Self, BuildError> {
        Err(BuildError::new("only a running engine has telemetry of its own"))
    }
}

impl Wanted for Shared {
    fn seat(&self) -> &Seat {
        &self.logs.seat
    }

    fn want(&self, what: u64) {
        self.logs.wanted.store(u8::try_from(what).unwrap_or(u8::MAX), Ordering::Relaxed);
    }
}

impl SelfTelemetry {
    /// Says who this process is. The first call counts.
    pub fn identify(&self, identity: Identity) {
        self.0.identity.get_or_init(|| identity);
    }

    /// Says how metrics are read. The first call counts.
    pub fn measure(&self, read: impl Fn() -> Vec<OwnMetric> + Send + Sync + 'static) {
        self.0.metrics.get_or_init(|| Reader(Box::new(read)));
    }

    /// Who this process is.
    pub fn identity(&self) -> Identity {
        self.0.identity.get().cloned().unwrap_or_default()
    }

    /// Spans of the engine's work.
    pub fn spans(&self) -> &Spans {
        &self.0.spans
    }

    /// All metrics now; none before there is anything to measure.
    pub fn metrics(&self) -> Vec<OwnMetric> {
        self.0.metrics.get().map(|reader| (reader.0)()).unwrap_or_default()
    }

    /// Asks for the log, down to this level, for the component `owner`. None when another one has it.
    pub fn want_logs(&self, owner: &str, level: LogLevel) -> Option<Claim> {
        let shared: Arc<dyn Wanted> = Arc::clone(&self.0) as _;
        Claim::of(shared, owner, u64::from(rank(level)))
    }

    /// Whether anybody wants an event of this level from the current thread. One look at a number while nobody does.
    pub fn wants(&self, level: LogLevel) -> bool {
        let wanted = self.0.logs.wanted.load(Ordering::Relaxed);
        wanted != SILENT && rank(level) <= wanted && !UNHEARD.get()
    }

    /// Puts an event into the queue; the oldest one makes room.
    pub fn log(&self, mut event: OwnLog) {
        bound(&mut event);
        let mut queue = self.0.logs.queue.lock();
        if queue.records.len() >= QUEUED_LOGS {
            queue.records.pop_front();
            queue.forgotten += 1;
        }
        queue.records.push_back(event);
    }

    /// Takes what is in the queue.
    pub fn take_logs(&self) -> TakenLogs {
        let Queue { records, forgotten } = std::mem::take(&mut *self.0.logs.queue.lock());
        TakenLogs { records: records.into(), forgotten }
    }
}

/// Does work whose events are no records: the work of handing records of the engine's own on.
pub async fn unheard<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|context| unheard_now(|| work.as_mut().poll(context))).await
}

/// [`unheard`] for work that does not wait.
pub fn unheard_now<T>(work: impl FnOnce() -> T) -> T {
    let _before = Hearing(UNHEARD.replace(true));
    work()
}

/// What the thread was before, again on drop: work may panic.
struct Hearing(bool);

impl Drop for Hearing {
    fn drop(&mut self) {
        UNHEARD.set(self.0);
    }
}

/// A random id in the form of a UUID (RFC 9562, version 4).
pub fn random_id() -> String {
    let random: u128 = rand::random();
    let bits = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Nanoseconds since 1970.
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Cuts texts off, so that a record takes a bounded amount of memory.
fn bound(event: &mut OwnLog) {
    let mut left = LOG_BYTES;
    let texts = event.fields.iter_mut().filter_map(|(_, field)| match field {
        OwnField::Text(text) => Some(text),
        OwnField::Int(_) | OwnField::Double(_) | OwnField::Bool(_) => None,
    });
    for text in std::iter::once(&mut event.message).chain(texts) {
        text.truncate(text.floor_char_boundary(left));
        text.shrink_to_fit();
        left -= text.len();
    }
}

const fn rank(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 1,
        LogLevel::Warn => 2,
        LogLevel::Info => 3,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reader")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> OwnLog {
        OwnLog { unix_nanos: 1, level: LogLevel::Warn, target: "test", message: message.to_owned(), fields: Vec::new() }
    }

    /// Nothing is wanted until somebody asks, then what is as important as that; only one component can ask, again too, and
    /// when it is gone another one.
    #[test]
    fn levels() {
        let own = SelfTelemetry::default();
        assert!(!own.wants(LogLevel::Error));
        let claim = own.want_logs("a", LogLevel::Warn);
        let wanted = [LogLevel::Error, LogLevel::Warn, LogLevel::Info].map(|level| own.wants(level));
        assert_eq!(wanted, [true, true, false]);
        assert!(own.want_logs("b", LogLevel::Trace).is_none(), "somebody has it");
        let next = own.want_logs("a", LogLevel::Error).expect("it is the same component");
        assert!(own.wants(LogLevel::Warn), "it has not taken over yet");
        next.take_over();
        drop(claim);
        assert!(own.wants(LogLevel::Error) && !own.wants(LogLevel::Warn));
        drop(next);
        assert!(!own.wants(LogLevel::Error), "nobody takes any more");
        assert!(own.want_logs("b", LogLevel::Trace).is_some());
    }

    /// A full queue forgets the oldest and says how many.
    #[test]
    fn the_oldest_make_room() {
        let own = SelfTelemetry::default();
        for number in 0..QUEUED_LOGS + 3 {
            own.log(event(&number.to_string()));
        }
        let taken = own.take_logs();
        assert_eq!((taken.records.len(), taken.forgotten), (QUEUED_LOGS, 3));
        assert_eq!(taken.records[0].message, "3");
        assert_eq!(own.take_logs(), TakenLogs::default());
    }

    /// Texts are cut at a character.
    #[test]
    fn records_are_bounded() {
        let own = SelfTelemetry::default();
        let long = "ü".repeat(LOG_BYTES);
        own.log(OwnLog { fields: vec![("a", OwnField::Text(long.clone()))], ..event(&long[..3 * 2]) });
        let taken = own.take_logs().records.remove(0);
        assert_eq!(taken.message, "üüü");
        assert_eq!(taken.fields, [("a", OwnField::Text("ü".repeat((LOG_BYTES - 6) / 2)))]);
    }

    /// Ids differ and say that they are random.
    #[test]
    fn ids() {
        let id = random_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert_ne!(id, random_id());
    }

    /// Work is unheard while it runs and not while it waits.
    #[tokio::test]
    async fn unheard_work() {
        let own = SelfTelemetry::default();
        let _claim = own.want_logs("a", LogLevel::Info);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let asked = own.clone();
        let work = tokio::spawn(unheard(async move {
            let before = asked.wants(LogLevel::Error);
            receiver.await.ok();
            [before, asked.wants(LogLevel::Error)]
        }));
        tokio::task::yield_now().await;
        assert!(own.wants(LogLevel::Error), "others are heard meanwhile");
        sender.send(()).ok();
        assert_eq!(work.await.ok(), Some([false, false]));
    }
}
