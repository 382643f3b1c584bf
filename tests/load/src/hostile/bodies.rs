//! Bodies that cost far more than they look, or hold a thread for long.

use bytes::{Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use serde_json::json as object;
use std::io::Write;

use anyhow::Result;

use super::request::{Answer, Body};
use crate::{
    payload::{Shape, request},
    signal::Signal,
};

/// The largest request that the engine takes by default, in bytes.
pub const LIMIT: usize = 64 << 20;

/// How many of the large bodies are ordinary: the first ones.
pub const ORDINARY: usize = 3;

/// A body, what it is called in reports, and what the engine has to say to it.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// The body.
    pub body: Body,
    /// The answer that is right.
    pub answer: Answer,
}

fn protobuf(signal: Signal, bytes: impl Into<Bytes>) -> Body {
    Body { signal, encoding: None, media_type: "application/x-protobuf", bytes: bytes.into() }
}

/// Bodies just below the limit, each of which is lots of work in one place; the first [`ORDINARY`] are ordinary ones.
///
/// # Errors
/// When a body cannot be compressed.
pub fn large() -> Result<Vec<Named>> {
    let of = |signal| repeated(&request(signal, Shape::STANDARD, 1), LIMIT);
    let logs = of(Signal::Logs);
    let accepted = |name, body| Named { name, body, answer: Answer::Accepted };
    let refused = |name, body| Named { name, body, answer: Answer::Refused };
    let digits = |digit: &str| digit.repeat(LIMIT - 128);
    Ok(vec![
        accepted("ordinary log records", protobuf(Signal::Logs, logs.clone())),
        accepted("ordinary spans", protobuf(Signal::Spans, of(Signal::Spans))),
        accepted("ordinary data points", protobuf(Signal::Points, of(Signal::Points))),
        accepted("records of 16 bytes", protobuf(Signal::Logs, records(&small_record(), LIMIT))),
        accepted("one record of many attributes", protobuf(Signal::Logs, one_record(&field(6, b""), LIMIT))),
        accepted("one record with one value", protobuf(Signal::Logs, one_record(&text(5, LIMIT - 64), LIMIT))),
        accepted("one resource of many attributes", protobuf(Signal::Logs, one_resource(LIMIT))),
        accepted("a field that occurs again", protobuf(Signal::Logs, irregular(LIMIT))),
        accepted("fields that are unknown", protobuf(Signal::Logs, one_record(&field(15, b""), LIMIT))),
        accepted("gzip", Body { encoding: Some("gzip"), ..protobuf(Signal::Logs, gzip(&logs, Compression::fast())?) }),
        accepted("zstd", Body { encoding: Some("zstd"), ..protobuf(Signal::Logs, zstd::bulk::compress(&logs, 1)?) }),
        accepted("one attribute with one key", protobuf(Signal::Logs, one_record(&field(6, &key(LIMIT - 64)), LIMIT))),
        accepted("JSON", json(json_logs(LIMIT))),
        accepted("JSON, one text", json(json_body("stringValue", "text", LIMIT))),
        accepted("JSON, one value of bytes", json(json_body("bytesValue", "AAEC", LIMIT))),
        accepted("JSON, one text of escapes", json(json_body("stringValue", r"\u0041", LIMIT))),
        accepted("JSON, one value of bytes in escapes", json(json_body("bytesValue", r"\u0041", LIMIT))),
        accepted("JSON, one field that is unknown", json(json_unknown(LIMIT))),
        accepted("JSON, spaces", json(format!("{{{}}}", digits(" ")).into_bytes())),
        refused("JSON, one number in escapes", json(json_body("intValue", r"\u0030", LIMIT))),
        refused("JSON, one number", json(json_record(&format!(r#"{{"timeUnixNano":{}}}"#, digits("1"))))),
        refused("JSON, one number of zeros", json(json_record(&format!(r#"{{"timeUnixNano":{}}}"#, digits("0"))))),
        refused("JSON, one number as a value", json(json_body_of(&format!(r#"{{"intValue":{}}}"#, digits("1"))))),
        refused("JSON, arrays in one another", json(json_body_of(&json_nested(LIMIT)))),
        refused("JSON, no JSON", json(format!(r#"{{"resourceLogs":{}"#, digits("x")).into_bytes())),
        refused("arrays in one another", protobuf(Signal::Logs, one_record(&field(5, &nested(LIMIT)), LIMIT))),
        refused("empty records", protobuf(Signal::Logs, records(&field(2, b""), LIMIT))),
        refused("no UTF-8 at the end", protobuf(Signal::Logs, [&logs[..], &no_text()].concat())),
    ])
}

fn json(text: Vec<u8>) -> Body {
    Body { media_type: "application/json", ..protobuf(Signal::Logs, text) }
}

/// Bodies that become a thousand times as large, three times the limit.
///
/// # Errors
/// When a body cannot be compressed.
pub fn bombs() -> Result<Vec<Named>> {
    let inflated = one_record(&text(5, 3 * LIMIT), 3 * LIMIT);
    let of = |encoding, bytes: Vec<u8>| Body { encoding: Some(encoding), ..protobuf(Signal::Logs, bytes) };
    let refused = |name, body| Named { name, body, answer: Answer::Refused };
    Ok(vec![
        refused("gzip bomb", of("gzip", gzip(&inflated, Compression::best())?)),
        refused("zstd bomb", of("zstd", zstd::bulk::compress(&inflated, 1)?)),
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

/// An attribute that is nothing but a key of so many characters.
fn key(len: usize) -> Vec<u8> {
    field(1, &vec![b'k'; len])
}

/// A record whose severity is no text.
fn no_text() -> Vec<u8> {
    in_scope(&field(2, &field(3, b"\xff")))
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

/// An array (`AnyValue`) in an array in an array, and so on, until it has so many bytes.
fn nested(limit: usize) -> Vec<u8> {
    // Written from its end, as each head names the length of what is inside it.
    let mut reversed = Vec::with_capacity(limit);
    while reversed.len() < limit - 128 {
        for tag in [1 << 3 | 2, 5 << 3 | 2] {
            let mut head = vec![tag];
            prost::encoding::encode_varint(reversed.len() as u64, &mut head);
            reversed.extend(head.iter().rev());
        }
    }
    reversed.reverse();
    reversed
}

fn gzip(bytes: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn json_logs(limit: usize) -> Vec<u8> {
    let record = object!({
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

fn json_record(record: &str) -> Vec<u8> {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#).into_bytes()
}

/// A record whose body is one string of so many repetitions of a part.
fn json_body(kind: &str, part: &str, limit: usize) -> Vec<u8> {
    json_body_of(&format!(r#"{{"{kind}":"{}"}}"#, part.repeat((limit - 128) / part.len() / 4 * 4)))
}

/// A record with a field that no version of OTLP has.
fn json_unknown(limit: usize) -> Vec<u8> {
    json_record(&format!(r#"{{"unknown":[{}0]}}"#, r#"{"a":[1.5e3,"b\n"]},"#.repeat((limit - 128) / 21)))
}

/// An array in an array in an array, and so on.
fn json_nested(limit: usize) -> String {
    let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
    let depth = (limit - 128) / (open.len() + close.len());
    [open.repeat(depth), close.repeat(depth)].concat()
}

fn json_body_of(value: &str) -> Vec<u8> {
    json_record(&format!(r#"{{"body":{value}}}"#))
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
        let attributes = &first(&one_record(&field(6, &key(99)), limit)).scope_logs[0].log_records[0].attributes;
        assert_eq!(attributes[0].key.len(), 99);
        for (kind, part) in [("stringValue", r"\u0041"), ("bytesValue", r"\u0041")] {
            serde_json::from_slice::<ExportLogsServiceRequest>(&json_body(kind, part, limit)).unwrap();
        }
        serde_json::from_slice::<ExportLogsServiceRequest>(&json_unknown(limit)).unwrap();
        assert_eq!(first(&one_record(&field(15, b""), limit)).scope_logs[0].log_records.len(), 1);
        let shallow = json_body_of(&json_nested(600));
        serde_json::from_slice::<ExportLogsServiceRequest>(&shallow).unwrap();
        decoded(&one_record(&field(5, &nested(300)), 300));
    }

    /// And those that claim nothing valid are just that.
    #[test]
    fn faults_are_faults() {
        ExportLogsServiceRequest::decode(&no_text()[..]).unwrap_err();
    }
}
