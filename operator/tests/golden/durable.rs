//! The log gateway while something of it is on disk: how it gets volumes, grows, shrinks, and goes back to memory. Each step is a
//! plan of what is seen then.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use telemetry_manager::crd::{LogPipeline, Telemetry};
use telemetry_manager::input::{BufferView, ClaimView, EngineReport, EngineView, Input, OrphanView, WorkloadView};
use telemetry_manager::plan::{Desired, plan};
use telemetry_manager::role::{Fleet, Role};
use telemetry_manager::status::TelemetryReport;

const UID: &str = "0b1d8d1e-3f5c-4a54-9b07-5a2ad1f0a001";
const MEBIBYTE: u64 = 1 << 20;

/// A LogPipeline with this buffer, made so many hours after midnight.
fn pipeline(name: &str, uid: &str, hour: u32, buffer: Value) -> LogPipeline {
    serde_json::from_value(json!({
        "apiVersion": "telemetry.kyma-project.io/v1beta1",
        "kind": "LogPipeline",
        "metadata": { "name": name, "uid": uid, "creationTimestamp": format!("2026-01-01T{hour:02}:00:00Z") },
        "spec": { "output": { "otlp": { "endpoint": { "value": "http://backend:4317" }, "buffer": buffer } } },
    }))
    .unwrap()
}

fn on_disk(size: &str) -> Value {
    json!({ "type": "disk", "maxSize": size })
}

fn telemetry(spec: Value) -> Telemetry {
    let metadata = json!({ "name": "default", "namespace": "telemetry-system" });
    let kind = json!({ "apiVersion": "operator.kyma-project.io/v1beta1", "kind": "Telemetry" });
    let mut object = kind;
    (object["metadata"], object["spec"]) = (metadata, spec);
    serde_json::from_value(object).unwrap()
}

/// A module with so many log gateways, and a class of volumes.
fn module(replicas: u32, class: Option<&str>) -> Telemetry {
    let scaling = json!({ "static": { "replicas": replicas } });
    let mut spec = json!({ "log": { "gateway": { "scaling": scaling } } });
    if let Some(class) = class {
        spec["storage"] = json!({ "class": class });
    }
    telemetry(spec)
}

/// Pods that are all as they should be.
fn running(pods: u32) -> WorkloadView {
    WorkloadView { is_observed: true, desired: pods, updated: pods, ready: pods, problem: None }
}

/// A pod with a volume that holds so many records.
fn report(ordinal: u32, receives: bool, holds: u64) -> EngineReport {
    EngineReport { pod: format!("telemetry-log-gateway-{ordinal}"), receives, holds, ..EngineReport::default() }
}

fn reports(reports: Vec<EngineReport>) -> EngineView {
    EngineView { asked: u32::try_from(reports.len()).unwrap(), reports, ..EngineView::default() }
}

fn claim(ordinal: u32, size: u64) -> ClaimView {
    ClaimView {
        name: format!("state-telemetry-log-gateway-{ordinal}"),
        class: Some("fast".to_owned()),
        requested: size,
        capacity: size,
        is_bound: true,
        problem: None,
    }
}

/// Kind and number of pods of the workloads of the log gateway.
fn workloads(desired: &Desired) -> BTreeMap<String, Value> {
    let of = |kind: &str| {
        let found = desired.objects.iter().find(|object| object.types.as_ref().unwrap().kind == kind)?;
        Some((kind.to_owned(), found.data["spec"]["replicas"].clone()))
    };
    ["Deployment", "StatefulSet"].into_iter().filter_map(of).collect()
}

fn both(deployment: u32, stateful_set: u32) -> BTreeMap<String, Value> {
    let pods = |kind: &str, count: u32| (kind.to_owned(), Value::from(count));
    [pods("Deployment", deployment), pods("StatefulSet", stateful_set)].into()
}

fn only(kind: &str, pods: u32) -> BTreeMap<String, Value> {
    [(kind.to_owned(), Value::from(pods))].into()
}

/// Whether Services tell pods that are to go from the others.
fn is_narrowed(desired: &Desired) -> bool {
    let services: Vec<bool> = desired
        .objects
        .iter()
        .filter(|object| object.types.as_ref().unwrap().kind == "Service")
        .map(|service| service.data["spec"]["selector"].get("telemetry.kyma-project.io/receives").is_some())
        .collect();
    assert!(services.len() == 2 && services[0] == services[1], "{services:?}");
    services[0]
}

fn leaving(desired: &Desired) -> Vec<&str> {
    desired.storage.iter().flat_map(|storage| storage.leaving.iter().map(String::as_str)).collect()
}

