//! What is printed, byte for byte, and what happens when the output fails.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{Arc, Mutex};

use engine_config::SignalSet;
use engine_core::test_kit::{self, within};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use otlp::{Decoded, Signal};

use super::*;

/// 2026-11-24 08:14:03 UTC.
const NOW: u64 = 1_795_508_043_000_000_000;
const MILLISECOND: u64 = 1_000_000;

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() }
}

fn checkout() -> Option<Resource> {
    let attributes = vec![
        attribute("service.name", text("checkout")),
        attribute("service.version", text("1.4.2")),
        attribute("k8s.namespace.name", text("shop")),
        attribute("k8s.pod.name", text("checkout-7d9f-x2x")),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

fn library() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "io.shop.orders".to_owned(),
        version: "0.3".to_owned(),
        ..InstrumentationScope::default()
    })
}

fn wire(decoded: Decoded) -> Wire {
    decoded.encode().unwrap()
}

fn logs_of(resource: Option<Resource>, scope: Option<InstrumentationScope>, log_records: Vec<LogRecord>) -> Wire {
    let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
    let entry = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
    wire(Decoded::Logs(ExportLogsServiceRequest { resource_logs: vec![entry] }))
}

fn metrics_of(metrics: Vec<Metric>) -> Wire {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let entry = ResourceMetrics { resource: checkout(), scope_metrics, ..ResourceMetrics::default() };
    wire(Decoded::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![entry] }))
}

fn spans_of(spans: Vec<Span>) -> Wire {
    let scope_spans = vec![ScopeSpans { scope: library(), spans, ..ScopeSpans::default() }];
    let entry = ResourceSpans { resource: checkout(), scope_spans, ..ResourceSpans::default() };
    wire(Decoded::Traces(ExportTraceServiceRequest { resource_spans: vec![entry] }))
}

fn pretty(colors: Colors, wires: &[Wire]) -> String {
    let mut printer = Pretty::new(colors);
    let mut printed = String::new();
    for one in wires {
        printer
            .print(one, &mut |piece| {
                printed.push_str(piece);
                Ok(())
            })
            .unwrap();
    }
    printed
}

/// The lines of log records that carry only this body.
fn bodies(values: impl IntoIterator<Item = Value>) -> Vec<String> {
    let record = |value| LogRecord { body: any(value), ..LogRecord::default() };
    let printed = pretty(Colors::Off, &[logs_of(None, None, values.into_iter().map(record).collect())]);
    let mut lines = printed.lines();
    assert_eq!(lines.next(), Some("\u{2500}\u{2500} no resource attributes"));
    lines.map(|line| line.strip_prefix("no time                  -     -  ").unwrap().to_owned()).collect()
}

/// The three signals as people see them, without colour.
#[test]
fn prints_log_records() {
    let order = LogRecord {
        time_unix_nano: NOW + 123 * MILLISECOND,
        severity_number: 9,
        body: any(text("Order placed")),
        attributes: vec![
            attribute("order.id", Value::IntValue(17)),
            attribute("amount", Value::DoubleValue(12.5)),
            attribute("customer", text("Ada Lovelace")),
        ],
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        ..LogRecord::default()
    };
    let refused = LogRecord {
        observed_time_unix_nano: NOW + 130 * MILLISECOND,
        severity_number: 17,
        severity_text: "Error".to_owned(),
        body: any(text("Payment refused:\ncard expired")),
        event_name: "payment.refused".to_owned(),
        dropped_attributes_count: 2,
        ..LogRecord::default()
    };
    let odd = LogRecord {
        severity_text: "notice".to_owned(),
        body: any(Value::KvlistValue(KeyValueList {
            values: vec![
                attribute("path", text("/orders")),
                attribute("codes", Value::ArrayValue(ArrayValue { values: vec![any(Value::IntValue(1)).unwrap()] })),
                attribute("raw", Value::BytesValue(vec![0xca, 0xfe])),
            ],
        })),
        ..LogRecord::default()
    };
    let expected = "\
── checkout 1.4.2 k8s.namespace.name=shop k8s.pod.name=checkout-7d9f-x2x
   scope io.shop.orders 0.3
2026-11-24 08:14:03.123Z INFO  checkout  Order placed  order.id=17 amount=12.5 customer=\"Ada Lovelace\"  trace=…0d0e0f10  span=…05060708
2026-11-24 08:14:03.130Z ERROR checkout  payment.refused  Payment refused:  (2 attributes dropped)
    │ card expired
no time                  notice checkout  {path=/orders, codes=[1], raw=0xcafe}
";
    assert_eq!(pretty(Colors::Off, &[logs_of(checkout(), library(), vec![order, refused, odd])]), expected);
}

