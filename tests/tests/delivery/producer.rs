//! Clients that send numbered log records and remember which were answered OK.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

/// Records a client sends in one request.
const BATCH: u64 = 20;

/// How long a client of an engine that was told to end may wait for an answer or the end of its connection.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What the clients were told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    accepted: BTreeSet<u64>,
    codes: BTreeSet<i32>,
    refused: u64,
}

/// Clients that send until they are stopped.
pub(crate) struct Load {
    pub(crate) told: Told,
    clients: JoinSet<()>,
}

impl Told {
    /// Records that were answered OK.
    pub(crate) fn accepted(&self) -> BTreeSet<u64> {
        self.0.lock().unwrap().accepted.clone()
    }

    /// Requests that were answered with another code than OK.
    pub(crate) fn refused(&self) -> u64 {
        self.0.lock().unwrap().refused
    }

    fn refuse(&self, status: &tonic::Status) {
        let mut answers = self.0.lock().unwrap();
        answers.codes.insert(status.code() as i32);
        answers.refused += 1;
    }

    /// Codes other than OK that were answered while the connection stood.
    pub(crate) fn refusals(&self) -> Vec<Code> {
        self.0.lock().unwrap().codes.iter().map(|code| Code::from(*code)).collect()
    }
}

impl Load {
    /// `clients` clients that send records of their own as fast as they are answered. A client ends when the engine
    /// goes away.
    pub(crate) async fn start(address: SocketAddr, clients: u64) -> Self {
        let told = Told::default();
        let mut running = JoinSet::new();
        for client in 0..clients {
            let mut service = connect(address).await;
            let told = told.clone();
            running.spawn(async move {
                let mut next = client << 40;
                loop {
                    let numbers = next..next + BATCH;
                    match service.export(request(numbers.clone())).await {
                        Ok(_) => told.0.lock().unwrap().accepted.extend(numbers),
                        Err(status) if is_connection_gone(&status) => return,
                        Err(status) => {
                            told.refuse(&status);
                            tokio::task::yield_now().await;
                        }
                    }
                    next += BATCH;
                }
            });
        }
        Self { told, clients: running }
    }

    /// Stops all clients after their request under way.
    pub(crate) async fn stop(mut self) -> Told {
        self.clients.shutdown().await;
        self.told
    }

    /// Waits until every client has seen the engine go. Now and then tonic does not wake a request whose connection is gone
    /// and whose socket is closed: it got no answer, like all that were cut off. Whether the engine itself has ended in time
    /// is for the test to ask.
    pub(crate) async fn ended(mut self) -> Told {
        let seen = async {
            while let Some(client) = self.clients.join_next().await {
                client.unwrap();
            }
        };
        tokio::time::timeout(FORGOTTEN, seen).await.ok();
        self.stop().await
    }
}

/// One client.
pub(crate) async fn connect(address: SocketAddr) -> LogsServiceClient<Channel> {
    LogsServiceClient::connect(format!("http://{address}")).await.unwrap()
}

/// A request with a log record for each number.
pub(crate) fn request(numbers: Range<u64>) -> ExportLogsServiceRequest {
    let body = "a line of a log as long as lines of logs often are, give or take a few words".to_owned();
    let record = |number| LogRecord {
        time_unix_nano: number,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(body.clone())) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: numbers.map(record).collect(), ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

/// Whether the transport failed, as opposed to an answer of the engine. Only answers carry details or say "later" in
/// words of the engine.
fn is_connection_gone(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_some()
}
