//! Admission: the one pass over a body after which nothing needs checking again.
//!
//! What is admitted, prost decodes and every operation of [`Wire`] can slice: framing of every level, wire types of
//! known fields, UTF-8 of every string, and nesting are proven; records are counted; singular fields occur once and
//! groups are gone. Left out is what carries nothing: entries without records, and unknown fields of the request
//! itself, which would mean nothing once requests are split and joined. Other unknown fields survive.
//!
//! It hardly looks at meaning: a span without a trace id, or with one of zeros, is admitted. A record with an id of a
//! wrong length is no record that anybody could use; it is left out and counted, and takes nobody with it.

mod ascii;
mod attribute;
mod check;
mod error;
mod fast;
mod normalise;
mod scan;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
mod usual;

use bytes::Bytes;

use self::check::{Checker, DEPTH_LIMIT, FaultAt, Key, State};
pub use self::error::{AdmitError, Fault};
use crate::protobuf::{WireType, field_len, put_length_head};
use crate::rope::Rope;
use crate::schema;
use crate::wire::{Entries, Entry};
use crate::{Signal, Wire};

/// Checks a body and indexes it, in one go.
///
/// # Errors
///
/// [`AdmitError`] names the field at fault and its offset.
pub fn admit(signal: Signal, body: Bytes) -> Result<Wire, AdmitError> {
    Admission::new(signal, body).run()
}

/// Checks and indexes bytes that came out of a [`Wire`], from a disk for example. It sets no limit that a request
/// could exceed by being joined with others.
///
/// # Errors
///
/// [`AdmitError`] as [`admit`]: the bytes are not those of a [`Wire`].
pub fn readmit(signal: Signal, body: Bytes) -> Result<Wire, AdmitError> {
    Admission { entry_limit: usize::MAX, record_limit: u64::MAX, ..Admission::new(signal, body) }.run()
}

/// Entries that a body may have whatever its size, and the bytes for which it may have one more each. Entries cost
/// memory in every step, enrichment adds hundreds of bytes to each, and the smallest one is of six bytes.
const ENTRIES: usize = 16_384;
const BYTES_OF_FURTHER_ENTRY: usize = 256;

/// Records that a body may have whatever its size, and the bytes for which it may have one more each. The smallest record
/// is of two bytes; every step costs time by the record, and an attribute set in each of them dozens of times their bytes.
const RECORDS: u64 = 1 << 20;
const BYTES_OF_FURTHER_RECORD: usize = 16;

/// [`admit`] in steps, for a caller that must not hold its thread for long.
#[derive(Debug)]
pub struct Admission {
    signal: Signal,
    body: Bytes,
    at: usize,
    entry: Option<OpenEntry>,
    scope: Option<OpenScope>,
    entries: Entries,
    state: State,
    entry_limit: usize,
    record_limit: u64,
    /// The largest piece of work that the step in hand may do in one go, in bytes.
    longest: usize,
    normalised: bool,
    /// Records that are not in the normal forms.
    left_out: u64,
    /// Bytes of normal forms in the rope.
    written: usize,
    /// What is kept of the body before `kept_from`, if that is not simply all of it.
    rope: Rope,
    kept_from: usize,
}

/// How far an [`Admission`] is.
#[derive(Debug)]
pub enum Progress {
    /// Call [`Admission::step`] again.
    More,
    /// What comes next is larger than the step and cannot be divided: a record, a Resource, or an entry that must be
    /// normalised. Call [`Admission::step_long`], from where it does not matter how long that takes.
    Long,
    /// The body is admitted. The admission is spent.
    Done(Wire),
}

/// An entry (`ResourceLogs` and the like) of which a part is checked.
#[derive(Copy, Clone, Debug)]
struct OpenEntry {
    start: usize,
    content: usize,
    end: usize,
    seen: u32,
    records_before: u64,
}

/// A scope list (`ScopeLogs` and the like) of which a part is checked.
#[derive(Copy, Clone, Debug)]
struct OpenScope {
    end: usize,
    seen: u32,
}

