//! The objects of a large cluster, as many as asked for, and the same ones every time: pods of some 8 KiB as charts and
//! injectors make them, of Deployments, DaemonSets, StatefulSets and CronJobs, on nodes of three zones.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// Pods of a Deployment.
const REPLICAS: usize = 3;
/// Of ten pods, so many are of Deployments; one each is of a DaemonSet, a StatefulSet and a CronJob.
const OF_DEPLOYMENTS: usize = 7;
const PODS_A_NODE: usize = 50;
const NAMESPACES: usize = 40;
const TEAMS: usize = 20;
/// Letters that Kubernetes makes names and hashes of.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SERVICES: [&str; 6] = ["checkout", "catalogue", "payments", "frontend", "shipping", "accounts"];
const ZONES: [&str; 3] = ["eu-central-1a", "eu-central-1b", "eu-central-1c"];
/// Settings in the environment of a container: with them a pod has 8 KiB, of which managed fields are two fifths.
const VARIABLES: usize = 3;
/// Where pods have their addresses; nodes have theirs in the network behind it.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
const FIRST_NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);

/// How many objects of each kind there are.
#[derive(Debug, Clone, Copy)]
pub struct Census {
    /// Pods.
    pub pods: usize,
    /// ReplicaSets, old ones of every Deployment included.
    pub replica_sets: usize,
    /// The minute since 1970 at which the CronJobs were due.
    due: u64,
}

/// A pod that can be created.
#[derive(Debug)]
pub struct Pod {
    /// Where it is created.
    pub collection: String,
    /// Its own path.
    pub path: String,
    /// What is created.
    pub object: Value,
    /// What its kubelet says about it then.
    pub status: Value,
}

impl Census {
    /// So many pods and ReplicaSets; the CronJobs are due now.
    pub fn new(pods: usize, replica_sets: usize) -> Census {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
        Census { pods, replica_sets, due: since.as_secs() / 60 }
    }

    /// How many nodes these pods are on.
    pub fn nodes(&self) -> usize {
        self.pods.div_ceil(PODS_A_NODE)
    }

