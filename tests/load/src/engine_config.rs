//! The configuration files of the engine under test.

use std::net::SocketAddr;

use crate::compression::Compression;

/// When the engine's sink answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When the backend has answered.
    Delivered,
    /// When the request is queued; the sink batches.
    Buffered,
}

/// One hop: OTLP in, attributes put into every resource, OTLP out.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    /// Attributes that are upserted.
    pub upserts: &'static [(&'static str, &'static str)],
    /// When requests are answered.
    pub acknowledge: Acknowledge,
    /// How requests go out.
    pub compression: Compression,
}

impl Hop {
    /// The TOML of this hop between two addresses.
    pub fn toml(&self, listen: SocketAddr, endpoint: SocketAddr) -> String {
        let upserts: Vec<_> = self.upserts.iter().map(|(key, value)| format!("\"{key}\" = \"{value}\"")).collect();
        let acknowledge = match self.acknowledge {
            Acknowledge::Delivered => "delivered",
            Acknowledge::Buffered => "buffered",
        };
        format!(
            r#"version = 1

[admin]
listen = "127.0.0.1:0"

[sources.in]
type = "otlp"
grpc.listen = "{listen}"

[transforms.enrich]
type = "resource"
inputs = ["in"]
upsert = {{ {} }}

[sinks.out]
type = "otlp"
inputs = ["enrich"]
endpoint = "http://{endpoint}"
compression = "{}"
acknowledge = "{acknowledge}"
"#,
            upserts.join(", "),
            self.compression.encoding().unwrap_or("none"),
        )
    }
}
