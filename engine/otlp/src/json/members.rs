//! Objects of any JSON as OTLP has them: what an application writes into a line of its log. One pass over the text;
//! strings without escapes are not copied, lists and objects inside become encoded values at once.
//!
//! Of a key that occurs twice in one object the last one counts, as with other readers. Whole numbers that 64 bits do not
//! hold become doubles; what no double can hold, and what is nested deeper than [`LEVELS`], stays the text that it is.

use super::any_value::Value;
use super::scan::{self, Number, byte, space};
use super::skip::{Skip, colon};
use crate::protobuf::{put_length_head, put_varint, varint_len};

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

/// Of plain numbers only: what is stored in small parts and read back as a whole costs more than all the rest.
#[derive(Copy, Clone, Debug)]
struct Stored {
    key: Text,
    /// Of the key.
    hash: u64,
    value: StoredValue,
    /// Where the value is in the text.
    raw: Text,
    /// Another member with the same key follows.
    is_repeated: bool,
}

/// Where a string is: its start, and its end in the upper half. It lies in the text, or, if the highest bit says so, in
/// what was decoded.
#[derive(Copy, Clone, Debug)]
struct Text(u64);

#[derive(Copy, Clone, Debug)]
struct StoredValue {
    kind: Kind,
    /// What it is depends on the kind: the number, or the place of a string or of what is encoded.
    bits: u64,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    Null,
    Bool,
    Int,
    Double,
    String,
    Nested,
}

/// Whether an object may have a key twice: bits for two remainders of a hash.
#[derive(Copy, Clone, Default)]
struct Seen {
    first: u64,
    second: u64,
    collided: bool,
}

/// Marks strings that are decoded.
const DECODED: u64 = 1 << 63;

/// Texts of this length are not read.
const TOO_LONG: usize = 1 << 31;

/// Strings up to this length are copied in one step, with what stands behind them.
const SHORT: usize = 16;

/// A key and its value, encoded, of fewer bytes than this have lengths of one byte.
const SHORT_MEMBER: usize = 124;

impl Members {
    /// Reads the object that a text is, with white space around it. What was read before is forgotten.
    ///
    /// # Errors
    ///
    /// The text is something else, or an object that is not as RFC 8259 has it, or not UTF-8, or longer than 2 GiB.
    pub fn read(&mut self, text: &[u8]) -> Result<(), NotAnObject> {
        self.clear();
        if text.len() >= TOO_LONG {
            return Err(NotAnObject);
        }
        let ends_at = self.object(text).ok_or(NotAnObject)?;
        if space(text, ends_at) < text.len() { Err(NotAnObject) } else { Ok(()) }
    }

    /// How many there are, repeated keys included.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the object is `{}`.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The key at a place, for the text that was read. `None` when another member with the same key follows.
    #[inline]
    pub fn key<'a>(&'a self, place: usize, text: &'a [u8]) -> Option<&'a [u8]> {
        let stored = self.members.get(place).filter(|stored| !stored.is_repeated)?;
        Some(stored.key.of(text, &self.decoded))
    }

    /// The hash of the key at a place.
    #[inline]
    pub fn key_hash(&self, place: usize) -> u64 {
        self.members.get(place).map_or(0, |stored| stored.hash)
    }

    /// The member at a place, for the text that was read. `None` when another one with the same key follows.
    pub fn get<'a>(&'a self, place: usize, text: &'a [u8]) -> Option<Member<'a>> {
        let stored = self.members.get(place).filter(|stored| !stored.is_repeated)?;
        let value = self.value_of(stored.value, text);
        Some(Member { key: stored.key.of(text, &self.decoded), value, raw: stored.raw.of(text, text) })
    }

