//! Servers: whole requests in HTTP/1.1, HTTP/2 and gRPC, and raw bytes of a connection.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use engine_core::budget::Budget;
use engine_core::lane::LaneThreads;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use transport::server::{Handler, Reply, Request, ServerOptions, serve};
use transport::{Protocol, address};

use super::{Input, PATIENCE, nothing_has_panicked, watch_panics};

/// The largest request: small, so that inputs reach it.
const MAX_REQUEST: usize = 64 * 1024;

/// The budget of both servers.
const BUDGET: usize = 64 * 1024 * 1024;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const TARGETS: [&str; 5] = ["/v1/logs", "/v1/metrics", "/v1/traces", "/v1/else", "/"];
const METHODS: [&str; 4] = [
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Import",
];
const MEDIA_TYPES: [&str; 5] =
    ["application/x-protobuf", "application/json", "application/json; charset=utf-8", "application/grpc", "text/html"];
const ENCODINGS: [&str; 7] = ["identity", "gzip", "zstd", "snappy", "x-snappy-framed", "br", "gzip, gzip"];

/// Both servers, on a runtime that runs while somebody waits for them.
struct Servers {
    runtime: tokio::runtime::Runtime,
    http: SocketAddr,
    grpc: SocketAddr,
    budget: Budget,
    _lanes: LaneThreads,
}

static SERVERS: LazyLock<Mutex<Servers>> = LazyLock::new(|| Mutex::new(Servers::start()));

/// Takes what can be admitted.
struct Admitting;

impl Handler for Admitting {
    async fn handle(&self, request: Request) -> Reply {
        assert!(request.body.len() <= MAX_REQUEST, "{} bytes are over the limit", request.body.len());
        assert!(request.charge.bytes() >= request.body.len(), "what is held is charged");
        match otlp::admit(request.signal, request.body) {
            Ok(_) => Reply::Accepted,
            Err(error) => Reply::Invalid { message: error.to_string(), field: None },
        }
    }
}

impl Servers {
    fn start() -> Self {
        watch_panics();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lanes = LaneThreads::start(1).unwrap();
        let budget = Budget::new(BUDGET);
        let serving = |protocol| {
            let listener = address::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let address = listener.local_addr().unwrap();
            let mut options = ServerOptions::new(protocol);
            options.limits.max_request_size = MAX_REQUEST;
            let listener = {
                let _entered = runtime.enter();
                TcpListener::from_std(listener).unwrap()
            };
            runtime.spawn(serve(
                listener,
                lanes.lanes(),
                budget.clone(),
                options,
                Arc::new(Admitting),
                CancellationToken::new(),
            ));
            address
        };
        let (http, grpc) = (serving(Protocol::Http), serving(Protocol::Grpc));
        Self { runtime, http, grpc, budget, _lanes: lanes }
    }

    fn address(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Http => self.http,
            Protocol::Grpc => self.grpc,
        }
    }

    /// Waits for an exchange, then until everything that it was charged came back.
    fn exchange<T>(&self, exchange: impl Future<Output = T>) -> T {
        let bounded = async {
            let result = exchange.await;
            while self.budget.used() > 0 {
                tokio::task::yield_now().await;
            }
            result
        };
        let result = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, bounded).await });
        nothing_has_panicked();
        result.unwrap_or_else(|_| panic!("an exchange takes {PATIENCE:?}, {} bytes are charged", self.budget.used()))
    }
}

/// A request with a whole body, right or wrong: its answer is one that OTLP knows.
pub fn request(data: &[u8]) {
    let servers = SERVERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => http1(&servers, input),
        1 => http2(&servers, input),
        _ => grpc(&servers, input),
    }
}

/// Arbitrary bytes of a connection whose peer then ends: the server ends too, and holds nothing.
pub fn wire(data: &[u8]) {
    let servers = SERVERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut input = Input(data);
    let protocol = if input.bit() { Protocol::Grpc } else { Protocol::Http };
    let preface = if input.bit() { PREFACE } else { b"" };
    let first = input.short();
    let rest = input.rest();
    let received = servers.exchange(async {
        let mut socket = TcpStream::connect(servers.address(protocol)).await.unwrap();
        for part in [preface, first, rest] {
            // A peer that refuses early may close before it has read all.
            drop(socket.write_all(part).await);
            tokio::task::yield_now().await;
        }
        drop(socket.shutdown().await);
        let mut received = Vec::new();
        drop(socket.read_to_end(&mut received).await);
        received
    });
    let is_http2 = received.len() < 9 || received[3] <= 9;
    assert!(received.starts_with(b"HTTP/1.") || is_http2, "{:?}", String::from_utf8_lossy(&received));
}

