//! `Telemetry`: the settings of the module, which hold for all pipelines.
//!
//! Not here: what a pipeline can say for itself.

use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::gateway::{Agent, Gateway};
use super::status::TelemetryStatus;
use super::storage::Storage;

/// The settings of the module. The one that is named `default` in the manager's namespace is used.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "operator.kyma-project.io",
    version = "v1beta1",
    kind = "Telemetry",
    plural = "telemetries",
    doc = "Settings that hold for all pipelines.",
    namespaced,
    category = "kyma-modules",
    category = "kyma-telemetry",
    status = "TelemetryStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "state", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct TelemetrySpec {
    /// Settings for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogSettings>,
    /// Settings for metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricSettings>,
    /// Settings for traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceSettings>,
    /// What is added to all data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrichments: Option<Enrichments>,
    /// Whose Secrets pipelines may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Secrets>,
    /// The volumes of the log gateway, which has some as soon as a LogPipeline asks for a buffer on disk. Unset means volumes
    /// of the cluster's default StorageClass with room for the buffers of all LogPipelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
}

/// Settings for logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct LogSettings {
    /// The gateway, which takes logs in and sends them to the backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// The agent, which reads on every node what containers write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
}

/// Settings for metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSettings {
    /// The gateway, which takes metrics in and sends them to the backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Between two collections of the inputs `runtime`, `prometheus` and `istio`: a duration such as `30s` or `1m30s`.
    /// Unset means `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self > duration('0s')", "'collectionInterval' must be greater than 0"))]
    pub collection_interval: Option<Length>,
    /// Settings for the input `runtime`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<MetricInputSettings>,
    /// Settings for the input `prometheus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<MetricInputSettings>,
    /// Settings for the input `istio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istio: Option<MetricInputSettings>,
}

/// Settings for one input of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricInputSettings {
    /// Between two collections of this input: a duration such as `30s` or `1m30s`. Unset means that of all inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self > duration('0s')", "'collectionInterval' must be greater than 0"))]
    pub collection_interval: Option<Length>,
}

/// Settings for traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct TraceSettings {
    /// The gateway, which takes traces in and sends them to the backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
}

/// What is added to all data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enrichments {
    /// Labels of pods that become attributes `k8s.pod.label.KEY`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extract_pod_labels: Vec<PodLabel>,
    /// The cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
}

/// A label of pods, or those that begin alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.key) || has(self.keyPrefix)", "Either 'key' or 'keyPrefix' must be specified"),
    validation = ("!(has(self.key) && has(self.keyPrefix))", "Either 'key' or 'keyPrefix' must be specified")
)]
pub struct PodLabel {
    /// Key of the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Beginning of the keys of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
}

/// The cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Cluster {
    /// Its name, for the attribute `k8s.cluster.name`. Unset means the host of its API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Whose Secrets pipelines may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Secrets {
    /// Namespaces whose Secrets pipelines may use, as far as the manager has the right to read them. Unset means all that
    /// it may read; an empty list means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1000),
        inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub namespaces: Option<Vec<String>>,
}

/// A duration as Kubernetes writes it, such as `1m30s`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Length(String);

impl Length {
    /// The duration. Nothing if it is none or is not positive, which the schema refuses.
    pub fn duration(&self) -> Option<Duration> {
        let parsed: kube::core::Duration = self.0.parse().ok()?;
        if parsed.is_negative() {
            return None;
        }
        Some(Duration::from(parsed)).filter(|duration| !duration.is_zero())
    }
}

impl From<&str> for Length {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for Length {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The format alone also takes `1 day`, which is no duration anywhere else in Kubernetes.
        json_schema!({
            "type": "string",
            "format": "duration",
            "maxLength": 64,
            "pattern": r"^[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
        })
    }
}
