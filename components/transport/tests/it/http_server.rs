//! Our HTTP server against HTTP/1 text and HTTP/2.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use otlp::Signal;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic_types::pb::Status;
use transport::Protocol;
use transport::server::{Refusal, Reply};

use crate::harness::{
    Answer, PATIENCE, TestServer, eventually, logs, logs_bytes, over_http2, raw_exchange, read, whole_body,
};

/// A request over HTTP/1 on a new connection.
pub(crate) async fn over_http1(server: &TestServer, request: http::request::Builder, body: Vec<u8>) -> Answer {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = request.header("host", "test").body(whole_body(body)).unwrap();
    read(tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()).await
}

pub(crate) fn post(path: &str) -> http::request::Builder {
    http::Request::post(path).header("content-type", "application/x-protobuf")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn snappy_framed(content: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(content).unwrap();
    encoder.into_inner().unwrap()
}

/// The error body, which must be a Status in the encoding that the answer names.
pub(crate) fn status_of(answer: &Answer) -> Status {
    assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    let status = Status::decode(answer.body.clone()).unwrap();
    assert!(!status.message.is_empty());
    status
}

/// S2, S4, S5, S47: each signal over HTTP/1 and HTTP/2, media types in any case and with parameters, empty messages.
#[tokio::test]
async fn takes_each_signal() {
    let server = TestServer::builder(Protocol::Http).start();
    for (path, signal) in [("/v1/logs", Signal::Logs), ("/v1/metrics", Signal::Metrics), ("/v1/traces", Signal::Traces)]
    {
        for (media_type, size) in [
            ("application/x-protobuf", 0),
            ("Application/X-Protobuf; charset=utf-8", 70_000),
            ("application/x-protobuf ", 2_000_000),
        ] {
            let content = if size == 0 { Vec::new() } else { logs_bytes(size) };
            let head = || http::Request::post(path).header("content-type", media_type);
            let absolute = head().uri(format!("http://{}{path}", server.address));
            let answers = [
                over_http1(&server, head(), content.clone()).await,
                over_http2(&server, absolute.body(whole_body(content.clone())).unwrap()).await,
            ];
            for answer in answers {
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
                let message = ExportLogsServiceResponse::decode(answer.body).unwrap();
                assert_eq!(message.partial_success, None);
                let request = server.handler.requests.lock().unwrap().pop().unwrap();
                assert_eq!((request.signal, request.body.as_ref()), (signal, content.as_slice()));
            }
        }
    }
    server.stop().await;
}

/// S7: other content types are 415 with a Status that says what is taken.
#[tokio::test]
async fn refuses_other_content_types() {
    let server = TestServer::builder(Protocol::Http).start();
    for content_type in ["text/plain", "application/x-protobuffer", ""] {
        let head = http::Request::post("/v1/logs").header("content-type", content_type);
        let answer = over_http1(&server, head, b"x".to_vec()).await;
        assert_eq!(answer.status, 415);
        assert!(status_of(&answer).message.contains("application/x-protobuf"));
    }
    let answer = over_http1(&server, http::Request::post("/v1/logs"), b"x".to_vec()).await;
    assert_eq!((answer.status.as_u16(), status_of(&answer).code), (415, 12));

    server.stop().await;
}

/// S8, S49: unknown paths are 404 and other methods 405 with `Allow`, each with a Status body.
#[tokio::test]
async fn refuses_other_paths_and_methods() {
    let server = TestServer::builder(Protocol::Http).start();
    for path in ["/", "/v1/logs/", "/v1/unknown", "/v1development/profiles"] {
        let answer = over_http1(&server, post(path), b"x".to_vec()).await;
        assert_eq!((answer.status.as_u16(), status_of(&answer).code), (404, 12), "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = over_http1(&server, http::Request::builder().method(method).uri("/v1/traces"), Vec::new()).await;
        assert_eq!((answer.status.as_u16(), status_of(&answer).code), (405, 12), "{method}");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    server.stop().await;
}

/// S12, S14, S16: gzip, also of several members, zstd, also of several frames, and identity arrive inflated.
#[tokio::test]
async fn inflates() {
    let server = TestServer::builder(Protocol::Http).start();
    let content = logs_bytes(3_000_000);
    let (left, right) = content.split_at(1_000_001);
    let zstd = |content| zstd::encode_all(content, 1).unwrap();
    let cases = [
        ("identity", content.clone()),
        ("gzip", gzip(&content)),
        ("GZIP", [gzip(left), gzip(b""), gzip(right)].concat()),
        ("zstd", zstd(&content[..])),
        ("zstd", [zstd(left), zstd(b""), zstd(right)].concat()),
        ("zstd", zstd::bulk::compress(&content, 3).unwrap()),
        ("snappy", snap::raw::Encoder::new().compress_vec(&content).unwrap()),
        ("snappy", snappy_framed(&content)),
        ("X-Snappy-Framed", [snappy_framed(left), snappy_framed(right)].concat()),
    ];
    for (encoding, body) in cases {
        let wire_bytes = body.len() as u64;
        let answer = over_http1(&server, post("/v1/logs").header("content-encoding", encoding), body).await;
        assert_eq!(answer.status, 200, "{encoding}");
        let request = server.handler.requests.lock().unwrap().pop().unwrap();
        assert_eq!((request.wire_bytes, request.body.as_ref()), (wire_bytes, content.as_slice()), "{encoding}");
    }
    server.stop().await;
}

/// S15, S16: unknown or nested encodings are 415; bodies that are not what their encoding says are 400.
#[tokio::test]
async fn refuses_bad_encodings() {
    let server = TestServer::builder(Protocol::Http).start();
    for encoding in ["br", "foo", "gzip, gzip", ""] {
        let answer = over_http1(&server, post("/v1/logs").header("content-encoding", encoding), gzip(b"x")).await;
        assert_eq!((answer.status.as_u16(), status_of(&answer).code), (415, 12), "{encoding}");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd, snappy, x-snappy-framed, identity"));
    }
    let twice = post("/v1/logs").header("content-encoding", "gzip").header("content-encoding", "gzip");
    assert_eq!(over_http1(&server, twice, gzip(&gzip(b"x"))).await.status, 415);

    let content = logs_bytes(1000);
    let zstd = zstd::encode_all(&content[..], 1).unwrap();
    let mut wrong_sum = gzip(&content);
    let last = wrong_sum.len() - 5;
    wrong_sum[last] ^= 1;
    let cases = [
        ("gzip", content.clone()),
        ("gzip", gzip(&content)[..30].to_vec()),
        ("gzip", [gzip(&content), b"garbage".to_vec()].concat()),
        ("gzip", wrong_sum),
        ("gzip", Vec::new()),
        ("zstd", content.clone()),
        ("zstd", zstd[..zstd.len() - 3].to_vec()),
        ("zstd", [zstd, b"garbage".to_vec()].concat()),
        ("zstd", Vec::new()),
        ("snappy", content.clone()),
        ("snappy", [snappy_framed(&content), b"garbage".to_vec()].concat()),
        ("x-snappy-framed", content.clone()),
    ];
    for (index, (encoding, body)) in cases.into_iter().enumerate() {
        let answer = over_http1(&server, post("/v1/logs").header("content-encoding", encoding), body).await;
        assert_eq!((answer.status.as_u16(), status_of(&answer).code), (400, 3), "{encoding} {index}");
    }
    assert!(server.handler.requests.lock().unwrap().is_empty());
    server.stop().await;
}

/// S17, S18: a body of the limit passes; one byte more is 413, whether declared, chunked or inflated.
#[tokio::test]
async fn bounds_bodies() {
    let content = logs_bytes(100_000);
    let limit = content.len();
    let server = TestServer::builder(Protocol::Http).limits(|limits| limits.max_request_size = limit).start();
    let longer = logs_bytes(100_001);
    let zstd = |content: &[u8]| zstd::encode_all(content, 1).unwrap();
    let gzipped = || post("/v1/logs").header("content-encoding", "gzip");
    let zstded = || post("/v1/logs").header("content-encoding", "zstd");
    for (head, body) in [(post("/v1/logs"), content.clone()), (gzipped(), gzip(&content)), (zstded(), zstd(&content))] {
        assert_eq!(over_http1(&server, head, body).await.status, 200);
    }
    for (head, body) in [
        (post("/v1/logs"), longer.clone()),
        (gzipped(), gzip(&longer)),
        (zstded(), zstd(&longer)),
        (gzipped(), gzip(&vec![0; 20_000_000])),
        (zstded(), zstd(&vec![0; 20_000_000])),
    ] {
        let answer = over_http1(&server, head, body).await;
        assert_eq!((answer.status.as_u16(), status_of(&answer).code), (413, 8));
    }
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let chunked = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert!(raw_exchange(server.address, chunked.as_bytes()).await.starts_with("HTTP/1.1 413"));
    server.stop().await;
}

/// S17: a client that sends a refused body in full before it reads still gets to read the 413.
#[tokio::test]
async fn lets_refused_clients_read_the_answer() {
    for (limit, sent) in [(1000, 8_000_000), (20_000_000, 30_000_000)] {
        let server = TestServer::builder(Protocol::Http).limits(move |limits| limits.max_request_size = limit).start();
        let address = server.address;
        let answer = tokio::task::spawn_blocking(move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            let head =
                "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\nconnection: close\r\n";
            socket.write_all(format!("{head}content-length: {sent}\r\n\r\n").as_bytes()).unwrap();
            socket.write_all(&vec![0; sent]).unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        });
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 413"));
        server.stop().await;
    }
}

/// S21: chunked bodies pass; a declared length that is too long ends in 408 or a closed connection, one that is too
/// short makes the rest a bad request of its own; nothing hangs.
#[tokio::test]
async fn survives_lying_lengths() {
    let server = TestServer::builder(Protocol::Http)
        .limits(|limits| limits.request_timeout = Duration::from_millis(100))
        .start();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
    let chunked =
        format!("{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\n\n\r\n1\r\n\0\r\n0\r\n\r\n");
    assert!(raw_exchange(server.address, chunked.as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.handler.requests.lock().unwrap().pop().unwrap().body, b"\n\0"[..]);

    let too_long = format!("{head}content-length: 100\r\n\r\nabc");
    assert!(raw_exchange(server.address, too_long.as_bytes()).await.starts_with("HTTP/1.1 408"));

    let too_short = format!("{head}content-length: 2\r\n\r\n\n\0garbage\r\n\r\n");
    let answers = raw_exchange(server.address, too_short.as_bytes()).await;
    assert!(answers.starts_with("HTTP/1.1 200") && answers.contains("HTTP/1.1 400"), "{answers}");

    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(too_long.as_bytes()).await.unwrap();
    drop(socket);
    server.stop().await;
}

/// S9, S35, S36, S37, S38: each reply of the handler as HTTP.
#[tokio::test]
async fn answers_replies() {
    let replies = [
        Reply::Unavailable { retry_after: Duration::from_millis(200), message: "full".to_owned() },
        Reply::Unavailable { retry_after: Duration::from_millis(2200), message: "full".to_owned() },
        Reply::Invalid { message: "bad".to_owned(), field: None },
        Reply::TooLarge { message: "large".to_owned() },
        Reply::Unauthorized { message: "who".to_owned() },
        Reply::Unsupported { message: "no logs".to_owned() },
        Reply::Partial { rejected: 2, message: "two".to_owned() },
        Reply::Partial { rejected: 0, message: "warning".to_owned() },
    ];
    let server = TestServer::builder(Protocol::Http).replies(replies).start();
    for (http_status, code, header) in [
        (503, 14, Some(("retry-after", "1"))),
        (503, 14, Some(("retry-after", "3"))),
        (400, 3, None),
        (413, 8, None),
        (401, 16, Some(("www-authenticate", "Bearer"))),
        (404, 12, None),
    ] {
        let answer = over_http1(&server, post("/v1/logs"), logs_bytes(1)).await;
        assert_eq!((answer.status.as_u16(), status_of(&answer).code), (http_status, code));
        if let Some((name, value)) = header {
            assert_eq!(answer.header(name), Some(value));
        }
    }
    for (rejected, message) in [(2, "two"), (0, "warning")] {
        let answer = over_http1(&server, post("/v1/logs"), logs_bytes(1)).await;
        assert_eq!(answer.status, 200);
        let partial = ExportLogsServiceResponse::decode(answer.body).unwrap().partial_success.unwrap();
        assert_eq!((partial.rejected_log_records, partial.error_message.as_str()), (rejected, message));
    }
    server.stop().await;
}

/// S37: a body without room in the budget is 503 with Retry-After; the connection goes on.
#[tokio::test]
async fn refuses_over_budget() {
    let mut builder = TestServer::builder(Protocol::Http);
    builder.budget = 100_000;
    let server = builder.start();
    let answer = over_http1(&server, post("/v1/logs"), logs_bytes(200_000)).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    assert_eq!(over_http1(&server, post("/v1/logs"), logs_bytes(50_000)).await.status, 200);
    assert_eq!(server.stop().await.totals.refused(Refusal::Memory), 1);
}

/// S39: on drain a request in flight is answered and told that the connection closes.
#[tokio::test]
async fn finishes_requests_on_drain() {
    let server = TestServer::builder(Protocol::Http).gated().start();
    let address = server.address;
    let request = tokio::spawn(async move {
        raw_exchange(
            address,
            b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )
        .await
    });
    server.handler.arrived.acquire().await.unwrap().forget();
    server.drain();
    eventually("the listener is closed", || std::net::TcpStream::connect(address).is_err()).await;
    server.handler.gate.add_permits(1);
    let answer = request.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    server.stop().await;
}

/// Sends a request on a connection, and reads the head of its answer, behind which nothing comes.
async fn kept(socket: &mut TcpStream) -> String {
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut received, mut byte) = (Vec::new(), [0]);
    while !received.ends_with(b"\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, socket.read(&mut byte)).await.unwrap().unwrap();
        assert_eq!(read, 1, "closed after {}", String::from_utf8_lossy(&received));
        received.extend(byte);
    }
    let answer = String::from_utf8(received).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-length: 0"), "{answer}");
    answer
}

/// Before the drain, and where a connection is too old, a client over HTTP/1 is told by an answer that the connection closes:
/// none that waits for its next request is closed for either.
#[tokio::test]
async fn tells_clients_to_connect_anew() {
    let server = TestServer::builder(Protocol::Http).start();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    assert!(!kept(&mut idle).await.contains("connection: close"), "it may stay");
    let mut told = TcpStream::connect(server.address).await.unwrap();
    assert!(!kept(&mut told).await.contains("connection: close"), "it may stay");
    server.leave();
    assert!(kept(&mut told).await.contains("connection: close"), "it is told");
    assert_eq!(told.read(&mut [0]).await.unwrap(), 0, "and closed");
    eventually("only the other one is left", || server.counters.snapshot().connections_open == 1).await;
    assert!(kept(&mut idle).await.contains("connection: close"), "what was on its way is taken");
    server.stop().await;

    let age = Duration::from_millis(30);
    let server = TestServer::builder(Protocol::Http).limits(|limits| limits.max_connection_age = Some(age)).start();
    let mut old = TcpStream::connect(server.address).await.unwrap();
    let mut answers = 0;
    while !kept(&mut old).await.contains("connection: close") {
        answers += 1;
    }
    assert!(answers > 0, "a young connection stays");
    server.stop().await;
}

/// S47: `Expect: 100-continue` gets its go-ahead, unless the request is refused by its head; HTTP/1.0 is served.
#[tokio::test]
async fn serves_expect_and_http_1_0() {
    let server = TestServer::builder(Protocol::Http).limits(|limits| limits.max_request_size = 1000).start();
    let head = |length: usize| {
        format!(
            "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\nexpect: 100-continue\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(head(2).as_bytes()).await.unwrap();
    let mut first = [0; 25];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"\n\0").await.unwrap();
    let mut second = [0; 15];
    socket.read_exact(&mut second).await.unwrap();
    assert_eq!(&second, b"HTTP/1.1 200 OK");

    assert!(raw_exchange(server.address, head(1001).as_bytes()).await.starts_with("HTTP/1.1 413"));
    let http_1_0 = b"POST /v1/logs HTTP/1.0\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    assert!(raw_exchange(server.address, http_1_0).await.starts_with("HTTP/1.0 200"));
    server.stop().await;
}

/// Headers over 16 KiB or over a hundred are 431 over both versions, and never reach the handler.
#[tokio::test]
async fn bounds_headers() {
    let server = TestServer::builder(Protocol::Http).start();
    let many = |head: http::request::Builder| (0..101).fold(head, |head, index| head.header(format!("x-{index}"), "1"));
    let large = |head: http::request::Builder| head.header("x-large", "x".repeat(17 * 1024));
    let absolute = || post("/v1/logs").uri(format!("http://{}/v1/logs", server.address));
    assert_eq!(over_http1(&server, many(post("/v1/logs")), Vec::new()).await.status, 431);
    assert_eq!(over_http1(&server, large(post("/v1/logs")), Vec::new()).await.status, 431);
    assert_eq!(over_http2(&server, many(absolute()).body(whole_body("")).unwrap()).await.status, 431);
    assert_eq!(over_http2(&server, large(absolute()).body(whole_body("")).unwrap()).await.status, 431);
    assert!(server.handler.requests.lock().unwrap().is_empty());
    server.stop().await;
}

/// Slow and silent peers are closed: no bytes at all, half a request line, half a preface, headers that never end.
#[tokio::test]
async fn closes_slow_peers() {
    let server =
        TestServer::builder(Protocol::Http).limits(|limits| limits.header_timeout = Duration::from_millis(50)).start();
    for sent in ["", "POST /v1", "PRI * HTTP/2.0\r\n", "POST /v1/logs HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(rest.is_empty(), "{sent:?}");
    }
    assert_eq!(server.stop().await.totals.connections_opened, 4);
}

/// A server on `[::]` takes IPv4 and IPv6 and says who called.
#[tokio::test]
async fn serves_both_families() {
    let mut builder = TestServer::builder(Protocol::Http);
    builder.bind = "[::]:0".parse().unwrap();
    let server = builder.start();
    let port = server.address.port();
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}").parse().unwrap();
        let request =
            b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\nconnection: close\r\n\
              content-length: 0\r\n\r\n";
        assert!(raw_exchange(address, request).await.starts_with("HTTP/1.1 200"));
        let peer = server.handler.requests.lock().unwrap().pop().unwrap().peer.address;
        assert!(peer.ip().to_canonical().is_loopback(), "{peer}");
    }
    server.stop().await;
}

/// An answer to a JSON request, which must be JSON.
pub(crate) fn json_of(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

pub(crate) fn post_json(path: &str) -> http::request::Builder {
    http::Request::post(path).header("content-type", "application/json")
}

/// S3, S4, S12: JSON of each signal, also compressed and large, reaches the handler as protobuf; answers are JSON.
#[tokio::test]
async fn takes_json() {
    let partial = |rejected| Reply::Partial { rejected, message: "some \"bad\"".to_owned() };
    let server =
        TestServer::builder(Protocol::Http).replies([Reply::Accepted, partial(2), partial(3), partial(4)]).start();
    let large = serde_json::to_string(&logs(1_000_000)).unwrap().into_bytes();
    let head = post_json("/v1/logs").header("content-encoding", "gzip");
    let answer = over_http1(&server, head, gzip(&large)).await;
    assert_eq!((answer.status.as_u16(), json_of(&answer)), (200, serde_json::json!({})));
    let received = server.handler.requests.lock().unwrap().pop().unwrap();
    assert!(ExportLogsServiceRequest::decode(received.body.clone()).unwrap() == logs(1_000_000));
    assert_eq!(received.charge.bytes(), received.body.len());
    assert_eq!(received.wire_bytes, gzip(&large).len() as u64);
    drop(received);

    for (path, body, signal, rejected_key, rejected) in [
        ("/v1/logs", r#"{"resourceLogs":[]}"#, Signal::Logs, "rejectedLogRecords", "2"),
        ("/v1/metrics", r#"{"resourceMetrics":[{}]}"#, Signal::Metrics, "rejectedDataPoints", "3"),
        ("/v1/traces", "{}", Signal::Traces, "rejectedSpans", "4"),
    ] {
        let head = http::Request::post(path).header("content-type", "application/JSON; charset=utf-8");
        let answer = over_http1(&server, head, body.into()).await;
        let expected =
            serde_json::json!({ "partialSuccess": { rejected_key: rejected, "errorMessage": "some \"bad\"" } });
        assert_eq!((answer.status.as_u16(), json_of(&answer)), (200, expected));
        assert_eq!(server.handler.requests.lock().unwrap().pop().unwrap().signal, signal);
    }
    server.stop().await;
}

/// S10, S11, S18: what is wrong with a JSON request is said in JSON; its protobuf is bounded and charged too.
#[tokio::test]
async fn refuses_bad_json() {
    let mut builder = TestServer::builder(Protocol::Http)
        .limits(|limits| limits.max_request_size = 100_000)
        .replies([Reply::unavailable("full\n")]);
    builder.budget = 250_000;
    let server = builder.start();
    let refusal = async |path: &str, body: &str| {
        let answer = over_http1(&server, post_json(path), body.into()).await;
        let status = json_of(&answer);
        (answer.status.as_u16(), status["code"].as_u64().unwrap(), status["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(refusal("/v1/logs", "{}").await, (503, 14, "full\n".to_owned()));
    assert_eq!(refusal("/v1/nothing", "{}").await.0, 404);
    for body in ["", "{", "[]", "{} trailing", r#"{"resourceLogs":7}"#] {
        let (http_status, code, message) = refusal("/v1/logs", body).await;
        assert_eq!((http_status, code), (400, 3), "{body}");
        assert!(message.starts_with("invalid OTLP/JSON: "), "{message}");
    }
    let doubles = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"explicitBounds":[{}1]}}]}}}}]}}]}}]}}"#,
        "1,".repeat(45_000)
    );
    assert_eq!(refusal("/v1/metrics", &doubles).await.0, 413);
    assert_eq!(refusal("/v1/logs", &format!("{{}}{}", " ".repeat(99_999))).await.0, 413);
    let _neighbour = server.budget.try_charge(100_000).unwrap();
    assert_eq!(refusal("/v1/logs", &format!("{{}}{}", " ".repeat(90_000))).await.0, 503);
    drop(_neighbour);
    server.stop().await;
}
