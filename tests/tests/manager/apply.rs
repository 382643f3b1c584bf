//! Objects are made, kept, healed and taken away, and nothing that is not ours is touched.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::faults::{Fault, Rule, When};
use cluster::{ControlPlane, FaultProxy, or_skip, wait_until};
use hyper::Method;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use telemetry_manager::apply::{APPLIED, Applier, ApplyError, OWNED_BY, ObjectRef, Ownership, Report};

/// How long a watch may take to tell of a change.
const LIMIT: Duration = Duration::from_secs(30);

/// A namespace of a test's own, and an applier that makes objects in it.
struct Ground {
    client: Client,
    namespace: String,
}

/// The ground of a test, or none where there is none to be had.
async fn ground(test: &str) -> Option<Ground> {
    let control_plane = or_skip(ControlPlane::shared().await)?;
    let client = control_plane.client().await.unwrap();
    let namespace = control_plane.namespace(test).await.unwrap();
    Some(Ground { client, namespace })
}

impl Ground {
    fn applier(&self) -> Applier {
        self.applier_of(self.client.clone())
    }

    fn applier_of(&self, client: Client) -> Applier {
        // Tests run side by side: the namespace's name also tells objects of the cluster apart.
        let ownership = Ownership { instance: self.namespace.clone(), namespaces: vec![self.namespace.clone()] };
        Applier::new(client, ownership)
    }

