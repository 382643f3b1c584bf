//! Objects and pages in protobuf, as the API server writes them and as nobody should.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::objects::{
    ContainerMessage, MetaMessage, NamespaceMessage, NodeMessage, NodeSpecMessage, OwnerMessage, PodIpMessage,
    PodMessage, PodSpecMessage, PodStatusMessage, TimeMessage,
};
use super::page::{KindMessage, ListMeta, PageError, PageReader};
use super::*;
use crate::object::{NamespaceObject, NodeObject, PodObject};

/// A whole list.
#[derive(Clone, PartialEq, Message)]
struct ListMessage {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    items: Vec<Vec<u8>>,
}

/// All of what is around it.
#[derive(Clone, PartialEq, Message)]
struct WholeEnvelope {
    #[prost(message, optional, tag = "1")]
    kind: Option<KindMessage>,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
    #[prost(string, tag = "3")]
    encoding: String,
    #[prost(string, tag = "4")]
    content_type: String,
}

/// An answer with this in it.
fn answer(kind: &str, content: Vec<u8>) -> Vec<u8> {
    let kind = Some(KindMessage { kind: kind.to_owned() });
    let envelope = WholeEnvelope { kind, content, ..WholeEnvelope::default() };
    [page::MAGIC, &envelope.encode_to_vec()].concat()
}

/// A page with these objects.
pub(crate) fn page_of(kind: &str, version: &str, more: &str, items: Vec<Vec<u8>>) -> Vec<u8> {
    let metadata = Some(ListMeta { resource_version: version.to_owned(), more: more.to_owned() });
    answer(kind, ListMessage { metadata, items }.encode_to_vec())
}

/// A pod of this name, with so many bytes that nobody reads.
pub(crate) fn pod_of(name: &str, version: &str, unread: usize) -> Vec<u8> {
    let metadata = MetaMessage { name: name.into(), resource_version: version.into(), ..MetaMessage::default() };
    let mut bytes = PodMessage { metadata: Some(metadata), ..PodMessage::default() }.encode_to_vec();
    bytes.extend(field(1, field(17, vec![b'x'; unread])));
    bytes
}

/// A refusal.
pub(crate) fn refusal_of(code: i32, reason: &str, message: &str) -> Vec<u8> {
    let status = StatusMessage { message: message.into(), reason: reason.into(), code };
    answer("Status", status.encode_to_vec())
}

/// A field with these bytes.
fn field(number: u32, value: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::bytes::encode(number, &value, &mut bytes);
    bytes
}

/// Reads a page that comes in pieces of this length.
fn read(bytes: &[u8], piece: usize) -> Result<(Vec<PodObject>, ListMeta), PageError> {
    let mut reader = PageReader::new("PodList".to_owned());
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        while let Some(pod) = reader.next(PodObject::of_protobuf)? {
            found.push(pod);
        }
    }
    Ok((found, reader.finish()?))
}

fn texts() -> impl Strategy<Value = Text> {
    ".{0,12}".prop_map(String::into_bytes)
}

fn owners() -> impl Strategy<Value = OwnerMessage> {
    let flags = (any::<Option<bool>>(), any::<Option<bool>>());
    (texts(), texts(), texts(), texts(), flags).prop_map(|(kind, name, uid, api_version, flags)| OwnerMessage {
        kind,
        name,
        uid,
        api_version,
        controller: flags.0,
        block_owner_deletion: flags.1,
    })
}

fn metas() -> impl Strategy<Value = MetaMessage> {
    let map = || btree_map("[a-z./-]{1,12}", texts(), 0..4);
    let seconds = proptest::option::of(-62_135_596_799i64..253_402_300_799);
    let names = (texts(), texts(), texts(), texts());
    (names, seconds, map(), map(), vec(owners(), 0..3)).prop_map(|(names, seconds, labels, annotations, owners)| {
        MetaMessage {
            name: names.0,
            namespace: names.1,
            uid: names.2,
            resource_version: names.3,
            creation_timestamp: Some(TimeMessage { seconds }),
            labels,
            annotations,
            owner_references: owners,
        }
    })
}

