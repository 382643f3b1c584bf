//! What `select` passes on, counts and answers, through the test kit.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use engine_config::transforms::select::{Absent, Condition};
use engine_config::{ComponentId, MatchValue, SignalSet};
use engine_core::outcome::Outcome;
use engine_core::test_kit::{self, Applied, apply, records_of, wire};
use futures::FutureExt;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use otlp::{Decoded, Payload, Signal, Wire};

use super::*;

const NAMESPACE: &str = "k8s.namespace.name";

fn condition(entries: &[(&str, &[MatchValue])]) -> Condition {
    entries.iter().map(|(key, values)| ((*key).to_owned(), values.iter().cloned().collect())).collect()
}

fn texts(values: &[&str]) -> Vec<MatchValue> {
    values.iter().map(|text| MatchValue::String((*text).to_owned())).collect()
}

fn keep(entries: &[(&str, &[MatchValue])]) -> Select {
    Select(Selection::new(Matching::Passes, &condition(entries)))
}

fn drop_matching(entries: &[(&str, &[MatchValue])]) -> Select {
    Select(Selection::new(Matching::IsLeftOut, &condition(entries)))
}

/// One request with an entry for each namespace, its records numbered by place.
fn namespaces(names: &[&str]) -> Payload {
    let entries = names.iter().zip(0..).map(|(name, number)| wire(&test_kit::logs(&[(NAMESPACE, name)], [number])));
    Wire::concat(entries).into()
}

/// One request with one entry, whose Resource has one attribute.
fn attribute(key: &str, value: Option<Value>) -> Payload {
    let attribute = KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() };
    let resource = Resource { attributes: vec![attribute], ..Resource::default() };
    let scope = ScopeLogs { log_records: vec![LogRecord::default()], ..ScopeLogs::default() };
    let entry = ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
    Decoded::Logs(ExportLogsServiceRequest { resource_logs: vec![entry] }).encode().unwrap().into()
}

/// The numbers of what was emitted, and how many records were counted as not selected.
fn passed(applied: &Applied) -> (Vec<u64>, u64) {
    let numbers = applied.emitted.iter().flat_map(|(_, batch)| records_of(batch.payload())).collect();
    (numbers, applied.telemetry.read().discarded.get(UNSELECTED).copied().unwrap_or(0))
}

fn selected(select: &Select, payload: Payload) -> (Vec<u64>, u64) {
    passed(&apply(select, Batch::unacknowledged(payload)))
}

/// `keep` passes what matches, `drop` the rest, and each counts what it leaves out; the order stays.
#[test]
fn keeps_and_drops() {
    let shop: &[MatchValue] = &texts(&["shop", "pay"]);
    let payload = namespaces(&["shop", "other", "pay", "kube-system", "shop"]);
    assert_eq!(selected(&keep(&[(NAMESPACE, shop)]), payload.clone()), (vec![0, 2, 4], 2));
    assert_eq!(selected(&drop_matching(&[(NAMESPACE, shop)]), payload), (vec![1, 3], 3));
}

/// A resource without the attribute does not match, unless it is to count as one that does.
#[test]
fn absent_attributes_match_where_they_shall() {
    let shop = condition(&[(NAMESPACE, &texts(&["shop"]))]);
    let without = Wire::concat([wire(&test_kit::logs(&[], [9]))]);
    let payload = || Payload::from(Wire::concat([wire(&test_kit::logs(&[(NAMESPACE, "shop")], [1])), without.clone()]));
    for (matching, absent, expected) in [
        (Matching::Passes, Absent::NoMatch, vec![1]),
        (Matching::Passes, Absent::Match, vec![1, 9]),
        (Matching::IsLeftOut, Absent::NoMatch, vec![9]),
        (Matching::IsLeftOut, Absent::Match, vec![]),
    ] {
        let select = Select(Selection::new(matching, &shop).with_absent(absent));
        assert_eq!(selected(&select, payload()).0, expected, "{matching:?} {absent:?}");
    }
}

/// All three signals are selected by their resource.
#[test]
fn selects_every_signal() {
    type Make = fn(&[(&str, &str)], [u64; 1]) -> Payload;
    let shop: &[MatchValue] = &texts(&["shop"]);
    let makers: [Make; 3] = [test_kit::logs, test_kit::metrics, test_kit::traces];
    for make in makers {
        let request =
            Wire::concat([wire(&make(&[(NAMESPACE, "shop")], [1])), wire(&make(&[(NAMESPACE, "other")], [2]))]);
        assert_eq!(selected(&keep(&[(NAMESPACE, shop)]), request.into()), (vec![1], 1));
    }
}

/// Every attribute that is named must match; one that is missing does not.
#[test]
fn needs_every_attribute() {
    let (shop, prod): (&[MatchValue], &[MatchValue]) = (&texts(&["shop"]), &texts(&["prod"]));
    let both = &[(NAMESPACE, shop), ("deployment.environment.name", prod)];
    let whole = test_kit::logs(&[(NAMESPACE, "shop"), ("deployment.environment.name", "prod")], [1]);
    let partly = test_kit::logs(&[(NAMESPACE, "shop")], [1]);
    assert_eq!(selected(&keep(both), whole.clone()), (vec![1], 0));
    assert_eq!(selected(&keep(both), partly.clone()), (vec![], 1));
    assert_eq!(selected(&drop_matching(both), whole), (vec![], 1));
    assert_eq!(selected(&drop_matching(both), partly), (vec![1], 0));
}

