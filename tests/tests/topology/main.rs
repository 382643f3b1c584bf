//! Building, running and draining graphs of components made for this test: stages, services, several sinks, sources
//! that fail.
//!
//! The components are registered in this binary only; the catalog is the built-in one and theirs.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fakes;
mod ledger;
mod reload;
mod services;
mod stages;

use std::time::Duration;

use engine::topology::{BuildFailure, Running, build};
use engine_config::{Catalog, Environment, ParseOptions, Plan, SourceFile, load};
use engine_core::outcome::Outcome;
use engine_core::telemetry::HealthState;
use engine_core::test_kit::{logs, records_of, within};
use fakes::{Board, Keep, KeepOptions, PushOptions, ShowOptions};

fn plan(text: &str) -> Plan {
    let catalog = Catalog::builtin()
        .with::<PushOptions>()
        .with::<KeepOptions>()
        .with::<ShowOptions>()
        .with::<ledger::MoodyOptions>()
        .with::<services::AskOptions>()
        .with::<services::AskedOptions>()
        .with::<services::RememberOptions>()
        .with::<stages::SortOptions>()
        .with::<stages::DeferOptions>();
    let text = format!("version = 1\n[shutdown]\ngrace = \"2s\"\n[engine]\nlanes = 2\n{text}");
    let files = [SourceFile::new("topology.toml", text)];
    let loaded = load(&files, &catalog, &Environment::Unknown, &ParseOptions::default());
    loaded.unwrap_or_else(|problems| panic!("{problems}")).plan
}

fn run(text: &str) -> Running {
    let built = build(plan(text)).unwrap_or_else(|failures| panic!("{failures:?}"));
    built.run()
}

fn state(running: &Running, id: &str) -> HealthState {
    running.nodes().iter().find(|node| node.id.as_str() == id).unwrap().telemetry.health().state
}

/// A batch goes through a stage in its own task; on drain the stage hands on what it holds, its receipt is answered by
/// what happened behind it, and the sink's ledger balances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_hands_on_what_it_holds() {
    let board = Board::named("stage");
    let running = run(
        "[sources.in]\ntype = \"push\"\nboard = \"stage\"\n[transforms.hold]\ntype = \"keep\"\ninputs = [\"in\"]\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"hold\"]\nboard = \"stage\"\nacknowledge = \"delivered\"\n",
    );
    let mut receipts = vec![board.push(logs(&[], 0..3)), board.push(logs(&[], 3..6))];
    within("the stage holds both", board.held(2)).await;
    assert!(futures::FutureExt::now_or_never(&mut receipts[0]).is_none());
    let sink = running.nodes().iter().find_map(|node| node.sink.clone()).unwrap();
    let report = within("the graph drains", running.drain()).await;
    assert!(report.unfinished.is_empty() && report.dropped.is_empty(), "{report:?}");
    for receipt in receipts {
        assert_eq!(receipt.await, Outcome::Delivered);
    }
    let mut shown: Vec<u64> = board.shown().iter().flat_map(records_of).collect();
    shown.sort_unstable();
    assert_eq!(shown, (0..6).collect::<Vec<_>>());
    sink.line().check().unwrap();
    assert_eq!(sink.line().counts.delivered, 6);
}

/// Several sinks behind one source each get everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sink_gets_everything() {
    let (one, other) = (Board::named("one"), Board::named("other"));
    let running = run("[sources.in]\ntype = \"push\"\nboard = \"one\"\n\
         [sinks.a]\ntype = \"show\"\ninputs = [\"in\"]\nboard = \"one\"\n\
         [sinks.b]\ntype = \"show\"\ninputs = [\"in\"]\nboard = \"other\"\n");
    assert_eq!(within("the batch is taken", one.push(logs(&[], 0..5))).await, Outcome::Delivered);
    within("the graph drains", running.drain()).await;
    for board in [one, other] {
        assert_eq!(board.shown().iter().flat_map(records_of).collect::<Vec<_>>(), (0..5).collect::<Vec<_>>());
    }
}

/// A sink that never finishes does not hold up the end, and the report of the drain names it: the end is not a clean one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_does_not_finish_is_named() {
    let board = Board::named("hangs");
    board.hang();
    let running = run("[sources.in]\ntype = \"push\"\nboard = \"hangs\"\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"in\"]\nboard = \"hangs\"\n");
    assert_eq!(within("the batch is taken", board.push(logs(&[], 0..5))).await, Outcome::Delivered);
    let report = within("the graph drains", running.drain()).await;
    assert_eq!((report.unfinished, report.dropped), (vec!["out".to_owned()], Vec::new()));
    assert_eq!(board.shown().len(), 1);
}

