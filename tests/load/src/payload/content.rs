//! The content of generated requests: what services in a cluster typically send.
//! Lengths are chosen so that a record has the encoded size that the measurements state.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::{
        Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};
use rand::{Rng, RngExt, rngs::StdRng};

/// 2026-01-01T00:00:00Z in nanoseconds.
const EPOCH: u64 = 1_767_225_600_000_000_000;
/// Bytes of a log body.
const BODY_BYTES: usize = 120;
/// Buckets of a histogram.
const BUCKETS: usize = 16;
/// Of ten metrics, the first four are sums, the next four gauges, the others histograms.
const METRIC_CYCLE: usize = 10;

const SERVICES: [&str; 6] = ["checkout", "catalogue", "payments", "frontend", "shipping", "accounts"];
const METHODS: [&str; 4] = ["GET", "PUT", "POST", "PATCH"];
const PATHS: [&str; 5] = ["/api/v1/orders", "/api/v1/basket", "/api/v2/search", "/api/v1/stocks", "/api/v1/tokens"];
const SENTENCES: [&str; 6] = [
    "request completed for customer",
    "cache miss, loading from database",
    "payment authorised by provider",
    "retrying call to upstream service",
    "order accepted and queued for",
    "session renewed after expiry of",
];
const SEVERITIES: [(i32, &str); 4] = [(5, "DEBUG"), (9, "INFO"), (13, "WARN"), (17, "ERROR")];

/// A resource as the Kubernetes detectors of an SDK fill it, with further labels when more attributes are asked for.
pub(super) fn resource(random: &mut StdRng, attributes: usize) -> Resource {
    resource_of_namespace(random, attributes, "shop")
}

/// The same of a namespace.
pub(super) fn resource_of_namespace(random: &mut StdRng, attributes: usize, namespace: &str) -> Resource {
    let service = pick(random, &SERVICES);
    let pod = format!("{service}-{}-{}", hex(random, 5), hex(random, 3));
    let mut list = vec![
        text("service.name", service),
        text("service.namespace", "shop"),
        text("service.instance.id", hex(random, 16)),
        text("service.version", format!("1.{}.{}", random.random_range(0..40), random.random_range(0..9))),
        text("telemetry.sdk.language", "go"),
        text("k8s.namespace.name", namespace),
        text("k8s.pod.name", pod),
        text("k8s.pod.uid", hex(random, 16)),
        text("k8s.node.name", format!("worker-{}", random.random_range(0..200))),
        text("container.id", hex(random, 32)),
    ];
    while list.len() < attributes {
        let number = list.len();
        list.push(text(&format!("k8s.pod.label.team-{number}"), hex(random, 6)));
    }
    list.truncate(attributes);
    Resource { attributes: list, ..Default::default() }
}

/// A resource as an SDK fills it that knows of Kubernetes only the unique id of its pod.
pub(super) fn resource_of_pod(random: &mut StdRng, attributes: usize, uid: &str) -> Resource {
    let service = pick(random, &SERVICES);
    let mut list = vec![
        text("service.name", service),
        text("k8s.pod.uid", uid),
        text("service.instance.id", hex(random, 16)),
        text("service.version", format!("1.{}.{}", random.random_range(0..40), random.random_range(0..9))),
        text("telemetry.sdk.language", "go"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.version", "1.40.0"),
        text("process.runtime.name", "go"),
        integer("process.pid", random.random_range(1..60)),
        text("container.id", hex(random, 32)),
    ];
    while list.len() < attributes {
        let number = list.len();
        list.push(text(&format!("example.setting-{number}"), hex(random, 6)));
    }
    list.truncate(attributes);
    Resource { attributes: list, ..Default::default() }
}

/// The scope of every record.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "github.com/shop/telemetry".into(), version: "0.9.1".into(), ..Default::default() }
}

/// A log record of about 440 bytes with 8 attributes and a body of 120 bytes.
pub(super) fn log_record(random: &mut StdRng) -> LogRecord {
    let time = time(random);
    let (severity_number, severity_text) = SEVERITIES[random.random_range(0..SEVERITIES.len())];
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time + 1_500_000,
        severity_number,
        severity_text: severity_text.into(),
        body: Some(AnyValue { value: Some(Value::StringValue(sentence(random))) }),
        attributes: vec![
            text("http.request.method", pick(random, &METHODS)),
            integer("http.response.status_code", pick(random, &[200, 201, 204, 404, 500])),
            text("url.path", format!("{}/item-{}", pick(random, &PATHS), random.random_range(100..200))),
            text("client.address", address(random)),
            text("code.function.name", format!("{}.Handle", pick(random, &SERVICES))),
            text("thread.name", format!("worker-{}", random.random_range(10..99))),
            text("tenant.id", hex(random, 2)),
            text("session.id", format!("{:06}", random.random_range(0..500))),
        ],
        trace_id: bytes(random, 16),
        span_id: bytes(random, 8),
        flags: 1,
        ..Default::default()
    }
}

