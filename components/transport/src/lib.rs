//! OTLP over gRPC and HTTP with the bytes as they are: servers hand over whole request bodies, clients send ropes.
//!
//! hyper does HTTP on both sides. Between two sockets a body is copied at most once: to join the DATA frames it came
//! in, or to free a small one from the read buffer it shares with others.
//!
//! Not here: what the bytes mean (`otlp`), when to try again and what to queue (the sink driver of `engine-core`).

pub mod address;
pub mod client;
mod compression;
mod proto;
pub mod reload;
pub mod secret;
pub mod server;
mod status;
pub mod tls;

pub use compression::Compression;

/// Which of the two OTLP transports an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC: HTTP/2 only.
    Grpc,
    /// OTLP/HTTP: HTTP/1.1 and HTTP/2 on one port. Clients send protobuf; servers take JSON too.
    Http,
}