fn pods() -> impl Strategy<Value = PodMessage> {
    let container = (texts(), texts()).prop_map(|(name, image)| ContainerMessage { name, image });
    let spec = (vec(container, 0..3), texts(), any::<bool>());
    let address = texts().prop_map(|ip| PodIpMessage { ip });
    let status = (texts(), texts(), vec(address, 0..3));
    (metas(), spec, status).prop_map(|(metadata, spec, status)| PodMessage {
        metadata: Some(metadata),
        spec: Some(PodSpecMessage { containers: spec.0, node_name: spec.1, host_network: spec.2 }),
        status: Some(PodStatusMessage { phase: status.0, pod_ip: status.1, pod_ips: status.2 }),
    })
}

/// An object without its empty fields, as the API server leaves them out.
fn without_empty(mut object: Value) -> Value {
    object.as_object_mut().unwrap().retain(|_, value| {
        *value != json!("") && *value != json!([]) && *value != json!({}) && *value != json!(false) && !value.is_null()
    });
    object
}

fn said(text: &Text) -> Value {
    json!(std::str::from_utf8(text).unwrap())
}

fn meta_in_json(meta: &MetaMessage) -> Value {
    let map = |map: &BTreeMap<String, Text>| -> Value {
        Value::Object(map.iter().map(|(key, value)| (key.clone(), said(value))).collect())
    };
    let owner = |owner: &OwnerMessage| {
        let mut found = json!({ "kind": said(&owner.kind), "name": said(&owner.name), "uid": said(&owner.uid),
                                "apiVersion": said(&owner.api_version) });
        let flags = [("controller", owner.controller), ("blockOwnerDeletion", owner.block_owner_deletion)];
        for (key, flag) in flags.iter().filter_map(|(key, flag)| Some((key, (*flag)?))) {
            found[key] = json!(flag);
        }
        found
    };
    let created = meta.creation_timestamp.as_ref().and_then(|time| time.seconds);
    let created = created.map(|seconds| Time(Timestamp::from_second(seconds).unwrap()));
    without_empty(json!({
        "name": said(&meta.name), "namespace": said(&meta.namespace), "uid": said(&meta.uid),
        "resourceVersion": said(&meta.resource_version), "creationTimestamp": created,
        "labels": map(&meta.labels), "annotations": map(&meta.annotations),
        "ownerReferences": meta.owner_references.iter().map(owner).collect::<Vec<_>>(),
        "managedFields": [{ "manager": "kubelet" }],
    }))
}

fn pod_in_json(pod: &PodMessage) -> Value {
    let (spec, status) = (pod.spec.as_ref().unwrap(), pod.status.as_ref().unwrap());
    let container =
        |found: &ContainerMessage| json!({ "name": said(&found.name), "image": said(&found.image), "resources": {} });
    json!({
        "metadata": meta_in_json(pod.metadata.as_ref().unwrap()),
        "spec": without_empty(json!({
            "nodeName": said(&spec.node_name), "hostNetwork": spec.host_network,
            "containers": spec.containers.iter().map(container).collect::<Vec<_>>(), "dnsPolicy": "ClusterFirst",
        })),
        "status": without_empty(json!({
            "phase": said(&status.phase), "podIP": said(&status.pod_ip),
            "podIPs": status.pod_ips.iter().map(|found| json!({ "ip": said(&found.ip) })).collect::<Vec<_>>(),
        })),
    })
}

