//! What is written into a resource, prepared once for each pod and kept while neither the pod nor its place changes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use engine_config::KubernetesAttribute as Name;
use engine_config::transforms::KubernetesAttributes as Options;
use engine_config::transforms::kubernetes_attributes::ServiceNames;
use kubernetes::{Chosen, Container, KeySelection, Metadata, Node, OwnerKind, Pod, Uid, Wanted};
use otlp::{ResourceEdits, TextEdits};
use parking_lot::Mutex;

use super::Finding;
use super::resolve::Found;
use super::service;

/// Parts of what is kept, so that lanes seldom wait for one another.
const SHARDS: usize = 16;
/// Pods in a part. Preparing one takes some microseconds, so what does not fit is no loss.
const KEPT: usize = 128;

/// Prepares edits.
pub(super) struct Preparation {
    options: Options,
    selections: Selections,
    metadata: Arc<Metadata>,
    hasher: RandomState,
    pods: [Mutex<HashMap<Key, Prepared>>; SHARDS],
    others: Mutex<Option<Others>>,
}

/// Labels and annotations that become attributes.
struct Selections {
    pod_labels: KeySelection,
    pod_annotations: KeySelection,
    namespace_labels: KeySelection,
    namespace_annotations: KeySelection,
    node_labels: KeySelection,
}

/// Whether a resource names its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ServiceName {
    Known,
    Unknown,
}

/// What tells edits of one pod apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    pod: Uid,
    container: Option<usize>,
    service: ServiceName,
}

struct Prepared {
    /// What it was made of.
    pod: Arc<Pod>,
    places: u64,
    edits: Arc<ResourceEdits>,
}

/// Edits for what is of no pod.
struct Others {
    places: u64,
    known: Arc<ResourceEdits>,
    unknown: Arc<ResourceEdits>,
}

/// What options need of the cluster.
pub(super) fn wanted(options: &Options) -> Wanted {
    let (mut labels, mut annotations) = (Vec::new(), Vec::new());
    service::keys_wanted(options.service, &mut labels, &mut annotations);
    labels.extend(options.pod_labels.iter().cloned());
    annotations.extend(options.pod_annotations.iter().cloned());
    let mut wanted = Wanted {
        pod_labels: KeySelection::new(labels),
        pod_annotations: KeySelection::new(annotations),
        namespace_labels: KeySelection::new(&options.namespace_labels),
        namespace_annotations: KeySelection::new(&options.namespace_annotations),
        node_labels: KeySelection::new(&options.node_labels),
        containers: false,
        nodes: !options.node_labels.is_empty() || options.attributes.iter().any(|name| name.is_of_the_node()),
    };
    service::wants_containers(options.service, &mut wanted);
    wanted
}

/// The name of a pod's workload of this kind.
pub(super) fn owner_name(pod: &Pod, name: Name) -> Option<&str> {
    let owner = pod.owner.as_ref()?;
    match (owner.kind, name) {
        (OwnerKind::ReplicaSet, Name::DeploymentName) | (OwnerKind::Job, Name::CronJobName) => owner.above.as_deref(),
        (kind, name) => service::is_owner(kind, name).then_some(&*owner.name),
    }
}

impl Preparation {
    pub(super) fn new(options: &Options, metadata: Arc<Metadata>) -> Self {
        let selections = Selections {
            pod_labels: KeySelection::new(&options.pod_labels),
            pod_annotations: KeySelection::new(&options.pod_annotations),
            namespace_labels: KeySelection::new(&options.namespace_labels),
            namespace_annotations: KeySelection::new(&options.namespace_annotations),
            node_labels: KeySelection::new(&options.node_labels),
        };
        let (options, hasher) = (options.clone(), RandomState::new());
        Self { options, selections, metadata, hasher, pods: Default::default(), others: Mutex::default() }
    }

    /// What is written into the resource of a finding.
    pub(super) fn edits(&self, finding: &Finding) -> Arc<ResourceEdits> {
        let Found::Pod(pod, _) = &finding.found else { return self.of_no_pod(finding.service) };
        let container = container_of(pod, finding.container.as_deref());
        let key = Key { pod: pod.uid, container, service: finding.service };
        let places = self.metadata.places();
        let shard = &self.pods[self.hasher.hash_one(key) as usize % SHARDS];
        let known = |kept: &HashMap<Key, Prepared>| {
            let prepared = kept.get(&key)?;
            (prepared.places == places && Arc::ptr_eq(&prepared.pod, pod)).then(|| Arc::clone(&prepared.edits))
        };
        if let Some(edits) = known(&shard.lock()) {
            return edits;
        }
        let container = container.and_then(|place| pod.containers.get(place));
        let edits = Arc::new(self.of_pod(pod, container, finding.service));
        let mut kept = shard.lock();
        if kept.len() >= KEPT && !kept.contains_key(&key) {
            kept.clear();
        }
        kept.insert(key, Prepared { pod: Arc::clone(pod), places, edits: Arc::clone(&edits) });
        edits
    }

