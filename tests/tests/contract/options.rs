//! Options for any component, made from its schema: the required keys, sockets on free ports, files in a folder of the
//! test's own.

use std::path::Path;

use engine_config::{
    Catalog, Environment, Kind, KubernetesSettings, ParseOptions, PlannedNode, Resource, ServiceId, SourceFile, load,
};
use engine_core::lane::Lanes;
use engine_core::registry::BuildContext;
use engine_core::self_telemetry::{OwnMetric, OwnPoint, OwnValue, SelfTelemetry};
use engine_core::service::Services;
use engine_core::state_store::StateDirectory;
use kubernetes::Metadata;
use serde_json::Value;

/// A node of this type as a plan has it, with nothing but what is required.
pub(crate) fn node(kind: Kind, type_name: &str, folder: &Path) -> PlannedNode {
    let catalog = Catalog::builtin();
    let entry = catalog.get(kind, type_name).unwrap();
    let mut keys = required(entry.schema(), folder);
    let unbound = plan_with(kind, type_name, &keys);
    for claim in &unbound.facts.claims {
        if matches!(claim.resource, Resource::Tcp(_)) {
            keys.push_str(&format!("{} = \"127.0.0.1:0\"\n", claim.path.join(".")));
        }
    }
    plan_with(kind, type_name, &keys)
}

/// What a component may use while it is built.
pub(crate) fn context(node: &PlannedNode, lanes: &Lanes) -> BuildContext {
    let mut services = Services::default().with("", own()).with("", cluster());
    if node.facts.services.iter().any(|need| need.service == ServiceId::state()) {
        let state = tempfile::tempdir().unwrap().keep();
        services = services.with("", StateDirectory::take(&state).unwrap());
    }
    BuildContext { id: node.id.clone(), lanes: lanes.clone(), services, signals: node.signals }
}

/// A cluster without pods, all of which is known.
fn cluster() -> Metadata {
    let metadata = Metadata::by_hand(KubernetesSettings::default());
    metadata.complete();
    metadata
}

/// Telemetry of an engine that has one metric.
fn own() -> SelfTelemetry {
    let own = SelfTelemetry::default();
    own.measure(|| {
        let points = vec![OwnPoint { attributes: Vec::new(), value: OwnValue::Count(1) }];
        vec![OwnMetric { name: "tested", description: "Made up.", unit: "", points }]
    });
    own
}

fn plan_with(kind: Kind, type_name: &str, keys: &str) -> PlannedNode {
    let source = "[sources.from]\ntype = \"generate\"\nsignals = [\"logs\", \"metrics\", \"traces\"]\n";
    let sink = |input: &str| format!("[sinks.to]\ntype = \"blackhole\"\ninputs = [\"{input}\"]\n");
    let tested = format!("[{}.tested]\ntype = \"{type_name}\"\n", kind.table());
    let text = match kind {
        // Some keep what must survive a restart, and may be told only of what was delivered.
        Kind::Source => format!(
            "version = 1\n[state]\ndirectory = \"/var/lib/telemetry-engine\"\n{}acknowledge = \"delivered\"\n{tested}{keys}",
            sink("tested")
        ),
        Kind::Transform => format!("version = 1\n{source}{}{tested}inputs = [\"from\"]\n{keys}", sink("tested")),
        Kind::Sink => format!("version = 1\n{source}{tested}inputs = [\"from\"]\n{keys}"),
    };
    let files = [SourceFile::new("contract.toml", text.clone())];
    let loaded = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    loaded.plan.node("tested").unwrap().clone()
}

/// TOML for the required keys of a schema, or for one alternative where the component wants one of several.
fn required(schema: &Value, folder: &Path) -> String {
    let names = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut keys = String::new();
    for name in names.iter().filter_map(Value::as_str).filter(|name| *name != "type" && *name != "inputs") {
        keys.push_str(&format!("{name} = {}\n", example(name, folder)));
    }
    // Components that want at least one of their tables: the first table of attributes will do.
    if keys.is_empty()
        && let Some(table) =
            ["keep", "upsert", "record"].into_iter().find(|name| schema["properties"].get(name).is_some())
    {
        keys.push_str(&format!("{table} = {}\n", example(table, folder)));
    }
    keys
}

fn example(name: &str, folder: &Path) -> String {
    match name {
        // Nobody listens on port 1 of the loopback interface.
        "endpoint" => "\"http://127.0.0.1:1\"".to_owned(),
        "path" => format!("\"{}\"", folder.join("out").display()),
        "paths" => format!("[\"{}\"]", folder.join("*.log").display()),
        "keep" => "{ \"service.name\" = [\"shop\"] }".to_owned(),
        "upsert" => "{ \"service.name\" = \"shop\" }".to_owned(),
        "record" => "{ upsert = { \"service.name\" = \"shop\" } }".to_owned(),
        _ => panic!("a required key without an example: {name}"),
    }
}
