//! Our gRPC client against our server, tonic servers, and scripted ones.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use engine_core::lane::LaneThreads;
use engine_core::outcome::{Outcome, RejectionKind};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use otlp::{Rope, Signal};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use transport::client::{Client, ClientOptions};
use transport::{Compression, Protocol};

use crate::harness::{TestServer, eventually, grpc_message, logs, logs_bytes};
use crate::scripted::{Script, ScriptedServer, answer, grpc_answer, grpc_failure};

/// A client with a short patience for connecting and answers.
pub(crate) fn client(uri: http::Uri, protocol: Protocol) -> Client {
    let mut options = ClientOptions::new(uri, protocol);
    options.timeout = Duration::from_secs(5);
    Client::new(options).unwrap()
}

/// One export of a small request.
pub(crate) async fn export(client: &Client) -> Outcome {
    client.export(Signal::Logs, Bytes::from(logs_bytes(100))).await
}

/// The class of a refusal; fails on any other outcome.
pub(crate) fn rejection(outcome: Outcome) -> RejectionKind {
    match outcome {
        Outcome::Rejected(rejection) => rejection.kind,
        other => panic!("not rejected: {other:?}"),
    }
}

/// The wait of a retry; fails on any other outcome.
pub(crate) fn retry_after(outcome: Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Retry { after, .. } => after,
        other => panic!("not to be retried: {other:?}"),
    }
}

/// K1, K17: a rope arrives joined, whatever the compression, over gRPC and HTTP, and counts as delivered.
#[tokio::test]
async fn delivers_to_our_server() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let codings =
            [Compression::None, Compression::GZIP, Compression::ZSTD, Compression::Gzip(6), Compression::Snappy];
        for compression in codings {
            let server = TestServer::builder(protocol).start();
            let mut options = ClientOptions::new(server.uri(), protocol);
            options.compression = compression;
            let client = Client::new(options).unwrap();
            for size in [0, 10, 100_000, 3_000_000] {
                let bytes = Bytes::from(logs_bytes(size));
                let cuts = (0..bytes.len()).step_by(70_000);
                let rope: Rope = cuts.map(|at| bytes.slice(at..bytes.len().min(at + 70_000))).collect();
                assert_eq!(rope.remaining(), bytes.len());
                let outcome = client.export(Signal::Logs, rope).await;
                assert_eq!(outcome, Outcome::Delivered, "{protocol:?} {compression:?} {size}");
                let received = server.handler.requests.lock().unwrap().pop().unwrap();
                assert_eq!((received.signal, received.body), (Signal::Logs, bytes));
            }
            drop(client);
            let report = server.stop().await;
            assert_eq!(report.totals.connections_opened, 1);
        }
    }
}

/// A logs service of tonic that answers what it is told and records what it got.
#[derive(Clone, Default)]
struct TonicLogs {
    answers: Arc<Mutex<Vec<Result<ExportLogsServiceResponse, Status>>>>,
    requests: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
}

#[tonic::async_trait]
impl LogsService for TonicLogs {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        self.requests.lock().unwrap().push(request.into_inner());
        let next = self.answers.lock().unwrap().pop();
        next.unwrap_or_else(|| Ok(ExportLogsServiceResponse::default())).map(tonic::Response::new)
    }
}

impl TonicLogs {
    async fn start(&self) -> http::Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let incoming = futures::stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await.map(|(socket, _)| socket);
            Some((accepted, listener))
        });
        let service = LogsServiceServer::new(self.clone())
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
            .send_compressed(tonic::codec::CompressionEncoding::Gzip)
            .max_decoding_message_size(64 * 1024 * 1024);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        format!("http://{address}").parse().unwrap()
    }

    fn answer(&self, answer: Result<ExportLogsServiceResponse, Status>) {
        self.answers.lock().unwrap().push(answer);
    }
}

/// K1, K17: tonic, with its 16 KiB frames and small windows, decodes what we send, compressed or not.
#[tokio::test]
async fn delivers_to_tonic() {
    let peer = TonicLogs::default();
    let uri = peer.start().await;
    for compression in [Compression::None, Compression::GZIP, Compression::ZSTD] {
        let mut options = ClientOptions::new(uri.clone(), Protocol::Grpc);
        options.compression = compression;
        let client = Client::new(options).unwrap();
        for size in [0, 100, 1_000_000, 5_000_000] {
            let body = Bytes::from(logs_bytes(size));
            let rope: Rope = [body.slice(..body.len() / 3), body.slice(body.len() / 3..)].into_iter().collect();
            assert_eq!(client.export(Signal::Logs, rope).await, Outcome::Delivered, "{compression:?} {size}");
            assert_eq!(peer.requests.lock().unwrap().pop().unwrap(), logs(size));
        }
    }
}

