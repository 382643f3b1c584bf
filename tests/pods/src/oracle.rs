//! An OTLP backend that knows what was sent: it takes everything and tells what is missing, what came twice, and what was
//! said about it.
//!
//! Whoever sends numbers its records: the body of a log record or the name of a span is `line 7`, a data point has the
//! attribute `line`, and all have the attribute `run`, which is another one for each process that sends. Records of anybody
//! else are strangers. Not here: who sends, and what a test makes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Add;
use std::sync::Arc;

use anyhow::Result;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// Attributes by name.
pub type Attributes = BTreeMap<String, String>;

/// The attribute with the name of the run.
pub const RUN: &str = "run";
/// The attribute of a data point with its number.
pub const LINE: &str = "line";
/// What stands before the number of a log record or a span.
pub const PREFIX: &str = "line ";

/// The largest request that is taken, in bytes.
const LARGEST: usize = 64 << 20;
/// Strangers that are remembered.
const STRANGERS: usize = 8;

/// The backend. Clones share what they know.
#[derive(Clone, Default)]
pub struct Oracle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    runs: BTreeMap<(String, String), Run>,
    strangers: Vec<String>,
    wanted: Option<String>,
    shown: BTreeMap<IpAddr, String>,
    refused: u64,
}

/// Everything that came so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    runs: Vec<Run>,
    strangers: Vec<String>,
}

/// What came of one run of a process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The uid of its pod, where its resource says it.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// How often each record came, by its number less one.
    pub lines: Vec<u32>,
    /// Attributes of the resources that its records came with, each once.
    pub resources: Vec<Attributes>,
}

/// Counts of runs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that came, each once.
    pub received: usize,
    /// Records that came again.
    pub duplicates: usize,
    /// Records that did not come though a later one did.
    pub missing: usize,
}

impl Oracle {
    /// Serves on a free port of this address, for as long as the runtime lives.
    pub async fn serve(&self, address: Ipv4Addr) -> Result<SocketAddr> {
        self.serve_at(SocketAddr::from((address, 0))).await
    }

    /// The same on this port.
    pub async fn serve_at(&self, address: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        macro_rules! service {
            ($server:ident) => {
                $server::new(self.clone())
                    .accept_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(LARGEST)
            };
        }
        let server = tonic::transport::Server::builder()
            .add_service(service!(LogsServiceServer))
            .add_service(service!(MetricsServiceServer))
            .add_service(service!(TraceServiceServer));
        tokio::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));
        Ok(address)
    }

    /// From now on refuses requests without exactly this header `authorization`.
    pub fn want(&self, authorization: &str) {
        self.0.lock().wanted = Some(authorization.to_owned());
    }

    /// From now on asks for no header.
    pub fn want_any(&self) {
        self.0.lock().wanted = None;
    }

    /// The header `authorization` that each sender has shown last.
    pub fn shown(&self) -> BTreeMap<IpAddr, String> {
        self.0.lock().shown.clone()
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.0.lock().refused
    }

    /// Everything that came so far.
    pub fn seen(&self) -> Seen {
        let state = self.0.lock();
        Seen { runs: state.runs.values().cloned().collect(), strangers: state.strangers.clone() }
    }

    /// The runs that came so far.
    ///
    /// # Panics
    /// When strangers came too.
    pub fn runs(&self) -> Vec<Run> {
        self.seen().runs()
    }

    fn check<T>(&self, request: Request<T>) -> Result<T, Status> {
        let mut state = self.0.lock();
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if let (Some(sender), Some(shown)) = (request.remote_addr(), shown) {
            state.shown.insert(sender.ip(), shown.to_owned());
        }
        if state.wanted.as_deref().is_none_or(|wanted| shown == Some(wanted)) {
            return Ok(request.into_inner());
        }
        state.refused += 1;
        Err(Status::unauthenticated("expected another header authorization"))
    }

    fn take(&self, resource: Option<Resource>, records: impl IntoIterator<Item = Record>) {
        let resource = attributes(&resource.unwrap_or_default().attributes);
        let uid = resource.get("k8s.pod.uid").cloned().unwrap_or_default();
        let mut state = self.0.lock();
        for Record { run, number } in records {
            let (Some(name), Some(number @ 1..)) = (&run, number) else {
                if state.strangers.len() < STRANGERS {
                    state.strangers.push(format!("run {run:?}, number {number:?} of {resource:?}"));
                }
                continue;
            };
            let run = state.runs.entry((uid.clone(), name.clone())).or_default();
            if run.name.is_empty() {
                (run.uid, run.name) = (uid.clone(), name.clone());
            }
            if run.lines.len() < number {
                run.lines.resize(number, 0);
            }
            run.lines[number - 1] += 1;
            if !run.resources.contains(&resource) {
                run.resources.push(resource.clone());
            }
        }
    }
}

impl Seen {
    /// The runs.
    ///
    /// # Panics
    /// When strangers came too.
    pub fn runs(self) -> Vec<Run> {
        assert!(self.strangers.is_empty(), "records of nobody who numbers them: {:?}", self.strangers);
        self.runs
    }
}

impl Run {
    /// Whether each of so many records is there.
    pub fn is_complete(&self, lines: usize) -> bool {
        self.lines.len() == lines && !self.lines.contains(&0)
    }

