//! The source `internal` in a whole engine: what it sends is what the administration server shows, and records about its
//! own records do not feed on themselves.

use std::collections::BTreeSet;

use engine_config::status::{Component, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::{Engine, body, eventually, get};

/// The families of a page, but for what the sink adds.
fn families(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter(|line| !line.starts_with("target_info")).map(str::to_owned).collect()
}

async fn component(engine: &Engine, id: &str) -> Component {
    let answer = get(engine.addresses["admin"], "/status", "*/*").await;
    let status: Status = serde_json::from_str(body(&answer)).unwrap_or_else(|error| panic!("{error}: {answer}"));
    status.components.into_iter().find(|component| component.id.as_str() == id).unwrap()
}

/// Batches and records of a signal that the source `self` has sent.
async fn sent(engine: &Engine, signal: &str) -> (u64, u64) {
    let source = component(engine, "self").await;
    let flow = source.sent["default"].get(signal).cloned().unwrap_or_default();
    (flow.batches, flow.records)
}

/// The engine's metrics through its own pipeline have the names and types that its administration server shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_metrics_are_those_of_the_admin_page() {
    let rest = r#"
        [sources.self]
        type = "internal"
        signals = ["metrics"]
        interval = "1s"
        [sinks.scraped]
        type = "prometheus"
        inputs = ["self"]
        listen = "127.0.0.1:0"
        scope_labels = false
    "#;
    let engine = Engine::start(rest, "scraped").await;
    let (scraped, admin) = (engine.addresses["scraped"], engine.addresses["admin"]);
    // The first reading was made before all components had counted.
    let compared = eventually("both pages say the same", || async move {
        let (own, shown) = (get(scraped, "/metrics", "text/plain").await, get(admin, "/metrics", "text/plain").await);
        let (own, shown) = (families(body(&own)), families(body(&shown)));
        (own == shown).then_some(own)
    })
    .await;
    assert!(compared.len() > 20, "{compared:?}");
    let page = get(scraped, "/metrics", "text/plain").await;
    let labels = r#"{component_id="scraped",component_kind="sink",component_type="prometheus","#;
    let healthy = format!("telemetry_engine_component_healthy{labels}");
    let is_it = |line: &str| line.contains(r#",job="telemetry-engine""#) && line.ends_with(" 1.0");
    assert!(page.lines().any(|line| line.starts_with(&healthy) && is_it(line)), "{page}");
}

/// At rest every reading has as many points as the one before, and the log says nothing about them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_rest_readings_stay_as_large() {
    let rest = r#"
        [sources.self]
        type = "internal"
        interval = "1s"
        logs.level = "trace"
        traces.sampling_ratio = 1
        [sinks.nothing]
        type = "blackhole"
        inputs = ["self"]
        [sinks.scraped]
        type = "prometheus"
        inputs = ["self"]
        listen = "127.0.0.1:0"
    "#;
    let engine = &Engine::start(rest, "scraped").await;
    let reading = async |least: u64| {
        eventually("another reading", || async move {
            Some(sent(engine, "metrics").await).filter(|(batches, _)| *batches >= least)
        })
        .await
    };
    // The first ones may be made while the components still start.
    let (mut batches, mut records) = reading(3).await;
    let (_, logged) = sent(engine, "logs").await;
    assert!(logged > 0, "the start is told");
    let mut sizes = BTreeSet::new();
    for _ in 0..4 {
        let (more, all) = reading(batches + 1).await;
        assert_eq!((all - records) % (more - batches), 0, "readings of different sizes");
        sizes.insert((all - records) / (more - batches));
        (batches, records) = (more, all);
    }
    assert_eq!(sizes.len(), 1, "{sizes:?}");
    assert_eq!(sent(engine, "logs").await.1, logged, "nothing happened, so nothing is told");
    assert_eq!(sent(engine, "traces").await, (0, 0), "nobody sent anything");
}

/// A backend that refuses everything is an event for each refusal, and each event would be a record that is refused again:
/// what is refused are the engine's own records alone, so it is told in the log and is no record, and no attempt is a span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_do_not_feed_on_themselves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            // It answers before it has read everything, and closes.
            if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                stream
                    .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                    .await
                    .ok();
                while stream.read(&mut head).await.is_ok_and(|read| read > 0) {}
            }
        }
    });
    let rest = format!(
        r#"
        [sources.self]
        type = "internal"
        interval = "1s"
        logs.level = "trace"
        traces.sampling_ratio = 1
        [sinks.refused]
        type = "otlp"
        inputs = ["self"]
        endpoint = "http://{address}"
        protocol = "http"
        timeout = "1s"
    "#
    );
    let engine = &Engine::start(&rest, "admin").await;
    let refused = async |least: u64| {
        eventually("another refusal", || async move {
            let errors = component(engine, "refused").await.errors;
            Some(errors.get("rejected").copied().unwrap_or_default()).filter(|count| *count >= least)
        })
        .await
    };
    refused(4).await;
    let ((readings, _), (_, early)) = (sent(engine, "metrics").await, sent(engine, "logs").await);
    assert!(early > 0, "the start is told");
    eventually("ten more readings", || async move {
        Some(sent(engine, "metrics").await.0).filter(|more| *more >= readings + 10)
    })
    .await;
    let (_, late) = sent(engine, "logs").await;
    assert_eq!(late, early, "refusals make no records");
    assert_eq!(sent(engine, "traces").await, (0, 0), "attempts make no spans");
}

/// A backend that is away makes a record or two, and none for every attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_backend_is_told_once() {
    let rest = r#"
        [sources.self]
        type = "internal"
        interval = "1s"
        logs.level = "trace"
        traces.sampling_ratio = 1
        [sinks.dead]
        type = "otlp"
        inputs = ["self"]
        # Nobody listens on port 1.
        endpoint = "http://127.0.0.1:1"
        retry = { initial_interval = "1ms", max_interval = "5ms" }
    "#;
    let engine = &Engine::start(rest, "admin").await;
    let readings = async |least: u64| {
        eventually("another reading", || async move {
            Some(sent(engine, "metrics").await.0).filter(|batches| *batches >= least)
        })
        .await
    };
    readings(3).await;
    let (_, early) = sent(engine, "logs").await;
    readings(8).await;
    assert_eq!(sent(engine, "logs").await.1, early, "attempts make no records");
    assert_eq!(sent(engine, "traces").await, (0, 0), "attempts make no spans");
    let held = component(engine, "dead").await.sink.unwrap().ledger.held;
    assert!(held.queued + held.in_flight > 0, "it is dead");
}
