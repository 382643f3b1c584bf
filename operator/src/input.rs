//! Everything that a plan is made of, as it was seen in the cluster or read from files. Values only: whoever has the same
//! ones gets the same plan.

use std::collections::{BTreeMap, BTreeSet};

use engine_config::SecretString;
use k8s_openapi::api::core::v1::Secret;

use crate::collect::SecretName;
use crate::crd::{LogPipeline, MetricPipeline, Telemetry, TracePipeline};
use crate::render::destination::Destination;
use crate::role::{Fleet, Role};
use crate::settings::Settings;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Seconds since 1970, in whole minutes: certificates expire, and nothing else depends on it.
    pub now: i64,
    /// What the installation says.
    pub settings: Settings,
    /// All LogPipelines.
    pub logs: Vec<LogPipeline>,
    /// All MetricPipelines.
    pub metrics: Vec<MetricPipeline>,
    /// All TracePipelines.
    pub traces: Vec<TracePipeline>,
    /// All Telemetry objects; one of them counts.
    pub telemetries: Vec<Telemetry>,
    /// The Secrets that pipelines name, as far as they were looked at.
    pub secrets: BTreeMap<SecretName, SecretView>,
    /// What engines know the manager and one another by.
    pub tokens: Tokens,
    /// Where roles were to send to until a moment ago: engines that have not learned of a change yet still do, and deliver
    /// what they hold.
    pub former_destinations: BTreeMap<Role, BTreeSet<Destination>>,
    /// What of a role could not be applied the last time, and why.
    pub failures: BTreeMap<Role, String>,
    /// How the workloads are; absent where there is none.
    pub workloads: BTreeMap<Fleet, WorkloadView>,
    /// What engines say; absent where there are none.
    pub engines: BTreeMap<Fleet, EngineView>,
    /// Claims of the volumes of the log gateway, by the ordinals of their pods.
    pub claims: BTreeMap<u32, ClaimView>,
    /// StorageClasses, and whether their volumes can grow.
    pub classes: BTreeMap<String, bool>,
}

/// A Secret that a pipeline names.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretView {
    /// It is there.
    Present(BTreeMap<String, Vec<u8>>),
    /// It is not there.
    Missing,
    /// The manager may not read it, or nobody may send it anywhere.
    Forbidden,
}

/// Whether a Secret is for the cluster itself, and no backend is to see it: credentials for registries and for the API server.
pub fn is_of_the_cluster(secret: &Secret) -> bool {
    let kinds = [
        "kubernetes.io/dockercfg",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/service-account-token",
        "bootstrap.kubernetes.io/token",
    ];
    secret.type_.as_deref().is_some_and(|kind| kinds.contains(&kind))
}

/// What engines know the manager and one another by. Made once an installation.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Agents have it for gateways.
    pub agents: SecretString,
    /// The manager has it for the status of engines.
    pub status: SecretString,
}

/// How the workload of a role is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadView {
    /// Whether its status is about what it is to be, and not about what it was.
    pub is_observed: bool,
    /// How many pods are to be there.
    pub desired: u32,
    /// How many of them are of the newest template.
    pub updated: u32,
    /// How many are ready.
    pub ready: u32,
    /// Why a pod does not run, where that will not pass by itself.
    pub problem: Option<String>,
}

/// A claim of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimView {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: Option<String>,
    /// Bytes that it asks for.
    pub requested: u64,
    /// Bytes that it has got; those that it asks for while it has none.
    pub capacity: u64,
    /// Whether it has a volume.
    pub is_bound: bool,
    /// Why it does not become as large as it is to be, where that will not pass by itself.
    pub problem: Option<String>,
}

/// What the engines of a role say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineView {
    /// How many pods were asked.
    pub asked: u32,
    /// Those that have answered.
    pub reports: Vec<EngineReport>,
    /// What became of the data of each pipeline, summed over them; only gateways know pipelines.
    pub flows: BTreeMap<String, FlowView>,
}

/// What one engine says of its configuration, and of what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineReport {
    /// Name of its pod.
    pub pod: String,
    /// What it calls the configuration that it runs.
    pub config_hash: String,
    /// Why it does not run the one that it was given last.
    pub problem: Option<String>,
    /// Why it does not reach the gateway; of agents only.
    pub failure: Option<String>,
    /// Whether Services may send data to it.
    pub receives: bool,
    /// Records that it holds.
    pub holds: u64,
    /// Its buffers on disk, by what it calls their pipelines.
    pub buffers: BTreeMap<String, BufferView>,
    /// Buffers on disk that none of its pipelines owns, by the uid of their own.
    pub orphans: BTreeMap<String, OrphanView>,
}

/// A buffer on disk in one engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferView {
    /// Bytes of its files.
    pub used: u64,
    /// The most that they may have.
    pub max: u64,
    /// Bytes of what is being delivered.
    pub in_memory: u64,
    /// Records that wait behind that.
    pub waiting: u64,
    /// Why nothing can be written to it.
    pub problem: Option<String>,
}

/// A buffer on disk in one engine whose pipeline is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrphanView {
    /// Bytes of its files.
    pub used: u64,
    /// Records that were never delivered.
    pub records: u64,
}

/// What became of the data of one pipeline, in records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowView {
    /// Taken since the engines started.
    pub accepted: u64,
    /// Taken by the backend.
    pub delivered: u64,
    /// Given up, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Held now.
    pub held: u64,
    /// What happened in the last minutes.
    pub recent: Recent,
}

/// What happened to the data of one pipeline in the last minutes, in records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// Taken by the backend.
    pub delivered: u64,
    /// Given up.
    pub dropped: u64,
    /// Turned away at the entrance; their senders still have them.
    pub refused: u64,
    /// What the backend answers, or why it does not, while deliveries fail.
    pub failure: Option<String>,
}

impl WorkloadView {
    /// Whether all pods are there and are the newest.
    pub const fn is_rolled_out(&self) -> bool {
        self.is_observed && self.updated >= self.desired && self.ready >= self.desired
    }
}

impl Default for Tokens {
    /// For plans that nobody runs.
    fn default() -> Self {
        Self { agents: SecretString::new("not-a-token"), status: SecretString::new("not-a-token") }
    }
}

impl std::fmt::Debug for SecretView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Present(data) => formatter.debug_tuple("Present").field(&data.keys().collect::<Vec<_>>()).finish(),
            Self::Missing => formatter.write_str("Missing"),
            Self::Forbidden => formatter.write_str("Forbidden"),
        }
    }
}
