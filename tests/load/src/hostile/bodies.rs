//! Bodies that cost far more than they look, or hold a thread for long.

use bytes::{Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::Write;

use anyhow::Result;

use super::request::Body;
use crate::{
    payload::{Shape, request},
    signal::Signal,
};

/// The largest request that the engine takes by default, in bytes.
pub const LIMIT: usize = 64 << 20;

/// A body and what it is called in reports.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// The body.
    pub body: Body,
}

fn protobuf(signal: Signal, bytes: impl Into<Bytes>) -> Body {
    Body { signal, encoding: None, media_type: "application/x-protobuf", bytes: bytes.into() }
}

/// Bodies just below the limit, each of which is valid and lots of work in one place.
///
/// # Errors
/// When a body cannot be compressed.
pub fn large() -> Result<Vec<Named>> {
    let of = |signal| repeated(&request(signal, Shape::STANDARD, 1), LIMIT);
    let logs = of(Signal::Logs);
    let named = |name, body| Named { name, body };
    Ok(vec![
        named("ordinary log records", protobuf(Signal::Logs, logs.clone())),
        named("ordinary spans", protobuf(Signal::Spans, of(Signal::Spans))),
        named("ordinary data points", protobuf(Signal::Points, of(Signal::Points))),
        named("records of 16 bytes", protobuf(Signal::Logs, records(&small_record(), LIMIT))),
        named("one record of many attributes", protobuf(Signal::Logs, one_record(&field(6, b""), LIMIT))),
        named("one record with one value", protobuf(Signal::Logs, one_record(&text(5, LIMIT - 64), LIMIT))),
        named("one resource of many attributes", protobuf(Signal::Logs, one_resource(LIMIT))),
        named("a field that occurs again", protobuf(Signal::Logs, irregular(LIMIT))),
        named("gzip", Body { encoding: Some("gzip"), ..protobuf(Signal::Logs, gzip(&logs, Compression::fast())?) }),
        named("zstd", Body { encoding: Some("zstd"), ..protobuf(Signal::Logs, zstd::bulk::compress(&logs, 1)?) }),
        named("JSON", Body { media_type: "application/json", ..protobuf(Signal::Logs, json_logs(LIMIT)) }),
    ])
}

/// Bodies that become a thousand times as large, three times the limit.
///
/// # Errors
/// When a body cannot be compressed.
pub fn bombs() -> Result<Vec<Named>> {
    let inflated = one_record(&text(5, 3 * LIMIT), 3 * LIMIT);
    let of = |encoding, bytes: Vec<u8>| Body { encoding: Some(encoding), ..protobuf(Signal::Logs, bytes) };
    Ok(vec![
        Named { name: "gzip bomb", body: of("gzip", gzip(&inflated, Compression::best())?) },
        Named { name: "zstd bomb", body: of("zstd", zstd::bulk::compress(&inflated, 1)?) },
    ])
}

/// A request of ordinary log records, about so many bytes.
pub fn ordinary(bytes: usize) -> Body {
    protobuf(Signal::Logs, repeated(&request(Signal::Logs, Shape::STANDARD, 1), bytes))
}

/// A request so often that it fills `limit`: requests are joined by joining their bytes.
fn repeated(request: &[u8], limit: usize) -> Bytes {
    request.repeat((limit / request.len()).max(1)).into()
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::with_capacity(content.len() + 8);
    out.extend_from_slice(&[number << 3 | 2]);
    prost::encoding::encode_varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out.to_vec()
}

/// A value (`AnyValue`) of so many characters in a field.
fn text(number: u8, len: usize) -> Vec<u8> {
    field(number, &field(1, &vec![b'x'; len]))
}

/// A log record of 16 bytes with its head: a time and a severity.
fn small_record() -> Vec<u8> {
    field(2, &[&[1 << 3 | 1][..], &[7; 8], &[2 << 3, 9], &field(3, b"I")].concat())
}

fn in_scope(records: &[u8]) -> Vec<u8> {
    field(1, &field(2, records))
}

fn records(record: &[u8], limit: usize) -> Vec<u8> {
    in_scope(&record.repeat((limit - 64) / record.len()))
}

fn one_record(content: &[u8], limit: usize) -> Vec<u8> {
    in_scope(&field(2, &content.repeat(((limit - 64) / content.len()).max(1))))
}

fn one_resource(limit: usize) -> Vec<u8> {
    let attributes = field(1, b"").repeat((limit - 64) / 2);
    field(1, &[field(1, &attributes), field(2, &field(2, b""))].concat())
}

/// A large entry with its Resource twice, which has to be written anew.
fn irregular(limit: usize) -> Vec<u8> {
    let record = small_record();
    let many = record.repeat((limit - 128) / record.len());
    field(1, &[field(1, b""), field(1, b""), field(2, &many)].concat())
}

fn gzip(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn json_logs(limit: usize) -> Vec<u8> {
    let record = json!({
        "timeUnixNano": "1700000000000000000", "severityNumber": 9, "severityText": "INFO",
        "body": { "stringValue": "the order was \"accepted\"\n" },
        "attributes": [{ "key": "http.response.status_code", "value": { "intValue": "200" } }],
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
    })
    .to_string();
    let count = (limit - 128) / (record.len() + 1);
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#, vec![record; count].join(","))
        .into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use prost::Message;

    use super::*;

    fn decoded(bytes: &[u8]) -> ExportLogsServiceRequest {
        ExportLogsServiceRequest::decode(bytes).unwrap()
    }

    /// The bodies are what they claim to be, so that a refusal is the engine's and not theirs.
    #[test]
    fn bodies_are_valid() {
        let limit = 10_000;
        let first = |bytes: &[u8]| decoded(bytes).resource_logs.remove(0);
        assert_eq!(small_record().len(), 16);
        assert_eq!(first(&records(&small_record(), limit)).scope_logs[0].log_records.len(), (limit - 64) / 16);
        let many = first(&one_record(&field(6, b""), limit)).scope_logs[0].log_records[0].attributes.len();
        assert_eq!(many, (limit - 64) / 2);
        assert_eq!(first(&one_resource(limit)).resource.unwrap().attributes.len(), (limit - 64) / 2);
        assert!(first(&irregular(limit)).scope_logs[0].log_records.len() > 500);
        assert!(decoded(&repeated(&request(Signal::Logs, Shape::STANDARD, 1), 1)).resource_logs.len() > 1);
        let text: ExportLogsServiceRequest = serde_json::from_slice(&json_logs(limit)).unwrap();
        assert!(text.resource_logs[0].scope_logs[0].log_records.len() > 20);
    }
}
