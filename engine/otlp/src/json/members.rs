//! Objects of any JSON as OTLP has them: what an application writes into a line of its log. One pass over the text;
//! strings without escapes are not copied, lists and objects inside become encoded values at once.
//!
//! Of a key that occurs twice in one object the last one counts, as with other readers. Whole numbers that 64 bits do not
//! hold become doubles; what no double can hold, and what is nested deeper than [`LEVELS`], stays the text that it is.

use super::any_value::Value;
use super::error::Fault;
use super::scan::{self, Number, byte, space};
use super::skip::{Skip, colon};
use crate::protobuf::{put_varint, varint_len};

/// Lists and objects inside of each other that become values. Each takes up to three levels of messages, of which
/// protobuf reads a hundred.
const LEVELS: usize = 24;

/// Up to so many members are compared each with each.
const FEW: usize = 32;

/// Room for more members than this is given back.
const KEPT_MEMBERS: usize = 1024;
/// Room for more bytes than this is given back.
const KEPT_BYTES: usize = 64 * 1024;

/// A text is no JSON object.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a JSON object")]
pub struct NotAnObject;

/// The members of an object. Keeps its room from one object to the next.
#[derive(Debug, Default)]
pub struct Members {
    members: Vec<Stored>,
    /// Keys of the objects that are open inside, and where the encoded member begins.
    inner: Vec<(Text, usize)>,
    /// Strings that were written with escapes.
    decoded: Vec<u8>,
    /// Lists and objects.
    encoded: Vec<u8>,
    skip: Skip,
}

/// A member of an object.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Member<'a> {
    /// The name.
    pub key: &'a [u8],
    /// The value.
    pub value: Value<'a>,
    /// The value as it is written.
    pub raw: &'a [u8],
}

#[derive(Copy, Clone, Debug)]
struct Stored {
    key: Text,
    value: StoredValue,
    raw: (usize, usize),
    /// Another member with the same key follows.
    is_repeated: bool,
}

/// Where a string is: in the text, or decoded.
#[derive(Copy, Clone, Debug)]
struct Text {
    start: usize,
    end: usize,
    is_decoded: bool,
}

#[derive(Copy, Clone, Debug)]
enum StoredValue {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Text),
    Nested { start: usize, end: usize },
}

/// Which keys an object may have twice: a bit for each remainder of a hash.
#[derive(Copy, Clone, Default)]
struct Seen {
    bits: u64,
    collided: bool,
}

impl Members {
    /// Reads the object that a text is, with white space around it. What was read before is forgotten.
    ///
    /// # Errors
    ///
    /// The text is something else, or an object that is not as RFC 8259 has it, or not UTF-8.
    pub fn read(&mut self, text: &[u8]) -> Result<(), NotAnObject> {
        self.clear();
        let ends_at = self.object(text).map_err(|_| NotAnObject)?;
        if space(text, ends_at) < text.len() { Err(NotAnObject) } else { Ok(()) }
    }

    /// How many there are, repeated keys included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the object is `{}`.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member at a place, for the text that was read. `None` when another one with the same key follows.
    #[inline]
    pub fn get<'a>(&'a self, place: usize, text: &'a [u8]) -> Option<Member<'a>> {
        let stored = self.members.get(place).filter(|stored| !stored.is_repeated)?;
        let raw = &text[stored.raw.0..stored.raw.1];
        Some(Member { key: self.text(stored.key, text), value: self.value_of(stored.value, text), raw })
    }