/// Where [`Admission::advance`] stopped.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Stopped {
    /// Between two pieces of work, or at the end.
    Between,
    /// In front of a piece of work that is longer than allowed.
    Early,
}

/// Levels that may follow inside an entry, inside its Resource or a scope list, and inside a scope or a record.
const ENTRY_DEPTH: u32 = DEPTH_LIMIT - 1;
const SCOPE_DEPTH: u32 = ENTRY_DEPTH - 1;
const RECORD_DEPTH: u32 = SCOPE_DEPTH - 1;

impl Admission {
    /// Starts to check a body. No work is done yet.
    pub fn new(signal: Signal, body: Bytes) -> Self {
        Self {
            signal,
            entry_limit: ENTRIES + body.len() / BYTES_OF_FURTHER_ENTRY,
            record_limit: RECORDS + (body.len() / BYTES_OF_FURTHER_RECORD) as u64,
            longest: usize::MAX,
            body,
            at: 0,
            entry: None,
            scope: None,
            entries: Entries::new(),
            state: State::default(),
            normalised: false,
            left_out: 0,
            written: 0,
            rope: Rope::new(),
            kept_from: 0,
        }
    }

    fn run(mut self) -> Result<Wire, AdmitError> {
        loop {
            if let Progress::Done(wire) = self.step(usize::MAX)? {
                return Ok(wire);
            }
        }
    }

    /// Checks up to `budget_bytes` more bytes, and at most as many again to end the record or field it is in then. It stops
    /// earlier in front of one that is larger than the budget.
    ///
    /// # Errors
    ///
    /// [`AdmitError`] as [`admit`]. The admission must not be continued then.
    pub fn step(&mut self, budget_bytes: usize) -> Result<Progress, AdmitError> {
        self.longest = budget_bytes;
        self.go_on(self.at.saturating_add(budget_bytes.max(1)))
    }