    fn object(&self, api_version: &str, kind: &str, name: &str, more: Value) -> DynamicObject {
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
        if !kind.starts_with("Cluster") && kind != "Namespace" {
            object["metadata"]["namespace"] = self.namespace.as_str().into();
        }
        for (key, value) in more.as_object().unwrap() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn secret(&self, name: &str) -> DynamicObject {
        self.object("v1", "Secret", name, json!({ "stringData": { "engine.toml": "version = 1" } }))
    }

    fn service(&self, name: &str) -> DynamicObject {
        self.object(
            "v1",
            "Service",
            name,
            json!({ "spec": { "selector": { "app": name }, "ports": [{ "port": 4317 }] } }),
        )
    }

    fn workload(&self, kind: &str, name: &str, replicas: Option<u32>) -> DynamicObject {
        let labels = json!({ "app": name });
        let mut spec = json!({
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "engine", "image": "registry:5000/engine:1",
                    "resources": { "limits": { "cpu": "0.5", "memory": "1024Mi" } } }] },
            },
        });
        if kind == "StatefulSet" {
            spec["serviceName"] = name.into();
            spec["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" }, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }]);
        }
        if let Some(replicas) = replicas {
            spec["replicas"] = replicas.into();
        }
        self.object("apps/v1", kind, name, json!({ "spec": spec }))
    }

    fn autoscaler(&self, name: &str) -> DynamicObject {
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": name });
        let spec = json!({ "scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5 });
        self.object("autoscaling/v2", "HorizontalPodAutoscaler", name, json!({ "spec": spec }))
    }

    /// One of every kind but namespaces.
    fn everything(&self) -> Vec<DynamicObject> {
        let cluster_name = format!("reader-{}", self.namespace);
        let role =
            |kind: &str, name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
        let subject = json!([{ "kind": "ServiceAccount", "name": "gateway", "namespace": self.namespace }]);
        let rules = json!({ "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] });
        let selector = json!({ "matchLabels": { "app": "gateway" } });
        vec![
            // The order is not the one in which they can be made.
            self.autoscaler("gateway"),
            self.workload("Deployment", "gateway", Some(2)),
            self.workload("StatefulSet", "keeper", Some(1)),
            self.workload("DaemonSet", "agent", None),
            self.object(
                "policy/v1",
                "PodDisruptionBudget",
                "gateway",
                json!({ "spec": { "selector": selector, "maxUnavailable": 1 } }),
            ),
            self.object(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                "gateway",
                json!({ "spec": { "podSelector": selector } }),
            ),
            self.service("gateway"),
            self.secret("gateway"),
            self.object(
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                "gateway",
                json!({ "roleRef": role("Role", "gateway"), "subjects": subject }),
            ),
            self.object("rbac.authorization.k8s.io/v1", "Role", "gateway", rules.clone()),
            self.object(
                "rbac.authorization.k8s.io/v1",
                "ClusterRoleBinding",
                &cluster_name,
                json!({ "roleRef": role("ClusterRole", &cluster_name), "subjects": subject }),
            ),
            self.object("rbac.authorization.k8s.io/v1", "ClusterRole", &cluster_name, rules),
            self.object("v1", "ServiceAccount", "gateway", json!({})),
        ]
    }

    fn api(&self, object: &DynamicObject) -> Api<DynamicObject> {
        let types = object.types.as_ref().unwrap();
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
        let plural = match types.kind.as_str() {
            "NetworkPolicy" => "networkpolicies".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &types.kind), &plural);
        match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn get(&self, object: &DynamicObject) -> Option<DynamicObject> {
        let found = self.api(object).get_opt(&object.name_any()).await.unwrap();
        found.filter(|found| found.metadata.deletion_timestamp.is_none())
    }

    async fn merge(&self, object: &DynamicObject, patch: Value) {
        let parameters = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        self.api(object).patch(&object.name_any(), &parameters, &Patch::Merge(patch)).await.unwrap();
    }

    /// What we have made of objects: the parts that change only when somebody writes them, not when a controller reports.
    async fn state(&self, objects: &[DynamicObject]) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        for object in objects {
            let mut found = self.get(object).await.unwrap();
            let managers = found.metadata.managed_fields.take().unwrap();
            let ours = managers.iter().find(|entry| entry.manager.as_deref() == Some("telemetry-manager"));
            let has_status = found.data.as_object_mut().unwrap().remove("status").is_some();
            // Controllers note something there in their own time, such as the revision of a Deployment.
            found.metadata.annotations.get_or_insert_default().retain(|key, _| key == APPLIED);
            let version = found.metadata.resource_version.take().filter(|_| !has_status);
            let ours = serde_json::to_string(&ours).unwrap();
            state.insert(ObjectKey(object).to_string(), format!("{version:?} {ours} {}", json!(found)));
        }
        state
    }

    async fn end(self, applier: Applier) {
        // What is of the cluster goes as everything else that is not desired.
        until_complete(&applier, &[]).await;
        let namespace = self.object("v1", "Namespace", &self.namespace, json!({}));
        drop(self.api(&namespace).delete(&self.namespace, &DeleteParams::background()).await);
    }
}

/// Applies until nothing fails. Controllers may report at the moment in which an object is taken away, which passes. Returns
/// what was written and taken away.
async fn until_complete(applier: &Applier, objects: &[DynamicObject]) -> (Vec<String>, Vec<String>) {
    let (mut written, mut pruned) = (Vec::new(), Vec::new());
    wait_until("everything is as it is desired", LIMIT, async || {
        let report = applier.apply(objects.to_vec(), |_| false).await;
        assert!(report.failed.iter().all(|(_, error)| error.is_passing()), "{:?}", report.failed);
        written.extend(names(&report.written));
        pruned.extend(names(&report.pruned));
        report.is_complete().then_some(())
    })
    .await
    .unwrap();
    (written, pruned)
}

/// An object as a report names it.
struct ObjectKey<'a>(&'a DynamicObject);

impl std::fmt::Display for ObjectKey<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.0.types.as_ref().unwrap().kind, self.0.name_any())
    }
}

fn assert_complete(report: &Report) {
    assert!(report.is_complete(), "{:?}", report.failed);
}

/// Kinds and names, in the order of the report.
fn names(references: &[ObjectRef]) -> Vec<String> {
    references.iter().map(|reference| format!("{} {}", reference.kind, reference.name)).collect()
}

async fn told(applier: &Applier) {
    tokio::time::timeout(LIMIT, applier.changed()).await.expect("a change is told");
}

