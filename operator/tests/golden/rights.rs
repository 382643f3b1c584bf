//! Rights: what engines and the manager may do in a cluster, and that it is nothing else. A new right is a change of these
//! tests.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use telemetry_manager::manifests;
use telemetry_manager::plan::plan;

use crate::cases::inputs;

/// One line for each right: where, which group and kind, which names, which verbs.
fn rights(object: &Value) -> Vec<String> {
    let place = match (object["kind"].as_str().unwrap(), object["metadata"]["namespace"].as_str()) {
        ("ClusterRole", _) => "everywhere".to_owned(),
        (_, namespace) => format!("in {}", namespace.unwrap()),
    };
    let texts = |value: &Value| {
        let values = value.as_array().cloned().unwrap_or_default();
        values.iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for rule in object["rules"].as_array().unwrap() {
        let names = texts(&rule["resourceNames"]);
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(" ")) };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                lines.push(format!("{place}: {group}/{resource}{names}: {}", texts(&rule["verbs"]).join(" ")));
            }
        }
    }
    lines.sort();
    lines
}

/// The objects in files of `config/`.
fn installed(files: &[&str]) -> Vec<Value> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let paths: Vec<_> = files.iter().map(|file| config.join(file)).collect();
    manifests::read(&paths).unwrap().into_iter().map(manifests::Document::into_value).collect()
}

fn of_kinds<'v>(objects: &'v [Value], kinds: &[&str]) -> Vec<&'v Value> {
    objects.iter().filter(|object| kinds.contains(&object["kind"].as_str().unwrap())).collect()
}

/// Engines read pods, nodes and namespaces, and nothing else. They see no Secret but their own, which is mounted, and write
/// nothing.
#[test]
fn engines_read_what_data_is_enriched_with() {
    let mut judged = BTreeSet::new();
    for (name, input) in inputs() {
        for object in plan(&input).objects {
            let object = serde_json::to_value(object).unwrap();
            let kind = object["kind"].as_str().unwrap();
            assert!(kind != "Role" && kind != "RoleBinding", "{name}");
            if kind == "ClusterRole" {
                judged.insert(object["metadata"]["name"].as_str().unwrap().to_owned());
                let expected =
                    ["namespaces", "nodes", "pods"].map(|kind| format!("everywhere: /{kind}: get list watch"));
                assert_eq!(rights(&object), expected, "{name}");
            }
            if kind == "ClusterRoleBinding" {
                assert_eq!(object["roleRef"]["name"], object["metadata"]["name"], "{name}");
                assert_eq!(object["subjects"].as_array().unwrap().len(), 1, "{name}");
                assert_eq!(object["subjects"][0]["name"], object["metadata"]["name"], "{name}");
            }
        }
    }
    assert_eq!(judged.len(), 4, "{judged:?}");
}

