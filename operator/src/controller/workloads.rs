//! How workloads and their pods are, and why a pod does not run.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::apply::ObjectRef;
use crate::input::WorkloadView;
use crate::render::objects::{NAME_LABEL, VERSION_LABEL, config_secret};
use crate::role::Role;

/// Reasons for which a container waits that pass by themselves.
const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// How a Deployment is.
pub(super) fn deployment(role: Role, found: &Deployment, pods: &[Arc<Pod>]) -> WorkloadView {
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
        problem: problem(role, pods),
    }
}

/// How a DaemonSet is.
pub(super) fn daemon_set(role: Role, found: &DaemonSet, pods: &[Arc<Pod>]) -> WorkloadView {
    let status = found.status.clone().unwrap_or_default();
    WorkloadView {
        is_observed: status.observed_generation >= found.metadata.generation,
        desired: count(status.desired_number_scheduled),
        updated: count(status.updated_number_scheduled.unwrap_or_default()),
        ready: count(status.number_ready),
        problem: problem(role, pods),
    }
}

/// The role of a pod, by its label.
pub(super) fn role_of(pod: &Pod) -> Option<Role> {
    let name = pod.metadata.labels.as_ref()?.get(NAME_LABEL)?;
    Role::ALL.into_iter().find(|role| role.name() == name)
}

/// Whether a pod of a role uses an object of that role. A Secret is of one version of the engine.
pub(super) fn uses(pod: &Pod, object: &ObjectRef, role: Role) -> bool {
    if object.kind != "Secret" {
        return true;
    }
    let version = pod.metadata.labels.as_ref().and_then(|labels| labels.get(VERSION_LABEL));
    version.is_some_and(|version| config_secret(role, version) == object.name)
}

/// What keeps a pod of the role from running, in words.
fn problem(role: Role, pods: &[Arc<Pod>]) -> Option<String> {
    // What has ended, or is about to, is replaced already.
    let is_there = |pod: &&Arc<Pod>| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && phase != Some("Failed") && phase != Some("Succeeded")
    };
    let mut of_role: Vec<_> = pods.iter().filter(is_there).filter(|pod| role_of(pod) == Some(role)).collect();
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
