//! Setting and deleting attributes of every Resource. Only the head of an entry (key, length, Resource) is written
//! anew; records are shared. Which attributes to set is the caller's matter.

use bytes::{BufMut, Bytes};
use smallvec::SmallVec;

use super::builder::SHARE_FROM;
use super::keys::Keys;
use super::{Builder, Cursor, Entry, Wire};
use crate::ValueView;
use crate::protobuf::{Fields, WireType, field_len, put_length_head, put_varint, varint_len};
use crate::view::{key_of, value_of};

/// A value to set. Never a list or map: resources are described by scalars.
#[derive(Clone, PartialEq, Debug)]
pub enum AttributeValue {
    /// `string_value`
    String(String),
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `double_value`
    Double(f64),
}

/// What to do with a key.
#[derive(Clone, PartialEq, Debug)]
pub enum EditAction {
    /// Set it where it is absent.
    Insert(AttributeValue),
    /// Set it where it is present.
    Update(AttributeValue),
    /// Set it everywhere.
    Upsert(AttributeValue),
    /// Set it where it is absent, or has no value or an empty string first.
    Fill(AttributeValue),
    /// Remove it.
    Delete,
}

/// An edit of one key.
#[derive(Clone, PartialEq, Debug)]
pub struct ResourceEdit {
    /// The attribute's key.
    pub key: String,
    /// What to do.
    pub action: EditAction,
}

/// Edits of Resource attributes, ready to be applied to many requests.
///
/// Edits apply in order, as if one after the other. None makes a second entry of a key; where a key already occurs
/// more than once, setting it leaves exactly one, deleting it none, and [`EditAction::Insert`] changes nothing.
#[derive(Clone, Debug, Default)]
pub struct ResourceEdits {
    keys: Keys,
    /// What is done with each of the keys.
    effects: Vec<Effect>,
    /// Bytes that one Resource may grow by, at most.
    growth: usize,
}

/// What all edits of one key amount to.
#[derive(Clone, Debug)]
struct Effect {
    present: Present,
    /// The encoded attribute to add where the key is absent.
    absent: Option<Bytes>,
}

/// What one edit does with its key.
#[derive(Debug)]
pub(super) struct Change {
    present: Present,
    absent: Option<Bytes>,
}

#[derive(Clone, Debug)]
enum Present {
    Keep,
    Remove,
    /// The encoded attribute to put in place of the first occurrence.
    Replace(Bytes),
    /// The encoded attribute to put in place of the first occurrence if that says nothing.
    ReplaceBlank(Bytes),
}

/// A range of a Resource that goes, and what comes instead.
struct Cut<'e> {
    start: usize,
    end: usize,
    instead: Option<&'e Bytes>,
}

/// What to do with one Resource.
struct Plan<'e> {
    cuts: SmallVec<[Cut<'e>; 8]>,
    added: SmallVec<[&'e Bytes; 8]>,
    len: usize,
    /// Whether the Resource has the key, by effect.
    met: SmallVec<[bool; 32]>,
}

impl ResourceEdits {
    /// Prepares edits.
    pub fn new(edits: Vec<ResourceEdit>) -> Self {
        Self::of(edits.into_iter().map(|edit| {
            let change = Change::of(&edit);
            (Bytes::from(edit.key), change)
        }))
    }

    /// Prepares changes of keys.
    pub(super) fn of(changes: impl ExactSizeIterator<Item = (Bytes, Change)>) -> Self {
        let mut keys = Keys::default();
        let mut effects: Vec<Effect> = Vec::with_capacity(changes.len());
        for (key, change) in changes {
            let index = keys.find(&key).unwrap_or_else(|| {
                keys.add(key);
                effects.push(Effect { present: Present::Keep, absent: None });
                effects.len() - 1
            });
            effects[index].then(change);
        }
        let growth = effects.iter().map(Effect::growth).sum();
        Self { keys, effects, growth }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn plan<'e>(&'e self, resource: &[u8], plan: &mut Plan<'e>) {
        plan.cuts.clear();
        plan.added.clear();
        plan.len = resource.len();
        plan.met.clear();
        plan.met.resize(self.effects.len(), false);
        let mut at = 0;
        while let Some((key, end)) = next_attribute(resource, 1 << 3 | 2, at) {
            if let Some(index) = key.and_then(|key| self.keys.find(key)) {
                self.meet(index, &resource[at..end], at, plan);
            }
            at = end;
        }
        let absent = self.effects.iter().zip(&plan.met).filter(|(_, met)| !**met);
        for attribute in absent.filter_map(|(effect, _)| effect.absent.as_ref()) {
            plan.len += attribute.len();
            plan.added.push(attribute);
        }
    }

    /// Plans what becomes of the attribute `raw` at `at`, which has this key.
    #[inline]
    fn meet<'e>(&'e self, index: usize, raw: &[u8], at: usize, plan: &mut Plan<'e>) {
        let is_first = !std::mem::replace(&mut plan.met[index], true);
        match &self.effects[index].present {
            Present::Keep => {}
            Present::Replace(attribute) if is_first => {
                if attribute[..] != *raw {
                    plan.cut(at, at + raw.len(), Some(attribute));
                }
            }
            Present::ReplaceBlank(attribute) if is_first && is_blank(raw) => {
                plan.cut(at, at + raw.len(), Some(attribute));
            }
            Present::ReplaceBlank(_) => {}
            Present::Remove | Present::Replace(_) => plan.cut(at, at + raw.len(), None),
        }
    }
}

