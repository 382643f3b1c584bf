//! Requests in which every field of every message has a value that is not its default, and their sparse counterparts.
//!
//! `key_strindex` and `string_value_strindex` stand empty: they point into a table that only profiles have.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data as MetricData;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::harness::{Data, Signal};

const TIME: u64 = 1_767_225_600_000_000_001;

/// All documents of a signal.
pub(crate) fn all(signal: Signal) -> Vec<Data> {
    match signal {
        Signal::Logs => vec![full_logs(), sparse_logs()],
        Signal::Metrics => vec![full_metrics(), sparse_metrics()],
        Signal::Traces => vec![full_traces(), sparse_traces()],
    }
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn attribute(key: &str, of: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value(of)), key_strindex: 0 }
}

/// An attribute of each kind, and keys and values that need care.
fn attributes() -> Vec<KeyValue> {
    let list = vec![
        value(Value::StringValue("a".into())),
        AnyValue { value: None },
        value(Value::ArrayValue(ArrayValue { values: vec![value(Value::BoolValue(true))] })),
        value(Value::KvlistValue(KeyValueList { values: vec![attribute("deep", Value::IntValue(-1))] })),
    ];
    let map = vec![
        attribute("text", Value::StringValue("v".into())),
        KeyValue { key: "unset".into(), value: Some(AnyValue { value: None }), key_strindex: 0 },
        attribute("list", Value::ArrayValue(ArrayValue { values: Vec::new() })),
        attribute("map", Value::KvlistValue(KeyValueList { values: Vec::new() })),
    ];
    vec![
        attribute("text", Value::StringValue("quoted \"text\" \\ \u{1}\t\r\n \u{e4}\u{1f600}\u{2028}".into())),
        attribute("empty", Value::StringValue(String::new())),
        attribute("boolean", Value::BoolValue(true)),
        attribute("false", Value::BoolValue(false)),
        attribute("least", Value::IntValue(i64::MIN)),
        attribute("greatest", Value::IntValue(i64::MAX)),
        attribute("zero", Value::IntValue(0)),
        attribute("double", Value::DoubleValue(0.1)),
        attribute("large", Value::DoubleValue(f64::MAX)),
        attribute("small", Value::DoubleValue(5e-324)),
        attribute("negative zero", Value::DoubleValue(-0.0)),
        attribute("bytes", Value::BytesValue((0..=255).collect())),
        attribute("no bytes", Value::BytesValue(Vec::new())),
        attribute("list", Value::ArrayValue(ArrayValue { values: list })),
        attribute("map", Value::KvlistValue(KeyValueList { values: map })),
        KeyValue { key: "unset".into(), value: Some(AnyValue { value: None }), key_strindex: 0 },
        attribute("", Value::StringValue("an empty key".into())),
        attribute("text", Value::StringValue("a key again".into())),
    ]
}

fn resource() -> Option<Resource> {
    let entity_ref = EntityRef {
        schema_url: "https://opentelemetry.io/schemas/1.37.0".into(),
        r#type: "service".into(),
        id_keys: vec!["service.name".into(), "service.instance.id".into()],
        description_keys: vec!["service.version".into()],
    };
    Some(Resource { attributes: attributes(), dropped_attributes_count: 1, entity_refs: vec![entity_ref] })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "library".into(),
        version: "1.2.3".into(),
        attributes: attributes(),
        dropped_attributes_count: u32::MAX,
    })
}

fn trace_id() -> Vec<u8> {
    (0xa0..0xb0).collect()
}

fn span_id() -> Vec<u8> {
    (0xc8..0xd0).collect()
}

