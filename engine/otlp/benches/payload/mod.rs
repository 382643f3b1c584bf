//! Requests as clients send them: 1000 records under 5 resources of 10 attributes, about 440 bytes a log record, 345
//! a span and 229 a data point (10 points a metric; of 10 points 4 are sums, 4 gauges, 2 histograms of 16 buckets).

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as NumberValue;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use otlp::{Decoded, Signal, Wire};

/// 1000 records of a signal.
pub(crate) fn request(signal: Signal) -> Wire {
    shaped(signal, 5, 200, 10)
}

/// A request of `resources` x `records` with `attributes` on every Resource.
pub(crate) fn shaped(signal: Signal, resources: usize, records: usize, attributes: usize) -> Wire {
    let decoded = match signal {
        Signal::Logs => Decoded::Logs(ExportLogsServiceRequest {
            resource_logs: (0..resources)
                .map(|index| ResourceLogs {
                    resource: Some(resource(index, attributes)),
                    scope_logs: vec![ScopeLogs {
                        scope: Some(scope()),
                        log_records: (0..records).map(log).collect(),
                        schema_url: String::new(),
                    }],
                    schema_url: String::new(),
                })
                .collect(),
        }),
        Signal::Traces => Decoded::Traces(ExportTraceServiceRequest {
            resource_spans: (0..resources)
                .map(|index| ResourceSpans {
                    resource: Some(resource(index, attributes)),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(scope()),
                        spans: (0..records).map(span).collect(),
                        schema_url: String::new(),
                    }],
                    schema_url: String::new(),
                })
                .collect(),
        }),
        Signal::Metrics => Decoded::Metrics(ExportMetricsServiceRequest {
            resource_metrics: (0..resources)
                .map(|index| ResourceMetrics {
                    resource: Some(resource(index, attributes)),
                    scope_metrics: vec![ScopeMetrics {
                        scope: Some(scope()),
                        metrics: (0..records.div_ceil(10)).map(metric).collect(),
                        schema_url: String::new(),
                    }],
                    schema_url: String::new(),
                })
                .collect(),
        }),
    };
    decoded.encode().expect("the payload is sound")
}

fn resource(index: usize, attributes: usize) -> Resource {
    let keys = [
        ("service.name", "checkout".to_owned()),
        ("service.version", "1.42.7".to_owned()),
        ("service.instance.id", format!("627cc493-f310-47de-96bd-7141{index:08}")),
        ("k8s.namespace.name", "shop".to_owned()),
        ("k8s.pod.name", format!("checkout-7d9f8c6b5-{index:05}")),
        ("k8s.node.name", "node-17.example.com".to_owned()),
        ("host.name", "node-17".to_owned()),
        ("telemetry.sdk.language", "go".to_owned()),
        ("telemetry.sdk.name", "opentelemetry".to_owned()),
        ("telemetry.sdk.version", "1.38.0".to_owned()),
    ];
    let more = (keys.len()..attributes).map(|number| text(&format!("custom.attribute.{number}"), "some value"));
    let first = keys.iter().take(attributes).map(|(key, value)| text(key, value));
    Resource { attributes: first.chain(more).collect(), ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "github.com/example/shop".to_owned(),
        version: "0.3.0".to_owned(),
        ..InstrumentationScope::default()
    }
}

fn log(index: usize) -> LogRecord {
    LogRecord {
        time_unix_nano: 1_764_000_000_000_000_000 + index as u64 * 1_000_003,
        observed_time_unix_nano: 1_764_000_000_000_500_000 + index as u64 * 1_000_003,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(string(format!("{:<120}", format!("processed order {index} for customer {} in 17 ms", index * 7)))),
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.path", "/api/v1/orders"),
            integer("http.response.status_code", 200),
            text("user.id", &format!("user-{index:06}")),
            text("code.function", "handleOrder"),
            integer("thread.id", 42),
            text("region", "eu-central-1"),
            text("request.id", &format!("{index:016x}")),
        ],
        flags: 1,
        trace_id: id(index, 16),
        span_id: id(index + 7, 8),
        ..LogRecord::default()
    }
}

fn span(index: usize) -> Span {
    Span {
        trace_id: id(index / 10, 16),
        span_id: id(index, 8),
        parent_span_id: id(index / 2, 8),
        name: "GET /api/v1/orders/{id}".to_owned(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: 1_764_000_000_000_000_000 + index as u64 * 1_000_003,
        end_time_unix_nano: 1_764_000_000_012_000_000 + index as u64 * 1_000_003,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.path", "/api/v1/orders"),
            integer("http.response.status_code", 200),
            text("server.address", "checkout.shop.svc"),
            integer("server.port", 8080),
            text("user_agent.original", "okhttp/4.12.0"),
            text("network.peer.address", "10.42.17.3"),
            text("db.system", "postgresql"),
        ],
        status: Some(Status::default()),
        flags: 0x101,
        ..Span::default()
    }
}

fn metric(index: usize) -> Metric {
    let points = 0..10;
    let attributes = |point: usize| {
        vec![
            text("http.request.method", "GET"),
            text("url.route", &format!("/api/v1/orders/{point}")),
            integer("http.response.status_code", 200),
            text("server.address", "checkout.shop.svc"),
        ]
    };
    let times = |point: usize| (1_764_000_000_000_000_000, 1_764_000_015_000_000_000 + point as u64);
    let number = |point: usize| {
        let (start_time_unix_nano, time_unix_nano) = times(point);
        NumberDataPoint {
            attributes: attributes(point),
            start_time_unix_nano,
            time_unix_nano,
            value: Some(if point.is_multiple_of(2) {
                NumberValue::AsDouble(point as f64 * 1.25)
            } else {
                NumberValue::AsInt(point as i64 * 1000)
            }),
            ..NumberDataPoint::default()
        }
    };
    let histogram = |point: usize| {
        let (start_time_unix_nano, time_unix_nano) = times(point);
        HistogramDataPoint {
            attributes: attributes(point),
            start_time_unix_nano,
            time_unix_nano,
            count: 160,
            sum: Some(1234.5),
            bucket_counts: (0..16).collect(),
            explicit_bounds: (1..16).map(f64::from).collect(),
            min: Some(0.25),
            max: Some(99.5),
            ..HistogramDataPoint::default()
        }
    };
    let data = match index % 5 {
        0 | 1 => {
            Data::Sum(Sum { data_points: points.map(number).collect(), aggregation_temporality: 2, is_monotonic: true })
        }
        2 | 3 => Data::Gauge(Gauge { data_points: points.map(number).collect() }),
        _ => Data::Histogram(Histogram { data_points: points.map(histogram).collect(), aggregation_temporality: 2 }),
    };
    Metric {
        name: format!("http.server.request.duration.{index}"),
        description: "Duration of HTTP server requests.".to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(string(value.to_owned())), key_strindex: 0 }
}

fn integer(key: &str, value: i64) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(Value::IntValue(value)) }), key_strindex: 0 }
}

fn string(value: String) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value)) }
}

fn id(seed: usize, len: usize) -> Vec<u8> {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_le_bytes().into_iter().chain(mixed.rotate_left(23).to_le_bytes()).take(len).collect()
}
