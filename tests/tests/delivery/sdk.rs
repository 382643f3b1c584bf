//! The Rust OpenTelemetry SDK with its own exporters, over gRPC and HTTP: all three signals arrive, field by field.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::Value;

use crate::engine::Engine;

/// When the span began: with nanoseconds, so that a loss of precision shows.
const BEGAN: Duration = Duration::from_nanos(1_700_000_000_123_456_789);

struct Exporters {
    spans: SpanExporter,
    metrics: MetricExporter,
    logs: LogExporter,
}

async fn engine(listener: &str) -> (Engine, SocketAddr, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.jsonl");
    let config = format!(
        "version = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n[sources.apps]\ntype = \"otlp\"\n{listener}.listen = \"127.0.0.1:0\"\n\
         [transforms.cluster]\ntype = \"resource\"\ninputs = [\"apps\"]\nupsert = {{ \"k8s.cluster.name\" = \"test\" }}\n\
         [sinks.out]\ntype = \"file\"\ninputs = [\"cluster\"]\npath = \"{}\"\nacknowledge = \"delivered\"\n",
        out.display()
    );
    let engine = Engine::start_with(folder, &config).await;
    let address = engine.apps();
    (engine, address, out)
}

/// Over gRPC every field arrives as the SDK set it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_over_grpc() {
    let (engine, address, out) = engine("grpc").await;
    let endpoint = format!("http://{address}");
    let exporters = Exporters {
        spans: SpanExporter::builder().with_tonic().with_endpoint(&endpoint).build().unwrap(),
        metrics: MetricExporter::builder().with_tonic().with_endpoint(&endpoint).build().unwrap(),
        logs: LogExporter::builder().with_tonic().with_endpoint(&endpoint).build().unwrap(),
    };
    send(exporters).await;
    arrived(engine, out).await;
}

/// Over HTTP with protobuf every field arrives as the SDK set it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_over_http() {
    let (engine, address, out) = engine("http").await;
    let endpoint = |signal: &str| format!("http://{address}/v1/{signal}");
    let protocol = Protocol::HttpBinary;
    let exporters = Exporters {
        spans: SpanExporter::builder()
            .with_http()
            .with_protocol(protocol)
            .with_endpoint(endpoint("traces"))
            .build()
            .unwrap(),
        metrics: MetricExporter::builder()
            .with_http()
            .with_protocol(protocol)
            .with_endpoint(endpoint("metrics"))
            .build()
            .unwrap(),
        logs: LogExporter::builder()
            .with_http()
            .with_protocol(protocol)
            .with_endpoint(endpoint("logs"))
            .build()
            .unwrap(),
    };
    send(exporters).await;
    arrived(engine, out).await;
}

/// Sends one span, one counter and one log record. The SDK's processors block, so they get a thread of their own.
async fn send(exporters: Exporters) {
    let sending = tokio::task::spawn_blocking(move || {
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", "shop"),
                KeyValue::new("answer", 42),
                KeyValue::new("k8s.cluster.name", "to be replaced"),
            ])
            .build();
        let traces =
            SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporters.spans).build();
        let metrics = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_periodic_exporter(exporters.metrics)
            .build();
        let logs = SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(exporters.logs).build();

        let scope = InstrumentationScope::builder("checkout").with_version("1.2.3").build();
        let began = SystemTime::UNIX_EPOCH + BEGAN;
        let tracer = traces.tracer_with_scope(scope.clone());
        let mut span = tracer
            .span_builder("pay")
            .with_kind(SpanKind::Server)
            .with_start_time(began)
            .with_attributes([KeyValue::new("http.route", "/pay"), KeyValue::new("ratio", 0.5)])
            .start(&tracer);
        span.add_event_with_timestamp("charged", began, vec![KeyValue::new("amount", -12)]);
        span.set_status(Status::error("card declined"));
        span.end_with_timestamp(began + Duration::from_millis(5));

        let meter = metrics.meter_with_scope(scope);
        meter.u64_counter("orders").with_unit("{order}").build().add(7, &[KeyValue::new("kind", "new")]);

        let logger = logs.logger("checkout");
        let mut record = logger.create_log_record();
        record.set_timestamp(began);
        record.set_severity_number(Severity::Error);
        record.set_severity_text("ERROR");
        record.set_body(AnyValue::String("declined ⚠".into()));
        record.add_attribute("attempt", 3);
        logger.emit(record);

        traces.shutdown().unwrap();
        metrics.shutdown().unwrap();
        logs.shutdown().unwrap();
    });
    crate::within("the SDK sends", sending).await.unwrap();
}

/// Ends the engine and compares what its file sink wrote.
async fn arrived(engine: Engine, out: PathBuf) {
    let ready = crate::eventually("three requests arrive", || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        std::future::ready((text.lines().count() == 3 && text.ends_with('\n')).then_some(text))
    });
    let text = ready.await;
    engine.terminate();
    assert!(engine.ended().await.status.success());
    let mut entries = BTreeMap::new();
    for line in text.lines() {
        let request: BTreeMap<String, Vec<Value>> = serde_json::from_str(line).unwrap();
        entries.extend(request);
    }
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["resourceLogs", "resourceMetrics", "resourceSpans"]);
    for entry in entries.values() {
        let resource = attributes(&entry[0]["resource"]);
        let expected = [("answer", "42"), ("k8s.cluster.name", "test"), ("service.name", "shop")];
        assert_eq!(resource, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
    let nanos = BEGAN.as_nanos().to_string();

    let scope = &entries["resourceSpans"][0]["scopeSpans"][0];
    assert_eq!((&scope["scope"]["name"], &scope["scope"]["version"]), (&"checkout".into(), &"1.2.3".into()));
    let span = &scope["spans"][0];
    assert_eq!((&span["name"], &span["kind"]), (&"pay".into(), &2.into()));
    assert_eq!(span["startTimeUnixNano"], nanos.as_str());
    assert_eq!(span["endTimeUnixNano"], (BEGAN + Duration::from_millis(5)).as_nanos().to_string().as_str());
    assert_eq!(attributes(span)["http.route"], "/pay");
    assert_eq!(attributes(span)["ratio"], "0.5");
    assert_eq!(span["events"][0]["name"], "charged");
    assert_eq!(attributes(&span["events"][0])["amount"], "-12");
    assert_eq!((&span["status"]["code"], &span["status"]["message"]), (&2.into(), &"card declined".into()));

    let metric = &entries["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0];
    assert_eq!((&metric["name"], &metric["unit"]), (&"orders".into(), &"{order}".into()));
    let point = &metric["sum"]["dataPoints"][0];
    assert_eq!(text_of(&point["asInt"]), "7");
    assert_eq!(attributes(point)["kind"], "new");
    assert_eq!(metric["sum"]["isMonotonic"], true);

    let record = &entries["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["timeUnixNano"], nanos.as_str());
    assert_eq!((&record["severityNumber"], &record["severityText"]), (&17.into(), &"ERROR".into()));
    assert_eq!(record["body"]["stringValue"], "declined ⚠");
    assert_eq!(attributes(record)["attempt"], "3");
}

/// Attributes as text by key; a key that stands twice fails.
fn attributes(owner: &Value) -> BTreeMap<String, String> {
    let list = owner["attributes"].as_array().unwrap();
    let pairs = list.iter().map(|entry| {
        let value = entry["value"].as_object().unwrap().values().next().unwrap();
        (entry["key"].as_str().unwrap().to_owned(), text_of(value))
    });
    let found: BTreeMap<_, _> = pairs.collect();
    assert_eq!(found.len(), list.len(), "an attribute stands twice: {list:?}");
    found
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
