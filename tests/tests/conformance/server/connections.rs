//! Connections: their end, many calls on one, calls that are taken back, keep-alive, versions of HTTP.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::export::{Version, grpc_message};
use crate::harness::frames::{
    DATA, END_STREAM, Frame, GOAWAY, MAX_CONCURRENT_STREAMS, RST_STREAM, SETTINGS, Wire, setting,
};
use crate::harness::{Answer, Bench, Data, Export, Say, Signal, Transport, eventually, within};

/// A sink that merges nothing, so that the backend gets as many requests as clients send.
const ONE_BY_ONE: &str = "batch.max_records = 1";

/// Seconds that pings without a request go on for, in the environment.
const PINGS: &str = "TESTS_PING_SECONDS";

/// While the program ends, requests under way are answered, HTTP/1 says `Connection: close`, HTTP/2 says GOAWAY.
#[tokio::test]
async fn s39_shutdown() {
    let mut bench = Bench::with("", ONE_BY_ONE).await;
    bench.backend.otherwise(Say::Held);
    let cases: Vec<_> =
        Transport::ALL.into_iter().flat_map(|transport| Signal::ALL.map(|signal| (transport, signal))).collect();
    let under_way: Vec<_> = cases
        .iter()
        .map(|(transport, signal)| {
            let export = Export::new(*transport, &Data::of(*signal, 1));
            let address = if *transport == Transport::Grpc { bench.engine.grpc() } else { bench.engine.http() };
            tokio::spawn(export.send_to(address))
        })
        .collect();
    let mut idle = Wire::connect(bench.engine.grpc()).await;
    assert!(idle.ping([1; 8]).await, "the connection is served");
    bench.backend.requests(cases.len()).await;
    bench.engine.terminate();
    assert!(idle.until(GOAWAY).await.is_some(), "GOAWAY comes before the end");
    // Who has nothing under way is let go at once.
    while idle.next().await.is_some() {}
    bench.backend.release(cases.len());
    for ((transport, _), answer) in cases.iter().zip(under_way) {
        let answer = answer.await.unwrap();
        answer.took_all();
        if *transport != Transport::Grpc {
            assert_eq!(answer.header("connection"), Some("close"));
        }
    }
    assert!(bench.engine.ended().await.success());
    assert_eq!(bench.backend.received().len(), cases.len());
}

/// A thousand calls at once on one connection are all answered, though only as many are open as the settings allow.
#[tokio::test]
async fn s44_thousand_streams() {
    let bench = Bench::start().await;
    let mut wire = Wire::connect(bench.engine.grpc()).await;
    let settings = within("settings", wire.next()).await.unwrap();
    assert_eq!(settings.kind, SETTINGS);
    assert_eq!(setting(&settings, MAX_CONCURRENT_STREAMS), Some(200));
    drop(wire);

    let address = bench.engine.grpc();
    let stream = TcpStream::connect(address).await.unwrap();
    let executor = TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let calls = (0..1000).map(|call| {
        let signal = Signal::ALL[call % 3];
        let mut sender = sender.clone();
        let request = Export::new(Transport::Grpc, &Data::of(signal, 1)).request(address);
        async move {
            let response = within("an answer", sender.send_request(request)).await.unwrap();
            Answer::read(Transport::Grpc, signal, response).await.took_all();
        }
    });
    futures::future::join_all(calls).await;
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.accepted, ledger.delivered), (1000, 1000));
}

/// A call that its client takes back frees its memory, and its record is counted once, wherever it went.
#[tokio::test]
async fn s45_cancelled_calls() {
    let bench = Bench::with("", ONE_BY_ONE).await;
    let at_rest = bench.engine.status().await.memory.admission_used_bytes;
    bench.backend.otherwise(Say::Held);
    let mut wire = Wire::connect(bench.engine.grpc()).await;
    let cases = Signal::ALL.map(|signal| {
        let path = match signal {
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        };
        (path, grpc_message(0, &Data::of(signal, 1).encode()))
    });
    for (stream, (path, message)) in (1..).step_by(2).zip(&cases) {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", *path),
            (":authority", "apps"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        wire.send(Frame::request(stream, &fields)).await;
        wire.send(Frame::new(DATA, END_STREAM, stream, message.clone())).await;
    }
    bench.backend.requests(cases.len()).await;
    for (stream, _) in (1..).step_by(2).zip(&cases) {
        wire.send(Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes())).await;
    }
    assert!(wire.ping([2; 8]).await, "the connection goes on");
    bench.backend.otherwise(Say::Success);
    bench.backend.release(cases.len());
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.accepted, ledger.delivered + ledger.returned), (3, 3));
    // The connection that is still open may hold memory for its frames, and nothing else does.
    drop(wire);
    eventually("everything is given back", || async {
        (bench.engine.status().await.memory.admission_used_bytes == at_rest).then_some(())
    })
    .await;
    // A connection of HTTP/1 that ends before its answer is the same.
    bench.backend.otherwise(Say::Held);
    let before = bench.backend.received().len();
    for transport in Transport::HTTP {
        let export = Export::new(transport, &Data::of(Signal::Traces, 1));
        let call = tokio::spawn(export.send_to(bench.engine.http()));
        bench.backend.requests(before + 1 + usize::from(transport == Transport::Json)).await;
        call.abort();
    }
    bench.backend.release(2);
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.accepted, ledger.delivered + ledger.returned), (5, 5));
    eventually("everything is given back", || async {
        (bench.engine.status().await.memory.admission_used_bytes == at_rest).then_some(())
    })
    .await;
}