    /// All of them, each key once, in the order of the text that was read.
    pub fn iter<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Member<'a>> {
        (0..self.members.len()).filter_map(|place| self.get(place, text))
    }

    /// Writes the member at a place as a `KeyValue` in a field with a number below 16. One whose key comes again is not
    /// written.
    #[inline]
    pub fn put_attribute(&self, place: usize, text: &[u8], number: u32, out: &mut Vec<u8>) {
        let Some(stored) = self.members.get(place).filter(|stored| !stored.is_repeated) else { return };
        let key = stored.key;
        let StoredValue { kind, bits } = stored.value;
        let value_len = match kind {
            Kind::String => 2 + Text(bits).len(),
            Kind::Bool => 2,
            Kind::Int if bits < 1 << 14 => 2 + usize::from(bits > 0x7f),
            Kind::Double => 9,
            _ => SHORT_MEMBER,
        };
        if key.len() + value_len < SHORT_MEMBER {
            // All lengths are of one byte.
            let len = (key.len() + value_len) as u8 + 4;
            out.extend_from_slice(&[(number << 3 | 2) as u8, len, 0x0a, key.len() as u8]);
            key.put(text, &self.decoded, out);
            let value_len = value_len as u8;
            match kind {
                Kind::String => {
                    out.extend_from_slice(&[0x12, value_len, 0x0a, value_len - 2]);
                    Text(bits).put(text, &self.decoded, out);
                }
                Kind::Bool => out.extend_from_slice(&[0x12, value_len, 0x10, bits as u8]),
                Kind::Int if bits < 0x80 => out.extend_from_slice(&[0x12, value_len, 0x18, bits as u8]),
                Kind::Int => out.extend_from_slice(&[0x12, value_len, 0x18, bits as u8 | 0x80, (bits >> 7) as u8]),
                _ => {
                    out.extend_from_slice(&[0x12, value_len, 0x21]);
                    out.extend_from_slice(&bits.to_le_bytes());
                }
            }
            return;
        }
        self.value_of(stored.value, text).put_attribute(number, key.of(text, &self.decoded), out);
    }

    /// Writes the value of the member at a place as a field with a number below 16.
    #[inline]
    pub fn put_field(&self, place: usize, text: &[u8], number: u32, out: &mut Vec<u8>) {
        if let Some(stored) = self.members.get(place) {
            self.value_of(stored.value, text).put_field(number, out);
        }
    }

    #[inline]
    fn value_of<'a>(&'a self, value: StoredValue, text: &'a [u8]) -> Value<'a> {
        match value.kind {
            Kind::Nested => Value::Nested(Text(value.bits).of(&self.encoded, &self.encoded)),
            _ => value.of(text, &self.decoded),
        }
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
        if self.skip.is_open() {
            self.skip = Skip::default();
        }
    }

    /// Reads the outermost object, and returns where it ends.
    fn object(&mut self, text: &[u8]) -> Option<usize> {
        let mut at = space(text, 0);
        if byte(text, at) != b'{' {
            return None;
        }
        at = space(text, at + 1);
        if byte(text, at) == b'}' {
            return Some(at + 1);
        }
        let mut seen = Seen::default();
        loop {
            let (key, value_at) = self.read_key(text, at)?;
            let hash = key.hash(text, &self.decoded);
            seen.add(hash);
            let (value, end) = self.value(text, value_at, 0)?;
            let raw = Text::new(value_at, end);
            self.members.push(Stored { key, hash, value, raw, is_repeated: false });
            at = space(text, end);
            match byte(text, at) {
                b',' => at = space(text, at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        if seen.collided {
            self.mark_repeated(text);
        }
        Some(at + 1)
    }

    /// Reads a key, and returns it and where its value begins.
    #[inline(always)]
    fn read_key(&mut self, text: &[u8], at: usize) -> Option<(Text, usize)> {
        if byte(text, at) != b'"' {
            return None;
        }
        let (key, end) = self.string(text, at + 1)?;
        Some((key, colon(text, end).ok()?))
    }

    /// Reads a string behind its quote, and returns it and where it ends, behind the other one.
    #[inline(always)]
    fn string(&mut self, text: &[u8], at: usize) -> Option<(Text, usize)> {
        // Most end within two words. Where, is chosen and not branched upon: no processor guesses the lengths of strings.
        if let (Some(first), Some(second)) = (scan::word(text, at), scan::word(text, at + 8)) {
            let (in_first, in_second) = (scan::special(first), scan::special(second));
            let (marks, before) = if in_first != 0 { (in_first, at) } else { (in_second, at + 8) };
            let end = before + marks.trailing_zeros() as usize / 8;
            if marks != 0 && (first | second) & scan::HIGH == 0 && byte(text, end) == b'"' {
                return Some((Text::new(at, end), end + 1));
            }
        }
        let run = scan::run(text, at);
        if byte(text, run.end) == b'"' && !run.high {
            return Some((Text::new(at, run.end), run.end + 1));
        }
        self.unusual_string(text, at)
    }

    /// Reads a string with escapes, or with characters beyond ASCII.
    #[inline(never)]
    fn unusual_string(&mut self, text: &[u8], at: usize) -> Option<(Text, usize)> {
        let plain_end = scan::text_run(text, at).ok()?;
        if byte(text, plain_end) == b'"' {
            return Some((Text::new(at, plain_end), plain_end + 1));
        }
        let start = self.decoded.len();
        let (mut from, mut end) = (at, plain_end);
        loop {
            self.decoded.extend_from_slice(&text[from..end]);
            match byte(text, end) {
                b'"' => {
                    let Text(place) = Text::new(start, self.decoded.len());
                    return Some((Text(place | DECODED), end + 1));
                }
                b'\\' => from = scan::unescape(text, end, &mut self.decoded).ok()?,
                _ => return None,
            }
            end = scan::text_run(text, from).ok()?;
        }
    }

    /// Reads a value inside of `depth` lists and objects, and returns it and where it ends.
    #[inline(always)]
    fn value(&mut self, text: &[u8], at: usize, depth: usize) -> Option<(StoredValue, usize)> {
        if byte(text, at) == b'"' {
            let (content, end) = self.string(text, at + 1)?;
            return Some((content.stored(Kind::String), end));
        }
        self.other_value(text, at, depth)
    }

    fn other_value(&mut self, text: &[u8], at: usize, depth: usize) -> Option<(StoredValue, usize)> {
        match byte(text, at) {
            b't' => Some((StoredValue { kind: Kind::Bool, bits: 1 }, scan::literal(text, at, "true").ok()?)),
            b'f' => Some((StoredValue { kind: Kind::Bool, bits: 0 }, scan::literal(text, at, "false").ok()?)),
            b'n' => Some((StoredValue { kind: Kind::Null, bits: 0 }, scan::literal(text, at, "null").ok()?)),
            b'{' | b'[' if depth < LEVELS => {
                let start = self.encoded.len();
                let end = self.nested(text, at, depth + 1)?;
                // Small members become larger.
                if self.encoded.len() >= TOO_LONG {
                    return None;
                }
                Some((Text::new(start, self.encoded.len()).stored(Kind::Nested), end))
            }
            b'{' | b'[' => {
                let end = self.skipped(text, at)?;
                Some((Text::new(at, end).stored(Kind::String), end))
            }
            _ => number(text, at),
        }
    }

    /// Where a list or an object ends, of which nothing is taken.
    fn skipped(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let mut end = self.skip.begin(text, at, usize::MAX).ok()?;
        while self.skip.is_open() {
            if end >= text.len() {
                return None;
            }
            end = self.skip.step(text, end, usize::MAX).ok()?;
        }
        Some(end)
    }

    /// Reads a list or an object, appends it as the content of an `AnyValue`, and returns where it ends.
    fn nested(&mut self, text: &[u8], at: usize, depth: usize) -> Option<usize> {
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
                    _ => return None,
                }
            }
        }
        if seen.collided {
            self.drop_repeated(text, first);
        }
        self.inner.truncate(first);
        close_head(&mut self.encoded, head);
        Some(next + 1)
    }

    /// Appends a member of an object inside as a `KeyValue` of a list.
    fn inner_member(&mut self, text: &[u8], at: usize, depth: usize, seen: &mut Seen) -> Option<usize> {
        let (key, value_at) = self.read_key(text, at)?;
        seen.add(key.hash(text, &self.decoded));
        self.inner.push((key, self.encoded.len()));
        let is_nested = matches!(byte(text, value_at), b'{' | b'[') && depth < LEVELS;
        if !is_nested {
            let (value, end) = self.value(text, value_at, depth)?;
            let Self { encoded, decoded, .. } = self;
            value.of(text, decoded).put_attribute(1, key.of(text, decoded), encoded);
            return Some(end);
        }
        let member = open(&mut self.encoded, 1 << 3 | 2);
        put_length_head(&mut self.encoded, 1, key.len());
        self.encoded.extend_from_slice(key.of(text, &self.decoded));
        let value = open(&mut self.encoded, 2 << 3 | 2);
        let end = self.nested(text, value_at, depth + 1)?;
        close_head(&mut self.encoded, value);
        close_head(&mut self.encoded, member);
        Some(end)
    }

    /// Appends an element of a list.
    fn element(&mut self, text: &[u8], at: usize, depth: usize) -> Option<usize> {
        if matches!(byte(text, at), b'{' | b'[') && depth < LEVELS {
            let element = open(&mut self.encoded, 1 << 3 | 2);
            let end = self.nested(text, at, depth + 1)?;
            close_head(&mut self.encoded, element);
            return Some(end);
        }
        let (value, end) = self.value(text, at, depth)?;
        value.of(text, &self.decoded).put_field(1, &mut self.encoded);
        Some(end)
    }

    /// Marks members whose key comes again.
    #[cold]
    fn mark_repeated(&mut self, text: &[u8]) {
        if self.members.len() <= FEW {
            for index in 0..self.members.len() {
                let (key, hash) = (self.members[index].key, self.members[index].hash);
                let mut others = self.members[index + 1..].iter().filter(|other| other.hash == hash);
                let key = key.of(text, &self.decoded);
                let is_repeated = others.any(|other| other.key.of(text, &self.decoded) == key);
                self.members[index].is_repeated = is_repeated;
            }
            return;
        }
        let keys: Vec<Text> = self.members.iter().map(|member| member.key).collect();
        for (member, is_repeated) in self.members.iter_mut().zip(repeated(&keys, text, &self.decoded)) {
            member.is_repeated = is_repeated;
        }
    }

    /// Takes members out of the object that was read last, of which the keys begin at `first`, whose key comes again.
    #[cold]
    fn drop_repeated(&mut self, text: &[u8], first: usize) {
        let keys: Vec<Text> = self.inner[first..].iter().map(|(key, _)| *key).collect();
        let repeated = repeated(&keys, text, &self.decoded);
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
}

