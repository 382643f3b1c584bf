//! An installation of the manager from `config/`, and what a user sees of it with `kubectl`.

use std::path::Path;
use std::time::Duration;

use cluster::{Cluster, wait_until};
use serde_json::Value;

use crate::LIMIT;
use crate::installation::{ENGINE, MANAGER};

/// Both namespaces of an installation.
const NAMESPACES: [&str; 2] = ["telemetry-system", "telemetry-agents"];
/// The kinds of pipelines.
const PIPELINES: &str = "logpipelines,metricpipelines,tracepipelines";

/// The installation. There is one in a cluster.
pub(super) struct Manager {
    pub(super) cluster: &'static Cluster,
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
        let this = Self { cluster, manifest };
        this.apply(&this.manifest).await;
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
        self.kubectl(&["delete", PIPELINES, "--all"]).await;
        self.kubectl(&["--namespace", "telemetry-system", "delete", "telemetries", "--all"]).await;
        let look = async || (self.workloads().await == ["deployment.apps/telemetry-manager"]).then_some(());
        self.until("nothing but the manager runs without pipelines", look).await;
        self.kubectl(&["--namespace", "telemetry-system", "delete", "persistentvolumeclaims", "--all"]).await;
    }

    /// Takes everything away, and asserts that nothing is left.
    pub(super) async fn uninstall(&self) {
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
            let kinds = "deployments,daemonsets,statefulsets";
            let names = self.kubectl(&["--namespace", namespace, "get", kinds, "--output", "name"]).await;
            all.extend(names.lines().map(str::to_owned));
        }
        all
    }

    /// The pods of engines, those that are about to end among them.
    pub(super) async fn pods(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for namespace in NAMESPACES {
            let selector = "app.kubernetes.io/managed-by=telemetry-manager";
            let list = self.json(&["--namespace", namespace, "get", "pods", "--selector", selector]).await;
            all.extend(list["items"].as_array().unwrap().iter().cloned());
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

    /// What `kubectl` says, as JSON.
    pub(super) async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&text).unwrap()
    }

    /// A condition of a pipeline, if it is about the pipeline as it is now.
    pub(super) async fn condition(&self, object: &str, kind: &str) -> Option<Value> {
        let object = self.json(&["get", object]).await;
        let conditions = object["status"]["conditions"].as_array()?;
        let of_kind = conditions.iter().find(|condition| condition["type"] == kind);
        of_kind.filter(|condition| condition["observedGeneration"] == object["metadata"]["generation"]).cloned()
    }

    /// Waits until conditions hold, for good reasons only.
    pub(super) async fn is_true(&self, object: &str, kinds: &[&str]) {
        for kind in kinds {
            let look = async || {
                let condition = self.condition(object, kind).await?;
                let is_passing = condition["reason"] == "RolloutInProgress";
                (condition["status"] == "True" && !is_passing).then_some(())
            };
            self.until(&format!("{kind} of {object} is True"), look).await;
        }
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
