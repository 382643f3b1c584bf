//! Where the engines of a role may connect to.
//!
//! Networks judge a connection by the address and port that it has in the end, behind a Service, and no pipeline tells
//! those. So a backend in the cluster is allowed by its namespace, at every port, and one outside of it by its port.

use std::net::{IpAddr, Ipv6Addr};

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyEgressRule, NetworkPolicyPeer};

use super::RunningRole;
use super::network::{DNS_PORTS, pods_in, pods_of, tcp, udp};
use crate::crd::Egress;
use crate::render::config::AGENTS_PORT;
use crate::render::destination::{Destination, Place};
use crate::role::Role;
use crate::settings::Settings;

/// Where clouds tell the credentials of a node: addresses of the link, and one that a cloud has for IPv6.
const NO_BACKEND: [(&str, &[&str]); 2] =
    [("0.0.0.0/0", &["169.254.0.0/16"]), ("::/0", &["fe80::/10", "fd00:ec2::254/128"])];
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

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
                    for rule in running.destinations.iter().flat_map(|destination| to(destination, settings)) {
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
        let anywhere = NO_BACKEND.iter().map(|(all, except)| block(all, except)).collect();
        NetworkPolicyEgressRule { to: Some(anywhere), ports: ports.clone() }
    };
    match destination.place(&settings.namespace, &settings.cluster_domain) {
        Place::Address(address) if is_no_backend(address) => Vec::new(),
        Place::Address(address) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            vec![NetworkPolicyEgressRule { to: Some(vec![block(&format!("{address}/{bits}"), &[])]), ports }]
        }
        Place::Namespace(namespace) => vec![inside(namespace)],
        Place::NamespaceOrOutside(namespace) => vec![inside(namespace), outside()],
        Place::Outside => vec![outside()],
    }
}

/// Whether an address is of those that nobody sends to, however it is written.
fn is_no_backend(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA,
    }
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except = except.iter().map(|&except| except.to_owned()).collect();
    let block = IPBlock { cidr: cidr.to_owned(), except: Some(except).filter(|except: &Vec<_>| !except.is_empty()) };
    NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() }
}
