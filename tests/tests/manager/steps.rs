//! What happens in the midst of a round of applying: the manager is killed, another one leads, somebody else writes, a pipeline
//! goes. In the end everything is as if it had been made at once, and what runs was never touched.

use std::time::Duration;

use cluster::faults::{Fault, Gate, Rule};
use cluster::wait_until;
use hyper::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::ground::{Ground, LIMIT, Manager};
use crate::{Keeping, apply, object};

/// A lease is somebody else's after this time without a sign of life.
const LEASE: Duration = Duration::from_secs(16);

/// A manager is killed after its first write, the next one after its second, and so on until one is done; either the next write
/// has not reached the API server, or its answer has not come back. Then the same with what is taken away.
#[tokio::test]
async fn killed_at_each_write() {
    let Some((ground, mut manager)) = Ground::new().await else { return };
    for (port, fault) in [(5000, Fault::Hang), (5001, Fault::Slow(Duration::from_secs(3600)))] {
        let stuck = |method: Method, passed: usize| Rule::new(fault.clone()).method(method).skip(passed);
        let mut kills;
        ground.proxy.add(stuck(Method::PATCH, 0));
        ground.put("TracePipeline", "new", port).await;
        ground.put("LogPipeline", "keep-logs", port).await;
        // Whoever starts sends everything once more, so that each has to get one step further than the one before it.
        (manager, kills) = killed(&ground, manager, |step| stuck(Method::PATCH, step)).await;
        assert!(kills > 10, "{kills} steps");
        ground.assert_undisturbed(&["trace"]);

        ground.proxy.add(stuck(Method::DELETE, 0));
        ground.delete("TracePipeline", "new").await;
        (manager, kills) = killed(&ground, manager, |_| stuck(Method::DELETE, 1)).await;
        assert!(kills > 2, "{kills} steps");
        ground.assert_undisturbed(&["trace"]);
    }
    ground.end(manager).await;
}

/// Kills managers, each one when it is stuck at its step, until one is done; returns that one, and how many were killed.
async fn killed(ground: &Ground, first: Manager, stuck: impl Fn(usize) -> Rule) -> (Manager, usize) {
    let mut manager = first;
    for step in 1.. {
        manager.kill().await;
        ground.proxy.clear();
        let hits = ground.proxy.add(stuck(step));
        manager = ground.start("first");
        let is_stuck = wait_until("it is stuck", LIMIT, async || (hits.count() > 0).then_some(()));
        tokio::select! {
            stuck = is_stuck => stuck.unwrap(),
            () = ground.converges("everything is made") => {
                ground.proxy.clear();
                return (manager, step);
            }
        }
    }
    unreachable!("there are not so many steps")
}

/// A leader is cut off in the midst of a write, and another one takes over and makes something newer. When the write of the first
/// one arrives after all, it is put right.
#[tokio::test]
async fn what_comes_late_is_put_right() {
    let Some((ground, first)) = Ground::new().await else { return };
    let secret = format!(
        "/api/v1/namespaces/{}/secrets/telemetry-log-gateway-{}",
        ground.settings.namespace, ground.settings.engine_version
    );
    let gate = Gate::closed();
    let held = ground.proxy.add(Rule::new(Fault::Held(gate.clone())).method(Method::PATCH).path(&secret).times(1));
    ground.put("LogPipeline", "keep-logs", 5001).await;
    wait_until("a write is under way", LIMIT, async || (held.count() > 0).then_some(())).await.unwrap();
    first.kill().await;

    let second = ground.start("second");
    ground.put("LogPipeline", "keep-logs", 5002).await;
    ground.asked("leases/telemetry-manager", 2).await;
    second.pass(LEASE).await;
    ground.converges("the second one leads").await;
    gate.open();
    ground.configured("telemetry-log-gateway", "192.0.2.1:5001").await;
    ground.converges("what came late is put right").await;
    ground.assert_undisturbed(&[]);
    ground.end(second).await;
}

