//! Clients: whatever comes as an answer, also of a proxy, an outcome comes out that means what the answer says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use engine_core::outcome::Outcome;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use otlp::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use transport::Protocol;
use transport::client::{Client, ClientOptions, Proxy};

use super::{Input, PATIENCE, nothing_has_panicked, watch_panics};

/// The longest wait that a peer can impose.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Words of peers are cut to this and a little for our own.
const LONGEST_MESSAGE: usize = 3 * 1024;

const STATUSES: [u16; 14] = [200, 200, 200, 204, 302, 400, 401, 404, 413, 429, 500, 502, 503, 504];
const MEDIA_TYPES: [&str; 6] =
    ["application/x-protobuf", "application/json", "application/grpc", "text/plain", "text/html", ""];
const ENCODINGS: [&str; 5] = ["", "identity", "gzip", "zstd", "br"];

type Body = BoxBody<Bytes, Infallible>;

/// What the peers answer next.
#[derive(Clone, Default)]
struct Script {
    raw: Vec<u8>,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

struct Peers {
    runtime: tokio::runtime::Runtime,
    raw: SocketAddr,
    http1: SocketAddr,
    http2: SocketAddr,
    script: Arc<Mutex<Script>>,
}

static PEERS: LazyLock<Mutex<Peers>> = LazyLock::new(|| Mutex::new(Peers::start()));

impl Peers {
    fn start() -> Self {
        watch_panics();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let listener = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (raw, http1, http2) = (listener(), listener(), listener());
        let addresses = [&raw, &http1, &http2].map(|listener| listener.local_addr().unwrap());
        runtime.spawn(serve(raw, Arc::clone(&script), |socket, script| async move {
            answer_raw(socket, &script).await;
        }));
        runtime.spawn(serve(http1, Arc::clone(&script), |socket, script| async move {
            let service = service_fn(move |request| scripted(request, Arc::clone(&script)));
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
        }));
        runtime.spawn(serve(http2, Arc::clone(&script), |socket, script| async move {
            let service = service_fn(move |request| scripted(request, Arc::clone(&script)));
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(server.serve_connection(TokioIo::new(socket), service).await);
        }));
        let [raw, http1, http2] = addresses;
        Self { runtime, raw, http1, http2, script }
    }

    fn export(&self, address: SocketAddr, protocol: Protocol, script: Script) -> Outcome {
        let options = ClientOptions::new(format!("http://{address}").parse().unwrap(), protocol);
        self.export_with(options, script)
    }

    /// To nobody, because the proxy on the way is the peer.
    fn export_through(&self, proxy: SocketAddr, script: Script) -> Outcome {
        let mut options = ClientOptions::new("http://backend.invalid:4318".parse().unwrap(), Protocol::Http);
        options.proxy = Some(Proxy { uri: format!("http://{proxy}").parse().unwrap(), authorization: None });
        self.export_with(options, script)
    }

    fn export_with(&self, mut options: ClientOptions, script: Script) -> Outcome {
        *self.script.lock().unwrap() = script;
        options.max_response_size = 64 * 1024;
        options.timeout = PATIENCE;
        let client = Client::new(options).unwrap();
        let outcome = self.runtime.block_on(client.export(Signal::Logs, Bytes::new()));
        nothing_has_panicked();
        outcome
    }
}

async fn serve<S: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    script: Arc<Mutex<Script>>,
    connection: fn(TcpStream, Arc<Mutex<Script>>) -> S,
) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(connection(socket, Arc::clone(&script)));
    }
}

/// Answers the first bytes of a request with arbitrary ones.
async fn answer_raw(mut socket: TcpStream, script: &Mutex<Script>) {
    let mut request = [0; 4096];
    drop(socket.read(&mut request).await);
    let raw = script.lock().unwrap().raw.clone();
    drop(socket.write_all(&raw).await);
    drop(socket.shutdown().await);
    // Until the client has gone, so that no reset overtakes the answer.
    while socket.read(&mut request).await.is_ok_and(|read| read > 0) {}
}

