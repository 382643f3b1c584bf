//! Cutting a request into smaller ones at record boundaries. Heads (Resource, scope, schema URLs, unknown fields) are
//! repeated; records are shared. What carries no record is left out when something is cut.

use smallvec::SmallVec;

use super::content::Content;
use super::{Builder, Cursor, Entry, Wire};
use crate::Signal;
use crate::protobuf::{Fields, WireType, field_len, put_length_head};

/// How large the parts of a split may be.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SplitLimits {
    /// Encoded bytes of a part, at most; a single record larger than that comes alone.
    pub max_bytes: usize,
    /// Records of a part, at most. 0 counts as 1.
    pub max_records: u64,
}

/// Bytes of the key and length of a message of unknown size, at most.
const HEAD: usize = 6;

impl Wire {
    /// Cuts the request so that no part exceeds the limits; the order of records stays.
    ///
    /// A metric that exceeds them on its own is cut between its data points. Nothing is cut when all fits.
    pub fn split(self, limits: &SplitLimits) -> Vec<Self> {
        if self.len() <= limits.max_bytes && self.records <= limits.max_records.max(1) {
            return vec![self];
        }
        let room = Room { bytes: limits.max_bytes, records: limits.max_records.max(1) };
        Splitter::new(&self, room, room, MetricCuts::WhereTooLarge).run()
    }

    /// Cuts the request into two of about equally many records.
    ///
    /// # Errors
    ///
    /// Gives the request back when it has fewer than two records.
    #[expect(clippy::result_large_err, reason = "the request is given back, it is no error value")]
    pub fn halve(self) -> Result<(Self, Self), Self> {
        if self.records < 2 {
            return Err(self);
        }
        let first = Room { bytes: usize::MAX, records: self.records / 2 };
        let second = Room { bytes: usize::MAX, records: u64::MAX };
        let mut parts = Splitter::new(&self, first, second, MetricCuts::Anywhere).run().into_iter();
        match (parts.next(), parts.next()) {
            (Some(left), Some(right)) => Ok((left, right)),
            _ => Err(self),
        }
    }
}

/// What a part may still take.
#[derive(Copy, Clone, Debug)]
struct Room {
    bytes: usize,
    records: u64,
}

/// When a metric may be cut between its data points.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum MetricCuts {
    /// When it would exceed an empty part.
    WhereTooLarge,
    /// Whenever it does not fit.
    Anywhere,
}

/// A message that holds a list in field 2: an entry and its scope lists, a scope list and its records.
pub(super) struct Container<'a> {
    pub(super) content: Cursor<'a>,
    /// The other fields, whole.
    heads: Heads<'a>,
    head_len: usize,
}

type Heads<'a> = SmallVec<[&'a [u8]; 2]>;

/// An entry of which some scope lists are in the part in hand.
pub(super) struct OpenEntry<'a> {
    heads: Heads<'a>,
    head_len: usize,
    /// The scope lists that take no further records.
    scopes: Content<'a>,
    /// The last scope list, if it takes further records.
    open: Option<ScopeRun<'a>>,
    count: u64,
}

/// Records of one scope list that go into the part in hand.
pub(super) struct ScopeRun<'a> {
    /// Heads to repeat.
    heads: Heads<'a>,
    head_len: usize,
    records: Content<'a>,
    count: u64,
}

struct Splitter<'a> {
    source: &'a Wire,
    /// Room of every part after the one in hand.
    limit: Room,
    cuts: MetricCuts,
    /// What the part in hand may still take.
    room: Room,
    builder: Builder<'a>,
    part_records: u64,
    entry: Option<OpenEntry<'a>>,
    parts: Vec<Wire>,
}

impl<'a> Container<'a> {
    pub(super) fn of(content: Cursor<'a>) -> Self {
        let mut heads = Heads::new();
        let mut rest = content;
        while let Some(field) = rest.field() {
            if !is_list(field.number, field.wire) {
                heads.push(field.raw.bytes());
            }
        }
        let head_len = heads.iter().map(|head| head.len()).sum();
        Self { content, heads, head_len }
    }
}

pub(super) const fn is_list(number: u32, wire: WireType) -> bool {
    number == 2 && matches!(wire, WireType::Length)
}

