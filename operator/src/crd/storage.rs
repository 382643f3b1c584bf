//! Where logs wait for their backend: the buffer of a pipeline, and the volumes that buffers on disk are in.
//!
//! Not here: how much of a volume a buffer gets (`storage` of the manager).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gateway::amount;
use super::telemetry::Length;

/// Where logs wait for the backend, how many of them, and how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.maxAge) || self.type == 'disk'", "'maxAge' needs 'type' to be 'disk'"),
    validation = (
        "!has(self.maxSize) || quantity(string(self.maxSize)).compareTo(quantity(self.type == 'disk' ? '8Mi' : '1Mi')) >= 0",
        "'maxSize' must be at least 1Mi, and at least 8Mi where 'type' is 'disk'",
    ),
    validation = (
        "!has(self.maxSize) || quantity(string(self.maxSize)).compareTo(quantity('64Ti')) <= 0",
        "'maxSize' must be at most 64Ti",
    )
)]
pub struct Buffer {
    /// `memory`, which is lost with its pod, or `disk`, which survives the end of pods and nodes, however it comes. With the
    /// first LogPipeline that asks for `disk` the log gateway becomes a StatefulSet whose pods have a volume each, and no
    /// longer follows the load.
    #[serde(default, rename = "type")]
    pub kind: BufferType,
    /// The most that waits in each pod of the gateway. Unset means `1Gi` for `disk`, and for `memory` an equal share of what
    /// the gateway may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub max_size: Option<Quantity>,
    /// What has waited longer is dropped, and counted as `expired`: a duration such as `24h`. For `disk` only. Unset means
    /// that there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= duration('1s')", "'maxAge' must be at least 1s"))]
    pub max_age: Option<Length>,
}

/// Where logs wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BufferType {
    /// In the memory of the gateway.
    #[default]
    Memory,
    /// On a volume of each pod of the gateway.
    Disk,
}

/// The volumes of the log gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!has(self.size) || (quantity(string(self.size)).compareTo(quantity('128Mi')) >= 0 && quantity(string(self.size)).compareTo(quantity('1024Ti')) <= 0)",
    "'size' must be at least 128Mi and at most 1024Ti",
))]
pub struct Storage {
    /// Their StorageClass. Unset means the default one of the cluster. Another class is that of volumes that are made from
    /// then on; those that are there stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub class: Option<String>,
    /// The size of each, such as `20Gi`. Unset means room for the buffers of all LogPipelines and what files need besides, in
    /// whole `Gi`. Volumes grow where their StorageClass allows it, and never shrink. Where it is too small for all buffers, those of
    /// the newest LogPipelines are smaller than they ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub size: Option<Quantity>,
}
