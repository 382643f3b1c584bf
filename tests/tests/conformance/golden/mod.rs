//! The golden round trip: requests that use every field of the protocol arrive unchanged, whichever way they come in and
//! whichever they leave.
//!
//! What the examples of opentelemetry-proto and the test data of the Collector describe is covered by documents of our own
//! (`documents`), whose literals name every field of every message: a field that is added to the protocol does not compile
//! until it has a value here. JSON is written and read by the serde of opentelemetry-proto.

pub(crate) mod documents;
mod examples;

use crate::harness::{Backend, Data, Engine, Export, Signal, Transport, eventually};

/// An engine with a sink for each way out, none of which merges requests.
struct Ways {
    engine: Engine,
    grpc: Backend,
    http: Backend,
    json: Backend,
}

impl Ways {
    async fn open() -> Self {
        let (grpc, http, json) = (Backend::start().await, Backend::start().await, Backend::start().await);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.jsonl");
        let text = format!(
            "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\n\
             [sinks.grpc]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"{}\"\nbatch.max_records = 1\n\
             [sinks.http]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"{}\"\nprotocol = \"http\"\n\
             compression = \"zstd\"\nbatch.max_records = 1\n\
             [sinks.json]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"{}\"\nprotocol = \"http\"\n\
             encoding = \"json\"\nbatch.max_records = 1\n\
             [sinks.file]\ntype = \"file\"\ninputs = [\"apps\"]\npath = {file:?}\n",
            grpc.url(),
            http.url(),
            json.url()
        );
        Self { engine: Engine::start_in(folder, &text).await, grpc, http, json }
    }

    /// Sends one export and fails unless all ways out show `expected`.
    async fn check(&self, number: usize, export: Export, expected: &Data) {
        export.send(&self.engine).await.took_all();
        for backend in [&self.grpc, &self.http, &self.json] {
            backend.requests(number).await[number - 1].data.assert_same(expected);
        }
        let line = eventually("the line is in the file", || {
            let text = std::fs::read_to_string(self.engine.folder().join("out.jsonl")).unwrap_or_default();
            let whole = text.split_inclusive('\n').nth(number - 1).filter(|line| line.ends_with('\n'));
            std::future::ready(whole.map(str::to_owned))
        })
        .await;
        Data::from_json(expected.signal(), line.as_bytes()).assert_same(expected);
    }
}

/// Every field of every message arrives unchanged over gRPC, HTTP with protobuf and HTTP with JSON, and leaves unchanged
/// over gRPC, over HTTP with protobuf and with JSON, and into a file.
#[tokio::test]
async fn golden_every_field() {
    let ways = Ways::open().await;
    let documents = Signal::ALL.into_iter().flat_map(documents::all);
    let cases: Vec<_> = documents
        .flat_map(|data| Transport::ALL.map(|transport| (Export::new(transport, &data), data.clone())))
        .collect();
    for (number, (export, expected)) in (1..).zip(cases) {
        ways.check(number, export, &expected).await;
    }
}

/// JSON as people write it, with numbers as numbers and as texts, ids in capitals and fields left out, means the same as
/// the serde of opentelemetry-proto makes of it.
#[tokio::test]
async fn golden_examples() {
    let ways = Ways::open().await;
    for (number, (signal, json)) in (1..).zip(examples::ALL) {
        ways.check(number, Export::json(signal, json), &Data::from_json(signal, json.as_bytes())).await;
    }
}
