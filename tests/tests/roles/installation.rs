//! Engines in a cluster: their image, and manifests that are filled in and applied.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cluster::{Cluster, Image, ImageOptions, wait_until};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::sync::OnceCell;

use crate::LIMIT;

/// The images of the engine, of the manager, and of what the tests' pods run: one that prints, and one that speaks OTLP.
pub(crate) const ENGINE: &str = "cluster.local/telemetry-engine:test";
pub(crate) const MANAGER: &str = "cluster.local/telemetry-manager:test";
pub(crate) const POD: &str = "cluster.local/printer:test";
pub(crate) const PEER: &str = "cluster.local/peer:test";
/// The most that the image of a debug build may hold, in MiB.
const DEBUG_MEBIBYTES: u32 = 400;

/// A namespace of a cluster whose nodes have the images.
pub(crate) struct Installation {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
}

impl Installation {
    /// Makes a namespace, and before the first one the images of the programs of this build.
    pub(crate) async fn new(cluster: &'static Cluster, prefix: &str) -> Self {
        images(cluster).await;
        Self { cluster, namespace: cluster.namespace(prefix).await.unwrap() }
    }

    /// A directory of each node that agents may write to, as pods see it.
    pub(crate) fn state_directory(&self) -> String {
        let name = format!("telemetry-agent-{}", self.namespace);
        for node in 1..=self.cluster.nodes() {
            let path = self.cluster.node_directory(node).join("kubelet").join(&name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        }
        format!("/var/lib/kubelet/{name}")
    }

    /// Applies a manifest with `{key}`s filled in.
    pub(crate) async fn apply(&self, manifest: &str, values: &[(&str, &str)]) {
        let mut text = manifest.replace("{namespace}", &self.namespace);
        for (key, value) in values {
            text = text.replace(&format!("{{{key}}}"), value);
        }
        self.cluster.apply(&text).await.unwrap();
    }

    /// Calls `kubectl` in the namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments = [&["--namespace", &self.namespace], arguments].concat();
        self.cluster.kubectl(&arguments).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Waits until all pods of a workload are those of its latest template, and ready.
    pub(crate) async fn rolled_out(&self, workload: &str) {
        let arguments = ["--namespace", &self.namespace, "rollout", "status", workload, "--timeout=20s"];
        let look = async || self.cluster.kubectl(&arguments).await.ok();
        if let Err(error) = wait_until(&format!("{workload} is rolled out"), LIMIT, look).await {
            panic!("{error}\n{}", self.state().await);
        }
    }

    /// What is told about the pods of the namespace, for the one who has to find out what went wrong.
    pub(crate) async fn state(&self) -> String {
        let pods = self.kubectl(&["get", "pods", "--output", "wide"]).await;
        let events = self.kubectl(&["get", "events", "--sort-by", ".lastTimestamp"]).await;
        let mut logs = String::new();
        for app in ["log-agent", "log-gateway"] {
            let arguments = ["logs", "--selector", &format!("app={app}"), "--tail", "20", "--prefix"];
            let arguments = [&["--namespace", self.namespace.as_str()], &arguments[..]].concat();
            logs += &self.cluster.kubectl(&arguments).await.unwrap_or_else(|error| format!("{error:#}"));
        }
        format!("{pods}\n{events}\n{logs}")
    }
}

/// Has every node know the images of the programs of this build.
pub(crate) async fn images(cluster: &'static Cluster) {
    static LOADED: OnceCell<()> = OnceCell::const_new();
    let load = || async {
        let folder = tempfile::tempdir().unwrap();
        let programs = [(ENGINE, "telemetry-engine"), (MANAGER, "telemetry-manager"), (POD, "pod"), (PEER, "peer")];
        let load = async |(name, program)| {
            let binary = binary(program);
            let options = ImageOptions { most_mebibytes: Some(DEBUG_MEBIBYTES), ..ImageOptions::new(name, &binary) };
            let image = Image::build(&folder.path().join(format!("{program}.tar")), options).await.unwrap();
            cluster.load_image(&image.file).await.unwrap();
        };
        join_all(programs.map(load)).await;
    };
    LOADED.get_or_init(load).await;
}

/// Deletes namespaces, and waits until nothing runs in them; what else goes with them may take its time.
pub(crate) async fn without(cluster: &Cluster, namespaces: &[String]) {
    let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    cluster.kubectl(&[&["delete", "namespace", "--wait=false"], &names[..]].concat()).await.unwrap();
    let client = cluster.client().await.unwrap();
    for name in names {
        let pods: Api<Pod> = Api::namespaced(client.clone(), name);
        let look = async || pods.list(&ListParams::default()).await.unwrap().items.is_empty().then_some(());
        wait_until(&format!("nothing runs in {name}"), LIMIT, look).await.unwrap();
    }
}

/// A program of this build; cargo puts test binaries into a folder beside it.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(binary.is_file(), "{} is not there: build it with `cargo build --workspace --bins`", binary.display());
    binary
}
