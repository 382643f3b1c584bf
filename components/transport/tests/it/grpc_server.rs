//! Our gRPC server against tonic clients and raw HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use otlp::Signal;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use transport::Protocol;
use transport::server::{Refusal, Reply};

use crate::harness::{
    TestServer, eventually, framed_body, grpc_call, grpc_logs, grpc_message, http2, logs, logs_bytes, over_http2,
    raw_exchange, whole_body,
};

async fn channel(server: &TestServer) -> Channel {
    Channel::builder(server.uri()).connect().await.unwrap()
}

/// S1, S5: each signal reaches the handler under its name, byte for byte, and the answer is plain success.
#[tokio::test]
async fn takes_each_signal() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let channel = channel(&server).await;
    let answer = LogsServiceClient::new(channel.clone()).export(logs(100)).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    let empty_metrics = ExportMetricsServiceRequest::default();
    let answer = MetricsServiceClient::new(channel.clone()).export(empty_metrics).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    let empty_traces = ExportTraceServiceRequest::default();
    let answer = TraceServiceClient::new(channel).export(empty_traces).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    {
        let requests = server.handler.requests.lock().unwrap();
        let signals: Vec<Signal> = requests.iter().map(|request| request.signal).collect();
        assert_eq!(signals, [Signal::Logs, Signal::Metrics, Signal::Traces]);
        assert_eq!(requests[0].body, logs_bytes(100));
        assert_eq!(requests[0].wire_bytes, logs_bytes(100).len() as u64);
        assert!(requests[1].body.is_empty());
    }
    let report = server.stop().await;
    assert_eq!(report.totals.requests_accepted, 3);
    assert_eq!(report.totals.connections_open, 0);
}

/// S19, S37, S38: every refusal of the handler has the code that the OTLP specification gives it, RetryInfo exactly
/// where the client shall try again, and is counted under its reason.
#[tokio::test]
async fn answers_refusals() {
    let replies = [
        Reply::unavailable("queue full"),
        Reply::TooLarge { message: "too large".to_owned() },
        Reply::Invalid { message: "bad".to_owned(), field: Some("resource_logs[1]".to_owned()) },
        Reply::Unauthorized { message: "who are you".to_owned() },
        Reply::Unsupported { message: "no logs here".to_owned() },
    ];
    let server = TestServer::builder(Protocol::Grpc).replies(replies).start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    let mut refuse = async || client.export(logs(10)).await.unwrap_err();

    let status = refuse().await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "queue full"));
    let retry_delay = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(retry_delay, Some(Duration::from_secs(1)));

    let status = refuse().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_none());

    let status = refuse().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!((violations[0].field.as_str(), violations[0].description.as_str()), ("resource_logs[1]", "bad"));

    assert_eq!(refuse().await.code(), Code::Unauthenticated);
    assert_eq!(refuse().await.code(), Code::Unimplemented);
    let counts = server.counters.snapshot();
    for reason in
        [Refusal::Unavailable, Refusal::TooLarge, Refusal::Invalid, Refusal::Unauthorized, Refusal::Unsupported]
    {
        assert_eq!(counts.refused(reason), 1, "{reason:?}");
    }
    server.stop().await;
}

/// S39: on drain, a request in flight is finished and answered, and its connection ends without being cut.
#[tokio::test]
async fn finishes_requests_on_drain() {
    let server = TestServer::builder(Protocol::Grpc).gated().start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    let request = tokio::spawn(async move { client.export(logs(10)).await });
    server.handler.arrived.acquire().await.unwrap().forget();
    server.drain();
    eventually("the listener is closed", || std::net::TcpStream::connect(server.address).is_err()).await;
    server.handler.gate.add_permits(1);
    request.await.unwrap().unwrap();
    assert_eq!(server.stop().await.totals.requests_accepted, 1);
}

/// S17, S19: a message of exactly the limit passes; one byte more is RESOURCE_EXHAUSTED without RetryInfo.
#[tokio::test]
async fn bounds_messages() {
    let limit = logs_bytes(100_000).len();
    let server = TestServer::builder(Protocol::Grpc).limits(|limits| limits.max_request_size = limit).start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    client.export(logs(100_000)).await.unwrap();
    let status = client.export(logs(100_001)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.get_details_retry_info().is_none());
    assert_eq!(server.stop().await.totals.refused(Refusal::TooLarge), 1);
}

