//! Spans of deliveries, and that there are none of what the engine tells of itself.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::batch::Batch;
use crate::lane::LaneThreads;
use crate::outcome::{Outcome, Rejection, RejectionKind};
use crate::self_telemetry::spans::{Spans, Tracer};
use crate::self_telemetry::{SelfTelemetry, unheard};
use crate::test_kit::{ScriptedSink, logs, within};
use engine_config::sources::internal::LogLevel;

struct Traced {
    inlet: SinkInlet,
    handle: SinkHandle,
    spans: Spans,
    _threads: LaneThreads,
}

fn drive(sink: &ScriptedSink, acknowledge: Acknowledge) -> Traced {
    let settings = DriverSettings {
        acknowledge,
        when_full: WhenFull::Refuse,
        max_buffer: 1 << 20,
        batching: Batching { max_size: 1 << 20, max_records: 8192, timeout: Duration::ZERO },
        concurrency: 4,
        backoff: Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(5) },
        max_elapsed: None,
        max_age: None,
    };
    let threads = LaneThreads::start(1).unwrap();
    let spans = Spans::default();
    // The claim lasts as long as the test.
    std::mem::forget(spans.want("self", 1.0));
    let tracer = Tracer::new(spans.clone(), "out", "otlp");
    let telemetry = Arc::new(ComponentTelemetry::default().traced(tracer));
    let (inlet, handle) = start("out", Box::new(sink.clone()), settings, telemetry, &threads.lanes());
    Traced { inlet, handle, spans, _threads: threads }
}

impl Traced {
    fn take(&self, batch: Batch) {
        let room = self.inlet.reserve(batch.encoded_len()).unwrap();
        self.inlet.commit(batch, room);
    }

    async fn drained(&self) {
        self.handle.drain(Instant::now() + Duration::from_secs(30)).await;
    }
}

fn own() -> Batch {
    Batch::unacknowledged(logs(&[], 0..2)).of_the_engine()
}

fn other() -> Batch {
    Batch::unacknowledged(logs(&[], 0..3))
}

fn says(span: &[u8], text: &str) -> bool {
    span.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Every attempt has a span, with what came of it.
#[tokio::test(start_paused = true)]
async fn every_attempt_is_told() {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let sink = ScriptedSink::answering(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => Outcome::retry("away for a moment"),
        1 => panic!("a mistake"),
        _ => Outcome::Delivered,
    });
    let traced = drive(&sink, Acknowledge::Buffered);
    traced.take(other());
    traced.drained().await;
    let spans = traced.spans.take().spans;
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| says(span, "deliver") && says(span, "component_id") && says(span, "records")));
    assert!(says(&spans[0], "retry") && says(&spans[0], "away for a moment"));
    assert!(says(&spans[1], "panic"));
    assert!(says(&spans[2], "delivered"));
}

/// A backend that is away is tried again and again for records of the engine's own: no attempt has a span, in
/// either way to acknowledge.
#[tokio::test(start_paused = true)]
async fn own_records_have_no_spans() {
    for acknowledge in [Acknowledge::Buffered, Acknowledge::Delivered] {
        let sink = ScriptedSink::answering(|_| Outcome::retry("away"));
        let traced = drive(&sink, acknowledge);
        let (batch, receipt) = Batch::new(logs(&[], 0..2));
        traced.take(batch.of_the_engine());
        within("attempts", sink.called(50)).await;
        drop(receipt);
        assert_eq!(traced.spans.take(), Default::default());
    }
    // Nor when they go with records of others.
    let sink = ScriptedSink::answering(|_| Outcome::Delivered);
    let traced = drive(&sink, Acknowledge::Buffered);
    let joined = Batch::joined([own(), other()], logs(&[], 0..5));
    traced.take(joined);
    traced.take(other());
    traced.drained().await;
    let told = traced.spans.take().spans.len();
    assert!(told <= 1, "{told} spans");
}

/// What a sink does with nothing but records of the engine's own is unheard, what it does with others is not.
#[tokio::test(start_paused = true)]
async fn own_records_are_delivered_unheard() {
    let engine = SelfTelemetry::default();
    let _claim = engine.want_logs("self", LogLevel::Warn);
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (asked, noted) = (engine.clone(), Arc::clone(&heard));
    let sink = ScriptedSink::answering(move |payload| {
        noted.lock().unwrap().push((payload.records(), asked.wants(LogLevel::Error)));
        Outcome::Rejected(Rejection { kind: RejectionKind::Invalid, message: "no".to_owned() })
    });
    for (batch, expected) in [(own(), (2, false)), (other(), (3, true))] {
        let traced = drive(&sink, Acknowledge::Buffered);
        traced.take(batch);
        traced.drained().await;
        assert_eq!(heard.lock().unwrap().drain(..).collect::<Vec<_>>(), [expected]);
    }
    // A panic in such work does not leave the thread deaf.
    let panicked = AssertUnwindSafe(unheard(async { panic!("a mistake") })).catch_unwind().await;
    assert!(panicked.is_err() && engine.wants(LogLevel::Error));
}
