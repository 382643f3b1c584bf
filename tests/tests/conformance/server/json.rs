//! OTLP/JSON in its details: ids, enumerations, numbers, unknown keys, values.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data as MetricData;
use opentelemetry_proto::tonic::metrics::v1::{exemplar, number_data_point};
use serde_json::{Value as Json, json};

use crate::harness::{Bench, Data, Export, Signal, Transport, Verdict};

/// A request of one log record.
fn log(record: Json) -> (Signal, Json) {
    (Signal::Logs, json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }))
}

/// A request of one span.
fn span(span: Json) -> (Signal, Json) {
    (Signal::Traces, json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }))
}

/// A request of one metric.
fn metric(metric: Json) -> (Signal, Json) {
    (Signal::Metrics, json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] }))
}

/// A request of one data point of a gauge.
fn point(point: Json) -> (Signal, Json) {
    metric(json!({ "name": "m", "gauge": { "dataPoints": [point] } }))
}

impl Bench {
    async fn passes_json(&self, (signal, document): (Signal, Json)) -> Data {
        self.passes(Export::json(signal, document.to_string())).await
    }

    async fn refuses_json(&self, (signal, document): (Signal, Json)) -> String {
        let answer = Export::json(signal, document.to_string()).send(&self.engine).await;
        assert_eq!(answer.status.as_u16(), 400, "{document}");
        answer.refused(Verdict::Invalid).message
    }
}

/// Ids in hexadecimal of either case are the bytes that they say, wherever they stand.
#[tokio::test]
async fn s22_hexadecimal_ids() {
    let bench = Bench::start().await;
    let trace: Vec<u8> = (0xa0..0xb0).collect();
    let id: Vec<u8> = (0xc8..0xd0).collect();
    let lower = ("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf".to_owned(), "c8c9cacbcccdcecf".to_owned());
    let upper = (lower.0.to_uppercase(), lower.1.to_uppercase());
    for (trace_id, span_id) in [lower, upper] {
        let document = span(json!({
            "traceId": trace_id, "spanId": span_id, "parentSpanId": span_id,
            "links": [{ "traceId": trace_id, "spanId": span_id }],
        }));
        let arrived = bench.passes_json(document).await;
        let arrived = arrived.span();
        assert_eq!((&arrived.trace_id, &arrived.span_id, &arrived.parent_span_id), (&trace, &id, &id));
        assert_eq!((&arrived.links[0].trace_id, &arrived.links[0].span_id), (&trace, &id));

        let arrived = bench.passes_json(log(json!({ "traceId": trace_id, "spanId": span_id }))).await;
        assert_eq!((&arrived.log_record().trace_id, &arrived.log_record().span_id), (&trace, &id));

        let exemplar = json!({ "traceId": trace_id, "spanId": span_id, "asInt": "1" });
        let arrived = bench.passes_json(point(json!({ "asInt": "1", "exemplars": [exemplar] }))).await;
        let Some(MetricData::Gauge(gauge)) = &arrived.metric().data else { panic!("{arrived:?}") };
        let exemplar = &gauge.data_points[0].exemplars[0];
        assert_eq!((&exemplar.trace_id, &exemplar.span_id), (&trace, &id));
        assert_eq!(exemplar.value, Some(exemplar::Value::AsInt(1)));
    }
}

/// Ids in base64, of an odd number of digits or with other letters are refused, never stored as other bytes.
#[tokio::test]
async fn s23_ids_that_are_no_hexadecimal() {
    let bench = Bench::start().await;
    let base64 = "oKGio6SlpqeoqaqrrK2urw==";
    for wrong in [base64, "a0a", "a0a1a2a3a4a5a6a7a8a9aaabacadaea", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "0xa0a1", " a0"]
    {
        for field in ["traceId", "spanId", "parentSpanId"] {
            bench.refuses_json(span(json!({ field: wrong }))).await;
        }
        for field in ["traceId", "spanId"] {
            bench.refuses_json(span(json!({ "links": [{ field: wrong }] }))).await;
            bench.refuses_json(log(json!({ field: wrong }))).await;
            bench.refuses_json(point(json!({ "asInt": "1", "exemplars": [{ field: wrong }] }))).await;
        }
    }
    assert!(bench.backend.received().is_empty());
}

