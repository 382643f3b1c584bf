//! A gRPC backend for logs that remembers every record it took, and can be told to refuse, to reject or to be away.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tonic::{Request, Response, Status};

/// Clones share what they know.
#[derive(Clone, Default)]
pub(crate) struct Backend(Arc<Inner>);

#[derive(Default)]
struct Inner {
    away: AtomicBool,
    rejected_record: Mutex<Option<u64>>,
    taken: Mutex<HashMap<u64, u64>>,
    /// The `authorization` of the last request that was taken.
    authorization: Mutex<Option<String>>,
}

impl Backend {
    /// Serves on a free port until the test ends.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = LogsServiceServer::new(self.clone()).max_decoding_message_size(64 << 20);
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        address
    }

    /// While away every request is answered UNAVAILABLE.
    pub(crate) fn set_away(&self, away: bool) {
        self.0.away.store(away, Ordering::SeqCst);
    }

    /// Requests that hold this record are refused for good.
    pub(crate) fn reject(&self, record: u64) {
        *self.0.rejected_record.lock().unwrap() = Some(record);
    }

    /// The `authorization` of the last request that was taken.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.0.authorization.lock().unwrap().clone()
    }

    /// How often each record was taken.
    pub(crate) fn taken(&self) -> HashMap<u64, u64> {
        self.0.taken.lock().unwrap().clone()
    }
}

/// The number of a record: what stands in the line that it was made of, or its time.
fn number(record: &LogRecord) -> u64 {
    let of_line = match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(line)) => line_number(line),
        _ => None,
    };
    of_line.unwrap_or(record.time_unix_nano)
}

/// The number of a line that begins with `n=FILE.LINE` and a space.
fn line_number(line: &str) -> Option<u64> {
    let (file, line) = line.strip_prefix("line-number=")?.split_once(' ')?.0.split_once('.')?;
    Some(line_of(file.parse().ok()?, line.parse().ok()?))
}

/// The number of a line of a file.
pub(crate) fn line_of(file: u64, line: u64) -> u64 {
    file << 40 | line
}

#[tonic::async_trait]
impl LogsService for Backend {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        if self.0.away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("away"));
        }
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.map(str::to_owned);
        let entries = request.into_inner().resource_logs.into_iter();
        let records = entries.flat_map(|entry| entry.scope_logs).flat_map(|scope| scope.log_records);
        let numbers: Vec<u64> = records.map(|record| number(&record)).collect();
        let rejected = *self.0.rejected_record.lock().unwrap();
        if rejected.is_some_and(|record| numbers.contains(&record)) {
            return Err(Status::invalid_argument("this record is not welcome"));
        }
        *self.0.authorization.lock().unwrap() = authorization;
        let mut taken = self.0.taken.lock().unwrap();
        for number in numbers {
            *taken.entry(number).or_default() += 1;
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
