//! Keys and groups that are more than attributes: time, body, severity, trace context.

use std::ops::Range;

use engine_config::sources::log_format::{LineFormat, RecordKeys};
use otlp::json::Value;

use super::severity::Severity;
use super::time::KeyTime;
use super::trace::{self, Trace};

/// Keys with a meaning, in the order in which they count.
#[derive(Debug)]
pub(super) struct Meanings {
    names: Vec<Box<[u8]>>,
    /// Numbers of names, the shortest first.
    by_length: Vec<u16>,
    /// Which of these have a length, and how many; longer names share the last.
    of_length: [(u16, u16); 64],
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
}

/// Members that are used in one record: time, body, severity, and three of a trace.
const MOST_USED: usize = 6;

/// Stands for no member.
const NONE: usize = usize::MAX;

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
        let mut by_length: Vec<u16> = (0..names.len() as u16).collect();
        by_length.sort_by_key(|number| length_class(&names[usize::from(*number)]));
        let of_length = std::array::from_fn(|class| {
            let is_in = |number: &&u16| length_class(&names[usize::from(**number)]) == class;
            let first = by_length.iter().position(|number| is_in(&number)).unwrap_or(0);
            (first as u16, by_length.iter().filter(is_in).count() as u16)
        });
        let key_time = KeyTime::new(keys);
        Self {
            names,
            by_length,
            of_length,
            time,
            body,
            severity,
            trace_id,
            span_id,
            trace_flags,
            traceparent,
            key_time,
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of a key, if it has a meaning.
    #[inline]
    pub(super) fn number_of(&self, key: &[u8]) -> Option<usize> {
        let (first, count) = self.of_length[length_class(key)];
        if count == 0 {
            return None;
        }
        let numbers = &self.by_length[usize::from(first)..usize::from(first + count)];
        numbers.iter().map(|number| usize::from(*number)).find(|number| *self.names[*number] == *key)
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
        Meant { time, body, severity, trace, has_unread_time, used }
    }
}

impl Meant<'_> {
    /// Whether a member or group was used, so that it is no attribute.
    #[inline]
    pub(super) fn has_used(&self, place: usize) -> bool {
        self.used.contains(&place)
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

/// The length of a key; long ones are one class.
#[inline]
fn length_class(key: &[u8]) -> usize {
    key.len().min(63)
}

/// A bit for the length of a key.
#[inline]
pub(super) fn length_bit(key: &[u8]) -> u64 {
    1 << length_class(key)
}