    /// The names of all namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = String> {
        (0..NAMESPACES).map(namespace_of)
    }

    /// A namespace by its name.
    pub fn namespace(&self, name: &str) -> Value {
        json!({ "metadata": { "name": name, "labels": { "example.com/cost-centre": "4711", "example.com/stage": "production" } } })
    }

    /// A node by its number.
    pub fn node(&self, number: usize) -> Value {
        json!({
            "metadata": {
                "name": node_name(number),
                "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/os": "linux",
                    "node.kubernetes.io/instance-type": "m6i.4xlarge",
                    "topology.kubernetes.io/region": "eu-central-1",
                    "topology.kubernetes.io/zone": ZONES[number % ZONES.len()],
                },
            },
            "spec": { "providerID": format!("aws:///{}/i-{number:017x}", ZONES[number % ZONES.len()]) },
        })
    }

    /// A ReplicaSet by its number, and where it is created.
    pub fn replica_set(&self, number: usize) -> (String, Value) {
        let deployments = (self.pods / 10 * OF_DEPLOYMENTS).div_ceil(REPLICAS).max(1);
        let workload = Workload::deployment(number % deployments);
        let hash = template_hash(workload.number, number / deployments);
        let labels = json!({ "app.kubernetes.io/name": workload.name, "pod-template-hash": hash });
        let object = json!({
            "metadata": {
                "name": format!("{}-{hash}", workload.name),
                "labels": labels,
                "annotations": { "deployment.kubernetes.io/revision": (number / deployments + 1).to_string() },
            },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "app", "image": workload.image() }] },
                },
            },
        });
        (format!("/apis/apps/v1/namespaces/{}/replicasets", namespace_of(workload.number)), object)
    }

    /// A pod by its number.
    pub fn pod(&self, number: usize) -> Pod {
        let mut random = StdRng::seed_from_u64(number as u64);
        let (workload, hash) = self.workload_of(number);
        let namespace = namespace_of(workload.number);
        let name = match workload.kind {
            "StatefulSet" => format!("{}-{}", workload.owner, number / 10 % REPLICAS),
            _ => format!("{}-{}", workload.owner, letters(&mut random, 5)),
        };
        let mut labels = json!({
            "app.kubernetes.io/name": workload.name,
            "app.kubernetes.io/instance": workload.name,
            "app.kubernetes.io/version": workload.version(),
            "app.kubernetes.io/component": "server",
            "app.kubernetes.io/part-of": "shop",
            "app.kubernetes.io/managed-by": "Helm",
            "helm.sh/chart": format!("{}-{}", workload.name, workload.version()),
            "team": format!("team-{}", workload.number % TEAMS),
            "service.istio.io/canonical-name": workload.name,
            "security.istio.io/tlsMode": "istio",
        });
        if let Some(hash) = hash {
            labels["pod-template-hash"] = hash.into();
        }
        let node = number / PODS_A_NODE;
        let collection = format!("/api/v1/namespaces/{namespace}/pods");
        Pod {
            path: format!("{collection}/{name}"),
            collection,
            object: json!({
                "metadata": {
                    "name": name,
                    "labels": labels,
                    "annotations": annotations(&mut random),
                    "ownerReferences": [{
                        "apiVersion": if workload.kind == "Job" { "batch/v1" } else { "apps/v1" },
                        "kind": workload.kind,
                        "name": workload.owner,
                        "uid": uuid(&mut random),
                        "controller": true,
                        "blockOwnerDeletion": true,
                    }],
                },
                "spec": spec(&mut random, &workload, node),
            }),
            status: status(&mut random, number, node),
        }
    }

    /// The workload of a pod and, of a Deployment, the hash of its template.
    fn workload_of(&self, number: usize) -> (Workload, Option<String>) {
        let (ten, place) = (number / 10, number % 10);
        let other = |kind, name: String, owner: String| (Workload { number: ten, name, kind, owner }, None);
        match place {
            0..OF_DEPLOYMENTS => {
                let workload = Workload::deployment((ten * OF_DEPLOYMENTS + place) / REPLICAS);
                let hash = template_hash(workload.number, 0);
                (workload, Some(hash))
            }
            7 => {
                let name = format!("node-agent-{:02}", ten % 20);
                other("DaemonSet", name.clone(), name)
            }
            8 => {
                let name = format!("database-{:04}", ten / REPLICAS);
                let (mut workload, hash) = other("StatefulSet", name.clone(), name);
                workload.number = ten / REPLICAS;
                (workload, hash)
            }
            _ => {
                let name = format!("report-{ten:04}");
                let owner = format!("{name}-{}", self.due);
                other("Job", name, owner)
            }
        }
    }
}

/// What keeps pods running.
struct Workload {
    number: usize,
    name: String,
    kind: &'static str,
    /// The owner of the pods by name.
    owner: String,
}

impl Workload {
    fn deployment(number: usize) -> Workload {
        let name = format!("{}-service-{number:04}", SERVICES[number % SERVICES.len()]);
        let owner = format!("{name}-{}", template_hash(number, 0));
        Workload { number, name, kind: "ReplicaSet", owner }
    }

    fn version(&self) -> String {
        format!("1.{}.{}", self.number % 40, self.number % 9)
    }

    fn image(&self) -> String {
        format!("registry.example.com/shop/{}:{}", self.name, self.version())
    }
}

fn namespace_of(workload: usize) -> String {
    format!("shop-{:02}", workload % NAMESPACES)
}

fn node_name(number: usize) -> String {
    format!("ip-10-128-{}-{}.eu-central-1.compute.internal", number / 250, number % 250)
}

fn template_hash(workload: usize, revision: usize) -> String {
    letters(&mut StdRng::seed_from_u64((workload * 1000 + revision) as u64), 10)
}