/// Somebody writes to everything all the time, and the API server says that somebody was faster: in the end everything is right,
/// and nothing was made anew.
#[tokio::test]
async fn a_storm_of_conflicts_ends_well() {
    let Some((ground, manager)) = Ground::new().await else { return };
    let (wanted, _) = ground.wanted().await;
    let hits =
        ground.proxy.add(Rule::new(Fault::Answer { status: 409, retry_after: None }).method(Method::PATCH).times(60));
    for round in 0..20 {
        ground.put("LogPipeline", "keep-logs", 5000 + round).await;
        for wanted in &wanted {
            let object: DynamicObject = serde_json::from_value(wanted.clone()).unwrap();
            let patch = match object.types.as_ref().unwrap().kind.as_str() {
                "Service" => json!({ "spec": { "selector": { "round": round.to_string() } } }),
                "Deployment" => json!({ "spec": { "replicas": 7 } }),
                "NetworkPolicy" => {
                    json!({ "spec": { "podSelector": { "matchLabels": { "round": round.to_string() } } } })
                }
                _ => json!({ "metadata": { "labels": { "app.kubernetes.io/part-of": round.to_string() } } }),
            };
            ground.merge(&object, &patch).await;
        }
    }
    ground.converges("everything is as it should be").await;
    assert!(hits.count() > 0);
    ground.assert_undisturbed(&[]);
    ground.end(manager).await;
}

/// A pipeline that cannot run says why and changes nothing for the others; it runs as soon as what it lacks is there, follows
/// what that becomes, and is left out when it is gone again.
#[tokio::test]
async fn a_secret_that_comes_and_goes_disturbs_nobody() {
    let Some((ground, manager)) = Ground::new().await else { return };
    let namespace = &ground.settings.namespace;
    let reference = json!({ "name": "backend", "namespace": namespace, "key": "token" });
    let headers = json!([{ "name": "x-token", "valueFrom": { "secretKeyRef": reference } }]);
    let output = json!({ "otlp": { "endpoint": { "value": "https://example.com:4317" }, "headers": headers } });
    apply(&ground.client, &object("LogPipeline", "new", json!({ "output": output })), Keeping::Object).await.unwrap();
    ground.says("new", "ReferencedSecretMissing").await;
    let secrets: Api<Secret> = Api::namespaced(ground.client.clone(), namespace);
    for token in ["one", "another"] {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "backend" }, "stringData": { "token": token } });
        secrets.patch("backend", &PatchParams::apply("tests").force(), &Patch::Apply(secret)).await.unwrap();
        ground.converges("the token is in the configuration").await;
    }
    secrets.delete("backend", &DeleteParams::default()).await.unwrap();
    ground.says("new", "ReferencedSecretMissing").await;
    ground.converges("the pipeline is left out").await;
    ground.assert_undisturbed(&[]);
    ground.end(manager).await;
}

/// A pipeline goes while what it needs is being made: nothing of it stays.
#[tokio::test]
async fn a_pipeline_that_goes_in_the_midst_leaves_nothing() {
    let Some((ground, manager)) = Ground::new().await else { return };
    for object in ["deployments/telemetry-trace-router", "services/telemetry-otlp-traces"] {
        let group = if object.starts_with("deployments") { "/apis/apps/v1" } else { "/api/v1" };
        let path = format!("{group}/namespaces/{}/{object}", ground.settings.namespace);
        let gate = Gate::closed();
        let held = ground.proxy.add(Rule::new(Fault::Held(gate.clone())).method(Method::PATCH).path(&path).times(1));
        ground.put("TracePipeline", "new", 5001).await;
        wait_until("a write is under way", LIMIT, async || (held.count() > 0).then_some(())).await.unwrap();
        ground.delete("TracePipeline", "new").await;
        gate.open();
        ground.converges("nothing of it is left").await;
        ground.proxy.clear();
    }
    ground.assert_undisturbed(&["trace"]);
    ground.end(manager).await;
}