    /// All of them, each key once, in the order of the text that was read.
    pub fn iter<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Member<'a>> {
        (0..self.members.len()).filter_map(|place| self.get(place, text))
    }

    fn clear(&mut self) {
        self.members.clear();
        self.members.shrink_to(KEPT_MEMBERS);
        self.inner.clear();
        self.inner.shrink_to(KEPT_MEMBERS);
        self.decoded.clear();
        self.decoded.shrink_to(KEPT_BYTES);
        self.encoded.clear();
        self.encoded.shrink_to(KEPT_BYTES);
        self.skip = Skip::default();
    }

    #[inline]
    fn text<'a>(&'a self, place: Text, text: &'a [u8]) -> &'a [u8] {
        let source = if place.is_decoded { &self.decoded } else { text };
        &source[place.start..place.end]
    }

    #[inline]
    fn value_of<'a>(&'a self, stored: StoredValue, text: &'a [u8]) -> Value<'a> {
        match stored {
            StoredValue::Null => Value::Null,
            StoredValue::Bool(value) => Value::Bool(value),
            StoredValue::Int(value) => Value::Int(value),
            StoredValue::Double(value) => Value::Double(value),
            StoredValue::String(place) => Value::String(self.text(place, text)),
            StoredValue::Nested { start, end } => Value::Nested(&self.encoded[start..end]),
        }
    }

    /// Reads the outermost object, and returns where it ends.
    fn object(&mut self, text: &[u8]) -> Result<usize, Fault> {
        let start = space(text, 0);
        if byte(text, start) != b'{' {
            return Err(Fault::expected(start, "an object"));
        }
        let mut at = space(text, start + 1);
        let mut seen = Seen::default();
        if byte(text, at) != b'}' {
            loop {
                let (key, value_at) = self.key(text, at)?;
                seen.add(self.text(key, text));
                let (value, end) = self.value(text, value_at, 0)?;
                self.members.push(Stored { key, value, raw: (value_at, end), is_repeated: false });
                at = space(text, end);
                match byte(text, at) {
                    b',' => at = space(text, at + 1),
                    b'}' => break,
                    _ => return Err(Fault::expected(at, "`,` or `}`")),
                }
            }
        }
        if seen.collided {
            self.mark_repeated(text);
        }
        Ok(at + 1)
    }

    /// Reads a key, and returns it and where its value begins.
    #[inline]
    fn key(&mut self, text: &[u8], at: usize) -> Result<(Text, usize), Fault> {
        if byte(text, at) != b'"' {
            return Err(Fault::expected(at, "a key"));
        }
        let (key, end) = self.string(text, at + 1)?;
        Ok((key, colon(text, end)?))
    }

    /// Reads a string behind its quote, and returns it and where it ends, behind the other one.
    #[inline]
    fn string(&mut self, text: &[u8], at: usize) -> Result<(Text, usize), Fault> {
        let end = scan::text_run(text, at)?;
        if byte(text, end) == b'"' {
            return Ok((Text { start: at, end, is_decoded: false }, end + 1));
        }
        self.decode(text, at, end)
    }

    /// Decodes a string of which the plain beginning is known.
    fn decode(&mut self, text: &[u8], at: usize, plain_end: usize) -> Result<(Text, usize), Fault> {
        let start = self.decoded.len();
        let (mut from, mut end) = (at, plain_end);
        loop {
            self.decoded.extend_from_slice(&text[from..end]);
            match byte(text, end) {
                b'"' => return Ok((Text { start, end: self.decoded.len(), is_decoded: true }, end + 1)),
                b'\\' => from = scan::unescape(text, end, &mut self.decoded)?,
                _ => return Err(scan::end_fault(text, end)),
            }
            end = scan::text_run(text, from)?;
        }
    }

    /// Reads a value inside of `depth` lists and objects, and returns it and where it ends.
    #[inline]
    fn value(&mut self, text: &[u8], at: usize, depth: usize) -> Result<(StoredValue, usize), Fault> {
        match byte(text, at) {
            b'"' => {
                let (content, end) = self.string(text, at + 1)?;
                Ok((StoredValue::String(content), end))
            }
            b't' => Ok((StoredValue::Bool(true), scan::literal(text, at, "true")?)),
            b'f' => Ok((StoredValue::Bool(false), scan::literal(text, at, "false")?)),
            b'n' => Ok((StoredValue::Null, scan::literal(text, at, "null")?)),
            b'{' | b'[' if depth < LEVELS => {
                let start = self.encoded.len();
                let end = self.nested(text, at, depth + 1)?;
                Ok((StoredValue::Nested { start, end: self.encoded.len() }, end))
            }
            b'{' | b'[' => {
                let mut end = self.skip.begin(text, at, usize::MAX)?;
                while self.skip.is_open() {
                    if end >= text.len() {
                        return Err(Fault::expected(end, "the end of a value"));
                    }
                    end = self.skip.step(text, end, usize::MAX)?;
                }
                Ok((StoredValue::String(Text { start: at, end, is_decoded: false }), end))
            }
            _ => number(text, at),
        }
    }

    /// Reads a list or an object, appends it as the content of an `AnyValue`, and returns where it ends.
    fn nested(&mut self, text: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
        let is_object = byte(text, at) == b'{';
        let (field, close) = if is_object { (6 << 3 | 2, b'}') } else { (5 << 3 | 2, b']') };
        let head = open(&mut self.encoded, field);
        let (first, mut seen) = (self.inner.len(), Seen::default());
        let mut next = space(text, at + 1);
        if byte(text, next) != close {
            loop {
                let end = if is_object {
                    self.inner_member(text, next, depth, &mut seen)?
                } else {
                    self.element(text, next, depth)?
                };
                next = space(text, end);
                match byte(text, next) {
                    b',' => next = space(text, next + 1),
                    found if found == close => break,
                    _ => return Err(Fault::expected(next, "`,` or the end of a list or an object")),
                }
            }
        }
        if seen.collided {
            self.drop_repeated(text, first);
        }
        self.inner.truncate(first);
        close_head(&mut self.encoded, head);
        Ok(next + 1)
    }

    /// Appends a member of an object inside as a `KeyValue` of a list.
    fn inner_member(&mut self, text: &[u8], at: usize, depth: usize, seen: &mut Seen) -> Result<usize, Fault> {
        let (key, value_at) = self.key(text, at)?;
        seen.add(self.text(key, text));
        self.inner.push((key, self.encoded.len()));
        let is_nested = matches!(byte(text, value_at), b'{' | b'[') && depth < LEVELS;
        if !is_nested {
            let (value, end) = self.value(text, value_at, depth)?;
            let Self { encoded, decoded, .. } = self;
            let key = if key.is_decoded { &decoded[key.start..key.end] } else { &text[key.start..key.end] };
            value.plain(text, decoded).put_attribute(1, key, encoded);
            return Ok(end);
        }
        let member = open(&mut self.encoded, 1 << 3 | 2);
        self.encoded.push(1 << 3 | 2);
        put_varint(&mut self.encoded, (key.end - key.start) as u64);
        let source = if key.is_decoded { &self.decoded } else { text };
        self.encoded.extend_from_slice(&source[key.start..key.end]);
        let value = open(&mut self.encoded, 2 << 3 | 2);
        let end = self.nested(text, value_at, depth + 1)?;
        close_head(&mut self.encoded, value);
        close_head(&mut self.encoded, member);
        Ok(end)
    }

    /// Appends an element of a list.
    fn element(&mut self, text: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
        if matches!(byte(text, at), b'{' | b'[') && depth < LEVELS {
            let element = open(&mut self.encoded, 1 << 3 | 2);
            let end = self.nested(text, at, depth + 1)?;
            close_head(&mut self.encoded, element);
            return Ok(end);
        }
        let (value, end) = self.value(text, at, depth)?;
        value.plain(text, &self.decoded).put_field(1, &mut self.encoded);
        Ok(end)
    }

    /// Marks members whose key comes again.
    #[cold]
    fn mark_repeated(&mut self, text: &[u8]) {
        let keys: Vec<Text> = self.members.iter().map(|member| member.key).collect();
        let mut repeated = vec![false; keys.len()];
        self.find_repeated(text, &keys, &mut repeated);
        for (member, is_repeated) in self.members.iter_mut().zip(repeated) {
            member.is_repeated = is_repeated;
        }
    }

    /// Takes members out of the object that was read last, of which the keys begin at `first`, whose key comes again.
    #[cold]
    fn drop_repeated(&mut self, text: &[u8], first: usize) {
        let keys: Vec<Text> = self.inner[first..].iter().map(|(key, _)| *key).collect();
        let mut repeated = vec![false; keys.len()];
        self.find_repeated(text, &keys, &mut repeated);
        if !repeated.contains(&true) {
            return;
        }
        let mut kept_end = self.inner[first].1;
        for (index, is_repeated) in repeated.iter().enumerate() {
            let start = self.inner[first + index].1;
            let end = self.inner.get(first + index + 1).map_or(self.encoded.len(), |(_, next)| *next);
            if !is_repeated {
                self.encoded.copy_within(start..end, kept_end);
                kept_end += end - start;
            }
        }
        self.encoded.truncate(kept_end);
    }

    /// Finds all but the last of equal keys. Hostile objects have very many keys.
    fn find_repeated(&self, text: &[u8], keys: &[Text], repeated: &mut [bool]) {
        if keys.len() <= FEW {
            for (index, key) in keys.iter().enumerate() {
                let key = self.text(*key, text);
                repeated[index] = keys[index + 1..].iter().any(|other| self.text(*other, text) == key);
            }
            return;
        }
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(|index| (self.text(keys[*index], text), *index));
        for pair in order.windows(2) {
            repeated[pair[0]] = self.text(keys[pair[0]], text) == self.text(keys[pair[1]], text);
        }
    }
}

