//! Names of services by both strategies.

use engine_config::transforms::kubernetes_attributes::ServiceNames;
use serde_json::Value;

use super::*;

/// What becomes of a resource of a pod with these labels, annotations and owner.
fn named(service: ServiceNames, change: impl FnOnce(&mut Value), resource: &[(&str, &str)]) -> Batch {
    let metadata = cluster();
    let transform = transform(&metadata, &Options { service, ..Options::default() });
    let mut object = pod(1, "10.0.0.1");
    change(&mut object);
    metadata.put(object);
    let own = uid(1);
    let attributes: Vec<(&str, &str)> = resource.iter().copied().chain([("k8s.pod.uid", &*own)]).collect();
    let applied = apply(&transform, Batch::unacknowledged(logs(&attributes, 0..1)));
    let Applied { mut emitted, .. } = applied;
    emitted.pop().unwrap().1
}

fn name(service: ServiceNames, change: impl FnOnce(&mut Value), resource: &[(&str, &str)]) -> Option<String> {
    value(&named(service, change, resource), "service.name")
}

fn labels(object: &mut Value, labels: Value) {
    let all = object["metadata"]["labels"].as_object_mut().unwrap();
    all.extend(labels.as_object().unwrap().clone());
}

fn owned_by(object: &mut Value, kind: &str, group: &str, name: &str) {
    object["metadata"]["ownerReferences"] = json!([{ "apiVersion": group, "kind": kind, "name": name, "uid": "o" }]);
}

/// By the conventions: annotation, then labels, then workloads, then the pod; a name that says nothing is replaced, another
/// one stays.
#[tokio::test]
async fn by_the_conventions() {
    let by = |change: &dyn Fn(&mut Value)| name(ServiceNames::SemanticConventions, change, &[]).unwrap();
    let annotate = |object: &mut Value| {
        object["metadata"]["annotations"] = json!({ "resource.opentelemetry.io/service.name": "said" });
    };
    let all = json!({ "app.kubernetes.io/instance": "instance", "app.kubernetes.io/name": "name" });
    assert_eq!(by(&|object| (annotate(object), labels(object, all.clone())).0), "said");
    assert_eq!(by(&|object| labels(object, all.clone())), "instance");
    assert_eq!(by(&|object| labels(object, json!({ "app.kubernetes.io/name": "name" }))), "name");
    assert_eq!(by(&|_| ()), "web");
    assert_eq!(by(&|object| labels(object, json!({ "pod-template-hash": "x" }))), "web-5d8f7c9b6d");
    assert_eq!(by(&|object| owned_by(object, "StatefulSet", "apps/v1", "db")), "db");
    assert_eq!(by(&|object| owned_by(object, "Job", "batch/v1", "import")), "import");
    assert_eq!(by(&|object| owned_by(object, "Other", "x/v1", "x")), "web-1");
    for (before, after) in [
        ("", "web"),
        ("unknown_service", "web"),
        ("unknown_service:java", "web"),
        ("unknown_services", "unknown_services"),
        ("till", "till"),
    ] {
        let found = name(ServiceNames::SemanticConventions, |_| (), &[("service.name", before)]);
        assert_eq!(found.as_deref(), Some(after), "{before}");
    }
}

/// Version, instance and namespace of a service; the container is the one that the resource names.
#[tokio::test]
async fn the_rest_by_the_conventions() {
    let two = |object: &mut Value| {
        let containers = json!([{ "name": "main", "image": "web:1.2" }, { "name": "side", "image": "side:3" }]);
        object["spec"]["containers"] = containers;
    };
    let conventions = ServiceNames::SemanticConventions;
    let unnamed = named(conventions, two, &[]);
    assert_eq!((value(&unnamed, "service.version"), value(&unnamed, "service.instance.id")), (None, None));
    let side = named(conventions, two, &[("k8s.container.name", "side")]);
    assert_eq!(value(&side, "service.version").as_deref(), Some("3"));
    assert_eq!(value(&side, "service.instance.id").as_deref(), Some("shop.web-1.side"));
    let labelled = named(conventions, |object| labels(object, json!({ "app.kubernetes.io/version": "9" })), &[]);
    assert_eq!(value(&labelled, "service.version").as_deref(), Some("9"));
}

/// Annotations say attributes, but not what the cluster says itself, and no marks: whoever may annotate a pod may not
/// pretend to be in another namespace.
#[tokio::test]
async fn annotations_say_what_they_may() {
    let annotate = |object: &mut Value| {
        object["metadata"]["annotations"] = json!({
            "resource.opentelemetry.io/service.version": "said",
            "resource.opentelemetry.io/deployment.environment.name": "staging",
            "resource.opentelemetry.io/k8s.namespace.name": "pay",
            "resource.opentelemetry.io/k8s.job.name": "pay",
            "resource.opentelemetry.io/telemetry_engine.mark.input": "host",
            "resource.opentelemetry.io/cloud.region": "moon",
            "resource.opentelemetry.io/": "x",
        });
    };
    let after = named(ServiceNames::SemanticConventions, annotate, &[]);
    let found = |key: &str| value(&after, key);
    assert_eq!(found("service.version").as_deref(), Some("said"));
    assert_eq!(found("deployment.environment.name").as_deref(), Some("staging"));
    assert_eq!(found("k8s.namespace.name").as_deref(), Some("shop"));
    assert_eq!(found("cloud.region").as_deref(), Some("eu-central-1"));
    assert_eq!([found("k8s.job.name"), found("telemetry_engine.mark.input"), found("")], [None, None, None]);
}

/// By the labels of apps: only the name; labels, then workloads, then the pod, and `unknown_service` where there is none.
#[tokio::test]
async fn by_app_labels() {
    let by = |change: &dyn Fn(&mut Value)| name(ServiceNames::AppLabels, change, &[]).unwrap();
    let no_app = |object: &mut Value| drop(object["metadata"]["labels"].as_object_mut().unwrap().remove("app"));
    assert_eq!(by(&|object| labels(object, json!({ "app.kubernetes.io/name": "name" }))), "name");
    assert_eq!(by(&|object| labels(object, json!({ "app": "shop-web" }))), "shop-web");
    assert_eq!(by(&no_app), "web");
    assert_eq!(by(&|object| (no_app(object), owned_by(object, "DaemonSet", "apps/v1", "agent")).1), "agent");
    assert_eq!(by(&|object| (no_app(object), owned_by(object, "Job", "batch/v1", "import")).1), "import");
    assert_eq!(by(&|object| (no_app(object), owned_by(object, "Other", "x/v1", "x")).1), "web-1");
    let known = name(ServiceNames::AppLabels, |_| (), &[("service.name", "till")]);
    assert_eq!(known.as_deref(), Some("till"));
    assert_eq!(value(&named(ServiceNames::AppLabels, |_| (), &[]), "service.version"), None);

    let metadata = cluster();
    let transform = transform(&metadata, &Options { service: ServiceNames::AppLabels, ..Options::default() });
    let of_nobody = apply(&transform, Batch::unacknowledged(logs(&[], 0..1)));
    assert_eq!(value(&of_nobody.emitted[0].1, "service.name").as_deref(), Some("unknown_service"));
}

/// Not asked for, nothing of services is touched.
#[tokio::test]
async fn not_at_all() {
    let after = named(ServiceNames::None, |_| (), &[("service.name", "unknown_service")]);
    assert_eq!(value(&after, "service.name").as_deref(), Some("unknown_service"));
    assert_eq!(value(&after, "service.namespace"), None);
}
