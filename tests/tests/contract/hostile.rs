//! Batches that are allowed and that nobody expects.

use engine_core::test_kit::{logs, metrics, traces};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use otlp::{Payload, Signal};
use prost::Message;

/// One payload of each kind of trouble, with its name.
pub(crate) fn payloads() -> Vec<(&'static str, Payload)> {
    let many = (0..2000).map(|number| entry(attribute("service.name", text(&number.to_string())), Vec::new(), 1));
    let value = any_value::Value::ArrayValue(ArrayValue { values: vec![text("a\u{0}b\u{1b}[31m\r\n")] });
    let odd = AnyValue { value: Some(value) };
    vec![
        ("plain logs", logs(&[("service.name", "shop")], 0..10)),
        ("plain metrics", metrics(&[("service.name", "shop")], 0..10)),
        ("plain traces", traces(&[("service.name", "shop")], 0..10)),
        ("no resource attributes", logs(&[], 0..3)),
        ("many resources", request(many.collect())),
        (
            "no resource",
            request(vec![ResourceLogs { resource: None, ..entry(attribute("x", text("x")), Vec::new(), 2) }]),
        ),
        ("an odd value", request(vec![entry(attribute("service.name", odd.clone()), vec![attribute("k", odd)], 2)])),
        ("no value", request(vec![entry(attribute("service.name", AnyValue::default()), Vec::new(), 2)])),
        ("a deep body", request(vec![deep(30)])),
        ("a key twice", request(vec![twice()])),
        ("a large record", request(vec![entry(attribute("x", text(&"y".repeat(256 << 10))), Vec::new(), 1)])),
        (
            "records and empty entries",
            request(vec![ResourceLogs::default(), entry(attribute("a", text("b")), Vec::new(), 1)]),
        ),
    ]
}

fn request(resource_logs: Vec<ResourceLogs>) -> Payload {
    let bytes = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    Payload::Wire(otlp::admit(Signal::Logs, bytes.into()).unwrap())
}

fn entry(of_resource: KeyValue, of_record: Vec<KeyValue>, records: usize) -> ResourceLogs {
    let record = LogRecord { attributes: of_record, body: Some(text("body")), ..LogRecord::default() };
    ResourceLogs {
        resource: Some(Resource { attributes: vec![of_resource], ..Resource::default() }),
        scope_logs: vec![ScopeLogs { log_records: vec![record; records], ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }
}

fn deep(levels: usize) -> ResourceLogs {
    let nest = |inner, _| AnyValue { value: Some(any_value::Value::ArrayValue(ArrayValue { values: vec![inner] })) };
    let body = (0..levels).fold(text("bottom"), nest);
    let record = LogRecord { body: Some(body), ..LogRecord::default() };
    ResourceLogs {
        scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }
}

fn twice() -> ResourceLogs {
    let mut found = entry(attribute("service.name", text("one")), Vec::new(), 1);
    found.resource.as_mut().unwrap().attributes.push(attribute("service.name", text("two")));
    found
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn text(content: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(content.to_owned())) }
}
