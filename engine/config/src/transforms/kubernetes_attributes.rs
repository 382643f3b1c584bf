//! Options of the `kubernetes_attributes` transform.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Checker, ComponentOptions, Facts, Kind, ServiceId, Stability};
use crate::omit::is_default;
use crate::signal::SignalSet;
use crate::size::ByteSize;
use crate::span::Span;

/// Says which pod, workload, node and cluster data comes from, in attributes of its resources. Only what is absent or empty
/// is set; records are passed on as they are, without being copied.
///
/// The pod is found by `k8s.pod.uid` or `k8s.pod.ip` of the resource, else by the address of the connection it came over,
/// unless the listener is `trusted`. Pods in the network of their node are never found by an address, and an address that
/// goes from one pod to another is told by time: for a third of a second after a connection is made, or after data came
/// that is known by `k8s.pod.ip` alone, it waits for the cluster's news. How the cluster is reached is in `[kubernetes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesAttributes {
    /// Attributes that are set.
    pub attributes: BTreeSet<KubernetesAttribute>,
    /// How the `service.*` attributes are found.
    pub service: ServiceNames,
    /// Name of the cluster, for `k8s.cluster.name`. Default: `kubernetes.cluster_name`, which an engine takes at its start
    /// only; this one changes while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub cluster_name: Option<String>,
    /// Labels of pods that become attributes `k8s.pod.label.KEY`. A `*` at the end takes all keys that begin so.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub pod_labels: BTreeSet<String>,
    /// Annotations of pods that become attributes `k8s.pod.annotation.KEY`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub pod_annotations: BTreeSet<String>,
    /// Labels of namespaces that become attributes `k8s.namespace.label.KEY`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub namespace_labels: BTreeSet<String>,
    /// Annotations of namespaces that become attributes `k8s.namespace.annotation.KEY`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub namespace_annotations: BTreeSet<String>,
    /// Labels of nodes that become attributes `k8s.node.label.KEY`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub node_labels: BTreeSet<String>,
    /// What happens to data of pods that are not known yet.
    #[serde(skip_serializing_if = "is_default")]
    pub hold: Hold,
}

/// An attribute that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KubernetesAttribute {
    /// Provider of the cloud: `aws`, `azure`, `gcp` or `ibm_cloud`, by the node's provider id.
    #[serde(rename = "cloud.provider")]
    CloudProvider,
    /// Region of the cloud, by a label of the node.
    #[serde(rename = "cloud.region")]
    CloudRegion,
    /// Zone in the region, by a label of the node.
    #[serde(rename = "cloud.availability_zone")]
    CloudAvailabilityZone,
    /// Architecture of the node.
    #[serde(rename = "host.arch")]
    HostArch,
    /// Type of the node's machine.
    #[serde(rename = "host.type")]
    HostType,
    /// Name of the cluster, as `cluster_name` says. Set on all resources, whatever they are of.
    #[serde(rename = "k8s.cluster.name")]
    ClusterName,
    /// Id of the cluster: that of its namespace `kube-system`. Set on all resources, whatever they are of.
    #[serde(rename = "k8s.cluster.uid")]
    ClusterUid,
    /// The CronJob of the pod's Job, where the Job is named by a minute shortly before the pod was made.
    #[serde(rename = "k8s.cronjob.name")]
    CronJobName,
    /// The DaemonSet of the pod.
    #[serde(rename = "k8s.daemonset.name")]
    DaemonSetName,
    /// The Deployment of the pod's ReplicaSet, where the label `pod-template-hash` says that it has one.
    #[serde(rename = "k8s.deployment.name")]
    DeploymentName,
    /// The Job of the pod.
    #[serde(rename = "k8s.job.name")]
    JobName,
    /// The namespace of the pod.
    #[serde(rename = "k8s.namespace.name")]
    NamespaceName,
    /// The node of the pod.
    #[serde(rename = "k8s.node.name")]
    NodeName,
    /// Id of the node.
    #[serde(rename = "k8s.node.uid")]
    NodeUid,
    /// First address of the pod, if it has one of its own.
    #[serde(rename = "k8s.pod.ip")]
    PodIp,
    /// Name of the pod.
    #[serde(rename = "k8s.pod.name")]
    PodName,
    /// Id of the pod.
    #[serde(rename = "k8s.pod.uid")]
    PodUid,
    /// The ReplicaSet of the pod.
    #[serde(rename = "k8s.replicaset.name")]
    ReplicaSetName,
    /// The StatefulSet of the pod.
    #[serde(rename = "k8s.statefulset.name")]
    StatefulSetName,
}

