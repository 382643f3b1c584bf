//! Pods by id and by address.
//!
//! An address has holders one after the other. The API server tells of a beginning and an end later than they happen, so
//! each is known as a time span; whoever may have had the address at a contact is a candidate, and only one that is alone
//! for certain is the answer. Not here: how pods are learnt of (`watch`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::pod::{Pod, Uid};

/// The API server has told of a pod that it has, or has no more, by then, if it is not overloaded.
pub const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// Pods use their addresses for so long, at most, before the API server tells of them: a kubelet looks once a second what
/// has become of its pods.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// What a pod sent before its end has come by then.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// The clocks of the API server and of this process differ by no more.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);

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

/// Who had an address, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// Who it was, by what was told so far.
    pub holder: Holder,
    /// From then on no news will change it. It may be over.
    pub settles_at: Instant,
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

/// A pod, and when it came and went.
#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    /// It was not there before; none of one that was there before anything was told.
    came: Option<Instant>,
    gone: Option<Instant>,
}

/// An address in a pod's hands, as far as it was told.
#[derive(Clone, Debug)]
struct Holding {
    pod: Uid,
    begin: Moment,
    end: Option<Moment>,
}

/// When something happened: at some moment between the two.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// None of what was so before anything was told.
    earliest: Option<Instant>,
    told: Instant,
}

/// When something happened that is told now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    now: Instant,
    /// What is told now had not happened before this; none of the first list.
    since: Option<Instant>,
}

impl Contact {
    /// Data that came over a connection that was made at this time.
    pub fn over_connection(connected: Instant, arrived: Instant) -> Self {
        Self { earliest: connected, latest: connected, arrived }
    }
}

impl Told {
    /// By an event, which comes soon after what it tells of.
    #[cfg(any(test, feature = "test-kit"))]
    pub(crate) fn at_once(now: Instant) -> Self {
        Self { now, since: Some(now) }
    }

    /// By whoever may tell late, but not of what happened before `since`; the first list has no such time.
    pub(crate) fn since(now: Instant, since: Option<Instant>) -> Self {
        Self { now, since }
    }
}

impl Moment {
    /// Of what is told so late at most.
    fn told_within(delay: Duration, told: Told) -> Self {
        Self { earliest: told.since.map(|since| since.checked_sub(delay).unwrap_or(since)), told: told.now }
    }

    /// The same of something that was not before this.
    fn after(self, other: Option<Instant>) -> Self {
        Self { earliest: self.earliest.max(other), ..self }
    }
}

impl Holding {
    /// Whether the contact may have been its pod's, when those who had the address before have had it up to some moment.
    fn may_have_sent(&self, contact: &Contact, others_until: Option<Instant>) -> bool {
        // Whoever is told to have it has it, even when the other's end is told still later.
        let begin = self.begin.earliest.max(others_until.map(|until| until.min(self.begin.told)));
        begin.is_none_or(|begin| begin <= contact.latest)
            // Behind its end nothing of it is under way for long.
            && self.end.is_none_or(|end| end.told >= contact.earliest && end.told + UNDER_WAY >= contact.arrived)
    }

    /// Whether it may have ended before a contact.
    fn may_have_ended(&self, contact: &Contact) -> bool {
        self.end.is_some_and(|end| end.earliest.is_none_or(|earliest| earliest <= contact.latest))
    }
}

impl Index {
    /// The pod of this id, for a while after its end, too.
    pub(crate) fn pod(&self, uid: Uid) -> Option<&Arc<Pod>> {
        let known = self.pods.get(&uid).or_else(|| self.pods.get(self.static_pods.get(&uid)?));
        known.map(|known| &known.pod)
    }

    /// Who had an address.
    pub(crate) fn holder(&self, address: IpAddr, contact: &Contact) -> Attribution {
        let holdings = self.holdings.get(&address).map_or(&[][..], |holdings| holdings);
        let mut settles_at = contact.latest + SETTLED_AFTER;
        let (mut candidate, mut others_until) = (None, None);
        for (place, holding) in holdings.iter().enumerate() {
            if holding.may_have_sent(contact, others_until) {
                if candidate.is_some() {
                    return Attribution { holder: Holder::OneOfSeveral, settles_at };
                }
                candidate = Some(holding);
                // The next one may have had the address already then, and that is told later.
                if place + 1 == holdings.len() && holding.may_have_ended(contact) {
                    settles_at = contact.latest + TOLD_WITHIN;
                }
            }
            others_until = others_until.max(holding.end.and_then(|end| end.earliest));
        }
        let pod = candidate.and_then(|holding| self.pods.get(&holding.pod)).map(|known| Arc::clone(&known.pod));
        Attribution { holder: pod.map_or(Holder::Nobody, Holder::Pod), settles_at }
    }

