//! The manager in a real cluster, as users have it: installed from `config/`, spoken to with `kubectl` alone.

use std::path::Path;

use cluster::{Cluster, or_skip, wait_until};
use serde_json::Value;

use crate::installation::{ENGINE, Installation, MANAGER, POD};
use crate::oracle::Oracle;
use crate::{LIMIT, TURN};

const PRINTERS: &str = include_str!("manifests/printers.yaml");
/// Lines that a container prints before it ends and is started again.
const LINES: usize = 2_000;
/// Both namespaces of an installation.
const NAMESPACES: [&str; 2] = ["telemetry-system", "telemetry-agents"];

/// Before the first pipeline nothing runs but the manager. A LogPipeline brings what pods print to its backend, enriched, and
/// says so; one that is wrong beside it changes nothing and says what to do. With the last pipeline its components go, and
/// after the uninstallation nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_flow_from_the_first_pipeline_to_the_last() {
    let _turn = TURN.lock().await;
    let Some(cluster) = or_skip(Cluster::shared(2).await) else { return };
    let printers = Installation::new(cluster, "shop").await;
    let manager = Manager::install(cluster).await;
    assert_eq!(manager.workloads().await, ["deployment.apps/telemetry-manager"], "nothing but the manager runs");

    let oracle = Oracle::default();
    let backend = oracle.serve(cluster.machine_address()).await.to_string();
    manager
        .apply(&format!(
            "apiVersion: telemetry.kyma-project.io/v1beta1\nkind: LogPipeline\nmetadata: {{ name: shop }}\nspec:\n  \
             input: {{ runtime: {{ namespaces: {{ include: [{}] }}, containers: {{ include: [printer] }} }} }}\n  \
             output: {{ otlp: {{ endpoint: {{ value: \"http://{backend}\" }} }} }}\n",
            printers.namespace
        ))
        .await;
    manager.is_true("logpipeline/shop", &["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"]).await;
    printers.apply(PRINTERS, &[("image", POD), ("lines", &LINES.to_string())]).await;
    let look = async || {
        let runs = oracle.runs();
        let whole = runs.values().filter(|run| run.is_complete(LINES)).count();
        (whole >= 2).then_some(runs)
    };
    let runs = manager.until("whole runs of printing pods", look).await;
    let sum = |count: fn(&crate::oracle::Run) -> usize| runs.values().map(count).sum::<usize>();
    let (missing, duplicates) = (sum(crate::oracle::Run::missing), sum(|run| run.duplicates() as usize));
    assert_eq!((missing, duplicates), (0, 0), "missing and duplicates");
    let of_printers = |resource: &&crate::oracle::Attributes| resource["k8s.daemonset.name"] == "printer";
    let resource = runs.values().flat_map(|run| &run.resources).find(of_printers).unwrap();
    for (key, value) in [
        ("k8s.namespace.name", printers.namespace.as_str()),
        ("k8s.container.name", "printer"),
        ("service.name", "printer"),
    ] {
        assert_eq!(resource.get(key).map(String::as_str), Some(value), "{key} of {resource:?}");
    }
    assert!(!resource.keys().any(|key| key.starts_with("telemetry_engine.")), "no mark leaves: {resource:?}");
    manager.is_true("logpipeline/shop", &["TelemetryFlowHealthy"]).await;

    manager
        .apply(
            "apiVersion: telemetry.kyma-project.io/v1beta1\nkind: LogPipeline\nmetadata: { name: wrong }\nspec:\n  output:\n    \
             otlp:\n      endpoint: { valueFrom: { secretKeyRef: { name: absent, namespace: telemetry-system, key: endpoint } } }\n",
        )
        .await;
    let look = async || {
        let condition = manager.condition("logpipeline/wrong", "ConfigurationGenerated").await?;
        (condition["reason"] == "ReferencedSecretMissing").then_some(())
    };
    manager.until("the wrong pipeline says what is wrong", look).await;
    manager.is_true("logpipeline/shop", &["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"]).await;

    manager.kubectl(&["delete", "logpipelines", "--all"]).await;
    let look = async || (manager.workloads().await == ["deployment.apps/telemetry-manager"]).then_some(());
    manager.until("the components are gone with the last pipeline", look).await;
    manager.uninstall().await;
}

/// An installation of the manager from `config/`.
struct Manager {
    cluster: &'static Cluster,
    manifest: String,
}

impl Manager {
    /// Installs it with the images of this build, and waits until it runs.
    async fn install(cluster: &'static Cluster) -> Self {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let manifest = cluster.kubectl(&["kustomize", config.to_str().unwrap()]).await.unwrap();
        let manifest = manifest
            .replace("image: telemetry-manager:0.1.0", &format!("image: {MANAGER}\n        imagePullPolicy: Never"))
            .replace(
                "- telemetry-engine:0.1.0",
                &format!("- {ENGINE}\n        - --image-pull-policy\n        - Never"),
            );
        assert!(manifest.contains(MANAGER) && manifest.contains(ENGINE), "the images are those of this build");
        let this = Self { cluster, manifest };
        // Objects of a kind can be made only when the kind is there.
        cluster.apply(&this.manifest).await.unwrap();
        let status =
            ["--namespace", "telemetry-system", "rollout", "status", "deployment/telemetry-manager", "--timeout=20s"];
        this.until("the manager runs", async || cluster.kubectl(&status).await.ok()).await;
        this
    }

    /// Takes everything away, and asserts that nothing is left.
    async fn uninstall(self) {
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
    async fn workloads(&self) -> Vec<String> {
        let mut all = Vec::new();
        for namespace in NAMESPACES {
            let kinds = "deployments,daemonsets,statefulsets";
            let names = self.kubectl(&["--namespace", namespace, "get", kinds, "--output", "name"]).await;
            all.extend(names.lines().map(str::to_owned));
        }
        all
    }

    async fn apply(&self, manifest: &str) {
        self.cluster.apply(manifest).await.unwrap();
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A condition of an object.
    async fn condition(&self, object: &str, kind: &str) -> Option<Value> {
        let text = self.kubectl(&["get", object, "--output", "json"]).await;
        let object: Value = serde_json::from_str(&text).unwrap();
        let conditions = object["status"]["conditions"].as_array()?;
        conditions.iter().find(|condition| condition["type"] == kind).cloned()
    }

    /// Waits until conditions hold, for good reasons only.
    async fn is_true(&self, object: &str, kinds: &[&str]) {
        for kind in kinds {
            let look = async || {
                let condition = self.condition(object, kind).await?;
                let is_passing = condition["reason"] == "RolloutInProgress";
                (condition["status"] == "True" && !is_passing).then_some(())
            };
            self.until(&format!("{kind} of {object} is True"), look).await;
        }
    }

    /// Waits; tells everything about the installation if it is in vain.
    async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        match wait_until(what, LIMIT, look).await {
            Ok(found) => found,
            Err(error) => panic!("{error}\n{}", self.told().await),
        }
    }

    async fn told(&self) -> String {
        let pipelines = "logpipelines,metricpipelines,tracepipelines";
        let mut all = self.cluster.kubectl(&["get", pipelines, "--output", "yaml"]).await.unwrap_or_default();
        for namespace in NAMESPACES {
            for arguments in [
                &["get", "pods,deployments,daemonsets,secrets", "--output", "wide"][..],
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
