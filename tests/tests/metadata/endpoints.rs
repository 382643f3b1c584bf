//! The ready endpoints of a Service, as a real API server tells of its slices.

use std::time::Duration;

use cluster::FaultProxy;
use cluster::faults::{Fault, Rule};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kubernetes::{AddressFamily, EndpointOptions, ReadyEndpoints, follow_endpoints};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Cluster, cluster, object};

impl Cluster {
    fn slices(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("discovery.k8s.io", "v1", "EndpointSlice");
        let resource = ApiResource::from_gvk_with_plural(&kind, "endpointslices");
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Makes a Service whose endpoints nobody makes but the test.
    async fn service(&self, name: &str) {
        let spec = json!({ "clusterIP": "None", "ports": [{ "name": "peers", "port": 4400 }] });
        let body = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec });
        self.api("Service", "services").create(&PostParams::default(), &object(body)).await.unwrap();
    }

    async fn slice(&self, name: &str, service: &str, address_type: &str, endpoints: Value) {
        let body = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": service } },
            "addressType": address_type, "endpoints": endpoints,
            "ports": [{ "name": "admin", "port": 13133 }, { "name": "peers", "port": 4400 }],
        });
        self.slices().create(&PostParams::default(), &object(body)).await.unwrap();
    }
}

fn endpoint(number: u8, is_ready: Value) -> Value {
    json!({
        "addresses": [format!("10.1.0.{number}")], "conditions": { "ready": is_ready },
        "hostname": format!("gateway-{number}"), "nodeName": "node-1", "zone": "eu-1a",
    })
}

/// Waits until these are the addresses.
async fn until(receiver: &mut watch::Receiver<ReadyEndpoints>, expected: &[&str]) -> ReadyEndpoints {
    let addresses = |ready: &ReadyEndpoints| {
        ready.iter().flat_map(|all| all.iter()).map(|found| found.address.to_string()).collect::<Vec<_>>()
    };
    let waiting = receiver.wait_for(|ready| ready.is_some() && addresses(ready) == expected);
    let told = tokio::time::timeout(Duration::from_secs(60), waiting).await.map(|told| told.unwrap().clone());
    told.unwrap_or_else(|_| panic!("waited for a minute for {expected:?}, there are {:?}", receiver.borrow()))
}

/// Slices come, change and go, of both families, and whoever follows their Service knows who is ready; what went while no
/// watch could tell is gone after the next list. Slices of other Services are not seen.
#[tokio::test]
async fn follows_a_service() {
    let Some(cluster) = cluster("endpoints").await else { return };
    let proxy = FaultProxy::start(&cluster.kubeconfig).await.unwrap();
    let options = |family| EndpointOptions {
        namespace: cluster.namespace.clone(),
        service: "gateway".to_owned(),
        port: "peers".to_owned(),
        family,
    };
    let (mut both, following) = follow_endpoints(proxy.client().await.unwrap(), options(AddressFamily::Both));
    assert!(both.borrow().is_none(), "nothing is known before the first list");
    tokio::spawn(following);
    until(&mut both, &[]).await;

    cluster.service("gateway").await;
    cluster.service("other").await;
    cluster.slice("of-other", "other", "IPv4", json!([endpoint(9, json!(true))])).await;
    cluster.slice("a", "gateway", "IPv4", json!([endpoint(2, json!(true)), endpoint(1, json!(false))])).await;
    let six = json!([{ "addresses": ["2001:db8::2"], "conditions": {} }]);
    cluster.slice("six", "gateway", "IPv6", six).await;
    cluster.slice("b", "gateway", "IPv4", json!([endpoint(3, json!(true)), endpoint(2, json!(true))])).await;
    let ready = until(&mut both, &["10.1.0.2:4400", "10.1.0.3:4400", "[2001:db8::2]:4400"]).await.unwrap();
    let told = (ready[0].hostname.as_deref(), ready[0].node.as_deref(), ready[0].zone.as_deref());
    assert_eq!(told, (Some("gateway-2"), Some("node-1"), Some("eu-1a")));

    let (mut four, following) = follow_endpoints(cluster.client.clone(), options(AddressFamily::Ipv4));
    tokio::spawn(following);
    until(&mut four, &["10.1.0.2:4400", "10.1.0.3:4400"]).await;
    let change = Patch::Merge(json!({ "endpoints": [endpoint(1, json!(true)), endpoint(2, json!(false))] }));
    cluster.slices().patch("a", &PatchParams::default(), &change).await.unwrap();
    cluster.slices().delete("six", &DeleteParams::default()).await.unwrap();
    // It is ready in another slice.
    let now = ["10.1.0.1:4400", "10.1.0.2:4400", "10.1.0.3:4400"];
    until(&mut both, &now).await;
    until(&mut four, &now).await;

    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", cluster.namespace);
    proxy.add(Rule::new(Fault::Hang).path(&path).watches());
    proxy.cut_all();
    cluster.slices().delete("b", &DeleteParams::default()).await.unwrap();
    cluster.slice("c", "gateway", "IPv4", json!([endpoint(4, Value::Null)])).await;
    until(&mut four, &["10.1.0.1:4400", "10.1.0.4:4400"]).await;
    until(&mut both, &now).await;
    proxy.clear();
    let expired = proxy.add(Rule::new(Fault::ExpiredEvent).path(&path).watches().times(1));
    proxy.cut_all();
    until(&mut both, &["10.1.0.1:4400", "10.1.0.4:4400"]).await;
    assert_eq!(expired.count(), 1);
    for name in ["a", "c"] {
        cluster.slices().delete(name, &DeleteParams::default()).await.unwrap();
    }
    until(&mut both, &[]).await;
    cluster.end().await;
}
