//! Which containers are read, and what their records say of them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use engine_config::sources::KubernetesLogs;
use engine_config::sources::reading::{Chosen, FileAttribute};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use prost::Message;

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

/// The own pod is left out, its directories too.
#[test]
fn own_logs_are_left_out() {
    let own = OwnPod::named("shop", "cart-7d4b");
    let pods = Pods::new(&KubernetesLogs::default(), own, Box::new(Only("app"))).unwrap();
    assert!(pods.log(Path::new(LOG)).is_none());
    assert!(!pods.enters(Path::new(LOG).parent().unwrap().parent().unwrap()));
    assert!(pods.log(Path::new(&LOG.replace("cart-7d4b", "cart-8e5c"))).is_some());
}
