//! Pods that come and go, and who had an address when. Time is the test's own.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::json;

use super::*;
use crate::intern::Interner;
use crate::wanted::Wanted;

const SECOND: Duration = Duration::from_secs(1);

/// A pod with a number for an id.
fn pod(number: u8, phase: &str, host_network: bool, address: &str) -> Pod {
    let object = json!({
        "metadata": { "name": format!("pod-{number}"), "namespace": "shop", "uid": format!("{number:032x}") },
        "spec": { "hostNetwork": host_network },
        "status": { "phase": phase, "podIP": address },
    });
    Pod::of(&serde_json::from_value(object).unwrap(), &Wanted::default(), &mut Interner::default()).unwrap()
}

fn running(number: u8, address: &str) -> Pod {
    pod(number, "Running", false, address)
}

fn news(now: Instant) -> Told {
    Told::at_once(now)
}

fn uid(number: u8) -> Uid {
    Uid::parse(&format!("{number:032x}")).unwrap()
}

fn at(index: &Index, address: &str, since: Instant, arrived: Instant) -> Option<String> {
    match index.holder(address.parse().unwrap(), &Contact::over_connection(since, arrived)).holder {
        Holder::Nobody => None,
        Holder::Pod(pod) => Some(pod.name.to_string()),
        Holder::OneOfSeveral => Some("several".to_owned()),
    }
}

/// An address that goes to another pod is the first one's before and the second one's after, and nobody's in between: not
/// even for data that came before the watch told of it.
#[test]
fn reuse_is_told_by_time() {
    let (mut index, start) = (Index::default(), Instant::now());
    index.apply(running(1, "10.0.0.7"), news(start));
    let told = start + 100 * SECOND;
    index.delete(uid(1), news(told));
    index.apply(running(2, "10.0.0.7"), news(told + SECOND / 10));
    let at = |moment| at(&index, "10.0.0.7", moment, moment);
    assert_eq!(at(start + 50 * SECOND).as_deref(), Some("pod-1"));
    // Just before the watch told of the end the second may have had it already.
    assert_eq!(at(told - SECOND / 20).as_deref(), Some("several"));
    assert_eq!(at(told + SECOND / 20).as_deref(), Some("pod-2"));
    assert_eq!(at(told + 50 * SECOND).as_deref(), Some("pod-2"));
}

/// A connection is of the pod that had the address when it was made; one that goes on long after a pod's end is not that
/// pod's.
#[test]
fn a_connection_is_of_one_pod() {
    let (mut index, start) = (Index::default(), Instant::now());
    index.apply(running(1, "10.0.0.7"), news(start));
    let told = start + 100 * SECOND;
    index.delete(uid(1), news(told));
    index.apply(running(2, "10.0.0.7"), news(told));
    let connected = start + 10 * SECOND;
    assert_eq!(at(&index, "10.0.0.7", connected, connected + SECOND).as_deref(), Some("pod-1"));
    assert_eq!(at(&index, "10.0.0.7", connected, told + SECOND / 20).as_deref(), Some("pod-1"));
    assert_eq!(at(&index, "10.0.0.7", connected, told + SECOND), None);
    // Made while the news was on its way: for a while it may be of either, then only of the one that lives.
    let between = told - SECOND / 10;
    assert_eq!(at(&index, "10.0.0.7", between, told).as_deref(), Some("several"));
    assert_eq!(at(&index, "10.0.0.7", between, told + SECOND).as_deref(), Some("pod-2"));
}

/// A pod uses its address before that is told, and a connection of that time is its own as soon as it is; not one from before
/// its time, and not one of the time in which another pod had the address.
#[test]
fn a_beginning_is_told_late() {
    let (mut index, start) = (Index::default(), Instant::now() + 100 * SECOND);
    index.apply(running(1, "10.0.0.7"), news(start));
    index.delete(uid(1), news(start + 10 * SECOND));
    let told = start + 13 * SECOND;
    let connected = told - 2 * SECOND;
    index.apply(running(2, ""), news(connected));
    assert_eq!(at(&index, "10.0.0.7", connected, connected), None);
    index.apply(running(2, "10.0.0.7"), news(told));
    let at = |connected, arrived| at(&index, "10.0.0.7", connected, arrived);
    for arrived in [connected, told, told + 100 * SECOND] {
        assert_eq!(at(connected, arrived).as_deref(), Some("pod-2"));
    }
    assert_eq!(at(connected - SECOND, told), None, "it was not there yet");
    assert_eq!(at(start + 9 * SECOND, start + 9 * SECOND).as_deref(), Some("pod-1"));
    assert_eq!(at(start + 9 * SECOND, told + SECOND), None);
}

/// Near the end of a pod it is certain only later that a connection was its own: the next one may have had the address and is
/// told late.
#[test]
fn near_an_end_it_takes_longer() {
    let (mut index, start) = (Index::default(), Instant::now() + 100 * SECOND);
    index.apply(running(1, "10.0.0.7"), news(start));
    let connected = start + 10 * SECOND;
    let look = |index: &Index| {
        let found = index.holder("10.0.0.7".parse().unwrap(), &Contact::over_connection(connected, connected));
        (found.holder, found.settles_at - connected)
    };
    assert_eq!(look(&index), (Holder::Pod(Arc::clone(index.pod(uid(1)).unwrap())), SETTLED_AFTER));
    index.delete(uid(1), news(connected + SECOND / 4));
    assert_eq!(look(&index), (Holder::Pod(Arc::clone(index.pod(uid(1)).unwrap())), TOLD_WITHIN));
    let mut other = index;
    other.apply(running(2, "10.0.0.7"), news(connected + 2 * SECOND));
    assert_eq!(look(&other).0, Holder::Pod(Arc::clone(other.pod(uid(1)).unwrap())), "the other one came later");
    let mut other = Index::default();
    other.apply(running(1, "10.0.0.7"), news(start));
    other.apply(running(2, ""), news(start));
    other.delete(uid(1), news(connected + SECOND / 4));
    other.apply(running(2, "10.0.0.7"), news(connected + 2 * SECOND));
    assert_eq!(look(&other).0, Holder::OneOfSeveral);
}