fn full_logs() -> Data {
    let record = |body| LogRecord {
        time_unix_nano: TIME,
        observed_time_unix_nano: u64::MAX,
        severity_number: 17,
        severity_text: "ERROR".into(),
        body,
        attributes: attributes(),
        dropped_attributes_count: 3,
        flags: 0x0000_0101,
        trace_id: trace_id(),
        span_id: span_id(),
        event_name: "cart.abandoned".into(),
    };
    let bodies = attributes().into_iter().map(|attribute| attribute.value).chain([None]);
    let scope_logs =
        vec![ScopeLogs { scope: scope(), log_records: bodies.map(record).collect(), schema_url: "scope/1".into() }];
    let entry = ResourceLogs { resource: resource(), scope_logs, schema_url: "resource/1".into() };
    Data::Logs(ExportLogsServiceRequest { resource_logs: vec![entry.clone(), entry] })
}

fn sparse_logs() -> Data {
    let scope = ScopeLogs { log_records: vec![LogRecord::default(); 2], ..ScopeLogs::default() };
    let empty = ScopeLogs { schema_url: "no records".into(), ..ScopeLogs::default() };
    let entry = ResourceLogs { scope_logs: vec![scope, empty], ..ResourceLogs::default() };
    Data::Logs(ExportLogsServiceRequest { resource_logs: vec![entry] })
}

fn full_traces() -> Data {
    let event =
        Event { time_unix_nano: TIME, name: "exception".into(), attributes: attributes(), dropped_attributes_count: 4 };
    let link = Link {
        trace_id: trace_id(),
        span_id: span_id(),
        trace_state: "ot=th:0".into(),
        attributes: attributes(),
        dropped_attributes_count: 5,
        flags: 0x300,
    };
    let span = |kind, code| Span {
        trace_id: trace_id(),
        span_id: span_id(),
        trace_state: "vendor=value,ot=th:c".into(),
        parent_span_id: span_id(),
        flags: 0x101,
        name: "GET /cart/{id}".into(),
        kind,
        start_time_unix_nano: TIME,
        end_time_unix_nano: TIME + 1,
        attributes: attributes(),
        dropped_attributes_count: 6,
        events: vec![event.clone(), event.clone()],
        dropped_events_count: 7,
        links: vec![link.clone(), link.clone()],
        dropped_links_count: 8,
        status: Some(Status { message: "cancelled".into(), code }),
    };
    let spans = (1..=5).map(|kind| span(kind, kind % 3)).collect();
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, schema_url: "scope/2".into() }];
    let entry = ResourceSpans { resource: resource(), scope_spans, schema_url: "resource/2".into() };
    Data::Traces(ExportTraceServiceRequest { resource_spans: vec![entry.clone(), entry] })
}

fn sparse_traces() -> Data {
    let with_sparse = Span {
        events: vec![Event::default()],
        links: vec![Link::default()],
        status: Some(Status::default()),
        ..Span::default()
    };
    let scope = ScopeSpans { spans: vec![Span::default(), with_sparse], ..ScopeSpans::default() };
    let entry = ResourceSpans { scope_spans: vec![scope, ScopeSpans::default()], ..ResourceSpans::default() };
    Data::Traces(ExportTraceServiceRequest { resource_spans: vec![entry] })
}

fn full_metrics() -> Data {
    let metrics = vec![
        metric(MetricData::Gauge(Gauge { data_points: number_points() })),
        metric(MetricData::Sum(Sum { data_points: number_points(), aggregation_temporality: 2, is_monotonic: true })),
        metric(MetricData::Sum(Sum { data_points: number_points(), aggregation_temporality: 1, is_monotonic: false })),
        metric(MetricData::Histogram(Histogram { data_points: vec![histogram_point()], aggregation_temporality: 2 })),
        metric(MetricData::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential_point()],
            aggregation_temporality: 1,
        })),
        metric(MetricData::Summary(Summary { data_points: vec![summary_point()] })),
    ];
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, schema_url: "scope/3".into() }];
    let entry = ResourceMetrics { resource: resource(), scope_metrics, schema_url: "resource/3".into() };
    Data::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![entry.clone(), entry] })
}

