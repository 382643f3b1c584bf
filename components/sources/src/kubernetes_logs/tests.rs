//! Which containers are read, and what their records say of them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use engine_config::sources::KubernetesLogs;
use engine_config::sources::reading::{Chosen, FileAttribute};
use engine_config::{ComponentId, KubernetesSettings, SignalSet};
use engine_core::batch::Batch;
use engine_core::budget::Budget;
use engine_core::outcome::Outcome;
use engine_core::registry::{BuildContext, BuildSource as _};
use engine_core::service::Services;
use engine_core::socket::Sockets;
use engine_core::state_store::StateDirectory;
use engine_core::test_kit::{run_source, within};
use kubernetes::Metadata;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use otlp::Payload;
use prost::Message;
use serde_json::json;

use super::KubernetesLogsSource;
use super::own::OwnPod;
use super::pods::{Consent, Container, Pods};
use crate::tail::{Decision, Selection};

/// Agrees with containers of one name.
struct Only(&'static str);

impl Consent for Only {
    fn is_collected(&self, container: &Container<'_>) -> Decision {
        if container.container == self.0 { Decision::Collect } else { Decision::Unknown }
    }
}

fn pods(options: &KubernetesLogs) -> Pods {
    Pods::new(options, OwnPod::default(), Box::new(Only("app"))).unwrap()
}

fn chosen(include: &[&str], exclude: &[&str]) -> Chosen {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Chosen { include: owned(include), exclude: owned(exclude) }
}

/// Everything in a batch.
fn text(batch: &Batch) -> String {
    let Payload::Wire(wire) = batch.payload() else { panic!("the source sends bytes") };
    format!("{:?}", wire.decode())
}

const LOG: &str = "/var/log/pods/shop_cart-7d4b_0f1e2d3c/app/3.log";

/// What is in the path of a log is in its Resource, by the names of the semantic conventions.
#[test]
fn the_resource_is_in_the_path() {
    let options = KubernetesLogs { attributes: [FileAttribute::Path].into(), ..KubernetesLogs::default() };
    let description = pods(&options).log(Path::new(LOG)).unwrap();
    let resource = ResourceLogs::decode(description.resource).unwrap().resource.unwrap();
    let attributes: Vec<_> = resource
        .attributes
        .into_iter()
        .map(|attribute| match attribute.value.unwrap().value.unwrap() {
            Value::StringValue(text) => (attribute.key, text),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "cart-7d4b"),
        ("k8s.pod.uid", "0f1e2d3c"),
        ("k8s.container.name", "app"),
        ("k8s.container.restart_count", "3"),
    ];
    assert_eq!(attributes, expected.map(|(key, text)| (key.to_owned(), text.to_owned())));
    let text = String::from_utf8_lossy(&description.attributes).into_owned();
    assert!(text.contains("log.file.path") && text.contains(LOG), "{text:?}");
}

/// Only the files that the kubelet calls logs are logs.
#[test]
fn what_is_no_log() {
    let pods = pods(&KubernetesLogs::default());
    for path in [
        "/var/log/pods/shop_cart-7d4b_0f1e2d3c/app/3.log.20261130-101500",
        "/var/log/pods/shop_cart-7d4b_0f1e2d3c/app/3.log.20261130-101500.gz",
        "/var/log/pods/shop_cart-7d4b_0f1e2d3c/app/x.log",
        "/var/log/pods/shop_cart-7d4b_0f1e2d3c/app/.log",
        "/var/log/pods/shop_cart-7d4b_0f1e2d3c/app/deep/3.log",
        "/var/log/pods/shop_cart-7d4b_0f1e2d3c/3.log",
        "/var/log/pods/shop_cart-7d4b/app/3.log",
        "/var/log/pods/a_b_c_d/app/3.log",
        "/var/log/pods/_b_c/app/3.log",
        "/var/log/other/shop_cart-7d4b_0f1e2d3c/app/3.log",
    ] {
        assert!(pods.log(Path::new(path)).is_none(), "{path}");
    }
}

/// Namespaces and containers are chosen by name, an exclusion counts more, and directories of others are not entered.
#[test]
fn namespaces_and_containers_are_chosen() {
    for (namespaces, containers, is_read, is_pod_entered) in [
        (chosen(&[], &[]), chosen(&[], &[]), true, true),
        (chosen(&["shop"], &[]), chosen(&["a*"], &[]), true, true),
        (chosen(&["sh?p"], &["shop"]), chosen(&[], &[]), false, false),
        (chosen(&["pay"], &[]), chosen(&[], &[]), false, false),
        (chosen(&[], &[]), chosen(&[], &["app"]), false, true),
        (chosen(&[], &["kube-*"]), chosen(&["istio-proxy"], &[]), false, true),
    ] {
        let options = KubernetesLogs { namespaces, containers, ..KubernetesLogs::default() };
        let pods = pods(&options);
        let container = Path::new(LOG).parent().unwrap();
        assert_eq!(pods.log(Path::new(LOG)).is_some(), is_read, "{options:?}");
        assert_eq!(pods.enters(container), is_read, "{options:?}");
        assert_eq!(pods.enters(container.parent().unwrap()), is_pod_entered, "{options:?}");
    }
    let pods = pods(&KubernetesLogs::default());
    for (directory, is_entered) in [("/", true), ("/var/log", true), ("/var/log/pods", true), ("/var/lib", false)] {
        assert_eq!(pods.enters(Path::new(directory)), is_entered, "{directory}");
    }
    assert!(!pods.enters(&Path::new(LOG).parent().unwrap().join("deep")));
}

/// What decides beyond the options is asked for each container.
#[test]
fn consent_is_asked_for() {
    let pods = pods(&KubernetesLogs::default());
    assert_eq!(pods.decide(Path::new(LOG)), Decision::Collect);
    assert_eq!(pods.decide(Path::new(&LOG.replace("/app/", "/sidecar/"))), Decision::Unknown);
    assert_eq!(pods.decide(Path::new("/var/log/pods")), Decision::Skip);
}

/// With the option, pods that have the annotation are left out, and what becomes known of a pod in time decides. Without it
/// no cluster is asked, so none has to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_opt_out() {
    const KEY: &str = "example.com/no-logs";
    let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let uid = |number: u8| format!("0f1e2d3c-0000-4000-8000-{number:012}");
    let write = |number: u8| {
        let folder = logs.path().join(format!("shop_cart-{number}_{}", uid(number))).join("app");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("0.log"), format!("2026-11-30T10:15:00Z stdout F pod {number}\n")).unwrap();
    };
    let pod = |number: u8, value: &str| {
        let meta = json!({ "name": "cart", "namespace": "shop", "uid": uid(number), "annotations": { KEY: value } });
        json!({ "kind": "Pod", "metadata": meta })
    };
    let (threads, lanes) = engine_core::test_kit::lanes(1);
    let services = Services::default().with("", StateDirectory::take(state.path()).unwrap());
    let context = |services: Services| BuildContext {
        id: ComponentId::new("tested").unwrap(),
        lanes: lanes.clone(),
        services,
        signals: SignalSet::LOGS,
    };
    let options = KubernetesLogs { directory: logs.path().to_owned(), ..KubernetesLogs::default() };
    KubernetesLogsSource::build(&options, &context(services.clone())).unwrap();

    let options = KubernetesLogs { opt_out_annotation: Some(KEY.to_owned()), ..options };
    let services = services.with("", Metadata::by_hand(KubernetesSettings::default()));
    let metadata = services.get::<Metadata>("").unwrap();
    (1..=3).for_each(write);
    let source = Box::new(KubernetesLogsSource::build(&options, &context(services)).unwrap());
    metadata.put(pod(1, "true"));
    metadata.put(pod(2, "false"));
    metadata.complete();
    let mut run = run_source("tested", source, Sockets::default(), Budget::new(64 << 20));
    let batch = within("a batch", run.batches.next()).await.unwrap();
    let found = text(&batch);
    assert!(found.contains("pod 2") && !found.contains("pod 1") && !found.contains("pod 3"), "{found}");
    batch.answer(&Outcome::Delivered);
    metadata.put(pod(3, "sidecar"));
    let batch = within("another batch", run.batches.next()).await.unwrap();
    let found = text(&batch);
    assert!(found.contains("pod 3") && !found.contains("pod 1") && batch.records() == 1, "{found}");
    batch.answer(&Outcome::Delivered);
    assert_eq!(run.telemetry.read().own["logs_left_out"], 1);
    run.drain.cancel();
    within("the source ends", &mut run.ended).await.unwrap().unwrap();
    threads.stop();
}

/// The own pod is left out, its directories too.
#[test]
fn own_logs_are_left_out() {
    let own = OwnPod::named("shop", "cart-7d4b");
    let pods = Pods::new(&KubernetesLogs::default(), own, Box::new(Only("app"))).unwrap();
    assert!(pods.log(Path::new(LOG)).is_none());
    assert!(!pods.enters(Path::new(LOG).parent().unwrap().parent().unwrap()));
    assert!(pods.log(Path::new(&LOG.replace("cart-7d4b", "cart-8e5c"))).is_some());
}