/// Empty ids and ids of zeros are passed on as they are, with the rest of the request, and count as any record: what they
/// mean is for whoever stores them.
#[tokio::test]
async fn s24_ids_without_meaning() {
    let bench = Bench::start().await;
    let zeros = "0".repeat(32);
    let ids = ["", &zeros, "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"];
    let bytes = [vec![], vec![0; 16], (0xa0..0xb0).collect()];
    let records: Vec<_> = ids.iter().map(|id| json!({ "traceId": id })).collect();
    let spans = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": records }] }] });
    let Data::Traces(request) = bench.passes_json((Signal::Traces, spans)).await else { panic!("no traces") };
    let arrived = request.resource_spans[0].scope_spans[0].spans.iter().map(|span| span.trace_id.clone());
    assert_eq!(arrived.collect::<Vec<_>>(), bytes);
    let logs = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] });
    let Data::Logs(request) = bench.passes_json((Signal::Logs, logs)).await else { panic!("no logs") };
    let arrived = request.resource_logs[0].scope_logs[0].log_records.iter().map(|record| record.trace_id.clone());
    assert_eq!(arrived.collect::<Vec<_>>(), bytes);
    assert_eq!(bench.engine.ledger("out").await.delivered, 6);
}

/// Enumerations are numbers; names are refused, as OTLP/JSON does not have them.
#[tokio::test]
async fn s25_enumerations() {
    let bench = Bench::start().await;
    let arrived = bench.passes_json(span(json!({ "kind": 2, "status": { "code": 2 } }))).await;
    assert_eq!((arrived.span().kind, arrived.span().status.as_ref().unwrap().code), (2, 2));
    assert_eq!(bench.passes_json(log(json!({ "severityNumber": 17 }))).await.log_record().severity_number, 17);
    let sum = json!({ "name": "m", "sum": { "aggregationTemporality": 2, "dataPoints": [{ "asInt": "1" }] } });
    let arrived = bench.passes_json(metric(sum)).await;
    assert!(matches!(&arrived.metric().data, Some(MetricData::Sum(sum)) if sum.aggregation_temporality == 2));
    let before = bench.backend.received().len();
    bench.refuses_json(span(json!({ "kind": "SPAN_KIND_SERVER" }))).await;
    bench.refuses_json(span(json!({ "status": { "code": "STATUS_CODE_ERROR" } }))).await;
    bench.refuses_json(log(json!({ "severityNumber": "SEVERITY_NUMBER_ERROR" }))).await;
    let named = "AGGREGATION_TEMPORALITY_DELTA";
    bench.refuses_json(metric(json!({ "sum": { "aggregationTemporality": named }}))).await;
    assert_eq!(bench.backend.received().len(), before);
}

/// Numbers of enumerations that nobody knows are passed on, in JSON and in protobuf.
#[tokio::test]
async fn s26_unknown_enumeration() {
    let bench = Bench::start().await;
    let kind = span(json!({ "kind": 99, "status": { "code": -7 } }));
    let severity = log(json!({ "severityNumber": 99 }));
    let temporality = json!({ "sum": { "aggregationTemporality": 99, "dataPoints": [{ "asInt": "1" }] } });
    for document in [kind, severity, metric(temporality)] {
        let arrived = bench.passes_json(document).await;
        match &arrived {
            Data::Traces(_) => {
                assert_eq!((arrived.span().kind, arrived.span().status.as_ref().unwrap().code), (99, -7));
            }
            Data::Logs(_) => assert_eq!(arrived.log_record().severity_number, 99),
            Data::Metrics(_) => {
                let Some(MetricData::Sum(sum)) = &arrived.metric().data else { panic!("{arrived:?}") };
                assert_eq!(sum.aggregation_temporality, 99);
            }
        }
        for transport in Transport::BINARY {
            bench.passes_unchanged(transport, &arrived).await;
        }
    }
}

/// Unknown keys of JSON are ignored at every level, whatever is in them; unknown fields of protobuf are passed on, but for
/// those of the request itself, which mean nothing once requests are joined.
#[tokio::test]
async fn s27_unknown_fields() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        let data = Data::of(signal, 1);
        let mut document: Json = serde_json::from_slice(&data.to_json()).unwrap();
        add_unknown_keys(&mut document);
        bench.passes_json((signal, document)).await.assert_same(&data);
    }
    for transport in Transport::BINARY {
        for signal in Signal::ALL {
            let data = Data::of(signal, 1);
            // Field 100 of the request, a text.
            let unknown = [&data.encode()[..], &[0xa2, 0x06, 3], b"new"].concat();
            bench.passes(Export::raw(transport, signal, unknown)).await.assert_same(&data);
            // The same in the entry, whose length grows by it.
            let entry = data.encode();
            let (length, digits) = length_of(&entry[1..]);
            let content = [&entry[1 + digits..], &[0xa2, 0x06, 3], b"new"].concat();
            assert_eq!(content.len(), length + 6);
            let body = [&[0x0a][..], &varint(content.len()), &content].concat();
            let answer = Export::raw(transport, signal, body.clone()).send(&bench.engine).await;
            answer.took_all();
            assert_eq!(bench.backend.received().last().unwrap().body[..], body[..], "what is unknown is passed on");
        }
    }
}

