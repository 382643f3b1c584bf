//! The transform and its companion on metadata that a test writes by hand. Time is the test's own.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod churn;
mod services;

use std::time::Duration;

use engine_config::KubernetesSettings;
use engine_core::outcome::Outcome;
use engine_core::peer::Peer;
use engine_core::receipt::Receipt;
use engine_core::test_kit::{Applied, StageRun, apply, logs, metrics, records_of, run_stage, traces, wire, within};
use futures::FutureExt;
use kubernetes::{SETTLED_AFTER, Uid};
use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Metadata of a cluster with one node, whose lists are complete.
fn cluster() -> Arc<Metadata> {
    let settings = KubernetesSettings { cluster_name: Some("eu-1".to_owned()), ..KubernetesSettings::default() };
    Arc::new(Metadata::by_hand(settings))
}

/// Fills in what does not change; behind the transforms, which want some of it.
fn furnish(metadata: &Metadata) {
    metadata.put(json!({ "kind": "Namespace", "metadata": { "name": "kube-system", "uid": "cluster-uid" } }));
    metadata.put(json!({ "kind": "Namespace", "metadata": { "name": "shop", "uid": "n", "labels": { "team": "a" } } }));
    let labels = json!({
        "topology.kubernetes.io/region": "eu-central-1", "topology.kubernetes.io/zone": "eu-central-1a",
        "node.kubernetes.io/instance-type": "m5.large", "kubernetes.io/arch": "arm", "pool": "blue",
    });
    let node = json!({ "name": "node-1", "uid": "node-uid", "labels": labels });
    metadata.put(json!({ "kind": "Node", "metadata": node, "spec": { "providerID": "gce://x" } }));
    metadata.complete();
}

fn uid(number: u32) -> String {
    Uid::parse(&format!("{number:032x}")).unwrap().to_string()
}

/// A pod of a Deployment, with a number for an id.
fn pod(number: u32, address: &str) -> serde_json::Value {
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8f7c9b6d", "uid": "r",
                         "controller": true }]);
    json!({
        "kind": "Pod",
        "metadata": {
            "name": format!("web-{number}"), "namespace": "shop", "uid": uid(number), "ownerReferences": owner,
            "labels": { "pod-template-hash": "5d8f7c9b6d", "app": "web" },
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "main", "image": "web:1.2" }] },
        "status": { "phase": "Running", "podIP": address },
    })
}

fn transform(metadata: &Arc<Metadata>, options: &Options) -> KubernetesAttributes {
    let transform = KubernetesAttributes::new(options, Arc::clone(metadata));
    furnish(metadata);
    transform
}

/// The attributes of the first resource.
fn attributes(batch: &Batch) -> Vec<(String, String)> {
    let wire = wire(batch.payload());
    let resource = wire.resources().next().unwrap();
    let text = |attribute: otlp::AttributeView<'_>| {
        (attribute.key.to_owned(), attribute.value.as_str().unwrap_or("not a text").to_owned())
    };
    resource.attributes().map(text).collect()
}

fn value(batch: &Batch, key: &str) -> Option<String> {
    attributes(batch).into_iter().find(|(known, _)| known == key).map(|(_, value)| value)
}

/// Who connected so long ago.
fn peer(address: &str, ago: Duration) -> Arc<Peer> {
    let address = format!("{address}:1").parse().unwrap_or_else(|_| format!("[{address}]:1").parse().unwrap());
    Arc::new(Peer { address, connected: Instant::now() - ago })
}

fn sent_by(peer: Arc<Peer>, attributes: &[(&str, &str)]) -> Batch {
    Batch::unacknowledged(logs(attributes, 0..2)).sent_by(peer)
}

/// The name of the pod that a batch was taken for, where it needs no wait.
fn taken_for(transform: &KubernetesAttributes, batch: Batch) -> Option<String> {
    let Applied { emitted, handed_over, .. } = apply(transform, batch);
    assert!(handed_over.is_empty(), "{handed_over:?}");
    value(&emitted[0].1, "k8s.pod.name")
}