/// Every kind is made, in an order that works; the same again writes nothing and asks nothing, and a manager that has
/// started anew finds everything as it is desired.
#[tokio::test]
async fn what_is_so_is_not_written() {
    let Some(ground) = ground("apply-all").await else { return };
    let control_plane = ControlPlane::shared().await.unwrap();
    let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let numbers = recorder.handle();
    let recording = metrics::set_default_local_recorder(&recorder);
    let applier = ground.applier_of(proxy.client().await.unwrap());
    let objects = ground.everything();

    let first = applier.apply(objects.clone(), |_| false).await;
    assert_complete(&first);
    assert_eq!((first.written.len(), first.unchanged.len(), first.pruned.len()), (objects.len(), 0, 0));
    let state = ground.state(&objects).await;

    let lists: Vec<_> =
        proxy.seen().into_iter().filter(|seen| seen.is_watch || seen.query.contains("limit=")).collect();
    let is_selected = |query: &str| query.contains("labelSelector=") && query.contains(&ground.namespace);
    assert!(!lists.is_empty() && lists.iter().all(|list| is_selected(&list.query)), "{lists:?}");

    let before = proxy.seen().len();
    let second = applier.apply(objects.clone(), |_| false).await;
    assert_complete(&second);
    assert_eq!((second.written.len(), second.unchanged.len()), (0, objects.len()), "{:?}", second.written);
    let writes: Vec<_> = proxy.seen().into_iter().skip(before).filter(|seen| seen.method != "GET").collect();
    assert_eq!(writes, []);
    assert_eq!(ground.state(&objects).await, state);

    let text = numbers.render();
    assert!(text.contains(r#"telemetry_manager_apply_writes_total{kind="Secret",verb="apply"} 1"#), "{text}");
    drop(recording);

    let restarted = ground.applier();
    let third = restarted.apply(objects.clone(), |_| false).await;
    assert_complete(&third);
    // An autoscaler's version also counts what it reports, so that it cannot be told from a change by us.
    let written: Vec<_> = third.written.iter().filter(|object| object.kind != "HorizontalPodAutoscaler").collect();
    assert_eq!(written, [] as [&ObjectRef; 0]);
    assert_eq!(ground.state(&objects).await, state);
    drop(applier);
    ground.end(restarted).await;
}

/// Fields that somebody changed, labels that somebody took away and objects that somebody deleted are told and come back;
/// nothing else is written then.
#[tokio::test]
async fn drift_is_healed() {
    let Some(ground) = ground("apply-drift").await else { return };
    let applier = ground.applier();
    let deployment = ground.workload("Deployment", "gateway", Some(2));
    let (service, secret) = (ground.service("gateway"), ground.secret("gateway"));
    let objects = vec![deployment.clone(), service.clone(), secret.clone()];
    assert_complete(&applier.apply(objects.clone(), |_| false).await);

    let image = |image: &str| json!([{ "name": "engine", "image": image }]);
    let drifts = [
        (&deployment, json!({ "spec": { "replicas": 7 } })),
        (&deployment, json!({ "spec": { "template": { "spec": { "containers": image("other:1") } } } })),
        (&service, json!({ "spec": { "selector": { "app": "elsewhere" } } })),
        (&service, json!({ "spec": { "selector": { "more": "narrow" } } })),
        (&secret, json!({ "data": { "engine.toml": "" } })),
        (&secret, json!({ "metadata": { "annotations": { APPLIED: null } } })),
        (&secret, json!({ "metadata": { "labels": { OWNED_BY: null } } })),
        (&service, json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "somebody" } } })),
    ];
    for (object, patch) in drifts {
        let right = ground.get(object).await.unwrap();
        ground.merge(object, patch.clone()).await;
        // A controller may have reported while the one before was healed, which is told as well.
        let written = loop {
            told(&applier).await;
            let report = applier.apply(objects.clone(), |_| false).await;
            assert_complete(&report);
            if !report.written.is_empty() {
                break report.written;
            }
        };
        assert_eq!(names(&written), [ObjectKey(object).to_string()], "{patch}");
        let healed = ground.get(object).await.unwrap();
        assert_eq!(healed.metadata.labels, right.metadata.labels, "{patch}");
        let applied = |object: &DynamicObject| object.annotations()[APPLIED].clone();
        assert_eq!(applied(&healed), applied(&right), "{patch}");
        for part in ["spec", "data"] {
            assert_eq!(healed.data.get(part), right.data.get(part), "{patch}");
        }
    }

    for object in &objects {
        ground.api(object).delete(&object.name_any(), &DeleteParams::background()).await.unwrap();
        told(&applier).await;
        // It may be on its way out for a moment, which passes.
        assert_eq!(until_complete(&applier, &objects).await.0, [ObjectKey(object).to_string()]);
    }
    ground.end(applier).await;
}

