//! Edits of the attributes of one message, be it a Resource, a scope or a record: what is to be done, prepared once; and
//! for each message a plan of what becomes of it. Where messages lie in a request is `rewrite`'s matter.

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::AttributeValue;
use super::digest::{HEX_LEN, put_hex_of};
use super::edit::{encode, next_attribute};
use super::keys::Keys;
use crate::protobuf::{Fields, field_len, put_length_head, put_varint};
use crate::view::value_of;

/// Which attributes an edit is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyPattern {
    /// Those with this key.
    Exact(String),
    /// Those whose keys begin with this.
    Prefix(String),
}

/// An edit of attributes.
///
/// None makes a second entry of a key. Where a key already occurs more than once, setting or renaming it leaves one.
#[derive(Clone, PartialEq, Debug)]
pub enum AttributeEdit {
    /// Set it where it is absent.
    Insert(String, AttributeValue),
    /// Set it where it is present.
    Update(String, AttributeValue),
    /// Set it everywhere.
    Upsert(String, AttributeValue),
    /// Remove them.
    Delete(KeyPattern),
    /// Put the SHA-256 of the value, in lower-case hexadecimal, in place of the value: of the bytes of a string or bytes
    /// value; of one byte of a boolean; of eight bytes, little endian, of an integer or double; of the hashes, 32 bytes
    /// each, of a list's values and of a map's keys and values in turn; of nothing where there is no value.
    Hash(KeyPattern),
    /// Give it another key. An attribute that has this key already goes.
    Rename {
        /// The key that goes.
        from: String,
        /// The key that stays, with the value of the other.
        to: String,
    },
}

/// Edits of the attributes of a message, ready to be applied to many.
#[derive(Clone, Debug, Default)]
pub struct AttributeEdits {
    keys: Keys,
    /// What is done with each of the keys.
    effects: Vec<Effect>,
    prefixes: Vec<(Box<[u8]>, Present)>,
    /// Bytes that one message may grow by; more where a prefix is hashed.
    growth: usize,
}

/// Two edits are for the same attribute.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more than one edit is for {0}")]
pub struct OverlappingEdits(KeyPattern);

/// What is done with one key.
#[derive(Clone, Debug)]
struct Effect {
    present: Present,
    /// The attribute to add where the key is absent, encoded without the key of its field.
    absent: Option<Bytes>,
}

/// What is done with an attribute.
#[derive(Clone, Debug)]
enum Present {
    Keep,
    Remove,
    /// This comes in place of the first, encoded without the key of its field; others go.
    Replace(Bytes),
    Hash,
    /// This encoded key comes in place of the first's; others go.
    Rename(Bytes),
    /// It goes where this effect has found what it renames.
    Overwritten(usize),
}

/// What becomes of one message. Used again and again, so that messages cost no allocation.
#[derive(Default)]
pub(super) struct Plan<'e> {
    cuts: SmallVec<[Cut<'e>; 8]>,
    added: SmallVec<[&'e Bytes; 8]>,
    /// Attributes that were made for this message, without the keys of their fields.
    made: Vec<u8>,
    /// Whether the message has the key, by effect.
    met: SmallVec<[bool; 32]>,
    len: usize,
}

/// An attribute that goes, and what comes instead.
struct Cut<'e> {
    start: usize,
    end: usize,
    instead: Instead<'e>,
    /// Only where this effect has met its key.
    only_if: Option<usize>,
}

enum Instead<'e> {
    Nothing,
    Given(&'e Bytes),
    /// A range of what was made.
    Made(Range<usize>),
}

impl KeyPattern {
    /// Whether a key may match both.
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Exact(key), Self::Prefix(prefix)) | (Self::Prefix(prefix), Self::Exact(key)) => {
                key.starts_with(prefix)
            }
            (Self::Prefix(one), Self::Prefix(two)) => one.starts_with(two) || two.starts_with(one),
        }
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(key) => write!(formatter, "`{key}`"),
            Self::Prefix(prefix) => write!(formatter, "`{prefix}*`"),
        }
    }
}

