//! [`Wire`]: an admitted request as a rope and an index of its entries.
//!
//! Everything relies on what admission proved, so a `Wire` is made by admission or from another `Wire` only. Two
//! rules hold for the pieces of the rope: an entry's key, length and Resource lie in one piece, and so does every
//! record; only between records, and between the fields of an entry or scope list, one piece may end and the next
//! begin. The entries tile the rope: their lengths add up to its length.

mod attributes;
mod builder;
mod content;
mod cursor;
mod digest;
mod edit;
mod keys;
mod partition;
mod rewrite;
mod select;
mod split;
mod text_edits;

use bytes::BytesMut;
use smallvec::SmallVec;

pub use self::attributes::{AttributeEdit, AttributeEdits, KeyPattern, OverlappingEdits};
use self::builder::Builder;
pub(crate) use self::cursor::Cursor;
pub use self::edit::{AttributeValue, EditAction, ResourceEdit, ResourceEdits};
pub use self::rewrite::WireEdits;
pub use self::split::SplitLimits;
pub use self::text_edits::TextEdits;
use crate::{Decoded, Resources, Rope, Signal};

/// An admitted `Export*ServiceRequest`, kept as the bytes that arrived.
///
/// Cloning shares the bytes. Operations consume the `Wire` and share what they do not change.
#[derive(Clone, Debug)]
pub struct Wire {
    pub(crate) signal: Signal,
    pub(crate) rope: Rope,
    pub(crate) entries: Entries,
    pub(crate) records: u64,
    /// Bytes of the allocations that the pieces keep alive.
    pub(crate) retained: usize,
    pub(crate) normalised: bool,
    /// Records that admission left out.
    pub(crate) left_out: u64,
}

/// The entries of a [`Wire`], in order.
pub(crate) type Entries = SmallVec<[Entry; 4]>;

/// One `ResourceLogs`, `ResourceMetrics` or `ResourceSpans`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Encoded bytes, key and length included.
    pub(crate) len: usize,
    pub(crate) records: u64,
}

impl Wire {
    /// A request without entries.
    pub fn empty(signal: Signal) -> Self {
        Self {
            signal,
            rope: Rope::new(),
            entries: Entries::new(),
            records: 0,
            retained: 0,
            normalised: false,
            left_out: 0,
        }
    }

    /// The signal of all records.
    pub const fn signal(&self) -> Signal {
        self.signal
    }

    /// Log records, data points or spans.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Encoded bytes.
    pub const fn len(&self) -> usize {
        self.rope.len()
    }

    /// Whether there is no record. Envelopes without records may still take bytes.
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Entries (`ResourceLogs` and the like), each with one Resource.
    pub fn resource_count(&self) -> usize {
        self.entries.len()
    }

    /// Whether admission had to rewrite something that protobuf allows and nobody writes.
    pub const fn normalised(&self) -> bool {
        self.normalised
    }

    /// Records that admission left out, because an id in them has a wrong length. Nothing that is made of this request
    /// tells it.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Bytes of the allocations that this request keeps alive: slices keep the whole allocation they were cut from, and
    /// each request counts it. Admission counts the body it was given.
    pub const fn retained_bytes(&self) -> usize {
        self.retained
    }

    /// The entries, in order.
    pub fn resources(&self) -> Resources<'_> {
        Resources::new(self)
    }

    /// The encoded request. Shares the bytes.
    pub fn rope(&self) -> Rope {
        self.rope.clone()
    }

    /// The encoded request.
    pub fn into_rope(self) -> Rope {
        self.rope
    }

    /// The request as structs. An empty record takes two bytes here and some 250 as a struct, so a hostile request may
    /// grow a hundredfold; who decodes must bound [`Wire::records`] as well as [`Wire::len`].
    pub fn decode(&self) -> Decoded {
        Decoded::from_wire(self)
    }

    /// The same request in an allocation of its own size, so that it keeps nothing else alive.
    #[must_use]
    pub fn into_compact(self) -> Self {
        let mut copy = BytesMut::with_capacity(self.len());
        for piece in self.rope.pieces() {
            copy.extend_from_slice(piece);
        }
        let retained = copy.len();
        Self { rope: Rope::from(copy.freeze()), retained, ..self }
    }

    /// Joins requests of one signal, in order: the entries of all of them, none merged. Small pieces are copied
    /// together, so that many small requests become few pieces.
    ///
    /// Without any request it answers an empty one of logs.
    ///
    /// # Panics
    ///
    /// When the signals differ.
    pub fn concat(wires: impl IntoIterator<Item = Self>) -> Self {
        let mut wires = wires.into_iter();
        let Some(first) = wires.next() else { return Self::empty(Signal::Logs) };
        let Some(second) = wires.next() else { return first };
        let mut joined = Self::empty(first.signal);
        let mut small = BytesMut::new();
        for wire in [first, second].into_iter().chain(wires) {
            assert_eq!(joined.signal, wire.signal, "only requests of one signal can be joined");
            joined.records += wire.records;
            joined.normalised |= wire.normalised;
            let mut is_shared = false;
            for piece in wire.rope.pieces() {
                if piece.len() < builder::SHARE_FROM {
                    small.extend_from_slice(piece);
                    joined.retained += piece.len();
                } else {
                    joined.rope.push(small.split().freeze());
                    joined.rope.push(piece.clone());
                    is_shared = true;
                }
            }
            joined.retained += if is_shared { wire.retained } else { 0 };
            joined.entries.extend(wire.entries);
        }
        joined.rope.push(small.freeze());
        joined
    }

    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor::new(self.rope.pieces(), self.rope.len())
    }
}
