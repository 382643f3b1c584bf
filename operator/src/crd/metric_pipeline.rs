//! `MetricPipeline`: which metrics are collected and where they go.
//!
//! Not here: what its settings mean for a workload (`plan`).

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::{NamespaceSelector, OtlpInput, Switch};
use super::output::OtlpOutput;
use super::processing::{Filter, Transform};
use super::status::PipelineStatus;

/// What is collected, what is done with it, and where it goes. A pipeline that asks for what this version cannot do, or
/// that cannot work, runs nothing and disturbs no other: its condition `ConfigurationGenerated` is `False` and names the
/// field.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "telemetry.kyma-project.io",
    version = "v1beta1",
    kind = "MetricPipeline",
    doc = "Collects metrics and sends them to a backend.",
    category = "kyma-telemetry",
    category = "kyma-telemetry-pipelines",
    status = "PipelineStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Configuration Generated",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="ConfigurationGenerated")].status"#
    ),
    printcolumn(
        name = "Gateway Healthy",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="GatewayHealthy")].status"#
    ),
    printcolumn(
        name = "Agent Healthy",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="AgentHealthy")].status"#
    ),
    printcolumn(
        name = "Flow Healthy",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="TelemetryFlowHealthy")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct MetricPipelineSpec {
    /// What is collected.
    #[serde(default)]
    pub input: MetricInput,
    /// Where it goes.
    pub output: MetricOutput,
    /// Changes to metrics, in this order, after they were enriched and before they are filtered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<Transform>,
    /// Metrics and data points that are dropped. They are dropped if one of these wants it so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<Filter>,
}

/// What is collected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct MetricInput {
    /// Metrics of Services and pods that have the annotation `prometheus.io/scrape: "true"`. Unset means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<MetricPrometheusInput>,
    /// Metrics about pods, containers, nodes, volumes and workloads. Unset means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<MetricRuntimeInput>,
    /// Metrics of the Istio proxies beside applications. Unset means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istio: Option<MetricIstioInput>,
    /// Metrics that are pushed to the gateway. Unset means that the pipeline gets them, from all namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpInput>,
}

/// Metrics of Services and pods that have the annotation `prometheus.io/scrape: "true"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricPrometheusInput {
    /// Whether the pipeline gets them. Unset means `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Namespaces of the targets. Unset means all but `kyma-system`, `kube-system` and `istio-system`; empty (`{}`) means
    /// all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,
    /// Metrics about the scraping itself, such as `up`. Unset means off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostic_metrics: Option<Switch>,
}

/// Metrics about pods, containers, nodes, volumes and workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricRuntimeInput {
    /// Whether the pipeline gets them. Unset means `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Namespaces of what is measured; nodes have none and are always measured. Unset means all but `kyma-system`,
    /// `kube-system` and `istio-system`; empty (`{}`) means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,
    /// What is measured. Unset means all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<RuntimeResources>,
    /// Names of metrics beyond the usual ones, which the pipeline gets even if what they measure is switched off in
    /// `resources`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_metrics: Vec<String>,
}

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RuntimeResources {
    /// Pods. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Switch>,
    /// Containers. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Switch>,
    /// Nodes. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Switch>,
    /// Volumes of pods. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Switch>,
    /// DaemonSets. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemonset: Option<Switch>,
    /// Deployments. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Switch>,
    /// StatefulSets. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statefulset: Option<Switch>,
    /// Jobs. Unset means on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Switch>,
}

/// Metrics of the Istio proxies beside applications.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricIstioInput {
    /// Whether the pipeline gets them. Unset means `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Namespaces of the proxies. Unset means all but `kyma-system`, `kube-system` and `istio-system`; empty (`{}`) means
    /// all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,
    /// Metrics about the scraping itself, such as `up`. Unset means off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostic_metrics: Option<Switch>,
    /// Metrics of Envoy, which begin with `envoy_`. Unset means off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy_metrics: Option<Switch>,
}

/// Where metrics go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct MetricOutput {
    /// A backend that takes OTLP.
    pub otlp: MetricOtlpOutput,
}

/// A backend that takes metrics over OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct MetricOtlpOutput {
    /// Whether sums and histograms go out as they came, or as the difference to the one before.
    #[serde(default)]
    pub temporality: Temporality,
    /// The backend.
    #[serde(flatten)]
    pub output: OtlpOutput,
}

/// What a sum or histogram tells of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// What its sender meant.
    #[default]
    Preserve,
    /// Only what has come since.
    Delta,
}

impl Switch {
    /// Whether something is on that is off unless it is switched on.
    pub fn is_on(switch: Option<&Self>) -> bool {
        switch.and_then(|switch| switch.enabled).unwrap_or(false)
    }

    /// Whether something is on that is on unless it is switched off.
    pub fn is_not_off(switch: Option<&Self>) -> bool {
        switch.and_then(|switch| switch.enabled).unwrap_or(true)
    }
}
