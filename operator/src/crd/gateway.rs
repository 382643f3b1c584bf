//! How many pods a workload has, and what each may use.
//!
//! Not here: the workload itself (`render`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Pods of a gateway if nothing is said.
const REPLICAS: u32 = 2;

/// The gateway of one signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct Gateway {
    /// How many pods it has. Unset means 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// What each pod may use. A value that is unset is what the manager finds right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Who may send to it, by a NetworkPolicy. Unset means everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
    /// Where it may send to, by a NetworkPolicy. Unset means `Anywhere`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

/// Where a gateway may send to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Egress {
    /// Anywhere.
    #[default]
    Anywhere,
    /// To names, the API server, and the backends and authorization servers of its pipelines: to all pods of the Namespace of
    /// one that is in the cluster, and at the port of one that is not. Addresses of the link, where clouds tell credentials
    /// of nodes, are none.
    Backends,
}

/// Who may send to a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Clients {
    /// Namespaces whose pods may send. Nobody else may, from outside of the cluster neither.
    #[schemars(
        length(min = 1, max = 1000),
        inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub namespaces: Vec<String>,
}

/// How many pods a gateway has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = ("!has(self.auto) || (has(self.type) && self.type == 'Auto')", "'auto' needs 'type' to be 'Auto'"),
    validation = ("!has(self.type) || self.type != 'Auto' || has(self.auto)", "'type' 'Auto' needs 'auto' to be set"),
    validation = (
        "!has(self.static) || !has(self.type) || self.type == 'Static'",
        "'static' cannot be set when 'type' is 'Auto'",
    )
)]
pub struct Scaling {
    /// `Static` for a number of pods, `Auto` for one that follows the load. Unset means `Static`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub scaling_type: Option<ScalingType>,
    /// The number of pods.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticScaling>,
    /// Limits of a number of pods that follows the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto: Option<AutoScaling>,
}

/// What decides about the number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingType {
    /// A user.
    Static,
    /// The load.
    Auto,
}

/// A number of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct StaticScaling {
    /// The number of pods, at most 1000. Unset means 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<i32>,
}

/// Limits of a number of pods that follows the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.minReplicas <= self.maxReplicas",
    "'minReplicas' must not be greater than 'maxReplicas'",
))]
pub struct AutoScaling {
    /// The least number of pods.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The greatest number of pods, at most 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
}

/// What a pod may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = (
        "!(has(self.requests) && has(self.requests.cpu) && has(self.limits) && has(self.limits.cpu)) || quantity(string(self.requests.cpu)).compareTo(quantity(string(self.limits.cpu))) <= 0",
        "'requests.cpu' must not be greater than 'limits.cpu'",
    ),
    validation = (
        "!(has(self.requests) && has(self.requests.memory) && has(self.limits) && has(self.limits.memory)) || quantity(string(self.requests.memory)).compareTo(quantity(string(self.limits.memory))) <= 0",
        "'requests.memory' must not be greater than 'limits.memory'",
    ),
    validation = (
        "!(has(self.limits) && has(self.limits.memory)) || quantity(string(self.limits.memory)).compareTo(quantity('64Mi')) >= 0",
        "'limits.memory' must be at least 64Mi",
    )
)]
pub struct Resources {
    /// What is reserved for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceAmounts>,
    /// What it may not exceed. The memory budget of an engine follows from `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceAmounts>,
}

/// Amounts of what a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ResourceAmounts {
    /// CPUs, such as `500m` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub cpu: Option<Quantity>,
    /// Bytes of memory, such as `512Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "amount")]
    pub memory: Option<Quantity>,
}

/// The agent of one signal, which runs on every node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Taints of nodes that it runs on nonetheless. Unset means all taints: logs are wanted of every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = (
            "self.all(t, !has(t.operator) || t.operator in ['Exists', 'Equal'])",
            "'operator' of a toleration must be 'Exists' or 'Equal'",
        ),
        validation = (
            "self.all(t, !has(t.effect) || t.effect in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'])",
            "'effect' of a toleration must be 'NoSchedule', 'PreferNoSchedule' or 'NoExecute'",
        )
    )]
    pub tolerations: Vec<Toleration>,
    /// What each pod may use. A value that is unset is what the manager finds right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// PriorityClass of its pods. Unset means that of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// How many pods a gateway is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// This many.
    Fixed(u32),
    /// As many as the load asks for, within limits.
    Between {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
}

impl Gateway {
    /// How many pods it is to have, with the default where nothing is said.
    pub fn replicas(&self) -> Replicas {
        let Some(scaling) = &self.scaling else { return Replicas::Fixed(REPLICAS) };
        if let Some(auto) = &scaling.auto {
            return Replicas::Between { least: positive(auto.min_replicas), most: positive(auto.max_replicas) };
        }
        let fixed = scaling.fixed.as_ref().and_then(|fixed| fixed.replicas);
        Replicas::Fixed(fixed.map_or(REPLICAS, positive))
    }
}

impl ResourceAmounts {
    /// The amounts that are set, by the names that a container has for them.
    pub fn by_name(&self) -> BTreeMap<String, Quantity> {
        let pairs = [("cpu", &self.cpu), ("memory", &self.memory)];
        pairs.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount.clone()?))).collect()
    }
}

/// The schema of an amount: the API server checks what a container would be refused for.
pub(super) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "maxLength": 32,
        "pattern": r"^(\+)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
    })
}

/// The schema refuses less than one.
fn positive(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(1).max(1)
}