fn letters(random: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

fn hex(random: &mut StdRng, bytes: usize) -> String {
    let mut list = vec![0; bytes];
    random.fill_bytes(&mut list);
    list.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid(random: &mut StdRng) -> String {
    let digits = hex(random, 16);
    format!("{}-{}-4{}-a{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..])
}

/// The address of a pod or node by its number: none is the first or last of a network of 256.
fn address(first: Ipv4Addr, number: usize) -> IpAddr {
    let offset = number / 250 * 256 + number % 250 + 1;
    Ipv4Addr::from_bits(first.to_bits() + u32::try_from(offset).expect("there are not so many addresses")).into()
}

fn annotations(random: &mut StdRng) -> Value {
    json!({
        "checksum/config": hex(random, 32),
        "checksum/secret": hex(random, 32),
        "kubectl.kubernetes.io/default-container": "app",
        "kubectl.kubernetes.io/restartedAt": "2026-01-01T08:15:00Z",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "15020",
        "prometheus.io/path": "/stats/prometheus",
        "istio.io/rev": "default",
        "sidecar.istio.io/status": json!({
            "initContainers": ["istio-init"],
            "containers": ["istio-proxy"],
            "volumes": ["workload-socket", "credential-socket", "workload-certs", "istio-envoy", "istio-data", "istio-token"],
            "imagePullSecrets": null,
            "revision": "default",
        }).to_string(),
    })
}

fn spec(random: &mut StdRng, workload: &Workload, node: usize) -> Value {
    let probe = json!({ "httpGet": { "path": "/readyz", "port": 8080 }, "periodSeconds": 10, "timeoutSeconds": 2 });
    let mounts = json!([
        { "name": "config", "mountPath": "/etc/shop", "readOnly": true },
        { "name": "scratch", "mountPath": "/tmp" },
    ]);
    let setting = |number: usize| json!({ "name": format!("SHOP_SETTING_{number:02}"), "value": hex(random, 12) });
    let mut variables: Vec<_> = (0..VARIABLES).map(setting).collect();
    variables.push(json!({ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }));
    json!({
        "nodeName": node_name(node),
        "containers": [
            {
                "name": "app",
                "image": workload.image(),
                "args": ["--config=/etc/shop/config.yaml", "--log-format=json", "--listen=:8080"],
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "env": variables,
                "resources": { "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "memory": "512Mi" } },
                "readinessProbe": probe,
                "volumeMounts": mounts,
            },
            {
                "name": "istio-proxy",
                "image": "registry.example.com/istio/proxyv2:1.28.1-distroless",
                "args": ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local"],
                "resources": { "requests": { "cpu": "10m" } },
            },
        ],
        "volumes": [
            { "name": "config", "configMap": { "name": workload.name } },
            { "name": "scratch", "emptyDir": {} },
        ],
    })
}

fn status(random: &mut StdRng, number: usize, node: usize) -> Value {
    let since = "2026-01-01T08:15:30Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": since });
    let container = |name: &str, random: &mut StdRng| {
        json!({
            "name": name,
            "image": format!("registry.example.com/shop/{name}"),
            "imageID": format!("registry.example.com/shop/{name}@sha256:{}", hex(random, 32)),
            "containerID": format!("containerd://{}", hex(random, 32)),
            "ready": true,
            "restartCount": 0,
            "started": true,
            "state": { "running": { "startedAt": since } },
        })
    };
    let own = address(FIRST_ADDRESS, number);
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let containers = ["app", "istio-proxy"].map(|name| container(name, random));
    json!({
        "phase": "Running",
        "conditions": conditions,
        "hostIP": address(FIRST_NODE_ADDRESS, node),
        "podIP": own,
        "podIPs": [{ "ip": own }],
        "startTime": since,
        "containerStatuses": containers,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// No two pods share a path or an address, and a pod is the same whenever it is asked for.
    #[test]
    fn pods_differ() {
        let census = Census::new(2000, 0);
        let pods: Vec<_> = (0..census.pods).map(|number| census.pod(number)).collect();
        let paths: HashSet<_> = pods.iter().map(|pod| pod.path.clone()).collect();
        let addresses: HashSet<_> = pods.iter().map(|pod| pod.status["podIP"].to_string()).collect();
        assert_eq!((paths.len(), addresses.len()), (2000, 2000));
        assert_eq!(census.pod(7).object, pods[7].object);
    }

    /// The pods of a Deployment name a ReplicaSet that exists, whose name ends in the hash that is their label.
    #[test]
    fn pods_of_deployments_have_replica_sets() {
        let census = Census::new(200, 100);
        let names: HashSet<_> =
            (0..100).map(|number| census.replica_set(number).1["metadata"]["name"].to_string()).collect();
        assert_eq!(names.len(), 100);
        let owned = (0..200)
            .map(|number| census.pod(number).object)
            .filter(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet");
        let mut count = 0;
        for pod in owned {
            let meta = &pod["metadata"];
            let owner = meta["ownerReferences"][0]["name"].as_str().expect("it has a name");
            let hash = meta["labels"]["pod-template-hash"].as_str().expect("it has a hash");
            assert!(owner.ends_with(hash) && names.contains(&format!("{owner:?}")), "{owner}");
            count += 1;
        }
        assert_eq!(count, 140);
    }
}