/// Names in snake_case are unknown keys: success with no record, and a warning that names them.
#[tokio::test]
async fn s28_snake_case() {
    let bench = Bench::start().await;
    let names = [
        (Signal::Logs, "resource_logs", "scope_logs", "log_records"),
        (Signal::Metrics, "resource_metrics", "scope_metrics", "metrics"),
        (Signal::Traces, "resource_spans", "scope_spans", "spans"),
    ];
    for (signal, entries, scopes, records) in names {
        let document = json!({ entries: [{ scopes: [{ records: [{}] }] }] });
        let answer = Export::json(signal, document.to_string()).send(&bench.engine).await;
        let (rejected, message) = answer.partial();
        assert_eq!(rejected, 0);
        assert!(message.contains(entries), "{message}");
    }
    assert!(bench.backend.received().is_empty());
    assert_eq!(bench.engine.component("apps").await.errors["snake_case_keys"], 3);
}

/// 64-bit integers are exact as numbers and as texts, to both ends of their range.
#[tokio::test]
async fn s29_integers() {
    let bench = Bench::start().await;
    for value in [0, 1, -1, i64::MAX, i64::MIN] {
        for written in [json!(value), json!(value.to_string())] {
            let record = json!({ "body": { "intValue": written } });
            let arrived = bench.passes_json(log(record)).await;
            let body = arrived.log_record().body.clone().unwrap();
            assert_eq!(body.value, Some(Value::IntValue(value)));
            let arrived = bench.passes_json(point(json!({ "asInt": written }))).await;
            let Some(MetricData::Gauge(gauge)) = &arrived.metric().data else { panic!("{arrived:?}") };
            assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::AsInt(value)));
        }
    }
    for value in [0, 1, u64::MAX] {
        for written in [json!(value), json!(value.to_string())] {
            let times = json!({ "timeUnixNano": written, "observedTimeUnixNano": written });
            let arrived = bench.passes_json(log(times)).await;
            let record = arrived.log_record();
            assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (value, value));
            let times = json!({ "startTimeUnixNano": written, "endTimeUnixNano": written });
            let arrived = bench.passes_json(span(times)).await;
            assert_eq!((arrived.span().start_time_unix_nano, arrived.span().end_time_unix_nano), (value, value));
            let points = json!([{ "count": written, "bucketCounts": [written, "1", 2], "timeUnixNano": written }]);
            let arrived = bench.passes_json(metric(json!({ "histogram": { "dataPoints": points } }))).await;
            let Some(MetricData::Histogram(histogram)) = &arrived.metric().data else { panic!("{arrived:?}") };
            let found = &histogram.data_points[0];
            assert_eq!((found.count, &found.bucket_counts[..]), (value, &[value, 1, 2][..]));
        }
    }
    let before = bench.backend.received().len();
    for wrong in ["9223372036854775808", "-9223372036854775809", "1.5", "x", ""] {
        bench.refuses_json(log(json!({ "body": { "intValue": wrong } }))).await;
    }
    assert_eq!(bench.backend.received().len(), before);
}

/// Floating-point numbers are exact: the three that JSON has no number for, zeros of either sign, both ends.
#[tokio::test]
async fn s30_doubles() {
    let bench = Bench::start().await;
    let cases = [
        (json!("NaN"), f64::NAN),
        (json!("Infinity"), f64::INFINITY),
        (json!("-Infinity"), f64::NEG_INFINITY),
        (json!(-0.0), -0.0),
        (json!(0), 0.0),
        (json!(5), 5.0),
        (json!("2.5"), 2.5),
        (json!(1e308), 1e308),
        (json!(f64::MIN_POSITIVE), f64::MIN_POSITIVE),
        (json!(0.1), 0.1),
    ];
    for (written, value) in cases {
        let arrived = bench.passes_json(point(json!({ "asDouble": written }))).await;
        let Some(MetricData::Gauge(gauge)) = &arrived.metric().data else { panic!("{arrived:?}") };
        let Some(number_data_point::Value::AsDouble(found)) = gauge.data_points[0].value else { panic!("{arrived:?}") };
        assert!(is_same(found, value), "{written}: {found}");
        let arrived = bench.passes_json(log(json!({ "body": { "doubleValue": written } }))).await;
        let body = arrived.log_record().body.clone().unwrap();
        assert!(matches!(body.value, Some(Value::DoubleValue(found)) if is_same(found, value)), "{written}: {body:?}");
    }
}