/// How the `service.*` attributes are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceNames {
    /// As the semantic conventions of OpenTelemetry say: name, namespace, version and instance id by annotations
    /// `resource.opentelemetry.io/KEY`, then the labels `app.kubernetes.io/instance`, `name` and `version`, the workload's
    /// name and the container's image. Other annotations of this kind become attributes as well. A `service.name` of
    /// `unknown_service` counts as absent.
    #[default]
    SemanticConventions,
    /// Only `service.name`, by the label `app.kubernetes.io/name`, then `app`, then the name of the Deployment, DaemonSet,
    /// StatefulSet, Job or pod. A `service.name` of `unknown_service` counts as absent, and is what data without a pod
    /// gets.
    AppLabels,
    /// Not at all.
    None,
}

/// What happens to data of pods that are not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hold {
    /// How long such data waits for its pod. The sender waits for its answer as long. A pod that did not become known is not
    /// waited for again for five minutes. With 0s nothing waits, and what is known
    /// by an address alone and comes within a third of a second of its connection goes on without a pod.
    #[schemars(extend("x-maximum" = "5s"))]
    pub timeout: Span,
    /// Encoded bytes that may wait. What comes when it is full goes on at once with what is known for certain.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB"))]
    pub max_size: ByteSize,
}

impl KubernetesAttribute {
    /// Those that are set unless a configuration says otherwise.
    pub const DEFAULT: [Self; 14] = [
        Self::CloudRegion,
        Self::CloudAvailabilityZone,
        Self::HostArch,
        Self::HostType,
        Self::ClusterName,
        Self::ClusterUid,
        Self::CronJobName,
        Self::DaemonSetName,
        Self::DeploymentName,
        Self::JobName,
        Self::NamespaceName,
        Self::NodeName,
        Self::PodName,
        Self::StatefulSetName,
    ];

    /// Whether the node must be known for it.
    pub const fn is_of_the_node(self) -> bool {
        matches!(
            self,
            Self::CloudProvider
                | Self::CloudRegion
                | Self::CloudAvailabilityZone
                | Self::HostArch
                | Self::HostType
                | Self::NodeUid
        )
    }

    /// Its key.
    pub const fn key(self) -> &'static str {
        match self {
            Self::CloudProvider => "cloud.provider",
            Self::CloudRegion => "cloud.region",
            Self::CloudAvailabilityZone => "cloud.availability_zone",
            Self::HostArch => "host.arch",
            Self::HostType => "host.type",
            Self::ClusterName => "k8s.cluster.name",
            Self::ClusterUid => "k8s.cluster.uid",
            Self::CronJobName => "k8s.cronjob.name",
            Self::DaemonSetName => "k8s.daemonset.name",
            Self::DeploymentName => "k8s.deployment.name",
            Self::JobName => "k8s.job.name",
            Self::NamespaceName => "k8s.namespace.name",
            Self::NodeName => "k8s.node.name",
            Self::NodeUid => "k8s.node.uid",
            Self::PodIp => "k8s.pod.ip",
            Self::PodName => "k8s.pod.name",
            Self::PodUid => "k8s.pod.uid",
            Self::ReplicaSetName => "k8s.replicaset.name",
            Self::StatefulSetName => "k8s.statefulset.name",
        }
    }
}

impl Default for KubernetesAttributes {
    fn default() -> Self {
        Self {
            attributes: KubernetesAttribute::DEFAULT.into(),
            service: ServiceNames::default(),
            cluster_name: None,
            pod_labels: BTreeSet::new(),
            pod_annotations: BTreeSet::new(),
            namespace_labels: BTreeSet::new(),
            namespace_annotations: BTreeSet::new(),
            node_labels: BTreeSet::new(),
            hold: Hold::default(),
        }
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self { timeout: Span::secs(5), max_size: ByteSize::mib(16) }
    }
}

impl ComponentOptions for KubernetesAttributes {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "kubernetes_attributes";
    const STABILITY: Stability = Stability::Experimental;

    fn check(&self, checker: &mut Checker) {
        let selections = [
            ("pod_labels", &self.pod_labels),
            ("pod_annotations", &self.pod_annotations),
            ("namespace_labels", &self.namespace_labels),
            ("namespace_annotations", &self.namespace_annotations),
            ("node_labels", &self.node_labels),
        ];
        let selects_nothing = selections.iter().all(|(_, keys)| keys.is_empty());
        if selects_nothing && self.attributes.is_empty() && self.service == ServiceNames::None {
            checker.error([], "nothing to do").expected("at least one of `attributes`, `service` and labels");
        }
        for (option, keys) in selections {
            for key in keys {
                let body = key.strip_suffix('*').unwrap_or(key);
                if key.is_empty() || body.contains('*') {
                    let message = format!("`{key}` is no key and no beginning of keys");
                    checker.invalid([option], message).expected("a key, or the beginning of keys and `*`");
                }
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts::transform(SignalSet::ALL).needs([], ServiceId::kubernetes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// What a configuration writes is the key that is set.
    #[test]
    fn names_are_keys() {
        for attribute in KubernetesAttribute::DEFAULT {
            assert_eq!(serde_json::to_value(attribute).unwrap(), attribute.key());
        }
    }
}