    /// Checks the one record, field or entry that a step stopped in front of, however large it is.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn step_long(&mut self) -> Result<Progress, AdmitError> {
        self.longest = usize::MAX;
        self.go_on(self.at.saturating_add(1))
    }

    fn go_on(&mut self, stop: usize) -> Result<Progress, AdmitError> {
        let body = self.body.clone();
        let mut checker = Checker::new(&body, self.state);
        let ended = self.advance(&mut checker, &body, stop);
        self.state = checker.state;
        if ended.is_none() {
            let FaultAt { at, fault } = checker.fault.expect("checks end early at a fault only");
            let path = error::path_of(schema::request(self.signal), &body, at);
            return Err(AdmitError::Malformed { path, offset: at, fault });
        }
        match ended {
            Some(Stopped::Early) => Ok(Progress::Long),
            _ if self.at < body.len() => Ok(Progress::More),
            _ => Ok(Progress::Done(self.finish())),
        }
    }

    /// Checks until `stop` is reached between two fields of the upper levels, or the body ends.
    fn advance(&mut self, checker: &mut Checker<'_>, body: &[u8], stop: usize) -> Option<Stopped> {
        loop {
            if let Some(scope) = &mut self.scope {
                while self.at < scope.end {
                    if self.at >= stop {
                        return Some(Stopped::Between);
                    }
                    let next = scope_field(self.signal, checker, body, self.at, scope, self.longest)?;
                    if next == self.at {
                        return Some(Stopped::Early);
                    }
                    self.at = next;
                }
                self.scope = None;
            }
            if let Some(entry) = &mut self.entry {
                if self.at < entry.end {
                    if self.at >= stop {
                        return Some(Stopped::Between);
                    }
                    let key = checker.key(self.at, entry.end)?;
                    if key.number == 2 && key.wire == WireType::Length {
                        let (start, end) = checker.length(key, entry.end)?;
                        self.at = start;
                        self.scope = Some(OpenScope { end, seen: 0 });
                        continue;
                    }
                    if checker.work(key, entry.end) > self.longest {
                        return Some(Stopped::Early);
                    }
                    self.at = entry_field(self.signal, checker, body, key, entry)?;
                    continue;
                }
                if checker.state.irregular && entry.end - entry.start > self.longest {
                    return Some(Stopped::Early);
                }
                self.close_entry(checker, body)?;
            }
            if self.at >= body.len() || self.at >= stop {
                return Some(Stopped::Between);
            }
            let key = checker.key(self.at, body.len())?;
            if key.number != 1 && checker.work(key, body.len()) > self.longest {
                return Some(Stopped::Early);
            }
            self.request_field(checker, body)?;
        }
    }

    /// Opens an entry, or drops a field of the request that nobody knows.
    fn request_field(&mut self, checker: &mut Checker<'_>, body: &[u8]) -> Option<()> {
        let start = self.at;
        let key = checker.key(start, body.len())?;
        if key.number == 1 && key.wire == WireType::Length {
            let (content, end) = checker.length(key, body.len())?;
            self.at = content;
            checker.state.irregular = false;
            self.entry = Some(OpenEntry { start, content, end, seen: 0, records_before: checker.state.records });
            return Some(());
        }
        self.at = checker.field(schema::request(self.signal), start, body.len(), DEPTH_LIMIT, &mut 0)?;
        self.leave_out(start, self.at);
        Some(())
    }

    fn close_entry(&mut self, checker: &mut Checker<'_>, body: &[u8]) -> Option<()> {
        let open = self.entry.take()?;
        let entry = if checker.state.irregular {
            let entry = self.normalise(&open, checker, body)?;
            checker.state.records = open.records_before + entry.records;
            entry
        } else {
            let records = checker.state.records - open.records_before;
            if records == 0 {
                self.leave_out(open.start, open.end);
            }
            Entry { len: open.end - open.start, records }
        };
        if entry.records == 0 {
            return Some(());
        }
        if self.entries.len() >= self.entry_limit {
            checker.fault = Some(FaultAt { at: open.start, fault: Fault::TooManyEntries });
            return None;
        }
        if checker.state.records > self.record_limit {
            checker.fault = Some(FaultAt { at: open.start, fault: Fault::TooManyRecords });
            return None;
        }
        self.entries.push(entry);
        Some(())
    }

    /// Replaces an entry by its normal form.
    fn normalise(&mut self, entry: &OpenEntry, refusals: &mut Checker<'_>, body: &[u8]) -> Option<Entry> {
        let message = schema::entry(self.signal);
        let mut content = Vec::with_capacity(entry.end - entry.content);
        self.left_out += normalise::rewrite(message, &[&body[entry.content..entry.end]], &mut content);
        let mut checker = Checker::new(&content, State::default());
        if checker.message(message, 0, content.len(), ENTRY_DEPTH).is_none() {
            refusals.fault = checker.fault.map(|fault| FaultAt { at: entry.start, ..fault });
            return None;
        }
        debug_assert!(!checker.state.irregular, "the normal form is regular");
        self.leave_out(entry.start, entry.end);
        self.normalised = true;
        let records = checker.state.records;
        let mut whole = Vec::new();
        if records > 0 {
            whole.reserve_exact(field_len(content.len()));
            put_length_head(&mut whole, 1, content.len());
            whole.extend_from_slice(&content);
        }
        let len = whole.len();
        self.written += len;
        self.rope.push(Bytes::from(whole));
        Some(Entry { len, records })
    }

    /// Leaves a part of the body out of the rope.
    fn leave_out(&mut self, start: usize, end: usize) {
        if self.kept_from < start {
            self.rope.push(self.body.slice(self.kept_from..start));
        }
        self.kept_from = end;
    }

    fn finish(&mut self) -> Wire {
        let body = std::mem::take(&mut self.body);
        let mut rope = std::mem::take(&mut self.rope);
        rope.push(body.slice(std::mem::take(&mut self.kept_from)..));
        let shared = if rope.len() > self.written { body.len() } else { 0 };
        self.at = 0;
        Wire {
            signal: self.signal,
            retained: shared + std::mem::take(&mut self.written),
            rope,
            entries: std::mem::take(&mut self.entries),
            records: std::mem::take(&mut self.state).records,
            normalised: self.normalised,
            left_out: self.left_out,
        }
    }
}