/// The companion alone, fed with what its transform would hand over.
fn companion(transform: &KubernetesAttributes) -> StageRun {
    run_stage("tested", transform.companion(), 1)
}

async fn feed(run: &StageRun, payload: Payload, peer: Option<Arc<Peer>>) -> Receipt {
    let (batch, receipt) = Batch::new(payload);
    run.feed.send(peer.into_iter().fold(batch, Batch::sent_by)).await;
    receipt
}

async fn next(run: &mut StageRun) -> Batch {
    within("a batch behind the companion", run.outputs[0].next()).await.unwrap()
}

/// Nothing is behind the companion after it had all the time it wants.
async fn nothing_yet(run: &mut StageRun) {
    for _ in 0..50 {
        tokio::task::yield_now().await;
        assert!(run.outputs[0].next().now_or_never().is_none());
    }
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

fn count(transform: &KubernetesAttributes, name: &str) -> u64 {
    transform.0.counts.read().into_iter().find(|(known, _)| *known == name).unwrap().1
}

/// Everything that is set by default of a pod that is known by its id, for every signal; what is there stays, what is
/// empty is filled, records are the same.
#[tokio::test]
async fn sets_what_is_absent() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    metadata.put(pod(1, "10.0.0.1"));
    let before = [("k8s.pod.uid", &*uid(1)), ("k8s.node.name", "mine"), ("k8s.namespace.name", ""), ("a", "1")];
    for payload in [logs, metrics, traces].map(|make| make(&before, 0..3)) {
        let applied = apply(&transform, Batch::unacknowledged(payload));
        let [(0, after)] = &applied.emitted[..] else { panic!("{applied:?}") };
        assert_eq!(records_of(after.payload()), [0, 1, 2]);
        let mut found = attributes(after);
        assert_eq!(found[..4].iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), before.map(|(key, _)| key));
        found.sort();
        let expected = [
            ("a", "1"),
            ("cloud.availability_zone", "eu-central-1a"),
            ("cloud.region", "eu-central-1"),
            ("host.arch", "arm32"),
            ("host.type", "m5.large"),
            ("k8s.cluster.name", "eu-1"),
            ("k8s.cluster.uid", "cluster-uid"),
            ("k8s.deployment.name", "web"),
            ("k8s.namespace.name", "shop"),
            ("k8s.node.name", "mine"),
            ("k8s.pod.name", "web-1"),
            ("k8s.pod.uid", &uid(1)),
            ("service.instance.id", "shop.web-1.main"),
            ("service.name", "web"),
            ("service.namespace", "shop"),
            ("service.version", "1.2"),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    assert_eq!(count(&transform, "records_matched_by_pod_uid"), 9);
}

/// Attributes, labels and annotations are those that the options choose.
#[tokio::test]
async fn options_choose() {
    use engine_config::KubernetesAttribute as Name;
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    let options = Options {
        attributes: [Name::PodIp, Name::PodUid, Name::ReplicaSetName, Name::NodeUid, Name::CloudProvider].into(),
        service: engine_config::transforms::kubernetes_attributes::ServiceNames::None,
        pod_labels: keys(&["ap*"]),
        pod_annotations: keys(&["note"]),
        namespace_labels: keys(&["team"]),
        node_labels: keys(&["pool"]),
        ..Options::default()
    };
    let metadata = cluster();
    let transform = transform(&metadata, &options);
    let mut object = pod(1, "10.0.0.1");
    object["metadata"]["annotations"] = json!({ "note": "kept", "other": "not" });
    metadata.put(object);
    let applied = apply(&transform, Batch::unacknowledged(logs(&[("k8s.pod.uid", &uid(1))], 0..1)));
    let mut found = attributes(&applied.emitted[0].1);
    found.sort();
    let expected = [
        ("cloud.provider", "gcp"),
        ("k8s.namespace.label.team", "a"),
        ("k8s.node.label.pool", "blue"),
        ("k8s.node.uid", "node-uid"),
        ("k8s.pod.annotation.note", "kept"),
        ("k8s.pod.ip", "10.0.0.1"),
        ("k8s.pod.label.app", "web"),
        ("k8s.pod.uid", &uid(1)),
        ("k8s.replicaset.name", "web-5d8f7c9b6d"),
    ];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

/// Data without a pod gets what is true of everything in the cluster, and nothing else.
#[tokio::test]
async fn the_cluster_is_everybodys() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let applied = apply(&transform, Batch::unacknowledged(logs(&[("host.name", "node-1")], 0..3)));
    let found = attributes(&applied.emitted[0].1);
    let expected = [("host.name", "node-1"), ("k8s.cluster.name", "eu-1"), ("k8s.cluster.uid", "cluster-uid")];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(count(&transform, "records_unmatched_no_identity"), 3);
}

/// The name of the cluster that a transform says goes before that of the process.
#[tokio::test]
async fn a_cluster_may_be_named_here() {
    let options = Options { cluster_name: Some("eu-2".to_owned()), ..Options::default() };
    let transform = transform(&cluster(), &options);
    let applied = apply(&transform, Batch::unacknowledged(logs(&[("host.name", "node-1")], 0..1)));
    let found = attributes(&applied.emitted[0].1);
    assert!(found.contains(&("k8s.cluster.name".to_owned(), "eu-2".to_owned())), "{found:?}");
}

/// A connection that is not new leads to the pod that made it, over IPv4 as IPv6 writes it, too; the id of a resource wins.
#[tokio::test(start_paused = true)]
async fn by_connection() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    metadata.put(pod(1, "10.0.0.1"));
    metadata.put(pod(2, "10.0.0.2"));
    pass(SECOND).await;
    for address in ["10.0.0.1", "::ffff:10.0.0.1"] {
        assert_eq!(taken_for(&transform, sent_by(peer(address, SECOND), &[])).as_deref(), Some("web-1"));
    }
    let batch = sent_by(peer("10.0.0.1", SECOND), &[("k8s.pod.uid", &uid(2)), ("k8s.pod.ip", "10.0.0.1")]);
    assert_eq!(taken_for(&transform, batch).as_deref(), Some("web-2"));
    assert_eq!(taken_for(&transform, sent_by(peer("127.0.0.1", SECOND), &[])), None);
    assert_eq!(count(&transform, "records_matched_by_connection"), 4);
}

