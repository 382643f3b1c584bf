//! What a hop does, and the engine's configuration file for it.

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

/// What happens to a batch between source and sink.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Attributes are put into every resource.
    Upsert(&'static [(&'static str, &'static str)]),
    /// Attributes are put into every record.
    UpsertRecords(&'static [(&'static str, &'static str)]),
    /// The transform of `lanes-engine` computes for 1 ms.
    Busy,
}

/// One hop: OTLP in, a step, OTLP out.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    /// What happens in between.
    pub step: Step,
    /// When requests are answered.
    pub acknowledge: Acknowledge,
    /// How requests go out.
    pub compression: Compression,
}

impl Hop {
    /// The TOML of this hop between two addresses.
    pub fn toml(&self, listen: SocketAddr, endpoint: SocketAddr) -> String {
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

[transforms.step]
inputs = ["in"]
{}

[sinks.out]
type = "otlp"
inputs = ["step"]
endpoint = "http://{endpoint}"
compression = "{}"
acknowledge = "{acknowledge}"
"#,
            self.step.toml(),
            self.compression.encoding().unwrap_or("none"),
        )
    }
}

impl Step {
    /// Keys that every resource has behind this step.
    pub fn resource_attributes(&self) -> Vec<String> {
        match self {
            Step::Upsert(attributes) => keys(attributes),
            Step::UpsertRecords(_) | Step::Busy => Vec::new(),
        }
    }

    /// Keys that every log record and span has behind this step.
    pub fn record_attributes(&self) -> Vec<String> {
        match self {
            Step::UpsertRecords(attributes) => keys(attributes),
            Step::Upsert(_) | Step::Busy => Vec::new(),
        }
    }

    fn toml(&self) -> String {
        let table = |attributes: &[(&str, &str)]| {
            let pairs: Vec<_> = attributes.iter().map(|(key, value)| format!("\"{key}\" = \"{value}\"")).collect();
            format!("{{ {} }}", pairs.join(", "))
        };
        match self {
            Step::Upsert(attributes) => format!("type = \"resource\"\nupsert = {}", table(attributes)),
            Step::UpsertRecords(attributes) => {
                format!("type = \"attributes\"\nrecord.upsert = {}", table(attributes))
            }
            Step::Busy => "type = \"busy\"\ntime = \"1ms\"".to_owned(),
        }
    }
}

fn keys(attributes: &[(&str, &str)]) -> Vec<String> {
    attributes.iter().map(|(key, _)| (*key).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use engine_config::{Catalog, Environment, ParseOptions, SourceFile, load};

    use super::*;

    /// The engine takes the configuration as it stands, without a warning, for every hop that bars use.
    #[test]
    fn configuration_is_valid() {
        for acknowledge in [Acknowledge::Delivered, Acknowledge::Buffered] {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let attributes = &[("k8s.cluster.name", "production")];
                for step in [Step::Upsert(attributes), Step::UpsertRecords(attributes)] {
                    let hop = Hop { step, acknowledge, compression };
                    let text = hop.toml("127.0.0.1:4317".parse().unwrap(), "127.0.0.1:5317".parse().unwrap());
                    let file = SourceFile::new("engine.toml", text);
                    let loaded =
                        load(&[file], &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap();
                    assert_eq!(loaded.plan.warnings.iter().count(), 0, "{:?}", loaded.plan.warnings);
                }
            }
        }
    }
}
