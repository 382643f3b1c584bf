//! `KUBECONFIG` names a cluster: it is used, and none is started. Tests of this program, run again with that variable.

use std::path::Path;
use std::process::{Command, Output};

use cluster::{Cluster, ControlPlane, FaultProxy, or_skip};

/// Runs tests of this program against a given cluster; `base` is where they would put one of their own.
async fn run(tests: &[&str], kubeconfig: &Path, base: &Path) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--exact").args(tests).env("KUBECONFIG", kubeconfig).env("TELEMETRY_CLUSTER_DIRECTORY", base);
    command.env_remove("CI").env_remove("TESTS_SKIPPED");
    // In a thread of its own: what the tests reach may be served by this runtime.
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn passed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

/// Tests of objects run against any API server, here one that is reached through a proxy and has no nodes of ours: tests
/// that need these say so and skip.
#[tokio::test]
async fn any_api_server_is_used() {
    let Some(control_plane) = or_skip(ControlPlane::shared().await) else { return };
    let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
    let base = tempfile::tempdir().unwrap();
    let tests = ["objects::objects_are_judged_and_kept", "nodes::logs_are_on_the_node_of_their_pod"];
    let text = passed(&run(&tests, proxy.kubeconfig(), base.path()).await);
    assert!(text.contains("2 passed"), "{text}");
    assert!(text.contains("missing: nodes that this harness started: KUBECONFIG names"), "{text}");
    let posts = proxy.seen().iter().filter(|seen| seen.method == "POST" && seen.path.ends_with("/pods")).count();
    assert_eq!(posts, 2, "{:?}", proxy.seen());
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0, "a cluster was started");
}

/// A cluster of this harness is used with all that it can: its nodes' logs, images, addresses.
#[tokio::test]
async fn a_cluster_of_this_harness_is_used_whole() {
    let Some(cluster) = or_skip(Cluster::shared(2).await) else { return };
    let base = tempfile::tempdir().unwrap();
    let tests = ["nodes::logs_are_on_the_node_of_their_pod", "nodes::pods_reach_the_machine"];
    let text = passed(&run(&tests, cluster.kubeconfig(), base.path()).await);
    assert!(text.contains("2 passed") && !text.contains("SKIPPED"), "{text}");
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0, "a cluster was started");
    // The cluster outlives who used it.
    cluster.namespace("still").await.unwrap();
}