impl<'a> Splitter<'a> {
    fn new(source: &'a Wire, first: Room, limit: Room, cuts: MetricCuts) -> Self {
        Self {
            source,
            limit,
            cuts,
            room: first,
            builder: Builder::new(0),
            part_records: 0,
            entry: None,
            parts: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Wire> {
        let mut rest = self.source.cursor();
        for entry in &self.source.entries {
            let mut whole = rest.take(entry.len);
            if entry.records == 0 {
                continue;
            }
            if self.fits(whole.len(), entry.records) {
                self.spend(whole.len(), entry.records);
                self.builder.share(whole);
                self.builder.entry(*entry);
                continue;
            }
            let Some(field) = whole.field() else { continue };
            self.cut_entry(&Container::of(field.payload));
            self.close_entry();
        }
        self.end_part();
        self.parts
    }

    fn cut_entry(&mut self, entry: &Container<'a>) {
        let mut scopes = entry.content;
        while let Some(field) = scopes.field() {
            if !is_list(field.number, field.wire) {
                continue;
            }
            let count = records_of(self.source.signal, field.payload);
            if count == 0 {
                continue;
            }
            let needed = self.entry_cost(entry) + field.raw.len();
            if self.fits(needed, count) {
                self.spend(needed, count);
                self.open_entry(entry).share(field.raw, scopes, count);
                continue;
            }
            self.cut_scope(entry, &Container::of(field.payload));
            if let Some(open) = &mut self.entry {
                open.close_scope();
            }
        }
    }

    fn cut_scope(&mut self, entry: &Container<'a>, scope: &Container<'a>) {
        let mut records = scope.content;
        while let Some(field) = records.field() {
            if !is_list(field.number, field.wire) {
                continue;
            }
            let count = record_weight(self.source.signal, field.payload);
            if count == 0 {
                continue;
            }
            let needed = self.scope_cost(entry, scope) + field.raw.len();
            if !self.fits(needed, count) {
                if self.source.signal == Signal::Metrics
                    && count > 1
                    && self.cuts_metric(entry, scope, &field.raw, count)
                {
                    self.cut_metric(entry, scope, field.payload.bytes());
                    continue;
                }
                if self.part_records > 0 {
                    self.end_part();
                }
            }
            self.spend(self.scope_cost(entry, scope) + field.raw.len(), count);
            self.open_scope(entry, scope).add(field.raw, records, count);
        }
    }

    /// Whether a metric that does not fit into the part in hand is cut, or else moves to the next part.
    fn cuts_metric(&self, entry: &Container<'a>, scope: &Container<'a>, metric: &Cursor<'a>, count: u64) -> bool {
        let alone = 2 * HEAD + entry.head_len + scope.head_len + metric.len();
        self.cuts == MetricCuts::Anywhere || count > self.limit.records || alone > self.limit.bytes
    }

    /// Spreads the data points of a metric over as many parts as needed.
    fn cut_metric(&mut self, entry: &Container<'a>, scope: &Container<'a>, metric: &'a [u8]) {
        let Some(shape) = MetricShape::of(metric) else {
            return;
        };
        let mut points: Vec<&[u8]> = Vec::new();
        let mut points_len = 0;
        for field in Fields::new(shape.data).filter(|field| field.number == 1) {
            let point = field.raw;
            let opening = if points.is_empty() { self.scope_cost(entry, scope) + 2 * HEAD + shape.head_len } else { 0 };
            let mut needed = opening + point.len();
            if !self.fits(needed, 1) && self.part_records + points.len() as u64 > 0 {
                if !points.is_empty() {
                    self.open_scope(entry, scope).write(&shape.with_points(&points, points_len), points.len() as u64);
                    points.clear();
                    points_len = 0;
                }
                self.end_part();
                needed = self.scope_cost(entry, scope) + 2 * HEAD + shape.head_len + point.len();
            }
            self.spend(needed, 1);
            points.push(point);
            points_len += point.len();
        }
        if !points.is_empty() {
            self.open_scope(entry, scope).write(&shape.with_points(&points, points_len), points.len() as u64);
        }
    }

    fn fits(&self, bytes: usize, records: u64) -> bool {
        bytes <= self.room.bytes && records <= self.room.records
    }

    fn spend(&mut self, bytes: usize, records: u64) {
        self.room.bytes = self.room.bytes.saturating_sub(bytes);
        self.room.records = self.room.records.saturating_sub(records);
        self.part_records += records;
    }

    /// Bytes that it takes to have this entry open.
    fn entry_cost(&self, entry: &Container<'a>) -> usize {
        if self.entry.is_some() { 0 } else { HEAD + entry.head_len }
    }

    /// Bytes that it takes to have this scope list open.
    fn scope_cost(&self, entry: &Container<'a>, scope: &Container<'a>) -> usize {
        let is_open = self.entry.as_ref().is_some_and(|open| open.open.is_some());
        self.entry_cost(entry) + if is_open { 0 } else { HEAD + scope.head_len }
    }

    fn open_entry(&mut self, entry: &Container<'a>) -> &mut OpenEntry<'a> {
        self.entry.get_or_insert_with(|| OpenEntry::of(entry))
    }

    fn open_scope(&mut self, entry: &Container<'a>, scope: &Container<'a>) -> &mut ScopeRun<'a> {
        self.open_entry(entry).open.get_or_insert_with(|| ScopeRun::of(scope))
    }

    /// Writes the entry in hand.
    fn close_entry(&mut self) {
        let Some(entry) = self.entry.take() else {
            return;
        };
        entry.write(&mut self.builder);
    }

    fn end_part(&mut self) {
        self.close_entry();
        let builder = std::mem::replace(&mut self.builder, Builder::new(0));
        self.room = self.limit;
        if std::mem::take(&mut self.part_records) > 0 {
            self.parts.push(builder.finish(self.source));
        }
    }
}

impl<'a> OpenEntry<'a> {
    /// An entry with these heads and no scope list yet.
    pub(super) fn of(entry: &Container<'a>) -> Self {
        let (heads, head_len) = (entry.heads.clone(), entry.head_len);
        Self { heads, head_len, scopes: Content::default(), open: None, count: 0 }
    }

    /// Adds a whole scope list as it is; `next` is the position after it.
    pub(super) fn share(&mut self, scope: Cursor<'a>, next: Cursor<'a>, count: u64) {
        self.close_scope();
        self.scopes.share(scope, next);
        self.count += count;
    }

    /// Adds a scope list.
    pub(super) fn push(&mut self, scope: ScopeRun<'a>) {
        self.scopes.write(|out| {
            put_length_head(out, 2, scope.head_len + scope.records.len());
            scope.heads.iter().for_each(|head| out.extend_from_slice(head));
        });
        self.scopes.append(scope.records);
        self.count += scope.count;
    }

    fn close_scope(&mut self) {
        if let Some(scope) = self.open.take() {
            self.push(scope);
        }
    }

    /// Writes all of it.
    pub(super) fn write(mut self, builder: &mut Builder<'a>) {
        self.close_scope();
        let content = self.head_len + self.scopes.len();
        let out = builder.own();
        put_length_head(out, 1, content);
        self.heads.iter().for_each(|head| out.extend_from_slice(head));
        self.scopes.put(builder);
        builder.entry(Entry { len: field_len(content), records: self.count });
    }
}

impl<'a> ScopeRun<'a> {
    /// A scope list with these heads and no record yet.
    pub(super) fn of(scope: &Container<'a>) -> Self {
        Self { heads: scope.heads.clone(), head_len: scope.head_len, records: Content::default(), count: 0 }
    }

    /// Adds a record; `next` is the position after it.
    pub(super) fn add(&mut self, record: Cursor<'a>, next: Cursor<'a>, count: u64) {
        self.records.share(record, next);
        self.count += count;
    }

    fn write(&mut self, metric: &[u8], count: u64) {
        self.records.write(|out| out.extend_from_slice(metric));
        self.count += count;
    }
}

/// A metric apart from its data points.
struct MetricShape<'a> {
    heads: Heads<'a>,
    /// Number of the oneof's member, its content, and the fields in it that are no data points.
    number: u32,
    data: &'a [u8],
    data_heads: Heads<'a>,
    head_len: usize,
}

impl<'a> MetricShape<'a> {
    /// `None` when the metric has no data.
    fn of(metric: &'a [u8]) -> Option<Self> {
        let mut heads = Heads::new();
        let mut found = None;
        for field in Fields::new(metric) {
            if is_metric_data(field.number) {
                found = Some((field.number, field.payload));
            } else {
                heads.push(field.raw);
            }
        }
        let (number, data) = found?;
        let data_heads: Heads<'a> =
            Fields::new(data).filter(|field| field.number != 1).map(|field| field.raw).collect();
        let head_len = heads.iter().chain(&data_heads).map(|head| head.len()).sum();
        Some(Self { heads, number, data, data_heads, head_len })
    }

