//! A cluster of two nodes runs pods, and its logs are where an agent would look for them.

use std::path::{Path, PathBuf};

use cluster::{Cluster, Image, ImageOptions, or_skip, wait_until};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::io::AsyncWriteExt as _;

use crate::{LIMIT, POD, folder_of, processes_of};

/// The image of the program that pods of tests run.
const IMAGE: &str = "cluster.local/pod:test";

/// A namespace of the shared cluster, whose nodes have the image of pods.
struct Stage {
    cluster: &'static Cluster,
    namespace: String,
}

impl Stage {
    async fn new() -> Option<Self> {
        let cluster = or_skip(Cluster::shared(2).await)?;
        load(cluster).await;
        Some(Self { cluster, namespace: cluster.namespace("nodes").await.unwrap() })
    }

    /// Runs a pod on a node, with more of its specification as JSON fields.
    async fn run(&self, name: &str, node: usize, arguments: &[&str], more: &str) {
        let Self { cluster, namespace } = self;
        cluster.apply(&pod(name, namespace, node, arguments, more)).await.unwrap();
    }

    /// Waits until the pod has logged a line that ends so, on this node.
    async fn logged(&self, name: &str, node: usize, line: &str) {
        let directory = self.cluster.node_log_directory(node);
        let what = format!("{name} logs `{line}` on node{node}");
        let look = async || log(&directory, &self.namespace, name).filter(|text| has_line(text, line));
        let found = wait_until(&what, LIMIT, look).await;
        if let Err(error) = found {
            let state = self.cluster.kubectl(&["describe", "pod", name, "--namespace", &self.namespace]).await;
            panic!("{error}; its log: {:?}\n{}", log(&directory, &self.namespace, name), state.unwrap_or_default());
        }
    }
}

async fn load(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::build(&folder.path().join("pod.tar"), ImageOptions::new(IMAGE, Path::new(POD))).await.unwrap();
    cluster.load_image(&image.file).await.unwrap();
}

fn pod(name: &str, namespace: &str, node: usize, arguments: &[&str], more: &str) -> String {
    let arguments = serde_json::to_string(arguments).unwrap();
    format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{name}", "namespace": "{namespace}", "labels": {{"app": "{name}"}}}},
            "spec": {{"nodeSelector": {{"kubernetes.io/hostname": "node{node}"}}, "terminationGracePeriodSeconds": 0,
                "containers": [{{"name": "pod", "image": "{IMAGE}", "imagePullPolicy": "Never", "args": {arguments},
                    "securityContext": {{"runAsNonRoot": true, "readOnlyRootFilesystem": true}},
                    "volumeMounts": [{{"name": "data", "mountPath": "/data"}}]}}],
                "volumes": [{{"name": "data", "emptyDir": {{}}}}]{more}}}}}"#
    )
}

/// The log of a pod's container, where the kubelet has it written.
fn log(directory: &Path, namespace: &str, pod: &str) -> Option<String> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let prefix = format!("{namespace}_{pod}_");
    let folder = entries.map(|entry| entry.path()).find(|path| path.to_str().unwrap().contains(&prefix))?;
    std::fs::read_to_string(folder.join("pod/0.log")).ok()
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|found| found.ends_with(&format!(" F {line}")))
}

/// The lines that a pod prints are in the log directory of its node, in the kubelet's layout and the container runtime's
/// format, and not on the other node.
#[tokio::test]
async fn logs_are_on_the_node_of_their_pod() {
    let Some(stage) = Stage::new().await else { return };
    stage.run("first", 1, &["print=3"], "").await;
    stage.run("second", 2, &["print=5"], "").await;
    stage.logged("first", 1, "line 3").await;
    stage.logged("second", 2, "line 5").await;
    let of = |node, name| log(&stage.cluster.node_log_directory(node), &stage.namespace, name);
    assert_eq!(of(1, "first").unwrap().lines().count(), 3);
    assert_eq!(of(2, "second").unwrap().lines().count(), 5);
    assert_eq!((of(2, "first"), of(1, "second")), (None, None));
    let line = of(1, "first").unwrap().lines().next().unwrap().to_owned();
    let fields: Vec<&str> = line.splitn(4, ' ').collect();
    assert!(fields[0].ends_with('Z') && fields[0].contains('T'), "{line}");
    assert_eq!(fields[1..], ["stdout", "F", "line 1"]);
    let arguments = ["logs", "second", "--namespace", &stage.namespace];
    let told =
        wait_until("the kubelet tells the log", LIMIT, async || stage.cluster.kubectl(&arguments).await.ok()).await;
    assert_eq!(told.unwrap().lines().count(), 5);
}

