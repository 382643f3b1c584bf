//! Addresses that pods have one after the other: one that was given back is given to somebody else soon.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// Addresses of pods.
#[derive(Debug)]
pub(super) struct Addresses {
    /// The next one that nobody has had.
    fresh: Ipv4Addr,
    /// Given back: when somebody else may have it, which one, and since when it is free.
    free: BinaryHeap<Reverse<(Instant, Ipv4Addr, Instant)>>,
    /// How long those were free that were given again.
    gaps: Vec<Duration>,
}

impl Addresses {
    /// All addresses from this one on.
    pub(super) fn from(first: Ipv4Addr) -> Addresses {
        Addresses { fresh: first, free: BinaryHeap::new(), gaps: Vec::new() }
    }

    /// An address for a pod: the one whose time has come first, or one that nobody has had.
    pub(super) fn take(&mut self, now: Instant) -> Ipv4Addr {
        if let Some(Reverse((_, address, since))) = self.free.peek().copied().filter(|Reverse((due, ..))| *due <= now) {
            self.free.pop();
            self.gaps.push(now - since);
            return address;
        }
        let address = self.fresh;
        self.fresh = Ipv4Addr::from_bits(address.to_bits() + 1);
        address
    }

    /// Gives an address back, which somebody else may have after `pause`.
    pub(super) fn give_back(&mut self, address: Ipv4Addr, now: Instant, pause: Duration) {
        self.free.push(Reverse((now + pause, address, now)));
    }

    /// How long addresses were free that were given again, the shortest time first.
    pub(super) fn gaps(&self) -> Vec<Duration> {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody gets an address before its time, and afterwards the one that was due first.
    #[test]
    fn addresses_are_given_again() {
        let first = Ipv4Addr::new(10, 203, 2, 0);
        let mut addresses = Addresses::from(first);
        let (now, pause) = (Instant::now(), Duration::from_millis(100));
        let (a, b) = (addresses.take(now), addresses.take(now));
        assert_ne!(a, b);
        addresses.give_back(b, now, 2 * pause);
        addresses.give_back(a, now, pause);
        assert_eq!(addresses.take(now + pause / 2), Ipv4Addr::new(10, 203, 2, 2));
        assert_eq!([addresses.take(now + 3 * pause), addresses.take(now + 3 * pause)], [a, b]);
        assert_eq!(addresses.gaps(), [3 * pause; 2]);
    }
}
