//! The reference checker: walks any OTLP message by its table and accepts exactly what prost decodes, apart from
//! [`Fault::TooManyRepeats`]. It says whether bytes are sound; it changes and stores nothing.
//!
//! Its methods answer `None` after a fault, which is then in [`Checker::fault`].

use super::Fault;
use crate::protobuf::{WireType, varint};
use crate::schema::{Field, Kind, Message};

/// Levels of messages below the request that prost decodes.
pub(crate) const DEPTH_LIMIT: u32 = 100;

/// Second occurrences of singular fields that one request may bring. Real encoders write none; merging them costs
/// more than checking does.
const REPEATS_LIMIT: u32 = 1024;

/// Checks parts of one body.
pub(crate) struct Checker<'a> {
    bytes: &'a [u8],
    pub(crate) state: State,
    pub(crate) fault: Option<FaultAt>,
}

/// What a checker has found so far.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct State {
    /// Records met.
    pub(crate) records: u64,
    /// Whether something was met that must be normalised: a singular field twice, a group, or an id of a wrong length.
    pub(crate) irregular: bool,
    /// Whether text that is not ASCII was met, so that fast checks take the way that allows for it.
    pub(crate) exact: bool,
    pub(crate) repeats: u32,
}

/// A fault and where the field begins that has it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct FaultAt {
    pub(crate) at: usize,
    pub(crate) fault: Fault,
}

/// A field of which the key is read.
#[derive(Copy, Clone)]
pub(crate) struct Key {
    /// Where the field begins.
    pub(crate) at: usize,
    pub(crate) number: u32,
    pub(crate) wire: WireType,
    /// Where its value begins.
    pub(crate) value: usize,
}

impl<'a> Checker<'a> {
    /// A checker of `bytes` that goes on from `state`.
    pub(crate) const fn new(bytes: &'a [u8], state: State) -> Self {
        Self { bytes, state, fault: None }
    }

    /// Checks the message in `at..end`; `depth` levels of messages may still follow inside.
    pub(crate) fn message(&mut self, message: &'static Message, at: usize, end: usize, depth: u32) -> Option<()> {
        let mut seen = 0;
        let mut next = at;
        while next < end {
            next = self.field(message, next, end, depth, &mut seen)?;
        }
        Some(())
    }

    /// Checks the field at `at` of a message that ends at `end`, and returns where the next one begins.
    #[inline]
    pub(crate) fn field(
        &mut self,
        message: &'static Message,
        at: usize,
        end: usize,
        depth: u32,
        seen: &mut u32,
    ) -> Option<usize> {
        let key = self.key(at, end)?;
        match message.field(key.number) {
            Some(field) => {
                if *seen & field.once != 0 {
                    self.repeat(at)?;
                }
                *seen |= field.once;
                self.state.records += u64::from(field.record);
                self.value(field, key, end, depth)
            }
            None => self.skip(key, end, depth),
        }
    }

    /// Reads the key of the field at `at`.
    #[inline]
    pub(crate) fn key(&mut self, at: usize, end: usize) -> Option<Key> {
        let Some((key, len)) = varint(&self.bytes[at..end]) else { return self.fail(at, Fault::Varint) };
        let (Ok(bits), Some(wire)) = (u32::try_from(key), WireType::from_key(key)) else {
            return self.fail(at, Fault::Key);
        };
        if bits < 8 {
            return self.fail(at, Fault::Key);
        }
        Some(Key { at, number: bits >> 3, wire, value: at + len })
    }

    /// Bytes that checking a field may have to go through, at most: its content, or for a group all that follows.
    pub(crate) fn work(&self, key: Key, end: usize) -> usize {
        match key.wire {
            WireType::Length => varint(&self.bytes[key.value..end])
                .map_or(0, |(len, _)| usize::try_from(len).unwrap_or(usize::MAX))
                .min(end - key.value),
            WireType::StartGroup => end - key.value,
            _ => 0,
        }
    }

    /// Reads the length of a field and checks that as much follows: the content's start and end.
    #[inline]
    pub(crate) fn length(&mut self, key: Key, end: usize) -> Option<(usize, usize)> {
        let Some((len, len_len)) = varint(&self.bytes[key.value..end]) else { return self.fail(key.at, Fault::Varint) };
        let start = key.value + len_len;
        if len > (end - start) as u64 {
            return self.fail(key.at, Fault::Truncated);
        }
        Some((start, start + len as usize))
    }