/// Which keys come again. Hostile objects have very many keys.
fn repeated(keys: &[Text], text: &[u8], decoded: &[u8]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by_key(|index| (keys[*index].of(text, decoded), *index));
    let mut repeated = vec![false; keys.len()];
    for pair in order.windows(2) {
        repeated[pair[0]] = keys[pair[0]].of(text, decoded) == keys[pair[1]].of(text, decoded);
    }
    repeated
}

impl Text {
    #[inline(always)]
    const fn new(start: usize, end: usize) -> Self {
        Self((end as u64) << 32 | start as u64)
    }

    #[inline(always)]
    const fn stored(self, kind: Kind) -> StoredValue {
        StoredValue { kind, bits: self.0 }
    }

    #[inline(always)]
    const fn start(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline(always)]
    const fn end(self) -> usize {
        ((self.0 & !DECODED) >> 32) as usize
    }

    #[inline(always)]
    const fn len(self) -> usize {
        self.end() - self.start()
    }

    #[inline(always)]
    const fn source<'a>(self, text: &'a [u8], decoded: &'a [u8]) -> &'a [u8] {
        if self.0 & DECODED == 0 { text } else { decoded }
    }

    #[inline(always)]
    fn of<'a>(self, text: &'a [u8], decoded: &'a [u8]) -> &'a [u8] {
        &self.source(text, decoded)[self.start()..self.end()]
    }