fn metric(data: MetricData) -> Metric {
    Metric {
        name: "http.server.request.duration".into(),
        description: "How long it took".into(),
        unit: "s".into(),
        metadata: attributes(),
        data: Some(data),
    }
}

fn exemplars() -> Vec<Exemplar> {
    let of = |value| Exemplar {
        filtered_attributes: attributes(),
        time_unix_nano: TIME,
        span_id: span_id(),
        trace_id: trace_id(),
        value: Some(value),
    };
    vec![of(exemplar::Value::AsInt(i64::MIN)), of(exemplar::Value::AsDouble(0.25))]
}

fn number_points() -> Vec<NumberDataPoint> {
    let of = |value| NumberDataPoint {
        attributes: attributes(),
        start_time_unix_nano: TIME,
        time_unix_nano: TIME + 1,
        exemplars: exemplars(),
        flags: 1,
        value,
    };
    let integers = [i64::MIN, -1, 0, i64::MAX].map(number_data_point::Value::AsInt);
    let doubles = [-0.0, 0.1, f64::MAX].map(number_data_point::Value::AsDouble);
    integers.into_iter().chain(doubles).map(Some).chain([None]).map(of).collect()
}

fn histogram_point() -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: TIME,
        time_unix_nano: TIME + 1,
        count: u64::MAX,
        sum: Some(-0.5),
        bucket_counts: vec![0, 1, u64::MAX],
        explicit_bounds: vec![-1.5, 1e300],
        exemplars: exemplars(),
        flags: u32::MAX,
        min: Some(-2.0),
        max: Some(1e301),
    }
}

fn exponential_point() -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: TIME,
        time_unix_nano: TIME + 1,
        count: 9,
        sum: Some(0.0),
        scale: i32::MIN,
        zero_count: u64::MAX,
        positive: Some(Buckets { offset: i32::MAX, bucket_counts: vec![0, 300, u64::MAX] }),
        negative: Some(Buckets { offset: i32::MIN, bucket_counts: vec![1] }),
        flags: 1,
        exemplars: exemplars(),
        min: Some(0.0),
        max: Some(7.5),
        zero_threshold: 1e-9,
    }
}

fn summary_point() -> SummaryDataPoint {
    let quantiles = [(0.0, 1.0), (0.5, -3.5), (1.0, 1e308)];
    SummaryDataPoint {
        attributes: attributes(),
        start_time_unix_nano: TIME,
        time_unix_nano: TIME + 1,
        count: 10,
        sum: 15.25,
        quantile_values: quantiles.map(|(quantile, value)| ValueAtQuantile { quantile, value }).into(),
        flags: 1,
    }
}

fn sparse_metrics() -> Data {
    let of = |data| Metric { data: Some(data), ..Metric::default() };
    let exponential = ExponentialHistogramDataPoint {
        positive: Some(Buckets::default()),
        ..ExponentialHistogramDataPoint::default()
    };
    let quantiles = vec![ValueAtQuantile::default()];
    let metrics = vec![
        of(MetricData::Gauge(Gauge { data_points: vec![NumberDataPoint::default()] })),
        of(MetricData::Sum(Sum { data_points: vec![NumberDataPoint::default()], ..Sum::default() })),
        of(MetricData::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                exemplars: vec![Exemplar::default()],
                ..HistogramDataPoint::default()
            }],
            ..Histogram::default()
        })),
        of(MetricData::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            ..ExponentialHistogram::default()
        })),
        of(MetricData::Summary(Summary {
            data_points: vec![SummaryDataPoint { quantile_values: quantiles, ..SummaryDataPoint::default() }],
        })),
        // Neither of the two has a point; both stand beside some that have.
        of(MetricData::Gauge(Gauge::default())),
        Metric { name: "no data".into(), ..Metric::default() },
    ];
    let scope = ScopeMetrics { metrics, ..ScopeMetrics::default() };
    let entry = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    Data::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![entry] })
}
