//! The OTLP messages as tables: which field has which number, name and encoding. Taken from opentelemetry-proto 1.9
//! (logs, metrics, trace, common, resource); it says nothing about how the tables are used.

use crate::Signal;

/// A protobuf message type.
#[derive(Debug)]
pub(crate) struct Message {
    /// The fields; a field's number is its position.
    fields: &'static [Field],
}

/// A field of a message type.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// The name in JSON.
    pub(crate) json: JsonName,
    pub(crate) kind: Kind,
    /// One bit a singular field or oneof, so that a second occurrence can be seen. 0 for repeated fields.
    pub(crate) once: u32,
    /// Whether each occurrence is one record of its signal.
    pub(crate) record: bool,
}

/// The name of a field in lowerCamelCase, in the forms that reading and writing JSON want.
#[derive(Copy, Clone, Debug)]
pub(crate) struct JsonName {
    /// The name, as words of eight bytes that are filled up with zeros.
    pub(crate) words: [u64; NAME_WORDS],
    /// The name in quotes with a colon behind it, and its length.
    member: ([u8; 8 * NAME_WORDS + 3], u8),
}

/// Words of the longest name, `droppedAttributesCount`.
pub(crate) const NAME_WORDS: usize = 3;

/// How a value is encoded.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Kind {
    /// No field has this number.
    Absent,
    Varint(Number),
    Fixed64(Number),
    Fixed32,
    /// Repeated varints, packed or not.
    Varints,
    /// Repeated fixed64 values, packed or not.
    Fixed64s(Number),
    String,
    Bytes,
    /// Bytes that JSON writes in hexadecimal.
    Id,
    Message(&'static Message),
}

/// What a scalar means, which only JSON needs to know.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Number {
    Bool,
    I32,
    U32,
    Zigzag32,
    I64,
    U64,
    Double,
}

impl Message {
    #[inline]
    pub(crate) fn field(&self, number: u32) -> Option<&'static Field> {
        match self.fields.get(number as usize) {
            Some(Field { kind: Kind::Absent, .. }) | None => None,
            found => found,
        }
    }

    /// The field that is called so in JSON, with its number. The search begins at a number, because fields mostly
    /// come in their order.
    #[inline]
    pub(crate) fn named(&self, words: [u64; NAME_WORDS], from: usize) -> Option<(u32, &'static Field)> {
        let (before, after) = self.fields.split_at_checked(from)?;
        let is_it = |field: &&'static Field| field.json.words == words;
        let found = after.iter().position(|field| is_it(&field)).map(|index| from + index);
        let number = found.or_else(|| before.iter().position(|field| is_it(&field)))?;
        Some((number as u32, &self.fields[number]))
    }

    /// The fields with their numbers, ascending.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (u32, &'static Field)> + use<> {
        (0..).zip(self.fields).filter(|(_, field)| !matches!(field.kind, Kind::Absent))
    }
}

impl Field {
    pub(crate) const fn is_repeated(&self) -> bool {
        self.once == 0
    }

    /// Whether a value of so many bytes is one that this field may have, if it holds ids: none, or as many as an id has.
    pub(crate) fn is_id_of(&self, len: usize) -> bool {
        let expected = if self.name == "trace_id" { 16 } else { 8 };
        len == 0 || len == expected
    }

    const fn member_of(self, oneof: u32) -> Self {
        Self { once: 1 << oneof, ..self }
    }

    const fn counted(self) -> Self {
        Self { record: true, ..self }
    }
}

impl JsonName {
    /// `"name":`
    #[inline]
    pub(crate) fn member(&self) -> &[u8] {
        &self.member.0[..usize::from(self.member.1)]
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        let quoted = self.member().strip_suffix(b":").unwrap_or_default();
        std::str::from_utf8(quoted).unwrap_or_default().trim_matches('"')
    }

    /// The name of a field that is called so in protobuf.
    const fn of(name: &str) -> Self {
        let snake = name.as_bytes();
        let mut member = [0; 8 * NAME_WORDS + 3];
        let mut words = [0; NAME_WORDS];
        member[0] = b'"';
        let (mut read, mut len) = (0, 0);
        while read < snake.len() {
            let starts_word = snake[read] == b'_';
            read += starts_word as usize;
            let byte = if starts_word { snake[read].to_ascii_uppercase() } else { snake[read] };
            words[len / 8] |= (byte as u64) << (8 * (len % 8));
            len += 1;
            member[len] = byte;
            read += 1;
        }
        member[len + 1] = b'"';
        member[len + 2] = b':';
        Self { words, member: (member, len as u8 + 3) }
    }
}

const NONE: Field = Field { name: "", json: JsonName::of(""), kind: Kind::Absent, once: 0, record: false };

