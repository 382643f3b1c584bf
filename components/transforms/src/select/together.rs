//! Several selections behind one output do together what each of them does alone: random graphs and batches, once asked
//! together and once one by one, give the same bytes, counts and answers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine_config::transforms::select::Absent;
use engine_config::{MatchValue, SignalSet};
use engine_core::edge::{Consumer, Output, Route, Target, TransformNode, WhenRefused};
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::stage::{self, Input, StageInlet};
use engine_core::telemetry::{ComponentReading, ComponentTelemetry, Health};
use engine_core::test_kit::{logs, metrics, nested_logs, traces, wire};
use futures::FutureExt;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use otlp::{Decoded, Payload, Signal, Wire};
use proptest::prelude::*;

use super::*;

const KEYS: [&str; 4] = ["k8s.namespace.name", "service.name", "tier", "absent"];
/// Tasks that stand behind a graph.
const TASKS: usize = 4;

/// A consumer of an output.
#[derive(Clone, Debug)]
enum Node {
    Select {
        matching: Matching,
        absent: Absent,
        condition: BTreeMap<String, BTreeSet<MatchValue>>,
        behind: Vec<(SignalSet, Node)>,
    },
    /// Selects nothing, and panics at a batch with an odd number of records.
    Panics,
    /// One of the tasks.
    Task(usize),
}

/// An entry: attributes, how many records, and how many bytes its Resource has besides.
type Entry = (Vec<(usize, usize)>, u64, usize);

#[derive(Clone, Debug)]
enum Sent {
    Bytes(Signal, Vec<Entry>),
    /// The same as structs.
    Structs(Signal, Vec<Entry>),
    /// Structs that cannot be bytes.
    Unencodable,
}

/// Everything that can be seen of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    /// What each task got, in order: bytes if it can be any, and records.
    taken: Vec<Vec<(Option<otlp::Rope>, u64)>>,
    /// What the source, and every node in the order of the graph, counted.
    counts: Vec<ComponentReading>,
    answers: Vec<Option<Outcome>>,
}

/// How selections are asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Together,
    OneByOne,
}

/// A selection of which the engine does not know.
struct Alone(Select);

impl Transform for Alone {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        self.0.apply(batch, outputs);
    }
}

struct Panics;

impl Transform for Panics {
    fn apply(&self, batch: Batch, _: &mut Outputs<'_>) {
        if !batch.records().is_multiple_of(2) {
            std::panic::resume_unwind(Box::new("an odd number"));
        }
        batch.answer(&Outcome::Delivered);
    }
}

/// A graph that is being built.
struct Graph {
    asked: Asked,
    tasks: Vec<Arc<StageInlet>>,
    counts: Vec<Arc<ComponentTelemetry>>,
}

impl Graph {
    fn telemetry(&mut self) -> Arc<ComponentTelemetry> {
        let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
        self.counts.push(Arc::clone(&telemetry));
        telemetry
    }

    fn route(&mut self, consumers: &[(SignalSet, Node)]) -> Route {
        let consumer = |(signals, node): &(SignalSet, Node)| Consumer { signals: *signals, target: self.target(node) };
        Route::new(consumers.iter().map(consumer).collect())
    }

    fn target(&mut self, node: &Node) -> Target {
        let (transform, behind): (Box<dyn Transform>, &[_]) = match node {
            Node::Task(number) => return Target::Stage(Arc::clone(&self.tasks[*number])),
            Node::Panics => (Box::new(Panics), &[]),
            Node::Select { matching, absent, condition, behind } => {
                let select = Select(Selection::new(*matching, condition).with_absent(*absent));
                match self.asked {
                    Asked::Together => (Box::new(select), behind),
                    Asked::OneByOne => (Box::new(Alone(select)), behind),
                }
            }
        };
        let telemetry = self.telemetry();
        let outputs = vec![self.route(behind)];
        Target::Transform(Arc::new(TransformNode::new(transform, telemetry, outputs)))
    }
}

fn run(asked: Asked, consumers: &[(SignalSet, Node)], sent: &[Sent], answers: [u8; TASKS]) -> Seen {
    let opened = (0..TASKS).map(|number| stage::single(&format!("task-{number}"), Arc::default()));
    let (tasks, mut inputs): (Vec<_>, Vec<Input>) = opened.map(|(inlet, input)| (Arc::new(inlet), input)).unzip();
    let mut graph = Graph { asked, tasks, counts: Vec::new() };
    let telemetry = graph.telemetry();
    let output = Output::new(0, graph.route(consumers), telemetry, Arc::default(), WhenRefused::Answer);
    let mut seen = Seen { taken: vec![Vec::new(); TASKS], counts: Vec::new(), answers: Vec::new() };
    for payload in sent.iter().map(Sent::payload) {
        let (batch, receipt) = Batch::new(payload);
        output.send(batch).now_or_never().expect("every task has room for one batch");
        for ((input, taken), answer) in inputs.iter_mut().zip(&mut seen.taken).zip(answers) {
            while let Some(Some(batch)) = input.next().now_or_never() {
                let rope = batch.payload().clone().into_wire().ok().map(Wire::into_rope);
                taken.push((rope, batch.records()));
                batch.answer(&outcome(answer));
            }
        }
        seen.answers.push(receipt.now_or_never());
    }
    // When something went wrong is not the same twice.
    let counts =
        graph.counts.iter().map(|telemetry| ComponentReading { health: Health::default(), ..telemetry.read() });
    seen.counts = counts.collect();
    seen
}