/// Whoever had an address at the first list had it from when it was made, and what a later list tells may have happened at any
/// time since the last event.
#[test]
fn lists_tell_late() {
    let (mut index, start) = (Index::default(), Instant::now() + 1000 * SECOND);
    index.apply(running(1, "10.0.0.7"), Told::since(start, None));
    let connected = start - 60 * SECOND;
    assert_eq!(at(&index, "10.0.0.7", connected, start).as_deref(), Some("pod-1"));
    let mut young = running(3, "10.0.0.9");
    young.created = i64::MAX;
    index.apply(young, Told::since(start, None));
    assert_eq!(at(&index, "10.0.0.9", connected, start), None);
    assert_eq!(at(&index, "10.0.0.9", start - 5 * SECOND, start).as_deref(), Some("pod-3"));
    // The watch is broken for a minute, in which the address goes on.
    let last_event = start + 10 * SECOND;
    let listed = Told::since(start + 70 * SECOND, Some(last_event));
    index.list_begins();
    for number in [2, 3] {
        index.lists(uid(number));
    }
    index.apply(running(2, "10.0.0.7"), listed);
    index.list_ends(listed);
    let at = |connected| at(&index, "10.0.0.7", connected, connected);
    assert_eq!(at(start + 9 * SECOND).as_deref(), Some("pod-1"));
    assert_eq!(at(start + 40 * SECOND).as_deref(), Some("several"));
    assert_eq!(at(start + 71 * SECOND).as_deref(), Some("pod-2"));
}

/// Pods in their node's network and pods that have ended are not found by address, but by id.
#[test]
fn never_by_an_address_of_others() {
    let (mut index, start) = (Index::default(), Instant::now());
    index.apply(pod(1, "Running", true, "10.0.0.7"), news(start));
    index.apply(running(2, "10.0.0.8"), news(start));
    let ended = start + 10 * SECOND;
    index.apply(pod(2, "Succeeded", false, "10.0.0.8"), news(ended));
    index.apply(running(3, "10.0.0.8"), news(ended + SECOND));
    let moment = ended + 5 * SECOND;
    assert_eq!(at(&index, "10.0.0.7", moment, moment), None);
    assert_eq!(at(&index, "10.0.0.8", moment, moment).as_deref(), Some("pod-3"));
    assert!(index.pod(uid(1)).is_some() && index.pod(uid(2)).is_some());
}

/// A list is the whole truth: what it does not name is gone, what it names stays, and it may be broken off and begun anew.
#[test]
fn a_list_replaces_everything() {
    let (mut index, start) = (Index::default(), Instant::now());
    for number in 1..=3 {
        index.apply(running(number, &format!("10.0.0.{number}")), news(start));
    }
    index.list_begins();
    index.lists(uid(1));
    index.list_begins();
    index.lists(uid(2));
    index.lists(uid(3));
    index.list_ends(Told::since(start + SECOND, Some(start)));
    let moment = start + 10 * SECOND;
    assert_eq!(at(&index, "10.0.0.1", moment, moment), None);
    assert_eq!(at(&index, "10.0.0.2", moment, moment).as_deref(), Some("pod-2"));
}

/// Who is gone is known by id for two minutes and forgotten with all addresses then, however it went.
#[test]
fn what_is_gone_is_forgotten() {
    let (mut index, start) = (Index::default(), Instant::now());
    for number in 1..=200 {
        index.apply(running(number, &format!("10.0.0.{number}")), news(start));
        if number % 2 == 0 {
            index.apply(pod(number, "Failed", false, "10.0.0.1"), news(start + SECOND));
        }
        index.delete(uid(number), news(start + 2 * SECOND));
    }
    index.apply(running(7, "10.0.0.7"), news(start + 3 * SECOND));
    index.forget(start + 100 * SECOND);
    assert_eq!((index.len(), index.pod(uid(1)).is_some()), (200, true));
    index.forget(start + 122 * SECOND);
    assert_eq!((index.len(), index.holdings.len()), (1, 1), "one has come back");
    assert!(index.gone.is_empty() && index.ended.is_empty());
    assert_eq!(index.pod(uid(7)).map(|pod| pod.name.to_string()).as_deref(), Some("pod-7"));
}

/// The same pod again is no news.
#[test]
fn the_same_again_is_no_news() {
    let (mut index, start) = (Index::default(), Instant::now());
    assert!(index.apply(running(1, "10.0.0.1"), news(start)));
    assert!(!index.apply(running(1, "10.0.0.1"), news(start)));
    assert!(index.apply(running(1, "10.0.0.2"), news(start)));
    assert_eq!(at(&index, "10.0.0.1", start + SECOND, start + SECOND), None);
}
