//! What made-up telemetry says: a small shop with a few services, as OTLP structs with placeholder times.
//! Content depends on the random numbers only. Not here: encoding, and the times and ids of each batch.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, SeverityNumber},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point,
    },
    resource::v1::Resource,
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};
use rand::{Rng, RngExt, rngs::StdRng};

/// Stands for the time of the batch. Other times are written relative to it.
pub(super) const NOW: u64 = 1 << 60;

/// Points that a metric has at most.
pub(super) const POINTS_PER_METRIC: usize = 10;
/// Spans that a trace has at most.
pub(super) const SPANS_PER_TRACE: usize = 8;

const SERVICES: [&str; 6] = ["checkout", "catalogue", "payments", "frontend", "shipping", "accounts"];
const METHODS: [&str; 4] = ["GET", "PUT", "POST", "DELETE"];
const ROUTES: [&str; 5] = ["/api/v1/orders", "/api/v1/basket", "/api/v2/search", "/api/v1/stocks", "/api/v1/users"];
const STATUS: [i64; 6] = [200, 200, 201, 204, 404, 500];
const REGIONS: [&str; 3] = ["eu-central-1", "us-east-1", "ap-south-1"];
const SENTENCES: [&str; 6] = [
    "request completed for customer",
    "cache miss, loading from database for",
    "payment authorised by provider for order",
    "retrying call to upstream service, attempt",
    "order accepted and queued for shipment",
    "session renewed after expiry of token",
];
const SEVERITIES: [(SeverityNumber, &str); 6] = [
    (SeverityNumber::Debug, "DEBUG"),
    (SeverityNumber::Info, "INFO"),
    (SeverityNumber::Info, "INFO"),
    (SeverityNumber::Info, "INFO"),
    (SeverityNumber::Warn, "WARN"),
    (SeverityNumber::Error, "ERROR"),
];
const COUNTERS: [(&str, &str); 4] = [
    ("http.server.requests", "{request}"),
    ("process.cpu.time", "s"),
    ("db.client.rows", "{row}"),
    ("messaging.client.sent.messages", "{message}"),
];
const GAUGES: [(&str, &str); 4] = [
    ("process.memory.usage", "By"),
    ("queue.length", "{message}"),
    ("db.client.connection.count", "{connection}"),
    ("cache.hit.ratio", "1"),
];
const HISTOGRAMS: [(&str, &str); 2] = [("http.server.request.duration", "s"), ("db.client.operation.duration", "s")];
/// The bounds that the semantic conventions advise for durations in seconds.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A resource as the detectors of an SDK in a cluster fill it.
pub(super) fn resource(random: &mut StdRng) -> Resource {
    let service = pick(random, &SERVICES);
    Resource {
        attributes: vec![
            text("service.name", service),
            text("service.namespace", "shop"),
            text("service.version", format!("1.{}.{}", random.random_range(0..40), random.random_range(0..9))),
            text("service.instance.id", hex(random, 16)),
            text("telemetry.sdk.language", "go"),
            text("k8s.namespace.name", "shop"),
            text("k8s.pod.name", format!("{service}-{}-{}", hex(random, 5), hex(random, 3))),
            text("k8s.node.name", format!("worker-{}", random.random_range(0..200))),
        ],
        ..Default::default()
    }
}

/// The scope of every record.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "shop.generated".into(), version: "1.0.0".into(), ..Default::default() }
}

