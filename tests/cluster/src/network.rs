//! The addresses of a cluster with nodes.
//!
//! Clusters side by side differ in a number, and their networks in the third byte: 16 networks of nodes and pods below
//! 198.18, 16 of Services below 198.19. RFC 2544 sets this range aside for measurements, and none of it is routed.

use std::net::Ipv4Addr;

/// The script that makes the network.
pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scripts/network");

/// The first two bytes of nodes' and pods' addresses.
const PREFIX: &str = "198.18";

/// The most nodes that a cluster's share of addresses has pods' networks for.
pub(crate) const MOST_NODES: usize = 9;

/// Addresses of the cluster of one number.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    third: u8,
}

impl Network {
    pub(crate) fn new(number: u8) -> Self {
        assert!(number < 16, "there are 16 networks, not {number}");
        Self { third: number * 16 }
    }

    /// This machine's, by which pods reach it.
    pub(crate) fn machine(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.third, 1)
    }

    /// The API server's, and that of DNS behind its Service.
    pub(crate) fn control(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.third, 2)
    }

    /// A node's; the first is 1.
    pub(crate) fn node(self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.third, 10 + byte(node))
    }

    /// The pods of a node.
    pub(crate) fn pods(self, node: usize) -> String {
        format!("{PREFIX}.{}.0/24", self.third + byte(node))
    }

    /// The pods of all nodes, and the nodes.
    pub(crate) fn all_pods(self) -> String {
        format!("{PREFIX}.{}.0/20", self.third)
    }

    /// All Services.
    pub(crate) fn services(self) -> String {
        format!("198.19.{}.0/20", self.third)
    }

    /// The Service of the API server: always the first.
    pub(crate) fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, self.third, 1)
    }

    /// The Service of DNS.
    pub(crate) fn dns_service(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, self.third, 10)
    }

    /// The script that makes the network, with its arguments.
    pub(crate) fn command(self, nodes: usize) -> Vec<String> {
        let interface = format!("tcluster{}", self.third / 16);
        vec![SCRIPT.to_owned(), interface, PREFIX.to_owned(), self.third.to_string(), nodes.to_string()]
    }
}

fn byte(node: usize) -> u8 {
    assert!((1..=MOST_NODES).contains(&node), "nodes are numbered 1 to {MOST_NODES}, not {node}");
    u8::try_from(node).expect("at most nine")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clusters share no address.
    #[test]
    fn clusters_side_by_side_have_their_own_addresses() {
        let (first, last) = (Network::new(0), Network::new(15));
        assert_eq!(first.pods(9), "198.18.9.0/24");
        assert_eq!(last.pods(9), "198.18.249.0/24");
        assert_eq!(first.all_pods(), "198.18.0.0/20");
        assert_eq!(last.services(), "198.19.240.0/20");
        assert_eq!(last.node(1).to_string(), "198.18.240.11");
    }
}