/// Bytes are read from base64 of either alphabet, with padding or without.
#[tokio::test]
async fn s31_bytes() {
    let bench = Bench::start().await;
    for (written, bytes) in [
        ("+/+/", &[0xfb, 0xff, 0xbf][..]),
        ("-_-_", &[0xfb, 0xff, 0xbf]),
        ("+/8=", &[0xfb, 0xff]),
        ("+/8", &[0xfb, 0xff]),
        ("-_8", &[0xfb, 0xff]),
        ("+w==", &[0xfb]),
        ("-w", &[0xfb]),
        ("", &[]),
    ] {
        let arrived = bench.passes_json(log(json!({ "body": { "bytesValue": written } }))).await;
        let body = arrived.log_record().body.clone().unwrap();
        assert_eq!(body.value, Some(Value::BytesValue(bytes.to_vec())), "{written}");
    }
    let before = bench.backend.received().len();
    for wrong in ["+", "++++=====", "a*bc", "===="] {
        bench.refuses_json(log(json!({ "body": { "bytesValue": wrong } }))).await;
    }
    assert_eq!(bench.backend.received().len(), before);
}

/// null, and what is left out, is unset.
#[tokio::test]
async fn s32_null() {
    let bench = Bench::start().await;
    let with_null = json!({
        "timeUnixNano": null, "severityNumber": null, "severityText": null, "body": null, "attributes": null,
        "droppedAttributesCount": null, "flags": null, "traceId": null, "spanId": null, "eventName": null,
    });
    let document = json!({ "resourceLogs": [
        { "resource": null, "schemaUrl": null, "scopeLogs": [{ "scope": null, "schemaUrl": null, "logRecords": [with_null] }] },
    ] });
    let expected = bench.passes_json(log(json!({}))).await;
    bench.passes_json((Signal::Logs, document)).await.assert_same(&expected);

    let with_null =
        json!({ "name": null, "kind": null, "events": null, "links": null, "status": null, "attributes": null });
    let expected = bench.passes_json(span(json!({}))).await;
    bench.passes_json(span(with_null)).await.assert_same(&expected);

    let with_null =
        json!({ "startTimeUnixNano": null, "attributes": null, "exemplars": null, "asInt": null, "flags": null });
    let expected = bench.passes_json(point(json!({}))).await;
    bench.passes_json(point(with_null)).await.assert_same(&expected);
    for signal in Signal::ALL {
        let entries = match signal {
            Signal::Logs => "resourceLogs",
            Signal::Metrics => "resourceMetrics",
            Signal::Traces => "resourceSpans",
        };
        let document = json!({ entries: null });
        Export::json(signal, document.to_string()).send(&bench.engine).await.took_all();
    }
}

/// Every kind of attribute value is taken: unset, empty lists and maps, mixed and nested ones, bytes.
#[tokio::test]
async fn s33_attribute_values() {
    let bench = Bench::start().await;
    let values = [
        json!({}),
        json!({ "stringValue": "" }),
        json!({ "boolValue": false }),
        json!({ "arrayValue": { "values": [] } }),
        json!({ "kvlistValue": { "values": [] } }),
        json!({ "kvlistValue": { "values": [{ "key": "k" }, { "key": "", "value": {} }] } }),
        json!({ "arrayValue": { "values": [
            { "stringValue": "a" }, { "intValue": "1" }, { "boolValue": true }, {}, { "doubleValue": 0.5 },
            { "bytesValue": "AQI=" }, { "arrayValue": { "values": [{ "kvlistValue": { "values": [] } }] } },
        ] } }),
    ];
    for value in values {
        let attributes = json!([{ "key": "k", "value": value }]);
        for (signal, document) in [
            log(json!({ "attributes": attributes, "body": value })),
            span(json!({ "attributes": attributes, "events": [{ "attributes": attributes }] })),
            point(json!({ "attributes": attributes, "asInt": "1" })),
        ] {
            let expected = Data::from_json(signal, document.to_string().as_bytes());
            bench.passes_json((signal, document)).await.assert_same(&expected);
            for transport in Transport::BINARY {
                bench.passes_unchanged(transport, &expected).await;
            }
        }
    }
    // A list that is left out is an empty one; the serde of opentelemetry-proto insists on it.
    for (short, long) in [
        (json!({ "arrayValue": {} }), json!({ "arrayValue": { "values": [] } })),
        (json!({ "kvlistValue": {} }), json!({ "kvlistValue": { "values": [] } })),
    ] {
        let expected = bench.passes_json(log(json!({ "body": long }))).await;
        bench.passes_json(log(json!({ "body": short }))).await.assert_same(&expected);
    }
}