/// What is changed while the watches are interrupted is told when they go on, and healed; what was as it is stays unwritten.
#[tokio::test]
async fn an_interruption_hides_nothing() {
    let Some(ground) = ground("apply-cut").await else { return };
    let control_plane = ControlPlane::shared().await.unwrap();
    let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
    let applier = ground.applier_of(proxy.client().await.unwrap());
    let (secret, service) = (ground.secret("gateway"), ground.service("gateway"));
    let objects = vec![secret.clone(), service.clone()];
    assert_complete(&applier.apply(objects.clone(), |_| false).await);

    let hits = proxy.add(Rule::new(Fault::Reset(When::AtOnce)));
    proxy.cut_all();
    ground.merge(&secret, json!({ "data": { "engine.toml": "" } })).await;
    let report =
        applier.apply(vec![ground.secret("another"), ground.workload("Deployment", "another", None)], |_| false).await;
    let failed: Vec<_> = report.failed.iter().map(|(object, error)| (object.kind.as_str(), error.reason())).collect();
    assert_eq!(failed, [("Deployment", "unreachable"), ("Secret", "unreachable")]);
    assert_eq!(report.pruned, []);
    assert!(ground.get(&service).await.is_some());
    assert!(hits.count() > 0);
    proxy.clear();
    told(&applier).await;
    assert_eq!(until_complete(&applier, &objects).await, (vec!["Secret gateway".to_owned()], vec![]));
    ground.end(applier).await;
}

/// What others write beside us stays, when nothing changes and when something of ours does; none of it is a drift.
#[tokio::test]
async fn what_others_write_stays() {
    let Some(ground) = ground("apply-others").await else { return };
    let applier = ground.applier();
    let deployment = ground.workload("Deployment", "gateway", Some(2));
    assert_complete(&applier.apply(vec![deployment.clone()], |_| false).await);

    let restart = json!({ "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z" });
    ground
        .merge(
            &deployment,
            json!({
                "metadata": { "annotations": { "team": "shop" }, "labels": { "cost": "low" } },
                "spec": { "template": { "metadata": { "annotations": restart } } },
            }),
        )
        .await;
    let report = applier.apply(vec![deployment.clone()], |_| false).await;
    assert_eq!((report.written.len(), report.unchanged.len()), (0, 1));

    let mut changed = deployment.clone();
    changed.data["spec"]["template"]["spec"]["containers"][0]["image"] = "registry:5000/engine:2".into();
    let report = applier.apply(vec![changed], |_| false).await;
    assert_complete(&report);
    assert_eq!(report.written.len(), 1);
    let found = ground.get(&deployment).await.unwrap();
    assert_eq!(found.annotations()["team"], "shop");
    assert_eq!(found.labels()["cost"], "low");
    assert_eq!(found.data["spec"]["template"]["metadata"]["annotations"], restart);
    assert_eq!(found.data["spec"]["template"]["spec"]["containers"][0]["image"], "registry:5000/engine:2");
    ground.end(applier).await;
}

