//! How many connections each address has open: one client shall not have all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Counts connections by the network of their peer.
#[derive(Debug)]
pub(super) struct Addresses {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection among those of its address, until it is dropped.
#[derive(Debug)]
pub(super) struct AddressSeat {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Addresses {
    /// At most `most` connections an address.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place for one more connection of this peer; `None` if it has as many as it may.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<AddressSeat> {
        let network = network(peer);
        let mut open = self.open.lock().expect("nothing panics while it holds the lock");
        let count = open.entry(network).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(AddressSeat { addresses: Arc::clone(self), network })
    }
}

impl Drop for AddressSeat {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().expect("nothing panics while it holds the lock");
        let Some(count) = open.get_mut(&self.network) else { return };
        *count -= 1;
        if *count == 0 {
            open.remove(&self.network);
        }
    }
}

/// What one client can have addresses of: an IPv4 address, or the 64 bits of an IPv6 network (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// Addresses of one IPv6 network count as one, mapped IPv4 ones as IPv4, and a place that comes free is given again.
    #[test]
    fn counts_networks() {
        let addresses = Addresses::new(2);
        let take = |text: &str| addresses.take(text.parse().unwrap());
        let first = take("2001:db8:0:1::1").unwrap();
        let _second = take("2001:db8:0:1:ffff::2").unwrap();
        assert!(take("2001:db8:0:1::3").is_none());
        let _neighbour = take("2001:db8:0:2::1").unwrap();
        drop(first);
        let _third = take("2001:db8:0:1::3").unwrap();

        let _plain = take("192.0.2.1").unwrap();
        let mapped = take("::ffff:192.0.2.1").unwrap();
        assert!(take("192.0.2.1").is_none());
        let _other = take("192.0.2.2").unwrap();
        drop(mapped);
        assert_eq!(addresses.open.lock().unwrap().len(), 4);
        drop((_plain, _other));
        assert_eq!(addresses.open.lock().unwrap().len(), 2, "nothing is kept of who has left");
    }
}
