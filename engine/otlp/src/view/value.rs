//! Attributes and values (`KeyValue`, `AnyValue`).

use super::as_text;
use crate::protobuf::{Fields, WireType};

/// The attributes of a message, in order.
#[derive(Copy, Clone, Debug)]
pub struct Attributes<'a> {
    fields: Fields<'a>,
    number: u32,
}

/// One attribute.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct AttributeView<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value.
    pub value: ValueView<'a>,
}

/// A value.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum ValueView<'a> {
    /// A string.
    Str(&'a str),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list.
    Array(ArrayView<'a>),
    /// A map.
    Map(MapView<'a>),
    /// No value, or an index into a string table, which only profiles have.
    Empty,
}

/// A list of values.
#[derive(Copy, Clone, Debug)]
pub struct ArrayView<'a> {
    message: &'a [u8],
}

/// A map of keys to values.
#[derive(Copy, Clone, Debug)]
pub struct MapView<'a> {
    message: &'a [u8],
}

/// The values of an [`ArrayView`].
#[derive(Clone, Debug)]
pub struct Values<'a> {
    fields: Fields<'a>,
}

/// The entries of a [`MapView`].
pub type Entries<'a> = Attributes<'a>;

impl<'a> Attributes<'a> {
    pub(crate) const fn new(message: &'a [u8], number: u32) -> Self {
        Self { fields: Fields::new(message), number }
    }

    /// The value of the first attribute with this key.
    pub fn get(mut self, key: &str) -> Option<ValueView<'a>> {
        while let Some(attribute) = self.next_message() {
            if key_of(attribute) == key.as_bytes() {
                return Some(value_of(attribute));
            }
        }
        None
    }

    /// The values of the first attributes with these keys, in one pass: each in the place of its key. A key stands in `keys`
    /// once.
    pub fn get_each<K: AsRef<str>>(mut self, keys: &[K], found: &mut [Option<ValueView<'a>>]) {
        found.fill(None);
        let mut missing = keys.len().min(found.len());
        while missing > 0
            && let Some(attribute) = self.next_message()
        {
            let key = key_of(attribute);
            let place = keys.iter().zip(&*found).position(|(name, _)| name.as_ref().as_bytes() == key);
            if let Some(value @ None) = place.map(|place| &mut found[place]) {
                *value = Some(value_of(attribute));
                missing -= 1;
            }
        }
    }

    #[inline]
    fn next_message(&mut self) -> Option<&'a [u8]> {
        let number = self.number;
        self.fields.find(|field| field.number == number && field.wire == WireType::Length).map(|field| field.payload)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = AttributeView<'a>;

    #[inline]
    fn next(&mut self) -> Option<AttributeView<'a>> {
        let attribute = self.next_message()?;
        Some(AttributeView { key: as_text(key_of(attribute)), value: value_of(attribute) })
    }
}

impl<'a> ValueView<'a> {
    /// Reads an encoded `AnyValue`.
    pub(crate) fn new(message: &'a [u8]) -> Self {
        // A field that the table does not know may come first.
        for field in Fields::new(message) {
            return match (field.number, field.wire) {
                (1, _) => Self::Str(as_text(field.payload)),
                (2, _) => Self::Bool(field.scalar != 0),
                (3, _) => Self::Int(field.scalar as i64),
                (4, _) => Self::Double(f64::from_bits(field.scalar)),
                (5, _) => Self::Array(ArrayView { message: field.payload }),
                (6, _) => Self::Map(MapView { message: field.payload }),
                (7, _) => Self::Bytes(field.payload),
                _ => continue,
            };
        }
        Self::Empty
    }

    /// The string, if it is one.
    pub const fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> ArrayView<'a> {
    /// The values, in order.
    pub const fn iter(&self) -> Values<'a> {
        Values { fields: Fields::new(self.message) }
    }
}

impl<'a> MapView<'a> {
    /// The entries, in order.
    pub const fn iter(&self) -> Entries<'a> {
        Attributes::new(self.message, 1)
    }

    /// The value of the first entry with this key.
    pub fn get(&self, key: &str) -> Option<ValueView<'a>> {
        self.iter().get(key)
    }
}

impl<'a> IntoIterator for ArrayView<'a> {
    type Item = ValueView<'a>;
    type IntoIter = Values<'a>;

    fn into_iter(self) -> Values<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for MapView<'a> {
    type Item = AttributeView<'a>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueView<'a>;

    fn next(&mut self) -> Option<ValueView<'a>> {
        let field = self.fields.find(|field| field.number == 1)?;
        Some(ValueView::new(field.payload))
    }
}

impl PartialEq for ArrayView<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for MapView<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The key of an encoded `KeyValue`.
#[inline]
pub(crate) fn key_of(attribute: &[u8]) -> &[u8] {
    // Every encoder writes the key first, and few keys are longer than 127 bytes.
    if let [0x0a, len @ 0..0x80, rest @ ..] = attribute
        && let Some(key) = rest.get(..usize::from(*len))
    {
        return key;
    }
    Fields::new(attribute).payload(1).unwrap_or_default()
}

pub(crate) fn value_of(attribute: &[u8]) -> ValueView<'_> {
    Fields::new(attribute).payload(2).map_or(ValueView::Empty, ValueView::new)
}
