//! Settings of the whole process: `[admin]`, `[status]`, `[memory]`, `[shutdown]`, `[engine]`, `[secrets]`, `[state]`,
//! `[kubernetes]`.
//!
//! Keys of components are in `options` and `sink`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;
use crate::component::Reference;
use crate::secret::SecretRef;
use crate::size::ByteSize;
use crate::span::Span;

/// The most lanes that the engine runs; more cores do not help a single gateway.
pub const MAX_LANES: usize = 8;

/// Settings of the whole process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The administration server.
    pub admin: AdminSettings,
    /// A second listener of the administration server for those who are not on this machine. Without the table there is
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusSettings>,
    /// The memory of the process.
    pub memory: MemorySettings,
    /// What happens at the end.
    pub shutdown: ShutdownSettings,
    /// How the engine uses the machine.
    pub engine: EngineSettings,
    /// Where secrets come from.
    pub secrets: SecretsSettings,
    /// What outlives the process.
    pub state: StateSettings,
    /// The cluster that this process runs in or looks at.
    pub kubernetes: KubernetesSettings,
}

/// The administration server: `/livez`, `/readyz`, `/metrics` and `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Address and port to listen on. Keep it on the loopback interface unless something in front of it decides who may
    /// look.
    pub listen: ListenAddress,
}

/// A second, read-only listener of the administration server, for an address that others reach: `/livez` and `/readyz` for
/// the kubelet, and with the token `/status` and `/metrics` for an operator. Without this table there is none.
///
/// It speaks HTTP in clear: whoever sees its traffic can read with the token. In a cluster a NetworkPolicy says who reaches
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusSettings {
    /// Address and port to listen on. `"[::]:8889"` is every IPv4 and IPv6 address.
    pub listen: ListenAddress,
    /// The token that those show who read `/status` and `/metrics` (`Authorization: Bearer TOKEN`); others get 401. A secret
    /// of several lines is several tokens, all of them good. A file is looked at again with the first request 10 s after the
    /// last look, and at once when somebody shows what is not known yet, at most every second; while it is gone, empty or
    /// unfit, what it held last stays good.
    pub token: SecretRef,
}

/// The memory of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// Bytes for connections, requests in flight, buffers and held data together. Default: 70 % of the control group's
    /// memory limit, in small groups less, so that 48MiB are left for everything else; without a group a quarter of the
    /// machine's memory, at most 1GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "16MiB"))]
    pub limit: Option<ByteSize>,
}

/// What happens at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSettings {
    /// How long data is still admitted after `/readyz` has turned: the time that load balancers need to notice. After 5s, or
    /// half of it, each connection is closed with its next answer, so that clients are elsewhere at the end. 0s on a laptop,
    /// 10s on Kubernetes.
    #[schemars(extend("x-maximum" = "10m"))]
    pub delay: Span,
    /// How long buffers may take to empty once nothing is admitted any more. What is left is counted and logged.
    #[schemars(extend("x-maximum" = "1h"))]
    pub grace: Span,
}

/// How the engine uses the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineSettings {
    /// Threads that take in, transform and send data. Default: the available cores, at most 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
    pub lanes: Option<u8>,
    /// Name of the role that this process plays: a label in its own telemetry, nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub role: Option<String>,
}

/// Where secrets come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsSettings {
    /// Directory with one file a secret, such as a mounted Kubernetes Secret. A reference `"directory:NAME"` reads the
    /// file NAME in it, so that components do not repeat where secrets are mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path"))]
    pub directory: Option<PathBuf>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StateSettings {
    /// Directory in which components keep small documents: how far they have read, what they have seen. The configuration
    /// that ran last is kept there too, as it is written: it runs again when a start finds one that is refused. The directory
    /// is made if it is absent, and one process at a time may use it. Without it a component that needs one is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path"))]
    pub directory: Option<PathBuf>,
}

/// The cluster that this process runs in or looks at. Components that know pods read it with one watch of all pods, or of
/// those of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSettings {
    /// A kubeconfig; its current context is used. Default: the service account of the pod; outside of a cluster what
    /// `KUBECONFIG` names, or `~/.kube/config`. Files with tokens, certificates and authorities are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "absolute-path"))]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the node this process runs on, such as `"${NODE_NAME}"` with `--expand-environment`: only the pods of this
    /// node are known, which is all that an agent needs. Without it all pods of the cluster are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "node-name"))]
    pub node: Option<String>,
    /// Name of the cluster, for `k8s.cluster.name`. Clusters do not know their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub cluster_name: Option<String>,
    /// Objects that are asked for at once when everything is listed: more are faster, fewer take less memory.
    #[schemars(range(min = 10, max = 10000))]
    pub page_size: NonZeroU32,
}

impl Settings {
    /// The names of its tables, in the order of the fields.
    pub(crate) const TABLES: [&str; 8] =
        ["admin", "status", "memory", "shutdown", "engine", "secrets", "state", "kubernetes"];

    /// The secrets that they name, each with its table in front of its key.
    pub fn references(&self) -> Vec<Reference> {
        let token = |status: &StatusSettings| Reference {
            path: vec!["status".to_owned(), "token".to_owned()],
            target: status.token.clone(),
        };
        self.status.iter().map(token).collect()
    }
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { listen: ListenAddress::loopback(13133) }
    }
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        let page_size = NonZeroU32::new(250).expect("not zero");
        Self { kubeconfig: None, node: None, cluster_name: None, page_size }
    }
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { delay: Span::secs(0), grace: Span::secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{of_settings, properties_of};

    /// The tables that parsing takes are those of the type.
    #[test]
    fn every_table_is_listed() {
        let schema = of_settings();
        let fields: Vec<_> = properties_of(schema).map(|(name, _)| name.as_str()).collect();
        assert_eq!(fields, Settings::TABLES);
    }
}
