//! A byte string in pieces: what leaves the process without being joined. It knows nothing of protobuf.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

/// A concatenation of [`Bytes`], none of them empty.
///
/// Cloning and slicing share the pieces. One or two pieces need no allocation. As a [`Buf`] it offers its pieces to
/// vectored writes ([`Buf::chunks_vectored`]), so that a socket gets them in one `writev`.
#[derive(Clone, Default, Debug)]
pub struct Rope {
    pieces: SmallVec<[Bytes; 2]>,
    /// Pieces before this one are consumed (and empty).
    first: usize,
    len: usize,
}

impl Rope {
    /// An empty rope.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that remain.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte remains.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces that remain, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces[self.first..]
    }

    /// Appends a piece without copying it.
    pub fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.len += piece.len();
        self.pieces.push(piece);
    }

    /// Appends the pieces of another rope without copying them.
    pub fn append(&mut self, other: Self) {
        self.len += other.len;
        let consumed = other.first;
        self.pieces.extend(other.pieces.into_iter().skip(consumed));
    }

    /// The content as one piece: copied when there are several, shared when there is one.
    pub fn into_bytes(mut self) -> Bytes {
        match self.pieces() {
            [] => Bytes::new(),
            [_] => self.pieces.pop().expect("one piece remains"),
            pieces => {
                let mut joined = BytesMut::with_capacity(self.len);
                for piece in pieces {
                    joined.extend_from_slice(piece);
                }
                joined.freeze()
            }
        }
    }
}

impl From<Bytes> for Rope {
    fn from(piece: Bytes) -> Self {
        let mut rope = Self::new();
        rope.push(piece);
        rope
    }
}

impl FromIterator<Bytes> for Rope {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut rope = Self::new();
        pieces.into_iter().for_each(|piece| rope.push(piece));
        rope
    }
}

impl Extend<Bytes> for Rope {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, pieces: I) {
        pieces.into_iter().for_each(|piece| self.push(piece));
    }
}

impl PartialEq for Rope {
    /// Equal content, however it is cut into pieces.
    fn eq(&self, other: &Self) -> bool {
        if self.len != other.len {
            return false;
        }
        let mine = self.pieces().iter().flat_map(|piece| piece.iter());
        let theirs = other.pieces().iter().flat_map(|piece| piece.iter());
        mine.eq(theirs)
    }
}

impl Eq for Rope {}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.get(self.first).map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slots: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces();
        let used = pieces.len().min(slots.len());
        for (slot, piece) in slots.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
        }
        used
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "cannot advance past the end of the rope: {count} > {}", self.len);
        self.len -= count;
        let mut left = count;
        while left > 0 {
            let piece = &mut self.pieces[self.first];
            if left < piece.len() {
                piece.advance(left);
                return;
            }
            left -= piece.len();
            // Dropping the piece at once releases what has been written.
            *piece = Bytes::new();
            self.first += 1;
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        assert!(count <= self.len, "cannot take {count} of {} bytes of the rope", self.len);
        if let Some(piece) = self.pieces.get_mut(self.first)
            && count < piece.len()
        {
            self.len -= count;
            return piece.split_to(count);
        }
        if self.pieces.get(self.first).is_some_and(|piece| piece.len() == count) {
            self.len -= count;
            let piece = std::mem::take(&mut self.pieces[self.first]);
            self.first += 1;
            return piece;
        }
        let mut joined = BytesMut::with_capacity(count);
        while joined.len() < count {
            let chunk = self.chunk();
            let taken = chunk.len().min(count - joined.len());
            joined.extend_from_slice(&chunk[..taken]);
            self.advance(taken);
        }
        joined.freeze()
    }
}