/// Checks the field at `at` of a scope list, and returns where the next one begins; `at` itself when the field is larger
/// than `longest`.
#[inline]
fn scope_field(
    signal: Signal,
    checker: &mut Checker<'_>,
    body: &[u8],
    at: usize,
    scope: &mut OpenScope,
    longest: usize,
) -> Option<usize> {
    let key = checker.key(at, scope.end)?;
    if key.number == 2 && key.wire == WireType::Length {
        let (start, end) = checker.length(key, scope.end)?;
        if end - start > longest {
            return Some(at);
        }
        if !checker.state.exact && usual_record(signal, body, start, end).is_some() {
            checker.state.records += 1;
            return Some(end);
        }
        let before = checker.state;
        let mut ordinary = fast_record(signal, checker, body, start, end);
        if ordinary.is_none() && !before.exact {
            checker.state = State { exact: true, ..before };
            ordinary = fast_record(signal, checker, body, start, end);
        }
        if let Some(records) = ordinary {
            checker.state.records += records;
            return Some(end);
        }
        checker.state = before;
    } else if checker.work(key, scope.end) > longest {
        return Some(at);
    }
    let fast = key.number == 1 && key.wire == WireType::Length && scope.seen & 1 << 1 == 0;
    if fast && let Some(next) = fast_field(checker, body, key, scope.end, fast::scope, RECORD_DEPTH)? {
        scope.seen |= 1 << 1;
        return Some(next);
    }
    checker.field(schema::scope(signal), at, scope.end, SCOPE_DEPTH, &mut scope.seen)
}

/// Checks a record if it is one of the usual shape. Metrics have none, their data points do.
#[inline]
fn usual_record(signal: Signal, body: &[u8], at: usize, end: usize) -> Option<()> {
    match signal {
        Signal::Logs => usual::log_record(body, at, end),
        Signal::Metrics => None,
        Signal::Traces => usual::span(body, at, end),
    }
}

/// Checks a record if it is an ordinary one, and returns how many it counts for.
#[inline]
fn fast_record(signal: Signal, checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize) -> Option<u64> {
    match signal {
        Signal::Logs => fast::log_record(checker, body, at, end, RECORD_DEPTH).map(|()| 1),
        Signal::Metrics => fast::metric(checker, body, at, end, RECORD_DEPTH),
        Signal::Traces => fast::span(checker, body, at, end, RECORD_DEPTH).map(|()| 1),
    }
}

/// Checks a field of an entry that is no scope list, and returns where the next one begins.
fn entry_field(
    signal: Signal,
    checker: &mut Checker<'_>,
    body: &[u8],
    key: Key,
    entry: &mut OpenEntry,
) -> Option<usize> {
    let fast = key.number == 1 && key.wire == WireType::Length && entry.seen & 1 << 1 == 0;
    if fast && let Some(next) = fast_field(checker, body, key, entry.end, fast::resource, SCOPE_DEPTH)? {
        entry.seen |= 1 << 1;
        return Some(next);
    }
    checker.field(schema::entry(signal), key.at, entry.end, ENTRY_DEPTH, &mut entry.seen)
}

type FastCheck = fn(&mut Checker<'_>, &[u8], usize, usize, u32) -> Option<()>;

/// Checks the message in a field if it is an ordinary one, and returns where the next field begins.
#[inline]
fn fast_field(
    checker: &mut Checker<'_>,
    body: &[u8],
    key: Key,
    end: usize,
    check: FastCheck,
    depth: u32,
) -> Option<Option<usize>> {
    let (start, next) = checker.length(key, end)?;
    let before = checker.state;
    if check(checker, body, start, next, depth).is_some() {
        return Some(Some(next));
    }
    checker.state = before;
    Some(None)
}