    /// The metric with these data points only, as a field of a scope list.
    fn with_points(&self, points: &[&[u8]], points_len: usize) -> Vec<u8> {
        let data_len = self.data_heads.iter().map(|head| head.len()).sum::<usize>() + points_len;
        let metric_len = self.heads.iter().map(|head| head.len()).sum::<usize>() + field_len(data_len);
        let mut out = Vec::with_capacity(field_len(metric_len));
        put_length_head(&mut out, 2, metric_len);
        self.heads.iter().for_each(|head| out.extend_from_slice(head));
        put_length_head(&mut out, self.number, data_len);
        points.iter().for_each(|point| out.extend_from_slice(point));
        self.data_heads.iter().for_each(|head| out.extend_from_slice(head));
        out
    }
}

/// Whether a field of a metric is its data (gauge, sum, histogram, exponential histogram, summary).
const fn is_metric_data(number: u32) -> bool {
    matches!(number, 5 | 7 | 9 | 10 | 11)
}

/// Records in the content of a scope list.
pub(super) fn records_of(signal: Signal, scope: Cursor<'_>) -> u64 {
    let mut rest = scope;
    let mut count = 0;
    while let Some(field) = rest.field() {
        if is_list(field.number, field.wire) {
            count += record_weight(signal, field.payload);
        }
    }
    count
}

/// How many records an element of a scope list counts for: a metric has its data points, all else is one.
pub(super) fn record_weight(signal: Signal, record: Cursor<'_>) -> u64 {
    if signal != Signal::Metrics {
        return 1;
    }
    Fields::new(record.bytes())
        .find(|field| is_metric_data(field.number))
        .map_or(0, |field| Fields::new(field.payload).filter(|point| point.number == 1).count() as u64)
}
