//! Which pod a resource is of: by the id that it says, by the address that it says, by the address it was sent from.
//!
//! An id decides alone; an address that says something else does not count then. What is not known yet waits, but for the
//! same unknown pod only once in a while. Not here: the waiting (`hold`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_core::peer::Peer;
use engine_core::service::Service as _;
use kubernetes::{Attribution, Contact, Holder, Metadata, Pod, Uid};
use otlp::ResourceView;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Finding;
use super::counts::Unmatched;
use super::identity::Identity;

/// Who was waited for in vain is not waited for again before this, unless the cluster has news of the address.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(300);
/// What a pod sends by way of others may have been on its way for so long.
const FORWARDED_WITHIN: Duration = Duration::from_secs(1);
/// So many unknown pods are remembered, of each kind.
const REMEMBERED: usize = 8192;
/// When they are so many, those that may be forgotten are looked for no more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What was found of an entry's pod.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The pod, and what told it.
    Pod(Arc<Pod>, Rule),
    /// None.
    Nothing(Unmatched),
    /// It may be known later; looking again makes sense then, or when the cluster has news. If it is not, that is why.
    Waits { until: Instant, in_vain: Unmatched },
}

/// What tells a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// `k8s.pod.uid` of the resource.
    PodUid,
    /// `k8s.pod.ip` of the resource.
    PodIp,
    /// The address of the connection.
    Connection,
}

/// When a batch came that does not say it itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) earliest: Instant,
    pub(super) latest: Instant,
}

/// Finds pods.
pub(super) struct Resolver {
    metadata: Arc<Metadata>,
    timeout: Duration,
    /// Those whose connections are unknown. What others say takes no room from them.
    unknown_senders: Mutex<Remembered>,
    /// Those that resources name, who may name anybody.
    unknown_named: Mutex<Remembered>,
}

/// Unknown pods, and since when they are waited for.
#[derive(Debug, Default)]
struct Remembered {
    since: HashMap<Unknown, Instant>,
    swept: Option<Instant>,
}

/// A pod that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unknown {
    Uid(Uid),
    Address(IpAddr),
}

impl Found {
    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Waits { .. })
    }
}

impl Window {
    /// It came at this moment.
    pub(super) fn at(moment: Instant) -> Self {
        Self { earliest: moment, latest: moment }
    }
}

impl Resolver {
    pub(super) fn new(metadata: Arc<Metadata>, timeout: Duration) -> Self {
        Self { metadata, timeout, unknown_senders: Mutex::default(), unknown_named: Mutex::default() }
    }

    /// What is known of a resource now.
    pub(super) fn look(&self, resource: &ResourceView<'_>, sender: Option<&Peer>, window: &Window) -> Finding {
        let identity = Identity::of(resource);
        Finding {
            found: self.pod_of(&identity, sender, window),
            service: identity.service_name(),
            container: identity.container.map(Box::from),
        }
    }

    fn pod_of(&self, identity: &Identity<'_>, sender: Option<&Peer>, window: &Window) -> Found {
        if let Some(uid) = identity.uid {
            return match self.metadata.pod(uid) {
                Some(pod) => Found::Pod(pod, Rule::PodUid),
                None => self.wait_for(Unknown::Uid(uid), Rule::PodUid, window),
            };
        }
        if let Some(address) = identity.address {
            let address = address.to_canonical();
            // Whoever says its own address is known by its connection, which is older than what it says now.
            let own = sender.filter(|peer| peer.address.ip().to_canonical() == address);
            let contact = match own {
                Some(peer) => Contact::over_connection(peer.connected, window.earliest),
                None => {
                    let earliest = window.earliest.checked_sub(FORWARDED_WITHIN).unwrap_or(window.earliest);
                    Contact { earliest, latest: window.latest, arrived: earliest }
                }
            };
            return self.holder(address, &contact, identity, Rule::PodIp, window);
        }
        let Some(peer) = sender else { return Found::Nothing(Unmatched::NoIdentity) };
        let address = peer.address.ip().to_canonical();
        let contact = Contact::over_connection(peer.connected, window.earliest);
        // Nobody gets to be in a pod there.
        if address.is_loopback() && self.metadata.holder(address, &contact).holder == Holder::Nobody {
            return Found::Nothing(Unmatched::NoIdentity);
        }
        self.holder(address, &contact, identity, Rule::Connection, window)
    }

    fn holder(
        &self,
        address: IpAddr,
        contact: &Contact,
        identity: &Identity<'_>,
        rule: Rule,
        window: &Window,
    ) -> Found {
        let Attribution { holder, settles_at } = self.metadata.holder(address, contact);
        let is_settled = Instant::now() >= settles_at;
        match holder {
            Holder::Nobody => self.wait_for(Unknown::Address(address), rule, window),
            _ if !is_settled && self.timeout.is_zero() => Found::Nothing(Unmatched::SeveralPods),
            _ if !is_settled => Found::Waits { until: settles_at, in_vain: Unmatched::SeveralPods },
            Holder::OneOfSeveral => Found::Nothing(Unmatched::SeveralPods),
            Holder::Pod(pod) if identity.agrees_with(&pod) => Found::Pod(pod, rule),
            Holder::Pod(_) => Found::Nothing(Unmatched::OtherSubject),
        }
    }

    /// Waits for a pod, unless that was in vain not long ago.
    fn wait_for(&self, unknown: Unknown, rule: Rule, window: &Window) -> Found {
        if self.timeout.is_zero() {
            return Found::Nothing(Unmatched::UnknownPod);
        }
        let now = Instant::now();
        let waits = |until| match until > now {
            true => Found::Waits { until, in_vain: Unmatched::UnknownPod },
            false => Found::Nothing(Unmatched::UnknownPod),
        };
        if !self.metadata.has_listed_pods() {
            // Nothing can be said of anybody yet. When even the process does not wait any more, data does not either.
            return match self.metadata.waits_for() {
                Some(_) => waits(window.latest + self.timeout),
                None => Found::Nothing(Unmatched::UnknownPod),
            };
        }
        let mut known = match rule {
            Rule::Connection => self.unknown_senders.lock(),
            Rule::PodUid | Rule::PodIp => self.unknown_named.lock(),
        };
        let Some(first) = known.since(unknown, now, self.timeout + NOT_AGAIN_FOR) else {
            return Found::Nothing(Unmatched::UnknownPod);
        };
        let has_news = match unknown {
            Unknown::Uid(_) => false,
            // Somebody else may have it next.
            Unknown::Address(address) => self.metadata.has_changed(address, *first),
        };
        if has_news || *first + self.timeout + NOT_AGAIN_FOR <= now {
            *first = now;
        }
        waits(*first + self.timeout)
    }
}

impl Remembered {
    /// Since when an unknown pod is waited for; none when there is no room to remember it. What is older than `lasts` makes room.
    fn since(&mut self, unknown: Unknown, now: Instant, lasts: Duration) -> Option<&mut Instant> {
        if self.since.len() >= REMEMBERED && !self.since.contains_key(&unknown) {
            if self.swept.is_none_or(|swept| swept + SWEEP_EVERY <= now) {
                self.swept = Some(now);
                self.since.retain(|_, first| *first + lasts > now);
            }
            if self.since.len() >= REMEMBERED {
                return None;
            }
        }
        Some(self.since.entry(unknown).or_insert(now))
    }
}
