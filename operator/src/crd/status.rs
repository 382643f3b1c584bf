//! What the manager reports in the objects: conditions, the ledger of a pipeline, addresses.
//!
//! Not here: how a condition comes about (`status` of the manager).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is seen of a LogPipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPipelineStatus {
    /// Whether the pipeline is configured, its workloads run, and data flows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Whether the pipeline has a custom output or custom filters of Fluent Bit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported_mode: Option<bool>,
    /// What became of the data of this pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// How full its buffer on disk is; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferStatus>,
}

/// What is seen of a MetricPipeline or TracePipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct PipelineStatus {
    /// Whether the pipeline is configured, its workloads run, and data flows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What became of the data of this pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
}

/// What became of the data of a pipeline, in records (log records, spans, data points), summed over the gateway pods that
/// report. Every pod counts since its start, so the numbers fall when one is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Records that the pipeline has taken.
    #[serde(default)]
    pub accepted: u64,
    /// Records that the backend has taken.
    #[serde(default)]
    pub delivered: u64,
    /// Records that were given up, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
    /// Records that are in the gateway now.
    #[serde(default)]
    pub held: u64,
    /// When the pods were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Time>,
    /// How many pods the numbers are from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<ReportingPods>,
}

/// How full the buffer on disk of a pipeline is, summed over the gateway pods that report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct BufferStatus {
    /// The size of its files.
    pub used: Quantity,
    /// What they may have at most.
    pub max: Quantity,
    /// How many pods the numbers are from.
    pub pods: ReportingPods,
}

/// How many pods have reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ReportingPods {
    /// Pods that have answered.
    pub reporting: u32,
    /// Pods that were asked.
    pub total: u32,
}

/// What is seen of the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct TelemetryStatus {
    /// The conditions in one word.
    pub state: State,
    /// Whether the components of each signal are healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where applications push data to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// What is left of buffers on disk and belongs to nobody any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
}

/// What is left of buffers on disk. Nothing of it is removed by itself, because it may hold data that was never delivered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Claims of volumes that no pod of the log gateway uses. Whoever wants nothing of what is in them deletes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_over_claims: Vec<LeftOverClaim>,
    /// Buffers of LogPipelines that are gone, or that have no buffer on disk any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_over_buffers: Vec<LeftOverBuffer>,
}

/// A claim that no pod uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct LeftOverClaim {
    /// Its name, in the namespace of the manager.
    pub name: String,
    /// Its size.
    pub size: Quantity,
}

/// A buffer that no LogPipeline owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct LeftOverBuffer {
    /// The uid of the LogPipeline that it was of.
    pub uid: String,
    /// The size of its files, summed over pods.
    pub used: Quantity,
    /// Records in it that were never delivered.
    pub records: u64,
    /// Pods that have some of it.
    pub pods: Vec<String>,
}

/// The conditions of the module in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// Everything is as it should be.
    Ready,
    /// It is being removed.
    Deleting,
    /// Something needs a user.
    Warning,
}

/// Where applications push data to. A signal without a gateway has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Endpoints {
    /// Addresses that take all signals, where there are such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpEndpoints>,
    /// Addresses that take logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<OtlpEndpoints>,
    /// Addresses that take traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<OtlpEndpoints>,
    /// Addresses that take metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<OtlpEndpoints>,
}

/// Where data is pushed to over OTLP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct OtlpEndpoints {
    /// URL for gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<String>,
    /// URL for HTTP, to which `/v1/logs`, `/v1/metrics` or `/v1/traces` is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
}