impl FromIterator<ResourceEdit> for ResourceEdits {
    fn from_iter<I: IntoIterator<Item = ResourceEdit>>(edits: I) -> Self {
        Self::new(edits.into_iter().collect())
    }
}

impl Change {
    fn of(edit: &ResourceEdit) -> Self {
        match &edit.action {
            EditAction::Insert(value) => Self { present: Present::Keep, absent: Some(encode(&edit.key, value)) },
            EditAction::Update(value) => Self { present: Present::Replace(encode(&edit.key, value)), absent: None },
            EditAction::Upsert(value) => Self::upsert(encode(&edit.key, value)),
            EditAction::Fill(value) => Self::fill(encode(&edit.key, value)),
            EditAction::Delete => Self { present: Present::Remove, absent: None },
        }
    }

    /// [`EditAction::Upsert`] of an encoded attribute.
    pub(super) fn upsert(attribute: Bytes) -> Self {
        Self { present: Present::Replace(attribute.clone()), absent: Some(attribute) }
    }

    /// [`EditAction::Fill`] of an encoded attribute.
    pub(super) fn fill(attribute: Bytes) -> Self {
        Self { present: Present::ReplaceBlank(attribute.clone()), absent: Some(attribute) }
    }
}

impl Effect {
    /// Follows the effect so far by another change of the same key.
    fn then(&mut self, change: Change) {
        let Change { present: when_present, absent: when_absent } = change;
        if matches!((&self.present, &self.absent), (Present::Keep, None)) {
            *self = Self { present: when_present, absent: when_absent };
            return;
        }
        let present = match (&self.present, &when_present) {
            (Present::Remove, _) => when_absent.clone().map_or(Present::Remove, Present::Replace),
            (before, Present::Keep) => before.clone(),
            (Present::Replace(before), Present::ReplaceBlank(after)) => Present::Replace(filled(before, after)),
            (Present::ReplaceBlank(before), Present::ReplaceBlank(after)) => {
                Present::ReplaceBlank(filled(before, after))
            }
            (_, after) => after.clone(),
        };
        let absent = match (self.absent.take(), when_present) {
            (None, _) => when_absent,
            (Some(before), Present::Keep) => Some(before),
            (Some(_), Present::Remove) => None,
            (Some(_), Present::Replace(after)) => Some(after),
            (Some(before), Present::ReplaceBlank(after)) => Some(filled(&before, &after)),
        };
        self.present = present;
        self.absent = absent;
    }

    fn growth(&self) -> usize {
        let replaced = match &self.present {
            Present::Replace(attribute) | Present::ReplaceBlank(attribute) => attribute.len(),
            Present::Keep | Present::Remove => 0,
        };
        replaced.max(self.absent.as_ref().map_or(0, Bytes::len))
    }
}

impl<'e> Plan<'e> {
    fn cut(&mut self, start: usize, end: usize, instead: Option<&'e Bytes>) {
        self.len = self.len + instead.map_or(0, Bytes::len) - (end - start);
        self.cuts.push(Cut { start, end, instead });
    }

    fn is_nothing(&self) -> bool {
        self.cuts.is_empty() && self.added.is_empty()
    }

    fn write(&self, resource: &[u8], out: &mut impl BufMut) {
        let mut at = 0;
        for cut in &self.cuts {
            out.put_slice(&resource[at..cut.start]);
            if let Some(attribute) = cut.instead {
                out.put_slice(attribute);
            }
            at = cut.end;
        }
        out.put_slice(&resource[at..]);
        for attribute in &self.added {
            out.put_slice(attribute);
        }
    }
}

impl Wire {
    /// Applies edits to the Resource of every entry. A missing Resource is created when there is something to set.
    ///
    /// Unknown fields and the order of everything else stay as they are; the Resource becomes the first field of its
    /// entry when it changes.
    #[must_use]
    pub fn edit_resources(self, edits: &ResourceEdits) -> Self {
        if edits.is_empty() {
            return self;
        }
        self.edit_each_resource(|_| edits)
    }

