//! An API server that fails: nothing that runs is touched, and what changed meanwhile is made when it is back.

use std::time::Duration;

use cluster::faults::{Fault, Rule, When};
use hyper::Method;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::DeleteParams;

use crate::ground::Ground;

/// Requests a second that a manager may make on average while nobody answers.
const MOST_REQUESTS: usize = 10;

fn answer(status: u16, retry_after: Option<u64>) -> Fault {
    Fault::Answer { status, retry_after: retry_after.map(Duration::from_secs) }
}

fn of_pipelines(fault: Fault) -> Rule {
    Rule::new(fault).path("/apis/telemetry.kyma-project.io/v1beta1/tracepipelines")
}

/// The first few of everything that is written, but for the Lease.
fn of_writes(fault: Fault) -> Rule {
    Rule::new(fault).method(Method::PATCH)
}

/// Behind each fault, and through it, a pipeline comes and goes with all that it needs, whether the manager meets the fault while
/// it runs or when it starts; nothing of the others is ever touched.
#[tokio::test]
async fn goes_on_behind_faults() {
    let Some((ground, mut manager)) = Ground::new().await else { return };
    let faults: [(&str, &[Rule]); 12] = [
        ("410 in watches", &[Rule::new(Fault::ExpiredEvent).watches().times(40)]),
        ("410 for watches", &[Rule::new(answer(410, None)).watches().times(40)]),
        ("500 for watches", &[Rule::new(answer(500, None)).watches().times(40)]),
        ("410 for lists", &[Rule::new(answer(410, None)).method(Method::GET).not_watches().times(20)]),
        ("503 for everything", &[Rule::new(answer(503, None)).times(60)]),
        ("429 for everything", &[Rule::new(answer(429, Some(1))).times(20)]),
        ("403 for the pipelines", &[of_pipelines(answer(403, None)).times(3)]),
        ("a reset behind every event", &[Rule::new(Fault::Reset(When::AfterEvents(1))).watches().times(60)]),
        (
            "no bookmarks, and slow",
            &[Rule::new(Fault::NoBookmarks).watches(), Rule::new(Fault::Slow(Duration::from_millis(20)))],
        ),
        ("500 for writes", &[of_writes(answer(500, None)).times(10)]),
        ("conflicts", &[of_writes(answer(409, None)).times(10)]),
        ("resets instead of answers", &[of_writes(Fault::Reset(When::AtOnce)).times(10)]),
    ];
    for (number, (what, rules)) in faults.into_iter().enumerate() {
        for start in [false, true] {
            let hits: Vec<_> = rules.iter().map(|rule| ground.proxy.add(rule.clone())).collect();
            let port = 5000 + 2 * u16::try_from(number).unwrap() + u16::from(start);
            if start {
                manager.kill().await;
                manager = ground.start("first");
            } else {
                ground.proxy.cut_all();
            }
            ground.put("TracePipeline", "new", port).await;
            ground.put("LogPipeline", "keep-logs", port).await;
            ground.converges(&format!("{what}, a pipeline has come")).await;
            assert!(hits.iter().all(|hits| hits.count() > 0), "{what}: {hits:?}");
            ground.delete("TracePipeline", "new").await;
            ground.converges(&format!("{what}, it has gone")).await;
            ground.proxy.clear();
            ground.assert_undisturbed(&["trace"]);
        }
    }
    ground.end(manager).await;
}

/// The API server is killed and started again; what changes just behind that is made, and nothing was taken away.
#[tokio::test]
async fn outlives_the_api_server() {
    let Some((ground, manager)) = Ground::new().await else { return };
    for port in [5001, 5002] {
        ground.control_plane.kill_api_server().await.unwrap();
        ground.asked("", 10).await;
        ground.control_plane.start_api_server().await.unwrap();
        ground.put("LogPipeline", "keep-logs", port).await;
        ground.converges("the change is made").await;
        ground.assert_undisturbed(&[]);
    }
    ground.end(manager).await;
}

/// An hour without an API server, of which it refuses the first half and says nothing in the other: nothing is taken away, what
/// changed meanwhile is made, and nobody was asked without end.
#[tokio::test]
async fn an_hour_without_the_api_server_changes_nothing() {
    let Some((ground, manager)) = Ground::new().await else { return };
    let half = Duration::from_secs(30 * 60);
    let seen = ground.proxy.seen().len();
    for fault in [Fault::Reset(When::AtOnce), Fault::Hang] {
        let hits = ground.proxy.add(Rule::new(fault));
        ground.proxy.cut_all();
        manager.pass(half).await;
        assert!(hits.count() > 0);
        ground.proxy.clear();
    }
    // What asks in vain now must not be answered before the rest has changed.
    let requests = ground.proxy.seen().len() - seen;
    assert!(requests <= MOST_REQUESTS * 3600, "{requests} requests in an hour");
    let services: Api<Service> = Api::namespaced(ground.client.clone(), &ground.settings.namespace);
    services.delete("telemetry-otlp-logs", &DeleteParams::default()).await.unwrap();
    ground.put("MetricPipeline", "keep-metrics", 5001).await;
    ground.put("TracePipeline", "new", 5001).await;
    ground.proxy.cut_all();
    ground.converges("everything is there again").await;
    ground.assert_undisturbed(&["telemetry-otlp-logs"]);
    ground.end(manager).await;
}

/// Two that believe to lead, because they are called the same: they agree, and nobody undoes what the other one does.
#[tokio::test]
async fn two_leaders_agree() {
    let Some((ground, first)) = Ground::new().await else { return };
    let second = ground.start("first");
    for port in 5001..5006 {
        ground.put("LogPipeline", "keep-logs", port).await;
        ground.put("TracePipeline", "new", port).await;
        ground.converges("both pipelines run").await;
        ground.delete("TracePipeline", "new").await;
        ground.converges("one has gone").await;
    }
    ground.assert_undisturbed(&["trace"]);
    first.kill().await;
    ground.put("LogPipeline", "keep-logs", 5007).await;
    ground.converges("the other one goes on").await;
    ground.end(second).await;
}
