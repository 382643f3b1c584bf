//! Dependencies between the crates of the workspace point one way.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::DependencyKind;

use crate::{metadata, none};

/// What each crate may use of this workspace, but for its tests.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("otlp", &[]),
    ("engine-config", &["otlp"]),
    ("engine-core", &["otlp", "engine-config"]),
    ("engine-buffers", &["engine-core", "otlp", "engine-config"]),
    ("transport", &["engine-core", "otlp", "engine-config"]),
    ("kubernetes", &["engine-core", "otlp", "engine-config"]),
    ("sources", &["transport", "kubernetes", "engine-core", "otlp", "engine-config"]),
    ("transforms", &["transport", "kubernetes", "engine-core", "otlp", "engine-config"]),
    ("sinks", &["transport", "kubernetes", "engine-core", "otlp", "engine-config"]),
    // Leases and the following of objects: `the_manager_takes_no_engine` says so.
    ("telemetry-manager", &["kubernetes", "engine-config"]),
    (
        "telemetry-engine",
        &["sources", "transforms", "sinks", "transport", "engine-buffers", "engine-core", "otlp", "engine-config"],
    ),
    // Tests may use anything.
    ("tests", &[]),
    ("cluster", &[]),
    ("faults", &[]),
    ("load", &["*"]),
    ("pods", &[]),
];

/// Every crate uses only what stands below it, nothing uses the tests, and every crate is in the table.
#[test]
fn dependencies_point_one_way() {
    let table: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let members: BTreeSet<&str> =
        metadata().workspace_packages().into_iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        let Some(allowed) = table.get(package.name.as_str()) else {
            findings.push(format!("{} is not in the table of layers", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let counts = dependency.kind == DependencyKind::Normal && members.contains(name);
            if counts && !allowed.contains(&name) && !allowed.contains(&"*") {
                findings.push(format!("{} uses {name}", package.name));
            }
            let is_test = matches!(name, "tests" | "cluster" | "faults" | "load" | "pods");
            // The bars drive a real API server, and do to engines what the plan of faults says.
            let is_of_the_bars = package.name == "load" && matches!(name, "cluster" | "faults");
            if is_test && package.name != "tests" && !is_of_the_bars {
                findings.push(format!("{} uses the tests in {name}", package.name));
            }
        }
    }
    for name in table.keys().filter(|name| !members.contains(*name)) {
        findings.push(format!("{name} is in the table of layers and not in the workspace"));
    }
    none("dependencies against the layers", findings);
}

/// The manager takes nothing of the engine with it: of the cluster's crate only leases and the following of objects, which
/// stand without it.
#[test]
fn the_manager_takes_no_engine() {
    let manager = metadata().workspace_packages().into_iter().find(|package| package.name == "telemetry-manager");
    let manager = manager.expect("the manager is there");
    let of_cluster = manager.dependencies.iter().filter(|dependency| dependency.name == "kubernetes");
    let with_engine =
        of_cluster.filter(|dependency| dependency.uses_default_features || dependency.features != ["follow"]);
    none("features of `kubernetes`", with_engine.map(|dependency| format!("{:?}", dependency.features)).collect());
}

/// The engine pulls in no crate of the exporters that only tests drive, and no second TLS stack.
#[test]
fn the_binary_is_free_of_test_peers() {
    let resolve = metadata().resolve.as_ref().expect("cargo resolves the workspace");
    let mut seen = BTreeSet::new();
    let name_of = |id: &cargo_metadata::PackageId| metadata()[id].name.as_str();
    let start = resolve.nodes.iter().find(|node| name_of(&node.id) == "telemetry-engine").expect("the engine is there");
    let mut open = vec![&start.id];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == *id).expect("every dependency is resolved");
        let normal = |dependency: &&cargo_metadata::NodeDep| {
            dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        };
        open.extend(node.deps.iter().filter(normal).map(|dependency| &dependency.pkg));
    }
    let names: BTreeSet<&str> = seen.into_iter().map(name_of).collect();
    let unwanted = ["opentelemetry-otlp", "rcgen", "aws-lc-rs", "openssl"];
    none(
        "crates in the binary",
        unwanted.iter().filter(|name| names.contains(*name)).map(ToString::to_string).collect(),
    );
}
