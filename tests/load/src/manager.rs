//! The Telemetry Manager under test: installed as users install it, with the rights of its service account, and run as a
//! process on this machine. What it has to make is what its own command line prints for the same manifests; whether that is
//! there is decided by what the API server says.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cluster::{Access, Followed, Objects, Witness, contains, exactly};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    admin::Admin,
    peer::{Peer, free_address},
    process::Usage,
    signal::Signal,
};

/// What users install, as `kubectl apply -k` takes it.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
/// Namespace of the manager and the gateways.
pub const NAMESPACE: &str = "telemetry-system";
/// Namespace of the agents.
pub const AGENT_NAMESPACE: &str = "telemetry-agents";
/// The service account of the manager, which is also the name of its Deployment.
const ACCOUNT: &str = "telemetry-manager";
/// Labels of everything that the manager makes.
const LABELS: &str = "app.kubernetes.io/managed-by=telemetry-manager";
/// Of pipelines.
const API_VERSION: &str = "telemetry.kyma-project.io/v1beta1";
/// How long is waited for anything to be there.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a manager may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// An installation in a cluster, without a manager that runs.
pub struct Installation {
    binary: PathBuf,
    kubeconfig: PathBuf,
    /// Holds the kubeconfig.
    _directory: TempDir,
}

/// A manager that runs.
pub struct Manager {
    peer: Peer,
    /// Where it says how it is.
    pub admin: Admin,
}

/// Everything that the manager has to make for some pipelines, and nothing else.
#[derive(Debug)]
pub struct Wanted(Vec<Value>);

/// What the API server says of what a manager makes, and of pipelines.
pub struct Seen {
    made: Witness,
    pipelines: Witness,
}

#[derive(Deserialize)]
struct Rendered {
    objects: Vec<Value>,
}

/// Installs everything that users install in a cluster, with these images, which its nodes have already, and waits until the
/// manager runs.
///
/// # Errors
/// When the API server refuses something, or the manager does not run in time.
pub async fn install(access: &Access, manager_image: &str, engine_image: &str) -> Result<()> {
    let manifest = access.kubectl(&["kustomize", CONFIG]).await?;
    let here = manifest
        .replace("image: telemetry-manager:0.1.0", &format!("image: {manager_image}\n        imagePullPolicy: Never"))
        .replace(
            "- telemetry-engine:0.1.0",
            &format!("- {engine_image}\n        - --image-pull-policy\n        - Never"),
        );
    ensure!(here.contains(manager_image) && here.contains(engine_image), "the manifests name other images");
    access.apply(&here).await?;
    let deployment = format!("deployment/{ACCOUNT}");
    let status = ["--namespace", NAMESPACE, "rollout", "status", &deployment, "--timeout=120s"];
    access.kubectl(&status).await.map(drop)
}

impl Installation {
    /// Installs everything that users install, without a pod of the manager.
    ///
    /// # Errors
    /// When the API server refuses something.
    pub async fn new(access: &Access, binary: &Path) -> Result<Installation> {
        access.kubectl(&["apply", "--kustomize", CONFIG]).await?;
        let deployment = format!("deployment/{ACCOUNT}");
        access.kubectl(&["--namespace", NAMESPACE, "scale", &deployment, "--replicas=0"]).await?;
        access.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?;
        let directory = TempDir::with_prefix("bars-")?;
        let kubeconfig = directory.path().join("kubeconfig");
        access.kubeconfig_of(NAMESPACE, ACCOUNT, &kubeconfig).await?;
        Ok(Installation { binary: binary.to_owned(), kubeconfig, _directory: directory })
    }

    /// Whom the API server takes the manager for.
    pub fn user() -> String {
        format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
    }

    /// Follows everything that a manager makes here, and the pipelines.
    ///
    /// # Errors
    /// When something cannot be listed.
    pub async fn seen(&self, access: &Access) -> Result<Seen> {
        let backend = SocketAddr::from(([192, 0, 2, 1], 4317));
        let all: String = Signal::ALL.map(|signal| pipeline(signal, "one", backend)).concat();
        let client = access.client().await?;
        let pipelines = Signal::ALL.map(|signal| Followed {
            api_version: API_VERSION.to_owned(),
            kind: kind(signal).to_owned(),
            namespace: None,
            labels: None,
        });
        Ok(Seen {
            made: Witness::start(&client, Followed::like(&self.wanted(&all)?.0, Some(LABELS))).await?,
            pipelines: Witness::start(&client, pipelines).await?,
        })
    }

    /// Starts a manager that is called like the one before it, as a container that is started again is.
    ///
    /// # Errors
    /// When it ends at once.
    pub fn start(&self) -> Result<Manager> {
        let address = free_address()?;
        let mut command = Command::new(&self.binary);
        command.args(["run", "--engine-image", "telemetry-engine:0.1.0", "--identity", "telemetry-manager-0"]);
        command.arg("--listen").arg(address.to_string()).arg("--kubeconfig").arg(&self.kubeconfig);
        // The plan of the command line knows no cluster by name.
        command.env_remove("KUBERNETES_SERVICE_HOST");
        Ok(Manager { peer: Peer::of(command, address)?, admin: Admin(address) })
    }

