//! Our OTLP/HTTP client against scripted servers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use engine_core::outcome::{Outcome, RejectionKind};
use http::Response;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use otlp::Signal;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use transport::client::{Client, ClientOptions, Paths};
use transport::{Compression, Protocol};

use crate::client_grpc::{client, export, rejection, retry_after};
use crate::harness::{TestServer, logs_bytes};
use crate::scripted::{Script, Scripted, ScriptedServer, answer};

/// One export to a server that answers `script`.
async fn answered(script: impl Fn() -> Scripted + Send + Sync + 'static) -> Outcome {
    let server = ScriptedServer::start(Protocol::Http, move |_| script()).await;
    export(&client(server.uri(), Protocol::Http)).await
}

fn with_status(status: u16) -> http::response::Builder {
    Response::builder().status(status)
}

fn protobuf(message: &ExportLogsServiceResponse) -> Scripted {
    answer(with_status(200).header("content-type", "application/x-protobuf"), message.encode_to_vec())
}

/// K7, K10: only 429, 502, 503 and 504 are tried again; every other failure is final, in the class that fits.
#[tokio::test]
async fn reads_every_status() {
    for status in [429, 502, 503, 504] {
        assert_eq!(retry_after(answered(move || answer(with_status(status), "busy")).await), None, "{status}");
    }
    for (status, kind) in [
        (400, RejectionKind::Invalid),
        (401, RejectionKind::Unauthorized),
        (403, RejectionKind::Unauthorized),
        (404, RejectionKind::Unsupported),
        (405, RejectionKind::Unsupported),
        (408, RejectionKind::Invalid),
        (413, RejectionKind::TooLarge),
        (415, RejectionKind::Unsupported),
        (422, RejectionKind::Invalid),
        (500, RejectionKind::Invalid),
        (501, RejectionKind::Unsupported),
    ] {
        assert_eq!(rejection(answered(move || answer(with_status(status), "no")).await), kind, "{status}");
    }
}

/// K8: Retry-After as seconds or date is honoured up to five minutes; garbage and dates gone by are no wait.
#[tokio::test]
async fn honours_retry_after() {
    let after = |value: String| async move {
        retry_after(answered(move || answer(with_status(503).header("retry-after", value.as_str()), "")).await)
    };
    assert_eq!(after("7".to_owned()).await, Some(Duration::from_secs(7)));
    assert_eq!(after("999999".to_owned()).await, Some(Duration::from_secs(300)));
    assert_eq!(after("soon".to_owned()).await, None);
    assert_eq!(after("-1".to_owned()).await, None);
    assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()).await, Some(Duration::ZERO));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
    let wait = after(date).await.unwrap();
    assert!((Duration::from_secs(60)..=Duration::from_secs(100)).contains(&wait), "{wait:?}");
}

/// K9: the words of a refusal reach the user, from a protobuf Status and from plain text, but not a proxy's page.
#[tokio::test]
async fn passes_on_the_words() {
    let status = tonic_types::pb::Status { code: 3, message: "field x is bad".to_owned(), details: Vec::new() };
    let body = status.encode_to_vec();
    let json = br#"{"code":3,"message":"field z is bad"}"#.to_vec();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("application/json", json, "http status 400 Bad Request: field z is bad"),
        ("application/x-protobuf", body, "http status 400 Bad Request: field x is bad"),
        ("text/plain; charset=utf-8", b"field y\n".to_vec(), "http status 400 Bad Request: field y"),
        ("text/html", b"<html>".to_vec(), "http status 400 Bad Request"),
        ("application/x-protobuf", vec![0xff; 100], "http status 400 Bad Request"),
    ];
    for (content_type, body, expected) in cases {
        let script = move || answer(with_status(400).header("content-type", content_type), body.clone());
        let Outcome::Rejected(rejection) = answered(script).await else { panic!("400 is final") };
        assert_eq!(rejection.message, expected);
    }
}

/// K1, K2, K3: success, partial success and warnings.
#[tokio::test]
async fn reads_success() {
    let partial = |rejected_log_records, message: &str| {
        let error_message = message.to_owned();
        let partial = ExportLogsPartialSuccess { rejected_log_records, error_message };
        ExportLogsServiceResponse { partial_success: Some(partial) }
    };
    assert_eq!(answered(|| protobuf(&ExportLogsServiceResponse::default())).await, Outcome::Delivered);
    assert_eq!(answered(|| answer(with_status(200), "")).await, Outcome::Delivered);
    assert_eq!(answered(|| answer(with_status(204), "")).await, Outcome::Delivered);
    let json = |text: &'static str| {
        answered(move || answer(with_status(200).header("content-type", "application/json; charset=utf-8"), text))
    };
    assert_eq!(json(r#"{"partialSuccess":{}}"#).await, Outcome::Delivered);
    assert_eq!(
        json(r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"three"}}"#).await,
        Outcome::Partial { rejected: 3, message: "three".to_owned() }
    );
    assert_eq!(
        answered(move || protobuf(&partial(3, "three"))).await,
        Outcome::Partial { rejected: 3, message: "three".to_owned() }
    );
    assert_eq!(
        answered(move || protobuf(&partial(0, "hm"))).await,
        Outcome::Partial { rejected: 0, message: "hm".to_owned() }
    );
}