impl AttributeEdits {
    /// Prepares edits. What is added is added in their order.
    ///
    /// # Errors
    ///
    /// When two edits may be for the same attribute, because it would matter which comes first. A renamed attribute
    /// counts with both of its keys.
    pub fn new(edits: &[AttributeEdit]) -> Result<Self, OverlappingEdits> {
        let mut patterns: Vec<KeyPattern> = Vec::new();
        for pattern in edits.iter().flat_map(patterns_of) {
            if patterns.iter().any(|other| other.overlaps(&pattern)) {
                return Err(OverlappingEdits(pattern));
            }
            patterns.push(pattern);
        }
        let mut prepared = Self::default();
        edits.iter().for_each(|edit| prepared.add(edit));
        Ok(prepared)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty()
    }

    /// Bytes that one message may grow by, roughly.
    pub(super) const fn growth(&self) -> usize {
        self.growth
    }

    fn add(&mut self, edit: &AttributeEdit) {
        // The key of the field is written where it is known.
        let attribute = |key: &str, value| encode(key, value).slice(1..);
        match edit {
            AttributeEdit::Insert(key, value) => self.effect(key, Present::Keep, Some(attribute(key, value))),
            AttributeEdit::Update(key, value) => self.effect(key, Present::Replace(attribute(key, value)), None),
            AttributeEdit::Upsert(key, value) => {
                let encoded = attribute(key, value);
                self.effect(key, Present::Replace(encoded.clone()), Some(encoded));
            }
            AttributeEdit::Delete(pattern) => self.pattern(pattern, Present::Remove),
            AttributeEdit::Hash(pattern) => self.pattern(pattern, Present::Hash),
            AttributeEdit::Rename { from, to } => {
                let mut key = Vec::with_capacity(field_len(to.len()));
                put_length_head(&mut key, 1, to.len());
                key.put_slice(to.as_bytes());
                let source = self.effects.len();
                self.effect(from, Present::Rename(key.into()), None);
                self.effect(to, Present::Overwritten(source), None);
            }
        }
    }

    fn pattern(&mut self, pattern: &KeyPattern, present: Present) {
        match pattern {
            KeyPattern::Exact(key) => self.effect(key, present, None),
            KeyPattern::Prefix(prefix) => {
                self.growth += present.growth();
                self.prefixes.push((prefix.as_bytes().into(), present));
            }
        }
    }

    fn effect(&mut self, key: &str, present: Present, absent: Option<Bytes>) {
        self.growth += present.growth().max(absent.as_ref().map_or(0, |attribute| 1 + attribute.len()));
        self.keys.add(Bytes::copy_from_slice(key.as_bytes()));
        self.effects.push(Effect { present, absent });
    }

    /// Plans what becomes of a message whose attributes are fields with the key `tag`, and says whether it changes.
    pub(super) fn plan<'e>(&'e self, message: &[u8], tag: u8, plan: &mut Plan<'e>) -> bool {
        plan.cuts.clear();
        plan.added.clear();
        plan.made.clear();
        plan.met.clear();
        plan.met.resize(self.effects.len(), false);
        let mut at = 0;
        while let Some((key, end)) = next_attribute(message, tag, at) {
            if let Some(key) = key {
                self.meet(key, &message[at..end], at, plan);
            }
            at = end;
        }
        let absent = self.effects.iter().zip(&plan.met).filter(|(_, met)| !**met);
        plan.added.extend(absent.filter_map(|(effect, _)| effect.absent.as_ref()));
        plan.settle(message.len())
    }

    /// Plans what becomes of the attribute `raw` at `at`.
    #[inline]
    fn meet<'e>(&'e self, key: &[u8], raw: &[u8], at: usize, plan: &mut Plan<'e>) {
        if let Some(index) = self.keys.find(key) {
            let is_first = !std::mem::replace(&mut plan.met[index], true);
            return plan.change(&self.effects[index].present, is_first, key, raw, at);
        }
        if let Some((_, present)) = self.prefixes.iter().find(|(prefix, _)| key.starts_with(prefix)) {
            plan.change(present, true, key, raw, at);
        }
    }
}

/// The keys whose attributes an edit changes.
fn patterns_of(edit: &AttributeEdit) -> SmallVec<[KeyPattern; 2]> {
    let exact = |key: &String| KeyPattern::Exact(key.clone());
    match edit {
        AttributeEdit::Insert(key, _) | AttributeEdit::Update(key, _) | AttributeEdit::Upsert(key, _) => {
            [exact(key)].into_iter().collect()
        }
        AttributeEdit::Delete(pattern) | AttributeEdit::Hash(pattern) => [pattern.clone()].into_iter().collect(),
        AttributeEdit::Rename { from, to } => [exact(from), exact(to)].into_iter().collect(),
    }
}

