//! The request body: one data frame whose data is a rope, written with `writev` and never joined.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut as _, BytesMut};
use http_body::{Body, Frame, SizeHint};
use otlp::Rope;

/// Neighbouring pieces below this size are joined: a slot of a `writev` costs more than copying them, and h2 passes
/// 16 slots at a time.
const JOIN_BELOW: usize = 2 * 1024;

/// A body that is one data frame.
#[derive(Debug)]
pub(super) struct RequestBody {
    data: Option<Rope>,
    length: u64,
}

/// `body` behind `prefix`, large pieces shared and small ones joined.
pub(super) fn with_prefix(prefix: &[u8], body: &mut impl Buf) -> Rope {
    let mut rope = Rope::new();
    let mut small = BytesMut::new();
    small.extend_from_slice(prefix);
    while body.has_remaining() {
        let length = body.chunk().len();
        if length >= JOIN_BELOW {
            rope.push(small.split().freeze());
            rope.push(body.copy_to_bytes(length));
        } else {
            small.put_slice(body.chunk());
            body.advance(length);
        }
    }
    rope.push(small.freeze());
    rope
}

impl RequestBody {
    pub(super) fn new(data: Rope) -> Self {
        Self { length: data.len() as u64, data: Some(data) }
    }

    /// What has not been handed out yet.
    pub(super) fn into_rope(self) -> Rope {
        self.data.unwrap_or_default()
    }
}

impl Body for RequestBody {
    type Data = Rope;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Rope>, Infallible>>> {
        self.length = 0;
        Poll::Ready(self.data.take().filter(|data| !data.is_empty()).map(|data| Ok(Frame::data(data))))
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
    use bytes::Bytes;

    use super::*;

    /// Large pieces are shared, not copied; small neighbours and the prefix become one piece.
    #[test]
    fn shares_large_pieces_and_joins_small_ones() {
        let large = Bytes::from(vec![7; JOIN_BELOW]);
        let mut body = Bytes::from_static(b"ab").chain(Bytes::from_static(b"cd")).chain(large.clone());
        let rope = with_prefix(b"12345", &mut body);
        assert_eq!(rope.pieces().len(), 2);
        assert_eq!(&rope.pieces()[0][..], b"12345abcd");
        assert_eq!(rope.pieces()[1].as_ptr(), large.as_ptr());
        assert_eq!(rope.len(), 9 + large.len());
    }

    /// Whatever the cuts, the content is the prefix and the body.
    #[test]
    fn keeps_the_content() {
        let body: Vec<u8> = (0..=255).cycle().take(3 * JOIN_BELOW).collect();
        for cut in [0, 1, JOIN_BELOW - 1, JOIN_BELOW, JOIN_BELOW + 1, body.len()] {
            for prefix in [&b""[..], b"p"] {
                let (left, right) = body.split_at(cut);
                let mut parts = Bytes::copy_from_slice(left).chain(Bytes::copy_from_slice(right));
                let rope = with_prefix(prefix, &mut parts);
                assert!(rope.pieces().iter().all(|piece| !piece.is_empty()));
                assert_eq!(rope.into_bytes(), [prefix, body.as_slice()].concat());
            }
        }
    }
}
