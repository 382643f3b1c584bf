//! How often pods were found, and why not: in records, once a batch and entry.

use std::sync::atomic::{AtomicU64, Ordering};

use super::resolve::{Found, Rule};

/// Why no pod was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmatched {
    /// Nothing says where it comes from.
    NoIdentity,
    /// The cluster knows no such pod, or not in time.
    UnknownPod,
    /// Several pods may have had the address.
    SeveralPods,
    /// The resource is about something else than the pod that sent it.
    OtherSubject,
    /// Too much was waiting already.
    HoldFull,
    /// The process ends.
    Draining,
}

/// Counts of records.
#[derive(Debug, Default)]
pub(super) struct Counts {
    matched: [AtomicU64; 3],
    unmatched: [AtomicU64; 6],
    waited: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, found: &Found, records: u64) {
        let counter = match found {
            Found::Pod(_, rule) => &self.matched[*rule as usize],
            Found::Nothing(reason) => &self.unmatched[*reason as usize],
            Found::Waits { in_vain, .. } => &self.unmatched[*in_vain as usize],
        };
        counter.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts records that wait.
    pub(super) fn wait(&self, records: u64) {
        self.waited.fetch_add(records, Ordering::Relaxed);
    }

    /// Everything by name.
    pub(super) fn read(&self) -> Vec<(&'static str, u64)> {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let matched = |rule: Rule| value(&self.matched[rule as usize]);
        let unmatched = |reason: Unmatched| value(&self.unmatched[reason as usize]);
        vec![
            ("records_matched_by_pod_uid", matched(Rule::PodUid)),
            ("records_matched_by_pod_ip", matched(Rule::PodIp)),
            ("records_matched_by_connection", matched(Rule::Connection)),
            ("records_unmatched_no_identity", unmatched(Unmatched::NoIdentity)),
            ("records_unmatched_unknown_pod", unmatched(Unmatched::UnknownPod)),
            ("records_unmatched_several_pods", unmatched(Unmatched::SeveralPods)),
            ("records_unmatched_other_subject", unmatched(Unmatched::OtherSubject)),
            ("records_unmatched_hold_full", unmatched(Unmatched::HoldFull)),
            ("records_unmatched_draining", unmatched(Unmatched::Draining)),
            ("records_waited", value(&self.waited)),
        ]
    }
}
