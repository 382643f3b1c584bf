//! What a batch costs in allocations does not grow with its records: from the body that arrived, through admission, a
//! transform that edits attributes, both ends of the edges and the sink driver, to the rope that a sink writes.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod counting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine as _;
use engine_config::{Acknowledge, Catalog, Environment, Kind, ParseOptions, SourceFile, WhenFull, load};
use engine_core::batch::Batch;
use engine_core::contract::{Sink, Transform};
use engine_core::edge::{Output, Route, Target, TransformNode, WhenRefused};
use engine_core::outcome::Outcome;
use engine_core::registry::{Build, BuildContext, find};
use engine_core::sink::{Backoff, Batching, DriverSettings, start};
use engine_core::telemetry::ComponentTelemetry;
use engine_core::test_kit::{lanes, logs, metrics, traces, wire};
use futures::future::BoxFuture;
use otlp::{Payload, Signal};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Transforms with attributes to set, of resources and of records.
const RESOURCE: &str = r#"
type = "resource"
upsert = { "k8s.cluster.name" = "prod", "k8s.namespace.name" = "shop", "service.name" = "till", "a" = 1 }
"#;
const ATTRIBUTES: &str = r#"
type = "attributes"
resource = { upsert = { "k8s.cluster.name" = "prod" }, hash = ["service.name"], rename = { "host.name" = "host" } }
scope = { insert = { "a" = 1 } }
record = { upsert = { "deployment.environment.name" = "prod", "a" = true }, delete = ["user.*"], hash = ["b"] }
"#;

/// Takes the rope as a protocol would and forgets it.
struct Taker;

impl Sink for Taker {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let rope = payload.into_wire().unwrap().into_rope();
            assert!(!rope.is_empty());
            Outcome::Delivered
        })
    }
}

/// A batch of 5,000 records costs as many allocations as one of 50, for each signal, and not many.
#[tokio::test]
async fn a_batch_costs_the_same_whatever_its_records() {
    for (type_name, edit) in [("resource", RESOURCE), ("attributes", ATTRIBUTES)] {
        costs_the_same(type_name, edit).await;
    }
}

async fn costs_the_same(type_name: &str, edit: &str) {
    let (threads, lanes) = lanes(1);
    let config = format!(
        "version = 1\n[sources.from]\ntype = \"generate\"\nsignals = [\"logs\", \"metrics\", \"traces\"]\n\
         [transforms.edit]\ninputs = [\"from\"]{edit}[sinks.to]\ntype = \"blackhole\"\ninputs = [\"edit\"]\n"
    );
    let transform = transform("edit", type_name, config, &lanes);
    let (inlet, _handle) = start("to", Box::new(Taker), settings(), Arc::default(), &lanes);
    let telemetry = || Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let behind = vec![Route::to_all(vec![Target::Sink(Arc::new(inlet))])];
    let edit = Target::Transform(Arc::new(TransformNode::new(transform, telemetry(), behind)));
    let output = Output::new(0, Route::to_all(vec![edit]), telemetry(), Arc::default(), WhenRefused::Answer);

    for signal in Signal::ALL {
        let few = cost(&output, signal, 50).await;
        let many = cost(&output, signal, 5_000).await;
        assert_eq!(few, many, "{type_name}, {signal}");
        assert!(few <= 40, "{type_name}, {signal}: {few} allocations a batch");
    }
    threads.stop();
}

/// What it costs to share a batch between selections depends neither on its records nor on how many of them get nothing.
#[tokio::test]
async fn selections_cost_what_those_cost_that_get_something() {
    let (threads, lanes) = lanes(1);
    let with = async |selections: usize, records: u64| {
        let output = selections_of(selections, &lanes);
        cost(&output, Signal::Logs, records).await
    };
    let few = with(4, 50).await;
    assert_eq!(with(4, 5_000).await, few, "by the record");
    assert_eq!(with(40, 50).await, few, "by selections that get nothing");
    threads.stop();
}

/// An output with so many selections behind it, two of which get what [`cost`] sends.
fn selections_of(count: usize, lanes: &engine_core::lane::Lanes) -> Output {
    let telemetry = || Arc::new(ComponentTelemetry::new(["default".to_owned()]));
    let select = |number: usize| {
        let service = if number < 2 { "shop".to_owned() } else { format!("other-{number}") };
        let config = format!(
            "version = 1\n[sources.from]\ntype = \"generate\"\n[transforms.some]\ntype = \"select\"\n\
             inputs = [\"from\"]\nkeep = {{ \"service.name\" = [\"{service}\"] }}\n\
             [sinks.to]\ntype = \"blackhole\"\ninputs = [\"some\"]\n"
        );
        let (inlet, _handle) = start(&format!("to-{number}"), Box::new(Taker), settings(), Arc::default(), lanes);
        let behind = vec![Route::to_all(vec![Target::Sink(Arc::new(inlet))])];
        let transform = transform("some", "select", config, lanes);
        Target::Transform(Arc::new(TransformNode::new(transform, telemetry(), behind)))
    };
    let route = Route::to_all((0..count).map(select).collect());
    Output::new(0, route, telemetry(), Arc::default(), WhenRefused::Answer)
}

/// The transform of a configuration.
fn transform(id: &str, type_name: &str, config: String, lanes: &engine_core::lane::Lanes) -> Box<dyn Transform> {
    let files = [SourceFile::new("allocations.toml", config)];
    let plan = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap().plan;
    let node = plan.node(id).unwrap();
    let Build::Transform(build) = find(Kind::Transform, type_name).unwrap().build else { unreachable!("it is one") };
    let context = BuildContext {
        id: node.id.clone(),
        lanes: lanes.clone(),
        services: engine_core::service::Services::default(),
        signals: node.signals,
    };
    build(node.options.as_ref(), &context).unwrap()
}

fn settings() -> DriverSettings {
    DriverSettings {
        acknowledge: Acknowledge::Delivered,
        when_full: WhenFull::Refuse,
        max_buffer: 64 << 20,
        batching: Batching { max_size: 1 << 20, max_records: 8192, timeout: Duration::ZERO },
        concurrency: 4,
        backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) },
        max_elapsed: None,
        max_age: None,
    }
}

/// Allocations for one batch, once everything that is made on first use is there.
async fn cost(output: &Output, signal: Signal, records: u64) -> u64 {
    let resource = [("service.name", "shop"), ("host.name", "node-1")];
    let payload = match signal {
        Signal::Logs => logs(&resource, 0..records),
        Signal::Metrics => metrics(&resource, 0..records),
        Signal::Traces => traces(&resource, 0..records),
    };
    let body = wire(&payload).into_rope().into_bytes();
    drop(payload);
    let mut last = 0;
    for _ in 0..10 {
        let before = counting::count();
        last = through(output, signal, body.clone()).await - before;
    }
    last
}

async fn through(output: &Output, signal: Signal, body: Bytes) -> u64 {
    let admitted = otlp::admit(signal, body).unwrap();
    let (batch, receipt) = Batch::new(Payload::Wire(admitted));
    output.send(batch).await;
    assert_eq!(receipt.await, Outcome::Delivered);
    counting::count()
}
