//! Spans of the engine's own work: which of it is told, and what a span says, as OTLP bytes that wait for somebody.
//!
//! While nobody wants spans, a piece of work costs one look at a number. Whoever works never waits for whoever takes: a
//! queue that is full forgets its oldest spans and counts them. Not here: what has a span (servers and the sink driver)
//! and who sends them on (the source `internal`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::claim::{Claim, Seat, Wanted};
use super::unix_nanos;

/// Spans that wait at most.
pub const QUEUED_SPANS: usize = 2048;

/// Bytes of a text in a span; more is cut off.
const TEXT_BYTES: usize = 1024;

/// Sampling looks at the last 56 bits of a trace id, which are random (W3C Trace Context Level 2, "Random Trace ID Flag").
const RANDOM_VALUES: u64 = 1 << 56;

/// Flags of a span: sampled, known whether its parent is remote, remote parent (OTLP, `SpanFlags`).
const SAMPLED: u32 = 0x1;
const KNOWN_REMOTE: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// The field numbers of a span and of what is in it (OTLP, `trace.proto` and `common.proto`).
mod field {
    pub(super) const SPANS: u32 = 2;
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const TEXT: u32 = 1;
    pub(super) const INT: u32 = 3;
    pub(super) const STATUS_MESSAGE: u32 = 2;
    pub(super) const STATUS_CODE: u32 = 3;
}

/// The status code of a span whose work failed (OTLP, `Status.StatusCode`).
const ERROR: u64 = 2;

/// Spans of one process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spans(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Of [`RANDOM_VALUES`], those with which a trace is told; 0 while nobody takes spans.
    told: AtomicU64,
    seat: Seat,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    spans: VecDeque<Vec<u8>>,
    forgotten: u64,
}

/// Spans that were taken from the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenSpans {
    /// Each a field `spans` of `ScopeSpans` with its key and length, the oldest first.
    pub spans: Vec<Vec<u8>>,
    /// Spans that had to make room since the last time.
    pub forgotten: u64,
}

/// Makes the spans of one component. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Component>);

#[derive(Debug)]
struct Component {
    spans: Spans,
    id: String,
    type_name: &'static str,
}

/// Which side of a call a span tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The one that was called.
    Server = 2,
    /// The one that calls.
    Client = 3,
}

/// The caller's span, as it says by `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    is_sampled: bool,
}

/// Work that is under way and will be told. Dropped before its end it says that it was cancelled or panicked.
#[derive(Debug)]
pub struct Span {
    spans: Spans,
    start_unix_nanos: u64,
    started: Instant,
    /// None once it has ended.
    content: Mutex<Option<Vec<u8>>>,
}

impl Wanted for Shared {
    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn want(&self, what: u64) {
        self.told.store(what, Ordering::Relaxed);
    }
}

impl Spans {
    /// Asks for spans of this share of all traces, 0 to 1, for the component `owner`. None when another one has them.
    pub fn want(&self, owner: &str, ratio: f64) -> Option<Claim> {
        // A share so small that it rounds to nothing is still not off.
        let told = ((ratio * RANDOM_VALUES as f64) as u64).min(RANDOM_VALUES).max(u64::from(ratio > 0.0));
        let shared: Arc<dyn Wanted> = Arc::clone(&self.0) as _;
        Claim::of(shared, owner, told)
    }

    /// Takes what is in the queue.
    pub fn take(&self) -> TakenSpans {
        let Queue { spans, forgotten } = std::mem::take(&mut *self.0.queue.lock());
        TakenSpans { spans: spans.into(), forgotten }
    }

    fn put(&self, span: Vec<u8>) {
        let mut queue = self.0.queue.lock();
        if queue.spans.len() >= QUEUED_SPANS {
            queue.spans.pop_front();
            queue.forgotten += 1;
        }
        queue.spans.push_back(span);
    }
}

impl Tracer {
    /// For a component with this id and type.
    pub fn new(spans: Spans, id: impl Into<String>, type_name: &'static str) -> Self {
        Self(Arc::new(Component { spans, id: id.into(), type_name }))
    }