/// A singular field; `bit` is its number, which no other field of the message shares.
const fn one(bit: u32, name: &'static str, kind: Kind) -> Field {
    Field { name, json: JsonName::of(name), kind, once: 1 << bit, record: false }
}

const fn many(name: &'static str, kind: Kind) -> Field {
    Field { name, json: JsonName::of(name), kind, once: 0, record: false }
}

/// Bit of the only oneof of a message; no OTLP field has this number.
const ONEOF: u32 = 31;

/// `Export*ServiceRequest` of a signal.
pub(crate) const fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &LOGS_REQUEST,
        Signal::Metrics => &METRICS_REQUEST,
        Signal::Traces => &TRACES_REQUEST,
    }
}

/// `ResourceLogs`, `ResourceMetrics` or `ResourceSpans`.
pub(crate) const fn entry(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &RESOURCE_LOGS,
        Signal::Metrics => &RESOURCE_METRICS,
        Signal::Traces => &RESOURCE_SPANS,
    }
}

/// `ScopeLogs`, `ScopeMetrics` or `ScopeSpans`.
pub(crate) const fn scope(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &SCOPE_LOGS,
        Signal::Metrics => &SCOPE_METRICS,
        Signal::Traces => &SCOPE_SPANS,
    }
}

/// `LogRecord`, `Metric` or `Span`.
#[cfg(test)]
pub(crate) const fn record(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &LOG_RECORD,
        Signal::Metrics => &METRIC,
        Signal::Traces => &SPAN,
    }
}

static LOGS_REQUEST: Message = Message { fields: &[NONE, many("resource_logs", Kind::Message(&RESOURCE_LOGS))] };

static METRICS_REQUEST: Message =
    Message { fields: &[NONE, many("resource_metrics", Kind::Message(&RESOURCE_METRICS))] };

static TRACES_REQUEST: Message = Message { fields: &[NONE, many("resource_spans", Kind::Message(&RESOURCE_SPANS))] };

static RESOURCE_LOGS: Message = Message {
    fields: &[
        NONE,
        one(1, "resource", Kind::Message(&RESOURCE)),
        many("scope_logs", Kind::Message(&SCOPE_LOGS)),
        one(3, "schema_url", Kind::String),
    ],
};

static RESOURCE_METRICS: Message = Message {
    fields: &[
        NONE,
        one(1, "resource", Kind::Message(&RESOURCE)),
        many("scope_metrics", Kind::Message(&SCOPE_METRICS)),
        one(3, "schema_url", Kind::String),
    ],
};

static RESOURCE_SPANS: Message = Message {
    fields: &[
        NONE,
        one(1, "resource", Kind::Message(&RESOURCE)),
        many("scope_spans", Kind::Message(&SCOPE_SPANS)),
        one(3, "schema_url", Kind::String),
    ],
};

static SCOPE_LOGS: Message = Message {
    fields: &[
        NONE,
        one(1, "scope", Kind::Message(&SCOPE)),
        many("log_records", Kind::Message(&LOG_RECORD)).counted(),
        one(3, "schema_url", Kind::String),
    ],
};

static SCOPE_METRICS: Message = Message {
    fields: &[
        NONE,
        one(1, "scope", Kind::Message(&SCOPE)),
        many("metrics", Kind::Message(&METRIC)),
        one(3, "schema_url", Kind::String),
    ],
};

static SCOPE_SPANS: Message = Message {
    fields: &[
        NONE,
        one(1, "scope", Kind::Message(&SCOPE)),
        many("spans", Kind::Message(&SPAN)).counted(),
        one(3, "schema_url", Kind::String),
    ],
};

pub(crate) static RESOURCE: Message = Message {
    fields: &[
        NONE,
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(2, "dropped_attributes_count", Kind::Varint(Number::U32)),
        many("entity_refs", Kind::Message(&ENTITY_REF)),
    ],
};

pub(crate) static ENTITY_REF: Message = Message {
    fields: &[
        NONE,
        one(1, "schema_url", Kind::String),
        one(2, "type", Kind::String),
        many("id_keys", Kind::String),
        many("description_keys", Kind::String),
    ],
};

pub(crate) static SCOPE: Message = Message {
    fields: &[
        NONE,
        one(1, "name", Kind::String),
        one(2, "version", Kind::String),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(4, "dropped_attributes_count", Kind::Varint(Number::U32)),
    ],
};

pub(crate) static KEY_VALUE: Message = Message {
    fields: &[
        NONE,
        one(1, "key", Kind::String),
        one(2, "value", Kind::Message(&ANY_VALUE)),
        one(3, "key_strindex", Kind::Varint(Number::I32)),
    ],
};

/// The number of `double_value` in [`ANY_VALUE`].
pub(crate) const DOUBLE_VALUE: u32 = 4;

