//! `AnyValue` on the wire, of which everything is known before the first byte is written.

use crate::protobuf::{field_len, put_length_head, put_varint, varint_len};

/// A value of an attribute or a body.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Value<'a> {
    /// A value that is set and says nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction, or a whole one that 64 bits do not hold.
    Double(f64),
    /// A text. Whoever makes it states that it is UTF-8.
    String(&'a [u8]),
    /// A list or a map: the encoded `AnyValue`, without key and length.
    Nested(&'a [u8]),
}

impl Value<'_> {
    /// Bytes of the value as a message.
    #[inline]
    fn len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 2,
            Self::Int(number) => 1 + varint_len(number.cast_unsigned()),
            Self::Double(_) => 9,
            Self::String(content) => field_len(content.len()),
            Self::Nested(content) => content.len(),
        }
    }

    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Bool(content) => out.extend_from_slice(&[0x10, u8::from(content)]),
            Self::Int(number) => {
                out.push(0x18);
                put_varint(out, number.cast_unsigned());
            }
            Self::Double(number) => {
                out.push(0x21);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::String(content) => {
                put_length_head(out, 1, content.len());
                out.extend_from_slice(content);
            }
            Self::Nested(content) => out.extend_from_slice(content),
        }
    }

    /// Writes the value as a field with this number, below 16.
    #[inline]
    pub fn put_field(self, number: u32, out: &mut Vec<u8>) {
        put_length_head(out, number, self.len());
        self.put(out);
    }

    /// Writes a `KeyValue` as a field with this number, below 16. The key is UTF-8.
    #[inline]
    pub fn put_attribute(self, number: u32, key: &[u8], out: &mut Vec<u8>) {
        let content = self.len();
        put_length_head(out, number, field_len(key.len()) + field_len(content));
        put_length_head(out, 1, key.len());
        out.extend_from_slice(key);
        put_length_head(out, 2, content);
        self.put(out);
    }
}
