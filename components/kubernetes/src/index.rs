//! Pods by id and by address.
//!
//! An address has holders one after the other, each from when it was seen to have it until it was seen to have it no
//! more. The API server tells of both a little later than they happen, so who had an address at a moment is known for
//! certain only once [`SETTLED_AFTER`] has passed; then one holder is the answer, and two that may both have had it are
//! none. Not here: how pods are learnt of (`watch`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::pod::{Pod, Uid};

/// The API server has told of a change by then, if it is not overloaded.
pub const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// What a pod sent before its end has come by then.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// Pods are known for so long after they are gone: their last data may still be on its way.
const KNOWN_AFTER_END: Duration = Duration::from_secs(120);

/// When somebody used an address to send data: at some moment between `earliest` and `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Not before this.
    pub earliest: Instant,
    /// Not after this.
    pub latest: Instant,
    /// When the data came, or a little earlier. Whoever sent it was there.
    pub arrived: Instant,
}

/// Who had an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// No pod that is known.
    Nobody,
    /// This pod and no other.
    Pod(Arc<Pod>),
    /// One of several.
    OneOfSeveral,
}

/// Pods by id and by address.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pods: HashMap<Uid, Known>,
    /// Pods by the ids under which their kubelets know them.
    static_pods: HashMap<Uid, Uid>,
    holdings: HashMap<IpAddr, SmallVec<[Holding; 1]>>,
    /// Pods that went, the first one first.
    gone: VecDeque<(Instant, Uid)>,
    /// Addresses that were let go, the first one first.
    ended: VecDeque<(Instant, IpAddr)>,
    /// Pods that the list in progress has named.
    listed: HashSet<Uid>,
}

/// A pod, and when it went.
#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    gone: Option<Instant>,
}

/// An address in a pod's hands, as far as it was seen.
#[derive(Clone, Debug)]
struct Holding {
    pod: Uid,
    from: Instant,
    until: Option<Instant>,
}

impl Contact {
    /// Data that came over a connection that was made at this time.
    pub fn over_connection(connected: Instant, arrived: Instant) -> Self {
        Self { earliest: connected, latest: connected, arrived }
    }

    /// When it is known for certain who had the address.
    pub fn settles_at(&self) -> Instant {
        self.latest + SETTLED_AFTER
    }
}

impl Index {
    /// The pod of this id, for a while after its end, too.
    pub(crate) fn pod(&self, uid: Uid) -> Option<&Arc<Pod>> {
        let known = self.pods.get(&uid).or_else(|| self.pods.get(self.static_pods.get(&uid)?));
        known.map(|known| &known.pod)
    }

    /// Who had an address. Before [`Contact::settles_at`] the answer may change.
    pub(crate) fn holder(&self, address: IpAddr, contact: &Contact) -> Holder {
        let may_have_sent = |holding: &&Holding| {
            // Its beginning is told late, its end is told late, and behind its end nothing of it is under way for long.
            holding.from <= contact.settles_at()
                && holding.until.is_none_or(|end| end >= contact.earliest && end + UNDER_WAY >= contact.arrived)
        };
        let mut holdings = self.holdings.get(&address).into_iter().flatten().filter(may_have_sent);
        let (Some(first), None) = (holdings.next(), holdings.next()) else {
            let is_held = self.holdings.get(&address).into_iter().flatten().any(|holding| may_have_sent(&holding));
            return if is_held { Holder::OneOfSeveral } else { Holder::Nobody };
        };
        self.pods.get(&first.pod).map_or(Holder::Nobody, |known| Holder::Pod(Arc::clone(&known.pod)))
    }

    /// A pod as it is now. Says whether that is news.
    pub(crate) fn apply(&mut self, pod: Pod, now: Instant) -> bool {
        let before = self.pods.get(&pod.uid);
        if before.is_some_and(|known| known.gone.is_none() && *known.pod == pod) {
            return false;
        }
        let lost: SmallVec<[IpAddr; 1]> = before
            .into_iter()
            .flat_map(|known| known.pod.addresses.iter().copied())
            .filter(|address| !pod.addresses.contains(address))
            .collect();
        lost.into_iter().for_each(|address| self.end_holding(address, pod.uid, now));
        for address in &pod.addresses {
            let holdings = self.holdings.entry(*address).or_default();
            if !holdings.iter().any(|holding| holding.pod == pod.uid && holding.until.is_none()) {
                holdings.push(Holding { pod: pod.uid, from: now, until: None });
            }
        }
        if let Some(static_uid) = pod.static_uid {
            self.static_pods.insert(static_uid, pod.uid);
        }
        self.pods.insert(pod.uid, Known { pod: Arc::new(pod), gone: None });
        true
    }

    /// A pod is gone.
    pub(crate) fn delete(&mut self, uid: Uid, now: Instant) {
        let Some(known) = self.pods.get_mut(&uid).filter(|known| known.gone.is_none()) else { return };
        known.gone = Some(now);
        let addresses = known.pod.addresses.clone();
        addresses.into_iter().for_each(|address| self.end_holding(address, uid, now));
        self.gone.push_back((now, uid));
    }

    /// A list of all pods begins.
    pub(crate) fn list_begins(&mut self) {
        self.listed.clear();
    }

    /// The list names a pod.
    pub(crate) fn lists(&mut self, uid: Uid) {
        self.listed.insert(uid);
    }

    /// The list has ended: what it did not name is gone.
    pub(crate) fn list_ends(&mut self, now: Instant) {
        let listed = std::mem::take(&mut self.listed);
        let is_gone = |(uid, known): &(&Uid, &Known)| known.gone.is_none() && !listed.contains(uid);
        let gone: Vec<Uid> = self.pods.iter().filter(is_gone).map(|(uid, _)| *uid).collect();
        gone.into_iter().for_each(|uid| self.delete(uid, now));
    }

    /// Forgets what has been gone for long.
    pub(crate) fn forget(&mut self, now: Instant) {
        while let Some((since, uid)) = self.gone.pop_front_if(|(since, _)| *since + KNOWN_AFTER_END <= now) {
            if self.pods.get(&uid).is_none_or(|known| known.gone != Some(since)) {
                continue;
            }
            let static_uid = self.pods.remove(&uid).and_then(|known| known.pod.static_uid);
            if let Some(static_uid) = static_uid.filter(|static_uid| self.static_pods.get(static_uid) == Some(&uid)) {
                self.static_pods.remove(&static_uid);
            }
        }
        while let Some((_, address)) = self.ended.pop_front_if(|(since, _)| *since + KNOWN_AFTER_END <= now) {
            let Some(holdings) = self.holdings.get_mut(&address) else { continue };
            holdings.retain(|holding| holding.until.is_none_or(|end| end + KNOWN_AFTER_END > now));
            if holdings.is_empty() {
                self.holdings.remove(&address);
            }
        }
    }

    /// How many pods are known.
    pub(crate) fn len(&self) -> usize {
        self.pods.len()
    }

    fn end_holding(&mut self, address: IpAddr, pod: Uid, now: Instant) {
        let Some(holdings) = self.holdings.get_mut(&address) else { return };
        for holding in holdings.iter_mut().filter(|holding| holding.pod == pod) {
            holding.until.get_or_insert(now);
        }
        self.ended.push_back((now, address));
    }
}

#[cfg(test)]
mod tests;
