//! Finds where fields are in an encoded protobuf message, to overwrite those of fixed width in place.
//! Reads only what this module's neighbours encoded: anything else ends the walk early.

use std::ops::Range;

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) number: u64,
    /// Where the content is: without tag and length.
    pub(super) content: Range<usize>,
}

/// The fields of the message that lies at `range`, in order.
pub(super) fn fields(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = Field> + '_ {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let tag = varint(bytes, &mut at)?;
        let end = match tag & 7 {
            0 => {
                let mut after = at;
                varint(bytes, &mut after)?;
                after
            }
            1 => at + 8,
            2 => {
                let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
                at + length
            }
            5 => at + 4,
            _ => return None,
        };
        let content = at..end;
        at = end;
        Some(Field { number: tag >> 3, content })
    })
}

/// The contents of the fields with this number, in order.
pub(super) fn children(bytes: &[u8], range: Range<usize>, number: u64) -> impl Iterator<Item = Range<usize>> + '_ {
    fields(bytes, range).filter(move |field| field.number == number).map(|field| field.content)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each wire type ends where the next field begins.
    #[test]
    fn wire_types() {
        let bytes = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x11, 1, 2, 3, 4, 5, 6, 7, 8, // 2: eight bytes
            0x1a, 0x02, b'h', b'i', // 3: text
            0x25, 1, 2, 3, 4, // 4: four bytes
        ];
        let found: Vec<(u64, Range<usize>)> =
            fields(&bytes, 0..bytes.len()).map(|field| (field.number, field.content)).collect();
        assert_eq!(found, [(1, 1..3), (2, 4..12), (3, 14..16), (4, 17..21)]);
        assert!(children(&bytes, 0..bytes.len(), 3).eq(std::iter::once(14..16)));
    }
}
