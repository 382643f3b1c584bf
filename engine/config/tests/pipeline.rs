//! From files to a plan, through the public API only.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use engine_config::{ByteSize, Catalog, Environment, Loaded, ParseOptions, Problems, SourceFile, WhenFull, load};

fn judge(text: &str) -> Result<Loaded, Problems> {
    let files = [SourceFile::new("engine.toml", text)];
    load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default())
}

const EXAMPLE: &str = r#"version = 1

[sources.apps]
type = "otlp"
grpc.listen = "[::]:4317"
http.listen = "[::]:4318"

[transforms.shop]
type = "select"
inputs = ["apps"]
keep = { "k8s.namespace.name" = ["shop", "pay"] }

[sinks.backend]
type = "otlp"
inputs = ["shop"]
endpoint = "https://otlp.example.com:4317"
headers.authorization = { secret = "file:/etc/telemetry/token", prefix = "Bearer" }
buffer = { type = "memory", max_size = "64MiB" }
pipeline = "shop"
"#;

/// The first example that users see runs, and what it does not say is filled in.
#[test]
fn the_example_plans() {
    let loaded = judge(EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    let ids: Vec<&str> = loaded.plan.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["apps", "shop", "backend"]);
    let sink = loaded.plan.node("backend").unwrap().sink.clone().unwrap();
    assert_eq!(sink.buffer.max_size, ByteSize::mib(64));
    assert_eq!(sink.buffer.when_full, WhenFull::Refuse);
    assert_eq!(loaded.plan.nodes[0].outputs[0].consumers[0].id.as_str(), "shop");
}
