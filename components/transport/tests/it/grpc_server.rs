//! Our gRPC server against tonic clients and raw HTTP/2.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use otlp::Signal;
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use transport::Protocol;
use transport::server::{Refusal, Reply};

use crate::harness::{TestServer, eventually, logs, logs_bytes};

async fn channel(server: &TestServer) -> Channel {
    Channel::builder(server.uri()).connect().await.unwrap()
}

/// S1, S5: each signal reaches the handler under its name, byte for byte, and the answer is plain success.
#[tokio::test]
async fn takes_each_signal() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let channel = channel(&server).await;
    let answer = LogsServiceClient::new(channel.clone()).export(logs(100)).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    let empty_metrics = ExportMetricsServiceRequest::default();
    let answer = MetricsServiceClient::new(channel.clone()).export(empty_metrics).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    let empty_traces = ExportTraceServiceRequest::default();
    let answer = TraceServiceClient::new(channel).export(empty_traces).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    {
        let requests = server.handler.requests.lock().unwrap();
        let signals: Vec<Signal> = requests.iter().map(|request| request.signal).collect();
        assert_eq!(signals, [Signal::Logs, Signal::Metrics, Signal::Traces]);
        assert_eq!(requests[0].body, logs_bytes(100));
        assert_eq!(requests[0].wire_bytes, logs_bytes(100).len() as u64);
        assert!(requests[1].body.is_empty());
    }
    let report = server.stop().await;
    assert_eq!(report.totals.requests_accepted, 3);
    assert_eq!(report.totals.connections_open, 0);
}

/// S19, S37, S38: every refusal of the handler has the code that the OTLP specification gives it, RetryInfo exactly
/// where the client shall try again, and is counted under its reason.
#[tokio::test]
async fn answers_refusals() {
    let replies = [
        Reply::unavailable("queue full"),
        Reply::TooLarge { message: "too large".to_owned() },
        Reply::Invalid { message: "bad".to_owned(), field: Some("resource_logs[1]".to_owned()) },
        Reply::Unauthorized { message: "who are you".to_owned() },
        Reply::Unsupported { message: "no logs here".to_owned() },
    ];
    let server = TestServer::builder(Protocol::Grpc).replies(replies).start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    let mut refuse = async || client.export(logs(10)).await.unwrap_err();

    let status = refuse().await;
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "queue full"));
    let retry_delay = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(retry_delay, Some(Duration::from_secs(1)));

    let status = refuse().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_none());

    let status = refuse().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!((violations[0].field.as_str(), violations[0].description.as_str()), ("resource_logs[1]", "bad"));

    assert_eq!(refuse().await.code(), Code::Unauthenticated);
    assert_eq!(refuse().await.code(), Code::Unimplemented);
    let counts = server.counters.snapshot();
    for reason in
        [Refusal::Unavailable, Refusal::TooLarge, Refusal::Invalid, Refusal::Unauthorized, Refusal::Unsupported]
    {
        assert_eq!(counts.refused(reason), 1, "{reason:?}");
    }
    server.stop().await;
}

/// S39: on drain, a request in flight is finished and answered, and its connection ends without being cut.
#[tokio::test]
async fn finishes_requests_on_drain() {
    let server = TestServer::builder(Protocol::Grpc).gated().start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    let request = tokio::spawn(async move { client.export(logs(10)).await });
    server.handler.arrived.acquire().await.unwrap().forget();
    server.drain();
    eventually("the listener is closed", || std::net::TcpStream::connect(server.address).is_err()).await;
    server.handler.gate.add_permits(1);
    request.await.unwrap().unwrap();
    assert_eq!(server.stop().await.totals.requests_accepted, 1);
}

/// S17, S19: a message of exactly the limit passes; one byte more is RESOURCE_EXHAUSTED without RetryInfo.
#[tokio::test]
async fn bounds_messages() {
    let limit = logs_bytes(100_000).len();
    let server = TestServer::builder(Protocol::Grpc).limits(|limits| limits.max_request_size = limit).start();
    let mut client = LogsServiceClient::new(channel(&server).await);
    client.export(logs(100_000)).await.unwrap();
    let status = client.export(logs(100_001)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.get_details_retry_info().is_none());
    assert_eq!(server.stop().await.totals.refused(Refusal::TooLarge), 1);
}