/// K2, K3: partial success is passed on with its count and words, a warning with none rejected.
#[tokio::test]
async fn reports_partial_success() {
    let peer = TonicLogs::default();
    let client = client(peer.start().await, Protocol::Grpc);
    for (rejected_log_records, error_message) in [(3, "three"), (0, "careful")] {
        let partial = ExportLogsPartialSuccess { rejected_log_records, error_message: error_message.to_owned() };
        peer.answer(Ok(ExportLogsServiceResponse { partial_success: Some(partial) }));
        let expected =
            Outcome::Partial { rejected: rejected_log_records.unsigned_abs(), message: error_message.to_owned() };
        assert_eq!(export(&client).await, expected);
    }
    peer.answer(Ok(ExportLogsServiceResponse { partial_success: Some(ExportLogsPartialSuccess::default()) }));
    assert_eq!(export(&client).await, Outcome::Delivered);
}

/// K4, K5: which code is tried again and which is final is what the OTLP specification says.
#[tokio::test]
async fn reads_every_code() {
    let peer = TonicLogs::default();
    let client = client(peer.start().await, Protocol::Grpc);
    let retried =
        [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::OutOfRange, Code::Unavailable, Code::DataLoss];
    for code in retried {
        peer.answer(Err(Status::new(code, "later")));
        assert_eq!(retry_after(export(&client).await), None, "{code:?}");
    }
    let rejected = [
        (Code::Unknown, RejectionKind::Invalid),
        (Code::InvalidArgument, RejectionKind::Invalid),
        (Code::NotFound, RejectionKind::Invalid),
        (Code::AlreadyExists, RejectionKind::Invalid),
        (Code::FailedPrecondition, RejectionKind::Invalid),
        (Code::Internal, RejectionKind::Invalid),
        (Code::PermissionDenied, RejectionKind::Unauthorized),
        (Code::Unauthenticated, RejectionKind::Unauthorized),
        (Code::Unimplemented, RejectionKind::Unsupported),
        (Code::ResourceExhausted, RejectionKind::TooLarge),
    ];
    for (code, kind) in rejected {
        peer.answer(Err(Status::new(code, "größe")));
        let Outcome::Rejected(rejection) = export(&client).await else { panic!("{code:?} is final") };
        assert_eq!(rejection.kind, kind, "{code:?}");
        assert!(rejection.message.ends_with(": größe"), "{}", rejection.message);
    }
}

/// A tonic server that gets more than it takes says OUT_OF_RANGE, which is to be tried again by the specification and
/// would be for ever: it is read as what it means.
#[tokio::test]
async fn a_message_over_the_limit_of_tonic_is_too_large() {
    let peer = TonicLogs::default();
    let client = client(peer.start().await, Protocol::Grpc);
    let message = "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes";
    peer.answer(Err(Status::out_of_range(message)));
    let Outcome::Rejected(rejection) = export(&client).await else { panic!("it is final") };
    assert_eq!(rejection.kind, RejectionKind::TooLarge);
}

/// K5, K6: RetryInfo makes RESOURCE_EXHAUSTED retryable and says how long to wait, at most five minutes.
#[tokio::test]
async fn honours_retry_info() {
    let peer = TonicLogs::default();
    let client = client(peer.start().await, Protocol::Grpc);
    for (code, asked, waited) in [
        (Code::ResourceExhausted, Duration::from_millis(5500), Duration::from_millis(5500)),
        (Code::Unavailable, Duration::from_secs(5), Duration::from_secs(5)),
        (Code::Unavailable, Duration::from_secs(999_999), Duration::from_secs(300)),
        (Code::ResourceExhausted, Duration::ZERO, Duration::ZERO),
    ] {
        peer.answer(Err(Status::with_error_details(code, "later", ErrorDetails::with_retry_info(Some(asked)))));
        assert_eq!(retry_after(export(&client).await), Some(waited));
    }
}

