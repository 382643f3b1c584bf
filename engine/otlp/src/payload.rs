//! [`Payload`]: what a batch carries. It changes form when somebody needs the other one, and never on its own.

use crate::{Decoded, EncodeError, Signal, Wire};

/// A request as bytes, or as structs while a transform needs a tree.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The bytes that arrived, or a rope of slices of them.
    Wire(Wire),
    /// The decoded structs.
    Decoded(Box<Decoded>),
}

impl Payload {
    /// The signal of all records.
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Wire(wire) => wire.signal(),
            Self::Decoded(decoded) => decoded.signal(),
        }
    }

    /// Log records, data points or spans. Structs are counted, bytes know.
    pub fn records(&self) -> u64 {
        match self {
            Self::Wire(wire) => wire.records(),
            Self::Decoded(decoded) => decoded.records(),
        }
    }

    /// Encoded bytes. Structs are measured, bytes know.
    pub fn len(&self) -> usize {
        match self {
            Self::Wire(wire) => wire.len(),
            Self::Decoded(decoded) => decoded.encoded_len(),
        }
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records() == 0
    }

    /// The request as bytes; encodes structs.
    ///
    /// # Errors
    ///
    /// [`Decoded::encode`]'s.
    pub fn into_wire(self) -> Result<Wire, EncodeError> {
        match self {
            Self::Wire(wire) => Ok(wire),
            Self::Decoded(decoded) => decoded.encode(),
        }
    }

    /// The request as structs to change; decodes bytes.
    pub fn decoded_mut(&mut self) -> &mut Decoded {
        if let Self::Wire(wire) = self {
            *self = Self::Decoded(Box::new(wire.decode()));
        }
        match self {
            Self::Decoded(decoded) => decoded,
            Self::Wire(_) => unreachable!("the payload was decoded just now"),
        }
    }
}

impl From<Wire> for Payload {
    fn from(wire: Wire) -> Self {
        Self::Wire(wire)
    }
}

impl From<Decoded> for Payload {
    fn from(decoded: Decoded) -> Self {
        Self::Decoded(Box::new(decoded))
    }
}
