//! The source as users configure it: which files, and what their records say of them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::Path;

use engine_config::sources::File;
use engine_config::sources::reading::FileAttribute;
use engine_config::{ComponentId, SignalSet};
use engine_core::batch::Batch;
use engine_core::budget::Budget;
use engine_core::lane::LaneThreads;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::{BuildContext, BuildSource};
use engine_core::service::Services;
use engine_core::socket::Sockets;
use engine_core::state_store::StateDirectory;
use engine_core::test_kit::{SourceRun, lanes, run_source, within};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use otlp::{Decoded, Payload};

use super::FileSource;

/// Files that match are read and others are not; records have the attributes of their file that were asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_what_matches() {
    let [logs, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for (name, text) in [("a.log", "one\n"), ("b.log", "two\n"), ("c.txt", "three\n"), ("debug.log", "four\n")] {
        fs::write(logs.path().join(name), text).unwrap();
    }
    let path = |name: &str| logs.path().join(name).to_str().unwrap().to_owned();
    let options = File {
        exclude: vec![path("debug*")],
        attributes: [FileAttribute::Name, FileAttribute::Path].into(),
        ..File::new([path("*.log"), path("c.t?t")])
    };
    let (threads, mut run) = start(&options, state.path());
    let mut found = Vec::new();
    while found.len() < 3 {
        let batch = within("a batch", run.batches.next()).await.unwrap();
        let Payload::Wire(wire) = batch.payload() else { panic!("the source sends bytes") };
        let Decoded::Logs(request) = wire.decode() else { panic!("the source brings logs") };
        for entry in request.resource_logs {
            let scope = &entry.scope_logs[0];
            assert_eq!(scope.scope.as_ref().unwrap().name, "telemetry-engine/file");
            for record in &scope.log_records {
                assert!(record.observed_time_unix_nano > 0);
                let text = |value: Option<Value>| match value {
                    Some(Value::StringValue(text)) => text,
                    other => panic!("{other:?}"),
                };
                let attribute = |key: &str| {
                    let found = record.attributes.iter().find(|attribute| attribute.key == key).unwrap();
                    text(found.value.clone().unwrap().value)
                };
                assert_eq!(attribute("log.file.path"), path(&attribute("log.file.name")));
                found.push((attribute("log.file.name"), text(record.body.clone().unwrap().value)));
            }
        }
        batch.answer(&Outcome::Delivered);
    }
    found.sort();
    let expected = [("a.log", "one"), ("b.log", "two"), ("c.txt", "three")];
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    run.drain.cancel();
    within("the source ends", &mut run.ended).await.unwrap().unwrap();
    threads.stop();
}

/// What is given back while the source drains is offered once more. If it is delivered then, the next start begins behind it,
/// and if not, with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_once_more_at_the_end() {
    let [logs, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let file = logs.path().join("a.log");
    let options = File::new([file.to_str().unwrap().to_owned()]);
    fs::write(&file, "one\n").unwrap();
    let retry = Outcome::retry("the connection is gone");
    let body = |batch: &Batch| {
        let Payload::Wire(wire) = batch.payload() else { panic!("the source sends bytes") };
        let Decoded::Logs(request) = wire.decode() else { panic!("the source brings logs") };
        format!("{:?}", request.resource_logs[0].scope_logs[0].log_records)
    };
    for last in [&retry, &Outcome::Delivered] {
        let (threads, mut run) = start(&options, state.path());
        let first = within("a batch", run.batches.next()).await.unwrap();
        assert!(body(&first).contains("one"), "what was not delivered is read again");
        run.drain.cancel();
        first.answer(&retry);
        within("the batch again", run.batches.next()).await.unwrap().answer(last);
        within("the source ends", &mut run.ended).await.unwrap().unwrap();
        threads.stop();
    }
    fs::write(&file, "one\ntwo\n").unwrap();
    let (threads, mut run) = start(&options, state.path());
    let batch = within("a batch", run.batches.next()).await.unwrap();
    assert!(body(&batch).contains("two") && !body(&batch).contains("one"), "{}", body(&batch));
    batch.answer(&Outcome::Delivered);
    run.drain.cancel();
    within("the source ends", &mut run.ended).await.unwrap().unwrap();
    threads.stop();
}

/// Whoever does not let us in may do so soon: credentials are renewed on one side first. The lines are offered again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credentials_cost_no_line() {
    let [logs, state] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let file = logs.path().join("a.log");
    let options = File::new([file.to_str().unwrap().to_owned()]);
    fs::write(&file, "one\n").unwrap();
    let (threads, mut run) = start(&options, state.path());
    for outcome in [Outcome::rejected(RejectionKind::Unauthorized, "another token"), Outcome::Delivered] {
        let batch = within("a batch", run.batches.next()).await.unwrap();
        assert_eq!(batch.records(), 1);
        batch.answer(&outcome);
    }
    run.drain.cancel();
    within("the source ends", &mut run.ended).await.unwrap().unwrap();
    threads.stop();
}

fn start(options: &File, state: &Path) -> (LaneThreads, SourceRun) {
    let (threads, lanes) = lanes(1);
    let context = BuildContext {
        id: ComponentId::new("logs").unwrap(),
        signals: SignalSet::LOGS,
        lanes,
        services: Services::default().with("", StateDirectory::take(state).unwrap()),
    };
    let source = FileSource::build(options, &context).unwrap();
    (threads, run_source("logs", Box::new(source), Sockets::default(), Budget::new(64 << 20)))
}
