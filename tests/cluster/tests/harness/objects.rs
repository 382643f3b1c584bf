//! A control plane judges and keeps objects as Kubernetes does.

use cluster::{ControlPlane, or_skip};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::folder_of;

/// A pod that is right is stored with what the API server adds; one that is wrong is refused, field by field.
#[tokio::test]
async fn objects_are_judged_and_kept() {
    let Some(control_plane) = or_skip(ControlPlane::shared().await) else { return };
    let namespace = control_plane.namespace("objects").await.unwrap();
    let pods = Api::<Pod>::namespaced(control_plane.client().await.unwrap(), &namespace);
    let pod = |image: &str| {
        let container = json!({ "name": "shop", "image": image });
        let pod = json!({ "metadata": { "name": "shop" }, "spec": { "containers": [container] } });
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    let refused = pods.create(&PostParams::default(), &pod("")).await.unwrap_err();
    assert!(refused.to_string().contains("spec.containers[0].image: Required value"), "{refused}");
    pods.create(&PostParams::default(), &pod("cluster.local/shop:1")).await.unwrap();
    let stored = pods.get("shop").await.unwrap();
    let spec = stored.spec.unwrap();
    assert!(stored.metadata.uid.is_some());
    assert_eq!(spec.service_account_name.as_deref(), Some("default"), "admission fills it in");
    assert_eq!(stored.status.unwrap().phase.as_deref(), Some("Pending"), "nobody runs pods here");
}

/// `apply` and `kubectl` act as the administrator, and an error of kubectl's says what it was.
#[tokio::test]
async fn kubectl_applies_and_explains() {
    let Some(control_plane) = or_skip(ControlPlane::shared().await) else { return };
    let namespace = control_plane.namespace("kubectl").await.unwrap();
    let yaml =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {namespace}}}\ndata: {{k: v}}\n");
    control_plane.apply(&yaml).await.unwrap();
    let arguments = ["get", "configmap", "a", "--namespace", &namespace, "-o", "jsonpath={.data.k}"];
    assert_eq!(control_plane.kubectl(&arguments).await.unwrap(), "v");
    let error = control_plane.kubectl(&["get", "configmap", "b", "--namespace", &namespace]).await.unwrap_err();
    assert!(error.to_string().contains("configmaps \"b\" not found"), "{error}");
}

/// Control planes stand side by side, each with its own port and objects.
#[tokio::test]
async fn control_planes_stand_side_by_side() {
    let (first, second) = tokio::join!(ControlPlane::start_own(), ControlPlane::start_own());
    let (Some(first), Some(second)) = (or_skip(first), or_skip(second)) else { return };
    assert_ne!(folder_of(&first), folder_of(&second));
    let namespace = first.namespace("first").await.unwrap();
    let names = |access: &ControlPlane| {
        let access = (**access).clone();
        async move {
            let maps = Api::<ConfigMap>::all(access.client().await.unwrap());
            let found = maps.list(&ListParams::default()).await.unwrap();
            found.items.into_iter().filter_map(|map| map.metadata.namespace).collect::<Vec<_>>()
        }
    };
    // The controllers put the authority's certificate into every namespace of their own cluster.
    cluster::wait_until("the namespace has its certificate", crate::LIMIT, async || {
        names(&first).await.contains(&namespace).then_some(())
    })
    .await
    .unwrap();
    assert!(!names(&second).await.contains(&namespace));
}