/// K11, K22: an answer that does not say success in gRPC is no success, and none is retried for ever either.
#[tokio::test]
async fn accepts_no_false_success() {
    let ok = ("grpc-status", "0");
    let bomb = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0; 20_000_000]).unwrap();
        encoder.finish().unwrap()
    };
    let html = || answer(http::Response::builder().header("content-type", "text/html"), "<html>hello</html>");
    let cases: Vec<(&str, Script)> = vec![
        ("html", Box::new(html)),
        (
            "no trailers",
            Box::new(|| answer(http::Response::builder().header("content-type", "application/grpc"), vec![0; 5])),
        ),
        ("empty trailers", Box::new(|| grpc_answer(vec![0; 5], &[("x", "y")]))),
        ("no message", Box::new(move || grpc_answer(Vec::new(), &[ok]))),
        ("half a message", Box::new(move || grpc_answer(vec![0, 0, 0, 0, 9, 1], &[ok]))),
        ("garbage", Box::new(move || grpc_answer(grpc_message(0, b"\xff\xff"), &[ok]))),
        ("unknown compression", Box::new(move || grpc_answer(grpc_message(1, b"x"), &[ok]))),
        ("status that is no number", Box::new(|| grpc_answer(vec![0; 5], &[("grpc-status", "fine")]))),
        ("status no one knows", Box::new(|| grpc_failure(&[("grpc-status", "77")]))),
        ("an answer without end", Box::new(move || grpc_answer(vec![0; 5_000_000], &[ok]))),
        (
            "a bomb",
            Box::new(move || {
                let mut answer = grpc_answer(grpc_message(1, &bomb), &[ok]);
                answer.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
                answer
            }),
        ),
        (
            "grpc-web",
            Box::new(move || {
                let mut answer = grpc_answer(vec![0; 5], &[ok]);
                answer.headers_mut().insert("content-type", "application/grpc-web+proto".parse().unwrap());
                answer
            }),
        ),
        ("no content type", Box::new(|| answer(http::Response::builder(), ""))),
        ("not found by a proxy", Box::new(|| answer(http::Response::builder().status(404), "nothing here"))),
    ];
    for (what, script) in cases {
        let server = ScriptedServer::start(Protocol::Grpc, move |_| script()).await;
        let outcome = export(&client(server.uri(), Protocol::Grpc)).await;
        assert!(matches!(outcome, Outcome::Rejected(_)), "{what}: {outcome:?}");
    }
    for status in [429, 502, 503, 504] {
        let script = move |_| answer(http::Response::builder().status(status), "busy");
        let server = ScriptedServer::start(Protocol::Grpc, script).await;
        assert_eq!(retry_after(export(&client(server.uri(), Protocol::Grpc)).await), None, "{status}");
    }
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
        let script = move |_| {
            let message = grpc_message(0, &ExportLogsServiceResponse::default().encode_to_vec());
            let mut answer = grpc_answer(message, &[("grpc-status", "0")]);
            answer.headers_mut().insert("content-type", content_type.parse().unwrap());
            answer
        };
        let server = ScriptedServer::start(Protocol::Grpc, script).await;
        assert_eq!(export(&client(server.uri(), Protocol::Grpc)).await, Outcome::Delivered, "{content_type}");
    }
}

/// K19: a redirect is not followed over gRPC either, and the user hears where it points.
#[tokio::test]
async fn follows_no_redirect() {
    let script = |_| answer(http::Response::builder().status(307).header("location", "http://other/"), "");
    let server = ScriptedServer::start(Protocol::Grpc, script).await;
    let Outcome::Rejected(rejection) = export(&client(server.uri(), Protocol::Grpc)).await else {
        panic!("another place is another configuration")
    };
    assert_eq!(rejection.kind, RejectionKind::Unsupported);
    assert!(rejection.message.contains("http://other/"), "{}", rejection.message);
}

/// K13: nobody listens: each export answers at once, and dialling pauses longer and longer.
#[tokio::test]
async fn pauses_dialling_when_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri: http::Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let client = client(uri, Protocol::Grpc);
    let first = retry_after(export(&client).await).unwrap();
    assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&first), "{first:?}");
    let Outcome::Retry { after, reason } = export(&client).await else { panic!("nobody listens") };
    assert!(after.unwrap() <= first, "the second export waits out the pause of the first");
    assert!(reason.starts_with("cannot connect to 127.0.0.1:"), "{reason}");
}

