//! Pods of a gateway with a volume each, as a StatefulSet. The state of an engine is on its volume, and so survives pod and node.
//!
//! Claims outlive everything: who takes the StatefulSet or pods of it away keeps what they had not delivered. They go with
//! their namespace, or when somebody deletes them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSecurityContext, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Running, RunningRole, pods, resources, scaling, selector};
use crate::quantity;
use crate::render::config::agents_service;
use crate::settings::Settings;
use crate::storage::Storage;

/// The volume of an engine. The names of claims begin with it.
pub const STATE_VOLUME: &str = "state";

pub(super) fn stateful_set(running: Running<'_>, storage: &Storage, settings: &Settings) -> StatefulSet {
    let RunningRole { role, gateway, .. } = *running.role;
    let resources = resources::of_gateway(gateway.resources.as_ref());
    let mut pod = pods::pod(running, settings, resources);
    pod.topology_spread_constraints = Some(pods::spread(role, None));
    if let Some(context) = &mut pod.security_context {
        // A volume of many files is not gone through at every start.
        *context = PodSecurityContext { fs_group_change_policy: Some("OnRootMismatch".to_owned()), ..context.clone() };
    }
    let keep = || Some("Retain".to_owned());
    let spec = StatefulSetSpec {
        replicas: Some(scaling::whole(storage.replicas)),
        selector: selector(role),
        service_name: Some(agents_service(role)),
        // One pod that cannot start keeps nobody from starting.
        pod_management_policy: Some("Parallel".to_owned()),
        persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: keep(),
            when_scaled: keep(),
        }),
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateStatefulSetStrategy { partition: Some(0), ..Default::default() }),
        }),
        template: pods::template(running, pod, settings),
        volume_claim_templates: Some(vec![claim(storage)]),
        ..StatefulSetSpec::default()
    };
    StatefulSet { metadata: super::metadata(role, role.name(), settings), spec, ..StatefulSet::default() }
}

fn claim(storage: &Storage) -> PersistentVolumeClaim {
    let size = Quantity(quantity::text(storage.room.claim_size));
    let resources = VolumeResourceRequirements {
        requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
        ..VolumeResourceRequirements::default()
    };
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(STATE_VOLUME.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.room.class.clone(),
            resources: Some(resources),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
