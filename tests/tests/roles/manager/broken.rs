//! Pipelines that are wrong beside one that is right.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::clients::{Client, print};
use super::scenario::{Scenario, output, pipeline};

/// Records that a client sends a second.
const RATE: u32 = 100;
/// Records that come before and after pipelines go wrong.
const RECORDS: usize = 500;
/// Lines that each container prints, so many a second.
const LINES: usize = 3_000;
const LINES_RATE: u32 = 100;

/// A pipeline goes on as if it were alone while ten others beside it are wrong, each in another way: nothing of it is lost,
/// nothing comes twice, no pod starts anew. Each of the ten says what is wrong and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_broken_pipelines_disturb_nobody() {
    // One that is right, one whose backend is away; everything else that could run is one too many.
    let arguments = ["--max-pipelines", "2"];
    let Some(scenario) = Scenario::begin("ten broken pipelines beside a good one", &arguments).await else { return };
    let namespace = scenario.namespace("shop").await;
    let (oracle, endpoint) = scenario.backend().await;
    let runtime = json!({ "namespaces": { "include": [namespace] }, "containers": { "include": ["web"] } });
    scenario
        .pipeline("LogPipeline", "good", json!({ "input": { "runtime": runtime }, "output": output(&endpoint) }))
        .await;
    let healthy = ["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"];
    scenario.is_true("logpipeline/good", &healthy).await;
    let engines = scenario.engines().await;
    print(&scenario, &namespace, LINES, LINES_RATE).await;
    let client = Client::start(&scenario, &namespace, "logs", "grpc", RATE).await;
    scenario.more(&oracle, RECORDS).await;

    let nowhere = format!("http://{}:9", scenario.cluster.machine_address());
    scenario.pipeline("LogPipeline", "unreachable", json!({ "output": output(&nowhere) })).await;
    scenario.is_true("logpipeline/unreachable", &healthy).await;
    let existing = json!({ "name": "telemetry-broken", "namespace": "telemetry-system" });
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": existing, "stringData": { "user": "shop" } });
    scenario.apply(&secret.to_string()).await;
    let broken = broken(&endpoint);
    for (name, spec, ..) in &broken {
        scenario.pipeline("LogPipeline", name, spec.clone()).await;
    }
    for (name, _, reason, words) in &broken {
        let told = scenario.is_false(&format!("logpipeline/{name}"), "ConfigurationGenerated", reason).await;
        assert!(told.contains(words), "{name} says what to do: {told}");
        let object = format!("logpipeline/{name}");
        scenario.is_false(&object, "GatewayHealthy", "GatewayConfigurationNotGenerated").await;
        scenario.is_false(&object, "TelemetryFlowHealthy", "ConfigurationNotGenerated").await;
    }
    // What contradicts itself in one object is refused by the API server.
    let both = json!({ "namespaces": { "include": ["shop"], "exclude": ["pay"] } });
    let contradictory =
        pipeline("LogPipeline", "both", json!({ "input": { "runtime": both }, "output": output(&nowhere) }));
    let refused = scenario.cluster.apply(&contradictory).await.unwrap_err().to_string();
    assert!(refused.contains("Only one of 'include' or 'exclude' can be defined"), "{refused}");
    let told = scenario.is_false("logpipeline/unreachable", "TelemetryFlowHealthy", "GatewayBackendUnreachable").await;
    assert!(told.contains("not reachable") && told.contains("wait in the log gateway"), "{told}");

    scenario.more(&oracle, RECORDS).await;
    scenario.is_true("logpipeline/good", &healthy).await;
    scenario.is_true("logpipeline/good", &["TelemetryFlowHealthy"]).await;
    assert_eq!(scenario.engines().await, engines, "no pod is another one or was restarted");
    let sent = client.end().await.records + LINES * scenario.cluster.nodes();
    let tally = scenario.arrived(sent, &[&oracle]).await;
    scenario.kubectl(&["--namespace", "telemetry-system", "delete", "secret", "telemetry-broken"]).await;
    scenario.end(sent, tally).await;
}

/// Names and specifications of pipelines that are wrong, with the reason that each gives, and words of what it says.
fn broken(endpoint: &str) -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let to = |address: &str| json!({ "output": output(address) });
    let with = |key: &str, value: Value| {
        let mut spec = to("https://backend.example.com:4317");
        spec["output"]["otlp"][key] = value;
        spec
    };
    let password = |secret: &str, key: &str| {
        let reference = json!({ "name": secret, "namespace": "telemetry-system", "key": key });
        let password = json!({ "valueFrom": { "secretKeyRef": reference } });
        with("authentication", json!({ "basic": { "user": { "value": "shop" }, "password": password } }))
    };
    let (certificate, key) = expired();
    let expired = json!({ "cert": { "value": certificate }, "key": { "value": key } });
    let unreadable = json!({ "ca": { "value": "no certificate" } });
    let containers = json!({ "runtime": { "containers": { "include": ["Not_A_Container"] } } });
    vec![
        ("missing-secret", password("absent", "password"), "ReferencedSecretMissing", "Secret 'absent'"),
        ("missing-key", password("telemetry-broken", "password"), "ReferencedSecretMissing", "Key 'password'"),
        ("expired", with("tls", expired), "TLSCertificateExpired", "replace it"),
        ("unreadable", with("tls", unreadable), "TLSConfigurationInvalid", "CA certificate"),
        ("unsupported", json!({ "output": { "custom": "name stdout" } }), "FieldNotSupported", "send OTLP instead"),
        ("with-a-path", to("http://backend.example.com:4317/logs"), "EndpointInvalid", "remove '/logs'"),
        ("no-port-at-all", to("http://backend.example.com:70000"), "EndpointInvalid", "from 1 to 65535"),
        (
            "selects-nobody",
            json!({ "input": containers, "output": output(endpoint) }),
            "SelectorInvalid",
            "no container can have the name",
        ),
        ("one-too-many", to(endpoint), "MaxPipelinesExceeded", "Delete another LogPipeline"),
    ]
}

/// A certificate that was good until the end of 2020, and its key.
fn expired() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["client.example.com".to_owned()]).unwrap();
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 12, 31));
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
