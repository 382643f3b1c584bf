//! From an empty installation to none.

use pods::oracle::Tally;
use serde_json::json;

use super::clients::{Backend, print};
use super::scenario::{Scenario, output};

/// Lines that each container prints.
const LINES: usize = 2_000;

/// Before the first pipeline nothing runs but the manager. A LogPipeline brings what pods print to a backend in the cluster,
/// enriched, and says so; one that is wrong beside it changes nothing and says what to do. With the last pipeline its
/// components go, and after the uninstallation nothing is left, though a pipeline was still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_flow_from_the_first_pipeline_to_the_last() {
    let Some(scenario) = Scenario::begin("logs, from installation to uninstallation", &[]).await else { return };
    let namespace = scenario.namespace("shop").await;
    let backend = Backend::start(&scenario, &namespace).await;
    assert_eq!(scenario.workloads().await, ["deployment.apps/telemetry-manager"], "nothing but the manager runs");

    let runtime = json!({ "namespaces": { "include": [namespace] }, "containers": { "include": ["web"] } });
    let spec = json!({ "input": { "runtime": runtime }, "output": output(&backend.endpoint) });
    scenario.pipeline("LogPipeline", "shop", spec).await;
    scenario.is_true("logpipeline/shop", &["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"]).await;
    print(&scenario, &namespace, LINES, 1000).await;
    let look = async || {
        let runs = backend.runs().await;
        (runs.iter().filter(|run| run.is_complete(LINES)).count() >= scenario.cluster.nodes()).then_some(runs)
    };
    let runs = scenario.until("whole runs of printing pods", look).await;
    let sent = LINES * scenario.cluster.nodes();
    let tally: Tally = runs.iter().collect();
    assert_eq!(tally, Tally { received: sent, duplicates: 0, missing: 0 });
    for resource in runs.iter().flat_map(|run| &run.resources) {
        for (key, value) in [
            ("k8s.namespace.name", namespace.as_str()),
            ("k8s.container.name", "web"),
            ("k8s.daemonset.name", "shop"),
            ("service.name", "shop"),
        ] {
            assert_eq!(resource.get(key).map(String::as_str), Some(value), "{key} of {resource:?}");
        }
        assert!(!resource.keys().any(|key| key.starts_with("telemetry_engine.")), "no mark leaves: {resource:?}");
    }
    scenario.is_true("logpipeline/shop", &["TelemetryFlowHealthy"]).await;

    let absent = json!({ "secretKeyRef": { "name": "absent", "namespace": "telemetry-system", "key": "endpoint" } });
    let spec = json!({ "output": { "otlp": { "endpoint": { "valueFrom": absent } } } });
    scenario.pipeline("LogPipeline", "wrong", spec).await;
    let told = scenario.is_false("logpipeline/wrong", "ConfigurationGenerated", "ReferencedSecretMissing").await;
    assert!(told.contains("absent"), "{told}");
    scenario.is_true("logpipeline/shop", &["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"]).await;

    scenario.without_pipelines().await;
    // Whoever forgets to delete pipelines before takes them away all the same.
    scenario.pipeline("LogPipeline", "forgotten", json!({ "output": output(&backend.endpoint) })).await;
    scenario.is_true("logpipeline/forgotten", &["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"]).await;
    scenario.uninstall().await;
    scenario.finish(sent, tally).await;
}