/// Pings without a request are answered one by one and cost no connection; only silence of a connection ends it: GOAWAY for
/// HTTP/2, the end for HTTP/1, not before its time.
#[tokio::test]
async fn s46_keep_alive() {
    let bench = Bench::with("", "").await;
    let mut wire = Wire::connect(bench.engine.grpc()).await;
    // As many as come in five minutes at one in 5 s; with the environment's word they come as slowly, too.
    let pause = match std::env::var(PINGS) {
        Ok(seconds) => Duration::from_secs(seconds.parse().expect(PINGS)) / 60,
        Err(_) => Duration::ZERO,
    };
    for number in 0..60_u64 {
        assert!(wire.ping(number.to_be_bytes()).await, "the connection ends at ping {number}");
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    drop(wire);

    // A connection of HTTP/1 takes one request after the other.
    let address = bench.engine.http();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for transport in Transport::HTTP {
        for signal in Signal::ALL {
            within("the connection is free", sender.ready()).await.unwrap();
            let response = sender.send_request(Export::new(transport, &Data::of(signal, 1)).request(address)).await;
            Answer::read(transport, signal, response.unwrap()).await.took_all();
        }
    }

    let short = Bench::with("grpc.idle_timeout = \"1s\"\nhttp.idle_timeout = \"1s\"", "").await;
    let began = Instant::now();
    let mut wire = Wire::connect(short.engine.grpc()).await;
    // A ping is no request.
    assert!(wire.ping([3; 8]).await);
    assert!(wire.until(GOAWAY).await.is_some());
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let mut stream = TcpStream::connect(short.engine.http()).await.unwrap();
    let began = Instant::now();
    // The version is known by the first bytes; the request never ends.
    stream.write_all(b"POST /v1/logs HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    drop(within("the connection is closed", stream.read_to_end(&mut rest)).await);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

/// The port of HTTP serves HTTP/1.1, HTTP/2 without TLS, HTTP/1.0, and clients that wait for `100 Continue`.
#[tokio::test]
async fn s47_versions_of_http() {
    let bench = Bench::start().await;
    for transport in Transport::HTTP {
        for signal in Signal::ALL {
            let data = Data::of(signal, 3);
            for version in [Version::Http1, Version::Http2] {
                bench.passes(Export::new(transport, &data).over(version)).await.assert_same(&data);
            }
            let body = transport.encode(&data);
            let head = |version: &str, more: &str| {
                format!(
                    "POST /v1/{} {version}\r\nhost: apps\r\ncontent-type: {}\r\ncontent-length: {}\r\n{more}\r\n",
                    signal.as_str(),
                    transport.content_type(),
                    body.len()
                )
            };
            let mut stream = TcpStream::connect(bench.engine.http()).await.unwrap();
            stream
                .write_all(head("HTTP/1.1", "expect: 100-continue\r\nconnection: close\r\n").as_bytes())
                .await
                .unwrap();
            let mut interim = [0; 25];
            within("100 Continue", stream.read_exact(&mut interim)).await.unwrap();
            assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
            stream.write_all(&body).await.unwrap();
            assert!(rest_of(&mut stream).await.starts_with("HTTP/1.1 200 "));

            let mut stream = TcpStream::connect(bench.engine.http()).await.unwrap();
            stream.write_all(head("HTTP/1.0", "").as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            // Without keep-alive the server closes.
            let answer = rest_of(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        }
    }
    let received = bench.backend.received();
    assert_eq!(received.len(), 24);
    assert!(received.iter().all(|request| request.data.records() == 3));
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    within("the server closes", stream.read_to_end(&mut rest)).await.unwrap();
    String::from_utf8_lossy(&rest).into_owned()
}
