//! `TracePipeline`: where traces go.
//!
//! Not here: what its settings mean for a workload (`plan`).

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::output::OtlpOutput;
use super::processing::{Filter, Transform};
use super::status::PipelineStatus;

/// What is done with traces that are pushed to the gateway, and where they go. A pipeline that asks for what this version
/// cannot do, or that cannot work, runs nothing and disturbs no other: its condition `ConfigurationGenerated` is `False`
/// and names the field.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "telemetry.kyma-project.io",
    version = "v1beta1",
    kind = "TracePipeline",
    doc = "Sends traces that applications push to a backend.",
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
        name = "Flow Healthy",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="TelemetryFlowHealthy")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct TracePipelineSpec {
    /// Where traces go.
    pub output: TraceOutput,
    /// Changes to spans, in this order, after they were enriched and before they are filtered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<Transform>,
    /// Spans that are dropped. A span is dropped if one of these wants it so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<Filter>,
}

/// Where traces go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct TraceOutput {
    /// A backend that takes OTLP.
    pub otlp: OtlpOutput,
}
