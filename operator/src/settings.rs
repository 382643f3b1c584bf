//! What the manager is told by its own deployment: where things run, and which engine. Not here: the Telemetry object,
//! which users write.

use std::num::NonZeroUsize;

use crate::collect::SecretName;
use crate::role::Role;

/// Settings of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the manager and of the gateways.
    pub namespace: String,
    /// Namespace of the agents, which mount directories of their nodes.
    pub agent_namespace: String,
    /// Uid of [`Settings::namespace`]. Everything outside of it is owned by this namespace, so that it goes with it.
    pub namespace_uid: Option<String>,
    /// Image of the engine.
    pub image: String,
    /// When nodes pull it; absent leaves it to Kubernetes.
    pub image_pull_policy: Option<String>,
    /// Secrets with which nodes pull it.
    pub image_pull_secrets: Vec<String>,
    /// Version of the engine in that image. Engines of two versions never share a configuration.
    pub engine_version: String,
    /// Domain of the cluster's names.
    pub cluster_domain: String,
    /// `k8s.cluster.name` where the Telemetry object names none; empty sets none.
    pub cluster_name: String,
    /// Ports at which the API server is reached, for network policies: that of its Service and the one behind it.
    pub api_server_ports: Vec<u16>,
    /// How many pipelines of one kind may run; absent is no limit.
    pub max_pipelines: Option<NonZeroUsize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "telemetry-system".to_owned(),
            agent_namespace: "telemetry-agents".to_owned(),
            namespace_uid: None,
            image: format!("telemetry-engine:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            cluster_name: String::new(),
            api_server_ports: vec![443, 6443, 8443, 16443],
            max_pipelines: None,
        }
    }
}

/// The Secret with the tokens of an installation.
pub const TOKENS_SECRET: &str = "telemetry-tokens";

impl Settings {
    /// Whether a Secret is of the installation: what the manager gives to engines, the tokens, and with what nodes pull images.
    pub fn is_own_secret(&self, secret: &SecretName) -> bool {
        let is_here = secret.namespace == self.namespace || secret.namespace == self.agent_namespace;
        let is_of_role = Role::of_object(&secret.name).is_some();
        let is_of_installation = secret.name == TOKENS_SECRET || self.image_pull_secrets.contains(&secret.name);
        is_here && (is_of_role || is_of_installation)
    }

    /// Namespaces that log pipelines leave out unless they say otherwise: those of Kubernetes, of a service mesh, and our
    /// own, whose logs tell of the logs that are sent.
    pub fn system_namespaces(&self) -> [&str; 5] {
        ["istio-system", "kube-system", "kyma-system", &self.namespace, &self.agent_namespace]
    }
}
