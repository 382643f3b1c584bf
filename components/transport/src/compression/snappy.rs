//! snappy in its two formats: the block, whose length stands in front, and the frames of 64 KiB with checksums.
//!
//! A block is decoded in one go, because its copies may reach back over all of it, and of frames that hold nothing the
//! decoder reads any number at once: a large body is decoded on a thread of its own.
//! Not here: which format a header means; senders disagree, so the bytes decide (`FRAMED_START`).

use std::io::{Read as _, Write as _};

use bytes::{Buf, Bytes};
use engine_core::budget::Charge;
use engine_core::lane;

use super::{Encoding, InflateError, Output, STEP, pace};

/// How every framed stream starts (snappy framing format, section 4.1). No block does: the seventh byte would copy from
/// far before its start.
const FRAMED_START: &[u8; 10] = b"\xff\x06\x00\x00sNaPpY";

/// Most uncompressed bytes of a frame, and of what an encoder of blocks looks at at once.
const FRAME: usize = 64 * 1024;

/// No element of a block makes more than 64 bytes of three (a copy with a distance of two bytes).
const MOST_EXPANSION: usize = 22;

/// Inflates a body in the format that its first bytes show.
pub(super) async fn inflate(encoding: Encoding, wire: &Bytes, output: Output) -> Result<(Bytes, Charge), InflateError> {
    // A stream of nothing has no start either.
    if wire.is_empty() || wire.starts_with(FRAMED_START) {
        if wire.len() <= STEP {
            return inflate_framed(encoding, wire, output).await;
        }
        let wire = wire.clone();
        let inflated = lane::beside(move || futures::executor::block_on(inflate_framed(encoding, &wire, output)));
        return inflated.await.map_err(|error| encoding.malformed(error.to_string()))?;
    }
    if encoding == Encoding::SnappyFramed {
        return Err(encoding.malformed("it is no framed stream"));
    }
    inflate_block(encoding, wire, output).await
}

async fn inflate_framed(encoding: Encoding, wire: &[u8], mut output: Output) -> Result<(Bytes, Charge), InflateError> {
    output.expect(wire.len().saturating_mul(4));
    let mut decoder = snap::read::FrameDecoder::new(wire);
    let mut frame = vec![0; FRAME];
    loop {
        let made = decoder.read(&mut frame).map_err(|error| encoding.malformed(error.to_string()))?;
        if made == 0 {
            return output.finish();
        }
        output.push(&frame[..made])?;
        output.pace().await;
    }
}

async fn inflate_block(encoding: Encoding, wire: &Bytes, mut output: Output) -> Result<(Bytes, Charge), InflateError> {
    let invalid = |error: snap::Error| encoding.malformed(error.to_string());
    let length = snap::raw::decompress_len(wire).map_err(invalid)?;
    if length > output.limit {
        return Err(InflateError::TooLarge(output.limit));
    }
    if length / MOST_EXPANSION > wire.len() {
        return Err(encoding.malformed(format!("{} bytes cannot hold the {length} that they declare", wire.len())));
    }
    output.charge.resize(length)?;
    let Output { charge, .. } = output;
    let decode = |wire: &[u8]| snap::raw::Decoder::new().decompress_vec(wire);
    if length <= STEP {
        return Ok((decode(wire).map_err(invalid)?.into(), charge));
    }
    let wire = wire.clone();
    // The charge stays with the bytes if the request is given up meanwhile.
    let task = tokio::task::spawn_blocking(move || (decode(&wire), charge));
    let (decoded, charge) = task.await.map_err(|error| encoding.malformed(error.to_string()))?;
    Ok((decoded.map_err(invalid)?.into(), charge))
}

/// Adds what remains of `body` as one block: blocks of pieces behind one length are the block of the whole, because
/// nothing in them reaches back over the start of its piece.
pub(super) async fn deflate_block(body: &mut impl Buf, output: &mut Vec<u8>) -> std::io::Result<()> {
    push_varint(body.remaining(), output);
    let mut encoder = snap::raw::Encoder::new();
    let mut gathered = Vec::new();
    let mut block = vec![0; snap::raw::max_compress_len(FRAME)];
    let mut read_since_yield = 0;
    while body.has_remaining() {
        let size = body.remaining().min(FRAME);
        let is_whole = body.chunk().len() >= size;
        if !is_whole {
            gathered.resize(size, 0);
            body.copy_to_slice(&mut gathered);
        }
        let piece = if is_whole { &body.chunk()[..size] } else { &gathered[..] };
        let made = encoder.compress(piece, &mut block)?;
        let length_bytes = block.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        output.extend_from_slice(&block[length_bytes..made]);
        if is_whole {
            body.advance(size);
        }
        read_since_yield = pace(read_since_yield + size).await;
    }
    Ok(())
}

/// Adds what remains of `body` as a framed stream.
pub(super) async fn deflate_framed(body: &mut impl Buf, output: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut encoder = snap::write::FrameEncoder::new(output);
    let mut read_since_yield = 0;
    while body.has_remaining() {
        let size = body.chunk().len().min(STEP);
        encoder.write_all(&body.chunk()[..size])?;
        body.advance(size);
        read_since_yield = pace(read_since_yield + size).await;
    }
    encoder.into_inner().map_err(snap::write::IntoInnerError::into_error)
}

fn push_varint(mut value: usize, output: &mut Vec<u8>) {
    while value >= 0x80 {
        output.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}
