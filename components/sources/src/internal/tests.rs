//! The source alone, with telemetry that the test makes up.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use engine_config::sources::internal::{LogLevel, TraceOptions};
use engine_config::{ComponentId, ComponentOptions as _, Ratio, Span};
use engine_core::budget::Budget;
use engine_core::outcome::Outcome;
use engine_core::self_telemetry::spans::{Parent, QUEUED_SPANS, SpanKind, Tracer};
use engine_core::self_telemetry::{Identity, OwnField, OwnLog, OwnMetric, OwnPoint, OwnValue, QUEUED_LOGS};
use engine_core::service::Services;
use engine_core::socket::Sockets;
use engine_core::test_kit::{self, SourceRun, run_source, within};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span as SpanProto;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as KindProto;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::*;

fn own() -> SelfTelemetry {
    let own = SelfTelemetry::default();
    let attributes = vec![("service.name", "telemetry-engine".to_owned())];
    own.identify(Identity { attributes, started_unix_nanos: 7 });
    own.measure(|| {
        let point =
            |value| OwnPoint { attributes: vec![("component_id", "a".to_owned()), ("role", String::new())], value };
        let metric = |name, unit, value| OwnMetric { name, description: "d", unit, points: vec![point(value)] };
        vec![
            metric("engine_records_total", "{record}", OwnValue::Count(3)),
            metric("engine_used_bytes", "By", OwnValue::Double(0.5)),
        ]
    });
    own
}

/// With traces all of them.
fn build(own: &SelfTelemetry, signals: &[Signal]) -> Result<InternalSource, BuildError> {
    build_as("self", own, signals)
}

fn build_as(id: &str, own: &SelfTelemetry, signals: &[Signal]) -> Result<InternalSource, BuildError> {
    let traces = TraceOptions { sampling_ratio: Ratio::new(1.0).unwrap() };
    let (_threads, lanes) = test_kit::lanes(1);
    let context = BuildContext {
        id: ComponentId::new(id).unwrap(),
        signals: signals.iter().copied().collect(),
        lanes,
        services: Services::default().with("", own.clone()),
    };
    InternalSource::build(&Internal { interval: Span::secs(30), traces, ..Internal::default() }, &context)
}

fn run(own: &SelfTelemetry, signals: &[Signal]) -> SourceRun {
    run_source("self", Box::new(build(own, signals).unwrap()), Sockets::default(), Budget::new(1 << 20))
}

fn event(message: &str) -> OwnLog {
    let fields = vec![("sink", OwnField::Text("out".to_owned())), ("records", OwnField::Int(5))];
    OwnLog { unix_nanos: 9, level: LogLevel::Warn, target: "engine", message: message.to_owned(), fields }
}