    /// [`edit_resources`](Self::edit_resources) with edits for each entry, by its place.
    #[must_use]
    pub fn edit_each_resource<'e>(self, edits_of: impl Fn(usize) -> &'e ResourceEdits) -> Self {
        let growth: usize = (0..self.entries.len()).map(|place| edits_of(place).growth).sum();
        if self.entries.is_empty() {
            return self;
        }
        let mut builder = Builder::new(growth + self.own_bytes(0));
        let mut plan = Plan { cuts: SmallVec::new(), added: SmallVec::new(), len: 0, met: SmallVec::new() };
        let mut changed = false;
        let mut rest = self.cursor();
        for (place, entry) in self.entries.iter().enumerate() {
            let whole = rest.take(entry.len);
            let parts = EntryParts::of(whole);
            edits_of(place).plan(parts.resource, &mut plan);
            if plan.is_nothing() {
                builder.share(whole);
                builder.entry(*entry);
                continue;
            }
            changed = true;
            let others = parts.before.len() + parts.after.len();
            let content = field_len(plan.len) + others;
            let out = builder.own();
            put_length_head(out, 1, content);
            put_length_head(out, 1, plan.len);
            plan.write(parts.resource, out);
            builder.share(parts.before);
            builder.share(parts.after);
            builder.entry(Entry { len: field_len(content), records: entry.records });
        }
        if !changed {
            drop(builder);
            return self;
        }
        builder.finish(&self)
    }

    /// Bytes that edited Resources, each of which may grow by `growth`, and what is copied beside them take, roughly.
    pub(super) fn own_bytes(&self, growth: usize) -> usize {
        let typical_resource = 512;
        let copied = |entry: &Entry| match entry.len {
            len if len < SHARE_FROM + typical_resource => len,
            _ => typical_resource,
        };
        self.entries.iter().map(|entry| growth + copied(entry)).sum()
    }
}

/// The content of an entry around its Resource.
pub(super) struct EntryParts<'a> {
    pub(super) resource: &'a [u8],
    pub(super) before: Cursor<'a>,
    pub(super) after: Cursor<'a>,
}

impl<'a> EntryParts<'a> {
    pub(super) fn of(entry: Cursor<'a>) -> Self {
        let mut outer = entry;
        let content = outer.field().map_or(Cursor::new(&[], 0), |field| field.payload);
        let mut rest = content;
        while let Some(field) = rest.field() {
            if field.number == 1 {
                let mut before = content;
                let before = before.take(content.len() - rest.len() - field.raw.len());
                return Self { resource: field.payload.bytes(), before, after: rest };
            }
        }
        Self { resource: &[], before: content, after: Cursor::new(&[], 0) }
    }
}

/// The key of the attribute at `at` of a message whose attributes are fields with the key `tag`, and where the field
/// ends. Other fields have no key.
#[inline]
pub(super) fn next_attribute(message: &[u8], tag: u8, at: usize) -> Option<(Option<&[u8]>, usize)> {
    let rest = message.get(at..)?;
    // Lengths below 128 and the key first, as nearly always.
    if let [first, len @ 0..0x80, 0x0a, key_len @ 0..0x80, after @ ..] = rest
        && *first == tag
        && key_len + 2 <= *len
        && let Some(key) = after.get(..usize::from(*key_len))
    {
        return Some((Some(key), at + 2 + usize::from(*len)));
    }
    let field = Fields::new(rest).next()?;
    // The key may be longer than it need be.
    let is_attribute = field.number == u32::from(tag >> 3) && field.wire == WireType::Length;
    Some((is_attribute.then(|| key_of(field.payload)), at + field.raw.len()))
}

/// Whether an attribute, a field of a Resource, has no value or an empty string.
fn is_blank(attribute: &[u8]) -> bool {
    let content = Fields::new(attribute).next().map(|field| field.payload).unwrap_or_default();
    matches!(value_of(content), ValueView::Empty | ValueView::Str(""))
}

/// What an attribute is that was set to one value and is then filled with another.
fn filled(before: &Bytes, after: &Bytes) -> Bytes {
    if is_blank(before) { after.clone() } else { before.clone() }
}

/// Encodes an attribute as a field of a Resource.
pub(super) fn encode(key: &str, value: &AttributeValue) -> Bytes {
    let value_len = match value {
        AttributeValue::String(text) => field_len(text.len()),
        AttributeValue::Bool(_) => 2,
        AttributeValue::Int(number) => 1 + varint_len(*number as u64),
        AttributeValue::Double(_) => 9,
    };
    let content = field_len(key.len()) + field_len(value_len);
    let mut out = Vec::with_capacity(field_len(content));
    put_length_head(&mut out, 1, content);
    put_length_head(&mut out, 1, key.len());
    out.put_slice(key.as_bytes());
    put_length_head(&mut out, 2, value_len);
    match value {
        AttributeValue::String(text) => {
            put_length_head(&mut out, 1, text.len());
            out.put_slice(text.as_bytes());
        }
        AttributeValue::Bool(flag) => out.put_slice(&[2 << 3, u8::from(*flag)]),
        AttributeValue::Int(number) => {
            out.put_u8(3 << 3);
            put_varint(&mut out, *number as u64);
        }
        AttributeValue::Double(number) => {
            out.put_u8(4 << 3 | 1);
            out.put_f64_le(*number);
        }
    }
    Bytes::from(out)
}
