//! A server on loopback with a handler that records, and requests to send.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine_core::budget::Budget;
use engine_core::lane::LaneThreads;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use transport::server::{Counters, Handler, Limits, Reply, Request, ServeReport, ServerOptions, serve};
use transport::{Protocol, address};

/// The budget of a test server unless it says otherwise.
pub(crate) const BUDGET: usize = 256 * 1024 * 1024;

/// No test waits longer for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs until it is stopped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) budget: Budget,
    pub(crate) counters: Arc<Counters>,
    pub(crate) handler: Arc<Recorder>,
    drain: CancellationToken,
    leaving: CancellationToken,
    served: JoinHandle<ServeReport>,
    lanes: LaneThreads,
}

/// Keeps what it is given and answers what it was told, then `Accepted`.
pub(crate) struct Recorder {
    pub(crate) requests: Mutex<Vec<Request>>,
    replies: Mutex<VecDeque<Reply>>,
    /// Calls wait here while it has no permits. Starts with plenty.
    pub(crate) gate: Semaphore,
    /// Calls that reached the gate.
    pub(crate) arrived: Semaphore,
}

pub(crate) struct TestServerBuilder {
    pub(crate) options: ServerOptions,
    pub(crate) budget: usize,
    pub(crate) bind: SocketAddr,
    pub(crate) replies: Vec<Reply>,
    pub(crate) gate: usize,
}

impl TestServer {
    pub(crate) fn builder(protocol: Protocol) -> TestServerBuilder {
        TestServerBuilder {
            options: ServerOptions::new(protocol),
            budget: BUDGET,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            replies: Vec::new(),
            gate: Semaphore::MAX_PERMITS,
        }
    }

    pub(crate) fn uri(&self) -> http::Uri {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Drops the future that serves.
    pub(crate) fn abandon(&self) {
        self.served.abort();
    }

    /// Tells the server that its drain is near.
    pub(crate) fn leave(&self) {
        self.leaving.cancel();
    }

    /// Tells the server to end, without waiting.
    pub(crate) fn drain(&self) {
        self.drain.cancel();
    }

    /// Drains, and checks that everything that was charged came back.
    pub(crate) async fn stop(self) -> ServeReport {
        self.drain.cancel();
        let report = tokio::time::timeout(PATIENCE, self.served).await.unwrap().unwrap();
        self.handler.requests.lock().unwrap().clear();
        eventually("the budget is empty", || self.budget.used() == 0).await;
        tokio::task::spawn_blocking(|| self.lanes.stop()).await.unwrap();
        report
    }
}

impl TestServerBuilder {
    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.options.limits);
        self
    }

    pub(crate) fn replies(mut self, replies: impl IntoIterator<Item = Reply>) -> Self {
        self.replies.extend(replies);
        self
    }

    /// Calls wait until the test adds permits to the handler's gate.
    pub(crate) fn gated(mut self) -> Self {
        self.gate = 0;
        self
    }

    pub(crate) fn start(self) -> TestServer {
        self.start_with(CancellationToken::new())
    }

    /// Starts a server that is told to end before it runs.
    pub(crate) fn start_draining(self) -> TestServer {
        let drain = CancellationToken::new();
        drain.cancel();
        self.start_with(drain)
    }

    fn start_with(self, drain: CancellationToken) -> TestServer {
        let listener = address::bind(self.bind).unwrap();
        let address = listener.local_addr().unwrap();
        let lanes = LaneThreads::start(2).unwrap();
        let budget = Budget::new(self.budget);
        let counters = Arc::clone(&self.options.counters);
        let leaving = self.options.leaving.clone();
        let handler = Arc::new(Recorder {
            requests: Mutex::default(),
            replies: Mutex::new(self.replies.into()),
            gate: Semaphore::new(self.gate),
            arrived: Semaphore::new(0),
        });
        let served = tokio::spawn(serve(
            TcpListener::from_std(listener).unwrap(),
            lanes.lanes(),
            budget.clone(),
            self.options,
            Arc::clone(&handler),
            drain.clone(),
        ));
        TestServer { address, budget, counters, handler, drain, leaving, served, lanes }
    }
}

impl Handler for Recorder {
    async fn handle(&self, request: Request) -> Reply {
        self.arrived.add_permits(1);
        let permit = self.gate.acquire().await.unwrap();
        self.requests.lock().unwrap().push(request);
        drop(permit);
        self.replies.lock().unwrap().pop_front().unwrap_or(Reply::Accepted)
    }
}

/// Waits for a state that must come; fails when it does not.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "timed out waiting until {what}");
        tokio::task::yield_now().await;
    }
}

/// A request of one record whose body has `size` bytes.
pub(crate) fn logs(size: usize) -> ExportLogsServiceRequest {
    let body = opentelemetry_proto::tonic::common::v1::AnyValue {
        value: Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue("x".repeat(size))),
    };
    let record = LogRecord { body: Some(body), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

/// [`logs`] as bytes.
pub(crate) fn logs_bytes(size: usize) -> Vec<u8> {
    logs(size).encode_to_vec()
}

/// A gRPC message: flag, length, content.
pub(crate) fn grpc_message(flag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], content].concat()
}

/// A gRPC request head for the logs service.
pub(crate) fn grpc_logs(server: &TestServer) -> http::request::Builder {
    http::Request::post(format!("http://{}/opentelemetry.proto.collector.logs.v1.LogsService/Export", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: http::HeaderMap,
}

impl Answer {
    /// The `grpc-status` of headers or trailers.
    pub(crate) fn grpc_status(&self) -> Option<&str> {
        self.header("grpc-status").or_else(|| self.trailers.get("grpc-status")?.to_str().ok())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The frames of a body that a test sends one by one.
pub(crate) type Frames = mpsc::UnboundedSender<Bytes>;

/// A body whose frames come through a channel; it ends when the sender is dropped.
pub(crate) fn framed_body() -> (Frames, BoxBody<Bytes, Infallible>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        let data: Bytes = receiver.recv().await?;
        Some((Ok(Frame::data(data)), receiver))
    });
    (sender, StreamBody::new(stream).boxed())
}

pub(crate) fn whole_body(body: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(body.into()).boxed()
}

/// A raw HTTP/2 connection without TLS.
pub(crate) async fn http2(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<BoxBody<Bytes, Infallible>> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends one request over a new HTTP/2 connection and reads the answer to its end.
pub(crate) async fn over_http2(server: &TestServer, request: http::Request<BoxBody<Bytes, Infallible>>) -> Answer {
    let mut sender = http2(server.address).await;
    read(tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()).await
}

/// Sends one gRPC message to the logs service as one body.
pub(crate) async fn grpc_call(server: &TestServer, message: Vec<u8>) -> Answer {
    over_http2(server, grpc_logs(server).body(whole_body(message)).unwrap()).await
}

/// Reads an answer to its end.
pub(crate) async fn read(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let collected = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answer { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers }
}

/// Writes text to a new connection and returns everything that comes back until the peer closes.
pub(crate) async fn raw_exchange(address: SocketAddr, sent: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // A peer that refuses early may close before it has read all.
    drop(socket.write_all(sent).await);
    let mut received = Vec::new();
    drop(tokio::time::timeout(PATIENCE, socket.read_to_end(&mut received)).await.unwrap());
    String::from_utf8_lossy(&received).into_owned()
}
