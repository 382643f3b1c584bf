//! Where the engines of a role may connect to.
//!
//! Networks judge a connection by the address and port that it has in the end, behind a Service, and no pipeline tells
//! those. So a backend in the cluster is allowed by its namespace, at every port, and one outside of it by its port.

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyEgressRule, NetworkPolicyPeer};

use super::RunningRole;
use super::network::{DNS_PORTS, pods_in, pods_of, tcp, udp};
use crate::crd::Egress;
use crate::render::config::AGENTS_PORT;
use crate::render::destination::{Destination, Place};
use crate::role::Role;
use crate::settings::Settings;

/// Addresses of the link alone: clouds tell the credentials of a node there, and no backend is.
const LINK_LOCAL: [(&str, &str); 2] = [("0.0.0.0/0", "169.254.0.0/16"), ("::/0", "fe80::/10")];

/// What a role may connect to.
pub(super) fn rules(running: &RunningRole<'_>, settings: &Settings) -> Vec<NetworkPolicyEgressRule> {
    match running.role {
        Role::LogAgent => {
            let gateways = vec![pods_of(Role::LogGateway.name(), &settings.namespace)];
            vec![
                own_needs(settings),
                NetworkPolicyEgressRule { to: Some(gateways), ports: Some(vec![tcp(AGENTS_PORT)]) },
            ]
        }
        Role::LogGateway | Role::MetricGateway | Role::TraceRouter => {
            match running.gateway.egress.unwrap_or_default() {
                Egress::Anywhere => vec![NetworkPolicyEgressRule::default()],
                Egress::Backends => {
                    let mut rules = vec![own_needs(settings)];
                    for rule in running.config.destinations.iter().flat_map(|destination| to(destination, settings)) {
                        if !rules.contains(&rule) {
                            rules.push(rule);
                        }
                    }
                    rules
                }
            }
        }
    }
}

/// Names and the API server.
fn own_needs(settings: &Settings) -> NetworkPolicyEgressRule {
    let names = DNS_PORTS.into_iter().flat_map(|port| [tcp(port), udp(port)]);
    let api_server = settings.api_server_ports.iter().copied().map(tcp);
    NetworkPolicyEgressRule { to: None, ports: Some(names.chain(api_server).collect()) }
}

fn to(destination: &Destination, settings: &Settings) -> Vec<NetworkPolicyEgressRule> {
    let ports = Some(vec![tcp(destination.port)]);
    let inside =
        |namespace: &str| NetworkPolicyEgressRule { to: Some(vec![pods_in(&[namespace.to_owned()])]), ports: None };
    let outside = || {
        let anywhere = LINK_LOCAL.iter().map(|(all, except)| block(all, Some(except))).collect();
        NetworkPolicyEgressRule { to: Some(anywhere), ports: ports.clone() }
    };
    match destination.place(&settings.namespace, &settings.cluster_domain) {
        Place::Address(address) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            vec![NetworkPolicyEgressRule { to: Some(vec![block(&format!("{address}/{bits}"), None)]), ports }]
        }
        Place::Namespace(namespace) => vec![inside(namespace)],
        Place::NamespaceOrOutside(namespace) => vec![inside(namespace), outside()],
        Place::Outside => vec![outside()],
    }
}

fn block(cidr: &str, except: Option<&str>) -> NetworkPolicyPeer {
    let block = IPBlock { cidr: cidr.to_owned(), except: except.map(|except| vec![except.to_owned()]) };
    NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() }
}
