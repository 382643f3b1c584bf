//! What lines cost until they are records. Every batch has 1000 lines, so microseconds an iteration are nanoseconds a line.

#[allow(dead_code, unused_imports, unreachable_pub, reason = "the bench uses a part of the module")]
#[path = "../src/tail/record/mod.rs"]
mod record;

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use engine_config::ByteSize;
use engine_config::sources::log_format::{LineFormat, LogFormat, Multiline, Preset, RecordKeys};

use self::record::{FileParser, Format, Line, RecordOptions, Records};

fn main() {
    divan::main();
}

const LINES: u64 = 1000;
const OBSERVED: u64 = 1_795_000_000_000_000_000;

/// Ten members, of which message, severity and trace become fields of the record: 234 bytes with the framing.
fn json(number: u64) -> String {
    format!(
        r#"{{"level":"info","msg":"request {number:05} completed","method":"GET","path":"/api/v1/orders","status":200,"size":1234,"ms":12.5,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user":"u{number:05}","ok":true}}"#
    )
}

fn cri(body: &str) -> String {
    format!("2026-11-24T10:00:00.123456789Z stdout F {body}")
}

fn options(multiline: Option<&Multiline>) -> RecordOptions<'_> {
    RecordOptions { multiline, max_record_size: ByteSize::mib(1), keep_original_body: true }
}

fn container(multiline: Option<&Multiline>) -> Format {
    Format::container(&RecordKeys::default(), options(multiline)).expect("complete options")
}

fn run(bencher: Bencher<'_, '_>, format: Format, line: impl Fn(u64) -> String) {
    let lines: Vec<String> = (0..LINES).map(line).collect();
    let bytes: usize = lines.iter().map(String::len).sum();
    let mut parser = FileParser::new(Arc::new(format), Bytes::new());
    let mut records = Records::default();
    let bencher = bencher.counter(ItemsCount::new(LINES)).counter(BytesCount::new(bytes));
    bencher.bench_local(|| {
        for line in black_box(&lines) {
            let line = Line { bytes: line.as_bytes(), is_truncated: false, start: 0 };
            parser.line(line, OBSERVED, &mut records);
        }
        records.take()
    });
}

#[divan::bench]
fn cri_json(bencher: Bencher<'_, '_>) {
    assert_eq!(cri(&json(0)).len(), 234);
    run(bencher, container(None), |number| cri(&json(number)));
}

#[divan::bench]
fn cri_json_without_original(bencher: Bencher<'_, '_>) {
    let options = RecordOptions { keep_original_body: false, ..options(None) };
    let format = Format::container(&RecordKeys::default(), options).expect("complete options");
    run(bencher, format, |number| cri(&json(number)));
}

#[divan::bench]
fn cri_json_beside_traces(bencher: Bencher<'_, '_>) {
    run(bencher, container(Some(&Multiline::Preset(Preset::Java))), |number| cri(&json(number)));
}

#[divan::bench]
fn cri_nested_json(bencher: Bencher<'_, '_>) {
    run(bencher, container(None), |number| cri(&format!(r#"{{"msg":"a","outer":{}}}"#, json(number))));
}

#[divan::bench]
fn cri_text(bencher: Bencher<'_, '_>) {
    run(bencher, container(None), |number| cri(&format!("{number:0194}")));
}

#[divan::bench]
fn cri_text_beside_traces(bencher: Bencher<'_, '_>) {
    run(bencher, container(Some(&Multiline::Preset(Preset::Java))), |number| cri(&format!("{number:0194}")));
}

#[divan::bench]
fn docker_json(bencher: Bencher<'_, '_>) {
    run(bencher, container(None), |number| {
        let log = json(number).replace('"', "\\\"");
        format!(r#"{{"log":"{log}\n","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}}"#)
    });
}

#[divan::bench]
fn text(bencher: Bencher<'_, '_>) {
    let format = Format::text(&LogFormat::Kind(LineFormat::Text), options(None)).expect("complete options");
    run(bencher, format, |number| format!("{number:0234}"));
}

#[divan::bench]
fn json_lines(bencher: Bencher<'_, '_>) {
    let format = Format::text(&LogFormat::Kind(LineFormat::Json), options(None)).expect("complete options");
    run(bencher, format, json);
}

#[divan::bench]
fn expression(bencher: Bencher<'_, '_>) {
    let pattern =
        r"^(?<client>\S+) \S+ \S+ \[(?<time>[^\]]+)\] \x22(?<method>\S+) (?<path>\S+) [^\x22]*\x22 (?<status>\d+)";
    let format: LogFormat = serde_json::from_value(serde_json::json!({
        "type": "regex", "pattern": pattern, "keys": { "time_format": "%d/%b/%Y:%H:%M:%S %z" },
    }))
    .expect("a format");
    let format = Format::text(&format, options(None)).expect("complete options");
    run(bencher, format, |number| {
        format!(r#"10.0.0.1 - - [24/Nov/2026:10:00:00 +0000] "GET /api/v1/orders/{number:05} HTTP/1.1" 200 1234"#)
    });
}