fn outcome(number: u8) -> Outcome {
    match number {
        0 => Outcome::Rejected(engine_core::outcome::Rejection {
            kind: RejectionKind::Invalid,
            message: "no".to_owned(),
        }),
        1 => Outcome::retry("busy"),
        2 => Outcome::Partial { rejected: 1, message: "one".to_owned() },
        _ => Outcome::Delivered,
    }
}

/// Values that are equal or nearly so: as types, as texts.
fn values() -> [MatchValue; 7] {
    let text = |text: &str| MatchValue::String(text.to_owned());
    [text("a"), text("b"), text("1"), text(""), MatchValue::Int(1), MatchValue::Int(-1), MatchValue::Bool(true)]
}

fn value(number: usize) -> Option<AnyValue> {
    let value = match values().get(number) {
        Some(MatchValue::String(text)) => Value::StringValue(text.clone()),
        Some(MatchValue::Int(value)) => Value::IntValue(*value),
        Some(MatchValue::Bool(flag)) => Value::BoolValue(*flag),
        None if number.is_multiple_of(2) => Value::DoubleValue(1.0),
        None => return None,
    };
    Some(AnyValue { value: Some(value) })
}

impl Sent {
    fn payload(&self) -> Payload {
        match self {
            Self::Bytes(signal, entries) => request(*signal, entries).into(),
            Self::Structs(signal, entries) => request(*signal, entries).decode().into(),
            Self::Unencodable => nested_logs(100),
        }
    }
}

fn request(signal: Signal, entries: &[Entry]) -> Wire {
    let wires = entries.iter().map(|(attributes, records, filler)| {
        let make = match signal {
            Signal::Logs => logs(&[], 0..(*records).max(1)),
            Signal::Metrics => metrics(&[], 0..(*records).max(1)),
            Signal::Traces => traces(&[], 0..(*records).max(1)),
        };
        let mut decoded = wire(&make).decode();
        let attributes = attributes.iter().map(|(key, number)| KeyValue {
            key: KEYS[*key].to_owned(),
            value: value(*number),
            ..KeyValue::default()
        });
        let filler = KeyValue {
            key: "filler".to_owned(),
            value: Some(AnyValue { value: Some(Value::StringValue("x".repeat(*filler))) }),
            ..KeyValue::default()
        };
        let attributes: Vec<_> = std::iter::once(filler).chain(attributes).collect();
        // An entry without records is an envelope, and passes or not like any other.
        let resource = match &mut decoded {
            Decoded::Logs(request) => {
                let entry = &mut request.resource_logs[0];
                entry.scope_logs.truncate(usize::from(*records > 0));
                &mut entry.resource
            }
            Decoded::Metrics(request) => {
                let entry = &mut request.resource_metrics[0];
                entry.scope_metrics.truncate(usize::from(*records > 0));
                &mut entry.resource
            }
            Decoded::Traces(request) => {
                let entry = &mut request.resource_spans[0];
                entry.scope_spans.truncate(usize::from(*records > 0));
                &mut entry.resource
            }
        };
        resource.get_or_insert_default().attributes = attributes;
        decoded.encode().unwrap()
    });
    let wires: Vec<Wire> = wires.collect();
    if wires.is_empty() { Wire::empty(signal) } else { Wire::concat(wires) }
}

