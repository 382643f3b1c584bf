//! When selections are asked together, and that each resource is read once then.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;

use super::super::{Route, WhenRefused};
use super::*;
use crate::contract::{Outputs, Transform};
use crate::stage::{self, Input};
use crate::telemetry::ComponentTelemetry;
use crate::test_kit::{logs, records_of, wire};

const KEY: &str = "k8s.namespace.name";

/// A selection that notes when it is asked alone.
struct Selects(Selection, Arc<AtomicUsize>);

impl Transform for Selects {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        self.1.fetch_add(1, Ordering::Relaxed);
        outputs.emit(batch);
    }

    fn selection(&self) -> Option<&Selection> {
        Some(&self.0)
    }
}

fn of_namespace(name: &str, asked: &Arc<AtomicUsize>, behind: Vec<Target>) -> TransformNode {
    let values = BTreeSet::from([MatchValue::String(name.to_owned())]);
    let selection = Selection::new(Matching::Passes, &BTreeMap::from([(KEY.to_owned(), values)]));
    let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    TransformNode::new(Box::new(Selects(selection, Arc::clone(asked))), telemetry, vec![Route::to_all(behind)])
}

fn task(id: &str) -> (Target, Input) {
    let (inlet, input) = stage::single(id, Arc::default());
    (Target::Stage(Arc::new(inlet)), input)
}

fn send(targets: Vec<Target>) {
    let output = Output::new(0, Route::to_all(targets), Arc::default(), Arc::default(), WhenRefused::Answer);
    let entries = [("shop", 1), ("pay", 2)].map(|(name, number)| wire(&logs(&[(KEY, name)], [number])));
    output.send(Batch::unacknowledged(Wire::concat(entries).into())).now_or_never().unwrap();
}

fn taken(input: &mut Input) -> Vec<u64> {
    std::iter::from_fn(|| input.next().now_or_never().flatten()).flat_map(|batch| records_of(batch.payload())).collect()
}

/// Two selections are asked together, also beside a consumer that takes everything; one alone is asked as ever, and so is one
/// with a companion, which may do more than select.
#[tokio::test]
async fn two_are_asked_together() {
    let asked = Arc::new(AtomicUsize::new(0));
    let ((shop, mut of_shop), (pay, mut of_pay), (all, mut of_all)) = (task("shop"), task("pay"), task("all"));
    let node = |name: &str, task: &Target| Target::Transform(Arc::new(of_namespace(name, &asked, vec![task.clone()])));
    send(vec![node("shop", &shop), all, node("pay", &pay)]);
    assert_eq!((taken(&mut of_shop), taken(&mut of_all), taken(&mut of_pay)), (vec![1], vec![1, 2], vec![2]));
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    send(vec![node("shop", &shop)]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let (companion, _input) = stage::companion("more", Arc::default());
    let more = Target::Transform(Arc::new(of_namespace("pay", &asked, vec![pay.clone()]).with_companion(companion)));
    send(vec![node("shop", &shop), more]);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

/// A route knows of its selections when it is made, and one without two of them has no table to ask.
#[tokio::test]
async fn tables_are_for_two() {
    let asked = Arc::default();
    let node = |name| Target::Transform(Arc::new(of_namespace(name, &asked, Vec::new())));
    let consumers = |targets: Vec<Target>| {
        targets.into_iter().map(|target| Consumer { signals: SignalSet::ALL, target }).collect::<Vec<_>>()
    };
    assert!(Table::of(&consumers(vec![])).is_none());
    assert!(Table::of(&consumers(vec![node("shop"), task("all").0])).is_none());
    let table = Table::of(&consumers(vec![node("shop"), task("all").0, node("pay")])).unwrap();
    assert_eq!((table.selections, table.keys.as_slice()), (2, [KEY.to_owned()].as_slice()));
}

/// A batch of a signal that no selection takes counts as not selected where it was sent, and nowhere else.
#[tokio::test]
async fn signals_that_nobody_takes_are_counted_where_they_were_sent() {
    let asked = Arc::default();
    let nodes: Vec<_> = ["shop", "pay"].map(|name| Arc::new(of_namespace(name, &asked, Vec::new()))).into();
    let only_metrics = SignalSet::from_iter([Signal::Metrics]);
    let consumer =
        |node: &Arc<TransformNode>| Consumer { signals: only_metrics, target: Target::Transform(Arc::clone(node)) };
    let route = Route::new(nodes.iter().map(consumer).collect());
    let sender = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let output = Output::new(0, route, Arc::clone(&sender), Arc::default(), WhenRefused::Answer);
    let (batch, receipt) = Batch::new(logs(&[(KEY, "shop")], [1, 2]));
    output.send(batch).now_or_never().unwrap();
    assert_eq!(receipt.now_or_never(), Some(Outcome::Delivered));
    assert_eq!(sender.read().discarded[UNSELECTED], 2);
    assert!(nodes.iter().all(|node| node.telemetry.read().received.is_empty()));
}
