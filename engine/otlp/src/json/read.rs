//! Reads OTLP/JSON into bytes, by the table of messages. It accepts what the protobuf JSON mapping accepts, with the
//! exceptions that OTLP makes: ids are hexadecimal, enumerations are numbers.

use std::cell::Cell;
use std::fmt;

use bytes::{BufMut as _, Bytes};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::protobuf::{put_length_head, put_varint};
use crate::schema::{self, Field, Kind, Message, Number};
use crate::{AdmitError, Signal, Wire, admit};

/// The text is no OTLP/JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON, a key occurs twice, or a value is not what its field takes.
    #[error("invalid OTLP/JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// The request could not be decoded from protobuf, because values are nested too deeply.
    #[error("invalid OTLP/JSON: {0}")]
    Nesting(#[from] AdmitError),
}

/// Keys that were ignored and look like the name of a field: whoever wrote them expects them to be read.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SnakeCase {
    /// The first of them.
    pub first: &'static str,
    /// How many there are.
    pub keys: u64,
}

/// A request that was read from JSON.
#[derive(Debug)]
#[non_exhaustive]
pub struct FromJson {
    /// The request.
    pub wire: Wire,
    /// Names in snake_case, which OTLP/JSON does not know, if there are any.
    pub snake_case: Option<SnakeCase>,
}

/// Levels of messages that are read; admission then sets the exact limit.
const DEPTH_LIMIT: u32 = 101;

/// Reads a request from OTLP/JSON. Unknown keys are ignored, as the specification demands.
///
/// # Errors
///
/// [`JsonError`].
pub fn from_json(signal: Signal, text: &[u8]) -> Result<Wire, JsonError> {
    Ok(read(signal, text)?.wire)
}

/// Reads a request from OTLP/JSON, and says which of the ignored keys are the name of a field in snake_case, as other
/// JSON of protobuf may have it.
///
/// # Errors
///
/// [`JsonError`].
pub fn read(signal: Signal, text: &[u8]) -> Result<FromJson, JsonError> {
    let mut out = Vec::with_capacity(text.len() / 2);
    let snake_case = Cell::new(None);
    let mut json = serde_json::Deserializer::from_slice(text);
    // The limit of serde_json is lower than the one of protobuf. Messages count their own depth, and what is ignored
    // is skipped without recursion.
    json.disable_recursion_limit();
    let (message, snake) = (schema::request(signal), &snake_case);
    MessageSeed { message, depth: DEPTH_LIMIT, snake, out: &mut out }.deserialize(&mut json)?;
    json.end()?;
    Ok(FromJson { wire: admit(signal, Bytes::from(out))?, snake_case: snake_case.get() })
}

/// Reads an object and appends the fields of a message.
struct MessageSeed<'o> {
    message: &'static Message,
    depth: u32,
    snake: &'o Cell<Option<SnakeCase>>,
    out: &'o mut Vec<u8>,
}

/// Reads the value of a key and appends the field.
struct FieldSeed<'o> {
    number: u32,
    field: &'static Field,
    depth: u32,
    snake: &'o Cell<Option<SnakeCase>>,
    out: &'o mut Vec<u8>,
}

/// Reads one value of a field and appends it with its key.
struct ValueSeed<'o> {
    number: u32,
    kind: Kind,
    depth: u32,
    snake: &'o Cell<Option<SnakeCase>>,
    out: &'o mut Vec<u8>,
}

