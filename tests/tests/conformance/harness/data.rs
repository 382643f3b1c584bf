//! The requests of the three signals as opentelemetry-proto decodes them: the judge of what arrived.
//!
//! The engine's own reading and writing of OTLP is not used here, so that it cannot agree with itself.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data as MetricData;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

pub(crate) use otlp::Signal;

/// An `Export*ServiceRequest`.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Traces(ExportTraceServiceRequest),
}

impl Data {
    /// A request of `count` records, told apart by their times.
    pub(crate) fn of(signal: Signal, count: u64) -> Self {
        Self::padded(signal, count, 0)
    }

    /// The same with a resource attribute of `padding` bytes.
    pub(crate) fn padded(signal: Signal, count: u64, padding: usize) -> Self {
        let attributes = vec![text("service.name", "shop"), text("padding", &"p".repeat(padding))];
        let resource = Some(Resource { attributes, ..Resource::default() });
        let times = 1..=count;
        match signal {
            Signal::Logs => {
                let body = Some(AnyValue { value: Some(Value::StringValue("a line of a log".into())) });
                let record = |time_unix_nano| LogRecord { time_unix_nano, body: body.clone(), ..LogRecord::default() };
                let scope = ScopeLogs { log_records: times.map(record).collect(), ..ScopeLogs::default() };
                let entry = ResourceLogs { resource, scope_logs: vec![scope], ..ResourceLogs::default() };
                Self::Logs(ExportLogsServiceRequest { resource_logs: vec![entry] })
            }
            Signal::Metrics => {
                let value = Some(number_data_point::Value::AsInt(7));
                let point = |time_unix_nano| NumberDataPoint { time_unix_nano, value, ..NumberDataPoint::default() };
                let data = Some(MetricData::Gauge(Gauge { data_points: times.map(point).collect() }));
                let metric = Metric { name: "items".into(), data, ..Metric::default() };
                let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
                let entry = ResourceMetrics { resource, scope_metrics: vec![scope], ..ResourceMetrics::default() };
                Self::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![entry] })
            }
            Signal::Traces => {
                let span = |start_time_unix_nano| Span {
                    trace_id: vec![1; 16],
                    span_id: vec![2; 8],
                    name: "checkout".into(),
                    start_time_unix_nano,
                    ..Span::default()
                };
                let scope = ScopeSpans { spans: times.map(span).collect(), ..ScopeSpans::default() };
                let entry = ResourceSpans { resource, scope_spans: vec![scope], ..ResourceSpans::default() };
                Self::Traces(ExportTraceServiceRequest { resource_spans: vec![entry] })
            }
        }
    }

    /// A request of one record that is `size` bytes long as `transport` encodes it.
    pub(crate) fn sized(signal: Signal, size: usize, encode: impl Fn(&Self) -> Vec<u8>) -> Self {
        let mut padding = size / 2;
        loop {
            let data = Self::padded(signal, 1, padding);
            let length = encode(&data).len();
            if length == size {
                return data;
            }
            padding = padding + size - length;
        }
    }

    /// Reads protobuf.
    pub(crate) fn decode(signal: Signal, bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        Ok(match signal {
            Signal::Logs => Self::Logs(ExportLogsServiceRequest::decode(bytes)?),
            Signal::Metrics => Self::Metrics(ExportMetricsServiceRequest::decode(bytes)?),
            Signal::Traces => Self::Traces(ExportTraceServiceRequest::decode(bytes)?),
        })
    }

    /// Reads JSON with the serde of opentelemetry-proto, which insists on lists and keys that may be left out
    /// when they are empty.
    pub(crate) fn from_json(signal: Signal, json: &[u8]) -> Self {
        fn read<T: serde::de::DeserializeOwned>(document: &serde_json::Value) -> T {
            T::deserialize(document).unwrap_or_else(|error| panic!("{error}: {document}"))
        }
        let mut document =
            serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)));
        add_empty_fields(&mut document);
        match signal {
            Signal::Logs => Self::Logs(read(&document)),
            Signal::Metrics => Self::Metrics(read(&document)),
            Signal::Traces => Self::Traces(read(&document)),
        }
    }

    pub(crate) fn signal(&self) -> Signal {
        match self {
            Self::Logs(_) => Signal::Logs,
            Self::Metrics(_) => Signal::Metrics,
            Self::Traces(_) => Signal::Traces,
        }
    }

    /// As protobuf.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
            Self::Traces(request) => request.encode_to_vec(),
        }
    }

    /// As JSON, by the serde of opentelemetry-proto.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let json = match self {
            Self::Logs(request) => serde_json::to_vec(request),
            Self::Metrics(request) => serde_json::to_vec(request),
            Self::Traces(request) => serde_json::to_vec(request),
        };
        json.unwrap()
    }

    /// Log records, data points or spans.
    pub(crate) fn records(&self) -> u64 {
        self.times().len() as u64
    }

    /// The time of every record, in order.
    pub(crate) fn times(&self) -> Vec<u64> {
        match self {
            Self::Logs(request) => {
                let scopes = request.resource_logs.iter().flat_map(|entry| &entry.scope_logs);
                scopes.flat_map(|scope| &scope.log_records).map(|record| record.time_unix_nano).collect()
            }
            Self::Traces(request) => {
                let scopes = request.resource_spans.iter().flat_map(|entry| &entry.scope_spans);
                scopes.flat_map(|scope| &scope.spans).map(|span| span.start_time_unix_nano).collect()
            }
            Self::Metrics(request) => {
                let scopes = request.resource_metrics.iter().flat_map(|entry| &entry.scope_metrics);
                scopes.flat_map(|scope| &scope.metrics).flat_map(point_times).collect()
            }
        }
    }

    /// The only log record.
    pub(crate) fn log_record(&self) -> &LogRecord {
        let Self::Logs(request) = self else { panic!("no logs: {self:?}") };
        &request.resource_logs[0].scope_logs[0].log_records[0]
    }

    /// The only span.
    pub(crate) fn span(&self) -> &Span {
        let Self::Traces(request) = self else { panic!("no traces: {self:?}") };
        &request.resource_spans[0].scope_spans[0].spans[0]
    }

    /// The only metric.
    pub(crate) fn metric(&self) -> &Metric {
        let Self::Metrics(request) = self else { panic!("no metrics: {self:?}") };
        &request.resource_metrics[0].scope_metrics[0].metrics[0]
    }

    /// Fails unless both are the same message, bit for bit: NaN equals itself, and 0.0 is not -0.0.
    pub(crate) fn assert_same(&self, expected: &Self) {
        assert!(self.encode() == expected.encode(), "arrived:\n{self:#?}\nexpected:\n{expected:#?}");
    }
}

