//! The log gateway with volumes, from the first pipeline that asks for disk to the last one that does not: the manager and the
//! controllers of a real control plane, with pods whose kubelet and engine are this test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cluster::faults::{Fault, Gate, Rule};
use cluster::wait_until;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Api, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use telemetry_manager::render::config::STATUS_PORT;
use tokio::net::TcpListener;

use crate::ground::{Ground, LIMIT};
use crate::{Keeping, apply, object};

const GATEWAY: &str = "telemetry-log-gateway";
const RECEIVES: &str = "telemetry.kyma-project.io/receives";
/// The Telemetry objects, as the manager watches them.
const TELEMETRIES: &str = "/apis/operator.kyma-project.io/v1beta1/telemetries";
/// The class of the volumes, which is of the cluster and so has a name that nobody else's has.
const CLASS: &str = "durable-test";

/// What the engines of this test say, by their pods.
#[derive(Clone, Default)]
struct Engines(Arc<Mutex<BTreeMap<String, Engine>>>);

#[derive(Clone, Copy, Default)]
struct Engine {
    /// Records that it holds.
    holds: u64,
    /// How often it was asked.
    asked: usize,
}

impl Engines {
    /// Has an engine answer at this address, as the one of a pod.
    async fn serve(&self, pod: &str, address: Ipv4Addr) {
        let listener = TcpListener::bind(SocketAddr::from((address, STATUS_PORT))).await.unwrap();
        let (all, pod) = (Arc::clone(&self.0), pod.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, pod) = (Arc::clone(&all), pod.clone());
                let service = service_fn(move |_: Request<Incoming>| {
                    let status = {
                        let mut all = all.lock();
                        let engine = all.entry(pod.clone()).or_default();
                        engine.asked += 1;
                        status(engine.holds)
                    };
                    async move { Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(status)))) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
    }

    fn hold(&self, pod: &str, records: u64) {
        self.0.lock().entry(pod.to_owned()).or_default().holds = records;
    }

    /// Waits until a pod was asked again, and again: what it said the first time was acted upon by then.
    async fn asked_again(&self, pod: &str) {
        let asked = || self.0.lock().get(pod).map_or(0, |engine| engine.asked);
        let before = asked();
        wait_until(&format!("{pod} is asked"), LIMIT, async || (asked() >= before + 3).then_some(())).await.unwrap();
    }
}

/// The status of an engine that holds so many records of one pipeline on disk.
fn status(held: u64) -> String {
    let buffer =
        json!({ "used_bytes": 0, "max_bytes": 1 << 20, "disk_used_bytes": 6 << 20, "disk_max_bytes": 8 << 20 });
    let sink = json!({ "ledger": { "held": { "on_disk": held } }, "buffer": buffer });
    json!({
        "version": "0", "config_hash": "", "phase": "running", "ready": true,
        "components": [{ "id": "shop_backend", "kind": "sink", "type": "otlp", "pipeline": "shop", "sink": sink }],
        "orphaned_buffers": [{ "identity": "a-uid", "used_bytes": 4096, "records": 2 }],
    })
    .to_string()
}

/// What this test looks at and changes.
struct Gateway<'g> {
    ground: &'g Ground,
    engines: Engines,
    served: Vec<String>,
    pods: Api<Pod>,
    claims: Api<PersistentVolumeClaim>,
    stateful_sets: Api<StatefulSet>,
    deployments: Api<Deployment>,
}

impl<'g> Gateway<'g> {
    fn new(ground: &'g Ground) -> Self {
        let (client, namespace) = (&ground.client, ground.settings.namespace.as_str());
        Self {
            ground,
            engines: Engines::default(),
            served: Vec::new(),
            pods: Api::namespaced(client.clone(), namespace),
            claims: Api::namespaced(client.clone(), namespace),
            stateful_sets: Api::namespaced(client.clone(), namespace),
            deployments: Api::namespaced(client.clone(), namespace),
        }
    }

    /// The pipeline with this buffer.
    async fn pipeline(&self, buffer: Value) {
        let output = json!({ "otlp": { "endpoint": { "value": "http://192.0.2.1:4317" }, "buffer": buffer } });
        apply(&self.ground.client, &object("LogPipeline", "shop", json!({ "output": output })), Keeping::Object)
            .await
            .unwrap();
    }

