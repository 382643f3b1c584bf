//! Credentials that change while data flows.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::clients::{Client, print};
use super::scenario::Scenario;

/// How long gateways may use a password that was replaced, as the samples say.
const PROMISED: Duration = Duration::from_secs(30);
/// Records that come after a rotation before the next thing happens.
const RECORDS: usize = 500;
/// Lines that each container prints for each rotation, so many a second: they reach all gateways until the last one.
const LINES: usize = 1_500;
const RATE: u32 = 100;

/// The password of a backend is replaced in its Secret. Within 30 s all gateways show the new one; the old one is refused
/// from then on, and no record is lost, no pod restarted. `TESTS_ROTATIONS` says how often; once without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_replaced_without_a_restart() {
    let Some(scenario) = Scenario::begin("the password of a backend is replaced", &[]).await else { return };
    let namespace = scenario.namespace("shop").await;
    let arguments = ["--namespace", &namespace, "create", "rolebinding", "telemetry-secret-reader"];
    let to_whom = ["--clusterrole=telemetry-secret-reader", "--serviceaccount=telemetry-system:telemetry-manager"];
    scenario.kubectl(&[&arguments[..], &to_whom].concat()).await;
    let secret = |password: &str| {
        let metadata = json!({ "name": "backend", "namespace": namespace });
        let values = json!({ "user": "shop", "password": password });
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values }).to_string()
    };
    let from = |key: &str| json!({ "valueFrom": { "secretKeyRef": { "name": "backend", "namespace": namespace, "key": key } } });
    scenario.apply(&secret(&password(0))).await;
    let (oracle, endpoint) = scenario.backend().await;
    oracle.want(&shown(0));
    let runtime = json!({ "namespaces": { "include": [namespace] }, "containers": { "include": ["web"] } });
    let basic = json!({ "user": from("user"), "password": from("password") });
    let otlp = json!({ "endpoint": { "value": endpoint }, "authentication": { "basic": basic } });
    scenario
        .pipeline("LogPipeline", "shop", json!({ "input": { "runtime": runtime }, "output": { "otlp": otlp } }))
        .await;
    scenario.is_true("logpipeline/shop", &["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"]).await;
    let engines = scenario.engines().await;
    let lines = LINES * (1 + rotations() as usize);
    print(&scenario, &namespace, lines, RATE).await;
    let client = Client::start(&scenario, &namespace, "logs", "grpc", RATE).await;
    scenario.more(&oracle, RECORDS).await;

    for rotation in 1..=rotations() {
        // As a backend does whose passwords overlap.
        oracle.want_any();
        scenario.apply(&secret(&password(rotation))).await;
        let look = async || {
            let all: BTreeSet<String> = oracle.shown().into_values().collect();
            (all == BTreeSet::from([shown(rotation)])).then_some(())
        };
        scenario.within(PROMISED, "all gateways show the new password", look).await;
        oracle.want(&shown(rotation));
        scenario.more(&oracle, RECORDS).await;
    }
    assert_eq!(oracle.refused(), 0, "nobody shows the old password after the new one");
    assert_eq!(scenario.engines().await, engines, "no pod is another one or was restarted");
    let sent = client.end().await.records + lines * scenario.cluster.nodes();
    let tally = scenario.arrived(sent, &[&oracle]).await;
    let conditions = ["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy", "TelemetryFlowHealthy"];
    scenario.is_true("logpipeline/shop", &conditions).await;
    scenario.end(sent, tally).await;
}

fn rotations() -> u32 {
    std::env::var("TESTS_ROTATIONS").map_or(1, |count| count.parse().expect("TESTS_ROTATIONS is a number"))
}

fn password(rotation: u32) -> String {
    format!("password-{rotation}")
}

/// The header of a request with a password.
fn shown(rotation: u32) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("shop:{}", password(rotation)));
    format!("Basic {text}")
}