fn module_report(desired: &Desired) -> &TelemetryReport {
    desired.telemetries.values().next().unwrap()
}

/// Status, reason and message of a condition of the module's volumes.
fn storage(desired: &Desired) -> (&'static str, &'static str, String) {
    let conditions = &module_report(desired).conditions;
    let condition = conditions.iter().find(|condition| condition.kind == "StorageHealthy").unwrap();
    (condition.status.as_str(), condition.reason, condition.message.clone())
}

/// Status and reason of the condition of a pipeline's buffer.
fn buffer(desired: &Desired, name: &str) -> Option<(&'static str, &'static str)> {
    let report = desired.pipelines.iter().find(|(id, _)| id.name == name).unwrap().1;
    report.condition("BufferHealthy").map(|condition| (condition.status.as_str(), condition.reason))
}

/// What engines with volumes are to run.
fn durable(desired: &Desired) -> &str {
    &desired.configs[&Fleet::DURABLE].toml
}

/// A gateway without volumes stays, in memory as it was, until all pods with volumes run and take data.
#[test]
fn pods_with_volumes_take_over() {
    let mut input = Input {
        logs: vec![pipeline("shop", UID, 0, on_disk("1Gi"))],
        telemetries: vec![module(2, None)],
        ..Input::default()
    };
    assert_eq!(workloads(&plan(&input)), only("StatefulSet", 2), "nothing was there before");

    input.workloads.insert(Role::LogGateway.fleet(), running(2));
    let desired = plan(&input);
    assert_eq!(workloads(&desired), both(2, 2));
    let memory = &desired.configs[&Role::LogGateway.fleet()].toml;
    assert!(!memory.contains("disk") && durable(&desired).contains("type = \"disk\""), "{memory}");
    assert!(memory.contains(UID) && durable(&desired).contains(UID));
    assert!(!is_narrowed(&desired) && storage(&desired).1 == "StorageWaits");

    input.workloads.insert(Fleet::DURABLE, WorkloadView { ready: 1, ..running(2) });
    input.engines.insert(Fleet::DURABLE, reports(vec![report(0, true, 0), report(1, true, 0)]));
    assert_eq!(workloads(&plan(&input)), both(2, 2), "one of them is not ready");
    input.workloads.insert(Fleet::DURABLE, running(2));
    input.engines.get_mut(&Fleet::DURABLE).unwrap().reports[1].receives = false;
    assert_eq!(workloads(&plan(&input)), both(2, 2), "one of them gets no data yet");
    input.engines.get_mut(&Fleet::DURABLE).unwrap().reports[1].receives = true;
    let desired = plan(&input);
    assert_eq!(workloads(&desired), only("StatefulSet", 2));
    assert_eq!(storage(&desired).1, "StorageReady");
}

/// Without a wish for disk, pods with volumes go on with what they have on disk, get no more data as soon as others take it, and go
/// when each of them has said that it holds nothing. Silence is not emptiness.
#[test]
fn back_to_memory_it_drains_first() {
    let mut shop = pipeline("shop", UID, 0, json!({}));
    let status = json!({ "buffer": { "used": "10Mi", "max": "2Gi", "pods": { "reporting": 2, "total": 2 } } });
    shop.status = Some(serde_json::from_value(status).unwrap());
    let mut input = Input { logs: vec![shop], telemetries: vec![module(2, None)], ..Input::default() };
    input.claims = (0..2).map(|ordinal| (ordinal, claim(ordinal, 2 << 30))).collect();
    input.workloads.insert(Fleet::DURABLE, running(2));
    input.engines.insert(Fleet::DURABLE, reports(vec![report(0, true, 7), report(1, true, 0)]));
    let desired = plan(&input);
    assert_eq!(workloads(&desired), both(2, 2));
    assert!(durable(&desired).contains("max_size = \"1GiB\""), "the size of before: {}", durable(&desired));
    assert!(!is_narrowed(&desired) && leaving(&desired).is_empty(), "nobody else takes data yet");
    assert_eq!(buffer(&desired, "shop"), Some(("True", "BufferDraining")));

    input.workloads.insert(Role::LogGateway.fleet(), running(2));
    let desired = plan(&input);
    assert!(is_narrowed(&desired));
    assert_eq!(leaving(&desired), ["telemetry-log-gateway-0", "telemetry-log-gateway-1"]);
    assert_eq!(workloads(&desired), both(2, 2));
    // They hold nothing, and may get something still.
    input.engines.insert(Fleet::DURABLE, reports(vec![report(0, true, 0), report(1, true, 0)]));
    assert_eq!(workloads(&plan(&input)), both(2, 2));
    input.engines.insert(Fleet::DURABLE, reports(vec![report(0, false, 1), report(1, false, 0)]));
    assert_eq!(workloads(&plan(&input)), both(2, 2));
    input.engines.insert(Fleet::DURABLE, EngineView { asked: 2, ..reports(vec![report(1, false, 0)]) });
    assert_eq!(workloads(&plan(&input)), both(2, 2), "one of them does not say how it is");

    input.engines.insert(Fleet::DURABLE, reports(vec![report(0, false, 0), report(1, false, 0)]));
    let desired = plan(&input);
    assert_eq!(workloads(&desired), only("Deployment", 2));
    input.workloads.remove(&Fleet::DURABLE);
    input.engines.clear();
    let desired = plan(&input);
    assert!(!is_narrowed(&desired) && desired.storage.is_none());
    let left = module_report(&desired).storage.clone().unwrap();
    let names: Vec<&str> = left.left_over_claims.iter().map(|claim| claim.name.as_str()).collect();
    assert_eq!(names, ["state-telemetry-log-gateway-0", "state-telemetry-log-gateway-1"]);
    assert_eq!(storage(&desired).1, "StorageLeftOver");
    assert_eq!(buffer(&desired, "shop"), None);
}