/// K12, K14: a peer that closes, resets, or never answers is retried; silence costs the connection too, so that the
/// next attempt dials anew.
#[tokio::test]
async fn retries_broken_connections() {
    let closing = ScriptedServer::raw(async |socket| drop(socket)).await;
    retry_after(export(&client(closing.uri(), Protocol::Grpc)).await);

    let silent = ScriptedServer::raw(async |socket| {
        let _held = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let mut options = ClientOptions::new(silent.uri(), Protocol::Grpc);
    options.timeout = Duration::from_millis(100);
    let client = Client::new(options).unwrap();
    for attempt in 1..=3 {
        let Outcome::Retry { reason, .. } = export(&client).await else { panic!("nobody answers") };
        assert!(reason.contains("no answer"), "{reason}");
        assert_eq!(silent.connections.load(Ordering::Relaxed), attempt);
    }
}

/// K21: a server that closes its connections gracefully all the time costs no request.
#[tokio::test]
async fn survives_goaway() {
    let server = TestServer::builder(Protocol::Grpc)
        .limits(|limits| limits.max_connection_age = Some(Duration::from_millis(20)))
        .start();
    let client = client(server.uri(), Protocol::Grpc);
    let sent = AtomicUsize::new(0);
    let workers = (0..4).map(|_| async {
        while server.counters.snapshot().connections_opened < 6 {
            assert_eq!(export(&client).await, Outcome::Delivered);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    });
    futures::future::join_all(workers).await;
    drop(client);
    assert_eq!(server.stop().await.totals.requests_accepted as usize, sent.into_inner());
}

/// Exports that run at the same time on one lane share a connection; each lane has its own.
#[tokio::test]
async fn connects_once_per_lane() {
    let server = TestServer::builder(Protocol::Grpc).start();
    let client = client(server.uri(), Protocol::Grpc);
    let lanes = LaneThreads::start(2).unwrap();
    let exports: Vec<_> = (0..20)
        .flat_map(|_| lanes.lanes().iter().cloned().collect::<Vec<_>>())
        .map(|lane| {
            let client = client.clone();
            lane.spawn(async move { export(&client).await })
        })
        .collect();
    for outcome in futures::future::join_all(exports).await {
        assert_eq!(outcome.unwrap(), Outcome::Delivered);
    }
    assert_eq!(server.counters.snapshot().connections_opened, 2);
    drop(client);
    eventually("the connections end with their client", || server.counters.snapshot().connections_open == 0).await;
    tokio::task::spawn_blocking(|| lanes.stop()).await.unwrap();
    server.stop().await;
}

/// An old connection takes no new requests when the client limits its age.
#[tokio::test]
async fn renews_old_connections() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let server = TestServer::builder(protocol).start();
        let mut options = ClientOptions::new(server.uri(), protocol);
        options.max_connection_age = Some(Duration::ZERO);
        let client = Client::new(options).unwrap();
        for _ in 0..3 {
            assert_eq!(client.export(Signal::Logs, Bytes::from(logs_bytes(1))).await, Outcome::Delivered);
        }
        assert_eq!(server.counters.snapshot().connections_opened, 3);
        drop(client);
        server.stop().await;
    }
}

/// Headers of the options go with every request, and the client says who it is and how long it will wait.
#[tokio::test]
async fn sends_its_headers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&seen);
    let server = ScriptedServer::start(Protocol::Grpc, move |request| {
        recorded.lock().unwrap().push(request.headers().clone());
        grpc_answer(vec![0; 5], &[("grpc-status", "0")])
    })
    .await;
    let mut options = ClientOptions::new(server.uri(), Protocol::Grpc);
    options.headers = vec![(http::header::AUTHORIZATION, "Bearer token".parse().unwrap())];
    options.timeout = Duration::from_millis(7500);
    assert_eq!(export(&Client::new(options).unwrap()).await, Outcome::Delivered);
    let headers = seen.lock().unwrap().pop().unwrap();
    assert_eq!(headers["authorization"], "Bearer token");
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["grpc-timeout"], "7500m");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("telemetry-engine/"));
}

/// What a request carries along does not grow with what a client can do besides: dialling, proxies, spreading and inflating
/// are boxed. The compiler is pinned, so the size is as well.
#[tokio::test]
async fn requests_stay_small() {
    let client = client("http://127.0.0.1:1".parse().unwrap(), Protocol::Grpc);
    let size = size_of_val(&client.export(Signal::Logs, Rope::new()));
    assert!(size <= 1752, "{size} bytes");
}

/// Endpoints that cannot work are refused when the client is made.
#[test]
fn refuses_unusable_endpoints() {
    for endpoint in ["localhost:4317", "/v1", "ftp://host:1"] {
        let error = Client::new(ClientOptions::new(endpoint.parse().unwrap(), Protocol::Grpc)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("endpoint {endpoint}")), "{error}");
    }
}
