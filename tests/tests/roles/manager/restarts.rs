//! Gateways and agents that are replaced while data flows.

use pods::oracle::{Oracle, Tally};
use serde_json::json;

use super::clients::{Client, print};
use super::scenario::{Scenario, output};

/// Records that each client sends a second.
const RATE: u32 = 100;
/// Records that each backend has got before anything is replaced.
const RECORDS: usize = 300;
/// Lines that each container prints for each restart, so many a second.
const LINES: usize = 6_000;
const LINES_RATE: u32 = 200;

/// All gateways and all agents are replaced at once by `kubectl rollout restart`, while pods print and SDKs whose retries are
/// off send all signals over both protocols. No export fails, and every record arrives once. `TESTS_RESTARTS` says how often
/// they are replaced; once without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_costs_nothing() {
    let Some(scenario) = Scenario::begin("all gateways and agents are replaced", &[]).await else { return };
    let namespace = scenario.namespace("shop").await;
    let mut oracles = Vec::new();
    for kind in ["LogPipeline", "MetricPipeline", "TracePipeline"] {
        let (oracle, endpoint) = scenario.backend().await;
        let mut spec = json!({ "output": output(&endpoint) });
        if kind == "LogPipeline" {
            let (namespaces, containers) = (json!({ "include": [namespace] }), json!({ "include": ["web"] }));
            spec["input"] = json!({ "runtime": { "namespaces": namespaces, "containers": containers } });
        }
        scenario.pipeline(kind, "shop", spec).await;
        oracles.push((format!("{}/shop", kind.to_lowercase()), oracle));
    }
    for (pipeline, _) in &oracles {
        scenario.is_true(pipeline, &["ConfigurationGenerated", "GatewayHealthy"]).await;
    }
    scenario.is_true("logpipeline/shop", &["AgentHealthy"]).await;
    let mut clients = Vec::new();
    for signal in ["logs", "metrics", "traces"] {
        for way in ["grpc", "http"] {
            clients.push((signal, Client::start(&scenario, &namespace, signal, way, RATE).await));
        }
    }
    let lines = LINES * restarts() as usize;
    print(&scenario, &namespace, lines, LINES_RATE).await;
    let arrive = async || {
        let received = |oracle: &Oracle| oracle.runs().iter().collect::<Tally>().received;
        oracles.iter().all(|(_, oracle)| received(oracle) >= RECORDS).then_some(())
    };
    scenario.until("every backend gets some", arrive).await;

    for _ in 0..restarts() {
        let before = scenario.engines().await;
        for (namespace, kind) in [("telemetry-system", "deployment"), ("telemetry-agents", "daemonset")] {
            let selector = "app.kubernetes.io/managed-by=telemetry-manager";
            scenario.kubectl(&["--namespace", namespace, "rollout", "restart", kind, "--selector", selector]).await;
        }
        let look = async || {
            let now = scenario.pods().await;
            let is_replaced = before.iter().all(|(uid, _)| !now.iter().any(|pod| pod["metadata"]["uid"] == **uid));
            is_replaced.then_some(())
        };
        scenario.until("the last of the old pods has ended", look).await;
        for (pipeline, _) in &oracles {
            scenario.is_true(pipeline, &["ConfigurationGenerated", "GatewayHealthy"]).await;
        }
        scenario.is_true("logpipeline/shop", &["AgentHealthy"]).await;
    }
    let mut sent = [lines * scenario.cluster.nodes(), 0, 0];
    for (signal, client) in clients {
        let of = ["logs", "metrics", "traces"].iter().position(|name| *name == signal).unwrap();
        sent[of] += client.end().await.records;
    }
    let mut tallies = Tally::default();
    for ((pipeline, oracle), sent) in oracles.iter().zip(sent) {
        tallies = tallies + scenario.arrived(sent, &[oracle]).await;
        scenario.is_true(pipeline, &["TelemetryFlowHealthy"]).await;
    }
    scenario.end(sent.iter().sum(), tallies).await;
}

fn restarts() -> u32 {
    std::env::var("TESTS_RESTARTS").map_or(1, |count| count.parse().expect("TESTS_RESTARTS is a number"))
}
