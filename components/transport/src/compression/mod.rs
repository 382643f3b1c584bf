//! gzip, zstd and snappy: bodies inflated under a limit and a memory charge, ropes deflated piece by piece.
//!
//! All yield to the runtime every MiB that they read or make, because they run on lanes that other connections share. States are kept per
//! thread and reused: a deflate state is a quarter of a megabyte that would be cleared for every request otherwise.

mod snappy;

use std::cell::RefCell;

use bytes::{Buf, Bytes};
use engine_core::budget::{Budget, Charge, Exhausted};
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation as _, OutBuffer};

use crate::Protocol;

/// Input is read and output made in steps of this many bytes, with a yield after each.
const STEP: usize = 1024 * 1024;

/// What one call of a decoder counts beside the bytes that it reads: a body may be made of millions of members or frames
/// that hold nothing.
const CALL: usize = 1024;

/// The largest zstd window accepted: what RFC 9659 lets HTTP peers use.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;

/// Idle states of each kind kept per thread.
const KEPT_STATES: usize = 2;

/// zstd contexts that have held a larger window than this are not kept: they never shrink.
const KEPT_ZSTD_WINDOW: u64 = 1024 * 1024;

/// The window of gzip, as a power of two: the largest, which every reader must support.
const GZIP_WINDOW_LOG: u8 = 15;

thread_local! {
    static INFLATERS: RefCell<Vec<Decompress>> = const { RefCell::new(Vec::new()) };
    static DEFLATERS: RefCell<Vec<(u32, Compress)>> = const { RefCell::new(Vec::new()) };
    static ZSTD_DECODERS: RefCell<Vec<Decoder<'static>>> = const { RefCell::new(Vec::new()) };
    static ZSTD_ENCODERS: RefCell<Vec<(i32, Encoder<'static>)>> = const { RefCell::new(Vec::new()) };
}

/// How a client compresses its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level from 1 to 9.
    Gzip(u32),
    /// zstd at a level from 1 to 22.
    Zstd(i32),
    /// snappy: its block format over HTTP, which is what `Content-Encoding: snappy` means, and its framed format over
    /// gRPC, which is what peers call `snappy` there.
    Snappy,
}

/// A content coding other than identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
    /// Block format or, told by its first bytes, framed format: senders call both by this name.
    Snappy,
    /// Framed format under a name of its own.
    SnappyFramed,
}

/// Why a body could not be inflated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InflateError {
    #[error("the inflated body is larger than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("invalid {encoding} body: {problem}")]
    Malformed { encoding: &'static str, problem: String },
}

impl Compression {
    /// gzip at the level that is four times cheaper than the usual one and nearly as small.
    pub const GZIP: Self = Self::Gzip(1);
    /// zstd at its cheapest regular level: smaller and cheaper than gzip.
    pub const ZSTD: Self = Self::Zstd(1);

    pub(crate) fn encoding(self) -> Option<Encoding> {
        match self {
            Self::None => None,
            Self::Gzip(_) => Some(Encoding::Gzip),
            Self::Zstd(_) => Some(Encoding::Zstd),
            Self::Snappy => Some(Encoding::Snappy),
        }
    }
}

impl Encoding {
    /// The name in `grpc-encoding` and `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::SnappyFramed => "x-snappy-framed",
        }
    }

    fn malformed(self, problem: impl Into<String>) -> InflateError {
        InflateError::Malformed { encoding: self.name(), problem: problem.into() }
    }
}

/// Inflates a whole body of at most `limit` bytes. Output is charged to the budget before it is allocated; the charge
/// comes with it.
pub(crate) async fn inflate(
    encoding: Encoding,
    wire: &Bytes,
    limit: usize,
    budget: &Budget,
) -> Result<(Bytes, Charge), InflateError> {
    let output = Output::new(budget, limit)?;
    match encoding {
        // Boxed: what is not compressed shall not carry their state from one future into the next.
        Encoding::Gzip => Box::pin(inflate_gzip(wire, output)).await,
        Encoding::Zstd => Box::pin(inflate_zstd(wire, output, budget)).await,
        Encoding::Snappy | Encoding::SnappyFramed => Box::pin(snappy::inflate(encoding, wire, output)).await,
    }
}

