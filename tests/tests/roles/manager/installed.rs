//! An installation of the manager from `config/`, and what a user sees of it.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use cluster::{Cluster, wait_until};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::LIMIT;
use crate::installation::{ENGINE, MANAGER};

/// Both namespaces of an installation.
const NAMESPACES: [&str; 2] = ["telemetry-system", "telemetry-agents"];
/// The pods of engines.
const ENGINES: &str = "app.kubernetes.io/managed-by=telemetry-manager";
/// The kinds of pipelines.
const PIPELINES: &str = "logpipelines,metricpipelines,tracepipelines";

/// The manifest of what is installed, if something is.
static INSTALLED: Mutex<Option<String>> = Mutex::new(None);

/// The installation. There is one in a cluster.
pub(super) struct Manager {
    pub(super) cluster: &'static Cluster,
    /// What is waited for is read with it: a `kubectl` for each look takes more of two cores than what is looked at.
    pub(super) client: Client,
    manifest: String,
}

impl Manager {
    /// Installs it with the images of this build and these arguments besides, unless it is there, and waits until it runs
    /// and nothing else does.
    pub(super) async fn install(cluster: &'static Cluster, arguments: &[&str]) -> Self {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let manifest = cluster.kubectl(&["kustomize", config.to_str().unwrap()]).await.unwrap();
        let arguments: String = ["--image-pull-policy", "Never"]
            .iter()
            .chain(arguments)
            .map(|argument| format!("\n        - {argument:?}"))
            .collect();
        let manifest = manifest
            .replace("image: telemetry-manager:0.1.0", &format!("image: {MANAGER}\n        imagePullPolicy: Never"))
            .replace("- telemetry-engine:0.1.0", &format!("- {ENGINE}{arguments}"));
        assert!(manifest.contains(MANAGER) && manifest.contains(ENGINE), "the images are those of this build");
        let this = Self { cluster, client: cluster.client().await.unwrap(), manifest };
        if INSTALLED.lock().unwrap().as_ref() != Some(&this.manifest) {
            this.apply(&this.manifest).await;
            *INSTALLED.lock().unwrap() = Some(this.manifest.clone());
        }
        let status =
            ["--namespace", "telemetry-system", "rollout", "status", "deployment/telemetry-manager", "--timeout=20s"];
        this.until("the manager runs", async || cluster.kubectl(&status).await.ok()).await;
        // What a scenario that has failed has left.
        this.without_pipelines().await;
        this
    }

    /// Deletes all pipelines and what was said of the module, waits until nothing is there any more that ran for them, and deletes
    /// the claims that are left.
    pub(super) async fn without_pipelines(&self) {
        let kinds = format!("{PIPELINES},telemetries");
        self.kubectl(&["--namespace", "telemetry-system", "delete", &kinds, "--all"]).await;
        let look = async || (self.workloads().await == ["deployment.apps/telemetry-manager"]).then_some(());
        self.until("nothing but the manager runs without pipelines", look).await;
        if !self.list("persistentvolumeclaim", "telemetry-system", "").await.is_empty() {
            // A claim goes behind its pods, which have nothing left to deliver.
            let delete = ["--namespace", "telemetry-system", "delete"];
            let pods = ["pods", "--selector", ENGINES, "--grace-period=0", "--force"];
            self.kubectl(&[&delete[..], &pods].concat()).await;
            self.kubectl(&[&delete[..], &["persistentvolumeclaims", "--all"]].concat()).await;
        }
    }