/// What a pod reports about others is not taken for its own: nodes, other pods, other namespaces.
#[tokio::test(start_paused = true)]
async fn reports_about_others() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    metadata.put(pod(1, "10.0.0.1"));
    pass(SECOND).await;
    let from_the_pod = |attributes: &[(&str, &str)]| sent_by(peer("10.0.0.1", SECOND), attributes);
    for others in [
        &[("k8s.node.name", "node-1")][..],
        &[("k8s.pod.name", "web-2"), ("k8s.namespace.name", "shop")],
        &[("k8s.namespace.name", "pay")],
        &[("k8s.pod.name", "web-1"), ("k8s.node.name", "node-2")],
    ] {
        let applied = apply(&transform, from_the_pod(others));
        assert_eq!(value(&applied.emitted[0].1, "k8s.deployment.name"), None, "{others:?}");
    }
    for own in [
        &[("k8s.pod.name", "web-1"), ("k8s.namespace.name", "shop"), ("k8s.node.name", "node-1")][..],
        &[("service.name", "till"), ("k8s.node.name", "node-1")],
    ] {
        let applied = apply(&transform, from_the_pod(own));
        assert_eq!(value(&applied.emitted[0].1, "k8s.deployment.name").as_deref(), Some("web"), "{own:?}");
    }
    assert_eq!(count(&transform, "records_unmatched_other_subject"), 8);
}