/// S13, S14: what a tonic client compresses arrives inflated.
#[tokio::test]
async fn inflates_what_tonic_compresses() {
    let server = TestServer::builder(Protocol::Grpc).start();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = LogsServiceClient::new(channel(&server).await).send_compressed(encoding);
        for size in [0, 100, 100_000, 5_000_000] {
            client.export(logs(size)).await.unwrap();
            let request = server.handler.requests.lock().unwrap().pop().unwrap();
            assert_eq!(request.body, logs_bytes(size), "{encoding:?} {size}");
            assert!(size < 100_000 || request.wire_bytes < size as u64 / 10);
        }
    }
    server.stop().await;
}

/// S15: an encoding nobody here knows is UNIMPLEMENTED, and the answer names the known ones.
#[tokio::test]
async fn refuses_unknown_encodings() {
    let server = TestServer::builder(Protocol::Grpc).start();
    for encoding in ["br", "gzip,gzip", "x-snappy-framed"] {
        let request = grpc_logs(&server).header("grpc-encoding", encoding);
        let request = request.body(whole_body(grpc_message(1, b"x"))).unwrap();
        let answer = over_http2(&server, request).await;
        assert_eq!(answer.grpc_status(), Some("12"), "{encoding}");
        assert_eq!(answer.header("grpc-accept-encoding"), Some("identity,gzip,zstd,snappy"));
    }
    assert_eq!(server.stop().await.totals.refused(Refusal::Unsupported), 3);
}

/// S49, S50: services and methods that are not offered are UNIMPLEMENTED.
#[tokio::test]
async fn refuses_unknown_methods() {
    let server = TestServer::builder(Protocol::Grpc).start();
    for path in [
        "opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        "opentelemetry.proto.collector.logs.v1.LogsService/Import",
        "grpc.health.v1.Health/Check",
    ] {
        let request = http::Request::post(format!("http://{}/{path}", server.address))
            .header("content-type", "application/grpc")
            .body(whole_body(grpc_message(0, b"")))
            .unwrap();
        assert_eq!(over_http2(&server, request).await.grpc_status(), Some("12"), "{path}");
    }
    server.stop().await;
}

/// What is no gRPC call gets the HTTP status that the gRPC protocol asks for, and HTTP/1 a hint in words.
#[tokio::test]
async fn refuses_what_is_no_grpc() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let uri = grpc_logs(&server).body(()).unwrap().uri().clone();
    for (content_type, status) in
        [("application/json", 415), ("application/grpc+json", 415), ("application/grpcx", 415), ("text/plain", 415)]
    {
        let request = http::Request::post(uri.clone()).header("content-type", content_type);
        let answer = over_http2(&server, request.body(whole_body("x")).unwrap()).await;
        assert_eq!(answer.status, status, "{content_type}");
    }
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8"] {
        let request = http::Request::post(uri.clone()).header("content-type", content_type);
        let answer = over_http2(&server, request.body(whole_body(grpc_message(0, b""))).unwrap()).await;
        assert_eq!(answer.grpc_status(), Some("0"), "{content_type}");
    }
    let get = http::Request::get(uri).header("content-type", "application/grpc").body(whole_body("")).unwrap();
    assert_eq!(over_http2(&server, get).await.status, 405);
    let answer = raw_exchange(server.address, b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 505") && answer.contains("OTLP/HTTP"), "{answer}");
    server.stop().await;
}

/// Exactly one whole message makes a unary request; anything else is INVALID_ARGUMENT and never reaches the handler.
#[tokio::test]
async fn refuses_broken_framing() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let two_messages = [grpc_message(0, b"one"), grpc_message(0, b"two")].concat();
    let truncated = grpc_message(0, b"three")[..7].to_vec();
    let cases = [
        ("two messages", two_messages),
        ("truncated message", truncated),
        ("truncated prefix", vec![0, 0, 0]),
        ("no message", Vec::new()),
        ("unknown flag", grpc_message(2, b"x")),
        ("compressed without an encoding", grpc_message(1, b"x")),
    ];
    for (what, message) in cases {
        assert_eq!(grpc_call(&server, message).await.grpc_status(), Some("3"), "{what}");
    }
    assert!(server.handler.requests.lock().unwrap().is_empty());
    assert_eq!(server.stop().await.totals.refused(Refusal::Malformed), 6);
}