/// Compresses what remains of `body`, after `head` zeroed bytes that the caller fills in.
pub(crate) async fn deflate(
    compression: Compression,
    protocol: Protocol,
    body: &mut impl Buf,
    head: usize,
) -> std::io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(head + 1024 + body.remaining() / 4);
    output.resize(head, 0);
    match compression {
        Compression::None => {
            while body.has_remaining() {
                output.extend_from_slice(body.chunk());
                body.advance(body.chunk().len());
            }
        }
        Compression::Gzip(level) => Box::pin(deflate_gzip(level, body, &mut output)).await?,
        Compression::Zstd(level) => Box::pin(deflate_zstd(level, body, &mut output)).await?,
        Compression::Snappy => match protocol {
            Protocol::Http => Box::pin(snappy::deflate_block(body, &mut output)).await?,
            Protocol::Grpc => output = Box::pin(snappy::deflate_framed(body, output)).await?,
        },
    }
    Ok(output)
}

async fn inflate_gzip(wire: &[u8], mut output: Output) -> Result<(Bytes, Charge), InflateError> {
    let encoding = Encoding::Gzip;
    // The last four bytes of a gzip member are its size modulo 2^32: a hint for the first allocation, no more.
    let size_hint = wire.last_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    output.expect(size_hint);
    let mut state = take(&INFLATERS, |_| true).unwrap_or_else(|| Decompress::new_gzip(GZIP_WINDOW_LOG));
    let mut input = wire;
    let mut read_since_yield = 0;
    loop {
        let space = output.space()?;
        let (read_before, made_before) = (state.total_in(), state.total_out());
        let status = state
            .decompress_vec(&input[..input.len().min(STEP)], space, FlushDecompress::None)
            .map_err(|error| encoding.malformed(error.to_string()))?;
        let read = usize::try_from(state.total_in() - read_before).expect("no more is read than there is");
        let made = state.total_out() - made_before;
        input = &input[read..];
        match status {
            Status::StreamEnd => {
                // `true` keeps the gzip wrapper that the state was made with.
                state.reset(true);
                if input.is_empty() {
                    break;
                }
            }
            Status::Ok if read > 0 || made > 0 => {}
            Status::Ok | Status::BufError => return Err(encoding.malformed("it is truncated")),
        }
        output.pace().await;
        read_since_yield = pace(read_since_yield + read + CALL).await;
    }
    keep(&INFLATERS, state);
    output.finish()
}

async fn inflate_zstd(wire: &[u8], mut output: Output, budget: &Budget) -> Result<(Bytes, Charge), InflateError> {
    let encoding = Encoding::Zstd;
    let invalid = |error: std::io::Error| encoding.malformed(error.to_string());
    let mut state = match take(&ZSTD_DECODERS, |_| true) {
        Some(state) => state,
        None => {
            let mut state = Decoder::new().map_err(invalid)?;
            state.set_parameter(DParameter::WindowLogMax(MAX_ZSTD_WINDOW_LOG)).map_err(invalid)?;
            state
        }
    };
    let mut window_charge = budget.try_charge(0)?;
    let mut largest_window = 0;
    let (mut at, mut read_since_yield) = (0, 0);
    let mut at_frame_start = true;
    loop {
        if at_frame_start {
            let frame = ZstdFrame::read(&wire[at..]).ok_or_else(|| encoding.malformed("not a zstd frame"))?;
            if frame.window > 1 << MAX_ZSTD_WINDOW_LOG {
                return Err(encoding.malformed(format!("its window of {} bytes is over 8 MiB", frame.window)));
            }
            largest_window = largest_window.max(frame.window);
            // The decoder keeps a window of its own beside the output.
            window_charge.resize(usize::try_from(largest_window).expect("at most 8 MiB"))?;
            output.expect(
                frame
                    .content_size
                    .map_or(wire.len().saturating_mul(4), |size| usize::try_from(size).unwrap_or(usize::MAX)),
            );
            at_frame_start = false;
        }
        let space = output.space()?;
        let start = space.len();
        let mut input = InBuffer::around(&wire[at..wire.len().min(at + STEP)]);
        let missing = state.run(&mut input, &mut OutBuffer::around_pos(space, start)).map_err(invalid)?;
        let read = input.pos();
        let progressed = read > 0 || space.len() > start;
        at += read;
        if missing == 0 {
            if at == wire.len() {
                break;
            }
            at_frame_start = true;
        } else if !progressed {
            return Err(encoding.malformed("it is truncated"));
        }
        output.pace().await;
        read_since_yield = pace(read_since_yield + read + CALL).await;
    }
    if largest_window <= KEPT_ZSTD_WINDOW {
        state.reinit().map_err(invalid)?;
        keep(&ZSTD_DECODERS, state);
    }
    output.finish()
}