    fn of_no_pod(&self, service: ServiceName) -> Arc<ResourceEdits> {
        let places = self.metadata.places();
        let mut others = self.others.lock();
        if others.as_ref().is_none_or(|others| others.places != places) {
            let cluster = || {
                let mut edits = TextEdits::default();
                self.cluster(&mut edits);
                edits
            };
            let mut unknown = cluster();
            if self.options.service == ServiceNames::AppLabels {
                unknown.fill(&["service.name"], &["unknown_service"]);
            }
            *others = Some(Others { places, known: Arc::new(cluster().finish()), unknown: Arc::new(unknown.finish()) });
        }
        let found = others.as_ref().expect("it was made in the lines above");
        Arc::clone(match service {
            ServiceName::Known => &found.known,
            ServiceName::Unknown => &found.unknown,
        })
    }

    fn of_pod(&self, pod: &Pod, container: Option<&Container>, service_name: ServiceName) -> ResourceEdits {
        let mut edits = TextEdits::default();
        self.cluster(&mut edits);
        let node = pod.node.as_deref().and_then(|name| self.metadata.node(name));
        for name in &self.options.attributes {
            if let Some(value) = value_of(*name, pod, node.as_deref()) {
                edits.fill(&[name.key()], &[&value]);
            }
        }
        let chosen = |edits: &mut TextEdits, prefix: &str, selection: &KeySelection, from: &Chosen| {
            for (key, value) in from.iter().filter(|(key, _)| selection.contains(key)) {
                edits.fill(&[prefix, key], &[value]);
            }
        };
        let wanted = &self.selections;
        chosen(&mut edits, "k8s.pod.label.", &wanted.pod_labels, &pod.labels);
        chosen(&mut edits, "k8s.pod.annotation.", &wanted.pod_annotations, &pod.annotations);
        if let Some(namespace) = self.metadata.namespace(&pod.namespace) {
            chosen(&mut edits, "k8s.namespace.label.", &wanted.namespace_labels, &namespace.labels);
            chosen(&mut edits, "k8s.namespace.annotation.", &wanted.namespace_annotations, &namespace.annotations);
        }
        if let Some(node) = &node {
            chosen(&mut edits, "k8s.node.label.", &wanted.node_labels, &node.labels);
        }
        service::others(self.options.service, pod, container, &mut edits);
        if service_name == ServiceName::Unknown
            && let Some(name) = service::name(self.options.service, pod)
        {
            edits.upsert(&["service.name"], &[name]);
        }
        edits.finish()
    }

    fn cluster(&self, edits: &mut TextEdits) {
        if self.options.attributes.contains(&Name::ClusterName)
            && let Some(name) = self.options.cluster_name.as_deref().or_else(|| self.metadata.cluster_name())
        {
            edits.fill(&[Name::ClusterName.key()], &[name]);
        }
        if self.options.attributes.contains(&Name::ClusterUid)
            && let Some(uid) = self.metadata.cluster_uid()
        {
            edits.fill(&[Name::ClusterUid.key()], &[&uid]);
        }
    }
}

/// The place of the container that a resource names, or of the only one.
fn container_of(pod: &Pod, named: Option<&str>) -> Option<usize> {
    match named {
        Some(name) => pod.containers.iter().position(|container| *container.name == *name),
        None => (pod.containers.len() == 1).then_some(0),
    }
}

/// The value of an attribute that a pod or its node has.
fn value_of<'p>(name: Name, pod: &'p Pod, node: Option<&'p Node>) -> Option<Cow<'p, str>> {
    let of_node = |field: fn(&Node) -> &Option<Arc<str>>| node.and_then(|node| field(node).as_deref());
    let text = match name {
        Name::ClusterName | Name::ClusterUid => None,
        Name::NamespaceName => Some(&*pod.namespace),
        Name::PodName => Some(&*pod.name),
        Name::NodeName => pod.node.as_deref(),
        Name::PodUid => return Some(Cow::Owned(pod.uid.to_string())),
        Name::PodIp => return pod.addresses.first().map(|address| Cow::Owned(address.to_string())),
        Name::NodeUid => node.map(|node| &*node.uid),
        Name::CloudRegion => of_node(|node| &node.region),
        Name::CloudAvailabilityZone => of_node(|node| &node.zone),
        Name::HostType => of_node(|node| &node.instance_type),
        Name::HostArch => of_node(|node| &node.architecture).map(architecture),
        Name::CloudProvider => of_node(|node| &node.provider).and_then(provider),
        Name::CronJobName
        | Name::DaemonSetName
        | Name::DeploymentName
        | Name::JobName
        | Name::ReplicaSetName
        | Name::StatefulSetName => owner_name(pod, name),
    };
    text.filter(|text| !text.is_empty()).map(Cow::Borrowed)
}

/// The name that the semantic conventions have for an architecture that Go names so.
fn architecture(name: &str) -> &str {
    match name {
        "386" => "x86",
        "arm" => "arm32",
        "ppc64le" => "ppc64",
        other => other,
    }
}

/// The name that the semantic conventions have for the provider of a node with an id of this scheme.
fn provider(scheme: &str) -> Option<&str> {
    match scheme {
        "aws" => Some("aws"),
        "azure" => Some("azure"),
        "gce" => Some("gcp"),
        "ibm" => Some("ibm_cloud"),
        _ => None,
    }
}
