//! Generator, null hop and sink in one process: what is sent arrives, and what must not pass is noticed.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::net::SocketAddr;

use load::{
    compression::Compression,
    counting_sink::{self, CountingSink, Received},
    frames::Frames,
    generator::{self, Generator, Sent, Stop},
    null_hop,
    payload::Shape,
    signal::Signal,
};

const SHAPE: Shape = Shape { records: 100, resources: 5, resource_attributes: 10 };

/// A request count that is not a multiple of the workers.
const REQUESTS: u64 = 21;

async fn start_sink(compression: Compression, expected: &[&str]) -> CountingSink {
    start_checking_sink(compression, expected, &[]).await
}

async fn start_checking_sink(compression: Compression, of_resources: &[&str], of_records: &[&str]) -> CountingSink {
    let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    CountingSink::start(counting_sink::Spec {
        frames: Frames::LARGE,
        compression,
        expected_attributes: owned(of_resources),
        expected_in_records: owned(of_records),
        kept: None,
        away: None,
    })
    .await
    .unwrap()
}

async fn start_null_hop(endpoint: SocketAddr, compression: Compression) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    tokio::spawn(null_hop::serve_on(listener, null_hop::Spec { listen, endpoint, frames: Frames::LARGE, compression }));
    listen
}

fn load_on(target: SocketAddr, signal: Signal, compression: Compression) -> generator::Spec {
    generator::Spec {
        target,
        signal,
        shape: SHAPE,
        pods: None,
        message: None,
        compression,
        connections: 2,
        in_flight: 4,
        rate: None,
        stop: Stop::Requests(REQUESTS),
        max_frame: None,
    }
}

async fn send_through_null_hop(
    signal: Signal,
    compression: Compression,
    adjust: impl FnOnce(&mut generator::Spec),
) -> (Sent, Received) {
    let sink = start_sink(compression, &["service.name"]).await;
    let hop = start_null_hop(sink.address, compression).await;
    let mut spec = load_on(hop, signal, compression);
    adjust(&mut spec);
    let sent = Generator::prepare(spec).await.unwrap().run().await.unwrap();
    (sent, sink.received())
}

fn assert_all_arrived(sent: &Sent, received: &Received) {
    assert_eq!((sent.requests, sent.refused, sent.failed), (REQUESTS, 0, 0), "{sent:?}");
    assert_eq!(sent.records, REQUESTS * 100);
    assert_eq!(received.records, sent.records, "{received:?}");
    assert_eq!(received.requests, REQUESTS);
    assert_eq!(received.fault, None);
    assert_eq!((received.sampled_resources, received.wrong_resources), (5, 0));
}

/// Every record of every signal arrives once.
#[tokio::test]
async fn sent_equals_received() {
    for signal in Signal::ALL {
        let (sent, received) = send_through_null_hop(signal, Compression::None, |_| {}).await;
        assert_all_arrived(&sent, &received);
        assert_eq!(received.bytes, sent.request_bytes_total, "{}", signal.name());
    }
}

/// The null hop unpacks, packs again and marks the message as packed.
#[tokio::test]
async fn compressed_requests_arrive() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (sent, received) = send_through_null_hop(Signal::Logs, compression, |_| {}).await;
        assert_all_arrived(&sent, &received);
        assert!(received.bytes < sent.request_bytes_total);
    }
}

/// A generator that keeps to small frames, and one that keeps to a rate, send the same.
#[tokio::test]
async fn frames_and_rate_do_not_change_what_arrives() {
    let (sent, received) = send_through_null_hop(Signal::Logs, Compression::None, |spec| {
        spec.max_frame = Some(1000);
        spec.rate = Some(200_000.0);
    })
    .await;
    assert_all_arrived(&sent, &received);
    assert!(sent.p50_us <= sent.p99_us && sent.p99_us <= sent.max_us);
}

/// The null hop checks nothing, so the check of refusals must report it.
#[tokio::test]
async fn a_peer_that_forwards_invalid_requests_is_noticed() {
    let sink = start_sink(Compression::None, &[]).await;
    let hop = start_null_hop(sink.address, Compression::None).await;
    let generator = Generator::prepare(load_on(hop, Signal::Logs, Compression::None)).await.unwrap();
    let error = generator.check_refusals().await.unwrap_err().to_string();
    assert!(error.contains("UTF-8"), "{error}");
}

/// A resource or record without an attribute that the peer has to set shows in the sample.
#[tokio::test]
async fn missing_edits_are_noticed() {
    let (of_resources, of_records) = (["service.name", "k8s.cluster.name"], ["k8s.cluster.name"]);
    let sink = start_checking_sink(Compression::None, &of_resources, &of_records).await;
    let spec = load_on(sink.address, Signal::Spans, Compression::None);
    let generator = Generator::prepare(spec).await.unwrap();
    assert_eq!(generator.warm_up().await.unwrap(), 200);
    let sent = generator.run().await.unwrap();
    assert_eq!(sent.requests, REQUESTS);
    assert_eq!(sink.received().records, 200 + sent.records);
    assert_eq!((sink.received().wrong_resources, sink.received().wrong_records), (5, 100));
}
