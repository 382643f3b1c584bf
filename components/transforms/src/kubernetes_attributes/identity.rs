//! What a resource says of itself, read in one pass.

use std::net::IpAddr;

use kubernetes::{Pod, Uid};
use otlp::{ResourceView, ValueView};

use super::prepared::ServiceName;

/// What a resource says of itself.
#[derive(Debug, Default)]
pub(super) struct Identity<'r> {
    pub(super) uid: Option<Uid>,
    pub(super) address: Option<IpAddr>,
    pub(super) container: Option<&'r str>,
    service: &'r str,
    pod: Option<&'r str>,
    namespace: Option<&'r str>,
    node: Option<&'r str>,
}

impl<'r> Identity<'r> {
    pub(super) fn of(resource: &ResourceView<'r>) -> Self {
        let mut identity = Self::default();
        for attribute in resource.attributes() {
            // Most keys are told by one comparison.
            if !attribute.key.starts_with("k8s.") && attribute.key != "service.name" {
                continue;
            }
            let ValueView::Str(text) = attribute.value else { continue };
            if text.is_empty() {
                continue;
            }
            match attribute.key {
                "k8s.pod.uid" => identity.uid = identity.uid.or_else(|| Uid::parse(text)),
                "k8s.pod.ip" => identity.address = identity.address.or_else(|| text.parse().ok()),
                "k8s.container.name" => identity.container = identity.container.or(Some(text)),
                "k8s.pod.name" => identity.pod = identity.pod.or(Some(text)),
                "k8s.namespace.name" => identity.namespace = identity.namespace.or(Some(text)),
                "k8s.node.name" => identity.node = identity.node.or(Some(text)),
                "service.name" if identity.service.is_empty() => identity.service = text,
                _ => {}
            }
        }
        identity
    }

    /// Whether the resource names its service. An SDK that was told no name says `unknown_service`, some with a colon and
    /// the program.
    pub(super) fn service_name(&self) -> ServiceName {
        match self.service.strip_prefix("unknown_service") {
            Some(rest) if rest.is_empty() || rest.starts_with(':') => ServiceName::Unknown,
            _ if self.service.is_empty() => ServiceName::Unknown,
            _ => ServiceName::Known,
        }
    }

    /// Whether the pod that an address leads to can be what the resource is about. Whoever reports on others, such as on a
    /// node or on other pods, says their names.
    pub(super) fn agrees_with(&self, pod: &Pod) -> bool {
        let agrees = |named: Option<&str>, name: &str| named.is_none_or(|named| named == name);
        // Who says a node and neither a pod nor a service reports on the node.
        let is_of_a_node = self.node.is_some() && self.pod.is_none() && self.service_name() == ServiceName::Unknown;
        !is_of_a_node
            && agrees(self.pod, &pod.name)
            && agrees(self.namespace, &pod.namespace)
            && self.node.is_none_or(|node| pod.node.as_deref() == Some(node))
    }
}
