//! Container logs: from what pods print to a backend, through agents and gateways that come and go.

use std::collections::BTreeMap;

use cluster::{Cluster, or_skip, wait_until};
use pods::oracle::{Oracle, Run, Tally};
use serde_json::Value;

use crate::installation::{ENGINE, Installation, POD, images, without};
use crate::table::Row;
use crate::{LIMIT, TURN};

const MANIFEST: &str = include_str!("manifests/logs.yaml");
const PRINTERS: &str = include_str!("manifests/printers.yaml");
/// Lines that a container prints before it ends and is started again; about three times what a file may hold.
const LINES: usize = 12_000;
/// Runs of each container that have to be whole.
const RUNS: usize = 3;

/// Every line that pods print on both nodes arrives once and says where it is from, while containers end and start again,
/// their files rotate, and all agents and gateways are replaced twice. Of pods that opt out not one line does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_arrives_once_across_rollouts() {
    let _turn = TURN.lock().await;
    let Some(cluster) = or_skip(Cluster::shared(2).await) else { return };
    images(cluster).await;
    let row = Row::begin("engines without a manager are replaced");
    let installation = Installation::new(cluster, "logs").await;
    let oracle = Oracle::default();
    let backend = oracle.serve(cluster.machine_address()).await.unwrap().to_string();
    let state = installation.state_directory();
    let values = [("image", ENGINE), ("backend", &backend), ("token", "of-agents"), ("state", &state)];
    installation.apply(MANIFEST, &values).await;
    installation.rolled_out("deployment/log-gateway").await;
    installation.rolled_out("daemonset/log-agent").await;

    installation.apply(PRINTERS, &[("image", POD), ("lines", &LINES.to_string())]).await;
    installation.rolled_out("daemonset/printer").await;
    installation.rolled_out("daemonset/secretive").await;
    for workload in ["daemonset/log-agent", "deployment/log-gateway", "daemonset/log-agent", "deployment/log-gateway"] {
        installation.kubectl(&["rollout", "restart", workload]).await;
        installation.rolled_out(workload).await;
    }

    let printers = pods(&installation, "printer").await;
    assert_eq!(printers.len(), 2, "a pod on each node");
    for uid in printers.keys() {
        let look = async || (whole_runs(&oracle, uid) >= RUNS).then_some(());
        if let Err(error) = wait_until(&format!("{RUNS} runs of {uid} are whole"), LIMIT, look).await {
            let told: Vec<_> = oracle.runs().iter().map(told).collect();
            panic!("{error}: {told:?}\n{}", installation.state().await);
        }
    }
    let runs = oracle.runs();
    let all: Tally = runs.iter().collect();
    let told: Vec<_> = runs.iter().map(told).collect();
    assert_eq!((all.missing, all.duplicates), (0, 0), "missing and duplicates: {told:?}");
    rotated(&installation, "printer");
    rotated(&installation, "secretive");
    // Lines of others would have been found among the runs: no uid but those of the printers is there.
    for agent in pods(&installation, "log-agent").await.values() {
        let left_out = left_out(&installation, agent["metadata"]["name"].as_str().unwrap()).await;
        assert!(left_out >= 1.0, "{left_out} logs are left out by {}", agent["metadata"]["name"]);
    }
    for run in &runs {
        let pod = printers.get(&run.uid).unwrap_or_else(|| panic!("no pod: {run:?}"));
        for resource in &run.resources {
            let expected = [
                ("k8s.namespace.name", installation.namespace.as_str()),
                ("k8s.pod.name", pod["metadata"]["name"].as_str().unwrap()),
                ("k8s.node.name", pod["spec"]["nodeName"].as_str().unwrap()),
                ("k8s.container.name", "printer"),
                ("k8s.daemonset.name", "printer"),
                ("k8s.cluster.name", "two-nodes"),
                ("k8s.pod.label.app", "printer"),
                ("service.name", "printer"),
                ("telemetry_engine.mark.input", "kubernetes_logs"),
            ];
            for (key, value) in expected {
                assert_eq!(resource.get(key).map(String::as_str), Some(value), "{key} of {resource:?}");
            }
            let restarts = resource["k8s.container.restart_count"].as_str();
            assert!(restarts.contains(|digit: char| digit.is_ascii_digit()), "{restarts}");
        }
        assert_eq!(run.resources.len(), 1, "a run is of one container: {:?}", run.resources);
    }
    // Pods print for as long as there are any.
    without(cluster, std::slice::from_ref(&installation.namespace)).await;
    row.end(all.received + all.missing, all);
}

/// The pods of an application by their uid.
async fn pods(installation: &Installation, app: &str) -> BTreeMap<String, Value> {
    let selector = format!("app={app}");
    let text = installation.kubectl(&["get", "pods", "--selector", &selector, "--output", "json"]).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    let pods = list["items"].as_array().unwrap().iter();
    pods.map(|pod| (pod["metadata"]["uid"].as_str().unwrap().to_owned(), pod.clone())).collect()
}

fn whole_runs(oracle: &Oracle, uid: &str) -> usize {
    oracle.runs().iter().filter(|run| run.uid == uid && run.is_complete(LINES)).count()
}

/// How many logs an agent leaves out now, as its metrics say.
async fn left_out(installation: &Installation, agent: &str) -> f64 {
    let path = format!("/api/v1/namespaces/{}/pods/{agent}:13133/proxy/metrics", installation.namespace);
    let metrics = installation.kubectl(&["get", "--raw", &path]).await;
    let count = metrics.lines().find(|line| line.contains("name=\"logs_left_out\""));
    let value = count.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("nothing is left out in\n{metrics}"))
}

/// Asserts that the kubelets have rotated files of an application's pods, or nothing was tested.
fn rotated(installation: &Installation, app: &str) {
    for node in 1..=2 {
        let directory = installation.cluster.node_log_directory(node);
        let folders = std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
        let is_of_it =
            |path: &std::path::PathBuf| path.to_string_lossy().contains(&format!("{}_{app}-", installation.namespace));
        let files =
            folders.filter(is_of_it).flat_map(|folder| std::fs::read_dir(folder.join("printer")).unwrap().flatten());
        let names: Vec<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        assert!(names.iter().any(|name| name.contains(".log.")), "node{node} has rotated nothing: {names:?}");
    }
}

/// A run in few words.
fn told(run: &Run) -> String {
    let Tally { missing, duplicates, .. } = run.tally();
    format!("{} {}: {} lines, {missing} missing, {duplicates} duplicates", run.uid, run.name, run.lines.len())
}