/// Host network: the address of a node leads to none of the pods that share it.
#[tokio::test(start_paused = true)]
async fn never_by_the_address_of_a_node() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options { hold: no_hold(), ..Options::default() });
    let mut object = pod(1, "192.0.2.1");
    object["spec"]["hostNetwork"] = json!(true);
    metadata.put(object);
    pass(SECOND).await;
    assert_eq!(taken_for(&transform, sent_by(peer("192.0.2.1", SECOND), &[])), None);
    let by_attribute = Batch::unacknowledged(logs(&[("k8s.pod.ip", "192.0.2.1")], 0..1));
    assert_eq!(taken_for(&transform, by_attribute), None);
    let by_uid = sent_by(peer("192.0.2.1", SECOND), &[("k8s.pod.uid", &uid(1))]);
    assert_eq!(taken_for(&transform, by_uid).as_deref(), Some("web-1"));
}

fn no_hold() -> engine_config::transforms::kubernetes_attributes::Hold {
    engine_config::transforms::kubernetes_attributes::Hold {
        timeout: engine_config::Span::secs(0),
        ..Default::default()
    }
}

/// A new connection waits until it is certain whose it is, and no longer.
#[tokio::test(start_paused = true)]
async fn new_connections_settle() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    metadata.put(pod(1, "10.0.0.1"));
    pass(10 * SECOND).await;
    let peer = peer("10.0.0.1", Duration::ZERO);
    let applied = apply(&transform, sent_by(Arc::clone(&peer), &[]));
    assert_eq!((applied.emitted.len(), applied.handed_over.len()), (0, 1));
    let mut run = companion(&transform);
    let began = Instant::now();
    let receipt = feed(&run, logs(&[], 0..2), Some(peer)).await;
    let after = next(&mut run).await;
    assert_eq!((began.elapsed(), value(&after, "k8s.pod.name").as_deref()), (SETTLED_AFTER, Some("web-1")));
    after.answer(&Outcome::Delivered);
    assert_eq!(receipt.await, Outcome::Delivered);
}

/// The pod of a new connection may have got its address from another just now. The watch tells of it meanwhile, and nobody
/// is taken for the first one.
#[tokio::test(start_paused = true)]
async fn an_address_that_changes_hands() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    metadata.put(pod(1, "10.0.0.1"));
    pass(10 * SECOND).await;
    let mut run = companion(&transform);
    // The connection is the second pod's, which the watch does not know of yet.
    let connection = peer("10.0.0.1", Duration::ZERO);
    let _receipt = feed(&run, logs(&[], 0..2), Some(Arc::clone(&connection))).await;
    pass(SECOND / 10).await;
    metadata.remove_pod(Uid::parse(&uid(1)).unwrap());
    metadata.put(pod(2, "10.0.0.1"));
    assert_eq!(value(&next(&mut run).await, "k8s.pod.name"), None);
    assert_eq!(count(&transform, "records_unmatched_several_pods"), 2);
    // A little later the first one cannot be there any more.
    pass(SECOND).await;
    assert_eq!(taken_for(&transform, sent_by(connection, &[])).as_deref(), Some("web-2"));
}

/// Data of a pod that is not known yet waits for it, receipts too, and goes on as soon as it is known.
#[tokio::test(start_paused = true)]
async fn waits_for_its_pod() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let mut run = companion(&transform);
    let began = Instant::now();
    let mut receipt = feed(&run, logs(&[("k8s.pod.uid", &uid(1))], 0..3), None).await;
    pass(2 * SECOND).await;
    nothing_yet(&mut run).await;
    assert!((&mut receipt).now_or_never().is_none());
    metadata.put(pod(2, "10.0.0.2"));
    pass(SECOND).await;
    nothing_yet(&mut run).await;
    metadata.put(pod(1, "10.0.0.1"));
    let after = next(&mut run).await;
    assert!(began.elapsed() < 4 * SECOND, "{:?}", began.elapsed());
    assert_eq!(value(&after, "k8s.pod.name").as_deref(), Some("web-1"));
    after.answer(&Outcome::Delivered);
    assert_eq!(receipt.await, Outcome::Delivered);
    assert_eq!((count(&transform, "records_waited"), run.account.line().held), (3, 0));
}