    fn value(&mut self, field: &'static Field, key: Key, end: usize, depth: u32) -> Option<usize> {
        match (field.kind, key.wire) {
            (Kind::String, WireType::Length) => {
                let (start, next) = self.length(key, end)?;
                if is_text(&self.bytes[start..next]) { Some(next) } else { self.fail(key.at, Fault::Utf8) }
            }
            (Kind::Message(inner), WireType::Length) => {
                let (start, next) = self.length(key, end)?;
                let Some(inner_depth) = depth.checked_sub(1) else { return self.fail(key.at, Fault::Depth) };
                self.message(inner, start, next, inner_depth)?;
                Some(next)
            }
            (Kind::Varint(_) | Kind::Varints, WireType::Varint) => self.varint(key.at, key.value, end),
            (Kind::Fixed64(_) | Kind::Fixed64s(_), WireType::Fixed64) => self.fixed(8, key, end),
            (Kind::Fixed32, WireType::Fixed32) => self.fixed(4, key, end),
            (Kind::Bytes, WireType::Length) => self.length(key, end).map(|(_, next)| next),
            (Kind::Id, WireType::Length) => {
                let (start, next) = self.length(key, end)?;
                self.state.irregular |= !field.is_id_of(next - start);
                Some(next)
            }
            (Kind::Fixed64s(_), WireType::Length) => {
                let (start, next) = self.length(key, end)?;
                if (next - start).is_multiple_of(8) { Some(next) } else { self.fail(key.at, Fault::Truncated) }
            }
            (Kind::Varints, WireType::Length) => {
                let (mut inside, next) = self.length(key, end)?;
                while inside < next {
                    inside = self.varint(key.at, inside, next)?;
                }
                Some(next)
            }
            _ => self.fail(key.at, Fault::WireType),
        }
    }

    /// Skips a field that the table does not know, as prost does.
    fn skip(&mut self, key: Key, end: usize, depth: u32) -> Option<usize> {
        let Some(inner_depth) = depth.checked_sub(1) else { return self.fail(key.at, Fault::Depth) };
        match key.wire {
            WireType::Varint => self.varint(key.at, key.value, end),
            WireType::Fixed64 => self.fixed(8, key, end),
            WireType::Fixed32 => self.fixed(4, key, end),
            WireType::Length => self.length(key, end).map(|(_, next)| next),
            WireType::EndGroup => self.fail(key.at, Fault::Group),
            WireType::StartGroup => {
                self.state.irregular = true;
                let mut inside = key.value;
                loop {
                    let inner = self.key(inside, end)?;
                    if inner.wire != WireType::EndGroup {
                        inside = self.skip(inner, end, inner_depth)?;
                    } else if inner.number == key.number {
                        return Some(inner.value);
                    } else {
                        return self.fail(inner.at, Fault::Group);
                    }
                }
            }
        }
    }

    fn repeat(&mut self, at: usize) -> Option<()> {
        self.state.irregular = true;
        self.state.repeats += 1;
        if self.state.repeats > REPEATS_LIMIT {
            return self.fail(at, Fault::TooManyRepeats);
        }
        Some(())
    }

    /// Checks a varint that ends before `end`, and returns where the next byte is.
    fn varint(&mut self, field_at: usize, at: usize, end: usize) -> Option<usize> {
        match varint(&self.bytes[at..end]) {
            Some((_, len)) => Some(at + len),
            None => self.fail(field_at, Fault::Varint),
        }
    }

    fn fixed(&mut self, width: usize, key: Key, end: usize) -> Option<usize> {
        if end - key.value < width {
            return self.fail(key.at, Fault::Truncated);
        }
        Some(key.value + width)
    }

    #[cold]
    fn fail<T>(&mut self, at: usize, fault: Fault) -> Option<T> {
        self.fault = Some(FaultAt { at, fault });
        None
    }
}

/// Whether bytes are UTF-8. Most strings are short and ASCII.
#[inline]
fn is_text(bytes: &[u8]) -> bool {
    if bytes.len() <= 64 && bytes.is_ascii() {
        return true;
    }
    simdutf8::basic::from_utf8(bytes).is_ok()
}