    /// Whether news of an address have come since: somebody got it or let it go.
    pub(crate) fn has_changed(&self, address: IpAddr, since: Instant) -> bool {
        let is_later =
            |holding: &Holding| holding.begin.told >= since || holding.end.is_some_and(|end| end.told >= since);
        self.holdings.get(&address).into_iter().flatten().any(is_later)
    }

    /// A pod as it is now. Says whether that is news.
    pub(crate) fn apply(&mut self, pod: Pod, told: Told) -> bool {
        let before = self.pods.get(&pod.uid);
        if before.is_some_and(|known| known.gone.is_none() && *known.pod == pod) {
            return false;
        }
        let lost: SmallVec<[IpAddr; 1]> = before
            .into_iter()
            .flat_map(|known| known.pod.addresses.iter().copied())
            .filter(|address| !pod.addresses.contains(address))
            .collect();
        let came = match before {
            Some(known) => known.came,
            None => Moment::told_within(SETTLED_AFTER, told).earliest,
        };
        lost.into_iter().for_each(|address| self.end_holding(address, pod.uid, told));
        for address in &pod.addresses {
            let holdings = self.holdings.entry(*address).or_default();
            if !holdings.iter().any(|holding| holding.pod == pod.uid && holding.end.is_none()) {
                let begin = match told.since {
                    Some(_) => Moment::told_within(TOLD_WITHIN, told).after(came),
                    None => Moment { earliest: since_creation(pod.created, told.now), told: told.now },
                };
                holdings.push(Holding { pod: pod.uid, begin, end: None });
            }
        }
        if let Some(static_uid) = pod.static_uid {
            self.static_pods.insert(static_uid, pod.uid);
        }
        self.pods.insert(pod.uid, Known { pod: Arc::new(pod), came, gone: None });
        true
    }

    /// A pod is gone.
    pub(crate) fn delete(&mut self, uid: Uid, told: Told) {
        let Some(known) = self.pods.get_mut(&uid).filter(|known| known.gone.is_none()) else { return };
        known.gone = Some(told.now);
        let addresses = known.pod.addresses.clone();
        addresses.into_iter().for_each(|address| self.end_holding(address, uid, told));
        self.gone.push_back((told.now, uid));
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
    pub(crate) fn list_ends(&mut self, told: Told) {
        let listed = std::mem::take(&mut self.listed);
        let is_gone = |(uid, known): &(&Uid, &Known)| known.gone.is_none() && !listed.contains(uid);
        let gone: Vec<Uid> = self.pods.iter().filter(is_gone).map(|(uid, _)| *uid).collect();
        gone.into_iter().for_each(|uid| self.delete(uid, told));
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
            holdings.retain(|holding| holding.end.is_none_or(|end| end.told + KNOWN_AFTER_END > now));
            if holdings.is_empty() {
                self.holdings.remove(&address);
            }
        }
    }

    /// How many pods are known.
    pub(crate) fn len(&self) -> usize {
        self.pods.len()
    }

    fn end_holding(&mut self, address: IpAddr, pod: Uid, told: Told) {
        let Some(holdings) = self.holdings.get_mut(&address) else { return };
        for holding in holdings.iter_mut().filter(|holding| holding.pod == pod) {
            holding.end.get_or_insert(Moment::told_within(SETTLED_AFTER, told));
        }
        self.ended.push_back((told.now, address));
    }
}

/// The first moment of a pod of that age, in seconds since 1970; none when that was before the clock began.
fn since_creation(created: i64, now: Instant) -> Option<Instant> {
    let created = Duration::from_secs(u64::try_from(created).unwrap_or_default());
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(created);
    now.checked_sub(age + CLOCKS_DIFFER)
}

#[cfg(test)]
mod tests;