/// Who does not become known is waited for once; others of the same pod go on at once, until it is known after all.
#[tokio::test(start_paused = true)]
async fn waits_once_for_who_never_comes() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let stranger = [("k8s.pod.uid", &*uid(9))];
    let mut run = companion(&transform);
    let began = Instant::now();
    let _first = feed(&run, logs(&stranger, 0..3), None).await;
    pass(3 * SECOND).await;
    let _second = feed(&run, logs(&stranger, 3..4), None).await;
    assert_eq!(value(&next(&mut run).await, "k8s.pod.name"), None);
    assert_eq!(records_of(next(&mut run).await.payload()), [3]);
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(count(&transform, "records_unmatched_unknown_pod"), 4);
    assert_eq!(taken_for(&transform, Batch::unacknowledged(logs(&stranger, 0..1))), None);
    metadata.put(pod(9, "10.0.0.9"));
    assert_eq!(taken_for(&transform, Batch::unacknowledged(logs(&stranger, 0..1))).as_deref(), Some("web-9"));
    metadata.remove_pod(Uid::parse(&uid(9)).unwrap());
    pass(400 * SECOND).await;
    let other = [("k8s.pod.uid", &*uid(8))];
    assert_eq!(apply(&transform, Batch::unacknowledged(logs(&other, 0..1))).handed_over.len(), 1);
}

/// A pod that is slower to be told than to send is waited for, also where its address was waited for in vain before, and where
/// another one had it.
#[tokio::test(start_paused = true)]
async fn waits_again_for_the_next_one() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let mut run = companion(&transform);
    let _vain = feed(&run, logs(&[], 0..1), Some(peer("10.0.0.1", Duration::ZERO))).await;
    assert_eq!(value(&next(&mut run).await, "k8s.pod.name"), None);
    metadata.put(pod(1, "10.0.0.1"));
    pass(10 * SECOND).await;
    metadata.remove_pod(Uid::parse(&uid(1)).unwrap());
    metadata.put(pod(2, ""));
    pass(SECOND).await;
    let early = peer("10.0.0.1", Duration::ZERO);
    let _receipt = feed(&run, logs(&[], 0..1), Some(Arc::clone(&early))).await;
    pass(2 * SECOND).await;
    nothing_yet(&mut run).await;
    metadata.put(pod(2, "10.0.0.1"));
    assert_eq!(value(&next(&mut run).await, "k8s.pod.name").as_deref(), Some("web-2"));
    assert_eq!(taken_for(&transform, sent_by(early, &[])).as_deref(), Some("web-2"));
}

/// Senders that are in no pod, such as a node, are waited for once as well.
#[tokio::test(start_paused = true)]
async fn senders_outside_wait_once() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let outside = peer("203.0.113.9", Duration::ZERO);
    let applied = apply(&transform, sent_by(Arc::clone(&outside), &[]));
    assert_eq!(applied.handed_over.len(), 1);
    pass(6 * SECOND).await;
    assert_eq!(taken_for(&transform, sent_by(outside, &[])), None);
    assert_eq!(taken_for(&transform, sent_by(peer("203.0.113.9", Duration::ZERO), &[])), None);
}

