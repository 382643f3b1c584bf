//! Lists of a real API server in protobuf, and the same pods in JSON.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cluster::{ControlPlane, or_skip};
use engine_config::KubernetesSettings;
use http_body_util::BodyExt as _;
use hyper::header;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Client;
use kube::client::Body;
use kubernetes::{KeySelection, Metadata, Wanted};
use serde_json::json;
use tokio::net::TcpListener;

use super::Cluster;

/// What is passed on of what a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    Everything,
    /// As a proxy does that knows nothing but JSON.
    Json,
}

/// The way to an API server through which one sees in which form it answers.
struct Window {
    kubeconfig: PathBuf,
    /// What was asked for, and the type of the answer.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    _folder: tempfile::TempDir,
}

impl Window {
    async fn open(client: Client, passes: Passes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (client, log) = (client.clone(), Arc::clone(&log));
                let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                    let (client, log) = (client.clone(), Arc::clone(&log));
                    if passes == Passes::Json {
                        request.headers_mut().remove(header::ACCEPT);
                    }
                    request.headers_mut().remove(header::HOST);
                    async move {
                        let uri = request.uri().to_string();
                        let (head, _) = request.into_parts();
                        let answer = client.send(hyper::Request::from_parts(head, Body::empty())).await.unwrap();
                        let form = answer.headers().get(header::CONTENT_TYPE).map(|form| form.to_str().unwrap());
                        log.lock().unwrap().push((uri, form.unwrap_or_default().to_owned()));
                        Ok::<_, Infallible>(answer.map(|body| body.boxed_unsync()))
                    }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                tokio::spawn(
                    async move { builder.serve_connection(TokioIo::new(socket), service).await.map_err(drop) },
                );
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": server } }],
            "users": [{ "name": "u", "user": {} }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        std::fs::write(&kubeconfig, content.to_string()).unwrap();
        Self { kubeconfig, seen, _folder: folder }
    }

    /// The forms in which lists of this kind came, in order.
    fn lists(&self, plural: &str) -> Vec<String> {
        let path = format!("/api/v1/{plural}?");
        let seen = self.seen.lock().unwrap();
        let lists = seen.iter().filter(|(uri, _)| uri.contains(&path) && !uri.contains("watch="));
        lists.map(|(_, form)| form.clone()).collect()
    }
}

impl Cluster {
    /// Pods of every shape that matters, all of this node.
    async fn pods_of_all_shapes(&self, node: &str) -> usize {
        for number in 0..30 {
            let name = format!("pod-{number}");
            let labels = json!({ "app": format!("app-{number}"), "pod-template-hash": "5d8f7c9b6d" });
            let is_host = number % 10 == 1;
            self.pod(&name, node, labels, json!({ "hostNetwork": is_host })).await;
            let meta = match number % 5 {
                0 => {
                    json!({ "annotations": { "resource.opentelemetry.io/service.name": "Kaffee 咖啡", "other": "x" } })
                }
                1 => json!({ "ownerReferences": [
                    { "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1" },
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8f7c9b6d", "uid": "2", "controller": true },
                ] }),
                2 => {
                    json!({ "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "3" }] })
                }
                _ => json!({ "labels": { "app": "" } }),
            };
            let patch = kube::api::Patch::Merge(json!({ "metadata": meta }));
            self.pods().patch(&name, &kube::api::PatchParams::default(), &patch).await.unwrap();
            let phase = if number % 7 == 3 { "Succeeded" } else { "Running" };
            self.status(&name, phase, &format!("10.1.6.{number}")).await;
        }
        30
    }
}

/// Lists come in protobuf, page by page, and what is known from them is what is known from lists in JSON, which come where a
/// proxy knows nothing else.
#[tokio::test]
async fn lists_in_protobuf_say_the_same() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    let cluster = Cluster::on(&control_plane, "protobuf").await;
    // They would take away pods whose owners are not there.
    control_plane.pause_controllers().await.unwrap();
    let node = format!("{}-a", cluster.namespace);
    let count = cluster.pods_of_all_shapes(&node).await;
    let settings = || KubernetesSettings {
        node: Some(node.clone()),
        page_size: std::num::NonZeroU32::new(10).unwrap(),
        ..KubernetesSettings::default()
    };
    let wanted = Wanted {
        pod_labels: KeySelection::new(["app"]),
        pod_annotations: KeySelection::new(["resource.opentelemetry.io/*"]),
        namespace_labels: KeySelection::new(["team"]),
        containers: true,
        nodes: true,
        ..Wanted::default()
    };
    let (through, only_json) = (
        Window::open(cluster.client.clone(), Passes::Everything).await,
        Window::open(cluster.client.clone(), Passes::Json).await,
    );
    let (metadata, stop) = cluster.start_at(&through.kubeconfig, settings(), &wanted);
    let (from_json, stop_json) = cluster.start_at(&only_json.kubeconfig, settings(), &wanted);
    metadata.until("lists in protobuf", Metadata::is_synced).await;
    from_json.until("lists in JSON", Metadata::is_synced).await;

    let protobuf = "application/vnd.kubernetes.protobuf";
    assert_eq!(through.lists("pods"), [protobuf; 2], "the second page has all that is left");
    assert_eq!(only_json.lists("pods"), ["application/json"; 3]);
    for plural in ["nodes", "namespaces"] {
        let (lists, lists_json) = (through.lists(plural), only_json.lists(plural));
        assert!(!lists.is_empty() && lists.iter().all(|form| form == protobuf), "{plural}: {lists:?}");
        assert!(!lists_json.is_empty() && lists_json.iter().all(|form| form == "application/json"), "{plural}");
    }
    assert_eq!((metadata.pods(), from_json.pods()), (count, count));
    let all = cluster.pods().list(&kube::api::ListParams::default()).await.unwrap();
    let mut owners = 0;
    for uid in all.items.iter().filter_map(|object| kubernetes::Uid::parse(object.metadata.uid.as_deref()?)) {
        let (pod, same) = (metadata.pod(uid).unwrap(), from_json.pod(uid).unwrap());
        assert_eq!(pod, same);
        assert!(pod.created > 0 && pod.containers.len() == 1 && pod.node.as_deref() == Some(&*node));
        owners += usize::from(pod.owner.is_some());
    }
    assert_eq!(owners, 12);
    assert_eq!(metadata.namespace(&cluster.namespace), from_json.namespace(&cluster.namespace));
    assert!(metadata.namespace(&cluster.namespace).is_some_and(|namespace| namespace.labels.len() == 1));
    assert!(metadata.cluster_uid().is_some());

    // The watch goes on behind a list in protobuf.
    let new = cluster.pod("new", &node, json!({}), json!({})).await;
    metadata.until("a pod behind the list", |metadata| metadata.pod(new).is_some()).await;
    stop.cancel();
    stop_json.cancel();
}
