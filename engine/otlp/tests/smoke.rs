//! The public surface on one small, ordinary request of each signal; the properties are in `properties.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{Buf, Bytes};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use otlp::{AttributeValue, Decoded, EditAction, ResourceEdit, ResourceEdits, Signal, SplitLimits, ValueView, Wire};

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        key_strindex: 0,
    }
}

fn logs(resources: usize, records: usize) -> ExportLogsServiceRequest {
    let entry = |index: usize| ResourceLogs {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", &format!("shop-{index}")), attribute("host.name", "a")],
            ..Resource::default()
        }),
        scope_logs: vec![ScopeLogs {
            scope: Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() }),
            log_records: (0..records)
                .map(|record| LogRecord {
                    time_unix_nano: record as u64,
                    body: Some(AnyValue {
                        value: Some(Value::StringValue(format!("line {record} {}", "x".repeat(99)))),
                    }),
                    ..LogRecord::default()
                })
                .collect(),
            schema_url: "https://example.com/scope".to_owned(),
        }],
        schema_url: "https://example.com/resource".to_owned(),
    };
    ExportLogsServiceRequest { resource_logs: (0..resources).map(entry).collect() }
}

fn wire(resources: usize, records: usize) -> Wire {
    Decoded::Logs(logs(resources, records)).encode().unwrap()
}

#[test]
fn reads_what_was_written() {
    let wire = wire(2, 3);
    assert_eq!((wire.records(), wire.resource_count(), wire.signal()), (6, 2, Signal::Logs));
    let names: Vec<_> = wire.resources().map(|resource| resource.get("service.name")).collect();
    assert_eq!(names, [Some(ValueView::Str("shop-0")), Some(ValueView::Str("shop-1"))]);
    let scope = wire.resources().next().unwrap().scopes().next().unwrap();
    assert_eq!((scope.name(), scope.schema_url()), ("lib", "https://example.com/scope"));
    let times: Vec<_> = scope.log_records().map(|log| log.time_unix_nano()).collect();
    assert_eq!(times, [0, 1, 2]);
    assert_eq!(wire.decode(), Decoded::Logs(logs(2, 3)));
}

#[test]
fn edits_share_records() {
    let before = wire(1, 100);
    let old = before.rope().into_bytes();
    let edits = ResourceEdits::new(vec![
        ResourceEdit {
            key: "service.name".to_owned(),
            action: EditAction::Upsert(AttributeValue::String("till".to_owned())),
        },
        ResourceEdit { key: "k8s.pod.name".to_owned(), action: EditAction::Insert(AttributeValue::Int(-7)) },
        ResourceEdit { key: "host.name".to_owned(), action: EditAction::Delete },
        ResourceEdit { key: "absent".to_owned(), action: EditAction::Update(AttributeValue::Bool(true)) },
    ]);
    let after = before.edit_resources(&edits);
    let rope = after.rope();
    let shared = rope.pieces().iter().any(|piece| old.as_ptr_range().contains(&piece.as_ptr()));
    assert!(shared, "record bytes are slices of the original");
    let attributes: Vec<_> = after.resources().next().unwrap().attributes().map(|a| (a.key, a.value)).collect();
    assert_eq!(attributes, [("service.name", ValueView::Str("till")), ("k8s.pod.name", ValueView::Int(-7))]);
    assert_eq!(after.records(), 100);
    assert_eq!(after.decode().records(), 100);
}

#[test]
fn splits_at_records_and_joins_again() {
    let whole = wire(3, 40);
    let parts = whole.split(&SplitLimits { max_bytes: usize::MAX, max_records: 25 });
    let counts: Vec<_> = parts.iter().map(Wire::records).collect();
    assert_eq!(counts, [25, 25, 25, 25, 20]);
    let joined = Wire::concat(parts);
    assert_eq!(joined.records(), 120);
    assert_eq!(joined.decode().records(), 120);
    let (left, right) = joined.halve().unwrap();
    assert_eq!((left.records(), right.records()), (60, 60));
    for part in left.split(&SplitLimits { max_bytes: 1000, max_records: 1000 }) {
        assert!(part.len() <= 1000, "{} bytes", part.len());
    }
}

#[test]
fn selects_by_resource() {
    let (first, others) =
        wire(3, 2).partition(|resource| resource.get("service.name") == Some(ValueView::Str("shop-1")));
    assert_eq!((first.resource_count(), others.resource_count()), (1, 2));
    assert_eq!(others.decode().records(), 4);
}

#[test]
fn ropes_are_buffers() {
    let wire = Wire::concat([wire(1, 30), wire(1, 30)]);
    let joined = wire.rope().into_bytes();
    let mut rope = wire.into_rope();
    assert_eq!(rope.copy_to_bytes(10), joined.slice(..10));
    rope.advance(5000);
    assert_eq!(rope.remaining(), joined.len() - 5010);
    let mut slots = [std::io::IoSlice::new(&[]); 4];
    assert_eq!(rope.chunks_vectored(&mut slots), rope.pieces().len());
    assert_eq!(rope.into_bytes(), joined.slice(5010..));
}

#[test]
fn refusals_name_the_field() {
    let mut request = logs(1, 3);
    request.resource_logs[0].scope_logs[0].log_records[2].severity_text = "WXYZ".to_owned();
    let mut body = Decoded::Logs(request).encode().unwrap().into_rope().into_bytes().to_vec();
    let at = body.windows(4).position(|window| window == b"WXYZ").unwrap();
    body[at] = 0xff;
    let error = otlp::admit(Signal::Logs, Bytes::from(body)).unwrap_err();
    let path = "resource_logs[0].scope_logs[0].log_records[2].severity_text";
    assert_eq!(error.to_string(), format!("{path} is not valid UTF-8 (byte {})", at - 2));
}

#[test]
fn json_is_what_the_specification_says() {
    let mut request = logs(1, 1);
    let record = &mut request.resource_logs[0].scope_logs[0].log_records[0];
    record.trace_id = vec![0xab; 16];
    record.body = Some(AnyValue { value: Some(Value::IntValue(i64::MIN)) });
    let wire = Decoded::Logs(request.clone()).encode().unwrap();
    let text = otlp::json::to_json(&wire);
    assert!(text.contains(r#""traceId":"abababababababababababababababab""#), "{text}");
    assert!(text.contains(r#""intValue":"-9223372036854775808""#), "{text}");
    assert_eq!(otlp::json::from_json(Signal::Logs, text.as_bytes()).unwrap().decode(), Decoded::Logs(request));
}
