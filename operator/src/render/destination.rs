//! Hosts and ports that a role sends to: backends, and who issues tokens for them.

use std::net::IpAddr;

use engine_config::Endpoint;

use crate::collect::{Authentication, Output};

/// A host and a port that a role sends to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// A name or an address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl Destination {
    /// Everything that an output sends to.
    pub fn of(output: &Output) -> impl Iterator<Item = Self> {
        let tokens = match &output.authentication {
            Some(Authentication::OAuth2 { token_url, .. }) => token_url.parse::<Endpoint>().ok(),
            Some(Authentication::Basic { .. }) | None => None,
        };
        [Some(Self::at(&output.endpoint)), tokens.as_ref().map(Self::at)].into_iter().flatten()
    }

    fn at(endpoint: &Endpoint) -> Self {
        Self { host: endpoint.host().to_ascii_lowercase(), port: endpoint.port() }
    }

    /// Where it is, as a pod of the namespace `own` sees names.
    pub fn place<'d>(&'d self, own: &'d str, cluster_domain: &str) -> Place<'d> {
        if let Ok(address) = self.host.parse() {
            return Place::Address(address);
        }
        let host = self.host.trim_end_matches('.');
        let host = host.strip_suffix(cluster_domain).and_then(|host| host.strip_suffix('.')).unwrap_or(host);
        match host.split('.').rev().collect::<Vec<_>>()[..] {
            [_] => Place::Namespace(own),
            // A pod behind a headless Service has a label of its own in front.
            ["svc", namespace, _] | ["svc", namespace, _, _] => Place::Namespace(namespace),
            [namespace, _] => Place::NamespaceOrOutside(namespace),
            _ => Place::Outside,
        }
    }
}

/// Where a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'d> {
    /// At this address.
    Address(IpAddr),
    /// In this namespace of the cluster.
    Namespace(&'d str),
    /// In this namespace or outside of the cluster: a name of two labels is looked up in both.
    NamespaceOrOutside(&'d str),
    /// Outside of the cluster.
    Outside,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What names a Service is told from what is outside of the cluster.
    #[test]
    fn services_are_told_from_names_outside() {
        for (host, place) in [
            ("backend", Place::Namespace("telemetry-system")),
            ("backend.shop.svc", Place::Namespace("shop")),
            ("backend.shop.svc.cluster.local", Place::Namespace("shop")),
            ("backend.shop.svc.cluster.local.", Place::Namespace("shop")),
            ("pod-0.backend.shop.svc.cluster.local", Place::Namespace("shop")),
            ("backend.shop", Place::NamespaceOrOutside("shop")),
            ("backend.example.com", Place::Outside),
            ("svc.example.com", Place::Outside),
            ("192.0.2.7", Place::Address([192, 0, 2, 7].into())),
        ] {
            let destination = Destination { host: host.to_owned(), port: 4317 };
            assert_eq!(destination.place("telemetry-system", "cluster.local"), place, "{host}");
        }
    }
}
