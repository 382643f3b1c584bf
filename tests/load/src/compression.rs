//! Level 1 compression of message bodies, the same for loader, sink and null hop.
//! The libraries are the engine's: flate2 on zlib-rs, and zstd.

use std::io::{self, Read, Write};

use bytes::Bytes;
use clap::ValueEnum;
use flate2::{read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};

/// The level of every algorithm.
const LEVEL: u32 = 1;

/// How a gRPC message is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip level 1.
    Gzip,
    /// zstd level 1.
    Zstd,
}

impl Compression {
    /// The value of `grpc-encoding`, or nothing where the header is left out.
    pub fn encoding(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }

    /// Writes `body`, compressed, to `out`.
    ///
    /// # Errors
    /// Those of `out` and of the compressor.
    pub fn compress(self, body: &[u8], mut out: impl Write) -> io::Result<()> {
        match self {
            Compression::None => out.write_all(body),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(out, flate2::Compression::new(LEVEL));
                encoder.write_all(body)?;
                encoder.finish().map(drop)
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL.cast_signed())?;
                encoder.write_all(body)?;
                encoder.finish().map(drop)
            }
        }
    }

    /// The plain form of a compressed `body`.
    ///
    /// # Errors
    /// When `body` is not a complete stream of this algorithm.
    pub fn decompress(self, body: Bytes) -> io::Result<Bytes> {
        let mut plain = Vec::with_capacity(body.len() * 8);
        match self {
            Compression::None => return Ok(body),
            Compression::Gzip => GzDecoder::new(&body[..]).read_to_end(&mut plain)?,
            Compression::Zstd => zstd::stream::read::Decoder::new(&body[..])?.read_to_end(&mut plain)?,
        };
        Ok(plain.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;

    /// Every algorithm gives back what it was given, and compresses text.
    #[test]
    fn decompress_undoes_compress() {
        let text = b"GET /orders/17 completed with status 200 ".repeat(100);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut packed = Vec::new();
            compression.compress(&text, &mut packed).unwrap();
            assert_eq!(packed.len() < text.len(), compression != Compression::None);
            assert_eq!(compression.decompress(packed.into()).unwrap(), text);
        }
    }
}
