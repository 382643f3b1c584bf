//! The fields of `object` by their numbers.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use prost::{DecodeError, Message};

use super::{InProtobuf, Text, text};
use crate::object::{ContainerSpec, NamespaceObject, NodeObject, NodeSpec, PodIp, PodObject, PodSpec, PodStatus};

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<MetaMessage>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<PodSpecMessage>,
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<PodStatusMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSpecMessage {
    #[prost(message, repeated, tag = "2")]
    pub(super) containers: Vec<ContainerMessage>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) node_name: Text,
    #[prost(bool, tag = "11")]
    pub(super) host_network: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) name: Text,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) image: Text,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodStatusMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) phase: Text,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) pod_ip: Text,
    #[prost(message, repeated, tag = "12")]
    pub(super) pod_ips: Vec<PodIpMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodIpMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) ip: Text,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<MetaMessage>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<NodeSpecMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeSpecMessage {
    #[prost(bytes = "vec", tag = "3")]
    pub(super) provider_id: Text,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamespaceMessage {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<MetaMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetaMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) name: Text,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) namespace: Text,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) uid: Text,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) resource_version: Text,
    #[prost(message, optional, tag = "8")]
    pub(super) creation_timestamp: Option<TimeMessage>,
    #[prost(btree_map = "string, bytes", tag = "11")]
    pub(super) labels: BTreeMap<String, Text>,
    #[prost(btree_map = "string, bytes", tag = "12")]
    pub(super) annotations: BTreeMap<String, Text>,
    #[prost(message, repeated, tag = "13")]
    pub(super) owner_references: Vec<OwnerMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OwnerMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) kind: Text,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) name: Text,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) uid: Text,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) api_version: Text,
    #[prost(bool, optional, tag = "6")]
    pub(super) controller: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) block_owner_deletion: Option<bool>,
}

/// A moment, which Kubernetes knows to the second. An empty one is none.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeMessage {
    #[prost(int64, optional, tag = "1")]
    pub(super) seconds: Option<i64>,
}

impl InProtobuf for PodObject {
    fn of_protobuf(bytes: &[u8]) -> Result<Self, DecodeError> {
        let PodMessage { metadata, spec, status } = PodMessage::decode(bytes)?;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let container = |found: ContainerMessage| ContainerSpec { name: text(found.name), image: text(found.image) };
        Ok(Self {
            metadata: meta(metadata),
            spec: PodSpec {
                node_name: some(spec.node_name),
                host_network: spec.host_network,
                containers: spec.containers.into_iter().map(container).collect(),
            },
            status: PodStatus {
                phase: text(status.phase),
                pod_ip: some(status.pod_ip),
                pod_ips: status.pod_ips.into_iter().map(|found| PodIp { ip: text(found.ip) }).collect(),
            },
        })
    }
}

impl InProtobuf for NodeObject {
    fn of_protobuf(bytes: &[u8]) -> Result<Self, DecodeError> {
        let NodeMessage { metadata, spec } = NodeMessage::decode(bytes)?;
        let provider_id = some(spec.unwrap_or_default().provider_id);
        Ok(Self { metadata: meta(metadata), spec: NodeSpec { provider_id } })
    }
}

impl InProtobuf for NamespaceObject {
    fn of_protobuf(bytes: &[u8]) -> Result<Self, DecodeError> {
        let NamespaceMessage { metadata } = NamespaceMessage::decode(bytes)?;
        Ok(Self { metadata: meta(metadata) })
    }
}

fn meta(found: Option<MetaMessage>) -> ObjectMeta {
    let found = found.unwrap_or_default();
    let texts = |map: BTreeMap<String, Text>| {
        (!map.is_empty()).then(|| map.into_iter().map(|(key, value)| (key, text(value))).collect())
    };
    let owners = found.owner_references;
    ObjectMeta {
        name: some(found.name),
        namespace: some(found.namespace),
        uid: some(found.uid),
        resource_version: some(found.resource_version),
        creation_timestamp: found.creation_timestamp.and_then(time),
        labels: texts(found.labels),
        annotations: texts(found.annotations),
        owner_references: (!owners.is_empty()).then(|| owners.into_iter().map(owner).collect()),
        ..ObjectMeta::default()
    }
}

fn owner(found: OwnerMessage) -> OwnerReference {
    OwnerReference {
        api_version: text(found.api_version),
        kind: text(found.kind),
        name: text(found.name),
        uid: text(found.uid),
        controller: found.controller,
        block_owner_deletion: found.block_owner_deletion,
    }
}

/// A moment; none of one that no calendar has.
fn time(found: TimeMessage) -> Option<Time> {
    Timestamp::from_second(found.seconds?).ok().map(Time)
}

/// A text; none of an empty one, which is how protobuf says that there is none.
fn some(bytes: Text) -> Option<String> {
    (!bytes.is_empty()).then(|| text(bytes))
}