/// A body may be cut into frames anywhere, also inside the prefix, and arrives whole.
#[tokio::test]
async fn joins_frames() {
    let server = TestServer::builder(Protocol::Grpc).start();
    for (size, cut) in [(50, 1), (50, 4), (100_000, 16 * 1024), (100_000, 99_999), (6_000_000, 100_000)] {
        let content = logs_bytes(size);
        let message = Bytes::from(grpc_message(0, &content));
        let (frames, body) = framed_body();
        for at in (0..message.len()).step_by(cut) {
            frames.send(message.slice(at..message.len().min(at + cut))).unwrap();
            frames.send(Bytes::new()).unwrap();
        }
        drop(frames);
        let answer = over_http2(&server, grpc_logs(&server).body(body).unwrap()).await;
        assert_eq!(answer.grpc_status(), Some("0"));
        assert_eq!(server.handler.requests.lock().unwrap().pop().unwrap().body, content, "{size} {cut}");
    }
    server.stop().await;
}

/// S44: a thousand calls at once on one connection are all answered though only some may be open at a time.
#[tokio::test]
async fn answers_a_thousand_streams() {
    let server = TestServer::builder(Protocol::Grpc).limits(|limits| limits.max_concurrent_streams = 50).start();
    let channel = channel(&server).await;
    // Before the first answer a client does not know how many streams it may open, and some would be refused.
    LogsServiceClient::new(channel.clone()).export(logs(1)).await.unwrap();
    let calls = (0..1000).map(|_| {
        let mut client = LogsServiceClient::new(channel.clone());
        async move { client.export(logs(100)).await }
    });
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    let report = server.stop().await;
    assert_eq!((report.totals.requests_accepted, report.totals.connections_opened), (1001, 1));
}

/// S45: a client that takes its call back, or breaks its connection, ends the handler's call and frees its memory.
#[tokio::test]
async fn frees_cancelled_calls() {
    let server = TestServer::builder(Protocol::Grpc).gated().start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    let call = tokio::spawn(async move { client.export(logs(500_000)).await });
    server.handler.arrived.acquire().await.unwrap().forget();
    assert!(server.budget.used() > 500_000);
    call.abort();
    // What stays is the frame of the connection, until it is gone too.
    eventually("the call is freed", || server.budget.used() <= 1024 * 1024).await;

    eventually("the connection is closed", || server.budget.used() == 0).await;

    let (frames, body) = framed_body();
    frames.send(Bytes::from(grpc_message(0, &[0; 300_000])[..200_000].to_vec())).unwrap();
    let mut sender = http2(server.address).await;
    let request = grpc_logs(&server).body(body).unwrap();
    let unfinished = tokio::spawn(async move { sender.send_request(request).await });
    eventually("a partial body is charged", || server.budget.used() > 1024 * 1024 + 190_000).await;
    unfinished.abort();
    eventually("everything is freed", || server.budget.used() == 0).await;
    drop(frames);
    server.stop().await;
}

/// S37: a body that the budget has no room for is refused at once with UNAVAILABLE and RetryInfo, also when it only
/// turns out while the body comes or inflates; and the next small one passes.
#[tokio::test]
async fn refuses_over_budget() {
    let mut builder = TestServer::builder(Protocol::Grpc);
    builder.budget = 1_000_000;
    let server = builder.start();
    let plain = LogsServiceClient::new(channel(&server).await);
    let compressed = plain.clone().send_compressed(CompressionEncoding::Gzip);
    for mut client in [plain, compressed] {
        let status = client.export(logs(2_000_000)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() >= Duration::from_secs(1));
        client.export(logs(10_000)).await.unwrap();
        server.handler.requests.lock().unwrap().clear();
    }
    assert_eq!(server.stop().await.totals.refused(Refusal::Memory), 2);
}

/// S18, S19: a bomb is stopped while it inflates: RESOURCE_EXHAUSTED without RetryInfo.
#[tokio::test]
async fn stops_bombs() {
    let server = TestServer::builder(Protocol::Grpc).limits(|limits| limits.max_request_size = 1_000_000).start();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = LogsServiceClient::new(channel(&server).await).send_compressed(encoding);
        let status = client.export(logs(20_000_000)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.get_details_retry_info().is_none());
    }
    assert_eq!(server.stop().await.totals.refused(Refusal::TooLarge), 2);
}

/// A body that does not come to its end in time is given up and its memory freed.
#[tokio::test]
async fn gives_up_on_slow_bodies() {
    let server =
        TestServer::builder(Protocol::Grpc).limits(|limits| limits.request_timeout = Duration::from_millis(50)).start();
    let (frames, body) = framed_body();
    frames.send(Bytes::from(grpc_message(0, b"half")[..7].to_vec())).unwrap();
    let answer = over_http2(&server, grpc_logs(&server).body(body).unwrap()).await;
    assert_eq!(answer.grpc_status(), Some("4"));
    assert_eq!(server.stop().await.totals.refused(Refusal::Timeout), 1);
}

