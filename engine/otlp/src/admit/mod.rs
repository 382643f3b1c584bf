//! Admission: the one pass over a body after which nothing needs checking again.
//!
//! What is admitted, prost decodes and every operation of [`Wire`] can slice: framing of every level, wire types of
//! known fields, UTF-8 of every string, and nesting are proven; records are counted; singular fields occur once and
//! groups are gone. Unknown fields survive, except those of the request itself, which would mean nothing once
//! requests are split and joined. It does not look at meaning: a span without a trace id is admitted.

mod check;
mod error;
mod normalise;

use bytes::Bytes;

use self::check::{Checker, DEPTH_LIMIT, FaultAt, State, key};
pub use self::error::{AdmitError, Fault};
use crate::protobuf::{WireType, put_length_head};
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
    let mut admission = Admission::new(signal, body);
    loop {
        if let Progress::Done(wire) = admission.step(usize::MAX)? {
            return Ok(wire);
        }
    }
}

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
    normalised: bool,
    /// What is kept of the body before `kept_from`, if that is not simply all of it.
    rope: Rope,
    kept_from: usize,
}

/// How far an [`Admission`] is.
#[derive(Debug)]
pub enum Progress {
    /// Call [`Admission::step`] again.
    More,
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

/// Levels that may follow inside an entry and a scope list.
const ENTRY_DEPTH: u32 = DEPTH_LIMIT - 1;
const SCOPE_DEPTH: u32 = ENTRY_DEPTH - 1;

impl Admission {
    /// Starts to check a body. No work is done yet.
    pub fn new(signal: Signal, body: Bytes) -> Self {
        Self {
            signal,
            body,
            at: 0,
            entry: None,
            scope: None,
            entries: Entries::new(),
            state: State::default(),
            normalised: false,
            rope: Rope::new(),
            kept_from: 0,
        }
    }

    /// Checks at least `budget_bytes` more bytes and stops after the record or field it is in then.
    ///
    /// # Errors
    ///
    /// [`AdmitError`] as [`admit`]. The admission must not be continued then.
    pub fn step(&mut self, budget_bytes: usize) -> Result<Progress, AdmitError> {
        let body = self.body.clone();
        let stop = self.at.saturating_add(budget_bytes.max(1));
        let mut checker = Checker::new(&body, self.state);
        let ended = self.advance(&mut checker, &body, stop);
        self.state = checker.state;
        match ended {
            Ok(()) if self.at < body.len() => Ok(Progress::More),
            Ok(()) => Ok(Progress::Done(self.finish())),
            Err(FaultAt { at, fault }) => {
                let path = error::path_of(schema::request(self.signal), &body, at);
                Err(AdmitError::Malformed { path, offset: at, fault })
            }
        }
    }

    /// Checks until `stop` is reached between two fields of the upper levels, or the body ends.
    fn advance(&mut self, checker: &mut Checker<'_>, body: &[u8], stop: usize) -> Result<(), FaultAt> {
        loop {
            if let Some(scope) = &mut self.scope {
                let message = schema::scope(self.signal);
                while self.at < scope.end {
                    if self.at >= stop {
                        return Ok(());
                    }
                    self.at = checker.field(message, self.at, scope.end, SCOPE_DEPTH, &mut scope.seen)?;
                }
                self.scope = None;
            }
            if let Some(entry) = &mut self.entry {
                if self.at < entry.end {
                    if self.at >= stop {
                        return Ok(());
                    }
                    let (number, wire, value_at) = key(&body[..entry.end], self.at)?;
                    if number == 2 && wire == WireType::Length {
                        let (start, end) = checker.length(self.at, value_at, entry.end)?;
                        self.at = start;
                        self.scope = Some(OpenScope { end, seen: 0 });
                    } else {
                        let message = schema::entry(self.signal);
                        self.at = checker.field(message, self.at, entry.end, ENTRY_DEPTH, &mut entry.seen)?;
                    }
                    continue;
                }
                self.close_entry(checker, body)?;
            }
            if self.at >= body.len() || self.at >= stop {
                return Ok(());
            }
            self.request_field(checker, body)?;
        }
    }

    /// Opens an entry, or drops a field of the request that nobody knows.
    fn request_field(&mut self, checker: &mut Checker<'_>, body: &[u8]) -> Result<(), FaultAt> {
        let start = self.at;
        let (number, wire, value_at) = key(body, start)?;
        if number == 1 && wire == WireType::Length {
            let (content, end) = checker.length(start, value_at, body.len())?;
            self.at = content;
            checker.state.irregular = false;
            self.entry = Some(OpenEntry { start, content, end, seen: 0, records_before: checker.state.records });
            return Ok(());
        }
        self.at = checker.field(schema::request(self.signal), start, body.len(), DEPTH_LIMIT, &mut 0)?;
        self.rope.push(self.body.slice(self.kept_from..start));
        self.kept_from = self.at;
        Ok(())
    }

    fn close_entry(&mut self, checker: &mut Checker<'_>, body: &[u8]) -> Result<(), FaultAt> {
        let Some(entry) = self.entry.take() else {
            return Ok(());
        };
        if checker.state.irregular {
            let (len, records) = self.normalise(&entry, body)?;
            checker.state.records = entry.records_before + records;
            self.entries.push(Entry { len, records });
        } else {
            let records = checker.state.records - entry.records_before;
            self.entries.push(Entry { len: entry.end - entry.start, records });
        }
        Ok(())
    }

    /// Replaces an entry by its normal form: its new length and records.
    fn normalise(&mut self, entry: &OpenEntry, body: &[u8]) -> Result<(usize, u64), FaultAt> {
        let message = schema::entry(self.signal);
        let mut content = Vec::with_capacity(entry.end - entry.content);
        normalise::rewrite(message, &[&body[entry.content..entry.end]], &mut content);
        let mut checker = Checker::new(&content, State::default());
        checker
            .message(message, 0, content.len(), ENTRY_DEPTH)
            .map_err(|FaultAt { fault, .. }| FaultAt { at: entry.start, fault })?;
        debug_assert!(!checker.state.irregular, "the normal form is regular");
        let records = checker.state.records;
        let mut whole = Vec::with_capacity(content.len() + 11);
        put_length_head(&mut whole, 1, content.len());
        whole.extend_from_slice(&content);
        let len = whole.len();
        self.rope.push(self.body.slice(self.kept_from..entry.start));
        self.rope.push(Bytes::from(whole));
        self.kept_from = entry.end;
        self.normalised = true;
        Ok((len, records))
    }

    fn finish(&mut self) -> Wire {
        let body = std::mem::take(&mut self.body);
        let mut retained = body.len();
        let mut rope = std::mem::take(&mut self.rope);
        retained += rope.len();
        if self.kept_from == 0 {
            rope = Rope::from(body);
        } else {
            rope.push(body.slice(self.kept_from..));
        }
        self.at = 0;
        self.kept_from = 0;
        let entries = std::mem::take(&mut self.entries);
        let records = std::mem::take(&mut self.state).records;
        Wire { signal: self.signal, rope, entries, records, retained, normalised: self.normalised }
    }
}
