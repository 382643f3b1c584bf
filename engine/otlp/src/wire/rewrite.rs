//! Editing the attributes of resources, scopes and records. An entry is written anew in one pass over its bytes, record
//! by record; the lengths around what has changed are filled in behind it. Entries in which nothing changes are shared,
//! and so are the records where only the Resource changes.

use bytes::{BufMut, BytesMut};

use super::attributes::Plan;
use super::edit::EntryParts;
use super::{AttributeEdits, Builder, Cursor, Entry, Wire};
use crate::Signal;
use crate::protobuf::{Field, Fields, WireType, field_len, put_length_head, put_varint, varint_len};

/// Edits of a whole request.
#[derive(Clone, Debug, Default)]
pub struct WireEdits {
    /// Of every Resource.
    pub resource: AttributeEdits,
    /// Of every instrumentation scope.
    pub scope: AttributeEdits,
    /// Of every log record, span and data point. Their events, links and exemplars stay as they are.
    pub record: AttributeEdits,
}

/// Keys of attribute fields.
const OF_RESOURCE: u8 = 1 << 3 | 2;
const OF_SCOPE: u8 = 3 << 3 | 2;
const OF_LOG_RECORD: u8 = 6 << 3 | 2;
const OF_SPAN: u8 = 9 << 3 | 2;

/// How many times its length a request is expected to grow by, at most. Where it grows by more, it is moved.
const MOST_GROWTH: usize = 8;

/// Writes entries anew.
struct Rewriter<'e> {
    signal: Signal,
    edits: &'e WireEdits,
    plan: Plan<'e>,
}

/// Where the length of a message goes that is being written.
struct Slot {
    at: usize,
    /// Bytes that are kept for it.
    width: usize,
}

impl WireEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.resource.is_empty() && self.is_of_resources()
    }

    /// Whether records and scopes stay as they are.
    fn is_of_resources(&self) -> bool {
        self.scope.is_empty() && self.record.is_empty()
    }
}

impl Wire {
    /// Applies edits to the attributes of resources, scopes and records. A Resource or scope that is missing is created
    /// where there is something to add.
    ///
    /// Unknown fields and the order of everything else stay as they are; a Resource or scope becomes the first field of
    /// what it describes when it changes.
    #[must_use]
    pub fn edit_attributes(self, edits: &WireEdits) -> Self {
        if edits.is_empty() || self.entries.is_empty() {
            return self;
        }
        let mut builder = Builder::new(self.bytes_with(edits));
        let mut rewriter = Rewriter { signal: self.signal, edits, plan: Plan::default() };
        let mut changed = false;
        let mut rest = self.cursor();
        for entry in &self.entries {
            let whole = rest.take(entry.len);
            let len = match edits.is_of_resources() {
                true => rewriter.head(whole, &mut builder),
                false => rewriter.entry(whole, builder.own()),
            };
            changed |= len.is_some();
            if len.is_none() {
                builder.share(whole);
            }
            builder.entry(Entry { len: len.unwrap_or(entry.len), records: entry.records });
        }
        if !changed {
            drop(builder);
            return self;
        }
        builder.finish(&self)
    }

    /// Bytes that the edited request takes, as far as it is written anew; roughly.
    fn bytes_with(&self, edits: &WireEdits) -> usize {
        // Lengths may take more bytes than before.
        let of_lengths = 4;
        if edits.is_of_resources() {
            return self.own_bytes(edits.resource.growth() + of_lengths);
        }
        let of_heads = self.entries.len() * (edits.resource.growth() + edits.scope.growth() + of_lengths);
        let records = usize::try_from(self.records).unwrap_or(usize::MAX);
        let of_records = records.saturating_mul(edits.record.growth() + of_lengths);
        // Tiny records and large values would ask for more than may ever be written.
        self.len() + of_heads + of_records.min(MOST_GROWTH * self.len())
    }
}