    /// Which of its records are missing or came again, in words; nothing if none.
    pub fn wrong(&self) -> Option<String> {
        let groups = self.lines.chunk_by(|one, other| one == other);
        let ends = groups.scan(0, |end, group| {
            *end += group.len();
            Some((*end, group))
        });
        let wrong = ends.filter(|(_, group)| group[0] != 1);
        let told: Vec<_> =
            wrong.map(|(end, group)| format!("{} to {end} came {} times", end - group.len() + 1, group[0])).collect();
        (!told.is_empty()).then(|| format!("{} of {:?}: {}", self.name, self.resources, told.join(", ")))
    }

    /// Its counts.
    pub fn tally(&self) -> Tally {
        let missing = self.lines.iter().filter(|count| **count == 0).count();
        let all: usize = self.lines.iter().map(|count| *count as usize).sum();
        let received = self.lines.len() - missing;
        Tally { received, duplicates: all - received, missing }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            duplicates: self.duplicates + other.duplicates,
            missing: self.missing + other.missing,
        }
    }
}

impl<'r> FromIterator<&'r Run> for Tally {
    fn from_iter<I: IntoIterator<Item = &'r Run>>(runs: I) -> Self {
        runs.into_iter().map(Run::tally).fold(Self::default(), Self::add)
    }
}

/// What a record says of itself.
struct Record {
    run: Option<String>,
    number: Option<usize>,
}

impl Record {
    fn new(title: &str, list: &[KeyValue]) -> Self {
        let number = title.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
        Self { run: attributes(list).remove(RUN), number }
    }

    fn of_point(list: &[KeyValue]) -> Self {
        let mut of = attributes(list);
        Self { run: of.remove(RUN), number: of.remove(LINE).and_then(|number| number.parse().ok()) }
    }
}

/// The data points of a metric. Those who number their points send sums.
fn points(metric: Metric) -> Vec<Record> {
    match metric.data {
        Some(Data::Sum(sum)) => sum.data_points.iter().map(|point| Record::of_point(&point.attributes)).collect(),
        _ => vec![Record { run: Some(metric.name), number: None }],
    }
}

#[tonic::async_trait]
impl LogsService for Oracle {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        for entry in self.check(request)?.resource_logs {
            let records = entry.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            let numbered = records
                .map(|record| Record::new(&record.body.as_ref().map(text).unwrap_or_default(), &record.attributes));
            self.take(entry.resource, numbered);
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Oracle {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for entry in self.check(request)?.resource_metrics {
            let metrics = entry.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            self.take(entry.resource, metrics.flat_map(points));
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Oracle {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for entry in self.check(request)?.resource_spans {
            let spans = entry.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.take(entry.resource, spans.map(|span| Record::new(&span.name, &span.attributes)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attributes(list: &[KeyValue]) -> Attributes {
    let of = |attribute: &KeyValue| (attribute.key.clone(), attribute.value.as_ref().map(text).unwrap_or_default());
    list.iter().map(of).collect()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn string(text: &str) -> Option<AnyValue> {
        Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) })
    }

    fn run(name: &str) -> Vec<KeyValue> {
        vec![KeyValue { key: RUN.to_owned(), value: string(name), ..KeyValue::default() }]
    }

    fn log(body: &str) -> Request<ExportLogsServiceRequest> {
        let log_records = vec![LogRecord { body: string(body), attributes: run("a"), ..LogRecord::default() }];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        Request::new(ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        })
    }

    /// What comes twice and what is missing is told, of each run by itself.
    #[tokio::test]
    async fn it_tells_what_is_missing_and_what_came_twice() {
        let oracle = Oracle::default();
        for body in ["line 1", "line 3", "line 3"] {
            LogsService::export(&oracle, log(body)).await.unwrap();
        }
        let spans = vec![Span { name: "line 1".to_owned(), attributes: run("b"), ..Span::default() }];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        TraceService::export(&oracle, Request::new(ExportTraceServiceRequest { resource_spans })).await.unwrap();
        let runs = oracle.runs();
        assert_eq!(runs[0].tally(), Tally { received: 2, duplicates: 1, missing: 1 });
        assert_eq!(runs.iter().collect::<Tally>(), Tally { received: 3, duplicates: 1, missing: 1 });
        assert!(runs[1].is_complete(1) && !runs[0].is_complete(3));
        let wrong = runs[0].wrong().unwrap_or_default();
        assert!(wrong.ends_with(": 2 to 2 came 0 times, 3 to 3 came 2 times"), "{wrong}");
        assert_eq!(runs[1].wrong(), None);
    }

    /// A record that has no number is noticed, or a test would miss what nobody has sent.
    #[tokio::test]
    #[should_panic(expected = "nobody who numbers them")]
    async fn it_knows_strangers() {
        let oracle = Oracle::default();
        LogsService::export(&oracle, log("something else")).await.unwrap();
        oracle.runs();
    }

    /// Who does not show what is wanted is refused and counted.
    #[tokio::test]
    async fn it_refuses_others() {
        let oracle = Oracle::default();
        oracle.want("Bearer new");
        let mut request = log("line 1");
        request.metadata_mut().insert("authorization", "Bearer old".parse().unwrap());
        let status = LogsService::export(&oracle, request).await.unwrap_err();
        assert_eq!((status.code(), oracle.refused()), (tonic::Code::Unauthenticated, 1));
        assert!(oracle.runs().is_empty());
    }
}
