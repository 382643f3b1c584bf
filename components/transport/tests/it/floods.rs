//! Peers that try to make the server hold or do much for little: headers that unpack, settings without end, answers that
//! nobody reads.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use transport::Protocol;

use crate::harness::{PATIENCE, TestServer, eventually, grpc_call, grpc_message};

/// The preface of a connection and an empty SETTINGS frame.
const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// Headers of a few kilobytes that name one large field of the dynamic table thousands of times (an HPACK bomb) are
/// refused while they are unpacked, on every stream, and others are served meanwhile.
#[tokio::test]
async fn unpacks_no_hpack_bombs() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let path = b"/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let value = [b'v'; 100];
    let mut bomb = [&[0x83, 0x86, 0x01, 1, b'x', 0x04, u8::try_from(path.len()).unwrap()], &path[..]].concat();
    // A literal with indexing: from now on 62, the first place of the dynamic table, is this field.
    bomb.extend_from_slice(&[0x40, 1, b'x', 100]);
    bomb.extend_from_slice(&value);
    bomb.extend_from_slice(&[0x80 | 62; 8000]);
    let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
    let bombs = tokio::spawn(async move {
        writer.write_all(START).await?;
        for number in 0..200 {
            writer.write_all(&frame(1, 5, 2 * number + 1, &bomb)).await?;
        }
        // Until the server has said what it has to say.
        writer.shutdown().await
    });
    let mut received = Vec::new();
    drop(tokio::time::timeout(PATIENCE, reader.read_to_end(&mut received)).await.unwrap());
    drop(bombs.await.unwrap());
    assert!(received.len() > 9, "it was answered");
    assert_eq!(grpc_call(&server, grpc_message(0, b"")).await.grpc_status(), Some("0"));
    assert_eq!(server.handler.requests.lock().unwrap().len(), 1, "no bomb became a request");
    server.stop().await;
}

/// SETTINGS frames without end make their connection idle, and others are served meanwhile.
#[tokio::test]
async fn closes_who_only_sends_settings() {
    let server = TestServer::builder(Protocol::Grpc)
        .limits(|limits| {
            limits.idle_timeout = Duration::from_millis(50);
            limits.drain_grace = Duration::from_millis(50);
        })
        .start();
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let flood = tokio::spawn(async move {
        socket.write_all(START).await.unwrap();
        let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1000);
        while socket.write_all(&settings).await.is_ok() {}
    });
    assert_eq!(grpc_call(&server, grpc_message(0, b"")).await.grpc_status(), Some("0"));
    tokio::time::timeout(PATIENCE, flood).await.unwrap().unwrap();
    server.stop().await;
}

/// Requests one after the other whose answers nobody reads: the server stops to read them, holds nothing for them, and
/// closes the connection when its time is over.
#[tokio::test]
async fn closes_who_never_reads() {
    let server = TestServer::builder(Protocol::Http)
        .limits(|limits| {
            limits.idle_timeout = Duration::from_millis(100);
            limits.drain_grace = Duration::from_millis(50);
        })
        .start();
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".repeat(1000);
    let writing = async { while socket.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, writing).await.unwrap();
    eventually("nothing is held", || server.budget.used() == 0 && server.counters.snapshot().connections_open == 0)
        .await;
    server.stop().await;
}