impl Present {
    /// Bytes that an attribute may grow by, roughly.
    fn growth(&self) -> usize {
        match self {
            Self::Keep | Self::Remove | Self::Overwritten(_) => 0,
            Self::Replace(attribute) => attribute.len(),
            Self::Hash => HEX_LEN,
            Self::Rename(key) => key.len(),
        }
    }
}

impl<'e> Plan<'e> {
    /// Plans a change of the attribute `raw` at `at`.
    fn change(&mut self, present: &'e Present, is_first: bool, key: &[u8], raw: &[u8], at: usize) {
        let instead = match present {
            Present::Keep => return,
            Present::Replace(attribute) if is_first && attribute[..] == raw[1..] => return,
            Present::Replace(attribute) if is_first => Instead::Given(attribute),
            Present::Rename(new_key) if is_first => Instead::Made(self.rename(raw, new_key)),
            Present::Hash => Instead::Made(self.hash(raw, key)),
            Present::Remove | Present::Replace(_) | Present::Rename(_) | Present::Overwritten(_) => Instead::Nothing,
        };
        let only_if = match present {
            Present::Overwritten(source) => Some(*source),
            _ => None,
        };
        self.cuts.push(Cut { start: at, end: at + raw.len(), instead, only_if });
    }

    /// Makes an attribute with another key. Fields that nobody knows stay.
    fn rename(&mut self, raw: &[u8], key: &[u8]) -> Range<usize> {
        let others = || Fields::new(content_of(raw)).filter(|field| field.number != 1);
        let start = self.made.len();
        put_varint(&mut self.made, (key.len() + others().map(|field| field.raw.len()).sum::<usize>()) as u64);
        self.made.extend_from_slice(key);
        others().for_each(|field| self.made.extend_from_slice(field.raw));
        start..self.made.len()
    }

    /// Makes an attribute with the hash of the value. Nothing else of the attribute stays, as it might tell the value.
    fn hash(&mut self, raw: &[u8], key: &[u8]) -> Range<usize> {
        let value = value_of(content_of(raw));
        let start = self.made.len();
        put_varint(&mut self.made, (field_len(key.len()) + field_len(field_len(HEX_LEN))) as u64);
        put_length_head(&mut self.made, 1, key.len());
        self.made.extend_from_slice(key);
        put_length_head(&mut self.made, 2, field_len(HEX_LEN));
        put_length_head(&mut self.made, 1, HEX_LEN);
        put_hex_of(value, &mut self.made);
        start..self.made.len()
    }

    /// Decides about what depends on the whole message, and says whether the message changes.
    fn settle(&mut self, message_len: usize) -> bool {
        let met = &self.met;
        self.cuts.retain(|cut| cut.only_if.is_none_or(|source| met[source]));
        self.len = message_len + self.added.iter().map(|attribute| 1 + attribute.len()).sum::<usize>();
        for cut in &self.cuts {
            let instead = match &cut.instead {
                Instead::Nothing => 0,
                Instead::Given(attribute) => 1 + attribute.len(),
                Instead::Made(range) => 1 + range.len(),
            };
            self.len = self.len + instead - (cut.end - cut.start);
        }
        !self.cuts.is_empty() || !self.added.is_empty()
    }

    /// Bytes of the message behind the change.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Writes the changed message.
    pub(super) fn write(&self, message: &[u8], tag: u8, out: &mut BytesMut) {
        let mut at = 0;
        for cut in &self.cuts {
            out.extend_from_slice(&message[at..cut.start]);
            let instead = match &cut.instead {
                Instead::Nothing => None,
                Instead::Given(attribute) => Some(&attribute[..]),
                Instead::Made(range) => Some(&self.made[range.clone()]),
            };
            if let Some(attribute) = instead {
                out.put_u8(tag);
                out.extend_from_slice(attribute);
            }
            at = cut.end;
        }
        out.extend_from_slice(&message[at..]);
        for attribute in &self.added {
            out.put_u8(tag);
            out.extend_from_slice(attribute);
        }
    }
}

/// The `KeyValue` in a field.
fn content_of(raw: &[u8]) -> &[u8] {
    Fields::new(raw).next().map(|field| field.payload).unwrap_or_default()
}