/// Finds the field that a key names.
struct KeySeed<'o>(&'static Message, &'o Cell<Option<SnakeCase>>);

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| A::Error::custom("values are nested too deeply"))?;
        let mut seen = 0_u32;
        let mut members = 0_u32;
        while let Some(known) = map.next_key_seed(KeySeed(self.message, self.snake))? {
            let Some((number, field)) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen & 1 << number != 0 {
                return Err(A::Error::custom(format_args!("duplicate key for `{}`", field.name)));
            }
            seen |= 1 << number;
            let written = map.next_value_seed(FieldSeed { number, field, depth, snake: self.snake, out: self.out })?;
            if written && field.once & members != 0 {
                return Err(A::Error::custom(format_args!("`{}` beside another member of its oneof", field.name)));
            }
            members |= if written { field.once } else { 0 };
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<(u32, &'static Field)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<(u32, &'static Field)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let known = self.0.fields().find(|(_, field)| is_camel_case_of(key, field.name));
        if known.is_none()
            && let Some((_, meant)) = self.0.fields().find(|(_, field)| field.name == key)
        {
            let so_far = self.1.get().unwrap_or(SnakeCase { first: meant.name, keys: 0 });
            self.1.set(Some(SnakeCase { keys: so_far.keys + 1, ..so_far }));
        }
        Ok(known)
    }
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    /// Whether there was a value: null is none.
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a value of `{}`", self.field.name)
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.field.is_repeated() {
            deserializer.deserialize_seq(self)?;
        } else {
            let Self { number, field, depth, snake, out } = self;
            ValueSeed { number, kind: field.kind, depth, snake, out }.deserialize(deserializer)?;
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let Self { number, depth, snake, out, .. } = self;
        let kind = self.field.kind;
        // Lists of numbers are packed.
        let mut packed = Vec::new();
        let is_packed = matches!(kind, Kind::Varints | Kind::Fixed64s(_));
        let target = if is_packed { &mut packed } else { &mut *out };
        while elements.next_element_seed(ValueSeed { number, kind, depth, snake, out: target })?.is_some() {}
        if !packed.is_empty() {
            put_length_head(out, number, packed.len());
            out.put_slice(&packed);
        }
        Ok(true)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.kind {
            Kind::Message(message) => {
                let mut content = Vec::new();
                MessageSeed { message, depth: self.depth, snake: self.snake, out: &mut content }
                    .deserialize(deserializer)?;
                put_length_head(self.out, self.number, content.len());
                self.out.put_slice(&content);
                Ok(())
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl Visitor<'_> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            Kind::Varint(Number::Bool) => "a boolean",
            Kind::Varint(_) | Kind::Varints | Kind::Fixed32 => "an integer",
            Kind::Fixed64(Number::Double) | Kind::Fixed64s(Number::Double) => "a number",
            Kind::Fixed64(_) | Kind::Fixed64s(_) => "an integer",
            Kind::String => "a string",
            Kind::Bytes => "a base64 string",
            Kind::Id => "a hexadecimal string",
            Kind::Message(_) | Kind::Absent => "an object",
        })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Varint(Number::Bool) => {
                self.put_integer(u64::from(value));
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(i128::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if self.is_double() {
            self.put_double(value);
            return Ok(());
        }
        // The JSON mapping lets integers be written as 1.0 or 1e3.
        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
            return self.integer(value as i128);
        }
        Err(E::invalid_type(serde::de::Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let invalid = |seed: &Self| E::invalid_value(serde::de::Unexpected::Str(text), seed);
        match self.kind {
            Kind::String => {
                self.put_bytes(text.as_bytes());
                Ok(())
            }
            Kind::Bytes => {
                let bytes = base64(text).ok_or_else(|| invalid(&self))?;
                self.put_bytes(&bytes);
                Ok(())
            }
            Kind::Id => {
                let bytes = hexadecimal(text).ok_or_else(|| invalid(&self))?;
                self.put_bytes(&bytes);
                Ok(())
            }
            _ if self.is_double() => {
                let value = match text {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    _ => text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| invalid(&self))?,
                };
                self.put_double(value);
                Ok(())
            }
            Kind::Varint(Number::Bool) => Err(invalid(&self)),
            _ => match text.parse::<i128>() {
                Ok(value) if !text.starts_with('+') => self.integer(value),
                _ => Err(invalid(&self)),
            },
        }
    }
}

impl ValueSeed<'_> {
    const fn is_double(&self) -> bool {
        matches!(self.kind, Kind::Fixed64(Number::Double) | Kind::Fixed64s(Number::Double))
    }

    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        let bits = match self.kind {
            Kind::Fixed64(Number::Double) | Kind::Fixed64s(Number::Double) => {
                self.put_double(value as f64);
                return Ok(());
            }
            Kind::Varint(Number::I32) => i32::try_from(value).ok().map(|number| i64::from(number) as u64),
            Kind::Varint(Number::Zigzag32) => {
                i32::try_from(value).ok().map(|number| u64::from((number << 1 ^ number >> 31) as u32))
            }
            Kind::Varint(Number::U32) | Kind::Fixed32 => u32::try_from(value).ok().map(u64::from),
            Kind::Varint(Number::I64) | Kind::Fixed64(Number::I64) => {
                i64::try_from(value).ok().map(|number| number as u64)
            }
            Kind::Varint(Number::U64) | Kind::Varints | Kind::Fixed64(_) | Kind::Fixed64s(_) => {
                u64::try_from(value).ok()
            }
            _ => None,
        };
        let Some(bits) = bits else {
            return Err(E::custom(format_args!("invalid value: integer `{value}`, expected {}", Expected(&self))));
        };
        self.put_integer(bits);
        Ok(())
    }

    fn put_integer(self, bits: u64) {
        match self.kind {
            Kind::Varints => put_varint(self.out, bits),
            Kind::Fixed64s(_) => self.out.put_u64_le(bits),
            Kind::Fixed64(_) => {
                put_varint(self.out, u64::from(self.number << 3 | 1));
                self.out.put_u64_le(bits);
            }
            Kind::Fixed32 => {
                put_varint(self.out, u64::from(self.number << 3 | 5));
                self.out.put_u32_le(bits as u32);
            }
            _ => {
                put_varint(self.out, u64::from(self.number << 3));
                put_varint(self.out, bits);
            }
        }
    }

    fn put_double(self, value: f64) {
        self.put_integer(value.to_bits());
    }

    fn put_bytes(self, bytes: &[u8]) {
        put_length_head(self.out, self.number, bytes.len());
        self.out.put_slice(bytes);
    }
}

/// Shows what a value should be.
struct Expected<'s, 'o>(&'s ValueSeed<'o>);

impl fmt::Display for Expected<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }
}

/// Whether `key` is the field name in lowerCamelCase.
fn is_camel_case_of(key: &str, name: &str) -> bool {
    let mut upper = false;
    let mut expected = name.bytes().filter_map(|byte| {
        if byte == b'_' {
            upper = true;
            return None;
        }
        Some(if std::mem::take(&mut upper) { byte.to_ascii_uppercase() } else { byte })
    });
    key.bytes().all(|byte| expected.next() == Some(byte)) && expected.next().is_none()
}

/// Decodes hexadecimal of either case.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Decodes base64 of the standard or the URL alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(out)
}
