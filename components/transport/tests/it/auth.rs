//! Who may send: answers to those who may not, before anything of their bodies is read.

use bytes::Bytes;
use engine_config::SecretRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use transport::Protocol;
use transport::server::{Auth, AuthOptions, Refusal};

use crate::harness::{
    PATIENCE, TestServer, framed_body, grpc_logs, grpc_message, logs_bytes, over_http2, raw_exchange, whole_body,
};
use crate::http_server::{json_of, over_http1, post, post_json, status_of};

/// `agent:secret` in base64.
const AGENT: &str = "Basic YWdlbnQ6c2VjcmV0";

/// A server that takes a token, a user, or both, with the folder of its secrets.
fn start(protocol: Protocol, users: &[&str], tokens: &[&str]) -> (TestServer, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        SecretRef::File(path)
    };
    let options = AuthOptions {
        users: users.iter().map(|name| ((*name).to_owned(), secret(name, "secret\n"))).collect(),
        tokens: tokens.iter().map(|token| secret(token, token)).collect(),
    };
    let mut builder = TestServer::builder(protocol);
    builder.options.auth = Some(Auth::new(&options).unwrap());
    (builder.start(), directory)
}

/// Over HTTP, whoever shows nothing or something unknown gets 401 with what is asked for, in the encoding of the request,
/// whatever the path; whoever shows a token or a password is served. Each refusal is counted.
#[tokio::test]
async fn over_http() {
    let (server, _directory) = start(Protocol::Http, &["agent"], &["token"]);
    let wrong = ["Bearer wrong", "Basic d3Jvbmc6d3Jvbmc=", "token", "Digest token"];
    for path in ["/v1/logs", "/v1/unknown"] {
        let heads = wrong.iter().map(|value| post(path).header("authorization", *value));
        for head in heads.chain([post(path)]) {
            let answer = over_http1(&server, head, logs_bytes(10)).await;
            assert_eq!((answer.status.as_u16(), status_of(&answer).code), (401, 16));
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.contains("Bearer") && challenge.contains("Basic realm=\"otlp\""), "{challenge}");
        }
    }
    let answer = over_http1(&server, post_json("/v1/logs"), b"{}".to_vec()).await;
    assert_eq!((answer.status.as_u16(), json_of(&answer)["code"].as_i64()), (401, Some(16)));
    assert_eq!(server.counters.snapshot().refused(Refusal::Unauthorized), 11);
    assert!(server.handler.requests.lock().unwrap().is_empty());

    for value in ["Bearer token", "bearer token", AGENT] {
        let answer = over_http1(&server, post("/v1/logs").header("authorization", value), logs_bytes(10)).await;
        assert_eq!(answer.status, 200, "{value}");
    }
    assert_eq!(server.stop().await.totals.requests_accepted, 3);
}

/// Only what is configured is asked for.
#[tokio::test]
async fn asks_for_what_it_takes() {
    for (users, tokens, expected) in
        [(&["agent"][..], &[][..], "Basic realm=\"otlp\", charset=\"UTF-8\""), (&[], &["token"], "Bearer")]
    {
        let (server, _directory) = start(Protocol::Http, users, tokens);
        let answer = over_http1(&server, post("/v1/logs"), Vec::new()).await;
        assert_eq!(answer.header("www-authenticate"), Some(expected));
        server.stop().await;
    }
}

/// A client that asks whether to send its body hears 401 and no `100 Continue`; one that has announced a body and sent
/// none gets its answer all the same.
#[tokio::test]
async fn answers_before_the_body() {
    let (server, _directory) = start(Protocol::Http, &[], &["token"]);
    let head = "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 5\r\n";
    let asking = raw_exchange(server.address, format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).await;
    assert!(asking.starts_with("HTTP/1.1 401"), "{asking}");
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"HTTP/1.1 401");
    drop(socket);
    server.stop().await;
}

/// Over gRPC the refusal is UNAUTHENTICATED, for every method and before the message has come.
#[tokio::test]
async fn over_grpc() {
    let (server, _directory) = start(Protocol::Grpc, &["agent"], &["token"]);
    let (frames, body) = framed_body();
    frames.send(Bytes::from(grpc_message(0, &logs_bytes(100))[..50].to_vec())).unwrap();
    let answer = over_http2(&server, grpc_logs(&server).body(body).unwrap()).await;
    assert_eq!(answer.grpc_status(), Some("16"));
    drop(frames);
    let unknown = http::Request::post(format!("http://{}/unknown.Service/Export", server.address));
    let unknown = unknown.header("content-type", "application/grpc").body(whole_body(grpc_message(0, b"")));
    assert_eq!(over_http2(&server, unknown.unwrap()).await.grpc_status(), Some("16"));
    for (value, status) in [("Bearer token", "0"), (AGENT, "0"), ("Bearer other", "16")] {
        let request = grpc_logs(&server).header("authorization", value);
        let answer = over_http2(&server, request.body(whole_body(grpc_message(0, b""))).unwrap()).await;
        assert_eq!(answer.grpc_status(), Some(status), "{value}");
    }
    let totals = server.stop().await.totals;
    assert_eq!((totals.requests_accepted, totals.refused(Refusal::Unauthorized)), (2, 3));
}