    fn telemetries(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("operator.kyma-project.io", "v1beta1", "Telemetry");
        let resource = ApiResource::from_gvk_with_plural(&kind, "telemetries");
        Api::namespaced_with(self.ground.client.clone(), &self.ground.settings.namespace, &resource)
    }

    /// So many pods.
    async fn module(&self, pods: u32) {
        let spec = json!({
            "log": { "gateway": { "scaling": { "static": { "replicas": pods } } } }, "storage": { "class": CLASS },
        });
        let module = object("Telemetry", "default", spec);
        let parameters = PatchParams::apply("tests").force();
        self.telemetries().patch("default", &parameters, &Patch::Apply(module)).await.unwrap();
    }

    /// Waits until a condition of the module's volumes has this reason.
    async fn storage(&self, reason: &str) -> Value {
        let what = format!("the module says {reason}");
        self.until(&what, async || {
            let found = self.telemetries().get("default").await.unwrap();
            let conditions = found.data["status"]["conditions"].as_array()?;
            let condition = conditions.iter().find(|condition| condition["type"] == "StorageHealthy")?;
            (condition["reason"] == reason).then(|| found.data["status"].clone())
        })
        .await
    }

    async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        match wait_until(what, LIMIT, look).await {
            Ok(found) => found,
            Err(error) => panic!("{error}\n{}", self.told().await),
        }
    }

    /// What there is, for the one who has to find out what went wrong.
    async fn told(&self) -> String {
        let pipelines = crate::objects(&self.ground.client, "LogPipeline");
        let objects = [self.telemetries().get_opt("default").await, pipelines.get_opt("shop").await];
        let mut all: Vec<Value> = objects.into_iter().flatten().flatten().map(|object| object.data).collect();
        for claim in self.claims.list(&ListParams::default()).await.unwrap() {
            all.push(json!({ "claim": claim.name_any(), "spec": claim.spec, "status": claim.status }));
        }
        for pod in self.pods.list(&ListParams::default()).await.unwrap() {
            let ends = pod.metadata.deletion_timestamp.is_some();
            all.push(json!({ "pod": pod.name_any(), "labels": pod.labels(), "ends": ends, "status": pod.status }));
        }
        for set in self.stateful_sets.list(&ListParams::default()).await.unwrap() {
            all.push(json!({ "stateful_set": set.name_any(), "uid": set.uid(), "status": set.status }));
        }
        let lines: Vec<String> = all.iter().map(Value::to_string).collect();
        lines.join("\n")
    }

    async fn stateful_set(&self) -> Option<StatefulSet> {
        self.stateful_sets.get_opt(GATEWAY).await.unwrap().filter(|found| found.metadata.deletion_timestamp.is_none())
    }

    async fn has_deployment(&self) -> bool {
        let found = self.deployments.get_opt(GATEWAY).await.unwrap();
        found.is_some_and(|found| found.metadata.deletion_timestamp.is_none())
    }

    /// Waits for pods of the gateway, with volumes or without, and does what their kubelet and engine would: they run.
    async fn run(&mut self, count: usize, with_volumes: bool) -> Vec<String> {
        let selection = ListParams::default().labels(&format!("app.kubernetes.io/name={GATEWAY}"));
        let pods = self.pods.clone();
        let found = self
            .until("pods are made", async || {
                let pods = pods.list(&selection).await.unwrap().items;
                let is_meant = |pod: &Pod| {
                    pod.labels().contains_key("statefulset.kubernetes.io/pod-name") == with_volumes
                        && pod.metadata.deletion_timestamp.is_none()
                };
                let pods: Vec<Pod> = pods.into_iter().filter(is_meant).collect();
                (pods.len() == count).then_some(pods)
            })
            .await;
        for pod in &found {
            let name = pod.name_any();
            let number = self.served.iter().position(|served| *served == name).unwrap_or(self.served.len());
            // An address of this process alone: the port is the same for all engines.
            let [.., high, low] = std::process::id().to_be_bytes();
            let address = Ipv4Addr::new(127, high, low, 10 + u8::try_from(number).unwrap());
            if number == self.served.len() {
                self.served.push(name.clone());
                self.engines.serve(&name, address).await;
            }
            let ready = json!([{ "type": "Ready", "status": "True" }, { "type": "PodScheduled", "status": "True" }]);
            let status =
                json!({ "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }], "conditions": ready });
            let patch = Patch::Merge(json!({ "status": status }));
            pods.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        }
        let mut names: Vec<String> = found.iter().map(|pod| pod.name_any()).collect();
        names.sort();
        names
    }

    /// Whether Services send to a pod.
    async fn receives(&self, pod: &str) -> bool {
        self.pods.get(pod).await.unwrap().labels().contains_key(RECEIVES)
    }

    async fn is_narrowed(&self) -> bool {
        let services: Api<Service> = Api::namespaced(self.ground.client.clone(), &self.ground.settings.namespace);
        let service = services.get("telemetry-otlp-logs").await.unwrap();
        service.spec.and_then(|spec| spec.selector).is_some_and(|selector| selector.contains_key(RECEIVES))
    }

    /// Sizes that claims ask for, in order.
    async fn requests(&self) -> Vec<String> {
        let mut claims = self.claims.list(&ListParams::default()).await.unwrap().items;
        claims.sort_by_key(|claim| claim.name_any());
        let size =
            |claim: PersistentVolumeClaim| claim.spec?.resources?.requests?.get("storage").map(|size| size.0.clone());
        claims.into_iter().filter_map(size).collect()
    }

    /// A class whose volumes can grow or not, and as many volumes of 2 GiB as there are.
    async fn class(&self, grows: bool, volumes: usize) {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": CLASS },
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate", "allowVolumeExpansion": grows,
        });
        let client = &self.ground.client;
        let classes: Api<StorageClass> = Api::all(client.clone());
        classes.patch(CLASS, &PatchParams::apply("tests").force(), &Patch::Apply(class)).await.unwrap();
        let all: Api<PersistentVolume> = Api::all(client.clone());
        for number in 0..volumes {
            let volume = json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": format!("{CLASS}-{number}") },
                "spec": {
                    "capacity": { "storage": "2Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
                    "hostPath": { "path": "/nowhere" },
                },
            });
            let volume = serde_json::from_value(volume).unwrap();
            all.create(&PostParams::default(), &volume).await.unwrap();
        }
    }

    async fn without_class(&self, volumes: usize) {
        let client = &self.ground.client;
        Api::<StorageClass>::all(client.clone()).delete(CLASS, &DeleteParams::default()).await.unwrap();
        for number in 0..volumes {
            let name = format!("{CLASS}-{number}");
            Api::<PersistentVolume>::all(client.clone()).delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }
}

