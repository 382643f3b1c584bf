//! A backend that takes gRPC and HTTP on one port, remembers what it got and when, and answers what a script says.
//!
//! Times are those of the moment at which a request had come to its end, so that gaps between them are never longer than
//! the engine made them appear by more than this process was late: assert lower bounds only.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic_types::StatusExt as _;

use super::data::{Data, Signal};
use super::{Transport, eventually};

/// An answer of the script.
#[derive(Clone)]
pub(crate) enum Say {
    /// Everything was taken.
    Success,
    /// So many records were rejected, with a message.
    Partial(i64, String),
    /// A gRPC status, with the wait of a RetryInfo.
    Grpc(tonic::Code, &'static str, Option<Duration>),
    /// An HTTP status with headers and a body.
    Http(u16, Vec<(&'static str, String)>, Bytes),
    /// Success, once the test says so.
    Held,
    /// No answer as long as the connection stands.
    Silence,
    /// The connection is closed without an answer.
    HangUp,
    /// Anything.
    Custom(Arc<dyn Fn() -> Response<Body> + Send + Sync>),
}

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) transport: Transport,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Inflated and decoded.
    pub(crate) data: Data,
    /// The body as it came, without the prefix of gRPC.
    pub(crate) body: Bytes,
}

/// Clones share what they know.
#[derive(Clone)]
pub(crate) struct Backend(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    script: Mutex<VecDeque<Say>>,
    otherwise: Mutex<Say>,
    received: Mutex<Vec<Received>>,
    connections: Mutex<Vec<Instant>>,
    /// What new connections are secured with; in clear without.
    tls: Mutex<Option<TlsAcceptor>>,
    failed_handshakes: AtomicUsize,
    /// Ends all connections that stand when it is cancelled.
    standing: Mutex<CancellationToken>,
    held: Semaphore,
}

impl Backend {
    /// Serves on a free port until the test ends, and takes everything until it is told otherwise.
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The same on a socket.
    pub(crate) fn on(listener: TcpListener) -> Self {
        let backend = Self(Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            script: Mutex::default(),
            otherwise: Mutex::new(Say::Success),
            received: Mutex::default(),
            connections: Mutex::default(),
            tls: Mutex::default(),
            failed_handshakes: AtomicUsize::new(0),
            standing: Mutex::default(),
            held: Semaphore::new(0),
        }));
        let accepting = backend.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                accepting.0.connections.lock().unwrap().push(Instant::now());
                tokio::spawn(accepting.clone().serve(socket));
            }
        });
        backend
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The endpoint for a sink.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Answers to the next requests, in their order.
    pub(crate) fn say(&self, script: impl IntoIterator<Item = Say>) {
        self.0.script.lock().unwrap().extend(script);
    }

    /// The answer when the script is over.
    pub(crate) fn otherwise(&self, say: Say) {
        *self.0.otherwise.lock().unwrap() = say;
    }

    /// Lets requests that are held have their success.
    pub(crate) fn release(&self, requests: usize) {
        self.0.held.add_permits(requests);
    }

    /// Everything that has come so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.0.received.lock().unwrap().clone()
    }

    /// Waits for that many requests and returns them.
    pub(crate) async fn requests(&self, count: usize) -> Vec<Received> {
        eventually(&format!("{count} requests reach the backend"), || {
            let received = self.received();
            std::future::ready((received.len() >= count).then_some(received))
        })
        .await
    }

    /// When each connection was made.
    pub(crate) fn connections(&self) -> Vec<Instant> {
        self.0.connections.lock().unwrap().clone()
    }

    /// Secures connections with this from now on, and ends those that stand.
    pub(crate) fn secure(&self, tls: TlsAcceptor) {
        *self.0.tls.lock().unwrap() = Some(tls);
        std::mem::take(&mut *self.0.standing.lock().unwrap()).cancel();
    }

    /// Handshakes of TLS that did not come to their end.
    pub(crate) fn failed_handshakes(&self) -> usize {
        self.0.failed_handshakes.load(Ordering::SeqCst)
    }

    async fn serve(self, socket: TcpStream) {
        let tls = self.0.tls.lock().unwrap().clone();
        match tls {
            None => self.serve_stream(socket).await,
            Some(tls) => match tls.accept(socket).await {
                Ok(stream) => self.serve_stream(stream).await,
                Err(_) => {
                    self.0.failed_handshakes.fetch_add(1, Ordering::SeqCst);
                }
            },
        }
    }

    async fn serve_stream(self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let hung_up = self.0.standing.lock().unwrap().child_token();
        let (backend, hang_up) = (self.clone(), hung_up.clone());
        let service = service_fn(move |request| backend.clone().answer(request, hang_up.clone()));
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let serving = builder.serve_connection(TokioIo::new(socket), service);
        tokio::select! {
            // A peer that goes away is no matter here.
            result = serving => drop(result),
            () = hung_up.cancelled() => {}
        }
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        hang_up: CancellationToken,
    ) -> Result<Response<Body>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let received = Received::new(&head, body);
        let (transport, signal) = (received.transport, received.data.signal());
        self.0.received.lock().unwrap().push(received);
        let next = self.0.script.lock().unwrap().pop_front();
        let say = next.unwrap_or_else(|| self.0.otherwise.lock().unwrap().clone());
        Ok(match say {
            Say::Success => success(transport, signal, None),
            Say::Partial(rejected, message) => success(transport, signal, Some((rejected, message))),
            Say::Grpc(code, message, delay) => grpc_failure(code, message, delay),
            Say::Http(status, headers, body) => {
                let head = Response::builder().status(StatusCode::from_u16(status).unwrap());
                let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, value));
                head.body(Full::new(body).boxed()).unwrap()
            }
            Say::Held => {
                self.0.held.acquire().await.unwrap().forget();
                success(transport, signal, None)
            }
            Say::Silence => std::future::pending().await,
            Say::HangUp => {
                hang_up.cancel();
                std::future::pending().await
            }
            Say::Custom(make) => make(),
        })
    }
}

