//! What the cluster holds of everything that a plan needs.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, Resource, ResourceExt};
use kubernetes::Selection;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::cache::Cache;
use super::engines::Engine;
use super::publish::{PublishError, Publisher};
use super::workloads;
use crate::apply::{MANAGED_BY, ObjectRef};
use crate::collect::{PipelineId, TELEMETRY_NAME};
use crate::crd::{LogPipeline, MetricPipeline, Telemetry, TracePipeline, forget_copies};
use crate::input::{Input, Tokens};
use crate::plan;
use crate::render::objects::NAME_LABEL;
use crate::role::{Fleet, Role, Signal, Workload};
use crate::settings::Settings;
use crate::status::PipelineReport;

/// Objects in a page of a list.
const PAGE_SIZE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Everything that is followed.
pub(super) struct Observed {
    logs: Cache<LogPipeline>,
    metrics: Cache<MetricPipeline>,
    traces: Cache<TracePipeline>,
    telemetries: Cache<Telemetry>,
    deployments: Cache<Deployment>,
    stateful_sets: Cache<StatefulSet>,
    daemon_sets: Cache<DaemonSet>,
    claims: Cache<PersistentVolumeClaim>,
    classes: Cache<StorageClass>,
    gateway_pods: Cache<Pod>,
    agent_pods: Cache<Pod>,
}

impl Observed {
    pub(super) fn follow(client: &Client, settings: &Settings, changed: &Arc<Notify>, tasks: &mut JoinSet<()>) -> Self {
        let all = || Selection::all(PAGE_SIZE);
        let labels = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
        let own = || Selection { labels: Some(labels.clone()), ..all() };
        // Claims have the labels by which their StatefulSet knows its pods.
        let of_gateway = Selection { labels: Some(format!("{NAME_LABEL}={}", Role::LogGateway.name())), ..all() };
        let (gateways, agents) = (settings.namespace.as_str(), settings.agent_namespace.as_str());
        let told = || Arc::clone(changed);
        Self {
            logs: Cache::follow(Api::all(client.clone()), all(), forget_copies, told(), tasks),
            metrics: Cache::follow(Api::all(client.clone()), all(), forget_copies, told(), tasks),
            traces: Cache::follow(Api::all(client.clone()), all(), forget_copies, told(), tasks),
            telemetries: Cache::follow(Api::all(client.clone()), all(), forget_copies, told(), tasks),
            deployments: Cache::follow(Api::namespaced(client.clone(), gateways), own(), forget_copies, told(), tasks),
            stateful_sets: Cache::follow(
                Api::namespaced(client.clone(), gateways),
                own(),
                forget_copies,
                told(),
                tasks,
            ),
            claims: Cache::follow(Api::namespaced(client.clone(), gateways), of_gateway, forget_copies, told(), tasks),
            classes: Cache::follow(Api::all(client.clone()), all(), forget_copies, told(), tasks),
            daemon_sets: Cache::follow(Api::namespaced(client.clone(), agents), own(), forget_copies, told(), tasks),
            gateway_pods: Cache::follow(Api::namespaced(client.clone(), gateways), own(), trim_pod, told(), tasks),
            agent_pods: Cache::follow(Api::namespaced(client.clone(), agents), own(), trim_pod, told(), tasks),
        }
    }

    /// Waits until everything has been listed once. A kind of pipeline that the cluster does not have keeps nobody from the
    /// others.
    pub(super) async fn listed(&self) {
        self.logs.listed_or_unknown().await;
        self.metrics.listed_or_unknown().await;
        self.traces.listed_or_unknown().await;
        self.telemetries.listed().await;
        self.deployments.listed().await;
        self.stateful_sets.listed().await;
        self.daemon_sets.listed().await;
        self.claims.listed().await;
        self.classes.listed().await;
        self.gateway_pods.listed().await;
        self.agent_pods.listed().await;
    }

    /// What was seen, without Secrets and engines.
    pub(super) fn input(&self, settings: Settings, tokens: Tokens) -> Input {
        let now = Timestamp::now().as_second();
        let gateway_pods = self.gateway_pods.all();
        let agent_pods = self.agent_pods.all();
        let fleet =
            |name: String, workload| Fleet::all().find(|fleet| fleet.workload == workload && fleet.role.name() == name);
        let deployments = self.deployments.all();
        let deployments = deployments.iter().filter_map(|found| {
            let fleet = fleet(found.name_any(), Workload::Deployment)?;
            Some((fleet, workloads::deployment(fleet, found, &gateway_pods)))
        });
        let stateful_sets = self.stateful_sets.all();
        let stateful_sets = stateful_sets.iter().filter(|found| found.metadata.deletion_timestamp.is_none());
        let stateful_sets = stateful_sets.filter_map(|found| {
            let fleet = fleet(found.name_any(), Workload::StatefulSet)?;
            Some((fleet, workloads::stateful_set(fleet, found, &gateway_pods)))
        });
        let daemon_sets = self.daemon_sets.all();
        let daemon_sets = daemon_sets.iter().filter_map(|found| {
            let fleet = fleet(found.name_any(), Workload::DaemonSet)?;
            Some((fleet, workloads::daemon_set(fleet, found, &agent_pods)))
        });
        let claims = self.claims.all();
        let claims = claims.iter().filter(|found| found.metadata.deletion_timestamp.is_none());
        let classes = self.classes.all();
        let can_grow = |class: &Arc<StorageClass>| (class.name_any(), class.allow_volume_expansion == Some(true));
        Input {
            now: now - now.rem_euclid(60),
            settings,
            logs: owned(&self.logs),
            metrics: owned(&self.metrics),
            traces: owned(&self.traces),
            telemetries: owned(&self.telemetries),
            secrets: std::collections::BTreeMap::new(),
            tokens,
            workloads: deployments.chain(stateful_sets).chain(daemon_sets).collect(),
            claims: claims.filter_map(|found| workloads::claim(found)).collect(),
            classes: classes.iter().map(can_grow).collect(),
            engines: std::collections::BTreeMap::new(),
            former_destinations: std::collections::BTreeMap::new(),
            failures: std::collections::BTreeMap::new(),
        }
    }

