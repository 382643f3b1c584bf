//! What pods may do on their node and over the network: those of every role, and the manager's own.

use std::path::Path;

use serde_json::{Value, json};
use telemetry_manager::manifests;
use telemetry_manager::plan::plan;

use crate::cases::inputs;

/// The objects of all roles.
fn objects() -> Vec<Value> {
    objects_of("all_kinds_may_have_one_name")
}

fn objects_of(case: &str) -> Vec<Value> {
    let input = inputs().into_iter().find(|(name, _)| name == case).unwrap().1;
    plan(&input).objects.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
}

fn installed(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(file);
    manifests::read(&[path]).unwrap().into_iter().map(manifests::Document::into_value).collect()
}

fn of_kind(kind: &str) -> Vec<Value> {
    objects().into_iter().filter(|object| object["kind"] == kind).collect()
}

/// Asserts what the level `restricted` of pod security asks of a container, and a read-only root besides.
fn is_restricted(container: &Value) {
    let context = &container["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
    assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
    assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{container}");
    assert_ne!(context["privileged"], true, "{container}");
}

/// The StatefulSet of the log gateway.
fn with_volumes() -> Option<Value> {
    objects_of("objects_of_a_log_pipeline_on_disk").into_iter().find(|object| object["kind"] == "StatefulSet")
}

fn is_nobody(pod: &Value) {
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true, "{pod}");
    assert_eq!(context["runAsUser"], 65532, "{pod}");
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{pod}");
    assert_ne!(pod["hostNetwork"], true);
    assert_ne!(pod["hostPID"], true);
    assert_ne!(pod["hostIPC"], true);
}

/// Gateways and the manager are restricted, and their namespace lets nobody in who is not.
#[test]
fn gateways_are_restricted() {
    let manager = installed("manager/deployment.yaml");
    let deployments: Vec<Value> = of_kind("Deployment")
        .into_iter()
        .chain(manager.into_iter().filter(|object| object["kind"] == "Deployment"))
        .chain(with_volumes())
        .collect();
    assert_eq!(deployments.len(), 5);
    for deployment in &deployments {
        let pod = &deployment["spec"]["template"]["spec"];
        is_nobody(pod);
        assert!(pod["initContainers"].is_null(), "{pod}");
        for container in pod["containers"].as_array().unwrap() {
            is_restricted(container);
            assert!(container["securityContext"]["capabilities"]["add"].is_null(), "{container}");
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            assert!(volume["hostPath"].is_null(), "{volume}");
        }
    }
    let namespaces = installed("manager/namespaces.yaml");
    let level = |name: &str| {
        let namespace = namespaces.iter().find(|object| object["metadata"]["name"] == name).unwrap();
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"].clone()
    };
    assert_eq!(level("telemetry-system"), "restricted");
    assert_eq!(level("telemetry-agents"), "privileged");
}

