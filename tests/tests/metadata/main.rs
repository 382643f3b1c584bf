//! What the metadata service knows of a real API server, who leads by a lease of it, and who is ready behind a Service.
//!
//! Not here: the service against faults and its indexes (`components/kubernetes`), pods that run (`roles`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod endpoints;
mod faults;
mod protobuf;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster::{ControlPlane, or_skip};
use engine_config::{KubernetesSettings, ProcessSettings};
use engine_core::service::{Service, ServiceContext};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Api, Client};
use kubernetes::{
    Candidate, Contact, Holder, KeySelection, LeaseOptions, Metadata, OwnerKind, SETTLED_AFTER, Uid, Wanted, value_of,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A namespace of a test's own on the API server that all tests share.
struct Cluster {
    client: Client,
    namespace: String,
    kubeconfig: PathBuf,
}

/// The cluster, or none where there is none to be had.
async fn cluster(test: &str) -> Option<Cluster> {
    let control_plane = or_skip(ControlPlane::shared().await)?;
    Some(Cluster::on(control_plane, test).await)
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn all(client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("", "v1", kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural))
}

impl Cluster {
    /// A new namespace there.
    async fn on(control_plane: &ControlPlane, test: &str) -> Self {
        let client = control_plane.client().await.unwrap();
        let namespace = control_plane.namespace(test).await.unwrap();
        let labels = Patch::Merge(json!({ "metadata": { "labels": { "team": "a" } } }));
        all(&client, "Namespace", "namespaces").patch(&namespace, &PatchParams::default(), &labels).await.unwrap();
        Self { client, namespace, kubeconfig: control_plane.kubeconfig().to_owned() }
    }

    fn api(&self, kind: &str, plural: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("", "v1", kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk_with_plural(&kind, plural))
    }

    fn pods(&self) -> Api<DynamicObject> {
        self.api("Pod", "pods")
    }

    /// Makes a pod on a node that nobody runs, and returns its id.
    async fn pod(&self, name: &str, node: &str, labels: Value, spec: Value) -> Uid {
        let mut body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": labels },
            "spec": { "nodeName": node, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                      "containers": [{ "name": "main", "image": "registry:5000/web:1.2" }] },
        });
        for (key, value) in spec.as_object().unwrap() {
            body["spec"][key] = value.clone();
        }
        let made = self.pods().create(&PostParams::default(), &object(body)).await.unwrap();
        Uid::parse(made.metadata.uid.as_deref().unwrap()).unwrap()
    }

    async fn status(&self, name: &str, phase: &str, address: &str) {
        let status = json!({ "status": { "phase": phase, "podIP": address, "podIPs": [{ "ip": address }] } });
        self.pods().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }

    /// The service, running, that knows what is wanted.
    fn start(&self, settings: KubernetesSettings, wanted: &Wanted) -> (Arc<Metadata>, CancellationToken) {
        self.start_at(&self.kubeconfig, settings, wanted)
    }

    /// The same by way of what another kubeconfig names.
    fn start_at(
        &self,
        kubeconfig: &Path,
        settings: KubernetesSettings,
        wanted: &Wanted,
    ) -> (Arc<Metadata>, CancellationToken) {
        let settings = ProcessSettings {
            admin_listen: ([127, 0, 0, 1], 0).into(),
            status: None,
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::ZERO,
            lanes: 1,
            role: None,
            state_directory: None,
            kubernetes: KubernetesSettings { kubeconfig: Some(kubeconfig.to_owned()), ..settings },
        };
        let metadata = Arc::new(Metadata::open(&ServiceContext { key: "", settings: &settings }).unwrap());
        metadata.want(wanted);
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&metadata).run(stop.clone()));
        (metadata, stop)
    }

    async fn end(self) {
        let background = DeleteParams::background();
        drop(all(&self.client, "Namespace", "namespaces").delete(&self.namespace, &background).await);
    }
}

/// Who has an address now, as far as that is settled.
fn holder(metadata: &Metadata, address: &str) -> Option<String> {
    let now = Instant::now();
    let contact = Contact::over_connection(now, now);
    match metadata.holder(address.parse::<IpAddr>().unwrap(), &contact).holder {
        Holder::Pod(pod) => Some(pod.name.to_string()),
        Holder::Nobody | Holder::OneOfSeveral => None,
    }
}

