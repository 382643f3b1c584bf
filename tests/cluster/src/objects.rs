//! What a cluster of other makers holds besides its control plane: a default storage class, DNS, and volumes.

use anyhow::{Context, Result};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::network::Network;

/// Volumes that wait on each node.
const VOLUMES: usize = 16;

/// The storage class of these volumes, which is the default one.
const STORAGE_CLASS: &str = "standard";

/// Creates them all. `folder` is where the nodes' folders are, in which their volumes lie.
pub(crate) async fn create(client: &Client, network: Network, nodes: usize, folder: &std::path::Path) -> Result<()> {
    let dns_port = |protocol: &str| json!({ "name": format!("dns-{}", protocol.to_lowercase()), "port": 53, "protocol": protocol });
    let dns_ports = json!([dns_port("UDP"), dns_port("TCP")]);
    let mut objects = vec![
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({
                "metadata": {
                    "name": STORAGE_CLASS,
                    "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
                },
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": "WaitForFirstConsumer",
            }),
        ),
        (
            "/api/v1/namespaces/kube-system/services",
            json!({
                "metadata": { "name": "kube-dns" },
                "spec": { "clusterIP": network.dns_service(), "ports": dns_ports },
            }),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
            json!({
                "metadata": { "name": "kube-dns", "labels": { "kubernetes.io/service-name": "kube-dns" } },
                "addressType": "IPv4",
                "ports": dns_ports,
                "endpoints": [{ "addresses": [network.control()] }],
            }),
        ),
    ];
    for node in 1..=nodes {
        for volume in 1..=VOLUMES {
            let path = folder.join(format!("node{node}/volumes/{volume}"));
            std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
            objects.push(("/api/v1/persistentvolumes", persistent_volume(node, volume, &path)));
        }
    }
    for (path, object) in objects {
        let request =
            Request::post(path).header("content-type", "application/json").body(serde_json::to_vec(&object)?)?;
        client.request::<Value>(request).await.with_context(|| format!("cannot create {object} at {path}"))?;
    }
    Ok(())
}

fn persistent_volume(node: usize, volume: usize, path: &std::path::Path) -> Value {
    let here = json!([{ "key": "kubernetes.io/hostname", "operator": "In", "values": [format!("node{node}")] }]);
    json!({
        "metadata": { "name": format!("node{node}-{volume}") },
        "spec": {
            "capacity": { "storage": "10Gi" },
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": STORAGE_CLASS,
            "local": { "path": path },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": here }] } },
        },
    })
}