/// What is no longer desired goes, what uses others first. What lacks our labels stays, and so does a copy of an object of
/// ours that somebody has made with its labels.
#[tokio::test]
async fn only_ours_is_taken_away() {
    let Some(ground) = ground("apply-prune").await else { return };
    let applier = ground.applier();
    let objects = ground.everything();
    assert_complete(&applier.apply(objects.clone(), |_| false).await);

    let foreign = ground.secret("foreign");
    let mut copy = ground.get(&ground.secret("gateway")).await.unwrap();
    copy.metadata.name = Some("copy".to_owned());
    copy.metadata.resource_version = None;
    copy.metadata.uid = None;
    copy.metadata.managed_fields = None;
    for other in [&foreign, &copy] {
        ground.api(other).create(&PostParams::default(), other).await.unwrap();
    }

    let kept = ground.service("gateway");
    let mut pruned = until_complete(&applier, std::slice::from_ref(&kept)).await.1;
    let mut known = std::collections::BTreeSet::new();
    pruned.retain(|name| known.insert(name.clone()));
    assert_eq!(pruned.len(), objects.len() - 1, "{pruned:?}");
    let position = |name: &str| pruned.iter().position(|pruned| pruned == name).unwrap();
    assert!(position("Deployment gateway") < position("Secret gateway"), "{pruned:?}");
    assert!(position("Secret gateway") < position("ServiceAccount gateway"), "{pruned:?}");
    for object in &objects {
        let is_kept = ObjectKey(object).to_string() == "Service gateway";
        let gone = wait_until("it is gone", LIMIT, async || {
            Some(()).filter(|()| is_kept).or(ground.get(object).await.is_none().then_some(()))
        });
        gone.await.unwrap();
    }
    for other in [&foreign, &copy, &kept] {
        assert!(ground.get(other).await.is_some(), "{} is there", other.name_any());
    }
    ground.end(applier).await;
}

/// An object that exists and is not ours is told by name and left as it is, and everything else is made; so is one that the
/// API server finds wrong. What workloads use stays as long as one of them is not as it is desired.
#[tokio::test]
async fn failures_stop_nothing_else() {
    let Some(ground) = ground("apply-fail").await else { return };
    let applier = ground.applier();
    let (used, taken) = (ground.secret("used"), ground.service("taken"));
    let workload = ground.workload("Deployment", "gateway", Some(1));
    assert_complete(&applier.apply(vec![used.clone(), workload.clone()], |_| false).await);
    let foreign = ground.api(&taken).create(&PostParams::default(), &taken).await.unwrap();

    let mut wrong = workload.clone();
    wrong.data["spec"]["template"]["spec"]["containers"][0]["name"] = "Not A Name".into();
    let next = ground.secret("next");
    let report = applier.apply(vec![wrong, taken.clone(), next.clone(), next.clone()], |_| false).await;
    assert_eq!(names(&report.written), ["Secret next"]);
    assert_eq!(names(&report.pruned), [] as [&str; 0]);
    let failed: Vec<_> = report.failed.iter().map(|(object, error)| (object.to_string(), error)).collect();
    let (namespace, errors) = (&ground.namespace, failed.len());
    assert_eq!(errors, 3, "{failed:?}");
    assert_eq!(failed[0].0, format!("Deployment {namespace}/gateway"));
    assert!(matches!(failed[0].1, ApplyError::Invalid(message) if message.contains("Not A Name")), "{failed:?}");
    assert_eq!(failed[1], (format!("Secret {namespace}/next"), &ApplyError::Twice));
    assert_eq!(failed[2], (format!("Service {namespace}/taken"), &ApplyError::Foreign));
    assert!(failed.iter().all(|(_, error)| !error.is_passing()));
    assert_eq!(ground.get(&taken).await.unwrap().metadata.resource_version, foreign.metadata.resource_version);
    assert!(ground.get(&used).await.is_some());

    let report = applier.apply(vec![workload, next], |_| false).await;
    assert_complete(&report);
    assert_eq!(names(&report.pruned), ["Secret used"]);
    ground.api(&taken).delete("taken", &DeleteParams::default()).await.unwrap();
    ground.end(applier).await;
}