proptest! {
    /// A pod in protobuf is the pod that it is in JSON, whatever else stands in it.
    #[test]
    fn pods_are_those_of_json(pod in pods(), unread in vec(any::<u8>(), 0..40), numbers in any::<(u32, u64)>()) {
        let mut bytes = pod.encode_to_vec();
        // Fields of every type that nobody reads: of the pod itself, and of its parts, which are merged.
        let mut others = field(900, unread.clone());
        prost::encoding::fixed32::encode(901, &numbers.0, &mut others);
        prost::encoding::fixed64::encode(902, &numbers.1, &mut others);
        prost::encoding::uint64::encode(903, &numbers.1, &mut others);
        bytes.extend((1..=3).flat_map(|part| field(part, others.clone())));
        bytes.extend(others);
        let expected: PodObject = serde_json::from_value(pod_in_json(&pod)).unwrap();
        prop_assert_eq!(PodObject::of_protobuf(&bytes).unwrap(), expected);
    }

    /// So are nodes and namespaces.
    #[test]
    fn places_are_those_of_json(meta in metas(), provider_id in texts()) {
        let in_json = json!({ "metadata": meta_in_json(&meta),
                              "spec": without_empty(json!({ "providerID": said(&provider_id) })) });
        let spec = Some(NodeSpecMessage { provider_id });
        let node = NodeMessage { metadata: Some(meta.clone()), spec }.encode_to_vec();
        let namespace = NamespaceMessage { metadata: Some(meta) }.encode_to_vec();
        let expected: NodeObject = serde_json::from_value(in_json.clone()).unwrap();
        prop_assert_eq!(NodeObject::of_protobuf(&node).unwrap(), expected);
        let expected: NamespaceObject = serde_json::from_value(in_json).unwrap();
        prop_assert_eq!(NamespaceObject::of_protobuf(&namespace).unwrap(), expected);
    }

    /// A page gives all its objects in order, in whatever pieces it comes, and says how to go on.
    #[test]
    fn pages_come_in_pieces(pods in vec(pods(), 0..6), piece in 1usize..200, more in "[a-z]{0,9}") {
        let page = page_of("PodList", "77", &more, pods.iter().map(Message::encode_to_vec).collect());
        let (found, meta) = read(&page, piece).unwrap();
        let expected: Vec<_> = pods.iter().map(|pod| PodObject::of_protobuf(&pod.encode_to_vec()).unwrap()).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(meta, ListMeta { resource_version: "77".to_owned(), more });
    }

    /// What breaks off is an error wherever it does so, and what is damaged never panics.
    #[test]
    fn damaged_pages_do_no_harm(
        pods in vec(pods(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        piece in 1usize..100,
    ) {
        let mut page = page_of("PodList", "77", "next", pods.iter().map(Message::encode_to_vec).collect());
        prop_assert!(read(&page[..cut.index(page.len())], piece).is_err());
        for (place, byte) in damage {
            let place = place.index(page.len());
            page[place] = byte;
        }
        drop(read(&page, piece));
    }

    /// Neither do bytes of any kind.
    #[test]
    fn noise_does_no_harm(noise in vec(any::<u8>(), 0..400), piece in 1usize..50) {
        drop(read(&[page::MAGIC, &noise].concat(), piece));
        drop(status(&[page::MAGIC, &noise].concat()));
        drop(PodObject::of_protobuf(&noise));
    }
}

/// Lengths that lie, lists of something else and answers of another form are errors that say what is wrong.
#[test]
fn unfit_pages_are_told() {
    let error = |bytes: &[u8]| read(bytes, 7).unwrap_err().to_string();
    let after_magic = |bytes: &[u8]| error(&[page::MAGIC, bytes].concat());
    assert_eq!(error(b"{\"kind\":\"PodList\"}"), "it does not begin as Kubernetes' protobuf does");
    assert_eq!(error(b"k8s"), "it breaks off");
    assert_eq!(after_magic(&[]), "it breaks off", "no list");
    assert_eq!(after_magic(&[0x12, 20, 0x12, 2, 0x0a, 0]), "it breaks off", "a list that is shorter than it says");
    assert_eq!(after_magic(&[0x12, 4, 0x12, 40, 0x0a, 0]), "a field is longer than the list");
    let longest = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert_eq!(after_magic(&longest), "it breaks off", "the longest list there is, and nothing in it");
    let longest_item = [&longest[..], &longest[..]].concat();
    assert!(after_magic(&longest_item).ends_with(" bytes long, expected at most 67108864"));
    assert_eq!(
        after_magic(&[0x12, 8, 0x12, 2, 0x0a, 9, 0x12, 0]),
        "a message cannot be read",
        "a part behind its whole"
    );
    assert_eq!(after_magic(&[0x13]), "a field is of an unknown type", "a group");
    assert_eq!(after_magic(&[0x80; 11]), "a field is of an unknown type", "a number that does not end");
    assert_eq!(error(&page_of("NodeList", "1", "", Vec::new())), "it is a \"NodeList\", expected a \"PodList\"");
    let encoded = WholeEnvelope { encoding: "gzip".to_owned(), ..WholeEnvelope::default() };
    assert_eq!(after_magic(&encoded.encode_to_vec()), "the list in it is encoded as \"gzip\", expected none of it");
}

/// A text that is no UTF-8, which an object may have where the API server does not look, costs no more than what is wrong.
#[test]
fn unfit_texts_are_replaced() {
    let annotations = BTreeMap::from([("note".to_owned(), b"caf\xe9".to_vec())]);
    let metadata = MetaMessage { name: b"web".to_vec(), annotations, ..MetaMessage::default() };
    let pod = PodMessage { metadata: Some(metadata), ..PodMessage::default() }.encode_to_vec();
    let found = PodObject::of_protobuf(&pod).unwrap().metadata;
    assert_eq!((found.name.as_deref(), found.annotations.unwrap()["note"].as_str()), (Some("web"), "caf\u{fffd}"));
}

/// A moment that no calendar has is none.
#[test]
fn unfit_moments_are_none() {
    let created = |seconds| {
        let creation_timestamp = Some(TimeMessage { seconds: Some(seconds) });
        let metadata = Some(MetaMessage { creation_timestamp, ..MetaMessage::default() });
        let namespace = NamespaceMessage { metadata }.encode_to_vec();
        NamespaceObject::of_protobuf(&namespace).unwrap().metadata.creation_timestamp
    };
    assert_eq!(created(1_796_004_000).unwrap().0.to_string(), "2026-11-30T02:00:00Z");
    assert_eq!((created(i64::MAX), created(i64::MIN)), (None, None));
}

/// A pod as an API server writes it, byte by byte: the numbers of the fields are those of Kubernetes.
#[test]
fn reads_what_an_api_server_writes() {
    let text = |number: u32, value: &str| field(number, value.as_bytes().to_vec());
    let owner = [text(1, "Job"), text(3, "nightly"), text(4, "j"), text(5, "batch/v1"), vec![6 << 3, 1]].concat();
    let label = [text(1, "app"), text(2, "web")].concat();
    let note = [text(1, "note"), text(2, "long")].concat();
    let created = vec![1 << 3, 0xa0, 0xb1, 0xb3, 0xd8, 0x06, 2 << 3, 0];
    let meta = [
        text(1, "web-1"),
        text(2, ""),
        text(3, "shop"),
        text(5, "u"),
        text(6, "12"),
        vec![7 << 3, 0],
        field(8, created),
        field(11, label),
        field(12, note),
        field(13, owner),
        field(17, text(1, "kubelet")),
    ];
    let container = [text(1, "main"), text(2, "web:1"), text(14, "Always")].concat();
    let spec =
        [field(2, container), text(3, "Always"), text(10, "node-1"), vec![11 << 3, 1], field(20, text(1, "init"))];
    let addresses = [field(12, text(1, "10.0.0.7")), field(12, text(1, "fd00::7"))].concat();
    let status = [text(1, "Running"), text(5, "10.0.0.1"), text(6, "10.0.0.7"), addresses, text(9, "BestEffort")];
    let pod = [field(1, meta.concat()), field(2, spec.concat()), field(3, status.concat())].concat();
    let expected = json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u", "resourceVersion": "12",
            "creationTimestamp": "2026-11-30T02:00:00Z", "labels": { "app": "web" }, "annotations": { "note": "long" },
            "ownerReferences": [{ "kind": "Job", "name": "nightly", "uid": "j", "apiVersion": "batch/v1", "controller": true }],
        },
        "spec": { "nodeName": "node-1", "hostNetwork": true, "containers": [{ "name": "main", "image": "web:1" }] },
        "status": { "phase": "Running", "podIP": "10.0.0.7", "podIPs": [{ "ip": "10.0.0.7" }, { "ip": "fd00::7" }] },
    });
    let expected: PodObject = serde_json::from_value(expected).unwrap();
    assert_eq!(PodObject::of_protobuf(&pod).unwrap(), expected);
}

/// A refusal is read with its code and its words.
#[test]
fn refusals_are_read() {
    let found = status(&refusal_of(410, "Expired", "too old")).unwrap();
    assert_eq!((found.code, &*found.reason, &*found.message), (410, "Expired", "too old"));
    assert!(status(b"{}").is_none() && status(b"k8s\0\xff").is_none());
}
