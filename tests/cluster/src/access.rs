//! The way to an API server: a kubeconfig, a client, and `kubectl`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::certificates::write_kubeconfig;
use crate::wait_until;

/// How long a namespace may take to have its first service account.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(30);

/// How to reach an API server as its administrator.
#[derive(Clone, Debug)]
pub struct Access {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

impl Access {
    pub(crate) fn new(kubeconfig: PathBuf, kubectl: PathBuf) -> Self {
        Self { kubeconfig, kubectl }
    }

    /// The file that says where the API server is and who we are.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of its own. It belongs to the runtime that it is made in.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    /// Calls `kubectl` and returns what it prints.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "").await
    }

    /// Applies objects, as `kubectl apply` does.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-f", "-"], yaml).await.map(drop)
    }

    /// Writes a kubeconfig of a service account to a file: with it one may what the account may, and nothing else.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str, file: &Path) -> Result<()> {
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace, "--duration", "24h"]).await?;
        let own: serde_json::Value = serde_json::from_slice(&std::fs::read(&self.kubeconfig)?)
            .context("the kubeconfig of a cluster of somebody else cannot be read here")?;
        write_kubeconfig(file, &own["clusters"][0]["cluster"], &json!({ "token": token.trim() }))
    }

    /// A new namespace in which pods can be created at once; the name begins with `prefix`.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let client = self.client().await?;
        let object = serde_json::from_value(json!({ "metadata": { "generateName": format!("{prefix}-") } }))?;
        let created = Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        let name = created.metadata.name.context("the API server names what it has created")?;
        let accounts = Api::<ServiceAccount>::namespaced(client, &name);
        let what = format!("the namespace {name} has a service account");
        wait_until(&what, ACCOUNT_LIMIT, async || accounts.get_opt("default").await.ok().flatten()).await?;
        Ok(name)
    }

    async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let cache = self.kubeconfig.with_file_name("kubectl-cache");
        let mut process = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(cache)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.kubectl.display()))?;
        let mut pipe = process.stdin.take().context("its input is a pipe")?;
        // kubectl may end without having read its input; then its error says why.
        pipe.write_all(input.as_bytes()).await.ok();
        drop(pipe);
        let output = process.wait_with_output().await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), errors.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A client by the kubeconfig of a file.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

/// One that asks once: 429, 503 and 504 are answers like others.
pub(crate) async fn client_without_retries(kubeconfig: &Path) -> Result<Client> {
    let mut config = config(kubeconfig).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let document = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(document, &KubeConfigOptions::default()).await?)
}