/// Pods that are too many get no more data, and go one after the other from the last, each when it has said that it holds
/// nothing.
#[test]
fn scale_in_waits_for_empty_pods() {
    let mut input = Input {
        logs: vec![pipeline("shop", UID, 0, on_disk("1Gi"))],
        telemetries: vec![module(1, None)],
        ..Input::default()
    };
    input.claims = (0..4).map(|ordinal| (ordinal, claim(ordinal, 2 << 30))).collect();
    input.workloads.insert(Fleet::DURABLE, running(4));
    let all = |held: [(bool, u64); 4]| {
        let report = |(ordinal, (receives, holds))| report(ordinal, receives, holds);
        reports((0..).zip(held).map(report).collect())
    };
    let closed = ["telemetry-log-gateway-1", "telemetry-log-gateway-2", "telemetry-log-gateway-3"];
    input.engines.insert(Fleet::DURABLE, all([(true, 0); 4]));
    let desired = plan(&input);
    assert_eq!(workloads(&desired), only("StatefulSet", 4));
    assert_eq!(leaving(&desired), closed);
    assert!(is_narrowed(&desired) && storage(&desired).1 == "StorageWaits");

    input.engines.insert(Fleet::DURABLE, all([(true, 0), (false, 0), (false, 5), (false, 0)]));
    let desired = plan(&input);
    assert_eq!(workloads(&desired), only("StatefulSet", 3), "the last one is empty, the one before is not");
    assert_eq!(leaving(&desired), closed[..2]);
    input.engines.get_mut(&Fleet::DURABLE).unwrap().reports.remove(2);
    assert_eq!(workloads(&plan(&input)), only("StatefulSet", 3), "silence is not emptiness");
    // One that has never had its volume cannot hold anything.
    input.claims.get_mut(&2).unwrap().is_bound = false;
    let desired = plan(&input);
    assert_eq!(workloads(&desired), only("StatefulSet", 1));
    assert!(!is_narrowed(&desired), "nobody is to go any more");
    input.telemetries = vec![module(5, None)];
    assert_eq!(workloads(&plan(&input)), only("StatefulSet", 5), "more pods wait for nobody");
}

/// One pipeline goes back to memory beside another one that stays on disk: its buffer stays as it was until hardly anything is in
/// it, and it comes back for what was left after all.
#[test]
fn one_of_two_goes_back_to_memory() {
    let (mine, other) = (UID, "0b1d8d1e-3f5c-4a54-9b07-5a2ad1f0a002");
    let mut shop = pipeline("shop", mine, 1, json!({ "type": "memory" }));
    let status = json!({ "buffer": { "used": "10Mi", "max": "2Gi", "pods": { "reporting": 1, "total": 1 } } });
    shop.status = Some(serde_json::from_value(status).unwrap());
    let logs = vec![pipeline("audit", other, 0, on_disk("1Gi")), shop];
    let mut input = Input { logs, telemetries: vec![module(1, None)], ..Input::default() };
    input.workloads.insert(Fleet::DURABLE, running(1));
    let mut holding = |held: Option<u64>, orphans: u64| {
        let mut report = report(0, true, 1);
        let view = |waiting| BufferView { used: 100 * MEBIBYTE, max: 3 << 30, waiting, ..BufferView::default() };
        report.buffers.extend(held.map(|held| ("shop".to_owned(), view(held))));
        if orphans > 0 {
            report.orphans.insert(mine.to_owned(), OrphanView { used: MEBIBYTE, records: orphans });
        }
        input.engines.insert(Fleet::DURABLE, reports(vec![report]));
        let desired = plan(&input);
        let kept = desired.storage.as_ref().unwrap().buffers.iter().find(|(id, _)| id.name == "shop");
        kept.map(|(_, buffer)| buffer.max_size)
    };
    assert_eq!(holding(Some(50), 0), Some(3 << 30), "of the size that engines have");
    assert_eq!(holding(Some(0), 0), None);
    assert_eq!(holding(None, 3), Some(2 << 30), "of the size that its status says");
    input.engines.clear();
    let desired = plan(&input);
    assert!(desired.storage.unwrap().buffers.keys().any(|id| id.name == "shop"), "silence is not emptiness");
}