impl StoredValue {
    /// The value, which is no list and no object.
    fn plain<'a>(self, text: &'a [u8], decoded: &'a [u8]) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Double(value) => Value::Double(value),
            Self::String(place) => {
                let source = if place.is_decoded { decoded } else { text };
                Value::String(&source[place.start..place.end])
            }
            Self::Null | Self::Nested { .. } => Value::Null,
        }
    }
}

impl Seen {
    #[inline]
    fn add(&mut self, key: &[u8]) {
        let ends = key.first().zip(key.last()).map_or(0, |(first, last)| u64::from(*first) << 8 | u64::from(*last));
        let hash = (ends << 16 ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bit = 1 << (hash >> 58);
        self.collided |= self.bits & bit != 0;
        self.bits |= bit;
    }
}

/// Reads a number.
#[inline]
fn number(text: &[u8], at: usize) -> Result<(StoredValue, usize), Fault> {
    let (token, end) = scan::number(text, at, "a value")?;
    if let Number::Integer { negative, magnitude } = token {
        let limit = i64::MAX.unsigned_abs() + u64::from(negative);
        if magnitude <= limit {
            let bits = if negative { magnitude.wrapping_neg() } else { magnitude };
            return Ok((StoredValue::Int(bits.cast_signed()), end));
        }
    }
    let value = match scan::double(&text[at..end]) {
        Some(value) => StoredValue::Double(value),
        None => StoredValue::String(Text { start: at, end, is_decoded: false }),
    };
    Ok((value, end))
}

/// Begins a field with a length of which nothing is known yet, and returns where its content begins.
fn open(out: &mut Vec<u8>, key: u8) -> usize {
    out.extend_from_slice(&[key, 0]);
    out.len()
}

/// Ends a field that begins its content at `start`. Most are short; the others are moved.
fn close_head(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    let width = varint_len(len as u64);
    if width > 1 {
        let end = out.len();
        out.resize(end + width - 1, 0);
        out.copy_within(start..end, start + width - 1);
    }
    put_varint(&mut &mut out[start - 1..], len as u64);
}

#[cfg(test)]
mod tests;
