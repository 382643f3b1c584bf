//! The sink behind its driver, against backends that take small requests only.

use engine_config::{Acknowledge, WhenFull};
use engine_core::batch::Batch;
use engine_core::budget::Budget;
use engine_core::edge::{Output, Route, Target, WhenRefused};
use engine_core::sink::{Backoff, Batching, DriverSettings, start};
use engine_core::telemetry::ComponentTelemetry;
use tokio_util::sync::CancellationToken;
use transport::server::{Handler, Reply, Request, ServerOptions, serve};

use super::*;

/// Bytes that the backends take at once.
const LIMIT: usize = 40_000;
const RECORDS: u64 = 20_000;

fn payload() -> Wire {
    let payload = test_kit::wire(&test_kit::logs(&[("service.name", "shop")], 0..RECORDS));
    assert!(payload.len() > 4 * LIMIT);
    payload
}

/// Sends a payload through a driver, which must deliver all of it.
async fn deliver_all(options: &OtlpSink, payload: Wire) {
    let settings = DriverSettings {
        acknowledge: Acknowledge::Delivered,
        when_full: WhenFull::Refuse,
        max_buffer: 64 << 20,
        batching: Batching { max_size: 1 << 20, max_records: 100_000, timeout: Duration::ZERO },
        concurrency: 1,
        backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) },
        max_elapsed: None,
        max_age: None,
    };
    let (threads, lanes) = test_kit::lanes(1);
    let (inlet, handle) = start("to", Box::new(built(options)), settings, Arc::default(), &lanes);
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let route = Route::to_all(vec![Target::Sink(Arc::new(inlet))]);
    let output = Output::new(0, route, telemetry, Arc::default(), WhenRefused::Answer);
    let (batch, receipt) = Batch::new(Payload::Wire(payload));
    output.send(batch).await;
    assert_eq!(within("an answer", receipt).await, Outcome::Delivered);
    assert_eq!(handle.line().counts.delivered, RECORDS);
    tokio::task::spawn_blocking(move || threads.stop()).await.unwrap();
}

/// What the backend answers with 413, and what is over the sink's own limit, is cut until it passes: every record arrives
/// once, and none is dropped.
#[tokio::test]
async fn what_is_too_large_over_http_is_cut_until_it_passes() {
    let peer = Peer::start(|request| {
        let status = if request.body.len() > LIMIT { "413 Payload Too Large" } else { "200 OK" };
        (status, "application/x-protobuf", String::new())
    })
    .await;
    let payload = payload();
    let mut options = peer.options();
    options.max_request_size = engine_config::ByteSize(payload.len() as u64 - 1);
    deliver_all(&options, payload).await;
    let received = peer.received.lock().unwrap().clone();
    assert!(received[0].body.len() <= options.max_request_size.0 as usize, "the first is cut before it is sent");
    let taken = received.into_iter().filter(|request| request.body.len() <= LIMIT);
    let taken = taken.map(|request| otlp::admit(Signal::Logs, request.body.into()).unwrap().records());
    assert_eq!(taken.sum::<u64>(), RECORDS);
}

/// Counts the records of what a server lets through.
#[derive(Default)]
struct Counting(Mutex<u64>);

impl Handler for Counting {
    async fn handle(&self, request: Request) -> Reply {
        *self.0.lock().unwrap() += otlp::admit(request.signal, request.body).unwrap().records();
        Reply::Accepted
    }
}

/// So is what a gRPC server answers with RESOURCE_EXHAUSTED.
#[tokio::test]
async fn what_is_too_large_over_grpc_is_cut_until_it_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = OtlpSink::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    let mut server = ServerOptions::new(transport::Protocol::Grpc);
    server.limits.max_request_size = LIMIT;
    let (threads, lanes) = test_kit::lanes(1);
    let (counting, drain) = (Arc::new(Counting::default()), CancellationToken::new());
    let serving = serve(listener, lanes, Budget::new(64 << 20), server, Arc::clone(&counting), drain.clone());
    let serving = tokio::spawn(serving);
    deliver_all(&options, payload()).await;
    assert_eq!(*counting.0.lock().unwrap(), RECORDS);
    drain.cancel();
    within("the server ends", serving).await.unwrap();
    tokio::task::spawn_blocking(move || threads.stop()).await.unwrap();
}
