//! The fast checker against the reference checker, record by record. Whole requests are the matter of
//! `tests/properties.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Gauge, Histogram, HistogramDataPoint, Metric};
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, Sum, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message as _;

use super::check::{Checker, State};
use super::{RECORD_DEPTH, fast, usual};
use crate::protobuf::Fields;
use crate::schema::{self, Message};

type Fast = fn(&mut Checker<'_>, &[u8], usize, usize, u32) -> Option<u64>;

/// The fast checker of a message, its table, and how many records the message is on its own.
type Kind = (Fast, &'static Message, u64);

fn kinds() -> [(Kind, Vec<u8>); 8] {
    let log: Fast = |checker, body, at, end, depth| {
        let usual = usual::log_record(body, at, end).filter(|()| !checker.state.exact);
        usual.or_else(|| fast::log_record(checker, body, at, end, depth)).map(|()| 1)
    };
    let span: Fast = |checker, body, at, end, depth| {
        let usual = usual::span(body, at, end).filter(|()| !checker.state.exact);
        usual.or_else(|| fast::span(checker, body, at, end, depth)).map(|()| 1)
    };
    let resource: Fast = |checker, body, at, end, depth| fast::resource(checker, body, at, end, depth).map(|()| 0);
    let scope: Fast = |checker, body, at, end, depth| fast::scope(checker, body, at, end, depth).map(|()| 0);
    [
        ((scope, &schema::SCOPE, 0), a_scope()),
        ((log, schema::record(crate::Signal::Logs), 1), log_record()),
        ((log, schema::record(crate::Signal::Logs), 1), usual_log_record()),
        ((span, schema::record(crate::Signal::Traces), 1), a_span()),
        ((span, schema::record(crate::Signal::Traces), 1), usual_span()),
        ((fast::metric, schema::record(crate::Signal::Metrics), 0), usual_metric()),
        ((fast::metric, schema::record(crate::Signal::Metrics), 0), a_metric()),
        (
            (resource, &schema::RESOURCE, 0),
            Resource { attributes: attributes(), ..Resource::default() }.encode_to_vec(),
        ),
    ]
}

fn attributes() -> Vec<KeyValue> {
    let values = [
        Value::StringValue("GET".to_owned()),
        Value::StringValue("né".to_owned()),
        Value::StringValue("x".repeat(300)),
        Value::StringValue("grüße, 世界 🦀".repeat(7)),
        Value::StringValue(String::new()),
        Value::IntValue(7),
        Value::IntValue(200),
        Value::IntValue(-1),
        Value::BoolValue(true),
        Value::DoubleValue(-1.5),
        Value::BytesValue(vec![0xff; 9]),
    ];
    let attribute = |(index, value): (usize, Value)| KeyValue {
        key: "k".repeat(1 + index * 17),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    };
    values.into_iter().enumerate().map(attribute).collect()
}

fn a_scope() -> Vec<u8> {
    let (name, version) = ("library".to_owned(), "1.0".to_owned());
    InstrumentationScope { name, version, attributes: attributes(), dropped_attributes_count: 1 }.encode_to_vec()
}

fn usual_attributes() -> Vec<KeyValue> {
    let values = [
        Value::StringValue("GET".to_owned()),
        Value::StringValue(String::new()),
        Value::StringValue("x".repeat(90)),
        Value::StringValue("x".repeat(125)),
        Value::StringValue("x".repeat(300)),
        Value::IntValue(0),
        Value::IntValue(127),
        Value::IntValue(200),
        Value::IntValue(16_384),
        Value::IntValue(-1),
        Value::BoolValue(true),
        Value::DoubleValue(-1.5),
    ];
    let attribute = |(index, value): (usize, Value)| KeyValue {
        key: "k".repeat(1 + index * 13),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    };
    values.into_iter().enumerate().map(attribute).collect()
}

fn usual_log_record() -> Vec<u8> {
    LogRecord {
        time_unix_nano: 1 << 63,
        observed_time_unix_nano: u64::MAX,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue("b".repeat(120))) }),
        attributes: usual_attributes(),
        flags: 1,
        trace_id: vec![0xee; 16],
        span_id: vec![0xdd; 8],
        ..LogRecord::default()
    }
    .encode_to_vec()
}

fn usual_span() -> Vec<u8> {
    Span {
        trace_id: vec![0xee; 16],
        span_id: vec![0xdd; 8],
        parent_span_id: vec![0xcc; 8],
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: u64::MAX,
        end_time_unix_nano: u64::MAX,
        attributes: usual_attributes(),
        status: Some(Status { message: String::new(), code: 2 }),
        flags: 0x101,
        ..Span::default()
    }
    .encode_to_vec()
}

