//! Which file is which: device and inode, and what its first bytes are. A name says nothing, because rotation renames; an
//! inode alone says little, because it is used again once a file is gone.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The most bytes of a file's beginning that tell it from others.
pub(super) const FIRST_BYTES: usize = 1024;

/// Where a file is on this host, while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What a file begins with. That of a short file covers what there is of it and grows with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    length: u16,
    hash: u64,
}

impl Inode {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Fingerprint {
    /// Of a file that begins so; all that counts of it is its first [`FIRST_BYTES`].
    pub(super) fn of(beginning: &[u8]) -> Self {
        let first = &beginning[..beginning.len().min(FIRST_BYTES)];
        Self { length: first.len() as u16, hash: xxh3_64(first) }
    }

    /// Whether a file that begins so is, or has grown from, the one this was taken of.
    pub(super) fn is_of(self, beginning: &[u8]) -> bool {
        let length = usize::from(self.length);
        beginning.get(..length).is_some_and(|first| xxh3_64(first) == self.hash)
    }

    /// Bytes it covers.
    pub(super) fn len(self) -> usize {
        usize::from(self.length)
    }

    /// Whether it says nothing: the file was empty.
    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Whether the file may have more bytes that would count.
    pub(super) fn may_grow(self) -> bool {
        self.len() < FIRST_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that grew is still itself, one that begins otherwise or is shorter is not, and bytes behind the first ones do
    /// not count.
    #[test]
    fn grows_with_its_file() {
        let short = Fingerprint::of(b"first line\n");
        assert!(short.is_of(b"first line\nsecond line\n") && short.may_grow());
        assert!(!short.is_of(b"first line") && !short.is_of(b"First line\nsecond line\n"));
        assert!(Fingerprint::default().is_empty() && Fingerprint::of(b"").is_of(b"anything"));
        let mut long = vec![b'x'; FIRST_BYTES];
        let full = Fingerprint::of(&long);
        long.push(b'y');
        assert_eq!(Fingerprint::of(&long), full);
        assert!(!full.may_grow());
    }

    /// The hash stands in positions that another version of the program reads: it must not change.
    #[test]
    fn the_hash_is_pinned() {
        let found = serde_json::to_value(Fingerprint::of(b"first line\n")).map(|value| value.to_string());
        assert_eq!(found.unwrap_or_default(), r#"{"length":11,"hash":5210254162254745067}"#);
    }
}