pub(crate) static ANY_VALUE: Message = Message {
    fields: &[
        NONE,
        one(1, "string_value", Kind::String).member_of(ONEOF),
        one(2, "bool_value", Kind::Varint(Number::Bool)).member_of(ONEOF),
        one(3, "int_value", Kind::Varint(Number::I64)).member_of(ONEOF),
        one(4, "double_value", Kind::Fixed64(Number::Double)).member_of(ONEOF),
        one(5, "array_value", Kind::Message(&ARRAY_VALUE)).member_of(ONEOF),
        one(6, "kvlist_value", Kind::Message(&KEY_VALUE_LIST)).member_of(ONEOF),
        one(7, "bytes_value", Kind::Bytes).member_of(ONEOF),
        one(8, "string_value_strindex", Kind::Varint(Number::I32)).member_of(ONEOF),
    ],
};

static ARRAY_VALUE: Message = Message { fields: &[NONE, many("values", Kind::Message(&ANY_VALUE))] };

static KEY_VALUE_LIST: Message = Message { fields: &[NONE, many("values", Kind::Message(&KEY_VALUE))] };

static LOG_RECORD: Message = Message {
    fields: &[
        NONE,
        one(1, "time_unix_nano", Kind::Fixed64(Number::U64)),
        one(2, "severity_number", Kind::Varint(Number::I32)),
        one(3, "severity_text", Kind::String),
        NONE,
        one(5, "body", Kind::Message(&ANY_VALUE)),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(7, "dropped_attributes_count", Kind::Varint(Number::U32)),
        one(8, "flags", Kind::Fixed32),
        one(9, "trace_id", Kind::Id),
        one(10, "span_id", Kind::Id),
        one(11, "observed_time_unix_nano", Kind::Fixed64(Number::U64)),
        one(12, "event_name", Kind::String),
    ],
};

static SPAN: Message = Message {
    fields: &[
        NONE,
        one(1, "trace_id", Kind::Id),
        one(2, "span_id", Kind::Id),
        one(3, "trace_state", Kind::String),
        one(4, "parent_span_id", Kind::Id),
        one(5, "name", Kind::String),
        one(6, "kind", Kind::Varint(Number::I32)),
        one(7, "start_time_unix_nano", Kind::Fixed64(Number::U64)),
        one(8, "end_time_unix_nano", Kind::Fixed64(Number::U64)),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(10, "dropped_attributes_count", Kind::Varint(Number::U32)),
        many("events", Kind::Message(&EVENT)),
        one(12, "dropped_events_count", Kind::Varint(Number::U32)),
        many("links", Kind::Message(&LINK)),
        one(14, "dropped_links_count", Kind::Varint(Number::U32)),
        one(15, "status", Kind::Message(&STATUS)),
        one(16, "flags", Kind::Fixed32),
    ],
};

static EVENT: Message = Message {
    fields: &[
        NONE,
        one(1, "time_unix_nano", Kind::Fixed64(Number::U64)),
        one(2, "name", Kind::String),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(4, "dropped_attributes_count", Kind::Varint(Number::U32)),
    ],
};

pub(crate) static LINK: Message = Message {
    fields: &[
        NONE,
        one(1, "trace_id", Kind::Id),
        one(2, "span_id", Kind::Id),
        one(3, "trace_state", Kind::String),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(5, "dropped_attributes_count", Kind::Varint(Number::U32)),
        one(6, "flags", Kind::Fixed32),
    ],
};

pub(crate) static STATUS: Message =
    Message { fields: &[NONE, NONE, one(2, "message", Kind::String), one(3, "code", Kind::Varint(Number::I32))] };

static METRIC: Message = Message {
    fields: &[
        NONE,
        one(1, "name", Kind::String),
        one(2, "description", Kind::String),
        one(3, "unit", Kind::String),
        NONE,
        one(5, "gauge", Kind::Message(&GAUGE)).member_of(ONEOF),
        NONE,
        one(7, "sum", Kind::Message(&SUM)).member_of(ONEOF),
        NONE,
        one(9, "histogram", Kind::Message(&HISTOGRAM)).member_of(ONEOF),
        one(10, "exponential_histogram", Kind::Message(&EXPONENTIAL_HISTOGRAM)).member_of(ONEOF),
        one(11, "summary", Kind::Message(&SUMMARY)).member_of(ONEOF),
        many("metadata", Kind::Message(&KEY_VALUE)),
    ],
};

static GAUGE: Message = Message { fields: &[NONE, many("data_points", Kind::Message(&NUMBER_DATA_POINT)).counted()] };

static SUM: Message = Message {
    fields: &[
        NONE,
        many("data_points", Kind::Message(&NUMBER_DATA_POINT)).counted(),
        one(2, "aggregation_temporality", Kind::Varint(Number::I32)),
        one(3, "is_monotonic", Kind::Varint(Number::Bool)),
    ],
};

