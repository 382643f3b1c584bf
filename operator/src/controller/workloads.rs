//! How workloads and their pods are, and why a pod does not run.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::apply::ObjectRef;
use crate::input::{ClaimView, WorkloadView};
use crate::quantity;
use crate::render::objects::{NAME_LABEL, RECEIVES_LABEL, STATE_VOLUME, VERSION_LABEL, config_secret};
use crate::role::{Fleet, Role, Workload};

/// The label that the controller of StatefulSets gives its pods.
const ORDINAL_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// Reasons for which a container waits that pass by themselves.
const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// How a Deployment is.
pub(super) fn deployment(fleet: Fleet, found: &Deployment, pods: &[Arc<Pod>]) -> WorkloadView {
    let status = found.status.clone().unwrap_or_default();
    let desired = found.spec.replicas.unwrap_or(1);
    let updated = count(status.updated_replicas.unwrap_or_default());
    let older = count(status.replicas.unwrap_or_default()).saturating_sub(updated);
    WorkloadView {
        is_observed: status.observed_generation >= found.metadata.generation,
        desired: count(desired),
        updated,
        // Pods of an older template are ready too, and do not count.
        ready: count(status.available_replicas.unwrap_or_default()).saturating_sub(older),
        problem: problem(fleet, pods),
    }
}

/// How a StatefulSet is.
pub(super) fn stateful_set(fleet: Fleet, found: &StatefulSet, pods: &[Arc<Pod>]) -> WorkloadView {
    let status = found.status.clone().unwrap_or_default();
    WorkloadView {
        is_observed: status.observed_generation >= found.metadata.generation,
        desired: count(found.spec.replicas.unwrap_or(1)),
        updated: count(status.updated_replicas.unwrap_or_default()),
        ready: count(status.ready_replicas.unwrap_or_default()),
        problem: problem(fleet, pods),
    }
}

/// A claim of a volume of a pod with this ordinal.
pub(super) fn claim(found: &PersistentVolumeClaim) -> Option<(u32, ClaimView)> {
    let name = found.metadata.name.clone()?;
    let ordinal = name.strip_prefix(&format!("{STATE_VOLUME}-{}-", Fleet::DURABLE.role.name()))?.parse().ok()?;
    let spec = found.spec.as_ref()?;
    let status = found.status.clone().unwrap_or_default();
    let size = |amounts: Option<&BTreeMap<String, Quantity>>| quantity::bytes(&amounts?.get("storage")?.0);
    let requested = size(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref())).unwrap_or_default();
    let is_infeasible = |status: &String| status.ends_with("Infeasible");
    let infeasible = status.allocated_resource_statuses.iter().flatten().any(|(_, status)| is_infeasible(status));
    let failing = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.status == "True" && condition.type_.ends_with("ResizeError"));
    let said = failing.map(|condition| condition.message.clone().unwrap_or_else(|| condition.type_.clone()));
    let view = ClaimView {
        class: spec.storage_class_name.clone(),
        requested,
        capacity: size(status.capacity.as_ref()).unwrap_or(requested),
        is_bound: status.phase.as_deref() == Some("Bound"),
        problem: said.or_else(|| infeasible.then(|| "its storage refuses that size".to_owned())),
        name,
    };
    Some((ordinal, view))
}

/// How a DaemonSet is.
pub(super) fn daemon_set(fleet: Fleet, found: &DaemonSet, pods: &[Arc<Pod>]) -> WorkloadView {
    let status = found.status.clone().unwrap_or_default();
    WorkloadView {
        is_observed: status.observed_generation >= found.metadata.generation,
        desired: count(status.desired_number_scheduled),
        updated: count(status.updated_number_scheduled.unwrap_or_default()),
        ready: count(status.number_ready),
        problem: problem(fleet, pods),
    }
}

/// Which engines a pod is one of, by its labels.
pub(super) fn fleet_of(pod: &Pod) -> Option<Fleet> {
    let labels = pod.metadata.labels.as_ref()?;
    let name = labels.get(NAME_LABEL)?;
    let role = Role::ALL.into_iter().find(|role| role.name() == name)?;
    let workload = if labels.contains_key(ORDINAL_LABEL) { Workload::StatefulSet } else { role.fleet().workload };
    Some(Fleet { role, workload })
}

/// Whether Services may send data to a pod.
pub(super) fn receives(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(RECEIVES_LABEL.0)).is_some_and(|value| value == RECEIVES_LABEL.1)
}

/// Whether one of some engines uses an object of their role. A Secret is of one version of the engine.
pub(super) fn uses(pod: &Pod, object: &ObjectRef, fleet: Fleet) -> bool {
    if object.kind != "Secret" {
        return true;
    }
    let version = pod.metadata.labels.as_ref().and_then(|labels| labels.get(VERSION_LABEL));
    version.is_some_and(|version| config_secret(fleet, version) == object.name)
}

/// What keeps one of some pods from running, in words.
fn problem(fleet: Fleet, pods: &[Arc<Pod>]) -> Option<String> {
    // What has ended, or is about to, is replaced already.
    let is_there = |pod: &&Arc<Pod>| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && phase != Some("Failed") && phase != Some("Succeeded")
    };
    let mut of_role: Vec<_> = pods.iter().filter(is_there).filter(|pod| fleet_of(pod) == Some(fleet)).collect();
    of_role.sort_by_key(|pod| pod.metadata.name.clone());
    of_role.into_iter().find_map(|pod| of_pod(pod))
}

fn of_pod(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or_default();
        return Some(format!("Pod is not scheduled: {message}"));
    }
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    containers.into_iter().find_map(|container| Some((container, reason(container)?))).map(|(container, reason)| {
        let name = &container.name;
        format!(
            "Pod is in the pending state because container: {name} is not running due to: {reason}. Please check the \
             container: {name} logs."
        )
    })
}

/// Why a container does not run, where that does not pass by itself. What ended it last says more than that it waits.
fn reason(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.clone().unwrap_or_else(|| format!("exit code {}", ended.exit_code));
        return Some(reason).filter(|_| ended.exit_code != 0);
    }
    let waiting = state.waiting.as_ref()?.reason.clone()?;
    if PASSING.contains(&waiting.as_str()) {
        return None;
    }
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    match last.and_then(|last| last.reason.clone()) {
        Some(reason) => Some(format!("{waiting} ({reason})")),
        None => Some(waiting),
    }
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