/// A source that does not end is stopped at the deadline and named, whatever it says of itself; one that has ended before is
/// not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_does_not_end_is_named() {
    Board::named("lingers").linger();
    let running = run("[sources.in]\ntype = \"push\"\nboard = \"lingers\"\n\
         [sources.other]\ntype = \"push\"\nboard = \"ends\"\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"in\", \"other\"]\nboard = \"lingers\"\n");
    let report = within("the graph drains", running.drain()).await;
    assert_eq!(report.unfinished, ["in"]);
}

/// A source that fails is marked as failed, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_source_leaves_the_others_running() {
    let (good, bad) = (Board::named("good"), Board::named("bad"));
    let mut running =
        run("[sources.good]\ntype = \"push\"\nboard = \"good\"\n[sources.bad]\ntype = \"push\"\nboard = \"bad\"\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"good\", \"bad\"]\nboard = \"good\"\n");
    bad.fail();
    within("the failure is noted", async {
        while state(&running, "bad") != HealthState::Failed {
            let ended = tokio::time::timeout(Duration::from_millis(20), running.sources_ended());
            assert!(ended.await.is_err(), "the other source ended too");
        }
    })
    .await;
    assert_eq!(within("the batch is taken", good.push(logs(&[], 0..5))).await, Outcome::Delivered);
    within("the graph drains", running.drain()).await;
    assert_eq!(good.shown().len(), 1);
}

/// A source that panics has failed, by name and with what it said: a source that nobody runs any more is not ok.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_source_has_failed() {
    let board = Board::named("panics");
    let mut running = run("[sources.in]\ntype = \"push\"\nboard = \"panics\"\n\
         [sinks.out]\ntype = \"show\"\ninputs = [\"in\"]\nboard = \"panics\"\n");
    board.panic();
    within("the source ends", running.sources_ended()).await;
    let health = running.nodes().iter().find(|node| node.id.as_str() == "in").unwrap().telemetry.health();
    assert_eq!(health.state, HealthState::Failed);
    assert!(health.last_error.is_some_and(|error| error.message.contains("told to panic")));
    within("the graph drains", running.drain()).await;
}

/// A graph that drains keeps no port open: who connects then is refused at once instead of waiting for nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_closes_the_ports() {
    let running = run("[sources.in]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n\
         [sinks.out]\ntype = \"blackhole\"\ninputs = [\"in\"]\n");
    let sockets = running.sockets().clone();
    let address = sockets.bound()[0].address;
    drop(tokio::net::TcpStream::connect(address).await.unwrap());
    within("the graph drains", running.drain()).await;
    let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Everything that stands in the way of building is said at once, and nothing has been started.
#[tokio::test]
async fn all_failures_of_a_build_are_told_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let failures = build(plan(&format!(
        "[sources.in]\ntype = \"otlp\"\ngrpc.listen = \"{address}\"\n\
             [sources.tls]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n\
             grpc.tls = {{ certificate = \"/nowhere/certificate.pem\", key = \"/nowhere/key.pem\" }}\n\
             [sinks.out]\ntype = \"blackhole\"\ninputs = [\"in\", \"tls\"]\n"
    )));
    let failures = failures.err().expect("it cannot be built");
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(matches!(&failures[0], BuildFailure::Component { id, .. } if id.as_str() == "tls"), "{texts:?}");
    assert!(texts[0].contains("/nowhere/certificate.pem"), "{texts:?}");
    assert!(matches!(&failures[1], BuildFailure::Bind(_)), "{texts:?}");
    assert!(texts[1].contains(&address.to_string()), "{texts:?}");
}

/// The type that holds batches is what its name says: a test of the fake itself, so that the others prove something.
#[tokio::test]
async fn the_fake_stage_holds_until_it_drains() {
    let board = Board::named("alone");
    let mut stage = engine_core::test_kit::run_stage("keep", Box::new(Keep::on(board.clone())), 1);
    let (batch, receipt) = engine_core::batch::Batch::new(logs(&[], 0..2));
    stage.feed.send(batch).await;
    within("the stage holds it", board.held(1)).await;
    drop(stage.feed);
    within("the stage hands it on", stage.outputs[0].next()).await.unwrap().answer(&Outcome::Delivered);
    assert_eq!(receipt.await, Outcome::Delivered);
    within("the stage ends", stage.ended).await.unwrap().unwrap();
}
