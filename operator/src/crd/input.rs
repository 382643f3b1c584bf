//! What pipelines take in, as far as kinds share it.
//!
//! Not here: which namespaces an unset selector means, which depends on the input (`plan`).

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Data that is pushed to the gateway over OTLP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct OtlpInput {
    /// Whether the pipeline gets it.
    #[serde(default = "on")]
    pub enabled: bool,
    /// Namespaces that data may come from, by its attribute `k8s.namespace.name`; data without that attribute passes.
    /// Unset means all namespaces, those of the system among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,
}

/// Some namespaces: those that are listed, or all others. An empty selector is all namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.include) && has(self.exclude))",
    "Only one of 'include' or 'exclude' can be defined",
))]
pub struct NamespaceSelector {
    /// These namespaces and no others. Not together with `exclude`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63)))]
    pub include: Vec<String>,
    /// All namespaces but these. Not together with `include`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63)))]
    pub exclude: Vec<String>,
}

/// Some containers: those that are listed, or all others. An empty selector is all containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!(has(self.include) && has(self.exclude))",
    "Only one of 'include' or 'exclude' can be defined",
))]
pub struct ContainerSelector {
    /// Containers of these names and no others. Not together with `exclude`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// All containers but those of these names. Not together with `include`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// Something that is on or off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Switch {
    /// Whether it is on. What unset means is said where the switch stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

impl Default for OtlpInput {
    fn default() -> Self {
        Self { enabled: true, namespaces: None }
    }
}

/// The default of what is on unless it is switched off.
pub(super) fn on() -> bool {
    true
}
