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

/// The storage class of one volume of each node that has hardly any room, whatever it says: what is full is so for whoever uses
/// it.
const SMALL_CLASS: &str = "small";

/// Creates them all. `folder` is where the nodes' folders are, in which their volumes lie.
pub(crate) async fn create(client: &Client, network: Network, nodes: usize, folder: &std::path::Path) -> Result<()> {
    let dns_port = |protocol: &str| json!({ "name": format!("dns-{}", protocol.to_lowercase()), "port": 53, "protocol": protocol });
    let dns_ports = json!([dns_port("UDP"), dns_port("TCP")]);
    let class = |name: &str, is_default: &str| {
        json!({
            "metadata": {
                "name": name,
                "annotations": { "storageclass.kubernetes.io/is-default-class": is_default },
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        })
    };
    let mut objects = vec![
        ("/apis/storage.k8s.io/v1/storageclasses", class(STORAGE_CLASS, "true")),
        ("/apis/storage.k8s.io/v1/storageclasses", class(SMALL_CLASS, "false")),
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
            let name = format!("node{node}-{volume}");
            objects.push(("/api/v1/persistentvolumes", persistent_volume(node, &name, STORAGE_CLASS, &path)));
        }
        // The node itself makes it small.
        let path = folder.join(format!("node{node}/volumes/small"));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let name = format!("node{node}-small");
        objects.push(("/api/v1/persistentvolumes", persistent_volume(node, &name, SMALL_CLASS, &path)));
    }
    for (path, object) in objects {
        let request =
            Request::post(path).header("content-type", "application/json").body(serde_json::to_vec(&object)?)?;
        client.request::<Value>(request).await.with_context(|| format!("cannot create {object} at {path}"))?;
    }
    Ok(())
}

fn persistent_volume(node: usize, name: &str, class: &str, path: &std::path::Path) -> Value {
    let here = json!([{ "key": "kubernetes.io/hostname", "operator": "In", "values": [format!("node{node}")] }]);
    json!({
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "10Gi" },
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "local": { "path": path },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": here }] } },
        },
    })
}
