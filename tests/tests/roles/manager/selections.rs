//! Pipelines that select: each backend gets what its pipeline asks for, and nothing else.

use std::collections::BTreeSet;

use pods::oracle::{Oracle, Tally};
use serde_json::json;

use super::clients::print;
use super::scenario::{Scenario, output};

/// Lines that each container prints.
const LINES: usize = 1_000;

/// Three LogPipelines select by namespace and by container, two of them the same logs. Each of their backends gets every line
/// of what its pipeline selects once, and none of anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_log_pipeline_gets_its_own() {
    let Some(scenario) = Scenario::begin("three log pipelines select", &[]).await else { return };
    let (shop, pay) = (scenario.namespace("shop").await, scenario.namespace("pay").await);
    let inputs = [
        (
            "web",
            json!({ "namespaces": { "include": [shop] }, "containers": { "include": ["web"] } }),
            vec![(&shop, "web")],
        ),
        ("shop", json!({ "namespaces": { "include": [shop] } }), vec![(&shop, "proxy"), (&shop, "web")]),
        (
            "others",
            json!({
                "namespaces": { "exclude": [shop, "telemetry-system", "telemetry-agents"] },
                "containers": { "exclude": ["proxy"] },
            }),
            vec![(&pay, "web")],
        ),
    ];
    let mut oracles = Vec::new();
    for (name, runtime, _) in &inputs {
        let (oracle, endpoint) = scenario.backend().await;
        let input = json!({ "runtime": runtime, "otlp": { "enabled": false } });
        scenario.pipeline("LogPipeline", name, json!({ "input": input, "output": output(&endpoint) })).await;
        oracles.push(oracle);
    }
    for (name, ..) in &inputs {
        let conditions = ["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"];
        scenario.is_true(&format!("logpipeline/{name}"), &conditions).await;
    }
    print(&scenario, &shop, LINES, 500).await;
    print(&scenario, &pay, LINES, 500).await;

    let (mut sent, mut tallies) = (0, Tally::default());
    for ((name, _, selected), oracle) in inputs.iter().zip(&oracles) {
        let selects = selected.len() * LINES * scenario.cluster.nodes();
        let tally = scenario.arrived(selects, &[oracle]).await;
        (sent, tallies) = (sent + selects, tallies + tally);
        let expected: BTreeSet<_> = selected.iter().map(|(of, name)| ((*of).clone(), (*name).to_owned())).collect();
        assert_eq!(sources(oracle), expected, "what {name} gets");
        scenario.is_true(&format!("logpipeline/{name}"), &["TelemetryFlowHealthy"]).await;
    }
    scenario.end(sent, tallies).await;
}

/// Namespaces and containers that records are from.
fn sources(oracle: &Oracle) -> BTreeSet<(String, String)> {
    let runs = oracle.runs();
    let resources = runs.iter().flat_map(|run| &run.resources);
    resources.map(|of| (of["k8s.namespace.name"].clone(), of["k8s.container.name"].clone())).collect()
}
