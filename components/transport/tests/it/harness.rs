//! A server on loopback with a handler that records, and requests to send.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine_core::budget::Budget;
use engine_core::lane::LaneThreads;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
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
        let listener = address::bind(self.bind).unwrap();
        let address = listener.local_addr().unwrap();
        let lanes = LaneThreads::start(2).unwrap();
        let budget = Budget::new(self.budget);
        let counters = Arc::clone(&self.options.counters);
        let handler = Arc::new(Recorder {
            requests: Mutex::default(),
            replies: Mutex::new(self.replies.into()),
            gate: Semaphore::new(self.gate),
            arrived: Semaphore::new(0),
        });
        let drain = CancellationToken::new();
        let served = tokio::spawn(serve(
            TcpListener::from_std(listener).unwrap(),
            lanes.lanes(),
            budget.clone(),
            self.options,
            Arc::clone(&handler),
            drain.clone(),
        ));
        TestServer { address, budget, counters, handler, drain, served, lanes }
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