/// Volumes have room for all buffers; where they are to grow, each claim does if its class lets it.
#[test]
fn claims_grow_where_they_can() {
    let logs = vec![pipeline("shop", UID, 0, on_disk("5Gi"))];
    let mut input = Input { logs, telemetries: vec![module(2, Some("fast"))], ..Input::default() };
    let size = |desired: &Desired| desired.storage.as_ref().unwrap().room.claim_size >> 30;
    assert_eq!(size(&plan(&input)), 6);
    input.claims = [(0, claim(0, 2 << 30)), (1, claim(1, 6 << 30))].into();
    input.classes.insert("fast".to_owned(), true);
    input.workloads.insert(Fleet::DURABLE, running(2));
    let desired = plan(&input);
    let growing: Vec<_> = desired.storage.as_ref().unwrap().room.growing.clone().into_iter().collect();
    assert_eq!(growing, [("state-telemetry-log-gateway-0".to_owned(), 6 << 30)]);
    assert_eq!(storage(&desired).1, "StorageReady");
    // It is asked for once, and the storage may refuse.
    let growing = ClaimView { requested: 6 << 30, problem: Some("no".to_owned()), ..claim(0, 2 << 30) };
    input.claims.insert(0, growing);
    let desired = plan(&input);
    assert!(desired.storage.as_ref().unwrap().room.growing.is_empty());
    assert_eq!(storage(&desired).1, "VolumeNotGrown");
    // Nothing shrinks.
    input.claims = [(0, claim(0, 9 << 30)), (1, claim(1, 9 << 30))].into();
    assert_eq!(size(&plan(&input)), 9);
}

/// Where a class cannot grow, nothing is done: not to claims, not to their template. It is told, with what to do; the oldest
/// pipeline has what it asks for, and the next what is left.
#[test]
fn what_cannot_grow_is_told() {
    let others = "0b1d8d1e-3f5c-4a54-9b07-5a2ad1f0a002";
    let logs = vec![pipeline("old", UID, 0, on_disk("1Gi")), pipeline("new", others, 1, on_disk("5Gi"))];
    let mut input = Input { logs, telemetries: vec![module(1, Some("fast"))], ..Input::default() };
    input.classes.insert("fast".to_owned(), false);
    input.claims.insert(0, claim(0, 2 << 30));
    input.workloads.insert(Fleet::DURABLE, running(1));
    let desired = plan(&input);
    let stored = desired.storage.as_ref().unwrap();
    assert!(stored.room.growing.is_empty());
    assert_eq!(
        stored.room.claim_size,
        2 << 30,
        "a template of another size would be of no use to the pods that are there"
    );
    let sizes: Vec<u64> = stored.buffers.values().map(|buffer| buffer.max_size >> 20).collect();
    assert!(sizes[1] == 1024 && (500..800).contains(&sizes[0]), "{sizes:?}");
    let (status, reason, message) = storage(&desired);
    assert_eq!((status, reason), ("False", "VolumeCannotGrow"));
    assert!(message.contains("state-telemetry-log-gateway-0") && message.contains("'fast'"), "{message}");
    assert_eq!(buffer(&desired, "new"), Some(("False", "BufferTooSmall")));
    assert_ne!(buffer(&desired, "old"), Some(("False", "BufferTooSmall")));
}

