//! How many pods a gateway has and how many of them may go at once: a PodDisruptionBudget, and a HorizontalPodAutoscaler
//! where the number follows the load.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::DynamicObject;

use super::{RunningRole, metadata, object, selector};
use crate::crd::Replicas;
use crate::role::{Role, Workload};
use crate::settings::Settings;

/// Share of the requested CPU time at which a pod is added, in percent.
const CPU_TARGET: i32 = 75;

pub(super) fn objects(running: &RunningRole<'_>, settings: &Settings) -> Vec<DynamicObject> {
    let budget = PodDisruptionBudget {
        metadata: metadata(running.role, running.role.name(), settings),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(running.role)),
            // A pod that does not run takes no data, and must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    let mut objects = vec![object(&budget)];
    // Volumes stay with their pods, so nobody adds and takes away pods with volumes by the load.
    let deployment = running.fleets.iter().any(|(workload, _)| *workload == Workload::Deployment);
    if let (true, Replicas::Between { least, most }) = (deployment, running.gateway.replicas()) {
        objects.push(object(&autoscaler(running.role, least, most, settings)));
    }
    objects
}

fn autoscaler(role: Role, least: u32, most: u32, settings: &Settings) -> HorizontalPodAutoscaler {
    let cpu = MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(CPU_TARGET),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    HorizontalPodAutoscaler {
        metadata: metadata(role, role.name(), settings),
        spec: HorizontalPodAutoscalerSpec {
            min_replicas: Some(whole(least)),
            max_replicas: whole(most),
            metrics: Some(vec![cpu]),
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: Workload::Deployment.kind().to_owned(),
                name: role.name().to_owned(),
            },
            ..HorizontalPodAutoscalerSpec::default()
        },
        ..HorizontalPodAutoscaler::default()
    }
}

/// The schema takes no number of pods that Kubernetes does not.
pub(super) fn whole(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
