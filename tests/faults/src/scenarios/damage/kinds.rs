//! Kinds of damage to a file.

use std::path::Path;

use anyhow::Result;
use crc_fast::{CrcAlgorithm, Digest};
use rand::RngExt as _;
use rand::rngs::StdRng;

const PAGE: usize = 4096;

/// A damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It ends a few bytes early.
    CutAtEnd,
    /// It ends anywhere.
    Cut,
    /// It ends within its first bytes.
    CutAtStart,
    /// Nothing is in it.
    Empty,
    /// Its first page is zero.
    ZeroAtStart,
    /// A page anywhere is zero.
    Zero,
    /// Its last page is zero.
    ZeroAtEnd,
    /// Something stands behind its end.
    Longer,
    /// It is not there.
    Gone,
    /// It is there twice, the second time under another name.
    Doubled,
}

impl Damage {
    pub(super) const ALL: [Self; 10] = [
        Self::CutAtEnd,
        Self::Cut,
        Self::CutAtStart,
        Self::Empty,
        Self::ZeroAtStart,
        Self::Zero,
        Self::ZeroAtEnd,
        Self::Longer,
        Self::Gone,
        Self::Doubled,
    ];

    /// Does it, unless the file is too short for it; says whether it did.
    pub(super) fn is_done(self, path: &Path, random: &mut StdRng) -> Result<bool> {
        let mut bytes = std::fs::read(path)?;
        if bytes.len() < 2 * PAGE && !matches!(self, Self::Empty | Self::Gone | Self::Longer | Self::CutAtEnd) {
            return Ok(false);
        }
        let length = bytes.len();
        match self {
            Self::CutAtEnd => bytes.truncate(length.saturating_sub(10)),
            Self::Cut => bytes.truncate(random.random_range(PAGE..length)),
            Self::CutAtStart => bytes.truncate(random.random_range(1..60)),
            Self::Empty => bytes.clear(),
            Self::ZeroAtStart => bytes[..PAGE].fill(0),
            Self::Zero => {
                let start = random.random_range(0..length / PAGE) * PAGE;
                bytes[start..start + PAGE].fill(0);
            }
            Self::ZeroAtEnd => bytes[length - PAGE..].fill(0),
            Self::Longer => bytes.extend((0..PAGE).map(|_| random.random::<u8>())),
            Self::Gone => {
                std::fs::remove_file(path)?;
                return Ok(true);
            }
            Self::Doubled => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let Some(number) = name.strip_suffix(".segment").and_then(|number| number.parse::<u64>().ok()) else {
                    return Ok(false);
                };
                std::fs::copy(path, path.with_file_name(format!("{:020}.segment", number + 1)))?;
                return Ok(true);
            }
        }
        std::fs::write(path, bytes)?;
        Ok(true)
    }
}

/// Makes a file one of the next version, with a checksum that says that it is no damage. Others are left alone.
pub(super) fn make_newer(path: &Path) -> Result<()> {
    // The version is at byte 8 and the checksum of all else at byte 12, in segments of their first 40 bytes.
    const HEADER: usize = 40;
    let mut bytes = std::fs::read(path)?;
    if !bytes.starts_with(b"TELEBUFS") {
        return Ok(());
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into()?);
    bytes[8..12].copy_from_slice(&(version + 1).to_le_bytes());
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&bytes[..12]);
    digest.update(&bytes[16..HEADER]);
    let checksum = u32::try_from(digest.finalize())?;
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    Ok(std::fs::write(path, bytes)?)
}