/// A value matches with its type only, as OTLP tells them apart.
#[test]
fn compares_types_and_values() {
    let text = |value: &str| Some(Value::StringValue(value.to_owned()));
    let cases = [
        (MatchValue::Int(1), Some(Value::IntValue(1)), true),
        (MatchValue::Int(1), Some(Value::IntValue(2)), false),
        (MatchValue::Int(-1), Some(Value::IntValue(-1)), true),
        (MatchValue::Int(1), text("1"), false),
        (MatchValue::Int(1), Some(Value::DoubleValue(1.0)), false),
        (MatchValue::Int(1), Some(Value::BoolValue(true)), false),
        (MatchValue::String("1".to_owned()), Some(Value::IntValue(1)), false),
        (MatchValue::String("true".to_owned()), Some(Value::BoolValue(true)), false),
        (MatchValue::Bool(true), Some(Value::BoolValue(true)), true),
        (MatchValue::Bool(false), Some(Value::BoolValue(false)), true),
        (MatchValue::Bool(true), text("true"), false),
        (MatchValue::String(String::new()), text(""), true),
        (MatchValue::String(String::new()), None, false),
        (MatchValue::String("caf\u{e9}".to_owned()), text("caf\u{e9}"), true),
        (MatchValue::String("caf\u{e9}".to_owned()), text("cafe\u{301}"), false),
        (MatchValue::String("a\0b".to_owned()), text("a\0b"), true),
        (MatchValue::String("ab".to_owned()), Some(Value::BytesValue(b"ab".to_vec())), false),
    ];
    for (expected, found, matches) in cases {
        let label = format!("{expected:?} and {found:?}");
        let applied = apply(&keep(&[("key", &[expected])]), Batch::unacknowledged(attribute("key", found)));
        assert_eq!(applied.emitted.len(), usize::from(matches), "{label}");
    }
}

/// Of a batch of which everything passes nothing is copied: the very bytes go on.
#[test]
fn passes_whole_batches_untouched() {
    let payload = namespaces(&["shop", "shop"]);
    let before = wire(&payload).rope();
    let applied = apply(&keep(&[(NAMESPACE, &texts(&["shop"]))]), Batch::unacknowledged(payload));
    let after = wire(applied.emitted[0].1.payload()).rope();
    let addresses = |rope: &otlp::Rope| rope.pieces().iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
    assert_eq!(addresses(&before), addresses(&after));
}

/// Whoever sent a batch of which nothing passes is told that it is done, and the records are counted.
#[test]
fn answers_delivered_when_nothing_passes() {
    let (batch, receipt) = Batch::new(namespaces(&["other", "other"]));
    let applied = apply(&keep(&[(NAMESPACE, &texts(&["shop"]))]), batch);
    assert_eq!(passed(&applied), (vec![], 2));
    assert_eq!(receipt.now_or_never(), Some(Outcome::Delivered));
}

/// What passes still owes its answer: nobody is told that it is done before it is.
#[test]
fn leaves_the_answer_to_what_passes() {
    let (batch, receipt) = Batch::new(namespaces(&["shop", "other"]));
    let applied = apply(&keep(&[(NAMESPACE, &texts(&["shop"]))]), batch);
    let mut waiting = Box::pin(receipt);
    assert_eq!((&mut waiting).now_or_never(), None);
    for (_, emitted) in applied.emitted {
        emitted.answer(&Outcome::retry("busy"));
    }
    assert_eq!(waiting.now_or_never(), Some(Outcome::retry("busy")));
}

/// Structs that a transform before this one left are selected as well.
#[test]
fn selects_decoded_batches() {
    let decoded = wire(&namespaces(&["shop", "other"])).decode();
    assert_eq!(selected(&keep(&[(NAMESPACE, &texts(&["shop"]))]), decoded.into()), (vec![0], 1));
}

/// Entries without a Resource match nothing, entries without records pass or not and count nothing.
#[test]
fn takes_envelopes() {
    let bare = ResourceLogs {
        scope_logs: vec![ScopeLogs { log_records: vec![LogRecord::default()], ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs::default(), bare] };
    let payload: Payload = Decoded::Logs(request).encode().unwrap().into();
    let shop: &[MatchValue] = &texts(&["shop"]);
    assert_eq!(selected(&keep(&[(NAMESPACE, shop)]), payload.clone()), (vec![], 1));
    assert_eq!(selected(&drop_matching(&[(NAMESPACE, shop)]), payload), (vec![0], 0));
    assert_eq!(selected(&keep(&[(NAMESPACE, shop)]), Wire::empty(Signal::Logs).into()), (vec![], 0));
}

/// Ten thousand resources of which every other one passes.
#[test]
fn takes_many_resources() {
    let names: Vec<_> = (0..10_000).map(|number| if number % 2 == 0 { "shop" } else { "other" }).collect();
    let (numbers, unselected) = selected(&keep(&[(NAMESPACE, &texts(&["shop"]))]), namespaces(&names));
    assert_eq!(numbers, (0..10_000).step_by(2).collect::<Vec<_>>());
    assert_eq!(unselected, 5_000);
}

/// The type is registered under its name and builds from its options, and from nothing that the check refuses.
#[test]
fn builds_from_options() {
    let (_threads, lanes) = test_kit::lanes(1);
    let id = ComponentId::new("shop").unwrap();
    let context =
        BuildContext { id, signals: SignalSet::ALL, lanes, services: engine_core::service::Services::default() };
    let only = condition(&[(NAMESPACE, &texts(&["shop"]))]);
    let dropping = Options { drop: Some(only.clone()), ..Options::default() };
    let built = Select::build(&dropping, &context).unwrap();
    assert_eq!(selected(&built, namespaces(&["shop", "other"])), (vec![1], 1));
    let both = Options { keep: Some(only.clone()), drop: Some(only), ..Options::default() };
    assert!(Select::build(&both, &context).is_err());
    assert!(engine_core::registry::find(engine_config::Kind::Transform, "select").is_some());
}