/// Pods come, get addresses, end, go and hand their addresses on, and the service knows it; host network has no address.
#[tokio::test]
async fn follows_pods() {
    let Some(cluster) = cluster("follows-pods").await else { return };
    let wanted = Wanted {
        pod_labels: KeySelection::new(["app"]),
        namespace_labels: KeySelection::new(["team"]),
        containers: true,
        ..Wanted::default()
    };
    let listed = cluster.pod("listed", "node-a", json!({ "app": "web", "other": "x" }), json!({})).await;
    cluster.status("listed", "Running", "10.1.2.3").await;
    let (metadata, stop) = cluster.start(KubernetesSettings::default(), &wanted);
    metadata.until("the first lists", Metadata::is_synced).await;
    let pod = metadata.pod(listed).unwrap();
    assert_eq!((&*pod.namespace, pod.node.as_deref()), (&*cluster.namespace, Some("node-a")));
    assert_eq!((value_of(&pod.labels, "app"), pod.labels.len()), (Some("web"), 1));
    assert_eq!(&*pod.containers[0].image, "registry:5000/web:1.2");
    let namespace = metadata.namespace(&cluster.namespace).unwrap();
    assert_eq!(value_of(&namespace.labels, "team"), Some("a"));
    let system = all(&cluster.client, "Namespace", "namespaces").get("kube-system").await.unwrap();
    assert_eq!(metadata.cluster_uid().as_deref(), system.metadata.uid.as_deref());
    assert_eq!(holder(&metadata, "10.1.2.3").as_deref(), Some("listed"));

    let host = cluster.pod("host", "node-a", json!({}), json!({ "hostNetwork": true })).await;
    cluster.status("host", "Running", "10.1.2.4").await;
    cluster.delete("listed").await;
    cluster.pod("next", "node-a", json!({}), json!({})).await;
    cluster.status("next", "Running", "10.1.2.3").await;
    metadata.until("the next holder", |metadata| holder(metadata, "10.1.2.3").as_deref() == Some("next")).await;
    assert!(metadata.pod(listed).is_some(), "its last data may be on its way");
    assert!(metadata.pod(host).is_some_and(|pod| pod.addresses.is_empty()));
    cluster.status("next", "Succeeded", "10.1.2.3").await;
    metadata.until("nobody", |metadata| holder(metadata, "10.1.2.3").is_none()).await;
    stop.cancel();
    cluster.end().await;
}

/// An agent knows the pods of its node and no others, from a watch that the server narrows.
#[tokio::test]
async fn knows_one_node() {
    let Some(cluster) = cluster("knows-one-node").await else { return };
    let node = format!("{}-a", cluster.namespace);
    let here = cluster.pod("here", &node, json!({}), json!({})).await;
    let elsewhere = cluster.pod("elsewhere", "node-b", json!({}), json!({})).await;
    let settings = KubernetesSettings { node: Some(node.clone()), ..KubernetesSettings::default() };
    let (metadata, stop) = cluster.start(settings, &Wanted { nodes: true, ..Wanted::default() });
    metadata.until("the first lists", Metadata::is_synced).await;
    assert!(metadata.pod(here).is_some() && metadata.pod(elsewhere).is_none());
    let new = cluster.pod("new", &node, json!({}), json!({})).await;
    metadata.until("a new pod", |metadata| metadata.pod(new).is_some()).await;
    assert_eq!(metadata.pods(), 2);
    stop.cancel();
    cluster.end().await;
}

/// Whoever wants more of pods while the watches run is told when they are known with it.
#[tokio::test]
async fn wants_more_later() {
    let Some(cluster) = cluster("wants-more").await else { return };
    let uid = cluster.pod("web", "node-a", json!({ "app": "web" }), json!({})).await;
    let (metadata, stop) = cluster.start(KubernetesSettings::default(), &Wanted::default());
    metadata.until("the first lists", Metadata::is_synced).await;
    assert!(metadata.pod(uid).unwrap().labels.is_empty());
    let wish = metadata.want(&Wanted { pod_labels: KeySelection::new(["app"]), ..Wanted::default() });
    metadata.until("another list", |metadata| metadata.grants(wish)).await;
    assert_eq!(value_of(&metadata.pod(uid).unwrap().labels, "app"), Some("web"));
    stop.cancel();
    cluster.end().await;
}

