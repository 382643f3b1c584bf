//! The reference checker: walks any OTLP message by its table and accepts exactly what prost decodes, apart from
//! [`Fault::TooManyRepeats`]. It says whether bytes are sound; it changes and stores nothing.

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
}

/// What a checker has found so far.
#[derive(Copy, Clone, Default, Debug)]
pub(crate) struct State {
    /// Records met.
    pub(crate) records: u64,
    /// Whether something was met that must be normalised: a singular field twice, or a group.
    pub(crate) irregular: bool,
    repeats: u32,
}

/// A fault and where the field begins that has it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct FaultAt {
    pub(crate) at: usize,
    pub(crate) fault: Fault,
}

impl<'a> Checker<'a> {
    /// A checker of `bytes` that goes on from `state`.
    pub(crate) const fn new(bytes: &'a [u8], state: State) -> Self {
        Self { bytes, state }
    }

    /// Checks the message in `at..end`; `depth` levels of messages may still follow inside.
    pub(crate) fn message(
        &mut self,
        message: &'static Message,
        mut at: usize,
        end: usize,
        depth: u32,
    ) -> Result<(), FaultAt> {
        let mut seen = 0;
        while at < end {
            at = self.field(message, at, end, depth, &mut seen)?;
        }
        Ok(())
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
    ) -> Result<usize, FaultAt> {
        let (number, wire, value_at) = key(&self.bytes[..end], at)?;
        match message.field(number) {
            Some(field) => {
                if *seen & field.once != 0 {
                    self.repeat(at)?;
                }
                *seen |= field.once;
                self.state.records += u64::from(field.record);
                self.value(field, wire, at, value_at, end, depth)
            }
            None => self.skip(number, wire, at, value_at, end, depth),
        }
    }

    fn value(
        &mut self,
        field: &'static Field,
        wire: WireType,
        at: usize,
        value_at: usize,
        end: usize,
        depth: u32,
    ) -> Result<usize, FaultAt> {
        let fault = |fault| FaultAt { at, fault };
        match (field.kind, wire) {
            (Kind::Varint(_) | Kind::Varints, WireType::Varint) => self.varint(at, value_at, end).map(|(_, next)| next),
            (Kind::Fixed64(_) | Kind::Fixed64s(_), WireType::Fixed64) => fixed(8, at, value_at, end),
            (Kind::Fixed32, WireType::Fixed32) => fixed(4, at, value_at, end),
            (Kind::String, WireType::Length) => {
                let (start, next) = self.length(at, value_at, end)?;
                simdutf8::basic::from_utf8(&self.bytes[start..next]).map_err(|_| fault(Fault::Utf8))?;
                Ok(next)
            }
            (Kind::Bytes | Kind::Id, WireType::Length) => self.length(at, value_at, end).map(|(_, next)| next),
            (Kind::Message(inner), WireType::Length) => {
                let (start, next) = self.length(at, value_at, end)?;
                let inner_depth = depth.checked_sub(1).ok_or(fault(Fault::Depth))?;
                self.message(inner, start, next, inner_depth)?;
                Ok(next)
            }
            (Kind::Fixed64s(_), WireType::Length) => {
                let (start, next) = self.length(at, value_at, end)?;
                if !(next - start).is_multiple_of(8) {
                    return Err(fault(Fault::Truncated));
                }
                Ok(next)
            }
            (Kind::Varints, WireType::Length) => {
                let (mut inside, next) = self.length(at, value_at, end)?;
                while inside < next {
                    inside = self.varint(at, inside, next)?.1;
                }
                Ok(next)
            }
            _ => Err(fault(Fault::WireType)),
        }
    }

    /// Skips a field that the table does not know, as prost does.
    fn skip(
        &mut self,
        number: u32,
        wire: WireType,
        at: usize,
        value_at: usize,
        end: usize,
        depth: u32,
    ) -> Result<usize, FaultAt> {
        let inner_depth = depth.checked_sub(1).ok_or(FaultAt { at, fault: Fault::Depth })?;
        match wire {
            WireType::Varint => self.varint(at, value_at, end).map(|(_, next)| next),
            WireType::Fixed64 => fixed(8, at, value_at, end),
            WireType::Fixed32 => fixed(4, at, value_at, end),
            WireType::Length => self.length(at, value_at, end).map(|(_, next)| next),
            WireType::EndGroup => Err(FaultAt { at, fault: Fault::Group }),
            WireType::StartGroup => {
                self.state.irregular = true;
                let mut inside = value_at;
                loop {
                    let (inner, inner_wire, inner_value) = key(&self.bytes[..end], inside)?;
                    if inner_wire == WireType::EndGroup {
                        return if inner == number {
                            Ok(inner_value)
                        } else {
                            Err(FaultAt { at, fault: Fault::Group })
                        };
                    }
                    inside = self.skip(inner, inner_wire, inside, inner_value, end, inner_depth)?;
                }
            }
        }
    }

    fn repeat(&mut self, at: usize) -> Result<(), FaultAt> {
        self.state.irregular = true;
        self.state.repeats += 1;
        if self.state.repeats > REPEATS_LIMIT {
            return Err(FaultAt { at, fault: Fault::TooManyRepeats });
        }
        Ok(())
    }

    /// Reads a varint that ends before `end`: its value and where the next byte is.
    fn varint(&self, field_at: usize, at: usize, end: usize) -> Result<(u64, usize), FaultAt> {
        let (value, len) = varint(&self.bytes[at..end]).ok_or(FaultAt { at: field_at, fault: Fault::Varint })?;
        Ok((value, at + len))
    }

    /// Reads a length and checks that as much follows: the content's start and end.
    pub(crate) fn length(&self, field_at: usize, at: usize, end: usize) -> Result<(usize, usize), FaultAt> {
        let (len, start) = self.varint(field_at, at, end)?;
        if len > (end - start) as u64 {
            return Err(FaultAt { at: field_at, fault: Fault::Truncated });
        }
        Ok((start, start + len as usize))
    }
}

/// Reads the key of the field at `at`: its number, wire type and where the value begins.
#[inline]
pub(crate) fn key(message: &[u8], at: usize) -> Result<(u32, WireType, usize), FaultAt> {
    let (key, len) = varint(&message[at..]).ok_or(FaultAt { at, fault: Fault::Varint })?;
    let number = u32::try_from(key).map_err(|_| FaultAt { at, fault: Fault::Key })? >> 3;
    let wire = WireType::from_key(key).ok_or(FaultAt { at, fault: Fault::Key })?;
    if number == 0 {
        return Err(FaultAt { at, fault: Fault::Key });
    }
    Ok((number, wire, at + len))
}

fn fixed(width: usize, field_at: usize, at: usize, end: usize) -> Result<usize, FaultAt> {
    if end - at < width {
        return Err(FaultAt { at: field_at, fault: Fault::Truncated });
    }
    Ok(at + width)
}