/// Whoever asks for more than there is is left out, and never one whose buffer is only to be emptied.
#[test]
fn what_is_to_be_emptied_has_its_place() {
    let other = "0b1d8d1e-3f5c-4a54-9b07-5a2ad1f0a002";
    let mut shop = pipeline("shop", UID, 9, json!({ "type": "memory" }));
    let status = json!({ "buffer": { "used": "10Mi", "max": "2Gi", "pods": { "reporting": 1, "total": 1 } } });
    shop.status = Some(serde_json::from_value(status).unwrap());
    let logs = vec![pipeline("audit", other, 0, on_disk("1Gi")), shop];
    let storage = json!({ "storage": { "size": "1Gi" } });
    let mut input = Input { logs, telemetries: vec![telemetry(storage)], ..Input::default() };
    input.workloads.insert(Fleet::DURABLE, running(1));
    let desired = plan(&input);
    let runs = |name: &str| {
        let report = desired.pipelines.iter().find(|(id, _)| id.name == name).unwrap().1;
        let condition = report.condition("ConfigurationGenerated").unwrap();
        (condition.status.as_str(), condition.reason)
    };
    assert_eq!(runs("shop"), ("True", "GatewayConfigured"));
    assert_eq!(runs("audit"), ("False", "StorageExceeded"));
    assert!(durable(&desired).contains("shop_backend.buffer") && durable(&desired).contains("type = \"disk\""));
}

/// How full a buffer is stands in the status of its pipeline, summed over pods, and the fullest pod decides whether it is warned
/// of. What nobody owns is in the status of the module.
#[test]
fn fill_levels_are_told() {
    let mut input = Input {
        logs: vec![pipeline("shop", UID, 0, on_disk("1Gi"))],
        telemetries: vec![module(2, None)],
        ..Input::default()
    };
    input.workloads.insert(Fleet::DURABLE, running(2));
    let mut used_beside = |used: [u64; 2], records: u64| {
        let report = |(ordinal, used): (u32, u64)| {
            let view = BufferView { used: used * MEBIBYTE, max: 1000 * MEBIBYTE, ..BufferView::default() };
            let orphan = OrphanView { used: MEBIBYTE, records };
            EngineReport {
                buffers: [("shop".to_owned(), view)].into(),
                orphans: [("gone".to_owned(), orphan)].into(),
                ..report(ordinal, true, 1)
            }
        };
        input.engines.insert(Fleet::DURABLE, reports((0..).zip(used).map(report).collect()));
        plan(&input)
    };
    let desired = used_beside([100, 200], 0);
    assert_eq!(storage(&desired).1, "StorageReady", "what is left holds nothing");
    let desired = used_beside([100, 200], 3);
    assert_eq!(storage(&desired).1, "StorageLeftOver");
    let status = desired.pipelines.values().next().unwrap().buffer.clone().unwrap();
    assert_eq!((status.used.0.as_str(), status.max.0.as_str()), ("300Mi", "2000Mi"));
    assert_eq!((status.pods.reporting, status.pods.total), (2, 2));
    assert_eq!(buffer(&desired, "shop"), Some(("True", "BufferReady")));
    let left = module_report(&desired).storage.clone().unwrap().left_over_buffers;
    assert_eq!((left[0].uid.as_str(), left[0].used.0.as_str(), left[0].records), ("gone", "2Mi", 6));
    assert_eq!(buffer(&used_beside([100, 850], 0), "shop"), Some(("False", "BufferFilling")));
    assert_eq!(buffer(&used_beside([960, 0], 0), "shop"), Some(("False", "BufferFull")));
    let view = input.engines.get_mut(&Fleet::DURABLE).unwrap().reports[0].buffers.get_mut("shop").unwrap();
    view.problem = Some("no space left on device".to_owned());
    let desired = plan(&input);
    assert_eq!(buffer(&desired, "shop"), Some(("False", "BufferNotWritable")));
}

/// A pipeline that cannot run for the moment does not cost the gateway its volumes.
#[test]
fn a_pipeline_that_is_wrong_keeps_its_volumes() {
    let mut wrong = pipeline("wrong", UID, 0, on_disk("1Gi"));
    wrong.spec.output.otlp.as_mut().unwrap().output.endpoint = serde_json::from_value(json!({ "value": "" })).unwrap();
    let logs = vec![wrong, pipeline("shop", "0b1d8d1e-3f5c-4a54-9b07-5a2ad1f0a002", 0, json!({}))];
    let mut input = Input { logs, telemetries: vec![module(1, None)], ..Input::default() };
    assert_eq!(workloads(&plan(&input)), only("Deployment", 1), "it never had any");
    input.workloads.insert(Fleet::DURABLE, running(1));
    input.engines.insert(Fleet::DURABLE, reports(vec![report(0, true, 0)]));
    assert_eq!(workloads(&plan(&input)), only("StatefulSet", 1));
}