/// Spans show what they did, for how long and how it ended; their events follow.
#[test]
fn prints_spans() {
    let served = Span {
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        name: "POST /orders".to_owned(),
        kind: 2,
        start_time_unix_nano: NOW,
        end_time_unix_nano: NOW + 212 * MILLISECOND + 400_000,
        attributes: vec![attribute("http.response.status_code", Value::IntValue(201))],
        status: Some(Status { code: 1, message: String::new() }),
        ..Span::default()
    };
    let failed = Span {
        trace_id: (1..=16).collect(),
        span_id: vec![9; 8],
        parent_span_id: (1..=8).collect(),
        name: "charge card".to_owned(),
        kind: 3,
        start_time_unix_nano: NOW + MILLISECOND,
        status: Some(Status { code: 2, message: "card expired".to_owned() }),
        events: vec![span::Event {
            time_unix_nano: NOW + 4 * MILLISECOND + 250_000,
            name: "exception".to_owned(),
            attributes: vec![
                attribute("exception.type", text("CardExpired")),
                attribute("exception.message", text("card expired\nin May")),
                attribute("exception.stacktrace", text("CardExpired: in May\r\n\tat shop.Card.charge(Card.java:17)\n")),
                attribute(
                    "codes",
                    Value::ArrayValue(ArrayValue { values: vec![any(Value::BoolValue(true)).unwrap()] }),
                ),
            ],
            ..span::Event::default()
        }],
        ..Span::default()
    };
    let expected = "\
── checkout 1.4.2 k8s.namespace.name=shop k8s.pod.name=checkout-7d9f-x2x
   scope io.shop.orders 0.3
2026-11-24 08:14:03.000Z SPAN  checkout  POST /orders  212.4ms  server  ok  http.response.status_code=201  trace=…0d0e0f10  span=…05060708
2026-11-24 08:14:03.001Z SPAN  checkout  charge card  unfinished  client  error: card expired  trace=…0d0e0f10  span=…09090909  parent=…05060708
    +3.2ms  exception  exception.type=CardExpired exception.message=\"card expired\\nin May\" codes=[true]
    │ CardExpired: in May
    │     at shop.Card.charge(Card.java:17)
";
    assert_eq!(pretty(Colors::Off, &[spans_of(vec![served, failed])]), expected);
}