/// Pods with volumes take over from those without when they run; claims grow where their class lets them, and the StatefulSet is
/// made anew around its pods; where it does not, that is told and nothing is done. Pods that are too many get no more data and go
/// when they hold nothing; so do all of them when no pipeline asks for disk any more. Claims stay, and are told.
#[tokio::test]
async fn volumes_come_grow_and_are_left() {
    let Some((ground, manager)) = Ground::new().await else { return };
    let mut gateway = Gateway::new(&ground);
    gateway.class(true, 2).await;
    gateway.module(2).await;
    gateway.pipeline(json!({ "type": "disk", "maxSize": "8Mi" })).await;
    gateway.until("there is a StatefulSet", async || gateway.stateful_set().await).await;
    gateway.storage("StorageWaits").await;
    assert!(gateway.has_deployment().await, "pods without volumes stay until those with volumes run");
    let pods = gateway.run(2, true).await;
    assert_eq!(pods, ["telemetry-log-gateway-0", "telemetry-log-gateway-1"]);
    gateway.until("those without volumes go", async || (!gateway.has_deployment().await).then_some(())).await;
    let status = gateway.storage("StorageLeftOver").await["storage"].clone();
    assert_eq!(status["leftOverBuffers"][0]["uid"], "a-uid");
    assert_eq!((&status["leftOverBuffers"][0]["records"], &status["leftOverClaims"]), (&json!(4), &Value::Null));
    let fill = gateway
        .until("the pipeline says how full its buffer is", async || {
            let logs = crate::objects(&ground.client, "LogPipeline").get("shop").await.unwrap();
            let buffer = &logs.data["status"]["buffer"];
            (buffer["pods"]["reporting"] == 2).then(|| buffer.clone())
        })
        .await;
    assert_eq!((&fill["used"], &fill["max"]), (&json!("12Mi"), &json!("16Mi")));

    let first = gateway.stateful_set().await.unwrap();
    let uids =
        async || (gateway.pods.get(&pods[0]).await.unwrap().uid(), gateway.pods.get(&pods[1]).await.unwrap().uid());
    let before = uids().await;
    assert_eq!(gateway.requests().await, ["1Gi", "1Gi"]);
    // A claim has more than it asked for: its volume has 2 GiB.
    gateway.pipeline(json!({ "type": "disk", "maxSize": "4Gi" })).await;
    gateway.until("claims are to grow", async || (gateway.requests().await == ["5Gi", "5Gi"]).then_some(())).await;
    let second = gateway
        .until("there is another StatefulSet", async || {
            gateway.stateful_set().await.filter(|found| found.uid() != first.uid())
        })
        .await;
    gateway.class(false, 0).await;
    gateway.pipeline(json!({ "type": "disk", "maxSize": "8Gi" })).await;
    let told = gateway.storage("VolumeCannotGrow").await;
    assert!(told.to_string().contains("state-telemetry-log-gateway-0"), "{told}");
    assert_eq!(gateway.requests().await, ["5Gi", "5Gi"]);
    assert_eq!(gateway.stateful_set().await.unwrap().uid(), second.uid());
    assert_eq!(uids().await, before, "no pod was another one");

    gateway.engines.hold(&pods[1], 5);
    gateway.module(1).await;
    gateway.until("the last one gets no more data", async || (!gateway.receives(&pods[1]).await).then_some(())).await;
    assert!(gateway.is_narrowed().await && gateway.receives(&pods[0]).await);
    gateway.engines.asked_again(&pods[1]).await;
    assert_eq!(gateway.stateful_set().await.unwrap().spec.replicas, Some(2));
    gateway.engines.hold(&pods[1], 0);
    let replicas = async || (gateway.stateful_set().await?.spec.replicas == Some(1)).then_some(());
    gateway.until("the last one goes", replicas).await;
    gateway.until("Services are as before", async || (!gateway.is_narrowed().await).then_some(())).await;

    gateway.engines.hold(&pods[0], 9);
    gateway.pipeline(json!({ "type": "memory" })).await;
    gateway.run(1, false).await;
    gateway.until("the first one gets no more data", async || (!gateway.receives(&pods[0]).await).then_some(())).await;
    gateway.engines.asked_again(&pods[0]).await;
    assert!(gateway.stateful_set().await.is_some() && gateway.is_narrowed().await);
    gateway.engines.hold(&pods[0], 0);
    gateway.until("those with volumes go", async || gateway.stateful_set().await.is_none().then_some(())).await;
    let left = gateway
        .until("the module tells of both claims", async || {
            let status = gateway.telemetries().get("default").await.unwrap().data["status"]["storage"].clone();
            (status["leftOverClaims"].as_array().map(Vec::len) == Some(2)).then_some(status)
        })
        .await;
    assert_eq!(left["leftOverClaims"][0]["name"], "state-telemetry-log-gateway-0");
    assert_eq!(gateway.requests().await.len(), 2, "no claim was deleted");

    // What has no kubelet ends only so.
    let now = DeleteParams::default().grace_period(0);
    gateway.pods.delete_collection(&now, &ListParams::default()).await.unwrap();
    gateway.telemetries().delete("default", &DeleteParams::default()).await.unwrap();
    gateway.without_class(2).await;
    ground.end(manager).await;
}

