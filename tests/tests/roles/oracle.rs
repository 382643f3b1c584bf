//! A backend that knows what was printed: it takes everything and tells what is missing, what came twice, and what was said
//! about it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, String>;

/// Clones share what they know.
#[derive(Clone, Default)]
pub(crate) struct Oracle(Arc<Mutex<BTreeMap<(String, String), Run>>>);

/// What came of one run of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// How often each line came, by its number less one.
    pub(crate) lines: Vec<u32>,
    /// Attributes of the resources that its lines came with, each once.
    pub(crate) resources: Vec<Attributes>,
}

impl Oracle {
    /// Serves on a free port of this address until the test ends.
    pub(crate) async fn serve(&self, address: Ipv4Addr) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = LogsServiceServer::new(self.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(64 << 20);
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        address
    }

    /// What came so far, by the uid of the pod and the name of the run.
    pub(crate) fn runs(&self) -> BTreeMap<(String, String), Run> {
        self.0.lock().unwrap().clone()
    }
}

impl Run {
    /// Whether each of so many lines is there.
    pub(crate) fn is_complete(&self, lines: usize) -> bool {
        self.lines.len() == lines && !self.lines.contains(&0)
    }

    /// Lines that are not there though a later one is.
    pub(crate) fn missing(&self) -> usize {
        self.lines.iter().filter(|count| **count == 0).count()
    }

    /// Lines that came again.
    pub(crate) fn duplicates(&self) -> u32 {
        self.lines.iter().map(|count| count.saturating_sub(1)).sum()
    }
}

#[tonic::async_trait]
impl LogsService for Oracle {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut runs = self.0.lock().unwrap();
        for entry in request.into_inner().resource_logs {
            let resource = attributes(&entry.resource.unwrap_or_default().attributes);
            let uid = resource.get("k8s.pod.uid").cloned().unwrap_or_default();
            for record in entry.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let (name, number) = line(&record);
                let run = runs.entry((uid.clone(), name)).or_default();
                if run.lines.len() < number {
                    run.lines.resize(number, 0);
                }
                run.lines[number - 1] += 1;
                if !run.resources.contains(&resource) {
                    run.resources.push(resource.clone());
                }
            }
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

/// The run and the number of a line that a printing pod wrote: `{"message":"line 7","run":"..."}`.
fn line(record: &LogRecord) -> (String, usize) {
    let body = record.body.as_ref().map(text).unwrap_or_default();
    let number = body.strip_prefix("line ").and_then(|number| number.parse().ok());
    let run = attributes(&record.attributes).remove("run");
    match (run, number) {
        (Some(run), Some(number)) => (run, number),
        _ => panic!("no line of a printing pod: {record:?}"),
    }
}

fn attributes(list: &[KeyValue]) -> Attributes {
    let of = |attribute: &KeyValue| (attribute.key.clone(), attribute.value.as_ref().map(text).unwrap_or_default());
    list.iter().map(of).collect()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}