async fn deflate_gzip(level: u32, body: &mut impl Buf, output: &mut Vec<u8>) -> std::io::Result<()> {
    let (_, mut state) = take(&DEFLATERS, |(kept, _)| *kept == level)
        .unwrap_or_else(|| (level, Compress::new_gzip(flate2::Compression::new(level), GZIP_WINDOW_LOG)));
    let mut read_since_yield = 0;
    loop {
        let chunk = body.chunk();
        let chunk = &chunk[..chunk.len().min(STEP)];
        let flush = if body.has_remaining() { FlushCompress::None } else { FlushCompress::Finish };
        if output.capacity() - output.len() < 64 {
            output.reserve(output.len().max(1024));
        }
        let read_before = state.total_in();
        let status = state.compress_vec(chunk, output, flush)?;
        let read = usize::try_from(state.total_in() - read_before).expect("no more is read than there is");
        body.advance(read);
        if status == Status::StreamEnd {
            break;
        }
        read_since_yield = pace(read_since_yield + read).await;
    }
    state.reset();
    keep(&DEFLATERS, (level, state));
    Ok(())
}

async fn deflate_zstd(level: i32, body: &mut impl Buf, output: &mut Vec<u8>) -> std::io::Result<()> {
    let (_, mut state) = match take(&ZSTD_ENCODERS, |(kept, _)| *kept == level) {
        Some(kept) => kept,
        None => {
            let mut state = Encoder::new(level)?;
            state.set_parameter(CParameter::ContentSizeFlag(true))?;
            (level, state)
        }
    };
    state.set_pledged_src_size(Some(body.remaining() as u64))?;
    let mut read_since_yield = 0;
    while body.has_remaining() {
        let chunk = body.chunk();
        let mut input = InBuffer::around(&chunk[..chunk.len().min(STEP)]);
        reserve_spare(output);
        let start = output.len();
        state.run(&mut input, &mut OutBuffer::around_pos(output, start))?;
        let read = input.pos();
        body.advance(read);
        read_since_yield = pace(read_since_yield + read).await;
    }
    loop {
        reserve_spare(output);
        let start = output.len();
        if state.finish(&mut OutBuffer::around_pos(output, start), true)? == 0 {
            break;
        }
    }
    state.reinit()?;
    keep(&ZSTD_ENCODERS, (level, state));
    Ok(())
}

fn reserve_spare(output: &mut Vec<u8>) {
    if output.capacity() - output.len() < 64 {
        output.reserve(output.len().max(1024));
    }
}

/// Yields once every [`STEP`] bytes; returns the bytes since the last yield.
async fn pace(since_yield: usize) -> usize {
    if since_yield < STEP {
        return since_yield;
    }
    tokio::task::yield_now().await;
    0
}

/// Inflated bytes in chunks of at most [`STEP`], charged as they are allocated and joined at the end: bodies of up
/// to one step are never copied, larger ones once, and no reallocation doubles the memory on the way.
struct Output {
    limit: usize,
    full: Vec<Vec<u8>>,
    full_bytes: usize,
    current: Vec<u8>,
    expected: usize,
    charge: Charge,
}

impl Output {
    fn new(budget: &Budget, limit: usize) -> Result<Self, Exhausted> {
        let charge = budget.try_charge(0)?;
        Ok(Self { limit, full: Vec::new(), full_bytes: 0, current: Vec::new(), expected: 0, charge })
    }

    /// Notes how much more the peer says is coming. Only a hint for the size of the next chunk.
    fn expect(&mut self, size: usize) {
        self.expected = size;
    }

    fn made(&self) -> usize {
        self.full_bytes + self.current.len()
    }