/// Partial success carries the count and the words; a warning is a partial success that rejects nothing.
#[tokio::test]
async fn answers_partial_success() {
    let partial = |rejected, message: &str| Reply::Partial { rejected, message: message.to_owned() };
    let server = TestServer::builder(Protocol::Grpc).replies([partial(3, "three were bad"), partial(0, "hm")]).start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    for (rejected, message) in [(3, "three were bad"), (0, "hm")] {
        let answer = client.export(logs(1)).await.unwrap().into_inner().partial_success.unwrap();
        assert_eq!((answer.rejected_log_records, answer.error_message.as_str()), (rejected, message));
    }
    server.stop().await;
}

/// Clients with max-age connections, idle ones and ones beyond the cap: closed, and nothing is lost meanwhile.
#[tokio::test]
async fn retires_connections() {
    let server = TestServer::builder(Protocol::Grpc)
        .limits(|limits| limits.max_connection_age = Some(Duration::from_millis(30)))
        .start();
    let mut client = LogsServiceClient::new(Channel::builder(server.uri()).connect_lazy());
    let (mut accepted, mut put_aside) = (0, 0);
    while server.counters.snapshot().connections_opened < 4 {
        match client.export(logs(1000)).await {
            Ok(_) => accepted += 1,
            // The client has put the request aside for a connection that it then hears is closing, and has not sent it.
            Err(status) => {
                assert_eq!(status.code(), Code::Cancelled, "{status}");
                put_aside += 1;
            }
        }
    }
    assert_eq!(server.handler.requests.lock().unwrap().len(), accepted);
    assert!(put_aside < server.counters.snapshot().connections_opened, "one for each connection that was retired");
    server.stop().await;

    let server =
        TestServer::builder(Protocol::Grpc).limits(|limits| limits.idle_timeout = Duration::from_millis(30)).start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    client.export(logs(1)).await.unwrap();
    eventually("the idle connection is closed", || server.counters.snapshot().connections_open == 0).await;
    client.export(logs(1)).await.unwrap();
    server.stop().await;
}

/// Before the drain a connection is closed with its next answer, and not while it waits for a request.
#[tokio::test]
async fn has_clients_connect_anew() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let mut busy = LogsServiceClient::new(channel(&server).await);
    let mut idle = LogsServiceClient::new(channel(&server).await);
    busy.export(logs(1)).await.unwrap();
    idle.export(logs(1)).await.unwrap();
    server.leave();
    while server.counters.snapshot().connections_opened < 3 {
        // A client that sends without a pause may put a request aside, as where connections are too old.
        busy.export(logs(1)).await.ok();
    }
    idle.export(logs(1)).await.expect("the idle one was not closed");
    server.stop().await;
}

/// Connections beyond the cap are closed at once and counted; a place that comes free is given again.
#[tokio::test]
async fn caps_connections() {
    let server = TestServer::builder(Protocol::Grpc).limits(|limits| limits.max_connections = 1).start();
    let first = http2(server.address).await;
    eventually("the first connection is open", || server.counters.snapshot().connections_open == 1).await;
    assert_eq!(raw_exchange(server.address, b"").await, "");
    assert_eq!(server.counters.snapshot().refused(Refusal::Connections), 1);
    drop(first);
    eventually("the place is free", || server.counters.snapshot().connections_open == 0).await;
    assert_eq!(grpc_call(&server, grpc_message(0, b"")).await.grpc_status(), Some("0"));
    server.stop().await;
}

/// One address has no more connections than it may; a place that comes free is given again.
#[tokio::test]
async fn caps_connections_of_an_address() {
    let server =
        TestServer::builder(Protocol::Grpc).limits(|limits| limits.max_connections_per_address = Some(1)).start();
    let first = http2(server.address).await;
    eventually("the first connection is open", || server.counters.snapshot().connections_open == 1).await;
    assert_eq!(raw_exchange(server.address, b"").await, "");
    assert_eq!(server.counters.snapshot().refused(Refusal::ConnectionsPerAddress), 1);
    drop(first);
    eventually("the place is free", || server.counters.snapshot().connections_open == 0).await;
    assert_eq!(grpc_call(&server, grpc_message(0, b"")).await.grpc_status(), Some("0"));
    assert_eq!(server.stop().await.totals.refused(Refusal::Connections), 0);
}
