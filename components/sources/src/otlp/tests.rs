//! What becomes of requests, without a socket.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
use engine_config::{Signal, SignalSet};
use engine_core::budget::Budget;
use engine_core::test_kit;

use super::*;

/// A source that is narrowed to some signals refuses the others instead of taking them for nobody.
#[tokio::test]
async fn refuses_signals_it_was_not_asked_for() {
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let (output, batches) = test_kit::captured(&telemetry, 0);
    let (_delivered, _task) = test_kit::deliver_all(batches);
    let signals: SignalSet = [Signal::Logs].into_iter().collect();
    let intake = Intake { id: ComponentId::new("apps").unwrap(), output, signals, telemetry, marks: None };
    let request = |payload: Payload| Request {
        signal: payload.signal(),
        charge: Budget::new(1 << 20).try_charge(payload.len()).unwrap(),
        body: payload.into_wire().unwrap().into_rope().into_bytes(),
        peer: Arc::new(Peer::connected_now(([127, 0, 0, 1], 1).into())),
        wire_bytes: 0,
        snake_case: None,
        span: None,
    };
    assert_eq!(intake.handle(request(test_kit::logs(&[], 0..3))).await, Reply::Accepted);
    let refused = intake.handle(request(test_kit::traces(&[], 0..3))).await;
    assert!(matches!(&refused, Reply::Unsupported { message } if message.contains("traces")), "{refused:?}");
}

/// A record with a wrong id takes nobody with it; the client hears how many there were, and so does the user.
#[tokio::test]
async fn wrong_ids_are_a_partial_success() {
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let (output, batches) = test_kit::captured(&telemetry, 0);
    let (_delivered, _task) = test_kit::deliver_all(batches);
    let id = ComponentId::new("apps").unwrap();
    let intake = Intake { id, output, signals: SignalSet::ALL, telemetry: Arc::clone(&telemetry), marks: None };
    // Two spans, one of them with a span id of one byte.
    let body = [0x0a, 11, 0x12, 9, 0x12, 0, 0x12, 3, 0x12, 1, 7, 0x12, 0];
    let request = Request {
        signal: Signal::Traces,
        charge: Budget::new(1 << 20).try_charge(0).unwrap(),
        body: body.to_vec().into(),
        peer: Arc::new(Peer::connected_now(([127, 0, 0, 1], 1).into())),
        wire_bytes: 0,
        snake_case: None,
        span: None,
    };
    assert!(matches!(intake.handle(request).await, Reply::Partial { rejected: 1, .. }));
    let counted = telemetry.read();
    assert_eq!((counted.discarded[WRONG_ID], counted.sent["default"]["traces"].records), (1, 2));
}

/// Whoever writes names in snake_case hears that they are ignored, and so does the user.
#[tokio::test]
async fn snake_case_keys_are_told() {
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let (output, batches) = test_kit::captured(&telemetry, 0);
    let (_delivered, _task) = test_kit::deliver_all(batches);
    let id = ComponentId::new("apps").unwrap();
    let intake = Intake { id, output, signals: SignalSet::ALL, telemetry: Arc::clone(&telemetry), marks: None };
    let request = Request {
        signal: Signal::Logs,
        charge: Budget::new(1 << 20).try_charge(0).unwrap(),
        body: Default::default(),
        peer: Arc::new(Peer::connected_now(([127, 0, 0, 1], 1).into())),
        wire_bytes: 0,
        snake_case: Some(Box::new(SnakeCase { first: "resource_logs", keys: 2 })),
        span: None,
    };
    let reply = intake.handle(request).await;
    assert!(
        matches!(&reply, Reply::Partial { rejected: 0, message } if message.contains("`resource_logs` and 1 more")),
        "{reply:?}"
    );
    assert_eq!(telemetry.read().errors[SNAKE_CASE], 1);
}

/// Whoever is not trusted has its marks removed and is remembered as the sender; whoever is trusted keeps them and is not,
/// because what it sends is about others.
#[tokio::test]
async fn marks_are_for_the_trusted() {
    for (marks, expected) in [(Some(Marks::new()), (false, true)), (None, (true, false))] {
        let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
        let (output, mut batches) = test_kit::captured(&telemetry, 0);
        let id = ComponentId::new("apps").unwrap();
        let intake = Intake { id, output, signals: SignalSet::ALL, telemetry: Arc::clone(&telemetry), marks };
        let payload = test_kit::logs(&[(engine_config::MARK_INPUT, "host")], 0..3);
        let request = Request {
            signal: Signal::Logs,
            charge: Budget::new(1 << 20).try_charge(payload.len()).unwrap(),
            body: payload.into_wire().unwrap().into_rope().into_bytes(),
            peer: Arc::new(Peer::connected_now(([10, 0, 0, 7], 1).into())),
            wire_bytes: 0,
            snake_case: None,
            span: None,
        };
        let looked_at = async {
            let batch = batches.next().await.unwrap();
            let wire = test_kit::wire(batch.payload());
            let is_marked = wire.resources().any(|resource| resource.get(engine_config::MARK_INPUT).is_some());
            let found = (is_marked, batch.arrival().is_some());
            batch.answer(&Outcome::Delivered);
            found
        };
        let (reply, found) = tokio::join!(intake.handle(request), looked_at);
        assert_eq!((reply, found), (Reply::Accepted, expected));
        assert_eq!(telemetry.read().errors.contains_key(FOREIGN_MARK), !expected.0);
    }
}