/// A body may be nested as deep as every receiver can decode: 32 maps or 48 lists. What is deeper is refused and never
/// stored, and a hundred thousand levels cost no stack.
#[tokio::test]
async fn s34_nesting() {
    let bench = Bench::start().await;
    for (depth, is_taken) in [(1, true), (32, true), (33, false), (200, false), (100_000, false)] {
        check_nesting(&bench, Nested::Maps, depth, is_taken).await;
    }
    for (depth, is_taken) in [(1, true), (48, true), (49, false), (200, false), (100_000, false)] {
        check_nesting(&bench, Nested::Lists, depth, is_taken).await;
    }
    // What is unknown may be as deep as it likes, because it is skipped.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!("{{\"unknown\":{deep},\"resourceLogs\":[]}}");
    Export::json(Signal::Logs, text).send(&bench.engine).await.took_all();
}

/// What a body is nested of.
#[derive(Clone, Copy, Debug)]
enum Nested {
    Maps,
    Lists,
}

async fn check_nesting(bench: &Bench, nested: Nested, depth: usize, is_taken: bool) {
    let (open, close) = match nested {
        Nested::Maps => ("{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":", "}]}}"),
        Nested::Lists => ("{\"arrayValue\":{\"values\":[", "]}}"),
    };
    let text = format!(
        "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{}{{}}{}}}]}}]}}]}}",
        open.repeat(depth),
        close.repeat(depth)
    );
    let bytes = nested_protobuf(nested, depth);
    for export in [
        Export::json(Signal::Logs, text),
        Export::raw(Transport::Grpc, Signal::Logs, bytes.clone()),
        Export::raw(Transport::Protobuf, Signal::Logs, bytes.clone()),
    ] {
        let before = bench.backend.received().len();
        let answer = export.send(&bench.engine).await;
        if is_taken {
            answer.took_all();
            assert_eq!(bench.backend.received()[before].data.encode(), bytes, "{nested:?} {depth}");
        } else {
            answer.refused(Verdict::Invalid);
            assert_eq!(bench.backend.received().len(), before, "{nested:?} {depth}");
        }
    }
}

/// A log record with a body of `depth` levels, written from the inside out.
fn nested_protobuf(nested: Nested, depth: usize) -> Vec<u8> {
    // Backwards, so that a length is known when it is written, and nothing is copied again.
    let mut reversed: Vec<u8> = Vec::new();
    fn head(reversed: &mut Vec<u8>, key: u8) {
        let length = varint(reversed.len());
        reversed.extend(length.iter().rev());
        reversed.push(key);
    }
    for _ in 0..depth {
        match nested {
            Nested::Maps => {
                head(&mut reversed, 0x12);
                reversed.extend(b"k\x01\x0a");
                head(&mut reversed, 0x0a);
                head(&mut reversed, 0x32);
            }
            Nested::Lists => {
                head(&mut reversed, 0x0a);
                head(&mut reversed, 0x2a);
            }
        }
    }
    // The body, the record, the scope, the entry.
    for key in [0x2a, 0x12, 0x12, 0x0a] {
        head(&mut reversed, key);
    }
    reversed.reverse();
    reversed
}

/// Adds keys that nobody knows to every object.
fn add_unknown_keys(value: &mut Json) {
    match value {
        Json::Object(map) => {
            map.values_mut().for_each(add_unknown_keys);
            map.insert("fromTheFuture".to_owned(), json!({ "deep": [1, { "er": null }], "name": "x" }));
            map.insert("futureNumber".to_owned(), json!(1.5e300));
        }
        Json::Array(values) => values.iter_mut().for_each(add_unknown_keys),
        _ => {}
    }
}

fn is_same(found: f64, expected: f64) -> bool {
    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A varint at the start of bytes, and its length.
fn length_of(bytes: &[u8]) -> (usize, usize) {
    let digits = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    (bytes[..digits].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f)), digits)
}
