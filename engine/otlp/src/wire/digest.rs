//! The SHA-256 of an attribute's value. Which bytes of a value are hashed is part of what users rely on: the same value
//! gives the same hash in every version, whoever sent it and however it was encoded.

use sha2::{Digest, Sha256};

use crate::ValueView;

/// Characters of a hash in hexadecimal.
pub(super) const HEX_LEN: usize = 64;

/// Appends the hash of a value in lower-case hexadecimal.
///
/// Hashed are the bytes of a string (UTF-8); one byte, 0 or 1, of a boolean; eight bytes, little endian, of an integer
/// (two's complement) and of a double (IEEE 754): what the Collector's attributes processor hashes, too. Besides, the
/// bytes of a bytes value; the hashes (32 bytes each) of a list's values, and of a map's keys and values in turn, in
/// order; nothing where there is no value.
pub(super) fn put_hex_of(value: ValueView<'_>, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in hash(value) {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Values nest no deeper than admission allows, so this may call itself.
fn hash(value: ValueView<'_>) -> [u8; 32] {
    match value {
        ValueView::Str(text) => Sha256::digest(text).into(),
        ValueView::Bytes(bytes) => Sha256::digest(bytes).into(),
        ValueView::Bool(flag) => Sha256::digest([u8::from(flag)]).into(),
        ValueView::Int(number) => Sha256::digest(number.to_le_bytes()).into(),
        ValueView::Double(number) => Sha256::digest(number.to_le_bytes()).into(),
        ValueView::Array(values) => {
            let mut all = Sha256::new();
            values.iter().for_each(|inner| all.update(hash(inner)));
            all.finalize().into()
        }
        ValueView::Map(entries) => {
            let mut all = Sha256::new();
            for entry in entries.iter() {
                all.update(hash(ValueView::Str(entry.key)));
                all.update(hash(entry.value));
            }
            all.finalize().into()
        }
        ValueView::Empty => Sha256::digest([]).into(),
    }
}
