//! Data of an OpenTelemetry SDK, of all signals, over both of its protocols.

use pods::oracle::{Oracle, Tally};
use serde_json::json;

use super::clients::Client;
use super::scenario::{Scenario, output};

/// Records that each client sends before it is ended.
const RECORDS: usize = 300;
/// Records that it sends a second.
const RATE: u32 = 100;

/// Kinds of pipelines, and what runs for each.
const KINDS: [(&str, &str); 3] = [
    ("metricpipelines", "deployment.apps/telemetry-metric-gateway"),
    ("logpipelines", "deployment.apps/telemetry-log-gateway"),
    ("tracepipelines", "deployment.apps/telemetry-trace-router"),
];

/// What SDKs in two namespaces send of each signal arrives once and says which pods it is from. Of two MetricPipelines and two
/// LogPipelines each gets the namespace that it selects, and a TracePipeline gets both. With the last pipeline of a kind its
/// gateway goes, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sdk_sends_all_signals() {
    let Some(scenario) = Scenario::begin("an SDK sends logs, metrics and spans", &[]).await else { return };
    let (shop, pay) = (scenario.namespace("shop").await, scenario.namespace("pay").await);
    let only = |namespace: &str| json!({ "otlp": { "namespaces": { "include": [namespace] } } });
    let except = |namespace: &str| json!({ "otlp": { "namespaces": { "exclude": [namespace] } } });
    let silent = |mut input: serde_json::Value| {
        input["runtime"] = json!({ "enabled": false });
        input
    };
    let mut oracles = Vec::new();
    for (kind, name, input) in [
        ("LogPipeline", "shop", Some(silent(only(&shop)))),
        ("LogPipeline", "others", Some(silent(except(&shop)))),
        ("MetricPipeline", "shop", Some(only(&shop))),
        ("MetricPipeline", "others", Some(except(&shop))),
        ("TracePipeline", "all", None),
    ] {
        let (oracle, endpoint) = scenario.backend().await;
        let mut spec = json!({ "output": output(&endpoint) });
        if let Some(input) = input {
            spec["input"] = input;
        }
        scenario.pipeline(kind, name, spec).await;
        oracles.push((format!("{}/{name}", kind.to_lowercase()), oracle));
    }
    for (pipeline, _) in &oracles {
        scenario.is_true(pipeline, &["ConfigurationGenerated", "GatewayHealthy"]).await;
    }
    let (mut clients, mut sent) = (Vec::new(), Vec::new());
    for (namespace, way) in [(&shop, "grpc"), (&pay, "http")] {
        for signal in ["logs", "metrics", "traces"] {
            clients.push(Client::start(&scenario, namespace, signal, way, RATE).await);
        }
    }
    let arrive = async || {
        let received = |oracle: &Oracle| oracle.runs().iter().collect::<Tally>().received;
        oracles.iter().all(|(_, oracle)| received(oracle) >= RECORDS).then_some(())
    };
    scenario.until("every backend gets some", arrive).await;
    for client in clients {
        sent.push(client.end().await.records);
    }
    // The clients' order: logs, metrics and spans of the shop, then those of the others.
    let expected = [sent[0], sent[3], sent[1], sent[4], sent[2] + sent[5]];
    let mut tallies = Tally::default();
    for ((pipeline, oracle), expected) in oracles.iter().zip(expected) {
        tallies = tallies + scenario.arrived(expected, &[oracle]).await;
        scenario.is_true(pipeline, &["TelemetryFlowHealthy"]).await;
    }
    let signals = ["logs", "logs", "metrics", "metrics", "traces"];
    for ((pipeline, oracle), signal) in oracles.iter().zip(signals) {
        for resource in oracle.runs().iter().flat_map(|run| &run.resources) {
            let is_of_shop = resource["k8s.namespace.name"] == shop;
            let way = if is_of_shop { "grpc" } else { "http" };
            assert_eq!(resource["k8s.pod.name"], format!("client-{signal}-{way}"), "{resource:?}");
            assert_eq!(resource["service.name"], "client", "{resource:?}");
            match pipeline.rsplit('/').next() {
                Some("shop") => assert!(is_of_shop, "{pipeline} gets {resource:?}"),
                Some("others") => assert!(!is_of_shop, "{pipeline} gets {resource:?}"),
                _ => {}
            }
        }
    }
    for (kind, workload) in KINDS {
        let before = scenario.workloads().await;
        scenario.kubectl(&["delete", kind, "--all"]).await;
        let look = async || (!scenario.workloads().await.iter().any(|name| name == workload)).then_some(());
        scenario.until(&format!("{workload} goes with the last of {kind}"), look).await;
        let others: Vec<_> = before.into_iter().filter(|name| name != workload).collect();
        assert_eq!(scenario.workloads().await, others, "nothing else goes");
    }
    scenario.end(sent.iter().sum(), tallies).await;
}