    /// The engines that can be asked.
    pub(super) fn engines(&self) -> Vec<Engine> {
        let pods = self.gateway_pods();
        let mut engines: Vec<Engine> =
            pods.iter().chain(&self.agent_pods.all()).filter_map(|pod| engine(pod)).collect();
        engines.sort();
        engines
    }

    /// The pods of gateways.
    pub(super) fn gateway_pods(&self) -> Vec<Arc<Pod>> {
        self.gateway_pods.all()
    }

    /// Whether pipelines of a signal were listed. What has not been seen is not gone.
    fn is_listed(&self, signal: Signal) -> bool {
        match signal {
            Signal::Logs => self.logs.is_listed(),
            Signal::Metrics => self.metrics.is_listed(),
            Signal::Traces => self.traces.is_listed(),
        }
    }

    /// Whether pods of a role still use something that is not wanted any more: they deliver what they hold, or wait to be
    /// replaced by those of another version. It goes with the last of them. Nothing goes of a role whose pipelines have not
    /// been seen.
    pub(super) fn is_in_use(&self, object: &ObjectRef, unseen: &BTreeSet<Signal>) -> bool {
        let Some(role) = Role::of_object(&object.name) else { return false };
        if !self.is_listed(role.signal()) || unseen.contains(&role.signal()) {
            return true;
        }
        let kept = ["ClusterRole", "ClusterRoleBinding", "NetworkPolicy", "Secret", "ServiceAccount"];
        if !kept.contains(&object.kind.as_str()) {
            return false;
        }
        let pods = if role.is_agent() { self.agent_pods.all() } else { self.gateway_pods.all() };
        pods.iter().any(|pod| {
            let fleet = workloads::fleet_of(pod).filter(|fleet| fleet.role == role);
            fleet.is_some_and(|fleet| workloads::uses(pod, object, fleet))
        })
    }

    /// All Telemetry objects.
    pub(super) fn telemetries(&self) -> Vec<Arc<Telemetry>> {
        self.telemetries.all()
    }

    /// Writes the status of a pipeline, if it is still there.
    pub(super) async fn publish(
        &self,
        publisher: &mut Publisher,
        id: &PipelineId,
        report: &PipelineReport,
    ) -> Result<(), PublishError> {
        match id.signal {
            Signal::Logs => match named(&self.logs, &id.name) {
                Some(found) => publisher.logs(&found, id, report).await,
                None => Ok(()),
            },
            Signal::Metrics => match named(&self.metrics, &id.name) {
                Some(found) => publisher.metrics(&found, id, report).await,
                None => Ok(()),
            },
            Signal::Traces => match named(&self.traces, &id.name) {
                Some(found) => publisher.traces(&found, id, report).await,
                None => Ok(()),
            },
        }
    }
}

/// Namespace and name of an object.
pub(super) fn key(found: &impl ResourceExt) -> (String, String) {
    (found.namespace().unwrap_or_default(), found.name_any())
}

/// The uid of the namespace that owns what is not in it.
pub(super) async fn namespace_uid(client: &Client, name: &str) -> Result<Option<String>, kube::Error> {
    let namespace = Api::<Namespace>::all(client.clone()).get(name).await?;
    Ok(namespace.metadata.uid)
}

/// Whether the Telemetry object that counts is the one that was seen. Watches of several kinds do not keep step: who made it before
/// a pipeline may have been heard the other way round.
pub(super) async fn is_newest_module(client: &Client, input: &Input) -> Result<bool, String> {
    let all: Api<Telemetry> = Api::namespaced(client.clone(), &input.settings.namespace);
    let newest = all.get_metadata_opt(TELEMETRY_NAME).await;
    let newest = newest.map_err(|error| format!("cannot read Telemetry {TELEMETRY_NAME}: {error}"))?;
    let seen = input.telemetries.iter().find(|found| plan::counts(found, input));
    let version = |metadata: &ObjectMeta| (metadata.uid.clone(), metadata.generation);
    Ok(newest.map(|newest| version(&newest.metadata)) == seen.map(|seen| version(&seen.metadata)))
}

fn named<K>(cache: &Cache<K>, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    cache.all().into_iter().find(|found| found.name_any() == name)
}

fn owned<K>(cache: &Cache<K>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    cache.all().iter().map(|found| K::clone(found)).collect()
}

/// What the manager wants to know of a pod.
fn trim_pod(pod: &mut Pod) {
    forget_copies(pod);
    pod.spec = None;
}

fn engine(pod: &Pod) -> Option<Engine> {
    let fleet = workloads::fleet_of(pod)?;
    let status = pod.status.as_ref()?;
    // A pod that ends drains; it is no longer what the configuration is for.
    let runs = status.phase.as_deref() == Some("Running") && pod.metadata.deletion_timestamp.is_none();
    let address = status.pod_ip.as_ref()?.parse().ok()?;
    runs.then(|| Engine { fleet, pod: pod.name_any(), address, receives: workloads::receives(pod) })
}