fn records(payload: &Payload) -> Vec<LogRecord> {
    let Decoded::Logs(request) = test_kit::wire(payload).decode() else { panic!("these are no logs") };
    let scopes = request.resource_logs.into_iter().flat_map(|entry| entry.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

fn bodies(payload: &Payload) -> Vec<String> {
    let body = |record: LogRecord| format!("{:?}", record.body.unwrap().value.unwrap());
    records(payload).into_iter().map(body).collect()
}

/// Metrics come at once and then at every interval, always as many; counters are sums since the start.
#[tokio::test(start_paused = true)]
async fn metrics_at_every_interval() {
    let mut run = run(&own(), &[Signal::Metrics]);
    let begin = Instant::now();
    for readings in 0..5 {
        let batch = within("a reading", run.batches.next()).await.unwrap();
        assert_eq!((begin.elapsed().as_secs(), batch.records()), (30 * readings, 2));
        let Decoded::Metrics(request) = test_kit::wire(batch.payload()).decode() else { panic!("no metrics") };
        batch.answer(&Outcome::Delivered);
        let entry = &request.resource_metrics[0];
        assert_eq!(entry.resource.as_ref().unwrap().attributes.len(), 1);
        let [counter, gauge] = entry.scope_metrics[0].metrics.as_slice() else { panic!("{entry:?}") };
        assert_eq!((counter.name.as_str(), counter.unit.as_str()), ("engine_records", "{record}"));
        let Some(Data::Sum(sum)) = &counter.data else { panic!("{counter:?}") };
        let point = &sum.data_points[0];
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        assert_eq!((point.start_time_unix_nano, point.value), (7, Some(Value::AsInt(3))));
        assert_eq!(point.attributes.len(), 1, "an empty attribute is none");
        let Some(Data::Gauge(values)) = &gauge.data else { panic!("{gauge:?}") };
        assert_eq!(
            (gauge.name.as_str(), values.data_points[0].value),
            ("engine_used_bytes", Some(Value::AsDouble(0.5)))
        );
    }
}

/// Events come within a second, with what they hold; at rest nothing comes.
#[tokio::test(start_paused = true)]
async fn events_become_records() {
    let own = own();
    let mut run = run(&own, &[Signal::Logs]);
    own.log(event("down"));
    let batch = within("the record", run.batches.next()).await.unwrap();
    let [record] = records(batch.payload()).try_into().unwrap();
    batch.answer(&Outcome::Delivered);
    assert_eq!((record.time_unix_nano, record.severity_number, record.severity_text.as_str()), (9, 13, "WARN"));
    assert_eq!(format!("{:?}", record.body.unwrap().value.unwrap()), "StringValue(\"down\")");
    let keys: Vec<_> = record.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys, ["code.namespace", "sink", "records"]);
    assert!(tokio::time::timeout(Duration::from_secs(3600), run.batches.next()).await.is_err(), "nothing happened");
}

/// While a batch of the log is not answered, events wait, and the oldest are lost by count.
#[tokio::test(start_paused = true)]
async fn events_wait_within_bounds() {
    let own = own();
    let mut run = run(&own, &[Signal::Logs]);
    own.log(event("first"));
    let held = within("the first", run.batches.next()).await.unwrap();
    (0..QUEUED_LOGS + 10).for_each(|number| own.log(event(&number.to_string())));
    assert!(tokio::time::timeout(Duration::from_secs(60), run.batches.next()).await.is_err(), "one at a time");
    held.answer(&Outcome::Delivered);
    let rest = within("the others", run.batches.next()).await.unwrap();
    assert_eq!(bodies(rest.payload())[0], "StringValue(\"10\")");
    rest.answer(&Outcome::Delivered);
    assert_eq!(run.telemetry.read().discarded[QUEUE_FULL], 10);
}

/// A backend that is away for a day: what its absence logs, and the records of that, stay bounded.
#[tokio::test(start_paused = true)]
async fn a_dead_backend_makes_no_flood() {
    let own = own();
    let mut run = run(&own, &[Signal::Logs, Signal::Metrics]);
    let begin = Instant::now();
    let mut tried = 0_u64;
    own.log(event("begin"));
    while begin.elapsed() < Duration::from_secs(86_400) {
        let batch = within("an attempt", run.batches.next()).await.unwrap();
        tried += 1;
        // The worst case: every attempt is logged, as if nothing limited the log.
        if own.wants(LogLevel::Warn) {
            own.log(event("cannot deliver"));
        }
        assert!(batch.records() <= QUEUED_LOGS as u64);
        batch.answer(&Outcome::Retry { after: Some(Duration::from_secs(30)), reason: "away".to_owned() });
    }
    // One batch of the log and at most two readings, every half minute: attempts do not grow with records.
    assert!(tried <= 3 * 2 * 86_400 / 60 + 10, "{tried} attempts");
    let waiting = own.take_logs();
    assert!(waiting.records.len() <= QUEUED_LOGS);
}

/// The last events are sent before the end.
#[tokio::test(start_paused = true)]
async fn the_end_is_told() {
    let own = own();
    let mut run = run(&own, &[Signal::Logs]);
    tokio::task::yield_now().await;
    own.log(event("draining"));
    run.drain.cancel();
    let batch = within("the last", run.batches.next()).await.unwrap();
    assert_eq!(bodies(batch.payload()), ["StringValue(\"draining\")"]);
    batch.answer(&Outcome::Delivered);
    within("the end", &mut run.ended).await.unwrap().unwrap();
}

fn spans(payload: &Payload) -> Vec<SpanProto> {
    let Decoded::Traces(request) = test_kit::wire(payload).decode() else { panic!("these are no traces") };
    let [entry] = request.resource_spans.as_slice() else { panic!("{request:?}") };
    assert_eq!(entry.resource.as_ref().unwrap().attributes.len(), 1);
    assert_eq!(entry.scope_spans[0].scope.as_ref().unwrap().name, "telemetry-engine/internal");
    entry.scope_spans[0].spans.clone()
}

/// Spans come within a second with what was written, as others decode it; at rest nothing comes.
#[tokio::test(start_paused = true)]
async fn work_becomes_spans() {
    let own = own();
    let mut run = run(&own, &[Signal::Traces]);
    let tracer = Tracer::new(own.spans().clone(), "apps", "otlp");
    let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let child = tracer.begin(SpanKind::Server, || Parent::read(header)).unwrap();
    child.name("POST /v1/logs");
    child.int("records", 300);
    child.end("invalid", Some("a record is wrong"));
    tracer.begin(SpanKind::Client, || None).unwrap().end("delivered", None);
    let batch = within("the spans", run.batches.next()).await.unwrap();
    let [child, root] = spans(batch.payload()).try_into().unwrap();
    batch.answer(&Outcome::Delivered);
    assert_eq!(child.trace_id[..4], [0x4b, 0xf9, 0x2f, 0x35]);
    assert_eq!(child.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!((child.name.as_str(), child.kind(), child.flags), ("POST /v1/logs", KindProto::Server, 0x301));
    let attributes: Vec<_> = child.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(attributes, ["component_id", "component_type", "records", "outcome"]);
    let status = child.status.unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "a record is wrong"));
    assert!(child.start_time_unix_nano > 0 && child.end_time_unix_nano >= child.start_time_unix_nano);
    assert_eq!((root.kind(), root.flags, root.parent_span_id.len()), (KindProto::Client, 0x101, 0));
    assert!(root.trace_id.len() == 16 && root.span_id.len() == 8 && root.status.is_none());
    assert!(tokio::time::timeout(Duration::from_secs(3600), run.batches.next()).await.is_err(), "nothing happened");
}