fn signals() -> impl Strategy<Value = SignalSet> {
    let some = prop::sample::subsequence(Signal::ALL.to_vec(), 0..=3).prop_map(|some| some.into_iter().collect());
    prop_oneof![3 => Just(SignalSet::ALL), 1 => some]
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![12 => (0..TASKS).prop_map(Node::Task), 1 => Just(Node::Panics)];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let matching = prop_oneof![Just(Matching::Passes), Just(Matching::IsLeftOut)];
        let key = prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned);
        let some_values = prop::collection::btree_set(prop::sample::select(values().to_vec()), 0..4);
        let condition = prop::collection::btree_map(key, some_values, 0..3);
        let behind = prop::collection::vec((signals(), inner), 0..4);
        let absent = prop::sample::select(vec![Absent::NoMatch, Absent::Match]);
        (matching, absent, condition, behind).prop_map(|(matching, absent, condition, behind)| Node::Select {
            matching,
            absent,
            condition,
            behind,
        })
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    let signal = || prop::sample::select(Signal::ALL.to_vec());
    let attributes = prop::collection::vec((0..KEYS.len() - 1, 0..9_usize), 0..4);
    let filler = prop_oneof![4 => 0..50_usize, 1 => 3000..9000_usize];
    let entries = || prop::collection::vec((attributes.clone(), 0..4_u64, filler.clone()), 0..9);
    prop_oneof![
        8 => (signal(), entries()).prop_map(|(signal, entries)| Sent::Bytes(signal, entries)),
        1 => (signal(), entries()).prop_map(|(signal, entries)| Sent::Structs(signal, entries)),
        1 => Just(Sent::Unencodable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever selections stand behind one output and behind each other, beside whatever else: together they pass on, count
    /// and answer what they would one by one. Batches come several times, so that poison is met too.
    #[test]
    fn together_as_one_by_one(
        consumers in prop::collection::vec((signals(), node()), 0..9),
        sent in prop::collection::vec(sent(), 1..4),
        times in 1..5_usize,
        answers in prop::array::uniform(0..9_u8),
    ) {
        let sent: Vec<_> = std::iter::repeat_n(sent, times).flatten().collect();
        let together = run(Asked::Together, &consumers, &sent, answers);
        let one_by_one = run(Asked::OneByOne, &consumers, &sent, answers);
        prop_assert_eq!(together, one_by_one);
    }
}

/// More selections than a word has bits, each of which takes a namespace of its own: every one gets its records, and the last
/// gets nothing.
#[test]
fn many_selections_share_a_batch() {
    const MANY: usize = 130;
    let name = |number: usize| format!("team-{number}");
    let opened = |number| stage::single(&name(number), Arc::default());
    let (tasks, mut inputs): (Vec<_>, Vec<Input>) =
        (0..=MANY).map(opened).map(|(inlet, input)| (Arc::new(inlet), input)).unzip();
    let select = |(number, task): (usize, &Arc<StageInlet>)| {
        let values = BTreeSet::from([MatchValue::String(name(number))]);
        let condition = BTreeMap::from([(KEYS[0].to_owned(), values)]);
        let select = Select(Selection::new(Matching::Passes, &condition));
        let behind = vec![Route::to_all(vec![Target::Stage(Arc::clone(task))])];
        Target::Transform(Arc::new(TransformNode::new(Box::new(select), Arc::default(), behind)))
    };
    let route = Route::to_all(tasks.iter().enumerate().map(select).collect());
    let output = Output::new(0, route, Arc::default(), Arc::default(), WhenRefused::Answer);
    let entries = (0..MANY).map(|number| wire(&logs(&[(KEYS[0], &name(number))], 0..number as u64 + 1)));
    let (batch, receipt) = Batch::new(Wire::concat(entries).into());
    output.send(batch).now_or_never().unwrap();
    for (number, input) in inputs.iter_mut().enumerate() {
        let taken = input.next().now_or_never().flatten();
        assert_eq!(taken.as_ref().map(Batch::records), (number < MANY).then_some(number as u64 + 1));
        taken.into_iter().for_each(|batch| batch.answer(&Outcome::Delivered));
    }
    assert_eq!(receipt.now_or_never(), Some(Outcome::Delivered));
}

/// Of a batch that one of them takes whole nothing is copied for it: the very bytes go on.
#[test]
fn whole_batches_stay_whole() {
    let (inlet, mut input) = stage::single("task", Arc::default());
    let task = Arc::new(inlet);
    let select = |matching| {
        let values = BTreeSet::from([MatchValue::String("a".to_owned())]);
        let select = Select(Selection::new(matching, &BTreeMap::from([(KEYS[0].to_owned(), values)])));
        let behind = vec![Route::to_all(vec![Target::Stage(Arc::clone(&task))])];
        Target::Transform(Arc::new(TransformNode::new(Box::new(select), Arc::default(), behind)))
    };
    let route = Route::to_all(vec![select(Matching::Passes), select(Matching::IsLeftOut)]);
    let output = Output::new(0, route, Arc::default(), Arc::default(), WhenRefused::Answer);
    let payload = Payload::from(Wire::concat([1, 2].map(|_| wire(&logs(&[(KEYS[0], "a")], 0..3)))));
    let addresses =
        |payload: &Payload| wire(payload).rope().pieces().iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
    let before = addresses(&payload);
    output.send(Batch::unacknowledged(payload)).now_or_never().unwrap();
    let taken = input.next().now_or_never().flatten().unwrap();
    assert_eq!(addresses(taken.payload()), before);
    assert!(input.next().now_or_never().is_none(), "the other one takes nothing");
}
