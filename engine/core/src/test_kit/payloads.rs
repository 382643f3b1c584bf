//! Small real payloads: every record is told apart by its number.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use otlp::{Decoded, Payload, Wire};

/// A resource with these text attributes.
fn resource(attributes: &[(&str, &str)]) -> Resource {
    let attribute = |(key, text): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue((*text).to_owned())) }),
        ..KeyValue::default()
    };
    Resource { attributes: attributes.iter().map(attribute).collect(), ..Resource::default() }
}

/// One resource with a log record for each number.
pub fn logs(attributes: &[(&str, &str)], numbers: impl IntoIterator<Item = u64>) -> Payload {
    let record = |number: u64| LogRecord {
        time_unix_nano: number,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(format!("record {number}"))) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: numbers.into_iter().map(record).collect(), ..ScopeLogs::default() };
    let entry =
        ResourceLogs { resource: Some(resource(attributes)), scope_logs: vec![scope], ..ResourceLogs::default() };
    encoded(Decoded::Logs(ExportLogsServiceRequest { resource_logs: vec![entry] }))
}

/// One log record as structs, whose body is a list in a list, so many levels deep. Beyond 95 or so nobody could decode it
/// again, and it cannot be encoded.
pub fn nested_logs(levels: usize) -> Payload {
    let one = |value| AnyValue { value: Some(value) };
    let list = |inner, _| one(any_value::Value::ArrayValue(ArrayValue { values: vec![inner] }));
    let body = (0..levels).fold(one(any_value::Value::BoolValue(true)), list);
    let record = LogRecord { body: Some(body), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    let entry = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    Decoded::Logs(ExportLogsServiceRequest { resource_logs: vec![entry] }).into()
}

/// One resource with a span for each number.
pub fn traces(attributes: &[(&str, &str)], numbers: impl IntoIterator<Item = u64>) -> Payload {
    let span = |number: u64| Span {
        trace_id: vec![7; 16],
        span_id: number.to_be_bytes().to_vec(),
        name: format!("span {number}"),
        start_time_unix_nano: number,
        ..Span::default()
    };
    let scope = ScopeSpans { spans: numbers.into_iter().map(span).collect(), ..ScopeSpans::default() };
    let entry =
        ResourceSpans { resource: Some(resource(attributes)), scope_spans: vec![scope], ..ResourceSpans::default() };
    encoded(Decoded::Traces(ExportTraceServiceRequest { resource_spans: vec![entry] }))
}

/// One resource with one gauge that has a point for each number.
pub fn metrics(attributes: &[(&str, &str)], numbers: impl IntoIterator<Item = u64>) -> Payload {
    let point = |number: u64| NumberDataPoint {
        time_unix_nano: number,
        value: Some(number_data_point::Value::AsInt(i64::try_from(number).expect("test numbers are small"))),
        ..NumberDataPoint::default()
    };
    let gauge = Gauge { data_points: numbers.into_iter().map(point).collect() };
    let metric = Metric { name: "test.gauge".to_owned(), data: Some(metric::Data::Gauge(gauge)), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let entry = ResourceMetrics {
        resource: Some(resource(attributes)),
        scope_metrics: vec![scope],
        ..ResourceMetrics::default()
    };
    encoded(Decoded::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![entry] }))
}

/// The payload's bytes.
pub fn wire(payload: &Payload) -> Wire {
    payload.clone().into_wire().expect("a test payload can be encoded")
}

/// The numbers of the records of a payload made here, in order.
pub fn records_of(payload: &Payload) -> Vec<u64> {
    match wire(payload).decode() {
        Decoded::Logs(request) => {
            let scopes = request.resource_logs.into_iter().flat_map(|entry| entry.scope_logs);
            scopes.flat_map(|scope| scope.log_records).map(|record| record.time_unix_nano).collect()
        }
        Decoded::Traces(request) => {
            let scopes = request.resource_spans.into_iter().flat_map(|entry| entry.scope_spans);
            scopes.flat_map(|scope| scope.spans).map(|span| span.start_time_unix_nano).collect()
        }
        Decoded::Metrics(request) => {
            let scopes = request.resource_metrics.into_iter().flat_map(|entry| entry.scope_metrics);
            let gauges = scopes.flat_map(|scope| scope.metrics).filter_map(|metric| match metric.data {
                Some(metric::Data::Gauge(gauge)) => Some(gauge.data_points),
                _ => None,
            });
            gauges.flatten().map(|point| point.time_unix_nano).collect()
        }
    }
}

fn encoded(decoded: Decoded) -> Payload {
    Payload::Wire(decoded.encode().expect("a test payload can be encoded"))
}
