//! The keys that edits are for, arranged so that most attributes are told from them without a comparison. What is done
//! with an attribute that has one of them is the matter of `edit` and `attributes`.

use bytes::Bytes;

/// Keys, each once, numbered in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
    /// One bit for each length of a key (the last for all longer ones), so that most attributes need no closer look.
    lengths: u64,
    /// One bit for each [`fingerprint`] of a key, so that most of the others need no comparison.
    fingerprints: u64,
}

#[derive(Clone, Debug)]
struct Key {
    key: Bytes,
    /// [`tail`] of the key, by which most others are told from it.
    end: u64,
}

impl Keys {
    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key that is not there yet.
    pub(super) fn add(&mut self, key: Bytes) {
        debug_assert!(self.find(&key).is_none(), "each key is added once");
        let end = tail(&key);
        self.lengths |= length_bit(key.len());
        self.fingerprints |= fingerprint(end);
        self.keys.push(Key { key, end });
    }

    /// The number of a key.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        if self.lengths & length_bit(key.len()) == 0 {
            return None;
        }
        self.search(key)
    }

    #[inline]
    fn search(&self, key: &[u8]) -> Option<usize> {
        let end = tail(key);
        if self.fingerprints & fingerprint(end) == 0 {
            return None;
        }
        self.keys.iter().position(|one| one.key.len() == key.len() && one.end == end && *one.key == *key)
    }
}

/// The last eight bytes of a key.
#[inline]
fn tail(key: &[u8]) -> u64 {
    match key.last_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// One bit of 64 for the end of a key.
#[inline]
const fn fingerprint(end_of_key: u64) -> u64 {
    1 << (end_of_key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

#[inline]
const fn length_bit(len: usize) -> u64 {
    1 << if len < 63 { len } else { 63 }
}
