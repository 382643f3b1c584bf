//! The engine's own spans through its own pipeline: a request becomes a child of its sender's span, its delivery a trace of
//! its own, and what carries them to their backend nothing at all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tonic::{Code, Request, Response, Status};

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;

/// A backend for traces that remembers every span.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<Vec<Span>>>);

impl Traces {
    async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let service = TraceServiceServer::new(self.clone());
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        address
    }

    async fn at_least(&self, count: usize) -> Vec<Span> {
        let look = || std::future::ready(Some(self.0.lock().unwrap().clone()).filter(|spans| spans.len() >= count));
        eventually("spans arrive", look).await
    }
}

#[tonic::async_trait]
impl TraceService for Traces {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let entries = request.into_inner().resource_spans.into_iter();
        let spans = entries.flat_map(|entry| entry.scope_spans).flat_map(|scope| scope.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    let found = found.unwrap_or_else(|| panic!("no {key} in {span:?}"));
    match found.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn logs(records: u64) -> ExportLogsServiceRequest {
    let log_records =
        (1..=records).map(|time_unix_nano| LogRecord { time_unix_nano, ..LogRecord::default() }).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// A request that was sampled by its sender, its delivery, and one that is refused: each is one span with what it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_deliveries_are_traced() {
    let (backend, traces) = (Backend::default(), Traces::default());
    let rest = format!(
        r#"
        [sources.self]
        type = "internal"
        signals = ["traces"]
        traces.sampling_ratio = 1
        [sinks.out]
        type = "otlp"
        inputs = ["apps"]
        endpoint = "http://{}"
        acknowledge = "delivered"
        [sinks.traces]
        type = "otlp"
        inputs = ["self"]
        endpoint = "http://{}"
        "#,
        backend.serve().await,
        traces.serve().await
    );
    let engine = Engine::start(&rest).await;
    let mut client = LogsServiceClient::connect(format!("http://{}", engine.apps())).await.unwrap();
    let mut request = Request::new(logs(3));
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.metadata_mut().insert("traceparent", header.parse().unwrap());
    client.export(request).await.unwrap();

    let spans = traces.at_least(2).await;
    let [server, delivery] = [SpanKind::Server, SpanKind::Client].map(|kind| {
        let of_kind: Vec<_> = spans.iter().filter(|span| span.kind() == kind).collect();
        assert_eq!(of_kind.len(), 1, "{spans:?}");
        of_kind[0].clone()
    });
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&server.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    let method = "opentelemetry.proto.collector.logs.v1.LogsService/Export";
    assert_eq!((server.name.as_str(), server.status.is_none()), (method, true));
    let expected = [
        ("component_id", "apps"),
        ("component_type", "otlp"),
        ("rpc.system.name", "grpc"),
        ("rpc.method", method),
        ("rpc.response.status_code", "OK"),
        ("signal", "logs"),
        ("records", "3"),
        ("outcome", "accepted"),
    ];
    for (key, value) in expected {
        assert_eq!(attribute(&server, key), value, "{key}");
    }
    assert!(attribute(&server, "bytes").parse::<u64>().unwrap() > 0);
    assert_eq!((delivery.name.as_str(), delivery.parent_span_id.len()), ("deliver", 0));
    assert_ne!(delivery.trace_id, server.trace_id, "a batch joins many requests");
    for (key, value) in [("component_id", "out"), ("records", "3"), ("attempt", "1"), ("outcome", "delivered")] {
        assert_eq!(attribute(&delivery, key), value, "{key}");
    }
    // The request was open while it was delivered.
    assert!(server.start_time_unix_nano <= delivery.start_time_unix_nano);

    backend.reject(2);
    let refused = client.export(logs(3)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let spans = traces.at_least(4).await;
    for span in &spans[2..] {
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code(), StatusCode::Error, "{span:?}");
        assert!(status.message.contains("not welcome"), "{status:?}");
    }

    // The spans have been delivered themselves by now, and that is no work to tell of.
    client.export(logs(1)).await.unwrap();
    let spans = traces.at_least(6).await;
    assert_eq!(spans.len(), 6, "{spans:?}");
    assert!(spans.iter().all(|span| ["apps", "out"].contains(&attribute(span, "component_id").as_str())));
}
