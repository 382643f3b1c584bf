//! What every case is made of: the program as a process, exports as they travel, a backend that plays a script, the
//! records of a request as opentelemetry-proto sees them, and HTTP/2 by the frame.
//!
//! Not here: what a case expects.

pub(crate) mod backend;
pub(crate) mod certificates;
pub(crate) mod data;
pub(crate) mod engine;
pub(crate) mod export;
pub(crate) mod frames;

use std::time::Duration;

pub(crate) use backend::{Backend, Say};
pub(crate) use data::{Data, Signal};
pub(crate) use engine::Engine;
pub(crate) use export::{Answer, Coding, Export, Transport, Verdict};

/// An engine whose source `apps` listens for gRPC and HTTP and whose sink `out` answers when the backend has answered.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) backend: Backend,
}

impl Bench {
    /// With every option at its default.
    pub(crate) async fn start() -> Self {
        Self::with("", "").await
    }

    /// With more options of the source and of the sink, a line each.
    pub(crate) async fn with(source: &str, sink: &str) -> Self {
        let backend = Backend::start().await;
        let text = format!(
            "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\n{source}\n\
             [sinks.out]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"{}\"\nacknowledge = \"delivered\"\n{sink}\n",
            backend.url()
        );
        Self { engine: Engine::start(&text).await, backend }
    }

    /// Sends data and expects plain success.
    pub(crate) async fn takes(&self, transport: Transport, data: &Data) {
        Export::new(transport, data).send(&self.engine).await.took_all();
    }

    /// Sends bytes, expects plain success, and returns what the backend then has got of them.
    pub(crate) async fn passes(&self, export: Export) -> Data {
        let before = self.backend.received().len();
        let answer = export.send(&self.engine).await;
        answer.took_all();
        let received = self.backend.received();
        assert_eq!(received.len(), before + 1, "one request reaches the backend");
        received[before].data.clone()
    }

    /// Expects that the data reaches the backend as it is.
    pub(crate) async fn passes_unchanged(&self, transport: Transport, data: &Data) {
        let arrived = self.passes(Export::new(transport, data)).await;
        arrived.assert_same(data);
    }
}

/// Bound of every wait, so that a test that would hang says what it waited for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited for a minute: {what}"),
    }
}

/// Polls until `look` finds something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    within(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
