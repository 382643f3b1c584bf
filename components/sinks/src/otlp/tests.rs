//! The sink against peers that speak HTTP/1.1 as it is on the wire.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod json;
mod oauth2;
mod proxy;
mod too_large;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use engine_config::SignalSet;
use engine_config::sinks::otlp::auth::{Auth, BasicAuth, BearerAuth, TextOrSecret};
use engine_config::sinks::otlp::{HeaderValue, Protocol, SecretHeader};
use engine_core::service::Services;
use engine_core::test_kit::{self, within};
use otlp::{Signal, Wire};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// Answers each request as a test says, and records it.
struct Peer {
    address: std::net::SocketAddr,
    connections: watch::Receiver<usize>,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Received {
    target: String,
    /// By names in lower case.
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// Status line, media type, body.
type Answer = (&'static str, &'static str, String);

type Answering = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

impl Peer {
    async fn start(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, connections) = watch::channel(0);
        let answer: Answering = Arc::new(answer);
        let received = Arc::new(Mutex::default());
        let record = Arc::clone(&received);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.send_modify(|count| *count += 1);
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&record)));
            }
        });
        Self { address, connections, received }
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    fn last(&self) -> Received {
        self.received.lock().unwrap().last().unwrap().clone()
    }

    fn options(&self) -> OtlpSink {
        let mut options = OtlpSink::new(format!("http://{}", self.address).parse().unwrap());
        options.protocol = Protocol::Http;
        options
    }
}

async fn serve(stream: TcpStream, answer: Answering, record: Arc<Mutex<Vec<Received>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return;
        }
        let target = line.split(' ').nth(1).unwrap().to_owned();
        let mut headers = HashMap::new();
        loop {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length: &String| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let request = Received { target, headers, body };
        let (status, media_type, text) = answer(&request);
        record.lock().unwrap().push(request);
        let length = text.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
    }
}

/// A backend that takes requests with one `authorization`, and the valid one as a test sets it.
async fn guarded(authorization: &str) -> (Peer, watch::Sender<String>) {
    let (sender, valid) = watch::channel(authorization.to_owned());
    let peer = Peer::start(move |request| {
        let is_valid = request.headers.get("authorization") == Some(&*valid.borrow());
        (if is_valid { "200 OK" } else { "401 Unauthorized" }, "application/x-protobuf", String::new())
    });
    (peer.await, sender)
}

fn built(options: &OtlpSink) -> Otlp {
    let (_threads, lanes) = test_kit::lanes(1);
    let id = engine_config::ComponentId::new("backend").unwrap();
    let context = BuildContext { id, signals: SignalSet::ALL, lanes, services: Services::default() };
    Otlp::build(options, &context).unwrap()
}

fn file_reference(path: &Path) -> engine_config::SecretRef {
    format!("file:{}", path.display()).parse().unwrap()
}

fn with_token(peer: &Peer, token: &Path) -> OtlpSink {
    let mut options = peer.options();
    let header = HeaderValue::Secret(SecretHeader { secret: file_reference(token), prefix: Some("Bearer".to_owned()) });
    options.headers.insert("authorization".to_owned(), header);
    options
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
    let (backend, valid) = guarded("Bearer first").await;
    let sink = built(&with_token(&backend, &file));
    assert_eq!(outcome(&sink).await, Outcome::Delivered);

    valid.send("Bearer second".to_owned()).unwrap();
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
    let (backend, valid) = guarded("Bearer first").await;
    let sink = built(&with_token(&backend, &file));
    let sink = Otlp { client: sink.client.looking_every(Duration::ZERO), ..sink };
    assert_eq!(outcome(&sink).await, Outcome::Delivered);
    std::fs::write(&file, "second").unwrap();
    valid.send("Bearer second".to_owned()).unwrap();
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
        let bare = Client::new(settings::client_options(&options).unwrap()).unwrap();
        let made = Headers::read(bare, &options).and_then(Reloading::new);
        made.map(drop).unwrap_err().to_string()
    };
    assert!(refused(None).contains("header `x-token`: cannot read file:/"));
    assert!(refused(Some("\n")).ends_with("it is empty"));
    let error = refused(Some("canary\nline"));
    assert!(error.contains("x-token") && !error.contains("canary"), "{error}");
}

/// `auth.basic` and `auth.bearer` are headers of every request, and their files are followed like those of `headers`.
#[tokio::test]
async fn basic_and_bearer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "open sesame\n").unwrap();
    // From RFC 7617, section 2.
    let (backend, valid) = guarded("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").await;
    let username = TextOrSecret::Text("Aladdin".to_owned());
    let basic = BasicAuth { username, password: file_reference(&file) };
    let mut options = backend.options();
    options.auth = Some(Auth { basic: Some(basic), ..Auth::default() });
    let sink = built(&options);
    assert_eq!(outcome(&sink).await, Outcome::Delivered);

    valid.send("Basic QWxhZGRpbjpyb3RhdGVk".to_owned()).unwrap();
    assert!(is_unauthorized(&outcome(&sink).await), "the file has not changed");
    std::fs::write(&file, "rotated").unwrap();
    assert!(matches!(outcome(&sink).await, Outcome::Retry { .. }));
    assert_eq!(outcome(&sink).await, Outcome::Delivered);

    valid.send("Bearer rotated".to_owned()).unwrap();
    options.auth = Some(Auth { bearer: Some(BearerAuth { token: file_reference(&file) }), ..Auth::default() });
    assert_eq!(outcome(&built(&options)).await, Outcome::Delivered);
}