/// A Service is reached by its name from a pod of the same node and of the other one.
#[tokio::test]
async fn services_are_reached_by_name() {
    let Some(stage) = Stage::new().await else { return };
    let namespace = &stage.namespace;
    stage.run("server", 1, &["serve=8080:welcome", "print=1"], "").await;
    let service = r#""spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}"#;
    let service = format!(
        r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "shop", "namespace": "{namespace}"}}, {service}}}"#
    );
    stage.cluster.apply(&service).await.unwrap();
    stage.logged("server", 1, "line 1").await;
    let full = format!("fetch=shop.{namespace}.svc.cluster.local:80");
    stage.run("near", 1, &["fetch=shop:80"], "").await;
    stage.run("far", 2, &[&full], "").await;
    stage.logged("near", 1, "fetched welcome").await;
    stage.logged("far", 2, "fetched welcome").await;
}

/// A pod reaches what listens on this machine.
#[tokio::test]
async fn pods_reach_the_machine() {
    let Some(stage) = Stage::new().await else { return };
    let address = stage.cluster.machine_address();
    let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
    let fetch = format!("fetch={}", listener.local_addr().unwrap());
    let answer = tokio::spawn(async move {
        let (mut stream, peer) = listener.accept().await.unwrap();
        stream.write_all(b"from the machine").await.unwrap();
        peer
    });
    stage.run("caller", 2, &[&fetch], "").await;
    stage.logged("caller", 2, "fetched from the machine").await;
    let std::net::IpAddr::V4(peer) = answer.await.unwrap().ip() else { panic!("no IPv4") };
    assert_eq!(peer.octets()[..2], address.octets()[..2], "the pod's own address is seen");
}

