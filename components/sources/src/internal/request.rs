//! The engine's own metrics, log records and spans as export requests.

use engine_config::sources::internal::LogLevel;
use engine_core::self_telemetry::{Identity, OwnField, OwnLog, OwnMetric, OwnPoint, OwnValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

/// The instrumentation scope of every record of this source.
const SCOPE: &str = "telemetry-engine/internal";

/// The field of `ExportTraceServiceRequest` and that of `ResourceSpans` that are written here.
const RESOURCE_SPANS: u32 = 1;
const SCOPE_SPANS: u32 = 2;

/// How the names of counters end in Prometheus' text and nowhere else.
const TOTAL: &str = "_total";

/// A reading of all metrics.
pub(super) fn metrics(identity: &Identity, metrics: Vec<OwnMetric>, now: u64) -> ExportMetricsServiceRequest {
    let metrics = metrics.into_iter().map(|metric| one_metric(metric, identity.started_unix_nanos, now)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let resource = Some(resource(identity));
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// Events of the log.
pub(super) fn logs(identity: &Identity, events: Vec<OwnLog>) -> ExportLogsServiceRequest {
    let log_records = events.into_iter().map(one_record).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
    let resource = Some(resource(identity));
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] }
}

/// Spans, each with its key and length already: they are put behind what `ResourceSpans` and `ScopeSpans` have besides.
pub(super) fn traces(identity: &Identity, spans: &[Vec<u8>]) -> Vec<u8> {
    let mut scope_spans = ScopeSpans { scope: Some(scope()), ..ScopeSpans::default() }.encode_to_vec();
    scope_spans.extend(spans.iter().flatten());
    let mut resource_spans =
        ResourceSpans { resource: Some(resource(identity)), ..ResourceSpans::default() }.encode_to_vec();
    field(SCOPE_SPANS, &scope_spans, &mut resource_spans);
    let mut request = Vec::with_capacity(resource_spans.len() + 8);
    field(RESOURCE_SPANS, &resource_spans, &mut request);
    request
}

fn field(tag: u32, message: &[u8], buffer: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(message.len() as u64, buffer);
    buffer.extend_from_slice(message);
}

fn one_metric(metric: OwnMetric, started: u64, now: u64) -> Metric {
    let OwnMetric { name, description, unit, points } = metric;
    let counter = name.strip_suffix(TOTAL);
    let start = if counter.is_some() { started } else { 0 };
    let data_points = points.into_iter().map(|point| one_point(point, start, now)).collect();
    let data = match counter {
        Some(_) => Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        None => Data::Gauge(Gauge { data_points }),
    };
    Metric {
        name: counter.unwrap_or(name).to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn one_point(point: OwnPoint, start_time_unix_nano: u64, time_unix_nano: u64) -> NumberDataPoint {
    let value = match point.value {
        OwnValue::Count(count) => number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
        OwnValue::Double(number) => number_data_point::Value::AsDouble(number),
    };
    // An empty label is none in Prometheus; here it would be one.
    let attributes = point.attributes.into_iter().filter(|(_, value)| !value.is_empty());
    NumberDataPoint {
        attributes: attributes.map(|(key, value)| text(key, value)).collect(),
        start_time_unix_nano,
        time_unix_nano,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn one_record(event: OwnLog) -> LogRecord {
    let OwnLog { unix_nanos, level, target, message, fields } = event;
    let (number, name) = match level {
        LogLevel::Error => (SeverityNumber::Error, "ERROR"),
        LogLevel::Warn => (SeverityNumber::Warn, "WARN"),
        LogLevel::Info => (SeverityNumber::Info, "INFO"),
        LogLevel::Debug => (SeverityNumber::Debug, "DEBUG"),
        LogLevel::Trace => (SeverityNumber::Trace, "TRACE"),
    };
    let fields = fields.into_iter().map(|(key, field)| attribute(key, of_field(field)));
    LogRecord {
        time_unix_nano: unix_nanos,
        observed_time_unix_nano: unix_nanos,
        severity_number: number.into(),
        severity_text: name.to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(message)) }),
        attributes: std::iter::once(text("code.namespace", target)).chain(fields).collect(),
        ..LogRecord::default()
    }
}

fn of_field(field: OwnField) -> any_value::Value {
    match field {
        OwnField::Text(text) => any_value::Value::StringValue(text),
        OwnField::Int(number) => any_value::Value::IntValue(number),
        OwnField::Double(number) => any_value::Value::DoubleValue(number),
        OwnField::Bool(flag) => any_value::Value::BoolValue(flag),
    }
}

fn resource(identity: &Identity) -> Resource {
    let attributes = identity.attributes.iter().map(|(key, value)| text(key, value.as_str())).collect();
    Resource { attributes, ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    let (name, version) = (SCOPE.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version, ..InstrumentationScope::default() }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.into()))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