    /// Whether somebody wants spans.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.spans.0.told.load(Ordering::Relaxed) > 0
    }

    /// Begins the span of a piece of work, if it is to be told. That of a caller whose own span is sampled always is, and
    /// becomes its child; any other begins a trace, of which the share that was asked for is told. The caller is looked for
    /// only while somebody wants spans.
    #[inline]
    pub fn begin(&self, kind: SpanKind, parent: impl FnOnce() -> Option<Parent>) -> Option<Arc<Span>> {
        if !self.is_on() {
            return None;
        }
        self.sampled(kind, parent().filter(|parent| parent.is_sampled))
    }

    #[cold]
    fn sampled(&self, kind: SpanKind, parent: Option<Parent>) -> Option<Arc<Span>> {
        let trace_id = parent.map_or_else(random_trace_id, |parent| parent.trace_id);
        let told = self.0.spans.0.told.load(Ordering::Relaxed);
        if parent.is_none() && !is_told(&trace_id, told) {
            return None;
        }
        let start_unix_nanos = unix_nanos();
        let mut content = Vec::with_capacity(512);
        bytes(&mut content, field::TRACE_ID, &trace_id);
        bytes(&mut content, field::SPAN_ID, &rand::random_range(1..=u64::MAX).to_be_bytes());
        let mut flags = SAMPLED | KNOWN_REMOTE;
        if let Some(parent) = parent {
            bytes(&mut content, field::PARENT_SPAN_ID, &parent.span_id);
            flags |= REMOTE;
        }
        number(&mut content, field::KIND, kind as u64);
        fixed64(&mut content, field::START, start_unix_nanos);
        key(&mut content, field::FLAGS, 5);
        content.extend_from_slice(&flags.to_le_bytes());
        let span = Span {
            spans: self.0.spans.clone(),
            start_unix_nanos,
            started: Instant::now(),
            content: Mutex::new(Some(content)),
        };
        span.text("component_id", &self.0.id);
        span.text("component_type", self.0.type_name);
        Some(Arc::new(span))
    }
}

impl Parent {
    /// Reads the header `traceparent` (W3C Trace Context, "traceparent Header Field Values"). None when it is not sound.
    pub fn read(header: &[u8]) -> Option<Self> {
        let mut parts = header.split(|byte| *byte == b'-');
        let [version] = hex::<1>(parts.next()?)?;
        let (trace_id, span_id) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?);
        let [flags] = hex::<1>(parts.next()?)?;
        // Versions to come may have more parts; 255 will never be one.
        let is_sound = version != 0xff && (version > 0 || parts.next().is_none());
        let has_ids = trace_id != [0; 16] && span_id != [0; 8];
        (is_sound && has_ids).then_some(Self { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }
}

impl Span {
    /// Says what is done. To be called once.
    pub fn name(&self, name: &str) {
        self.write(|content| text(content, field::NAME, name));
    }

    /// An attribute with a text.
    pub fn text(&self, key: &str, value: &str) {
        let mut any = Vec::with_capacity(value.len().min(TEXT_BYTES) + 3);
        text(&mut any, field::TEXT, value);
        self.attribute(key, &any);
    }

    /// An attribute with a whole number.
    pub fn int(&self, key: &str, value: u64) {
        let mut any = Vec::with_capacity(11);
        number(&mut any, field::INT, value.min(i64::MAX.unsigned_abs()));
        self.attribute(key, &any);
    }

    /// The end of the work: in one word how it ended and, when that is an error, what went wrong.
    pub fn end(&self, outcome: &'static str, error: Option<&str>) {
        self.text("outcome", outcome);
        let Some(mut content) = self.content.lock().take() else { return };
        let elapsed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        fixed64(&mut content, field::END, self.start_unix_nanos.saturating_add(elapsed));
        if let Some(message) = error {
            let mut status = Vec::with_capacity(message.len().min(TEXT_BYTES) + 8);
            text(&mut status, field::STATUS_MESSAGE, message);
            number(&mut status, field::STATUS_CODE, ERROR);
            bytes(&mut content, field::STATUS, &status);
        }
        let mut framed = Vec::with_capacity(content.len() + 4);
        bytes(&mut framed, field::SPANS, &content);
        self.spans.put(framed);
    }

    fn attribute(&self, name: &str, any: &[u8]) {
        let mut entry = Vec::with_capacity(name.len() + any.len() + 6);
        text(&mut entry, field::KEY, name);
        bytes(&mut entry, field::VALUE, any);
        self.write(|content| bytes(content, field::ATTRIBUTES, &entry));
    }

