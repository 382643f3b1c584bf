//! Round trips, against the usual encoders and decoders, and what hostile bodies can make us hold.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::{Read as _, Write as _};

use super::*;

const LIMIT: usize = 4 * 1024 * 1024;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn snappy(content: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(content).unwrap()
}

fn snappy_framed(content: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(content).unwrap();
    encoder.into_inner().unwrap()
}

/// One content in every coding that is inflated here.
fn in_every_coding(content: &[u8]) -> [(Encoding, Vec<u8>); 5] {
    [
        (Encoding::Gzip, gzip(content)),
        (Encoding::Zstd, zstd::encode_all(content, 1).unwrap()),
        (Encoding::Snappy, snappy(content)),
        (Encoding::Snappy, snappy_framed(content)),
        (Encoding::SnappyFramed, snappy_framed(content)),
    ]
}

/// Content that is neither constant nor incompressible.
fn content(size: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes())
        .map(|byte| byte % 17)
        .take(size)
        .collect()
}

async fn inflated(encoding: Encoding, wire: &[u8], limit: usize) -> Result<Bytes, InflateError> {
    inflate(encoding, &Bytes::copy_from_slice(wire), limit, &Budget::new(64 * LIMIT)).await.map(|(body, _charge)| body)
}

/// What we compress piece by piece, the usual decoders read, and so do we; states are reused without a trace.
#[tokio::test]
async fn round_trips() {
    for size in [0, 1, 1000, STEP - 1, STEP, 2 * STEP + 7] {
        let content = content(size);
        let http = |compression| (compression, Protocol::Http);
        let plain =
            [Compression::None, Compression::GZIP, Compression::Gzip(6), Compression::ZSTD, Compression::Snappy];
        for (compression, protocol) in plain.map(http).into_iter().chain([(Compression::Snappy, Protocol::Grpc)]) {
            let mut rope = Bytes::copy_from_slice(&content[..size / 3]).chain(&content[size / 3..]);
            let output = deflate(compression, protocol, &mut rope, 5).await.unwrap();
            assert!(!rope.has_remaining());
            assert_eq!(output[..5], [0; 5]);
            let wire = &output[5..];
            let Some(encoding) = compression.encoding() else {
                assert_eq!(wire, content);
                continue;
            };
            let theirs = match encoding {
                Encoding::Zstd => zstd::decode_all(wire).unwrap(),
                Encoding::Gzip => {
                    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
                    decoder.write_all(wire).unwrap();
                    decoder.finish().unwrap()
                }
                Encoding::Snappy | Encoding::SnappyFramed => match protocol {
                    Protocol::Http => snap::raw::Decoder::new().decompress_vec(wire).unwrap(),
                    Protocol::Grpc => {
                        let mut made = Vec::new();
                        snap::read::FrameDecoder::new(wire).read_to_end(&mut made).unwrap();
                        made
                    }
                },
            };
            assert_eq!(theirs, content, "{compression:?} {size}");
            assert_eq!(inflated(encoding, wire, LIMIT).await.unwrap(), content, "{compression:?} {size}");
        }
    }
}

/// A body of exactly the limit passes, one byte more does not, and the budget holds no more than the limit meanwhile.
#[tokio::test]
async fn stops_at_the_limit() {
    for size in [1, 1000, STEP, STEP + 1, 2 * STEP + 3] {
        let content = content(size);
        for (encoding, wire) in in_every_coding(&content) {
            assert_eq!(inflated(encoding, &wire, size).await.unwrap().len(), size);
            let refusal = inflated(encoding, &wire, size - 1).await.unwrap_err();
            assert!(matches!(refusal, InflateError::TooLarge(limit) if limit == size - 1), "{refusal}");
        }
    }
    for (encoding, bomb) in in_every_coding(&vec![0; 3 * LIMIT]) {
        let budget = Budget::new(2 * LIMIT);
        let refusal = inflate(encoding, &bomb.into(), LIMIT, &budget).await.unwrap_err();
        assert!(matches!(refusal, InflateError::TooLarge(_)), "{refusal}");
        assert_eq!(budget.used(), 0);
    }
}

/// The result is charged with its size, and inflating ends when the budget does.
#[tokio::test]
async fn charges_the_output() {
    for (encoding, wire) in in_every_coding(&content(2 * STEP)) {
        let wire = Bytes::from(wire);
        let budget = Budget::new(LIMIT);
        let (body, charge) = inflate(encoding, &wire, LIMIT, &budget).await.unwrap();
        assert_eq!((budget.used(), charge.bytes()), (body.len(), body.len()));
        drop(charge);
        assert_eq!(budget.used(), 0);
        let small = Budget::new(STEP + STEP / 2);
        assert!(matches!(inflate(encoding, &wire, LIMIT, &small).await, Err(InflateError::Exhausted(_))));
        assert_eq!(small.used(), 0);
    }
}

/// What comes of work that lets others run, which is to say that it is not done at the first poll. The only thread beside the
/// lane is taken until then, or the work might be done there by chance.
fn in_turns<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (release, taken) = std::sync::mpsc::channel::<()>();
        let beside = tokio::task::spawn_blocking(move || taken.recv());
        let mut work = std::pin::pin!(work);
        assert!(futures::poll!(&mut work).is_pending());
        drop(release);
        assert!(beside.await.unwrap().is_err());
        work.await
    })
}

