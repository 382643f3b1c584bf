//! The objects of a role: its workload and everything that it needs, and nothing else. Values in, values out; how they get
//! into a cluster is the matter of `apply`.
//!
//! What is in the manager's own namespace goes with it. Everything else is owned by that namespace, because an owner must
//! be in the same namespace or in none.

mod access;
mod egress;
mod network;
mod pods;
pub mod resources;
mod scaling;
mod volumes;

pub use self::volumes::STATE_VOLUME;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::core::DynamicObject;
use serde::Serialize;

use super::config::RoleConfig;
use super::destination::Destination;
use crate::apply::MANAGED_BY;
use crate::crd::{Agent, Gateway};
use crate::role::{Fleet, Role, Workload};
use crate::settings::Settings;
use crate::storage::Storage;

/// Label by which pods of a role are found.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "telemetry");
/// Label of the pods of a log gateway that data may be sent to: it is taken from those that are to go.
pub const RECEIVES_LABEL: (&str, &str) = ("telemetry.kyma-project.io/receives", "logs");
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Label with the version of the engine.
pub const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// A role that is to run.
#[derive(Clone, Debug)]
pub struct RunningRole<'r> {
    /// Which one.
    pub role: Role,
    /// Its workloads, and what their engines run.
    pub fleets: Vec<(Workload, &'r RoleConfig)>,
    /// How many pods, and what they may use.
    pub gateway: &'r Gateway,
    /// The same of agents.
    pub agent: &'r Agent,
    /// Where it may send to, if that is narrowed.
    pub destinations: BTreeSet<Destination>,
    /// What of it is on disk.
    pub storage: Option<&'r Storage>,
}

/// One workload of a role, and what its engines run.
#[derive(Clone, Copy)]
struct Running<'r> {
    role: &'r RunningRole<'r>,
    workload: Workload,
    config: &'r RoleConfig,
}

/// Every object of a role.
pub fn of_role(running: &RunningRole<'_>, settings: &Settings) -> Vec<DynamicObject> {
    let mut objects = access::objects(running.role, settings);
    objects.extend(running.all().map(|fleet| object(&secret(fleet, settings))));
    objects.extend(network::objects(running, settings));
    if !running.role.is_agent() {
        objects.extend(scaling::objects(running, settings));
    }
    for fleet in running.all() {
        objects.push(match (fleet.workload, running.storage) {
            (Workload::DaemonSet, _) => object(&pods::daemon_set(fleet, settings)),
            (Workload::StatefulSet, Some(storage)) => object(&volumes::stateful_set(fleet, storage, settings)),
            (Workload::Deployment | Workload::StatefulSet, _) => object(&pods::deployment(fleet, settings)),
        });
    }
    objects
}

impl RunningRole<'_> {
    fn all(&self) -> impl Iterator<Item = Running<'_>> {
        self.fleets.iter().map(|(workload, config)| Running { role: self, workload: *workload, config })
    }

    fn takes_from_applications(&self) -> bool {
        self.fleets.iter().any(|(_, config)| config.takes_from_applications)
    }

    fn takes_from_agents(&self) -> bool {
        self.fleets.iter().any(|(_, config)| config.takes_from_agents)
    }
}

impl Running<'_> {
    const fn fleet(&self) -> Fleet {
        Fleet { role: self.role.role, workload: self.workload }
    }
}

/// The namespace that a role runs in.
pub fn namespace_of(role: Role, settings: &Settings) -> &str {
    if role.is_agent() { &settings.agent_namespace } else { &settings.namespace }
}

/// Name of the Secret with the configuration of engines. Each version of the engine has its own, so that during an upgrade
/// the old one never meets a key of the new one; and so have those with volumes, so that no other one writes to a disk that it
/// does not have.
pub fn config_secret(fleet: Fleet, engine_version: &str) -> String {
    let is_allowed = |found: char| found.is_ascii_lowercase() || found.is_ascii_digit() || found == '.';
    let version: String =
        engine_version.to_ascii_lowercase().chars().map(|found| if is_allowed(found) { found } else { '-' }).collect();
    let what = match fleet.workload {
        Workload::Deployment | Workload::DaemonSet => "",
        Workload::StatefulSet => "-disk",
    };
    format!("{}{what}-{}", fleet.role.name(), version.trim_matches(['-', '.']))
}

fn secret(running: Running<'_>, settings: &Settings) -> Secret {
    let mut data: BTreeMap<String, ByteString> =
        running.config.files.iter().map(|(name, content)| (name.clone(), ByteString(content.clone()))).collect();
    data.insert(CONFIG_FILE.to_owned(), ByteString(running.config.toml.clone().into_bytes()));
    let name = config_secret(running.fleet(), &settings.engine_version);
    Secret { metadata: metadata(running.role.role, &name, settings), data: Some(data), ..Secret::default() }
}

/// The configuration in the Secret of a role.
pub const CONFIG_FILE: &str = "engine.toml";

/// Metadata of an object in the namespace of a role.
fn metadata(role: Role, name: &str, settings: &Settings) -> ObjectMeta {
    let namespace = namespace_of(role, settings);
    let owner = if namespace == settings.namespace { None } else { owner(settings) };
    ObjectMeta { namespace: Some(namespace.to_owned()), owner_references: owner, ..named(role, name, settings) }
}

/// Metadata of an object that is in no namespace.
fn cluster_metadata(role: Role, name: &str, settings: &Settings) -> ObjectMeta {
    ObjectMeta { owner_references: owner(settings), ..named(role, name, settings) }
}

fn named(role: Role, name: &str, settings: &Settings) -> ObjectMeta {
    let mut labels = labels(role);
    labels.insert(VERSION_LABEL.to_owned(), settings.engine_version.clone());
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() }
}

fn owner(settings: &Settings) -> Option<Vec<OwnerReference>> {
    let uid = settings.namespace_uid.clone()?;
    Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        name: settings.namespace.clone(),
        uid,
        ..OwnerReference::default()
    }])
}

/// The labels of everything of a role, its pods too. Whoever applies them says whose they are.
fn labels(role: Role) -> BTreeMap<String, String> {
    let own = [(NAME_LABEL, role.name()), (COMPONENT_LABEL, role.component()), PART_OF];
    own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Selects the pods of a role. A workload's selector can never be changed, so it holds what never changes.
fn selector(role: Role) -> LabelSelector {
    let labels = BTreeMap::from([(NAME_LABEL.to_owned(), role.name().to_owned())]);
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// An object with its kind beside it.
fn object<O: Resource + Serialize>(object: &O) -> DynamicObject {
    let mut json = serde_json::to_value(object).expect("objects of the API are plain values");
    // What only the cluster says is not ours to write.
    if let Some(fields) = json.as_object_mut() {
        fields.remove("status");
    }
    serde_json::from_value(json).expect("an object of the API has kind and metadata")
}