    fn write(&self, add: impl FnOnce(&mut Vec<u8>)) {
        if let Some(content) = self.content.lock().as_mut() {
            add(content);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.content.get_mut().is_none() {
            return;
        }
        if std::thread::panicking() {
            self.end("panic", Some("it panicked"));
        } else {
            self.end("cancelled", Some("nobody waited for the end"));
        }
    }
}

fn random_trace_id() -> [u8; 16] {
    rand::random_range(1..=u128::MAX).to_be_bytes()
}

/// Whether a trace is among those that are told: the same for every process that samples as much or more.
fn is_told(trace_id: &[u8; 16], told: u64) -> bool {
    let [.., a, b, c, d, e, f, g] = *trace_id;
    let random = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
    random >= RANDOM_VALUES - told
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    // Upper case is not allowed.
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut read = [0; N];
    for (byte, pair) in read.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(read)
}

fn key(buffer: &mut Vec<u8>, number: u32, wire: u32) {
    varint(buffer, u64::from(number << 3 | wire));
}

fn number(buffer: &mut Vec<u8>, field: u32, value: u64) {
    key(buffer, field, 0);
    varint(buffer, value);
}

fn fixed64(buffer: &mut Vec<u8>, field: u32, value: u64) {
    key(buffer, field, 1);
    buffer.extend_from_slice(&value.to_le_bytes());
}

fn text(buffer: &mut Vec<u8>, field: u32, value: &str) {
    bytes(buffer, field, &value.as_bytes()[..value.floor_char_boundary(TEXT_BYTES)]);
}

fn bytes(buffer: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(buffer, field, 2);
    varint(buffer, value.len() as u64);
    buffer.extend_from_slice(value);
}

fn varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn tracer(ratio: f64) -> (Spans, Tracer) {
        let spans = Spans::default();
        // The claim lasts as long as the test.
        std::mem::forget(spans.want("self", ratio));
        (spans.clone(), Tracer::new(spans, "apps", "otlp"))
    }

    /// What is not a header by the specification is no parent.
    #[test]
    fn parents() {
        let parent = Parent::read(HEADER.as_bytes()).expect("this is the example of the specification");
        assert!(parent.is_sampled && parent.trace_id[0] == 0x4b && parent.span_id[7] == 0xb7);
        assert!(!Parent::read(HEADER.replace("-01", "-00").as_bytes()).expect("it is sound").is_sampled);
        assert!(Parent::read(HEADER.replacen("00", "01", 1).replace("-01", "-01-more").as_bytes()).is_some());
        let wrong = [
            String::new(),
            HEADER.replacen("00", "ff", 1),
            format!("{HEADER}-more"),
            HEADER.to_uppercase(),
            HEADER.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            HEADER.replace("00f067aa0ba902b7", &"0".repeat(16)),
            HEADER[..HEADER.len() - 1].to_owned(),
        ];
        for header in wrong {
            assert_eq!(Parent::read(header.as_bytes()), None, "{header}");
        }
    }

    /// Without anybody who wants spans there are none, whatever the caller says; only one can want them.
    #[test]
    fn off_unless_wanted() {
        let spans = Spans::default();
        let tracer = Tracer::new(spans.clone(), "apps", "otlp");
        assert!(tracer.begin(SpanKind::Server, || panic!("nobody asks for the caller")).is_none());
        let claim = spans.want("self", 0.0);
        assert!(claim.is_some() && !tracer.is_on());
        assert!(spans.want("other", 1.0).is_none(), "somebody has them");
    }

    /// About the share that was asked for is told, and every request whose caller is sampled.
    #[test]
    fn shares() {
        let (_, tracer) = tracer(0.25);
        let told = (0..10_000).filter(|_| tracer.begin(SpanKind::Client, || None).is_some()).count();
        assert!((2_000..3_000).contains(&told), "{told} of 10000");
        let child = || Parent::read(HEADER.as_bytes());
        assert!((0..100).all(|_| tracer.begin(SpanKind::Server, child).is_some()));
        let everything = self::tracer(1.0).1;
        assert!((0..100).all(|_| everything.begin(SpanKind::Server, || None).is_some()));
        // One part of 2^56 is as good as nothing, and not off.
        assert!(self::tracer(f64::MIN_POSITIVE).1.is_on());
    }

    /// A full queue forgets the oldest and says how many.
    #[test]
    fn the_oldest_make_room() {
        let (spans, tracer) = tracer(1.0);
        for _ in 0..QUEUED_SPANS + 3 {
            let span = tracer.begin(SpanKind::Client, || None).expect("every trace is told");
            span.end("delivered", None);
        }
        let taken = spans.take();
        assert_eq!((taken.spans.len(), taken.forgotten), (QUEUED_SPANS, 3));
        assert_eq!(spans.take(), TakenSpans::default());
    }

    /// A span ends once: by its end, or by being forgotten. Long texts are cut at a character.
    #[test]
    fn ends_once() {
        let (spans, tracer) = tracer(1.0);
        let span = tracer.begin(SpanKind::Client, || None).expect("every trace is told");
        span.end("retry", Some(&"ü".repeat(TEXT_BYTES)));
        span.end("delivered", None);
        drop(span);
        drop(tracer.begin(SpanKind::Client, || None));
        let taken = spans.take().spans;
        let has = |span: &[u8], text: &str| span.windows(text.len()).any(|window| window == text.as_bytes());
        assert_eq!(taken.len(), 2);
        assert!(has(&taken[0], "retry") && has(&taken[0], &"ü".repeat(TEXT_BYTES / 2)) && !has(&taken[0], "delivered"));
        assert!(taken[0].len() < TEXT_BYTES + 300, "{} bytes", taken[0].len());
        assert!(has(&taken[1], "cancelled"));
    }
}