/// The lane's other tasks run while a large body is inflated or compressed.
#[test]
fn lets_others_run() {
    for (encoding, wire) in in_every_coding(&content(3 * STEP)) {
        assert_eq!(in_turns(inflated(encoding, &wire, LIMIT)).unwrap().len(), 3 * STEP);
    }
    for protocol in [Protocol::Grpc, Protocol::Http] {
        for compression in [Compression::GZIP, Compression::ZSTD, Compression::Snappy] {
            let mut rope = Bytes::from(content(3 * STEP));
            in_turns(deflate(compression, protocol, &mut rope, 0)).unwrap();
        }
    }
}

/// They run too while a body is read that is long and holds nothing: members, frames and blocks without content.
#[test]
fn nothing_is_read_in_turns() {
    let blocks_of_nothing =
        |start: &[u8], block: &[u8], end: &[u8]| [start, &block.repeat(4 * STEP / block.len()), end].concat();
    // A gzip member that stores nothing many times, and a zstd frame of raw blocks of no bytes.
    let gzip_head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let gzip_end = [1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];
    let bodies = [
        (Encoding::Gzip, gzip(&[]).repeat(100_000)),
        (Encoding::Gzip, blocks_of_nothing(&gzip_head, &[0, 0, 0, 255, 255], &gzip_end)),
        (Encoding::Zstd, zstd::encode_all(&[][..], 1).unwrap().repeat(100_000)),
        (Encoding::Zstd, blocks_of_nothing(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], &[0, 0, 0], &[1, 0, 0])),
        (Encoding::SnappyFramed, blocks_of_nothing(b"\xff\x06\x00\x00sNaPpY", &[0xfe, 0, 0, 0], &[])),
    ];
    for (number, (encoding, wire)) in bodies.into_iter().enumerate() {
        let read = in_turns(inflated(encoding, &wire, LIMIT));
        assert_eq!(read.map(|body| body.len()).unwrap(), 0, "body {number}");
    }
}

/// A block that declares more than its bytes could make is refused before anything is allocated for it.
#[tokio::test]
async fn believes_no_length_of_snappy() {
    let declared = |length: u32| {
        let mut wire = snappy(b"");
        wire.clear();
        wire.extend((0..5).map(|index| (length >> (7 * index)) as u8 | if index < 4 { 0x80 } else { 0 }));
        wire
    };
    let refusal = inflated(Encoding::Snappy, &declared(LIMIT as u32), LIMIT).await.unwrap_err();
    assert!(refusal.to_string().contains("declare"), "{refusal}");
    let refusal = inflated(Encoding::Snappy, &declared(u32::MAX), LIMIT).await.unwrap_err();
    assert!(matches!(refusal, InflateError::TooLarge(_)), "{refusal}");
    let refusal = inflated(Encoding::SnappyFramed, &snappy(b"a block"), LIMIT).await.unwrap_err();
    assert!(refusal.to_string().contains("no framed stream"), "{refusal}");
}

/// A zstd frame with a window over 8 MiB is refused by its head; the window of an allowed one is charged.
#[tokio::test]
async fn bounds_zstd_windows() {
    let with_window = |log| {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(CParameter::WindowLog(log)).unwrap();
        encoder.write_all(&content(1000)).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(inflated(Encoding::Zstd, &with_window(23), LIMIT).await.unwrap(), content(1000));
    let refusal = inflated(Encoding::Zstd, &with_window(24), LIMIT).await.unwrap_err();
    assert_eq!(refusal.to_string(), "invalid zstd body: its window of 16777216 bytes is over 8 MiB");
    let budget = Budget::new(LIMIT);
    let refusal = inflate(Encoding::Zstd, &with_window(23).into(), LIMIT, &budget).await.unwrap_err();
    assert!(matches!(refusal, InflateError::Exhausted(_)), "{refusal}");
}

/// The head of a frame says what the reference decoder reads out of it, and one cut short says nothing.
#[test]
fn reads_zstd_heads() {
    for size in [0, 1, 255, 256, 65_791, 65_792, 2_000_000] {
        let frame = zstd::bulk::compress(&content(size), 1).unwrap();
        let head = ZstdFrame::read(&frame).unwrap();
        assert_eq!(head.content_size, Some(size as u64));
        assert_eq!(Some(Some(size as u64)), zstd::zstd_safe::get_frame_content_size(&frame).ok());
        assert!(head.window <= 1 << MAX_ZSTD_WINDOW_LOG);
        for cut in 0..5 {
            assert_eq!(ZstdFrame::read(&frame[..cut]), None);
        }
    }
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    assert_eq!(ZstdFrame::read(&skippable), Some(ZstdFrame { window: 0, content_size: Some(0) }));
}

/// Every truncation and every flipped bit of a small body is refused or gives some body, and never panics or hangs.
#[tokio::test]
async fn survives_damage() {
    let content = content(300);
    for (encoding, wire) in in_every_coding(&content) {
        for length in 0..wire.len() {
            // Frames can end anywhere between two of them.
            let may_end = wire.starts_with(b"\xff\x06\x00\x00sNaPpY") && [0, 10].contains(&length);
            let is_refused = inflated(encoding, &wire[..length], LIMIT).await.is_err();
            assert!(
                is_refused || may_end || (encoding == Encoding::Snappy && length == 0),
                "{encoding:?} cut at {length}"
            );
        }
        for bit in 0..wire.len() * 8 {
            let mut damaged = wire.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Some bits say nothing about the content (a gzip head has a time stamp).
            if let Ok(body) = inflated(encoding, &damaged, LIMIT).await {
                assert!(body.len() <= LIMIT);
            }
        }
        assert_eq!(inflated(encoding, &wire, LIMIT).await.unwrap(), content);
    }
}