    /// What the manager has to make for these manifests.
    ///
    /// # Errors
    /// When they are wrong.
    pub fn wanted(&self, manifests: &str) -> Result<Wanted> {
        let mut command = Command::new(&self.binary);
        command.args(["render", "--output", "json", "--filename", "-"]).env_remove("KUBERNETES_SERVICE_HOST");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        process.stdin.take().context("its input is a pipe")?.write_all(manifests.as_bytes())?;
        let output = process.wait_with_output()?;
        ensure!(output.status.success(), "render: {}", String::from_utf8_lossy(&output.stderr).trim());
        let rendered: Rendered = serde_json::from_slice(&output.stdout).context("render prints JSON")?;
        Ok(Wanted(rendered.objects))
    }
}

impl Manager {
    /// Waits until it has seen the cluster.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn until_ready(&self) -> Result<()> {
        let start = Instant::now();
        while !self.admin.is_ready() {
            ensure!(start.elapsed() < READY_LIMIT, "the manager is not ready: {:?}", self.usage());
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Its figures now.
    ///
    /// # Errors
    /// When it has ended, with the end of its log.
    pub fn usage(&self) -> Result<Usage> {
        self.peer.usage()
    }

    /// Kills it, without a word before.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(self) -> Result<()> {
        self.peer.kill()
    }
}

impl Wanted {
    /// Nothing at all.
    pub fn nothing() -> Wanted {
        Wanted(Vec::new())
    }

    /// How many objects these are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// One of them.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// Whether exactly these objects are there, each with its content.
    ///
    /// # Errors
    /// The first difference.
    fn is_there(&self, objects: &Objects) -> Result<(), String> {
        let compare = |found: &Value, wanted: &Value| match wanted["kind"].as_str() {
            Some("Secret") => secret_contains(found, wanted),
            _ => contains(found, wanted),
        };
        exactly(objects, &self.0, compare)
    }
}

/// Whether a Secret has what is printed of one: texts in the clear, and files that are covered, which must not be empty.
fn secret_contains(found: &Value, wanted: &Value) -> Result<(), String> {
    let mut rest = wanted.clone();
    let texts = rest.as_object_mut().and_then(|object| object.remove("stringData")).unwrap_or_default();
    contains(found, &rest)?;
    for (key, text) in texts.as_object().into_iter().flatten() {
        let content = found["data"][key].as_str().and_then(|data| STANDARD.decode(data).ok()).unwrap_or_default();
        let is_it =
            if key == "engine.toml" { text == &*String::from_utf8_lossy(&content) } else { !content.is_empty() };
        if !is_it {
            return Err(format!("data.{key}: another content"));
        }
    }
    let keys = |object: &Value| object.as_object().map_or(0, serde_json::Map::len);
    if keys(&found["data"]) == keys(&texts) { Ok(()) } else { Err("data: other keys".to_owned()) }
}

impl Seen {
    /// Waits until exactly these objects are there.
    ///
    /// # Errors
    /// When that takes too long, with the first difference.
    pub async fn until_there(&self, wanted: &Wanted) -> Result<Instant> {
        self.made.until("everything is there", LIMIT, |objects| wanted.is_there(objects)).await
    }

    /// Waits until the manager has said of all pipelines, as they are now, that their configuration is there.
    ///
    /// # Errors
    /// When that takes too long, with the first one of which it has not.
    pub async fn until_accepted(&self) -> Result<Instant> {
        self.pipelines.until("all pipelines are accepted", LIMIT, are_accepted).await
    }
}

fn are_accepted(pipelines: &Objects) -> Result<(), String> {
    let is_accepted = |pipeline: &Value| {
        let mut conditions = pipeline.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        conditions.any(|condition| {
            condition["type"] == "ConfigurationGenerated"
                && condition["status"] == "True"
                && condition["observedGeneration"] == pipeline["metadata"]["generation"]
        })
    };
    let other = pipelines.iter().find(|(_, pipeline)| !is_accepted(pipeline));
    other.map_or(Ok(()), |(id, _)| Err(format!("{id} is not said to be accepted")))
}

/// The manifest of a pipeline that takes everything and sends it to a backend at this port.
pub fn pipeline(signal: Signal, name: &str, backend: SocketAddr) -> String {
    let kind = kind(signal);
    format!(
        "apiVersion: {}\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec:\n  output: {{ otlp: {{ endpoint: {{ value: \
         \"http://{backend}\" }} }} }}\n---\n",
        API_VERSION
    )
}

/// The kind of the pipelines of a signal.
pub fn kind(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "LogPipeline",
        Signal::Points => "MetricPipeline",
        Signal::Spans => "TracePipeline",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Secret is as it is printed when its text is the same and every covered file has some content.
    #[test]
    fn secrets_are_compared_by_what_is_printed() {
        let wanted = json!({ "kind": "Secret", "stringData": { "engine.toml": "version = 1", "token": "**" } });
        let found = |toml: &str, token: &str| json!({ "kind": "Secret", "data": { "engine.toml": STANDARD.encode(toml), "token": token } });
        assert_eq!(secret_contains(&found("version = 1", "c2VjcmV0"), &wanted), Ok(()));
        assert!(secret_contains(&found("version = 2", "c2VjcmV0"), &wanted).is_err());
        assert!(secret_contains(&found("version = 1", ""), &wanted).is_err());
    }
}
