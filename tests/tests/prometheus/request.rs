//! A request with every kind of metric.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

/// A label with everything that could end it.
pub(crate) const ODD: &str = "a\"} 1\nforged{b=\"\\\r\t\u{1}\0ü";

/// Encoded.
pub(crate) fn of_every_kind() -> Vec<u8> {
    let end = nanos(Duration::ZERO);
    let start = nanos(Duration::from_secs(60));
    let middle = nanos(Duration::from_secs(30));
    let sum = |is_monotonic, aggregation_temporality, data_points| {
        Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
    };
    let gauge = |value| {
        let point = NumberDataPoint { value: Some(value), time_unix_nano: end, ..NumberDataPoint::default() };
        Data::Gauge(Gauge { data_points: vec![point] })
    };
    let int = |(start_time_unix_nano, time_unix_nano), value, attributes| NumberDataPoint {
        start_time_unix_nano,
        time_unix_nano,
        attributes,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let histogram = HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: end,
        count: 6,
        sum: Some(12.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 1.0],
        exemplars: vec![Exemplar {
            time_unix_nano: end,
            trace_id: vec![0xab; 16],
            span_id: vec![0xcd; 8],
            value: Some(exemplar::Value::AsDouble(0.7)),
            ..Exemplar::default()
        }],
        ..HistogramDataPoint::default()
    };
    let buckets = |counts: &[u64]| Some(Buckets { offset: 0, bucket_counts: counts.to_vec() });
    let exponential = ExponentialHistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: end,
        count: 8,
        sum: Some(20.0),
        zero_count: 1,
        positive: buckets(&[2, 3]),
        negative: buckets(&[2]),
        ..ExponentialHistogramDataPoint::default()
    };
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let summary = SummaryDataPoint {
        time_unix_nano: end,
        count: 5,
        sum: 0.7,
        quantile_values: vec![quantile(0.5, 0.1), quantile(0.99, 0.25)],
        ..SummaryDataPoint::default()
    };
    let cumulative = 2;
    let metrics = vec![
        metric("shop.hits", "1", sum(true, cumulative, vec![int((start, end), 42, vec![attribute("odd", ODD)])])),
        metric("shop.temperature", "Cel", gauge(number_data_point::Value::AsDouble(-3.5))),
        metric("shop.fill", "1", gauge(number_data_point::Value::AsDouble(0.25))),
        metric("shop.open_carts", "{cart}", sum(false, cumulative, vec![int((start, end), 7, Vec::new())])),
        metric(
            "shop.bytes",
            "{unknown}",
            sum(true, 1, vec![int((start, middle), 10, Vec::new()), int((middle, end), 20, Vec::new())]),
        ),
        metric(
            "shop.duration",
            "s",
            Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: cumulative }),
        ),
        metric(
            "shop.size",
            "By",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: cumulative,
            }),
        ),
        metric("shop.rpc", "s", Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let identity = [
        ("service.namespace", "shop"),
        ("service.name", "cart"),
        ("service.instance.id", "i-1"),
        ("host.name", "node-7"),
    ];
    let attributes = identity.iter().map(|(key, value)| attribute(key, value)).collect();
    let resource_metrics = vec![ResourceMetrics {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
        ..ResourceMetrics::default()
    }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    let description = "Help with \"quotes\", a \\ and\na second line.".to_owned();
    Metric { name: name.to_owned(), unit: unit.to_owned(), description, data: Some(data), ..Metric::default() }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

/// A time so long ago: Prometheus takes exemplars that are not old only.
fn nanos(ago: Duration) -> u64 {
    let then = SystemTime::now() - ago;
    u64::try_from(then.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}