/// A span of about 345 bytes.
pub(super) fn span(random: &mut StdRng) -> Span {
    let start = time(random);
    let method = pick(random, &METHODS);
    let path = pick(random, &PATHS);
    Span {
        trace_id: bytes(random, 16),
        span_id: bytes(random, 8),
        parent_span_id: bytes(random, 8),
        flags: 0x101,
        name: format!("{method} {path}"),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + random.random_range(100_000..900_000_000),
        attributes: vec![
            text("http.request.method", method),
            integer("http.response.status_code", pick(random, &[200, 201, 204, 404, 500])),
            text("url.path", format!("{path}/{}", random.random_range(10_000..99_999))),
            text("client.address", address(random)),
            text("server.address", format!("{}.shop.svc", pick(random, &SERVICES))),
            integer("server.port", 8080),
            text("network.protocol.version", "1.1"),
            text("tenant.id", hex(random, 4)),
        ],
        status: Some(Status { code: StatusCode::Ok.into(), ..Default::default() }),
        ..Default::default()
    }
}

/// A metric; its data points average about 229 bytes over a cycle of ten metrics.
pub(super) fn metric(random: &mut StdRng, index: usize, points: usize) -> Metric {
    let (name, data) = match index % METRIC_CYCLE {
        0..4 => (
            "http.server.requests",
            Data::Sum(Sum {
                data_points: (0..points).map(|_| number_point(random)).collect(),
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
        ),
        4..8 => (
            "process.memory.usage",
            Data::Gauge(Gauge { data_points: (0..points).map(|_| number_point(random)).collect() }),
        ),
        _ => (
            "http.server.request.duration",
            Data::Histogram(Histogram {
                data_points: (0..points).map(|_| histogram_point(random)).collect(),
                aggregation_temporality: 2,
            }),
        ),
    };
    Metric {
        name: format!("{name}.{index}"),
        description: "What the service has measured.".into(),
        unit: "s".into(),
        data: Some(data),
        ..Default::default()
    }
}

fn number_point(random: &mut StdRng) -> NumberDataPoint {
    let time = time(random);
    let value = if random.random() {
        number_data_point::Value::AsInt(random.random_range(0..1 << 40))
    } else {
        number_data_point::Value::AsDouble(random.random())
    };
    NumberDataPoint {
        attributes: point_attributes(random),
        start_time_unix_nano: EPOCH,
        time_unix_nano: time,
        value: Some(value),
        ..Default::default()
    }
}

fn histogram_point(random: &mut StdRng) -> HistogramDataPoint {
    let bucket_counts: Vec<u64> = (0..BUCKETS).map(|_| random.random_range(0..5000)).collect();
    HistogramDataPoint {
        attributes: point_attributes(random),
        start_time_unix_nano: EPOCH,
        time_unix_nano: time(random),
        count: bucket_counts.iter().sum(),
        sum: Some(random.random_range(0.0..9000.0)),
        bucket_counts,
        explicit_bounds: (1..BUCKETS).map(|bound| 0.005 * f64::from(1 << bound)).collect(),
        min: Some(0.001),
        max: Some(random.random_range(1.0..60.0)),
        ..Default::default()
    }
}

fn point_attributes(random: &mut StdRng) -> Vec<KeyValue> {
    vec![
        text("http.request.method", pick(random, &METHODS)),
        integer("http.response.status_code", pick(random, &[200, 201, 204, 404, 500])),
        text("http.route", pick(random, &PATHS)),
        text("server.address", format!("{}.shop.svc", pick(random, &SERVICES))),
    ]
}

/// Text of exactly `BODY_BYTES`: a sentence, then fields as an application would log them.
fn sentence(random: &mut StdRng) -> String {
    let mut body = format!(
        "{} {} path={} duration_ms={} bytes={}",
        pick(random, &SENTENCES),
        random.random_range(10_000..99_999),
        pick(random, &PATHS),
        random.random_range(1..2000),
        pick(random, &[512, 1024, 2048, 4096]),
    );
    while body.len() < BODY_BYTES {
        body.push_str(" handler=default region=eu-central");
    }
    body.truncate(BODY_BYTES);
    body
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    key_value(key, Value::StringValue(value.into()))
}

fn integer(key: &str, value: i64) -> KeyValue {
    key_value(key, Value::IntValue(value))
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn time(random: &mut StdRng) -> u64 {
    EPOCH + random.random_range(0..60_000_000_000)
}

fn address(random: &mut StdRng) -> String {
    format!("10.128.{}.{}", random.random_range(10..14), random.random_range(100..120))
}

fn bytes(random: &mut StdRng, length: usize) -> Vec<u8> {
    let mut list = vec![0; length];
    random.fill_bytes(&mut list);
    list
}

/// Random lower-case hexadecimal text of `length` bytes before encoding.
fn hex(random: &mut StdRng, length: usize) -> String {
    bytes(random, length).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pick<T: Copy>(random: &mut StdRng, list: &[T]) -> T {
    list[random.random_range(0..list.len())]
}
