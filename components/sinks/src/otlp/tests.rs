//! A backend that knows one token, over HTTP/1.1 as it is on the wire.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::time::Duration;

use engine_config::SignalSet;
use engine_config::sinks::otlp::{HeaderValue, SecretHeader};
use engine_core::service::Services;
use engine_core::test_kit::{self, within};
use otlp::{Signal, Wire};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// Answers 200 to requests with the token, 401 to others.
struct Backend {
    address: std::net::SocketAddr,
    token: watch::Sender<&'static str>,
    connections: watch::Receiver<usize>,
}

impl Backend {
    async fn start(token: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, valid) = watch::channel(token);
        let (count, connections) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.send_modify(|count| *count += 1);
                tokio::spawn(serve(stream, valid.clone()));
            }
        });
        Self { address, token: sender, connections }
    }
}

async fn serve(stream: TcpStream, valid: watch::Receiver<&'static str>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut token, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => token = value.to_owned(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some(_) => {}
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        let status = if token == format!("Bearer {}", *valid.borrow()) { "200 OK" } else { "401 Unauthorized" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn sink(backend: &Backend, token: &Path) -> Otlp {
    let mut options = OtlpSink::new(format!("http://{}", backend.address).parse().unwrap());
    options.protocol = options::Protocol::Http;
    let secret = format!("file:{}", token.display()).parse().unwrap();
    let header = HeaderValue::Secret(SecretHeader { secret, prefix: Some("Bearer".to_owned()) });
    options.headers.insert("authorization".to_owned(), header);
    let (_threads, lanes) = test_kit::lanes(1);
    let id = engine_config::ComponentId::new("backend").unwrap();
    let context = BuildContext { id, signals: SignalSet::ALL, lanes, services: Services::default() };
    Otlp::build(&options, &context).unwrap()
}

async fn outcome(sink: &Otlp) -> Outcome {
    within("an answer", sink.deliver(Wire::empty(Signal::Logs).into())).await
}

fn is_unauthorized(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(rejection) if rejection.kind == RejectionKind::Unauthorized)
}

/// A backend that refuses credentials gets the data again with the rotated ones, on the same connection; with the same
/// ones the refusal stands.
#[tokio::test]
async fn a_rotated_token_costs_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    let backend = Backend::start("first").await;
    let sink = sink(&backend, &file);
    assert_eq!(outcome(&sink).await, Outcome::Delivered);

    backend.token.send("second").unwrap();
    assert!(is_unauthorized(&outcome(&sink).await), "the file has not changed");
    for unfit in ["", "two\nlines"] {
        std::fs::write(&file, unfit).unwrap();
        assert!(is_unauthorized(&outcome(&sink).await), "{unfit:?} is not used");
    }
    std::fs::write(&file, "second\n").unwrap();
    assert!(matches!(outcome(&sink).await, Outcome::Retry { .. }));
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
    assert_eq!(*backend.connections.borrow(), 1);
}

/// A token that changed before the old one was refused is used when it is time to look again.
#[tokio::test]
async fn a_file_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first").unwrap();
    let backend = Backend::start("first").await;
    let Otlp { client, max_request_size } = sink(&backend, &file);
    let sink = Otlp { client: client.looking_every(Duration::ZERO), max_request_size };
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
    std::fs::write(&file, "second").unwrap();
    backend.token.send("second").unwrap();
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
}

/// What cannot be read stops the start, by name and without the content.
#[tokio::test]
async fn unfit_secrets_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let mut options = OtlpSink::new("http://127.0.0.1:1".parse().unwrap());
    let secret = engine_config::SecretRef::File(file.clone());
    options.headers.insert("x-token".to_owned(), HeaderValue::Secret(SecretHeader { secret, prefix: None }));
    let refused = |content: Option<&str>| {
        if let Some(text) = content {
            std::fs::write(&file, text).unwrap();
        }
        let bare = Client::new(client_options(&options).unwrap()).unwrap();
        let made = Headers::read(bare, &options).and_then(Reloading::new);
        made.map(drop).unwrap_err().to_string()
    };
    assert!(refused(None).contains("header `x-token`: cannot read file:/"));
    assert!(refused(Some("\n")).ends_with("it is empty"));
    let error = refused(Some("canary\nline"));
    assert!(error.contains("x-token") && !error.contains("canary"), "{error}");
}
