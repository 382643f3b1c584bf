//! Log records and spans.

use super::{Attributes, MetricView, ValueView, bytes, messages, number, text};

/// A record of any signal. For metrics a record here is a metric with all its data points.
#[derive(Copy, Clone, Debug)]
pub enum RecordView<'a> {
    /// A log record.
    Log(LogRecordView<'a>),
    /// A metric.
    Metric(MetricView<'a>),
    /// A span.
    Span(SpanView<'a>),
}

/// A log record.
#[derive(Copy, Clone, Debug)]
pub struct LogRecordView<'a> {
    message: &'a [u8],
}

/// A span.
#[derive(Copy, Clone, Debug)]
pub struct SpanView<'a> {
    message: &'a [u8],
}

/// Something that happened during a span.
#[derive(Copy, Clone, Debug)]
pub struct EventView<'a> {
    message: &'a [u8],
}

/// A span that this span refers to.
#[derive(Copy, Clone, Debug)]
pub struct LinkView<'a> {
    message: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Attributes of the record; for a metric its metadata.
    pub const fn attributes(&self) -> Attributes<'a> {
        match self {
            Self::Log(log) => log.attributes(),
            Self::Metric(metric) => metric.metadata(),
            Self::Span(span) => span.attributes(),
        }
    }

    /// The encoded record, without the key and length before it.
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Log(log) => log.as_bytes(),
            Self::Metric(metric) => metric.as_bytes(),
            Self::Span(span) => span.as_bytes(),
        }
    }
}

impl<'a> LogRecordView<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { message }
    }

    /// The encoded record, without the key and length before it.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.message
    }

    /// When the event happened, in nanoseconds since the Unix epoch; 0 is unknown.
    pub fn time_unix_nano(&self) -> u64 {
        number(self.message, 1)
    }

    /// When the event was collected, in nanoseconds since the Unix epoch.
    pub fn observed_time_unix_nano(&self) -> u64 {
        number(self.message, 11)
    }

    /// Severity, 1 to 24 where the specification defines it; other numbers are kept as they came.
    pub fn severity_number(&self) -> i32 {
        number(self.message, 2) as i32
    }

    /// Severity as the source wrote it.
    pub fn severity_text(&self) -> &'a str {
        text(self.message, 3)
    }

    /// The body.
    pub fn body(&self) -> ValueView<'a> {
        ValueView::new(bytes(self.message, 5))
    }

    /// The attributes, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, 6)
    }

    /// The value of the first attribute with this key.
    pub fn get(&self, key: &str) -> Option<ValueView<'a>> {
        self.attributes().get(key)
    }

    /// Attributes that the source left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        number(self.message, 7) as u32
    }

    /// Trace flags.
    pub fn flags(&self) -> u32 {
        number(self.message, 8) as u32
    }

    /// The trace id: 16 bytes, or none; other lengths are kept as they came.
    pub fn trace_id(&self) -> &'a [u8] {
        bytes(self.message, 9)
    }

    /// The span id: 8 bytes, or none; other lengths are kept as they came.
    pub fn span_id(&self) -> &'a [u8] {
        bytes(self.message, 10)
    }

    /// The event's name.
    pub fn event_name(&self) -> &'a str {
        text(self.message, 12)
    }
}

impl<'a> SpanView<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { message }
    }

    /// The encoded span, without the key and length before it.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.message
    }

    /// The trace id: 16 bytes; other lengths are kept as they came.
    pub fn trace_id(&self) -> &'a [u8] {
        // The trace id is the first field that encoders write.
        if let [0x0a, 16, rest @ ..] = self.message
            && let Some(id) = rest.get(..16)
        {
            return id;
        }
        bytes(self.message, 1)
    }

    /// The span id: 8 bytes; other lengths are kept as they came.
    pub fn span_id(&self) -> &'a [u8] {
        bytes(self.message, 2)
    }

    /// W3C trace state.
    pub fn trace_state(&self) -> &'a str {
        text(self.message, 3)
    }

    /// The parent's span id; empty for a root span.
    pub fn parent_span_id(&self) -> &'a [u8] {
        bytes(self.message, 4)
    }

    /// The span's name.
    pub fn name(&self) -> &'a str {
        text(self.message, 5)
    }

    /// `SpanKind` as a number.
    pub fn kind(&self) -> i32 {
        number(self.message, 6) as i32
    }

    /// Start, in nanoseconds since the Unix epoch.
    pub fn start_time_unix_nano(&self) -> u64 {
        number(self.message, 7)
    }

    /// End, in nanoseconds since the Unix epoch.
    pub fn end_time_unix_nano(&self) -> u64 {
        number(self.message, 8)
    }

    /// The attributes, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, 9)
    }

    /// The value of the first attribute with this key.
    pub fn get(&self, key: &str) -> Option<ValueView<'a>> {
        self.attributes().get(key)
    }

    /// Attributes that the source left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        number(self.message, 10) as u32
    }

    /// What happened during the span, in order.
    pub fn events(&self) -> impl Iterator<Item = EventView<'a>> + use<'a> {
        messages(self.message, 11).map(|message| EventView { message })
    }

    /// The spans that this one refers to, in order.
    pub fn links(&self) -> impl Iterator<Item = LinkView<'a>> + use<'a> {
        messages(self.message, 13).map(|message| LinkView { message })
    }

    /// `StatusCode` as a number: 0 unset, 1 ok, 2 error.
    pub fn status_code(&self) -> i32 {
        number(bytes(self.message, 15), 3) as i32
    }

    /// The status message.
    pub fn status_message(&self) -> &'a str {
        text(bytes(self.message, 15), 2)
    }

    /// Trace flags.
    pub fn flags(&self) -> u32 {
        number(self.message, 16) as u32
    }
}

impl<'a> EventView<'a> {
    /// When it happened, in nanoseconds since the Unix epoch.
    pub fn time_unix_nano(&self) -> u64 {
        number(self.message, 1)
    }

    /// The event's name.
    pub fn name(&self) -> &'a str {
        text(self.message, 2)
    }

    /// The attributes, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, 3)
    }

    /// Attributes that the source left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        number(self.message, 4) as u32
    }
}

impl<'a> LinkView<'a> {
    /// The trace id of the other span.
    pub fn trace_id(&self) -> &'a [u8] {
        bytes(self.message, 1)
    }

    /// The other span's id.
    pub fn span_id(&self) -> &'a [u8] {
        bytes(self.message, 2)
    }

    /// W3C trace state.
    pub fn trace_state(&self) -> &'a str {
        text(self.message, 3)
    }

    /// The attributes, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, 4)
    }

    /// Attributes that the source left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        number(self.message, 5) as u32
    }

    /// Trace flags.
    pub fn flags(&self) -> u32 {
        number(self.message, 6) as u32
    }
}
