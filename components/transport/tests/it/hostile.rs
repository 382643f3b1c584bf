//! Peers that mean harm or have lost the network: floods, half-open connections, and a server that is given up.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use transport::Protocol;

use crate::harness::{
    PATIENCE, TestServer, eventually, framed_body, grpc_call, grpc_logs, grpc_message, http2, whole_body,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: [u8; 9] = frame_head(0, 4, 0, 0);

/// The head of an HTTP/2 frame (RFC 9113, section 4.1).
const fn frame_head(length: u8, kind: u8, flags: u8, stream: u32) -> [u8; 9] {
    let [a, b, c, d] = stream.to_be_bytes();
    [0, 0, length, kind, flags, a, b, c, d]
}

/// HEADERS of a gRPC request that goes on, with literal fields of HPACK's static table.
fn request_headers(stream: u32) -> Vec<u8> {
    let path = b"/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let content_type = b"application/grpc";
    let mut block = vec![0x83, 0x86, 0x01, 1, b'x', 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path);
    block.extend_from_slice(&[0x0f, 0x10, u8::try_from(content_type.len()).unwrap()]);
    block.extend_from_slice(content_type);
    let head = frame_head(u8::try_from(block.len()).unwrap(), 1, 4, stream);
    [&head[..], &block].concat()
}

/// Writes until the peer is done with us, then reads what it said last.
async fn flood(server: &TestServer, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let writing = async move {
        writer.write_all(PREFACE).await?;
        writer.write_all(&EMPTY_SETTINGS).await?;
        for number in 0..100_000 {
            writer.write_all(&frames(number)).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let reading = async move {
        let mut received = Vec::new();
        // The end may be a reset, because we had more to say.
        drop(reader.read_to_end(&mut received).await);
        received
    };
    let both = futures::future::join(writing, reading);
    let (written, received) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert!(written.is_err(), "the flood went through to its end");
    received
}

/// Streams that are opened and reset at once (CVE-2023-44487), and fragments of headers that never end
/// (CVE-2024-27316), close the connection of the attacker and of nobody else.
#[tokio::test]
async fn closes_floods() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let rapid_reset = |number: u32| {
        let stream = 2 * number + 1;
        let reset = [&frame_head(4, 3, 0, stream)[..], &8_u32.to_be_bytes()].concat();
        [request_headers(stream), reset].concat()
    };
    let goaway = flood(&server, rapid_reset).await;
    let too_much = 11_u32.to_be_bytes();
    assert!(goaway.windows(4).any(|bytes| bytes == too_much), "ENHANCE_YOUR_CALM is said in a GOAWAY");

    let endless_headers = |number: u32| {
        let kind = if number == 0 { 1 } else { 9 };
        [&frame_head(200, kind, 0, 1)[..], &[0x82; 200]].concat()
    };
    flood(&server, endless_headers).await;

    assert_eq!(grpc_call(&server, grpc_message(0, b"")).await.grpc_status(), Some("0"));
    assert_eq!(server.stop().await.totals.requests_accepted, 1);
}

/// Many connections that say nothing, half a request, or half a body keep nobody else from being served.
#[tokio::test]
async fn serves_beside_silent_peers() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let mut silent = Vec::new();
    for part in [&b""[..], &PREFACE[..10], PREFACE] {
        for _ in 0..30 {
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            socket.write_all(part).await.unwrap();
            silent.push(socket);
        }
    }
    let mut bodies = Vec::new();
    for _ in 0..30 {
        let (frames, body) = framed_body();
        frames.send(grpc_message(0, &[0; 1000])[..500].to_vec().into()).unwrap();
        let mut sender = http2(server.address).await;
        let request = grpc_logs(&server).body(body).unwrap();
        bodies.push((frames, tokio::spawn(async move { sender.send_request(request).await })));
    }
    for _ in 0..10 {
        assert_eq!(grpc_call(&server, grpc_message(0, b"")).await.grpc_status(), Some("0"));
    }
    eventually("all are open", || server.counters.snapshot().connections_open >= 120).await;
    drop((silent, bodies));
    server.stop().await;
}

/// Draining ends though a peer says nothing, keeps its connection idle, or never finishes its body.
#[tokio::test]
async fn drains_despite_silent_peers() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let server =
            TestServer::builder(protocol).limits(|limits| limits.drain_grace = Duration::from_millis(50)).start();
        let silent = TcpStream::connect(server.address).await.unwrap();
        let mut half = TcpStream::connect(server.address).await.unwrap();
        half.write_all(
            b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\nx",
        )
        .await
        .unwrap();
        let idle = http2(server.address).await;
        let (frames, body) = framed_body();
        frames.send(grpc_message(0, &[0; 1000])[..500].to_vec().into()).unwrap();
        let mut sender = http2(server.address).await;
        let request = grpc_logs(&server).body(body).unwrap();
        let unfinished = tokio::spawn(async move { sender.send_request(request).await });
        eventually("all are open", || server.counters.snapshot().connections_opened == 4).await;
        server.stop().await;
        drop((silent, half, idle, frames, unfinished));
    }
}