/// Of a request only the entries that must wait do; the answer says what became of all of it.
#[tokio::test(start_paused = true)]
async fn only_what_must_waits() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    metadata.put(pod(1, "10.0.0.1"));
    let (known, unknown) = (uid(1), uid(2));
    let parts = [logs(&[("k8s.pod.uid", &*known)], 0..1), logs(&[("k8s.pod.uid", &*unknown)], 1..3)];
    let both = Wire::concat(parts.map(|payload| wire(&payload)));
    let (batch, mut receipt) = Batch::new(Payload::Wire(both));
    let Applied { mut emitted, mut handed_over, .. } = apply(&transform, batch);
    let ((_, ready), waiting) = (emitted.pop().unwrap(), handed_over.pop().unwrap());
    assert_eq!((records_of(ready.payload()), records_of(waiting.payload())), (vec![0], vec![1, 2]));
    assert_eq!(value(&ready, "k8s.pod.name").as_deref(), Some("web-1"));
    ready.answer(&Outcome::Delivered);
    assert!((&mut receipt).now_or_never().is_none());
    waiting.answer(&Outcome::retry("later"));
    assert!(matches!(receipt.await, Outcome::Retry { .. }));
}

/// What would wait while too much does goes on at once, and is counted.
#[tokio::test(start_paused = true)]
async fn the_hold_has_a_bound() {
    let metadata = cluster();
    let mut options = Options::default();
    let payload = || logs(&[("k8s.pod.uid", &uid(9))], 0..2);
    options.hold.max_size.0 = payload().len() as u64 * 3;
    let transform = transform(&metadata, &options);
    let mut run = companion(&transform);
    let mut receipts = Vec::new();
    for _ in 0..5 {
        receipts.push(feed(&run, payload(), None).await);
    }
    for _ in 0..2 {
        next(&mut run).await.answer(&Outcome::Delivered);
    }
    nothing_yet(&mut run).await;
    assert_eq!((count(&transform, "records_unmatched_hold_full"), run.account.line().held), (4, 6));
    for _ in 0..3 {
        next(&mut run).await.answer(&Outcome::Delivered);
    }
    assert_eq!(run.account.line().held, 0);
    let _receipt = feed(&run, logs(&[("k8s.pod.uid", &uid(8))], 0..2), None).await;
    nothing_yet(&mut run).await;
    assert_eq!(run.account.line().held, 2, "there is room again");
}

/// While the process drains nothing is held, and what was held goes on.
#[tokio::test(start_paused = true)]
async fn draining_lets_go() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let mut run = companion(&transform);
    let unknown = uid(9);
    let _first = feed(&run, logs(&[("k8s.pod.uid", &*unknown)], 0..1), None).await;
    nothing_yet(&mut run).await;
    let began = Instant::now();
    run.draining.cancel();
    next(&mut run).await.answer(&Outcome::Delivered);
    let _second = feed(&run, logs(&[("k8s.pod.uid", &*unknown)], 1..2), None).await;
    next(&mut run).await.answer(&Outcome::Delivered);
    assert_eq!((began.elapsed(), count(&transform, "records_unmatched_draining")), (Duration::ZERO, 2));
    drop(run.feed);
    within("the end", run.ended).await.unwrap().unwrap();
    run.account.line().check().unwrap();
}

/// Before the first lists are complete nobody is unknown for good: everything waits, but not for ever.
#[tokio::test(start_paused = true)]
async fn waits_for_the_first_lists() {
    let metadata = cluster();
    let transform = KubernetesAttributes::new(&Options::default(), Arc::clone(&metadata));
    let mut run = companion(&transform);
    let _first = feed(&run, logs(&[("k8s.pod.uid", &uid(1))], 0..1), None).await;
    pass(SECOND).await;
    nothing_yet(&mut run).await;
    metadata.put(pod(1, "10.0.0.1"));
    metadata.complete();
    assert_eq!(value(&next(&mut run).await, "k8s.pod.name").as_deref(), Some("web-1"));
}

