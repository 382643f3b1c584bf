//! Keys and groups that are more than attributes: time, body, severity, trace context.

use std::ops::Range;

use engine_config::sources::log_format::{LineFormat, RecordKeys};
use otlp::json::{Value, hash_of_key};

use super::severity::Severity;
use super::time::KeyTime;
use super::trace::{self, Trace};

/// Keys with a meaning, in the order in which they count.
#[derive(Debug)]
pub(super) struct Meanings {
    names: Vec<Box<[u8]>>,
    /// Hashes of the names.
    hashes: Vec<u64>,
    /// Numbers of names by the highest bits of their hashes, or where the next place is free.
    table: Box<[u8; 256]>,
    time: Range<usize>,
    body: Range<usize>,
    severity: Range<usize>,
    trace_id: Range<usize>,
    span_id: Range<usize>,
    trace_flags: Range<usize>,
    traceparent: Range<usize>,
    key_time: KeyTime,
}

/// Members or groups of a line, by the keys that have a meaning.
pub(super) trait Source<'a> {
    /// Which member or group has the key with a number, if one has.
    fn place(&self, number: usize) -> Option<usize>;
    /// Its value, and the value as it is written.
    fn value(&self, place: usize) -> (Value<'a>, &'a [u8]);
}

/// What a line says besides its attributes.
#[derive(Copy, Clone, Debug)]
pub(super) struct Meant<'a> {
    pub(super) time: Option<u64>,
    /// Which member or group is the body.
    pub(super) body: Option<usize>,
    pub(super) severity: Option<Severity<'a>>,
    pub(super) trace: Option<Trace>,
    /// A time was there and could not be read.
    pub(super) has_unread_time: bool,
    used: [usize; MOST_USED],
    /// A bit for each of them that is below 64.
    used_bits: u64,
}

/// Members that are used in one record: time, body, severity, and three of a trace.
const MOST_USED: usize = 6;

/// Stands for no member.
const NONE: usize = usize::MAX;

/// Stands for no name. There are at most 16 of each of seven kinds.
const FREE: u8 = u8::MAX;

impl Meanings {
    pub(super) fn new(keys: &RecordKeys, format: LineFormat) -> Self {
        let mut names = Vec::new();
        let mut take = |list: Vec<&str>| {
            let first = names.len();
            names.extend(list.into_iter().map(|name| Box::from(name.as_bytes())));
            first..names.len()
        };
        let time = take(keys.time(format));
        let body = take(keys.body(format));
        let severity = take(keys.severity(format));
        let trace_id = take(keys.trace_id());
        let span_id = take(keys.span_id());
        let trace_flags = take(keys.trace_flags());
        let traceparent = take(keys.traceparent());
        assert!(names.len() < usize::from(FREE), "configurations name at most 16 keys of each kind");
        let hashes: Vec<u64> = names.iter().map(|name| hash_of_key(name)).collect();
        let mut table = Box::new([FREE; 256]);
        for (number, hash) in hashes.iter().enumerate() {
            let mut slot = (hash >> 56) as u8;
            while table[usize::from(slot)] != FREE {
                slot = slot.wrapping_add(1);
            }
            table[usize::from(slot)] = number as u8;
        }
        let key_time = KeyTime::new(keys);
        Self { names, hashes, table, time, body, severity, trace_id, span_id, trace_flags, traceparent, key_time }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of a key with a hash, if it has a meaning.
    #[inline]
    pub(super) fn number_of<'k>(&self, hash: u64, key: impl Fn() -> Option<&'k [u8]>) -> Option<usize> {
        let mut slot = (hash >> 56) as u8;
        loop {
            let number = usize::from(self.table[usize::from(slot)]);
            if number == usize::from(FREE) {
                return None;
            }
            if self.hashes[number] == hash && key().is_some_and(|key| *key == *self.names[number]) {
                return Some(number);
            }
            slot = slot.wrapping_add(1);
        }
    }

    /// What a line says. `now` is the time of reading, in nanoseconds since 1970.
    #[inline]
    pub(super) fn of<'a>(&self, now: u64, source: &impl Source<'a>) -> Meant<'a> {
        let mut used = [NONE; MOST_USED];
        let [time_place, body_place, severity_place, trace_place, span_place, flags_place] = &mut used;
        let mut has_unread_time = false;
        let time = first(&self.time, source, time_place, |value, raw| {
            let text = match value {
                Value::String(text) => text,
                Value::Int(_) | Value::Double(_) => raw,
                _ => &[],
            };
            let time = self.key_time.read(text, now).filter(|time| *time > 0);
            has_unread_time |= time.is_none();
            time
        });
        let has_body = first(&self.body, source, body_place, |value, _| (value != Value::Null).then_some(()));
        let body = has_body.map(|()| *body_place);
        let severity = first(&self.severity, source, severity_place, Severity::of);
        let trace = first(&self.trace_id, source, trace_place, |value, _| trace::id(value)).map(|trace_id| Trace {
            trace_id,
            span_id: first(&self.span_id, source, span_place, |value, _| trace::id(value)),
            flags: first(&self.trace_flags, source, flags_place, |value, _| trace::flags(value)),
        });
        let trace =
            trace.or_else(|| first(&self.traceparent, source, trace_place, |value, _| trace::traceparent(value)));
        let used_bits = used.iter().filter(|place| **place < 64).fold(0, |bits, place| bits | 1 << place);
        Meant { time, body, severity, trace, has_unread_time, used, used_bits }
    }
}

impl Meant<'_> {
    /// Whether a member or group was used, so that it is no attribute.
    #[inline]
    pub(super) fn has_used(&self, place: usize) -> bool {
        if place < 64 { self.used_bits >> place & 1 == 1 } else { self.used.contains(&place) }
    }
}

/// The first of some keys that a line has and that can be used.
#[inline]
fn first<'a, T>(
    keys: &Range<usize>,
    source: &impl Source<'a>,
    used: &mut usize,
    mut read: impl FnMut(Value<'a>, &'a [u8]) -> Option<T>,
) -> Option<T> {
    for place in keys.clone().filter_map(|number| source.place(number)) {
        let (value, raw) = source.value(place);
        if let Some(found) = read(value, raw) {
            *used = place;
            return Some(found);
        }
    }
    None
}

/// A bit for the length of a key; long ones share the last.
#[inline]
pub(super) fn length_bit(key: &[u8]) -> u64 {
    1 << key.len().min(63)
}