/// A peer that connected before the drain but was not accepted yet is still answered.
#[tokio::test]
async fn empties_the_accept_queue() {
    let server = TestServer::builder(Protocol::Http).start_draining();
    // The kernel completes the connection; the server's task first runs at the next await.
    let socket = std::net::TcpStream::connect(server.address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut socket = TcpStream::from_std(socket).unwrap();
    let request =
        b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    server.stop().await;
}

/// Giving the server up cuts its connections at once.
#[tokio::test]
async fn cuts_connections_when_dropped() {
    let server = TestServer::builder(Protocol::Grpc).gated().start();
    let call = {
        let request = grpc_logs(&server).body(whole_body(grpc_message(0, b""))).unwrap();
        let mut sender = http2(server.address).await;
        tokio::spawn(async move { sender.send_request(request).await })
    };
    server.handler.arrived.acquire().await.unwrap().forget();
    server.abandon();
    assert!(tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap().is_err());
    eventually("everything is freed", || server.budget.used() == 0 && server.counters.snapshot().connections_open == 0)
        .await;
}

const ACK: u8 = 1;

fn ping(flags: u8) -> Vec<u8> {
    [&frame_head(8, 6, flags, 0)[..], &[7; 8]].concat()
}

/// Every PING of a flood is answered, and others are served meanwhile.
#[tokio::test]
async fn answers_pings_beside_others() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
    let flood = tokio::spawn(async move {
        writer.write_all(PREFACE).await.unwrap();
        writer.write_all(&EMPTY_SETTINGS).await.unwrap();
        writer.write_all(&ping(0).repeat(100_000)).await.unwrap();
        writer
    });
    let answers = tokio::spawn(async move {
        let (mut received, mut answered) = (Vec::new(), 0);
        while answered < 100_000 {
            assert!(reader.read_buf(&mut received).await.unwrap() > 0, "closed after {answered} answers");
            let mut at = 0;
            while let Some(head) = received[at..].first_chunk::<9>() {
                let end = at + 9 + usize::from(head[1]) * 256 + usize::from(head[2]);
                if end > received.len() {
                    break;
                }
                answered += usize::from(head[3] == 6 && head[4] == ACK);
                at = end;
            }
            received.drain(..at);
        }
    });
    for _ in 0..10 {
        assert_eq!(grpc_call(&server, grpc_message(0, b"")).await.grpc_status(), Some("0"));
    }
    tokio::time::timeout(PATIENCE, answers).await.unwrap().unwrap();
    drop(flood.await.unwrap());
    server.stop().await;
}

/// PINGs are no requests: a connection with nothing else is idle and closed, also when its peer never reads an answer.
#[tokio::test]
async fn closes_who_only_pings() {
    let server = TestServer::builder(Protocol::Grpc)
        .limits(|limits| {
            limits.idle_timeout = Duration::from_millis(50);
            limits.drain_grace = Duration::from_millis(50);
        })
        .start();
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(PREFACE).await.unwrap();
    socket.write_all(&EMPTY_SETTINGS).await.unwrap();
    let pinging = async {
        let pings = ping(0).repeat(1000);
        while socket.write_all(&pings).await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, pinging).await.unwrap();
    assert_eq!(server.stop().await.totals.connections_opened, 1);
}

/// A peer that gives no sign of life when it is asked is gone, also in the middle of a request.
#[tokio::test]
async fn closes_dead_peers() {
    let server = TestServer::builder(Protocol::Http)
        .limits(|limits| {
            limits.keepalive_interval = Duration::from_millis(20);
            limits.keepalive_timeout = Duration::from_millis(20);
        })
        .start();
    for sent in [Vec::new(), request_headers(1)] {
        let mut dead = TcpStream::connect(server.address).await.unwrap();
        dead.write_all(&[PREFACE, &EMPTY_SETTINGS, &sent].concat()).await.unwrap();
        let mut rest = Vec::new();
        // Read, and never answered.
        drop(tokio::time::timeout(PATIENCE, dead.read_to_end(&mut rest)).await.unwrap());
        assert!(rest.windows(9).any(|bytes| bytes == frame_head(8, 6, 0, 0)), "it was asked");
    }
    server.stop().await;
}