/// Data that came a while before it reaches the companion is not waited for beyond its time, while nothing was listed.
#[tokio::test(start_paused = true)]
async fn what_came_late_waits_for_the_rest_of_its_time() {
    let metadata = cluster();
    let transform = KubernetesAttributes::new(&Options::default(), Arc::clone(&metadata));
    let mut run = companion(&transform);
    let batch = sent_by(peer("10.0.0.1", SECOND), &[]);
    let began = Instant::now();
    pass(SECOND).await;
    run.feed.send(batch).await;
    next(&mut run).await.answer(&Outcome::Delivered);
    let waited = began.elapsed().as_millis();
    assert!((5000..5100).contains(&waited), "{waited} ms");
}

/// Pods are waited for as soon as they were listed, though nodes or namespaces never are: nobody grants the right to.
#[tokio::test(start_paused = true)]
async fn pods_are_waited_for_without_their_places() {
    let metadata = cluster();
    let transform = KubernetesAttributes::new(&Options::default(), Arc::clone(&metadata));
    metadata.complete_pods();
    let mut run = companion(&transform);
    pass(8 * SECOND).await;
    let _receipt = feed(&run, logs(&[("k8s.pod.uid", &uid(1))], 0..1), None).await;
    nothing_yet(&mut run).await;
    metadata.put(pod(1, "10.0.0.1"));
    assert_eq!(value(&next(&mut run).await, "k8s.pod.name").as_deref(), Some("web-1"));
    let unknown = logs(&[("k8s.pod.uid", &uid(2))], 0..1);
    assert_eq!(apply(&transform, Batch::unacknowledged(unknown.clone())).handed_over.len(), 1);
    pass(6 * SECOND).await;
    assert_eq!(apply(&transform, Batch::unacknowledged(unknown)).emitted.len(), 1, "it was waited for once");
}

/// However many pods somebody names that there are not, a new pod is waited for by its connection; and those that were named
/// make room for others in the end.
#[tokio::test(start_paused = true)]
async fn invented_pods_take_no_room_from_new_ones() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let names = |number: u32| Batch::unacknowledged(logs(&[("k8s.pod.uid", &*uid(number))], 0..1));
    for number in 0..8192 {
        assert_eq!(apply(&transform, names(number)).handed_over.len(), 1, "{number}");
    }
    assert_eq!(apply(&transform, names(8192)).emitted.len(), 1, "nobody keeps more than that in mind");
    let new = peer("10.0.0.1", Duration::ZERO);
    assert_eq!(apply(&transform, sent_by(new, &[])).handed_over.len(), 1);
    pass(306 * SECOND).await;
    assert_eq!(apply(&transform, names(8192)).handed_over.len(), 1);
}

/// What is prepared for a pod is prepared anew when the pod, its node or its namespace changes.
#[tokio::test]
async fn changes_are_seen() {
    let metadata = cluster();
    let options = Options { namespace_labels: ["team".to_owned()].into(), ..Options::default() };
    let transform = transform(&metadata, &options);
    metadata.put(pod(1, "10.0.0.1"));
    let ask = |key: &str| {
        let batch = Batch::unacknowledged(logs(&[("k8s.pod.uid", &*uid(1))], 0..1));
        value(&apply(&transform, batch).emitted[0].1, key)
    };
    assert_eq!((ask("host.type"), ask("k8s.namespace.label.team")), (Some("m5.large".into()), Some("a".into())));
    let labels = json!({ "node.kubernetes.io/instance-type": "m6" });
    metadata.put(json!({ "kind": "Node", "metadata": { "name": "node-1", "uid": "u", "labels": labels } }));
    metadata.put(json!({ "kind": "Namespace", "metadata": { "name": "shop", "uid": "n", "labels": { "team": "b" } } }));
    let mut renamed = pod(1, "10.0.0.1");
    renamed["metadata"]["labels"]["app.kubernetes.io/name"] = json!("till");
    metadata.put(renamed);
    assert_eq!((ask("host.type"), ask("k8s.namespace.label.team")), (Some("m6".into()), Some("b".into())));
    assert_eq!(ask("service.name").as_deref(), Some("till"));
}
