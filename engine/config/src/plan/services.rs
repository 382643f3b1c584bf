//! What the components need the process to run for them, each service once.

use std::collections::BTreeMap;

use super::labelled;
use crate::component::{Kind, ServiceId};
use crate::document::{Finding, Report};
use crate::id::ComponentId;
use crate::pipeline::Pipeline;
use crate::problem::Code;
use crate::settings::KubernetesSettings;
use crate::sink::BufferType;

/// A service of the process and who uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedService {
    /// Which service.
    pub id: ServiceId,
    /// The components that named it, by id.
    pub users: Vec<ComponentId>,
}

/// The services of all components, by kind and key. Reports those that the settings do not allow, and settings of
/// services that nobody needs.
pub(super) fn collect(pipeline: &Pipeline, report: &mut Report<'_>) -> Vec<PlannedService> {
    missing_state(pipeline, report);
    let mut users: BTreeMap<ServiceId, Vec<ComponentId>> = BTreeMap::new();
    for (id, component) in pipeline.components() {
        for need in component.options.facts().services {
            let known = users.entry(need.service).or_default();
            if known.last() != Some(id) {
                known.push(id.clone());
            }
        }
    }
    if pipeline.settings.kubernetes != KubernetesSettings::default() && !users.contains_key(&ServiceId::kubernetes()) {
        let finding = Finding::warning(Code::NoEffect, "`kubernetes` has no effect: no component asks the cluster");
        let key = ["kubeconfig", "node", "cluster_name", "page_size"]
            .into_iter()
            .find(|key| pipeline.is_setting_written("kubernetes", key));
        let at = pipeline.settings_place("kubernetes", key.unwrap_or_default());
        report.add(at, Some("kubernetes"), finding.help("remove it"));
    }
    whole_cluster(pipeline, users.get(&ServiceId::kubernetes()), report);
    users.into_iter().map(|(id, users)| PlannedService { id, users }).collect()
}

/// Reports components that would have every node follow the pods of all nodes, while nobody here needs more than one node's.
fn whole_cluster(pipeline: &Pipeline, users: Option<&Vec<ComponentId>>, report: &mut Report<'_>) {
    if pipeline.settings.kubernetes.node.is_some() || pipeline.is_setting_written("kubernetes", "node") {
        return;
    }
    let users: Vec<_> = users.into_iter().flatten().map(|id| labelled(pipeline, id)).collect();
    if !users.iter().all(|(_, component)| component.options.facts().is_of_its_node) {
        return;
    }
    for (label, component) in users {
        let needs = component.options.facts().services;
        let Some(need) = needs.iter().find(|need| need.service == ServiceId::kubernetes()) else { continue };
        let message = format!(
            "`{}` follows all pods of the cluster on every node, because `kubernetes.node` is not set",
            need.path.join(".")
        );
        let finding = Finding::warning(Code::MissingKey, message);
        let remedy = "add `[kubernetes]` with `node`, on Kubernetes `\"${NODE_NAME}\"` with `--expand-environment` and a \
                      variable from the downward API";
        report.add(component.place(&need.path), Some(&label), finding.help(remedy));
    }
}

/// Reports components that keep documents while there is no place for them.
pub(super) fn missing_state(pipeline: &Pipeline, report: &mut Report<'_>) {
    // A setting that could not be read is a problem of its own.
    if pipeline.settings.state.directory.is_some() || pipeline.is_setting_written("state", "directory") {
        return;
    }
    let remedy = "add `[state]` with `directory = \"/var/lib/telemetry-engine\"`, or another directory that this program may \
                  write";
    for (id, component) in pipeline.components() {
        if component.kind() == Kind::Sink && component.sink.buffer.kind == BufferType::Disk {
            let message = "a disk buffer needs `state.directory`, which is not set";
            let at = component.place(&["buffer".to_owned(), "type".to_owned()]);
            let finding = Finding::error(Code::MissingKey, message);
            report.add(at, Some(&Pipeline::label(id, component)), finding.help(remedy));
        }
        let needs = component.options.facts().services;
        let Some(need) = needs.iter().find(|need| need.service == ServiceId::state()) else { continue };
        let message = format!(
            "the {} `{}` keeps what must survive a restart, and `state.directory` is not set",
            component.kind(),
            component.type_name()
        );
        let finding = Finding::error(Code::MissingKey, message);
        report.add(component.place(&need.path), Some(&Pipeline::label(id, component)), finding.help(remedy));
    }
}
