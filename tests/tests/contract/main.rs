//! Every component of the binary keeps the same contract. There is no code for any one component here: options are made
//! from the schema, and a component that is added is tested by being registered.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod hostile;
mod options;
mod sinks;
mod sources;
mod stages;
mod transforms;

use engine_config::{Catalog, Kind};
use engine_core::registry::registered;

// Registers the components of the binary.
use engine as _;

/// The binary has exactly these components, and exactly the option modules of these.
#[test]
fn the_list_of_components_is_pinned() {
    let expected = [
        (Kind::Source, vec!["file", "generate", "host_metrics", "internal", "kubernetes_logs", "otlp"]),
        (Kind::Transform, vec!["attributes", "kubernetes_attributes", "resource", "select"]),
        (Kind::Sink, vec!["blackhole", "console", "file", "otlp", "prometheus"]),
    ];
    let catalog = Catalog::builtin();
    for (kind, names) in expected {
        let in_binary: Vec<_> =
            registered().into_iter().filter(|found| found.kind == kind).map(|found| found.type_name).collect();
        assert_eq!(in_binary, names, "{kind}s of the binary");
        assert_eq!(catalog.names(kind), names, "option modules of {kind}s");
    }
}