/// News of the module come later than those of a pipeline that was made behind it: the first volumes wait for them, because a volume
/// keeps the class that it is made with.
#[tokio::test]
async fn the_first_volumes_wait_for_the_module() {
    let Some((ground, manager)) = Ground::new().await else { return };
    let gateway = Gateway::new(&ground);
    let gate = Gate::closed();
    let held = ground.proxy.add(Rule::new(Fault::Held(gate.clone())).path(TELEMETRIES).watches());
    ground.proxy.cut_all();
    gateway.until("no news of the module come", async || (held.count() > 0).then_some(())).await;
    gateway.module(1).await;
    gateway.pipeline(json!({ "type": "disk", "maxSize": "8Mi" })).await;
    ground.asked("/telemetries/default", 2).await;
    assert!(gateway.stateful_set().await.is_none(), "{}", gateway.told().await);
    gate.open();
    let classes = async || {
        let claims = gateway.claims.list(&ListParams::default()).await.unwrap().items;
        let classes: Vec<_> =
            claims.into_iter().map(|claim| claim.spec.and_then(|spec| spec.storage_class_name)).collect();
        (!classes.is_empty()).then_some(classes)
    };
    assert_eq!(gateway.until("there are claims", classes).await, [Some(CLASS.to_owned())]);
    gateway.telemetries().delete("default", &DeleteParams::default()).await.unwrap();
    ground.end(manager).await;
}
