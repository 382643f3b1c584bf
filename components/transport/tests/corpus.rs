//! Replays the seeds of the fuzz targets through the same checks, without a fuzzer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;

use std::fs;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;
use tonic_types::StatusExt as _;

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target)
}

fn replay(target: &str, check: fn(&[u8])) {
    let mut replayed = 0;
    for file in fs::read_dir(seeds(target)).unwrap() {
        check(&fs::read(file.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 10, "{replayed} seeds of {target}");
}

/// The seeds of `request` hold.
#[test]
fn request() {
    replay("request", check::request);
}

/// The seeds of `wire` hold.
#[test]
fn wire() {
    replay("wire", check::wire);
}

/// The seeds of `answer` hold.
#[test]
fn answer() {
    replay("answer", check::answer);
}

/// The seeds that are made here are the ones that are checked in; `UPDATE_SEEDS=1 cargo test -p transport --test corpus`
/// writes them. What fuzzers found stays.
#[test]
fn seeds_are_up_to_date() {
    for (name, content) in requests() {
        write("request", &name, &content);
    }
    for (name, content) in connections() {
        write("wire", name, &content);
    }
    for (name, content) in answers() {
        write("answer", name, &content);
    }
}

/// A small valid request and some others, in each protocol and coding.
fn requests() -> Vec<(String, Vec<u8>)> {
    let json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    let protobuf = [10, 11, 18, 9, 18, 7, 42, 5, 10, 3, b'a', b'b', b'c'];
    let mut made = Vec::new();
    for coding in 0..7_u8 {
        for is_encoded in [0, 1] {
            let end = |content: &[u8]| [&[coding, is_encoded], content].concat();
            let name = |kind: &str| format!("{kind}-{coding}-{is_encoded}");
            made.push((name("http1-protobuf"), [&[0, 0, 0, 0], &*end(&protobuf)].concat()));
            made.push((name("http1-json-chunked"), [&[0, 0, 1, 7], &*end(json)].concat()));
            made.push((name("http2-json"), [&[1, 0, 1], &*end(json)].concat()));
            made.push((name("grpc"), [&[2, 0, is_encoded, 0], &*end(&protobuf)].concat()));
        }
    }
    for (index, lie) in [4, 5, 6].into_iter().enumerate() {
        made.push((format!("grpc-lying-{index}"), [&[2, 0, 0, lie, 0, 0], &protobuf[..]].concat()));
    }
    made.push(("http1-large".to_owned(), [&[0, 0, 0, 0, 1, 1], &vec![0x0a; 70_000][..]].concat()));
    made
}

/// Whole connections, right and wrong.
fn connections() -> Vec<(&'static str, Vec<u8>)> {
    let http = |text: &str| [&[0, 0, 0], text.as_bytes()].concat();
    // A frame of HTTP/2 behind the preface that the check writes: length, type, flags, stream, content.
    let frame = |protocol: u8, kind: u8, flags: u8, stream: u8, content: &[u8]| {
        let head = [0, 0, u8::try_from(content.len()).unwrap(), kind, flags, 0, 0, 0, stream];
        [&[protocol, 1, 0], &head[..], content].concat()
    };
    let path = b"/v1/logs";
    let fields = [&[0x83, 0x86, 0x01, 1, b'x', 0x04, 8], &path[..]].concat();
    let length = "content-length: 0\r\n\r\n";
    vec![
        ("empty", Vec::new()),
        ("get", http("GET / HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("post", http(&format!("POST /v1/logs HTTP/1.1\r\ncontent-type: application/json\r\n{length}"))),
        ("pipelined", http(&"GET / HTTP/1.1\r\n\r\n".repeat(5))),
        ("half-a-head", http("POST /v1/logs HTTP/1.1\r\ncontent-le")),
        ("two-lengths", http("POST /v1/logs HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx")),
        ("chunked", http("POST /v1/logs HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfff\r\nx")),
        ("expect", http("POST /v1/logs HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")),
        ("upgrade", http("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")),
        ("http1-to-grpc", [&[1, 0, 0], "POST / HTTP/1.1\r\nhost: x\r\n\r\n".as_bytes()].concat()),
        ("tls-hello", [&[0, 0, 0], &[0x16, 3, 1, 0, 4, 1, 0, 0, 0][..]].concat()),
        ("settings", frame(0, 4, 0, 0, &[0, 1, 0, 0, 0, 0])),
        ("headers", frame(0, 1, 5, 1, &fields)),
        ("headers-open", frame(0, 1, 4, 1, &fields)),
        ("headers-unfinished", frame(1, 1, 0, 1, &fields)),
        ("data-of-nobody", frame(0, 0, 1, 3, b"data")),
        ("ping", frame(0, 6, 0, 0, &[1; 8])),
        ("reset-of-nobody", frame(0, 3, 0, 1, &[0, 0, 0, 8])),
        ("window-overflow", frame(0, 8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("goaway", frame(0, 7, 0, 0, &[0; 8])),
        ("table-size", frame(0, 1, 5, 1, &[0x3f, 0xff, 0xff, 0xff, 0x7f])),
        ("unknown-frame", frame(0, 0xfe, 0xff, 1, b"?")),
    ]
}

/// Answers of servers, right and wrong.
fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let raw = |text: &str| [&[0], text.as_bytes()].concat();
    let partial = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "three".to_owned() };
    let partial = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let mut details = tonic_types::ErrorDetails::new();
    details.set_retry_info(Some(std::time::Duration::from_secs(7)));
    // A whole `google.rpc.Status`.
    let status = tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "busy", details).details().to_vec();
    let http = |status: u8, media: u8, coding: u8, wait: &[u8], body: &[u8]| {
        [&[1, status, media, coding, u8::try_from(wait.len()).unwrap()], wait, &[0], body].concat()
    };
    let grpc = |status: u8, flags: [u8; 3], number: u8, message: &[u8], details: &[u8], body: &[u8]| {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let head = [2, status, flags[0], flags[1], flags[2], 0, 0, 0, number, length(message)];
        [&head[..], message, &[length(details)], details, body].concat()
    };
    vec![
        ("raw-ok", raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")),
        ("raw-cut", raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx")),
        ("raw-continue", raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")),
        ("raw-chunked", raw("HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
        ("raw-nonsense", raw("SSH-2.0-OpenSSH_9.9\r\n")),
        ("proxy-open", [&[3], &b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..]].concat()),
        ("proxy-refuses", [&[3], &b"HTTP/1.0 407 Who\r\n\r\n"[..]].concat()),
        ("proxy-nonsense", [&[3], &b"HTTP/1.\xff\r\n\r\n"[..]].concat()),
        ("http-partial", http(0, 0, 0, b"", &partial)),
        ("http-json", http(0, 1, 0, b"", br#"{"partialSuccess":{"rejectedSpans":"3"}}"#)),
        ("http-status", http(5, 0, 0, b"", &status)),
        ("http-json-status", http(5, 1, 0, b"", br#"{"code":3,"message":"bad"}"#)),
        ("http-wait", http(12, 3, 0, b"120", b"busy")),
        ("http-wait-date", http(12, 3, 0, b"Sun, 06 Nov 1994 08:49:37 GMT", b"")),
        ("http-wait-nonsense", http(9, 3, 0, b"99999999999999999999", b"")),
        ("http-gzip", http(0, 0, 2, b"", &[0x1f, 0x8b, 8, 0])),
        ("http-zstd", http(0, 0, 3, b"", &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0])),
        ("grpc-ok", grpc(0, [0, 1, 0], 0, b"", b"", b"")),
        ("grpc-partial", grpc(0, [0, 1, 0], 0, b"", b"", &partial)),
        ("grpc-status", grpc(0, [1, 0, 1], 8, b"busy%20now", &status, b"")),
        ("grpc-status-raw", grpc(0, [1, 0, 0], 14, b"a%zz%ff", b"!!", b"")),
        ("grpc-unframed", grpc(0, [0, 0, 0], 0, b"", b"", b"\0\0\0")),
        ("grpc-http-status", grpc(11, [0, 0, 0], 2, b"", b"", b"<html>")),
    ]
}

fn write(target: &str, name: &str, content: &[u8]) {
    let path = seeds(target).join(name);
    if std::env::var_os("UPDATE_SEEDS").is_none() {
        assert_eq!(fs::read(&path).unwrap(), content, "{target}/{name} is not what is made here");
        return;
    }
    fs::create_dir_all(seeds(target)).unwrap();
    fs::write(path, content).unwrap();
}
