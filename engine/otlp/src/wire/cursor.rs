//! A range of a rope, and the walk over the fields of a message that may lie in several pieces. It reads only what
//! admission proved; it copies nothing.

use bytes::Bytes;

use crate::protobuf::{FieldHead, WireType, field_head};

/// A range of a rope.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Cursor<'a> {
    /// The piece in which the range begins, and the following ones.
    pieces: &'a [Bytes],
    /// Where it begins in the first of them.
    at: usize,
    len: usize,
}

/// A field of a message that may lie in several pieces; its head lies in one.
#[derive(Copy, Clone, Debug)]
pub(crate) struct RopeField<'a> {
    pub(crate) number: u32,
    pub(crate) wire: WireType,
    /// The whole field, from its key on.
    pub(crate) raw: Cursor<'a>,
    /// The content of a length-delimited field.
    pub(crate) payload: Cursor<'a>,
}

impl<'a> Cursor<'a> {
    /// The range of `len` bytes from the start of the first piece.
    pub(crate) const fn new(pieces: &'a [Bytes], len: usize) -> Self {
        Self { pieces, at: 0, len }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The part of the range that lies in its first piece.
    #[inline]
    pub(crate) fn chunk(&self) -> &'a [u8] {
        match self.pieces {
            [first, ..] => {
                let rest = &first[self.at..];
                &rest[..rest.len().min(self.len)]
            }
            [] => &[],
        }
    }

    /// The range as one slice, if it lies in one piece.
    #[inline]
    pub(crate) fn contiguous(&self) -> Option<&'a [u8]> {
        let chunk = self.chunk();
        (chunk.len() == self.len).then_some(chunk)
    }

    /// The range as one slice.
    ///
    /// For resources, scope heads and records only, which never span pieces.
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.contiguous().expect("heads and records lie in one piece")
    }

    /// Takes the first `len` bytes off the range.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Self {
        debug_assert!(len <= self.len, "a range is cut inside");
        let taken = Self { len, ..*self };
        self.len -= len;
        self.at += len;
        while let [first, rest @ ..] = self.pieces
            && self.at >= first.len()
        {
            self.at -= first.len();
            self.pieces = rest;
        }
        taken
    }

    /// Takes the field at the start off the range. `None` at its end.
    #[inline]
    pub(crate) fn field(&mut self) -> Option<RopeField<'a>> {
        if self.len == 0 {
            return None;
        }
        let FieldHead { number, wire, len, payload, .. } = field_head(self.chunk())?;
        if len + payload > self.len {
            return None;
        }
        let raw = self.take(len + payload);
        let mut content = raw;
        content.take(len);
        Some(RopeField { number, wire, raw, payload: content })
    }

    /// Whether both ranges begin at the same place.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        std::ptr::eq(self.pieces.as_ptr(), other.pieces.as_ptr()) && self.at == other.at
    }

    /// Adds the `len` bytes that follow to the range.
    pub(crate) fn grow(&mut self, len: usize) {
        self.len += len;
    }

    /// The slices of the range with the pieces that hold them and their offsets there.
    pub(crate) fn slices(self) -> impl Iterator<Item = (&'a Bytes, std::ops::Range<usize>)> {
        let mut rest = self;
        std::iter::from_fn(move || {
            if rest.len == 0 {
                return None;
            }
            let piece = rest.pieces.first()?;
            let start = rest.at;
            let len = rest.chunk().len();
            rest.take(len);
            Some((piece, start..start + len))
        })
    }
}