/// Writes the empty list of every list and map that has none, and the empty key of every attribute that has none.
fn add_empty_fields(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            if map.get("value").is_some_and(serde_json::Value::is_object) {
                map.entry("key").or_insert_with(|| serde_json::json!(""));
            }
            for (key, inner) in map {
                if let ("arrayValue" | "kvlistValue", Some(list)) = (key.as_str(), inner.as_object_mut()) {
                    list.entry("values").or_insert_with(|| serde_json::json!([]));
                }
                add_empty_fields(inner);
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(add_empty_fields),
        _ => {}
    }
}

/// A text attribute.
pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn point_times(metric: &Metric) -> Vec<u64> {
    match &metric.data {
        None => Vec::new(),
        Some(MetricData::Gauge(it)) => it.data_points.iter().map(|point| point.time_unix_nano).collect(),
        Some(MetricData::Sum(it)) => it.data_points.iter().map(|point| point.time_unix_nano).collect(),
        Some(MetricData::Histogram(it)) => it.data_points.iter().map(|point| point.time_unix_nano).collect(),
        Some(MetricData::ExponentialHistogram(it)) => it.data_points.iter().map(|point| point.time_unix_nano).collect(),
        Some(MetricData::Summary(it)) => it.data_points.iter().map(|point| point.time_unix_nano).collect(),
    }
}