/// The content of a request and its coding, which may be another one than it says.
fn content(mut input: Input<'_>) -> (&'static str, Vec<u8>) {
    let named = input.choice(&ENCODINGS);
    let is_encoded = input.bit();
    let content = input.rest();
    let encoded = match named {
        _ if !is_encoded => content.to_vec(),
        "gzip" | "gzip, gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, content).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::bulk::compress(content, 1).unwrap(),
        "snappy" => snap::raw::Encoder::new().compress_vec(content).unwrap(),
        "x-snappy-framed" => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, content).unwrap();
            encoder.into_inner().unwrap()
        }
        _ => content.to_vec(),
    };
    (named, encoded)
}

fn http1(servers: &Servers, mut input: Input<'_>) {
    let (target, media_type) = (input.choice(&TARGETS), input.choice(&MEDIA_TYPES));
    let chunk = usize::from(input.byte());
    let (encoding, body) = content(input);
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: {media_type}\r\ncontent-encoding: {encoding}\r\n"
    );
    let mut sent = head.into_bytes();
    if chunk == 0 {
        sent.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        sent.extend_from_slice(&body);
    } else {
        sent.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        for piece in body.chunks(chunk) {
            sent.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            sent.extend_from_slice(piece);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
    }
    let received = servers.exchange(async {
        let mut socket = TcpStream::connect(servers.http).await.unwrap();
        drop(socket.write_all(&sent).await);
        let mut received = Vec::new();
        drop(socket.read_to_end(&mut received).await);
        received
    });
    let text = String::from_utf8_lossy(&received);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
    is_known(status);
}

fn http2(servers: &Servers, mut input: Input<'_>) {
    let (target, media_type) = (input.choice(&TARGETS), input.choice(&MEDIA_TYPES));
    let (encoding, body) = content(input);
    let request = http::Request::post(format!("http://{}{target}", servers.http))
        .header("content-type", media_type)
        .header("content-encoding", encoding);
    let (head, _) = over_http2(servers, servers.http, request, body);
    is_known(head.status.as_u16());
}

/// Message framing that may lie, in front of what `content` makes.
fn grpc(servers: &Servers, mut input: Input<'_>) {
    let method = input.choice(&METHODS);
    let flag = input.choice(&[0_u8, 1, 1, 0, 2]);
    let lie = input.choice(&[0_i32, 0, 0, 0, 1, -1, 1_000_000]);
    let (encoding, message) = content(input);
    let length = (message.len() as i32).saturating_add(lie).max(0) as u32;
    let body = [&[flag], &length.to_be_bytes()[..], &message].concat();
    let request = http::Request::post(format!("http://{}{method}", servers.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding);
    let (head, trailers) = over_http2(servers, servers.grpc, request, body);
    assert_eq!(head.status, 200);
    let status = head.headers.get("grpc-status").or_else(|| trailers.get("grpc-status"));
    let status = status.unwrap_or_else(|| panic!("no grpc-status: {head:?}"));
    let known = ["0", "3", "8", "12", "14"];
    assert!(known.contains(&status.to_str().unwrap()), "grpc-status {status:?}");
}

fn over_http2(
    servers: &Servers,
    address: SocketAddr,
    request: http::request::Builder,
    body: Vec<u8>,
) -> (http::response::Parts, http::HeaderMap) {
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    servers.exchange(async {
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        let driver = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        drop(sender);
        driver.abort();
        (head, trailers)
    })
}

/// What an OTLP/HTTP server answers; 500 would mean that something is wrong with it.
fn is_known(status: u16) {
    let known = [200, 400, 404, 405, 413, 415, 503];
    assert!(known.contains(&status), "http status {status}");
}