/// Agents see the logs of their node, read-only, and one directory of their own. Only who hands that directory over, before
/// the engine runs, is root, and may do nothing but that.
#[test]
fn agents_see_logs_and_their_state() {
    let agents = of_kind("DaemonSet");
    assert_eq!(agents.len(), 1);
    let pod = &agents[0]["spec"]["template"]["spec"];
    is_nobody(pod);
    assert_eq!(pod["securityContext"]["runAsGroup"], 0, "the group that may read logs");
    let host: Vec<&Value> =
        pod["volumes"].as_array().unwrap().iter().filter(|volume| !volume["hostPath"].is_null()).collect();
    let paths: Vec<&str> = host.iter().map(|volume| volume["hostPath"]["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/var/lib/telemetry-log-agent", "/var/log"]);
    let engine = &pod["containers"][0];
    is_restricted(engine);
    assert!(engine["securityContext"]["capabilities"]["add"].is_null());
    let logs = engine["volumeMounts"].as_array().unwrap().iter().find(|mount| mount["name"] == "logs").unwrap();
    assert_eq!(logs["readOnly"], true);
    let preparing = pod["initContainers"].as_array().unwrap();
    assert_eq!(preparing.len(), 1);
    is_restricted(&preparing[0]);
    assert_eq!(preparing[0]["securityContext"]["capabilities"]["add"], json!(["CHOWN"]));
    let mounts = preparing[0]["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.iter().map(|mount| mount["name"].as_str().unwrap()).collect::<Vec<_>>(), ["state"]);
}

/// One reader of a node's positions at a time; no gateway goes before another has come.
#[test]
fn rollouts_keep_somebody_there() {
    let agent = &of_kind("DaemonSet")[0]["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!(*agent, json!({ "maxSurge": 0, "maxUnavailable": 1 }));
    for gateway in of_kind("Deployment") {
        assert_eq!(gateway["spec"]["strategy"]["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
        let grace = gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap();
        assert!(grace >= 10 + 30, "shutdown delay and drain: {grace}");
    }
}

/// What is on a volume is the engine's own, and survives whoever takes its pod or its StatefulSet away. Nobody but the engine's
/// group may read it.
#[test]
fn volumes_outlive_their_pods() {
    let spec = &with_volumes().unwrap()["spec"];
    let retained = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], retained);
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["securityContext"]["fsGroup"], 65532);
    let volume = &spec["volumeClaimTemplates"][0]["metadata"]["name"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["name"] == *volume).unwrap();
    assert_eq!(mount["mountPath"], "/var/lib/telemetry-engine");
    assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() >= 10 + 30, "shutdown delay and drain");
    let kinds: Vec<Value> =
        objects_of("objects_of_a_log_pipeline_on_disk").iter().map(|it| it["kind"].clone()).collect();
    assert!(!kinds.contains(&json!("Deployment")) && !kinds.contains(&json!("HorizontalPodAutoscaler")), "{kinds:?}");
    assert!(kinds.contains(&json!("PodDisruptionBudget")), "{kinds:?}");
}

/// Credentials are in the one Secret of a role, which its engine mounts, readable for its group alone; nothing of them is in a
/// pod template, a variable or an argument. The administration server is on loopback.
#[test]
fn credentials_are_in_one_secret() {
    let mut all = objects();
    all.extend(with_volumes());
    let workloads = ["Deployment", "StatefulSet", "DaemonSet"];
    for workload in all.iter().filter(|object| workloads.contains(&object["kind"].as_str().unwrap())) {
        let pod = &workload["spec"]["template"]["spec"];
        let config = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "config").unwrap();
        assert_eq!(config["secret"]["defaultMode"], 0o440);
        for container in pod["containers"].as_array().unwrap() {
            let variables = container["env"].as_array().unwrap();
            assert!(variables.iter().all(|variable| variable["valueFrom"]["fieldRef"].is_object()), "{variables:?}");
        }
    }
    assert!(!all.iter().any(|object| object["kind"] == "ConfigMap"));
    for (name, input) in inputs() {
        for config in plan(&input).configs.into_values() {
            assert!(!config.toml.contains("[admin]"), "{name}: the administration server is where it is by default");
            assert!(!config.toml.contains("open sesame"), "{name}: a secret stands in a configuration");
        }
    }
}

/// Service accounts mount no token by themselves; the pods that look at the cluster ask for theirs.
#[test]
fn tokens_are_mounted_where_used() {
    let accounts = of_kind("ServiceAccount");
    assert_eq!(accounts.len(), 4);
    assert!(accounts.iter().all(|account| account["automountServiceAccountToken"] == false));
    for workload in of_kind("Deployment").iter().chain(&of_kind("DaemonSet")) {
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], true);
        assert_eq!(pod["serviceAccountName"], workload["metadata"]["name"]);
    }
}

/// Who may send to a gateway is a choice: where namespaces are named, their pods and nobody else.
#[test]
fn clients_can_be_named() {
    let of = |name: &str| {
        let input = inputs().into_iter().find(|(case, _)| case == name).unwrap().1;
        let objects = plan(&input).objects.into_iter().map(|object| serde_json::to_value(object).unwrap());
        let policy = objects.into_iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
        policy["spec"]["ingress"][1].clone()
    };
    assert!(of("objects_of_a_trace_pipeline")["from"].is_null(), "everybody");
    let named = of("objects_of_a_gateway_for_some_namespaces");
    let expected = json!([{ "namespaceSelector": { "matchExpressions": [
        { "key": "kubernetes.io/metadata.name", "operator": "In", "values": ["payments", "shop"] },
    ] } }]);
    assert_eq!(named["from"], expected);
}

