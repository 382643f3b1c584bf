//! How a role is reached, and by whom: Services and a NetworkPolicy.
//!
//! Applications reach a gateway by its public Service. Agents reach its pods one by one, at a port that only they may
//! connect to. Engines say how they are to the manager alone, with a token.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::DynamicObject;

use super::{NAME_LABEL, RECEIVES_LABEL, RunningRole, egress, metadata, object, selector};
use crate::render::config::{AGENTS_PORT, OTLP_GRPC_PORT, OTLP_HTTP_PORT, STATUS_PORT, agents_service};
use crate::role::Role;
use crate::settings::Settings;
use crate::storage::Storage;

/// The name of the manager's own pods.
const MANAGER: &str = "telemetry-manager";
/// The label that Kubernetes gives every namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// Where names are asked for: the port of the Service, and those of the pods behind it.
pub(super) const DNS_PORTS: [u16; 3] = [53, 5353, 8053];

pub(super) fn objects(running: &RunningRole<'_>, settings: &Settings) -> Vec<DynamicObject> {
    let mut objects = Vec::new();
    if running.takes_from_applications() {
        objects.push(object(&public(running, settings)));
    }
    if running.takes_from_agents() || running.storage.is_some() {
        objects.push(object(&headless(running, settings)));
    }
    objects.push(object(&policy(running, settings)));
    objects
}

fn public(running: &RunningRole<'_>, settings: &Settings) -> Service {
    let role = running.role;
    let spec = ServiceSpec {
        selector: receiving(running),
        ports: Some(vec![port("grpc-otlp", OTLP_GRPC_PORT, "grpc"), port("http-otlp", OTLP_HTTP_PORT, "http")]),
        ..ServiceSpec::default()
    };
    Service { metadata: metadata(role, role.signal().service(), settings), spec: Some(spec), ..Service::default() }
}

/// How agents find pods, and what a StatefulSet names.
fn headless(running: &RunningRole<'_>, settings: &Settings) -> Service {
    let role = running.role;
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        selector: receiving(running),
        ports: Some(vec![port("grpc-agents", AGENTS_PORT, "grpc")]),
        ..ServiceSpec::default()
    };
    Service { metadata: metadata(role, &agents_service(role), settings), spec: Some(spec), ..Service::default() }
}

/// Selects the pods that data is sent to: all, unless some of them are to go.
fn receiving(running: &RunningRole<'_>) -> Option<BTreeMap<String, String>> {
    let mut labels = selector(running.role).match_labels?;
    if running.storage.is_some_and(Storage::is_narrowed) {
        labels.insert(RECEIVES_LABEL.0.to_owned(), RECEIVES_LABEL.1.to_owned());
    }
    Some(labels)
}

fn port(name: &str, number: u16, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number.into(),
        target_port: Some(IntOrString::Int(number.into())),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some(protocol.to_owned()),
        ..ServicePort::default()
    }
}

fn policy(running: &RunningRole<'_>, settings: &Settings) -> NetworkPolicy {
    let mut ingress = vec![NetworkPolicyIngressRule {
        from: Some(vec![pods_of(MANAGER, &settings.namespace)]),
        ports: Some(vec![tcp(STATUS_PORT)]),
    }];
    if running.takes_from_applications() {
        let from = running.gateway.clients.as_ref().map(|clients| vec![pods_in(&clients.namespaces)]);
        ingress.push(NetworkPolicyIngressRule { from, ports: Some(vec![tcp(OTLP_GRPC_PORT), tcp(OTLP_HTTP_PORT)]) });
    }
    if running.takes_from_agents() {
        ingress.push(NetworkPolicyIngressRule {
            from: Some(vec![pods_of(Role::LogAgent.name(), &settings.agent_namespace)]),
            ports: Some(vec![tcp(AGENTS_PORT)]),
        });
    }
    let spec = NetworkPolicySpec {
        pod_selector: Some(selector(running.role)),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(ingress),
        egress: Some(egress::rules(running, settings)),
    };
    NetworkPolicy { metadata: metadata(running.role, running.role.name(), settings), spec: Some(spec) }
}

pub(super) fn tcp(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port.into())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

pub(super) fn udp(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some("UDP".to_owned()), ..tcp(port) }
}

/// All pods of some namespaces.
pub(super) fn pods_in(namespaces: &[String]) -> NetworkPolicyPeer {
    let one_of = LabelSelectorRequirement {
        key: NAMESPACE_LABEL.to_owned(),
        operator: "In".to_owned(),
        values: Some(namespaces.to_vec()),
    };
    let selector = LabelSelector { match_expressions: Some(vec![one_of]), ..LabelSelector::default() };
    NetworkPolicyPeer { namespace_selector: Some(selector), ..NetworkPolicyPeer::default() }
}

pub(super) fn pods_of(name: &str, namespace: &str) -> NetworkPolicyPeer {
    let select = |key: &str, value: &str| LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        ..LabelSelector::default()
    };
    NetworkPolicyPeer {
        namespace_selector: Some(select(NAMESPACE_LABEL, namespace)),
        pod_selector: Some(select(NAME_LABEL, name)),
        ..NetworkPolicyPeer::default()
    }
}
