//! `LogPipeline`: which logs are collected and where they go.
//!
//! Not here: what its settings mean for a workload (`plan`).

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::fluent_bit::{CustomFilter, File, HttpOutput, Variable};
use super::input::{ContainerSelector, NamespaceSelector, OtlpInput, on};
use super::output::OtlpOutput;
use super::processing::{Filter, Transform};
use super::status::LogPipelineStatus;
use super::storage::Buffer;
use super::value::InlineValue;

/// What is collected, what is done with it, and where it goes. A pipeline that asks for what this version cannot do, or
/// that cannot work, runs nothing and disturbs no other: its condition `ConfigurationGenerated` is `False` and names the
/// field.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "telemetry.kyma-project.io",
    version = "v1beta1",
    kind = "LogPipeline",
    doc = "Collects logs and sends them to a backend.",
    category = "kyma-telemetry",
    category = "kyma-telemetry-pipelines",
    status = "LogPipelineStatus",
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
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "!(has(self.output.otlp) && has(self.input) && has(self.input.runtime) && has(self.input.runtime.dropLabels))",
        "input.runtime.dropLabels is not supported with otlp output",
    ),
    validation = (
        "!(has(self.output.otlp) && has(self.input) && has(self.input.runtime) && has(self.input.runtime.keepAnnotations))",
        "input.runtime.keepAnnotations is not supported with otlp output",
    ),
    validation = ("!(has(self.output.otlp) && has(self.filters))", "filters are not supported with otlp output"),
    validation = ("!(has(self.output.otlp) && has(self.files))", "files not supported with otlp output"),
    validation = ("!(has(self.output.otlp) && has(self.variables))", "variables not supported with otlp output"),
    validation = ("has(self.output.otlp) || !has(self.transform)", "transform is only supported with otlp output"),
    validation = ("has(self.output.otlp) || !has(self.filter)", "filter is only supported with otlp output"),
    validation = (
        "has(self.output.otlp) || !has(self.input) || !has(self.input.otlp)",
        "otlp input is only supported with otlp output",
    )
)]
pub struct LogPipelineSpec {
    /// What is collected.
    #[serde(default)]
    pub input: LogInput,
    /// Where it goes: exactly one output. Whether that is `otlp` cannot be changed later.
    pub output: LogOutput,
    /// Changes to logs, in this order, after they were enriched and before they are filtered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<Transform>,
    /// Logs that are dropped. A log is dropped if one of these wants it so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<Filter>,
    /// Deprecated: filters of Fluent Bit, which is not run. A pipeline with them runs nothing and its condition
    /// `ConfigurationGenerated` says what to write instead: `filter` and `transform`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<CustomFilter>,
    /// Deprecated: files for Fluent Bit, which is not run. A pipeline with them runs nothing and its condition
    /// `ConfigurationGenerated` says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Deprecated: variables for Fluent Bit, which is not run. A pipeline with them runs nothing and its condition
    /// `ConfigurationGenerated` says what to write instead: `valueFrom` where the value is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
}

/// What is collected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct LogInput {
    /// What containers write to stdout and stderr. Unset means that it is collected, from all namespaces but
    /// `kyma-system`, `kube-system` and `istio-system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<LogRuntimeInput>,
    /// Logs that are pushed to the gateway. Unset means that the pipeline gets them, from all namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpInput>,
}

/// What containers write to stdout and stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogRuntimeInput {
    /// Whether the pipeline gets it.
    #[serde(default = "on")]
    pub enabled: bool,
    /// Namespaces of the pods. Unset means all but `kyma-system`, `kube-system` and `istio-system`; empty (`{}`) means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,
    /// Names of the containers. Unset means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerSelector>,
    /// Whether a line of JSON that became body and attributes of a log also stays whole, in the attribute `log.original`.
    #[serde(default = "on")]
    pub keep_original_body: bool,
    /// Deprecated: a setting of Fluent Bit, which is not run; refused with an `otlp` output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_annotations: Option<bool>,
    /// Deprecated: a setting of Fluent Bit, which is not run; refused with an `otlp` output. Which labels of pods become
    /// attributes is said in `spec.enrichments.extractPodLabels` of the Telemetry object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_labels: Option<bool>,
}

/// Where logs go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = (
        "has(self.otlp) == has(oldSelf.otlp)",
        "Switching to or away from OTLP output is not supported. Please re-create the LogPipeline instead",
    ),
    validation = (
        "(has(self.custom) == true ? 1 : 0) + (has(self.http) == true ? 1 : 0) + (has(self.otlp) == true ? 1 : 0) == 1",
        "Exactly one output out of 'custom', 'http' or 'otlp' must be defined",
    )
)]
pub struct LogOutput {
    /// A backend that takes OTLP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<LogOtlpOutput>,
    /// Deprecated: an HTTP output of Fluent Bit, which is not run. A pipeline with it runs nothing and its condition
    /// `ConfigurationGenerated` says what to write instead: `otlp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpOutput>,
    /// Deprecated: an output in the syntax of Fluent Bit, which is not run. A pipeline with it runs nothing and its
    /// condition `ConfigurationGenerated` says what to write instead: `otlp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<InlineValue>,
}

/// A backend that takes logs over OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct LogOtlpOutput {
    /// Where logs wait for the backend. Unset means in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Buffer>,
    /// The backend.
    #[serde(flatten)]
    pub output: OtlpOutput,
}

impl Default for LogRuntimeInput {
    fn default() -> Self {
        Self {
            enabled: true,
            namespaces: None,
            containers: None,
            keep_original_body: true,
            keep_annotations: None,
            drop_labels: None,
        }
    }
}