/// Metrics show name, attributes, value and unit; distributions are summed up.
#[test]
fn prints_metrics() {
    let point = |value| NumberDataPoint { time_unix_nano: NOW, value: Some(value), ..NumberDataPoint::default() };
    let metric = |name: &str, unit: &str, data| Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let idle = NumberDataPoint {
        attributes: vec![attribute("state", text("idle")), attribute("cpu", Value::IntValue(0))],
        ..point(number_data_point::Value::AsDouble(0.25))
    };
    let free = point(number_data_point::Value::AsInt(7_204_036_608));
    let absent = NumberDataPoint { flags: 1, ..point(number_data_point::Value::AsInt(0)) };
    let sum = Sum {
        data_points: vec![point(number_data_point::Value::AsInt(42))],
        aggregation_temporality: 1,
        is_monotonic: true,
    };
    let histogram = HistogramDataPoint {
        time_unix_nano: NOW,
        count: 4,
        sum: Some(1.5),
        bucket_counts: vec![2, 2, 0],
        explicit_bounds: vec![0.5, 1.0],
        max: Some(0.75),
        ..HistogramDataPoint::default()
    };
    let summary = SummaryDataPoint {
        time_unix_nano: NOW,
        count: 3,
        sum: 9.0,
        quantile_values: vec![ValueAtQuantile { quantile: 0.57, value: 3.0 }],
        ..SummaryDataPoint::default()
    };
    let metrics = vec![
        metric("system.cpu.utilization", "1", Data::Gauge(Gauge { data_points: vec![idle, absent] })),
        metric("orders", "{order}", Data::Sum(sum)),
        metric("memory.free", "By", Data::Gauge(Gauge { data_points: vec![free] })),
        metric(
            "http.server.request.duration",
            "s",
            Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 2 }),
        ),
        metric("gc.pause", "ms", Data::Summary(Summary { data_points: vec![summary] })),
        Metric { name: "empty".to_owned(), ..Metric::default() },
    ];
    let expected = "\
── checkout 1.4.2 k8s.namespace.name=shop k8s.pod.name=checkout-7d9f-x2x
2026-11-24 08:14:03.000Z GAUGE checkout  system.cpu.utilization{state=idle, cpu=0}  0.25
2026-11-24 08:14:03.000Z GAUGE checkout  system.cpu.utilization  no value
2026-11-24 08:14:03.000Z SUM   checkout  orders  42 order  delta
2026-11-24 08:14:03.000Z GAUGE checkout  memory.free  7204036608 By (6.7GiB)
2026-11-24 08:14:03.000Z HIST  checkout  http.server.request.duration  count=4 sum=1.5 max=0.75 avg=0.375 p50≈0.5 p90≈0.75 p99≈0.75 s
2026-11-24 08:14:03.000Z SUMRY checkout  gc.pause  count=3 sum=9.0 avg=3.0 p57=3.0 ms
";
    assert_eq!(pretty(Colors::Off, &[metrics_of(metrics)]), expected);
}

/// Colour marks severity, service and keys, is switched off after each, and equal ids look equal.
#[test]
fn colours() {
    let record = LogRecord {
        time_unix_nano: NOW,
        severity_number: 13,
        body: any(text("low")),
        attributes: vec![attribute("disk", text("sda"))],
        span_id: vec![0, 0, 0, 0, 0, 0, 0, 1],
        ..LogRecord::default()
    };
    let resource = Resource { attributes: vec![attribute("service.name", text("node"))], ..Resource::default() };
    let printed = pretty(Colors::On, &[logs_of(Some(resource), None, vec![record])]);
    let expected = "\
<2>──<0> <1>node<0>
<2>2026-11-24 08:14:03.000Z<0> <33>WARN<0>  <34>node<0>  low  <2>disk=<0>sda  <2>span=<0><32>…00000001<0>
";
    assert_eq!(printed.replace("\x1b[", "<").replace('m', ">"), expected);
}

/// A Resource or scope is shown again only when another one came between.
#[test]
fn shows_the_resource_when_it_changes() {
    let named = |name: &str| {
        let attributes = vec![attribute("service.name", text(name))];
        logs_of(Some(Resource { attributes, ..Resource::default() }), library(), vec![LogRecord::default()])
    };
    let printed = pretty(Colors::Off, &[named("a"), named("a"), named("b"), named("a")]);
    let heads = printed.lines().filter(|line| line.starts_with('\u{2500}')).collect::<Vec<_>>();
    assert_eq!(heads, ["\u{2500}\u{2500} a", "\u{2500}\u{2500} b", "\u{2500}\u{2500} a"]);
    assert_eq!(printed.matches("scope io.shop.orders").count(), 3);
}