    /// The hash of a key. It is read in whole words, with what stands around it, which is taken off again.
    #[inline(always)]
    fn hash(self, text: &[u8], decoded: &[u8]) -> u64 {
        let source = self.source(text, decoded);
        let words = scan::word(source, self.start()).zip(scan::word(source, self.end().wrapping_sub(8)));
        let (Some((first, last)), 1..) = (words, self.len()) else { return hash_of_key(self.of(text, decoded)) };
        let others = 64 - 8 * self.len().min(8) as u32;
        mixed(first << others >> others, last >> others, self.len())
    }

    /// Appends the string.
    #[inline(always)]
    fn put(self, text: &[u8], decoded: &[u8], out: &mut Vec<u8>) {
        let rest = self.source(text, decoded).get(self.start()..);
        let behind = rest.and_then(|rest| rest.first_chunk::<SHORT>());
        match behind {
            Some(chunk) if self.len() <= SHORT => {
                out.extend_from_slice(chunk);
                out.truncate(out.len() - SHORT + self.len());
            }
            _ => out.extend_from_slice(self.of(text, decoded)),
        }
    }
}

impl StoredValue {
    /// The value, which is no list and no object.
    #[inline]
    fn of<'a>(self, text: &'a [u8], decoded: &'a [u8]) -> Value<'a> {
        match self.kind {
            Kind::Bool => Value::Bool(self.bits == 1),
            Kind::Int => Value::Int(self.bits.cast_signed()),
            Kind::Double => Value::Double(f64::from_bits(self.bits)),
            Kind::String => Value::String(Text(self.bits).of(text, decoded)),
            Kind::Null | Kind::Nested => Value::Null,
        }
    }
}

impl Seen {
    /// Adds a key by its hash.
    #[inline(always)]
    fn add(&mut self, hash: u64) {
        let (first, second) = (1 << (hash >> 58), 1 << (hash >> 52 & 63));
        self.collided |= self.first & first != 0 && self.second & second != 0;
        self.first |= first;
        self.second |= second;
    }
}

/// The hash of a key as [`Members::key_hash`] tells it. Keys with the same length and the same eight bytes at both ends share
/// one.
pub fn hash_of_key(key: &[u8]) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let len = key.len().min(8);
    mixed(word(&key[..len]), word(&key[key.len() - len..]), key.len())
}

#[inline(always)]
const fn mixed(first: u64, last: u64, len: usize) -> u64 {
    (first ^ last.rotate_left(29) ^ (len as u64) << 59).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Reads a number.
#[inline]
fn number(text: &[u8], at: usize) -> Option<(StoredValue, usize)> {
    let (token, end) = scan::number(text, at, "a value").ok()?;
    if let Number::Integer { negative, magnitude } = token {
        let limit = i64::MAX.unsigned_abs() + u64::from(negative);
        if magnitude <= limit {
            let bits = if negative { magnitude.wrapping_neg() } else { magnitude };
            return Some((StoredValue { kind: Kind::Int, bits }, end));
        }
    }
    let value = match scan::double(&text[at..end]) {
        Some(value) => StoredValue { kind: Kind::Double, bits: value.to_bits() },
        None => Text::new(at, end).stored(Kind::String),
    };
    Some((value, end))
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
