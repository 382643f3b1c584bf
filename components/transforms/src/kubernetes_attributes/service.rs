//! How a service is named by what runs it.
//!
//! The rules for `semantic_conventions` are those of the OpenTelemetry semantic conventions, "Service attributes" of
//! Kubernetes; those for `app_labels` are the usual labels of charts.

use std::borrow::Cow;

use engine_config::transforms::kubernetes_attributes::ServiceNames;
use engine_config::{KubernetesAttribute, MARK_PREFIX};
use kubernetes::{Container, OwnerKind, Pod, Wanted, value_of};
use otlp::TextEdits;

use super::prepared::owner_name;

/// How annotations begin that say attributes.
const ANNOTATION: &str = "resource.opentelemetry.io/";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
const NAME_LABEL: &str = "app.kubernetes.io/name";
const VERSION_LABEL: &str = "app.kubernetes.io/version";
const APP_LABEL: &str = "app";

/// Adds the labels and annotations that are looked at.
pub(super) fn keys_wanted(names: ServiceNames, labels: &mut Vec<String>, annotations: &mut Vec<String>) {
    let add = |keys: &[&str], to: &mut Vec<String>| to.extend(keys.iter().map(|key| (*key).to_owned()));
    match names {
        ServiceNames::SemanticConventions => {
            add(&[INSTANCE_LABEL, NAME_LABEL, VERSION_LABEL], labels);
            annotations.push(format!("{ANNOTATION}*"));
        }
        ServiceNames::AppLabels => add(&[NAME_LABEL, APP_LABEL], labels),
        ServiceNames::None => {}
    }
}

/// Whether containers are looked at.
pub(super) fn wants_containers(names: ServiceNames, wanted: &mut Wanted) {
    wanted.containers |= names == ServiceNames::SemanticConventions;
}

/// The name of the service that a pod runs.
pub(super) fn name(names: ServiceNames, pod: &Pod) -> Option<&str> {
    use KubernetesAttribute as Name;
    let label = |key| value_of(&pod.labels, key).filter(|value| !value.is_empty());
    let workload = |order: &[Name]| order.iter().find_map(|name| owner_name(pod, *name));
    match names {
        ServiceNames::SemanticConventions => {
            let said = annotation(pod, "service.name").or_else(|| label(INSTANCE_LABEL)).or_else(|| label(NAME_LABEL));
            let order = [
                Name::DeploymentName,
                Name::ReplicaSetName,
                Name::StatefulSetName,
                Name::DaemonSetName,
                Name::CronJobName,
                Name::JobName,
            ];
            said.or_else(|| workload(&order)).or(Some(&pod.name))
        }
        ServiceNames::AppLabels => {
            let said = label(NAME_LABEL).or_else(|| label(APP_LABEL));
            let order = [Name::DeploymentName, Name::DaemonSetName, Name::StatefulSetName, Name::JobName];
            said.or_else(|| workload(&order)).or(Some(&pod.name))
        }
        ServiceNames::None => None,
    }
}

/// Sets the other attributes that the rules give, but for the name.
pub(super) fn others(names: ServiceNames, pod: &Pod, container: Option<&Container>, edits: &mut TextEdits) {
    if names != ServiceNames::SemanticConventions {
        return;
    }
    let label = |key| value_of(&pod.labels, key).filter(|value| !value.is_empty());
    edits.fill(&["service.namespace"], &[annotation(pod, "service.namespace").unwrap_or(&pod.namespace)]);
    let version = annotation(pod, "service.version").or_else(|| label(VERSION_LABEL));
    let of_image = || container.and_then(|container| version_of(&container.image));
    if let Some(version) = version.map(Cow::Borrowed).or_else(of_image) {
        edits.fill(&["service.version"], &[&version]);
    }
    match (annotation(pod, "service.instance.id"), container) {
        (Some(instance), _) => edits.fill(&["service.instance.id"], &[instance]),
        (None, Some(container)) => {
            edits.fill(&["service.instance.id"], &[&pod.namespace, ".", &pod.name, ".", &container.name]);
        }
        (None, None) => {}
    }
    let said = pod.annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(ANNOTATION)?, value)));
    let may_say = |key: &str| {
        // What the cluster itself says is not for the owner of a pod to say, and neither are marks.
        !key.is_empty() && !key.starts_with("k8s.") && !key.starts_with(MARK_PREFIX) && key != "service.name"
    };
    for (key, value) in said.filter(|(key, value)| may_say(key) && !value.is_empty()) {
        edits.fill(&[key], &[value]);
    }
}

fn annotation<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    let said = pod.annotations.iter().find(|(known, _)| known.strip_prefix(ANNOTATION) == Some(key));
    said.map(|(_, value)| &**value).filter(|value| !value.is_empty())
}

/// The version that the name of an image says: its tag and digest, or one of them.
fn version_of(image: &str) -> Option<Cow<'_, str>> {
    let (named, digest) = match image.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash is that of a registry's port.
    let tag = named.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match (tag.filter(|tag| !tag.is_empty()), digest) {
        (Some(tag), Some(digest)) => Some(Cow::Owned(format!("{tag}@{digest}"))),
        (tag, digest) => tag.or(digest).map(Cow::Borrowed),
    }
}

/// Whether this kind of owner has a name of this kind.
pub(super) fn is_owner(kind: OwnerKind, name: KubernetesAttribute) -> bool {
    use KubernetesAttribute as Name;
    match kind {
        OwnerKind::ReplicaSet => name == Name::ReplicaSetName,
        OwnerKind::StatefulSet => name == Name::StatefulSetName,
        OwnerKind::DaemonSet => name == Name::DaemonSetName,
        OwnerKind::Job => name == Name::JobName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions of all forms of image names.
    #[test]
    fn versions_of_images() {
        let digest = "sha256:0123";
        for (image, version) in [
            ("nginx", None),
            ("nginx:1.27", Some("1.27")),
            ("registry:5000/a/nginx", None),
            ("registry:5000/a/nginx:1.27", Some("1.27")),
            ("nginx@sha256:0123", Some(digest)),
            ("registry:5000/nginx:1.27@sha256:0123", Some("1.27@sha256:0123")),
        ] {
            assert_eq!(version_of(image).as_deref(), version, "{image}");
        }
    }
}