static HISTOGRAM: Message = Message {
    fields: &[
        NONE,
        many("data_points", Kind::Message(&HISTOGRAM_DATA_POINT)).counted(),
        one(2, "aggregation_temporality", Kind::Varint(Number::I32)),
    ],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    fields: &[
        NONE,
        many("data_points", Kind::Message(&EXPONENTIAL_HISTOGRAM_DATA_POINT)).counted(),
        one(2, "aggregation_temporality", Kind::Varint(Number::I32)),
    ],
};

static SUMMARY: Message =
    Message { fields: &[NONE, many("data_points", Kind::Message(&SUMMARY_DATA_POINT)).counted()] };

static NUMBER_DATA_POINT: Message = Message {
    fields: &[
        NONE,
        NONE,
        one(2, "start_time_unix_nano", Kind::Fixed64(Number::U64)),
        one(3, "time_unix_nano", Kind::Fixed64(Number::U64)),
        one(4, "as_double", Kind::Fixed64(Number::Double)).member_of(ONEOF),
        many("exemplars", Kind::Message(&EXEMPLAR)),
        one(6, "as_int", Kind::Fixed64(Number::I64)).member_of(ONEOF),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(8, "flags", Kind::Varint(Number::U32)),
    ],
};

static HISTOGRAM_DATA_POINT: Message = Message {
    fields: &[
        NONE,
        NONE,
        one(2, "start_time_unix_nano", Kind::Fixed64(Number::U64)),
        one(3, "time_unix_nano", Kind::Fixed64(Number::U64)),
        one(4, "count", Kind::Fixed64(Number::U64)),
        one(5, "sum", Kind::Fixed64(Number::Double)),
        many("bucket_counts", Kind::Fixed64s(Number::U64)),
        many("explicit_bounds", Kind::Fixed64s(Number::Double)),
        many("exemplars", Kind::Message(&EXEMPLAR)),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(10, "flags", Kind::Varint(Number::U32)),
        one(11, "min", Kind::Fixed64(Number::Double)),
        one(12, "max", Kind::Fixed64(Number::Double)),
    ],
};

static EXPONENTIAL_HISTOGRAM_DATA_POINT: Message = Message {
    fields: &[
        NONE,
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(2, "start_time_unix_nano", Kind::Fixed64(Number::U64)),
        one(3, "time_unix_nano", Kind::Fixed64(Number::U64)),
        one(4, "count", Kind::Fixed64(Number::U64)),
        one(5, "sum", Kind::Fixed64(Number::Double)),
        one(6, "scale", Kind::Varint(Number::Zigzag32)),
        one(7, "zero_count", Kind::Fixed64(Number::U64)),
        one(8, "positive", Kind::Message(&BUCKETS)),
        one(9, "negative", Kind::Message(&BUCKETS)),
        one(10, "flags", Kind::Varint(Number::U32)),
        many("exemplars", Kind::Message(&EXEMPLAR)),
        one(12, "min", Kind::Fixed64(Number::Double)),
        one(13, "max", Kind::Fixed64(Number::Double)),
        one(14, "zero_threshold", Kind::Fixed64(Number::Double)),
    ],
};

static BUCKETS: Message =
    Message { fields: &[NONE, one(1, "offset", Kind::Varint(Number::Zigzag32)), many("bucket_counts", Kind::Varints)] };

static SUMMARY_DATA_POINT: Message = Message {
    fields: &[
        NONE,
        NONE,
        one(2, "start_time_unix_nano", Kind::Fixed64(Number::U64)),
        one(3, "time_unix_nano", Kind::Fixed64(Number::U64)),
        one(4, "count", Kind::Fixed64(Number::U64)),
        one(5, "sum", Kind::Fixed64(Number::Double)),
        many("quantile_values", Kind::Message(&VALUE_AT_QUANTILE)),
        many("attributes", Kind::Message(&KEY_VALUE)),
        one(8, "flags", Kind::Varint(Number::U32)),
    ],
};

static VALUE_AT_QUANTILE: Message = Message {
    fields: &[NONE, one(1, "quantile", Kind::Fixed64(Number::Double)), one(2, "value", Kind::Fixed64(Number::Double))],
};

pub(crate) static EXEMPLAR: Message = Message {
    fields: &[
        NONE,
        NONE,
        one(2, "time_unix_nano", Kind::Fixed64(Number::U64)),
        one(3, "as_double", Kind::Fixed64(Number::Double)).member_of(ONEOF),
        one(4, "span_id", Kind::Id),
        one(5, "trace_id", Kind::Id),
        one(6, "as_int", Kind::Fixed64(Number::I64)).member_of(ONEOF),
        many("filtered_attributes", Kind::Message(&KEY_VALUE)),
    ],
};