/// The manager has these rights. It reads Secrets of its own namespaces only, changes what it makes only, and has no wildcard
/// and no right to bind, escalate, impersonate or enter a pod.
#[test]
fn the_manager_has_these_rights() {
    let objects = installed(&["rbac/manager.yaml"]);
    let all: Vec<String> = of_kinds(&objects, &["ClusterRole", "Role"]).into_iter().flat_map(rights).collect();
    let roles = "(telemetry-log-agent telemetry-log-gateway telemetry-metric-gateway telemetry-trace-router)";
    let expected = format!(
        "everywhere: /namespaces: get list watch
everywhere: /nodes: get list watch
everywhere: /pods: get list watch
everywhere: operator.kyma-project.io/telemetries/status: patch
everywhere: operator.kyma-project.io/telemetries: get list watch
everywhere: rbac.authorization.k8s.io/clusterrolebindings {roles}: patch delete
everywhere: rbac.authorization.k8s.io/clusterrolebindings: get list watch create
everywhere: rbac.authorization.k8s.io/clusterroles {roles}: patch delete
everywhere: rbac.authorization.k8s.io/clusterroles: get list watch create
everywhere: storage.k8s.io/storageclasses: get list watch
everywhere: telemetry.kyma-project.io/logpipelines/status: patch
everywhere: telemetry.kyma-project.io/logpipelines: get list watch
everywhere: telemetry.kyma-project.io/metricpipelines/status: patch
everywhere: telemetry.kyma-project.io/metricpipelines: get list watch
everywhere: telemetry.kyma-project.io/tracepipelines/status: patch
everywhere: telemetry.kyma-project.io/tracepipelines: get list watch
in telemetry-system: /persistentvolumeclaims: get list watch patch
in telemetry-system: /pods: patch
in telemetry-system: /secrets (telemetry-tokens): update
in telemetry-system: /secrets: get list watch create patch delete
in telemetry-system: /serviceaccounts: get list watch create patch delete
in telemetry-system: /services: get list watch create patch delete
in telemetry-system: apps/daemonsets: get list watch
in telemetry-system: apps/deployments/scale: get
in telemetry-system: apps/deployments: get list watch create patch delete
in telemetry-system: apps/statefulsets: get list watch create patch delete
in telemetry-system: autoscaling/horizontalpodautoscalers: get list watch create patch delete
in telemetry-system: coordination.k8s.io/leases (telemetry-manager): get update
in telemetry-system: coordination.k8s.io/leases: create
in telemetry-system: events.k8s.io/events: create patch
in telemetry-system: networking.k8s.io/networkpolicies: get list watch create patch delete
in telemetry-system: policy/poddisruptionbudgets: get list watch create patch delete
in telemetry-system: rbac.authorization.k8s.io/rolebindings: get list watch
in telemetry-system: rbac.authorization.k8s.io/roles: get list watch
in telemetry-agents: /secrets: get list watch create patch delete
in telemetry-agents: /serviceaccounts: get list watch create patch delete
in telemetry-agents: /services: get list watch
in telemetry-agents: apps/daemonsets: get list watch create patch delete
in telemetry-agents: apps/deployments: get list watch
in telemetry-agents: apps/statefulsets: get list watch
in telemetry-agents: autoscaling/horizontalpodautoscalers: get list watch
in telemetry-agents: networking.k8s.io/networkpolicies: get list watch create patch delete
in telemetry-agents: policy/poddisruptionbudgets: get list watch
in telemetry-agents: rbac.authorization.k8s.io/rolebindings: get list watch
in telemetry-agents: rbac.authorization.k8s.io/roles: get list watch
in default: events.k8s.io/events: create patch"
    );
    assert_eq!(all.join("\n"), expected);
    let is_banned = |line: &&String| {
        let words: Vec<&str> = line.split([' ', ':', '/']).collect();
        ["*", "bind", "escalate", "impersonate", "exec"].iter().any(|banned| words.contains(banned))
    };
    assert_eq!(all.iter().find(is_banned), None);
    assert!(
        !all.iter().any(|line| line.starts_with("everywhere: /secrets")),
        "Secrets are read where an admin allows it"
    );
}

/// The manager hands out nothing that it has not itself, so that the API server lets it without a right to escalate.
#[test]
fn the_manager_has_what_it_hands_out() {
    let objects = installed(&["rbac/manager.yaml"]);
    let own: BTreeSet<String> = of_kinds(&objects, &["ClusterRole"]).into_iter().flat_map(rights).collect();
    for (name, input) in inputs() {
        for object in plan(&input).objects {
            let object = serde_json::to_value(object).unwrap();
            if object["kind"] == "ClusterRole" {
                let missing: Vec<String> = rights(&object).into_iter().filter(|right| !own.contains(right)).collect();
                assert_eq!(missing, Vec::<String>::new(), "{name}");
            }
        }
    }
}

/// What people get with the roles that every cluster has is about pipelines and the Telemetry object only.
#[test]
fn people_get_rights_to_pipelines_only() {
    let objects = installed(&["rbac/users.yaml"]);
    for line in of_kinds(&objects, &["ClusterRole"]).into_iter().flat_map(rights) {
        assert!(line.contains("telemetry.kyma-project.io/") || line.contains("operator.kyma-project.io/"), "{line}");
        assert!(!line.contains("/status"), "the manager alone says how things are: {line}");
    }
}
