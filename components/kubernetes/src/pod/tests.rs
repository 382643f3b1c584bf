//! Pods as the API server sends them, and what is kept of them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::json;

use super::*;
use crate::wanted::{KeySelection, value_of};

const UID: &str = "4d3f9a52-0a6b-4c53-9d5e-6f1a2b3c4d5e";

fn pod(object: serde_json::Value, wanted: &Wanted) -> Pod {
    let object: PodObject = serde_json::from_value(object).unwrap();
    Pod::of(&object, wanted, &mut Interner::default()).unwrap()
}

fn owned(kind: &str, group: &str, name: &str, labels: serde_json::Value, created: &str) -> Pod {
    let owner = json!([
        { "apiVersion": "v1", "kind": "Node", "name": "n", "uid": UID },
        { "apiVersion": group, "kind": kind, "name": name, "uid": UID, "controller": true },
    ]);
    let meta = json!({ "name": "p", "namespace": "shop", "uid": UID, "labels": labels, "ownerReferences": owner,
                       "creationTimestamp": created });
    pod(json!({ "metadata": meta }), &Wanted::default())
}

/// The fields that are kept of a whole pod, and the choice of labels, annotations and containers.
#[test]
fn keeps_what_is_wanted() {
    let object = json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": UID, "creationTimestamp": "2026-11-30T02:00:00Z",
            "labels": { "app": "web", "tier": "front" },
            "annotations": { "note": "long", "resource.opentelemetry.io/service.name": "web" },
            "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:metadata": {} } }],
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "main", "image": "web:1", "env": [{ "name": "A" }] }],
                  "volumes": [{ "name": "v" }] },
        "status": { "phase": "Running", "podIP": "10.0.0.7", "podIPs": [{ "ip": "10.0.0.7" }, { "ip": "fd00::7" }] },
    });
    let wanted = Wanted {
        pod_labels: KeySelection::new(["app"]),
        pod_annotations: KeySelection::new(["resource.opentelemetry.io/*"]),
        containers: true,
        ..Wanted::default()
    };
    let kept = pod(object.clone(), &wanted);
    assert_eq!((&*kept.name, &*kept.namespace, kept.node.as_deref()), ("web-1", "shop", Some("node-1")));
    assert_eq!(kept.addresses.to_vec(), ["10.0.0.7", "fd00::7"].map(|text| text.parse::<IpAddr>().unwrap()));
    assert_eq!((kept.uid.to_string().as_str(), kept.created), (UID, 1_796_004_000));
    assert_eq!((value_of(&kept.labels, "app"), kept.labels.len()), (Some("web"), 1));
    assert_eq!(kept.annotations.len(), 1);
    assert_eq!((&*kept.containers[0].name, &*kept.containers[0].image), ("main", "web:1"));
    let bare = pod(object, &Wanted::default());
    assert!(bare.labels.is_empty() && bare.annotations.is_empty() && bare.containers.is_empty());
}

/// A pod in its node's network has no address of its own, and one that has ended has none any more.
#[test]
fn addresses_that_are_not_its_own_are_none() {
    let with = |spec: serde_json::Value, phase: &str| {
        let status = json!({ "phase": phase, "podIP": "10.0.0.7" });
        pod(json!({ "metadata": { "name": "p", "uid": UID }, "spec": spec, "status": status }), &Wanted::default())
    };
    assert_eq!(with(json!({}), "Running").addresses.len(), 1);
    assert_eq!(with(json!({ "hostNetwork": true }), "Running").addresses.len(), 0);
    assert_eq!(with(json!({}), "Succeeded").addresses.len() + with(json!({}), "Failed").addresses.len(), 0);
}

/// A Deployment is named only where the label that it sets says so.
#[test]
fn deployments_by_the_label() {
    let above = |name: &str, labels| {
        let owner = owned("ReplicaSet", "apps/v1", name, labels, "2026-11-30T02:00:00Z").owner.unwrap();
        assert_eq!((owner.kind, &*owner.name), (OwnerKind::ReplicaSet, name));
        owner.above.as_deref().map(str::to_owned)
    };
    let labels = json!({ "pod-template-hash": "5d8f7c9b6d" });
    assert_eq!(above("web-front-5d8f7c9b6d", labels.clone()).as_deref(), Some("web-front"));
    assert_eq!(above("web-front-5d8f7c9b6", labels.clone()), None, "a name that was cut");
    assert_eq!(above("-5d8f7c9b6d", labels), None);
    assert_eq!(above("web-5d8f7c9b6d", json!({ "app": "web" })), None, "a bare ReplicaSet");
}

/// A CronJob is named only where the Job's number is a minute shortly before the pod.
#[test]
fn cron_jobs_by_the_minute() {
    let above = |name: &str| {
        let owner = owned("Job", "batch/v1", name, json!({}), "2026-11-30T02:00:30Z").owner.unwrap();
        assert_eq!((owner.kind, &*owner.name), (OwnerKind::Job, name));
        owner.above.as_deref().map(str::to_owned)
    };
    let due = 1_796_004_000 / 60;
    assert_eq!(above(&format!("nightly-clean-{due}")).as_deref(), Some("nightly-clean"));
    assert_eq!(above(&format!("nightly-{}", due - 60)).as_deref(), Some("nightly"), "a pod that was started again");
    for other in ["import-20261130", "import-1", "import", &format!("-{due}"), &format!("x-+{due}")] {
        assert_eq!(above(other), None, "{other}");
    }
}

/// The controller is the owner; kinds of others are none.
#[test]
fn other_owners() {
    let owner = |kind, group| owned(kind, group, "db", json!({}), "2026-11-30T02:00:00Z").owner.map(|owner| owner.kind);
    assert_eq!(owner("StatefulSet", "apps/v1"), Some(OwnerKind::StatefulSet));
    assert_eq!(owner("DaemonSet", "apps/v1"), Some(OwnerKind::DaemonSet));
    assert_eq!(owner("ReplicaSet", "example.com/v1"), None);
    assert_eq!(owner("Rollout", "argoproj.io/v1alpha1"), None);
}

/// Ids are read with and without dashes; others are none. A static pod is known under its kubelet's id as well.
#[test]
fn ids() {
    assert_eq!(Uid::parse(UID), Uid::parse(&UID.replace('-', "")));
    for wrong in ["", "4d3f", "4d3f9a52-0a6b-4c53-9d5e-6f1a2b3c4d5", "zd3f9a52-0a6b-4c53-9d5e-6f1a2b3c4d5e"] {
        assert_eq!(Uid::parse(wrong), None, "{wrong}");
    }
    let hash = "a3cf8a07c2ed0f0bd5c5a2ed5a1ef3b1";
    let meta = json!({ "name": "p", "uid": UID, "annotations": { "kubernetes.io/config.hash": hash } });
    assert_eq!(pod(json!({ "metadata": meta }), &Wanted::default()).static_uid, Uid::parse(hash));
}

/// What is kept of a pod itself is small: what it shares with others is not counted.
#[test]
fn a_pod_is_small() {
    assert!(size_of::<Pod>() <= 256, "{}", size_of::<Pod>());
}
