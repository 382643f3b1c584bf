//! What pipelines do to one another where room is limited: whoever was there before stays, and the newest is told why not.

use std::collections::BTreeMap;

use serde_json::json;
use telemetry_manager::collect::SecretName;
use telemetry_manager::crd::{Telemetry, TracePipeline};
use telemetry_manager::input::{Input, SecretView};
use telemetry_manager::plan::{Desired, plan};

/// A pipeline that was made so many minutes after midnight.
fn pipeline(name: &str, minute: usize, tls: serde_json::Value) -> TracePipeline {
    serde_json::from_value(json!({
        "apiVersion": "telemetry.kyma-project.io/v1beta1",
        "kind": "TracePipeline",
        "metadata": {
            "name": name,
            "creationTimestamp": format!("2026-01-01T{:02}:{:02}:00Z", minute / 60, minute % 60),
        },
        "spec": { "output": { "otlp": { "endpoint": { "value": "backend.example.com:4317" }, "tls": tls } } },
    }))
    .unwrap()
}

/// The reasons of all that is refused, by name.
fn refused(desired: &Desired) -> BTreeMap<String, String> {
    let of = |report: &telemetry_manager::status::PipelineReport| report.conditions[0].clone();
    let all = desired.pipelines.iter().map(|(id, report)| (id.name.clone(), of(report)));
    let refused = all.filter(|(_, condition)| condition.status.as_str() == "False");
    refused.map(|(name, condition)| (name, format!("{}: {}", condition.reason, condition.message))).collect()
}

/// A certificate of an authority that is so long; what is between the blocks of PEM is not looked at.
fn authority(bytes: usize) -> String {
    let pem = include_str!("cases/certificates_that_work.yaml");
    let begin = pem.find("-----BEGIN CERTIFICATE-----").unwrap();
    let end = pem[begin..].find("-----END CERTIFICATE-----").unwrap() + begin + "-----END CERTIFICATE-----".len();
    let block: String = pem[begin..end].lines().map(|line| format!("{}\n", line.trim())).collect();
    format!("{}\n{block}", "# nothing\n".repeat(bytes / 10))
}

/// All pipelines of a kind share what one Secret can hold. The newest that makes it too much is left out.
#[test]
fn configurations_fit_into_a_secret() {
    let tls = |number: usize| json!({ "ca": { "value": authority(200_000 + 10 * number) } });
    let traces = (0..6).map(|number| pipeline(&format!("p{number}"), 5 - number, tls(number))).collect();
    let desired = plan(&Input { traces, ..Input::default() });
    let refused = refused(&desired);
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["p0", "p1"], "the two newest: {refused:?}");
    assert!(refused["p0"].starts_with("ConfigurationTooLarge: "), "{refused:?}");
    assert!(refused["p0"].contains("900 KiB"), "{refused:?}");
}

/// Whoever has grown makes room, not those who are new and small.
#[test]
fn who_grows_puts_nobody_out() {
    let old = pipeline("old", 0, json!({ "ca": { "value": authority(880_000) } }));
    let small = (1..4).map(|number| {
        pipeline(&format!("p{number}"), number, json!({ "ca": { "value": authority(20_000 + 10 * number) } }))
    });
    let traces = std::iter::once(old).chain(small).collect();
    let refused = refused(&plan(&Input { traces, ..Input::default() }));
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["old"], "{refused:?}");
}

/// Equal certificates stand once, however many pipelines have them.
#[test]
fn equal_certificates_stand_once() {
    let tls = json!({ "ca": { "value": authority(400_000) } });
    let traces = (0..10).map(|number| pipeline(&format!("p{number}"), number, tls.clone())).collect();
    assert_eq!(refused(&plan(&Input { traces, ..Input::default() })), BTreeMap::new());
}

/// Every pipeline has memory of its own in the gateway. One that would get less than 1 MiB is left out, and told what to raise.
#[test]
fn buffers_fit_into_the_gateway() {
    let telemetry: Telemetry = serde_json::from_value(json!({
        "apiVersion": "operator.kyma-project.io/v1beta1",
        "kind": "Telemetry",
        "metadata": { "name": "default", "namespace": "telemetry-system" },
        "spec": { "trace": { "gateway": { "resources": { "limits": { "memory": "64Mi" } } } } },
    }))
    .unwrap();
    let traces = (0..40).map(|number| pipeline(&format!("p{number:02}"), number, json!({}))).collect();
    let desired = plan(&Input { traces, telemetries: vec![telemetry], ..Input::default() });
    let refused = refused(&desired);
    let first = refused.keys().next().expect("40 pipelines do not fit into 64 MiB").clone();
    let newest: Vec<String> = (first[1..].parse().unwrap()..40).map(|number: usize| format!("p{number:02}")).collect();
    assert_eq!(refused.keys().cloned().collect::<Vec<_>>(), newest, "the newest are refused, and only they");
    assert!(refused[&first].starts_with("MemoryExceeded: "), "{refused:?}");
    assert!(refused[&first].contains("spec.trace.gateway.resources.limits.memory"), "{refused:?}");
}

/// A Secret that may not be read is another matter than one that is not there, and the status says whom to ask for what.
#[test]
fn forbidden_secrets_are_told() {
    let from = json!({ "valueFrom": { "secretKeyRef": { "name": "backend", "namespace": "shop", "key": "ca" } } });
    let traces = vec![pipeline("shop", 0, json!({ "ca": from }))];
    let name = SecretName { namespace: "shop".to_owned(), name: "backend".to_owned() };
    let secrets = BTreeMap::from([(name, SecretView::Forbidden)]);
    let refused = refused(&plan(&Input { traces, secrets, ..Input::default() }));
    assert!(refused["shop"].starts_with("ReferencedSecretForbidden: "), "{refused:?}");
    assert!(refused["shop"].contains("telemetry-secret-reader"), "{refused:?}");
}
