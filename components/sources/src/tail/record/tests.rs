//! Lines and the records that they become, feature by feature; then any lines, against models.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod containers;
mod entries;
mod expressions;
mod objects;
mod properties;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use self::check::{Case, OBSERVED, attribute, body, original, read, stream};
use super::*;

fn bytes<'l>(lines: &[&'l str]) -> Vec<&'l [u8]> {
    lines.iter().map(|line| line.as_bytes()).collect()
}

/// The records of lines in one way, without anything special having happened.
fn plain(case: &Case, lines: &[&str]) -> Vec<LogRecord> {
    let (records, counts) = read(case, &bytes(lines));
    assert_eq!(counts, LineCounts { joined: counts.joined, ..LineCounts::default() });
    records
}

fn bodies(records: &[LogRecord]) -> Vec<&str> {
    records.iter().map(|record| body(record).unwrap()).collect()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn keys(record: &LogRecord) -> Vec<&str> {
    record.attributes.iter().map(|attribute| attribute.key.as_str()).collect()
}

/// A line of text is the body, and the time is that of reading only.
#[test]
fn a_line_is_a_body() {
    let records = plain(&Case::text(), &["first", "  second \u{e9} ", "{\"no\":\"json\"}"]);
    assert_eq!(bodies(&records), ["first", "  second \u{e9} ", "{\"no\":\"json\"}"]);
    assert!(records.iter().all(|record| record.attributes.is_empty()));
    assert!(records.iter().all(|record| record.time_unix_nano == 0 && record.observed_time_unix_nano == OBSERVED));
    assert_eq!(read(&Case::text(), &[b"", b"a", b""]).1.blank, 2);
}

/// Records of all lengths are framed rightly.
#[test]
fn records_of_all_lengths() {
    for len in (1..300).chain([16_000, 16_383, 16_384, 70_000, 1 << 20]) {
        let line = "x".repeat(len);
        assert_eq!(bodies(&plain(&Case::text(), &[&line, "next"])), [&line, "next"]);
    }
}

/// Bytes that are no UTF-8 are replaced and counted; in JSON too, which is read all the same.
#[test]
fn bytes_that_are_no_text() {
    let (records, counts) = read(&Case::text(), &[b"a\xffb", b"\xf0\x9f\x92"]);
    assert_eq!((bodies(&records), counts.invalid_utf8), (vec!["a\u{fffd}b", "\u{fffd}"], 2));
    let (records, counts) = read(&Case::of("json".into()), &[b"{\"msg\":\"a\xffb\",\"n\":1}"]);
    assert_eq!((bodies(&records), counts.invalid_utf8), (vec!["a\u{fffd}b"], 1));
    assert_eq!(counts.malformed_json, 0);
    assert_eq!(attribute(&records[0], "n"), Some(&Value::IntValue(1)));
}

/// What is longer than a record may be is cut between characters, counted and marked.
#[test]
fn long_lines_are_truncated() {
    let case = Case { max_record_size: 8, ..Case::text() };
    for (line, expected) in
        [("12345678", "12345678"), ("123456789", "12345678"), ("1234567\u{e9}", "1234567"), ("12345\u{1f600}", "12345")]
    {
        let (records, counts) = read(&case, &[line.as_bytes()]);
        assert_eq!(bodies(&records), [expected]);
        let is_truncated = expected != line;
        assert_eq!((counts.truncated, counts.invalid_utf8), (u64::from(is_truncated), 0));
        let mark = attribute(&records[0], "log.truncated");
        assert_eq!(mark, is_truncated.then_some(&Value::BoolValue(true)));
    }
    // A reader that skipped the rest of a line says so.
    let mut parser = FileParser::new(Case::of("json".into()).build(), Bytes::new());
    let mut records = Records::default();
    parser.line(Line { bytes: b"{\"a\":1}", is_truncated: true, start: 0 }, OBSERVED, &mut records);
    assert_eq!(records.counts(), LineCounts { truncated: 1, ..LineCounts::default() });
    let records = check::decoded(&mut records);
    assert_eq!(bodies(&records), ["{\"a\":1}"]);
    assert_eq!(keys(&records[0]), ["log.truncated"]);
}

/// Attributes of the file stand in every record, and nothing in a line replaces them or the parser's own.
#[test]
fn attributes_of_the_file() {
    let path = opentelemetry_proto::tonic::common::v1::KeyValue {
        key: "log.file.path".to_owned(),
        value: Some(opentelemetry_proto::tonic::common::v1::AnyValue { value: Some(text("/a.log")) }),
        ..Default::default()
    };
    let line =
        r#"{"log.file.path":"/forged","log.original":"forged","log.iostream":"forged","log.truncated":1,"msg":"m"}"#;
    let cri = format!("2024-07-14T21:14:05Z stderr F {line}");
    let (records, counts) =
        check::read_with(&Case::container(), &[cri.as_bytes(), b"2024-07-14T21:14:05Z stderr F text"], &[path]);
    assert_eq!(counts.shadowed, 3);
    assert_eq!(attribute(&records[0], "log.file.path"), Some(&text("/a.log")));
    assert_eq!(attribute(&records[0], "log.iostream"), Some(&text("stderr")));
    assert_eq!(attribute(&records[0], "log.original"), Some(&text(line)));
    assert_eq!(attribute(&records[0], "log.truncated"), Some(&Value::IntValue(1)));
    assert_eq!(keys(&records[1]), ["log.file.path", "log.iostream"]);
    let bare = Case { keep_original_body: false, ..Case::of("json".into()) };
    let records = plain(&bare, &[line]);
    assert_eq!(keys(&records[0]), ["log.file.path", "log.original", "log.iostream", "log.truncated"]);
}

/// Taking records leaves nothing behind, and counts are told once.
#[test]
fn records_are_taken_once() {
    let mut parser = FileParser::new(Case::text().build(), Bytes::new());
    let mut records = Records::default();
    for round in 0..3 {
        parser.line(Line { bytes: b"a", is_truncated: false, start: round }, OBSERVED, &mut records);
        parser.line(Line { bytes: b"", is_truncated: false, start: round }, OBSERVED, &mut records);
        assert_eq!((records.len(), records.counts().blank, records.counts().blank), (1, 1, 0));
        assert_eq!(check::decoded(&mut records).len(), 1);
        assert_eq!((records.len(), records.byte_len()), (0, 0));
    }
}