fn usual_points() -> (NumberDataPoint, HistogramDataPoint) {
    let number = NumberDataPoint {
        attributes: usual_attributes(),
        start_time_unix_nano: u64::MAX,
        time_unix_nano: u64::MAX,
        value: Some(number_data_point::Value::AsInt(-1)),
        ..NumberDataPoint::default()
    };
    let histogram = HistogramDataPoint {
        attributes: usual_attributes(),
        start_time_unix_nano: u64::MAX,
        time_unix_nano: u64::MAX,
        count: 3,
        sum: Some(-1.0),
        bucket_counts: vec![u64::MAX; 17],
        explicit_bounds: vec![-1.0; 3],
        min: Some(-1.0),
        max: Some(-1.0),
        ..HistogramDataPoint::default()
    };
    (number, histogram)
}

fn usual_metric() -> Vec<u8> {
    let sum = Sum { data_points: vec![usual_points().0; 2], aggregation_temporality: 2, is_monotonic: true };
    let data = Some(Data::Sum(sum));
    Metric { name: "name".to_owned(), unit: "s".to_owned(), data, ..Metric::default() }.encode_to_vec()
}

/// What clients send mostly needs the cheapest check only, with bodies of any length.
#[test]
fn usual_records_are_recognised() {
    type Usual = fn(&[u8], usize, usize) -> Option<()>;
    let accepts = |usual: Usual, record: &[u8]| {
        let body = [record, &[0; 600]].concat();
        usual(&body, 0, record.len()).is_some()
    };
    let (number, histogram) = usual_points();
    assert!(accepts(usual::log_record, &usual_log_record()));
    assert!(accepts(usual::span, &usual_span()));
    assert!(accepts(usual::number_point, &number.encode_to_vec()));
    assert!(accepts(usual::histogram_point, &histogram.encode_to_vec()));
    for len in [0, 1, 124, 125, 126, 127, 128, 200, 16_383 - 3] {
        let body = Some(AnyValue { value: Some(Value::StringValue("b".repeat(len))) });
        assert!(accepts(usual::log_record, &LogRecord { body, ..LogRecord::default() }.encode_to_vec()), "{len}");
    }
}

fn log_record() -> Vec<u8> {
    LogRecord {
        time_unix_nano: 1 << 63,
        observed_time_unix_nano: u64::MAX,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue("b".repeat(200))) }),
        attributes: attributes(),
        dropped_attributes_count: 300,
        flags: 1,
        trace_id: vec![0xee; 16],
        span_id: vec![0xdd; 8],
        event_name: "event".to_owned(),
    }
    .encode_to_vec()
}

fn a_span() -> Vec<u8> {
    Span {
        trace_id: vec![0xee; 16],
        span_id: vec![0xdd; 8],
        parent_span_id: vec![0xcc; 8],
        trace_state: "a=b".to_owned(),
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: u64::MAX,
        end_time_unix_nano: u64::MAX,
        attributes: attributes(),
        events: vec![
            Event {
                time_unix_nano: u64::MAX,
                name: "event".to_owned(),
                attributes: attributes(),
                ..Event::default()
            };
            2
        ],
        links: vec![Link { trace_id: vec![0xee; 16], attributes: attributes(), ..Link::default() }],
        status: Some(Status { message: "no".to_owned(), code: 2 }),
        flags: 0x101,
        ..Span::default()
    }
    .encode_to_vec()
}

fn a_metric() -> Vec<u8> {
    let metric = |data| Metric { name: "name".to_owned(), unit: "s".to_owned(), data: Some(data), ..Metric::default() };
    let exemplars = vec![Exemplar { filtered_attributes: attributes(), span_id: vec![1; 8], ..Exemplar::default() }];
    let number = NumberDataPoint {
        attributes: attributes(),
        time_unix_nano: u64::MAX,
        exemplars: exemplars.clone(),
        value: Some(number_data_point::Value::AsInt(-1)),
        ..NumberDataPoint::default()
    };
    let gauge = metric(Data::Gauge(Gauge { data_points: vec![number.clone()] })).encode_to_vec();
    let sum = Sum { data_points: vec![number; 2], aggregation_temporality: 2, is_monotonic: true };
    let histogram = Histogram {
        data_points: vec![HistogramDataPoint {
            attributes: attributes(),
            bucket_counts: vec![u64::MAX; 3],
            explicit_bounds: vec![-1.0; 2],
            exemplars,
            min: Some(-1.0),
            ..HistogramDataPoint::default()
        }],
        aggregation_temporality: 1,
    };
    assert!(fast_of(fast::metric, &gauge).is_some());
    assert!(fast_of(fast::metric, &metric(Data::Histogram(histogram)).encode_to_vec()).is_some());
    metric(Data::Sum(sum)).encode_to_vec()
}

