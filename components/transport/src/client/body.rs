//! The request body: one data frame whose data is a list of pieces, written with `writev` and never joined.

use std::convert::Infallible;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Neighbouring pieces below this size are joined: a slot of a `writev` costs more than copying them, and h2 passes
/// 16 slots at a time.
const JOIN_BELOW: usize = 2 * 1024;

/// What a request sends, in pieces. None of them is empty.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Bytes>,
    first: usize,
    remaining: usize,
}

/// A body that is one data frame.
#[derive(Debug)]
pub(super) struct RequestBody {
    data: Option<Pieces>,
    length: u64,
}

impl Pieces {
    /// A single piece.
    pub(super) fn single(piece: Bytes) -> Self {
        let remaining = piece.len();
        let pieces = if piece.is_empty() { Vec::new() } else { vec![piece] };
        Self { pieces, first: 0, remaining }
    }

    /// The pieces of `body` behind `prefix`, large ones shared and small ones joined.
    pub(super) fn with_prefix(prefix: &[u8], body: &mut impl Buf) -> Self {
        let remaining = prefix.len() + body.remaining();
        let mut pieces = Vec::new();
        let mut small = BytesMut::new();
        small.extend_from_slice(prefix);
        while body.has_remaining() {
            let length = body.chunk().len();
            if length >= JOIN_BELOW {
                if !small.is_empty() {
                    pieces.push(small.split().freeze());
                }
                pieces.push(body.copy_to_bytes(length));
            } else {
                small.put_slice(body.chunk());
                body.advance(length);
            }
        }
        if !small.is_empty() {
            pieces.push(small.freeze());
        }
        Self { pieces, first: 0, remaining }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.get(self.first).map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slots: &mut [IoSlice<'a>]) -> usize {
        let pieces = &self.pieces[self.first..];
        for (slot, piece) in slots.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
        }
        pieces.len().min(slots.len())
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining, "cannot advance past the end of the body");
        self.remaining -= count;
        let mut left = count;
        while left > 0 {
            let piece = &mut self.pieces[self.first];
            if left < piece.len() {
                piece.advance(left);
                return;
            }
            left -= piece.len();
            // What is written is given back at once.
            *piece = Bytes::new();
            self.first += 1;
        }
    }
}

impl RequestBody {
    pub(super) fn new(data: Pieces) -> Self {
        Self { length: data.remaining() as u64, data: Some(data) }
    }

    /// What has not been handed out yet.
    pub(super) fn into_pieces(self) -> Pieces {
        self.data.unwrap_or_default()
    }
}

impl Body for RequestBody {
    type Data = Pieces;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Pieces>, Infallible>>> {
        self.length = 0;
        Poll::Ready(self.data.take().filter(Buf::has_remaining).map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(pieces: &Pieces) -> Vec<u8> {
        pieces.pieces.concat()
    }

    /// Large pieces are shared, not copied; small neighbours and the prefix become one piece.
    #[test]
    fn shares_large_pieces_and_joins_small_ones() {
        let large = Bytes::from(vec![7; JOIN_BELOW]);
        let mut body = Bytes::from_static(b"ab").chain(Bytes::from_static(b"cd")).chain(large.clone());
        let pieces = Pieces::with_prefix(b"12345", &mut body);
        assert_eq!(pieces.pieces.len(), 2);
        assert_eq!(&pieces.pieces[0][..], b"12345abcd");
        assert_eq!(pieces.pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(pieces.remaining(), 9 + large.len());
    }

    /// Whatever the cuts, reading the pieces gives the prefix and the body.
    #[test]
    fn keeps_the_content_at_any_advance() {
        let body: Vec<u8> = (0..=255).cycle().take(3 * JOIN_BELOW).collect();
        for step in [1, 3, JOIN_BELOW - 1, JOIN_BELOW, 2 * JOIN_BELOW + 5] {
            let (left, right) = body.split_at(JOIN_BELOW + 1);
            let mut parts = Bytes::copy_from_slice(left).chain(Bytes::copy_from_slice(right));
            let mut pieces = Pieces::with_prefix(b"p", &mut parts);
            assert_eq!(content(&pieces), [b"p", body.as_slice()].concat());
            let mut read = Vec::new();
            while pieces.has_remaining() {
                let mut slots = [IoSlice::new(&[]); 2];
                let filled = pieces.chunks_vectored(&mut slots);
                let seen: Vec<u8> = slots[..filled].iter().flat_map(|slot| slot.iter().copied()).collect();
                let taken = seen.len().min(step);
                read.extend_from_slice(&seen[..taken]);
                pieces.advance(taken);
            }
            assert_eq!(read, [b"p", body.as_slice()].concat());
        }
    }
}