/// While spans are not taken, others wait, and the oldest are lost by count.
#[tokio::test(start_paused = true)]
async fn spans_wait_within_bounds() {
    let own = own();
    let mut run = run(&own, &[Signal::Traces]);
    let tracer = Tracer::new(own.spans().clone(), "out", "otlp");
    let work = || tracer.begin(SpanKind::Client, || None).unwrap().end("retry", Some("away"));
    work();
    let held = within("the first", run.batches.next()).await.unwrap();
    (0..QUEUED_SPANS + 10).for_each(|_| work());
    assert!(tokio::time::timeout(Duration::from_secs(60), run.batches.next()).await.is_err(), "one at a time");
    held.answer(&Outcome::Delivered);
    let rest = within("the others", run.batches.next()).await.unwrap();
    assert_eq!(rest.records(), QUEUED_SPANS as u64);
    rest.answer(&Outcome::Delivered);
    assert_eq!(run.telemetry.read().discarded[QUEUE_FULL], 10);
}

/// Traces are offered where they are asked for.
#[test]
fn traces_are_asked_for() {
    let signals = |sampling_ratio| {
        let traces = TraceOptions { sampling_ratio };
        Internal { traces, ..Internal::default() }.facts().signals_out
    };
    assert!(!signals(Ratio::ZERO).contains(Signal::Traces));
    assert!(signals(Ratio::new(0.01).unwrap()).contains(Signal::Traces));
}

/// Two sources cannot share one log or the traces; metrics they can. The next instance of one can have what the one before
/// has, and when that is gone another source can.
#[test]
fn one_takes_the_log() {
    let own = own();
    let refused = |signal| build_as("other", &own, &[signal]).unwrap_err().message;
    let logs = [build(&own, &[Signal::Logs]).unwrap(), build(&own, &[Signal::Logs]).unwrap()];
    assert!(refused(Signal::Logs).contains("takes the log already"));
    let traces = build(&own, &[Signal::Traces]).unwrap();
    assert!(refused(Signal::Traces).contains("takes the traces already"));
    build_as("other", &own, &[Signal::Metrics]).unwrap();
    drop((logs, traces));
    build_as("other", &own, &[Signal::Logs, Signal::Traces]).unwrap();
}
