//! An API server that fails: what was known stays known, and what came meanwhile is learnt of afterwards.

use std::time::Duration;

use cluster::faults::{Fault, Rule, When};
use cluster::{ControlPlane, FaultProxy, or_skip};
use engine_config::KubernetesSettings;
use engine_core::service::Service as _;
use kubernetes::{Metadata, Wanted};
use serde_json::json;

use crate::{Cluster, cluster, holder};

/// A fault of watches, which has to happen.
fn of_watches(fault: Fault) -> Rule {
    Rule::new(fault).path("/api/v1/pods").watches()
}

fn answer(status: u16, retry_after: Option<u64>) -> Fault {
    Fault::Answer { status, retry_after: retry_after.map(Duration::from_secs) }
}

/// Behind each fault a new pod becomes known, and the pod that was known stays so all the time, with its address.
#[tokio::test]
async fn goes_on_behind_faults() {
    let Some(cluster) = cluster("faults").await else { return };
    cluster.pod("old", "node-a", json!({}), json!({})).await;
    cluster.status("old", "Running", "10.1.7.1").await;
    let faults: [(&str, &[Rule]); 7] = [
        ("410 in a watch", &[of_watches(Fault::ExpiredEvent).times(2)]),
        ("410 for a watch", &[of_watches(answer(410, None)).times(2)]),
        ("500 for a watch", &[of_watches(answer(500, None)).times(2)]),
        ("429 for everything", &[Rule::new(answer(429, Some(1))).times(3)]),
        (
            "410 for a watch, then 503 for the list",
            &[
                of_watches(answer(410, None)).times(1),
                Rule::new(answer(503, None)).path("/api/v1/pods").not_watches().times(2),
            ],
        ),
        ("a reset behind every event", &[of_watches(Fault::Reset(When::AfterEvents(1))).times(3)]),
        (
            "no bookmarks, and slow",
            &[of_watches(Fault::NoBookmarks), of_watches(Fault::Slow(Duration::from_millis(50)))],
        ),
    ];
    for (number, (what, rules)) in faults.into_iter().enumerate() {
        let proxy = FaultProxy::start(&cluster.kubeconfig).await.unwrap();
        let (metadata, stop) = cluster.start_at(proxy.kubeconfig(), KubernetesSettings::default(), &Wanted::default());
        metadata.until("the first lists", Metadata::is_synced).await;
        let hits: Vec<_> = rules.iter().map(|rule| proxy.add(rule.clone())).collect();
        proxy.cut_all();
        // Each event costs a connection where connections are reset behind an event.
        let new: Vec<String> = (0..3).map(|part| format!("new-{number}-{part}")).collect();
        for name in &new {
            cluster.pod(name, "node-a", json!({}), json!({})).await;
        }
        let last = new.last().unwrap();
        cluster.status(last, "Running", "10.1.7.2").await;
        let knows = |metadata: &Metadata| {
            assert_eq!(holder(metadata, "10.1.7.1").as_deref(), Some("old"), "{what}");
            holder(metadata, "10.1.7.2").as_deref() == Some(last)
        };
        metadata.until(what, knows).await;
        assert!(hits.iter().all(|hits| hits.count() > 0), "{what}: {:?}", proxy.seen());
        for name in &new {
            cluster.delete(name).await;
        }
        stop.cancel();
    }
    cluster.end().await;
}

/// While the API server is away everything stays as it was, and when it is back what changed is learnt of.
#[tokio::test]
async fn outlives_the_api_server() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    let cluster = Cluster::on(&control_plane, "outlives").await;
    cluster.pod("old", "node-a", json!({}), json!({})).await;
    cluster.status("old", "Running", "10.1.8.1").await;
    let (metadata, stop) = cluster.start(KubernetesSettings::default(), &Wanted::default());
    metadata.until("the first lists", Metadata::is_synced).await;
    let (known, synced) = (metadata.pods(), metadata.is_synced());
    for _ in 0..2 {
        control_plane.kill_api_server().await.unwrap();
        metadata.until("it is told", |metadata| metadata.problem().is_some()).await;
        assert_eq!((metadata.pods(), metadata.is_synced()), (known, synced));
        assert_eq!(holder(&metadata, "10.1.8.1").as_deref(), Some("old"));
        control_plane.start_api_server().await.unwrap();
    }
    cluster.pod("new", "node-a", json!({}), json!({})).await;
    cluster.status("new", "Running", "10.1.8.2").await;
    metadata.until("a pod of after it", |metadata| holder(metadata, "10.1.8.2").as_deref() == Some("new")).await;
    assert_eq!(holder(&metadata, "10.1.8.1").as_deref(), Some("old"));
    let problem = metadata.problem();
    assert!(problem.is_none() || problem.is_some_and(|text| text.contains("namespaces")), "pods are followed again");
    stop.cancel();
}