/// A namespace that is there is completed; a field that somebody else has set differently is a conflict that is told, and
/// stays as it is. It is not taken away when it is no longer desired.
#[tokio::test]
async fn namespaces_are_shared() {
    let Some(ground) = ground("apply-shared").await else { return };
    let applier = ground.applier();
    let level = "pod-security.kubernetes.io/enforce";
    let namespace = |value: &str| {
        let metadata = json!({ "name": ground.namespace, "labels": { level: value } });
        ground.object("v1", "Namespace", &ground.namespace, json!({ "metadata": metadata }))
    };
    let admin = PatchParams::apply("admin").force();
    let api = ground.api(&namespace("baseline"));
    api.patch(&ground.namespace, &admin, &Patch::Apply(namespace("baseline"))).await.unwrap();
    let report = applier.apply(vec![namespace("restricted"), ground.secret("a")], |_| false).await;
    assert_eq!(names(&report.written), ["Secret a"]);
    assert_eq!(report.failed.len(), 1, "{:?}", report.failed);
    assert_eq!(report.failed[0].0.to_string(), format!("Namespace {}", ground.namespace));
    assert!(matches!(report.failed[0].1, ApplyError::Contested(_)), "{:?}", report.failed);
    assert_eq!(api.get(&ground.namespace).await.unwrap().labels()[level], "baseline");

    assert_complete(&applier.apply(vec![namespace("baseline"), ground.secret("a")], |_| false).await);
    assert_eq!(api.get(&ground.namespace).await.unwrap().labels()[OWNED_BY], ground.namespace);
    let report = applier.apply(vec![ground.secret("a")], |_| false).await;
    assert_complete(&report);
    assert_eq!(report.pruned, []);
    assert!(api.get(&ground.namespace).await.unwrap().metadata.deletion_timestamp.is_none());
    ground.end(applier).await;
}

/// A workload that gets an autoscaler keeps its number of pods until that one decides, and gets ours again without it.
#[tokio::test]
async fn replicas_are_handed_over() {
    let Some(ground) = ground("apply-scale").await else { return };
    let applier = ground.applier();
    let three = ground.workload("Deployment", "gateway", Some(3));
    assert_complete(&applier.apply(vec![three.clone()], |_| false).await);

    let scaled = vec![three.clone(), ground.autoscaler("gateway")];
    let report = applier.apply(scaled.clone(), |_| false).await;
    assert_complete(&report);
    assert_eq!(ground.get(&three).await.unwrap().data["spec"]["replicas"], 3);
    // What the autoscaler would do.
    let by_scale = json!({ "spec": { "replicas": 4 } });
    ground.api(&three).patch_scale("gateway", &PatchParams::default(), &Patch::Merge(by_scale)).await.unwrap();
    let report = applier.apply(scaled, |_| false).await;
    assert_complete(&report);
    assert_eq!(names(&report.written), [] as [&str; 0]);
    assert_eq!(ground.get(&three).await.unwrap().data["spec"]["replicas"], 4);

    let two = ground.workload("Deployment", "gateway", Some(2));
    until_complete(&applier, std::slice::from_ref(&two)).await;
    assert_eq!(ground.get(&two).await.unwrap().data["spec"]["replicas"], 2);
    ground.end(applier).await;
}