impl<'e> Rewriter<'e> {
    /// Puts an entry of which only the Resource may change. Answers its new length if it does.
    fn head<'a>(&mut self, whole: Cursor<'a>, builder: &mut Builder<'a>) -> Option<usize> {
        let parts = EntryParts::of(whole);
        if !self.edits.resource.plan(parts.resource, OF_RESOURCE, &mut self.plan) {
            return None;
        }
        let content = field_len(self.plan.len()) + parts.before.len() + parts.after.len();
        let out = builder.own();
        put_length_head(out, 1, content);
        put_length_head(out, 1, self.plan.len());
        self.plan.write(parts.resource, OF_RESOURCE, out);
        builder.share(parts.before);
        builder.share(parts.after);
        Some(field_len(content))
    }

    /// Writes an entry. Answers its new length; `None`, and nothing is written, when it does not change.
    fn entry(&mut self, whole: Cursor<'_>, out: &mut BytesMut) -> Option<usize> {
        let start = out.len();
        let parts = EntryParts::of(whole);
        let mut outer = whole;
        let mut content = outer.field()?.payload;
        let slot = Slot::open(1, content.len(), out);
        let changes = self.edits.resource.plan(parts.resource, OF_RESOURCE, &mut self.plan);
        if changes {
            put_length_head(out, 1, self.plan.len());
            self.plan.write(parts.resource, OF_RESOURCE, out);
        }
        let mut changed = changes;
        while let Some(field) = content.field() {
            match (field.number, field.wire) {
                (1, WireType::Length) if changes => {}
                (2, WireType::Length) => changed |= self.scope_list(field.payload, out),
                _ => copy(field.raw, out),
            }
        }
        if !changed {
            out.truncate(start);
            return None;
        }
        slot.close(out);
        Some(out.len() - start)
    }

    /// Writes a `ScopeLogs` or the like, and says whether it has changed.
    fn scope_list(&mut self, list: Cursor<'_>, out: &mut BytesMut) -> bool {
        let slot = Slot::open(2, list.len(), out);
        let changes = !self.edits.scope.is_empty() && self.scope(list, out);
        let mut changed = changes;
        let mut rest = list;
        while let Some(field) = rest.field() {
            match (field.number, field.wire) {
                (1, WireType::Length) if changes => {}
                (2, WireType::Length) if !self.edits.record.is_empty() => {
                    changed |= self.record(field.raw.bytes(), field.payload.bytes(), out);
                }
                _ => copy(field.raw, out),
            }
        }
        slot.close(out);
        changed
    }

    /// Writes the scope of a list, if it changes.
    fn scope(&mut self, list: Cursor<'_>, out: &mut BytesMut) -> bool {
        let mut rest = list;
        let field =
            std::iter::from_fn(|| rest.field()).find(|field| (field.number, field.wire) == (1, WireType::Length));
        let scope = field.map_or(&[][..], |field| field.payload.bytes());
        let changes = self.edits.scope.plan(scope, OF_SCOPE, &mut self.plan);
        if changes {
            put_length_head(out, 1, self.plan.len());
            self.plan.write(scope, OF_SCOPE, out);
        }
        changes
    }

    /// Writes a record, and says whether it has changed.
    #[inline]
    fn record(&mut self, raw: &[u8], content: &[u8], out: &mut BytesMut) -> bool {
        match self.signal {
            Signal::Logs => self.attributed(2, raw, content, OF_LOG_RECORD, out),
            Signal::Traces => self.attributed(2, raw, content, OF_SPAN, out),
            Signal::Metrics => self.metric(content, out),
        }
    }

    /// Writes a metric by writing its data points. Where nothing changes that gives the same bytes,
    /// but for keys and lengths that took more bytes than they need.
    fn metric(&mut self, metric: &[u8], out: &mut BytesMut) -> bool {
        let slot = Slot::open(2, metric.len(), out);
        let mut changed = false;
        for field in Fields::new(metric) {
            let Some(tag) = of_points(&field) else {
                out.extend_from_slice(field.raw);
                continue;
            };
            let data = Slot::open(field.number, field.payload.len(), out);
            for inner in Fields::new(field.payload) {
                match (inner.number, inner.wire) {
                    (1, WireType::Length) => changed |= self.attributed(1, inner.raw, inner.payload, tag, out),
                    _ => out.extend_from_slice(inner.raw),
                }
            }
            data.close(out);
        }
        slot.close(out);
        changed
    }

    /// Writes a message with attributes, which is a field with this number, and says whether it has changed.
    #[inline]
    fn attributed(&mut self, number: u32, raw: &[u8], content: &[u8], tag: u8, out: &mut BytesMut) -> bool {
        if !self.edits.record.plan(content, tag, &mut self.plan) {
            out.extend_from_slice(raw);
            return false;
        }
        put_length_head(out, number, self.plan.len());
        self.plan.write(content, tag, out);
        true
    }
}

/// The key of the attributes of the data points in this field of a metric, if it holds any.
fn of_points(field: &Field<'_>) -> Option<u8> {
    let number: u8 = match field.number {
        // Gauge, sum and summary.
        5 | 7 | 11 => 7,
        // Histogram.
        9 => 9,
        // Exponential histogram.
        10 => 1,
        _ => return None,
    };
    (field.wire == WireType::Length).then_some(number << 3 | 2)
}

fn copy(range: Cursor<'_>, out: &mut BytesMut) {
    range.slices().for_each(|(piece, slice)| out.extend_from_slice(&piece[slice]));
}

impl Slot {
    /// Writes the key of a field and keeps as many bytes for its length as the length before takes.
    fn open(number: u32, len_before: usize, out: &mut BytesMut) -> Self {
        put_varint(out, u64::from(number) << 3 | 2);
        let slot = Self { at: out.len(), width: varint_len(len_before as u64) };
        out.put_bytes(0, slot.width);
        slot
    }

    /// Writes the length of all that was written since. What was written moves where the length takes more bytes than
    /// were kept, or fewer.
    fn close(self, out: &mut BytesMut) {
        let from = self.at + self.width;
        let end = out.len();
        let len = end - from;
        let to = self.at + varint_len(len as u64);
        if to > from {
            out.put_bytes(0, to - from);
        }
        if to != from {
            out.copy_within(from..end, to);
            out.truncate(to + len);
        }
        put_varint(&mut &mut out[self.at..to], len as u64);
    }
}