async fn scripted(
    request: http::Request<Incoming>,
    script: Arc<Mutex<Script>>,
) -> Result<Response<Body>, hyper::Error> {
    request.into_body().collect().await?;
    let script = script.lock().unwrap().clone();
    let mut frames = vec![Ok::<_, Infallible>(Frame::data(Bytes::from(script.body)))];
    if !script.trailers.is_empty() {
        frames.push(Ok(Frame::trailers(script.trailers)));
    }
    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed());
    *response.status_mut() = script.status.try_into().unwrap();
    *response.headers_mut() = script.headers;
    Ok(response)
}

/// An answer as it may come: raw bytes, OTLP/HTTP, gRPC, or raw bytes of a proxy.
pub fn answer(data: &[u8]) {
    let peers = PEERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut input = Input(data);
    let (script, outcome) = match input.byte() % 4 {
        3 => {
            let script = Script { raw: input.rest().to_vec(), status: 200, ..Script::default() };
            let outcome = peers.export_through(peers.raw, script.clone());
            (script, outcome)
        }
        0 => {
            let script = Script { raw: input.rest().to_vec(), status: 200, ..Script::default() };
            let outcome = peers.export(peers.raw, Protocol::Http, script.clone());
            (script, outcome)
        }
        1 => {
            let script = http_answer(input);
            let outcome = peers.export(peers.http1, Protocol::Http, script.clone());
            (script, outcome)
        }
        _ => {
            let script = grpc_answer(input);
            let outcome = peers.export(peers.http2, Protocol::Grpc, script.clone());
            (script, outcome)
        }
    };
    let message = match outcome {
        Outcome::Delivered => {
            assert!((200..300).contains(&script.status), "delivered with status {}", script.status);
            String::new()
        }
        Outcome::Partial { message, .. } => message,
        Outcome::Rejected(rejection) => rejection.message,
        Outcome::Retry { after, reason } => {
            assert!(after.is_none_or(|wait| wait <= LONGEST_WAIT), "{after:?}");
            reason
        }
    };
    assert!(message.len() <= LONGEST_MESSAGE, "{} bytes of words: {message}", message.len());
}

fn http_answer(mut input: Input<'_>) -> Script {
    let status = input.choice(&STATUSES);
    let mut headers = HeaderMap::new();
    put(&mut headers, "content-type", input.choice(&MEDIA_TYPES).as_bytes());
    put(&mut headers, "content-encoding", input.choice(&ENCODINGS).as_bytes());
    put(&mut headers, "retry-after", input.short());
    put(&mut headers, "location", input.short());
    Script { status, headers, body: input.rest().to_vec(), ..Script::default() }
}

fn grpc_answer(mut input: Input<'_>) -> Script {
    let status = input.choice(&STATUSES);
    let (is_trailers_only, is_framed, is_encoded) = (input.bit(), input.bit(), input.bit());
    let (mut headers, mut trailers) = (HeaderMap::new(), HeaderMap::new());
    put(
        &mut headers,
        "content-type",
        input.choice(&["application/grpc", "application/grpc+proto", "text/html"]).as_bytes(),
    );
    put(&mut headers, "grpc-encoding", input.choice(&ENCODINGS).as_bytes());
    let flag = input.choice(&[0, 0, 1, 2]);
    let told = if is_trailers_only { &mut headers } else { &mut trailers };
    let number = input.byte() % 20;
    put(told, "grpc-status", number.to_string().as_bytes());
    put(told, "grpc-message", input.short());
    let details = input.short();
    if is_encoded {
        put(told, "grpc-status-details-bin", base64::engine::general_purpose::STANDARD.encode(details).as_bytes());
    } else {
        put(told, "grpc-status-details-bin", details);
    }
    let message = input.rest();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = if is_framed { [&[flag], &length[..], message].concat() } else { message.to_vec() };
    Script { status, headers, trailers, body, ..Script::default() }
}

/// Adds a header, if it has a value and can carry it.
fn put(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value)
        && !value.is_empty()
    {
        headers.insert(name, value);
    }
}
