//! The fields of `object` by the numbers that they have in Kubernetes' protobuf: an answer in it is half as long as one in
//! JSON, and costs the API server and its reader a fraction.
//!
//! The numbers are those of Kubernetes' `generated.proto` files, which never change. Fields that stand in none of these
//! messages are skipped. Not here: how objects lie in an answer (`page`).

pub(crate) mod page;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::core::Status;
use prost::{DecodeError, Message};

use crate::object::{ContainerSpec, NamespaceObject, NodeObject, NodeSpec, PodIp, PodObject, PodSpec, PodStatus};

/// An object that can be read from Kubernetes' protobuf.
pub(crate) trait InProtobuf: Sized {
    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are no protobuf, or a field is of another type.
    fn of_protobuf(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// Reads a refusal; none of an answer that is something else.
pub(crate) fn status(answer: &[u8]) -> Option<Status> {
    let envelope = EnvelopeMessage::decode(answer.strip_prefix(page::MAGIC)?).ok()?;
    let found = StatusMessage::decode(&*envelope.content).ok()?;
    let code = u16::try_from(found.code).unwrap_or_default();
    Some(Status::failure(&text(found.message), &text(found.reason)).with_code(code))
}

/// A text. The API server takes texts that are not UTF-8 into some fields; in JSON it replaces what is wrong, too.
type Text = Vec<u8>;

#[derive(Clone, PartialEq, Message)]
struct PodMessage {
    #[prost(message, optional, tag = "1")]
    metadata: Option<MetaMessage>,
    #[prost(message, optional, tag = "2")]
    spec: Option<PodSpecMessage>,
    #[prost(message, optional, tag = "3")]
    status: Option<PodStatusMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSpecMessage {
    #[prost(message, repeated, tag = "2")]
    containers: Vec<ContainerMessage>,
    #[prost(bytes = "vec", tag = "10")]
    node_name: Text,
    #[prost(bool, tag = "11")]
    host_network: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMessage {
    #[prost(bytes = "vec", tag = "1")]
    name: Text,
    #[prost(bytes = "vec", tag = "2")]
    image: Text,
}

#[derive(Clone, PartialEq, Message)]
struct PodStatusMessage {
    #[prost(bytes = "vec", tag = "1")]
    phase: Text,
    #[prost(bytes = "vec", tag = "6")]
    pod_ip: Text,
    #[prost(message, repeated, tag = "12")]
    pod_ips: Vec<PodIpMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PodIpMessage {
    #[prost(bytes = "vec", tag = "1")]
    ip: Text,
}

#[derive(Clone, PartialEq, Message)]
struct NodeMessage {
    #[prost(message, optional, tag = "1")]
    metadata: Option<MetaMessage>,
    #[prost(message, optional, tag = "2")]
    spec: Option<NodeSpecMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeSpecMessage {
    #[prost(bytes = "vec", tag = "3")]
    provider_id: Text,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceMessage {
    #[prost(message, optional, tag = "1")]
    metadata: Option<MetaMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct MetaMessage {
    #[prost(bytes = "vec", tag = "1")]
    name: Text,
    #[prost(bytes = "vec", tag = "3")]
    namespace: Text,
    #[prost(bytes = "vec", tag = "5")]
    uid: Text,
    #[prost(bytes = "vec", tag = "6")]
    resource_version: Text,
    #[prost(message, optional, tag = "8")]
    creation_timestamp: Option<TimeMessage>,
    #[prost(btree_map = "string, bytes", tag = "11")]
    labels: BTreeMap<String, Text>,
    #[prost(btree_map = "string, bytes", tag = "12")]
    annotations: BTreeMap<String, Text>,
    #[prost(message, repeated, tag = "13")]
    owner_references: Vec<OwnerMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct OwnerMessage {
    #[prost(bytes = "vec", tag = "1")]
    kind: Text,
    #[prost(bytes = "vec", tag = "3")]
    name: Text,
    #[prost(bytes = "vec", tag = "4")]
    uid: Text,
    #[prost(bytes = "vec", tag = "5")]
    api_version: Text,
    #[prost(bool, optional, tag = "6")]
    controller: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    block_owner_deletion: Option<bool>,
}

/// A moment, which Kubernetes knows to the second. An empty one is none.
#[derive(Clone, PartialEq, Message)]
struct TimeMessage {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
}

/// What is around an object that is the whole answer.
#[derive(Clone, PartialEq, Message)]
struct EnvelopeMessage {
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusMessage {
    #[prost(bytes = "vec", tag = "3")]
    message: Text,
    #[prost(bytes = "vec", tag = "4")]
    reason: Text,
    #[prost(int32, tag = "6")]
    code: i32,
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

fn text(bytes: Text) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A text; none of an empty one, which is how protobuf says that there is none.
fn some(bytes: Text) -> Option<String> {
    (!bytes.is_empty()).then(|| text(bytes))
}

#[cfg(test)]
pub(crate) mod tests;
