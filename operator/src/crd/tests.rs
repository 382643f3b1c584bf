//! Reading objects: what unset, empty and null mean, and that nothing secret is shown.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use serde_json::json;

use super::*;

fn log_pipeline(spec: serde_json::Value) -> LogPipeline {
    let object = json!({
        "apiVersion": "telemetry.kyma-project.io/v1beta1", "kind": "LogPipeline",
        "metadata": { "name": "a", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": spec.to_string(), "team": "shop",
        }, "managedFields": [{ "manager": "kubectl" }] },
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// `Debug` of a pipeline shows none of the values that stand in it, wherever a value can stand.
#[test]
fn debug_shows_no_value() {
    let value = || json!({ "value": "s3cret" });
    let tls = || json!({ "ca": value(), "cert": value(), "key": value() });
    let otlp = json!({
        "endpoint": value(),
        "headers": [{ "name": "authorization", "prefix": "Bearer", "value": "s3cret" }],
        "authentication": {
            "basic": { "user": value(), "password": value() },
            "oauth2": {
                "tokenURL": value(), "clientID": value(), "clientSecret": value(), "params": { "key": "s3cret" },
            },
        },
        "tls": tls(),
    });
    let spec = json!({
        "output": {
            "otlp": otlp, "custom": "s3cret",
            "http": { "host": value(), "user": value(), "password": value(), "tls": tls() },
        },
        "filters": [{ "custom": "s3cret" }],
        "files": [{ "name": "a", "content": "s3cret" }],
    });
    let mut pipeline = log_pipeline(spec);
    forget_copies(&mut pipeline);
    let shown = format!("{pipeline:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(shown.matches("(hidden)").count(), 20, "{shown}");
    assert_eq!(
        pipeline.metadata.annotations.unwrap().into_iter().collect::<Vec<_>>(),
        [("team".to_owned(), "shop".to_owned())]
    );
    assert_eq!(pipeline.metadata.managed_fields, None);
}

/// What is read is written again: unset stays unset and empty stays empty.
#[test]
fn unset_and_empty_differ() {
    let unset = json!({ "input": { "runtime": { "enabled": true, "keepOriginalBody": true } },
        "output": { "otlp": { "protocol": "grpc", "endpoint": { "value": "a:1" } } } });
    let mut empty = unset.clone();
    empty["input"]["runtime"]["namespaces"] = json!({});
    for spec in [unset, empty] {
        let pipeline = log_pipeline(spec.clone());
        assert_eq!(serde_json::to_value(&pipeline.spec).unwrap(), spec);
    }
}

/// An object that no API server has completed has the same defaults.
#[test]
fn defaults_hold_without_an_api_server() {
    let output = json!({ "otlp": { "endpoint": { "value": "a:1" } } });
    let pipeline = log_pipeline(json!({ "input": { "runtime": {}, "otlp": {} }, "output": output }));
    let runtime = pipeline.spec.input.runtime.unwrap();
    assert!(runtime.enabled && runtime.keep_original_body && runtime.namespaces.is_none());
    assert!(pipeline.spec.input.otlp.unwrap().enabled);
    assert_eq!(pipeline.spec.output.otlp.unwrap().output.protocol, Protocol::Grpc);
    let metric: MetricPipelineSpec = serde_json::from_value(json!({ "output": output })).unwrap();
    assert_eq!(metric.output.otlp.temporality, Temporality::Preserve);
    assert_eq!(metric.input, MetricInput::default());
}

/// A value and a reference are told apart, and so is having neither.
#[test]
fn a_value_or_where_it_is() {
    let read = |value| serde_json::from_value::<ValueType>(value).unwrap();
    assert_eq!(read(json!({})).value_or_ref(), None);
    assert_eq!(read(json!({ "value": "" })).value_or_ref(), Some(ValueOrRef::Value(&"".into())));
    let reference = json!({ "name": "n", "namespace": "ns", "key": "k" });
    let from_secret = read(json!({ "valueFrom": { "secretKeyRef": reference } }));
    let expected = SecretKeyRef { name: "n".into(), namespace: "ns".into(), key: "k".into() };
    assert_eq!(from_secret.value_or_ref(), Some(ValueOrRef::Ref(&expected)));
    assert_eq!(from_secret.secret_key_ref(), Some(&expected));
}

/// The number of pods of a gateway, with its default.
#[test]
fn replicas_of_a_gateway() {
    let replicas = |value| serde_json::from_value::<Gateway>(value).unwrap().replicas();
    assert_eq!(replicas(json!({})), Replicas::Fixed(2));
    assert_eq!(replicas(json!({ "scaling": { "type": "Static" } })), Replicas::Fixed(2));
    assert_eq!(replicas(json!({ "scaling": { "static": { "replicas": 4 } } })), Replicas::Fixed(4));
    let auto = json!({ "scaling": { "type": "Auto", "auto": { "minReplicas": 2, "maxReplicas": 5 } } });
    assert_eq!(replicas(auto), Replicas::Between { least: 2, most: 5 });
}

/// Durations as Kubernetes writes them; what is none, or not positive, is nothing.
#[test]
fn collection_intervals() {
    let duration = |text| Length::from(text).duration();
    assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
    assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
    for none in ["0s", "-1s", "1 day", "", "s"] {
        assert_eq!(duration(none), None, "{none}");
    }
}

/// Amounts of a container, as numbers or as text.
#[test]
fn amounts_of_a_container() {
    let amounts: ResourceAmounts = serde_json::from_value(json!({ "cpu": 2, "memory": "512Mi" })).unwrap();
    let named: Vec<_> = amounts.by_name().into_iter().map(|(name, amount)| format!("{name}={}", amount.0)).collect();
    assert_eq!(named, ["cpu=2", "memory=512Mi"]);
}