    /// A chunk with room in it. The limit is over only when one byte more than it was made, so that a body of exactly
    /// the limit passes.
    fn space(&mut self) -> Result<&mut Vec<u8>, InflateError> {
        if self.current.len() < self.current.capacity() {
            return Ok(&mut self.current);
        }
        let made = self.made();
        if made > self.limit {
            return Err(InflateError::TooLarge(self.limit));
        }
        // One byte more than expected lets the decoder see its end without another chunk.
        let wanted = if self.full.is_empty() && self.current.is_empty() { self.expected + 1 } else { STEP };
        let size = wanted.clamp(1024, STEP).min(self.limit + 1 - made);
        self.charge.resize(made + size)?;
        let chunk = std::mem::replace(&mut self.current, Vec::with_capacity(size));
        if !chunk.is_empty() {
            self.full_bytes += chunk.len();
            self.full.push(chunk);
        }
        Ok(&mut self.current)
    }

    /// Adds bytes that were made elsewhere.
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), InflateError> {
        while !bytes.is_empty() {
            let space = self.space()?;
            let fitting = bytes.len().min(space.capacity() - space.len());
            space.extend_from_slice(&bytes[..fitting]);
            bytes = &bytes[fitting..];
        }
        Ok(())
    }

    /// Lets other tasks of the lane run after every full chunk.
    async fn pace(&self) {
        if self.current.len() == self.current.capacity() {
            tokio::task::yield_now().await;
        }
    }

    fn finish(mut self) -> Result<(Bytes, Charge), InflateError> {
        let made = self.made();
        if made > self.limit {
            return Err(InflateError::TooLarge(self.limit));
        }
        if self.full.is_empty() {
            self.current.shrink_to_fit();
        } else {
            let mut joined = Vec::with_capacity(made);
            for chunk in self.full.drain(..).chain([std::mem::take(&mut self.current)]) {
                joined.extend_from_slice(&chunk);
            }
            self.current = joined;
        }
        self.charge.resize(made)?;
        Ok((Bytes::from(self.current), self.charge))
    }
}

/// What the head of a zstd frame says (RFC 8878, section 3.1.1.1).
#[derive(Debug, PartialEq, Eq)]
struct ZstdFrame {
    window: u64,
    content_size: Option<u64>,
}

impl ZstdFrame {
    /// Reads the head of a frame, or of a skippable one, which needs no window.
    fn read(frame: &[u8]) -> Option<Self> {
        let magic = u32::from_le_bytes(*frame.first_chunk()?);
        if magic & 0xffff_fff0 == 0x184d_2a50 {
            return Some(Self { window: 0, content_size: Some(0) });
        }
        if magic != 0xfd2f_b528 {
            return None;
        }
        let descriptor = *frame.get(4)?;
        let single_segment = descriptor & 0x20 != 0;
        let dictionary_id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content_size_at = 5 + usize::from(!single_segment) + dictionary_id_bytes;
        let content_size = match descriptor >> 6 {
            0 if single_segment => Some(u64::from(*frame.get(content_size_at)?)),
            0 => None,
            1 => Some(u64::from(u16::from_le_bytes(*frame.get(content_size_at..)?.first_chunk()?)) + 256),
            2 => Some(u64::from(u32::from_le_bytes(*frame.get(content_size_at..)?.first_chunk()?))),
            _ => Some(u64::from_le_bytes(*frame.get(content_size_at..)?.first_chunk()?)),
        };
        let window = if single_segment {
            content_size?
        } else {
            let window_descriptor = *frame.get(5)?;
            let base = 1u64 << (10 + (window_descriptor >> 3));
            base + base / 8 * u64::from(window_descriptor & 7)
        };
        Some(Self { window, content_size })
    }
}

/// Takes a kept state that `fits` from this thread's store.
fn take<T>(store: &'static std::thread::LocalKey<RefCell<Vec<T>>>, fits: impl Fn(&T) -> bool) -> Option<T> {
    store.with_borrow_mut(|kept| {
        let index = kept.iter().position(fits)?;
        Some(kept.swap_remove(index))
    })
}

/// Puts a state that is ready for the next body into this thread's store, unless it is full.
fn keep<T>(store: &'static std::thread::LocalKey<RefCell<Vec<T>>>, state: T) {
    store.with_borrow_mut(|kept| {
        if kept.len() < KEPT_STATES {
            kept.push(state);
        }
    });
}

#[cfg(test)]
mod tests;