/// A field that can never be changed costs a StatefulSet itself, once, and nothing of what it has made: another one takes over
/// its pods and their claims. One that the API server refuses for another reason stays.
#[tokio::test]
async fn what_cannot_change_is_made_anew_around_its_pods() {
    let Some(ground) = ground("apply-anew").await else { return };
    let control_plane = ControlPlane::shared().await.unwrap();
    let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
    let applier = ground.applier_of(proxy.client().await.unwrap());
    let mut before = ground.workload("StatefulSet", "keeper", Some(2));
    before.data["spec"]["podManagementPolicy"] = "Parallel".into();
    assert_complete(&applier.apply(vec![before.clone()], |_| false).await);
    let core = |kind: &str, plural: &str| {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
        Api::<DynamicObject>::namespaced_with(ground.client.clone(), &ground.namespace, &resource)
    };
    let uids = async || {
        let mut uids = Vec::new();
        for (kind, plural) in [("Pod", "pods"), ("PersistentVolumeClaim", "persistentvolumeclaims")] {
            let all = core(kind, plural).list(&Default::default()).await.unwrap().items;
            uids.extend(
                all.into_iter().filter(|found| found.metadata.deletion_timestamp.is_none()).map(|found| found.uid()),
            );
        }
        uids.sort();
        uids
    };
    wait_until("pods and claims are made", LIMIT, async || (uids().await.len() == 4).then_some(())).await.unwrap();
    let made = uids().await;
    let first = ground.get(&before).await.unwrap().uid();

    let mut wrong = before.clone();
    wrong.data["spec"]["template"]["spec"]["containers"][0]["name"] = "Not A Name".into();
    let report = applier.apply(vec![wrong], |_| false).await;
    assert!(matches!(&report.failed[0].1, ApplyError::Invalid(_)), "{:?}", report.failed);
    assert_eq!(ground.get(&before).await.unwrap().uid(), first);

    let mut larger = before.clone();
    larger.data["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    larger.data["spec"]["serviceName"] = "elsewhere".into();
    let seen = proxy.seen().len();
    until_complete(&applier, std::slice::from_ref(&larger)).await;
    let deletes = || proxy.seen().into_iter().skip(seen).filter(|seen| seen.method == "DELETE").count();
    let found = ground.get(&larger).await.unwrap();
    assert_ne!(found.uid(), first);
    assert_eq!(found.data["spec"]["serviceName"], "elsewhere");
    assert_eq!(deletes(), 1);
    let owned = async || {
        let pods = core("Pod", "pods").list(&Default::default()).await.unwrap().items;
        let owners =
            pods.iter().flat_map(|pod| pod.owner_references()).filter(|owner| Some(&owner.uid) == found.uid().as_ref());
        (owners.count() == 2).then_some(())
    };
    wait_until("the pods are of the new one", LIMIT, owned).await.unwrap();
    assert_eq!(uids().await, made, "no pod and no claim is another one");
    let (written, _) = until_complete(&applier, std::slice::from_ref(&larger)).await;
    assert_eq!(written, [] as [&str; 0]);
    assert_eq!(deletes(), 1);
    ground.end(applier).await;
}

/// Without the right to list a kind everything is still made and told apart from what is there, that kind is named, and
/// nothing of it is taken away.
#[tokio::test]
async fn a_kind_that_cannot_be_listed_is_told() {
    let Some(ground) = ground("apply-blind").await else { return };
    let control_plane = ControlPlane::shared().await.unwrap();
    let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
    let path = format!("/api/v1/namespaces/{}/secrets", ground.namespace);
    proxy.add(Rule::new(Fault::Answer { status: 403, retry_after: None }).path(&path).method(Method::GET));
    let applier = ground.applier_of(proxy.client().await.unwrap());
    let report = applier.apply(vec![ground.service("gateway")], |_| false).await;
    assert_eq!(names(&report.written), ["Service gateway"]);
    let failed: Vec<_> = report.failed.iter().map(|(object, error)| (object.to_string(), error.reason())).collect();
    assert_eq!(failed, [(format!("Secret {}/*", ground.namespace), "unobserved")]);
    proxy.clear();
    wait_until("the right is there", LIMIT, async || {
        applier.apply(vec![ground.service("gateway")], |_| false).await.is_complete().then_some(())
    })
    .await
    .unwrap();
    ground.end(applier).await;
}