/// A log record whose body has exactly `body_bytes` bytes.
pub(super) fn log_record(random: &mut StdRng, attributes: usize, body_bytes: usize) -> LogRecord {
    let (severity, severity_text) = SEVERITIES[random.random_range(0..SEVERITIES.len())];
    let body = sentence(random, body_bytes);
    LogRecord {
        time_unix_nano: NOW - random.random_range(0..1_000_000),
        observed_time_unix_nano: NOW,
        severity_number: severity.into(),
        severity_text: severity_text.into(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: request_attributes(random, attributes),
        trace_id: id(random, 16),
        span_id: id(random, 8),
        flags: 1,
        ..Default::default()
    }
}

/// One trace: a root and its descendants, each with a parent among the spans before it.
pub(super) fn trace(random: &mut StdRng, attributes: usize, spans: usize) -> Vec<Span> {
    let trace_id = id(random, 16);
    let mut trace: Vec<Span> = Vec::with_capacity(spans);
    for place in 0..spans {
        let parent = (place > 0).then(|| &trace[random.random_range(0..place)]);
        let latest = parent.map_or(NOW - 1_000_000, |parent| parent.end_time_unix_nano);
        let earliest = parent.map_or(NOW - 900_000_000, |parent| parent.start_time_unix_nano);
        let start = random.random_range(earliest..latest);
        let failed = random.random_range(0..50) == 0;
        let code = if failed { StatusCode::Error } else { StatusCode::Unset };
        let kind = if place == 0 { SpanKind::Server } else { SpanKind::Client };
        let span = Span {
            trace_id: trace_id.clone(),
            span_id: id(random, 8),
            parent_span_id: parent.map(|parent| parent.span_id.clone()).unwrap_or_default(),
            flags: 0x101,
            name: format!("{} {}", pick(random, &METHODS), pick(random, &ROUTES)),
            kind: kind.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: random.random_range(start + 1..=latest),
            attributes: request_attributes(random, attributes),
            status: failed.then(|| Status { code: code.into(), message: "upstream failed".into() }),
            ..Default::default()
        };
        trace.push(span);
    }
    trace
}

/// The metric with this number in a resource. Of ten, four are counters, four gauges and two histograms.
pub(super) fn metric(random: &mut StdRng, number: usize, attributes: usize, points: usize) -> Metric {
    let (kind, round) = (number % 10, number / 10);
    let cumulative = AggregationTemporality::Cumulative.into();
    let ((name, unit), data) = match kind {
        0..4 => {
            let data_points = (0..points).map(|point| number_point(random, attributes, point)).collect();
            let sum = Sum { data_points, aggregation_temporality: cumulative, is_monotonic: true };
            (COUNTERS[kind], Data::Sum(sum))
        }
        4..8 => {
            let data_points = (0..points)
                .map(|point| NumberDataPoint { start_time_unix_nano: 0, ..number_point(random, attributes, point) })
                .collect();
            (GAUGES[kind - 4], Data::Gauge(Gauge { data_points }))
        }
        _ => {
            let data_points = (0..points).map(|point| histogram_point(random, attributes, point)).collect();
            (HISTOGRAMS[kind - 8], Data::Histogram(Histogram { data_points, aggregation_temporality: cumulative }))
        }
    };
    let name = if round == 0 { name.to_owned() } else { format!("{name}.{round}") };
    Metric {
        name,
        description: "made up to try a pipeline out".into(),
        unit: unit.into(),
        data: Some(data),
        ..Default::default()
    }
}

fn number_point(random: &mut StdRng, attributes: usize, point: usize) -> NumberDataPoint {
    let value = match random.random_range(0..2) {
        0 => number_data_point::Value::AsInt(random.random_range(1..100_000)),
        _ => number_data_point::Value::AsDouble(random.random_range(0.01..100.0)),
    };
    NumberDataPoint {
        attributes: point_attributes(random, attributes, point),
        start_time_unix_nano: NOW,
        time_unix_nano: NOW,
        value: Some(value),
        ..Default::default()
    }
}

fn histogram_point(random: &mut StdRng, attributes: usize, point: usize) -> HistogramDataPoint {
    let bucket_counts: Vec<u64> = (0..=BOUNDS.len()).map(|_| random.random_range(0..500)).collect();
    let count: u64 = bucket_counts.iter().sum();
    HistogramDataPoint {
        attributes: point_attributes(random, attributes, point),
        start_time_unix_nano: NOW,
        time_unix_nano: NOW,
        count,
        sum: Some(count as f64 * random.random_range(0.05..0.5)),
        bucket_counts,
        explicit_bounds: BOUNDS.into(),
        ..Default::default()
    }
}

fn request_attributes(random: &mut StdRng, count: usize) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("http.request.method", pick(random, &METHODS)),
        integer("http.response.status_code", STATUS[random.random_range(0..STATUS.len())]),
        text("url.path", format!("{}/{}", pick(random, &ROUTES), random.random_range(10_000..99_999))),
        text("client.address", address(random)),
        text("server.address", format!("{}.shop.svc", pick(random, &SERVICES))),
        text("cloud.region", pick(random, &REGIONS)),
        text("tenant.id", hex(random, 6)),
        text("user.id", hex(random, 8)),
    ];
    fill(random, &mut attributes, count);
    attributes
}

/// The first attribute tells the points of one metric apart.
fn point_attributes(random: &mut StdRng, count: usize, point: usize) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("shard", point.to_string()),
        text("http.request.method", pick(random, &METHODS)),
        text("http.route", pick(random, &ROUTES)),
        integer("http.response.status_code", STATUS[random.random_range(0..STATUS.len())]),
    ];
    fill(random, &mut attributes, count);
    attributes
}

/// Brings the list to `count` attributes.
fn fill(random: &mut StdRng, attributes: &mut Vec<KeyValue>, count: usize) {
    for number in attributes.len()..count {
        attributes.push(text(&format!("label.{number}"), hex(random, 4)));
    }
    attributes.truncate(count);
}

/// Text of exactly `bytes` bytes: a sentence, then fields as an application would log them.
fn sentence(random: &mut StdRng, bytes: usize) -> String {
    let mut body = format!("{} {}", pick(random, &SENTENCES), random.random_range(10_000..99_999));
    while body.len() < bytes {
        let duration = random.random_range(1..2000);
        body.push_str(&format!(" route={} duration_ms={duration}", pick(random, &ROUTES)));
    }
    body.truncate(bytes);
    body
}

fn pick(random: &mut StdRng, list: &[&'static str]) -> &'static str {
    list[random.random_range(0..list.len())]
}

fn address(random: &mut StdRng) -> String {
    let mut octet = || random.random_range(1..255);
    format!("10.{}.{}.{}", octet(), octet(), octet())
}

fn id(random: &mut StdRng, bytes: usize) -> Vec<u8> {
    let mut id = vec![0; bytes];
    random.fill_bytes(&mut id);
    id
}

fn hex(random: &mut StdRng, bytes: usize) -> String {
    id(random, bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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