/// A claim gets a volume of the node, and `fsGroup` lets a process that is not root write to it.
#[tokio::test]
async fn volumes_are_bound_and_writable() {
    let Some(stage) = Stage::new().await else { return };
    let claim = format!(
        r#"{{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {{"name": "disk", "namespace": "{}"}},
            "spec": {{"accessModes": ["ReadWriteOnce"], "resources": {{"requests": {{"storage": "1Gi"}}}}}}}}"#,
        stage.namespace
    );
    stage.cluster.apply(&claim).await.unwrap();
    let pod = pod("writer", &stage.namespace, 1, &["write=/data/file"], r#", "securityContext": {"fsGroup": 65532}"#)
        .replace(r#""emptyDir": {}"#, r#""persistentVolumeClaim": {"claimName": "disk"}"#);
    stage.cluster.apply(&pod).await.unwrap();
    stage.logged("writer", 1, "wrote /data/file").await;
    let volumes = std::fs::read_dir(stage.cluster.node_directory(1).join("volumes")).unwrap().flatten();
    let written: Vec<PathBuf> = volumes.map(|volume| volume.path().join("file")).filter(|file| file.exists()).collect();
    assert_eq!(written.len(), 1, "{written:?}");
}

/// An image runs as the user that it names, which is not root, on a root file system that nothing can be written to.
#[tokio::test]
async fn an_image_runs_without_root_and_read_only() {
    let Some(stage) = Stage::new().await else { return };
    stage.run("modest", 2, &["identity", "write=/file", "write=/data/file"], "").await;
    stage.logged("modest", 2, "identity 65532").await;
    stage.logged("modest", 2, "cannot write /file: Read-only file system (os error 30)").await;
    stage.logged("modest", 2, "wrote /data/file").await;
}

/// The engine's own image runs the same way: without root, read-only, without capabilities, from a mounted configuration.
#[tokio::test]
async fn the_engine_runs_in_its_image() {
    let Some(stage) = Stage::new().await else { return };
    let built = Path::new(POD).with_file_name("telemetry-engine");
    assert!(built.is_file(), "{} is not there: `cargo build -p telemetry-engine`", built.display());
    let folder = tempfile::tempdir().unwrap();
    let name = "cluster.local/telemetry-engine:test";
    // A build for tests is larger than what users get.
    let options = ImageOptions { most_mebibytes: Some(100), ..ImageOptions::new(name, &built) };
    let image = Image::build(&folder.path().join("engine.tar"), options).await.unwrap();
    stage.cluster.load_image(&image.file).await.unwrap();
    let configuration = r#"version = 1
[sources.load]
type = "generate"
signals = ["logs"]
rate = 10
[sinks.out]
type = "console"
inputs = ["load"]
"#;
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "engine", "namespace": stage.namespace },
        "data": { "engine.toml": configuration },
    });
    stage.cluster.apply(&map.to_string()).await.unwrap();
    let restricted = r#""runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}"#;
    let arguments = ["run", "--config", "/data/engine.toml"];
    let pod = pod("engine", &stage.namespace, 1, &arguments, "")
        .replace(IMAGE, name)
        .replace(r#""emptyDir": {}"#, r#""configMap": {"name": "engine"}"#)
        .replace(r#""runAsNonRoot": true"#, restricted);
    stage.cluster.apply(&pod).await.unwrap();
    let directory = stage.cluster.node_log_directory(1);
    let records = async || log(&directory, &stage.namespace, "engine").filter(|text| text.contains("shop.generated"));
    wait_until("the engine prints records", LIMIT, records).await.unwrap_or_else(|error| {
        panic!("{error}: {:?}", log(&directory, &stage.namespace, "engine"));
    });
}

/// A killed node is noticed and comes back with its pods; a second cluster stands beside the first, and leaves no
/// process, mount, interface, control group or file when it is dropped.
#[tokio::test]
async fn a_node_dies_and_comes_back_and_the_cluster_leaves_nothing() {
    let base = tempfile::tempdir().unwrap();
    let Some(cluster) = or_skip(Cluster::start_own_in(base.path(), 2).await) else { return };
    load(&cluster).await;
    let nodes = Api::<Node>::all(cluster.client().await.unwrap());
    let ready = async |wanted: &str| {
        let node = nodes.get("node2").await.ok()?;
        let conditions = node.status?.conditions?;
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == wanted).then_some(())
    };
    let namespace = cluster.namespace("lives").await.unwrap();
    cluster.apply(&pod("survivor", &namespace, 2, &["print=1"], "")).await.unwrap();
    let directory = cluster.node_log_directory(2);
    let printed = async || log(&directory, &namespace, "survivor").filter(|text| has_line(text, "line 1"));
    wait_until("the pod runs", LIMIT, printed).await.unwrap();

    let of_node = |name: &str| {
        let folder = cluster.node_directory(2);
        processes_of(&folder).into_iter().filter(|process| process.contains(name)).count()
    };
    assert_eq!(of_node("/kubelet "), 1);
    cluster.kill_node(2).await.unwrap();
    assert_eq!(of_node(""), 0, "something of the node lives");
    wait_until("the control plane notices", LIMIT, async || ready("Unknown").await).await.unwrap();
    cluster.start_node(2).await.unwrap();
    assert_eq!(of_node("/kubelet "), 1);
    wait_until("the node is back", LIMIT, async || ready("True").await).await.unwrap();
    let again = async || {
        let arguments = ["get", "pod", "survivor", "--namespace", &namespace, "-o", "jsonpath={.status}"];
        let status = cluster.kubectl(&arguments).await.ok()?;
        status.contains(r#""restartCount":1"#).then_some(())
    };
    wait_until("the pod runs again", LIMIT, again).await.unwrap();

    let folder = folder_of(&cluster);
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let lock = std::fs::File::open(folder.join("lock")).unwrap();
    let interface = format!("/sys/class/net/tcluster{}", name.rsplit('-').next().unwrap());
    assert!(Path::new(&interface).exists());
    drop(cluster);
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    assert!(!folder.exists());
    // Who holds the number of this cluster keeps others from having an interface and control groups of these names.
    wait_until("the number is free", LIMIT, async || lock.try_lock().ok()).await.unwrap();
    assert!(!Path::new(&interface).exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    let find = ["/sys/fs/cgroup", "-path", "*/telemetry-cluster/*", "-name", &name];
    let groups = std::process::Command::new("find").args(find).output().unwrap().stdout;
    assert_eq!(String::from_utf8(groups).unwrap(), "");
}
