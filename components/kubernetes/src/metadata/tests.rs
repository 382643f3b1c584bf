//! What the watches tell, and what the service makes of it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use kube::runtime::watcher::Event;
use serde_json::json;

use super::*;
use crate::index::Holder;
use crate::wanted::KeySelection;

fn pod(number: u8) -> PodObject {
    let meta = json!({ "name": format!("pod-{number}"), "namespace": "shop", "uid": format!("{number:032x}") });
    serde_json::from_value(json!({ "metadata": meta })).unwrap()
}

fn uid(number: u8) -> Uid {
    Uid::parse(&format!("{number:032x}")).unwrap()
}

fn namespace(name: &str) -> NamespaceObject {
    serde_json::from_value(json!({ "metadata": { "name": name, "uid": format!("uid of {name}") } })).unwrap()
}

/// The process waits for the first lists of everything that is wanted, and not longer than 30 s.
#[tokio::test(start_paused = true)]
async fn readiness_waits_for_the_lists() {
    let metadata = Metadata::new(KubernetesSettings::default(), None);
    let wanted = Wanted { nodes: true, ..Wanted::default() };
    assert!(metadata.waits_for().is_some());
    metadata.progress.lock().started = Some(Instant::now());
    metadata.take_pod(Event::Init, &wanted);
    metadata.take_pod(Event::InitApply(pod(1)), &wanted);
    metadata.take_pod(Event::InitDone, &wanted);
    metadata.take_namespace(Event::InitDone, &wanted);
    assert!(metadata.waits_for().is_some() && !metadata.is_synced());
    metadata.take_node(Event::InitDone, &wanted);
    assert!(metadata.waits_for().is_none() && metadata.is_synced());

    let late = Metadata::new(KubernetesSettings::default(), None);
    late.progress.lock().started = Some(Instant::now());
    tokio::time::advance(WAIT_FOR_SYNC - Duration::from_secs(1)).await;
    assert!(late.waits_for().is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(late.waits_for().is_none() && !late.is_synced());
}

/// A list after a break names what is there; pods that went meanwhile are known for a while, places that went are not.
#[tokio::test(start_paused = true)]
async fn a_new_list_replaces_what_was_known() {
    let (metadata, wanted) = (Metadata::new(KubernetesSettings::default(), None), Wanted::default());
    for event in [Event::Init, Event::InitApply(pod(1)), Event::InitApply(pod(2)), Event::InitDone] {
        metadata.take_pod(event, &wanted);
    }
    for event in [Event::Init, Event::InitApply(namespace("kube-system")), Event::InitApply(namespace("a"))] {
        metadata.take_namespace(event, &wanted);
    }
    metadata.take_namespace(Event::InitDone, &wanted);
    assert_eq!(metadata.cluster_uid().as_deref(), Some("uid of kube-system"));
    let places = metadata.places();
    for event in [Event::Init, Event::InitApply(namespace("kube-system")), Event::InitDone] {
        metadata.take_namespace(event, &wanted);
    }
    assert!(metadata.namespace("a").is_none() && metadata.places() > places);
    for event in [Event::Init, Event::InitApply(pod(2)), Event::InitDone] {
        metadata.take_pod(event, &wanted);
    }
    assert!(metadata.pod(uid(1)).is_some(), "its last data may be on its way");
    tokio::time::advance(Duration::from_secs(121)).await;
    metadata.tables.write().pods.forget(Instant::now());
    assert!(metadata.pod(uid(1)).is_none() && metadata.pod(uid(2)).is_some());
}

/// A pod with an address.
fn pod_at(number: u8, address: &str) -> PodObject {
    let mut object = pod(number);
    object.status.pod_ip = Some(address.to_owned());
    object
}

/// The pod that sends now over a connection that was made then.
fn sender(metadata: &Metadata, address: &str, connected: Instant) -> Option<String> {
    let contact = Contact::over_connection(connected, Instant::now());
    match metadata.holder(address.parse().unwrap(), &contact).holder {
        Holder::Pod(pod) => Some(pod.name.to_string()),
        Holder::Nobody | Holder::OneOfSeveral => None,
    }
}

/// What happened while the watch was interrupted is told late: whoever connected meanwhile is found all the same, and nobody
/// is taken for the one who had the address before. Behind it, and long after, events tell at once again.
#[tokio::test(start_paused = true)]
async fn events_behind_an_interruption_are_late() {
    let (metadata, wanted) = (Metadata::new(KubernetesSettings::default(), None), Wanted::default());
    let pass = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
    for event in [Event::Init, Event::InitApply(pod_at(1, "10.0.0.1")), Event::InitDone] {
        metadata.take_pod(event, &wanted);
    }
    pass(100).await;
    metadata.take_pod(Event::Apply(pod(9)), &wanted);
    for _ in 0..3 {
        pass(10).await;
        metadata.interrupted(Kind::Pods, Interruption::Other, String::new());
    }
    let meanwhile = Instant::now();
    pass(30).await;
    metadata.take_pod(Event::Delete(pod_at(1, "10.0.0.1")), &wanted);
    metadata.take_pod(Event::Apply(pod_at(2, "10.0.0.1")), &wanted);
    pass(1).await;
    assert_eq!(sender(&metadata, "10.0.0.1", meanwhile).as_deref(), Some("pod-2"));
    pass(100).await;
    metadata.take_pod(Event::Apply(pod_at(3, "10.0.0.3")), &wanted);
    assert_eq!(sender(&metadata, "10.0.0.3", Instant::now() - Duration::from_secs(1)).as_deref(), None);
    assert_eq!(sender(&metadata, "10.0.0.3", Instant::now()).as_deref(), Some("pod-3"));
}

/// A list shows what was so when it began: what happens while its pages come is told behind it, late.
#[tokio::test(start_paused = true)]
async fn events_behind_a_long_list_are_late() {
    let (metadata, wanted) = (Metadata::new(KubernetesSettings::default(), None), Wanted::default());
    metadata.take_pod(Event::Init, &wanted);
    metadata.take_pod(Event::InitApply(pod_at(1, "10.0.0.1")), &wanted);
    tokio::time::advance(Duration::from_secs(30)).await;
    let meanwhile = Instant::now();
    tokio::time::advance(Duration::from_secs(30)).await;
    metadata.take_pod(Event::InitDone, &wanted);
    metadata.take_pod(Event::Delete(pod_at(1, "10.0.0.1")), &wanted);
    metadata.take_pod(Event::Apply(pod_at(2, "10.0.0.1")), &wanted);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(sender(&metadata, "10.0.0.1", meanwhile).as_deref(), Some("pod-2"));
}

/// Whoever waits is told which right is missing, until it is there.
#[tokio::test(start_paused = true)]
async fn a_missing_right_is_told() {
    let (metadata, wanted) = (Metadata::new(KubernetesSettings::default(), None), Wanted::default());
    metadata.interrupted(Kind::Namespaces, Interruption::Forbidden, String::new());
    metadata.interrupted(Kind::Pods, Interruption::Other, String::new());
    assert_eq!(metadata.waits_for(), Some("waiting for the right to list and watch namespaces"));
    metadata.take_namespace(Event::InitDone, &wanted);
    assert_eq!(metadata.waits_for(), Some("waiting for the first list of the cluster's pods"));
}

/// Changes are told to whoever waits for them, and what is no change is not.
#[tokio::test]
async fn changes_are_told() {
    let (metadata, wanted) = (Metadata::new(KubernetesSettings::default(), None), Wanted::default());
    let mut changes = metadata.changes();
    metadata.take_pod(Event::Apply(pod(1)), &wanted);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    metadata.take_pod(Event::Apply(pod(1)), &wanted);
    assert!(!changes.has_changed().unwrap());
    metadata.take_pod(Event::Delete(pod(1)), &wanted);
    assert!(changes.has_changed().unwrap());
}

/// Who wants more while the watches run has them begin anew; who wants what is there already has not.
#[tokio::test]
async fn wanting_more_begins_anew() {
    let metadata = Metadata::new(KubernetesSettings::default(), None);
    let labels = |key: &str| Wanted { pod_labels: KeySelection::new([key]), ..Wanted::default() };
    metadata.want(&labels("app"));
    metadata.progress.lock().started = Some(Instant::now());
    metadata.want(&labels("app"));
    let anew = async |metadata: &Metadata| {
        tokio::select! { biased; () = metadata.grown.notified() => true, () = std::future::ready(()) => false }
    };
    assert!(!anew(&metadata).await);
    metadata.want(&labels("team"));
    assert!(anew(&metadata).await);
}

/// A pod that is known from before somebody wanted more says nothing about that, until all pods were listed again.
#[tokio::test]
async fn wishes_are_granted_by_a_list() {
    let metadata = Metadata::new(KubernetesSettings::default(), None);
    let labels = |key: &str| Wanted { pod_labels: KeySelection::new([key]), ..Wanted::default() };
    let list = |metadata: &Metadata| {
        let Wishes { wanted, latest } = metadata.wishes.lock().clone();
        metadata.progress.lock().asked = latest;
        metadata.take_pod(Event::Init, &wanted);
        metadata.take_pod(Event::InitApply(pod(1)), &wanted);
        assert!(!metadata.grants(latest), "the list is not complete");
        metadata.take_pod(Event::InitDone, &wanted);
    };
    let first = metadata.want(&labels("app"));
    assert!(!metadata.grants(first));
    list(&metadata);
    assert!(metadata.grants(first));
    let second = metadata.want(&labels("team"));
    assert!(metadata.grants(first) && !metadata.grants(second));
    assert_eq!(metadata.want(&labels("app")), second, "nothing new is wanted");
    list(&metadata);
    assert!(metadata.grants(first) && metadata.grants(second));
}

/// What keeps a watch from going on is told until it goes on, or has not failed again for a while.
#[tokio::test(start_paused = true)]
async fn problems_are_told() {
    let metadata = Metadata::new(KubernetesSettings::default(), None);
    assert_eq!(metadata.problem(), None);
    metadata.interrupted(Kind::Nodes, Interruption::Other, "denied".to_owned());
    tokio::time::advance(Duration::from_secs(60)).await;
    metadata.interrupted(Kind::Pods, Interruption::Other, "away".to_owned());
    assert_eq!(metadata.problem().as_deref(), Some("cannot follow pods: away"));
    metadata.goes_on(Kind::Pods, &Event::<PodObject>::Init);
    assert_eq!(metadata.problem().as_deref(), Some("cannot follow pods: away"), "nothing was answered yet");
    metadata.goes_on(Kind::Pods, &Event::Apply(pod(1)));
    assert_eq!(metadata.problem().as_deref(), Some("cannot follow nodes: denied"));
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(metadata.problem(), None);
}