/// Owners of pods as controllers make them: a Deployment by the hash that it sets.
#[tokio::test]
async fn owners_of_controllers() {
    let Some(cluster) = cluster("owners").await else { return };
    let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
    let resource = ApiResource::from_gvk_with_plural(&kind, "deployments");
    let deployments: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "main", "image": "web:1" }] },
    });
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web-front" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": template },
    });
    let (metadata, stop) = cluster.start(KubernetesSettings::default(), &Wanted::default());
    deployments.create(&PostParams::default(), &object(body)).await.unwrap();
    let made = async {
        loop {
            let pods = cluster.pods().list(&ListParams::default()).await.unwrap();
            if let Some(pod) = pods.items.first() {
                return Uid::parse(pod.metadata.uid.as_deref().unwrap()).unwrap();
            }
        }
    };
    let uid = tokio::time::timeout(Duration::from_secs(60), made).await.unwrap();
    metadata.until("the pod", |metadata| metadata.pod(uid).is_some()).await;
    let owner = metadata.pod(uid).unwrap().owner.clone().unwrap();
    assert_eq!((owner.kind, owner.above.as_deref()), (OwnerKind::ReplicaSet, Some("web-front")));
    stop.cancel();
    cluster.end().await;
}

/// One of two candidates leads; when it ends the other one does at once, and when it vanishes after a while.
#[tokio::test]
async fn one_leader() {
    let Some(cluster) = cluster("one-leader").await else { return };
    let candidate = |identity: &str| {
        let (leads, leading) = tokio::sync::watch::channel(false);
        let options = LeaseOptions {
            namespace: cluster.namespace.clone(),
            name: "events".to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(3),
        };
        let (candidate, stop) = (Candidate::new(cluster.client.clone(), options), CancellationToken::new());
        let running = stop.clone();
        let task = tokio::spawn(async move { candidate.run(&leads, running).await });
        (leading, stop, task)
    };
    let leads = async |leading: &mut tokio::sync::watch::Receiver<bool>| {
        let waiting = leading.wait_for(|leads| *leads);
        tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    };
    let (mut first, stop_first, first_task) = candidate("first");
    leads(&mut first).await;
    let (mut second, _stop_second, second_task) = candidate("second");
    let (mut third, stop_third, third_task) = candidate("third");
    assert!(!*second.borrow() && !*third.borrow());
    stop_first.cancel();
    first_task.await.unwrap();
    assert!(!*first.borrow());
    tokio::select! { () = leads(&mut second) => {}, () = leads(&mut third) => {} }
    assert!(*second.borrow() != *third.borrow(), "one of them");
    // Whoever leads vanishes without a word.
    let second_leads = *second.borrow();
    match second_leads {
        true => {
            second_task.abort();
            leads(&mut third).await;
        }
        false => {
            third_task.abort();
            leads(&mut second).await;
        }
    }
    stop_third.cancel();
    cluster.end().await;
}

/// Pods that replace one another at one address, as fast as the server tells: whoever is told to have had it at a moment did,
/// by the clock of whoever made the pods.
#[tokio::test]
async fn addresses_that_go_on_quickly() {
    let Some(cluster) = cluster("addresses").await else { return };
    let (metadata, stop) = cluster.start(KubernetesSettings::default(), &Wanted::default());
    metadata.until("the first lists", Metadata::is_synced).await;
    // Moments at which a pod had the address for certain: it had it when its status was there, and was not deleted yet.
    let (mut moments, mut long_moments) = (Vec::new(), Vec::new());
    let mut is_told_in_time = false;
    for number in 0..60 {
        let name = format!("pod-{number}");
        let made = Instant::now();
        let uid = cluster.pod(&name, "node-a", json!({}), json!({})).await;
        cluster.status(&name, "Running", "10.1.9.9").await;
        let has_it = Instant::now();
        let is_known = |metadata: &Metadata| metadata.pod(uid).is_some_and(|pod| !pod.addresses.is_empty());
        metadata.until("it is known", is_known).await;
        // Nothing is promised of a watch that lags by more: neither of this pod nor of the end of the one before.
        let was_told_in_time = std::mem::replace(&mut is_told_in_time, made.elapsed() < SETTLED_AFTER);
        if !is_told_in_time && was_told_in_time {
            moments.pop();
        }
        if is_told_in_time {
            moments.push((has_it, name.clone()));
        }
        if number % 10 == 9 {
            // Whoever has it next may have had it before that was told, but not before this.
            long_moments.push((Instant::now(), name.clone()));
            tokio::time::sleep(SETTLED_AFTER).await;
        }
        cluster.delete(&name).await;
    }
    tokio::time::sleep(SETTLED_AFTER).await;
    let mut certain = 0;
    for (moment, name) in moments.into_iter().chain(long_moments) {
        let contact = Contact { earliest: moment, latest: moment, arrived: moment };
        if let Holder::Pod(pod) = metadata.holder("10.1.9.9".parse().unwrap(), &contact).holder {
            assert_eq!(*pod.name, *name);
            certain += 1;
        }
    }
    assert!(certain >= 6, "{certain} moments are certain, and six pods kept the address until it was");
    stop.cancel();
    cluster.end().await;
}