/// K11, K22: success must be said in OTLP. Pages, garbage, endless and exploding answers are final, not success.
#[tokio::test]
async fn accepts_no_false_success() {
    let bomb = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0; 20_000_000]).unwrap();
        encoder.finish().unwrap()
    };
    let typed = |content_type: &'static str| with_status(200).header("content-type", content_type);
    let cases: Vec<(&str, Script)> = vec![
        ("html", Box::new(move || answer(typed("text/html"), "<html>welcome</html>"))),
        ("empty html", Box::new(move || answer(typed("text/html"), ""))),
        ("text", Box::new(move || answer(typed("text/plain"), "OK"))),
        ("garbage", Box::new(move || answer(typed("application/x-protobuf"), vec![0xff; 10]))),
        ("endless", Box::new(move || answer(typed("application/x-protobuf"), vec![0; 5_000_000]))),
        (
            "bomb",
            Box::new(move || answer(typed("application/x-protobuf").header("content-encoding", "gzip"), bomb.clone())),
        ),
        (
            "unknown coding",
            Box::new(move || answer(typed("application/x-protobuf").header("content-encoding", "br"), "x")),
        ),
        ("no json", Box::new(move || answer(typed("application/json"), "OK"))),
        ("a page that says it is json", Box::new(move || answer(typed("application/json"), "<html>"))),
    ];
    for (what, script) in cases {
        let outcome = answered(script).await;
        assert!(matches!(outcome, Outcome::Rejected(_)), "{what}: {outcome:?}");
    }
}

/// K19: a redirect is not followed, and the user hears where it points.
#[tokio::test]
async fn follows_no_redirect() {
    for status in [301, 302, 307, 308] {
        let script = move || answer(with_status(status).header("location", "http://other/v1/logs"), "");
        let Outcome::Rejected(rejection) = answered(script).await else { panic!("{status} is final") };
        assert_eq!(rejection.kind, RejectionKind::Unsupported);
        assert!(rejection.message.contains("http://other/v1/logs"), "{}", rejection.message);
    }
}

/// K12: a peer that closes before, within or after its head is retried.
#[tokio::test]
async fn retries_broken_connections() {
    for part in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc"] {
        let server = ScriptedServer::raw(move |mut socket| async move {
            let mut head = [0; 16];
            socket.read_exact(&mut head).await.unwrap();
            drop(socket.write_all(part.as_bytes()).await);
        })
        .await;
        retry_after(export(&client(server.uri(), Protocol::Http)).await);
    }
}

/// A kept connection that the server closed meanwhile costs no request: it is sent again on a new one when it never
/// left.
#[tokio::test]
async fn reuses_connections() {
    let server = TestServer::builder(Protocol::Http).start();
    let sender = client(server.uri(), Protocol::Http);
    for _ in 0..10 {
        assert_eq!(export(&sender).await, Outcome::Delivered);
    }
    assert_eq!(server.counters.snapshot().connections_opened, 1);
    drop(sender);
    server.stop().await;

    let closing =
        ScriptedServer::start(Protocol::Http, |_| answer(with_status(200).header("connection", "close"), "")).await;
    let sender = client(closing.uri(), Protocol::Http);
    for _ in 0..5 {
        assert_eq!(export(&sender).await, Outcome::Delivered);
    }
    assert_eq!(closing.connections.load(Ordering::Relaxed), 5);
}

/// Requests name host, path by signal, type, coding and exact length.
#[tokio::test]
async fn sends_its_heads() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&seen);
    let server = ScriptedServer::start(Protocol::Http, move |request| {
        let (head, body) = request.into_parts();
        recorded.lock().unwrap().push((head.uri.path().to_owned(), head.headers, body));
        answer(with_status(200), "")
    })
    .await;
    let mut options = ClientOptions::new(format!("{}base/", server.uri()).parse().unwrap(), Protocol::Http);
    options.paths = Paths { traces: Some("/custom?x=1".to_owned()), ..Paths::default() };
    options.compression = Compression::ZSTD;
    let client = Client::new(options).unwrap();
    let body = Bytes::from(logs_bytes(1000));
    for (signal, path) in
        [(Signal::Logs, "/base/v1/logs"), (Signal::Metrics, "/base/v1/metrics"), (Signal::Traces, "/custom")]
    {
        assert_eq!(client.export(signal, body.clone()).await, Outcome::Delivered);
        let (seen_path, headers, seen_body) = seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen_path, path);
        assert_eq!(headers["host"], server.address.to_string().as_str());
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["content-encoding"], "zstd");
        assert_eq!(headers["content-length"], seen_body.len().to_string().as_str());
        assert_eq!(zstd::decode_all(&seen_body[..]).unwrap(), body);
    }
}