/// Nothing that a sender writes ends a line, reaches the terminal as a command or turns text around.
#[test]
fn escapes_what_could_forge_output() {
    let harmful = "a\rc\t\x1b[31mred\x07\u{7f}\u{9b}1m\u{202e}rtl\u{2066}\u{2028}\u{feff}";
    let escaped = r"a\rc\t\e[31mred\u{7}\u{7f}\u{9b}1m\u{202e}rtl\u{2066}\u{2028}\u{feff}";
    assert_eq!(bodies([text(harmful)]), [escaped]);
    let forged: &str = &format!("1\n2026-11-24 08:14:03.123Z INFO  forged\r\n{harmful}");
    let everywhere = LogRecord {
        severity_text: forged.to_owned(),
        event_name: forged.to_owned(),
        body: any(text(forged)),
        attributes: vec![attribute(forged, text(forged)), attribute("exception.stacktrace", text(forged))],
        ..LogRecord::default()
    };
    let named = span::Event {
        name: forged.to_owned(),
        attributes: vec![attribute(forged, text(forged))],
        ..span::Event::default()
    };
    let span = Span {
        name: forged.to_owned(),
        status: Some(Status { code: 2, message: forged.to_owned() }),
        events: vec![named],
        ..Span::default()
    };
    let gauge = Gauge {
        data_points: vec![NumberDataPoint {
            attributes: vec![attribute(forged, text(forged))],
            ..NumberDataPoint::default()
        }],
    };
    let metric = Metric {
        name: forged.to_owned(),
        unit: forged.to_owned(),
        data: Some(Data::Gauge(gauge)),
        ..Metric::default()
    };
    let resource = Resource {
        attributes: vec![
            attribute("service.name", text(forged)),
            attribute("service.version", text(forged)),
            attribute(forged, text(forged)),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: forged.to_owned(),
        version: forged.to_owned(),
        attributes: vec![attribute(forged, text(forged))],
        ..InstrumentationScope::default()
    };
    let wires =
        [logs_of(Some(resource), Some(scope), vec![everywhere]), spans_of(vec![span]), metrics_of(vec![metric])];
    let printed = pretty(Colors::Off, &wires);
    let margins = ["\u{2500}\u{2500} ", "   scope ", "   no scope", "no time ", "    \u{2502} ", "    +"];
    let is_own = |line: &str| margins.iter().any(|margin| line.starts_with(margin));
    assert!(printed.lines().all(is_own), "{printed}");
    assert_eq!(printed.lines().count(), (3 + 2 + 3) + 4 + 2, "{printed}");
    let allowed = |character: char| character == '\n' || !character.is_control();
    assert!(printed.chars().all(allowed), "{printed:?}");
    assert!(!printed.contains(['\u{202e}', '\u{2066}', '\u{2028}', '\u{feff}']), "{printed:?}");
}

/// A value among others shows where it ends and of which type it is; text of a person's language stays as it is.
#[test]
fn tells_values_apart() {
    let among = |value| Value::ArrayValue(ArrayValue { values: vec![any(value).unwrap()] });
    let shown = bodies([
        among(text("200")),
        among(Value::IntValue(200)),
        among(text("true")),
        among(Value::BoolValue(true)),
        among(text("")),
        among(text("a=b")),
        among(text(r#"say "hi\""#)),
        among(text("10.0.0.1:4317")),
        among(text("日本語")),
        among(Value::DoubleValue(1.0)),
        among(Value::DoubleValue(f64::NAN)),
        among(Value::BytesValue(vec![0xab; 40])),
        Value::BytesValue(Vec::new()),
    ]);
    let expected = [
        r#"["200"]"#,
        "[200]",
        r#"["true"]"#,
        "[true]",
        r#"[""]"#,
        r#"["a=b"]"#,
        r#"["say \"hi\\\""]"#,
        "[10.0.0.1:4317]",
        "[日本語]",
        "[1.0]",
        "[NaN]",
        &format!("[0x{}…[+8 bytes]]", "ab".repeat(32)),
        "0x",
    ];
    assert_eq!(shown, expected);
}

/// A text of a megabyte shows its beginning and how much is left out, cut between characters.
#[test]
fn shortens_long_texts() {
    let long = format!("x{}", "\u{e9}".repeat(500_000));
    let [line] = <[String; 1]>::try_from(bodies([text(&long)])).unwrap();
    let (shown, rest) = line.split_once('\u{2026}').unwrap();
    assert!(long.starts_with(shown) && shown.len() <= 16 * 1024);
    assert_eq!(rest, format!("[+{} bytes]", long.len() - shown.len()));
}

/// Every severity has its name; numbers that the specification does not know show the source's text.
#[test]
fn names_severities() {
    let names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    for number in 0..26 {
        let record = LogRecord { severity_number: number, severity_text: "odd".to_owned(), ..LogRecord::default() };
        let printed = pretty(Colors::Off, &[logs_of(checkout(), None, vec![record])]);
        let place = usize::try_from(number - 1).map_or(usize::MAX, |place| place / 4);
        let expected = names.get(place).copied().unwrap_or("odd");
        let line = printed.lines().nth(1).unwrap();
        assert!(line.starts_with(&format!("no time                  {expected:<5} checkout")), "{number}: {line}");
    }
}

/// Ten thousand resources are printed in pieces of whole lines; entries without records print nothing.
#[test]
fn prints_many_resources_in_pieces() {
    let entry = |number: usize| ResourceLogs {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", text(&format!("service-{number}")))],
            ..Resource::default()
        }),
        scope_logs: vec![ScopeLogs {
            log_records: vec![LogRecord::default(); usize::from(number.is_multiple_of(2))],
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    let request = wire(Decoded::Logs(ExportLogsServiceRequest { resource_logs: (0..10_000).map(entry).collect() }));
    let mut pieces = Vec::new();
    let mut printer = Pretty::new(Colors::Off);
    printer
        .print(&request, &mut |piece| {
            pieces.push(piece.to_owned());
            Ok(())
        })
        .unwrap();
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.ends_with('\n')));
    assert_eq!(pieces.concat().lines().count(), 2 * 5_000);
    assert_eq!(pretty(Colors::Off, &[Wire::empty(Signal::Traces)]), "");
}

/// An output in memory that fails as it is told.
#[derive(Clone, Default)]
struct Paper {
    written: Arc<Mutex<Vec<u8>>>,
    /// Answers of the next writes: how many bytes are taken, or an error; all of them when there is none.
    script: Arc<Mutex<Vec<io::Result<usize>>>>,
}

impl Paper {
    fn failing(script: Vec<io::Result<usize>>) -> Self {
        Self { script: Arc::new(Mutex::new(script)), ..Self::default() }
    }

    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }

    fn printer(&self, form: Form) -> Printer {
        Printer { output: Output::new("the paper", self.clone()), form }
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut script = self.script.lock().unwrap();
        let taken = if script.is_empty() { bytes.len() } else { script.remove(0)? };
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Through the sink: what was answered Delivered is on the paper, in order, and reads back as what was delivered.
#[tokio::test]
async fn delivers_json_lines() {
    let paper = Paper::default();
    let sink = Console { thread: WriterThread::new("test".to_owned(), paper.printer(Form::OtlpJson)) };
    let payloads = [test_kit::logs(&[("k", "v")], [1, 2]), test_kit::metrics(&[], [3]), test_kit::traces(&[], [4])];
    for (place, payload) in payloads.iter().enumerate() {
        assert_eq!(within("it is printed", sink.deliver(payload.clone())).await, Outcome::Delivered);
        assert_eq!(paper.text().lines().count(), place + 1);
    }
    within("it ends", sink.finish()).await.unwrap();
    let printed = paper.text();
    let lines: Vec<_> = printed.lines().collect();
    let logs: ExportLogsServiceRequest = serde_json::from_str(lines[0]).unwrap();
    let metrics: ExportMetricsServiceRequest = serde_json::from_str(lines[1]).unwrap();
    let traces: ExportTraceServiceRequest = serde_json::from_str(lines[2]).unwrap();
    let read = [Decoded::Logs(logs), Decoded::Metrics(metrics), Decoded::Traces(traces)];
    assert_eq!(read.to_vec(), payloads.map(|payload| test_kit::wire(&payload).decode()).to_vec());
}

/// When the reader has gone, records are refused for good, and with a full device they are tried again; then the next
/// line begins cleanly and the Resource is shown again.
#[test]
fn answers_errors_of_the_output() {
    let record = logs_of(checkout(), None, vec![LogRecord::default()]);
    let broken = Paper::failing(vec![Err(io::ErrorKind::BrokenPipe.into())]);
    let gone = broken.printer(Form::OtlpJson).write(&record);
    assert_eq!(gone, Outcome::rejected(RejectionKind::Unsupported, "nobody reads the paper any more"));

    let full = Paper::failing(vec![Ok(7), Err(io::ErrorKind::StorageFull.into())]);
    let mut printer = full.printer(Form::Pretty(Pretty::new(Colors::Off)));
    let Outcome::Retry { reason, .. } = printer.write(&record) else { panic!("a full device is not for good") };
    assert!(reason.starts_with("cannot write to the paper: "), "{reason}");
    assert_eq!(printer.write(&record), Outcome::Delivered);
    let printed = full.text();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 3, "{printed}");
    assert!(lines[1].starts_with("\u{2500}\u{2500} checkout"), "{printed}");
}

/// The operating system's own answers: a pipe without a reader, a device that is full.
#[test]
fn meets_real_outputs() {
    let record = logs_of(checkout(), None, vec![LogRecord::default()]);
    let printer = |target: Box<dyn io::Write + Send>| Printer {
        output: Output::new("the output", target),
        form: Form::Pretty(Pretty::new(Colors::Off)),
    };
    let (reader, writer) = io::pipe().unwrap();
    let mut piped = printer(Box::new(writer));
    assert_eq!(piped.write(&record), Outcome::Delivered);
    drop(reader);
    let gone = Outcome::rejected(RejectionKind::Unsupported, "nobody reads the output any more");
    assert_eq!(piped.write(&record), gone);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let reason = "cannot write to the output: No space left on device (os error 28)";
    assert_eq!(printer(Box::new(full)).write(&record), Outcome::retry(reason));
}

/// An output that is switched to not blocking, or takes little at a time, is waited for.
#[test]
fn waits_for_a_busy_output() {
    let busy = Paper::failing(vec![
        Err(io::ErrorKind::WouldBlock.into()),
        Ok(3),
        Err(io::ErrorKind::Interrupted.into()),
        Ok(1),
    ]);
    let record = logs_of(None, None, vec![LogRecord::default()]);
    assert_eq!(busy.printer(Form::OtlpJson).write(&record), Outcome::Delivered);
    assert_eq!(busy.text(), format!("{}\n", otlp::json::to_json(&record)));
}

/// `NO_COLOR` counts when it is not empty.
#[test]
fn follows_no_color() {
    assert!(wants_color(None));
    assert!(wants_color(Some("".as_ref())));
    assert!(!wants_color(Some("1".as_ref())));
}

/// Every combination of options builds, and standard error takes what is delivered.
#[tokio::test]
async fn builds_from_options() {
    let (_threads, lanes) = test_kit::lanes(1);
    let id = engine_config::ComponentId::new("screen").unwrap();
    let context =
        BuildContext { id, signals: SignalSet::ALL, lanes, services: engine_core::service::Services::default() };
    for format in [Format::Pretty, Format::OtlpJson] {
        for color in [Color::Auto, Color::Always, Color::Never] {
            let sink = Console::build(&Options { format, color, target: Target::Stderr }, &context).unwrap();
            // Nothing to see among the output of the tests.
            let payload = Wire::empty(Signal::Logs).into();
            assert_eq!(within("it is printed", sink.deliver(payload)).await, Outcome::Delivered);
            within("it ends", sink.finish()).await.unwrap();
        }
    }
    assert!(engine_core::registry::find(engine_config::Kind::Sink, "console").is_some());
}