/// Nobody talks to anybody in both namespaces but for what policies allow: applications to gateways, agents to the log
/// gateway at a port of their own, the manager to ask how engines are; agents to names, the API server and the gateway.
/// Gateways may send anywhere: where backends are is told by their pipelines.
#[test]
fn networks_are_closed() {
    let policies = installed("manager/network-policies.yaml");
    for namespace in ["telemetry-system", "telemetry-agents"] {
        let closed = policies.iter().find(|object| {
            object["metadata"]["name"] == "telemetry-default-deny" && object["metadata"]["namespace"] == namespace
        });
        let spec = &closed.unwrap()["spec"];
        assert_eq!(*spec, json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] }), "{namespace}");
    }
    let ports = |rules: &Value| {
        let of = |rule: &Value| {
            let peers = if rule["from"].is_null() && rule["to"].is_null() { "anybody" } else { "named" };
            let ports: Vec<String> =
                rule["ports"].as_array().unwrap().iter().map(|port| port["port"].to_string()).collect();
            format!("{peers} {}", ports.join(" "))
        };
        rules.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    for policy in of_kind("NetworkPolicy") {
        let spec = &policy["spec"];
        assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
        let ingress = ports(&spec["ingress"]);
        let name = policy["metadata"]["name"].as_str().unwrap();
        if name == "telemetry-log-agent" {
            assert_eq!(ingress, ["named 8888"]);
            let names = "53 53 5353 5353 8053 8053";
            assert_eq!(
                ports(&spec["egress"]),
                [format!("anybody {names} 443 6443 8443 16443"), "named 4319".to_owned()]
            );
            continue;
        }
        assert_eq!(spec["egress"], json!([{}]), "backends are anywhere");
        let agents = (name == "telemetry-log-gateway").then_some("named 4319");
        let expected: Vec<&str> = ["named 8888", "anybody 4317 4318"].into_iter().chain(agents).collect();
        assert_eq!(ingress, expected);
    }
}

/// Where a gateway may send to is a choice too: names, the API server, and what its pipelines name. What is in the cluster is
/// named by its namespace, what is outside by its port, and addresses of the link, where clouds tell credentials, by nobody.
#[test]
fn egress_can_follow_the_backends() {
    let case = "objects_of_gateways_that_send_to_their_backends";
    let input = inputs().into_iter().find(|(name, _)| name == case).unwrap().1;
    let objects = plan(&input).objects.into_iter().map(|object| serde_json::to_value(object).unwrap());
    let policy = objects.into_iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
    let namespace = |name: &str| {
        json!([{ "namespaceSelector": { "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "In", "values": [name] },
        ] } }])
    };
    let outside = json!([
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"] } },
        { "ipBlock": { "cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::254/128"] } },
    ]);
    let at = |port: u16| json!([{ "port": port, "protocol": "TCP" }]);
    let egress = policy["spec"]["egress"].as_array().unwrap();
    let needs: Vec<_> = egress[0]["ports"].as_array().unwrap().iter().map(|port| port["port"].to_string()).collect();
    assert_eq!(needs.join(" "), "53 53 5353 5353 8053 8053 443 6443 8443 16443");
    let expected = [
        json!({ "to": [{ "ipBlock": { "cidr": "192.0.2.7/32" } }], "ports": at(4317) }),
        json!({ "to": namespace("shop") }),
        json!({ "to": outside, "ports": at(4317) }),
        json!({ "to": namespace("shop") }),
        json!({ "to": outside, "ports": at(8443) }),
        json!({ "to": outside, "ports": at(443) }),
    ];
    for rule in &expected {
        assert!(egress[1..].contains(rule), "{rule} is missing in {egress:#?}");
    }
    assert_eq!(egress.len(), 1 + 5, "each once: {egress:#?}");
}
