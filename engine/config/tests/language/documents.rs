//! What is generated from the option types: the list of components, the schema, the reference. And the samples.

use std::path::PathBuf;

use engine_config::{Kind, reference, schema};
use insta::assert_snapshot;

use crate::{CATALOG, accepted, samples};

/// A component is added or removed on purpose.
#[test]
fn the_built_in_components() {
    let catalog = &*CATALOG;
    let list: Vec<String> = catalog
        .entries()
        .map(|entry| {
            format!("{} {} ({}): {}", entry.kind(), entry.type_name(), entry.stability().as_str(), entry.summary())
        })
        .collect();
    assert_snapshot!(list.join("\n"), @r#"
    source file (beta): Reads the lines of files as log records, and follows the files as they grow and rotate
    source generate (beta): Makes up logs, metrics and traces, to try a pipeline out and to measure it
    source host_metrics (beta): Reads the metrics of this host from the kernel: processors, memory, load, disks, file systems, network interfaces, paging, processes, uptime
    source internal (beta): Brings the engine's own metrics, log and traces as OTLP, to watch it by its own means
    source kubernetes_logs (beta): Reads the logs of all containers on this node from the files that the kubelet keeps, and follows them as they grow and rotate
    source otlp (beta): Receives OTLP over gRPC and over HTTP (protobuf and JSON), compressed with gzip, zstd or snappy, or not at all
    transform attributes (beta): Edits the attributes of records, scopes and resources
    transform kubernetes_attributes (experimental): Says which pod, workload, node and cluster data comes from, in attributes of its resources
    transform resource (beta): Edits the attributes of every resource
    transform select (beta): Passes on some resources with all their records, by resource attributes
    sink blackhole (beta): Takes everything and throws it away, counted as delivered
    sink console (beta): Prints records on the terminal
    sink file (beta): Appends to a file, one OTLP JSON request a line: what the `otlp` source takes back and `jq` reads
    sink otlp (beta): Sends OTLP to a backend, over gRPC or over HTTP with protobuf or JSON
    sink prometheus (beta): Keeps the latest value of every series for Prometheus to scrape, as text 0.0.4 or OpenMetrics 1.0
    "#);
    assert_eq!(catalog.names(Kind::Transform), ["attributes", "kubernetes_attributes", "resource", "select"]);
}

/// The schema changes on purpose: within a version keys are only added.
#[test]
fn the_schema_is_pinned() {
    let text = serde_json::to_string_pretty(&schema(&CATALOG)).unwrap() + "\n";
    compare("docs/configuration.schema.json", &text);
}

/// The reference is what the option types say.
#[test]
fn the_reference_is_generated() {
    compare("docs/configuration.md", &reference(&CATALOG));
}

/// Every key has a description, here and in nested tables.
#[test]
fn every_key_is_documented() {
    fn check(path: &str, schema: &serde_json::Value) -> usize {
        let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) else { return 0 };
        let mut count = 0;
        for (name, property) in properties {
            let description = property.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
            assert!(description.len() > 3, "{path}.{name} has no description");
            count += 1 + check(&format!("{path}.{name}"), property);
        }
        count
    }
    let whole = schema(&CATALOG);
    let mut count = check("", &whole);
    for (name, definition) in whole["$defs"].as_object().unwrap() {
        count += check(name, definition);
    }
    assert!(count > 100, "only {count} keys were looked at");
}

/// Every sample and what the README shows runs without a warning, and the schema that editors use agrees.
#[test]
fn samples_are_right() {
    let validator = jsonschema::validator_for(&schema(&CATALOG)).unwrap();
    for (name, text) in samples().into_iter().chain([("README.md".to_owned(), shown_in_the_readme())]) {
        let loaded = accepted(&text);
        assert!(loaded.plan.warnings.is_empty(), "{name}: {}", loaded.plan.warnings);
        let document: serde_json::Value = toml::from_str(&text).unwrap();
        if let Err(error) = validator.validate(&document) {
            panic!("{name}: {}: {error}", error.instance_path());
        }
    }
}

/// The only configuration in the README.
fn shown_in_the_readme() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [block] = blocks[..] else { panic!("{} configurations in {}", blocks.len(), path.display()) };
    block.to_owned()
}

/// Every component type is shown by some sample.
#[test]
fn samples_show_every_component() {
    let shown: Vec<_> = samples().into_iter().map(|(_, text)| accepted(&text).pipeline).collect();
    for entry in CATALOG.entries() {
        let is_shown = shown.iter().any(|pipeline| {
            pipeline.of_kind(entry.kind()).any(|(_, component)| component.type_name() == entry.type_name())
        });
        assert!(is_shown, "no sample shows the {} `{}`", entry.kind(), entry.type_name());
    }
}

/// Compares a generated file with the one in the repository; `UPDATE_DOCS=1` writes it.
fn compare(path: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let is_same = written == generated;
    assert!(is_same, "{} is out of date: run the tests of engine-config with UPDATE_DOCS=1", path.display());
}