    /// Takes everything away, and asserts that nothing is left.
    pub(super) async fn uninstall(&self) {
        *INSTALLED.lock().unwrap() = None;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.manifest).unwrap();
        self.kubectl(&["delete", "--filename", file.path().to_str().unwrap(), "--timeout=120s"]).await;
        let kinds = "clusterroles,clusterrolebindings,customresourcedefinitions,namespaces";
        let left = async || {
            let names = self.kubectl(&["get", kinds, "--output", "name"]).await;
            let of_ours = |name: &&str| name.contains("telemetry") || name.contains("kyma-project");
            names.lines().filter(of_ours).map(str::to_owned).collect::<Vec<_>>()
        };
        let look = async || left().await.is_empty().then_some(());
        self.until("nothing is left", look).await;
    }

    /// Workloads in both namespaces.
    pub(super) async fn workloads(&self) -> Vec<String> {
        let mut all = Vec::new();
        for namespace in NAMESPACES {
            for kind in ["deployment", "daemonset", "statefulset"] {
                let found = self.list(kind, namespace, "").await;
                let name = |object: &Value| format!("{kind}.apps/{}", object["metadata"]["name"].as_str().unwrap());
                all.extend(found.iter().map(name));
            }
        }
        all
    }

    /// The pods of engines, those that are about to end among them.
    pub(super) async fn pods(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for namespace in NAMESPACES {
            all.extend(self.list("pod", namespace, ENGINES).await);
        }
        all
    }

    /// The pods of engines that are not about to end: their uids, with how often their containers were restarted.
    pub(super) async fn engines(&self) -> Vec<(String, i64)> {
        let pods = self.pods().await;
        let stay = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let of = |pod: &Value| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or_default();
            (pod["metadata"]["uid"].as_str().unwrap().to_owned(), restarts)
        };
        let mut all: Vec<_> = stay.map(of).collect();
        all.sort();
        all
    }

    pub(super) async fn apply(&self, manifest: &str) {
        self.cluster.apply(manifest).await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    pub(super) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// An object of a kind, which `kubectl` knows by the same word; in no namespace where that is empty.
    pub(super) async fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let found = self.objects(kind, namespace).get_opt(name).await.unwrap();
        found.map(|object| json!(object))
    }

    /// The objects of a kind with these labels.
    pub(super) async fn list(&self, kind: &str, namespace: &str, labels: &str) -> Vec<Value> {
        let found = self.objects(kind, namespace).list(&ListParams::default().labels(labels)).await.unwrap();
        found.items.iter().map(|object| json!(object)).collect()
    }

    fn objects(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "logpipeline" | "metricpipeline" | "tracepipeline" => ("telemetry.kyma-project.io", "v1beta1"),
            "telemetry" => ("operator.kyma-project.io", "v1beta1"),
            "deployment" | "daemonset" | "statefulset" => ("apps", "v1"),
            _ => ("", "v1"),
        };
        let plural = if kind == "telemetry" { "telemetries".to_owned() } else { format!("{kind}s") };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// A pipeline, as `KIND/NAME`.
    async fn read(&self, object: &str) -> Option<Value> {
        let (kind, name) = object.split_once('/').unwrap();
        self.get(kind, "", name).await
    }

    /// A condition of a pipeline, if it is about the pipeline as it is now.
    pub(super) async fn condition(&self, object: &str, kind: &str) -> Option<Value> {
        condition(&self.read(object).await?, kind)
    }

    /// Waits until conditions hold, all at once and for good reasons only.
    pub(super) async fn is_true(&self, object: &str, kinds: &[&str]) {
        let look = async || {
            let found = self.read(object).await?;
            let holds = |kind: &&str| {
                let condition = condition(&found, kind)?;
                let is_passing = condition["reason"] == "RolloutInProgress";
                (condition["status"] == "True" && !is_passing).then_some(())
            };
            kinds.iter().try_for_each(holds)
        };
        self.until(&format!("{kinds:?} of {object} are True"), look).await;
    }

    /// Waits until a condition is `False` for this reason, and gives its message.
    pub(super) async fn is_false(&self, object: &str, kind: &str, reason: &str) -> String {
        let look = async || {
            let condition = self.condition(object, kind).await?;
            let is_meant = condition["status"] == "False" && condition["reason"] == reason;
            is_meant.then(|| condition["message"].as_str().unwrap().to_owned())
        };
        self.until(&format!("{kind} of {object} is False: {reason}"), look).await
    }

    /// Waits; tells everything about the installation if it is in vain.
    pub(super) async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        self.within(LIMIT, what, look).await
    }

    /// The same for no longer than what is promised.
    pub(super) async fn within<T>(&self, limit: Duration, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        match wait_until(what, limit, look).await {
            Ok(found) => found,
            Err(error) => panic!("{error}\n{}", self.told().await),
        }
    }

    /// What is told about the installation, for the one who has to find out what went wrong.
    pub(super) async fn told(&self) -> String {
        let kinds = format!("{PIPELINES},telemetries");
        let mut all =
            self.cluster.kubectl(&["get", &kinds, "--all-namespaces", "--output", "yaml"]).await.unwrap_or_default();
        for namespace in NAMESPACES {
            for arguments in [
                &["get", "pods,deployments,statefulsets,daemonsets,secrets,pvc", "--output", "wide"][..],
                &["get", "events", "--sort-by", ".lastTimestamp"],
                &[
                    "logs",
                    "--selector",
                    "app.kubernetes.io/part-of=telemetry",
                    "--tail",
                    "40",
                    "--prefix",
                    "--all-containers",
                ],
            ] {
                let arguments = [&["--namespace", namespace], arguments].concat();
                all += &self.cluster.kubectl(&arguments).await.unwrap_or_else(|error| format!("{error:#}\n"));
            }
        }
        all
    }
}

/// A condition of an object, if it is about the object as it is now.
fn condition(object: &Value, kind: &str) -> Option<Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    let of_kind = conditions.iter().find(|condition| condition["type"] == kind);
    of_kind.filter(|condition| condition["observedGeneration"] == object["metadata"]["generation"]).cloned()
}
