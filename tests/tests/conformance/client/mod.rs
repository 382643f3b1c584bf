//! What the `otlp` sink makes of a backend's behaviour.

mod answers;
mod connections;
mod json;
mod names;
mod retries;
mod sizes;
mod tls;

use std::time::Duration;

use crate::harness::{Backend, Bench, Data, Engine, Export, Transport};

/// The three ways out.
const WAYS: [Transport; 3] = Transport::ALL;

/// Pauses between attempts that are over at once, for cases that do not ask about them.
const QUICKLY: &str = "retry = { initial_interval = \"5ms\", max_interval = \"20ms\" }\n";

/// Options of a sink that sends this way.
fn options(way: Transport, backend: &Backend) -> String {
    options_for(way, &backend.url())
}

/// The same to any endpoint.
fn options_for(way: Transport, endpoint: &str) -> String {
    let protocol = match way {
        Transport::Grpc => "protocol = \"grpc\"",
        Transport::Protobuf => "protocol = \"http\"",
        Transport::Json => "protocol = \"http\"\nencoding = \"json\"",
    };
    format!("type = \"otlp\"\n{protocol}\nendpoint = \"{endpoint}\"\n")
}

impl Bench {
    /// An engine whose sink `out` sends this way to a new backend, with more options, a line each. Clients are answered
    /// when the buffer has their data.
    async fn sending(way: Transport, more: &str) -> Self {
        Self::sending_to(Backend::start().await, way, more).await
    }

    /// The same to a backend that is there.
    async fn sending_to(backend: Backend, way: Transport, more: &str) -> Self {
        let text = format!(
            "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\n\
             [sinks.out]\ninputs = [\"apps\"]\n{}{more}\n",
            options(way, &backend)
        );
        Self { engine: Engine::start(&text).await, backend }
    }

    /// Hands data to the engine, which takes it.
    async fn send(&self, data: &Data) {
        self.takes(Transport::Grpc, data).await;
    }

    /// Hands data to the engine of a sink that answers when it has delivered, and says whether it has.
    async fn is_delivered(&self, data: &Data) -> bool {
        Export::new(Transport::Grpc, data).send(&self.engine).await.grpc_status() == Some(0)
    }

    /// The last error that the sink tells of.
    async fn last_error(&self) -> String {
        self.engine.component("out").await.health.last_error.map(|error| error.message).unwrap_or_default()
    }

    /// The times between the requests that have come so far.
    fn gaps(&self) -> Vec<Duration> {
        self.backend.received().windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }
}
