//! The API that users write: pipelines and the settings of the module, as Kubernetes objects.
//!
//! The types are compatible with `v1beta1` of the groups that they name: a manifest written for Kyma applies unchanged,
//! also one for Fluent Bit, which is refused later in words ([`fluent_bit`]). Rules that need one object only are in the
//! schema (CEL); defaults are there if they depend on nothing. An unset field and an empty one are different.
//! Not here: what depends on other fields, Secrets or pipelines (`plan`).
//!
//! Inline values can be secret. No `Debug` in this module shows one. `kubectl apply` keeps a copy of the whole manifest
//! in an annotation, though: whoever reads objects from the cluster calls [`forget_copies`] first.
#![allow(unreachable_pub, reason = "the derive of schemas copies each type, with its `pub`, into a function")]
#![allow(clippy::duplicated_attributes, reason = "columns of a kind may have the same type")]

pub mod fluent_bit;
mod gateway;
mod input;
mod log_pipeline;
pub mod manifest;
mod metric_pipeline;
mod output;
mod processing;
mod status;
mod storage;
mod telemetry;
mod trace_pipeline;
mod value;

pub use gateway::{
    Agent, AutoScaling, Clients, Egress, Gateway, Replicas, ResourceAmounts, Resources, Scaling, ScalingType,
    StaticScaling,
};
pub use input::{ContainerSelector, NamespaceSelector, OtlpInput, Switch};
pub use log_pipeline::{LogInput, LogOtlpOutput, LogOutput, LogPipeline, LogPipelineSpec, LogRuntimeInput};
pub use metric_pipeline::{
    MetricInput, MetricIstioInput, MetricOtlpOutput, MetricOutput, MetricPipeline, MetricPipelineSpec,
    MetricPrometheusInput, MetricRuntimeInput, RuntimeResources, Temporality,
};
pub use output::{Authentication, BasicAuth, Compression, Header, OAuth2, OtlpOutput, OutputTls, Protocol};
pub use processing::{Filter, Transform};
pub use status::{
    BufferStatus, Endpoints, Flow, LeftOverBuffer, LeftOverClaim, LogPipelineStatus, OtlpEndpoints, PipelineStatus,
    ReportingPods, State, StorageStatus, TelemetryStatus,
};
pub use storage::{Buffer, BufferType, Storage};
pub use telemetry::{
    Cluster, Enrichments, Length, LogSettings, MetricInputSettings, MetricSettings, PodLabel, Secrets, Telemetry,
    TelemetrySpec, TraceSettings,
};
pub use trace_pipeline::{TraceOutput, TracePipeline, TracePipelineSpec};
pub use value::{InlineValue, SecretKeyRef, ValueFrom, ValueOrRef, ValueType};

use kube::Resource;

/// The annotation in which `kubectl apply` keeps the manifest that it was given.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops the copies of an object that its metadata holds: who manages which field, and the manifest that `kubectl apply`
/// was given, with the inline secrets in it. The manager uses neither; keeping them would double its memory.
pub fn forget_copies(object: &mut impl Resource) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

#[cfg(test)]
mod tests;