impl Received {
    fn new(head: &hyper::http::request::Parts, body: Bytes) -> Self {
        let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let transport = match header("content-type") {
            "application/grpc" => Transport::Grpc,
            "application/x-protobuf" => Transport::Protobuf,
            "application/json" => Transport::Json,
            other => panic!("the engine sends {other:?}"),
        };
        let (coding, content) = match transport {
            Transport::Grpc if body[0] == 1 => (header("grpc-encoding"), body.slice(5..)),
            Transport::Grpc => ("", body.slice(5..)),
            _ => (header("content-encoding"), body),
        };
        let path = head.uri.path().to_owned();
        let signal = [("ogs", Signal::Logs), ("etrics", Signal::Metrics), ("race", Signal::Traces)];
        let (_, signal) = *signal.iter().find(|(name, _)| path.contains(name)).expect("the path names a signal");
        let inflated = inflate(coding, &content);
        let data = match transport {
            Transport::Json => Data::from_json(signal, &inflated),
            _ => Data::decode(signal, &inflated).unwrap(),
        };
        Self { at: Instant::now(), transport, path, headers: head.headers.clone(), data, body: content }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn inflate(coding: &str, content: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    match coding {
        "" | "identity" => content.to_vec(),
        "gzip" => {
            let mut inflated = Vec::new();
            flate2::read::GzDecoder::new(content).read_to_end(&mut inflated).unwrap();
            inflated
        }
        "zstd" => zstd::decode_all(content).unwrap(),
        other => panic!("the engine compresses with {other:?}"),
    }
}

/// An `Export*ServiceResponse`, which has the same fields for every signal.
pub(crate) fn response_bytes(partial: Option<(i64, String)>) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
    let partial_success = partial
        .map(|(rejected_log_records, error_message)| ExportLogsPartialSuccess { rejected_log_records, error_message });
    ExportLogsServiceResponse { partial_success }.encode_to_vec()
}

fn success(transport: Transport, signal: Signal, partial: Option<(i64, String)>) -> Response<Body> {
    match transport {
        Transport::Grpc => grpc_answer(&response_bytes(partial), &[("grpc-status", "0")]),
        Transport::Protobuf => {
            let head = Response::builder().header("content-type", "application/x-protobuf");
            head.body(Full::new(response_bytes(partial).into()).boxed()).unwrap()
        }
        Transport::Json => {
            let name = match signal {
                Signal::Logs => "rejectedLogRecords",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Traces => "rejectedSpans",
            };
            let json = partial.map_or(serde_json::json!({}), |(rejected, message)| {
                serde_json::json!({ "partialSuccess": { name: rejected.to_string(), "errorMessage": message } })
            });
            let head = Response::builder().header("content-type", "application/json");
            head.body(Full::new(json.to_string().into()).boxed()).unwrap()
        }
    }
}

/// A gRPC answer of one message and trailers.
pub(crate) fn grpc_answer(message: &[u8], trailers: &[(&'static str, &str)]) -> Response<Body> {
    let data = Frame::data(Bytes::from(super::export::grpc_message(0, message)));
    let trailers: HeaderMap =
        trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let frames = [data].into_iter().chain((!trailers.is_empty()).then(|| Frame::trailers(trailers)));
    let frames: Vec<_> = frames.map(Ok::<_, Infallible>).collect();
    let body = StreamBody::new(futures::stream::iter(frames)).boxed();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn grpc_failure(code: tonic::Code, message: &str, delay: Option<Duration>) -> Response<Body> {
    let mut details = tonic_types::ErrorDetails::new();
    if delay.is_some() {
        details.set_retry_info(delay);
    }
    let status = match delay {
        Some(_) => tonic::Status::with_error_details(code, message, details),
        None => tonic::Status::new(code, message),
    };
    let (head, ()) = status.into_http::<()>().into_parts();
    Response::from_parts(head, Empty::new().boxed())
}
