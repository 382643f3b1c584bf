//! Reading a request in place: views borrow the bytes, skip what is not asked for and never allocate.
//!
//! A view holds a message and searches it anew for every question, so ask once and keep the answer. Views change
//! nothing and check nothing; admission did.

mod distribution;
mod exemplar;
mod metric;
mod record;
mod value;

pub use self::distribution::{
    BucketsView, DistributionView, ExponentialHistogramView, HistogramView, QuantileView, SummaryView,
};
pub use self::exemplar::ExemplarView;
pub use self::metric::{DataPointView, MetricView, PointKind};
pub use self::record::{EventView, LinkView, LogRecordView, RecordView, SpanView};
pub use self::value::{ArrayView, AttributeView, Attributes, Entries, MapView, ValueView, Values};
pub(crate) use self::value::{key_of, value_of};
use crate::protobuf::{Fields, WireType};
use crate::wire::{Cursor, Entry};
use crate::{Signal, Wire};

/// The entries of a request.
#[derive(Clone, Debug)]
pub struct Resources<'a> {
    signal: Signal,
    entries: std::slice::Iter<'a, Entry>,
    rest: Cursor<'a>,
}

/// One entry: a Resource and what it produced.
#[derive(Copy, Clone, Debug)]
pub struct ResourceView<'a> {
    signal: Signal,
    entry: Entry,
    content: Cursor<'a>,
    resource: &'a [u8],
}

/// The scope lists of an entry.
#[derive(Clone, Debug)]
pub struct Scopes<'a> {
    signal: Signal,
    rest: Cursor<'a>,
}

/// One scope list: an instrumentation scope and its records.
#[derive(Copy, Clone, Debug)]
pub struct ScopeView<'a> {
    signal: Signal,
    content: Cursor<'a>,
}

/// The records of a scope list.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    signal: Signal,
    rest: Cursor<'a>,
}

impl<'a> Resources<'a> {
    pub(crate) fn new(wire: &'a Wire) -> Self {
        Self { signal: wire.signal(), entries: wire.entries.iter(), rest: wire.cursor() }
    }
}

impl<'a> Iterator for Resources<'a> {
    type Item = ResourceView<'a>;

    fn next(&mut self) -> Option<ResourceView<'a>> {
        let entry = *self.entries.next()?;
        let content = self.rest.take(entry.len).field()?.payload;
        let mut rest = content;
        let mut resource = &[][..];
        while let Some(field) = rest.field() {
            if field.number == 1 {
                resource = field.payload.bytes();
                break;
            }
        }
        Some(ResourceView { signal: self.signal, entry, content, resource })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Resources<'_> {}

impl<'a> ResourceView<'a> {
    /// The signal of the records.
    pub const fn signal(&self) -> Signal {
        self.signal
    }

    /// Log records, data points or spans of this entry.
    pub const fn records(&self) -> u64 {
        self.entry.records
    }

    /// Encoded bytes of this entry.
    #[expect(clippy::len_without_is_empty, reason = "an entry has at least its own key and length")]
    pub const fn len(&self) -> usize {
        self.entry.len
    }

    /// The attributes of the Resource, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.resource, 1)
    }

    /// The value of the first attribute with this key.
    pub fn get(&self, key: &str) -> Option<ValueView<'a>> {
        self.attributes().get(key)
    }

    /// The encoded Resource; empty when there is none.
    pub const fn resource_bytes(&self) -> &'a [u8] {
        self.resource
    }

    /// The schema URL of the Resource.
    pub fn schema_url(&self) -> &'a str {
        text_of(self.content, 3)
    }

    /// The scope lists, in order.
    pub const fn scopes(&self) -> Scopes<'a> {
        Scopes { signal: self.signal, rest: self.content }
    }
}

impl<'a> Iterator for Scopes<'a> {
    type Item = ScopeView<'a>;

    fn next(&mut self) -> Option<ScopeView<'a>> {
        let content = next_element(&mut self.rest)?;
        Some(ScopeView { signal: self.signal, content })
    }
}

impl<'a> ScopeView<'a> {
    /// The scope's name.
    pub fn name(&self) -> &'a str {
        text(self.scope(), 1)
    }

    /// The scope's version.
    pub fn version(&self) -> &'a str {
        text(self.scope(), 2)
    }

    /// The scope's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.scope(), 3)
    }

    /// The schema URL of the records.
    pub fn schema_url(&self) -> &'a str {
        text_of(self.content, 3)
    }

    /// The records (for metrics: the metrics), in order.
    pub const fn records(&self) -> Records<'a> {
        Records { signal: self.signal, rest: self.content }
    }

    /// The records if they are log records, else none.
    pub fn log_records(&self) -> impl Iterator<Item = LogRecordView<'a>> + use<'a> {
        self.records().filter_map(|record| match record {
            RecordView::Log(log) => Some(log),
            RecordView::Metric(_) | RecordView::Span(_) => None,
        })
    }

    /// The records if they are spans, else none.
    pub fn spans(&self) -> impl Iterator<Item = SpanView<'a>> + use<'a> {
        self.records().filter_map(|record| match record {
            RecordView::Span(span) => Some(span),
            RecordView::Metric(_) | RecordView::Log(_) => None,
        })
    }

    /// The metrics, if the signal is metrics, else none.
    pub fn metrics(&self) -> impl Iterator<Item = MetricView<'a>> + use<'a> {
        self.records().filter_map(|record| match record {
            RecordView::Metric(metric) => Some(metric),
            RecordView::Span(_) | RecordView::Log(_) => None,
        })
    }

    fn scope(&self) -> &'a [u8] {
        payload_of(self.content, 1)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordView<'a>> {
        let bytes = next_element(&mut self.rest)?.bytes();
        Some(match self.signal {
            Signal::Logs => RecordView::Log(LogRecordView::new(bytes)),
            Signal::Metrics => RecordView::Metric(MetricView::new(bytes)),
            Signal::Traces => RecordView::Span(SpanView::new(bytes)),
        })
    }
}

/// The next element of the list in field 2.
#[inline]
fn next_element<'a>(rest: &mut Cursor<'a>) -> Option<Cursor<'a>> {
    loop {
        let field = rest.field()?;
        if field.number == 2 && field.wire == WireType::Length {
            return Some(field.payload);
        }
    }
}

fn payload_of(content: Cursor<'_>, number: u32) -> &[u8] {
    let mut rest = content;
    while let Some(field) = rest.field() {
        if field.number == number && field.wire == WireType::Length {
            return field.payload.bytes();
        }
    }
    &[]
}

fn text_of(content: Cursor<'_>, number: u32) -> &str {
    as_text(payload_of(content, number))
}

/// The string in a field of a message; empty when the field is absent.
fn text(message: &[u8], number: u32) -> &str {
    as_text(bytes(message, number))
}

/// The bytes in a field of a message; empty when the field is absent.
fn bytes(message: &[u8], number: u32) -> &[u8] {
    Fields::new(message).payload(number).unwrap_or_default()
}

/// The messages in a repeated field of a message.
fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message)
        .filter(move |field| field.number == number && field.wire == WireType::Length)
        .map(|field| field.payload)
}

/// The number in a field of a message; 0 when the field is absent.
fn number(message: &[u8], field: u32) -> u64 {
    Fields::new(message).scalar(field).unwrap_or_default()
}

fn as_text(bytes: &[u8]) -> &str {
    simdutf8::basic::from_utf8(bytes).expect("admission proved that strings are UTF-8")
}
