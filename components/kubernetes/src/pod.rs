//! What is kept of a pod: some 300 bytes, of which most are shared with other pods.
//!
//! Owners are read from the pod alone. ReplicaSets and Jobs are not watched: there are several times as many of them as
//! of pods, most of them old.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::intern::Interner;
use crate::object::PodObject;
use crate::wanted::{Chosen, Wanted};

/// Says under which id the kubelet knows a pod that it has from a file. Logs of such pods lie under it, and the uid of
/// the pod object is another one.
const STATIC_POD_HASH: &str = "kubernetes.io/config.hash";
/// By which a Deployment tells the pods of its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// A Job of a CronJob is named by the minute it was due. A pod that was made longer after that is of another job.
const LONGEST_SINCE_DUE_MINUTES: i64 = 7 * 24 * 60;

/// The unique id of an object: a UUID, however it is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u128);

/// A pod as others see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its unique id.
    pub uid: Uid,
    /// The id under which its node's kubelet knows it, if that is another one.
    pub(crate) static_uid: Option<Uid>,
    /// Its name.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The node it was scheduled to.
    pub node: Option<Arc<str>>,
    /// Whatever keeps it running.
    pub owner: Option<Owner>,
    /// The addresses that are its own: none of a pod in its node's network, or of one that has ended.
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// Seconds since 1970.
    pub created: i64,
    /// Chosen labels.
    pub labels: Chosen,
    /// Chosen annotations.
    pub annotations: Chosen,
    /// Its containers, if somebody wants them.
    pub containers: Box<[Container]>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: Arc<str>,
    /// The image it was asked to run.
    pub image: Arc<str>,
}

/// What keeps a pod running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// Its name.
    pub name: Arc<str>,
    /// What keeps the owner, where its name says so.
    pub above: Option<Arc<str>>,
}

/// Kinds of owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// A ReplicaSet; above it may be a Deployment.
    ReplicaSet,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
    /// A Job; above it may be a CronJob.
    Job,
}

impl Uid {
    /// Reads a UUID or its 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut value = 0u128;
        let mut digits = 0;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            let digit = char::from(byte).to_digit(16)?;
            value = value << 4 | u128::from(digit);
            digits += 1;
        }
        (digits == 32).then_some(Self(value))
    }
}

impl fmt::Display for Uid {
    /// As a UUID.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = self;
        let part = |shift: u32, bits: u32| value >> shift & ((1 << bits) - 1);
        write!(
            formatter,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 32),
            part(80, 16),
            part(64, 16),
            part(48, 16),
            part(0, 48)
        )
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Pod {
    /// What is kept of a pod; none of an object without an id.
    pub(crate) fn of(object: &PodObject, wanted: &Wanted, interner: &mut Interner) -> Option<Self> {
        let meta = &object.metadata;
        let annotations = meta.annotations.as_ref();
        let static_uid = annotations.and_then(|all| all.get(STATIC_POD_HASH)).and_then(|text| Uid::parse(text));
        let created = meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        let container = |spec: &crate::object::ContainerSpec, interner: &mut Interner| Container {
            name: interner.get(&spec.name),
            image: interner.get(&spec.image),
        };
        let wanted_containers = if wanted.containers { &object.spec.containers[..] } else { &[] };
        Some(Self {
            uid: Uid::parse(meta.uid.as_deref()?)?,
            static_uid,
            name: meta.name.as_deref()?.into(),
            namespace: interner.get(meta.namespace.as_deref().unwrap_or_default()),
            node: object.spec.node_name.as_deref().filter(|name| !name.is_empty()).map(|name| interner.get(name)),
            owner: Owner::of(object, created, interner),
            addresses: addresses(object),
            created,
            labels: wanted.pod_labels.choose(meta.labels.as_ref(), interner),
            annotations: wanted.pod_annotations.choose(annotations, interner),
            containers: wanted_containers.iter().map(|spec| container(spec, interner)).collect(),
        })
    }
}

impl Owner {
    fn of(object: &PodObject, created: i64, interner: &mut Interner) -> Option<Self> {
        let references = object.metadata.owner_references.as_ref()?;
        let controller = references.iter().find(|reference| reference.controller == Some(true));
        let reference = controller.or_else(|| references.first())?;
        let name = reference.name.as_str();
        let group = reference.api_version.split('/').next();
        let (kind, above) = match (group, reference.kind.as_str()) {
            (Some("apps"), "ReplicaSet") => (OwnerKind::ReplicaSet, deployment(name, object.metadata.labels.as_ref())),
            (Some("apps"), "StatefulSet") => (OwnerKind::StatefulSet, None),
            (Some("apps"), "DaemonSet") => (OwnerKind::DaemonSet, None),
            (Some("batch"), "Job") => (OwnerKind::Job, cron_job(name, created)),
            _ => return None,
        };
        Some(Self { kind, name: interner.get(name), above: above.map(|above| interner.get(above)) })
    }
}

/// The Deployment of a ReplicaSet: a Deployment names its ReplicaSets by itself and the hash that its pods carry as a
/// label. A ReplicaSet of somebody else, or one whose name was cut, does not end in that label.
fn deployment<'n>(replica_set: &'n str, labels: Option<&BTreeMap<String, String>>) -> Option<&'n str> {
    let hash = labels?.get(TEMPLATE_HASH).filter(|hash| !hash.is_empty())?;
    replica_set.strip_suffix(hash.as_str())?.strip_suffix('-').filter(|name| !name.is_empty())
}

/// The CronJob of a Job: a CronJob names its Jobs by itself and the minute, since 1970, at which they are due. A number that
/// is no minute shortly before the pod was made is somebody's own.
fn cron_job(job: &str, created: i64) -> Option<&str> {
    let (name, due) = job.rsplit_once('-')?;
    let due: i64 = due.parse().ok().filter(|_| due.bytes().all(|byte| byte.is_ascii_digit()))?;
    let since_due = created / 60 - due;
    // Clocks of two controllers may differ by a minute.
    ((-1..=LONGEST_SINCE_DUE_MINUTES).contains(&since_due) && !name.is_empty()).then_some(name)
}

/// The addresses of a pod while they are its own. A pod that has ended keeps them in its status, though another one may
/// have them by then.
fn addresses(object: &PodObject) -> SmallVec<[IpAddr; 1]> {
    if object.spec.host_network || matches!(object.status.phase.as_str(), "Succeeded" | "Failed") {
        return SmallVec::new();
    }
    let several = object.status.pod_ips.iter().map(|entry| entry.ip.as_str());
    let mut found = SmallVec::new();
    for text in several.chain(object.status.pod_ip.as_deref()) {
        if let Ok(address) = text.parse::<IpAddr>()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests;
