//! What is sent: labels, hash, and what is left to others.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::json;

use super::*;

fn ownership() -> Ownership {
    Ownership { instance: "telemetry".to_owned(), namespaces: vec!["shop".to_owned()] }
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "shop", "labels": { "app": "web" } },
        "spec": { "replicas": 3, "paused": false },
    })
}

fn wanted(value: Value) -> Result<Wanted, ApplyError> {
    Wanted::new(object(value), &ownership(), &HashSet::new())
}

/// The hash depends on what is said and not on the order in which it is.
#[test]
fn the_hash_is_of_the_content() {
    let first = wanted(deployment()).unwrap();
    let labels = first.object.metadata.labels.as_ref().unwrap();
    assert_eq!(labels[MANAGED_BY.0], MANAGED_BY.1);
    assert_eq!(labels[OWNED_BY], "telemetry");
    assert_eq!(labels["app"], "web");
    assert_eq!(first.object.metadata.annotations.as_ref().unwrap()[APPLIED], first.hash);
    let mut turned = deployment();
    turned["spec"] = json!({ "paused": false, "replicas": 3 });
    assert_eq!(wanted(turned).unwrap().hash, first.hash);
    for other in [json!({ "replicas": 4, "paused": false }), json!({ "replicas": 3 }), json!({ "replicas": "3" })] {
        let mut changed = deployment();
        changed["spec"] = other;
        assert_ne!(wanted(changed).unwrap().hash, first.hash);
    }
}

/// A workload that an autoscaler of the same namespace names has no number of replicas.
#[test]
fn autoscalers_decide_about_replicas() {
    let autoscaler = |namespace: &str| {
        object(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "web", "namespace": namespace },
            "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } },
        }))
    };
    for (namespace, is_left) in [("shop", true), ("pay", false)] {
        let scaled = scaled_by_others(&[autoscaler(namespace), object(deployment())]);
        let wanted = Wanted::new(object(deployment()), &ownership(), &scaled).unwrap();
        assert_eq!(wanted.leaves_replicas(), is_left, "{namespace}");
        assert_eq!(wanted.object.data["spec"].get("replicas").is_none(), is_left, "{namespace}");
    }
}

/// Texts of a Secret are sent as what the API server makes of them.
#[test]
fn secrets_are_sent_as_they_are_kept() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "config", "namespace": "shop" },
        "data": { "a": "YQ==" }, "stringData": { "b": "b" },
    });
    let wanted = wanted(secret).unwrap();
    assert_eq!(wanted.object.data["data"], json!({ "a": "YQ==", "b": "Yg==" }));
    assert!(wanted.object.data.get("stringData").is_none());
}

/// What would not be watched is not made.
#[test]
fn only_what_is_watched_is_made() {
    let with = |key: &str, value: &str| {
        let mut changed = deployment();
        changed[key] = value.into();
        wanted(changed).map(drop)
    };
    assert_eq!(with("kind", "ReplicaSet"), Err(ApplyError::UnknownKind));
    assert_eq!(with("apiVersion", "apps/v1beta1"), Err(ApplyError::UnknownKind));
    let mut elsewhere = deployment();
    elsewhere["metadata"]["namespace"] = "pay".into();
    assert_eq!(wanted(elsewhere).map(drop), Err(ApplyError::UnknownNamespace));
    let mut nowhere = deployment();
    nowhere["metadata"].as_object_mut().unwrap().remove("namespace");
    assert_eq!(wanted(nowhere).map(drop), Err(ApplyError::UnknownNamespace));
}
