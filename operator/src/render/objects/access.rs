//! Who an engine is in the cluster and what it may read there: of pods, nodes and namespaces what data is enriched with, and
//! nothing of Secrets. Nothing may be written.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use kube::core::DynamicObject;

use super::{cluster_metadata, metadata, namespace_of, object};
use crate::role::Role;
use crate::settings::Settings;

pub(super) fn objects(role: Role, settings: &Settings) -> Vec<DynamicObject> {
    let account = ServiceAccount {
        metadata: metadata(role, role.name(), settings),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let cluster_role = ClusterRole {
        metadata: cluster_metadata(role, role.name(), settings),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["namespaces".to_owned(), "nodes".to_owned(), "pods".to_owned()]),
            verbs: vec!["get".to_owned(), "list".to_owned(), "watch".to_owned()],
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    };
    let binding = ClusterRoleBinding {
        metadata: cluster_metadata(role, role.name(), settings),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: role.name().to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: role.name().to_owned(),
            namespace: Some(namespace_of(role, settings).to_owned()),
            ..Subject::default()
        }]),
    };
    vec![object(&account), object(&cluster_role), object(&binding)]
}
