//! The kinds of objects that are made, and their order.
//!
//! Not here: any other kind. What is not in this list cannot be applied, because it would not be watched and never be taken
//! away.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::core::PartialObjectMeta;

/// The order in which objects are made; they are taken away in the reverse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Where the others are.
    Namespaces,
    /// Who workloads are and what may be allowed.
    Access,
    /// Who may what, which the API server judges by what is there already.
    Bindings,
    /// What workloads read.
    Files,
    /// How workloads are reached.
    Services,
    /// Who may reach them.
    NetworkPolicies,
    /// How many of their pods may be away.
    DisruptionBudgets,
    /// What runs.
    Workloads,
    /// Who changes how many pods of them run.
    Autoscalers,
}

/// A kind of object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) name: &'static str,
    pub(super) plural: &'static str,
    pub(super) is_namespaced: bool,
    /// Whether pods can be added and taken away.
    pub(super) is_scalable: bool,
    /// Whether its pods stay when it goes, and another one of its name adopts them. Most of its fields can never change.
    pub(super) is_replaceable: bool,
    pub(super) phase: Phase,
}

/// One kind in one namespace, or in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Scope {
    /// Position in [`KINDS`].
    kind: usize,
    pub(super) namespace: Option<String>,
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// All kinds.
pub(super) const KINDS: [Kind; 14] = [
    cluster("", "Namespace", "namespaces", Phase::Namespaces),
    namespaced("", "v1", "ServiceAccount", "serviceaccounts", Phase::Access),
    cluster(RBAC, "ClusterRole", "clusterroles", Phase::Access),
    cluster(RBAC, "ClusterRoleBinding", "clusterrolebindings", Phase::Bindings),
    namespaced(RBAC, "v1", "Role", "roles", Phase::Access),
    namespaced(RBAC, "v1", "RoleBinding", "rolebindings", Phase::Bindings),
    namespaced("", "v1", "Secret", "secrets", Phase::Files),
    namespaced("", "v1", "Service", "services", Phase::Services),
    namespaced("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", Phase::NetworkPolicies),
    namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", Phase::DisruptionBudgets),
    scalable("Deployment", "deployments"),
    Kind { is_replaceable: true, ..scalable("StatefulSet", "statefulsets") },
    namespaced("apps", "v1", "DaemonSet", "daemonsets", Phase::Workloads),
    namespaced("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", Phase::Autoscalers),
];

const fn namespaced(
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
    phase: Phase,
) -> Kind {
    Kind { group, version, name, plural, is_namespaced: true, is_scalable: false, is_replaceable: false, phase }
}

const fn cluster(group: &'static str, name: &'static str, plural: &'static str, phase: Phase) -> Kind {
    Kind { group, version: "v1", name, plural, is_namespaced: false, is_scalable: false, is_replaceable: false, phase }
}

const fn scalable(name: &'static str, plural: &'static str) -> Kind {
    let phase = Phase::Workloads;
    Kind {
        group: "apps",
        version: "v1",
        name,
        plural,
        is_namespaced: true,
        is_scalable: true,
        is_replaceable: false,
        phase,
    }
}

/// Everything that is watched: the kinds of the cluster once, the others in each namespace.
pub(super) fn scopes(namespaces: &[String]) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for (kind, about) in KINDS.iter().enumerate() {
        if about.is_namespaced {
            scopes.extend(namespaces.iter().map(|namespace| Scope { kind, namespace: Some(namespace.clone()) }));
        } else {
            scopes.push(Scope { kind, namespace: None });
        }
    }
    scopes
}

impl Kind {
    /// `group/version`, or the version alone.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}

impl Scope {
    /// Where objects of this kind are; nothing for a kind that is not made here.
    pub(super) fn of(api_version: &str, kind: &str, namespace: Option<&str>) -> Option<Self> {
        let is_it = |about: &Kind| about.name == kind && about.api_version() == api_version;
        let kind = KINDS.iter().position(is_it)?;
        let namespace = namespace.filter(|_| KINDS[kind].is_namespaced).map(str::to_owned);
        Some(Self { kind, namespace })
    }

    pub(super) fn kind(&self) -> &'static Kind {
        &KINDS[self.kind]
    }

    /// Whole objects.
    pub(super) fn objects(&self, client: &Client) -> Api<DynamicObject> {
        let resource = self.kind().resource();
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }

    /// The same without anything but their metadata.
    pub(super) fn metadata(&self, client: &Client) -> Api<PartialObjectMeta<DynamicObject>> {
        let resource = self.kind().resource();
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }
}