/// The judgement for ASCII or else the exact one; what the first accepts the second accepts too. What follows behind the
/// message makes no difference: nothing, nothing that could be a field, or more of the message's own fields.
fn fast_of(fast: Fast, message: &[u8]) -> Option<u64> {
    let followed_by = |tail: &[u8]| {
        let body = [message, tail].concat();
        let run = |state| fast(&mut Checker::new(&body, state), &body, 0, message.len(), RECORD_DEPTH);
        let exact = run(State { exact: true, ..State::default() });
        if let Some(records) = run(State::default()) {
            assert_eq!(exact, Some(records), "{message:02x?}");
        }
        exact
    };
    let alone = followed_by(&[]);
    let attribute = Fields::new(message).find(|field| field.raw.len() > 3).map_or(vec![0], |field| field.raw.to_vec());
    for tail in [vec![0; 300], vec![0xff; 300], attribute.repeat(20)] {
        assert_eq!(followed_by(&tail), alone, "{message:02x?}");
    }
    alone
}

/// Messages as clients write them never need the reference checker, in whatever order their fields come.
#[test]
fn ordinary_messages_are_checked_fast() {
    for ((fast, _, _), message) in kinds() {
        assert!(fast_of(fast, &message).is_some());
        let reversed: Vec<u8> =
            Fields::new(&message).collect::<Vec<_>>().iter().rev().flat_map(|field| field.raw.to_vec()).collect();
        assert!(fast_of(fast, &reversed).is_some());
    }
}

/// A singular field that occurs twice is left to the reference checker, which notes it.
#[test]
fn repeated_fields_are_not_overlooked() {
    for ((fast, table, _), message) in kinds() {
        for field in Fields::new(&message) {
            if table.field(field.number).unwrap().is_repeated() {
                continue;
            }
            // Once more behind each of the fields.
            let mut at = 0;
            for before in Fields::new(&message) {
                at += before.raw.len();
                let twice = [&message[..at], field.raw, &message[at..]].concat();
                assert!(fast_of(fast, &twice).is_none(), "field {} behind {}", field.number, before.number);
            }
        }
    }
}

/// What the fast checker accepts, the reference checker accepts, with the same count; on thirty-two
/// thousand messages with a byte or two changed, removed or inserted.
#[test]
fn the_fast_checker_accepts_nothing_else() {
    let mut seed = 1_u64;
    let mut random = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % bound
    };
    let (mut accepted, mut refused) = (0, 0);
    for ((fast, table, own), message) in kinds() {
        for _ in 0..4_000 {
            let mut changed = message.clone();
            for _ in 0..=random(2) {
                let at = random(changed.len());
                match random(5) {
                    0 => changed[at] ^= 1 << random(8),
                    1 => changed[at] = random(256) as u8,
                    2 => changed[at] = changed[at].wrapping_add(1),
                    3 => changed.insert(at, random(256) as u8),
                    _ => drop(changed.remove(at)),
                }
            }
            let mut reference = Checker::new(&changed, State::default());
            let sound = reference.message(table, 0, changed.len(), RECORD_DEPTH).is_some();
            match fast_of(fast, &changed) {
                Some(records) => {
                    accepted += 1;
                    assert!(sound, "{:?} in {changed:02x?}", reference.fault);
                    assert_eq!(records, reference.state.records + own);
                }
                None => refused += usize::from(!sound),
            }
        }
    }
    assert!(accepted > 5000 && refused > 5000, "{accepted} accepted, {refused} refused");
}

/// A length of one byte is none of two, whatever follows it: what is left of the body's value would not be what prost
/// reads.
#[test]
fn a_length_of_one_byte_is_not_read_as_two() {
    let one_byte_high = [0x2a, 0x05, 0x00, 0x0a, 0x03, 0x80, b'a', b'b'];
    let two_bytes_high = [0x2a, 0x05, 0x00, 0x0a, 0x82, 0x00, 0xff, b'b'];
    for record in [one_byte_high, two_bytes_high] {
        assert!(LogRecord::decode(&record[..]).is_err());
        let body = [&record[..], &[0; 600]].concat();
        assert!(usual::log_record(&body, 0, record.len()).is_none(), "{record:02x?}");
    }
}
